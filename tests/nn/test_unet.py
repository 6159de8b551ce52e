"""The U-Net: the gradient of J in every parameter, shapes, the output of a new net, dropout."""

from dataclasses import replace

import numpy as np
import pytest
from oracles import SMALL, batch, check_module, new, perturb, shaken

from tinyddpm import noise
from tinyddpm.diffusion import q_sample
from tinyddpm.nn import UNet
from tinyddpm.nn.block import ResidualBlock
from tinyddpm.nn.module import Module
from tinyddpm.nn.multipliers import ONES
from tinyddpm.nn.norm import GroupNorm
from tinyddpm.schedule import linear
from tinyddpm.train import gradient

# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [5, pytest.param(None, marks=pytest.mark.prove)])
def test_the_gradient_of_J_in_every_parameter_against_finite_differences(most):
    """The whole chain: q_sample, U-Net with attention and 1×1 shortcuts at H ≠ W, J.

    In at most so many numbers of each parameter: the first, the last, and some at random.
    """
    unet = perturb(new(base=2, levels=(1, 1), groups=1, attention=()), np.random.default_rng(0))
    names = unet.parameters()
    assert sum(p.size for p in names.values()) <= 3000
    assert any("shortcut" in name for name in names) and "middle2.q.weight" in names
    schedule, rng = linear(50), np.random.default_rng(1)
    x0, eps = rng.standard_normal((2, 2, *unet.config.image))
    t = np.array([1, 50])
    gradient(unet, schedule, x0, t, eps)

    xt = q_sample(schedule, x0, t, eps)

    def J(i, step):
        before = unet.theta[i]
        unet.theta[i] = before + step
        value = np.mean((unet.denoise(xt, t) - x0) ** 2)
        unet.theta[i] = before
        return value

    h = 1e-5
    for name, where in unet.slices().items():
        places = np.arange(where.start, where.stop)
        if most and len(places) > most:
            places = places[[0, -1, *rng.choice(len(places) - 2, most - 2, replace=False) + 1]]
        claimed = unet.grad[places]
        reference = np.array([(J(i, h) - J(i, -h)) / (2 * h) for i in places])
        # The softmax ignores a key's bias, which adds the same number to a whole row before it.
        vanishes = abs(reference).max() < 1e-9
        assert name.endswith("k.bias") == vanishes, f"{name}: reference gradient {reference}"
        np.testing.assert_allclose(claimed, reference, rtol=1e-5, atol=1e-9, err_msg=name)


NETS = {
    "small": {},
    "colour": {"time_conditioning": False, "image": (3, 6, 4)},
    "dropout": {"dropout": 0.4},
}


@pytest.mark.parametrize("changes", NETS.values(), ids=NETS)
def test_the_gradient_along_random_directions_to_many_digits(changes):
    unet = new(**changes)
    xt, t = batch(unet, 2)
    keys = [name for name in unet.parameters() if name.endswith("k.bias")]

    def forward(x):
        return unet(x, t, noise.Stream(0, "dropout", 1, np.arange(2)))

    check_module(unet, forward, [xt], np.random.default_rng(0), zero=keys, directions=1)


def test_float32_gradients_are_close_to_those_in_float64():
    exact, rounded = shaken(), new(dtype=np.float32)
    rounded.theta[...] = exact.theta
    x0, t = batch(exact)
    eps = x0[::-1].copy()
    gradient(exact, linear(), x0, t, eps)
    J, errors = gradient(rounded, linear(), x0.astype(np.float32), t, eps.astype(np.float32))
    assert J.dtype == errors.dtype == rounded.grad.dtype == np.float32
    np.testing.assert_allclose(rounded.grad, exact.grad, rtol=0, atol=1e-4 * abs(exact.grad).max())


# ---- shapes --------------------------------------------------------------------------------------


CONFIGS = [
    {},
    {"image": (1, 8, 2)},
    {"image": (3, 4, 4)},
    {"image": (2, 8, 12), "levels": (1, 2, 3)},
    {"levels": (2,), "image": (1, 5, 7)},
    {"blocks": 3},
    {"attention": ()},
    {"attention": (4, 2)},
    {"middle_attention": False},
    {"time_conditioning": False},
    {"heads": 4},
    {"levels": (2, 1)},
]


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_output_has_the_shape_and_dtype_of_the_input(changes, dtype):
    unet = shaken(dtype=dtype, **changes)
    xt, t = batch(unet, 3, dtype)
    y = unet(xt, t)
    assert y.shape == xt.shape and y.dtype == dtype and y.data.std() > 0
    np.testing.assert_array_equal(unet.denoise(xt, t), y.data)
    assert isinstance(unet.denoise(xt, t), np.ndarray)


def test_the_attention_asked_for_is_there():
    def with_attention(**changes):
        names = UNet(replace(SMALL, **changes)).parameters()
        return {name.removesuffix(".q.weight") for name in names if name.endswith(".q.weight")}

    at_2 = {"down.2.attention", "up.0.attention", "up.1.attention"}
    at_4 = {"down.0.attention", "up.3.attention", "up.4.attention"}
    assert with_attention() == at_2 | {"middle2"}
    assert with_attention(attention=(4,), middle_attention=False) == at_4
    assert with_attention(attention=(), middle_attention=False) == set()


def test_samples_do_not_see_each_other():
    unet = shaken()
    xt, t = batch(unet, 4)
    whole, order = unet.denoise(xt, t), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(unet.denoise(xt[order], t[order]), whole[order], atol=1e-12)
    np.testing.assert_allclose(unet.denoise(xt[1:2], t[1:2])[0], whole[1], atol=1e-12)


@pytest.mark.parametrize("conditioned", [True, False])
def test_t_matters_unless_the_net_is_unconditional_in_t(conditioned):
    unet = shaken(time_conditioning=conditioned)
    xt, t = batch(unet)
    same = np.array_equal(unet.denoise(xt, t), unet.denoise(xt, t + 100))
    assert same != conditioned
    assert any("time" in name for name in unet.parameters()) == conditioned


def test_height_and_width_are_treated_alike():
    """A net with transposed kernels gives the transposed result for the transposed image."""
    wide, tall = shaken(image=(2, 4, 6)), new(image=(2, 6, 4))
    for name, p in tall.parameters().items():
        p.data[...] = wide.state()[name].swapaxes(0, 1) if p.data.ndim == 4 else wide.state()[name]
    xt, t = batch(wide)
    found = tall.denoise(xt.swapaxes(2, 3), t)
    np.testing.assert_allclose(found, wide.denoise(xt, t).swapaxes(2, 3), atol=1e-10)
    assert abs(found).max() > 0.1


# ---- a new net -----------------------------------------------------------------------------------


def test_a_new_net_returns_exactly_0():
    unet = new()
    np.testing.assert_array_equal(unet.denoise(*batch(unet)), 0)


def test_initialise_is_a_function_of_the_seed():
    np.testing.assert_array_equal(new(seed=3).theta, new(seed=3).theta)
    a, b = new(seed=3), new(seed=4)
    for name, p in a.parameters().items():
        random = p.spread > 0
        assert np.array_equal(p.data, b.state()[name]) != random, name
    for dtype in (np.float32, np.float64):
        assert new(dtype=dtype).theta.dtype == new(dtype=dtype).grad.dtype == dtype


def test_initialise_draws_each_parameter_by_its_name_alone():
    """A net with more levels has the same first layers."""
    short, long = new(levels=(1,)).state(), new(levels=(1, 2)).state()
    same = [name for name in short if name.startswith(("first", "time", "down.0.block"))]
    assert len(same) > 5
    for name in same:
        np.testing.assert_array_equal(short[name], long[name])


def test_two_parameters_of_a_net_do_not_start_alike():
    drawn = {name: p.data.ravel() / p.spread for name, p in new().parameters().items() if p.spread}
    firsts = [a[0] for a in drawn.values()]
    assert len(set(firsts)) == len(firsts) > 10
    pooled = np.concatenate(list(drawn.values()))
    assert abs(pooled).max() <= 1 and pooled.var() == pytest.approx(1 / 3, rel=0.05)


def test_multipliers_change_nothing_about_a_new_net_but_its_parameterisation():
    unet, plain = new(), UNet(SMALL, ONES).initialise(0, np.float64)
    xt, t = batch(unet)
    for net in (unet, plain):
        for name, p in net.parameters().items():
            if name == "last.conv.weight":
                p.data[...] = 1 / net.last.conv.c
    np.testing.assert_allclose(unet.denoise(xt, t), plain.denoise(xt, t), rtol=1e-10)
    assert abs(unet.denoise(xt, t)).max() > 0.1


def test_every_group_norm_starts_with_an_effective_gain_of_1():
    norms = [module for module in walk(new()) if isinstance(module, GroupNorm)]
    assert len(norms) > 10
    for norm in norms:
        np.testing.assert_array_equal(norm.c * norm.gain.data, 1)


def walk(module):
    """A Module and all Modules within it, found without the help of `parameters`."""
    yield module
    for value in vars(module).values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, Module):
                yield from walk(child)


# ---- dropout -------------------------------------------------------------------------------------


def stream(sample, k=5):
    return noise.Stream(0, "dropout", k, np.asarray(sample))


def test_no_two_layers_of_a_step_drop_the_same_features(monkeypatch):
    """Nor do two steps, or two samples. Where the masks are independent, half of them agree."""
    masks, mask_of = [], ResidualBlock.dropout_mask

    def recorded(self, h, draw):
        masks.append(mask_of(self, h, draw))
        return masks[-1]

    monkeypatch.setattr(ResidualBlock, "dropout_mask", recorded)
    unet = shaken(dropout=0.5)
    xt, t = batch(unet, 2)
    for k in (5, 6):
        unet(xt, t, stream([0, 1], k))
    dropped = [mask[:, :, i].ravel() == 0 for mask in masks for i in range(2)]  # H W N C
    assert len(dropped) == 2 * 2 * sum(isinstance(m, ResidualBlock) for m in walk(unet))
    for i, a in enumerate(dropped):
        for b in dropped[:i]:
            size = min(len(a), len(b))
            agreeing = np.mean(a[:size] == b[:size])
            assert abs(agreeing - 0.5) < 5 * 0.5 / size**0.5


def test_dropout_acts_in_training_only():
    unet, without = shaken(dropout=0.5), shaken()
    xt, t = batch(unet)
    np.testing.assert_array_equal(unet.denoise(xt, t), without.denoise(xt, t))
    np.testing.assert_array_equal(unet(xt, t, None).data, without.denoise(xt, t))
    assert abs(unet(xt, t, stream([0, 1, 2])).data - without.denoise(xt, t)).max() > 1e-2


def test_dropout_of_rate_0_changes_nothing():
    unet = shaken(dropout=0.0)
    xt, t = batch(unet)
    np.testing.assert_array_equal(unet(xt, t, stream([0, 1, 2])).data, unet.denoise(xt, t))


def test_a_sample_is_dropped_from_alike_in_every_split_of_the_batch():
    unet = shaken(dropout=0.5)
    xt, t = batch(unet, 4)
    whole = unet(xt, t, stream(range(4))).data
    for part in ([0], [3, 1], [2, 0, 1]):
        of_part = unet(xt[part], t[part], stream(part)).data
        np.testing.assert_allclose(of_part, whole[part], atol=1e-12)
    other_step = unet(xt, t, stream(range(4), k=6)).data
    assert abs(other_step - whole).max() > 1e-2


def test_dropout_keeps_the_mean_and_drops_its_fraction():
    block = new(dropout=0.25).down[0].block
    mask = block.dropout_mask(np.zeros((20, 30, 4, 10)), stream(range(4)))
    values, counts = np.unique(mask, return_counts=True)
    np.testing.assert_allclose(values, [0, 4 / 3])
    assert counts[0] / mask.size == pytest.approx(0.25, abs=0.01)
    assert mask.mean() == pytest.approx(1, abs=0.015)
