"""The engine's rules, one by one: order, broadcasting, what a pullback may return, precision."""

import numpy as np
import pytest

from autograd import Tensor, leaf, more_ops, no_grad, ops, primitive


def ones(*shape, dtype=np.float64):
    return leaf(np.ones(shape, dtype))


# --- graphs: order, reuse, accumulation -----------------------------------------------------------


def test_the_example_of_the_package():
    x = leaf(np.array([1.0, 2.0, 3.0]))
    y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_a_node_waits_for_all_its_users():
    """b = a + a; c = b * b + b: passing on b's first part alone would be wrong."""
    a = leaf(np.array(3.0))
    b = a + a
    (b * b + b).backward()
    assert a.grad == 2 * (2 * 6) + 2


def doubled(a):
    return a + a


DIAMONDS = [
    (lambda a: doubled(doubled(a)), 4.0),
    (lambda a: a * a, 6.0),
    (lambda a: a * a * a, 27.0),
    (lambda a: (a * 2) * (a + 1) - a / a + a, 2 * 7 + 1),
    (lambda a: ops.square(a) * ops.square(a), 4 * 27.0),
    (lambda a: a, 1.0),
]


@pytest.mark.parametrize("f, expected", DIAMONDS)
def test_diamonds(f, expected):
    a = leaf(np.array(3.0))
    f(a).backward()
    assert a.grad == pytest.approx(expected)


def test_a_ladder_of_diamonds_is_linear_work():
    a = leaf(np.array(1.0))
    b = a
    for _ in range(60):  # 2**60 paths
        b = b + b
    b.backward()
    assert a.grad == 2.0**60


def test_two_results_of_one_leaf_accumulate():
    a = leaf(np.array([1.0, 2.0]))
    (a * 3).sum().backward()
    first = a.grad
    (a * a).sum().backward()
    assert a.grad.tolist() == [5, 7] and a.grad is first


def test_grad_is_none_before_backward_and_where_nothing_flows():
    a, b = ones(2), ones(2)
    y = (a * 2).sum()
    assert a.grad is None and y.grad is None
    y.backward()
    assert b.grad is None and Tensor(np.ones(2)).grad is None


def test_accumulates_in_place_into_the_slice_it_was_given():
    flat = np.full(10, 0.5)
    a = leaf(np.arange(4.0).reshape(2, 2), grad=flat[3:7].reshape(2, 2))
    number = leaf(np.array(2.0), grad=flat[8:9].reshape(()))
    for k in (1, 2):
        (a * a * number + a).sum().backward()
        assert np.shares_memory(a.grad, flat) and np.shares_memory(number.grad, flat)
        assert flat[3:7].tolist() == [0.5 + k * (4 * i + 1) for i in range(4)]
        assert flat[8] == 0.5 + k * 14
    assert flat[[0, 1, 2, 7, 9]].tolist() == [0.5] * 5


def test_g_scales_and_must_fit():
    a = leaf(np.array([1.0, 2.0]))
    (a * a).backward(np.array([10.0, 100.0]))
    assert a.grad.tolist() == [20, 400]
    y = a * a
    with pytest.raises(ValueError, match=r"a Tensor of shape \(2,\) needs a gradient g of that"):
        y.backward()
    expected = r"g: expected float64 of shape \(2,\)"
    with pytest.raises(ValueError, match=expected + r", got float64 of shape \(3,\)"):
        y.backward(np.ones(3))
    with pytest.raises(ValueError, match=expected + ", got float32"):
        y.backward(np.ones(2, np.float32))


def test_backward_without_a_leaf():
    with pytest.raises(ValueError, match="leaf"):
        (Tensor(np.ones(())) * 2).backward()


# --- broadcasting ---------------------------------------------------------------------------------


PAIRS_OF_SHAPES = [
    ((), (2, 3)),
    ((), ()),
    ((), (1,)),
    ((1,), ()),
    ((1,), (4,)),
    ((3,), (2, 3)),
    ((1, 3), (2, 3)),
    ((2, 1), (2, 3)),
    ((1, 1), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((1, 1, 1), (3,)),
    ((0,), (1,)),
    ((2, 0), (1, 1)),
]


def summed_back(full, shape):
    """`full` added up element by element, each to the place in `shape` that it was spread from."""
    out = np.zeros(shape)
    for place in np.ndindex(*full.shape):
        own = place[len(place) - out.ndim :]
        out[tuple(i if n != 1 else 0 for i, n in zip(own, shape))] += full[place]
    return out


@pytest.mark.parametrize("small, big", PAIRS_OF_SHAPES)
@pytest.mark.parametrize("op", [ops.add, ops.sub, ops.mul])
def test_broadcasting_is_undone(op, small, big):
    rng = np.random.default_rng(0)
    x, y = leaf(rng.standard_normal(small)), leaf(rng.standard_normal(big))
    out = op(x, y)
    g = np.asarray(rng.standard_normal(out.shape))
    out.backward(g)
    dx, dy = {ops.add: (g, g), ops.sub: (g, -g), ops.mul: (g * y.data, g * x.data)}[op]
    for tensor, full in ((x, dx), (y, dy)):
        expected = summed_back(full, tensor.shape)
        assert type(tensor.grad) is np.ndarray and tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-13, atol=1e-13)


# --- what a pullback may return -------------------------------------------------------------------


def broken(returned):
    @primitive
    def my_op(x):
        return x * 2, lambda g: returned(g)

    return my_op


LIKE_2 = r"my_op: expected a gradient of shape \(2,\) or broadcast from it"
WRONG_GRADIENTS = [
    (lambda g: (np.ones(3),), ValueError, LIKE_2 + r", got \(3,\)"),
    (lambda g: (np.ones(()),), ValueError, LIKE_2 + r", got \(\)"),
    (lambda g: (np.ones((2, 1)),), ValueError, LIKE_2 + r", got \(2, 1\)"),
    (lambda g: (g.astype(np.float32),), TypeError, "my_op: .* of dtype float64, got float32"),
    (lambda g: (None,), TypeError, "my_op: its pullback returned None"),
    (lambda g: (g, g), ValueError, "zip"),
    (lambda g: (), ValueError, "zip"),
]


@pytest.mark.parametrize("returned, error, message", WRONG_GRADIENTS)
def test_a_wrong_gradient_is_named(returned, error, message):
    with pytest.raises(error, match=message):
        broken(returned)(ones(2)).backward(np.ones(2))


def test_none_is_fine_for_what_needs_no_gradient():
    x = ones(2)
    more_ops.where(Tensor(np.array([True, False])), x, 1.0).sum().backward()
    assert x.grad.tolist() == [1, 0]


def test_needs_says_which_arguments_need_a_gradient():
    seen = []

    @primitive
    def conv_like(x, w, b, *, stride=1, needs=(True, True, True)):
        seen.append((needs, stride))

        def pullback(g):
            return tuple(part if need else None for need, part in zip(needs, (g * w, g * x, g)))

        return x * w + b, pullback

    x, w, b = leaf(np.array(2.0)), leaf(np.array(3.0)), np.array(1.0)
    conv_like(x, w, b, stride=2).backward()
    assert (float(x.grad), float(w.grad)) == (3, 2)
    conv_like(Tensor(x.data), w, leaf(b))
    conv_like(x * 1, Tensor(x.data) * 2, b)
    with no_grad():
        conv_like(x, w, b)
    assert seen == [
        ((True, True, False), 2),
        ((False, True, True), 1),
        ((True, False, False), 1),
        ((False, False, False), 1),
    ]


def test_backward_adds_in_place_only_to_sums_it_allocated():
    """Pullbacks return g itself, one array twice, or read-only views.

    A sum into any of them would change what others hold.
    """
    sevens = np.full(3, 7.0)

    @primitive
    def twice(x, y):
        return x + y, lambda g: (g, g)

    @primitive
    def stingy(x):
        return x * 1.0, lambda g: (sevens,)

    @primitive
    def spread(x):
        return x.sum(), lambda g: (np.broadcast_to(g, x.shape),)

    g = np.array([1.0, 2.0, 3.0])
    a, b = ones(3), ones(3)
    h = twice(a, b)
    twice(twice(h, h), twice(h, a)).backward(g)
    assert g.tolist() == [1, 2, 3]
    assert a.grad.tolist() == [4, 8, 12] and b.grad.tolist() == [3, 6, 9]
    assert not np.shares_memory(a.grad, g) and not np.shares_memory(a.grad, b.grad)

    a = ones(3)
    h = a * 1.0
    y = stingy(h).sum() + spread(h) + spread(h) + stingy(h).sum() + spread(h)
    y.backward()
    assert sevens.tolist() == [7, 7, 7] and a.grad.tolist() == [17, 17, 17]

    a = ones(3)
    stingy(a).sum().backward()
    (a * 2).sum().backward()
    assert sevens.tolist() == [7, 7, 7] and a.grad.tolist() == [9, 9, 9]


def test_numbers_without_dimension_are_summed_too():
    a = leaf(np.array(2.0, np.float32))
    b = a * np.float32(1)
    (b + b + b * b + b).backward()
    assert a.grad == 7 and a.grad.dtype == np.float32 and type(a.grad) is np.ndarray


# --- precision ------------------------------------------------------------------------------------


MIXTURES = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: y * x,
    "matmul": lambda x, y: x @ y,
    "concat": lambda x, y: ops.concat(x, y),
    "sub": lambda x, y: x - y.data,
    "div": lambda x, y: x / np.float64(2),
    "pow": lambda x, y: y.data**x,
}


@pytest.mark.parametrize("op, f", MIXTURES.items())
def test_mixing_float32_and_float64_names_the_op(op, f):
    with pytest.raises(TypeError, match=f"^{op}: .*float32.*float64"):
        f(ones(2, dtype=np.float32), ones(2))


def test_a_constant_of_another_precision_is_refused_even_without_a_graph():
    with no_grad(), pytest.raises(TypeError, match="^mul: "):
        ones(2, dtype=np.float32) * np.ones(2)
