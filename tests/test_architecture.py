"""The rules of the house: who may import whom, how long the core may be, which `autograd` it finds.

Imports are read from the source, so that one inside a function counts too.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALGORITHM = ("schedule", "diffusion", "objective", "sampler", "train")
CORE = [
    *(ROOT / "autograd" / f"{name}.py" for name in ("engine", "ops", "tensor")),
    *(ROOT / "tinyddpm" / f"{name}.py" for name in ALGORITHM),
    *sorted((ROOT / "tinyddpm" / "nn").glob("*.py")),
]
# The rooms of tinyddpm/, and which of them each may import. The core is the files ALGORITHM and nn.
ROOMS = {
    "noise": (),
    "nn": ("noise",),
    "more": ("noise", "nn"),
    "fast": ("noise", "nn"),
    "distributed": ("nn", "fast"),
    "interop": ("nn", "more"),
    "data": ("noise",),
    "runs": ("noise", "nn", "more", "fast", "distributed", "interop", "data"),
    "pictures": ("noise", "nn", "more", "data", "runs"),
    "evaluation": ("noise", "nn", "more", "data", "runs", "pictures"),
    "explore": ("noise", "nn", "more", "fast", "data", "runs", "pictures"),
}
PLUG_INS = tuple(room for room in ROOMS if room not in ("noise", "nn"))
FRAMEWORKS = (
    "torch",
    "torchvision",
    "diffusers",
    "jax",
    "flax",
    "tensorflow",
    "keras",
    "mxnet",
    "paddle",
)
PACKAGES = ("autograd", "tinyddpm", "examples")
CUPY = ("cupy", "cupyx", "cupy_backends")


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path, root=ROOT):
    """Absolute names of all that a file imports.

    `from .nn import UNet` in tinyddpm/ gives tinyddpm.nn and tinyddpm.nn.UNet.
    """
    package = path.relative_to(root).parent.parts
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def from_any(found, *packages):
    """Those of the imported names that belong to one of the packages."""
    return {name for name in found if any(name == p or name.startswith(p + ".") for p in packages)}


def test_imports_are_read_as_python_reads_them(tmp_path):
    path = tmp_path / "a" / "b" / "c.py"
    path.parent.mkdir(parents=True)
    lines = (
        "import x.y as z",
        "from . import d",
        "from ..e import f",
        "def g():",
        " from h.i import j",
    )
    path.write_text("\n".join(lines))
    assert imports(path, tmp_path) == {"x.y", "a.b", "a.b.d", "a.e", "a.e.f", "h.i", "h.i.j"}
    assert from_any({"a.b", "a.bc", "ab"}, "a.b") == {"a.b"}


def test_the_core_is_all_there():
    assert all(path.is_file() for path in CORE) and len(CORE) > 15


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_core_file_enters_no_other_room(path):
    assert not from_any(imports(path), *(f"tinyddpm.{room}" for room in PLUG_INS))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    others = {other for other in ROOMS if other != room} - set(ROOMS[room])
    for path in sources(f"tinyddpm/{room}"):
        forbidden = ["tinyddpm.cli", *(f"tinyddpm.{other}" for other in others)]
        assert not from_any(imports(path), *forbidden), path


def test_the_arrows_between_rooms_go_one_way():
    order = list(ROOMS)
    for room, others in ROOMS.items():
        assert all(order.index(other) < order.index(room) for other in others), room


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_of_a_human_size_and_says_what_it_is(room):
    files = list((ROOT / "tinyddpm" / room).glob("*.py"))
    assert len(files) <= 14
    assert ast.get_docstring(parsed(ROOT / "tinyddpm" / room / "__init__.py"))


@pytest.mark.parametrize("path", sources("autograd"), ids=lambda p: p.name)
def test_autograd_stands_alone(path):
    """It knows nothing of ours, and finds its files relatively: the folder can be lifted out."""
    assert not from_any(imports(path), "tinyddpm")
    absolute = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            absolute |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            absolute.add(node.module)
    assert not from_any(absolute, "autograd")


@pytest.mark.parametrize("name", ["schedule", "diffusion", "objective", "sampler"])
def test_diffusion_knows_no_network(name):
    assert not from_any(imports(ROOT / "tinyddpm" / f"{name}.py"), "tinyddpm.nn", "tinyddpm.train")


def test_the_layers_know_no_diffusion():
    for path in sources("tinyddpm/nn"):
        assert not from_any(imports(path), *(f"tinyddpm.{name}" for name in ALGORITHM)), path


def test_only_backend_imports_cupy():
    users = [path for path in sources(*PACKAGES) if from_any(imports(path), *CUPY)]
    assert users == [ROOT / "autograd/backend.py"]


def test_no_framework_in_the_product():
    for path in sources(*PACKAGES):
        assert not from_any(imports(path), *FRAMEWORKS), path


def test_the_line_budget_of_the_core():
    lines = {str(path.relative_to(ROOT)): count_lines(path) for path in CORE}
    too_long = {name: n for name, n in lines.items() if n > 200}
    assert not too_long, f"at most 200 lines a file: {too_long}"
    assert sum(lines.values()) <= 1500, f"the core has {sum(lines.values())} lines of 1500: {lines}"


def test_no_file_is_longer_than_300_lines():
    everything = sources(*PACKAGES, "benchmarks", "tests", "tools", "docs/_ext")
    assert not [path for path in everything if count_lines(path) > 300]


def test_no_circle_between_files_but_that_of_the_three_of_autograd():
    """A file may import its package, which imports it: that is how packages are made."""
    files = {name_of(path): path for path in sources("autograd", "tinyddpm")}
    arrows = {name: imports(path) & set(files) - {name} for name, path in files.items()}
    arrows = {
        name: {other for other in found if not name.startswith(other + ".")}
        for name, found in arrows.items()
    }
    while leaves := [name for name, found in arrows.items() if not found & set(arrows)]:
        for name in leaves:
            del arrows[name]
    circle = {f"autograd.{name}" for name in ("engine", "ops", "tensor", "more_ops")}
    above = {name for name in arrows if not reachable(name, name, arrows)}
    assert set(arrows) - above == circle


def reachable(start, end, arrows):
    """Whether a chain of one or more imports leads from one file to another."""
    seen, ahead = set(), [start]
    while ahead:
        found = arrows.get(ahead.pop(), set()) & set(arrows)
        if end in found:
            return True
        ahead += found - seen
        seen |= found
    return False


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def count_lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


# ---- the other project called autograd -----------------------------------------------------------


def import_tinyddpm(*path):
    places = os.pathsep.join(map(str, path))
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-c", "import tinyddpm"]
    return subprocess.run(program, env=environment, cwd=path[0], capture_output=True, text=True)


@pytest.mark.parametrize("source", ["", "PART_OF = 'something else'\n"])
def test_a_foreign_autograd_is_refused_by_name(tmp_path, source):
    foreign = tmp_path / "autograd" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text(source)
    result = import_tinyddpm(tmp_path, ROOT)
    assert result.returncode != 0
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError:") and str(foreign) in message
    assert "fresh virtual environment" in message


def test_our_own_autograd_is_accepted(tmp_path):
    result = import_tinyddpm(tmp_path, ROOT)
    assert result.returncode == 0, result.stderr
