"""What a browser sends: strokes become images, and values numbers in range."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm.explore.inputs import rasterised, whole

# ---- strokes -------------------------------------------------------------------------------------

SHEETS = [(-1.0, (1, 8, 8)), (1.0, (3, 16, 16)), (-1.0, (1, 28, 20))]


@pytest.mark.parametrize("paper, shape", SHEETS)
def test_an_empty_drawing_is_paper_and_a_full_one_ink(paper, shape):
    ink = (-paper,) * shape[0]
    np.testing.assert_array_equal(rasterised([], shape, paper), np.full(shape, paper, np.float32))
    lines = [(ink, [(x, y) for x in (0, 1)]) for y in np.linspace(0, 1, 60)]
    np.testing.assert_allclose(rasterised(lines, shape, paper), -paper, atol=1e-6)


def test_a_dot_in_the_middle_is_symmetric_and_of_its_width():
    x = rasterised([((1.0,), [(0.5, 0.5)])], (1, 8, 8), width=0.5)[0]
    np.testing.assert_allclose(x, x[::-1], atol=0.05)
    np.testing.assert_allclose(x, x.T, atol=0.05)
    assert (x + 1).sum() / 2 == pytest.approx(np.pi * 2**2, rel=0.1)  # a disc of radius 2 pixels


def test_later_ink_covers_earlier_ink_and_colours_stay_what_they_are():
    red, blue = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)
    strokes = [(red, [(0, 0.5), (1, 0.5)]), (blue, [(0.5, 0.5)])]
    x = rasterised(strokes, (3, 16, 16), paper=1.0, width=0.3)
    np.testing.assert_allclose(x[:, 8, 2], red, atol=1e-6)
    np.testing.assert_allclose(x[:, 8, 8], blue, atol=1e-6)
    np.testing.assert_allclose(x[:, 1, 1], 1, atol=1e-6)


inks = st.sampled_from([(1.0,), (-1.0,), (0.2,)])
points = st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * 2), max_size=5)


@given(st.lists(st.tuples(inks, points), max_size=4))
def test_wherever_the_pen_went_the_drawing_is_an_image(strokes):
    x = rasterised(strokes, (1, 8, 8))
    assert x.shape == (1, 8, 8) and x.dtype == np.float32 and np.abs(x).max() <= 1 + 1e-6


# ---- values --------------------------------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(plain | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()))
def test_whatever_a_browser_sends_becomes_a_number_in_range(value):
    assert 1 <= whole(value, 1, 1000, 7) <= 1000
    no_number = value is None or isinstance(value, (list, dict))
    if no_number or isinstance(value, float) and not np.isfinite(value):
        assert whole(value, 1, 1000, 7) == 7
