"""θ is one vector: the views that `bind` makes of it, its slices, padding and names."""

import numpy as np
import pytest
from oracles import SMALL, batch, new, shaken

from tinyddpm.nn import UNet
from tinyddpm.nn.module import ALIGN, Parameter
from tinyddpm.schedule import linear
from tinyddpm.train import train


def as_dtype(unet, dtype):
    return unet.bind(unet.theta.astype(dtype), unet.grad.astype(dtype))


def in_a_larger_vector(unet):
    larger = np.zeros(3 * len(unet.theta))
    return unet.bind(larger[16 : 16 + len(unet.theta)], np.zeros_like(unet.theta))


# What people do with θ.
REBOUND = {
    "initialised": lambda unet: unet,
    "float32 and back": lambda unet: as_dtype(as_dtype(unet, np.float32), np.float64),
    "a copy": lambda unet: unet.bind(unet.theta.copy(), np.zeros_like(unet.theta)),
    "part of a larger vector": in_a_larger_vector,
    "an EMA": lambda unet: UNet(unet.config).bind(0.5 * unet.theta, np.zeros_like(unet.theta)),
}


@pytest.mark.parametrize("how", REBOUND)
def test_every_layer_sees_what_is_written_to_theta(how):
    unet, other = REBOUND[how](new()), shaken(seed=9)
    xt, t = batch(unet)
    unet.theta[...] = other.theta
    expected = other.denoise(xt, t)
    np.testing.assert_array_equal(unet.denoise(xt, t), expected)
    parameters = unet.parameters()
    for name, where in unet.slices().items():  # and the other way round, parameter by parameter
        p = parameters[name]
        assert np.shares_memory(p.data, unet.theta) and np.shares_memory(p.grad, unet.grad)
        unet.theta[where] += np.linspace(0.1, 0.5, p.size)
        np.testing.assert_array_equal(p.data.ravel(), unet.theta[where])
        if not name.endswith("k.bias"):  # on which nothing depends
            assert not np.array_equal(unet.denoise(xt, t), expected), name
        p.data[...] = other.state()[name]
    np.testing.assert_array_equal(unet.theta, other.theta)


def test_a_net_bound_to_float64_computes_in_float64():
    unet = new(dtype=np.float32)
    unet.bind(unet.theta.astype(np.float64), np.zeros(unet.theta_size()))
    xt, t = batch(unet)
    y = unet(xt, t)
    y.backward(np.ones_like(y.data))
    assert y.dtype == np.float64 and abs(unet.grad).max() > 0


def test_a_net_bound_without_grad_records_nothing():
    unet = new()
    assert unet.bind(unet.theta)(*batch(unet)).node is None


def test_slices_start_at_64_bytes_and_lie_apart():
    unet = new()
    slices = list(unet.slices().values())
    assert all(s.start % ALIGN == 0 for s in slices) and ALIGN * 4 == 64
    assert all(a.stop <= b.start < a.stop + ALIGN for a, b in zip(slices, slices[1:]))
    assert slices[0].start == 0 and slices[-1].stop <= unet.theta_size() < slices[-1].stop + ALIGN
    assert [s.stop - s.start for s in slices] == [p.size for p in unet.parameters().values()]


def test_padding_is_and_stays_zero():
    unet = shaken()
    padding = np.ones(unet.theta_size(), bool)
    for where in unet.slices().values():
        padding[where] = False
    assert padding.sum() > 50
    images = np.random.default_rng(0).uniform(-1, 1, (4, *SMALL.image))
    for step, _ in zip(train(unet, images, linear(), 0.1, seed=0, batch_size=4), range(3)):
        assert not unet.theta[padding].any() and not unet.grad[padding].any()
        for name, where in unet.slices().items():
            assert unet.grad[where].any() or name.endswith("k.bias")


def test_gradients_overlap_their_own_slice_only():
    unet = shaken()
    for _ in range(2):  # before backward and after it
        for name, p in unet.parameters().items():
            for other, where in unet.slices().items():
                assert np.shares_memory(p.grad, unet.grad[where]) == (name == other)
                assert np.shares_memory(p.data, unet.theta[where]) == (name == other)
            assert p.grad.shape == p.data.shape == p.initial_shape
            assert not np.shares_memory(p.data, unet.grad)
        y = unet(*batch(unet))
        y.backward(np.ones_like(y.data))


def test_every_parameter_has_a_name_of_its_own(monkeypatch):
    made, init = [], Parameter.__init__

    def counting(self, *args, **options):
        made.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(Parameter, "__init__", counting)
    found = UNet(SMALL).parameters()
    assert len(found) == len(made) == len({id(p) for p in found.values()})
    assert {id(p) for p in made} == {id(p) for p in found.values()}


def test_state_holds_views_by_name():
    unet = new()
    state = unet.state()
    assert list(state) == list(unet.parameters())
    for name, array in state.items():
        where = unet.slices()[name]
        assert isinstance(array, np.ndarray) and np.shares_memory(array, unet.theta[where])


def test_bind_names_a_vector_of_the_wrong_length():
    unet = new()
    right, wrong = np.zeros(unet.theta_size()), np.zeros(unet.theta_size() - 1)
    expected, got = f"a vector of {len(right)} floats", rf"float64 of shape \({len(wrong)},\)"
    with pytest.raises(ValueError, match=f"theta: expected {expected}, .*, got {got}"):
        unet.bind(wrong)
    with pytest.raises(ValueError, match="grad: expected a vector"):
        unet.bind(right, wrong)
