"""The captions of the interactive page: what to see in each figure, in a sentence or two.

A caption depends on what is shown, so that it is true: the one that speaks of the mean image stands
where t is near T.
"""

from ..pictures.overhearing import Kind
from .chain import Chain, Settings
from .explorer import Explorer, Walk

CHAINS = {
    "ddpm": (
        "DDPM takes all T steps and draws new noise at each: xₜ stays grainy until the end, while "
        "x̂₀ settles long before."
    ),
    "ddim": (
        "DDIM draws noise once, at the start, and each image is a function of it: 20 and 100 steps "
        "with one seed give nearly the same images."
    ),
    "dpm_solver": (
        "DPM-Solver++(2M) extrapolates x̂₀ from the last two steps, without a further call of the "
        "network: compare it with DDIM at 5 to 10 steps."
    ),
    "heun": (
        "Heun's method looks at the slope at both ends of a step, for two calls of the network: "
        "compare it with DDIM at 5 to 10 steps."
    ),
}
RESIDUAL = "A residual block adds a correction to its input, conditioned on t."
LAYERS: dict[Kind, str] = {
    "half the resolution": "Half as many pixels each way: what follows sees further.",
    "twice the resolution": (
        "Each pixel became four, then a convolution: on the way back to full size."
    ),
    "convolution": "Each channel is one 3×3 filter's answer to xₜ.",
    "residual block": RESIDUAL,
    "residual block + attention": RESIDUAL,
    "attention": "Every pixel looked at every other one.",
}


# ---- the tab "Every t" ---------------------------------------------------------------------------


def of_look(explorer: Explorer, image: int, t: int, conditioned: bool) -> str:
    """Of x_t and the guesses at the x_0 that belongs to it.

    Args:
        explorer: the run.
        image: the image's number.
        t: the timestep.
        conditioned: whether both denoisers are conditioned on the class.
    """
    fraction = float(explorer.schedule.alpha_bar[t])
    both = "both guesses" if explorer.training else "the guess"
    start = f"At t = {t}, {_percent(fraction)} of the variance of xₜ is the image's. "
    if fraction > 0.9:
        text = f"There is little to remove, and {both} should be close to x₀."
    elif fraction > 0.2:
        text = (
            f"The large strokes show through, so {both} have an idea; where xₜ leaves a pixel "
            "open, its guess is grey."
        )
    elif fraction > 0.02:
        text = (
            f"Several images could have become this xₜ, and {both} blend them: a blur has the "
            "smallest squared error. That is why one does not jump to x̂₀, but takes a small step "
            "and asks again."
        )
    else:
        text = _of_pure_noise(explorer, conditioned)
    return start + text + _of_origin(explorer, image, fraction)


def _of_pure_noise(explorer: Explorer, conditioned: bool) -> str:
    start = "xₜ says nothing about x₀ any more: "
    if not explorer.training:
        return start + "the guess becomes the mean image of the training images."
    mean = "the mean image of the class" if conditioned else "the mean image"
    return start + f"the network's guess and the ideal one both become {mean} beside them."


def _of_origin(explorer: Explorer, image: int, fraction: float) -> str:
    """What it means that the image was trained on, or was held out."""
    if not explorer.training or fraction <= 0.02:
        return ""
    if image < explorer.known:
        return (
            " It is a training image: the ideal denoiser, which averages nothing but training "
            "images, finds it exactly as t falls."
        )
    return (
        " It was held out: the ideal denoiser can only answer with training images that "
        "resemble it."
    )


def of_curves(explorer: Explorer) -> str:
    """Of the errors over t."""
    if not explorer.training:
        return (
            "The squared error of the network's guess at this image, over t: it grows as xₜ says "
            "less."
        )
    return (
        "The squared error per value of each guess at this image, over t, for one ε: network "
        "(blue), ideal denoiser (orange), mean image (dashed). Both begin low and end near the "
        "dashed line, where xₜ says nothing. Compare a training image with a held-out one: on the "
        "first the orange line falls to 0; on the second it cannot, and at small t the network "
        "passes under it."
    )


# ---- the tabs with a chain -----------------------------------------------------------------------


def of_chain(chain: Chain, settings: Settings, T: int) -> str:
    """Of the two sheets x_t and x̂_0 of the reverse chain."""
    if chain.t == T:
        where = f"t = T = {T}: {chain.n} times pure noise. "
    elif chain.t == 0:
        where = "t = 0: xₜ is now x̂₀, the image. "
    else:
        where = (
            f"t = {chain.t}: xₜ is what the chain holds, x̂₀ the network's guess at where it ends: "
            "first a blur, then a decision. "
        )
    return where + CHAINS[settings.sampler]


def of_drawing(explorer: Explorer, t: int, empty: bool) -> str:
    """Of the drawing, noised and denoised."""
    if empty:
        return (
            "An empty sheet is an image too, if an unlikely one: denoised from a large t it "
            "becomes a new image, from a small t it stays empty."
        )
    fraction = float(explorer.schedule.alpha_bar[t])
    if fraction > 0.7:
        return (
            f"t = {t}: most of your strokes survive this much noise, so the chain can only tidy "
            "them. Go higher to give it more freedom."
        )
    if fraction > 0.05:
        return (
            f"t = {t}: the outline is left and the details are lost. The four results share what "
            "xₜ kept of your drawing, and differ in what it lost."
        )
    return (
        f"t = {t}: almost nothing of your drawing is left, so the four results are images of "
        "their own. Go lower to keep more of it."
    )


# ---- the tab "One step" --------------------------------------------------------------------------


def of_step(walk: Walk, way: str, name: str) -> str:
    """Of one place in a training step, one of `drawing.positions`."""
    if way == "J":
        return (
            f"The end of the way forward: J = {walk.J:.4f}, the mean of (x̂₀ − x₀)². Its gradient "
            "with respect to x̂₀ is 2(x̂₀ − x₀)/D. From here it goes back through the very same "
            "layers."
        )
    layer = walk.layers[name]
    count, height, width = layer.output.shape
    size = f"{count} channel{'s' if count > 1 else ''} of {height} × {width}"
    if way == "forward":
        why = "Its single result is x̂₀." if name == "last" else LAYERS[layer.kind]
        skip = ""
        if name.startswith("up") and layer.kind != "twice the resolution":
            skip = " The dashed skip connection also brings it the output of the block opposite."
        what = f"{size}, orange above 0 and blue below"
        return f"Forward, {name} ({layer.kind}): {what}. {why}{skip}"
    return (
        f"Back, {name}: ∂J/∂(its output), of the same shape, {size}, and of norm {layer.norm:.2g}: "
        "which values J wants lower (orange) or higher (blue). The red bars are these norms, "
        "logarithmic: as a rule largest near the skips and smallest at the bottom."
    )


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}" if fraction >= 0.01 else "less than 1%"
