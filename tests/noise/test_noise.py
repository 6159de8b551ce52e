"""noise: numbers depend on their address alone; shapes, ranges, and bad arguments."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinyddpm import noise
from tinyddpm.noise import addressed

# Each function with a shape of 5 numbers a sample: f(seed, purpose, step, index).
DRAWS = {
    "bits": lambda *address: noise.bits(*address, 5),
    "uniform": lambda *address: noise.uniform(*address, (5,)),
    "uniform64": lambda *address: noise.uniform(*address, (5,), np.float64),
    "integers": lambda *address: noise.integers(*address, 2**31 + 11, (5,)),
    "normal": lambda *address: noise.normal(*address, (5,)),
    "normal64": lambda *address: noise.normal(*address, (5,), np.float64),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
few = settings(max_examples=15, deadline=None, derandomize=True, database=None)

seeds = st.integers(-(2**100), 2**100)
steps = st.integers(0, 2**64 - 1)
indices = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20, unique=True)


# ---- a number depends on its address, and on nothing else ----------------------------------------


@every_draw
@few
@given(seed=seeds, step=steps, index=indices, data=st.data())
def test_splits_and_permutations_of_the_index_give_the_same_rows(draw, seed, step, index, data):
    whole = draw(seed, "split", step, index)
    cut = data.draw(st.integers(1, len(index)))
    parts = [draw(seed, "split", step, part) for part in (index[:cut], index[cut:]) if part]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = data.draw(st.permutations(range(len(index))))
    np.testing.assert_array_equal(draw(seed, "split", step, np.array(index)[order]), whole[order])


def test_large_batches_give_the_same_normals_as_single_samples():
    """Vector and remainder loops of an array operation could differ; they must not."""
    batch = noise.normal(1, "eps", 2, np.arange(64), (3, 16, 15), np.float64)
    for i in range(64):
        alone = noise.normal(1, "eps", 2, [i], (3, 16, 15), np.float64)
        np.testing.assert_array_equal(alone[0], batch[i])


@every_draw
@few
@given(seed=seeds, step=st.integers(0, 2**64 - 2), index=st.integers(0, 2**32 - 2))
def test_another_address_gives_other_numbers(draw, seed, step, index):
    here = draw(seed, "a", step, [index])
    others = [
        draw(seed + 1, "a", step, [index]),
        draw(-seed if seed else 7, "a", step, [index]),
        draw(seed, "b", step, [index]),
        draw(seed, "a", step + 1, [index]),
        draw(seed, "a", step ^ (1 << 40), [index]),
        draw(seed, "a", step, [index + 1]),
    ]
    for other in others:
        assert (here != other).sum() >= 4  # of 5: bits may meet by chance, with odds of 2**-24


@every_draw
def test_calls_repeat_and_leave_their_index_alone(draw):
    index = np.arange(4)
    np.testing.assert_array_equal(draw(0, "a", 0, index), draw(0, "a", 0, index))
    np.testing.assert_array_equal(index, np.arange(4))


@pytest.mark.parametrize("f", [noise.uniform, noise.normal])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_longer_shape_begins_like_a_shorter_one(f, dtype):
    longest = f(0, "a", 0, [1, 2], (9,), dtype)
    for n in range(9):
        np.testing.assert_array_equal(f(0, "a", 0, [1, 2], (n,), dtype), longest[:, :n])


def test_shape_only_reshapes():
    flat = noise.normal(0, "a", 0, [1, 2], (30,))
    shaped = noise.normal(0, "a", 0, [1, 2], (2, 3, 5))
    np.testing.assert_array_equal(shaped, flat.reshape(2, 2, 3, 5))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.uint64, list, tuple])
def test_any_kind_of_integer_index_means_the_same(kind):
    index = kind([0, 3, 255]) if kind in (list, tuple) else np.array([0, 3, 255], kind)
    expected = noise.bits(0, "a", 0, [0, 3, 255], 3)
    np.testing.assert_array_equal(noise.bits(0, "a", 0, index, 3), expected)


@every_draw
def test_huge_steps_and_seeds_work(draw):
    addresses = [(0, 0), (0, 2**40), (0, 2**64 - 1), (2**100, 0), (-(2**100), 0), (-1, 0)]
    rows = [tuple(draw(seed, "huge", step, [2**32 - 1])[0].tolist()) for seed, step in addresses]
    assert len(set(rows)) == len(addresses)
    np.testing.assert_array_equal(draw(np.int64(5), "a", np.int64(6), [0]), draw(5, "a", 6, [0]))


# ---- shapes, dtypes, ranges ----------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (2, 0, 3)])
def test_shapes_and_dtypes(count, shape):
    index, expected = np.arange(count), (count, *shape)
    for f in (noise.uniform, noise.normal):
        for dtype in (np.float32, np.float64, "float32", np.dtype("float64")):
            out = f(0, "a", 0, index, shape, dtype)
            assert out.shape == expected and out.dtype == dtype
        assert f(0, "a", 0, index, shape).dtype == np.float32
    out = noise.integers(0, "a", 0, index, 10, shape)
    assert out.shape == expected and out.dtype == np.int64
    assert noise.bits(0, "a", 0, index, 6).shape == (count, 6)


def with_words(monkeypatch, *row):
    """Make bits return these words, to reach the ends of the ranges."""

    def bits(seed, purpose, step, index, words):
        return np.uint32([row])[:, :words]

    monkeypatch.setattr(addressed, "bits", bits)


TOP = 2**32 - 1


def test_uniform_stays_in_its_range(monkeypatch):
    with_words(monkeypatch, TOP, TOP)
    assert noise.uniform(0, "a", 0, [0])[0] == np.float32(1 - 2**-24) < 1
    assert noise.uniform(0, "a", 0, [0], dtype=np.float64)[0] == 1 - 2**-53 < 1
    with_words(monkeypatch, 0, 0)
    assert noise.uniform(0, "a", 0, [0])[0] == 0
    assert noise.uniform(0, "a", 0, [0], dtype=np.float64)[0] == 0


@given(
    high=st.integers(0, TOP) | st.sampled_from([0, TOP]),
    low=st.integers(0, TOP) | st.sampled_from([0, TOP]),
    n=st.integers(1, 2**32) | st.sampled_from([1, 2, 2**32 - 1, 2**32]),
)
@few
def test_integers_are_the_exact_product(high, low, n):
    with pytest.MonkeyPatch.context() as monkeypatch:
        with_words(monkeypatch, high, low)
        assert noise.integers(0, "a", 0, [0], n)[0] == ((high << 32) + low) * n >> 64


@pytest.mark.parametrize("n", [1, 1000, 2**31 + 11, 3 * 2**30 + 1, 2**32 - 5, 2**32])
def test_integers_use_both_words(n):
    """For large n the low word's carry shows in every other number."""
    pairs = noise.bits(0, "a", 0, range(5), 40).reshape(5, 20, 2).tolist()
    exact = [[(high << 32 | low) * n >> 64 for high, low in row] for row in pairs]
    assert noise.integers(0, "a", 0, range(5), n, (20,)).tolist() == exact


def test_normal_is_box_muller_and_finite_at_the_ends(monkeypatch):
    with_words(monkeypatch, 0, 0)  # the shortest u, angle about 0: the largest number there is
    z = noise.normal(0, "a", 0, [0], (2,), np.float64)[0]
    np.testing.assert_allclose(z[0], np.sqrt(66 * np.log(2)), rtol=1e-12)
    with_words(monkeypatch, TOP, TOP)
    assert np.abs(noise.normal(0, "a", 0, [0], (2,))).max() < 1e-4
    with_words(monkeypatch, 2**31, 2**30)  # u = 1/2, a quarter turn
    z = noise.normal(0, "a", 0, [0], (2,), np.float64)[0]
    np.testing.assert_allclose(z, [0, np.sqrt(2 * np.log(2))], atol=1e-8)


# ---- bad arguments -------------------------------------------------------------------------------

BAD = [
    (TypeError, "seed: .* 0.5", {"seed": 0.5}),
    (TypeError, "purpose: .* 3", {"purpose": 3}),
    (ValueError, "step: .* -1", {"step": -1}),
    (ValueError, "step: .* 18446744073709551616", {"step": 2**64}),
    (TypeError, "step: .* 1.0", {"step": 1.0}),
    (TypeError, "index: .*float64", {"index": [0.0, 1.0]}),
    (TypeError, "index: .*bool", {"index": [True]}),
    (TypeError, r"index: .*\(1, 2\)", {"index": [[0, 1]]}),
    (TypeError, r"index: .*\(\)", {"index": 3}),
    (ValueError, "index: .* -1 to 4", {"index": [4, -1]}),
    (ValueError, "index: .* 0 to 4294967296", {"index": [0, 2**32]}),
]
GOOD = {"seed": 0, "purpose": "a", "step": 0, "index": [0]}


@every_draw
@pytest.mark.parametrize("error, message, change", BAD)
def test_a_bad_address_is_named(draw, error, message, change):
    with pytest.raises(error, match=f"^{message}"):
        draw(*(GOOD | change).values())


@pytest.mark.parametrize(
    "error, message, f, arguments",
    [
        (ValueError, "n: .* 0", noise.integers, (0,)),
        (ValueError, "n: .* 4294967297", noise.integers, (2**32 + 1,)),
        (TypeError, "n: .* 2.0", noise.integers, (2.0,)),
        (ValueError, "words: .* -1", noise.bits, (-1,)),
        (TypeError, "shape: .* 3", noise.normal, (3,)),
        (ValueError, "shape: .* -3", noise.uniform, ((-3,),)),
        (TypeError, "shape: .* 1.5", noise.normal, ((1.5,),)),
        (ValueError, "dtype: .*float16", noise.normal, ((), np.float16)),
        (ValueError, "dtype: .*int64", noise.uniform, ((), np.int64)),
        (ValueError, "dtype: .*None", noise.uniform, ((), None)),
    ],
)
def test_a_bad_argument_is_named(error, message, f, arguments):
    with pytest.raises(error, match=f"^{message}") as caught:
        f(*GOOD.values(), *arguments)
    assert "\n" not in str(caught.value)
