"""Arguments for the kernels that use tensor cores: what `kernel_cases.py` makes a Case of."""

from functools import wraps

from autograd import backend
from tinyddpm.fast.cuda import convolution, product, weight_gradient

# height, width, n, channels, outputs, kernel, stride, corner, output size: channels that can be
# copied four at a time and others, several tiles in each direction, windows that begin within the
# image, gaps of one and of two, and a sum so long that an inexact one shows
CONVOLUTIONS = [
    (5, 4, 2, 3, 5, (3, 3), 1, (1, 1), (5, 4)),
    (9, 7, 2, 8, 12, (3, 3), 1, (1, 1), (9, 7)),
    (6, 5, 3, 20, 70, (1, 1), 1, (0, 0), (6, 5)),
    (6, 5, 3, 70, 20, (1, 1), 1, (0, 0), (6, 5)),
    (7, 6, 1, 4, 4, (3, 2), 2, (0, 1), (3, 3)),
    (8, 9, 2, 6, 36, (3, 3), 2, (1, 1), (4, 5)),
    (1, 1, 3, 5, 1, (3, 3), 1, (1, 1), (1, 1)),
    (4, 9, 2, 2, 3, (5, 3), 1, (0, 2), (1, 11)),
    (8, 7, 1, 3, 5, (2, 3), 3, (-1, 1), (2, 3)),
    (2, 2, 1, 260, 4, (3, 3), 1, (1, 1), (2, 2)),
    (2, 2, 1, 4, 260, (3, 3), 1, (1, 1), (2, 2)),
]
# shapes of two factors
PRODUCTS = [((2, 3, 16, 8), (2, 3, 8, 16)), ((1, 70, 20), (1, 20, 65)), ((2, 5, 33), (2, 33, 7))]
# For the gradient of a weight: the same up to kernel, and how many parts the sum over its pixels
# has. Groups of 8 are full, are short, or have one member; there are one, two and three rounds.
IN_PARTS = [
    (16, 20, 2, 8, 8, (3, 3), 2),
    (8, 9, 2, 70, 68, (1, 1), 9),
    (6, 8, 2, 3, 5, (3, 3), 16),
    (10, 14, 2, 3, 5, (1, 1), 70),
]


def tile_cases(normal):
    """(label, kernel, twin, arguments, exact, tolerance), the arguments drawn by `normal`."""
    yield from convolution_cases(normal)
    yield from weight_cases(normal)
    yield from product_cases(normal)


def convolution_cases(normal):
    for geometry in CONVOLUTIONS:
        h, w, n, c, outputs, kernel, stride, corner, size = geometry
        x, weight = normal(h, w, n, c, mean=1.0), normal(*kernel, c, outputs, mean=0.5)
        more = normal(outputs), normal(n, outputs), normal(*size, n, outputs)
        on_gpu, twin = convolution.convolve_on_gpu, convolution.convolve
        for label, added in (("alone", (None,) * 3), ("and more", more)):
            arguments = (x, weight, stride, corner, size, *added)
            yield (f"convolve-{geometry}-{label}", on_gpu, twin, arguments, False, 2e-6)
        yield (f"convolve-{geometry}-TF32", in_tf32(on_gpu), twin, arguments, False, 1e-3)
        on_gpu, twin = convolution.input_gradient_on_gpu, convolution.input_gradient
        arguments = (normal(*size, n, outputs, mean=1.0), weight, stride, corner, (h, w))
        yield (f"convolve_turned-{geometry}", on_gpu, twin, arguments, False, 2e-6)
        yield (f"convolve_turned-{geometry}-TF32", in_tf32(on_gpu), twin, arguments, False, 1e-3)


def weight_cases(normal):
    on_gpu, twin = weight_gradient.weight_gradient_on_gpu, weight_gradient.weight_gradient
    for geometry in CONVOLUTIONS:
        h, w, n, c, outputs, kernel, stride, corner, size = geometry
        arguments = (
            normal(h, w, n, c, mean=1.0),
            normal(*size, n, outputs),
            kernel,
            stride,
            corner,
        )
        yield (f"convolve_weight-{geometry}", on_gpu, twin, arguments, False, 2e-6)
    yield (f"convolve_weight-{geometry}-TF32", in_tf32(on_gpu), twin, arguments, False, 1e-3)
    for geometry in IN_PARTS:
        h, w, n, c, outputs, kernel, parts = geometry
        corner = kernel[0] // 2, kernel[1] // 2
        arguments = (normal(h, w, n, c, mean=1.0), normal(h, w, n, outputs), kernel, 1, corner)
        some = in_parts(on_gpu, h * w * n, parts)
        yield (f"convolve_weight-{geometry}", some, twin, arguments, False, 2e-6)


def product_cases(normal):
    on_gpu, twin = product.product_on_gpu, product.product
    for shapes in PRODUCTS:
        arguments = [normal(*shape, mean=1.0) for shape in shapes]
        yield (f"product-{shapes}", on_gpu, twin, arguments, False, 2e-6)
        yield (f"product-{shapes}-TF32", in_tf32(on_gpu), twin, arguments, False, 1e-3)


def in_tf32(function):
    @wraps(function)
    def run(*arguments):
        backend._tf32 = True
        try:
            return function(*arguments)
        finally:
            backend._tf32 = False

    return run


def in_parts(function, pixels, parts):
    """The function, with so many parts of a sum over so many pixels."""

    @wraps(function)
    def run(*arguments):
        before, weight_gradient.LEAST = weight_gradient.LEAST, pixels // parts
        try:
            return function(*arguments)
        finally:
            weight_gradient.LEAST = before

    return run
