"""Memory that processes share: it grows, it has no name, and running out of it is an error."""

import errno
import os

import numpy as np
import pytest
from small_nets import SCHEDULE, open_files, small_net, some_batch

from tinyddpm.fast.parallel import Shards, memory as memory_module
from tinyddpm.fast.parallel.memory import Memory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
SMALL = [("int8", (3,)), ("float64", (2, 2))]
LARGE = [("int8", (3,)), ("float64", (100, 100))]


def test_memory_is_shared_and_grows():
    memory = Memory()
    other = Memory(os.dup(memory.fd))
    for specs in (SMALL, LARGE, SMALL):
        a, b = memory.arrays(specs)
        if hasattr(os, "posix_fallocate"):
            file = os.fstat(memory.fd)
            assert file.st_blocks * 512 >= file.st_size > 0  # reserved: no SIGBUS later
        a[...], b[...] = 7, np.pi
        a2, b2 = other.arrays(specs)
        assert a2.tolist() == [7] * 3
        assert np.all(b2 == np.pi) and b2.shape == specs[1][1] and b.ctypes.data % 64 == 0
        b2[...] = 0
        assert not b.any()
    memory.close(), other.close()


def refuse(monkeypatch, times):
    """Let the first reservations find no room."""
    left, reserve = [times], memory_module._reserve

    def no_room(fd, size):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(fd, size)

    monkeypatch.setattr(memory_module, "_reserve", no_room)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is only the file here")
def test_without_room_in_memory_it_is_a_file_without_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    batch = some_batch(5)
    unet, files = small_net(), open_files()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        assert os.readlink(f"/proc/self/fd/{shards.memories[0].fd}").startswith("/memfd:")
        expected = shards.gradient(unet, SCHEDULE, *batch)
    grad = unet.grad.copy()
    refuse(monkeypatch, 1)
    unet.grad[...] = 0
    with Shards(unet, SCHEDULE, workers=2) as shards:
        fd = shards.memories[0].fd
        assert os.readlink(f"/proc/self/fd/{fd}").startswith(str(tmp_path))
        assert os.fstat(fd).st_nlink == 0 and not list(tmp_path.iterdir())
        J, errors = shards.gradient(unet, SCHEDULE, *batch)
    assert J == expected[0] and errors.tobytes() == expected[1].tobytes()
    assert unet.grad.tobytes() == grad.tobytes()
    assert open_files() == files


def test_without_room_anywhere_there_is_an_error(monkeypatch):
    unet, files = small_net(), open_files()
    refuse(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"), Shards(unet, SCHEDULE, workers=2):
        pass
    assert open_files() == files and unet.theta.any()
