"""Grids of timesteps: what they visit, and that every solver follows the grid that it is given."""

from pathlib import Path

import numpy as np
import pytest
from gaussian_chains import chain_2m, chain_ddim, chain_heun, end_of
from gaussian_worlds import PIXEL, means, pixel, variances
from hypothesis import given, strategies as st
from oracles import full, schedules, seeds
from solved import bent, drawn

from tinyddpm.more.schedules import (
    SPACINGS,
    log_snr,
    spaced_grid,
    timestep_grid,
    zero_terminal_snr,
)
from tinyddpm.more.solvers import ddim, ddim_inversion, dpm_solver, heun
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, cosine, linear

spacings = st.sampled_from(sorted(SPACINGS))
every_solver = pytest.mark.parametrize("solver", [ddim, dpm_solver, heun])
WAYS = {  # what each spacing says that it is even in, written out again
    "log-snr": lambda s, t: np.log(s.alpha_bar[t] / (1 - s.alpha_bar[t])),
    "log-snr-6": lambda s, t: np.log(s.alpha_bar[t] / (1 - s.alpha_bar[t])),
    "quadratic": lambda s, t: t**0.5,
    "karras": lambda s, t: ((1 - s.alpha_bar[t]) / s.alpha_bar[t]) ** (1 / 14),
}


@given(schedules, spacings, st.floats(0, 1))
def test_a_grid_has_as_many_different_steps_as_asked_for(schedule, spacing, size):
    """They fall from T, and down to 1 unless they are even in t or end sooner by their name."""
    steps = max(1, round(size * schedule.T))
    grid = spaced_grid(schedule, steps, spacing)
    assert len(grid) == steps and grid[0] == schedule.T and grid == sorted(set(grid), reverse=True)
    assert all(isinstance(t, int) for t in grid)
    if spacing == "even":
        assert grid == timestep_grid(schedule.T, steps)
    elif spacing == "log-snr-6" and 1 < steps < schedule.T:
        clear = sum(schedule.alpha_bar[1:] > 1 / (1 + np.exp(-6)))
        assert grid[-1] == min(1 + clear, schedule.T - steps + 1)
    elif steps > 1:
        assert grid[-1] == 1


def test_the_last_noise_of_log_snr_6_is_a_twentieth_of_the_image():
    for schedule in (linear(1000), cosine(1000), linear(400)):
        last = spaced_grid(schedule, 25, "log-snr-6")[-1]
        sigma = np.sqrt((1 - schedule.alpha_bar) / schedule.alpha_bar)
        assert sigma[last - 1] < 0.05 < sigma[last] + 1e-3


@pytest.mark.parametrize("most", [0.02, 0.008])
@pytest.mark.parametrize("spacing", WAYS)
def test_a_grid_is_even_in_what_it_says_but_for_rounding(spacing, most):
    """No t is nearer to where it should be than the one that was chosen."""
    schedule = Schedule(np.linspace(1e-4, most, 1000))
    measure = np.array([WAYS[spacing](schedule, t) for t in range(1, 1001)])
    grid = np.array(spaced_grid(schedule, 8, spacing))
    wanted = np.linspace(measure[-1], measure[grid[-1] - 1], 8)
    off = abs(measure[grid - 1] - wanted)
    np.testing.assert_allclose(off, abs(measure - wanted[:, None]).min(axis=1), atol=1e-5)


def test_steps_do_not_gather_where_nothing_of_the_image_is_left():
    """From −12.9 to −19.8 in one step: so `cosine` ends, and a third of the way lies there."""
    assert spaced_grid(cosine(1000), 20, "log-snr")[4] < 980


def test_zero_terminal_snr_has_grids_too():
    schedule = zero_terminal_snr(linear(1000))
    assert log_snr(schedule)[-1] == -np.inf
    for spacing in SPACINGS:
        grid = spaced_grid(schedule, 20, spacing)
        assert len(grid) == 20 and grid[0] == 1000 and grid[10] > 100
        *_, (t, x, _) = dpm_solver(bent, schedule, drawn(), steps=grid)
        assert t == 0 and np.isfinite(x).all()


@every_solver
@given(seeds, st.integers(1, 12))
def test_the_even_grid_is_what_steps_means(solver, seed, steps):
    """`steps` may also be the timesteps themselves."""
    even = timestep_grid(12, steps)
    ways = [{"steps": steps}, {"steps": even}, {"steps": np.array(even)}]
    first, *others = (
        [(t, x.tobytes()) for t, x, _ in solver(bent, linear(12), drawn(seed), **how)]
        for how in ways
    )
    assert all(other == first for other in others)


def test_an_inversion_visits_the_steps_of_the_chain_that_it_undoes():
    inverted = ddim_inversion(bent, linear(12), drawn(), steps=[12, 5, 1])
    assert [t for t, _, _ in inverted] == [1, 5, 12]


# ---- any grid, on Gaussian images, against recursions of another form ----------------------------

S = Schedule(np.linspace(0.01, 0.4, 12))
grids = st.sets(st.integers(1, 12), min_size=1).map(lambda some: sorted(some | {12}, reverse=True))


def agree(measured, mean, variance):
    found_mean, found_variance = measured
    assert found_mean == pytest.approx(mean, abs=1e-9)
    assert found_variance == pytest.approx(variance, rel=1e-8, abs=1e-9)


@given(grids, variances, means, st.sampled_from([0.0, 0.4, 1.0]))
def test_ddim_on_any_grid(grid, w, m, eta):
    measured = pixel(ddim, S, w, T=12 if eta else 0, mean=PIXEL + m, steps=grid, eta=eta)
    agree(measured, *end_of(chain_ddim(S, m, w, grid, eta)))


@given(grids, variances, means)
def test_heun_on_any_grid(grid, w, m):
    measured = pixel(heun, S, w, mean=PIXEL + m, steps=grid)
    agree(measured, *end_of(chain_heun(S, m, w, grid)))


@given(grids, variances, means)
def test_dpm_solver_on_any_grid(grid, w, m):
    *_, (a, b) = chain_2m(S, m, w, grid)
    agree(pixel(dpm_solver, S, w, mean=PIXEL + m, steps=grid), b, a**2)


# ---- what is refused -----------------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize(
    "grid", [[], [11, 5], [10, 5, 5], [5, 10], [10, 0], [10, -1], [10, 5.5]], ids=str
)
def test_a_bad_grid_is_named(solver, grid):
    expected = "^steps: expected timesteps that fall, from at most T = 10 to at least 1, got"
    with pytest.raises(ValueError, match=expected):
        next(solver(bent, linear(10), full(1), steps=grid))


def test_a_text_is_no_sequence_of_timesteps():
    with pytest.raises(ValueError, match="^steps: expected 1 to T = 10, got '5'"):
        timestep_grid(10, "5")


def test_a_bad_spacing_and_a_bad_number_of_steps_are_named():
    with pytest.raises(ValueError, match="^grid: expected one of even, log-snr-6, .*, got 'odd'"):
        spaced_grid(linear(10), 5, "odd")
    with pytest.raises(ValueError, match="^steps: expected 1 to T = 10, got 11"):
        spaced_grid(linear(10), 11, "log-snr")


# ---- DPM-Solver++(2M) with noise -----------------------------------------------------------------


@given(grids, seeds)
def test_dpm_solver_with_eta_1_is_the_published_one_for_the_stochastic_equation(grid, seed):
    """Lu et al. 2022, "DPM-Solver++", SDE-DPM-Solver++(2M), in their α, σ and λ."""
    alpha, sigma = np.sqrt(S.alpha_bar), np.sqrt(1 - S.alpha_bar)
    with np.errstate(divide="ignore"):
        lam = np.log(alpha) - np.log(sigma)
    noise = lambda t: drawn(seed + t)
    x, last, i = drawn(seed), None, 0
    chain = dpm_solver(bent, S, x, steps=grid, noise=noise, eta=1.0)
    for i, (then, ours, x0_hat) in enumerate(chain):
        now, h = grid[i], lam[then] - lam[grid[i]]
        np.testing.assert_array_equal(x0_hat, bent(x, np.full(3, now)).clip(-1, 1))
        D = x0_hat
        if i and then:
            r = (lam[now] - lam[grid[i - 1]]) / h
            D = (1 + 1 / (2 * r)) * x0_hat - 1 / (2 * r) * last
        shrink, spread = np.exp(-h), np.sqrt(-np.expm1(-2 * h))
        expected = sigma[then] / sigma[now] * shrink * x - alpha[then] * np.expm1(-2 * h) * D
        if then:
            expected = expected + sigma[then] * spread * noise(now)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
        x, last = ours, x0_hat


def test_noise_is_asked_for_where_eta_wants_it():
    with pytest.raises(ValueError, match=r"^noise: expected a function noise\(t\), for eta = 0.5"):
        next(dpm_solver(bent, S, drawn(), eta=0.5))
    with pytest.raises(ValueError, match="^eta: expected 0 to 1, got 2"):
        next(dpm_solver(bent, S, drawn(), noise=drawn, eta=2))


# ---- the table in docs/samplers.md ---------------------------------------------------------------


def exact_spread(options, s):
    """What a sampler makes of the spread s of Gaussian data, as a fraction of it."""
    words = dict(zip(options[::2], options[1::2]))
    name, steps = words["--sampler"], int(words.get("--steps", 1000))
    eta, schedule = float(words.get("--eta", 0)), linear(1000)
    if name == "ddpm":
        _, variance = pixel(ancestral, schedule, s * s, T=1000)
        return variance**0.5 / s
    how = {"steps": spaced_grid(schedule, steps, words["--grid"])}
    if name == "dpm" and eta:
        solver = lambda d, S, x, noise, **more: dpm_solver(d, S, x, noise=noise, **more)
    else:
        solver = {"ddim": ddim, "dpm": dpm_solver, "heun": heun}[name]
    if name != "heun":
        how["eta"] = eta
    _, variance = pixel(solver, schedule, s * s, T=1000 if eta else 0, **how)
    return variance**0.5 / s


def test_the_spreads_in_the_table_of_samplers_md():
    text = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text(encoding="utf-8")
    _, table = text.split("| fraction of the spread, `linear(1000)` |")
    rows = [line.split("|")[1:-1] for line in table.split("\n\n")[0].splitlines()[2:]]
    assert len(rows) == 11
    for name, *spreads in rows:
        options = name.split("`")[1].split()
        found = [exact_spread(options, s) for s in (0.5, 0.1, 0.05)]
        assert [f"{x:.3f}".lstrip("0") for x in found] == [x.strip() for x in spreads], name
