"""Flips and crops: the same ones for whoever asks, and nothing else is changed."""

import numpy as np
import pytest

from tinyddpm import noise
from tinyddpm.more.training.augmenting import cropped, flipped
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

IMAGES = np.random.default_rng(0).uniform(-1, 1, (6, 1, 4, 4)).astype(np.float32)


def crops(gradient):
    return cropped((2, 3), gradient)


def seen(samples=slice(None), start=0, steps=3, batch_size=16, change=flipped):
    """(x0, t, eps) that a gradient got at each step, with the change and without."""
    both = []
    for wrap in (change, lambda g: g):
        got = []

        def noted(unet, schedule, x0, t, eps, *rest, **more):
            got.append((x0, t, eps))
            return gradient(unet, schedule, x0, t, eps, *rest, **more)

        shape = (1, 2, 3) if wrap is crops else (1, 4, 4)
        unet = UNet(UNetConfig(image=shape, base=8, levels=(1,))).initialise(seed=0)
        loop = train(
            unet,
            IMAGES,
            linear(10),
            0.1,
            seed=3,
            batch_size=batch_size,
            start=start,
            gradient=wrap(noted),
            samples=samples,
        )
        for _ in range(steps):
            next(loop)
        both.append(got)
    return both


def test_half_of_the_images_are_flipped_and_nothing_else_changes():
    flips, plain = seen(steps=5, batch_size=64)
    count = 0
    for (x, t, eps), (x0, t0, eps0) in zip(flips, plain):
        assert np.array_equal(t, t0) and np.array_equal(eps, eps0) and x.dtype == np.float32
        for image, before in zip(x, x0):
            turned = np.array_equal(image, before[..., ::-1])
            assert turned or np.array_equal(image, before)
            count += turned
    assert 0.4 < count / 320 < 0.6


def test_each_image_and_step_has_its_own_draw():
    flips, plain = seen(steps=8)
    which = np.array([(x != x0).any((1, 2, 3)) for (x, *_), (x0, *_) in zip(flips, plain)])
    assert len(np.unique(which, axis=0)) == 8 and len(np.unique(which, axis=1).T) > 8


def test_crops_are_parts_of_their_images_at_all_places_and_nothing_else_changes():
    found, plain = seen(steps=9, batch_size=64, change=crops)
    places, drawn = [(row, column) for row in range(3) for column in range(2)], []
    for (x, t, eps), (x0, t0, eps0) in zip(found, plain):
        assert x.shape == eps.shape == (64, 1, 2, 3) and x.dtype == eps.dtype == np.float32
        assert np.array_equal(t, t0) and np.array_equal(eps, eps0[..., :2, :3])
        for image, whole in zip(x, x0):
            fits = [
                (row, column)
                for row, column in places
                if np.array_equal(image, whole[:, row : row + 2, column : column + 3])
            ]
            assert len(fits) == 1
            drawn.append(places.index(fits[0]))
    # 576 draws over 6 places: 96 each, with a standard deviation of 9.
    assert all(60 < count < 132 for count in np.bincount(drawn, minlength=6))
    drawn = np.reshape(drawn, (9, 64))
    assert len(np.unique(drawn, axis=0)) == 9 and len(np.unique(drawn, axis=1).T) > 32


def test_a_crop_of_the_whole_is_the_whole():
    found, plain = seen(change=lambda g: cropped((4, 4), g))
    for some, expected in zip(found, plain):
        assert all(map(np.array_equal, some, expected))


def test_a_crop_larger_than_the_images_is_refused():
    with pytest.raises(ValueError, match=r"^images: expected at least \(5, 4\), got"):
        seen(change=lambda g: cropped((5, 4), g))


@pytest.mark.parametrize("change", [flipped, crops])
def test_parts_of_a_batch_and_resumed_runs_see_the_same(change):
    whole, part, late = (
        seen(**asked, change=change)[0]
        for asked in ({}, {"samples": slice(4, 9)}, {"start": 2, "steps": 1})
    )
    for (x, *_), (some, *_) in zip(whole, part):
        assert np.array_equal(x[4:9], some)
    assert np.array_equal(whole[2][0], late[0][0])


@pytest.mark.parametrize("change", [flipped, crops])
def test_it_needs_the_address_that_train_gives(change):
    with pytest.raises(TypeError, match="^dropout: expected the Stream that `train` gives, got"):
        change(gradient)(None, None, IMAGES, None, None)


def test_other_draws_do_not_share_its_address():
    purposes = "flip", "crop row", "crop column", "dropped labels", "dropout 1", "t", "data", "eps"
    drawn = {noise.uniform(3, purpose, 1, np.arange(64)).tobytes() for purpose in purposes}
    assert len(drawn) == len(purposes)
