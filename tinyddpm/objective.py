"""The objective J: how far the predicted clean images are from the real ones.

The training algorithm sums or averages ‖x̂_0 − x_0‖² over the mini-batch. The three forms differ by
a constant factor. So their gradients have the same direction, and the same θ comes out if β is
divided by that factor:

    form          J                              β for the same steps
    "sum"         Σ_m ‖x̂_0 − x_0‖²               β / (M·D)
    "batch_mean"  Σ_m ‖x̂_0 − x_0‖² / M           β / D
    "mse"         Σ_m ‖x̂_0 − x_0‖² / (M·D)       β

M is the batch's size and D = C·H·W the number of values in an image. "mse" is the default: its
scale does not depend on the size of images or batch, so neither, to first order, does a good β.
"""

import math

from autograd import Tensor, ops

from .types import Array

FORMS = ("sum", "batch_mean", "mse")


def objective(
    x0_hat: Tensor, x0: Array, form: str = "mse", batch_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """J, a Tensor of one number, and ‖x̂_0 − x_0‖² of each image, a Tensor (N,).

    Args:
        x0_hat: the prediction (N, C, H, W).
        x0: the truth (N, C, H, W).
        form: one of FORMS.
        batch_size: M, when x0 is only a part of the batch. The J's of the parts then add up to
            the J of the whole.
    """
    if x0_hat.shape != x0.shape:
        raise ValueError(
            f"objective: the prediction has shape {x0_hat.shape}, the images {x0.shape}"
        )
    M = len(x0) if batch_size is None else batch_size
    errors = ops.sum(ops.square(x0_hat - x0), axis=(1, 2, 3))
    return factor(form, M, math.prod(x0.shape[1:])) * ops.sum(errors), errors


def factor(form: str, M: int, D: int) -> float:
    """J divided by the sum of the squared errors: of M images of D values, for one of FORMS."""
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    if M < 1:
        raise ValueError(f"batch_size: expected at least one image, got {M}")
    return {"sum": 1.0, "batch_mean": 1 / M, "mse": 1 / (M * D)}[form]
