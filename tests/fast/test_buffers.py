"""Scratch memory: one memory for each name, as large as what was asked for."""

import numpy as np

from tinyddpm.fast import buffers

BYTES, SINGLE, DOUBLE = np.dtype("b"), np.dtype("f"), np.dtype("d")


def test_scratch_memory_is_used_again():
    buffers.drop_scratch()
    a = buffers.scratch("test", (3, 4), SINGLE)
    assert a.shape == (3, 4) and a.dtype == np.float32 and a.ctypes.data % 64 == 0
    assert buffers.scratch("test", (3, 4), SINGLE) is a
    assert np.shares_memory(a, buffers.scratch("test", (12,), SINGLE))
    assert not np.shares_memory(a, buffers.scratch("other", (3, 4), SINGLE))


def test_scratch_memory_grows():
    buffers.drop_scratch()
    a = buffers.scratch("test", (3, 4), SINGLE)
    larger = buffers.scratch("test", (50, 40), DOUBLE)
    assert larger.nbytes == 16_000 and not np.shares_memory(larger, a)
    again = buffers.scratch("test", (3, 4), SINGLE)
    assert np.shares_memory(larger, again), "two memories under one name"


def test_scratch_memory_is_bounded():
    buffers.drop_scratch()
    buffers.scratch("test", (buffers.LARGEST + 1,), BYTES)
    for n in range(buffers.MOST_VIEWS + 100, 0, -1):
        buffers.scratch("many", (n,), BYTES)
    assert sum(map(len, buffers._own.memory.values())) < 10**6
    assert len(buffers._own.views) <= buffers.MOST_VIEWS
    buffers.drop_scratch()
    assert not buffers._own.memory
