"""All that the page shows, of runs of every kind; and the command."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from tiny_runs import DIGITS, TINY, a_run, data_of, opened

from tinyddpm import cli, data
from tinyddpm.cli import models
from tinyddpm.explore import drawing, explorer as explorer_module, words
from tinyddpm.explore.chain import SAMPLERS, Chain, Settings
from tinyddpm.explore.explorer import Explorer
from tinyddpm.explore.inputs import rasterised
from tinyddpm.runs.config import from_dict
from tinyddpm.runs.training import run

# ---- runs ----------------------------------------------------------------------------------------


def all_of_it(explorer):
    """Everything once, at both ends of every control."""
    T, last = explorer.schedule.T, len(explorer.images) - 1
    for image, t in ((0, 1), (last, T)):
        look, walk = explorer.look(image, t), explorer.walk(image, t)
        assert look.network.shape == walk.x0_hat.shape == explorer.shape
        assert words.of_look(explorer, look) and words.of_curves(*explorer.errors(image))
        assert words.of_drawing(explorer, look, empty=True)
        for position, (way, name) in enumerate(drawing.positions(walk)):
            width, height, content = drawing.graph(walk, position)
            assert ElementTree.fromstring(f"<svg>{content}</svg>") is not None
            assert words.of_step(explorer, walk, way, name)
        for layer in walk.layers.values():
            opened(drawing.channels(layer.output))
        ElementTree.fromstring(drawing.curves(*explorer.errors(image), t))
    stroke = ((1.0,) * explorer.shape[0], [(0.5, 0.5)])
    sheet = rasterised([stroke], explorer.shape, explorer.paper)
    for sampler in SAMPLERS:
        for t in (1, T):
            start = t, explorer.noised(sheet[None].repeat(2, 0), t, 0)
            chain = Chain(explorer, 0, n=2, start=start)
            for _ in chain.rest(Settings(sampler, steps=T if t == 1 else 1)):
                assert words.of_chain(chain.t, chain.xt, chain.x0_hat, Settings(sampler), T)
            assert chain.xt.shape == (2, *explorer.shape) and np.isfinite(chain.xt).all()


@pytest.mark.parametrize("image", [(3, 16, 16), (1, 28, 28), (1, 8, 12)])
def test_runs_of_other_images_without_classes(tmp_path, image):
    run = a_run(tmp_path / "run", image, data=data_of(tmp_path / "x.npy", image))
    explorer = Explorer(run)
    assert explorer.names == () and explorer.labels is None and explorer.note == ""
    assert explorer.look(0, 3).ideal is not None
    all_of_it(explorer)


SETTINGS = [{"T": 1}, {"time_conditioning": False}, {"noise_schedule": "cosine", "T": 7}]


@pytest.mark.parametrize("values", SETTINGS)
def test_runs_with_other_settings(tmp_path, values):
    all_of_it(Explorer(a_run(tmp_path / "run", data="digits", **values)))


@pytest.mark.parametrize("lost", [True, False])
def test_a_run_whose_data_are_gone_shows_its_own_samples(tmp_path, lost):
    if lost:
        run = a_run(tmp_path / "run", names=("a", "b"), data=str(tmp_path / "lost.npy"))
    else:  # other images by now
        run = a_run(tmp_path / "run", data=data_of(tmp_path / "x.npy", (1, 4, 4)))
    explorer = Explorer(run)
    assert "own samples" in explorer.note and "\n" not in explorer.note
    assert explorer.images.shape == (8, 1, 8, 8)
    assert explorer.look(0, 5).ideal is None and set(explorer.errors(0)[1]) == {"network"}
    all_of_it(explorer)


def test_the_paper_of_digits_is_black():
    assert Explorer("digits").paper == -1


def test_images_that_have_changed_get_a_word(tmp_path):
    data = data_of(tmp_path / "x.npy", (1, 8, 8))
    small = {"data": data, "batch_size": 4, "steps": 1, "workers": 1}
    run(from_dict(TINY | small), tmp_path / "run")
    assert Explorer(tmp_path / "run").note == ""
    data_of(tmp_path / "x.npy", (1, 8, 8), n=14)
    assert "not the images that the run was trained on" in Explorer(tmp_path / "run").note


def test_the_ideal_denoiser_is_of_as_many_images_as_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "MOST_VALUES", 5 * 64)
    found = Explorer(a_run(tmp_path / "x", data=data_of(tmp_path / "x.npy", (1, 8, 8))))
    assert len(found.ideal().images) == 5


def test_a_run_that_never_saw_an_image_without_its_class_is_not_guided(tmp_path):
    run = a_run(tmp_path / "run", names=DIGITS, data="digits", class_dropout=0.0)
    assert not Explorer(run).guidable


# ---- the command ---------------------------------------------------------------------------------


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    assert cli.main(["explore", str(tmp_path)]) == 2
    problem = "explore: expected NiceGUI, which is not installed"
    install = f"{sys.executable} -m pip install 'nicegui>=3.18,<4'"
    assert capsys.readouterr().err.splitlines() == [f"tinyddpm: {problem}: {install}"]


def test_the_command_line_loads_nothing_of_the_page():
    program = (
        "import sys; from tinyddpm.cli import main; main(['explore', '--help']); "
        "page = {'nicegui', 'fastapi', 'uvicorn', 'tinyddpm.explore'}; "
        "sys.exit(bool(page & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "--port" in done.stdout, done.stderr


def test_the_step_of_an_imported_network_is_not_shown(tmp_path):
    trained = a_run(tmp_path / "x", data="digits")
    assert Explorer(trained).can_walk
    assert cli.main(["export", str(trained), str(tmp_path / "y")]) == 0
    assert cli.main(["import", str(tmp_path / "y"), "--out", str(tmp_path / "z")]) == 0
    assert not Explorer(tmp_path / "z").can_walk


def test_of_equal_images_no_error_is_a_share_of_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.full((13, 8, 8), 100, np.uint8))
    explorer = Explorer(a_run(tmp_path / "x", data=str(tmp_path / "x.npy")))
    assert "all images are alike" in words.of_look(explorer, explorer.look(0, 20))
    assert "%" not in words.of_curves(*explorer.errors(0))


def test_of_many_sorted_images_those_shown_and_known_are_of_all_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "MOST", 40)
    explorer = Explorer(a_run(tmp_path / "x", names=DIGITS, data=str(sorted_digits(tmp_path))))
    labels = explorer.labels[: explorer.known]
    assert set(labels) == set(range(10))
    ideal = explorer.ideal()
    assert len(ideal.images) == 40
    for image in explorer.images[: explorer.known]:
        assert (ideal.images == image).all(axis=(1, 2, 3)).any()


def sorted_digits(folder):
    """A file of 600 digits, the zeros first."""
    found = data.digits()
    order = np.argsort(found.labels[:600], kind="stable")
    np.savez(folder / "sorted.npz", images=found.images[order, 0], labels=found.labels[order])
    return folder / "sorted.npz"
