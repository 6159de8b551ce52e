"""Shards: the same bits with any number of workers, and the gradient of the definition."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from small_nets import IMAGE, SCHEDULE, dropout_of, small_net, some_batch
from threadpoolctl import threadpool_limits

from tinyddpm import fast, noise
from tinyddpm.equivalents import FASTER
from tinyddpm.fast.parallel import Shards, WorkerError, part, tree as tree_module
from tinyddpm.fast.parallel.part import even_parts, micro_batches
from tinyddpm.fast.parallel.tree import tree_sum
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")


@pytest.fixture(params=["definitions", "faster equivalents"])
def ops(request):
    """The test runs with the definitions of the layers, then with their faster equivalents."""
    if request.param == "faster equivalents":
        fast.enable()
    yield
    fast.disable()


def everything(workers):
    """All that Shards with so many workers compute in a short training, as bytes."""
    images = np.random.default_rng(1).uniform(-1, 1, (10, *IMAGE)).astype(np.float32)
    xt, t, _ = some_batch(41)
    unet, results = small_net(), []
    with Shards(unet, SCHEDULE, workers, shards=4, ema=small_net(seed=6)) as shards:
        assert len(shards.workers) == workers - 1
        # not a multiple of 4; fewer than 4; one; more than before, so that shared memory grows
        for M in (6, 3, 1, 33):
            options = {"seed": 0, "batch_size": M, "gradient": shards.gradient}
            steps = train(unet, images, SCHEDULE, 0.1, **options)
            for step in itertools.islice(steps, 3):
                arrays = step.errors, unet.theta, unet.grad
                results.append((step.J, *(a.tobytes() for a in arrays)))
            results.append(shards.denoise(xt, t).tobytes())
    return results


def test_any_number_of_workers_gives_the_same_bits(ops):
    one = everything(1)
    assert len(set(one)) == 13  # every step differs from the one before, and the EMA does not move
    assert everything(2) == one
    assert everything(4) == one


@settings(max_examples=12)
@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    n=st.integers(1, 9),
    S=st.integers(1, 6),
    form=st.sampled_from(["sum", "batch_mean", "mse"]),
    drop=st.booleans(),
    batch_size=st.sampled_from([None, 20]),
)
def test_the_gradient_is_that_of_the_definition(dtype, n, S, form, drop, batch_size):
    batch = some_batch(n, dtype)
    unet = small_net(dtype)
    # It adds to what is there.
    start = np.random.default_rng(0).standard_normal(unet.grad.size).astype(dtype)
    unet.grad[...] = start
    dropout = dropout_of(n) if drop else None
    J, errors = gradient(unet, SCHEDULE, *batch, form, batch_size, dropout)
    whole = unet.grad.copy()
    with Shards(unet, SCHEDULE, 1, S) as shards:
        shards.gradient(unet, SCHEDULE, *some_batch(6, dtype))  # nothing of it may be left
        unet.grad[...] = start
        dropout = dropout_of(n) if drop else None
        J2, errors2 = shards.gradient(unet, SCHEDULE, *batch, form, batch_size, dropout)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(unet.grad, whole, rtol=tolerance, atol=tolerance * abs(whole).max())
    np.testing.assert_allclose(errors2, errors, rtol=tolerance)
    np.testing.assert_allclose(J2, J, rtol=tolerance)
    assert unet.grad.dtype == errors2.dtype == J2.dtype == dtype and J2.shape == ()


def test_results_are_fresh_arrays():
    unet = small_net()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        J, errors = shards.gradient(unet, SCHEDULE, *some_batch(5))
        before = float(J), errors.copy()
        shards.gradient(unet, SCHEDULE, *some_batch(6))
    assert J == before[0] and np.array_equal(errors, before[1])


@pytest.mark.parametrize("c", [Multipliers(), ONES])
def test_the_partial_gradients_are_those_of_train_added_as_a_tree(c):
    x0, t, eps = some_batch(7)
    unet, parts = small_net(c=c), []
    for s in (slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7)):
        unet.grad[...] = 0
        dropout = noise.Stream(0, "dropout", 9, np.arange(7)[s])
        gradient(unet, SCHEDULE, x0[s], t[s], eps[s], "mse", 7, dropout)
        parts.append(unet.grad.copy())
    unet.grad[...] = 0
    with threadpool_limits(1), Shards(unet, SCHEDULE, 2) as shards:
        shards.gradient(unet, SCHEDULE, x0, t, eps, dropout=dropout_of(7))
    np.testing.assert_array_equal(unet.grad, (parts[0] + parts[1]) + (parts[2] + parts[3]))


def test_without_multipliers_the_weights_are_theta_itself():
    """There is no copy of θ in memory, and none to make in each step."""
    unet, ema = small_net(c=ONES), small_net(seed=6, c=ONES)
    x0, t, _ = some_batch(3)
    expected = ema.denoise(x0, t)
    with Shards(unet, SCHEDULE, 2, ema=ema) as shards:
        assert not shards.part.effective.size
        assert np.shares_memory(shards.part.nets[0].theta, unet.theta)
        np.testing.assert_allclose(shards.denoise(x0, t), expected, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 9), st.integers(0, 12), st.integers(1, 5))
def test_tree_sum_adds_neighbours_first(S, n, block):
    def tree(rows):
        if len(rows) == 1:
            return rows[0]
        half = 1 << (len(rows) - 1).bit_length() - 1  # the largest power of two below
        return tree(rows[:half]) + tree(rows[half:])

    rng = np.random.default_rng(S)
    partials = rng.standard_normal((S, n)).astype(np.float32)
    expected = tree(partials)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_module, "BLOCK", block)
        tree_sum(partials)
    np.testing.assert_array_equal(partials[0], expected)


@given(st.integers(0, 40), st.integers(1, 9))
def test_parts_are_contiguous_and_even(n, parts):
    slices = even_parts(n, parts)
    assert [i for s in slices for i in range(n)[s]] == list(range(n))
    sizes = [s.stop - s.start for s in slices]
    assert len(sizes) == parts and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("with_ema", [False, True])
def test_denoise_is_that_of_the_network(with_ema):
    unet, ema = small_net(), small_net(seed=6)
    expected_of = (ema if with_ema else unet).denoise
    unet.bind(unet.theta)  # as for sampling: no gradient
    with Shards(unet, SCHEDULE, 2, ema=ema if with_ema else None) as shards:
        results = []
        for n in (1, 5, 41):
            xt, t, _ = some_batch(n)
            results.append((shards.denoise(xt, t), expected_of(xt, t)))
        ema.theta *= 2  # a write to θ shows at once, in every process
        results.append((shards.denoise(xt, t), expected_of(xt, t)))
        for found, expected in results:  # only now: each was a fresh array
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        *_, (_, image, _) = ddim(shards.denoise, SCHEDULE, some_batch(5)[0], steps=4)
    *_, (_, expected, _) = ddim(expected_of, SCHEDULE, some_batch(5)[0], steps=4)
    np.testing.assert_allclose(image, expected, atol=1e-4)


def test_workers_compute_with_the_parents_equivalents(monkeypatch):
    monkeypatch.setitem(FASTER, "one that no worker knows", (None, None))
    message = "worker 1 (.|\n)*(enable|one that no worker knows)"
    with pytest.raises(WorkerError, match=message), Shards(small_net(), SCHEDULE, 2):
        pass


def test_micro_batches_are_few_and_small():
    assert micro_batches(slice(5, 12), 100) == [slice(5, 12)]
    assert micro_batches(slice(5, 12), 3) == [slice(5, 7), slice(7, 9), slice(9, 12)]


def test_micro_batches_change_only_last_digits_and_bound_what_is_computed_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(10, 1, 8, 8)), rng.normal(size=(10, 1, 8, 8))
    t = rng.integers(1, 21, 10)
    unet = UNet(UNetConfig(base=4, groups=2, blocks=1)).initialise(0, np.float64)
    unet.theta += rng.normal(0, 0.05, unet.theta.shape)
    schedule = linear(20)
    found, sizes = [], []

    def counted(net, schedule, x0, *rest):
        sizes.append(len(x0))
        return gradient(net, schedule, x0, *rest)

    for largest in (1 << 20, 3 * 8 * 8 * 4):
        monkeypatch.setattr(part, "LARGEST_MAP", largest)
        unet.grad[...] = 0
        with Shards(unet, schedule, workers=1, shards=2, gradient=counted) as shards:
            J, errors = shards.gradient(unet, schedule, x0, t, eps)
            found.append((J, errors, unet.grad.copy()))
    assert sizes == [5, 5, 2, 3, 2, 3]
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15)


def test_a_gradient_that_no_worker_can_import_is_refused():
    def local(net, schedule, x0, *rest):
        return gradient(net, schedule, x0, *rest)

    message = "local: expected a class or function that a worker can import"
    shards = Shards(small_net(), SCHEDULE, 2, gradient=local)
    with pytest.raises(ValueError, match=message), shards:
        pass
