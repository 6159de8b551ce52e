"""The runs of docs/sgd.md: settings, the files of results, and the one network of its own."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmarks import questions, results, rows, study, tables
from benchmarks.head import Head
from benchmarks.study import Row
from benchmarks.variants import Capped, Twice
from tinyddpm import data, schedule
from tinyddpm.more.training.calibration import Measured
from tinyddpm.nn.linear import Linear


@given(
    beta=st.sampled_from([0.0005, 0.1, 1.4]),
    c=st.sampled_from(["ones", "hand", "measured"]),
    steps=st.integers(1, 3000),
    noise=st.sampled_from(["linear", "cosine"]),
)
def test_a_row_is_what_its_words_say(beta, c, steps, noise):
    row = Row(beta=beta, c=c, steps=steps, noise=noise)
    assert Row.of(*str(row).split()) == row


@pytest.mark.parametrize("word", ["betta=1", "beta", "beta="])
def test_words_that_are_no_settings_are_refused(word):
    with pytest.raises(ValueError, match="^settings: expected words NAME=VALUE"):
        Row.of(word)


@pytest.mark.parametrize("optimiser, momentum", [("sgd", 0.0), ("momentum", 0.9)])
def test_measured_multipliers_are_frozen_when_the_warm_up_ends(optimiser, momentum, monkeypatch):
    updates = []
    monkeypatch.setattr(study.train, "train", lambda *a, update, **k: updates.append(update) or [])
    study.steps(Row(c="measured", warmup=70, optimiser=optimiser), None, None, None, None)
    (update,) = updates
    assert (update.steps, update.momentum) == (70, momentum)


def test_adam_measures_its_own():
    with pytest.raises(ValueError, match="^optimiser: expected sgd or momentum with c=measured"):
        study.steps(Row(c="measured", optimiser="adam"), None, None, None, None)


@pytest.mark.parametrize("c", ["measured_twice", "measured_capped"])
def test_the_variants_are_of_plain_descent(c):
    with pytest.raises(ValueError, match=f"^optimiser: expected sgd with c={c}"):
        study.steps(Row(c=c, optimiser="momentum"), None, None, None, None)


def moves(update, gradients):
    """The steps from θ = 0, with β = 1, for these gradients of a weight of 16 numbers."""
    net, found = Linear(4, 4).initialise(0), []
    where = net.slices()["weight"]
    for k, value in enumerate(gradients, 1):
        net.theta[...], net.grad[where] = 0, value
        update(net, 1.0, k)
        found.append(net.theta[where].copy())
    return np.array(found)


def test_measured_twice_the_second_values_have_the_first_ones_median():
    early, late = [1] * 15 + [4], [4e-3] + [1e-3] * 15
    found = moves(Twice(steps=2, at=5), [early] * 2 + [late] * 4)
    c2 = found / -np.array([early] * 2 + [late] * 4)
    np.testing.assert_allclose(c2[2:4], c2[[1, 1]], rtol=1e-5)  # frozen, while it measures again
    assert c2[4].argmin() == 0 and c2[3].argmin() == 15
    np.testing.assert_allclose(c2[4:], c2[[4, 4]], rtol=1e-5)
    assert np.median(c2[4]) == pytest.approx(np.median(c2[3]), rel=1e-5)


def test_a_cap_changes_the_largest_tenth_alone():
    gradient = [1.0] * 15 + [1e-3]
    (capped,), (whole,) = (moves(update, [gradient]) for update in (Capped(1), Measured(1)))
    np.testing.assert_allclose(capped[:15], whole[:15], rtol=1e-6)
    assert abs(capped[15]) < 0.9 * abs(whole[15])


def test_the_step_size_rises_and_falls():
    row = Row(beta=2.0, warmup=10, steps=110)
    assert [row.step_size(k) for k in (5, 10, 110)] == [1.0, 2.0, 2.0]
    for decay, half in (("linear", 1.0), ("cosine", 1.0)):
        row = Row(beta=2.0, warmup=10, steps=110, decay=decay)
        assert [row.step_size(k) for k in (5, 10, 60, 110)] == pytest.approx([1.0, 2.0, half, 0.0])


def test_images_that_choose_and_images_that_report_are_apart():
    parts = study.split("digits")
    assert [len(part) for part in parts] == [1197, 300, 300]
    everything = np.unique(np.concatenate(parts), axis=0)
    assert np.array_equal(everything, np.unique(data.digits().images, axis=0))


def test_a_run_is_not_made_twice(tmp_path, monkeypatch):
    path = tmp_path / "study.csv"
    monkeypatch.setattr(results, "RESULTS", path)
    monkeypatch.setitem(results.COLUMNS, path, ["row", "validation_3", "test", "diverged"])
    monkeypatch.setattr(questions, "ProcessPoolExecutor", None)  # nothing may ask for one
    good, bad = Row(beta=0.5), Row(beta=9.0)
    results.keep(good, {"validation_3": 0.75, "test": 0.7654321})
    results.keep(bad, {"diverged": 17})
    questions.make([good, bad], processes=1)
    kept = results.read(path)
    assert rows.best([good, bad], kept) == good
    assert tables.shown(good, kept, "test") == "0.7654"
    assert tables.shown(bad, kept, "test") == "diverged"


@pytest.mark.parametrize("row", [Row(beta=1.0), Row(beta=0.002, c="measured")])
def test_what_a_run_finds_has_its_place_in_the_file(row):
    """Also where the steps are no multiple of 3."""
    found = study.run(dataclasses.replace(row, base=8, batch=32, warmup=10, steps=32, judges=40))
    thirds = {"validation_1", "validation_2", "validation_3"}
    assert set(found) == thirds | {"test", "test_last_theta"}
    assert set(found) <= set(results.COLUMNS[results.RESULTS])
    assert found["validation_3"] < found["validation_1"] < 2


def test_an_interval_is_students():
    mean, half = tables.interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.303 / 3**0.5)


def test_the_head_with_a_silent_network_is_the_posterior_mean_of_independent_gaussians():
    """If every pixel of x_0 is N(m, s²), E[x_0 | x_t] = m + √ᾱ s² (x_t − √ᾱ m)/(ᾱ s² + 1 − ᾱ)."""
    table, rng = schedule.linear(1000), np.random.default_rng(0)
    head = Head(rng.normal(-0.4, 0.6, (50, 1, 4, 4)))
    xt, t = rng.normal(size=(4, 1, 4, 4)), np.array([1, 100, 500, 1000])
    a = table.alpha_bar[t].reshape(-1, 1, 1, 1)
    m, s2 = head.mean, head.s**2
    found = head.denoiser(lambda x, t: 0 * x, table)(xt, t)
    np.testing.assert_allclose(
        found, m + a**0.5 * s2 * (xt - a**0.5 * m) / (a * s2 + 1 - a), rtol=1e-10
    )


def test_the_heads_network_predicts_something_of_unit_variance():
    table, rng, n = schedule.linear(1000), np.random.default_rng(0), 4000
    x0 = rng.normal(-0.4, 0.6, (n, 1, 4, 4))
    head, eps = Head(x0), rng.normal(size=(n, 1, 4, 4))
    for step in (1, 300, 1000):
        t = np.full(n, step)
        a = table.alpha_bar[step]
        inside, added, c_out = head.parts(table, a**0.5 * x0 + (1 - a) ** 0.5 * eps, t)
        for x in (inside, (x0 - added) / c_out):
            assert x.std() == pytest.approx(1, rel=0.02)
