"""Images from images: repaint a part, blend two, or start from a rough one.

    inpaint(denoiser, schedule, image, mask, x_T, draw)  # keep what the mask says, paint the rest

    # Keep the outlines of an image, and redo the details that 600 steps of noise destroy.
    image_to_image(denoiser, schedule, image, 600, eps, noise=draw)

    # Blend two images at step 600, or blend the noises that they come from.
    interpolate_at(denoiser, schedule, a, b, fractions, 600, eps, noise=draw)
    interpolate_latents(denoiser, schedule, a, b, fractions, encode)

Each is a generator like the samplers: it yields (t, x_t, x̂_0), the last with t = 0. None needs a
network of its own: an unconditional denoiser will do. All but `inpaint` hand over to a sampler at
some t, and pass options on to it. `truncated` makes that possible. The first t steps of a schedule
are a schedule too, with the same tables, so a sampler with that schedule starts at t.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from autograd.backend import Array, alike, array_module

from ..diffusion import q_sample
from ..sampler import ancestral
from ..schedule import Schedule
from ..types import Denoiser, Noise
from .solvers import ddim

Chain = Iterator[tuple[int, Array, Array]]
Sampler = Callable[..., Chain]


def truncated(schedule: Schedule, t: int) -> Schedule:
    """The first t steps of a schedule, as a Schedule. A sampler then expects x_t for its x_T."""
    if not 1 <= t <= schedule.T:
        raise ValueError(f"t: expected 1 to T = {schedule.T}, got {t}")
    return schedule if t == schedule.T else Schedule(schedule.beta[1 : t + 1])


# ---- from a step on the way ----------------------------------------------------------------------


def image_to_image(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Array,
    t: int,
    eps: Array,
    sampler: Sampler = ancestral,
    **options: Any,
) -> Chain:
    """Add noise up to step t, then denoise from t (Meng et al. 2022, "SDEdit", algorithm 1).

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        image: images (N, C, H, W): a sketch, a collage, or an image to vary.
        t: the step to go up to, 1 to T. The larger it is, the less of the image is left.
        eps: standard normal noise of the image's shape.
        sampler: what denoises.
        **options: of the sampler, such as noise=draw or steps=20.

    Yields:
        (t, x_t, x̂_0) after each step of the sampler.
    """
    xt = q_sample(schedule, image, _same(t, image), eps)
    yield from sampler(denoiser, truncated(schedule, t), xt, **options)


def interpolate_at(
    denoiser: Denoiser,
    schedule: Schedule,
    a: Array,
    b: Array,
    fractions: Sequence[float] | Array,
    t: int,
    eps: Array,
    sampler: Sampler = ancestral,
    **options: Any,
) -> Chain:
    """Blend two images at step t, then denoise from t (Ho et al. 2020, section 4.4).

    Both images get the same noise. Mixed in pixels, two images are a double exposure. The steps up
    to t wash that out, and the steps back down paint one image.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        a: an image (C, H, W).
        b: another one.
        fractions: how much of b is in each blend, (n,) from 0 to 1.
        t: the step to blend at, 1 to T.
        eps: standard normal noise (C, H, W).
        sampler: what denoises.
        **options: of the sampler. With noise=draw and the same draw for all n images, neighbouring
            blends stay alike.

    Yields:
        (t, x_t, x̂_0) after each step of the sampler: batches (n, C, H, W).
    """
    xp = array_module(a)
    pair = xp.stack([a, b])
    at_t = q_sample(schedule, pair, _same(t, pair), xp.stack([eps, eps]))
    fraction = _column(fractions, a).astype(a.dtype)
    blend = (1 - fraction) * at_t[0] + fraction * at_t[1]
    yield from sampler(denoiser, truncated(schedule, t), blend, **options)


def interpolate_latents(
    denoiser: Denoiser,
    schedule: Schedule,
    a: Array,
    b: Array,
    fractions: Sequence[float] | Array,
    encode: Callable[[Array], Array],
    sampler: Sampler = ddim,
    **options: Any,
) -> Chain:
    """Blend the noises that two images come from, then denoise (Song et al. 2021, section 5.3).

    Fraction 0 gives a back and fraction 1 gives b, up to the error of the inversion. This needs the
    same steps in the sampler and in `encode`, and no noise in the sampler.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        a: an image (C, H, W).
        b: another one.
        fractions: how much of b is in each blend, (n,) from 0 to 1.
        encode: images (2, C, H, W) -> their x_T, by the sampler run backwards: DDIM inversion.
        sampler: what denoises.
        **options: of the sampler.

    Yields:
        (t, x_t, x̂_0) after each step of the sampler: batches (n, C, H, W).
    """
    x_T = encode(array_module(a).stack([a, b]))
    yield from sampler(denoiser, schedule, slerp(x_T[0], x_T[1], fractions), **options)


def slerp(a: Array, b: Array, fractions: Sequence[float] | Array) -> Array:
    """Points on the arc from a to b: (C, H, W), (C, H, W), (n,) -> (n, C, H, W).

    With ω the angle between a and b: sin((1−s)ω)/sin ω · a + sin(sω)/sin ω · b, for each fraction s
    (Song et al. 2021, "DDIM", appendix D.5).

    Normal noise of D numbers lies near a sphere of radius √D. A straight line between two such
    points cuts inside: halfway its length is √(D/2), which no x_T has. The arc stays on the sphere.
    """
    alike("b", b, a)
    xp, fraction = array_module(a), _column(fractions, a)
    angle = _angle(xp, a.astype(np.float64), b.astype(np.float64))
    if math.pi - angle < 1e-6:
        raise ValueError("slerp: expected one arc between a and b, got opposite directions")
    if angle < 1e-6:  # as good as parallel: the arc is the line
        of_a, of_b = 1 - fraction, fraction
    else:
        parts = 1 - fraction, fraction
        of_a, of_b = (xp.sin(part * angle) / math.sin(angle) for part in parts)
    return of_a.astype(a.dtype) * a + of_b.astype(a.dtype) * b


def _angle(xp: ModuleType, a: Array, b: Array) -> float:
    """The angle between two arrays as vectors.

    The half-angle form keeps its digits near 0 and near π.
    """
    a, b = a / xp.sqrt((a * a).sum()), b / xp.sqrt((b * b).sum())
    apart, together = xp.sqrt(((a - b) ** 2).sum()), xp.sqrt(((a + b) ** 2).sum())
    return 2 * math.atan2(float(apart), float(together))


# ---- inpainting ----------------------------------------------------------------------------------


def inpaint(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Array,
    mask: Array,
    x_T: Array,
    noise: Noise,
    resamplings: int = 10,
    jump: int = 10,
    clip: float | None = 1.0,
    variance: Array | None = None,
) -> Chain:
    """Keep the pixels where the mask is 1, and paint the others to match.

    (Lugmayr et al. 2022, "RePaint", algorithm 1.) At each step, the known pixels are set to the
    image with the noise of that step, whatever the network painted. Only the way back up and down
    again lets the painted pixels adapt to them.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        schedule: the noise schedule.
        image: images (N, C, H, W) in [−1, 1]. The values where the mask is 0 have no influence.
        mask: numbers 0 and 1, or booleans, in the image's shape or one that broadcasts to it, such
            as (H, W).
        x_T: where the chain starts, of the image's shape.
        noise: noise(i) is standard normal noise of that shape. No i is used twice. The first
            reverse step from each t uses i = t, as in `ancestral`; all else uses numbers from T + 1
            on.
        resamplings: how often to pass through each stretch of `jump` steps: back up, by adding
            noise, and down again. 1 means once. The denoiser is called about resamplings · T times.
        jump: the length of such a stretch.
        clip: as for `ancestral`.
        variance: as for `ancestral`.

    Yields:
        (t, x_t, x̂_0) after each reverse step. With resamplings, t rises now and then. At t = 0 the
        known pixels are the image's own.
    """
    xp = array_module(image)
    known = _known(xp, mask)
    beside = zip(known.shape[::-1], image.shape[::-1])
    fits = known.ndim <= image.ndim and all(side in (1, whole) for side, whole in beside)
    if not fits or x_T.shape != image.shape:
        raise ValueError(
            f"mask, x_T: expected what broadcasts to the image's shape {image.shape}, "
            f"and that shape, got {known.shape} and {x_T.shape}"
        )
    further = itertools.count(schedule.T + 1)
    visited: set[int] = set()
    xt = x_T
    for now, then in itertools.pairwise(resampling_path(schedule.T, resamplings, jump)):
        if then > now:
            xt = q_jump(schedule, xt, now, then, noise(next(further)))
            continue
        z = noise if now not in visited else lambda t: noise(next(further))
        visited.add(now)
        table = None if variance is None else variance[: now + 1]
        one_step = ancestral(denoiser, truncated(schedule, now), xt, z, clip, table)
        _, painted, x0_hat = next(one_step)
        reached = image  # the known pixels at t = `then`
        if then > 0:
            reached = q_sample(schedule, image, _same(then, image), noise(next(further)))
        xt = xp.where(known, reached, painted)
        yield then, xt, x0_hat


def _known(xp: ModuleType, mask: Array) -> Array:
    """The mask as booleans."""
    numbers = xp.asarray(mask)
    known = numbers != 0
    if not bool((known == numbers).all()):
        raise ValueError("mask: expected 0 and 1 (or booleans), got other numbers")
    return known


def resampling_path(T: int, resamplings: int, jump: int) -> list[int]:
    """The steps that `inpaint` passes through, from T to 0: down by 1, and up by `jump`.

    At t = 1, 1 + jump, 1 + 2·jump, …, as far as jump fits below T, the path goes back up
    resamplings − 1 times. (RePaint, section 4.2, and their code, whose t is 0-based.) With jump = 1
    this is algorithm 1, which repeats every step except the one from 1 to 0.
    """
    for name, value in (("resamplings", resamplings), ("jump", jump)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    left = dict.fromkeys(range(1, T - jump + 1, jump), resamplings - 1)
    path = [T]
    while path[-1] > 0:
        t = path[-1] - 1
        path.append(t)
        if left.get(t):
            left[t] -= 1
            path.append(t + jump)
    return path


def q_jump(schedule: Schedule, x: Array, now: int, then: int, eps: Array) -> Array:
    """x_then given x_now for then > now, all the steps between at once.

    (Ho et al. 2020, equation 4, starting from `now` in place of 0.)
    """
    if not 0 <= now <= then <= schedule.T:
        raise ValueError(
            f"now, then: expected 0 ≤ now ≤ then ≤ T = {schedule.T}, got {now} and {then}"
        )
    alike("eps", eps, x)
    ratio = float(schedule.alpha_bar[then] / schedule.alpha_bar[now])
    return ratio**0.5 * x + (1 - ratio) ** 0.5 * eps


def _same(t: int, images: Array) -> Array:
    """The step t for each image of a batch."""
    return array_module(images).full(len(images), t)


def _column(fractions: Sequence[float] | Array, like: Array) -> Array:
    """Fractions (n,) as float64 (n, 1, 1, 1), beside `like` (C, H, W)."""
    array = array_module(like).asarray(fractions, dtype=np.float64)
    return array.reshape(-1, *[1] * like.ndim)
