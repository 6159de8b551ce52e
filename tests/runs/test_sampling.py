"""How `Run.sample` and `tinyddpm sample` draw: every sampler, every grid, and the default."""

import inspect

import numpy as np
import pytest
from small_runs import TINY

from tinyddpm import cli, noise
from tinyddpm.cli import options as command_line
from tinyddpm.more import schedules, solvers
from tinyddpm.runs import checkpoint
from tinyddpm.runs.chains import SAMPLERS, chain_length, default_chain
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.sampler import ancestral

N, SEED = 3, 5
SOLVERS = {
    "ddpm": ancestral,
    "ddim": solvers.ddim,
    "dpm": solvers.dpm_solver,
    "heun": solvers.heun,
}
PIECES = [(5, 0), (2, 0), (3, 2)]  # (n, first): all, and two parts
REFUSED = {  # what is asked of a run with T = 12, and what must be said
    ("heun", None, 1.0, "even"): "eta: heun adds no noise; choose ddim or dpm for eta = 1",
    ("ddpm", None, 0.0, "karras"): "grid: ddpm visits all T = 12 steps; choose another for karras",
    ("ddim", None, 0.0, "odd"): f"grid: expected one of {', '.join(schedules.SPACINGS)}, got 'odd'",
    ("euler", None, 0.0, "even"): "sampler: expected one of ddpm, ddim, dpm, heun, got 'euler'",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    run(TINY, folder)
    return folder


def test_four_channels_are_no_picture_and_that_is_said_before_any_is_drawn(
    tmp_path, monkeypatch, capsys
):
    config = TINY.for_images((4, 8, 8))
    theta = config.make_unet().initialise(0).state()
    saved = checkpoint.Checkpoint(config, 1, theta, theta, {"progress": {"best": 1.0}})
    checkpoint.save(tmp_path / "x.safetensors", saved)
    few = ["sample", str(tmp_path / "x.safetensors"), "--n", "1", "--steps", "2", "--out"]
    assert cli.main([*few, str(tmp_path / "x.npz")]) == 0
    monkeypatch.setattr(Run, "sample", None)
    assert cli.main([*few, str(tmp_path / "x.png")]) == 2
    assert "4 channels are no picture; expected .npz" in capsys.readouterr().err


def by_hand(folder, sampler, **options):
    """The images of seed SEED, drawn with the solver itself."""
    model = Run(folder)

    def draw(t):
        return noise.normal(SEED, "sampling", t, np.arange(N), model.config.unet.image)

    if sampler != "heun":
        options["noise"] = draw
    with model.denoiser() as denoiser:
        *_, (_, x0, _) = SOLVERS[sampler](denoiser, model.schedule, draw(0), **options)
    return x0


def by_command(folder, out, options):
    command = ["sample", str(folder), *f"--n {N} --seed {SEED} --out {out}".split()]
    assert cli.main([*command, *options.split()]) == 0
    with np.load(out) as arrays:
        return arrays["images"]


COMMANDS = {  # options of `tinyddpm sample`, and those of the solver
    "--sampler ddpm": {},
    "--sampler ddim --steps 5 --eta 0": {"steps": 5},
    "--sampler ddim": {"steps": 12},
    "--sampler ddim --steps 5 --eta 0.5 --grid quadratic": {
        "eta": 0.5,
        "steps": schedules.spaced_grid(TINY.make_schedule(), 5, "quadratic"),
    },
    "--sampler dpm --steps 5 --clip no": {"steps": 5, "clip": None},
    "--sampler dpm --steps 5 --eta 1": {"steps": 5, "eta": 1.0},
    "--sampler heun --steps 5 --grid karras": {
        "steps": schedules.spaced_grid(TINY.make_schedule(), 5, "karras"),
    },
}


@pytest.mark.parametrize("options", COMMANDS)
def test_a_command_draws_what_its_sampler_draws(options, trained, tmp_path):
    expected = by_hand(trained, options.split()[1], **COMMANDS[options])
    np.testing.assert_array_equal(by_command(trained, tmp_path / "x.npz", options), expected)


def test_without_a_sampler_the_default_draws_and_what_is_named_is_changed(trained, tmp_path):
    drawn = lambda options: by_command(trained, tmp_path / "x.npz", options)
    in_words = "--sampler dpm --grid log-snr-6 --eta 1"
    assert (default_chain(12)["steps"], default_chain(1000)["steps"]) == (12, 25)
    np.testing.assert_array_equal(drawn(""), drawn(f"{in_words} --steps 12"))
    short = drawn("--steps 5")
    np.testing.assert_array_equal(short, drawn(f"{in_words} --steps 5"))
    np.testing.assert_array_equal(
        drawn("--steps 5 --eta 0"), drawn(f"{in_words} --steps 5 --eta 0")
    )
    for other in ("--steps 4", "--steps 5 --eta 0", "--steps 5 --grid even"):
        assert abs(drawn(other) - short).max() > 1e-3


def test_many_images_can_be_drawn_in_pieces(trained):
    """Each keeps its own noise; another number of images in a batch may change the last digits."""
    ends = [list(Run(trained).sample(n, "dpm", 4, eta=1, first=a))[-1][1] for n, a in PIECES]
    np.testing.assert_allclose(np.concatenate(ends[1:]), ends[0], atol=1e-4)
    assert abs(ends[1] - ends[2][:2]).max() > 0.1


@pytest.mark.parametrize("asked", REFUSED, ids=str)
def test_what_a_sampler_does_not_have_is_refused_at_once(asked, trained):
    sampler, steps, eta, grid = asked
    with pytest.raises(ValueError) as caught:
        Run(trained).sample(2, sampler, steps, eta=eta, grid=grid)
    assert str(caught.value) == REFUSED[asked]


def test_the_length_of_a_chain_is_the_number_of_its_steps(trained):
    for sampler in SAMPLERS:
        for steps in (None, 12) if sampler == "ddpm" else (None, 1, 5, 12):
            chain = list(Run(trained).sample(2, sampler, steps))
            assert len(chain) == chain_length(12, sampler, steps) and chain[-1][0] == 0


def test_the_command_line_offers_every_sampler_and_every_grid():
    assert command_line.SAMPLERS == SAMPLERS == tuple(SOLVERS)
    assert command_line.GRIDS == tuple(schedules.SPACINGS)
    takes = inspect.signature(Run.sample).parameters
    assert set(default_chain(9)) <= set(takes) and takes["grid"].default == "even"
