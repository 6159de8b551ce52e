"""A network's end that is right before it has learnt anything: x̂_0 = c_skip x_t + c_out F(c_in x_t, t), for the study alone.

F is the network, and c_skip x_t is the best linear guess at x_0 if its values had the one variance s² and no neighbours
(Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", section 5, here for a process that keeps variance):

    q = ᾱ_t s² + 1 − ᾱ_t      c_skip = √ᾱ_t s²/q      c_out = s √((1−ᾱ_t)/q)      c_in = 1/√q

all for x_0 less its mean. F is then asked for something of unit variance at every t. It changes the network, not the objective.
"""
import numpy as np

from tinyddpm.diffusion import q_sample
from tinyddpm.objective import objective
from tinyddpm.schedule import at


class Head:
    """With mean and s of these images (n, C, H, W), each one number."""

    def __init__(self, images):
        self.mean, self.s = float(images.mean(dtype=np.float64)), float(images.std(dtype=np.float64))

    def parts(self, schedule, xt, t):
        """(what goes into F, c_skip x_t and all else that is added, c_out)."""
        signal = np.sqrt(schedule.alpha_bar)
        q = schedule.alpha_bar * self.s**2 + 1 - schedule.alpha_bar
        centred = xt - at(signal, t, xt) * xt.dtype.type(self.mean)
        added = at(signal * self.s**2 / q, t, xt) * centred + xt.dtype.type(self.mean)
        return at(1 / np.sqrt(q), t, xt) * centred, added, at(self.s * np.sqrt((1 - schedule.alpha_bar) / q), t, xt)

    def gradient(self, unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None, cond=None):
        """`train.gradient` of it."""
        inside, added, c_out = self.parts(schedule, q_sample(schedule, x0, t, eps), t)
        J, errors = objective(c_out * unet(inside, t, dropout, cond) + added, x0, form, batch_size)
        J.backward()
        return J.data, errors.data

    def denoiser(self, denoise, schedule):
        """denoiser(xt, t) -> x̂_0, if denoise(xt, t) is F."""
        def x0_denoiser(xt, t):
            inside, added, c_out = self.parts(schedule, xt, t)
            return c_out * denoise(inside, t) + added
        return x0_denoiser
