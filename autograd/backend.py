"""NumPy or CuPy: everything that depends on which one, and the only file that touches `cupy`.

`array_module(x)` gives the module that an array belongs to, so the same two lines serve both:

    xp = array_module(x)
    return xp.exp(x)

Data moves between them only where someone calls `to_device` or `to_numpy`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# A NumPy or a CuPy array. CuPy is not needed to check types: its arrays have NumPy's methods.
Array: TypeAlias = npt.NDArray[Any]

# pullback(g): a gradient for each positional argument of an op, None where there is none.
Pullback: TypeAlias = Callable[[Array], tuple[Array | None, ...]]

# What an op returns when it is given plain arrays: its output and its pullback.
Forward: TypeAlias = tuple[Array, Pullback]

# A decorator: e^−200 is 0 and no error, even in a program that lets NumPy raise such errors.
underflow_is_zero = np.errstate(under="ignore")


class AnswersOnGPU:
    """A base for what is no array, but gives arrays on a GPU, such as a data set too large for it.

    `array_module` takes it for one of CuPy's.
    """


def array_module(*arrays: object) -> Any:
    """`cupy` if any of the arrays lives on a GPU, else `numpy`."""
    cupy = sys.modules.get("cupy")  # nobody can hold a CuPy array before CuPy is imported
    if cupy is not None and any(isinstance(a, (cupy.ndarray, AnswersOnGPU)) for a in arrays):
        return cupy
    return np


def special(*arrays: object) -> Any:
    """SciPy's special functions, such as erf: `scipy.special`, or CuPy's twin of it on a GPU."""
    if array_module(*arrays) is np:
        import scipy.special

        return scipy.special
    import cupyx.scipy.special

    return cupyx.scipy.special


def as_array(data: Any) -> Array:
    """`data` itself if it is an array; numbers and lists become NumPy arrays.

    NumPy's reductions return immutable scalars where CuPy's return arrays without dimensions.
    Here both become arrays.
    """
    if type(data) is np.ndarray or array_module(data) is not np:
        array: Array = data
        return array
    return np.asarray(data)


def to_numpy(array: Any) -> Array:
    """A copy of a GPU array in main memory; a NumPy array is returned as it is."""
    if array_module(array) is np:
        return np.asarray(array)
    copy: Array = array.get()
    return copy


def to_device(array: Array, device: str = "cpu") -> Array:
    """`array` on a device.

    A GPU becomes the current one of this thread: CuPy computes there, and only with arrays that
    lie there.

    Args:
        array: on any device. It is not copied if it is where it should be.
        device: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: there is no device of that name.
        RuntimeError: CuPy or the GPU is missing. The message says which, and what to install.
    """
    if device == "cpu":
        return to_numpy(array)
    cupy, index = _cuda(device)
    cupy.cuda.Device(index).use()
    moved: Array = cupy.asarray(array)
    return moved


def memory_of(device: str) -> int:
    """Bytes of memory of a GPU, in all. Raises as `to_device` does."""
    cupy, index = _cuda(device)
    return int(cupy.cuda.Device(index).mem_info[1])


def constant(table: Array, like: Any) -> Array:
    """The NumPy array `table`, with the dtype and on the device of the array `like`.

    A GPU keeps it: equal tables are copied there once.
    """
    if array_module(like) is np:
        on_cpu: Array = table.astype(like.dtype)
        return on_cpu
    there = _resident(table.astype(like.dtype).tobytes(), table.shape, like.dtype, like.device.id)
    for tables in _in_use:
        tables.append(there)
    return there


_in_use: list[list[Array]] = []


@contextmanager
def tables_in_use() -> Iterator[list[Array]]:
    """The tables on a GPU that `constant` gives within the block; the list keeps them there."""
    _in_use.append([])
    try:
        yield _in_use[-1]
    finally:
        _in_use.pop()


@lru_cache(maxsize=64)
def _resident(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], index: int) -> Array:
    import cupy

    with cupy.cuda.Device(index):
        table: Array = cupy.asarray(np.frombuffer(data, dtype).reshape(shape))
    return table


def within(name: str, numbers: Array, low: int, high: int) -> Array:
    """The integers `numbers`, checked to be in {low..high}.

    Looking at numbers on a GPU means waiting for it, so nothing is raised there. A number out of
    range comes back as low - 1 or high + 1, and the caller makes NaN of it. (CuPy itself silently
    takes such an index modulo the array's length.)

    Raises:
        ValueError: some number on the CPU is out of range. The message begins with `name`.
    """
    if array_module(numbers) is not np:
        return numbers.astype(np.int64, copy=False).clip(low - 1, high + 1)
    if numbers.size and not low <= numbers.min() <= numbers.max() <= high:
        raise ValueError(
            f"{name}: expected {low} to {high}, got {numbers.min()} to {numbers.max()}"
        )
    return numbers


def alike(name: str, array: Any, like: Any) -> Array:
    """The array, checked to have the shape and dtype of the array `like`.

    Broadcasting would silently take one number for many.

    Raises:
        ValueError: one of the two differs. The message begins with `name`.
    """
    if getattr(array, "shape", None) != like.shape or array.dtype != like.dtype:
        raise ValueError(f"{name}: expected {kind_of(like)}, got {kind_of(array)}")
    checked: Array = array
    return checked


def one_precision(op: str, arrays: list[Any], out: Array) -> None:
    """float32 in, float32 out: a stray float64 array would silently slow everything after it.

    Raises:
        TypeError: naming the op, if an argument has other precision than its output.
    """
    size = _real_bytes(out)
    for a in arrays:
        if size and _real_bytes(a) not in (0, size):
            raise TypeError(
                f"{op}: an argument is {a.dtype} but the result would be {out.dtype}; "
                "cast the arguments to one dtype first"
            )


def _real_bytes(a: Any) -> int:
    """Bytes of one real number of `a`; of a complex number, half its bytes; of anything else, 0."""
    kind = a.dtype.kind if hasattr(a, "dtype") else None
    size: int = a.dtype.itemsize if kind == "f" else a.dtype.itemsize // 2 if kind == "c" else 0
    return size


def expect(condition: bool, name: str, expected: str, got: object) -> None:
    """ValueError "name: expected …, got …" unless the condition holds."""
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {got}")


def index_of(place: int, a: Array) -> tuple[int, ...]:
    """Where the element at `place` of the flattened array stands in it."""
    return tuple(int(i) for i in np.unravel_index(place, a.shape))


def kind_of(thing: Any) -> str:
    """In words: the dtype and shape of an array, or what else it is."""
    return f"{thing.dtype} of shape {thing.shape}" if hasattr(thing, "dtype") else repr(thing)


def _cuda(device: str) -> tuple[Any, int]:
    """CuPy and the index of a GPU that answers, or an error that says what is missing."""
    name, _, index = device.partition(":")
    if name != "cuda" or not (index or "0").isdigit():
        raise ValueError(f"device: expected cpu, cuda or cuda:INDEX, got {device!r}")
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(
            f"device {device}: CuPy is not installed ({error}); install it with "
            "pip install 'cupy-cuda12x[ctk]', or 'cupy-cuda13x[ctk]', to match your driver"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device {device}: CuPy {cupy.__version__} finds no usable GPU ({error})"
        ) from None
    if int(index or 0) >= count:
        raise RuntimeError(
            f"device {device}: this machine has {count} GPUs, cuda:0 to cuda:{count - 1}"
        )
    return cupy, int(index or 0)


# Kernels round every operation, as their NumPy twins do. Contraction (a fused multiply-add) would
# round a product and a sum once, not twice.
KERNEL_OPTIONS = ("--std=c++17", "-fmad=false")


@cache
def kernel(name: str, source: str) -> Callable[..., None]:
    """A function of a CUDA source, for GPU arrays.

    It is compiled on its first call, once for each kind of GPU. CuPy caches the result on disk.

    Args:
        name: of the function in the source.
        source: CUDA C++.

    Returns:
        A function (grid, block, arguments), each a tuple, which starts the kernel. Arguments are
        contiguous arrays, None for a null pointer, and Python numbers, which arrive as `long long`
        and `double`.
    """
    import cupy

    function: Callable[..., None] = cupy.RawKernel(source, name, options=KERNEL_OPTIONS)
    return function


def has_tensor_cores(array: Any) -> bool:
    """Does it lie on a GPU whose tensor cores take TF32: of compute capability 8.0 or later?"""
    if array_module(array) is np:
        return False
    return int(array.device.compute_capability) >= 80


_tf32 = False  # are we within `tf32`?


def is_tf32() -> bool:
    """May products of float32 numbers round their factors to TF32? Kernels ask: see `tf32`."""
    return _tf32


@contextmanager
def tf32() -> Iterator[None]:
    """A context in which products of float32 GPU arrays may round their factors to TF32.

    That is 10 bits after the point: faster, and less exact. It needs a GPU of compute capability
    8.0 or later. On older ones CuPy warns, and without CuPy nothing changes.
    """
    global _tf32
    try:
        from cupy._core import get_compute_type, set_compute_type
    except ImportError:
        yield
        return
    before, was = get_compute_type("f"), _tf32
    set_compute_type("f", 7)  # COMPUTE_TYPE_TF32, which CUPY_TF32=1 in the environment sets too
    _tf32 = True
    try:
        yield
    finally:
        set_compute_type("f", before)
        _tf32 = was
