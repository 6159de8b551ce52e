"""What to say when a run diverges.

A J that is not finite stops the run. `Watched` then finds which t and which layer it comes from:

    watched = Watched(gradient)                    # computes as `gradient` does
    try:
        for step in train(unet, …, gradient=watched):
            …
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}. {watched.account(unet, schedule)}")

The code that trains knows nothing of this: `account` takes the last batch through the network once
more, layer by layer. For a J that is finite but stays high, `Divergence` has a warning.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autograd import Tensor, no_grad
from autograd.backend import array_module, to_numpy

from .. import noise
from ..alone import Comm
from ..diffusion import q_sample
from ..nn.module import Module
from ..nn.unet import UNet
from ..schedule import Schedule
from ..types import Array, Draw, Gradient

SAMPLES = 8  # of the batch that are looked at again
TIMES, IN_A_ROW = 2.0, 3  # how many times predict-the-mean's J, in how many evaluations
JUMP = 1.2  # how many times the J of the evaluation before. (Overfitting raises J slowly.)


class Watched:
    """A `gradient` for `train.train` that remembers its last batch and the errors of it."""

    def __init__(self, gradient: Gradient) -> None:
        self.gradient = gradient
        self.batch: tuple[Any, ...] = ()

    def __call__(
        self,
        unet: UNet,
        schedule: Schedule,
        x0: Array,
        t: Array,
        eps: Array,
        *args: Any,
        dropout: Draw | None = None,
        cond: Array | None = None,
        **options: Any,
    ) -> tuple[Array, Array]:
        """J and the errors, as `gradient` computes them."""
        options |= {"dropout": dropout, "cond": cond}
        J, errors = self.gradient(unet, schedule, x0, t, eps, *args, **options)
        self.batch = x0, t, eps, errors, dropout, cond
        return J, errors

    def gather(self, comm: Comm) -> None:
        """Remember the images of all ranks, on all of them."""
        x0, t, eps, errors, dropout, cond = self.batch
        if dropout:
            seed, step, index = dropout.address
            index = np.concatenate(comm.allgather(to_numpy(index)))
            index = array_module(x0).asarray(index)
            dropout = noise.Stream(seed, dropout.purpose, step, index)
        own = [None if a is None else to_numpy(a) for a in (x0, t, eps, errors, cond)]
        *arrays, cond = [
            None if parts[0] is None else array_module(x0).asarray(np.concatenate(parts))
            for parts in zip(*comm.allgather(own))
        ]
        self.batch = *arrays, dropout, cond

    def account(self, unet: UNet, schedule: Schedule) -> str:
        """Where the J that is not finite comes from: which t, and which layer first."""
        x0, t, eps, errors, dropout, cond = self.batch
        bad = np.flatnonzero(~np.isfinite(to_numpy(errors)))
        if not bad.size:  # each is finite, but not their sum
            bad = np.argsort(to_numpy(errors))[-1:]
        first = bad[:SAMPLES]
        if dropout:
            seed, step, index = dropout.address
            dropout = noise.Stream(seed, dropout.purpose, step, index[first])
        with np.errstate(all="ignore"), no_grad():
            xt = q_sample(schedule, x0[first], t[first], eps[first])
            classes = None if cond is None else cond[first]
            layer = first_not_finite(unet, xt, t[first], dropout, classes)

        ts = np.unique(to_numpy(t)[bad])
        shown = ", ".join(map(str, ts[:SAMPLES])) + (", …" if len(ts) > SAMPLES else "")
        where = _where(unet, layer)
        return f"It comes from {len(bad)} of {len(t)} images, at t = {shown}; {where}"


def _where(unet: UNet, layer: str | None) -> str:
    """Where numbers are not finite: in θ itself, or from `layer` on, or in no layer (None)."""
    lost = [name for name, p in unet.parameters().items() if not _finite(p.data)]
    if lost:
        return f"the parameter {lost[0]} is not finite itself"
    if layer:
        return f"the first layer whose output is not finite is {layer}"
    return "every layer's output is finite, only the squared error is not"


def first_not_finite(
    unet: UNet,
    xt: Array,
    t: Array,
    dropout: Draw | None = None,
    cond: Array | None = None,
) -> str | None:
    """The innermost layer whose output is the first, in order of computation, not to be finite."""
    found: list[str] = []

    def look(name: str, h: Array) -> None:
        if not found and not _finite(h):
            found.append(name)

    with _overheard(unet, look):
        unet(xt, t, dropout, cond)
    return found[0] if found else None


@contextmanager
def _overheard(net: Module, listen: Callable[[str, Array], None]) -> Iterator[None]:
    """Within the block, call listen(name, output) for each layer: inner ones before outer ones."""

    def overheard(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def heard(*args: Any, **options: Any) -> Any:
            h = forward(*args, **options)
            if isinstance(h, Tensor):
                listen(name, h.data)
            return h

        return heard

    found = dict(layers(net))
    try:
        for name, layer in found.items():
            layer.forward = overheard(name, layer.forward)  # of this object: the class stays
        yield
    finally:
        for layer in found.values():
            vars(layer).pop("forward", None)


def layers(module: Module, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, layer) for all Modules below this one, named as in a checkpoint."""
    for name, value in list(vars(module).items()):
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if isinstance(child, Module):
                path = f"{prefix}{name}.{i}" if isinstance(value, list) else f"{prefix}{name}"
                yield path, child
                yield from layers(child, path + ".")


def _finite(array: Array) -> bool:
    return bool(array_module(array).isfinite(array).all())


class Divergence:
    """Sees the held-out J of each evaluation, and warns once if it jumps up or stays high.

    Args:
        simple: the held-out J of predict-the-mean, or of what a new network answers if that is
            worse: one that predicts ε begins far above.
        steady: whether J falls steadily where all is well. That of a network which predicts ε does
            not: a small error at large t is a large one of x̂_0.
    """

    def __init__(self, simple: float, steady: bool = True) -> None:
        # A grey image has a J of less than 1 on images in [-1, 1], even where the mean is perfect.
        self.limit = max(TIMES * simple, 1.0)
        self.jump = JUMP if steady else np.inf
        self.above, self.before, self.said = 0, np.inf, False

    def see(self, held_out: float) -> str | None:
        """The warning, or None."""
        self.above = 0 if held_out <= self.limit else self.above + 1
        before, self.before = self.before, held_out
        jumped = held_out > self.jump * before
        if self.said or not (jumped or self.above >= IN_A_ROW):
            return None
        self.said = True
        if self.above >= IN_A_ROW:
            how = f"has been above {self.limit:.3g} for {self.above} evaluations, and is now"
        else:
            how = f"jumped from {before:.4g} at the last evaluation to"
        return f"warning: the held-out J {how} {held_out:.4g}: this run diverges"
