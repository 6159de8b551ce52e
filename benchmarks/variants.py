"""Multipliers that are measured in another way than once, for the study alone."""

import numpy as np

from tinyddpm.more.training.calibration import Measured


class Twice:
    """Measured over the first `steps` steps, and again over those before step `at`.

    At step `at` the second c² take the place of the first, times the number that keeps their
    median. Without it they would be much larger, as gradients fall, and θ diverges at once.
    """

    def __init__(self, steps, at):
        self.at, self.first, self.second = at, Measured(steps), Measured(steps)

    def __call__(self, unet, beta, k):
        if self.at - self.second.steps <= k < self.at:
            self.second(unet, 0.0, k)  # with β = 0 it measures, and θ stays
        if k == self.at:
            self.second.c2 *= np.median(self.first.c2) / np.median(self.second.c2)
        (self.first if k < self.at else self.second)(unet, beta, k)


class Capped(Measured):
    """Measured, and no c² is larger than nine tenths of those that are not 0."""

    def measured(self, unet, out=None):
        c2 = super().measured(unet, out)
        return np.minimum(c2, np.quantile(c2[c2 > 0], 0.9), out=c2)
