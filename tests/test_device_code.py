"""Code that GPU arrays pass through takes the array module from its arrays, never NumPy itself.

NumPy called by name in such code raises on a CuPy array at best. At worst it computes something on
the host that should have been on the GPU. So we look at each use of `np` in these files. Dtypes are
the same for both modules; functions are allowed only where the list below says why.
"""

import ast

import pytest
from test_architecture import ROOT

CORE = ("schedule", "diffusion", "objective", "sampler", "train")
DEVICE_CODE = sorted(
    [
        *(ROOT / "autograd" / f"{name}.py" for name in ("engine", "ops", "more_ops", "tensor")),
        *(ROOT / "tinyddpm" / f"{name}.py" for name in CORE),
        *(
            path
            for folder in ("noise", "nn", "more", "fast/cuda")
            for path in (ROOT / "tinyddpm" / folder).glob("*.py")
        ),
        ROOT / "tinyddpm" / "runs" / "ema.py",
    ]
)

DTYPES = {"float32", "float64", "uint32", "uint64", "int64", "dtype", "ndarray"}

# What may call NumPy, and why. Tables of a schedule are float64, on the host, cast and moved by
# `at`. The others work on other host data.
TABLES, TWIN = "tables", "the NumPy twin of the kernel"
ON_THE_HOST = {
    "autograd/more_ops.py": {"pad": "`width` is numbers, not an array"},
    "tinyddpm/schedule.py": dict.fromkeys(["Schedule.__init__", "linear", "cosine", "at"], TABLES),
    "tinyddpm/diffusion.py": {
        "q_sample": TABLES,
        "posterior_coefficients": TABLES,
        "posterior_variance": TABLES,
        "predicted_noise": TABLES,
    },
    "tinyddpm/sampler.py": {"ancestral": TABLES},
    "tinyddpm/noise/philox.py": dict.fromkeys(["philox", "words"], TWIN),
    "tinyddpm/noise/box_muller.py": dict.fromkeys(["box_muller", "cosine_and_sine"], TWIN),
    "tinyddpm/fast/cuda/attention.py": {"softmax": TWIN},
    "tinyddpm/fast/cuda/columns.py": dict.fromkeys(["col2im", "_pad"], TWIN),
    "tinyddpm/fast/cuda/convolution.py": dict.fromkeys(
        ["convolve", "input_gradient", "under_tap"], TWIN
    ),
    "tinyddpm/fast/cuda/weight_gradient.py": {"weight_gradient": TWIN},
    "tinyddpm/fast/cuda/norm_silu.py": dict.fromkeys(
        ["forward", "backward", "_slope", "_per_channel"], TWIN
    ),
    "tinyddpm/more/chain.py": {
        "q_step": TABLES,
        "q_chain": "t, which may lie on the host: `at` takes it to the table",
    },
    "tinyddpm/more/curvature.py": {"kinds": "masks, made on the host"},
    "tinyddpm/more/gaussian.py": {
        "least_J": TABLES,
        "probability_flow": TABLES,
        "moments": "takes samplers on the host",
        "moments.units": "takes samplers on the host",
        "_principal": "a covariance, on the host",
    },
    "tinyddpm/more/points.py": {
        **dict.fromkeys(
            ["roll", "moons", "checkerboard", "_uniform", "_points"], "data, made on the host"
        ),
        "PointNet.__init__": TABLES,
    },
    "tinyddpm/more/likelihood.py": {
        "step_coefficients": TABLES,
        "model_variance": TABLES,
        "_squares": "a dtype",
        "Bound.__init__": "what `terms` gave, brought to the host",
        "mean_and_error": "of a Bound",
    },
    "tinyddpm/more/predictions.py": dict.fromkeys(
        ["weights", "roots", "_signal", "_noise"], TABLES
    ),
    "tinyddpm/more/variance.py": {"_log_tables": TABLES},
    "tinyddpm/more/reverse.py": {
        "posterior_mean_from_eps": TABLES,
        "posterior_mean_from_v": TABLES,
        "interpolated_variance": TABLES,
        "_visited": "timesteps, on the host",
    },
    "tinyddpm/more/schedules.py": dict.fromkeys(
        [
            "",
            "quadratic",
            "sigmoid_beta",
            "sigmoid",
            "zero_terminal_snr",
            "from_alpha_bar",
            "snr",
            "log_snr",
            "fraction_of_steps",
            "timestep_grid",
            "spaced_grid",
            "_of_any_length",
            "_sequence",
            "_check_each",
        ],
        TABLES,
    ),
    "tinyddpm/more/solvers.py": {"_amplitudes": TABLES, "_onward": "numbers out of a table"},
    "tinyddpm/nn/module.py": {
        "Parameter.__init__": "no numbers yet",
        "Module.initialise": "θ starts on the host, and is moved by `bind`",
    },
}


def numpy_calls(source):
    """(function, attribute, line) of every use of NumPy or SciPy but for dtypes and types."""
    found = []

    def visit(node, place):
        for child in ast.iter_child_nodes(node):
            used = use_of_numpy(child)
            if used:
                found.append((".".join(place), used, child.lineno))
            is_scope = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            visit(child, [*place, child.name] if is_scope else place)

    visit(ast.parse(source), [])
    return found


def use_of_numpy(node):
    """What a node of the syntax tree uses of NumPy or SciPy, or None."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        is_numpy = node.value.id in ("np", "numpy")
        return node.attr if is_numpy and node.attr not in DTYPES else None
    if isinstance(node, ast.ImportFrom) and not node.level:
        return f"from {node.module} import" if is_numpy_or_scipy(node.module) else None
    if isinstance(node, ast.Import):
        as_usual = {("numpy", "np"), ("numpy.typing", "npt")}
        names = [(alias.name, alias.asname) for alias in node.names]
        if any(is_numpy_or_scipy(name) and (name, to) not in as_usual for name, to in names):
            return "import"
    return None


def is_numpy_or_scipy(module):
    return module.split(".")[0] in ("numpy", "scipy")


@pytest.mark.parametrize("path", DEVICE_CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_device_code_asks_the_arrays_for_their_module(path):
    name = str(path.relative_to(ROOT))
    wrong = [
        f"{name}:{line}: np.{attribute} in {place or 'the module'}"
        for place, attribute, line in numpy_calls(path.read_text(encoding="utf-8"))
        if place not in ON_THE_HOST.get(name, {})
    ]
    advice = "use array_module(x), or say in ON_THE_HOST why these are host data"
    assert not wrong, f"{advice}:\n" + "\n".join(wrong)


# A file may be gone: the other tests pass without fast/.
@pytest.mark.parametrize("name", [name for name in ON_THE_HOST if (ROOT / name).exists()])
def test_the_list_has_no_entry_too_many(name):
    used = {place for place, _, _ in numpy_calls((ROOT / name).read_text(encoding="utf-8"))}
    assert set(ON_THE_HOST[name]) <= used


SOURCE = """import numpy as np
from scipy.special import erf
import numpy
class A:
 def f(self, x):
  return np.exp(x).astype(np.float32) + np.add.reduce(x)
y = np.ones
import numpy.typing as npt
"""


def test_what_the_lint_finds():
    assert numpy_calls(SOURCE) == [
        ("", "from scipy.special import", 2),
        ("", "import", 3),
        ("A.f", "exp", 6),
        ("A.f", "add", 6),
        ("", "ones", 7),
    ]
