"""Options that depend on each other: β on the optimiser, the weight on the prediction, β's end."""

import itertools
import math

import pytest

from tinyddpm.runs import config as configuration
from tinyddpm.runs.config import Config, from_dict, to_dict
from tinyddpm.runs.training.departures import departures


@pytest.mark.parametrize(
    "given, beta, multipliers, weight",
    [
        ({}, 1.4, "hand", "none"),
        ({"multipliers": "none"}, 0.1, "none", "none"),
        ({"multipliers": "measured"}, 0.001, "measured", "none"),
        ({"multipliers": "measured", "optimiser": "momentum"}, 0.004, "measured", "none"),
        ({"optimiser": "momentum"}, 0.14, "hand", "none"),
        ({"optimiser": "adam"}, 0.004, "none", "none"),
        ({"optimiser": "adam", "multipliers": "hand"}, 0.002, "hand", "none"),
        ({"optimiser": "adam", "beta": 0.3}, 0.3, "none", "none"),
        ({"predicts": "eps"}, 0.7, "hand", "snr"),
        ({"predicts": "v"}, 0.7, "hand", "snr_plus_1"),
        ({"predicts": "v", "weight": "none"}, 0.7, "hand", "none"),
        ({"predicts": "eps", "optimiser": "adam"}, 0.004, "none", "snr"),
    ],
)
def test_what_is_not_given_suits_what_is(given, beta, multipliers, weight):
    config = from_dict(given)
    assert (config.beta, config.multipliers, config.weight) == (beta, multipliers, weight)
    assert config == from_dict(to_dict(config)) == Config(**given)


@pytest.mark.parametrize(
    "before, given, changed",
    [
        ({"beta": 1.4}, {"optimiser": "adam"}, {"beta": 0.004, "multipliers": "none"}),
        ({"beta": 1.4}, {"optimiser": "sgd"}, {"beta": 1.4}),
        ({"beta": 1.4}, {"optimiser": "adam", "beta": 0.1}, {"beta": 0.1}),
        ({"beta": 0.7}, {"steps": 5}, {"beta": 0.7}),
        ({"beta": 0.3, "multipliers": "hand"}, {"multipliers": "none"}, {"beta": 0.1}),
        ({"beta": 0.1, "optimiser": "adam"}, {"multipliers": "none"}, {"beta": 0.1}),
        ({"beta": 0.1, "predicts": "v"}, {"weight": "snr_plus_1"}, {"beta": 0.1}),
        ({"beta": 0.1, "objective": "sum"}, {"objective": "mse"}, {"beta": 1.4}),
        ({"predicts": "eps", "weight": "snr"}, {"predicts": "x0"}, {"weight": "none"}),
        (
            {"decay": "linear", "steps": 900, "decay_steps": 900},
            {"steps": 500},
            {"decay_steps": 500},
        ),
        (
            {"decay": "linear", "steps": 900, "decay_steps": 900},
            {"decay": "constant"},
            {"steps": 900},
        ),
    ],
)
def test_what_suited_the_option_before_is_chosen_anew(before, given, changed):
    found = to_dict(from_dict(configuration.over(before, given)))
    assert {name: found[name] for name in changed} == changed


@pytest.mark.parametrize(
    "run, file, given, changed",
    [
        ({"optimiser": "adam"}, {"beta": 1.2}, {}, {"beta": 0.004}),
        ({"optimiser": "adam"}, {"beta": 1.2, "optimiser": "sgd"}, {}, {"beta": 1.2}),
        ({"optimiser": "adam"}, {"beta": 1.2}, {"optimiser": "sgd"}, {"beta": 1.2}),
        ({"optimiser": "adam"}, {"multipliers": "hand"}, {}, {"multipliers": "hand"}),
        ({"predicts": "v"}, {"weight": "min_snr"}, {}, {"weight": "min_snr"}),
        ({"multipliers": "measured"}, {"beta": 1.2}, {"beta": 0.003}, {"beta": 0.003}),
        ({"beta": 1.3, "steps": 5}, {"beta": 1.2}, {"steps": 7}, {"beta": 1.2, "steps": 7}),
        ({"beta": 1.3}, {"steps": 5}, {}, {"beta": 1.3, "steps": 5}),
    ],
)
def test_beta_of_a_file_does_not_meet_the_optimiser_of_a_run(run, file, given, changed):
    run = to_dict(from_dict(run))
    found = to_dict(from_dict(configuration.over_a_run(run, file, given)))
    assert {name: found[name] for name in changed} == changed
    again = to_dict(from_dict(configuration.resumed(found, file, given)))  # the same command
    assert again == found


@pytest.mark.parametrize("optimiser, multipliers", [("adam", None), ("sgd", "measured")])
def test_what_divides_by_the_gradient_needs_no_other_beta_for_a_sum(optimiser, multipliers):
    method = {"optimiser": optimiser, "multipliers": multipliers}
    assert Config(**method, objective="sum").beta == Config(**method).beta


@pytest.mark.parametrize("had, now", [(True, "hand"), (False, "none")])
def test_multipliers_of_older_files_are_read(had, now, tmp_path):
    (tmp_path / "x.toml").write_text(f"multipliers = {str(had).lower()}\n")
    assert from_dict(configuration.read(tmp_path / "x.toml")).multipliers == now


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_beta_falls_to_0_at_the_last_step(decay):
    config = Config(beta=2.0, warmup=10, steps=110, decay=decay)
    beta = [config.step_size(k) for k in range(1, 111)]
    assert beta[:10] == [Config(beta=2.0, warmup=10).step_size(k) for k in range(1, 11)]
    assert all(a > b for a, b in itertools.pairwise(beta[9:])) and beta[-1] == pytest.approx(0)
    assert beta[59] == pytest.approx(1.0)
    if decay == "cosine":
        assert beta[34] == pytest.approx(1 + math.cos(math.pi / 4))


def test_a_run_says_what_it_does_otherwise_and_nothing_if_it_does_nothing():
    assert departures(Config()) == departures(Config(beta=0.3, multipliers="none")) == []
    config = Config(predicts="eps", optimiser="adam", decay="linear", steps=1000)
    first, weighted, large = departures(config)
    assert first == (
        "Other than in the lecture: the network predicts the noise ε, not x₀; the squared error of "
        "x̂₀ is weighted by SNR; Adam instead of plain gradient descent; β falls linearly to 0 at "
        "step 1,000. β is 0.004."
    )
    assert "The held-out J never is" in weighted and "predicts ε is large" in large
    for name in ("momentum", "hand", "0.14"):
        assert name in departures(Config(optimiser="momentum"))[0]
    for weight in ("none", "snr", "min_snr", "truncated_snr", "snr_plus_1"):
        assert departures(Config(predicts="v", weight=weight))
    diverges = {w: "diverged" in " ".join(departures(Config(weight=w))) for w in ("min_snr", "snr")}
    assert diverges == {"min_snr": False, "snr": True}
    assert "diverged" not in " ".join(departures(Config(weight="snr", optimiser="adam")))
    for weight, counts in (("none", True), ("snr_plus_1", True), ("snr", False)):
        said = " ".join(departures(Config(predicts="eps", weight=weight)))
        assert ("counts up to 24,777 times" in said) == counts
    for predicts in ("x0", "v"):
        said = " ".join(departures(Config(predicts=predicts, learn_sigma=True)))
        assert ("whatever the variance" in said) == (predicts == "x0")
