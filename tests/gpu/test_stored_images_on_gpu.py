"""Images that stay as they are stored, on a GPU: the CPU's mini-batches, to the last bit."""

import os

import cupy
import numpy as np
import pytest
from on_gpu import on_gpu
from test_stored_images import ARRAYS

from autograd import backend
from tinyddpm import data
from tinyddpm.data.stored import Stored, on_device as module
from tinyddpm.data.stored.chosen import AllBut
from tinyddpm.data.stored.on_device import OnDevice, on_device
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import train

# The simulator has no float16.
KINDS = [k for k in ARRAYS if not (k.endswith("f2") and os.environ.get("TINYDDPM_GPU"))]
KEYS = [np.array([3, 3, 0, 6]), np.array([], np.int64), slice(None), slice(1, 6, 2), 4, -1]


@pytest.fixture(params=["there", "batch by batch"])
def room(request, monkeypatch):
    """Whether the stored numbers have room on the GPU. A few images make a piece of a copy."""
    memory = 2**30 if request.param == "there" else 0
    monkeypatch.setattr(module, "memory_of", lambda device: memory)
    monkeypatch.setattr(module, "PIECE", 1000)
    return request.param


def stored(kind, folder):
    np.save(folder / "x.npy", ARRAYS[kind])
    images = data.load(folder / "x.npy").images
    assert isinstance(images, Stored)
    return images


def assert_same_bits(found, expected):
    assert on_gpu(found) and found.dtype == np.float32
    np.testing.assert_array_equal(backend.to_numpy(found).view("u4"), expected.view("u4"))


@pytest.mark.parametrize("kind", KINDS)
def test_mini_batches_are_to_the_bit_those_of_the_cpu(kind, room, tmp_path):
    images = stored(kind, tmp_path)
    for some in (images, images.part(AllBut(7, np.array([2, 5])))):
        gpu = on_device(some, "cuda")
        assert (gpu.there is not None) == (room == "there")
        assert (gpu.shape, gpu.ndim, gpu.dtype, len(gpu)) == (some.shape, 4, np.float32, len(some))
        for key in KEYS:
            key = key % len(some) if isinstance(key, np.ndarray) else key
            assert_same_bits(gpu[key], some[key])
            if isinstance(key, np.ndarray):
                assert_same_bits(gpu[cupy.asarray(key)], some[key])
        assert backend.array_module(gpu) is cupy
        assert np.asarray(gpu).tobytes() == np.asarray(some).tobytes()
        assert gpu.mean(0).tobytes() == some.mean(0).tobytes()


@pytest.mark.parametrize("memory, fits", [(2 * 420 - 1, False), (2 * 420, True)])
def test_they_stay_on_the_host_if_they_take_more_than_half_of_the_memory(
    memory, fits, monkeypatch, tmp_path
):
    images = stored("bytes", tmp_path)
    assert images.array.nbytes == 420
    monkeypatch.setattr(module, "memory_of", lambda device: memory)
    assert (OnDevice(images, "cuda").there is not None) == fits


def test_training_takes_the_steps_of_an_array(room, tmp_path):
    found, images = [], stored("bytes", tmp_path)
    config = UNetConfig(image=images.shape[1:], base=4, levels=(1,), attention=(), groups=2)
    for some in (on_device(images, "cuda"), cupy.asarray(images[:])):
        unet = UNet(config).initialise(0)
        unet.bind(backend.to_device(unet.theta, "cuda"), backend.to_device(unet.grad, "cuda"))
        steps = train(unet, some, linear(9), 0.1, seed=0, batch_size=3)
        found.append(([next(steps).J for _ in range(2)], unet.theta.get().tobytes()))
    assert found[0] == found[1]


def test_a_second_gpu(two_gpus, room, tmp_path):
    images = on_device(stored("bytes", tmp_path), "cuda:1")
    assert images[[1, 2]].device.id == 1
    assert room == "batch by batch" or images.there.device.id == 1


def test_an_array_is_moved_and_on_a_cpu_nothing_changes(tmp_path):
    images = stored("bytes", tmp_path)
    assert on_device(images, "cpu") is images
    assert_same_bits(on_device(images[:], "cuda"), images[:])
