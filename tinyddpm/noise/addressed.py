"""Every random number of the project, each at its own address.

There is no generator to carry around, to save or to restore: a number is a pure function of

    (seed, purpose, step, index)      which run, what for, at which step, for which sample

so `normal(seed=0, purpose="eps", step=7, index=[3, 5], shape=(3, 32, 32))` is the noise of samples
3 and 5 at step 7, whoever asks for it: the whole batch, one of its micro-batches, another worker,
or a run that was resumed at step 7. Give every use its own purpose: two functions asked at the
same address read the same bits, and their numbers are then anything but independent.

The numbers are made where `index` is, on the CPU or on a GPU, and are the same to the last bit: the
words are integers (`philox.py`), and the normal numbers come of them by exactly rounded operations
alone (`box_muller.py`).
"""

import hashlib
import math
import operator

import numpy as np

from autograd.backend import array_module

from .box_muller import box_muller
from .philox import words as words_at


def bits(seed, purpose, step, index, words):
    """Random 32-bit words: uint32, shape (len(index), words).

    seed: any integer; purpose: any string; step: 0 <= step < 2**64; index: 1-D integers, the
    samples' numbers in the whole data set or batch, 0 <= index < 2**32; words: how many for each.
    Row i depends on index[i] alone, and more words begin with the same words as fewer.
    Raises TypeError or ValueError, naming the argument. On a GPU the range of index is not looked
    at, which would mean to wait for it: numbers out of range count modulo 2**32.
    """
    step = _integer("step", step, 0, 2**64 - 1)
    words = _integer("words", words, 0, 2**34)
    return words_at(_key(seed, purpose), step, _sample_numbers(index), words)


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
    """Standard normal numbers, shape (len(index), *shape), dtype float32 or float64, bit-identical
    on every platform.

    Two words make two numbers (Box and Muller 1958); the largest |z| is sqrt(66 log 2), about 6.8.
    Computed in float64 and cast once. The address: as for `bits`.
    """
    size, dtype = _size(shape), _float_dtype(dtype)
    w = bits(seed, purpose, step, index, size + size % 2)
    return box_muller(w, dtype)[:, :size].reshape(len(w), *shape)


def _key(seed, purpose):
    """Two 32-bit words: 64 bits of hash, so that two (seed, purpose) never meet in practice."""
    if not isinstance(purpose, str):
        raise TypeError(f"purpose: expected a string, got {purpose!r}")
    name = f"{_integer('seed', seed)}:{purpose}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _sample_numbers(index):
    xp = array_module(index)
    index = xp.asarray(index)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise TypeError(f"index: expected 1-D integers, got {index.dtype} of shape {index.shape}")
    if xp is np and index.size and not 0 <= index.min() <= index.max() < 2**32:
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
