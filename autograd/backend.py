"""NumPy or CuPy: everything that depends on which one, and the only file that touches `cupy`.

`array_module(x)` gives the module an array belongs to, so that one line of code serves both:
`xp = array_module(x); return xp.exp(x)`. Data moves between them only where someone calls `to_device` or `to_numpy`.
"""
import sys

import numpy as np


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
    """`array` on `device`: "cpu", "cuda" or "cuda:1". Raises RuntimeError, naming what is missing, if there is no such device."""
    if device == "cpu":
        return to_numpy(array)
    cupy, index = _cuda(device)
    with cupy.cuda.Device(index):
        return cupy.asarray(array)


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
