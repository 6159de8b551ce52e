"""Each equivalent with arguments to try it on, beside the definition that it replaces."""

import numpy as np

from tinyddpm.fast import ops
from tinyddpm.nn import attention, block, conv, linear, norm


def draw(*shapes, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def norm_silu_conv(height, width, c_in, c_out, added):
    """A case that adds nothing, a row or an image."""
    n = 3
    x, gain, shift, w, b = draw(
        (height, width, n, c_in), (c_in,), (c_in,), (3, 3, c_in, c_out), (c_out,)
    )
    shapes = {"row": (n, c_out), "image": (height, width, n, c_out)}
    more = draw(shapes[added], seed=1)[0] if added in shapes else 0.0
    arguments = (x, gain, shift, w, b, more, None)
    return block.norm_silu_conv, ops.norm_silu_conv, arguments, {"groups": 2}


# name -> (definition, equivalent, arguments, options)
CASES = {
    f"norm_silu_conv-{added}-{c_out}": norm_silu_conv(7, 8, 6, c_out, added)
    for added in ("nothing", "row", "image")
    for c_out in (1, 3, 6)
} | {
    "upsample_conv": (
        block.upsample_conv,
        ops.upsample_conv,
        draw((3, 4, 2, 5), (3, 3, 5, 6), (6,)),
        {},
    ),
    "conv2d-3": (conv.conv2d, ops.conv2d, draw((5, 8, 2, 5), (3, 3, 5, 6)), {}),
    "conv2d-1": (conv.conv2d, ops.conv2d, draw((4, 8, 2, 5), (1, 1, 5, 6)), {"padding": 0}),
    "linear": (linear.linear, ops.linear, draw((4, 3, 7), (7, 5), (5,)), {}),
    "linear-in-blocks": (linear.linear, ops.linear, draw((64, 7), (7, 5), (5,)), {}),
    "group_norm": (norm.group_norm, ops.group_norm, draw((4, 3, 2, 6), (6,), (6,)), {"groups": 3}),
    "attention": (attention.attention, ops.attention, draw(*[(4, 3, 2, 6)] * 3), {"heads": 2}),
}
