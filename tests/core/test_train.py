"""The training loop: the update, the draws, the three forms of J, shards, resuming, stopping."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from oracles import perturb
from scipy import stats

from tinyddpm import noise
from tinyddpm.diffusion import q_sample
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

SCHEDULE = linear(50)
IMAGE = (1, 4, 6)


def small_net(dtype=np.float64, dropout=0.0, base=2):
    size = {"image": IMAGE, "base": base, "levels": (1, 2), "blocks": 1}
    config = UNetConfig(**size, attention=(2,), groups=base // 2, dropout=dropout)
    return perturb(UNet(config).initialise(3, dtype), np.random.default_rng(5))


def some_images(n=10, dtype=np.float64):
    return np.random.default_rng(1).uniform(-1, 1, (n, *IMAGE)).astype(dtype)


def steps_of(count, unet, images, beta=0.1, schedule=SCHEDULE, **options):
    """The first steps of `train`, in a list."""
    options = {"seed": 0, "batch_size": 4, **options}
    return list(itertools.islice(train(unet, images, schedule, beta, **options), count))


def after(count, unet, images, beta=0.1, **options):
    """θ after some steps of `train`."""
    steps_of(count, unet, images, beta, **options)
    return unet.theta.copy()


class Scalar:
    """The least that `train` can train: one number θ, for tests that look at the loop alone."""

    def __init__(self):
        self.theta, self.grad = np.zeros(1), np.zeros(1)


def recorder(calls, J=1.0):
    """A `gradient` that notes its arguments, says that ∇J is 1, and returns J."""

    def gradient(unet, schedule, x0, t, eps, form, dropout, cond):
        calls.append((x0, t, eps))
        unet.grad += 1
        return np.float64(J), np.zeros(len(t))

    return gradient


def draws(steps, images, schedule=SCHEDULE, **options):
    """x0, t and eps of each step."""
    calls = []
    options = {"batch_size": 64, "gradient": recorder(calls), **options}
    steps_of(steps, Scalar(), images, schedule=schedule, **options)
    return [np.stack(column) for column in zip(*calls)]


# ---- the update ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", [0, 6])
def test_a_step_is_literally_theta_minus_beta_times_the_gradient(dtype, start):
    images, sample, k = some_images(dtype=dtype), np.arange(4), start + 1
    x0 = images[noise.integers(0, "data", k, sample, len(images))]
    t = 1 + noise.integers(0, "t", k, sample, SCHEDULE.T)
    eps = noise.normal(0, "eps", k, sample, IMAGE, dtype)
    other = small_net(dtype)
    theta0 = other.theta.copy()
    J, errors = gradient(other, SCHEDULE, x0, t, eps)
    unet = small_net(dtype)
    step = next(train(unet, images, SCHEDULE, 0.3, seed=0, batch_size=4, start=start))

    np.testing.assert_array_equal(unet.theta, theta0 - 0.3 * other.grad)
    assert unet.theta.dtype == dtype and abs(other.grad).max() > 0
    assert step.k == k and step.J == float(J) and isinstance(step.J, float)
    np.testing.assert_array_equal(step.errors, errors)
    np.testing.assert_array_equal(step.t, t)
    x0_hat = other.denoise(q_sample(SCHEDULE, x0, t, eps), t)
    assert step.J == pytest.approx(np.mean((x0_hat - x0) ** 2), rel=1e-5)


def test_beta_may_be_a_function_of_k():
    unet = Scalar()
    steps = train(
        unet, some_images(), SCHEDULE, lambda k: 10.0**k, seed=0, start=2, gradient=recorder([])
    )
    for k, theta in ((3, -1e3), (4, -1e3 - 1e4)):
        assert next(steps).k == k and unet.theta[0] == theta


def test_the_three_forms_of_J_reach_the_same_theta():
    M, D = 4, np.prod(IMAGE)
    betas = {"mse": 0.5, "batch_mean": 0.5 / D, "sum": 0.5 / (M * D)}
    theta = {f: after(6, small_net(), some_images(), beta, form=f) for f, beta in betas.items()}
    assert abs(theta["mse"] - small_net().theta).max() > 1e-2
    np.testing.assert_allclose(theta["batch_mean"], theta["mse"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(theta["sum"], theta["mse"], rtol=1e-12, atol=1e-12)


def test_one_image_alone_trains():
    unet, image, t = small_net(base=4), some_images(1), np.arange(1, 51)
    x0, eps = np.repeat(image, 50, 0), np.random.default_rng(2).standard_normal((50, *IMAGE))

    def J():
        return np.mean((unet.denoise(q_sample(SCHEDULE, x0, t, eps), t) - x0) ** 2)

    before = J()
    after(120, unet, image, 1.0, batch_size=1)
    assert J() < 0.3 * before


# ---- the gradient --------------------------------------------------------------------------------


@settings(max_examples=8)
@given(
    st.sampled_from(["sum", "batch_mean", "mse"]),
    st.permutations(range(5)),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.4]),
)
def test_the_gradients_of_shards_add_up_to_that_of_the_batch(form, order, cut, dropout):
    rng, unet = np.random.default_rng(0), small_net(dropout=dropout)
    x0, eps = rng.standard_normal((2, 5, *IMAGE))
    t = rng.integers(1, 51, 5)

    def run(part, **size):
        part = np.array(part)
        stream = noise.Stream(0, "dropout", 9, part)
        return gradient(unet, SCHEDULE, x0[part], t[part], eps[part], form, dropout=stream, **size)

    J, errors = run(range(5))
    whole = unet.grad.copy()
    unet.grad[...] = 0
    (J1, errors1), (J2, errors2) = run(order[:cut], batch_size=5), run(order[cut:], batch_size=5)
    np.testing.assert_allclose(unet.grad, whole, rtol=1e-11, atol=1e-12 * abs(whole).max())
    assert J1 + J2 == pytest.approx(J, rel=1e-12)
    np.testing.assert_allclose(np.concatenate([errors1, errors2]), errors[list(order)], rtol=1e-11)


def test_gradient_adds_to_what_is_there():
    unet = small_net()
    x0 = some_images(2)
    arguments = unet, SCHEDULE, x0, np.array([1, 50]), x0[::-1].copy()
    gradient(*arguments)
    once = unet.grad.copy()
    gradient(*arguments)
    np.testing.assert_allclose(unet.grad, 2 * once, rtol=1e-12)


# ---- the draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_t_covers_exactly_1_to_T_uniformly(seed):
    """T is drawn, and 0 never is.

    `randint(1, T)`, which leaves out T, would show here. So would never training at t = 1.
    """
    _, t, _ = draws(400, some_images(), linear(32), seed=seed)
    values, counts = np.unique(t, return_counts=True)
    assert values.tolist() == list(range(1, 33))
    assert stats.chisquare(counts).pvalue > 1e-6


def test_t_of_a_schedule_of_one_step_is_1():
    _, t, _ = draws(3, some_images(), linear(1))
    assert set(t.ravel()) == {1}


def test_every_image_is_drawn_and_equally_often():
    images = np.arange(10.0).reshape(10, 1, 1, 1)
    x0, _, _ = draws(200, images)
    values, counts = np.unique(x0, return_counts=True)
    assert values.tolist() == list(range(10))
    assert stats.chisquare(counts).pvalue > 1e-6


def test_eps_is_standard_normal_and_the_draws_are_independent():
    images = np.linspace(-1, 1, 10).reshape(10, 1, 1, 1)
    x0, t, eps = (a.ravel() for a in draws(200, images))
    assert stats.kstest(eps, "norm").pvalue > 1e-6
    for a, b in itertools.combinations((x0, t, eps), 2):
        assert stats.pearsonr(a, b).pvalue > 1e-6
    assert stats.pearsonr(eps[:-64], eps[64:]).pvalue > 1e-6  # the same sample in the next step


def test_the_draws_depend_on_the_seed():
    for a, b in zip(draws(1, some_images()), draws(1, some_images(), seed=1), strict=True):
        assert not np.array_equal(a, b)


# ---- going on and stopping -----------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("cut", [1, 3])
def test_resuming_is_bit_identical_to_an_unbroken_run(cut, dropout):
    images = some_images(dtype=np.float32)

    def net():
        return small_net(np.float32, dropout)

    unbroken, first = net(), net()
    whole = steps_of(5, unbroken, images, 0.2, seed=4)
    head = steps_of(cut, first, images, 0.2, seed=4)
    # It does not matter what was in the gradient.
    second = net().bind(first.theta.copy(), np.full_like(first.theta, 99))
    tail = steps_of(5 - cut, second, images, 0.2, seed=4, start=cut)
    assert [step.k for step in tail] == list(range(cut + 1, 6))
    assert [step.J for step in head + tail] == [step.J for step in whole]
    assert second.theta.tobytes() == unbroken.theta.tobytes()


@pytest.mark.parametrize("J", [float("nan"), float("inf")])
def test_a_J_that_is_not_finite_stops_the_run_before_the_update(J):
    unet, calls = Scalar(), []
    with pytest.raises(FloatingPointError, match=rf"J is {J} at step 8: β = 0.25"):
        steps_of(1, unet, some_images(), 0.25, start=7, gradient=recorder(calls, J))
    assert len(calls) == 1 and unet.grad[0] == 1 and unet.theta[0] == 0


def test_an_image_that_is_not_a_number_stops_the_run_before_the_update():
    unet = small_net()
    before = unet.theta.tobytes()
    with pytest.raises(FloatingPointError, match="J is nan at step 1"):
        after(1, unet, np.full((1, *IMAGE), np.nan))
    assert unet.theta.tobytes() == before
