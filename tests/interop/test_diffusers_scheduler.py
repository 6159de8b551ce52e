"""diffusers' scheduler_config.json as a noise schedule of ours.

The expected β are diffusers' own definitions, by hand.
"""

import json
import math

import numpy as np
import pytest

from tinyddpm.interop.diffusers_scheduler import (
    CONFIG,
    OPTIONS,
    Scheduler,
    from_options,
    read,
    to_options,
    write,
)
from tinyddpm.schedule import Schedule, cosine, linear

CIFAR = {  # scheduler_config.json of google/ddpm-cifar10-32
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.1.1",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "variance_type": "fixed_large",
}


def test_the_scheduler_of_ho_et_al():
    found = from_options(CIFAR)
    assert (found.predicts, found.clip, found.large_variance) == ("eps", 1.0, True)
    np.testing.assert_allclose(found.schedule.beta, linear(1000).beta, rtol=1e-14)


def alpha_bar_cosine(u):
    return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2


# Options of a schedule with T = 3, and the three β. None: whatever.
SCHEDULES = {
    # It is not scaled by 1000/T, as our `linear` is.
    "linear": ({"beta_start": 0.1, "beta_end": 0.3}, [0.1, 0.2, 0.3]),
    "scaled_linear": ({"beta_start": 0.01, "beta_end": 0.09}, [0.01, 0.04, 0.09]),
    "sigmoid": (
        {"beta_start": 0.1, "beta_end": 0.3},
        [0.1 + 0.2 / (1 + math.exp(6)), 0.2, 0.1 + 0.2 / (1 + math.exp(-6))],
    ),
    "squaredcos_cap_v2": (
        {},
        [1 - alpha_bar_cosine(1 / 3) / alpha_bar_cosine(0), None, 0.999],
    ),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_variances(kind):
    options, expected = SCHEDULES[kind]
    found = from_options(options | {"beta_schedule": kind, "num_train_timesteps": 3}).schedule
    assert found.T == 3
    for value, wanted in zip(found.beta[1:], expected):
        assert wanted is None or math.isclose(value, wanted, rel_tol=1e-12)


def test_the_default_schedule_is_linear_and_trained_betas_win():
    options = {"num_train_timesteps": 3, "beta_start": 0.1, "beta_end": 0.3}
    default = from_options(options).schedule
    np.testing.assert_allclose(default.beta[1:], [0.1, 0.2, 0.3], rtol=1e-12)
    trained = [0.5, 0.25, 0.125]
    found = from_options(options | {"trained_betas": trained}).schedule
    np.testing.assert_allclose(found.beta[1:], trained, rtol=1e-12)


def test_zero_terminal_snr():
    """√ᾱ of β = 0.1, 0.2, 0.3 is shifted to end at 0, and stretched to begin where it did."""
    options = {"num_train_timesteps": 3, "beta_start": 0.1, "beta_end": 0.3}
    options |= {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    first, second, last = 0.9**0.5, 0.72**0.5, 0.504**0.5
    middle = (first * (second - last) / (first - last)) ** 2
    found = from_options(options)
    np.testing.assert_allclose(found.schedule.alpha_bar, [1, 0.9, middle, 0], atol=1e-12)
    again = from_options(to_options(found))
    np.testing.assert_allclose(again.schedule.alpha_bar, [1, 0.9, middle, 0], atol=1e-12)


def test_zero_terminal_snr_of_trained_betas_does_not_go_with_epsilon():
    with pytest.raises(ValueError, match="^trained_betas: .*zero terminal SNR"):
        from_options({"num_train_timesteps": 2, "trained_betas": [0.5, 1.0]})


# Which t a chain of 6 of 40 steps visits, by the formulas of diffusers, counted from 0.
SPACINGS = [
    ({}, [30, 24, 18, 12, 6, 0]),
    ({"timestep_spacing": "leading", "steps_offset": 1}, [31, 25, 19, 13, 7, 1]),
    ({"timestep_spacing": "leading", "steps_offset": 99}, [39, 33, 27, 21, 15, 9]),
    ({"timestep_spacing": "linspace"}, [39, 31, 23, 16, 8, 0]),  # 39, 31.2, 23.4, 15.6, 7.8, 0
    ({"timestep_spacing": "trailing"}, [39, 32, 26, 19, 12, 6]),  # 40, 33.3, 26.7, … less 1
]


@pytest.mark.parametrize("options, expected", SPACINGS)
def test_the_steps_that_are_visited(options, expected):
    found = from_options({"num_train_timesteps": 40} | options)
    assert [t - 1 for t in found.timesteps(6)] == expected
    assert from_options(to_options(found)).timesteps(6) == found.timesteps(6)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_a_chain_of_all_steps_visits_all(spacing):
    found = from_options({"num_train_timesteps": 9, "timestep_spacing": spacing})
    assert found.timesteps(9) == list(range(9, 0, -1))
    for steps in (0, 10, 2.0):
        with pytest.raises(ValueError, match="steps: expected 1 to T = 9"):
            found.timesteps(steps)


def test_halves_are_rounded_to_even_numbers():
    found = from_options({"num_train_timesteps": 10, "timestep_spacing": "trailing"})
    assert found.timesteps(4) == [10, 8, 5, 2]  # 10, 7.5, 5, 2.5


PREDICTIONS = [
    ({}, "eps", 1.0),
    ({"prediction_type": "sample"}, "x0", 1.0),
    ({"prediction_type": "v_prediction", "clip_sample": False}, "v", None),
    ({"predict_epsilon": False, "clip_sample_range": 2}, "x0", 2.0),
    ({"predict_epsilon": True, "timestep_spacing": "trailing"}, "eps", 1.0),
]


@pytest.mark.parametrize("options, predicts, clip", PREDICTIONS)
def test_what_is_predicted(options, predicts, clip):
    found = from_options(options)
    assert (found.predicts, found.clip, found.large_variance) == (predicts, clip, False)


SCHEDULERS = [
    Scheduler(linear(1000)),
    Scheduler(linear(50), "x0", None, True),
    Scheduler(cosine(20), "v", 2.0, False, "linspace"),
    Scheduler(linear(50), spacing="leading", offset=1),
    Scheduler(Schedule([0.3])),
]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_is_written_is_what_is_read(tmp_path, scheduler):
    write(scheduler, tmp_path)
    found = read(tmp_path)
    assert found[1:] == scheduler[1:]
    np.testing.assert_allclose(found.schedule.beta, scheduler.schedule.beta, rtol=1e-12)
    assert ("trained_betas" in to_options(scheduler)) == (scheduler.schedule.T == 20)


def test_where_it_lies(tmp_path):
    assert read(tmp_path) is None
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / CONFIG).write_text(json.dumps({"prediction_type": "sample"}))
    assert read(tmp_path).predicts == "x0"


OTHER = {
    "_class_name": "EulerDiscreteScheduler",
    "num_train_timesteps": 0,
    "beta_schedule": "laplace",
    "trained_betas": [0.1],
    "variance_type": "learned",
    "prediction_type": "flow",
    "clip_sample": 1,
    "thresholding": True,
    "rescale_betas_zero_snr": True,
    "beta_start": "0",
    "sigma_data": 0.5,
    "clip_sample_range": 0,
    "timestep_spacing": "karras",
    "steps_offset": -1,
}


@pytest.mark.parametrize("name, value", OTHER.items())
def test_what_cannot_be_expressed_is_named(tmp_path, name, value):
    (tmp_path / CONFIG).write_text(json.dumps({name: value}))
    with pytest.raises(ValueError, match=f"{CONFIG}: {name}: "):
        read(tmp_path)
    assert name in OPTIONS or name in ("_class_name", "sigma_data")


@pytest.mark.parametrize("kind", ["PNDMScheduler", "DPMSolverMultistepScheduler"])
def test_another_scheduler_comes_with_the_way_to_one_of_ours(kind):
    with pytest.raises(
        ValueError, match=f"^_class_name: .*got '{kind}'.*DDPMScheduler.from_config"
    ):
        from_options({"_class_name": kind, "solver_order": 2})
    assert from_options({"_class_name": "DDIMParallelScheduler"}).schedule.T == 1000


@pytest.mark.parametrize("name", ["beta_start", "beta_end"])
@pytest.mark.parametrize("value", [0, 2.0, float("nan"), "0.1", True])
def test_a_variance_is_named_in_one_line(name, value):
    with pytest.raises(
        ValueError, match=f"^{name}: expected a number above 0, at most 1, got"
    ) as e:
        from_options({name: value})
    assert "\n" not in str(e.value)
