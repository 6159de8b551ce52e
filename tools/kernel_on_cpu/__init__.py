"""CUDA kernels without a GPU. See README.md.

`Kernel` runs them on the CPU; `nvrtc.compile` compiles them with NVIDIA's own compiler.
"""

from .kernel import Kernel, KernelError

__all__ = ["Kernel", "KernelError"]
