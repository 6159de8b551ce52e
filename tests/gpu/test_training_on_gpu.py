"""Training, EMA, sampling, checkpoints, with everything on the GPU.

And begun on one device and ended on the other.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from on_gpu import assert_same, bound, on_gpu
from oracles import SMALL

from autograd import backend
from autograd.backend import to_device, to_numpy
from tinyddpm import noise, schedule
from tinyddpm.more.solvers import ddim
from tinyddpm.more.training.calibration import Measured, by_kind
from tinyddpm.nn import UNet
from tinyddpm.runs import checkpoint, ema, folder as run_folder, opening, training
from tinyddpm.runs.computing import computing
from tinyddpm.runs.config import Config
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.sampler import ancestral
from tinyddpm.train import train

S = schedule.linear(10)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (20, *SMALL.image)).astype(np.float32)
CONFIG = Config(
    unet=SMALL, T=10, batch_size=4, steps=4, every=2, patience=0, workers=1, warmup=0, beta=0.1
)
SAMPLERS = {
    "ancestral": ancestral,
    "ddim": lambda *a: ddim(*a, steps=10),
    "ddim η": lambda *a: ddim(*a, steps=10, eta=0.5),
}


def steps_on(device, steps=3, dropout=0.0):
    """The network, its EMA and the Steps of a short training on a device."""
    unet = UNet(replace(SMALL, dropout=dropout)).initialise(0)
    bound(unet, unet.theta, device)
    ema_theta, done = unet.theta.copy(), []
    endless = train(unet, to_device(IMAGES, device), S, beta=0.1, seed=0, batch_size=5)
    for step in itertools.islice(endless, steps):
        ema.update(ema_theta, unet.theta, 0.99, step.k)
        done.append(step)
    return unet, ema_theta, done


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_measured_multipliers(momentum):
    """Measured on one device for two steps of three, and continued on the other."""
    unet, rng = UNet(SMALL).initialise(0), np.random.default_rng(1)
    gradients = rng.normal(size=(5, unet.theta_size())).astype(np.float32)
    gradients[:, unet.slices()["first.weight"]] = 0
    results = []
    for first, second in (("cuda", "cuda"), ("cpu", "cpu"), ("cuda", "cpu"), ("cpu", "cuda")):
        bound(unet, UNet(SMALL).initialise(0).theta, first)
        measured = Measured(3, momentum=momentum)
        for k, g in enumerate(gradients, 1):
            if k == 3 and first != second:
                state = {name: to_numpy(array) for name, array in measured.state().items()}
                bound(unet, to_numpy(unet.theta), second)
                measured = Measured(3, momentum=momentum)
                measured.load(state)
            unet.grad[...] = to_device(g, second if k >= 3 else first)
            measured(unet, 0.01, k)
        results.append((unet.theta, measured.c2))
    (gpu, gpu_c2), (cpu, cpu_c2), (on_cpu, _), (on_gpu, _) = results
    assert_same(gpu, cpu, "θ")
    assert_same(gpu_c2, cpu_c2, "c²")
    assert_same(gpu, on_cpu, "θ, continued on the CPU")
    assert_same(on_gpu, cpu, "θ, continued on the GPU")
    for kind, found in by_kind(unet, gpu_c2).items():
        assert found == pytest.approx(by_kind(unet, cpu_c2)[kind], rel=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_three_steps_of_training(dropout):
    gpu, gpu_ema, gpu_steps = steps_on("cuda", dropout=dropout)
    cpu, cpu_ema, cpu_steps = steps_on("cpu", dropout=dropout)
    assert_same(gpu.theta, cpu.theta, "θ")
    assert_same(gpu.grad, cpu.grad, "gradient", tolerance=2e-4)
    assert_same(gpu_ema, cpu_ema, "EMA")
    for a, b in zip(gpu_steps, cpu_steps, strict=True):
        assert a.k == b.k and a.J == pytest.approx(b.J, rel=1e-5)
        assert_same(a.t, b.t, "t")  # integers: bit-identical
        assert_same(a.errors, b.errors, "errors")


def trained(device):
    unet = UNet(SMALL).initialise(0)
    change = np.random.default_rng(1).standard_normal(unet.theta.shape).astype(np.float32)
    unet.theta += 0.1 * change
    return bound(unet, unet.theta, device)


def film_on(device, sampler):
    def draw(t):
        return noise.normal(0, "sampling", t, to_device(np.arange(3), device), SMALL.image)

    return list(sampler(trained(device).denoise, S, draw(0), draw))


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_ten_steps_of_sampling(sampler):
    films = [film_on(device, sampler) for device in ("cuda", "cpu")]
    assert len(films[0]) == 10
    for (t, xt, x0_hat), (_, cpu_xt, cpu_x0_hat) in zip(*films, strict=True):
        assert_same(xt, cpu_xt, f"x_{t}")
        assert_same(x0_hat, cpu_x0_hat, f"x̂_0 before {t}", tolerance=1e-4)


def test_held_out_J_is_that_of_the_cpu_on_the_same_draws():
    """The draws stay in main memory. `computing` moves what its network is to denoise."""
    draws, found = Draws(IMAGES, S), {}
    for device in ("cuda", "cpu"):
        unet = trained(device)
        with computing(unet, unet, S, device, workers=1) as (_, denoise):
            found[device] = draws.evaluate(denoise)
            two = draws.xt[:2], draws.t[:2]
            assert type(denoise(*two)) is np.ndarray
            assert on_gpu(denoise(*(to_device(a, device) for a in two))) == (device == "cuda")
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=1e-5)
    of_the_mean = draws.evaluate(mean_image(to_device(IMAGES, "cuda")))
    np.testing.assert_array_equal(of_the_mean, draws.evaluate(mean_image(IMAGES)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that trains in a folder on a device, and returns the checkpoint.

    It goes on with what is there.
    """
    data = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(data, IMAGES)

    def run(folder, device, **changes):
        config = replace(CONFIG, data=str(data), device=device, **changes)
        training.run(config, folder, resume="if there")
        return checkpoint.load(folder / run_folder.CHECKPOINT)

    return run


def assert_same_state(found, expected, tolerance):
    assert found.step == expected.step
    for name, theta in expected.theta.items():
        close = {"rtol": 0, "atol": tolerance * max(1, abs(theta).max()), "err_msg": name}
        np.testing.assert_allclose(found.theta[name], theta, **close)
        np.testing.assert_allclose(found.ema[name], expected.ema[name], **close)


@pytest.fixture(scope="module")
def whole_run(run, tmp_path_factory):
    """The checkpoint of four steps on the CPU."""
    return run(tmp_path_factory.mktemp("run") / "cpu", "cpu")


@pytest.mark.parametrize(
    "first, second", [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda"), ("cuda:1", "cuda:0")]
)
def test_a_run_goes_on_on_another_device(first, second, run, whole_run, tmp_path, request):
    if first == "cuda:1":
        request.getfixturevalue("two_gpus")
    run(tmp_path / "run", first, steps=2)
    assert_same_state(run(tmp_path / "run", second), whole_run, 2e-5)


def test_a_checkpoint_of_a_model_on_the_gpu_is_read_back_bit_by_bit(tmp_path):
    unet = trained("cuda")
    values = {name: to_numpy(a) for name, a in unet.state().items()}
    saved = checkpoint.Checkpoint(CONFIG, 7, values, values, {"progress": {}, "data": ""})
    checkpoint.save(tmp_path / "x.safetensors", saved)
    other = bound(UNet(SMALL).initialise(1), np.zeros(unet.theta.shape, np.float32), "cpu")
    checkpoint.fill(other, checkpoint.load(tmp_path / "x.safetensors").theta)
    other.bind(to_device(other.theta, "cuda"))
    for name, array in other.state().items():
        assert_same(array, values[name], name, tolerance=0)


def test_images_from_a_run(run, tmp_path):
    run(tmp_path / "run", "cuda")
    for options in ({"sampler": "ddpm"}, {"sampler": "ddim", "steps": 5}):
        *_, (_, gpu, _) = opening.Run(tmp_path / "run", "cuda").sample(2, **options)
        *_, (_, cpu, _) = opening.Run(tmp_path / "run", "cpu").sample(2, **options)
        assert_same(gpu, cpu, str(options), tolerance=1e-4)


def test_a_write_to_theta_shows_in_every_layer():
    unet = trained("cuda")
    unet.theta[...] = 3
    assert all(bool((p.data == 3).all()) and on_gpu(p.data) for p in unet.parameters().values())
    # What is there already is not copied.
    assert backend.to_device(unet.theta, "cuda") is unet.theta
