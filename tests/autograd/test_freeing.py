"""Memory: a graph dies with its Tensor, and during backward everything dies once it is used."""

import gc
import weakref

import numpy as np
import pytest

from autograd import backward, leaf, more_ops, ops, primitive


def ones(*shape, dtype=np.float64):
    return leaf(np.ones(shape, dtype))


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def some_graph():
    x, w = ones(3, 4), ones(4, 2)
    h = ops.silu(x @ w)
    h = ops.concat(h, h[:, ::-1], axis=1) ** 2
    return x, w, (ops.softmax(h) * h.T.T).mean()


@pytest.mark.parametrize("run_backward", [False, True])
def test_a_graph_dies_with_its_tensor(no_collector, run_backward):
    def once():
        x, w, y = some_graph()
        if run_backward:
            y.backward()

    once()
    before = len(gc.get_objects())
    for _ in range(20):
        once()
    assert len(gc.get_objects()) - before < 10
    assert gc.collect() == 0


def test_the_arrays_of_a_graph_die_with_its_tensor(no_collector):
    x = ones(3)
    watched = []

    @primitive
    def saving(x):
        saved = np.array(x * 2)
        watched.append(weakref.ref(saved))
        return x + saved, lambda g: (g * saved,)

    y = saving(saving(x))
    assert all(ref() is not None for ref in watched)
    del y
    assert all(ref() is None for ref in watched)


def test_memory_falls_as_backward_goes(no_collector):
    """When a pullback runs, later ops have dropped their saved arrays and their gradients."""
    alive, saved_arrays, gradients = [], [], []

    def living(refs):
        return [i for i, ref in enumerate(refs) if ref() is not None]

    @primitive
    def saving(x):
        saved = np.array(x * 1.0)
        k = len(saved_arrays)
        saved_arrays.append(weakref.ref(saved))

        def pullback(g):
            alive.append((k, living(saved_arrays), living(gradients)))
            out = g * (1 + 0 * saved)
            gradients.append(weakref.ref(out))
            return (out,)

        return x + 1.0, pullback

    y = ones(5)
    for _ in range(6):
        y = saving(y)
    y.backward(np.ones(5))
    assert [k for k, _, _ in alive] == [5, 4, 3, 2, 1, 0]
    for k, saved, held in alive:
        assert saved == list(range(k + 1))
        own = [5 - k - 1] if k < 5 else []  # the g that this very pullback was given
        assert held == own


def test_a_gradient_that_went_into_a_sum_is_dropped_at_once(no_collector):
    parts, alive = [], []

    @primitive
    def pair(x, y):
        def pullback(g):
            out = g * 2, g * 3
            parts.extend(map(weakref.ref, out))
            return out

        return x + y, pullback

    @primitive
    def spy(x):
        return x * 1.0, lambda g: (alive.extend(ref() is not None for ref in parts) or g,)

    x = ones(5)
    h = spy(x)
    pair(h, h).backward(np.ones(5))
    assert x.grad.tolist() == [5] * 5 and alive == [False, False]


def test_a_node_is_empty_when_its_pullback_runs():
    seen = []

    @primitive
    def spy(x):
        return x * 1.0, lambda g: (seen.append((y.node.pullback, y.node.parents)) or g,)

    y = spy(ones(2))
    y.backward(np.ones(2))
    assert seen == [(None, ())]


def test_depth_10_000():
    x = ones(2)
    y = x
    for _ in range(10_000):
        y = y + 1.0
    backward(y, np.ones(2))
    assert x.grad.tolist() == [1, 1]
    for _ in range(10_000):
        y = y * 1.0
    del y  # must not recurse either
    z = x
    for _ in range(10_000):
        z = z + x
    del z


def test_a_second_backward_names_the_op_and_touches_no_leaf():
    a, b = ones(2), ones(2)
    shared = more_ops.tanh(a)
    first, second = shared.sum(), (b * 2 + shared * b).sum()
    first.backward()
    was = a.grad.copy()
    with pytest.raises(RuntimeError, match="'tanh' was already differentiated"):
        second.backward()
    assert b.grad is None and (a.grad == was).all()
    with pytest.raises(RuntimeError, match="'sum' was already differentiated"):
        first.backward()
