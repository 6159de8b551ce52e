"""The whole variational bound: against an exact chain, exact denoisers and known entropies."""

import numpy as np
import pytest
from bound_parts import LOG2, bent, drawing, hermite, tables
from hypothesis import given
from oracles import full, same, seeds
from PIL import Image
from scipy import stats

from tinyddpm.data import digits
from tinyddpm.diffusion import posterior_mean, posterior_variance, q_sample
from tinyddpm.more.chain import q_step
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.likelihood import (
    Bound,
    bits_per_dimension,
    decoder_term,
    model_variance,
    step_term,
    terms,
)
from tinyddpm.pictures.bound_plot import bound_terms
from tinyddpm.schedule import Schedule, cosine, linear

# ---- the chain -----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["small", "large", "between"])
def test_the_terms_add_up_to_the_bound_as_it_is_defined(which):
    """E_q[log q(x_{1:T} | x_0) − log p(x_{0:T})] (Ho et al. 2020, equation 3).

    It is computed by quadrature over the chain that q takes one step at a time: no posterior and no
    KL in it.
    """
    schedule = Schedule([0.2, 0.3, 0.45])
    table = tables(schedule)[which]
    deviation = np.sqrt(model_variance(schedule, table))
    points, weights = hermite(36)
    eps = np.stack(np.meshgrid(points, points, points)).reshape(3, -1, 1, 1, 1)
    w = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    x0, n = full(-0.5, eps.shape[1]), eps.shape[1]
    x, log_q = [x0], 0.0
    for t in (1, 2, 3):
        x.append(q_step(schedule, x[-1], same(t, n), eps[t - 1]))
        mean = np.sqrt(1 - schedule.beta[t]) * x[t - 1]
        log_q = log_q + stats.norm.logpdf(x[t], mean, np.sqrt(schedule.beta[t]))
    log_p = stats.norm.logpdf(x[3])
    for t in (3, 2):
        mean = posterior_mean(schedule, bent(x[t], same(t, n)), x[t], same(t, n))
        log_p = log_p + stats.norm.logpdf(x[t - 1], mean, deviation[t])
    # Grey levels −1, −.5, 0, .5, 1: that of −.5 is from −.75 to −.25.
    mean = bent(x[1], same(1, n))
    low, high = (stats.norm.cdf(edge, mean, deviation[1]) for edge in (-0.75, -0.25))
    expected = w @ (log_q - log_p - np.log(high - low)).ravel() / LOG2

    points, weights = hermite(150)
    noise = lambda t: points.reshape(-1, 1, 1, 1)
    chain = terms(bent, schedule, full(-0.5, 150), noise, 5, table, clip=None)
    assert sum(weights @ bits for _, bits in chain) == pytest.approx(expected, abs=2e-5)


# One pixel of five grey levels, one of which never occurs.
VALUES, COUNTS = np.array([-1.0, -0.5, 0.5, 1.0]), np.array([5, 2, 1, 8])


def bound_of_the_exact_model(T, make=linear, variance=None):
    """The bound with the denoiser E[x_0 | x_t], in the mean over x_0 and (by quadrature) ε."""
    schedule = make(T)
    points, weights = hermite(120)
    x0 = np.repeat(VALUES, 120).reshape(-1, 1, 1, 1)
    w = np.outer(COUNTS / COUNTS.sum(), weights).ravel()
    ideal = ideal_denoiser(np.repeat(VALUES, COUNTS).reshape(-1, 1, 1, 1), schedule)
    eps = np.tile(points, 4).reshape(-1, 1, 1, 1)
    table = variance and variance(schedule)
    return sum(w @ bits for _, bits in terms(ideal, schedule, x0, lambda t: eps, 5, table))


def test_no_bound_is_below_the_entropy_and_it_comes_as_close_as_there_are_steps():
    """The gap falls as 1/T: what is lost is that p(x_{t−1} | x_t) is no Gaussian."""
    entropy = stats.entropy(COUNTS, base=2)
    gaps = {T: bound_of_the_exact_model(T) - entropy for T in (10, 100, 300, 1000)}
    assert gaps[10] > gaps[100] > gaps[300] > gaps[1000] > 0
    assert gaps[1000] < 0.03 and 3 < gaps[300] / gaps[1000] < 4
    assert 0 < bound_of_the_exact_model(300, cosine) - entropy < 0.05
    assert bound_of_the_exact_model(100, variance=lambda s: s.beta) - entropy > gaps[100]


def test_the_chain_goes_from_L_T_to_L_0_and_asks_at_each_t_with_that_noise():
    schedule, x0 = linear(4), digits().images[:3]
    asked = []

    def denoiser(xt, t):
        noise = drawing(x0)(int(t[0]))
        np.testing.assert_array_equal(xt, q_sample(schedule, x0, t, noise))
        assert t.shape == (3,) and len(set(t.tolist())) == 1
        asked.append(int(t[0]))
        return 3 * np.ones_like(xt)  # outside: it must be clipped

    chain = list(terms(denoiser, schedule, x0, drawing(x0), 17))
    assert [i for i, _ in chain] == [4, 3, 2, 1, 0] and asked == [4, 3, 2, 1]
    ones, by_i = np.ones_like(x0), dict(chain)
    for t in (4, 3, 2):
        np.testing.assert_array_equal(by_i[t - 1], step_term(schedule, x0, ones, same(t, 3)))
    decoder = decoder_term(x0, ones, posterior_variance(schedule)[2], 17)
    np.testing.assert_array_equal(by_i[0], decoder)
    free = dict(terms(denoiser, schedule, x0, drawing(x0), 17, clip=None))
    asked.clear()
    np.testing.assert_array_equal(free[2], step_term(schedule, x0, 3 * ones, same(3, 3)))


def test_float32_images_are_measured_in_float64_and_not_written_into():
    schedule, x0 = linear(5), digits().images[:4]
    before = x0.copy()
    chain = list(terms(bent, schedule, x0, drawing(x0), 17))
    noise = lambda t: drawing(x0)(t).astype(np.float64)
    exact = list(terms(bent, schedule, x0.astype(np.float64), noise, 17))
    assert all(bits.dtype == np.float64 and bits.shape == (4,) for _, bits in chain)
    for (_, a), (_, b) in zip(chain, exact):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_array_equal(x0, before)


@given(seeds)
def test_permuting_the_images_permutes_their_terms(seed):
    schedule, x0 = linear(3), digits().images[:5]
    order = np.random.default_rng(seed).permutation(5)
    noise = drawing(x0)
    here, there = (
        np.stack([bits for _, bits in terms(bent, schedule, images, draw, 17)])
        for images, draw in ((x0, noise), (x0[order], lambda t: noise(t)[order]))
    )
    np.testing.assert_allclose(there, here[:, order], rtol=1e-12)


# ---- the table and the picture -------------------------------------------------------------------


def some_bound(T=25, n=6):
    x0 = digits().images[:n]
    return Bound(terms(bent, linear(T), x0, drawing(x0), 17))


def test_the_table_adds_up():
    bound = some_bound()
    assert bound.each.shape == (26, 6) and bound.terms.shape == bound.errors.shape == (26,)
    assert bound.total == pytest.approx(bound.terms.sum())
    assert bound.total == pytest.approx(bound.rate + bound.distortion)
    assert bound.error == pytest.approx(stats.sem(bound.each.sum(axis=0)))
    np.testing.assert_allclose(bound.errors, stats.sem(bound.each, axis=1))
    rows = bound.rows(bands=4)
    bands = [f"L_t-1, t = {band}" for band in ("20..25", "14..19", "8..13", "2..7")]
    assert [name for name, _, _ in rows] == ["L_T", *bands, "L_0", "total"]
    assert sum(mean for _, mean, _ in rows[:-1]) == pytest.approx(rows[-1][1])
    assert rows[-1][1] == pytest.approx(bound.total)
    assert rows[1][1] == pytest.approx(bound.terms[19:25].sum())
    assert rows[1][2] == pytest.approx(stats.sem(bound.each[19:25].sum(axis=0)))
    assert rows[0][1] == bound.terms[25] and rows[-2][1] == bound.distortion
    text = str(bound)
    assert len(text.splitlines()) == 14 and f"{bound.total:.6f}" in text


def test_bits_are_per_dimension_and_of_base_2():
    assert bits_per_dimension(np.full((2, 1, 3, 4), LOG2)).tolist() == [1.0, 1.0]


def test_one_image_has_no_standard_error():
    bound = some_bound(n=1)
    assert np.isnan(bound.error) and np.isnan(bound.errors).all() and np.isfinite(bound.total)


def test_a_part_of_the_chain_is_refused():
    schedule, x0 = linear(5), digits().images[:2]
    with pytest.raises(ValueError, match="^Bound: expected the whole chain"):
        Bound(list(terms(bent, schedule, x0, drawing(x0), 17))[:3])


@pytest.mark.parametrize("T, n", [(25, 6), (25, 1), (2, 3), (1, 2)])
def test_the_picture_is_drawn(tmp_path, T, n):
    x0 = digits().images[:n]
    schedule = linear(T)
    chain = terms(bent, schedule, x0, drawing(x0), 17, variance=schedule.beta)
    bound_terms(tmp_path / "bound.png", Bound(chain))
    with Image.open(tmp_path / "bound.png") as image:
        assert image.size == (924, 726) and len(set(image.convert("L").tobytes())) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["bound.png"]
