"""The U-Net and θ: the gradient of J in every parameter, shapes, dropout, errors, and the views that `bind` makes."""
from dataclasses import replace

import numpy as np
import pytest
from oracles import check_module, perturb

from autograd import Tensor
from tinyddpm import noise
from tinyddpm.diffusion import q_sample
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.module import ALIGN, Module, Parameter
from tinyddpm.nn.multipliers import ONES
from tinyddpm.nn.norm import GroupNorm
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

SMALL = UNetConfig(image=(1, 4, 6), base=4, levels=(1, 2), blocks=1, attention=(2,), heads=2, groups=2)


def new(config=SMALL, dtype=np.float64, seed=0, **changes):
    return UNet(replace(config, **changes)).initialise(seed, dtype)


def shaken(*args, size=0.3, **changes):
    return perturb(new(*args, **changes), np.random.default_rng(7), size)


def batch(unet, n=3, dtype=np.float64, seed=0):
    """xt and t for a net."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *unet.config.image)).astype(dtype), rng.integers(1, 1001, n)


# ---- gradients -----------------------------------------------------------------------------------


def test_the_gradient_of_J_in_every_parameter_against_finite_differences():
    """The whole chain: q_sample, U-Net with attention and 1×1 shortcuts at H ≠ W, J."""
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
        kept = unet.theta[i]
        unet.theta[i] = kept + step
        value = np.mean((unet.denoise(xt, t) - x0) ** 2)
        unet.theta[i] = kept
        return value

    h = 1e-5
    for name, where in unet.slices().items():
        claimed = unet.grad[where]
        reference = np.array([(J(i, h) - J(i, -h)) / (2 * h) for i in range(where.start, where.stop)])
        # an attention's key bias adds the same to a whole row before the softmax, which therefore ignores it
        assert name.endswith("k.bias") == (abs(reference).max() < 1e-9), f"{name}: reference gradient {reference}"
        np.testing.assert_allclose(claimed, reference, rtol=1e-5, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("changes", [{}, {"told_t": False, "image": (3, 6, 4)}, {"dropout": 0.4}], ids=["small", "colour", "dropout"])
def test_the_gradient_along_random_directions_to_many_digits(changes):
    unet = new(**changes)
    xt, t = batch(unet, 2)
    keys = [name for name in unet.parameters() if name.endswith("k.bias")]
    check_module(unet, lambda x: unet(x, t, noise.Stream(0, "dropout", 1, np.arange(2))), [xt], np.random.default_rng(0), zero=keys, directions=1)


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


@pytest.mark.parametrize("changes", [
    {}, {"image": (1, 8, 2)}, {"image": (3, 4, 4)}, {"image": (2, 8, 12), "levels": (1, 2, 3)}, {"levels": (2,), "image": (1, 5, 7)},
    {"blocks": 3}, {"attention": ()}, {"attention": (4, 2)}, {"middle_attention": False}, {"told_t": False}, {"heads": 4},
    {"levels": (2, 1)},
], ids=str)
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
        return {name.split(".norm")[0] for name in UNet(replace(SMALL, **changes)).parameters() if ".norm.gain" in name and ("attention" in name or name.startswith("middle2"))}

    assert with_attention() == {"down.2.attention", "middle2", "up.0.attention", "up.1.attention"}
    assert with_attention(attention=(4,), middle_attention=False) == {"down.0.attention", "up.3.attention", "up.4.attention"}
    assert with_attention(attention=(), middle_attention=False) == set()


def test_samples_do_not_see_each_other():
    unet = shaken()
    xt, t = batch(unet, 4)
    whole, order = unet.denoise(xt, t), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(unet.denoise(xt[order], t[order]), whole[order], atol=1e-12)
    np.testing.assert_allclose(unet.denoise(xt[1:2], t[1:2])[0], whole[1], atol=1e-12)


def test_t_matters_unless_the_net_is_not_told():
    for told in (True, False):
        unet = shaken(told_t=told)
        xt, t = batch(unet)
        same = np.array_equal(unet.denoise(xt, t), unet.denoise(xt, t + 100))
        assert same != told
        assert any("time" in name for name in unet.parameters()) == told


def test_height_and_width_are_treated_alike():
    """A net whose kernels are transposed does to the transposed image what the net does to the image."""
    wide, tall = shaken(image=(2, 4, 6)), new(image=(2, 6, 4))
    for name, p in tall.parameters().items():
        p.data[...] = wide.state()[name].swapaxes(0, 1) if p.data.ndim == 4 else wide.state()[name]
    xt, t = batch(wide)
    found = tall.denoise(xt.swapaxes(2, 3), t)
    np.testing.assert_allclose(found, wide.denoise(xt, t).swapaxes(2, 3), atol=1e-10)
    assert abs(found).max() > 0.1


# ---- a new net -----------------------------------------------------------------------------------


def test_a_new_net_says_exactly_0():
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
        np.testing.assert_allclose(unet(xt[part], t[part], stream(part)).data, whole[part], atol=1e-12)
    assert abs(unet(xt, t, stream(range(4), k=6)).data - whole).max() > 1e-2  # another step, other features


def test_dropout_keeps_the_mean_and_drops_its_share():
    block = new(dropout=0.25).down[0].block
    kept = block.kept(np.zeros((20, 30, 4, 10)), stream(range(4)))
    values, counts = np.unique(kept, return_counts=True)
    np.testing.assert_allclose(values, [0, 4 / 3])
    assert counts[0] / kept.size == pytest.approx(0.25, abs=0.01) and kept.mean() == pytest.approx(1, abs=0.015)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, message", [
    ({"base": 0}, "base: expected at least 1, got 0"),
    ({"base": 5}, "base: expected an even number.*got 5"),
    ({"blocks": 0}, "blocks: expected at least 1, got 0"),
    ({"heads": 0}, "heads: expected at least 1, got 0"),
    ({"heads": 3}, "heads: .* cannot be divided among 3 heads"),
    ({"groups": 0}, "groups: expected at least 1, got 0"),
    ({"groups": 3}, "groups: 4 channels cannot be divided into 3 groups"),
    ({"image": (1, 4)}, r"image: expected channels, height and width, got \(1, 4\)"),
    ({"image": (0, 4, 4)}, r"image: expected channels, height and width, got \(0, 4, 4\)"),
    ({"image": (1, 5, 4)}, "image: 2 levels need height and width divisible by 2, got 5×4"),
    ({"image": (1, 4, 6), "levels": (1, 1, 1)}, "image: 3 levels need height and width divisible by 4, got 4×6"),
    ({"levels": ()}, "levels: expected one multiple"),
    ({"levels": (1, 0)}, r"levels: expected one multiple.*got \(1, 0\)"),
    ({"dropout": 1.0}, "dropout: expected a share.*got 1.0"),
    ({"dropout": -0.1}, "dropout: expected a share.*got -0.1"),
])
def test_a_bad_config_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        UNet(replace(SMALL, **changes))


@pytest.mark.parametrize("shape, t, message", [
    ((2, 1, 6, 4), (2,), r"xt: expected images \(N, 1, 4, 6\), got shape \(2, 1, 6, 4\)"),
    ((2, 3, 4, 6), (2,), "xt: expected images"),
    ((1, 4, 6), (1,), "xt: expected images"),
    ((2, 1, 4, 6), (3,), r"t: expected one timestep for each of 2 images, got shape \(3,\)"),
    ((2, 1, 4, 6), (), r"t: expected one timestep for each of 2 images, got shape \(\)"),
])
def test_a_bad_call_is_named(shape, t, message):
    with pytest.raises(ValueError, match=message):
        new()(np.zeros(shape), np.ones(t, int))


def test_bind_names_a_vector_of_the_wrong_length():
    unet = new()
    right, wrong = np.zeros(unet.theta_size()), np.zeros(unet.theta_size() - 1)
    with pytest.raises(ValueError, match=rf"theta: expected a vector of {len(right)} numbers, got shape \({len(wrong)},\)"):
        unet.bind(wrong)
    with pytest.raises(ValueError, match="grad: expected a vector"):
        unet.bind(right, wrong)


# ---- θ is one vector -----------------------------------------------------------------------------


def rebound(unet, how):
    """The net after one of the things that people do with θ."""
    if how == "float32 and back":
        return unet.bind(unet.theta.astype(np.float32), unet.grad.astype(np.float32)).bind(unet.theta.astype(np.float64), unet.grad.astype(np.float64))
    if how == "a copy":
        return unet.bind(unet.theta.copy(), np.zeros_like(unet.theta))
    if how == "part of a larger vector":
        return unet.bind(np.zeros(3 * len(unet.theta))[16:16 + len(unet.theta)], np.zeros_like(unet.theta))
    if how == "an average":
        average = 0.5 * unet.theta
        return UNet(unet.config).bind(average, np.zeros_like(average))
    return unet


@pytest.mark.parametrize("how", ["initialised", "float32 and back", "a copy", "part of a larger vector", "an average"])
def test_every_layer_sees_what_is_written_to_theta(how):
    unet, other = rebound(new(), how), shaken(seed=9)
    xt, t = batch(unet)
    unet.theta[...] = other.theta
    np.testing.assert_array_equal(unet.denoise(xt, t), other.denoise(xt, t))
    for name, where in unet.slices().items():  # and the other way round, parameter by parameter
        p = unet.parameters()[name]
        assert np.shares_memory(p.data, unet.theta) and np.shares_memory(p.grad, unet.grad)
        p.data[...] = 3.5
        assert set(unet.theta[where]) == {3.5}
        if not name.endswith("k.bias"):
            before = unet.denoise(xt, t)
            unet.theta[where] += np.linspace(0.1, 0.5, where.stop - where.start)
            assert not np.array_equal(unet.denoise(xt, t), before), name
        unet.theta[...] = other.theta


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
        assert all(unet.grad[where].any() for name, where in unet.slices().items() if not name.endswith("k.bias"))


def test_gradients_overlap_their_own_slice_only():
    unet = shaken()
    for _ in range(2):  # before backward and after it
        for name, p in unet.parameters().items():
            for other, where in unet.slices().items():
                assert np.shares_memory(p.grad, unet.grad[where]) == (name == other)
                assert np.shares_memory(p.data, unet.theta[where]) == (name == other)
            assert p.grad.shape == p.data.shape == p.initial_shape and not np.shares_memory(p.data, unet.grad)
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
        assert isinstance(array, np.ndarray) and np.shares_memory(array, unet.theta[unet.slices()[name]])


def test_the_image_given_is_not_written_to():
    unet = shaken()
    xt, t = batch(unet)
    before = xt.tobytes(), t.tobytes()
    y = unet(Tensor(xt), t)
    y.backward(np.ones_like(y.data))
    assert (xt.tobytes(), t.tobytes()) == before
