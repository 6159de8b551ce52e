"""Curvature by power iteration: against Hessians that are known, and the chain rule of w = c·v."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import perturb

from tinyddpm.diffusion import q_sample
from tinyddpm.more import curvature
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.schedule import linear
from tinyddpm.train import gradient

SCHEDULE = linear(50)
CONFIG = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), groups=2)


def symmetric(n, seed):
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a + a.T


def batch(n=4):
    rng, shape = np.random.default_rng(2), (n, *CONFIG.image)
    return rng.uniform(-1, 1, shape), rng.integers(1, 51, n), rng.normal(size=shape)


def network(c=ONES):
    """One in float64, with no parameter at 0, and the same effective weights whatever c is."""
    plain = perturb(UNet(CONFIG, ONES).initialise(3, np.float64), np.random.default_rng(5))
    unet = UNet(CONFIG, c).initialise(3, np.float64)
    for kind, where in curvature.kinds(unet).items():
        unet.theta[where] = plain.theta[where] / getattr(c, kind, 1.0)
    return unet


@given(n=st.integers(2, 12), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_largest_eigenvalue_of_a_block_of_a_known_hessian(n, size, seed):
    """With J = θᵀHθ/2, ∇J = Hθ.

    Eigenvalues are made well apart, so that power iteration has an answer; the largest may be
    negative.
    """
    where = np.arange(n) < size
    m = where.sum()
    q, _ = np.linalg.qr(symmetric(m, seed))
    values = np.random.default_rng(seed).choice([-1, 1]) * 2.0 ** np.arange(m)
    H = symmetric(n, seed + 1)
    H[:m, :m] = q * values @ q.T
    value, v = curvature.largest_curvature(lambda theta: H @ theta, np.ones(n), where, steps=40)
    assert value == pytest.approx(values[-1], rel=1e-6)
    np.testing.assert_allclose((H @ v)[:m], value * v[:m], atol=1e-4 * abs(value))
    assert not v[~where].any()


def test_a_flat_function_has_no_curvature():
    where = np.array([True, True, False])
    assert curvature.largest_curvature(np.zeros_like, np.ones(3), where)[0] == 0


def test_the_product_with_a_vector_is_second_order_in_h():
    """J = Σθ⁴: H = 12 diag(θ²), and the central difference of ∇J = 4θ³ is off by exactly 4h²v³."""
    theta, v = np.array([1.0, -2.0, 0.5]), np.array([1.0, 1.0, -3.0])
    for h in (0.1, 0.01):
        found = curvature.hessian_vector(lambda x: 4 * x**3, theta, v, h)
        np.testing.assert_allclose(found, 12 * theta**2 * v + 4 * h**2 * v**3, rtol=1e-9)


def test_the_unets_own_curvature_is_the_second_difference_of_J_along_the_eigenvector():
    """An independent route: J itself at three points on the line, no gradient."""
    unet, (x0, t, eps) = network(), batch()
    where = curvature.kinds(unet)["last"]
    here = unet.theta.copy()

    def slope(at):
        unet.theta[...], unet.grad[...] = at, 0
        gradient(unet, SCHEDULE, x0, t, eps)
        return unet.grad.copy()

    value, v = curvature.largest_curvature(slope, here, where)

    def J(at):
        unet.theta[...] = at
        return np.square(unet.denoise(q_sample(SCHEDULE, x0, t, eps), t) - x0).mean()

    h = 1e-3
    second_difference = (J(here + h * v) - 2 * J(here) + J(here - h * v)) / h**2
    assert value == pytest.approx(second_difference, rel=1e-5)
    unet.theta[...] = here
    found = curvature.by_kind(unet, SCHEDULE, x0, t, eps)
    assert found["last"] == pytest.approx(value, rel=1e-12)
    assert np.array_equal(unet.theta, here)


def test_every_parameter_is_of_one_kind():
    unet = UNet(CONFIG)
    found, slices = curvature.kinds(unet), unet.slices()
    total = sum(where.astype(int) for where in found.values())
    assert all((total[where] == 1).all() for where in slices.values())
    kind_of = {
        name: kind
        for name, where in slices.items()
        for kind, mask in found.items()
        if mask[where].all()
    }
    assert len(kind_of) == len(slices)
    assert kind_of["last.conv.weight"] == kind_of["last.conv.bias"] == "last"
    assert kind_of["first.weight"] == "rest"
    assert kind_of["middle2.q.weight"] == "query_key_value"
    assert kind_of["down.0.block.half2.conv.weight"] == "conv2"
    assert set(found) == {"rest", *(f.name for f in dataclasses.fields(Multipliers))}


def test_a_network_without_attention_has_no_such_kind():
    config = dataclasses.replace(CONFIG, attention=(), middle_attention=False)
    assert not {"query_key_value", "attention_out"} & curvature.kinds(UNet(config)).keys()


def test_derived_multipliers_make_every_kind_as_curved_as_the_rest():
    """w = c·v: the block of the Hessian for v is c² times that for w, at the same w."""
    of_w = curvature.by_kind(network(), SCHEDULE, *batch(), steps=12)
    c = curvature.derived(of_w, most=1e9)
    of_v = curvature.by_kind(network(c), SCHEDULE, *batch(), steps=12)
    # no block is more curved than the whole
    assert abs(of_v.pop("all")) >= 0.97 * abs(of_w["rest"])
    for kind, value in of_v.items():
        assert abs(value) == pytest.approx(abs(of_w["rest"]), rel=3e-2), kind


def test_derived_multipliers_are_limited_and_flat_kinds_get_the_limit():
    found = {"rest": 4.0, "last": 16.0, "time": 1e-6, "conv1": 0.0, "norm": -1.0}
    c = curvature.derived(found, most=6.0)
    assert (c.last, c.time, c.conv1, c.norm, c.conv2) == (0.5, 6.0, 6.0, 2.0, 1.0)


def test_a_second_round_starts_from_the_multipliers_it_was_measured_with():
    found = {"rest": 1.0, "last": 4.0, "time": 0.25, "norm": 1e-9}
    c = curvature.derived(found, Multipliers(last=0.6, time=3.0, conv1=2.5), most=7.0)
    assert (c.last, c.time, c.norm, c.conv1) == (pytest.approx(0.3), 6.0, 7.0, 2.5)
