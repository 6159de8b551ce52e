"""Random graphs against a reverse-mode engine of ten lines."""

import numpy as np
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autograd import backward, leaf, more_ops, ops


def naive_gradients(steps, root, g):
    """Reverse mode without order or sharing: it walks each path from the root to a leaf alone."""
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


def copy(gradient):
    return None if gradient is None else gradient.copy()


class RandomGraphs(RuleBasedStateMachine):
    """Builds a graph with the engine, and a list of the same steps for the naive one.

    Then it compares the gradients of all leaves.
    """

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
        vjp = {
            "add": lambda g: (unbroadcast(g, x.shape), unbroadcast(g, y.shape)),
            "sub": lambda g: (unbroadcast(g, x.shape), unbroadcast(-g, y.shape)),
            "mul": lambda g: (unbroadcast(g * y, x.shape), unbroadcast(g * x, y.shape)),
        }[op]
        self.put(getattr(ops, op)(self.tensors[i], self.tensors[j]), (i, j), vjp)

    @rule(i=st.integers(0, 99), axis=st.sampled_from([None, -1]), keepdims=st.booleans())
    def sum(self, i, axis, keepdims):
        i = self.pick(i)
        x = self.tensors[i].data
        if x.ndim == 0:
            axis = None
        shape = x.sum(axis=axis, keepdims=True).shape
        total = self.tensors[i].sum(axis=axis, keepdims=keepdims)
        self.put(total, (i,), lambda g: (g.reshape(shape) * np.ones(x.shape),))

    @rule(i=st.integers(0, 99))
    def broadcast(self, i):
        i = self.pick(i)
        shape = self.tensors[i].shape
        repeated = more_ops.broadcast_to(self.tensors[i], shape=(3, 3))
        self.put(repeated, (i,), lambda g: (unbroadcast(g, shape),))

    @precondition(lambda self: len(self.tensors) > self.paths.count(1) + 6)
    @rule()
    def differentiate(self):
        """Backward uses up everything built so far. A new graph starts from the same leaves."""
        root = len(self.tensors) - 1
        g = np.asarray(self.rng.standard_normal(self.tensors[root].shape))
        leaves = [k for k, (_, vjp) in enumerate(self.steps) if vjp is None]
        before = {k: copy(self.tensors[k].grad) for k in leaves}
        backward(self.tensors[root], g)
        expected = naive_gradients(self.steps, root, g)
        for k in leaves:
            grad, was = self.tensors[k].grad, before[k]
            if k in expected:
                total = expected[k] if was is None else expected[k] + was
                np.testing.assert_allclose(grad, total, rtol=1e-9, atol=1e-9)
            else:
                assert grad is None if was is None else (grad == was).all()
        self.tensors = [self.tensors[k] for k in leaves]
        self.steps, self.paths = [((), None) for _ in leaves], [1] * len(leaves)

    def teardown(self):
        if getattr(self, "tensors", None):
            self.differentiate()

    @invariant()
    def values_stay_moderate(self):
        """Products of products grow, and numbers that explode can no longer be compared."""
        if getattr(self, "tensors", None) and abs(self.tensors[-1].data).max() > 1e3:
            self.tensors.pop()
            self.steps.pop()
            self.paths.pop()


TestRandomGraphs = RandomGraphs.TestCase
TestRandomGraphs.settings = settings(
    settings.get_profile("tests"), max_examples=60, stateful_step_count=30
)
