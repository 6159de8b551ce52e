"""J in its three forms: their values, their factor, their parts, and their independence of t."""

import numpy as np
import pytest
from hypothesis import given
from oracles import seeds

from autograd import leaf
from tinyddpm.objective import FORMS, objective


def drawn(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 5, 4))
    return rng, *rng.standard_normal((2, *shape))


@given(seeds)
def test_each_form_is_what_its_name_says(seed):
    _, x0_hat, x0 = drawn(seed)
    M, D = len(x0), x0[0].size
    squares = [np.linalg.norm(x0_hat[m] - x0[m]) ** 2 for m in range(M)]
    total = sum(squares)
    J_of = {"sum": total, "batch_mean": total / M, "mse": np.mean((x0_hat - x0) ** 2)}
    for form, expected in J_of.items():
        J, errors = objective(leaf(x0_hat), x0, form)
        assert J.shape == () and float(J) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(errors.data, squares, rtol=1e-12)
    by_default, _ = objective(leaf(x0_hat), x0)
    assert float(by_default) == pytest.approx(total / (M * D), rel=1e-12)


@given(seeds)
def test_every_sample_weighs_the_same(seed):
    """∂J/∂x̂_0 is 2(x̂_0 − x_0) times one factor for all.

    No sample, and so no t, has a weight such as its signal-to-noise ratio.
    """
    _, x0_hat, x0 = drawn(seed)
    M, D = len(x0), x0[0].size
    for form, factor in (("sum", 1), ("batch_mean", 1 / M), ("mse", 1 / (M * D))):
        x = leaf(x0_hat)
        objective(x, x0, form)[0].backward()
        np.testing.assert_allclose(x.grad, 2 * factor * (x0_hat - x0), rtol=1e-12, atol=1e-15)


@given(seeds)
def test_the_parts_of_a_batch_add_up_to_the_whole(seed):
    rng, x0_hat, x0 = drawn(seed)
    cut = int(rng.integers(0, len(x0) + 1))
    parts = [p for p in (slice(0, cut), slice(cut, len(x0))) if len(x0[p])]
    for form in FORMS:
        whole = float(objective(leaf(x0_hat), x0, form)[0])
        of_parts = [objective(leaf(x0_hat[p]), x0[p], form, batch_size=len(x0))[0] for p in parts]
        assert sum(map(float, of_parts)) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_float32_stays_float32(form):
    x = leaf(np.ones((3, 1, 2, 5), np.float32))
    J, errors = objective(x, np.zeros((3, 1, 2, 5), np.float32), form)
    J.backward()
    assert J.dtype == errors.dtype == x.grad.dtype == np.float32


def test_bad_arguments_are_named():
    x = leaf(np.ones((2, 1, 2, 2)))
    with pytest.raises(ValueError, match="form: expected one of sum, batch_mean, mse, got 'mean'"):
        objective(x, x.data, "mean")
    message = r"x0_hat: expected the images' shape \(1, 1, 2, 2\), got \(2, 1, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        objective(x, x.data[:1])
