"""A running average of θ. Samples are drawn with it: it leaves out the jitter that gradient descent's last steps add.

It takes no part in training (Song & Ermon 2020, "Improved techniques for training score-based generative models", section 3.4).
"""


def update(ema, theta, decay, k):
    """average ← d·average + (1 − d)·θ, in place, after step k = 1, 2, …

    d rises to `decay` as (1 + k)/(10 + k), so that the random θ of the start is soon forgotten.
    """
    d = min(decay, (1 + k) / (10 + k)) if decay else 0.0
    ema += (1 - d) * (theta - ema)
