"""Each rule of the kit finds what only it can find, and bad calls are refused."""

import re

import hypothesis
import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

from autograd import ops, primitive
from autograd.testing import (
    RULES,
    GradientError,
    arguments,
    arrays_near,
    broadcastable,
    check_function,
    check_layer,
    check_vjp,
    gradient_test,
    images,
    one_axis,
    some_axes,
    upstream,
)
from autograd.testing.slopes import Slopes
from autograd.testing.strategies import LAYOUTS, laid_out


@primitive
def adds_a_little(x):
    """Right for one g, but not linear in it. A cube is 1 at 1 and -1 at -1."""
    return x + 0.0, lambda g: (np.where(abs(g) == 1, g, g + 1),)


@primitive
def needy(x, y, *, needs=(True, True)):
    """Without a gradient for y, that for x is wrong."""
    return x * y, lambda g: (g * y if all(needs) else g, g * x)


@primitive
def blind(x):
    """Zeros for NaN."""
    return np.nan_to_num(x) * 2.0, lambda g: (np.nan_to_num(g) * 2.0,)


@primitive
def clips_g(x):
    """Gradients are clipped where they are made: even infinite ones look harmless."""
    return x + 0.0, lambda g: (np.clip(g, -100, 100),)


@primitive
def hides_infinity(x):
    """Zeros for infinite numbers."""
    finite = ~np.isinf(x)
    return np.where(finite, x, 0.0), lambda g: (g * finite,)


@primitive
def needs_an_array(x, y):
    """The forward pass takes a Python number for y, and the pullback does not."""
    return x * y, lambda g: (g * y, (g * x).astype(y.dtype))


@primitive
def makes_float64(x, y):
    """A Python number does not change float32, but np.asarray of it does."""
    out = x * np.asarray(y)
    return out, lambda g: (g * y, g * x)


@primitive
def cancels(x):
    """1e5 is added and taken away again: six of float32's seven digits are lost."""
    return (x + 1e5) - 1e5, lambda g: ((g + 1e5) - 1e5,)


@primitive
def off_by_one(x):
    return x + 1.0, lambda g: (g,)


@primitive
def remembers_its_input(x):
    return x.sum(), lambda g: (x,)


WORKSPACE = np.empty(10**5)


@primitive
def keeps_its_input_in_a_workspace(x):
    """It would be right if backward always came before the next call."""
    kept = WORKSPACE[: x.size].reshape(x.shape)
    if x.dtype == np.float64:  # not for the complex step
        kept[...] = x
    return x * x, lambda g: ((2 * g * kept).astype(x.dtype),)


@primitive
def squares_in_place(x):
    before = x.copy()
    x *= x
    return x, lambda g: (2 * g * before,)


@primitive
def forgets_an_argument(x, y):
    return x * y, lambda g: (g * y, None)


@primitive
def only_two_axes(x):
    if x.ndim > 2:
        raise RuntimeError("at most two axes")
    return x + 0.0, lambda g: (g,)


BREAKS = [
    (needy, "needs", {}),
    (blind, "nan", {}),
    (hides_infinity, "infinity", {}),
    (clips_g, "infinity", {}),
    (needs_an_array, "numbers", {}),
    (makes_float64, "numbers", {}),
    (cancels, "float32", {"skip": ["slope", "linear"]}),
    (off_by_one, "value", {"reference": lambda x: x}),
    (keeps_its_input_in_a_workspace, "alias", {}),
    (squares_in_place, "untouched", {}),
    (forgets_an_argument, "runs", {}),
    (only_two_axes, "runs", {}),
    (remembers_its_input, "alias", {"skip": ["slope", "linear", "nan"]}),
    (adds_a_little, "linear", {"skip": ["slope"]}),
]


@pytest.mark.parametrize("op, rule, how", BREAKS, ids=lambda thing: getattr(thing, "__name__", ""))
def test_each_rule_is_the_one_that_is_named(op, rule, how):
    with pytest.raises(GradientError, match=f'{op.__name__} breaks the rule "{rule}"'):
        gradient_test(op, examples=100, **how)()


def test_one_tensor_twice_gets_both_gradients():
    seen = []

    @primitive
    def confused(x, y):
        """It takes the two for one when they share memory, and drops the second."""
        seen.append(x is y)
        return x * y, lambda g: (g * y, 0 * g if x is y else g * x)

    with pytest.raises(GradientError, match='breaks the rule "twice"') as error:
        gradient_test(confused, examples=100)()
    assert "x1 = x0" in str(error.value)
    assert any(seen)


def test_the_code_to_paste_has_what_the_rule_tried():
    """Not the input that was drawn: NaN, infinity and Python's numbers come in its place."""

    def pasted(op):
        with pytest.raises(GradientError) as error:
            gradient_test(op, examples=100)()
        return str(error.value).partition("To see it again:")[2]

    assert "x = leaf(np.array(np.nan))" in pasted(blind)
    assert "x = leaf(np.array(np.inf))" in pasted(hides_infinity)
    assert "out.backward(np.array(np.inf))" in pasted(clips_g)
    assert re.search(r"x[01] = np.array", pasted(needy))
    text = pasted(makes_float64)
    assert "dtype='float32'" in text and re.search(r"x[01] = 1\n", text)


def test_a_reference_may_be_an_op_and_then_its_gradients_count():
    """A reference in NumPy has no gradients, and differences see no error of 1e-8."""

    @primitive
    def nearly(x):
        return x * 2.0, lambda g: (g * (2.0 + 1e-8),)

    how = {"examples": 20, "analytic": False, "skip": ["numbers", "float32"]}
    gradient_test(nearly, reference=lambda x: x * 2.0, **how)()
    with pytest.raises(GradientError, match='"value"(.|\n)*gradient 0 at index'):
        gradient_test(nearly, reference=lambda x: ops.mul(x, 2.0), **how)()


def test_a_kink_needs_no_mention():
    """relu, |x| and clip are drawn on their kinks too, and pass: a subgradient is enough."""

    @primitive
    def kinked(x):
        return np.maximum(x, 0) + np.abs(x), lambda g: (g * ((x > 0) + np.sign(x)),)

    gradient_test(kinked, kinks=[0.0], examples=50)()


def test_an_op_that_enlarges_rounding_is_not_called_wrong():
    def normalised(x):  # where all numbers are equal, by 316 times their distance from the mean
        centred = x - x.mean()
        return centred / np.sqrt((centred**2).mean() + 1e-5)

    x, g = np.ones(12), np.ones(12)
    slopes = Slopes(normalised, x, g, normalised(x), np.zeros(12), analytic=None)
    assert slopes.along(np.ones(12)).excess <= 1
    wrong = slopes._replace(gradient=np.full(12, 1e-4))
    assert wrong.along(np.ones(12)).excess > 1


def test_a_function_a_pair_and_a_layers_input_are_checked_at_once():
    check_function(lambda x, y: (x * y).sum())
    check_vjp(np.sin, lambda g, x: g * np.cos(x), shapes=images())
    with pytest.raises(GradientError, match=r"your function|sin"):
        check_vjp(np.sin, lambda g, x: g * np.sin(x), shapes=images())
    with pytest.raises(GradientError, match="argument 0"):
        check_function(lambda x: wrong_half(x) * 3.0)


@primitive
def wrong_half(x):
    return x / 2, lambda g: (g,)


def test_a_wrong_layer_is_found():
    from tinyddpm.nn.linear import Linear

    class Wrong(Linear):
        def forward(self, x):
            return wrong_half(super().forward(x))

    check_layer(Linear(3, 2), None, [np.ones((2, 3))])
    with pytest.raises(GradientError, match="input 0: backward gives"):
        check_layer(Wrong(3, 2), None, [np.ones((2, 3))])


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="skip: expected names of"):
        gradient_test(ops.add, skip=["nothing"])
    with pytest.raises(TypeError, match=r"reshape: expected options for shape, got none"):
        gradient_test(ops.reshape)
    with pytest.raises(ValueError, match="order: expected the letters H, W, N and C, got 'HW'"):
        images(order="HW")
    with pytest.raises(ValueError, match="device: expected cpu, since vjp takes NumPy arrays, got"):
        check_vjp(np.sin, lambda g, x: g * np.cos(x), device="cuda")
    with pytest.raises(RuntimeError, match="device cuda:99:"):
        gradient_test(ops.add, device="cuda:99")()
    with pytest.raises(ValueError, match="domains: expected 2 of them, got 1"):
        gradient_test(ops.add, domains=[(0.0, 1.0)])()


@given(st.data(), st.sampled_from(list(LAYOUTS)))
def test_a_layout_changes_no_number_and_its_code_gives_it(data, layout):
    x = data.draw(broadcastable(1).flatmap(lambda shapes: arrays_near(shapes[0])))
    y = laid_out(x, layout)
    np.testing.assert_array_equal(y, x)
    assert y.shape == x.shape
    if layout != "strided" or x.ndim:
        code = LAYOUTS[layout].format("x", shape=x.shape)
        np.testing.assert_array_equal(eval(code, {"np": np, "x": x}), x)


@given(st.data())
def test_numbers_stay_in_their_domain(data):
    x = data.draw(images().flatmap(lambda shape: arrays_near(shape, (0.5, 3.0), kinks=[1.0])))
    assert x.ndim == 4 and x.dtype == np.float64 and 0.5 < x.min() and x.max() < 3


def test_what_is_drawn_can_be_all_it_should():
    """Empty axes, no axes, kinks, ties and every kind of axis do come up."""
    shapes = broadcastable(2)
    quick = settings(phases=[Phase.generate], max_examples=1000)

    def find(strategy, holds):
        return hypothesis.find(strategy, holds, settings=quick)

    find(shapes, lambda found: any(0 in shape for shape in found))
    find(shapes, lambda found: () in found and (2, 2) in found)
    find(arrays_near((20,), (0.0, 1.0), kinks=[0.25]), lambda x: (x == 0.25).sum() > 1)
    find(arrays_near((20,)), lambda x: len(np.unique(x)) < 20)
    find(some_axes((2, 3)), lambda axis: isinstance(axis, tuple))
    find(some_axes((2, 3)), lambda axis: axis is None)
    find(one_axis((2, 3)), lambda axis: axis == -2)
    find(upstream((3,)), lambda g: len(set(g.tolist())) == 3)
    find(arguments(ops.mul), lambda drawn: drawn[0][0].shape != drawn[0][1].shape)


def test_every_rule_is_described():
    from autograd.testing.run import AFTER

    assert set(AFTER) <= set(RULES)
