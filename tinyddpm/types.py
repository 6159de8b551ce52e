"""The functions that the project passes around, by name.

An `Array` is a NumPy or a CuPy array. CuPy has NumPy's methods, so one annotation serves both. A
`unet` is `Any` here, since this file imports nothing that imports it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from autograd.backend import Array

__all__ = [
    "Array",
    "Cond",
    "Denoiser",
    "Draw",
    "Gradient",
    "Images",
    "Noise",
    "StepSize",
    "Update",
]

# noise(t): standard normal numbers of the shape of x_t, for step t of a sampler.
Noise = Callable[[int], Array]

# draw(shape): uniform numbers (N, *shape) in [0, 1), for dropout.
Draw = Callable[[tuple[int, ...]], Array]

# cond(k, i): the conditioning (M, …) of the images i (M,) of step k, such as their classes.
Cond = Callable[[int, Array], Array]

# beta(k): the step size of step k.
StepSize = Callable[[int], float]


class Images(Protocol):
    """Images (n, C, H, W) to take some of: an array, or what becomes one (`data/stored/`)."""

    @property
    def dtype(self) -> Any: ...

    @property
    def shape(self) -> tuple[Any, ...]: ...

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Array: ...

    def __array__(self) -> Array: ...

    def mean(self, axis: Any = None, dtype: Any = None) -> Any: ...


class Denoiser(Protocol):
    """x_t (N, C, H, W), t (N,) -> x̂_0 (N, C, H, W): a trained U-Net, or an exact one."""

    def __call__(self, xt: Array, t: Array, /) -> Array: ...


class Gradient(Protocol):
    """Adds ∇_θ J to `unet.grad` and returns J and the errors (N,): see `train.gradient`."""

    def __call__(
        self,
        unet: Any,
        schedule: Any,
        x0: Array,
        t: Array,
        eps: Array,
        form: str = "mse",
        batch_size: int | None = None,
        dropout: Draw | None = None,
        cond: Array | None = None,
    ) -> tuple[Array, Array]: ...


class Update(Protocol):
    """Changes `unet.theta` by its gradient, in place: see `train.gradient_descent`."""

    def __call__(self, unet: Any, beta: float, k: int, /) -> None: ...
