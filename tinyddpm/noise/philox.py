"""Philox4x32-10: random words that can be asked for in any order, on a CPU or a GPU.

    words(key=(1, 2), step=7, samples=np.uint32([3, 5]), count=8)

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). It works
like a cipher, weakened for speed. Encrypt the counters 0, 1, 2, ..., and the result passes every
test of TestU01's BigCrush. It computes with integers alone, so the words are the same on every
machine. `addressed.py` says which counter belongs to whom.
"""

import numpy as np

from autograd import backend
from autograd.backend import Array

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, as fractions of 2**32
ROUNDS = 10
LOW_WORD = 0xFFFFFFFF
THREADS = 256  # to a block of the kernel


def philox(
    counter: tuple[Array | int, Array | int, Array | int, Array | int], key: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """The cipher itself.

    Source: sections 2.2 and 3.3 of the paper, which give the constants too.

    Args:
        counter: four uint32 arrays, which broadcast together, or integers.
        key: two integers below 2**32.

    Returns:
        Four uint32 arrays.
    """
    blocks: list[Array] = [np.asarray(c, np.uint32) for c in counter]
    c0, c1, c2, c3 = blocks
    k0, k1 = (int(k) for k in key)
    for _ in range(ROUNDS):
        high0, low0 = _multiply(MULTIPLIERS[0], c0)
        high1, low1 = _multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & LOW_WORD, (k1 + WEYL[1]) & LOW_WORD
    return c0, c1, c2, c3


def _multiply(constant: int, words: Array) -> tuple[Array, Array]:
    """The high and the low word of the 64-bit products constant * words."""
    product = words.astype(np.uint64) * constant
    return (product >> 32).astype(np.uint32), (product & LOW_WORD).astype(np.uint32)


def words(key: tuple[int, int], step: int, samples: Array, count: int) -> Array:
    """The first words of each sample's counters (0, sample, step), (1, sample, step), ...

    Args:
        key: two integers below 2**32.
        step: below 2**64.
        samples: uint32 (N,), on the CPU or a GPU.
        count: how many words for each sample. A counter gives four.

    Returns:
        uint32 (N, count), on the device of `samples`.
    """
    if backend.array_module(samples) is not np:
        return words_on_gpu(key, step, samples, count)
    block = np.arange(-(-count // 4), dtype=np.uint32)  # (B,)
    four = philox((block, samples[:, None], step & LOW_WORD, step >> 32), key)  # 4 x (N, B)
    return np.stack(four, axis=-1).reshape(len(samples), 4 * len(block))[:, :count]


def words_on_gpu(key: tuple[int, int], step: int, samples: Array, count: int) -> Array:
    """The same words by the kernel below: one thread to a counter."""
    n, blocks = len(samples), -(-count // 4)
    out: Array = backend.array_module(samples).empty((n, count), samples.dtype)
    if out.size:
        kernel, grid = backend.kernel("philox_words", SOURCE), -(-n * blocks // THREADS)
        sizes, counter = (n, count, blocks), (*key, step & LOW_WORD, step >> 32)
        kernel((grid,), (THREADS,), (samples, out, *sizes, *counter))
    return out


SOURCE = r"""
extern "C" __global__ void philox_words(
    const unsigned* samples, unsigned* out, long long n, long long count, long long blocks,
    long long key0, long long key1, long long step_low, long long step_high) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * blocks) return;
    const long long sample = i / blocks, block = i % blocks;
    unsigned c0 = block, c1 = samples[sample], c2 = step_low, c3 = step_high, k0 = key0, k1 = key1;
    for (int round = 0; round < 10; round++) {
        const unsigned long long product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(product1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)product1;
        c2 = (unsigned)(product0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    const unsigned word[4] = {c0, c1, c2, c3};
    for (int j = 0; j < 4 && 4 * block + j < count; j++)
        out[sample * count + 4 * block + j] = word[j];
}
"""
