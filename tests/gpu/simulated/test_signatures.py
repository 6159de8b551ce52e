"""Every call on an array module that the product contains, executed by some test or not, fits the real CuPy's signature.

A call `xp.f(a, b, key=c)` is read from the source, where `xp` is whatever was assigned from `array_module(...)`, and its number of
arguments and its keywords are bound to the signature of `cupy.f`.

Calls that run are not recorded besides: the tests in this folder's parent call the very CuPy whose signatures these are, so there a
call that does not fit raises by itself; and what no test runs, a record would not hold. Left over are calls with *arguments, which
are bound by name only, and methods of arrays, which show when they run.
"""
import ast
import inspect
from pathlib import Path
from typing import NamedTuple

import cupy
import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted(path for folder in ("autograd", "tinyddpm") for path in (ROOT / folder).rglob("*.py"))
UFUNC_KEYWORDS = {"out", "dtype", "casting", "where"}
METHODS = {"at": 3, "reduce": 1}  # of ufuncs: how many arguments


class Use(NamedTuple):
    """`xp.<name>`, called with so many positional arguments (None: not called, or by *args) and with these keywords."""
    name: str
    positional: int | None
    keywords: tuple
    line: int


def is_module_call(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "array_module"


def uses(source):
    tree = ast.parse(source)
    names = {"xp"}  # as an argument too
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = zip(target.elts, node.value.elts) if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) else [(target, node.value)]
                names |= {t.id for t, value in pairs if isinstance(t, ast.Name) and is_module_call(value)}

    def dotted(node):
        """"add.at" for xp.add.at or array_module(x).add.at; None for anything else."""
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name) and node.value.id in names or is_module_call(node.value):
            return node.attr
        start = dotted(node.value)
        return start and f"{start}.{node.attr}"

    called = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func):
            star = any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords)
            called[node.func] = Use(dotted(node.func), None if star else len(node.args), tuple(k.arg for k in node.keywords), node.lineno)
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return [called.get(node) or Use(dotted(node), None, (), node.lineno) for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and dotted(node) and (node in called or node not in inner)]


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
        return f"a ufunc has no keyword {wrong}" if wrong else None if use.positional <= found.nin + found.nout else "too many arguments"
    if isinstance(found, type):
        return None  # a dtype or another class: its arguments are NumPy's
    try:
        inspect.signature(found).bind(*[0] * use.positional, **dict.fromkeys(use.keywords))
    except TypeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", [p for p in SOURCES if uses(p.read_text(encoding="utf-8"))], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_call_fits(path):
    wrong = [f"{path.name}:{use.line}: xp.{use.name}: {problem}" for use in uses(path.read_text(encoding="utf-8")) if (problem := misfit(use))]
    assert not wrong, "\n".join(wrong)


def test_there_is_something_to_check():
    found = {use.name for path in SOURCES for use in uses(path.read_text(encoding="utf-8"))}
    assert {"exp", "pad", "concatenate", "broadcast_to", "add.at", "where"} <= found


@pytest.mark.parametrize("call, what", [
    ("xp.pad(x, 1)", None), ("xp.add.at(a, b, c)", None), ("array_module(x).maximum(x, 0, out=x)", None), ("xp.float32", None), ("xp.sum(*x)", None),
    ("xp.empty((1,), like=x)", "'like'"), ("xp.nanquantiles(x)", "has no nanquantiles"), ("xp.exp(x, order='C')", "no keyword"), ("xp.exp(1, 2, 3)", "too many"),
    ("xp.stack(x, axes=0)", "'axes'"), ("xp.concatenate(1, 2, 3, 4, 5, 6)", "too many")])
def test_what_is_found(call, what):
    use, = uses(f"xp = array_module(x)\n{call}")
    assert what is None and misfit(use) is None or what in misfit(use)
