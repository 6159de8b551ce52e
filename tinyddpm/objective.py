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
from autograd.backend import expect

from .types import Array

FORMS = ("sum", "batch_mean", "mse")


def objective(
    x0_hat: Tensor, x0: Array, form: str = "mse", batch_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """J, a Tensor of one number, and ‖x̂_0 − x_0‖² of each image, a Tensor (N,).

    x0_hat is the prediction and x0 the truth, both (N, C, H, W); form is one of FORMS. batch_size
    is M, where x0 is only a part of the batch: the J's of the parts then add up to the whole's.
    """
    expect(x0_hat.shape == x0.shape, "x0_hat", f"the images' shape {x0.shape}", x0_hat.shape)
    M = len(x0) if batch_size is None else batch_size
    errors = ops.sum(ops.square(x0_hat - x0), axis=(1, 2, 3))
    return factor(form, M, math.prod(x0.shape[1:])) * ops.sum(errors), errors


def factor(form: str, M: int, D: int) -> float:
    """J divided by the sum of the squared errors: of M images of D values, for one of FORMS."""
    expect(form in FORMS, "form", f"one of {', '.join(FORMS)}", repr(form))
    expect(M >= 1, "batch_size", "at least one image", M)
    return {"sum": 1.0, "batch_mean": 1 / M, "mse": 1 / (M * D)}[form]
