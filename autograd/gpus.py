"""What there is besides arrays: this machine's GPUs, and NVIDIA's library to send between them.

CuPy comes from `backend`, as everywhere.
"""

import warnings
from importlib import import_module
from typing import Any

from .backend import _cuda


def gpus(device: str = "cuda") -> list[tuple[str, str]]:
    """Of each GPU that this process sees: its kind, and a name that no other one has.

    Raises as `to_device` does, if there is no GPU of the name `device`.
    """
    runtime = _cuda(device)[0].cuda.runtime
    numbers = range(runtime.getDeviceCount())
    found = [(runtime.getDeviceProperties(i), runtime.deviceGetPCIBusId(i)) for i in numbers]
    # Parts of one card (MIG) have the same bus id.
    return [(its["name"].decode(), f"{bus} {its['uuid'].hex()}") for its, bus in found]


def nccl() -> Any:
    """CuPy's module of NCCL's functions. NCCL itself need not be there: see its `available`."""
    with warnings.catch_warnings(action="ignore"):  # CuPy's, that it is not
        return import_module("cupy.cuda.nccl")
