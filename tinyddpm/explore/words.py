"""The captions of the interactive page: what to see in each figure, in a sentence or two.

A caption is computed from the numbers that are shown. Two images are called close when their mean
squared distance is under CLOSE of the spread of the training images (of the class, if it
conditions). A test holds every sentence against the images, for hundreds of them.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from ..pictures.overhearing import Kind
from ..types import Array
from .chain import Settings
from .explorer import Explorer, Look, Walk

CLOSE = 0.05
SAME = 1e-4  # a mean squared distance that no eye sees: about one grey level of 256

CHAINS = {
    "dpm_noise": (
        "DPM-Solver++(2M) extrapolates x̂₀ from the last two steps. With noise: each step replaces "
        "a part of xₜ by fresh noise."
    ),
    "ddpm": "DDPM takes all T steps and draws new noise at each.",
    "ddim": "DDIM draws noise once, at the start: each image is a function of it.",
    "dpm_solver": (
        "DPM-Solver++(2M) extrapolates x̂₀ from the last two steps, without a further call of the "
        "network."
    ),
    "heun": "Heun's method looks at the slope at both ends of a step: two calls of the network.",
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


def of_class(explorer: Explorer, label: int | None) -> str:
    """Whether a guess is conditioned on the class. "" in a run without classes."""
    if not explorer.names:
        return ""
    if label is None or label >= len(explorer.names):
        return "not conditioned on the class"
    return f"conditioned on class {explorer.names[label]}"


def distance(a: Array, b: Array) -> float:
    """The mean squared distance of two images, per value."""
    return float(np.square(a - b).mean())


# ---- the tab "Every t" ---------------------------------------------------------------------------


def of_look(explorer: Explorer, look: Look) -> str:
    """Of x_t and the guesses at the x_0 that belongs to it."""
    if look.ideal is None or look.mean is None:
        guess = _without_data(look.x0, look.xt, look.network, "x₀")
        return f"{_mixture(explorer, look.t, 'x₀')} {guess}"
    said = [_mixture(explorer, look.t, "x₀")]
    mean = look.mean
    said.append(_guess("The network's guess", look.network, look.x0, mean, look.spread, "x₀"))
    said.append(_error(look))
    if look.nearest < SAME:
        itself = "x₀ itself" if look.errors["ideal"] < SAME else "but not x₀"
        said.append(f"The ideal guess is one training image, {itself}.")
    else:
        ideal = _guess("The ideal guess", look.ideal, look.x0, mean, look.spread, "x₀")
        said.append(f"{ideal[:-1]}: it blends several training images.")
    return " ".join([*said, *_compared(look)])


def _mixture(explorer: Explorer, t: int, what: str) -> str:
    """What x_t is, by its definition."""
    alpha_bar = float(explorer.schedule.alpha_bar[t])
    signal, noise = np.sqrt(alpha_bar), np.sqrt(max(0.0, 1 - alpha_bar))
    return f"At t = {t}, xₜ = {signal:.2f} · {what} + {noise:.2f} · ε."


def _guess(who: str, guess: Array, x0: Array, mean: Array, spread: float, what: str) -> str:
    """Where a guess lies between x_0 and the mean image."""
    to_x0, to_mean = distance(guess, x0), distance(guess, mean)
    near_x0, near_mean = to_x0 < CLOSE * spread, to_mean < CLOSE * spread
    if near_x0 and near_mean:
        return f"{who} is close to {what}, and to the mean image too."
    if near_x0 or near_mean:
        return f"{who} is close to {what if near_x0 else 'the mean image'}."
    if to_x0 < to_mean:
        return f"{who} is nearer to {what} than to the mean image."
    return f"{who} is nearer to the mean image than to {what}."


def _error(look: Look) -> str:
    """The network's squared error, compared with the mean image's."""
    if look.errors["mean"] < 1e-12:
        return "The mean image is this one: all images are alike."
    fraction = look.errors["network"] / look.errors["mean"]
    text = f"Its error is {fraction:.0%} of the mean image's"
    return text + (": for this ε the mean image is the better guess." if fraction > 1 else ".")


def _compared(look: Look) -> Iterator[str]:
    """The two guesses, compared with each other."""
    assert look.ideal is not None
    network, ideal = look.errors["network"], look.errors["ideal"]
    if distance(look.network, look.ideal) < CLOSE * look.spread:
        yield "The two guesses are close to each other."
    elif abs(network - ideal) > 0.05 * max(network, ideal):
        nearer = "network's" if network < ideal else "ideal"
        yield f"Of the two guesses the {nearer} one is nearer to x₀."
    else:
        yield "The two guesses differ, and are about equally far from x₀."


def _without_data(x0: Array, xt: Array, guess: Array, what: str) -> str:
    """Of a guess where there is no mean image to compare it with."""
    before, after = distance(xt, x0), distance(guess, x0)
    if after >= before:
        return f"xₜ itself is nearer to {what} than the network's guess."
    return f"The network's guess has {after / before:.0%} of xₜ's squared distance from {what}."


def of_ideal(explorer: Explorer, label: int | None) -> str:
    """What the ideal denoiser is, and of which images. "" without data."""
    if (ideal := explorer.ideal(label)) is None or explorer.training is None:
        return ""
    n, most = len(ideal.images), len(explorer.training.images)
    which = f"{n:,} of the {most:,}" if n < most else f"all {n:,}"
    return (
        f"The ideal denoiser answers with the mean of {which} training images, each weighted with "
        "how likely it is to have become this xₜ. No guess has a smaller mean squared error on "
        "these images."
    )


def of_curves(ts: Array, errors: Mapping[str, Array]) -> str:
    """Of the errors over t."""
    start = "The squared error of each guess at this image, over t, for one ε: network (blue)"
    if "mean" not in errors:
        last = float(errors["network"][-1])
        return f"{start}. It is {float(errors['network'][0]):.4f} at t = 1, {last:.4f} at t = T."
    said = [f"{start}, ideal denoiser (orange), mean image (dashed)."]
    mean = float(errors["mean"][0])
    for name, who in (("network", "network's"), ("ideal", "ideal denoiser's")):
        worst = int(np.argmax(errors[name]))
        excess = float(errors[name][worst]) / max(mean, 1e-12) - 1
        if excess >= 0.005:
            where = f"most at t = {ts[worst]}" + f", by {excess:.0%}" * (mean > 1e-12)
            said.append(f"The {who} rises above the dashed line, {where}.")
        else:
            said.append(f"The {who} stays below the dashed line or on it.")
    first, other = float(errors["network"][0]), float(errors["ideal"][0])
    lower = "network's" if first < other else "ideal denoiser's"
    said.append(f"At t = 1 the {lower} is the lower one: {first:.4f} and {other:.4f}.")
    return " ".join(said)


# ---- the tabs with a chain -----------------------------------------------------------------------


def of_chain(t: int, xt: Array, x0_hat: Array | None, settings: Settings, T: int) -> str:
    """Of the two sheets x_t and x̂_0 (n, C, H, W) of the reverse chain."""
    if x0_hat is None:
        where = f"t = T = {T}: {len(xt)} times pure noise."
    elif t == 0 and distance(xt, x0_hat) < SAME:
        where = "t = 0: xₜ is now x̂₀, the image."
    else:
        where = (
            f"t = {t}: xₜ is what the chain holds, x̂₀ the network's guess at where it ends. "
            f"They differ by {distance(xt, x0_hat):.2f} (mean square)."
        )
    return f"{where} {CHAINS[settings.sampler]}"


def of_two_chains(names: tuple[str, str], xt: tuple[Array, Array], ts: tuple[int, int]) -> str:
    """Of the x_t (n, C, H, W) of two samplers from one x_T."""
    where = f"t = {ts[0]}" if ts[0] == ts[1] else f"t = {ts[0]} and t = {ts[1]}"
    one, other = (name.split(",")[0] for name in names)
    text = f"{one} and {other} began from the same noise. At {where} their xₜ differ by"
    return f"{text} {distance(*xt):.3f} (mean square)."


def of_drawing(explorer: Explorer, look: Look, empty: bool = False) -> str:
    """Of a drawing, noised, and the guesses at it."""
    what = "the empty sheet" if empty else "your drawing"
    said = _mixture(explorer, look.t, what)
    if look.mean is None:
        return f"{said} {_without_data(look.x0, look.xt, look.network, what)}"
    who = "The network's guess"
    guess = _guess(who, look.network, look.x0, look.mean, look.spread, what)
    return f"{said} {guess}"


def of_results(x: Array, results: Array, empty: bool) -> str:
    """Of the ends of four chains (4, C, H, W) that began from the drawing x (C, H, W)."""
    what = "the empty sheet" if empty else "your drawing"
    n = len(results)
    apart = np.mean([distance(results[i], results[j]) for i in range(n) for j in range(i)])
    away = distance(results, x)
    nearer = f"{what} than to each other" if away < apart else f"each other than to {what}"
    return (
        f"The four results differ from {what} by {away:.3f} and from each other by {apart:.3f} "
        f"(mean square): they are nearer to {nearer}."
    )


# ---- the tab "One step" --------------------------------------------------------------------------


def of_step(explorer: Explorer, walk: Walk, way: str, name: str) -> str:
    """Of one place in a training step, one of `drawing.positions`."""
    if way == "J":
        told = of_class(explorer, walk.label)
        J = f"J = {walk.J:.4f}" + (f" ({told})" if told else "")
        return (
            f"The end of the way forward: {J}, the mean of (x̂₀ − x₀)². Its gradient "
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
    norms = {name: layer.norm for name, layer in walk.layers.items()}
    largest, smallest = max(norms, key=norms.__getitem__), min(norms, key=norms.__getitem__)
    return (
        f"Back, {name}: ∂J/∂(its output), of the same shape, {size}, and of norm {layer.norm:.2g}: "
        "which values J wants lower (orange) or higher (blue). The red bars are these norms, "
        f"logarithmic: largest at {largest}, smallest at {smallest}."
    )
