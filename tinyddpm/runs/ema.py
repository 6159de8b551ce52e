"""The EMA of θ: an exponential moving average, with which samples are drawn.

It leaves out the jitter that gradient descent's last steps add, and takes no part in training
(Song & Ermon 2020, "Improved techniques for training score-based generative models", section 3.4).
"""

from ..types import Array


def update(ema: Array, theta: Array, decay: float, k: int) -> None:
    """Move the EMA after step k = 1, 2, …, in place: ema ← d·ema + (1 − d)·θ.

    d rises to `decay` as (1 + k)/(10 + k), so that the random θ of the start is soon forgotten.
    With decay 0 the EMA is θ itself.
    """
    d = min(decay, (1 + k) / (10 + k)) if decay else 0.0
    ema += (1 - d) * (theta - ema)
