"""The curves: every line labelled, no two labels on each other, whole or not at all."""

import numpy as np
import pytest
from picture_files import only
from PIL import Image

from tinyddpm import noise
from tinyddpm.pictures import plots

LINES = {"mean_J": 0.29, "floor_J": 0.19, "ideal_J": 0.21}


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved."""
    saved, save = [], plots.save_figure

    def keep(figure, path):
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    return saved


def loss_figure(figures, tmp_path, n, held, held_J=0.21, **lines):
    J = 0.2 + 3 * np.exp(-np.arange(n) / 20)
    path = tmp_path / "loss.png"
    plots.loss(path, np.arange(1, n + 1), J, held, [held_J] * len(held), **LINES | lines)
    with Image.open(only(path)) as picture:
        assert picture.width > 900
    return figures[-1]


@pytest.mark.parametrize("n, held", [(0, []), (1, [1]), (2, []), (500, [100, 200, 500])])
@pytest.mark.parametrize("ideal", [0.21, 0.2005, 0.19])
def test_loss_labels_every_line_and_no_two_labels_touch(figures, tmp_path, n, held, ideal):
    figure = loss_figure(figures, tmp_path, n, held, ideal_J=ideal)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    written = " ".join(text.get_text().replace("\n", " ") for text in figure.axes[0].texts)
    for label in ("predict the mean", "the floor of training J", "held-out draws: the J to beat"):
        assert label in written
    for i, box in enumerate(boxes):
        assert box.x1 < figure.bbox.x1 and box.y0 > 0 and box.y1 < figure.bbox.y1, "cut off"
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert box.x0 > figure.axes[0].bbox.x1, "a label lies on the curves"


def test_the_first_steps_do_not_squash_the_rest(figures, tmp_path):
    low, high = loss_figure(figures, tmp_path, 500, [500]).axes[0].get_ylim()
    assert 0.15 < low < 0.19 and 0.29 < high < 0.35


def test_a_run_that_diverges_does_not_squash_the_lines(figures, tmp_path):
    axes = loss_figure(figures, tmp_path, 3, [3], held_J=50.0).axes[0]
    assert axes.get_ylim()[1] < 0.35
    assert "50.000" in " ".join(text.get_text() for text in axes.texts)


def test_smoothing_keeps_a_constant_and_a_line():
    np.testing.assert_allclose(plots._smoothed(np.full(333, 0.2)), 0.2)
    line = np.arange(500.0)
    np.testing.assert_allclose(plots._smoothed(line)[20:-20], line[20:-20])
    rough = noise.normal(0, "rough", 0, [0], (500,), np.float64)[0]
    smooth = plots._smoothed(rough)
    assert smooth.std() < 0.4 * rough.std() and abs(smooth[250] - rough[240:261].mean()) < 1e-12


@pytest.mark.parametrize("T", [10, 1000])
def test_loss_by_t(figures, tmp_path, T):
    bands = [(T // 10 * i + 1, T // 10 * (i + 1)) for i in range(10)]
    path, model, ideal = tmp_path / "by_t.png", np.linspace(0, 0.3, 10), np.linspace(0.01, 0.29, 10)
    plots.loss_by_t(path, bands, model, [0.29] * 10, ideal, ", all conditioned on the class")
    with Image.open(only(path)) as picture:
        assert picture.width > 800
    for axes in figures[-1].axes:
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title, *axes.texts):
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 < figures[-1].bbox.x1, f"cut off: {text.get_text()}"


@pytest.mark.parametrize("before", [None, b"the picture of yesterday"])
def test_a_picture_that_fails_leaves_nothing_half_written(tmp_path, before):
    path = tmp_path / "loss.png"
    if before:
        path.write_bytes(before)
    with pytest.raises(RuntimeError), plots.written_whole(path) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    left = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert left == ({path.name: before} if before else {})
