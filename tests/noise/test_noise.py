"""noise: the published vectors of Philox, good statistics, and numbers that depend on their address alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tinyddpm import noise
from tinyddpm.noise import addressed
from tinyddpm.noise.philox import philox

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


# ---- Philox itself -------------------------------------------------------------------------------

# philox4x32, 10 rounds, from kat_vectors of the Random123 library: counter, key, output.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, expected", KNOWN_ANSWERS)
def test_philox_gives_the_published_vectors(counter, key, expected):
    out = philox([np.uint32([[c]]) for c in words(counter)], np.uint32(words(key)))
    assert [c.dtype for c in out] == [np.uint32] * 4 and [c.shape for c in out] == [(1, 1)] * 4
    assert [c.item() for c in out] == words(expected)


def test_philox_treats_every_element_of_an_array_alone():
    counters = np.uint32([words(counter) for counter, _, _ in KNOWN_ANSWERS])  # (3, 4)
    together = np.stack(philox(counters.T, (1, 2)), axis=-1)
    for counter, row in zip(counters, together, strict=True):
        assert [int(c) for c in philox(counter, (1, 2))] == row.tolist()


def test_bits_lay_out_the_blocks_of_each_sample_in_order():
    step = 5 + (7 << 32)
    key = addressed._key(3, "layout")
    got = noise.bits(3, "layout", step, [9, 2], 10)
    for row, sample in zip(got, (9, 2), strict=True):
        blocks = [philox((block, sample, 5, 7), key) for block in range(3)]
        assert row.tolist() == [int(word) for block in blocks for word in block][:10]


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
    # Vector and remainder loops of log and cos could differ; they must not.
    batch = noise.normal(1, "eps", 2, np.arange(64), (3, 16, 15), np.float64)
    for i in range(64):
        np.testing.assert_array_equal(noise.normal(1, "eps", 2, [i], (3, 16, 15), np.float64)[0], batch[i])


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
    np.testing.assert_array_equal(noise.normal(0, "a", 0, [1, 2], (2, 3, 5)), flat.reshape(2, 2, 3, 5))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.uint64, list, tuple])
def test_any_kind_of_integer_index_means_the_same(kind):
    index = kind([0, 3, 255]) if kind in (list, tuple) else np.array([0, 3, 255], kind)
    np.testing.assert_array_equal(noise.bits(0, "a", 0, index, 3), noise.bits(0, "a", 0, [0, 3, 255], 3))


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
    monkeypatch.setattr(addressed, "bits", lambda seed, purpose, step, index, words: np.uint32([row])[:, :words])


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
def test_integers_use_both_words(n):  # for large n the low word's carry shows in every other number
    w = noise.bits(0, "a", 0, range(5), 40)
    exact = [[(high << 32 | low) * n >> 64 for high, low in row.reshape(-1, 2).tolist()] for row in w]
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


# ---- statistics, at fixed addresses --------------------------------------------------------------


def test_integers_are_equally_likely():
    counts = np.bincount(noise.integers(1, "chi", 0, np.arange(2000), 1000, (100,)).ravel(), minlength=1000)
    assert len(counts) == 1000 and stats.chisquare(counts).pvalue > 1e-6
    # Over samples and steps too, one number each, as t is drawn.
    t = np.concatenate([noise.integers(1, "t", k, np.arange(5000), 1000) for k in range(20)])
    assert stats.chisquare(np.bincount(t, minlength=1000)).pvalue > 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(dtype):
    index = np.arange(1000)
    u = noise.uniform(1, "ks", 0, index, (50,), dtype).ravel()
    z = noise.normal(1, "ks", 0, index, (51,), dtype).ravel()
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-6
    assert stats.kstest(z, "norm").pvalue > 1e-6
    assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs((z.astype(np.float64) ** 4).mean() - 3) < 5 * np.sqrt(96 / z.size)


def test_each_bit_is_fair():
    w = noise.bits(1, "fair", 0, np.arange(1000), 40).ravel()
    ones = np.array([(w >> bit & 1).sum() for bit in range(32)])
    assert np.abs(ones - w.size / 2).max() < 6 * np.sqrt(w.size) / 2


def test_neighbours_are_uncorrelated():
    index = np.arange(2000)

    def z(seed=1, purpose="a", step=0, index=index):
        return noise.normal(seed, purpose, step, index, (20,))

    here = z()
    pairs = {
        "seed": (here, z(seed=2)),
        "purpose": (here, z(purpose="b")),
        "step": (here, z(step=1)),
        "high word of step": (here, z(step=2**32)),
        "index": (here, z(index=index + 1)),
        "step against index": (z(step=1, index=index), z(step=0, index=index + 1)),
        "cosine and sine": (here[:, 0::2], here[:, 1::2]),
        "pairs": (here[:, :-2], here[:, 2:]),
    }
    for name, (a, b) in pairs.items():
        for power in (1, 2):  # the squares: dependence that a correlation would miss
            r = np.corrcoef(a.ravel() ** power, b.ravel() ** power)[0, 1]
            assert abs(r) < 5 / np.sqrt(a.size), name


# ---- frozen: if one of these changes, every run ever recorded changes with it --------------------

ADDRESS = 2024, "eps", 11, [0, 7, 2**32 - 1]


def test_frozen_bits_integers_and_uniforms():
    assert noise.bits(*ADDRESS, 5).tolist() == [
        [246474696, 3875453742, 4175451070, 1758036741, 2343925804],
        [292980157, 3570854850, 2076698388, 3759573002, 3519798477],
        [2260433045, 1625447126, 3299900142, 951382520, 3843376319],
    ]
    assert noise.integers(*ADDRESS, 1000, (5,)).tolist() == [
        [57, 972, 545, 985, 807],
        [68, 483, 819, 620, 598],
        [526, 768, 894, 759, 530],
    ]
    assert noise.uniform(*ADDRESS, (3,)).tolist() == [
        [0.057386815547943115, 0.902324378490448, 0.9721729159355164],
        [0.06821471452713013, 0.8314043879508972, 0.4835190176963806],
        [0.5262980461120605, 0.3784538507461548, 0.7683178186416626],
    ]
    assert noise.uniform(*ADDRESS, (3,), np.float64).tolist() == [
        [0.0573868669742672, 0.9721729562381269, 0.5457377563545263],
        [0.06821475797447885, 0.48351902421820014, 0.8195169435343278],
        [0.5262980787340842, 0.7683178724461123, 0.8948557792869051],
    ]


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_frozen_normals(dtype, rtol):  # to the last digits, where platforms differ
    expected = [
        [1.954506620541022, -1.3768745897767833, -0.2000515227210525],
        [1.1342759957290252, -2.020793565819925, 0.8542856974232804],
        [-0.8183756037171089, 0.7836047710552968, 0.12926567242009915],
    ]
    np.testing.assert_allclose(noise.normal(*ADDRESS, (3,), dtype), expected, rtol=rtol)


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
