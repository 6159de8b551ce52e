"""Bad calls of the rooms around the core: see test_bad_arguments.py."""

import numpy as np
from bad_calls import DOUBLE, LIKE_X, ONE, OTHER, UNET, S, T, X, bad, same, z

from tinyddpm import sampler, schedule
from tinyddpm.interop import torch_random
from tinyddpm.more import (
    classes,
    editing,
    gaussian,
    ideal,
    likelihood,
    predictions,
    reverse,
    schedules,
    solvers,
    variance,
)
from tinyddpm.more.training import hybrid
from tinyddpm.runs import heldout

LABELS = "labels: expected classes"
STEPS = "now, then, xt: expected"
LIKE_X0 = "x0_hat: expected the shape of x0, (2, 1, 4, 4)"
BOUND = {"schedule": S, "x0": X, "x0_hat": X, "t": T, "grey_levels": 3}
V = variance.VarianceDenoiser(same, S)  # its network answers with xt, so v is 0


def ancestral(x, noise):
    return sampler.ancestral(same, S, x, noise)


ROWS = [
    bad(predictions.velocity, S, ONE, T, X, says="x0: expected"),
    bad(predictions.x0_from_eps, S, ONE, X, T, says="eps: expected"),
    bad(predictions.x0_from_v, S, DOUBLE, X, T, says="v: expected"),
    bad(predictions.eps_from_v, S, OTHER, X, T, says="v: expected"),
    bad(predictions.v_from_x0, S, ONE, X, T, says="x0: expected"),
    bad(predictions.v_from_eps, S, ONE, X, T, says="eps: expected"),
    bad(predictions.weights, S, "l1", says="weight: expected one of"),
    bad(predictions.weights, S, gamma=np.nan, says="gamma: expected"),
    bad(predictions.converter, "y", S, says="predicts: expected one of"),
    bad(predictions.roots, S, T, X, "l1", 5.0, None, says="weight: expected one of"),
    bad(predictions.denoiser, same, S, "y", says="predicts: expected one of"),
    bad(predictions.gradient, UNET, S, X, T, X, predicts="y", says="predicts: expected one of"),
    bad(reverse.posterior_mean_from_eps, S, ONE, X, T, says="eps: expected"),
    bad(reverse.posterior_mean_from_v, S, DOUBLE, X, T, says="v: expected"),
    bad(reverse.interpolated_variance, S, 2, says="large: expected"),
    bad(reverse.interpolated_variance, S, np.ones(5), says="could not be broadcast"),
    bad(reverse.thresholded, same, 101, says="percentile: expected"),
    bad(reverse.respaced, S, [3, 11], says="timesteps: expected"),
    bad(reverse.respaced, S, [-1, 3], says="timesteps: expected"),
    bad(reverse.at_timesteps, same, [0.5], says="timesteps: expected"),
    bad(solvers.ddim_inversion, lambda x, t: ONE, S, X, steps=3, says="x0_hat: expected"),
    bad(solvers.dpm_solver, lambda x, t: ONE, S, X, steps=3, says="x0_hat: expected"),
    bad(solvers.heun, lambda x, t: DOUBLE, S, X, steps=3, says="x0_hat: expected"),
    bad(solvers.heun, same, S, X, steps=0, says="steps: expected"),
    bad(schedules.from_beta, [0.1, -1], says="got -1.0 at t = 2"),
    bad(schedules.from_alpha_bar, [[0.5]], says="alpha_bar: expected a sequence"),
    bad(schedules.fraction_of_steps, S, [1, 0], says="monotonically"),
    bad(schedules.quadratic, 10, 0.5, 0.1, says="first, last: expected"),
    bad(schedules.scaled_linear, 0, says="T: expected"),
    bad(schedules.sigmoid, 10, 3, -3, says="sigmoid: expected"),
    bad(schedules.sigmoid_beta, 0.5, says="T: expected"),
    bad(schedules.zero_terminal_snr, schedule.linear(1), says="zero_terminal_snr: expected"),
    bad(ideal.ideal_denoiser, X[0], S, says="images: expected"),
    bad(
        ideal.ideal_denoiser,
        call=lambda: ideal.ideal_denoiser(X, S)(OTHER, T),
        says="xt: expected images of shape",
    ),
    bad(
        ideal.ideal_denoiser,
        call=lambda: ideal.ideal_denoiser(X, S)(X, np.array([-1, 3])),
        says="t: expected 1 to 10, got -1 to 3",
    ),
    bad(gaussian.gaussian_denoiser, S, X[0], np.ones((3, 3)), says="covariance: expected"),
    bad(
        gaussian.gaussian_denoiser,
        call=lambda: gaussian.gaussian_denoiser(S, X[0], 1.0)(OTHER, T),
        says="xt: expected images of shape",
    ),
    bad(gaussian.least_J, S, -1.0, says="no negative eigenvalue"),
    bad(gaussian.probability_flow, S, X[0], 1.0, X, -1, 3, says=f"{STEPS} steps from 0 to T = 10"),
    bad(gaussian.probability_flow, S, X[0], 1.0, OTHER, 1, 3, says=STEPS),
    bad(gaussian.moments, ancestral, (1, 2, 2), 3, says="T: expected at least the largest t"),
    bad(likelihood.terms, same, S, X, z, 1, says="grey_levels: expected"),
    bad(likelihood.terms, same, S, X + 7, z, 3, says="x0: expected 3 grey levels"),
    bad(likelihood.terms, lambda x, t: ONE, S, X, z, 3, says=f"{LIKE_X0}, got (1, 1, 4, 4)"),
    bad(likelihood.prior_term, S, X[0, 0], says="axis 2 is out of bounds"),
    bad(likelihood.step_term, S, X, X, np.array([1, 2]), says="t: expected 2 to T = 10"),
    bad(likelihood.step_term, S, X, ONE, T, says="x0_hat: expected the shape"),
    bad(likelihood.step_coefficients, S, S.beta[1:], says="variance: expected a table"),
    bad(likelihood.model_variance, S, -S.beta, says="variance: expected positive"),
    bad(likelihood.decoder_term, X, ONE, 0.1, 3, says="x0_hat: expected the shape"),
    bad(likelihood.log_probability, T, X, 0.1, 3, says="could not be broadcast"),
    bad(likelihood.standard_bin, T, X, 0.1, 3, says="could not be broadcast"),
    bad(likelihood.grey_numbers, X + np.nan, 3, says="x0: expected"),
    bad(variance.log_variance, S, X, np.array([0, 3]), says="t: expected"),
    bad(variance.nats, X, **BOUND | {"x0_hat": ONE}, says=f"x0_hat: {LIKE_X}"),
    bad(variance.nats, ONE, **BOUND, says="log_variance: expected (2, 1, 4, 4)"),
    bad(variance.nats, X, **BOUND | {"t": np.array([0, 3])}, says="t: expected"),
    bad(variance.terms, same, S, X + 7, z, 3, says="x0: expected 3 grey levels"),
    bad(variance.ancestral_learned, same, S, X, z, says="denoiser: expected a VarianceDenoiser"),
    bad(variance.ancestral_learned, V, S, X, z, [3, 4], says="steps: expected timesteps that fall"),
    bad(variance.ancestral_learned, V, S, X, z, clip=0, says="clip: expected"),
    bad(variance.ancestral_learned, V, S, X, lambda t: ONE, says="noise(10): expected"),
    bad(variance.VarianceDenoiser, same, S, "y", says="predicts: expected one of"),
    bad(hybrid.gradient, UNET, S, X, T, X, says="unet: expected a network of"),
    bad(hybrid.bound_weights, S, "l1", says="weight: expected one of"),
    bad(likelihood.bits_per_dimension, X[0, 0], says="axis 2 is out of bounds"),
    bad(classes.dropped, np.array([0, 10]), 10, says=f"{LABELS} from 0 to 9"),
    bad(classes.dropped, [1, 2], 10, says="labels: expected a class for each image"),
    bad(classes.guided, same, np.array([0.5]), 10, says="labels: expected a class for each image"),
    bad(
        classes.guided,
        call=lambda: classes.guided(same, T, 10)(X[:1], T[:1]),
        says="xt: expected 2 images",
    ),
    bad(
        classes.by_class,
        call=lambda: classes.by_class([same, same])(X, T, np.array([0, 2])),
        says=f"{LABELS} from 0 to 1",
    ),
    bad(editing.truncated, S, 11, says="t: expected 1 to T = 10"),
    bad(editing.image_to_image, same, S, X, 0, X, noise=z, says="t: expected 1 to T = 10"),
    bad(editing.image_to_image, same, S, X, 3, ONE, noise=z, says="eps: expected"),
    bad(editing.interpolate_at, same, S, X[0], OTHER[0], [0.5], 3, X[0], says="same shape"),
    bad(editing.interpolate_at, same, S, X[0], X[0], [0.5], 3, OTHER[0], says="eps: expected"),
    bad(editing.interpolate_latents, same, S, X[0], OTHER[0], [0.5], same, says="same shape"),
    bad(editing.slerp, X[0], OTHER[0], [0.5], says="b: expected float32 of shape (1, 4, 4)"),
    bad(editing.inpaint, same, S, X, np.full((4, 4), 0.5), X, z, says="mask: expected 0 and 1"),
    bad(editing.inpaint, same, S, X, np.ones((4, 4)), ONE, z, says="mask, x_T: expected"),
    bad(editing.inpaint, same, S, X, np.ones((7, 5)), X, z, says="mask, x_T: expected"),
    bad(editing.inpaint, same, S, X, np.ones((4, 4)), X, lambda t: ONE, says=LIKE_X),
    bad(editing.resampling_path, 10, 0, 1, says="resamplings: expected"),
    bad(editing.q_jump, S, X, 5, 3, X, says="now, then: expected"),
    bad(editing.q_jump, S, X, -2, 3, X, says="now, then: expected"),
    bad(editing.q_jump, S, X, 1, 3, ONE, says="eps: expected"),
    bad(
        heldout.Draws,
        call=lambda: heldout.Draws(X, S).evaluate(lambda x, t: x[:1]),
        says="expected float32 of shape",
    ),
    bad(torch_random.Generator, -1, says="seed: expected"),
    bad(
        torch_random.Generator,
        call=lambda: torch_random.Generator(0).normal((3,)),
        says="shape: PyTorch draws fewer",
    ),
]
