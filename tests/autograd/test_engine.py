"""The engine's rules, one by one; at the end random graphs against a reverse-mode engine of ten lines."""
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import autograd
from autograd import Tensor, backward, leaf, more_ops, no_grad, ops, primitive


def ones(*shape, dtype=np.float64):
    return leaf(np.ones(shape, dtype))


# --- graphs: order, reuse, accumulation --------------------------------------------------------------------------------

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


@pytest.mark.parametrize("f, expected", [
    (lambda a: (lambda b: b + b)(a + a), 4.0),
    (lambda a: a * a, 6.0),
    (lambda a: a * a * a, 27.0),
    (lambda a: (a * 2) * (a + 1) - a / a + a, 2 * 7 + 1),
    (lambda a: (lambda l, r: l * r)(ops.square(a), ops.square(a)), 4 * 27.0),
    (lambda a: a, 1.0),
])
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
    with pytest.raises(ValueError, match=r"a Tensor of shape \(2,\) needs a gradient g of that shape"):
        (a * a).backward()
    with pytest.raises(ValueError, match=r"g: expected float64 of shape \(2,\), got float64 of shape \(3,\)"):
        (a * a).backward(np.ones(3))
    with pytest.raises(ValueError, match="g: expected float64 .* got float32"):
        (a * a).backward(np.ones(2, np.float32))


def test_backward_without_a_leaf():
    with pytest.raises(ValueError, match="leaf"):
        (Tensor(np.ones(())) * 2).backward()


# --- freeing -----------------------------------------------------------------------------------------------------------

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
    """When a pullback runs, the saved arrays of all ops after it, and the gradients they took, are gone."""
    alive, saved_arrays, gradients = [], [], []

    @primitive
    def saving(x):
        saved = np.array(x * 1.0)
        k = len(saved_arrays)
        saved_arrays.append(weakref.ref(saved))

        def pullback(g):
            alive.append((k, [i for i, ref in enumerate(saved_arrays) if ref() is not None],
                          [i for i, ref in enumerate(gradients) if ref() is not None]))
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
        assert held == ([5 - k - 1] if k < 5 else [])  # only the g that this very pullback was given


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


# --- broadcasting ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("small, big", [((), (2, 3)), ((), ()), ((), (1,)), ((1,), ()), ((1,), (4,)), ((3,), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (2, 3)),
                                        ((1, 1), (2, 3)), ((2, 1, 3), (4, 1)), ((1, 1, 1), (3,)), ((0,), (1,)), ((2, 0), (1, 1))])
@pytest.mark.parametrize("op", [ops.add, ops.sub, ops.mul])
def test_broadcasting_is_undone(op, small, big):
    rng = np.random.default_rng(0)
    x, y = leaf(rng.standard_normal(small)), leaf(rng.standard_normal(big))
    out = op(x, y)
    g = np.asarray(rng.standard_normal(out.shape))
    out.backward(g)
    dx, dy = {ops.add: (g, g), ops.sub: (g, -g), ops.mul: (g * y.data, g * x.data)}[op]
    for tensor, full in ((x, dx), (y, dy)):
        expected = np.zeros(tensor.shape)
        for place in np.ndindex(*out.shape):  # one element after the other, back to where it came from
            expected[tuple(i if n != 1 else 0 for i, n in zip(place[len(place) - expected.ndim:], expected.shape))] += full[place]
        assert type(tensor.grad) is np.ndarray and tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-13, atol=1e-13)


# --- what a pullback may return ----------------------------------------------------------------------------------------

def broken(returned):
    @primitive
    def my_op(x):
        return x * 2, lambda g: returned(g)
    return my_op


@pytest.mark.parametrize("returned, error, message", [
    (lambda g: (np.ones(3),), ValueError, r"my_op: expected a gradient of shape \(2,\) or broadcast from it, got \(3,\)"),
    (lambda g: (np.ones(()),), ValueError, r"my_op: expected a gradient of shape \(2,\).*got \(\)"),
    (lambda g: (np.ones((2, 1)),), ValueError, r"my_op: expected a gradient of shape \(2,\).*got \(2, 1\)"),
    (lambda g: (g.astype(np.float32),), TypeError, "my_op: expected a gradient of dtype float64, got float32"),
    (lambda g: (None,), TypeError, "my_op: its pullback returned None"),
    (lambda g: (g, g), ValueError, "zip"),
    (lambda g: (), ValueError, "zip"),
])
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
        return x * w + b, lambda g: tuple(part if need else None for need, part in zip(needs, (g * w, g * x, g)))

    x, w, b = leaf(np.array(2.0)), leaf(np.array(3.0)), np.array(1.0)
    conv_like(x, w, b, stride=2).backward()
    assert (float(x.grad), float(w.grad)) == (3, 2)
    conv_like(Tensor(x.data), w, leaf(b))
    conv_like(x * 1, Tensor(x.data) * 2, b)
    with no_grad():
        conv_like(x, w, b)
    assert seen == [((True, True, False), 2), ((False, True, True), 1), ((True, False, False), 1), ((False, False, False), 1)]


def test_backward_adds_in_place_only_to_sums_it_allocated():
    """Pullbacks return g itself, one array twice, read-only views; a sum into any of them would change what others hold."""
    kept = np.full(3, 7.0)

    @primitive
    def twice(x, y):
        return x + y, lambda g: (g, g)

    @primitive
    def stingy(x):
        return x * 1.0, lambda g: (kept,)

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
    assert kept.tolist() == [7, 7, 7] and a.grad.tolist() == [17, 17, 17]

    a = ones(3)
    stingy(a).sum().backward()
    (a * 2).sum().backward()
    assert kept.tolist() == [7, 7, 7] and a.grad.tolist() == [9, 9, 9]


def test_numbers_without_dimension_are_summed_too():
    a = leaf(np.array(2.0, np.float32))
    b = a * np.float32(1)
    (b + b + b * b + b).backward()
    assert a.grad == 7 and a.grad.dtype == np.float32 and type(a.grad) is np.ndarray


# --- precision ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f, op", [(lambda x, y: x + y, "add"), (lambda x, y: y * x, "mul"), (lambda x, y: x @ y, "matmul"),
                                   (lambda x, y: ops.concat(x, y), "concat"), (lambda x, y: x - y.data, "sub"),
                                   (lambda x, y: x / np.float64(2), "div"), (lambda x, y: y.data ** x, "pow")])
def test_mixing_float32_and_float64_names_the_op(f, op):
    with pytest.raises(TypeError, match=f"^{op}: .*float32.*float64"):
        f(ones(2, dtype=np.float32), ones(2))


def test_a_constant_of_another_precision_is_refused_even_without_a_graph():
    with no_grad(), pytest.raises(TypeError, match="^mul: "):
        ones(2, dtype=np.float32) * np.ones(2)


# --- no_grad -----------------------------------------------------------------------------------------------------------

def test_no_grad_records_nothing():
    a = ones(2)
    with no_grad():
        assert (a * a).node is None
        with no_grad():
            assert (a * a).node is None
        assert (a * a).node is None  # the inner one's end is not the outer one's
    assert (a * a).node.op == "mul"
    with pytest.raises(KeyError):
        with no_grad():
            raise KeyError
    assert (a * a).node is not None


def test_no_grad_is_per_thread():
    a, seen = ones(2), []
    entered, checked = threading.Event(), threading.Event()

    def other():
        with no_grad():
            entered.set()
            checked.wait(10)
            seen.append((a * a).node)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    seen.append((a * a).node)
    checked.set()
    thread.join()
    assert seen[0] is not None and seen[1] is None


def test_threads_share_leaves_but_not_gradients_in_flight():
    """Two graphs over one leaf's data, differentiated at once, each into its own grad."""
    data = np.arange(4.0)
    results = [None] * 4

    def work(k):
        x = leaf(data)
        for _ in range(50):
            (x * x * float(k)).sum().backward()
        results[k] = x.grad

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for k, grad in enumerate(results):
        assert grad.tolist() == (50 * 2 * k * data).tolist()


# --- Tensor's notation -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x ** y, lambda x, y: x @ y,
    lambda x, y: -x * y, lambda x, y: abs(-x) + y, lambda x, y: y / x - y,
], ids=["add", "sub", "mul", "truediv", "pow", "matmul", "neg", "abs", "mixed"])
def test_operators_with_tensors_and_arrays_on_either_side(f):
    a, b = np.array([1.0, 2.0, 4.0]), np.array([3.0, 0.5, 2.0])
    results = []
    for x, y in [(leaf(a), leaf(b)), (leaf(a), b), (a, leaf(b)), (leaf(a), Tensor(b))]:
        out = f(x, y)
        assert type(out) is Tensor
        np.testing.assert_array_equal(out.data, f(a, b))
        out.backward(np.ones(out.shape))
        results.append([getattr(t, "grad", None) for t in (x, y)])
    np.testing.assert_array_equal(results[1][0], results[0][0])
    np.testing.assert_array_equal(results[2][1], results[0][1])
    assert results[3][1] is None


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0)], ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("f", [lambda x, n: x + n, lambda x, n: n + x, lambda x, n: x - n, lambda x, n: n - x, lambda x, n: x * n, lambda x, n: n * x,
                               lambda x, n: x / n, lambda x, n: n / x, lambda x, n: x ** n, lambda x, n: n ** x])
def test_numbers_on_either_side(f, number):
    if isinstance(number, np.float32):
        values = np.array([1.0, 3.0], np.float32)
    else:
        values = np.array([1.0, 3.0])
    x = leaf(values)
    out = f(x, number)
    assert type(out) is Tensor and out.dtype == values.dtype
    np.testing.assert_array_equal(out.data, f(values, number))
    out.sum().backward()
    assert x.grad.dtype == values.dtype


def test_comparisons_are_plain_boolean_arrays():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for x, y in [(leaf(a), leaf(b)), (leaf(a), b), (a, leaf(b)), (leaf(a), 2.0)]:
        for got, expected in [(x < y, a < b), (x <= y, a <= b), (x > y, a > b), (x >= y, a >= b)]:
            assert type(got) is np.ndarray and got.dtype == bool
            np.testing.assert_array_equal(got, expected)


def test_tensor_describes_itself():
    x = leaf(np.ones((2, 3), np.float32))
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float32, 2)
    assert repr(leaf(np.array(1.0)) * 2) == "Tensor(array(2.), from mul)"
    assert float((x * 2).sum()) == 12
    assert [row.shape for row in x] == [(3,), (3,)]
    assert not hasattr(autograd.Tensor(x.data), "__dict__")


# --- random graphs -----------------------------------------------------------------------------------------------------

def naive_gradients(steps, root, g):
    """Reverse mode without order or sharing: each path from the root to a leaf is walked by itself, recursively."""
    total = {}

    def walk(k, g):
        inputs, vjp = steps[k]
        if vjp is None:
            total[k] = total.get(k, 0) + g
        else:
            for parent, part in zip(inputs, vjp(g)):
                walk(parent, part)

    walk(root, g)
    return total


def unbroadcast(g, shape):
    while g.ndim > len(shape):
        g = g.sum(0)
    for axis, n in enumerate(shape):
        if n == 1:
            g = g.sum(axis, keepdims=True)
    return g


class RandomGraphs(RuleBasedStateMachine):
    """Builds a graph with the engine and, beside it, a list of steps for the naive one; compares all leaf gradients."""

    SHAPES = [(), (1,), (3,), (1, 3), (3, 1), (3, 3)]  # any two broadcast together

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.steps, self.paths = [], [], []
        for shape in self.SHAPES[2:5]:
            self.new_leaf(shape)

    def put(self, tensor, inputs, vjp):
        self.tensors.append(tensor)
        self.steps.append((inputs, vjp))
        self.paths.append(sum(self.paths[i] for i in inputs) if vjp else 1)

    def pick(self, k):
        return len(self.tensors) - 1 - k % len(self.tensors)

    @rule(shape=st.sampled_from(SHAPES))
    def new_leaf(self, shape):
        self.put(leaf(np.asarray(self.rng.uniform(-1.5, 1.5, shape))), (), None)

    @rule(op=st.sampled_from(["add", "sub", "mul"]), i=st.integers(0, 5), j=st.integers(0, 99))
    def binary(self, op, i, j):
        i, j = self.pick(i), j % len(self.tensors)  # a new one with an old one
        x, y = self.tensors[i].data, self.tensors[j].data
        if self.paths[i] + self.paths[j] > 300:  # the naive engine walks each path
            return
        vjp = {"add": lambda g: (unbroadcast(g, x.shape), unbroadcast(g, y.shape)),
               "sub": lambda g: (unbroadcast(g, x.shape), unbroadcast(-g, y.shape)),
               "mul": lambda g: (unbroadcast(g * y, x.shape), unbroadcast(g * x, y.shape))}[op]
        self.put(getattr(ops, op)(self.tensors[i], self.tensors[j]), (i, j), vjp)

    @rule(i=st.integers(0, 99), axis=st.sampled_from([None, -1]), keepdims=st.booleans())
    def sum(self, i, axis, keepdims):
        i = self.pick(i)
        x = self.tensors[i].data
        if x.ndim == 0:
            axis = None
        kept = x.sum(axis=axis, keepdims=True).shape
        self.put(self.tensors[i].sum(axis=axis, keepdims=keepdims), (i,), lambda g: (g.reshape(kept) * np.ones(x.shape),))

    @rule(i=st.integers(0, 99))
    def broadcast(self, i):
        i = self.pick(i)
        shape = self.tensors[i].shape
        self.put(more_ops.broadcast_to(self.tensors[i], shape=(3, 3)), (i,), lambda g: (unbroadcast(g, shape),))

    @precondition(lambda self: len(self.tensors) > self.paths.count(1) + 6)
    @rule()
    def differentiate(self):
        """Everything built so far is used up by backward, so a new graph starts from the leaves there are."""
        root = len(self.tensors) - 1
        g = np.asarray(self.rng.standard_normal(self.tensors[root].shape))
        leaves = [k for k, (_, vjp) in enumerate(self.steps) if vjp is None]
        before = {k: None if self.tensors[k].grad is None else self.tensors[k].grad.copy() for k in leaves}
        backward(self.tensors[root], g)
        expected = naive_gradients(self.steps, root, g)
        for k in leaves:
            grad, was = self.tensors[k].grad, before[k]
            if k in expected:
                np.testing.assert_allclose(grad, expected[k] + (0 if was is None else was), rtol=1e-9, atol=1e-9)
            else:
                assert grad is None if was is None else (grad == was).all()
        self.tensors = [self.tensors[k] for k in leaves]
        self.steps, self.paths = [((), None) for _ in leaves], [1] * len(leaves)

    def teardown(self):
        if getattr(self, "tensors", None):
            self.differentiate()

    @invariant()
    def values_stay_moderate(self):
        """Products of products grow; a graph whose numbers explode compares nothing any more."""
        if getattr(self, "tensors", None) and abs(self.tensors[-1].data).max() > 1e3:
            self.tensors.pop()
            self.steps.pop()
            self.paths.pop()


TestRandomGraphs = RandomGraphs.TestCase
TestRandomGraphs.settings = settings(settings.get_profile("tests"), max_examples=60, stateful_step_count=30)
