"""A network's head that is right before it has learnt anything, for the study alone.

    x̂_0 = c_skip x_t + c_out F(c_in x_t, t)

F is the network. c_skip x_t is the best linear guess at x_0 if all its values are independent and
have variance s² (Karras et al. 2022, "Elucidating the design space of diffusion-based generative
models", section 5, here for a process that preserves variance):

    q = ᾱ_t s² + 1 − ᾱ_t      c_skip = √ᾱ_t s²/q      c_out = s √((1−ᾱ_t)/q)      c_in = 1/√q

All of this is for x_0 less its mean. F then has to predict something of unit variance at every t.
The head changes the network, and not the objective.
"""

import numpy as np

from tinyddpm.diffusion import q_sample
from tinyddpm.objective import objective
from tinyddpm.schedule import at


class Head:
    """The head for these images (n, C, H, W): their mean and s, one number each."""

    def __init__(self, images):
        self.mean = float(images.mean(dtype=np.float64))
        self.s = float(images.std(dtype=np.float64))

    def parts(self, schedule, xt, t):
        """F's input, what is added to c_out F (c_skip x_t and the mean), and c_out."""
        signal = np.sqrt(schedule.alpha_bar)
        q = schedule.alpha_bar * self.s**2 + 1 - schedule.alpha_bar
        centred = xt - at(signal, t, xt) * xt.dtype.type(self.mean)
        added = at(signal * self.s**2 / q, t, xt) * centred + xt.dtype.type(self.mean)
        c_out = at(self.s * np.sqrt((1 - schedule.alpha_bar) / q), t, xt)
        return at(1 / np.sqrt(q), t, xt) * centred, added, c_out

    def gradient(
        self, unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None, cond=None
    ):
        """`train.gradient` for a network with this head."""
        inside, added, c_out = self.parts(schedule, q_sample(schedule, x0, t, eps), t)
        J, errors = objective(c_out * unet(inside, t, dropout, cond) + added, x0, form, batch_size)
        J.backward()
        return J.data, errors.data

    def denoiser(self, denoise, schedule):
        """denoiser(xt, t) -> x̂_0, where denoise(xt, t) is F."""

        def x0_denoiser(xt, t):
            inside, added, c_out = self.parts(schedule, xt, t)
            return c_out * denoise(inside, t) + added

        return x0_denoiser
