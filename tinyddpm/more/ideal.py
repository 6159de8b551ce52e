"""The best denoiser that a finite data set allows, in closed form: no network, no training.

    denoiser = ideal_denoiser(images, schedule)
    *_, (t, x0, _) = ddim(denoiser, schedule, x_T)      # it takes the U-Net's place in every sampler

What it teaches. The J that we train with is an average over the training images, so the function that minimises it is
not unknown: it is E[x_0 | x_t] when x_0 is one of those images. Given x_t it asks how likely each image is to have
become it, and returns their average with those weights. No U-Net, however large, has a smaller J on training draws.
And what does it draw? The training images themselves: it is the perfect memoriser. So the floor of training J is not
where we want to arrive, and whatever new digit a U-Net draws, it draws because it does *not* minimise J exactly.

It is **no floor for J on held-out images**, which it has never seen: there it does worse than on its own (on the digits
.207 to .220 instead of .19), and a network that has learnt what digits are can do better than it. That makes it the
memoriser to beat.
"""
import numpy as np

from autograd.backend import array_module

from ..schedule import at

CHUNK = 2**22  # numbers in the largest array at a time: 32 MB of float64


def ideal_denoiser(images, schedule, chunk=CHUNK):
    """The exact minimiser of J on `images`, an array (n, C, H, W): a denoiser(xt, t) as `sampler.py` takes it.

    The denoiser takes xt (N, C, H, W) and t (N,) in {1..T} and returns x̂_0 (N, C, H, W), of xt's dtype: the mean of the
    images, each with a weight proportional to its likelihood exp(−‖x_t − √ᾱ_t x_i‖² / 2(1−ᾱ_t)). (Karras et al. 2022,
    "Elucidating the design space of diffusion-based generative models", appendix B.3, for x_t / √ᾱ_t, whose noise has
    variance σ² = (1−ᾱ_t)/ᾱ_t.) Everything inside is float64. Beyond copies of
    the images and of xt, no array has more than `chunk` numbers, whatever N is.
    """
    xp = array_module(images)
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images: expected at least one image, (n, C, H, W), got shape {images.shape}")
    flat = images.reshape(len(images), -1).astype(np.float64)  # (n, D)
    squares = (flat**2).sum(axis=1)  # (n,)
    rows = max(1, chunk // max(flat.shape))

    def denoise_rows(xt, a2):  # (M, D), (M, 1) -> (M, D)
        a = xp.sqrt(a2)
        # ‖x_t − a x_i‖² = ‖x_t‖² − 2a x_t·x_i + a²‖x_i‖², and ‖x_t‖² is the same for every i: the softmax ignores it.
        log_weight = (a * (xt @ flat.T) - a2 * squares / 2) / (1 - a2)  # (M, n)
        log_weight -= log_weight.max(axis=1, keepdims=True)  # the largest becomes e^0: nothing overflows
        weight = xp.exp(log_weight)
        return weight @ flat / weight.sum(axis=1, keepdims=True)

    def denoiser(xt, t):
        if xt.shape[1:] != images.shape[1:]:
            raise ValueError(f"xt: expected images of shape {images.shape[1:]}, got {xt.shape[1:]}")
        x = xt.reshape(len(xt), -1).astype(np.float64)
        alpha_bar = at(schedule.alpha_bar, xp.asarray(t), x)  # (N, 1)
        x0_hat = xp.empty_like(x)
        for i in range(0, len(x), rows):
            x0_hat[i:i + rows] = denoise_rows(x[i:i + rows], alpha_bar[i:i + rows])
        return x0_hat.reshape(xt.shape).astype(xt.dtype)

    return denoiser
