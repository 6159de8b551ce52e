"""Images from images: repainting a part, going from one to another, and starting from a rough one.

    inpaint(denoiser, schedule, image, mask, x_T, draw)                       # keep what the mask says, paint the rest
    image_to_image(denoiser, schedule, image, 600, eps, noise=draw)           # keep the outlines, redo what 600 steps destroy
    interpolate_at(denoiser, schedule, a, b, shares, 600, eps, noise=draw)    # blends of two images, made into images again
    interpolate_latents(denoiser, schedule, a, b, shares, encode)             # the same between their noises

Each is a generator like the samplers: it yields (t, x_t, x̂_0), the last with t = 0. No network is trained for any of it: an
unconditional denoiser does. All but `inpaint` hand over to a sampler at some t, with options for it. What makes that possible is
`truncated`: the first t steps of a schedule are a schedule too, with the same tables, so a sampler that is given it starts at t.
"""
import itertools
import math

import numpy as np

from autograd.backend import alike, array_module

from ..diffusion import q_sample
from ..sampler import ancestral, ddim
from ..schedule import Schedule


def truncated(schedule, t):
    """The first t steps of a schedule, as a Schedule. A sampler that is given it expects x_t where it says x_T."""
    if not 1 <= t <= schedule.T:
        raise ValueError(f"t: expected 1 to T = {schedule.T}, got {t}")
    return schedule if t == schedule.T else Schedule(schedule.beta[1:t + 1])


# ---- from a step on the way ----------------------------------------------------------------------


def image_to_image(denoiser, schedule, image, t, eps, sampler=ancestral, **options):
    """Add noise up to step t, then denoise from t (Meng et al. 2022, "SDEdit", algorithm 1, for this schedule).

    image    (N, C, H, W): a sketch, a collage, or an image to vary. The larger t, the less of it is left
    eps      standard normal noise of the same shape;  options  of the sampler, such as noise=draw or steps=20
    """
    xt = q_sample(schedule, image, _same(t, image), eps)
    yield from sampler(denoiser, truncated(schedule, t), xt, **options)


def interpolate_at(denoiser, schedule, a, b, shares, t, eps, sampler=ancestral, **options):
    """Blends of two images: both noised to step t with the same noise, mixed there, denoised from t (Ho et al. 2020, section 4.4).

    a, b, eps  (C, H, W);  shares  (n,) of b in each blend, from 0 to 1. Yields batches (n, C, H, W).
    options    of the sampler. With noise=draw and the same draw for all n images, neighbouring blends stay alike.
    A mixture of two images in pixels is a double exposure. The steps up to t wash that out, the steps back down paint one image.
    """
    xp = array_module(a)
    pair = xp.stack([a, b])
    at_t = q_sample(schedule, pair, _same(t, pair), xp.stack([eps, eps]))
    share = _column(shares, a).astype(a.dtype)
    yield from sampler(denoiser, truncated(schedule, t), (1 - share) * at_t[0] + share * at_t[1], **options)


def interpolate_latents(denoiser, schedule, a, b, shares, encode, sampler=ddim, **options):
    """Blends of two images by way of the noise that each is made from (Song et al. 2021, "DDIM", section 5.3).

    a, b    (C, H, W);  shares  (n,) of b in each blend. Yields batches (n, C, H, W)
    encode  images (2, C, H, W) -> their x_T: the sampler the other way round, DDIM inversion. With the same steps, and no
            noise in the sampler, share 0 gives a back and share 1 b, up to the error of inversion
    """
    x_T = encode(array_module(a).stack([a, b]))
    yield from sampler(denoiser, schedule, slerp(x_T[0], x_T[1], shares), **options)


def slerp(a, b, shares):
    """From a to b on the arc between them, at each share: (C, H, W), (C, H, W), (n,) -> (n, C, H, W).

    (Song et al. 2021, appendix D.5.) Normal noise of D numbers lies near a sphere of radius √D. A straight line between two
    such points cuts inside: halfway its length is √(D/2), which no x_T has. The arc, with ω the angle between a and b, does not:
    sin((1−s)ω)/sin ω · a + sin(sω)/sin ω · b.
    """
    alike("b", b, a)
    xp, share = array_module(a), _column(shares, a)
    angle = _angle(xp, a.astype(np.float64), b.astype(np.float64))
    if math.pi - angle < 1e-6:
        raise ValueError("slerp: expected two directions with one arc between them, got opposite ones")
    if angle < 1e-6:  # as good as parallel: the arc is the line
        of_a, of_b = 1 - share, share
    else:
        of_a, of_b = (xp.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    return of_a.astype(a.dtype) * a + of_b.astype(a.dtype) * b


def _angle(xp, a, b):
    """Between two arrays as vectors, by the half-angle form, which keeps its digits near 0 and π."""
    a, b = a / xp.sqrt((a * a).sum()), b / xp.sqrt((b * b).sum())
    return 2 * math.atan2(float(xp.sqrt(((a - b) ** 2).sum())), float(xp.sqrt(((a + b) ** 2).sum())))


# ---- inpainting ----------------------------------------------------------------------------------


def inpaint(denoiser, schedule, image, mask, x_T, noise, resamplings=10, jump=10, clip=1.0, variance=None):
    """Keep the pixels of `image` where the mask is 1, paint the others to go with them (Lugmayr et al. 2022, "RePaint", algorithm 1).

    image        (N, C, H, W) in [−1, 1];  its values where the mask is 0 have no influence
    mask         of 0 and 1, or booleans, in the image's shape or one that broadcasts to it, such as (H, W)
    x_T          where the chain starts, of the image's shape
    noise        noise(i) is standard normal noise of that shape. No i is asked for twice. The first reverse step from each t asks
                 for i = t, as in `ancestral`; all else takes numbers from T + 1 on
    resamplings  how many times each stretch of `jump` steps is gone through: back up, by adding noise, and down again. 1: once.
                 The known pixels alone are given, step by step, whatever was painted; it is the way back up and
                 down that lets what is painted adapt. It takes about resamplings · T calls of the denoiser
    clip, variance  as for `ancestral`

    Yields (t, x_t, x̂_0) after each reverse step; with resamplings t rises now and then. At t = 0 the known pixels are image's own.
    """
    xp = array_module(image)
    known = xp.asarray(mask) != 0
    if not bool((known == xp.asarray(mask)).all()):
        raise ValueError("mask: expected 0 and 1 (or booleans), got other numbers")
    if np.broadcast_shapes(known.shape, image.shape) != image.shape or x_T.shape != image.shape:
        raise ValueError(f"mask, x_T: expected what broadcasts to the image's shape {image.shape}, and that shape, got {known.shape} and {x_T.shape}")
    further, visited = itertools.count(schedule.T + 1), set()
    path = resampling_path(schedule.T, resamplings, jump)
    xt = x_T
    for now, then in zip(path, path[1:]):
        if then > now:
            xt = q_jump(schedule, xt, now, then, noise(next(further)))
            continue
        z = noise if now not in visited else lambda t: noise(next(further))
        visited.add(now)
        _, painted, x0_hat = next(ancestral(denoiser, truncated(schedule, now), xt, z, clip, None if variance is None else variance[:now + 1]))
        given = q_sample(schedule, image, _same(then, image), noise(next(further))) if then else image  # x_{t−1} of the known pixels
        xt = xp.where(known, given, painted)
        yield then, xt, x0_hat


def resampling_path(T, resamplings, jump):
    """The steps that `inpaint` goes through, T first, 0 last: down by 1, and up by `jump` (RePaint, section 4.2, and their code, whose t is 0-based).

    At t = 1, 1 + jump, 1 + 2·jump, …, as far as jump fits below T, the path goes back up resamplings − 1 times. With jump = 1
    that is algorithm 1, in which the step from 1 to 0 is the only one that is not repeated.
    """
    for name, value in (("resamplings", resamplings), ("jump", jump)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    left = {t: resamplings - 1 for t in range(1, T - jump + 1, jump)}
    path = [T]
    while path[-1] > 0:
        t = path[-1] - 1
        path.append(t)
        if left.get(t):
            left[t] -= 1
            path.append(t + jump)
    return path


def q_jump(schedule, x, now, then, eps):
    """x_then given x_now for then > now: all the steps between at once (Ho et al. 2020, equation 4, from `now` in place of 0)."""
    if not 0 <= now <= then <= schedule.T:
        raise ValueError(f"now, then: expected 0 ≤ now ≤ then ≤ T = {schedule.T}, got {now} and {then}")
    alike("eps", eps, x)
    kept = float(schedule.alpha_bar[then] / schedule.alpha_bar[now])
    return kept**0.5 * x + (1 - kept) ** 0.5 * eps


def _same(t, images):
    """The step t for each image of a batch."""
    return array_module(images).full(len(images), t)


def _column(shares, like):
    """Shares (n,) as float64 (n, 1, 1, 1), beside `like` (C, H, W)."""
    return array_module(like).asarray(shares, dtype=np.float64).reshape(-1, *[1] * like.ndim)
