"""The layers of the U-Net. They know images, and nothing of the diffusion process.

One thing here is unusual: inside the network an image batch is stored as H W N C (height, width,
sample, channel), and a convolution's weight as kh kw Cin Cout. NumPy is fast when an operation
touches one long contiguous run of memory. Convolution, the expensive part, is made of shifts, and
`x[i:i+H, j:j+W]` takes runs of W·N·C numbers in this layout; N C H W would cut the image into
pieces of W. The layout also makes broadcasting natural: a time embedding (N, C) or a bias (C,) is
simply added. Callers of the U-Net see none of it: images are N C H W there, as everywhere else, and
`unet.py` transposes at its door.

Read in this order: `module.py` (what a parameter is), `linear.py`, `conv.py`, `norm.py`,
`attention.py`, `time.py`, `block.py`, `unet.py`; `multipliers.py` when you meet it. Faster code may
take the place of what is `@replaceable` (`equivalents.py`, one level up).
"""

from .unet import UNet, UNetConfig

__all__ = ["UNet", "UNetConfig"]
