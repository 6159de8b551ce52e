"""The objective J: how far the predicted clean images are from the real ones.

The training algorithm sums or averages ‖x̂_0 − x_0‖² over the mini-batch. The three forms differ by a constant factor, so they
have the same gradient directions, and the same θ comes out if β is divided by that factor:

    form          J                              β for the same steps
    "sum"         Σ_m ‖x̂_0 − x_0‖²               β / (M·D)
    "batch_mean"  Σ_m ‖x̂_0 − x_0‖² / M           β / D
    "mse"         Σ_m ‖x̂_0 − x_0‖² / (M·D)       β

M is the batch's size and D = C·H·W the number of values in an image. "mse" is the default: its
scale does not depend on the size of images or batch, so neither, to first order, does the β that suits it.
"""
import math

from autograd import ops

FORMS = ("sum", "batch_mean", "mse")


def objective(x0_hat, x0, form="mse", batch_size=None):
    """J, a Tensor of one number, and ‖x̂_0 − x_0‖² of each sample, a Tensor (N,).

    x0_hat  Tensor (N, C, H, W), the prediction;  x0  array (N, C, H, W), the truth
    form    one of FORMS
    batch_size  M, when x0 is only a part of the batch: the J's of the parts then add up to that of the whole
    """
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    if x0_hat.shape != x0.shape:
        raise ValueError(f"objective: the prediction has shape {x0_hat.shape}, the images {x0.shape}")
    M = len(x0) if batch_size is None else batch_size
    if M < 1:
        raise ValueError(f"batch_size: expected at least one image, got {M}")
    D = math.prod(x0.shape[1:])
    factor = {"sum": 1.0, "batch_mean": 1 / M, "mse": 1 / (M * D)}[form]
    errors = ops.sum(ops.square(x0_hat - x0), axis=(1, 2, 3))
    return factor * ops.sum(errors), errors
