"""What the page shows, computed: one image at every t, and one training step."""

import numpy as np
import pytest

# ---- one image at every t ------------------------------------------------------------------------


@pytest.mark.parametrize("image", [0, 3, 40])
def test_the_ideal_guess_is_the_mean_near_T_and_a_training_image_itself_at_1(explorer, image):
    T = explorer.schedule.T
    last, first = explorer.look(image, T), explorer.look(image, 1)
    assert np.abs(last.ideal - last.mean).mean() < 0.06 < np.abs(first.ideal - first.mean).mean()
    assert (first.errors["ideal"] < 1e-6) == (image < explorer.known)
    of_the_mean = np.square(last.mean - last.x0).mean()
    assert last.errors["mean"] == first.errors["mean"] == pytest.approx(of_the_mean)


def test_the_mean_image_is_that_of_the_class_where_both_are_conditioned_on_it(explorer):
    image, label = 5, int(explorer.labels[5])
    one, other = explorer.look(image, 20, label=label), explorer.look(image, 20)
    of_class = explorer.training.images[explorer.training.labels == label]
    np.testing.assert_allclose(one.mean, of_class.mean(axis=0), atol=1e-6)
    assert not np.array_equal(one.network, other.network)
    assert not np.array_equal(one.ideal, other.ideal)
    np.testing.assert_array_equal(one.xt, other.xt)


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
        at_t = {name: values[i] for name, values in errors.items()}
        assert at_t == pytest.approx(look.errors, rel=1e-4, abs=1e-7)


# ---- one training step ---------------------------------------------------------------------------


def test_the_walk_is_one_training_step(explorer):
    unet = explorer.run.unet
    theta, before = unet.theta.copy(), explorer.look(2, 15).network
    walk = explorer.walk(2, 15, label=int(explorer.labels[2]))
    assert walk.J == pytest.approx(np.square(walk.x0_hat - walk.x0).mean(), rel=1e-5)
    last = walk.layers["last"]
    of_J = 2 * (walk.x0_hat - walk.x0) / walk.x0.size
    np.testing.assert_allclose(last.gradient, of_J, atol=1e-6)
    np.testing.assert_array_equal(last.output, walk.x0_hat)
    np.testing.assert_array_equal(walk.xt, explorer.look(2, 15).xt)
    assert list(walk.layers)[0] == "first" and list(walk.layers)[-1] == "last"
    for layer in walk.layers.values():
        assert layer.gradient.shape == layer.output.shape
        assert layer.norm == pytest.approx(np.linalg.norm(layer.gradient), rel=1e-5)
        assert layer.norm > 0
    np.testing.assert_array_equal(unet.theta, theta)
    np.testing.assert_array_equal(explorer.look(2, 15).network, before)


def test_the_walk_is_conditioned_on_the_class(explorer):
    one, other, none = (explorer.walk(2, 15, label=label).J for label in (1, 2, None))
    assert one != other != none


def test_the_faster_layers_are_on_only_while_it_computes(explorer, monkeypatch):
    fast = pytest.importorskip("tinyddpm.fast")
    unet, on = explorer.run.unet, []
    denoise = unet.denoise

    def watched(*arguments):
        on.append(bool(fast.FASTER))
        return denoise(*arguments)

    monkeypatch.setattr(unet, "denoise", watched)
    explorer.look(0, 5)
    explorer.walk(0, 5)
    assert on == [True] and not fast.FASTER
