"""What the interactive page shows, without a browser: the computing, the pictures and the captions. (The page itself: tests/browser.)"""
import base64
import dataclasses
import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinyddpm import noise
from tinyddpm.runs import checkpoint, config
from tinyddpm import cli
from tinyddpm.explore import drawing, words
from tinyddpm.explore.explorer import SAMPLERS, Chain, Explorer, Settings, rasterised, whole
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.opening import Run

TINY = {"T": 40, "base": 4, "groups": 2, "blocks": 1, "levels": [1, 2], "attention": [], "shards": 1}


def a_run(folder, image=(1, 8, 8), names=(), **values):
    """A run folder with a network that has not been trained but perturbed, so that no layer of it answers 0."""
    settings = config.from_dict(TINY | {"classes": bool(names)} | values).for_images(image, names)
    unet = settings.make_unet().initialise(0)
    for name, p in unet.parameters().items():
        p.data += 0.05 * noise.normal(0, f"perturbation of {name}", 0, [0], p.shape)[0]
    theta = unet.state()
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / CHECKPOINT, checkpoint.Checkpoint(settings, 0, theta, theta, {"progress": {"best": 0.0, "best_step": 0}}))
    return folder


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    return Explorer(a_run(tmp_path_factory.mktemp("runs") / "classes", names=map(str, range(10)), data="digits"))


# ---- one image at every t ------------------------------------------------------------------------


@pytest.mark.parametrize("image", [0, 3, 40])
def test_near_T_the_ideal_guess_is_the_mean_image_and_at_1_a_training_image_is_found_exactly(explorer, image):
    T = explorer.schedule.T
    last, first = explorer.look(image, T), explorer.look(image, 1)
    assert np.abs(last.ideal - last.mean).mean() < 0.06 < np.abs(first.ideal - first.mean).mean()
    assert (first.errors["ideal"] < 1e-6) == (image < explorer.known)
    assert last.errors["mean"] == first.errors["mean"] == pytest.approx(np.square(last.mean - last.x0).mean())


def test_the_mean_image_is_that_of_the_class_where_both_are_told_it(explorer):
    image, label = 5, int(explorer.labels[5])
    told, untold = explorer.look(image, 20, label=label), explorer.look(image, 20)
    of_class = explorer.training.images[explorer.training.labels == label]
    np.testing.assert_allclose(told.mean, of_class.mean(axis=0), atol=1e-6)
    assert not np.array_equal(told.network, untold.network) and not np.array_equal(told.ideal, untold.ideal)
    np.testing.assert_array_equal(told.xt, untold.xt)


def test_moving_t_shows_one_path_with_one_noise(explorer):
    def eps(t, seed=0):
        look, alpha_bar = explorer.look(7, t, seed), explorer.schedule.alpha_bar[t]
        return (look.xt - np.sqrt(alpha_bar) * look.x0) / np.sqrt(1 - alpha_bar)
    np.testing.assert_allclose(eps(10), eps(30), atol=1e-5)
    assert np.abs(eps(10) - eps(10, seed=1)).max() > 0.5


def test_the_curve_passes_through_what_is_shown_at_each_t(explorer):
    ts, errors = explorer.errors(4, seed=3)
    assert ts[0] == 1 and ts[-1] == explorer.schedule.T
    for i in (0, len(ts) // 2, -1):
        look = explorer.look(4, int(ts[i]), seed=3)
        assert {name: values[i] for name, values in errors.items()} == pytest.approx(look.errors, rel=1e-4, abs=1e-7)


# ---- the chain -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler, steps, label, guidance", [("ddim", 10, None, 1.0), ("ddpm", None, 3, 2.0)])
def test_a_chain_left_alone_is_that_of_the_sample_command(explorer, sampler, steps, label, guidance):
    *_, (t, wanted, _) = Run.sample(explorer.run, 4, sampler, steps, seed=5, label=label, guidance=guidance)
    *_, (s, got, _) = Chain(explorer, 5, n=4).rest(Settings(sampler, steps or 50, label, guidance))
    assert t == s == 0
    np.testing.assert_allclose(got, wanted, atol=1e-5)


choices = st.builds(Settings, st.sampled_from(list(SAMPLERS)), st.integers(1, TINY["T"]), st.none() | st.integers(0, 9), st.sampled_from([0.0, 1.0, 2.5]))


@settings(max_examples=6)
@given(changes=st.lists(st.tuples(choices, st.integers(1, 4)), max_size=4), last=choices)
def test_whatever_changes_on_the_way_the_chain_falls_to_0_in_as_many_steps_as_it_says(explorer, changes, last):
    chain = Chain(explorer, 0, n=2)
    for change, times in changes:
        t = chain.t
        chain.step(change, times)
        assert chain.t < t or t == 0
    said = chain.left(last)
    taken = list(chain.rest(last))
    assert len(taken) == said and chain.t == 0
    assert chain.xt.shape == (2, 1, 8, 8) and np.isfinite(chain.xt).all() and chain.xt.dtype == np.float32


def test_a_change_goes_on_from_the_present_image(explorer):
    """DDIM's first 20 of 40 steps, then another class: the same as DDIM on the rest of the schedule from there."""
    chain, other = Chain(explorer, 0, n=2), Chain(explorer, 0, n=2)
    chain.step(Settings(steps=40, label=1), 20)
    other.step(Settings(steps=40, label=1), 20)
    np.testing.assert_array_equal(chain.xt, other.xt)
    chain.step(Settings(steps=40, label=2))
    other.step(Settings(steps=40, label=1))
    assert chain.t == other.t == 19
    difference = np.abs(chain.xt - other.xt).max()
    assert 0 < difference < 0.5  # one step's worth


def test_what_a_sampler_refuses_leaves_the_chain_where_it_was(explorer):
    chain = Chain(explorer, 0, n=2)
    chain.step(Settings(steps=20), 3)
    t, xt = chain.t, chain.xt
    for wrong in (Settings("euler", 20), Settings(steps=0), Settings(steps=TINY["T"] + 1)):
        with pytest.raises(ValueError, match="^(sampler|steps): "):
            chain.step(wrong)
        assert chain.t == t and chain.xt is xt
    chain.step(Settings(steps=20))
    assert chain.t < t


def test_a_sampler_that_refuses_at_its_first_step_can_be_followed_by_another_try(explorer, monkeypatch):
    def refusing(*arguments, **options):
        yield from ()  # a generator: what it raises, it raises when it is asked for a step
        raise ValueError("zero terminal SNR")
    chain = Chain(explorer, 0, n=2)
    with monkeypatch.context() as patch:
        patch.setitem(SAMPLERS, "heun", refusing)
        for _ in range(2):
            with pytest.raises(ValueError, match="zero terminal SNR"):
                chain.step(Settings("heun", 20))
    chain.step(Settings("heun", 20))
    assert chain.t == 38


# ---- one training step ---------------------------------------------------------------------------


def test_the_walk_is_one_training_step(explorer):
    unet = explorer.run.unet
    theta, before = unet.theta.copy(), explorer.look(2, 15).network
    walk = explorer.walk(2, 15, label=int(explorer.labels[2]))
    assert walk.J == pytest.approx(np.square(walk.x0_hat - walk.x0).mean(), rel=1e-5)
    last = walk.layers["last"]
    np.testing.assert_allclose(last.gradient, 2 * (walk.x0_hat - walk.x0) / walk.x0.size, atol=1e-6)
    np.testing.assert_array_equal(last.output, walk.x0_hat)
    np.testing.assert_array_equal(walk.xt, explorer.look(2, 15).xt)
    assert list(walk.layers)[0] == "first" and list(walk.layers)[-1] == "last"
    for layer in walk.layers.values():
        assert layer.gradient.shape == layer.output.shape and layer.norm == pytest.approx(np.linalg.norm(layer.gradient), rel=1e-5) and layer.norm > 0
    np.testing.assert_array_equal(unet.theta, theta)
    np.testing.assert_array_equal(explorer.look(2, 15).network, before)


def test_the_walk_is_time_conditioninghe_class(explorer):
    assert explorer.walk(2, 15, label=1).J != explorer.walk(2, 15, label=2).J != explorer.walk(2, 15).J


# ---- other runs ----------------------------------------------------------------------------------


def all_of_it(explorer):
    """Everything once, at both ends of every control."""
    T, last = explorer.schedule.T, len(explorer.images) - 1
    for image, t in ((0, 1), (last, T)):
        look, walk = explorer.look(image, t), explorer.walk(image, t)
        assert look.network.shape == walk.x0_hat.shape == explorer.shape
        assert words.of_look(explorer, image, t, False) and words.of_drawing(explorer, t, True) and words.of_curves(explorer)
        for position, (way, name) in enumerate(drawing.positions(walk)):
            width, height, content = drawing.graph(walk, position)
            assert ElementTree.fromstring(f"<svg>{content}</svg>") is not None and words.of_step(walk, way, name)
        for layer in walk.layers.values():
            opened(drawing.channels(layer.output))
        ElementTree.fromstring(drawing.curves(*explorer.errors(image), t))
    sheet = rasterised([((1.0,) * explorer.shape[0], [(0.5, 0.5)])], explorer.shape, explorer.paper)
    for sampler in SAMPLERS:
        for t in (1, T):
            chain = Chain(explorer, 0, n=2, start=(t, explorer.noised(sheet[None].repeat(2, 0), t, 0)))
            for _ in chain.rest(Settings(sampler, steps=T if t == 1 else 1)):
                assert words.of_chain(chain, Settings(sampler), T)
            assert chain.xt.shape == (2, *explorer.shape) and np.isfinite(chain.xt).all()


def data_of(path, shape, n=13):
    images = np.rint(255 * noise.uniform(0, "images", 0, range(n), shape)).astype(np.uint8)
    np.save(path, images.transpose(0, 2, 3, 1))
    return str(path)


@pytest.mark.parametrize("image", [(3, 16, 16), (1, 28, 28), (1, 8, 12)])
def test_runs_of_other_images_without_classes(tmp_path, image):
    explorer = Explorer(a_run(tmp_path / "run", image, data=data_of(tmp_path / "x.npy", image)))
    assert explorer.names == () and explorer.labels is None and explorer.note == "" and explorer.look(0, 3).ideal is not None
    all_of_it(explorer)


@pytest.mark.parametrize("values", [{"T": 1}, {"time_conditioning": False}, {"noise_schedule": "cosine", "T": 7}])
def test_runs_with_other_settings(tmp_path, values):
    all_of_it(Explorer(a_run(tmp_path / "run", data="digits", **values)))


@pytest.mark.parametrize("lost", [True, False])
def test_a_run_whose_data_are_gone_shows_its_own_samples(tmp_path, lost):
    data = str(tmp_path / "lost.npy") if lost else data_of(tmp_path / "x.npy", (1, 4, 4))  # gone, or other images by now
    explorer = Explorer(a_run(tmp_path / "run", names=("a", "b"), data=data) if lost else a_run(tmp_path / "run", data=data))
    assert "own samples" in explorer.note and "\n" not in explorer.note and explorer.images.shape == (8, 1, 8, 8)
    assert explorer.look(0, 5).ideal is None and set(explorer.errors(0)[1]) == {"network"}
    all_of_it(explorer)


def test_a_run_that_never_saw_an_image_without_its_class_is_not_guided(tmp_path):
    assert not Explorer(a_run(tmp_path / "run", names=map(str, range(10)), data="digits", class_dropout=0.0)).guidable


# ---- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper, shape", [(-1.0, (1, 8, 8)), (1.0, (3, 16, 16)), (-1.0, (1, 28, 20))])
def test_an_empty_drawing_is_paper_and_a_full_one_ink(paper, shape):
    ink = (-paper,) * shape[0]
    np.testing.assert_array_equal(rasterised([], shape, paper), np.full(shape, paper, np.float32))
    full = rasterised([(ink, [(x, y) for x in (0, 1)]) for y in np.linspace(0, 1, 60)], shape, paper)
    np.testing.assert_allclose(full, -paper, atol=1e-6)


def test_a_dot_in_the_middle_is_symmetric_and_of_its_width():
    x = rasterised([((1.0,), [(0.5, 0.5)])], (1, 8, 8), width=0.5)[0]
    np.testing.assert_allclose(x, x[::-1], atol=0.05)
    np.testing.assert_allclose(x, x.T, atol=0.05)
    assert (x + 1).sum() / 2 == pytest.approx(np.pi * 2**2, rel=0.1)  # a disc of radius 2 pixels


def test_later_ink_covers_earlier_ink_and_colours_stay_what_they_are():
    red, blue = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)
    x = rasterised([(red, [(0, 0.5), (1, 0.5)]), (blue, [(0.5, 0.5)])], (3, 16, 16), paper=1.0, width=0.3)
    np.testing.assert_allclose(x[:, 8, 2], red, atol=1e-6)
    np.testing.assert_allclose(x[:, 8, 8], blue, atol=1e-6)
    np.testing.assert_allclose(x[:, 1, 1], 1, atol=1e-6)


@given(st.lists(st.tuples(st.sampled_from([(1.0,), (-1.0,), (0.2,)]), st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * 2), max_size=5)), max_size=4))
def test_wherever_the_pen_went_the_drawing_is_an_image(strokes):
    x = rasterised(strokes, (1, 8, 8))
    assert x.shape == (1, 8, 8) and x.dtype == np.float32 and np.abs(x).max() <= 1 + 1e-6


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()))
def test_whatever_a_browser_sends_becomes_a_number_in_range(value):
    assert 1 <= whole(value, 1, 1000, 7) <= 1000
    if isinstance(value, float) and not np.isfinite(value) or isinstance(value, (list, dict)) or value is None:
        assert whole(value, 1, 1000, 7) == 7


def opened(uri):
    head, content = uri.split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 6)])
def test_a_picture_holds_the_images_own_pixels(shape):
    grey = noise.integers(0, "grey", 0, [0], 256, shape)[0].astype(np.uint8)
    got = opened(drawing.picture((grey / 127.5 - 1).astype(np.float32)))
    np.testing.assert_array_equal(got.reshape(*shape[1:], shape[0]), grey.transpose(1, 2, 0))


def test_channels_are_orange_above_zero_blue_below_and_clear_at_it():
    h = np.zeros((2, 32, 32), np.float32)
    h[0, :16], h[1, :16] = 2.0, -0.5
    got = opened(drawing.channels(h)).astype(int)
    assert got.shape == (38 if got.shape[0] < 70 else 73, got.shape[1], 4)
    first, second = got[3:19, 3:35], got[3:19, 38:70] if got.shape[1] > 60 else got[38:54, 3:35]
    assert (first[..., 0] > first[..., 2]).all() and (second[..., 2] > second[..., 0]).all()
    assert (first[..., 3] == 255).all() and (second[..., 3] < 255).all() and (got[19:35, 3:35, 3] == 0).all()
    assert opened(drawing.channels(np.zeros((3, 2, 2), np.float32))).ndim == 3  # nothing to scale by


def test_the_graph_fills_with_the_way_forward_and_gets_its_bars_on_the_way_back(explorer):
    walk = explorer.walk(0, 20)
    count = len(walk.layers)

    def boxes(position):
        root = ElementTree.fromstring(f"<svg>{drawing.graph(walk, position)[2]}</svg>")
        ids = [e.get("id") for e in root.iter("rect") if e.get("id")]
        assert ids and set(ids) == {f"layer-{name}" for name in walk.layers}
        fills = [e.get("fill") for e in root.iter("rect")]
        return sum(fill.startswith("#") and fill != "#c2362b" for fill in fills), fills.count("#c2362b")

    assert boxes(0) == (1, 0) and boxes(count - 1) == boxes(count) == (count, 0)
    assert boxes(count + 1) == (count, 1) and boxes(2 * count) == (count, count)


def test_the_captions_say_what_is_so_at_this_t(explorer):
    T = explorer.schedule.T
    assert "mean image" in words.of_look(explorer, 0, T, False) and "mean image of the class" in words.of_look(explorer, 0, T, True)
    assert "mean image" not in words.of_look(explorer, 0, 1, False)
    assert "training image" in words.of_look(explorer, 0, 1, False) and "held out" in words.of_look(explorer, explorer.known, 1, False)
    chain = Chain(explorer, 0)
    start = words.of_chain(chain, Settings(), T)
    chain.step(Settings(steps=1))
    assert "pure noise" in start and "is now x̂₀" in words.of_chain(chain, Settings(), T)
    assert len({words.of_chain(chain, dataclasses.replace(Settings(), sampler=s), T) for s in SAMPLERS}) == len(SAMPLERS)


# ---- the command ---------------------------------------------------------------------------------


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main(["explore", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"tinyddpm: explore: expected NiceGUI, which is not installed: {sys.executable} -m pip install 'tinyddpm[explore]'"]


def test_the_command_line_loads_nothing_of_the_page():
    done = subprocess.run([sys.executable, "-c", "import sys; from tinyddpm.cli import main; main(['explore', '--help']); "
                           "sys.exit(bool({'nicegui', 'fastapi', 'uvicorn', 'tinyddpm.explore'} & set(sys.modules)))"], capture_output=True, text=True)
    assert done.returncode == 0 and "--port" in done.stdout, done.stderr
