"""Plant bugs in the Python code that runs on a GPU, and see which layer of the checks finds each:

    make test-gpu-sim          # builds the simulated GPU, once
    .venv-gpu-sim/bin/python tests/mutants/gpu.py

The layers are the lint (tests/test_device_code.py), the signatures of the real CuPy
(test_signatures.py), and a test named with the bug. That test runs under the simulator, with our
kernels on the CPU, or, for what goes wrong in the same way on both, on NumPy. Every layer is asked
about every bug. Bugs inside the kernels are in tests/cuda/mutant_gallery.py and a part of
`make test-gpu-sim`.

Prints a table; ends with status 1 if a bug is not found by exactly the layers that it names.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import run

os.environ["TINYDDPM_GPU"] = "simulated"
run.PARTS = *run.PARTS, "tools"
LINT, SIGNATURES = "tests/test_device_code.py", "tests/gpu/simulated/test_signatures.py"
OPS = "tests/gpu/test_ops_on_gpu.py::test_cupy_gives_what_numpy_gives"
BORDERS = "tests/gpu/test_borders_on_gpu.py::"
TRAINING = "tests/gpu/test_training_on_gpu.py::test_three_steps_of_training[0.0]"
STEP = (
    "tests/gpu/simulated/test_the_simulated_gpu.py"
    "::test_a_training_step_moves_nothing_but_J[definitions]"
)
GRAPH = "tests/gpu/test_graph_on_gpu.py::test_"
KERNELS, NUMPY = "tests/cuda/test_gpu_ops_on_cpu.py::", "tests/autograd/"
RESIDENT = "_resident(table.astype(like.dtype).tobytes(), table.shape, like.dtype, like.device.id)"


class Bug(NamedTuple):
    name: str
    file: str
    right: str  # stands there once
    wrong: str
    test: str  # the third layer
    layers: str  # which find it


BUGS = [
    Bug(
        "an implicit conversion to the host",
        "autograd/more_ops.py",
        "out = array_module(x).exp(x)",
        "out = np.exp(np.asarray(x))",
        f"{OPS}[exp]",
        "lint, simulator",
    ),
    Bug(
        "a function that CuPy does not have",
        "autograd/more_ops.py",
        "lambda g: tuple(xp.moveaxis(g, axis, 0))",
        "lambda g: xp.unstack(g, axis=axis)",
        f"{OPS}[stack]",
        "signatures, simulator",
    ),
    Bug(
        "a keyword that CuPy does not have",
        "tinyddpm/nn/conv.py",
        "(padded).empty((ho, wo, n, kh, kw, c), padded.dtype)",
        '(padded).empty((ho, wo, n, kh, kw, c), padded.dtype, device="cpu")',
        TRAINING,
        "signatures, simulator",
    ),
    Bug(
        "a table left on the host",
        "autograd/backend.py",
        f"    there = {RESIDENT}",
        "    return table.astype(like.dtype)",
        TRAINING,
        "simulator",
    ),
    Bug(
        "a table copied at every step",
        "autograd/backend.py",
        "@lru_cache(maxsize=64)",
        "@lru_cache(maxsize=0)",
        STEP,
        "simulator",
    ),
    Bug(
        "a table on the wrong GPU",
        "autograd/backend.py",
        "with cupy.cuda.Device(index):",
        "with cupy.cuda.Device(0):",
        BORDERS + "test_a_second_gpu_becomes_the_current_one",
        "simulator",
    ),
    Bug(
        "a hidden read from the device",
        "tinyddpm/train.py",
        "yield Step(k, J, errors, t)",
        "yield Step(k, J, errors, t) if float(errors.max()) >= 0 else None",
        STEP,
        "simulator",
    ),
    Bug(
        "noise drawn on the host",
        "tinyddpm/noise/philox.py",
        "if backend.array_module(samples) is not np:",
        "if False:",
        BORDERS + "test_noise_is_the_same_to_the_last_bit",
        "simulator",
    ),
    Bug(
        "an in-place add into a shared gradient",
        "autograd/engine.py",
        "elif parent in owned:",
        "elif True:",
        NUMPY + "test_engine.py::test_backward_adds_in_place_only_to_sums_it_allocated",
        "numpy",
    ),
    Bug(
        "a kernel handed an array with other strides",
        "tinyddpm/fast/cuda/ops.py",
        "_convolve(_contiguous(x)[0], w, stride, _sides(padding))",
        "_convolve(x, w, stride, _sides(padding))",
        KERNELS + "test_convolution[1]",
        "kernel",
    ),
    Bug(
        "a float where a kernel takes an integer",
        "tinyddpm/fast/cuda/add.py",
        "(y, bias, row, image, y.size, n, c)",
        "(y, bias, row, image, y.size / 1, n, c)",
        KERNELS + "test_norm_silu_conv",
        "kernel",
    ),
    Bug(
        "a graph that keeps the first mini-batch",
        "tinyddpm/fast/cuda/graph.py",
        "            fixed[...] = arrays[name]",
        "            pass",
        GRAPH + "five_steps_are_the_same_to_the_bit[plain-descent]",
        "simulator",
    ),
    Bug(
        "a graph whose arrays are replaced between two launches",
        "tinyddpm/fast/cuda/graph.py",
        "        for name, fixed in self.arrays.items():\n            fixed[...] = arrays[name]",
        "        self.arrays = {name: a.copy() for name, a in arrays.items()}",
        GRAPH + "five_steps_are_the_same_to_the_bit[classes-descent]",
        "simulator",
    ),
    Bug(
        "a graph with the first step's dropout",
        "tinyddpm/fast/cuda/graph.py",
        "fixed[...] = dropout(fixed.shape[1:])",
        "dropout(fixed.shape[1:])",
        GRAPH + "five_steps_are_the_same_to_the_bit[dropout-descent]",
        "simulator",
    ),
    Bug(
        "a graph in memory that others get too",
        "tinyddpm/fast/cuda/graph.py",
        "cupy.cuda.using_allocator(pool.malloc), ",
        "",
        GRAPH + "five_steps_are_the_same_to_the_bit[plain-descent]",
        "simulator",
    ),
    Bug(
        "a graph that does not keep its tables",
        "tinyddpm/fast/cuda/graph.py",
        "stream.end_capture(), pool, tables",
        "stream.end_capture(), pool",
        GRAPH + "a_graph_of_other_arrays_is_captured_anew",
        "simulator",
    ),
    Bug(
        "errors that the next launch of a graph overwrites",
        "tinyddpm/fast/cuda/graph.py",
        "return J.copy(), errors.copy()",
        "return J, errors",
        GRAPH + "five_steps_are_the_same_to_the_bit[plain-descent]",
        "simulator",
    ),
]


def third_layer(test):
    """What this test belongs to."""
    if test.startswith(KERNELS):
        return "kernel"
    return "numpy" if test.startswith(NUMPY) else "simulator"


def found_by(bug):
    """The names of the layers that find the bug."""
    with tempfile.TemporaryDirectory() as folder:
        folder = run.planted(bug, folder)
        asked = {"lint": LINT, "signatures": SIGNATURES, third_layer(bug.test): bug.test}
        return ", ".join(layer for layer, test in asked.items() if run.fails(folder, test))


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tests = dict.fromkeys(bug.test for bug in BUGS)
        if run.fails(run.copy_to(folder), LINT, SIGNATURES, *tests):
            raise RuntimeError("a test fails without any bug")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(found_by, BUGS))
    for bug, layers in zip(BUGS, results):
        expected = "" if layers == bug.layers else f"(expected {bug.layers}) "
        print(f"{layers or 'LIVES':22}{expected}{bug.file:28}  {bug.name}")
    right = sum(layers == bug.layers for bug, layers in zip(BUGS, results))
    seconds = time.monotonic() - began
    print(f"{right} of {len(BUGS)} bugs found by the layers they name, in {seconds:.0f} s")
    return 0 if right == len(BUGS) else 1


if __name__ == "__main__":
    sys.exit(main())
