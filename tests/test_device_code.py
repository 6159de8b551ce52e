"""Code that GPU arrays pass through takes the array module from its arrays (`array_module`), never NumPy itself.

NumPy called by name in such code raises on a CuPy array at best; at worst it computes something on the host that should have been
on the GPU. So each use of `np` in these files is looked at: dtypes are the same for both, functions only where the list below says.
"""
import ast

import pytest
from test_architecture import ROOT

DEVICE_CODE = sorted([*(ROOT / "autograd" / f"{name}.py" for name in ("engine", "ops", "more_ops", "tensor")),
                      *(ROOT / "tinyddpm" / f"{name}.py" for name in ("schedule", "diffusion", "objective", "sampler", "train")),
                      *(path for folder in ("noise", "nn", "more", "fast/cuda") for path in (ROOT / "tinyddpm" / folder).glob("*.py")),
                      ROOT / "tinyddpm" / "runs" / "ema.py"])

DTYPES = {"float32", "float64", "uint32", "uint64", "int64", "dtype", "ndarray"}

# What may call NumPy, and why: it works on tables of a schedule (float64, on the host, cast and moved by `at`) or on other host data.
ON_THE_HOST = {
    "autograd/more_ops.py": {"pad": "`width` is numbers, not an array"},
    "tinyddpm/schedule.py": {"Schedule.__init__": "tables", "linear": "tables", "cosine": "tables", "at": "a table"},
    "tinyddpm/diffusion.py": {"q_sample": "tables", "q_step": "tables", "posterior_coefficients": "tables", "posterior_variance": "tables",
                              "predicted_noise": "tables", "q_chain": "t, which may lie on the host: `at` takes it to the table"},
    "tinyddpm/sampler.py": {"ancestral": "a table", "ddim": "numbers out of a table"},
    "tinyddpm/noise/philox.py": {"philox": "the NumPy twin of the kernel", "words": "the NumPy twin of the kernel"},
    "tinyddpm/noise/box_muller.py": {"box_muller": "the NumPy twin of the kernel", "cosine_and_sine": "the NumPy twin of the kernel"},
    "tinyddpm/fast/cuda/columns.py": {"col2im": "the NumPy twin of the kernel", "_pad": "the NumPy twin of the kernel"},
    "tinyddpm/fast/cuda/norm_silu.py": {name: "the NumPy twin of the kernel" for name in ("forward", "_slope", "_per_channel")},
    "tinyddpm/more/curvature.py": {"kinds": "masks, made on the host"},
    "tinyddpm/more/editing.py": {"inpaint": "shapes"},
    "tinyddpm/more/gaussian.py": {"least_J": "tables", "probability_flow": "tables", "moments": "takes samplers on the host", "moments.units": "takes samplers on the host",
                                  "_principal": "a covariance, on the host"},
    "tinyddpm/more/points.py": {name: "data, made on the host" for name in ("roll", "moons", "checkerboard", "_uniform", "_points")}
    | {"PointNet.__init__": "a table"},
    "tinyddpm/more/likelihood.py": {"step_coefficients": "tables", "model_variance": "a table", "_squares": "a dtype", "Bound.__init__": "what `terms` gave, brought to the host",
                                    "mean_and_error": "of a Bound"},
    "tinyddpm/more/predictions.py": {"weights": "tables", "gradient": "a table", "_signal": "a table", "_noise": "a table"},
    "tinyddpm/more/reverse.py": {"posterior_mean_from_eps": "tables", "posterior_mean_from_v": "tables", "interpolated_variance": "tables", "_visited": "timesteps, on the host"},
    "tinyddpm/more/schedules.py": dict.fromkeys(["", "quadratic", "sigmoid_beta", "sigmoid", "zero_terminal_snr", "from_alpha_bar", "snr", "log_snr", "fraction_of_steps",
                                                 "_of_any_length", "_sequence", "_check_each"], "tables"),
    "tinyddpm/more/solvers.py": {"_amplitudes": "tables"},
    "tinyddpm/nn/module.py": {"Parameter.__init__": "no numbers yet", "Module.initialise": "θ starts on the host, and is moved by `bind`"},
}


def numpy_calls(source):
    """(function, attribute, line) of every use of `np` but for dtypes; and of every name that is imported from numpy or scipy."""
    found = []

    def visit(node, place):
        for child in ast.iter_child_nodes(node):
            inside = [*place, child.name] if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else place
            if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id in ("np", "numpy") and child.attr not in DTYPES:
                found.append((".".join(place), child.attr, child.lineno))
            if isinstance(child, ast.ImportFrom) and not child.level and child.module.split(".")[0] in ("numpy", "scipy"):
                found.append((".".join(place), f"from {child.module} import", child.lineno))
            if isinstance(child, ast.Import) and any(alias.name.split(".")[0] in ("numpy", "scipy") and (alias.name, alias.asname) != ("numpy", "np") for alias in child.names):
                found.append((".".join(place), "import", child.lineno))
            visit(child, inside)

    visit(ast.parse(source), [])
    return found


@pytest.mark.parametrize("path", DEVICE_CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_device_code_asks_the_arrays_for_their_module(path):
    name = str(path.relative_to(ROOT))
    wrong = [f"{name}:{line}: np.{attribute} in {place or 'the module'}" for place, attribute, line in numpy_calls(path.read_text(encoding="utf-8"))
             if place not in ON_THE_HOST.get(name, {})]
    assert not wrong, "use array_module(x), or say in ON_THE_HOST why these are host data:\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in ON_THE_HOST if (ROOT / name).exists()])  # fast/ may be gone
def test_the_list_has_no_entry_too_many(name):
    used = {place for place, _, _ in numpy_calls((ROOT / name).read_text(encoding="utf-8"))}
    assert set(ON_THE_HOST[name]) <= used


def test_what_the_lint_finds():
    source = "import numpy as np\nfrom scipy.special import erf\nimport numpy\nclass A:\n def f(self, x):\n  return np.exp(x).astype(np.float32) + np.add.reduce(x)\ny = np.ones"
    assert numpy_calls(source) == [("", "from scipy.special import", 2), ("", "import", 3), ("A.f", "exp", 6), ("A.f", "add", 6), ("", "ones", 7)]
