"""What these tests share: the same computation in NumPy and on the GPU, to a tolerance."""

import numpy as np

from autograd.backend import array_module, to_device, to_numpy

# As a fraction of a result's largest number. Sums run in another order in CuPy, and exp, log, sin …
# differ in their last digit.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def moved(value, device="cuda"):
    """`value` with every NumPy array in it, in tuples, lists, dictionaries too, on the device."""
    if isinstance(value, np.ndarray):
        return to_device(value, device)
    if isinstance(value, (tuple, list)):
        return (list if isinstance(value, list) else tuple)(moved(v, device) for v in value)
    if isinstance(value, dict):
        return {name: moved(v, device) for name, v in value.items()}
    return value


def on_gpu(array):
    return array_module(array) is not np


def assert_same(gpu, cpu, what="", tolerance=None):
    """A GPU array and a NumPy array: each where it belongs, equal up to TOLERANCE."""
    assert on_gpu(gpu) and type(cpu) is np.ndarray, f"{what}: {type(gpu)}, {type(cpu)}"
    assert (gpu.shape, gpu.dtype) == (cpu.shape, cpu.dtype), what
    tolerance = TOLERANCE.get(str(cpu.dtype), 0) if tolerance is None else tolerance
    atol = tolerance * abs(cpu).max(initial=0)
    np.testing.assert_allclose(to_numpy(gpu), cpu, rtol=tolerance, atol=atol, err_msg=what)


def bound(module, theta, device):
    """The module with a copy of the NumPy vector θ on the device, and a gradient of zeros."""
    return module.bind(to_device(theta.copy(), device), to_device(np.zeros_like(theta), device))
