"""CUDA kernels without a GPU: run on the CPU (`Kernel`), and compiled by NVIDIA's own compiler (`nvrtc.compile`). See README.md."""
from .kernel import Kernel, KernelError

__all__ = ["Kernel", "KernelError"]
