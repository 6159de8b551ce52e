"""The table runner of docs/sgd.md: settings, what is kept, and the one network of its own."""
import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmarks import questions, study
from benchmarks.head import Head
from benchmarks.study import Row
from tinyddpm import schedule


@given(beta=st.sampled_from([0.0005, 0.1, 1.4]), c=st.sampled_from(["ones", "hand"]), steps=st.integers(1, 3000), noise=st.sampled_from(["linear", "cosine"]))
def test_a_row_is_what_its_words_say(beta, c, steps, noise):
    row = Row(beta=beta, c=c, steps=steps, noise=noise)
    assert Row.of(*str(row).split()) == row


@pytest.mark.parametrize("word", ["betta=1", "beta", "beta="])
def test_words_that_are_no_settings_are_refused(word):
    with pytest.raises(ValueError, match="^settings: expected words NAME=VALUE"):
        Row.of(word)


def test_the_step_size_rises_and_falls():
    row = Row(beta=2.0, warmup=10, steps=110)
    assert [row.step_size(k) for k in (5, 10, 110)] == [1.0, 2.0, 2.0]
    for decay, half in (("linear", 1.0), ("cosine", 1.0)):
        row = Row(beta=2.0, warmup=10, steps=110, decay=decay)
        assert [row.step_size(k) for k in (5, 10, 60, 110)] == pytest.approx([1.0, 2.0, half, 0.0])


def test_images_that_choose_and_images_that_report_are_apart():
    parts = study.split("digits")
    assert [len(part) for part in parts] == [1197, 300, 300]
    everything = np.concatenate(parts)
    assert np.array_equal(np.unique(everything, axis=0), np.unique(study.data.digits().images, axis=0))


def test_a_run_is_not_made_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "RESULTS", path := tmp_path / "study.csv")
    monkeypatch.setitem(study.COLUMNS, path, ["row", "validation_3", "test", "diverged"])
    monkeypatch.setattr(questions, "RESULTS", path)
    monkeypatch.setattr(questions, "ProcessPoolExecutor", None)  # nothing may ask for one
    rows = [Row(beta=0.5), Row(beta=9.0)]
    study.keep(rows[0], {"validation_3": 0.75, "test": 0.7654321})
    study.keep(rows[1], {"diverged": 17})
    questions.make(rows, processes=1)
    kept = study.read(path)
    assert questions.best(rows, kept) == rows[0] and questions.shown(rows[0], kept, "test") == "0.7654" and questions.shown(rows[1], kept, "test") == "diverged"


def test_what_a_run_finds_has_its_place_in_the_file():
    """Also where the steps are no multiple of 3."""
    found = study.run(Row(beta=1.0, warmup=10, steps=50))
    assert set(found) == {"validation_1", "validation_2", "validation_3", "test", "test_last_theta"} <= set(study.COLUMNS[study.RESULTS])
    assert found["validation_3"] < found["validation_1"] < 2


def test_an_interval_is_students():
    mean, half = questions.interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.303 / 3**0.5)


def test_the_head_with_a_silent_network_is_the_posterior_mean_of_independent_gaussians():
    """E[x_0 given x_t] for x_0 ~ N(m, s²) in every pixel: m + √ᾱ s² (x_t − √ᾱ m)/(ᾱ s² + 1 − ᾱ)."""
    table, rng = schedule.linear(1000), np.random.default_rng(0)
    head = Head(rng.normal(-0.4, 0.6, (50, 1, 4, 4)))
    xt, t = rng.normal(size=(4, 1, 4, 4)), np.array([1, 100, 500, 1000])
    a = table.alpha_bar[t].reshape(-1, 1, 1, 1)
    m, s2 = head.mean, head.s**2
    found = head.denoiser(lambda x, t: 0 * x, table)(xt, t)
    np.testing.assert_allclose(found, m + a**0.5 * s2 * (xt - a**0.5 * m) / (a * s2 + 1 - a), rtol=1e-10)


def test_the_heads_network_is_asked_for_unit_variance():
    table, rng, n = schedule.linear(1000), np.random.default_rng(0), 4000
    x0 = rng.normal(-0.4, 0.6, (n, 1, 4, 4))
    head, eps = Head(x0), rng.normal(size=(n, 1, 4, 4))
    for step in (1, 300, 1000):
        t = np.full(n, step)
        a = table.alpha_bar[step]
        inside, added, c_out = head.parts(table, a**0.5 * x0 + (1 - a) ** 0.5 * eps, t)
        assert inside.std() == pytest.approx(1, rel=0.02) and ((x0 - added) / c_out).std() == pytest.approx(1, rel=0.02)
