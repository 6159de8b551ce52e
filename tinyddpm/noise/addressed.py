"""Every random number of the project, each at its own address.

There is no generator to carry around, to save or to restore: a number is a pure function of

    (seed, purpose, step, index)      which run, what for, at which step, for which sample

So this is always the noise of samples 3 and 5 at step 7:

    normal(seed=0, purpose="eps", step=7, index=[3, 5], shape=(3, 32, 32))

It does not matter who asks: the whole batch, one of its micro-batches, another worker, or a run
that was resumed at step 7. Give every use its own purpose. Two functions that ask at the same
address read the same bits, so their numbers are not independent.

The numbers are made where `index` is, on the CPU or on a GPU, and are the same to the last bit.
The words are integers (`philox.py`), and the normal numbers are made from them by exactly rounded
operations alone (`box_muller.py`).
"""

import hashlib
import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from autograd.backend import Array, array_module

from .box_muller import box_muller
from .philox import words as words_at

# The samples' numbers in the whole data set or batch: 1-D integers from 0 to 2**32 - 1.
Index: TypeAlias = Array | Sequence[int]


def bits(seed: int, purpose: str, step: int, index: Index, words: int) -> Array:
    """Random 32-bit words.

    Row i depends on index[i] alone, and more words begin with the same words as fewer.

    Args:
        seed: any integer.
        purpose: any string.
        step: 0 <= step < 2**64.
        index: the samples' numbers, 1-D, 0 <= index < 2**32. On a GPU the range is not checked,
            because that would mean waiting for it: numbers out of range count modulo 2**32.
        words: how many for each sample.

    Returns:
        uint32 (len(index), words).

    Raises:
        TypeError: an argument has the wrong type. The message names it.
        ValueError: an argument is out of range. The message names it.
    """
    step = _integer("step", step, 0, 2**64 - 1)
    words = _integer("words", words, 0, 2**34)
    return words_at(_key(seed, purpose), step, _sample_numbers(index), words)


def uniform(
    seed: int,
    purpose: str,
    step: int,
    index: Index,
    shape: tuple[int, ...] = (),
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Uniform numbers in [0, 1), bit-identical on every platform.

    Args:
        seed: any integer. The address is as for `bits`, and so are its errors.
        purpose: any string.
        step: 0 <= step < 2**64.
        index: the samples' numbers, 1-D, 0 <= index < 2**32.
        shape: of the numbers of one sample.
        dtype: float32 (24 random bits from one word) or float64 (53 bits from two words).

    Returns:
        (len(index), *shape).
    """
    size, dtype = _size(shape), _float_dtype(dtype)
    if dtype == np.float32:
        w = bits(seed, purpose, step, index, size)
        u = (w >> 8).astype(np.float32) * 2.0**-24
    else:
        w = bits(seed, purpose, step, index, 2 * size).astype(np.uint64)
        u = (w[:, 0::2] >> 5 << 26 | w[:, 1::2] >> 6) * 2.0**-53  # 27 bits, then 26
    return u.reshape(len(w), *shape)


def integers(
    seed: int, purpose: str, step: int, index: Index, n: int, shape: tuple[int, ...] = ()
) -> Array:
    """Integers in {0, ..., n - 1}, bit-identical on every platform.

    Each is floor(x n / 2**64) with x of 64 random bits, so each value's probability is within
    2**-64 of 1 / n.

    Args:
        seed: any integer. The address is as for `bits`, and so are its errors.
        purpose: any string.
        step: 0 <= step < 2**64.
        index: the samples' numbers, 1-D, 0 <= index < 2**32.
        n: 1 <= n <= 2**32.
        shape: of the integers of one sample.

    Returns:
        int64 (len(index), *shape).
    """
    n = _integer("n", n, 1, 2**32)
    w = bits(seed, purpose, step, index, 2 * _size(shape)).astype(np.uint64)
    high, low = w[:, 0::2], w[:, 1::2]  # x = high 2**32 + low
    value = (high * n + (low * n >> 32)) >> 32  # the sum stays below 2**64, as n <= 2**32
    return value.astype(np.int64).reshape(len(w), *shape)


def normal(
    seed: int,
    purpose: str,
    step: int,
    index: Index,
    shape: tuple[int, ...] = (),
    dtype: npt.DTypeLike = np.float32,
) -> Array:
    """Standard normal numbers, bit-identical on every platform.

    Two words make two numbers (Box and Muller 1958), computed in float64 and cast once. The largest
    |z| is sqrt(66 log 2), about 6.8.

    Args:
        seed: any integer. The address is as for `bits`, and so are its errors.
        purpose: any string.
        step: 0 <= step < 2**64.
        index: the samples' numbers, 1-D, 0 <= index < 2**32.
        shape: of the numbers of one sample.
        dtype: float32 or float64.

    Returns:
        (len(index), *shape).
    """
    size, dtype = _size(shape), _float_dtype(dtype)
    w = bits(seed, purpose, step, index, size + size % 2)
    return box_muller(w, dtype)[:, :size].reshape(len(w), *shape)


class Stream:
    """Uniform numbers for callers that ask in a fixed order, as dropout layers do.

    The i-th call has the purpose "<purpose> i".
    """

    def __init__(self, seed: int, purpose: str, step: int, index: Index) -> None:
        self.address, self.purpose, self.calls = (seed, step, index), purpose, 0

    def __call__(self, shape: tuple[int, ...]) -> Array:
        """The next (len(index), *shape) float32 numbers in [0, 1)."""
        self.calls += 1
        seed, step, index = self.address
        return uniform(seed, f"{self.purpose} {self.calls}", step, index, shape)


def _key(seed: int, purpose: str) -> tuple[int, int]:
    """Two 32-bit words: 64 bits of hash, so that two (seed, purpose) never meet in practice."""
    if not isinstance(purpose, str):
        raise TypeError(f"purpose: expected a string, got {purpose!r}")
    name = f"{_integer('seed', seed)}:{purpose}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _sample_numbers(index: Index) -> Array:
    """The index as uint32, checked."""
    xp = array_module(index)
    numbers: Array = xp.asarray(index)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        got = f"{numbers.dtype} of shape {numbers.shape}"
        raise TypeError(f"index: expected 1-D integers, got {got}")
    if xp is np and numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**32:
        got = f"{numbers.min()} to {numbers.max()}"
        raise ValueError(f"index: expected 0 to 2**32 - 1, got {got}")
    return numbers.astype(np.uint32)


def _integer(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {number}")
    return number


def _size(shape: tuple[int, ...]) -> int:
    if not isinstance(shape, tuple):
        raise TypeError(f"shape: expected a tuple of integers, got {shape!r}")
    return math.prod(_integer("shape", length, 0) for length in shape)


def _float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
    return np.dtype(dtype)
