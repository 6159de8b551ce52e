"""Inpainting Gaussian data, where the exact answer is known."""

import numpy as np
from editing_chains import rng_of

from tinyddpm.more.editing import inpaint, resampling_path
from tinyddpm.schedule import linear

D = 6  # pixels of an image (1, 2, 3)
KNOWN = np.array([[1, 0, 1], [0, 1, 0]], bool)


class Gaussian:
    """Data N(m, Σ) of D correlated pixels, its exact denoiser, and the exact inpainting."""

    def __init__(self):
        rng = rng_of(0)
        A = rng.standard_normal((D, D))
        self.m, self.cov = 0.3 * rng.standard_normal(D), 0.25 * (A @ A.T / D + 0.05 * np.eye(D))
        self.image = 0.5 * rng.standard_normal((1, 1, 2, 3))
        k = KNOWN.ravel()
        gain = self.cov[np.ix_(~k, k)] @ np.linalg.inv(self.cov[np.ix_(k, k)])
        # of the unknown pixels, given the known ones
        self.mean = self.m[~k] + gain @ (self.image.ravel()[k] - self.m[k])
        self.covariance = self.cov[np.ix_(~k, ~k)] - gain @ self.cov[np.ix_(k, ~k)]

    def denoiser(self, schedule, m):
        """E[x_0 | x_t] = m + √ᾱ Σ (ᾱΣ + (1 − ᾱ)I)⁻¹ (x_t − √ᾱ m)."""

        def denoise(xt, t):
            a = schedule.alpha_bar[int(t[0])]
            of_xt = a * self.cov + (1 - a) * np.eye(D)
            gain = np.sqrt(a) * np.linalg.solve(of_xt, self.cov)  # its two factors commute
            return (m + (xt.reshape(-1, D) - np.sqrt(a) * m) @ gain).reshape(xt.shape)

        return denoise

    def painted_mean(self, T, resamplings, jump=1):
        """The mean of what is painted.

        Everything is affine, so it is the result if all noise is 0.
        """
        zero, schedule = np.zeros((1, 1, 2, 3)), linear(T)
        denoiser, noise = self.denoiser(schedule, self.m), lambda i: zero
        plan = {"resamplings": resamplings, "jump": jump, "clip": None}
        *_, (_, x, _) = inpaint(denoiser, schedule, self.image, KNOWN, zero, noise, **plan)
        return x[0, 0][~KNOWN]

    def painted_covariance(self, T, resamplings, large=False):
        """The covariance of what is painted: sums of squares are variances.

        Row after row of the batch has noise 1 in one pixel of one draw, and 0 everywhere else. x_T
        is draw 0.
        """
        schedule, path = linear(T), resampling_path(T, resamplings, 1)
        B = D * (T + 2 * len(path))
        zero = np.zeros((B, 1, 2, 3))

        def noise(i):
            unit = np.zeros((B, D))
            unit[D * i : D * (i + 1)] = np.eye(D)
            return unit.reshape(zero.shape)

        denoiser = self.denoiser(schedule, np.zeros(D))
        plan = {"resamplings": resamplings, "jump": 1, "clip": None}
        plan["variance"] = schedule.beta if large else None
        *_, (_, x, _) = inpaint(denoiser, schedule, zero, KNOWN, noise(0), noise, **plan)
        weights = x[:, 0][:, ~KNOWN]
        return weights.T @ weights


def test_gaussian_data_what_is_painted_tends_to_the_conditional_mean_as_resampling_grows():
    """Without resampling the known pixels have little influence.

    The mean moves halfway from that of the data. With resampling, it arrives.
    """
    data = Gaussian()
    errors = [abs(data.painted_mean(100, r) - data.mean).max() for r in (1, 3, 10, 40)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5 and errors[2] < 0.15 and errors[3] < 0.06
    assert abs(data.painted_mean(100, 10, jump=5) - data.mean).max() < 0.4 * errors[0]


def test_gaussian_data_the_covariance_painted_lies_between_those_of_the_two_variances():
    """β̃ is too narrow for each step, β too wide, and resampling repeats it.

    The conditional covariance lies between (the differences are definite matrices). The more steps
    there are, the nearer both are.
    """
    data, widths = Gaussian(), []
    for T in (25, 50):
        narrow, wide = (data.painted_covariance(T, 4, large) for large in (False, True))
        assert np.linalg.eigvalsh(data.covariance - narrow).min() > 0.003
        assert np.linalg.eigvalsh(wide - data.covariance).min() > 0.003
        widths.append(np.trace(wide - narrow))
    assert widths[1] < 0.75 * widths[0]
