"""Every step of our samplers is that of diffusers: DDPM, DDIM and its inversion, DPM-Solver++(2M), Heun, dynamic thresholding.

Needs the extra `bench`: `make prove` installs it. diffusers' tables are float32, hence the tolerance. Where the conventions differ:

- Its t counts from 0: our t is its t + 1, and its alphas_cumprod[t] our alpha_bar[t + 1]. What stands for our alpha_bar[0] = 1
  is `set_alpha_to_one=True`, the default of DDIM; with False the last stride ends at t = 1.
- Its default grid, timestep_spacing="leading" (DDPM, DDIM), is 900, 800, …, 0, our 901, 801, …, 1: it never visits T. "linspace" (the
  others) does, but strides by another length. Ours, T·i/n, is "trailing", 999, 899, …, 99. For an n that does not
  divide T, its DDIM takes each stride to end T // n lower, which is not where the next one starts; ours and its DDPM go on from where they are.
- DDIM and DDPM clip x̂_0 by default, but DDIM then combines the clipped x̂_0 with the network's own ε̂, which belong to different images.
  `use_clipped_model_output=True` gives the ε̂ of the clipped x̂_0, as ours. DDIM inversion lacks that option.
- With thresholding=True the bound is `sample_max_value`, 1 by default: s is then always 1, and nothing is ever scaled.
- DDPM leaves out the noise of the step from its t = 0, not of the last step. On a strided "trailing" grid these differ: with
  "fixed_large" its result then has noise of the last stride's variance. Ours has none.
- DPM-Solver++ ends at σ = 0 if final_sigmas_type="zero", with a last step of first order. For "dpmsolver++" it ignores clip_sample.
- Heun takes y = x_t/√ᾱ_t and not x_t, and gives half steps: two calls of `step` are one of ours.
"""
import numpy as np
import pytest

from tinyddpm.diffusion import predicted_noise
from tinyddpm.more.reverse import at_timesteps, posterior_mean_from_eps, posterior_mean_from_v, respaced, thresholded
from tinyddpm.more.solvers import ddim_inversion, dpm_solver, heun
from tinyddpm.sampler import ancestral, ddim, timestep_grid
from tinyddpm.schedule import linear

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]
T, SHAPE = 1000, (3, 2, 4, 6)
SCHEDULE = linear(T)
TOLERANCE = 3e-4
predictions = pytest.mark.parametrize("predicts", ["sample", "epsilon", "v_prediction"])


def bent(xt, t):
    """A denoiser of no meaning, that clipping changes."""
    return 1.3 * np.sin(2 * xt + 0.01 * np.asarray(t).reshape(-1, 1, 1, 1))


def x_T(seed=0):
    return np.random.default_rng(seed).standard_normal(SHAPE)


def scheduler(name, **options):
    import diffusers
    common = {"num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "timestep_spacing": "trailing"}
    return getattr(diffusers, name)(**common | options)


def torch_noise(seed):
    """noise(t) for our samplers, and the generator that gives diffusers the same at the same step."""
    import torch
    def generator(t):
        return torch.Generator().manual_seed(1000 * seed + int(t))
    return generator, lambda t: torch.randn(SHAPE, generator=generator(t), dtype=torch.float64).numpy()


def output(predicts, xt, t):
    """What a network that predicts x_0, ε or v would have said where our denoiser says x̂_0; as a torch tensor."""
    import torch
    x0_hat = bent(xt, np.full(len(xt), t))
    eps = predicted_noise(SCHEDULE, x0_hat, xt, np.full(len(xt), t))
    v = np.sqrt(SCHEDULE.alpha_bar[t]) * eps - np.sqrt(1 - SCHEDULE.alpha_bar[t]) * x0_hat
    return torch.from_numpy({"sample": x0_hat, "epsilon": eps, "v_prediction": v}[predicts])


def assert_close(theirs, ours):
    np.testing.assert_allclose(np.asarray(theirs), ours, rtol=0, atol=TOLERANCE * max(1, abs(ours).max()))


def compare(theirs, ours, predicts, step_options=lambda t: {}):
    """Give each step of theirs the x_t that ours had; compare x_{t−1} and x̂_0 of all steps. Returns how many those were."""
    import torch
    xt, steps = x_T(), list(ours)
    assert len(theirs.timesteps) == len(steps)
    for zero_based, (then, after, x0_hat) in zip(theirs.timesteps.tolist(), steps):
        t = int(zero_based) + 1
        result = theirs.step(output(predicts, xt, t), int(zero_based), torch.from_numpy(xt), **step_options(t))
        assert_close(result.prev_sample, after)
        if getattr(result, "pred_original_sample", None) is not None:
            assert_close(result.pred_original_sample, x0_hat)
        xt = after
    return len(steps)


clips = pytest.mark.parametrize("clip", [None, 1.0], ids=["free", "clipped"])


@predictions
@clips
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("steps", [1000, 50, 7])
def test_ddpm(predicts, clip, size, steps):
    """All steps, and strided: on a respaced schedule."""
    generator, noise = torch_noise(1)
    theirs = scheduler("DDPMScheduler", prediction_type=predicts, variance_type=f"fixed_{size}", clip_sample=clip is not None)
    theirs.set_timesteps(steps)
    visited = timestep_grid(T, steps)
    short = respaced(SCHEDULE, visited)
    ours = ancestral(at_timesteps(bent, visited), short, x_T(), lambda i: noise(visited[-i]), clip=clip, variance=short.beta if size == "large" else None)
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
    theirs = scheduler("DDPMScheduler", prediction_type="sample", variance_type=f"fixed_{size}", clip_sample=True)
    theirs.set_timesteps(T)
    ours = ancestral(bent, SCHEDULE, x_T(), noise, variance=SCHEDULE.beta if size == "large" else None)
    compare(theirs, ours, "sample", lambda t: {"generator": generator(t)})


@pytest.mark.parametrize("predicts, mean", [("epsilon", posterior_mean_from_eps), ("v_prediction", posterior_mean_from_v)])
def test_the_mean_from_eps_and_from_v_is_ddpms_step_without_its_noise(predicts, mean):
    import torch
    theirs = scheduler("DDPMScheduler", prediction_type=predicts, variance_type="fixed_large", clip_sample=False)
    theirs.set_timesteps(T)
    xt = x_T()
    for t in (1000, 999, 500, 100, 11, 2, 1):
        said, t_each = output(predicts, xt, t), np.full(len(xt), t)
        generator, noise = torch_noise(3)
        stepped = theirs.step(said, t - 1, torch.from_numpy(xt), generator=generator(t)).prev_sample
        added = np.sqrt(SCHEDULE.beta[t]) * noise(t) if t > 1 else 0
        assert_close(stepped, mean(SCHEDULE, said.numpy(), xt, t_each) + added)


@predictions
@clips
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1000, 50, 10])
def test_ddim(predicts, clip, eta, steps):
    generator, noise = torch_noise(4)
    theirs = scheduler("DDIMScheduler", prediction_type=predicts, clip_sample=clip is not None)
    theirs.set_timesteps(steps)
    ours = ddim(bent, SCHEDULE, x_T(), noise, steps=steps, eta=eta, clip=clip)
    assert compare(theirs, ours, predicts, lambda t: {"eta": eta, "generator": generator(t), "use_clipped_model_output": True}) == steps


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
    for zero_based, (t, after, _) in zip(theirs.timesteps.tolist(), ddim_inversion(bent, SCHEDULE, xt, steps=steps, clip=None), strict=True):
        assert t == zero_based + 1
        assert_close(theirs.step(output("epsilon", xt, t), zero_based, torch.from_numpy(xt)).prev_sample, after)
        xt = after


@predictions
@pytest.mark.parametrize("steps", [200, 50, 20, 10, 3, 1])
def test_dpm_solver(predicts, steps):
    theirs = scheduler("DPMSolverMultistepScheduler", prediction_type=predicts, algorithm_type="dpmsolver++", solver_order=2, solver_type="midpoint", final_sigmas_type="zero")
    theirs.set_timesteps(steps)
    assert compare(theirs, dpm_solver(bent, SCHEDULE, x_T(), steps=steps, clip=None), predicts) == steps


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
            y = theirs.step(output("epsilon", a[t] * y, t), zero_based, torch.from_numpy(y)).prev_sample.numpy()
        # y is up to 158 times as large as x_t, and so is float32's error of it
        assert_close(a[then] * y, after)
        xt, now = after, then
    assert next(calls, None) is None


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_thresholding(ratio):
    import torch
    x = x_T(6) * np.array([0.2, 1, 4]).reshape(3, 1, 1, 1)
    theirs = scheduler("DDPMScheduler", thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=1e6)
    ours = thresholded(lambda xt, t: x, 100 * ratio)(None, None)
    np.testing.assert_allclose(theirs._threshold_sample(torch.from_numpy(x)).numpy(), ours, rtol=0, atol=1e-12)
