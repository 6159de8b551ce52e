"""Flips: half of the images, the same ones for whoever asks, and nothing else is changed."""

import numpy as np
import pytest

from tinyddpm import noise
from tinyddpm.more.training.augmenting import flipped
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

IMAGES = np.random.default_rng(0).uniform(-1, 1, (6, 1, 4, 4)).astype(np.float32)


def seen(samples=slice(None), start=0, steps=3, batch_size=16):
    """(x0, t, eps) that a gradient got at each step, with flips and without."""
    both = []
    for wrap in (flipped, lambda g: g):
        got = []

        def noted(unet, schedule, x0, t, eps, *rest, **more):
            got.append((x0, t, eps))
            return gradient(unet, schedule, x0, t, eps, *rest, **more)

        unet = UNet(UNetConfig(image=(1, 4, 4), base=8, levels=(1,))).initialise(seed=0)
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


def test_parts_of_a_batch_and_resumed_runs_see_the_same_flips():
    whole, part, late = seen()[0], seen(slice(4, 9))[0], seen(start=2, steps=1)[0]
    for (x, *_), (some, *_) in zip(whole, part):
        assert np.array_equal(x[4:9], some)
    assert np.array_equal(whole[2][0], late[0][0])


def test_it_needs_the_address_that_train_gives():
    with pytest.raises(TypeError, match="^dropout: expected the Stream that `train` gives, got"):
        flipped()(None, None, IMAGES, None, None)


def test_other_draws_do_not_share_its_address():
    drawn = noise.uniform(3, "flip", 1, np.arange(64))
    for purpose in ("dropped labels", "dropout 1", "t", "data"):
        assert not np.array_equal(drawn, noise.uniform(3, purpose, 1, np.arange(64)))
