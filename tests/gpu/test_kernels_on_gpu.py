"""The hand-written kernels as CuPy starts them: each does what its NumPy twin does.

To the last bit where the case says so: Philox and the normals are among them. The cases are those
of tests/cuda/kernel_cases.py, where the kernels run without CuPy, in three orders and under the
sanitizer.
"""

import numpy as np
import pytest
from kernel_cases import cases
from on_gpu import moved

from autograd.backend import to_numpy


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.label)
def test_a_kernel_does_what_its_twin_does(case):
    arrays = []

    def on_gpu(*arguments):
        arguments = moved(arguments)
        result = case.on_gpu(*arguments)
        if not isinstance(result, tuple):
            result = () if result is None else (result,)
        arrays.extend([*result, *(a for a in arguments if hasattr(a, "get"))])

    case.run(on_gpu)
    twin = case.run(case.twin, None if case.exact else np.float64)
    for got, expected in zip(map(to_numpy, arrays), twin, strict=True):
        assert got.shape == expected.shape
        if case.exact:
            assert got.tobytes() == expected.tobytes()
        else:
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(got, expected, rtol=0, atol=case.tolerance * scale)
