"""Every random number of the project, each at its own address.

There is no generator to carry around, to save or to restore: a number is a pure function of

    (seed, purpose, step, index)      which run, what for, at which step, for which sample

so `normal(seed=0, purpose="eps", step=7, index=[3, 5], shape=(3, 32, 32))` is the noise of samples
3 and 5 at step 7, whoever asks for it: the whole batch, one of its micro-batches, another worker,
or a run that was resumed at step 7. Give every use its own purpose: two functions asked at the
same address read the same bits, and their numbers are then anything but independent.

The bits come from Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
as 1, 2, 3" (SC 2011). It works like a cipher, weakened for speed: encrypt the counters 0, 1, 2, ...
and what comes out passes every test of TestU01's BigCrush.
"""

import hashlib
import math
import operator

import numpy as np

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, as fractions of 2**32
ROUNDS = 10
LOW_WORD = 0xFFFFFFFF


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011).

    counter: four uint32 arrays, which broadcast together; key: two integers below 2**32.
    Returns four uint32 arrays.
    """
    c0, c1, c2, c3 = (np.asarray(c, np.uint32) for c in counter)
    k0, k1 = (int(k) for k in key)
    for _ in range(ROUNDS):
        high0, low0 = _multiply(MULTIPLIERS[0], c0)
        high1, low1 = _multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & LOW_WORD, (k1 + WEYL[1]) & LOW_WORD
    return c0, c1, c2, c3


def bits(seed, purpose, step, index, words):
    """Random 32-bit words: uint32, shape (len(index), words).

    seed: any integer; purpose: any string; step: 0 <= step < 2**64; index: 1-D integers, the
    samples' numbers in the whole data set or batch, 0 <= index < 2**32; words: how many for each.
    Row i depends on index[i] alone, and more words begin with the same words as fewer.
    Raises TypeError or ValueError, naming the argument.
    """
    step = _integer("step", step, 0, 2**64 - 1)
    words = _integer("words", words, 0, 2**34)
    sample = _sample_numbers(index)[:, None]  # (N, 1)
    block = np.arange(-(-words // 4), dtype=np.uint32)  # (B,), four words to a block
    four = philox((block, sample, step & LOW_WORD, step >> 32), _key(seed, purpose))  # 4 x (N, B)
    return np.stack(four, axis=-1).reshape(len(sample), 4 * len(block))[:, :words]


def uniform(seed, purpose, step, index, shape=(), dtype=np.float32):
    """Uniform numbers in [0, 1), shape (len(index), *shape), bit-identical on every platform.

    dtype: float32 (24 random bits from one word) or float64 (53 bits from two words).
    The address, and what is raised for a bad one: as for `bits`.
    """
    size, dtype = _size(shape), _float_dtype(dtype)
    if dtype == np.float32:
        w = bits(seed, purpose, step, index, size)
        u = (w >> 8).astype(np.float32) * 2.0**-24
    else:
        w = bits(seed, purpose, step, index, 2 * size).astype(np.uint64)
        u = (w[:, 0::2] >> 5 << 26 | w[:, 1::2] >> 6) * 2.0**-53  # 27 bits, then 26
    return u.reshape(len(w), *shape)


def integers(seed, purpose, step, index, n, shape=()):
    """Integers in {0, ..., n - 1}: int64, shape (len(index), *shape), bit-identical everywhere.

    n: 1 <= n <= 2**32. The result is floor(x n / 2**64) with x of 64 random bits, so each value's
    probability is within 2**-64 of 1 / n. The address: as for `bits`.
    """
    n = _integer("n", n, 1, 2**32)
    w = bits(seed, purpose, step, index, 2 * _size(shape)).astype(np.uint64)
    high, low = w[:, 0::2], w[:, 1::2]  # x = high 2**32 + low
    value = (high * n + (low * n >> 32)) >> 32  # the sum stays below 2**64, as n <= 2**32
    return value.astype(np.int64).reshape(len(w), *shape)


def normal(seed, purpose, step, index, shape=(), dtype=np.float32):
    """Standard normal numbers, shape (len(index), *shape), dtype float32 or float64.

    Two words make two numbers (Box and Muller 1958); the largest |z| is sqrt(66 log 2), about 6.8.
    Computed in float64 and cast once: platforms differ in the last digit of log and cos, and the
    cast to float32 makes nearly all of those differences vanish. The address: as for `bits`.
    """
    size, dtype = _size(shape), _float_dtype(dtype)
    w = bits(seed, purpose, step, index, size + size % 2)
    u, v = ((half + 0.5) * 2.0**-32 for half in (w[:, 0::2], w[:, 1::2]))  # float64, in (0, 1)
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v  # u is never 0: log is finite
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)  # (N, pairs, 2)
    return z.reshape(w.shape)[:, :size].astype(dtype).reshape(len(w), *shape)


def _multiply(constant, words):
    """The high and the low word of the 64-bit products constant * words."""
    product = words.astype(np.uint64) * constant
    return (product >> 32).astype(np.uint32), (product & LOW_WORD).astype(np.uint32)


def _key(seed, purpose):
    """Two 32-bit words: 64 bits of hash, so that two (seed, purpose) never meet in practice."""
    if not isinstance(purpose, str):
        raise TypeError(f"purpose: expected a string, got {purpose!r}")
    name = f"{_integer('seed', seed)}:{purpose}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _sample_numbers(index):
    index = np.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise TypeError(f"index: expected 1-D integers, got {index.dtype} of shape {index.shape}")
    if index.size and not 0 <= index.min() <= index.max() < 2**32:
        raise ValueError(f"index: expected 0 to 2**32 - 1, got {index.min()} to {index.max()}")
    return index.astype(np.uint32)


def _integer(name, value, low=-math.inf, high=math.inf):
    try:
        value = int(operator.index(value))
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")
    return value


def _size(shape):
    if not isinstance(shape, tuple):
        raise TypeError(f"shape: expected a tuple of integers, got {shape!r}")
    return math.prod(_integer("shape", length, 0) for length in shape)


def _float_dtype(dtype):
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
    return np.dtype(dtype)


class Stream:
    """Uniform numbers for those who ask in a fixed order, as dropout layers do: the i-th call has the purpose "<purpose> i"."""

    def __init__(self, seed, purpose, step, index):
        self.address, self.purpose, self.calls = (seed, step, index), purpose, 0

    def __call__(self, shape):
        """The next (len(index), *shape) float32 numbers in [0, 1)."""
        self.calls += 1
        seed, step, index = self.address
        return uniform(seed, f"{self.purpose} {self.calls}", step, index, shape)
