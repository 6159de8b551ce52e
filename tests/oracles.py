"""What several tests share: random schedules, noise looked up by t, small networks, checks."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from autograd.testing import check_layer
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import Schedule

# β within these bounds keeps ᾱ_T above 1e-10; uniform β in (0, 1) would drive it to exactly 0.
schedules = st.lists(st.floats(1e-5, 0.3), min_size=1, max_size=64).map(Schedule)
seeds = st.integers(0, 2**32 - 1)

check_module = check_layer  # the name by which tests/gpu finds what to run on a GPU too


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
