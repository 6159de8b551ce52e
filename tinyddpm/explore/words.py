"""The captions of the interactive page: what one sees in each figure and what to notice, in a sentence or two.

They depend on what is shown, so that they are true of it: a caption that speaks of the mean image stands where t is near T.
"""


def of_look(explorer, image, t, told):
    """Of x_t and the guesses at x_0 that belong to it."""
    share = float(explorer.schedule.alpha_bar[t])
    start = f"At t = {t}, {_percent(share)} of the variance of xₜ is the image's. "
    both = "both guesses" if explorer.training else "the guess"
    if share > 0.9:
        text = f"There is little to remove, and {both} should be close to x₀."
    elif share > 0.2:
        text = f"The large strokes show through, so {both} have an idea; where xₜ leaves a pixel open, its guess is grey."
    elif share > 0.02:
        text = (f"Several images could have become this xₜ, and {both} blend them: a blur is what has the smallest squared error. "
                "That is why one does not jump to x̂₀, but takes a small step and asks again.")
    else:
        mean = f"the mean image{' of the class' if told else ''}"
        text = (f"xₜ says nothing about x₀ any more: the network's guess and the ideal one both become {mean} beside them." if explorer.training
                else f"xₜ says nothing about x₀ any more: the guess becomes {mean} of the training images.")
    if explorer.training and share > 0.02:
        text += (" It is a training image: the ideal denoiser, which averages nothing but training images, finds it exactly as t falls." if image < explorer.known
                 else " It was held out: the ideal denoiser can only answer with training images that resemble it.")
    return start + text


def of_curves(explorer):
    """Of the errors over t."""
    if not explorer.training:
        return "The squared error of the network's guess at this image, over t: it grows as xₜ says less."
    return ("The squared error per value of each guess at this image, over t, of one ε: network (blue), ideal denoiser (orange), mean image (dashed). "
            "Both begin low and end near the dashed line, where xₜ says nothing. Compare a training image with a held-out one: "
            "on the first the orange line falls to 0; on the second it cannot, and at small t the network passes under it.")


CHAINS = {
    "ddpm": "DDPM takes all T steps and draws new noise at each: xₜ stays grainy until the end, while x̂₀ has settled long before.",
    "ddim": "DDIM draws noise once, at the start, and each image is a function of it: 20 and 100 steps with one seed come to nearly the same images.",
    "dpm_solver": "DPM-Solver++(2M) extrapolates x̂₀ from the last two steps, for no further call: compare it with DDIM at 5 to 10 steps.",
    "heun": "Heun's method looks at the slope at both ends of a step, for two calls of the network: compare it with DDIM at 5 to 10 steps.",
}


def of_chain(chain, settings, T):
    """Of the two sheets x_t and x̂_0 of the reverse chain."""
    if chain.t == T:
        where = f"t = T = {T}: {chain.n} times pure noise. "
    elif chain.t == 0:
        where = "t = 0: xₜ is now x̂₀, the image. "
    else:
        where = f"t = {chain.t}: xₜ is what the chain holds, x̂₀ the network's guess at where it ends: first a blur, then a decision. "
    return where + CHAINS[settings.sampler]


def of_drawing(explorer, t, empty):
    """Of the drawing, noised and denoised."""
    if empty:
        return "An empty sheet is an image too, if an unlikely one: denoised from a large t it becomes a new image, from a small t it stays empty."
    share = float(explorer.schedule.alpha_bar[t])
    if share > 0.7:
        return f"t = {t}: most of your strokes survive this much noise, so the chain can only tidy them. Go higher to give it more freedom."
    if share > 0.05:
        return f"t = {t}: the outline is left and the details are lost. The four results share what xₜ kept of your drawing, and differ in what it lost."
    return f"t = {t}: of your drawing almost nothing is left, so that the four results are images of their own. Go lower to keep more of it."


def of_step(walk, way, name):
    """Of one place in a training step: ("forward", layer), ("J", "") or ("back", layer), see `drawing.positions`."""
    if way == "J":
        return (f"The end of the way forward: J = {walk.J:.4f}, the mean of (x̂₀ − x₀)². Its gradient with respect to x̂₀ is 2(x̂₀ − x₀)/D, "
                "and from here it goes back through the very same layers.")
    layer = walk.layers[name]
    count, height, width = layer.output.shape
    size = f"{count} channel{'s' if count > 1 else ''} of {height} × {width}"
    if way == "forward":
        why = {"half the resolution": "Half as many pixels each way: what follows sees farther.",
               "twice the resolution": "Each pixel became four, then a convolution: on the way back to full size.",
               "convolution": "The last one's single result is x̂₀." if name == "last" else "Each channel is one 3×3 filter's answer to xₜ.",
               "attention": "Every pixel looked at every other one."}.get(layer.kind, "A residual block adds a correction to what came in, and is told t.")
        skip = " Besides it gets, by the dashed skip connection, what the block opposite to it made." if name.startswith("up") and layer.kind != "twice the resolution" else ""
        return f"Forward, {name} ({layer.kind}): {size}, orange above 0 and blue below. {why}{skip}"
    return (f"Back, {name}: ∂J/∂(its output), of the same shape, {size}, and of norm {layer.norm:.2g}: which values J wants lower (orange) or higher (blue). "
            "The red bars are these norms, logarithmic: as a rule largest near the skips and smallest at the bottom.")


def _percent(share):
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"
