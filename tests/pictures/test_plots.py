"""The pictures: made from tiny inputs, of the expected size, with exactly the images' greys, whole or not at all."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from tinyddpm import noise, schedule
from tinyddpm.pictures import images as pictures, plots
from tinyddpm.pictures.unet_walk import top_layers, unet_walk
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.sampler import ddim
from tinyddpm.train import gradient

S = schedule.linear(20)
TINY = UNetConfig(image=(1, 4, 8), base=4, levels=(1, 2), blocks=1, attention=(2,), groups=2)


def levels(*shape):
    """uint8 pixels and the images in [−1, 1] that they are."""
    grey = noise.integers(0, "grey", 0, [0], 256, shape)[0].astype(np.uint8)
    return grey, (grey / 127.5 - 1).astype(np.float32)


def film(n, channels=1, steps=5, size=4):
    x = noise.normal(0, "x", 0, range(n), (channels, size, size))
    return list(ddim(lambda xt, t: xt / 2, S, x, steps=steps))


def only(path):
    """There is this file in its folder and no other."""
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path


# --- grids -----------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 7), channels=st.sampled_from([1, 3]), height=st.integers(1, 5), width=st.integers(1, 5),
       columns=st.integers(1, 8), zoom=st.integers(1, 4), gap=st.integers(0, 5))
def test_a_grid_holds_the_images_pixels_and_white(n, channels, height, width, columns, zoom, gap):
    grey, images = levels(n, channels, height, width)
    got = np.asarray(pictures.image_grid(images, columns, zoom, gap))
    across = min(columns, n)
    rows = -(-n // across)
    assert got.shape[:2] == (rows * (height * zoom + gap) - gap, across * (width * zoom + gap) - gap)
    got = got.reshape(*got.shape[:2], channels)
    covered = np.zeros(got.shape[:2], bool)
    for i in range(n):
        y, x = i // across * (height * zoom + gap), i % across * (width * zoom + gap)
        tile = np.s_[y:y + height * zoom, x:x + width * zoom]
        np.testing.assert_array_equal(got[tile], np.kron(grey[i].transpose(1, 2, 0), np.ones((zoom, zoom, 1), np.uint8)))
        assert not covered[tile].any()
        covered[tile] = True
    assert (got[~covered] == 255).all()


@pytest.mark.parametrize("width, zoom", [(8, 7), (28, 2), (32, 2), (64, 1), (200, 1), (1, 56)])
def test_the_zoom_makes_images_about_56_wide(width, zoom):
    assert pictures.image_grid(np.zeros((1, 1, 2, width))).size == (zoom * width, zoom * 2)


def test_a_grid_is_as_square_as_can_be():
    assert pictures.image_grid(np.zeros((10, 1, 8, 8)), zoom=1, gap=1).size == (4 * 9 - 1, 3 * 9 - 1)


def test_what_lies_outside_is_clipped_and_the_ends_are_black_and_white():
    got = np.asarray(pictures.image_grid(np.float32([-7, -1, 0, 1, 7]).reshape(1, 1, 1, 5), zoom=1))
    assert got[0, [0, 1, 3, 4]].tolist() == [0, 0, 255, 255] and got[0, 2] in (127, 128)


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (2, 2, 2), (1, 2, 2, 2)])
def test_a_grid_of_something_else_is_refused(shape):
    with pytest.raises(ValueError, match="^images: .*C 1 or 3"):
        pictures.image_grid(np.zeros(shape))


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_samples_beside_real(tmp_path, channels, mode):
    _, images = levels(9, channels, 8, 8)
    pictures.samples_beside_real(images, images[::-1], tmp_path / "samples.png", ("samples", "real digits"))
    with Image.open(only(tmp_path / "samples.png")) as picture:
        assert picture.mode == mode
        sheet = np.asarray(picture)
    for grid in (pictures.image_grid(images), pictures.image_grid(images[::-1])):
        assert _contains(sheet, np.asarray(grid))


def _contains(sheet, grid):
    """Is `grid` somewhere in `sheet`, pixel by pixel?"""
    high, wide = grid.shape[:2]
    return any(np.array_equal(sheet[y:y + high, x:x + wide], grid)
               for y in range(sheet.shape[0] - high + 1) for x in range(sheet.shape[1] - wide + 1)
               if np.array_equal(sheet[y, x:x + wide], grid[0]))


# --- the film --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_denoising_has_a_frame_for_each_step_and_stays_at_the_last(tmp_path, channels):
    frames = film(4, channels)
    pictures.denoising(tmp_path / "denoising.gif", frames)
    with Image.open(only(tmp_path / "denoising.gif")) as gif:
        assert gif.n_frames == 5 and gif.info["loop"] == 0
        shots = [(shot.info["duration"], np.asarray(shot.convert("RGB"))) for shot in ImageSequence.Iterator(gif)]
    assert [duration for duration, _ in shots] == [1000] * 4 + [2000]
    last = pictures.image_grid(pictures._few_greys(frames[-1][1]), columns=4)
    if channels == 1:  # colours are quantized; greys are exact
        assert _contains(shots[-1][1], np.asarray(last.convert("RGB")))
        assert all((shot[..., 0] == shot[..., 1]).all() and (shot[..., 0] == shot[..., 2]).all() for _, shot in shots)


def test_a_long_chain_is_thinned_and_a_large_one_shows_fewer(tmp_path):
    path = tmp_path / "long.gif"
    pictures.denoising(path, film(30, steps=20), most=6)
    with Image.open(path) as gif:
        assert gif.n_frames == 6
        size = gif.size
    pictures.denoising(path, film(16, steps=20), most=6)
    with Image.open(path) as gif:
        assert gif.size == size  # sixteen are shown
    pictures.denoising(path, film(16, steps=2, size=64))
    with Image.open(path) as gif:
        assert gif.size[0] < 4 * 64 + 100  # two beside two


def test_no_frames_no_film(tmp_path):
    with pytest.raises(ValueError, match="^frames: "):
        pictures.denoising(tmp_path / "x.gif", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", pictures.WRITERS)
def test_write_samples(tmp_path, suffix):
    path, frames = tmp_path / f"samples{suffix}", film(3)
    pictures.write_samples(iter(frames), path)
    if only(path).suffix == ".npz":
        with np.load(path) as arrays:
            np.testing.assert_array_equal(arrays["images"], frames[-1][1])
    else:
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == (5 if suffix == ".gif" else 1)
            if suffix == ".png":
                np.testing.assert_array_equal(picture, pictures.image_grid(frames[-1][1]))
    with pytest.raises(ValueError, match="^path: .*png.*gif.*npz"):
        pictures.write_samples(iter(frames), tmp_path / "samples.jpg")


# --- curves ----------------------------------------------------------------------------------------------------------

LINES = {"mean_J": 0.29, "floor_J": 0.19, "memoriser_J": 0.21}


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
    plots.loss(tmp_path / "loss.png", np.arange(1, n + 1), J, held, [held_J] * len(held), **LINES | lines)
    with Image.open(only(tmp_path / "loss.png")) as picture:
        assert picture.width > 900
    return figures[-1]


@pytest.mark.parametrize("n, held", [(0, []), (1, [1]), (2, []), (500, [100, 200, 500])])
@pytest.mark.parametrize("memoriser", [0.21, 0.2005, 0.19])
def test_loss_labels_every_line_and_no_two_labels_touch(figures, tmp_path, n, held, memoriser):
    figure = loss_figure(figures, tmp_path, n, held, memoriser_J=memoriser)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    written = " ".join(text.get_text().replace("\n", " ") for text in figure.axes[0].texts)
    for label in ("predict the mean", "the floor of training J", "the memoriser to beat"):
        assert label in written
    for i, box in enumerate(boxes):
        assert box.x1 < figure.bbox.x1 and box.y0 > 0 and box.y1 < figure.bbox.y1, "cut off"
        assert not any(box.overlaps(other) for other in boxes[i + 1:])
        assert box.x0 > figure.axes[0].bbox.x1, "a label lies on the curves"


def test_the_first_steps_do_not_squash_the_rest(figures, tmp_path):
    low, high = loss_figure(figures, tmp_path, 500, [500]).axes[0].get_ylim()
    assert 0.15 < low < 0.19 and 0.29 < high < 0.35


def test_a_run_that_diverges_does_not_squash_the_lines(figures, tmp_path):
    axes = loss_figure(figures, tmp_path, 3, [3], held_J=50.0).axes[0]
    assert axes.get_ylim()[1] < 0.35 and "50.000" in " ".join(text.get_text() for text in axes.texts)


def test_smoothing_keeps_a_constant_and_a_line():
    np.testing.assert_allclose(plots._smoothed(np.full(333, 0.2)), 0.2)
    line = np.arange(500.0)
    np.testing.assert_allclose(plots._smoothed(line)[20:-20], line[20:-20])
    rough = noise.normal(0, "rough", 0, [0], (500,), np.float64)[0]
    assert plots._smoothed(rough).std() < 0.4 * rough.std() and abs(plots._smoothed(rough)[250] - rough[240:261].mean()) < 1e-12


@pytest.mark.parametrize("T", [10, 1000])
def test_loss_by_t(tmp_path, T):
    bands = [(T // 10 * i + 1, T // 10 * (i + 1)) for i in range(10)]
    plots.loss_by_t(tmp_path / "by_t.png", bands, np.linspace(0, 0.3, 10), [0.29] * 10, np.linspace(0.01, 0.29, 10))
    with Image.open(only(tmp_path / "by_t.png")) as picture:
        assert picture.width > 800


@pytest.mark.parametrize("channels", [1, 3])
def test_forward(tmp_path, channels):
    x0, eps = noise.normal(0, "x", 0, [0, 1], (channels, 4, 6))
    pictures.forward(tmp_path / "forward.png", x0, S, [0, 5, 20], eps)
    with Image.open(only(tmp_path / "forward.png")) as picture:
        assert picture.width > 600


@pytest.mark.parametrize("before", [None, b"the picture of yesterday"])
def test_a_picture_that_fails_leaves_nothing_half_written(tmp_path, before):
    path = tmp_path / "loss.png"
    if before:
        path.write_bytes(before)
    with pytest.raises(RuntimeError), plots.written_whole(path) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({path.name: before} if before else {})


# --- the walk --------------------------------------------------------------------------------------------------------


def perturbed(config):
    unet = UNet(config).initialise(0)
    for name, p in unet.parameters().items():
        p.data += 0.05 * noise.normal(0, f"perturbation of {name}", 0, [0], p.shape)[0]
    return unet


def batch(config, n=2):
    return noise.uniform(0, "x0", 0, range(n), config.image) * 2 - 1, np.arange(1, n + 1), noise.normal(0, "eps", 0, range(n), config.image)


@pytest.mark.parametrize("config", [
    TINY,
    UNetConfig(image=(3, 8, 8), base=4, levels=(1, 1, 2), blocks=2, attention=(), groups=2, time_conditioning=False),
    UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), middle_attention=False, groups=2),
])
def test_the_walk_shows_shapes_and_gradients_and_leaves_the_net_as_it_was(tmp_path, config):
    unet, (x0, t, eps) = perturbed(config), batch(config)
    unet.grad[...] = 7
    theta, grad = unet.theta.copy(), unet.grad.copy()
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    with Image.open(only(tmp_path / "walk.png")) as picture:
        assert picture.width > 900
    np.testing.assert_array_equal(unet.theta, theta)
    np.testing.assert_array_equal(unet.grad, grad)
    assert not any("forward" in vars(layer) for layer in top_layers(unet).values())
    unet.grad[...] = 0
    gradient(unet, S, x0, t, eps)  # it can still learn
    assert all(unet.grad[s].any() for s in unet.slices().values())


def test_what_is_overheard_is_true():
    from tinyddpm.pictures import unet_walk as module
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    with module.overheard(unet) as (outputs, gradients):
        J = module.walk_gradient(unet, S, x0, t, eps)
    shapes = {name: (h.shape[3], *h.shape[:2]) for name, h in outputs.items()}
    norms = {name: module.norm(g) for name, g in gradients.items()}
    assert all(gradients[name].shape == h.shape for name, h in outputs.items())
    assert list(shapes) == ["first", "down.0", "down.1", "down.2", "middle1", "middle2", "middle3", "up.0", "up.1", "up.2", "up.3", "up.4", "last"]
    assert shapes["first"] == (4, 4, 8) and shapes["down.1"] == (4, 2, 4) and shapes["middle2"] == (8, 2, 4)
    assert shapes["up.2"] == (8, 4, 8) and shapes["last"] == (1, 4, 8)
    assert all(norm > 0 for norm in norms.values()) and list(norms) == list(shapes)[::-1]
    x0_hat = outputs["last"].transpose(2, 3, 0, 1)
    assert J == pytest.approx(np.square(x0_hat - x0).mean(), rel=1e-5)
    assert norms["last"] == pytest.approx(np.linalg.norm(2 * (x0_hat - x0) / x0.size), rel=1e-5)
    unet.grad[...] = 0
    gradient(unet, S, x0, t, eps)  # the gradient of first's bias is the sum over all pixels of that of its output
    assert norms["first"] * np.sqrt(4 * 8 * 2) >= np.linalg.norm(unet.first.bias.grad) > 0


def test_a_layer_that_had_its_own_forward_gets_it_back(tmp_path):
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    own, calls = unet.first.forward, []
    unet.first.forward = lambda x: calls.append(1) or own(x)
    mine = unet.first.forward
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert unet.first.forward is mine and calls == [1]


def test_a_walk_that_fails_restores_everything(tmp_path, monkeypatch):
    unet, (x0, t, eps) = perturbed(TINY), batch(TINY)
    monkeypatch.setattr(type(unet.middle2), "forward", lambda self, x: 1 / 0)
    grad = unet.grad
    with pytest.raises(ZeroDivisionError):
        unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert not any("forward" in vars(layer) for layer in top_layers(unet).values()) and unet.grad is grad
    assert not list(tmp_path.iterdir())


def test_the_walk_of_a_new_net_and_of_one_without_gradient(tmp_path):
    unet, (x0, t, eps) = UNet(TINY).initialise(0), batch(TINY)
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    unet.bind(unet.theta)
    unet_walk(tmp_path / "walk.png", unet, S, x0, t, eps)
    assert unet.grad is None and only(tmp_path / "walk.png")
