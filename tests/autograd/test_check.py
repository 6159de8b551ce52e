"""check.py finds wrong pullbacks, says where, and lets right ones pass."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from autograd import Tensor, check, leaf, ops, primitive
from autograd.check import (
    GradientError,
    check_gradient,
    check_pullback,
    hessian_vector,
    numerical_gradient,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))


def product(pullback):
    @primitive
    def times(x, y):
        return x * y, lambda g: pullback(g, x, y)

    return times


def one_wrong_element(g, x, y):
    gx = g * y
    gx[1, 2] *= 1.001
    return gx, g * x


PLANTED = {
    "wrong sign": (lambda g, x, y: (g * y, -g * x), 1, None),
    "missing factor": (lambda g, x, y: (g * y / 2, g * x), 0, None),
    "one element a thousandth off": (one_wrong_element, 0, (1, 2)),
    "swapped": (lambda g, x, y: (g * x, g * y), 0, None),
    "zero": (lambda g, x, y: (0 * g, g * x), 0, None),
    "transposed values": (lambda g, x, y: (g * y, (g * x)[::-1]), 1, None),
    "not a number": (lambda g, x, y: (g * y, g * np.nan), 1, None),
}


FOUND = r"times: gradient of argument (\d) at index (\(\d, \d\)): backward gives (\S+), (.*) (\S+)"


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("analytic", [False, True])
def test_finds_planted_mistakes(planted, analytic):
    pullback, position, index = planted
    with pytest.raises(GradientError) as error:
        check_pullback(product(pullback), X, Y, analytic=analytic)
    found = re.fullmatch(FOUND, str(error.value))
    assert found and int(found[1]) == position and isinstance(error.value, AssertionError)
    assert found[4] == ("the complex step" if analytic else "central differences")
    place = tuple(map(int, re.findall(r"\d", found[2])))
    assert index is None or place == index
    g = np.random.default_rng(0).standard_normal(X.shape)  # as check_pullback draws it
    np.testing.assert_allclose(float(found[3]), pullback(g, X, Y)[position][place])
    np.testing.assert_allclose(float(found[5]), (g * (Y, X)[position])[place], rtol=1e-6)


def test_names_the_worst_element():
    def pullback(g, x, y):
        gx = g * y
        gx[0, 0] += 0.01
        gx[2, 3] += 1
        return gx, g * x

    with pytest.raises(GradientError, match=r"at index \(2, 3\)"):
        check_pullback(product(pullback), X, Y)


def test_finds_one_wrong_element_among_many():
    big = RNG.standard_normal((100, 300))

    def pullback(g, x, y):
        gx = g * y
        gx[71, 203] += 1
        return gx, g * x

    with pytest.raises(GradientError, match=r"argument 0 at index \(71, 203\)"):
        check_pullback(product(pullback), big, big + 3)
    with pytest.raises(GradientError, match=r"argument 0 at index \(71, 203\)"):
        check_gradient(lambda x, y: product(pullback)(x, y).sum(), big, big + 3, directions=2)


@pytest.mark.parametrize("analytic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_right_pullbacks_pass(analytic, seed):
    times = product(lambda g, x, y: (g * y, g * x))
    check_pullback(times, X, Y, seed=seed, analytic=analytic)
    check_pullback(times, X * 1e-8, Y * 1e8, seed=seed, analytic=analytic)
    check_pullback(ops.matmul, X, Y.T, seed=seed, analytic=analytic)
    check_pullback(ops.softmax, 5 * X, options={"axis": 0}, seed=seed, analytic=analytic)
    check_pullback(ops.mul, np.array(2.0), X, seed=seed, analytic=analytic)
    check_pullback(ops.add, X[:0], X[:1], seed=seed, analytic=analytic)
    check_pullback(ops.square, np.zeros(3), seed=seed, analytic=analytic)


def test_numbers_and_integers_are_passed_on_unchecked():
    check_pullback(ops.mul, X, 2.0)
    check_pullback(ops.mul, np.float64(2), X)
    check_pullback(ops.mul, X, np.arange(4))


def test_the_complex_step_sees_what_differences_cannot():
    """An error of 1e-9 hides below the tolerance of differences, but the complex step shows it."""
    slightly_wrong = product(lambda g, x, y: (g * y * (1 + 1e-9), g * x))
    check_pullback(slightly_wrong, X, Y)
    with pytest.raises(GradientError, match="the complex step"):
        check_pullback(slightly_wrong, X, Y, analytic=True)


def test_writing_into_g_inputs_or_output_is_found():
    def into_g(g, x, y):
        g *= 1.0000001
        return g * y, g * x

    def into_y(g, x, y):
        out = g * y, g * x
        y[0, 0] += 1e-12
        return out

    with pytest.raises(GradientError, match="times: backward wrote into its upstream gradient g"):
        check_pullback(product(into_g), X, Y)
    with pytest.raises(GradientError, match="times: backward wrote into its argument 1"):
        check_pullback(product(into_y), X.copy(), Y.copy())

    @primitive
    def doubled(x):
        out = 2 * x

        def pullback(g):
            out[...] = 0
            return (2 * g,)

        return out, pullback

    with pytest.raises(GradientError, match="doubled: backward wrote into its output"):
        check_pullback(doubled, X)


def test_shape_and_dtype_of_the_gradient():
    with pytest.raises(TypeError, match="times: expected a gradient of dtype float64, got float32"):
        check_pullback(product(lambda g, x, y: (np.float32(g * y), g * x)), X, Y)
    with pytest.raises(ValueError, match="times: expected a gradient of shape"):
        check_pullback(product(lambda g, x, y: ((g * y)[:, :2], g * x)), X, Y)

    def ignores_its_second(x, y):
        return x * 2

    expected = r"gradient of argument 1: expected float64 of shape \(3, 4\), got none"
    with pytest.raises(GradientError, match=f"ignores_its_second: {expected}"):
        check_pullback(ignores_its_second, X, Y)


def test_float32_is_refused():
    with pytest.raises(TypeError, match="square: argument 0: expected float64, got float32"):
        check_pullback(ops.square, X.astype(np.float32))
    with pytest.raises(TypeError, match="argument 1: expected float64, got float32"):
        check_gradient(lambda x, y: (x * y).sum(), X, Y.astype(np.float32))
    with pytest.raises(TypeError, match="argument 1: expected a float64 array, got int"):
        check_gradient(lambda x, y: (x * y).sum(), X, 3)


def network(x, w, b):
    return (ops.silu(x @ w + b) ** 2).mean()


def test_check_gradient_of_a_whole_function():
    w, b = RNG.standard_normal((4, 2)), RNG.standard_normal(2)
    check_gradient(network, X, w, b)
    check_gradient(network, X, w, b, largest=3)
    check_gradient(lambda x: (x * 0.0).sum(), X)
    check_gradient(lambda x, unused: x.sum(), X, Y)
    check_gradient(lambda x: x.sum().reshape(1), X)


def test_check_gradient_finds_a_mistake():
    wrong = product(lambda g, x, y: (g * y, -g * x))

    def loss(x, w):
        return wrong(ops.square(x), w).sum()

    where, differences = r"argument 1 at index \(\d, \d\)", r"extrapolated central differences \S+"
    message = rf"^loss: gradient of {where}: backward gives \S+, {differences}$"
    with pytest.raises(GradientError, match=message):
        check_gradient(loss, X, Y)


def test_a_mistake_too_small_to_matter_beside_a_large_value_is_still_found():
    """The value is 1e6 times the gradient, so that rounding is what limits the differences."""
    wrong = product(lambda g, x, y: (g * y * 1.01, g * x))
    with pytest.raises(GradientError):
        check_gradient(lambda x: (wrong(x, Y) + 1e5).sum(), X)
    check_gradient(lambda x: (x * Y + 1e5).sum(), X)


def test_numerical_gradient():
    before = X.copy()
    np.testing.assert_allclose(numerical_gradient(lambda x: (x**3).sum(), X), 3 * X**2, atol=1e-10)
    of_a_tensor = numerical_gradient(lambda x: ops.square(Tensor(x)).sum(), X)
    np.testing.assert_allclose(of_a_tensor, 2 * X, atol=1e-10)
    assert numerical_gradient(lambda x: x * x, np.array(3.0)).shape == ()
    assert X.tobytes() == before.tobytes()


def test_the_steps_are_near_the_best():
    """The errors that the module's docstring promises, for a function of size about 1."""
    x, v = np.array(0.7), np.array(1.0)
    bounds = {check.CENTRAL: 1e-9, check.EXTRAPOLATED: 1e-11, check.COMPLEX_STEP: 2e-16}
    for method, bound in bounds.items():
        assert abs(method.slope(np.sin, x, v) - np.cos(0.7)) <= bound


def test_same_seed_same_check():
    seen = []

    @primitive
    def recorded(x):
        seen.append(x.copy())
        return x * 2, lambda g: (2 * g,)

    for _ in range(2):
        check_pullback(recorded, X, seed=3)
    half = len(seen) // 2
    assert all((a == b).all() for a, b in zip(seen[:half], seen[half:]))


def test_a_leaf_is_not_changed_by_being_checked():
    x = leaf(X.copy())
    check_pullback(ops.square, x.data)
    assert x.grad is None


@given(seed=st.integers(0, 1000))
def test_the_hessian_is_symmetric(seed):
    """u·(H v) = v·(H u), and H of x'Ax/2 is A itself when A is symmetric."""
    rng = np.random.default_rng(seed)
    theta, u, v = rng.standard_normal((3, 5))
    w = rng.standard_normal((5, 5))

    def slope(at):
        x = leaf(at)
        (ops.silu(x.reshape(1, 5) @ w) ** 2).sum().backward()
        return x.grad

    uHv, vHu = u @ hessian_vector(slope, theta, v), v @ hessian_vector(slope, theta, u)
    assert abs(uHv - vHu) < 1e-3 * (1 + abs(uHv))
    A = w + w.T
    np.testing.assert_allclose(hessian_vector(lambda x: A @ x, theta, v), A @ v, atol=1e-9)
