"""The hand-written kernels as CuPy starts them: each does what its NumPy twin does, to the last bit where it says so (Philox and the normals among them).

The cases are those of tests/cuda/kernel_cases.py, where the kernels run without CuPy, in three orders and under the sanitizer.
"""
import numpy as np
import pytest
from kernel_cases import cases
from on_gpu import moved

from autograd.backend import to_numpy


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.label)
def test_a_kernel_does_what_its_twin_does(case):
    arrays = []

    def on_gpu(*cond):
        cond = moved(cond)
        result = case.on_gpu(*cond)
        arrays.extend([*(result if isinstance(result, tuple) else () if result is None else (result,)), *(a for a in cond if hasattr(a, "get"))])

    case.run(on_gpu)
    for got, expected in zip(map(to_numpy, arrays), case.run(case.twin, None if case.exact else np.float64), strict=True):
        assert got.shape == expected.shape
        if case.exact:
            assert got.tobytes() == expected.tobytes()
        else:
            np.testing.assert_allclose(got, expected, rtol=0, atol=case.tolerance * max(1.0, float(np.abs(expected).max())))
