"""The hand-written kernels without a GPU.

They run on the CPU against their NumPy twins, and NVIDIA's compiler compiles them. These tests need
g++ and the package nvidia-cuda-nvrtc. They fail, never skip, without them: `make test-gpu-sim`
brings them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_cases import SOURCES, cases, check

from autograd import backend
from tinyddpm.fast.cuda import convolution, norm_silu, product, weight_gradient
from tinyddpm.fast.cuda.matrix_tiles import THREADS
from tools.kernel_on_cpu import Kernel, nvrtc
from tools.kernel_on_cpu.kernel import kernels_of, sanitizer_environment

pytestmark = pytest.mark.gpu_sim
CASES = list(cases())
IN_TF32 = {
    "convolution, TF32": convolution.SOURCE_TF32,
    "product, TF32": product.SOURCE_TF32,
    "weight_gradient, TF32": weight_gradient.SOURCE_TF32,
}
ARCHITECTURES = ["sm_80", "sm_90"]
ARITHMETIC = ("add", "sub", "mul", "div", "sqrt", "fma", "mad", "rcp")
# With or without .rn, PTX rounds these to the nearest.
ROUNDED_ONCE = {f"{name}{rn}.f64" for name in ("add", "sub", "mul") for rn in ("", ".rn")} | {
    "div.rn.f64",
    "sqrt.rn.f64",
}


def on_cpu(name, source):
    return Kernel(name, source, backend.KERNEL_OPTIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_kernel_does_what_its_twin_does(case, monkeypatch):
    kernels = []

    def noted(name, source):
        kernels.append(on_cpu(name, source))
        return kernels[-1]

    check(case, noted, monkeypatch)
    assert not any(kernel.bank_conflicts for kernel in kernels)


def test_every_kernel_has_cases():
    seen = set()

    def note(name, source):
        seen.add(name)
        return lambda *launch: None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "kernel", note)
        patch.setattr(backend, "has_tensor_cores", lambda array: True)
        for case in CASES:
            case.run(case.on_gpu)
    assert seen == {name for source in SOURCES.values() for name in kernels_of(source)}


def test_every_source_is_here():
    root = Path(__file__).resolve().parents[2] / "tinyddpm"
    texts = ((path.stem, path.read_text(encoding="utf-8")) for path in root.rglob("*.py"))
    assert {name for name, text in texts if "__global__" in text} == SOURCES.keys()


def test_no_kernel_reads_or_writes_out_of_its_arrays():
    environment = os.environ | sanitizer_environment()
    command = [sys.executable, Path(__file__).with_name("kernel_cases.py")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert len(result.stdout.splitlines()) == len(CASES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_nvidias_compiler_takes_it(name, architecture):
    ptx, binary = nvrtc.compile(SOURCES[name], architecture, backend.KERNEL_OPTIONS)
    assert binary[:4] == b"\x7fELF"
    for kernel in kernels_of(SOURCES[name]):
        assert f".visible .entry {kernel}(" in ptx


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", [*SOURCES, *IN_TF32])
def test_a_kernel_has_room_in_registers(name, architecture, capsys):
    """What does not fit there would lie in memory, hundreds of times further away."""
    source = SOURCES[name] if name in SOURCES else IN_TF32[name]
    found = nvrtc.resources(source, architecture, backend.KERNEL_OPTIONS)
    assert found.keys() == set(kernels_of(source))
    for kernel, takes in found.items():
        with capsys.disabled():
            print(f"\n{architecture} {name} {kernel}: {takes}", end="")
        assert takes.spilled == takes.stack == 0 and takes.shared <= 48 << 10
        if name.split(",")[0] in ("convolution", "weight_gradient", "product"):
            # Seven blocks at once, to have something to do while others wait for memory.
            assert 7 * THREADS * takes.registers <= 64 << 10 and 7 * takes.shared <= 164 << 10


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_norms_read_and_write_four_numbers_at_once(architecture):
    ptx, _ = nvrtc.compile(norm_silu.SOURCE, architecture, backend.KERNEL_OPTIONS)
    for kernel in ptx.split(".visible .entry ")[1:]:
        assert "ld.global.v4.f32" in kernel and "st.global.v4.f32" in kernel
    found = nvrtc.resources(norm_silu.SOURCE, architecture, backend.KERNEL_OPTIONS)
    for takes in found.values():  # a multiprocessor has 65,536 registers: room for two blocks
        assert 2 * norm_silu.THREADS * takes.registers <= 65_536


def test_an_array_in_memory_is_seen():
    """Registers have no numbers that a loop could count: an array needs loops that are unrolled."""
    source = SOURCES["convolution"].replace("#pragma unroll", "")
    found = nvrtc.resources(source, "sm_90", backend.KERNEL_OPTIONS)
    assert found["convolve"].stack > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_normals_are_made_of_exactly_rounded_operations_alone(architecture):
    """What NVIDIA's compiler makes of them.

    No product and sum have become one, and quotient and root are rounded to the nearest.
    """
    ptx, _ = nvrtc.compile(SOURCES["box_muller"], architecture, backend.KERNEL_OPTIONS)
    float64 = [word for word in ptx.split() if word.endswith("f64")]
    operations = {word for word in float64 if word.split(".")[0] in ARITHMETIC}
    assert operations <= ROUNDED_ONCE
    assert {"div.rn.f64", "sqrt.rn.f64"} <= operations
    contracted, _ = nvrtc.compile(SOURCES["box_muller"], architecture, ("--std=c++17",))
    assert "fma.rn.f64" in contracted  # so the test would see it
