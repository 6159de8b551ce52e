"""What to say when a run goes wrong: which t and which layer a J that is not finite comes from, and that a finite one only grows.

    watched = Watched(gradient)                    # computes as `gradient` does, and remembers the last batch
    try:
        for step in train(unet, …, gradient=watched): …
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}. {watched.account(unet, schedule)}")

Nothing of it is in the code that trains: the last batch is taken through the network once more, layer by layer.
"""
from contextlib import contextmanager

import numpy as np

from autograd import Tensor, no_grad
from autograd.backend import array_module, to_numpy

from .. import noise
from ..diffusion import q_sample
from ..nn.module import Module

SAMPLES = 8  # of the batch that are looked at again
TIMES, IN_A_ROW = 2.0, 3  # how many times predict-the-mean's J, in how many evaluations, is a divergence


class Watched:
    """A `gradient` for `train.train` that remembers what it was last asked for, and the errors that came out."""

    def __init__(self, gradient):
        self.gradient, self.batch = gradient, None

    def __call__(self, unet, schedule, x0, t, eps, *args, dropout=None, cond=None, **options):
        J, errors = self.gradient(unet, schedule, x0, t, eps, *args, dropout=dropout, cond=cond, **options)
        self.batch = x0, t, eps, errors, dropout, cond
        return J, errors

    def account(self, unet, schedule):
        """In words: the t of the images whose error is not finite, and what was first not to be."""
        x0, t, eps, errors, dropout, cond = self.batch
        bad = np.flatnonzero(~np.isfinite(to_numpy(errors)))
        if not bad.size:  # each is finite, but not their sum
            bad = np.argsort(to_numpy(errors))[-1:]
        ts = np.unique(to_numpy(t)[bad])
        shown = ", ".join(map(str, ts[:SAMPLES])) + (", …" if len(ts) > SAMPLES else "")
        first = bad[:SAMPLES]
        if dropout:
            seed, step, index = dropout.address
            dropout = noise.Stream(seed, dropout.purpose, step, index[first])
        with np.errstate(all="ignore"), no_grad():
            xt = q_sample(schedule, x0[first], t[first], eps[first])
            layer = first_not_finite(unet, xt, t[first], dropout, None if cond is None else cond[first])
        lost = [name for name, p in unet.parameters().items() if not _finite(p.data)]
        where = (f"the parameter {lost[0]} is not finite itself" if lost else
                 f"the first layer whose output is not finite is {layer}" if layer else "every layer's output is finite, only the squared error is not")
        return f"It is that of {len(bad)} of {len(t)} images, at t = {shown}; {where}"


def first_not_finite(unet, xt, t, dropout=None, cond=None):
    """The name of the innermost layer whose output is the first, in the order of computation, that is not finite; or None."""
    found = []
    with _overheard(unet, lambda name, h: found or _finite(h) or found.append(name)):
        unet(xt, t, dropout, cond)
    return found[0] if found else None


@contextmanager
def _overheard(net, tell):
    """Within it, each layer's output is told: tell(name, array). Inner layers are told before the one that they are a part of."""
    def listen(name, forward):
        def heard(*args, **options):
            h = forward(*args, **options)
            if isinstance(h, Tensor):
                tell(name, h.data)
            return h
        return heard

    layers = dict(_layers(net))
    try:
        for name, layer in layers.items():
            layer.forward = listen(name, layer.forward)  # of this object only: the class stays as it is
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)


def _layers(module, prefix=""):
    """(name, layer) for all Modules below this one, named as in a checkpoint."""
    for name, value in list(vars(module).items()):
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, Module):
                path = f"{prefix}{name}.{i}" if isinstance(value, list) else f"{prefix}{name}"
                yield path, child
                yield from _layers(child, path + ".")


def _finite(array):
    return bool(array_module(array).isfinite(array).all())


class Divergence:
    """Sees the held-out J of each evaluation, and says once if it stays far above that of answering with the mean image."""

    def __init__(self, mean):
        self.limit = max(TIMES * mean, 1.0)  # grey answers score less than 1 on images in [-1, 1], even where the mean is perfect
        self.above, self.said = 0, False

    def see(self, J, beta):
        """The warning, or None."""
        self.above = 0 if J <= self.limit else self.above + 1
        if self.said or self.above < IN_A_ROW:
            return None
        self.said = True
        return (f"warning: the held-out J has been above {self.limit:.3g} for {self.above} evaluations, and is now {J:.4g}: this run diverges; "
                f"try a smaller β (--beta {beta / 3:.2g}) or a longer --warmup")
