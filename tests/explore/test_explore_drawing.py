"""What the page draws, and the captions under it."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from tiny_runs import opened

from tinyddpm import noise
from tinyddpm.explore import drawing, words
from tinyddpm.explore.chain import SAMPLERS, Chain, Settings

BAR = "#c2362b"  # the colour of a gradient's norm


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
    first = got[3:19, 3:35]
    second = got[3:19, 38:70] if got.shape[1] > 60 else got[38:54, 3:35]
    assert (first[..., 0] > first[..., 2]).all() and (second[..., 2] > second[..., 0]).all()
    assert (first[..., 3] == 255).all() and (second[..., 3] < 255).all()
    assert (got[19:35, 3:35, 3] == 0).all()
    nothing_to_scale_by = np.zeros((3, 2, 2), np.float32)
    assert opened(drawing.channels(nothing_to_scale_by)).ndim == 3


def test_a_larger_error_is_drawn_higher_and_a_larger_t_further_right():
    errors = {"mean": [0.1, 0.4, 0.2], "network": [0.1, 0.1, 0.3]}
    svg = ElementTree.fromstring(drawing.curves(np.array([1, 10, 20]), errors, 10))
    curves = [line.get("points") for line in svg if line.tag == "polyline"]
    points = np.array([[pair.split(",") for pair in curve.split()] for curve in curves], float)
    (x, *_), y = points[..., 0], points[..., 1]
    assert (np.diff(x) > 0).all() and (points[0, :, 0] == points[1, :, 0]).all()
    order = np.argsort(np.concatenate(list(errors.values())), kind="stable")
    assert (np.diff(y.ravel()[order]) <= 0).all() and y.min() < y.max()


def test_the_graph_fills_on_the_way_forward_and_gets_its_bars_on_the_way_back(explorer):
    walk = explorer.walk(0, 20)
    count = len(walk.layers)

    def boxes(position):
        """How many boxes are filled, and how many bars there are."""
        root = ElementTree.fromstring(f"<svg>{drawing.graph(walk, position)[2]}</svg>")
        ids = [e.get("id") for e in root.iter("rect") if e.get("id")]
        assert ids and set(ids) == {f"layer-{name}" for name in walk.layers}
        fills = [e.get("fill") for e in root.iter("rect")]
        filled = sum(fill.startswith("#") and fill != BAR for fill in fills)
        return filled, fills.count(BAR)

    assert boxes(0) == (1, 0) and boxes(count - 1) == boxes(count) == (count, 0)
    assert boxes(count + 1) == (count, 1) and boxes(2 * count) == (count, count)


def test_the_caption_of_a_chain_says_where_it_is(explorer):
    T, chain = explorer.schedule.T, Chain(explorer, 0)

    def said(**options):
        settings = dataclasses.replace(Settings(steps=4), **options)
        return words.of_chain(chain.t, chain.xt, chain.x0_hat, settings, T)

    assert "pure noise" in said()
    chain.step(Settings(steps=4))
    differ = float(re.search(r"differ by (\S+)", said())[1])
    assert differ == pytest.approx(np.square(chain.xt - chain.x0_hat).mean(), abs=0.006)
    chain.step(Settings(steps=4), 3)
    assert chain.t == 0 and "is now x̂₀" in said()
    assert len({said(sampler=sampler) for sampler in SAMPLERS}) == len(SAMPLERS)
