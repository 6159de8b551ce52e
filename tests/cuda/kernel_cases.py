"""Every hand-written kernel with arguments to try it on, odd shapes above all, and its NumPy twin.

    check(case, kernel, monkeypatch)   # run one case, its kernels made by `kernel(name, source)`
    python -m tests.cuda.kernel_cases  # run all in this process with the address sanitizer

`check` raises AssertionError where a kernel differs from its twin. For the sanitizer see
test_kernels_on_cpu.py.
"""

import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tile_cases import tile_cases

from autograd import backend
from tinyddpm.fast.cuda import (
    add,
    attention,
    columns,
    convolution,
    norm_silu,
    parameters,
    product,
    weight_gradient,
)
from tinyddpm.noise import box_muller, philox
from tools.kernel_on_cpu import Kernel

MODULES = (philox, box_muller, norm_silu, columns, add, convolution, attention, parameters, product)
MODULES += (weight_gradient,)
SOURCES = {module.__name__.split(".")[-1]: module.SOURCE for module in MODULES}

# height, width, n, channels, groups: a group of one channel, of one number, of more channels than
# a block has threads, one by one and by fours; several groups in a block, and more than it can
# take; few blocks, whose pixels are cut into parts
NORMS = [
    (8, 8, 3, 8, 4),
    (5, 7, 2, 6, 3),
    (1, 1, 3, 4, 2),
    (3, 3, 1, 5, 5),
    (2, 3, 2, 1200, 2),
    (1, 1, 2, 3, 3),
    (9, 31, 1, 33, 1),
    (1, 2, 1, 129, 1),
    (4, 5, 2, 24, 12),
    (3, 2, 2, 37, 37),
    (2, 2, 1, 34, 17),
    (1, 2, 1, 602, 2),
    (1, 2, 1, 2056, 2),
    (13, 21, 1, 8, 4),
    (16, 33, 1, 6, 3),
]
# height, width, n, channels, kernel, stride, corner, output size, rows
GEOMETRIES = [
    (5, 4, 2, 3, (3, 3), 1, (1, 1), (5, 4), (0, 5)),
    (5, 4, 2, 3, (3, 3), 1, (1, 1), (5, 4), (2, 4)),
    (7, 6, 1, 2, (3, 2), 2, (0, 1), (3, 3), (1, 3)),
    (1, 1, 3, 5, (3, 3), 1, (1, 1), (1, 1), (0, 1)),
    (8, 8, 1, 1, (3, 3), 2, (1, 1), (4, 4), (0, 4)),
    (6, 5, 2, 4, (1, 1), 3, (0, 0), (2, 2), (0, 2)),
    (4, 9, 2, 2, (5, 3), 1, (0, 2), (1, 11), (0, 1)),
]
# Words at the ends and quarters of their range, and where a root of 2 is passed.
EDGES = [0, 1, 2**32 - 1, 2**31, 2**30, 2**29, 3 * 2**30, 2**29 - 1, 2**31 - 1, 3037000499]


class Case:
    """One call: function(*arguments) on the GPU, and its twin.

    exact: the twin computes in the same precision and every bit must agree. Otherwise it computes
    in float64, and they must agree to `tolerance`.
    """

    def __init__(self, label, on_gpu, twin, arguments, exact, tolerance=2e-6):
        self.label, self.on_gpu, self.twin, self.arguments = label, on_gpu, twin, arguments
        self.exact, self.tolerance = exact, tolerance

    def run(self, function, dtype=None):
        """The arrays that are returned, and the arguments, written to in place, afterwards."""
        arguments = [copied(a, dtype) for a in self.arguments]
        result = function(*arguments)
        if not isinstance(result, tuple):
            result = () if result is None else (result,)
        return [*result, *(a for a in arguments if isinstance(a, np.ndarray))]


def copied(argument, dtype):
    """A copy of an array, in this dtype if it holds floats; anything else as it is."""
    if not isinstance(argument, np.ndarray):
        return argument
    return (
        argument.astype(dtype or argument.dtype) if argument.dtype.kind == "f" else argument.copy()
    )


def check(case, kernel, monkeypatch):
    """AssertionError if the kernels that `kernel(name, source)` makes do not do what the twin does.

    Fresh memory is NaN meanwhile.
    """
    with monkeypatch.context() as patch:
        patch.setattr(backend, "kernel", kernel)
        patch.setattr(backend, "has_tensor_cores", lambda array: True)
        patch.setattr(np, "empty", nan_filled(np.empty))
        patch.setattr(np, "empty_like", nan_filled(np.empty_like))
        got = case.run(case.on_gpu)
    expected = case.run(case.twin, None if case.exact else np.float64)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert a.shape == b.shape and (a.dtype == b.dtype or not case.exact)
        if case.exact:
            np.testing.assert_array_equal(a.view(np.uint8), np.ascontiguousarray(b).view(np.uint8))
        else:
            scale = max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, rtol=0, atol=case.tolerance * scale)


def nan_filled(empty):
    def fresh(*args, **options):
        out = empty(*args, **options)
        out.view(np.uint8)[...] = 0xFF
        return out

    return fresh


def cases():
    random = np.random.default_rng(0)

    def normal(*shape, mean=0.0, spread=1.0):
        return (mean + spread * random.standard_normal(shape)).astype(np.float32)

    def words(*shape):
        w = random.integers(0, 2**32, shape, dtype=np.uint32)
        w.flat[: len(EDGES)] = EDGES[: w.size]
        return w

    yield from noise_cases(words)
    yield from norm_cases(normal)
    yield from column_cases(normal)
    yield from add_cases(normal)
    yield from (Case(*row) for row in tile_cases(normal))
    yield from softmax_cases(normal)
    yield from head_cases(normal)
    yield from part_cases(normal)


def noise_cases(words):
    key, samples = (0xCAFE, 2**32 - 1), np.uint32([0, 5, 2**32 - 1])
    for count in (1, 3, 4, 10, 1030):
        for step in (0, 7 + (9 << 32), 2**64 - 1):
            label, arguments = f"philox-{count}-{step}", (key, step, samples, count)
            yield Case(label, philox.words_on_gpu, philox.words, arguments, True)
    on_gpu, twin = box_muller.box_muller_on_gpu, box_muller.box_muller
    for shape in ((1, 2), (3, 10), (5, 802)):
        for dtype in ("float32", "float64"):
            arguments = (words(*shape), dtype)
            yield Case(f"box_muller-{shape}-{dtype}", on_gpu, twin, arguments, True)


def norm_cases(normal):
    for shape in NORMS:
        *size, c, groups = shape
        x, gain, shift = normal(*size, c, mean=3.0, spread=2.0), normal(c), normal(c)
        g = normal(*size, c)
        for silu in (True, False):
            if size[0] * size[1] * c > groups:
                arguments = (x, gain, shift, groups, 1e-5, silu)
                on_gpu, twin = norm_silu.forward_on_gpu, norm_silu.forward
                yield Case(f"norm-{shape}-{silu}", on_gpu, twin, arguments, False, 1e-5)
            saved = norm_silu.forward(x.astype(np.float64), gain, shift, groups, 1e-1, silu)[1:]
            mean, r = (a.astype(np.float32) for a in saved)
            arguments = (g, x, gain, shift, mean, r, silu)
            on_gpu, twin = norm_silu.backward_on_gpu, norm_silu.backward
            yield Case(f"norm_backward-{shape}-{silu}", on_gpu, twin, arguments, False, 1e-5)


def column_cases(normal):
    for geometry in GEOMETRIES:
        h, w, n, c, kernel, *rest = geometry
        arguments = (normal(h, w, n, c), kernel, *rest)
        yield Case(f"im2col-{geometry}", columns.im2col_on_gpu, columns.im2col, arguments, True)
        rows, size = rest[-1], rest[-2]
        g = normal((rows[1] - rows[0]) * size[1] * n, kernel[0] * kernel[1] * c)
        arguments = (g, normal(h, w, n, c), kernel, *rest)
        yield Case(f"col2im-{geometry}", columns.col2im_on_gpu, columns.col2im, arguments, False)


def add_cases(normal):
    for shape in ((3, 5, 2, 7), (1, 1, 1, 1), (4, 4, 3, 22)):
        _, _, n, c = shape
        y, bias, row, image = normal(*shape), normal(c), normal(n, c), normal(*shape)
        added = {
            "bias": (None, None),
            "row": (row, None),
            "image": (None, image),
            "all": (row, image),
        }
        for label, more in added.items():
            arguments = (y, bias, *more)
            yield Case(f"add-{shape}-{label}", add.add_on_gpu, add.add, arguments, True)


def softmax_cases(normal):
    for shape in ((2, 3, 5, 5), (1, 1, 1, 1), (1, 2, 49, 49), (1, 1, 9, 32), (1, 1, 2, 70)):
        s, scale = normal(*shape, mean=50.0, spread=9.0), 0.25
        on_gpu, twin = attention.softmax_on_gpu, attention.softmax
        yield Case(f"softmax-{shape}", on_gpu, twin, (s, scale), False)
        p = s.astype(np.float64)
        attention.softmax(p, scale)
        on_gpu, twin = attention.softmax_backward_on_gpu, attention.softmax_backward
        arguments = (p.astype(np.float32), normal(*shape), scale)
        yield Case(f"softmax_backward-{shape}", on_gpu, twin, arguments, False)


def head_cases(normal):
    turned = (False, True, True, False, True)
    for shape, heads in (
        ((3, 5, 2, 6), 3),
        ((1, 1, 1, 1), 1),
        ((2, 4, 3, 8), 1),
        ((7, 1, 2, 4), 4),
    ):
        images = [normal(*shape) for _ in turned]
        for some in (1, 3, 5):
            arguments = (images[:some], turned[:some], heads)
            on_gpu, twin = attention.to_heads_on_gpu, attention.to_heads
            yield Case(f"to_heads-{shape}-{some}", on_gpu, twin, arguments, True)
            matrices = attention.to_heads(*arguments)
            on_gpu, twin = attention.to_images_on_gpu, attention.to_images
            yield Case(
                f"to_images-{shape}-{some}", on_gpu, twin, (matrices, turned[:some], shape), True
            )


def part_cases(normal):
    """(length of the vector, lengths of the parts, which lie in it one after the other)."""
    many = [1 + i % 7 for i in range(2 * parameters.PARTS + 3)]
    for size, lengths in ((7, [7]), (40, [3, 30, 5]), (20000, [17000, 1]), (1000, many)):
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        parts = [(start, normal(n)) for start, n in zip(starts, lengths)][::-1]
        arguments = (normal(size), normal(size), parts)
        on_gpu, twin = parameters.add_parts_on_gpu, parameters.add_parts
        yield Case(f"add_parts-{size}-{len(parts)}", on_gpu, twin, arguments, True)


if __name__ == "__main__":
    import pytest

    for case in cases():
        print(case.label, flush=True)
        check(case, lambda name, source: Kernel(name, source, sanitize=True), pytest.MonkeyPatch)
