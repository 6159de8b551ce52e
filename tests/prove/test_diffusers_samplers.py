"""Every step of our samplers is that of diffusers.

They are DDPM, DDIM and its inversion, DPM-Solver++(2M), Heun, and dynamic thresholding. Needs the
extra `bench`: `make prove` installs it. diffusers' tables are float32, hence the tolerance. The
conventions differ in these points:

- Its t counts from 0: our t is its t + 1, and its alphas_cumprod[t] is our alpha_bar[t + 1].
  `set_alpha_to_one=True`, the default of DDIM, stands for our alpha_bar[0] = 1; with False the last
  stride ends at t = 1.
- Its default grid, timestep_spacing="leading" (DDPM, DDIM), is 900, 800, …, 0, our 901, 801, …, 1:
  it never visits T. "linspace" (the others) does, but its strides have another length. Ours, T·i/n,
  is "trailing", 999, 899, …, 99. If n does not divide T, its DDIM ends each stride T // n lower,
  and the next one starts elsewhere; ours and its DDPM go on from where they are.
- DDIM and DDPM clip x̂_0 by default, but DDIM then combines the clipped x̂_0 with the network's own
  ε̂, which belongs to another image. `use_clipped_model_output=True` gives ε̂ of the clipped one,
  like ours. DDIM inversion lacks that option.
- With thresholding=True the bound is `sample_max_value`, 1 by default: s is then always 1, and
  nothing is ever scaled.
- DDPM leaves out the noise of the step from its t = 0, not of the last step. On a strided
  "trailing" grid these differ: with "fixed_large" its result then has noise of the last stride's
  variance. Ours has none.
- DPM-Solver++ ends at σ = 0 if final_sigmas_type="zero", with a last step of first order. For
  "dpmsolver++" it ignores clip_sample.
- Heun takes y = x_t/√ᾱ_t and not x_t, and gives half steps: two calls of `step` are one of ours.
"""

import numpy as np
import pytest

from tinyddpm.diffusion import predicted_noise
from tinyddpm.more.reverse import (
    at_timesteps,
    posterior_mean_from_eps,
    posterior_mean_from_v,
    respaced,
    thresholded,
)
from tinyddpm.more.solvers import ddim, ddim_inversion, dpm_solver, heun, timestep_grid
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import linear

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]
T, SHAPE = 1000, (3, 2, 4, 6)
SCHEDULE = linear(T)
TOLERANCE = 3e-4
predictions = pytest.mark.parametrize("predicts", ["sample", "epsilon", "v_prediction"])


def bent(xt, t):
    """A denoiser without a meaning, whose output clipping changes."""
    return 1.3 * np.sin(2 * xt + 0.01 * np.asarray(t).reshape(-1, 1, 1, 1))


def x_T(seed=0):
    return np.random.default_rng(seed).standard_normal(SHAPE)


def scheduler(name, **options):
    import diffusers

    common = {
        "num_train_timesteps": T,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "timestep_spacing": "trailing",
    }
    return getattr(diffusers, name)(**common | options)


def torch_noise(seed):
    """noise(t) for our samplers, and a generator for diffusers: the same noise at the same step."""
    import torch

    def generator(t):
        return torch.Generator().manual_seed(1000 * seed + int(t))

    def noise(t):
        return torch.randn(SHAPE, generator=generator(t), dtype=torch.float64).numpy()

    return generator, noise


def output(predicts, xt, t):
    """The output of a network that predicts x_0, ε or v, where our denoiser's is x̂_0.

    It is a torch tensor.
    """
    import torch

    each = np.full(len(xt), t)
    x0_hat = bent(xt, each)
    eps = predicted_noise(SCHEDULE, x0_hat, xt, each)
    alpha_bar = SCHEDULE.alpha_bar[t]
    v = np.sqrt(alpha_bar) * eps - np.sqrt(1 - alpha_bar) * x0_hat
    return torch.from_numpy({"sample": x0_hat, "epsilon": eps, "v_prediction": v}[predicts])


def assert_close(theirs, ours):
    atol = TOLERANCE * max(1, abs(ours).max())
    np.testing.assert_allclose(np.asarray(theirs), ours, rtol=0, atol=atol)


def compare(theirs, ours, predicts, step_options=lambda t: {}):
    """Give each step of theirs the x_t that ours had; compare x_{t−1} and x̂_0 of all steps.

    Returns the number of steps.
    """
    import torch

    xt, steps = x_T(), list(ours)
    assert len(theirs.timesteps) == len(steps)
    for zero_based, (_, after, x0_hat) in zip(theirs.timesteps.tolist(), steps):
        t, sample = int(zero_based) + 1, torch.from_numpy(xt)
        said = output(predicts, xt, t)
        result = theirs.step(said, int(zero_based), sample, **step_options(t))
        assert_close(result.prev_sample, after)
        if getattr(result, "pred_original_sample", None) is not None:
            assert_close(result.pred_original_sample, x0_hat)
        xt = after
    return len(steps)


# ---- DDPM and DDIM -------------------------------------------------------------------------------

clips = pytest.mark.parametrize("clip", [None, 1.0], ids=["free", "clipped"])


@predictions
@clips
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("steps", [1000, 50, 7])
def test_ddpm(predicts, clip, size, steps):
    """All steps, and strided: on a respaced schedule."""
    generator, noise = torch_noise(1)
    theirs = scheduler(
        "DDPMScheduler",
        prediction_type=predicts,
        variance_type=f"fixed_{size}",
        clip_sample=clip is not None,
    )
    theirs.set_timesteps(steps)
    visited = timestep_grid(T, steps)
    short = respaced(SCHEDULE, visited)
    ours = ancestral(
        at_timesteps(bent, visited),
        short,
        x_T(),
        lambda i: noise(visited[-i]),
        clip=clip,
        variance=short.beta if size == "large" else None,
    )
    if size == "large" and steps < T:
        ours = with_noise_at_the_end(ours, np.sqrt(short.beta[1]) * noise(visited[-1]))
    assert compare(theirs, ours, predicts, lambda t: {"generator": generator(t)}) == steps


def with_noise_at_the_end(sampler, z):
    """What diffusers' DDPM does at the end of a strided grid: see above."""
    for t, xt, x0_hat in sampler:
        yield t, xt if t else xt + z, x0_hat


@pytest.mark.parametrize("size", ["small", "large"])
def test_ddpm_on_the_schedule_itself(size):
    """The lecture's sampler, with nothing of ours in between."""
    generator, noise = torch_noise(2)
    theirs = scheduler(
        "DDPMScheduler", prediction_type="sample", variance_type=f"fixed_{size}", clip_sample=True
    )
    theirs.set_timesteps(T)
    variance = SCHEDULE.beta if size == "large" else None
    ours = ancestral(bent, SCHEDULE, x_T(), noise, variance=variance)
    compare(theirs, ours, "sample", lambda t: {"generator": generator(t)})


MEANS = {"epsilon": posterior_mean_from_eps, "v_prediction": posterior_mean_from_v}


@pytest.mark.parametrize("predicts", MEANS)
def test_the_mean_from_eps_and_from_v_is_ddpms_step_without_its_noise(predicts):
    import torch

    theirs = scheduler(
        "DDPMScheduler", prediction_type=predicts, variance_type="fixed_large", clip_sample=False
    )
    theirs.set_timesteps(T)
    xt = x_T()
    for t in (1000, 999, 500, 100, 11, 2, 1):
        said, t_each = output(predicts, xt, t), np.full(len(xt), t)
        generator, noise = torch_noise(3)
        sample = torch.from_numpy(xt)
        stepped = theirs.step(said, t - 1, sample, generator=generator(t)).prev_sample
        added = np.sqrt(SCHEDULE.beta[t]) * noise(t) if t > 1 else 0
        assert_close(stepped, MEANS[predicts](SCHEDULE, said.numpy(), xt, t_each) + added)


@predictions
@clips
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1000, 50, 10])
def test_ddim(predicts, clip, eta, steps):
    generator, noise = torch_noise(4)
    theirs = scheduler("DDIMScheduler", prediction_type=predicts, clip_sample=clip is not None)
    theirs.set_timesteps(steps)
    ours = ddim(bent, SCHEDULE, x_T(), noise, steps=steps, eta=eta, clip=clip)

    def options(t):
        return {"eta": eta, "generator": generator(t), "use_clipped_model_output": True}

    assert compare(theirs, ours, predicts, options) == steps


def test_ddim_on_the_leading_grid():
    """Its default: all steps of a schedule that is respaced to 1, 101, …, 901."""
    theirs = scheduler("DDIMScheduler", prediction_type="sample", timestep_spacing="leading")
    theirs.set_timesteps(10)
    visited = [int(t) + 1 for t in theirs.timesteps]
    assert visited == list(range(901, 0, -100))
    ours = ddim(at_timesteps(bent, visited), respaced(SCHEDULE, visited), x_T(), steps=10)
    compare(theirs, ours, "sample", lambda t: {"use_clipped_model_output": True})


def test_by_default_diffusers_mixes_the_clipped_x0_with_the_eps_of_the_other():
    """The trap: without use_clipped_model_output its step is not ours, by far."""
    theirs = scheduler("DDIMScheduler", prediction_type="sample")
    theirs.set_timesteps(10)
    with pytest.raises(AssertionError):
        compare(theirs, ddim(bent, SCHEDULE, x_T(), steps=10), "sample")


@pytest.mark.parametrize("steps", [1000, 50, 10])
def test_ddim_inversion(steps):
    import torch

    theirs = scheduler("DDIMInverseScheduler", prediction_type="epsilon", clip_sample=False)
    theirs.set_timesteps(steps)
    xt = np.tanh(x_T(5))
    ours = ddim_inversion(bent, SCHEDULE, xt, steps=steps, clip=None)
    for zero_based, (t, after, _) in zip(theirs.timesteps.tolist(), ours, strict=True):
        assert t == zero_based + 1
        said = output("epsilon", xt, t)
        assert_close(theirs.step(said, zero_based, torch.from_numpy(xt)).prev_sample, after)
        xt = after


# ---- solvers of higher order, and thresholding ---------------------------------------------------


@predictions
@pytest.mark.parametrize("eta, kind", [(0.0, "dpmsolver++"), (1.0, "sde-dpmsolver++")])
@pytest.mark.parametrize("steps", [200, 50, 20, 10, 3, 1])
def test_dpm_solver(predicts, eta, kind, steps):
    import torch

    same = {"solver_order": 2, "solver_type": "midpoint", "final_sigmas_type": "zero"}
    theirs = scheduler(
        "DPMSolverMultistepScheduler", prediction_type=predicts, algorithm_type=kind, **same
    )
    theirs.set_timesteps(steps)
    z = lambda t: torch.randn(
        SHAPE, generator=torch.Generator().manual_seed(t)
    )  # float32, as theirs
    noise = lambda t: z(t).double().numpy()
    ours = dpm_solver(bent, SCHEDULE, x_T(), steps=steps, clip=None, noise=noise, eta=eta)
    assert compare(theirs, ours, predicts, lambda t: {"variance_noise": z(t)}) == steps


@pytest.mark.parametrize("steps", [200, 50, 10, 2])
def test_heun(steps):
    import torch

    theirs = scheduler("HeunDiscreteScheduler", prediction_type="epsilon")
    theirs.set_timesteps(steps)
    a, calls = np.sqrt(SCHEDULE.alpha_bar), iter(theirs.timesteps.tolist())
    xt, now = x_T(), T
    for then, after, _ in heun(bent, SCHEDULE, xt, steps=steps, clip=None):
        y = xt / a[now]
        for t in [now, then] if then else [now]:
            zero_based = next(calls)
            assert int(zero_based) + 1 == t
            said = output("epsilon", a[t] * y, t)
            y = theirs.step(said, zero_based, torch.from_numpy(y)).prev_sample.numpy()
        # y is up to 158 times as large as x_t, and so is its error in float32.
        assert_close(a[then] * y, after)
        xt, now = after, then
    assert next(calls, None) is None


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_thresholding(ratio):
    import torch

    x = x_T(6) * np.array([0.2, 1, 4]).reshape(3, 1, 1, 1)
    theirs = scheduler(
        "DDPMScheduler", thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=1e6
    )
    expected = theirs._threshold_sample(torch.from_numpy(x)).numpy()
    ours = thresholded(lambda xt, t: x, 100 * ratio)(None, None)
    np.testing.assert_allclose(expected, ours, rtol=0, atol=1e-12)
