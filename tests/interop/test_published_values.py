"""Values that diffusers' own tests publish, from our schedule, samplers and U-Net alone.

Neither PyTorch nor a checkpoint is needed. diffusers' scheduler tests run a stand-in for a network
over all steps and publish Σ|x|. Its pipeline tests draw one image with a U-Net and publish nine
pixels; the weights are PyTorch's initial ones after seed 0. (See test_scheduler_ddpm.py and
test_scheduler_ddim.py in tests/schedulers there, and ddpm/test_ddpm.py and ddim/test_ddim.py in
tests/pipelines.)

The tolerance there for the sums is 1e-2. Its tables are float32, so that β_t = 1 − ᾱ_t/ᾱ_{t−1},
near 10⁻⁴, keeps three or four digits. With tables rounded in the same way, our sums of all 1,000
steps agree to the last published digit. With our own tables they are 0.0015 away.

Two of diffusers' habits are not ours. Its strided samplers visit t = 1, 1 + T/n, … ("leading"); a
schedule of those n steps expresses that (`respaced`). And its DDIM goes on with the network's own ε
even where x̂_0 was clipped, so that loop is written out here.
"""

import numpy as np
import pytest

from tinyddpm.interop import diffusers_unet
from tinyddpm.interop.torch_random import Generator, initial_weights
from tinyddpm.more.predictions import eps_from_v, x0_from_eps, x0_from_v
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, linear

SCHEDULE = linear(1000)


X0 = {"epsilon": x0_from_eps, "v": x0_from_v}
EPS = {"epsilon": lambda schedule, eps, xt, t: eps, "v": eps_from_v}


def respaced(n):
    """The n timesteps 1, 1 + T/n, …, and a schedule whose step s leads from one to the next.

    Entry s of the timesteps is the s-th one; entry 0 is 0.
    """
    steps = np.array([0, *range(1, SCHEDULE.T, SCHEDULE.T // n)])
    alpha_bar = SCHEDULE.alpha_bar[steps]
    return steps, Schedule(1 - alpha_bar[1:] / alpha_bar[:-1])


def stand_in_for_a_network(xt, t):
    """x·t/(t+1) with diffusers' t, which counts from 0."""
    return xt * ((t - 1) / t).reshape(-1, 1, 1, 1)


def ramp():
    """0, 1/768, … over (C, H, W, N), as (N, C, H, W)."""
    return (np.arange(768.0) / 768).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2)


def ddim_with_the_networks_own_noise(network, predicts, schedule, x_T, clip=1.0):
    """Song et al. 2021, equation 12 with σ = 0, where ε̂ is the network's, clipped or not."""
    xt, alpha_bar = x_T, schedule.alpha_bar.astype(x_T.dtype)
    for step in range(schedule.T, 0, -1):
        t = np.full(len(xt), step)
        out = network(xt, t)
        x0_hat = X0[predicts](schedule, out, xt, t).clip(-clip, clip)
        eps_hat = EPS[predicts](schedule, out, xt, t)
        a = alpha_bar[step - 1]
        xt = np.sqrt(a) * x0_hat + np.sqrt(1 - a) * eps_hat
    return xt


# ---- all steps, with a stand-in for the network --------------------------------------------------


def as_rounded_there():
    """SCHEDULE with its tables made as diffusers' step makes them.

    ᾱ is float32, and α_t and β_t come from that ᾱ, in float32.
    """
    schedule = linear(1000)
    beta = np.linspace(1e-4, 0.02, 1000, dtype=np.float32)
    products = np.cumprod(1 - beta, dtype=np.float64)
    schedule.alpha_bar = np.append(1, products).astype(np.float32)
    ratios = schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]
    schedule.alpha = np.append(np.float32(1), ratios)
    schedule.beta = 1 - schedule.alpha
    assert schedule.beta.dtype == np.float32
    return schedule


TABLES = {"exact tables": (SCHEDULE, 2e-3), "tables as rounded there": (as_rounded_there(), 1e-4)}


@pytest.mark.parametrize("predicts, published", [("epsilon", 258.9606), ("v", 202.0296)])
@pytest.mark.parametrize("schedule, tolerance", TABLES.values(), ids=TABLES)
def test_ddpm_over_all_steps(schedule, tolerance, predicts, published):
    """`ancestral`, with PyTorch's noise after seed 0."""
    generator = Generator(0)

    def denoise(xt, t):
        return X0[predicts](schedule, stand_in_for_a_network(xt, t), xt, t)

    def noise(t):
        return generator.normal((4, 3, 8, 8)).astype(ramp().dtype)

    *_, (_, xt, _) = ancestral(denoise, schedule, ramp(), noise)
    assert abs(abs(xt).sum() - published) < tolerance


@pytest.mark.parametrize("predicts, published", [("epsilon", 172.0067), ("v", 52.5302)])
def test_ddim_in_ten_steps(predicts, published):
    steps, schedule = respaced(10)

    def network(xt, s):
        return stand_in_for_a_network(xt, steps[s])

    xt = ddim_with_the_networks_own_noise(network, predicts, schedule, ramp())
    assert abs(abs(xt).sum() - published) < 1e-3


def test_our_ddim_is_the_same_where_nothing_is_clipped():
    steps, schedule = respaced(10)

    def denoise(xt, s):
        return x0_from_eps(schedule, stand_in_for_a_network(xt, steps[s]), xt, s)

    *_, (_, xt, _) = ddim(denoise, schedule, ramp(), steps=10)
    assert abs(abs(xt).sum() - 172.0067) < 1e-3


# ---- nine pixels, with a U-Net of random weights -------------------------------------------------

OPTIONS = {
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 8,
}


def random_unet():
    """UNet2DModel(**OPTIONS) after torch.manual_seed(0)."""
    unet = diffusers_unet.from_config(OPTIONS)
    unet.bind(np.zeros(unet.theta_size(), np.float32))
    shapes = {name: view.shape for name, (_, view) in diffusers_unet.tensors(unet).items()}
    diffusers_unet.fill(unet, initial_weights(Generator(0), shapes))
    return unet


def nine_pixels(image):
    """As the pipelines show them: in [0, 1], the lower right corner of the last channel."""
    return (image[0, -1, -3:, -3:] / 2 + 0.5).clip(0, 1).ravel()


def test_the_ddpm_pipeline_in_two_steps():
    unet, generator, (steps, schedule) = random_unet(), Generator(0), respaced(2)

    def denoise(xt, s):
        return x0_from_eps(schedule, unet.denoise(xt, steps[s]), xt, s)

    def noise(t):
        return generator.normal((1, 3, 8, 8))

    *_, (_, image, _) = ancestral(denoise, schedule, noise(schedule.T), noise)
    published = [0.0, 0.9996672, 0.00329116, 1.0, 0.9995991, 1.0, 0.0060907, 0.00115037, 0.0]
    assert image.dtype == np.float32
    assert abs(nine_pixels(image) - published).max() < 1e-6  # theirs: 1e-2


def test_the_ddim_pipeline_in_two_steps():
    unet, (steps, schedule) = random_unet(), respaced(2)
    x_T = Generator(0).normal((1, 3, 8, 8))

    def network(xt, s):
        return unet.denoise(xt, steps[s])

    image = ddim_with_the_networks_own_noise(network, "epsilon", schedule, x_T)
    published = [0.0, 9.979e-01, 0.0, 9.999e-01, 9.986e-01, 9.991e-01, 7.106e-04, 0.0, 0.0]
    assert image.dtype == np.float32
    # Theirs: 1e-3; four digits are published.
    assert abs(nine_pixels(image) - published).max() < 2e-4
