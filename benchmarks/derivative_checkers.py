"""Which checker of derivatives finds which of twelve mistakes, by its default settings?

    pip install '.[checkers]' && git clone https://github.com/rsokl/MyGrad
    python -m benchmarks.derivative_checkers --mygrad MyGrad --only MyGrad --seeds 3
    python -m benchmarks.derivative_checkers --only gradcheck check_grads
    python -m benchmarks.derivative_checkers --gallery --seeds 50      # ours alone, without peers

Prints the columns of the tables of docs/derivatives.md, and what each checker says. The mistakes
are those of tests/autograd/mistakes.py. Each checker gets the same NumPy code, as an op of its own
framework:

- ours, `gradient_test`, as in tests/autograd/mistakes.py;
- `torch.autograd.gradcheck` of a `torch.autograd.Function`, on normal random numbers in float64;
- `jax.test_util.check_grads` of a `jax.custom_vjp`, on the same in float32. `modes=["rev"]`, since
  such a function has no forward mode;
- MyGrad's `backprop_test_factory` of an `Operation`. It is in MyGrad's tests, not in its wheel.

A checker finds a mistake if it raises for the wrong version and passes the right one. Where it
rejects the right one by default, it gets the options that its own tests use for such ops.
"""

import argparse
import inspect
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
from hypothesis import Phase, seed, settings

from autograd import testing
from autograd.testing.run import run

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "autograd"))

from mistakes import MISTAKES, test_of

# The arguments that somebody would try first: no side like another, except where shapes must fit.
SHAPES = {
    "forgotten broadcast": [(3, 4), (4,)],
    "kernel not flipped": [(5,), (3,)],
    "wrong sign": [(3, 4), (3, 4)],
    "off by the batch size": [(3, 4), (3, 4)],
}
OPTIONS = {"max's ties": {"axis": -1}}
settings.register_profile("bench", deadline=None, database=None, print_blob=False)


# The framework leaves no way to make the mistake. PyTorch and MyGrad sum over what broadcasting
# spread, JAX's arrays cannot be written to, and its float64 is off.
IMPOSSIBLE = {
    "gradcheck": ("forgotten broadcast",),
    "check_grads": ("written into g", "a buffer used again", "float64 leak"),
    "MyGrad": ("forgotten broadcast",),
}


def raw(version):
    """f(*arrays, **options) -> output, pullback. A pullback returns a tuple."""
    function, own = version
    if "vjp" in own:
        return lambda *xs, **how: (function(*xs, **how), lambda g: own["vjp"](g, *xs, **how))
    return inspect.unwrap(function)


def inputs(name, number):
    rng = np.random.default_rng(number)
    return [rng.standard_normal(shape) for shape in SHAPES.get(name, [(3, 4)])]


# ---- the checkers: each raises if it finds something ---------------------------------------------


def ours(name, version, number):
    seed(number)(test_of(version, MISTAKES[name].how, examples=100))()


def pytorch(name, version, number):
    import torch

    op, options = raw(version), OPTIONS.get(name, {})

    class Op(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            out, ctx.pullback = op(*(x.numpy() for x in xs), **options)
            return torch.from_numpy(np.array(out))

        @staticmethod
        def backward(ctx, g):
            return tuple(torch.from_numpy(np.asarray(part)) for part in ctx.pullback(g.numpy()))

    xs = [torch.tensor(x, requires_grad=True) for x in inputs(name, number)]
    torch.autograd.gradcheck(Op.apply, xs)


def jax(name, version, number):
    import jax
    from jax.test_util import check_grads

    op, options = raw(version), OPTIONS.get(name, {})

    def forward(*xs):
        like = np.asarray(op(*(np.ones(x.shape) for x in xs), **options)[0])
        out = jax.ShapeDtypeStruct(like.shape, "float32")
        return jax.pure_callback(lambda *xs: as32(op(*map(np.asarray, xs), **options)[0]), out, *xs)

    def backward(xs, g):
        def call(g, *xs):
            parts = op(*map(np.asarray, xs), **options)[1](np.asarray(g))
            return tuple(map(as32, parts))

        like = tuple(jax.ShapeDtypeStruct(p.shape, "float32") for p in call(g, *xs))
        return jax.pure_callback(call, like, g, *xs)

    f = jax.custom_vjp(forward)
    f.defvjp(lambda *xs: (forward(*xs), xs), backward)
    check_grads(f, [jax.numpy.asarray(x) for x in inputs(name, number)], 1, modes=["rev"])


def as32(x):
    return np.asarray(x, np.float32)


# Without these options it rejects the right versions.
EACH = {"vary_each_element": True}
KINKED = {
    "use_finite_difference": True,
    "h": 1e-8,
    "atol": 1e-5,
    "index_to_bnds": {0: (-10, 10)},
    "assumptions": lambda x: np.all(np.abs(x.data) > 1e-8),
}
FOR_MYGRAD = {
    "written into g": KINKED,
    "0/0 at a kink": KINKED,
    "max's ties": EACH | {"index_to_unique": True, "index_to_arr_shapes": {0: (3, 4)}},
    "softmax without the sum": EACH | {"index_to_arr_shapes": {0: (3, 4)}},
    "mean without its factor": EACH,
    "wrong axis": EACH | {"index_to_arr_shapes": {0: (3, 4)}},
    "kernel not flipped": EACH | {"index_to_arr_shapes": {0: (5,), 1: (3,)}},
    "off by the batch size": EACH | {"index_to_arr_shapes": {0: (3, 4), 1: (3, 4)}},
}


def mygrad(name, version, number):
    from mygrad import Tensor
    from mygrad.operation_base import Operation
    from tests.wrappers.uber import backprop_test_factory

    op = raw(version)

    class Op(Operation):
        def __call__(self, *xs, **options):
            self.variables = xs
            out, self.pullback = op(*(x.data for x in xs), **options)
            return np.asarray(out)

        def backward_var(self, grad, index, **options):
            return np.asarray(self.pullback(grad)[index])

    def function(*xs, constant=None, **options):
        return Tensor._op(Op, *xs, op_kwargs=options, constant=constant)

    how = FOR_MYGRAD.get(name, {})
    options = OPTIONS.get(name)
    factory = backprop_test_factory(
        mygrad_func=function,
        true_func=lambda *xs, **options: np.asarray(op(*xs, **options)[0]),
        num_arrays=len(SHAPES.get(name, [0])),
        kwargs=options,
        **how,
    )
    seed(number)(factory(lambda: None))()


CHECKERS = {"ours": ours, "gradcheck": pytorch, "check_grads": jax, "MyGrad": mygrad}


def tried(check, name, version, number):
    """Seconds of this process until it raised, and what it said; None if it passed."""
    began = time.process_time()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            check(name, version, number)
    except Exception as error:
        return time.process_time() - began, f"{type(error).__name__}: {error}"
    return None


def row(checker, name, seeds):
    """A cell of the table, and the first message."""
    check, mistake = CHECKERS[checker], MISTAKES[name]
    if name in IMPOSSIBLE.get(checker, ()):
        return "cannot happen", ""
    alarm = tried(check, name, mistake.right, 0)
    if alarm:
        return "rejects the right version", alarm[1]
    found = [tried(check, name, mistake.wrong, number) for number in range(seeds)]
    hits = [hit for hit in found if hit]
    if not hits:
        return "no", ""
    return f"{len(hits)}/{seeds}, {1000 * median(s for s, _ in hits):.0f} ms", hits[0][1]


def gallery(seeds):
    """How many examples and how much time the kit needs: each mistake from so many seeds."""
    settings.register_profile("find", settings.get_profile("bench"), phases=[Phase.generate])
    print("| mistake | found | examples: median, most | ms to find | ms with shrinking, most |")
    print("|---|---|---|---|---|")
    for name in MISTAKES:
        settings.load_profile("find")
        counts, find = zip(*filter(None, [found_by_ours(name, number) for number in range(seeds)]))
        settings.load_profile("bench")  # shrinking takes longer: from a tenth of the seeds
        whole = zip(*filter(None, [found_by_ours(name, number) for number in range(0, seeds, 10)]))
        most = max([*whole][1])
        examples = f"{len(counts)}/{seeds} | {median(counts):.0f}, {max(counts)}"
        print(
            f"| {name} | {examples} | {1000 * median(find):.0f} | {1000 * most:.0f} |", flush=True
        )


def found_by_ours(name, number):
    """How many examples and seconds it takes to find the mistake; None if it is not found."""
    counted = []

    def counting(*case):
        counted.append(1)
        run(*case)

    with mock.patch.object(testing, "run", counting):
        hit = tried(ours, name, MISTAKES[name].wrong, number)
    # Hypothesis runs a failure once more, to show it.
    return (len(counted) - 1, hit[0]) if hit else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mygrad", help="MyGrad's sources, whose tests have the factory")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--gallery", action="store_true", help="the kit's own examples and times")
    parser.add_argument("--only", nargs="*", default=list(CHECKERS), choices=list(CHECKERS))
    options = parser.parse_args()
    if options.mygrad:
        sys.path.insert(0, options.mygrad)
    if options.gallery:
        gallery(options.seeds)
        return
    settings.load_profile("bench")
    messages = []
    print("| mistake |", *(f"{checker} |" for checker in options.only))
    print("|---" * (len(options.only) + 1) + "|")
    for name in MISTAKES:
        cells = []
        for checker in options.only:
            cell, message = row(checker, name, options.seeds)
            cells.append(cell)
            messages.append(f"{name}, {checker}: {message[:600]}")
        print(f"| {name} |", *(f"{cell} |" for cell in cells), flush=True)
    print(*messages, sep="\n\n")


if __name__ == "__main__":
    main()
