"""NVIDIA's own compiler, which needs no GPU: does a kernel really compile, and to which code?

The library is in the package nvidia-cuda-nvrtc. Nothing else is needed as long as the source
includes no headers.
"""

import ctypes
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class NvrtcError(RuntimeError):
    """What NVRTC said."""


def compile(source, architecture, options=("--std=c++17", "-fmad=false")):
    """PTX, as text, and machine code, as bytes, of a CUDA source. Raises NvrtcError.

    architecture: such as "sm_90".
    """
    ptx = _compile(source, (f"-arch=compute_{architecture[3:]}", *options), "PTX")
    machine_code = _compile(source, (f"-arch={architecture}", *options), "CUBIN")
    return ptx.decode(), machine_code


class Resources(NamedTuple):
    """What a thread of a kernel takes, and in `shared` what a block takes."""

    registers: int
    spilled: int  # bytes of registers that were written to memory, and read again
    stack: int  # bytes of arrays that lie in memory
    shared: int  # bytes


def resources(source, architecture, options=("--std=c++17", "-fmad=false")):
    """{kernel: Resources} of a CUDA source, as NVIDIA's compiler reports them."""
    flags = (f"-arch={architecture}", *options, "--ptxas-options=-v")
    report, found = _compile(source, flags, "ProgramLog").decode(), {}
    for part in report.split("Compiling entry function ")[1:]:

        def number(pattern, part=part):
            return sum(map(int, re.findall(pattern, part)))

        found[part.split("'")[1]] = Resources(
            number(r"Used (\d+) registers"),
            number(r"(\d+) bytes spill"),
            number(r"(\d+) bytes stack frame"),
            number(r"(\d+) bytes smem"),
        )
    return found


def version():
    """(major, minor)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def _compile(source, options, kind):
    program = ctypes.c_void_p()
    _check(
        library().nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
        )
    )
    try:
        flags = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = library().nvrtcCompileProgram(program, len(options), flags)
        if status:
            raise NvrtcError(_text(program, "ProgramLog").decode())
        return _text(program, kind)
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))


def _text(program, what):
    """What the program has of that name. NVRTC takes two calls: for its length, and for itself."""
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, text))
    return text.raw if what == "CUBIN" else text.value


def _check(status):
    if status:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise NvrtcError(library().nvrtcGetErrorString(status).decode())


@cache
def library():
    """Libnvrtc, wherever the package has put it."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    raise NvrtcError(
        "no NVRTC: expected the package nvidia-cuda-nvrtc in this environment "
        "(pip install nvidia-cuda-nvrtc)"
    )
