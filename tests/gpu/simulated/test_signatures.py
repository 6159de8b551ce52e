"""Every call on an array module in the product fits the real CuPy's signature.

Whether a test runs it or not. A call `xp.f(a, b, key=c)` is read from the source, where `xp` is
what was assigned from `array_module(...)`. Its number of arguments and its keywords are bound to
the signature of `cupy.f`.

Calls that run are not recorded as well. The tests in this folder's parent call the same CuPy, so a
call there that does not fit raises by itself; and a record would not hold what no test runs. Two
things are left over: calls with *arguments are looked up by name only, and methods of arrays show
when they run.
"""

import ast
import inspect
from pathlib import Path
from typing import NamedTuple

import cupy
import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted(
    path for folder in ("autograd", "tinyddpm") for path in (ROOT / folder).rglob("*.py")
)
UFUNC_KEYWORDS = {"out", "dtype", "casting", "where"}
METHODS = {"at": 3, "reduce": 1}  # of ufuncs: how many arguments


class Use(NamedTuple):
    """`xp.<name>`, called with so many positional arguments and with these keywords.

    positional is None if it is not called, or called with *args or **options.
    """

    name: str
    positional: int | None
    keywords: tuple
    line: int


def is_module_call(node):
    """Is this a call of `array_module` or `backend.array_module`?"""
    if not isinstance(node, ast.Call):
        return False
    return getattr(node.func, "id", getattr(node.func, "attr", "")) == "array_module"


def assigned(node):
    """The pairs (target, value) of an assignment, those of tuples one by one."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts)
        else:
            yield target, node.value


def module_names(tree):
    """The names that array modules are assigned to, and "xp", which may be an argument too."""
    names = {"xp"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target, value in assigned(node):
                if isinstance(target, ast.Name) and is_module_call(value):
                    names.add(target.id)
    return names


def use_of_call(name, node):
    """The Use that a call of xp.<name> is."""
    by_star = any(isinstance(a, ast.Starred) for a in node.args)
    by_star |= any(k.arg is None for k in node.keywords)
    keywords = tuple(k.arg for k in node.keywords)
    return Use(name, None if by_star else len(node.args), keywords, node.lineno)


def uses(source):
    """All Uses in a source."""
    tree = ast.parse(source)
    nodes, names = list(ast.walk(tree)), module_names(tree)

    def dotted(node):
        """`add.at` for xp.add.at or array_module(x).add.at; None for anything else."""
        if not isinstance(node, ast.Attribute):
            return None
        inner = node.value
        if isinstance(inner, ast.Name) and inner.id in names or is_module_call(inner):
            return node.attr
        start = dotted(inner)
        return start and f"{start}.{node.attr}"

    calls = [node for node in nodes if isinstance(node, ast.Call) and dotted(node.func)]
    called = {node.func: use_of_call(dotted(node.func), node) for node in calls}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    inner = {node.value for node in attributes}
    return [
        called.get(node) or Use(dotted(node), None, (), node.lineno)
        for node in attributes
        if dotted(node) and (node in called or node not in inner)
    ]


def misfit(use):
    """What is wrong with a use on CuPy, or None."""
    found, parent = cupy, None
    for part in use.name.split("."):
        if part.startswith("__"):
            return None  # of every module
        if not hasattr(found, part):
            return f"CuPy {cupy.__version__} has no {use.name}"
        found, parent = getattr(found, part), found
    if use.positional is None:
        return None
    if isinstance(parent, cupy.ufunc):
        return None if use.positional <= METHODS[use.name.split(".")[-1]] else "too many arguments"
    if isinstance(found, cupy.ufunc):
        wrong = set(use.keywords) - UFUNC_KEYWORDS
        if wrong:
            return f"a ufunc has no keyword {wrong}"
        return None if use.positional <= found.nin + found.nout else "too many arguments"
    if isinstance(found, type):
        return None  # a dtype or another class: its arguments are NumPy's
    try:
        inspect.signature(found).bind(*[0] * use.positional, **dict.fromkeys(use.keywords))
    except TypeError as error:
        return str(error)
    return None


USES = {str(path.relative_to(ROOT)): uses(path.read_text(encoding="utf-8")) for path in SOURCES}


@pytest.mark.parametrize("path", [path for path in USES if USES[path]])
def test_every_call_fits(path):
    wrong = [
        f"{path}:{use.line}: xp.{use.name}: {problem}"
        for use in USES[path]
        if (problem := misfit(use))
    ]
    assert not wrong, "\n".join(wrong)


def test_there_is_something_to_check():
    found = {use.name for of_a_file in USES.values() for use in of_a_file}
    assert {"exp", "pad", "concatenate", "broadcast_to", "add.at", "where"} <= found


CALLS = [
    ("xp.pad(x, 1)", None),
    ("xp.add.at(a, b, c)", None),
    ("array_module(x).maximum(x, 0, out=x)", None),
    ("xp.float32", None),
    ("xp.sum(*x)", None),
    ("xp.empty((1,), like=x)", "'like'"),
    ("xp.nanquantiles(x)", "has no nanquantiles"),
    ("xp.exp(x, order='C')", "no keyword"),
    ("xp.exp(1, 2, 3)", "too many"),
    ("xp.stack(x, axes=0)", "'axes'"),
    ("xp.concatenate(1, 2, 3, 4, 5, 6)", "too many"),
]


@pytest.mark.parametrize("call, what", CALLS)
def test_what_is_found(call, what):
    (use,) = uses(f"xp = array_module(x)\n{call}")
    assert what is None and misfit(use) is None or what in misfit(use)
