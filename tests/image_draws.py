"""Arguments for the U-Net's ops, as `gradient_test(draw=…)` takes them.

The definitions, their faster equivalents and the GPU's ops are tried on the same ones.
"""

from hypothesis import strategies as st

from autograd.testing import arrays_near, images
from tinyddpm.nn import attention, block, conv, linear, norm

IMAGES = images(h=(1, 9), w=(1, 7), n=(1, 3), c=(1, 6))
# At least two numbers in a group: one alone is its own mean, with no spread to divide by.
NORMED = images(h=(2, 9), w=(1, 7), n=(1, 3), c=(1, 6))
OUTPUTS = st.integers(1, 6)


def arrays(*shapes):
    return st.tuples(*map(arrays_near, shapes))


def divisors(channels):
    return st.sampled_from([n for n in (1, 2, 3, 6) if channels % n == 0])


@st.composite
def convolutions(draw):
    """Any kernel that fits, with any stride and padding."""
    h, w, n, c = draw(IMAGES)
    side = st.tuples(st.integers(0, 2), st.integers(0, 2))
    rows, columns = padding = draw(st.tuples(side, side))
    kernel = [draw(st.integers(1, min(4, m + sum(p)))) for m, p in ((h, rows), (w, columns))]
    options = {"stride": draw(st.integers(1, 3)), "padding": padding}
    return draw(arrays((h, w, n, c), (*kernel, c, draw(OUTPUTS)))), options


@st.composite
def of_kernel(draw, side, bias=False, **options):
    """A square kernel and, if asked for, a bias for its outputs."""
    (*size, c), outputs = draw(IMAGES), draw(OUTPUTS)
    more = [(outputs,)] if bias else []
    chosen = draw(st.fixed_dictionaries(options))
    return draw(arrays((*size, c), (side, side, c, outputs), *more)), chosen


@st.composite
def one_image(draw):
    return draw(arrays(draw(IMAGES))), {}


@st.composite
def linears(draw):
    shape, outputs = draw(IMAGES), draw(OUTPUTS)
    return draw(arrays(shape, (shape[-1], outputs), (outputs,))), {}


@st.composite
def group_norms(draw):
    shape = draw(NORMED)
    channels = shape[-1:]
    return draw(arrays(shape, channels, channels)), {"groups": draw(divisors(*channels))}


@st.composite
def attentions(draw):
    shape = draw(images(h=(1, 4), w=(1, 3), c=(1, 6)))
    return draw(arrays(shape, shape, shape)), {"heads": draw(divisors(shape[-1]))}


@st.composite
def norm_silu_convs(draw):
    """What is added is nothing, a row for each sample, or an image."""
    (h, w, n, c), outputs = draw(NORMED), draw(OUTPUTS)
    found = draw(arrays((h, w, n, c), (c,), (c,), (3, 3, c, outputs), (outputs,)))
    shape = draw(st.sampled_from([None, (n, outputs), (h, w, n, outputs)]))
    added = 0.0 if shape is None else draw(arrays_near(shape))
    return (*found, added, None), {"groups": draw(divisors(c))}


# name -> (definition, its arguments)
OPS = {
    "conv2d": (conv.conv2d, convolutions()),
    "linear": (linear.linear, linears()),
    "group_norm": (norm.group_norm, group_norms()),
    "attention": (attention.attention, attentions()),
    "norm_silu_conv": (block.norm_silu_conv, norm_silu_convs()),
    "upsample_conv": (block.upsample_conv, of_kernel(3, bias=True)),
    "repeat2": (block.repeat2, one_image()),
}
