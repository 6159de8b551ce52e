"""What several tests share: random schedules, noise looked up by t, small networks, checks."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from autograd import Tensor, leaf
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import Schedule

# β within these bounds keeps ᾱ_T above 1e-10; uniform β in (0, 1) would drive it to exactly 0.
schedules = st.lists(st.floats(1e-5, 0.3), min_size=1, max_size=64).map(Schedule)
seeds = st.integers(0, 2**32 - 1)

TINY_STEP = 1e-30  # of the complex step: nothing is subtracted, so it may be this small


def full(value, n=1):
    """A batch of n images of one pixel, all of `value`, in float64."""
    return np.full((n, 1, 1, 1), float(value))


def same(t, n=1):
    """The timestep t for each of n samples."""
    return np.full(n, t)


def noise_table(rng, T, shape, dtype=np.float64):
    """`noise(t)` for the samplers: an array for each t, the same whenever it is asked for."""
    table = rng.standard_normal((T + 1, *shape)).astype(dtype)
    return lambda t: table[t]


def perturb(module, rng, size=0.05):
    """Add N(0, size²) to every parameter. Layers that start at zero would hide most gradients."""
    for p in module.parameters().values():
        p.data[...] += size * rng.standard_normal(p.shape)
    return module


def check_module(module, forward, inputs, rng, zero=(), directions=3):
    """Compare backward through `forward(*inputs)` with the complex step.

    This is done for each input and for each parameter of `module`, with a random upstream gradient
    and a perturbed θ. No reference slope may be zero, except for the parameters named in `zero`, on
    which the output does not depend: their gradients must vanish.
    """
    perturb(module.initialise(0, np.float64), rng)
    theta, grad = module.theta, module.grad
    leaves = [leaf(x) for x in inputs]
    out = forward(*leaves)
    g = rng.standard_normal(out.shape)
    out.backward(g)
    size = abs(g * out.data).sum()

    def slope_of(*moved):
        """The slope of <g, output> along the imaginary parts of the inputs or of θ."""
        tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in moved]
        return float((g * forward(*tensors).data).sum().imag) / TINY_STEP

    def compare(name, gradient, slope):
        for _ in range(directions):
            v = rng.standard_normal(gradient.shape)
            claimed, measured = float((gradient * v).sum()), slope(v)
            allowed = 1e-11 * (abs(gradient * v).sum() + size)
            assert abs(claimed - measured) <= allowed, (
                f"{name}: backward gives {claimed:.12g}, the complex step {measured:.12g}"
            )
            vanishes = abs(measured) <= allowed
            assert vanishes == (name in zero), f"{name}: the reference slope is {measured:.3g}"

    for i, x in enumerate(inputs):

        def input_slope(v, i=i, x=x):
            return slope_of(*inputs[:i], x + 1j * TINY_STEP * v, *inputs[i + 1 :])

        compare(f"input {i}", leaves[i].grad, input_slope)

    for name, where in module.slices().items():

        def parameter_slope(v, where=where):
            moved = theta.astype(complex)
            moved[where] += 1j * TINY_STEP * v
            module.bind(moved)
            return slope_of(*inputs)

        compare(name, grad[where], parameter_slope)
    module.bind(theta, grad)


# ---- small U-Nets --------------------------------------------------------------------------------

SMALL = UNetConfig(
    image=(1, 4, 6), base=4, levels=(1, 2), blocks=1, attention=(2,), heads=2, groups=2
)


def new(config=SMALL, dtype=np.float64, seed=0, **changes):
    """A U-Net as it is initialised, of SMALL with some changes."""
    return UNet(replace(config, **changes)).initialise(seed, dtype)


def shaken(*args, size=0.3, **changes):
    """The same, away from its start, so that every layer matters."""
    return perturb(new(*args, **changes), np.random.default_rng(7), size)


def batch(unet, n=3, dtype=np.float64, seed=0):
    """xt and t for a net."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *unet.config.image)).astype(dtype), rng.integers(1, 1001, n)
