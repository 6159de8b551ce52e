"""The statistics of the random numbers, at fixed addresses, and numbers that must never change."""

import numpy as np
import pytest
from scipy import stats

from tinyddpm import noise

# ---- statistics, at fixed addresses --------------------------------------------------------------


def test_integers_are_equally_likely():
    drawn = noise.integers(1, "chi", 0, np.arange(2000), 1000, (100,))
    counts = np.bincount(drawn.ravel(), minlength=1000)
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
def test_frozen_normals(dtype, rtol):  # to the last bit: tests/cuda/test_exact_normals.py
    expected = [
        [1.954506620541022, -1.3768745897767833, -0.2000515227210525],
        [1.1342759957290252, -2.020793565819925, 0.8542856974232804],
        [-0.8183756037171089, 0.7836047710552968, 0.12926567242009915],
    ]
    np.testing.assert_allclose(noise.normal(*ADDRESS, (3,), dtype), expected, rtol=rtol)
