"""NumPy or CuPy: everything that depends on which one, and the only file that touches `cupy`.

`array_module(x)` gives the module an array belongs to, so that one line of code serves both:
`xp = array_module(x); return xp.exp(x)`. Data moves between them only where someone calls `to_device` or `to_numpy`.
"""
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# A NumPy or a CuPy array. CuPy is not needed to check types: its arrays have NumPy's methods.
Array: TypeAlias = npt.NDArray[Any]

# What an op returns: its output, and its pullback from the output's gradient to its arguments'.
Pullback: TypeAlias = Callable[[Array], tuple[Array | None, ...]]
Forward: TypeAlias = tuple[Array, Pullback]


def array_module(*arrays):
    """`cupy` if any of the arrays lives on a GPU, else `numpy`."""
    cupy = sys.modules.get("cupy")  # nobody can hold a CuPy array before CuPy is imported
    if cupy is not None and any(isinstance(a, cupy.ndarray) for a in arrays):
        return cupy
    return np


def special(*arrays):
    """`scipy.special`, or `cupyx.scipy.special` if any of the arrays lives on a GPU: erf and other special functions."""
    if array_module(*arrays) is np:
        import scipy.special
        return scipy.special
    import cupyx.scipy.special
    return cupyx.scipy.special


def as_array(data):
    """`data` itself if it is an array; Python and NumPy scalars and lists become NumPy arrays.

    NumPy's reductions return immutable scalars where CuPy's return arrays of no dimension; here both become arrays.
    """
    if type(data) is np.ndarray or array_module(data) is not np:
        return data
    return np.asarray(data)


def to_numpy(array):
    """A copy of a GPU array in main memory; a NumPy array is returned as it is."""
    return array.get() if array_module(array) is not np else np.asarray(array)


def to_device(array, device="cpu"):
    """`array` on `device`: "cpu", "cuda" or "cuda:1". Raises RuntimeError, naming what is missing, if there is no such device.

    A GPU becomes the current one of this thread: CuPy computes there, and only with arrays that lie there.
    """
    if device == "cpu":
        return to_numpy(array)
    cupy, index = _cuda(device)
    cupy.cuda.Device(index).use()
    return cupy.asarray(array)


def constant(table, like):
    """The NumPy array `table` with the dtype of the array `like`, and beside it. A GPU keeps it: an equal table is copied there once."""
    if array_module(like) is np:
        return table.astype(like.dtype)
    return _resident(table.astype(like.dtype).tobytes(), table.shape, like.dtype, like.device.id)


@lru_cache(maxsize=64)
def _resident(data, shape, dtype, index):
    import cupy
    with cupy.cuda.Device(index):
        return cupy.asarray(np.frombuffer(data, dtype).reshape(shape))


def within(name, numbers, low, high):
    """The integers `numbers`, if all of them are in {low..high}; ValueError, which names them, if not.

    To look at numbers on a GPU means to wait for it. So there one that is out of range comes back as low - 1 or high + 1, for
    the caller to make NaN of: an index itself would be taken modulo the array's length, without a word.
    """
    if array_module(numbers) is not np:
        return numbers.astype(np.int64, copy=False).clip(low - 1, high + 1)
    if numbers.size and not low <= numbers.min() <= numbers.max() <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {numbers.min()} to {numbers.max()}")
    return numbers


def alike(name, array, like):
    """The array, if it has the shape and the dtype of the array `like`; ValueError, which names it, if not: broadcast, one number might be taken for many."""
    if getattr(array, "shape", None) != like.shape or array.dtype != like.dtype:
        raise ValueError(f"{name}: expected {kind_of(like)}, got {kind_of(array)}")
    return array


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
    """Bytes of one real number of `a`: of a complex number, those of a half; of others, 0."""
    kind = a.dtype.kind if hasattr(a, "dtype") else None
    return a.dtype.itemsize if kind == "f" else a.dtype.itemsize // 2 if kind == "c" else 0


def expect(condition: bool, name: str, expected: str, got: object) -> None:
    """ValueError "name: expected …, got …" unless the condition holds."""
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {got}")


def kind_of(thing):
    """In words: the dtype and shape of an array, or what else it is."""
    return f"{thing.dtype} of shape {thing.shape}" if hasattr(thing, "dtype") else repr(thing)


def _cuda(device):
    """CuPy and the index of a GPU that answers, or an error that says what was found and what to install."""
    name, _, index = device.partition(":")
    if name != "cuda" or not (index or "0").isdigit():
        raise ValueError(f"device: expected cpu, cuda or cuda:INDEX, got {device!r}")
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(f"device {device}: CuPy is not installed ({error}); install it with "
                           "pip install 'tinyddpm[cuda12]' or 'tinyddpm[cuda13]', as your driver has it") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"device {device}: CuPy {cupy.__version__} finds no usable GPU ({error})") from None
    if int(index or 0) >= count:
        raise RuntimeError(f"device {device}: this machine has {count} GPUs, cuda:0 to cuda:{count - 1}")
    return cupy, int(index or 0)


# Kernels round every operation, as their NumPy twins do: contraction would make one rounding of a product and a sum.
KERNEL_OPTIONS = ("--std=c++17", "-fmad=false")


@cache
def kernel(name, source):
    """The function `name` of a CUDA source, for GPU arrays: called with (grid, block, arguments), each a tuple, it starts the kernel.

    Arguments are contiguous arrays, None for a null pointer, and Python numbers, which arrive as `long long` and `double`.
    It is compiled when it is first called, once for each kind of GPU, and kept on disk by CuPy.
    """
    import cupy
    return cupy.RawKernel(source, name, options=KERNEL_OPTIONS)


@contextmanager
def tf32():
    """Within `with tf32():` products of float32 GPU arrays may use the tensor cores: faster, with factors rounded to 10 bits after the point.

    GPUs from compute capability 8.0 on have them; on older ones CuPy warns, and without CuPy nothing changes.
    """
    try:
        from cupy._core import get_compute_type, set_compute_type
    except ImportError:
        yield
        return
    before = get_compute_type("f")
    set_compute_type("f", 7)  # COMPUTE_TYPE_TF32, which is what CuPy's environment variable CUPY_TF32=1 sets too
    try:
        yield
    finally:
        set_compute_type("f", before)
