"""The gradient as a CUDA graph: its launches are noted once, and then asked for all at once.

A step of a small network is a thousand launches, each of which costs the host more than the GPU.

    gradient = Captured(gradient)
    for step in train(unet, images, schedule, beta, seed=0, gradient=gradient):
        …

The first call computes as ever, which compiles the kernels. Then it is captured, which computes
nothing. A graph repeats the same launches with the same addresses and numbers. So whatever differs
from step to step must be an array that stays where it is. x_0, t, ε, the conditioning and what
dropout draws are copied to such arrays before each launch. Nothing else of a gradient depends on
the step: β, the update and the EMA are no part of it, and J is read after it.

It computes what `gradient` does, to the last bit.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from autograd.backend import array_module, expect, has_tensor_cores, is_tf32, tables_in_use

from ...schedule import Schedule
from ...types import Array, Draw

Pair = tuple[Array, Array]
Compute = Callable[[dict[str, Array], Draw | None], Pair]  # compute(arrays, dropout)


class Captured:
    """A `gradient` for `train`, as the one that it is made of.

    There is a graph for each size of batch, such as that of a micro-batch. Another network, other
    arrays of θ or ∇J, or another schedule begin anew.
    """

    def __init__(self, gradient: Any) -> None:
        self.gradient = gradient
        self.bound: tuple[Any, ...] = ()  # what graphs have the addresses of
        self.calls: dict[Any, Call] = {}

    def __call__(
        self,
        unet: Any,
        schedule: Schedule,
        x0: Array,
        t: Array,
        eps: Array,
        form: str = "mse",
        batch_size: int | None = None,
        dropout: Draw | None = None,
        cond: Array | None = None,
        **options: Any,
    ) -> Pair:
        """As `train.gradient`. `options` are further arrays of another function.

        Raises:
            ValueError: the GPU has no tensor cores: its products are cuBLAS's.
            RuntimeError: a launch cannot be captured.
        """
        expect(
            has_tensor_cores(unet.theta),
            "graph",
            "a GPU of compute capability 8.0 or later, where all kernels are ours",
            "another; train without it",
        )
        bound = unet, unet.theta, unet.grad, schedule
        if len(self.bound) != len(bound) or any(a is not b for a, b in zip(self.bound, bound)):
            self.bound, self.calls = bound, {}
        arrays = {"x0": x0, "t": t, "eps": eps, "cond": cond} | options
        arrays = {name: a for name, a in arrays.items() if a is not None}
        kinds = tuple((name, a.shape, a.dtype.char) for name, a in arrays.items())
        key = form, batch_size, dropout is None, is_tf32(), kinds
        if key in self.calls:
            return self.calls[key].again(arrays, dropout)

        def compute(arrays: dict[str, Array], dropout: Draw | None) -> Pair:
            given = {"form": form, "batch_size": batch_size, "dropout": dropout}
            found: Pair = self.gradient(unet, schedule, **arrays, **given)
            return found

        call = Call(arrays)
        found = compute(arrays, call.noting(dropout))
        call.capture(compute, dropout)
        self.calls[key] = call
        return found


class Call:
    """One call of a gradient, and the arrays that a graph of it reads.

    Args:
        arrays: the call's, by name.
    """

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = {name: array_module(a).empty_like(a) for name, a in arrays.items()}
        self.drawn: list[Array] = []  # by dropout, in this order

    def noting(self, dropout: Draw | None) -> Draw | None:
        """`dropout`, of which the arrays are kept."""

        def draw(shape: tuple[int, ...]) -> Array:
            assert dropout
            self.drawn.append(dropout(shape))
            return self.drawn[-1]

        return dropout and draw

    def capture(self, compute: Compute, dropout: Draw | None) -> None:
        """Make the graph of compute(arrays, dropout), which has run before."""
        numbers = iter(self.drawn)
        draw = dropout and (lambda shape: next(numbers))
        xp = array_module(*self.arrays.values())
        try:
            self.replay, self.found = captured(lambda: compute(self.arrays, draw), xp)
        except RuntimeError as error:
            raise RuntimeError(
                f"graph: this step cannot be captured ({error}); train without --graph"
            ) from error

    def again(self, arrays: dict[str, Array], dropout: Draw | None) -> Pair:
        """J and the errors of these arrays and draws."""
        for name, fixed in self.arrays.items():
            fixed[...] = arrays[name]
        if dropout is not None:
            for fixed in self.drawn:
                fixed[...] = dropout(fixed.shape[1:])
        self.replay()
        J, errors = self.found
        return J.copy(), errors.copy()


def captured(work: Callable[[], Pair], cupy: Any) -> tuple[Callable[[], None], Pair]:
    """A function that does what work() asks of the GPU, and the arrays with its results.

    What is asked for while a stream is captured is noted and not done. That takes a stream of its
    own, because the default one cannot be captured. All that work() allocates comes out of a pool
    of its own, so nobody else gets the memory that the graph writes to. Tables would leave the
    cache of `constant` some day.

    Args:
        work: has run before, so that its kernels are compiled and its tables are on the GPU. It
            does not wait for the GPU, nor read from it.
        cupy: the module.

    Raises:
        RuntimeError: something in it cannot be captured.
    """
    cupy.get_default_memory_pool().free_all_blocks()  # the first call's, or both would be there

    def room(size: int) -> Any:
        """Memory of the GPU. If there is none, the capture ends.

        A pool that hears of it from CUDA would give back what it holds, and try again. But what it
        holds is what the launches noted so far will write to.
        """
        try:
            return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise MemoryError(f"{size:,} bytes on the GPU for a graph: {error}") from None

    pool, stream = cupy.cuda.MemoryPool(room), cupy.cuda.Stream(non_blocking=True)
    with tables_in_use() as tables, cupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            found = work()
        except BaseException:
            with suppress(RuntimeError):  # it says once more that the capture has failed
                stream.end_capture()
            raise
        kept = stream.end_capture(), pool, tables
    return lambda: kept[0].launch(), found
