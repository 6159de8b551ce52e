"""What a public function says to arrays that do not fit: of the wrong shape or dtype, a t that is no step, too few of something.

One row a bad call: the function, the call, and words that the message must have. Each must raise; nothing may come back. Where NumPy
itself says it clearly, no check of ours stands before it, and the row holds NumPy's words. `test_every_public_function_is_here`
asks for a row, or a reason why there is none, for each public function that takes arrays.
"""
import inspect
import re

import numpy as np
import pytest

import autograd
from autograd import backend, backward, check, leaf, more_ops, ops
from tinyddpm import diffusion, noise, sampler, schedule
from tinyddpm.noise import addressed
from tinyddpm.runs import heldout
from tinyddpm.interop import torch_random
from tinyddpm.more import classes, editing, gaussian, ideal, likelihood, predictions, reverse, schedules, solvers
from tinyddpm.nn import UNet, UNetConfig, attention, block, conv, norm
from tinyddpm.objective import objective
from tinyddpm.train import gradient, gradient_descent, train

S = schedule.linear(10)
T = np.array([3, 10])
X = np.zeros((2, 1, 4, 4), np.float32)
ONE, OTHER, DOUBLE = X[:1], np.zeros((2, 1, 4, 5), np.float32), X.astype(np.float64)
SMALL = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), attention=(), groups=2, blocks=1)
UNET = UNet(SMALL).initialise(0)
H = np.zeros((4, 4, 2, 6), np.float32)  # H W N C

BAD_T = {  # of two images
    "negative": (np.array([3, -1]), "t: expected 1 to 10, got -1 to 3"),
    "0": (np.array([0, 3]), "t: expected 1 to 10, got 0 to 3"),
    "T + 1": (np.array([3, 11]), "t: expected 1 to 10, got 3 to 11"),
    "floats": (np.array([3.0, 4.0]), "t: expected an integer for each of 2 images, got float64 of shape (2,)"),
    "booleans": (np.array([True, False]), "got bool of shape (2,)"),
    "a number": (3, "for each of 2 images, got 3"),
    "one for two": (np.array([3]), "for each of 2 images, got int64 of shape (1,)"),
    "three for two": (np.array([3, 3, 3]), "got int64 of shape (3,)"),
    "a column": (np.array([[3], [3]]), "got int64 of shape (2, 1)"),
    "a list": ([3, 4], "got [3, 4]"),
}
OF_T = {  # every function that looks t up
    schedule.at: lambda t: schedule.at(S.beta, t, X),
    diffusion.q_sample: lambda t: diffusion.q_sample(S, X, t, X),
    diffusion.q_step: lambda t: diffusion.q_step(S, X, t, X),
    diffusion.posterior_mean: lambda t: diffusion.posterior_mean(S, X, X, t),
    diffusion.predicted_noise: lambda t: diffusion.predicted_noise(S, X, X, t),
    gradient: lambda t: gradient(UNET, S, X, t, X),
    predictions.gradient: lambda t: predictions.gradient(UNET, S, X, t, X),
    predictions.velocity: lambda t: predictions.velocity(S, X, t, X),
    predictions.x0_from_eps: lambda t: predictions.x0_from_eps(S, X, X, t),
    predictions.x0_from_v: lambda t: predictions.x0_from_v(S, X, X, t),
    predictions.eps_from_v: lambda t: predictions.eps_from_v(S, X, X, t),
    predictions.v_from_x0: lambda t: predictions.v_from_x0(S, X, X, t),
    predictions.v_from_eps: lambda t: predictions.v_from_eps(S, X, X, t),
    predictions.denoiser: lambda t: predictions.denoiser(lambda x, t: x, S, "eps")(X, t),
    reverse.posterior_mean_from_eps: lambda t: reverse.posterior_mean_from_eps(S, X, X, t),
    reverse.posterior_mean_from_v: lambda t: reverse.posterior_mean_from_v(S, X, X, t),
    gaussian.gaussian_denoiser: lambda t: gaussian.gaussian_denoiser(S, X[0], 1.0)(X, t),
}
FROM_0 = [diffusion.q_sample, gradient, predictions.gradient]  # at t = 0 x_t is x_0


def last(chain):
    *_, end = chain
    return end


def same(xt, t):
    return xt


def z(t):
    return X


A = leaf(np.ones(3))
ROWS = [
    (leaf, lambda: leaf(np.arange(3)), "leaf: expected an array of floats, got int64"),
    (leaf, lambda: leaf([True]), "got bool"),
    (leaf, lambda: leaf(np.ones(3), np.ones(1)), "grad: expected float64 of shape (3,), got float64 of shape (1,)"),
    (leaf, lambda: leaf(np.ones(3), np.ones(3, np.float32)), "got float32 of shape (3,)"),
    (backward, lambda: backward(A * A), "needs a gradient g"),
    (backward, lambda: backward(A * A, np.ones((5, 3))), "g: expected float64 of shape (3,), got float64 of shape (5, 3)"),
    (backward, lambda: backward(A * A, np.ones(3, np.float32)), "got float32"),
    (backward, lambda: backward(autograd.Tensor(1.0)), "is a leaf"),
    (ops.add, lambda: ops.add(A, np.ones(2)), "could not be broadcast"),
    (ops.mul, lambda: ops.mul(A, leaf(np.ones(3, np.float32))), "mul: an argument is float32 but the result would be float64"),
    (ops.sub, lambda: A - np.ones((3, 2)), "could not be broadcast"),
    (ops.div, lambda: A / np.ones(4), "could not be broadcast"),
    (ops.matmul, lambda: ops.matmul(A, A), "matmul: expected at least two axes each"),
    (more_ops.matmul, lambda: A @ leaf(np.ones((2, 2))), "matmul: Input operand 1 has a mismatch"),
    (ops.sum, lambda: A.sum(axis=1), "axis 1 is out of bounds"),
    (ops.mean, lambda: A.mean(axis=1), "axis 1 is out of bounds"),
    (ops.reshape, lambda: A.reshape(2, 2), "cannot reshape array of size 3"),
    (ops.transpose, lambda: A.transpose(0, 1), "axes don't match"),
    (ops.concat, lambda: ops.concat(A, np.ones((2, 2))), "same number of dimensions"),
    (ops.softmax, lambda: ops.softmax(A, axis=2), "axis 2 is out of bounds"),
    (more_ops.pow, lambda: A ** np.ones(2), "could not be broadcast"),
    (more_ops.maximum, lambda: more_ops.maximum(A, np.ones(2)), "could not be broadcast"),
    (more_ops.minimum, lambda: more_ops.minimum(A, np.ones(2)), "could not be broadcast"),
    (more_ops.where, lambda: more_ops.where(np.ones(2, bool), A, A), "could not be broadcast"),
    (more_ops.max, lambda: more_ops.max(A, axis=1), "axis 1 is out of bounds"),
    (more_ops.logsumexp, lambda: more_ops.logsumexp(A, axis=1), "axis 1 is out of bounds"),
    (more_ops.broadcast_to, lambda: more_ops.broadcast_to(A, shape=(2,)), "could not be broadcast"),
    (more_ops.stack, lambda: more_ops.stack(A, np.ones(2)), "same shape"),
    (more_ops.pad, lambda: more_ops.pad(A, width=((1, 1), (1, 1))), "broadcast"),
    (more_ops.index, lambda: A[5], "out of bounds"),
    (more_ops.index, lambda: A[np.array([0.5])], "must be of integer"),
    (more_ops.take, lambda: more_ops.take(A, indices=[7]), "out of bounds"),
    (more_ops.dropout, lambda: more_ops.dropout(A, rate=0.5, uniform=np.ones(2)), "dropout: uniform must have x's shape"),
    (more_ops.dropout, lambda: more_ops.dropout(A, rate=1.0, uniform=np.ones(3)), "dropout: rate"),
    (check.check_gradient, lambda: check.check_gradient(ops.sum, np.ones(3, np.float32)), "float64"),
    (check.check_pullback, lambda: check.check_pullback(ops.silu, np.ones(3, np.float32)), "float64"),
    (check.numerical_gradient, lambda: check.numerical_gradient(np.sum, np.ones(3, np.float32)), "float64"),
    (backend.to_device, lambda: backend.to_device(X, "gpu"), "device: expected cpu, cuda or cuda:INDEX"),
    (backend.within, lambda: backend.within("n", np.array([4]), 0, 3), "n: expected 0 to 3, got 4 to 4"),
    (schedule.Schedule, lambda: schedule.Schedule([[0.1]]), "beta: expected a sequence"),
    (schedule.Schedule, lambda: schedule.Schedule([0.1, np.nan]), "beta: expected"),
    (schedule.linear, lambda: schedule.linear(0), "T: expected a whole number"),
    (schedule.linear, lambda: schedule.linear(10.0), "T: expected"),
    (schedule.cosine, lambda: schedule.cosine(-1), "T: expected"),
    (backend.alike, lambda: backend.alike("a", ONE, X), "a: expected float32 of shape (2, 1, 4, 4), got float32 of shape (1, 1, 4, 4)"),
    (diffusion.q_sample, lambda: diffusion.q_sample(S, X, T, ONE), "eps: expected float32 of shape (2, 1, 4, 4), got float32 of shape (1, 1, 4, 4)"),
    (diffusion.q_sample, lambda: diffusion.q_sample(S, X, T, DOUBLE), "eps: expected float32 of shape (2, 1, 4, 4), got float64"),
    (diffusion.q_sample, lambda: diffusion.q_sample(S, X, T, 0.5), "got 0.5"),
    (diffusion.q_step, lambda: diffusion.q_step(S, X, T, OTHER), "eps: expected"),
    (diffusion.q_chain, lambda: last(diffusion.q_chain(S, X, lambda t: ONE)), "eps: expected"),
    (diffusion.posterior_mean, lambda: diffusion.posterior_mean(S, ONE, X, T), "x0: expected"),
    (diffusion.predicted_noise, lambda: diffusion.predicted_noise(S, OTHER, X, T), "x0: expected"),
    (objective, lambda: objective(leaf(X), ONE), "the prediction has shape (2, 1, 4, 4), the images (1, 1, 4, 4)"),
    (objective, lambda: objective(leaf(X), X, "l1"), "form: expected one of"),
    (objective, lambda: objective(leaf(X), X, batch_size=0), "batch_size: expected at least one image, got 0"),
    (objective, lambda: objective(leaf(X[:0]), X[:0]), "batch_size: expected"),
    (objective, lambda: objective(leaf(X), DOUBLE), "sub: an argument is float32"),
    (objective, lambda: objective(leaf(X[0, 0]), X[0, 0]), "axis 2 is out of bounds"),
    (sampler.ancestral, lambda: last(sampler.ancestral(lambda x, t: ONE, S, X, z)), "x0: expected"),
    (sampler.ancestral, lambda: last(sampler.ancestral(same, S, X, lambda t: ONE)), "noise(10): expected float32 of shape (2, 1, 4, 4), got float32 of shape (1, 1, 4, 4)"),
    (sampler.ancestral, lambda: last(sampler.ancestral(same, S, X, lambda t: DOUBLE)), "noise(10): expected float32 of shape (2, 1, 4, 4), got float64"),
    (sampler.ancestral, lambda: last(sampler.ancestral(same, S, X, z, variance=S.beta[1:])), "variance: expected a table of T + 1 = 11 numbers, got 10"),
    (sampler.ancestral, lambda: last(sampler.ancestral(same, S, X, z, clip=-1)), "clip: expected a positive bound or None, got -1"),
    (sampler.ancestral, lambda: last(sampler.ancestral(same, S, X, z, clip=np.nan)), "clip: expected"),
    (sampler.ddim, lambda: last(sampler.ddim(lambda x, t: DOUBLE, S, X, steps=3)), "x0: expected"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, steps=11)), "steps: expected 1 to T = 10, got 11"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, steps=2.5)), "got 2.5"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, steps=2, eta=0.5)), "noise: eta = 0.5 needs"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, z, steps=2, eta=1.5)), "eta: expected 0 to 1, got 1.5"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, z, steps=2, eta=np.nan)), "eta: expected"),
    (sampler.ddim, lambda: last(sampler.ddim(same, S, X, lambda t: 0.0, steps=2, eta=1)), "noise(10): expected float32"),
    (sampler.timestep_grid, lambda: sampler.timestep_grid(10, 0), "steps: expected"),
    (gradient, lambda: gradient(UNET, S, X, T, ONE), "eps: expected"),
    (gradient, lambda: gradient(UNET, S, OTHER, T, OTHER), "xt: expected images (N, 1, 4, 4) of floats, got float32 of shape (2, 1, 4, 5)"),
    (gradient, lambda: gradient(UNET, S, DOUBLE, T, DOUBLE), "an argument is float32 but the result would be float64"),
    (gradient, lambda: gradient(UNET, S, X, T, X, cond=T), "cond: this network is conditioned on t alone"),
    (train, lambda: next(train(UNET, X[0], S, 1.0, seed=0)), "images: expected an array (n, C, H, W) of float32, got float32 of shape (1, 4, 4)"),
    (train, lambda: next(train(UNET, X.astype(np.uint8), S, 1.0, seed=0)), "images: expected an array (n, C, H, W) of float32, got uint8"),
    (train, lambda: next(train(UNET, X, S, 1.0, seed=0, batch_size=0)), "batch_size: expected"),
    (train, lambda: next(train(UNET, X[:0], S, 1.0, seed=0)), "n: expected 1 to"),
    (train, lambda: next(train(UNET, OTHER, S, 1.0, seed=0)), "xt: expected images"),
    (train, lambda: next(train(UNET, np.full_like(X, np.nan), S, 1.0, seed=0)), "J is nan at step 1"),
    (train, lambda: next(train(UNet(SMALL), X, S, 1.0, seed=0)), "unet: expected one with numbers"),
    (train, lambda: next(train(UNET, X, S, 1.0, seed=0.5)), "seed: expected an integer, got 0.5"),
    (UNet, lambda: UNET(X.astype(np.uint8), T), "xt: expected images (N, 1, 4, 4) of floats, got uint8"),
    (UNet, lambda: UNET(X, 3), "t: expected one timestep for each of 2 images, got 3"),
    (UNet, lambda: UNET(X, T[:1]), "got shape (1,)"),
    (UNet, lambda: UNET(X[0], T), "xt: expected images"),
    (UNet, lambda: UNet(SMALL)(X, T), "call `initialise` or `bind` first"),
    (UNet, lambda: UNet(SMALL).bind(np.zeros(7, np.float32)), "theta: expected a vector of"),
    (UNet, lambda: UNet(SMALL).bind(UNET.theta.astype(int)), "theta: expected a vector of"),
    (UNet, lambda: UNet(SMALL).bind(UNET.theta, UNET.grad.astype(np.float64)), "grad: expected a vector of"),
    (conv.conv2d, lambda: conv.conv2d(H, np.ones((3, 3, 5, 2), np.float32)), "conv2d: expected x (H, W, N, Cin) and w"),
    (conv.conv2d, lambda: conv.conv2d(H, np.ones((9, 9, 6, 2), np.float32)), "a 9×9 kernel does not fit"),
    (conv.conv2d, lambda: conv.conv2d(H, np.ones((3, 3, 6, 2))), "conv2d: an argument is float32"),
    (norm.group_norm, lambda: norm.group_norm(H, np.ones(6, np.float32), np.zeros(6, np.float32), groups=4), "cannot reshape"),
    (norm.group_norm, lambda: norm.group_norm(H, np.ones(5, np.float32), np.zeros(6, np.float32), groups=2), "could not be broadcast"),
    (attention.attention, lambda: attention.attention(*[leaf(H)] * 3, heads=4), "cannot reshape"),
    (block.norm_silu_conv, lambda: block.norm_silu_conv(H, *np.zeros((2, 6), np.float32), np.ones((3, 3, 5, 2), np.float32), 0.0, 0.0, None, groups=2), "conv2d: expected"),
    (block.upsample_conv, lambda: block.upsample_conv(leaf(H), np.ones((3, 3, 5, 2), np.float32), 0.0), "conv2d: expected"),
    (block.repeat2, lambda: block.repeat2(H[0]), "not enough values to unpack"),
    (noise.bits, lambda: noise.bits(0, "a", 0, np.array([0.5]), 1), "index: expected 1-D integers"),
    (noise.uniform, lambda: noise.uniform(0, "a", 0, np.array([-1])), "index: expected 0 to"),
    (noise.integers, lambda: noise.integers(0, "a", 0, np.arange(2), 0), "n: expected"),
    (noise.normal, lambda: noise.normal(0, "a", 0, np.arange(2), [3]), "shape: expected a tuple"),
    (noise.normal, lambda: noise.normal(0, "a", 0, np.arange(2), (3,), int), "dtype: expected float32"),
    (noise.normal, lambda: noise.normal(0, 7, 0, np.arange(2)), "purpose: expected a string"),
    (noise.normal, lambda: noise.normal(0, "a", -1, np.arange(2)), "step: expected"),
    (noise.bits, lambda: noise.bits(0, "a", 0, np.arange(2), -1), "words: expected"),
    (predictions.velocity, lambda: predictions.velocity(S, ONE, T, X), "x0: expected"),
    (predictions.x0_from_eps, lambda: predictions.x0_from_eps(S, ONE, X, T), "eps: expected"),
    (predictions.x0_from_v, lambda: predictions.x0_from_v(S, DOUBLE, X, T), "v: expected"),
    (predictions.eps_from_v, lambda: predictions.eps_from_v(S, OTHER, X, T), "v: expected"),
    (predictions.v_from_x0, lambda: predictions.v_from_x0(S, ONE, X, T), "x0: expected"),
    (predictions.v_from_eps, lambda: predictions.v_from_eps(S, ONE, X, T), "eps: expected"),
    (predictions.weights, lambda: predictions.weights(S, "l1"), "weight: expected one of"),
    (predictions.weights, lambda: predictions.weights(S, gamma=np.nan), "gamma: expected"),
    (predictions.denoiser, lambda: predictions.denoiser(same, S, "y"), "predicts: expected one of"),
    (predictions.gradient, lambda: predictions.gradient(UNET, S, X, T, X, predicts="y"), "predicts: expected one of"),
    (reverse.posterior_mean_from_eps, lambda: reverse.posterior_mean_from_eps(S, ONE, X, T), "eps: expected"),
    (reverse.posterior_mean_from_v, lambda: reverse.posterior_mean_from_v(S, DOUBLE, X, T), "v: expected"),
    (reverse.interpolated_variance, lambda: reverse.interpolated_variance(S, 2), "large: expected shares"),
    (reverse.interpolated_variance, lambda: reverse.interpolated_variance(S, np.ones(5)), "could not be broadcast"),
    (reverse.thresholded, lambda: reverse.thresholded(same, 101), "percentile: expected"),
    (reverse.respaced, lambda: reverse.respaced(S, [3, 11]), "timesteps: expected"),
    (reverse.respaced, lambda: reverse.respaced(S, [-1, 3]), "timesteps: expected"),
    (reverse.at_timesteps, lambda: reverse.at_timesteps(same, [0.5]), "timesteps: expected"),
    (solvers.ddim_inversion, lambda: last(solvers.ddim_inversion(lambda x, t: ONE, S, X, steps=3)), "x0_hat: expected"),
    (solvers.dpm_solver, lambda: last(solvers.dpm_solver(lambda x, t: ONE, S, X, steps=3)), "x0_hat: expected"),
    (solvers.heun, lambda: last(solvers.heun(lambda x, t: DOUBLE, S, X, steps=3)), "x0_hat: expected"),
    (solvers.heun, lambda: last(solvers.heun(same, S, X, steps=0)), "steps: expected"),
    (schedules.from_beta, lambda: schedules.from_beta([0.1, -1]), "got -1.0 at t = 2"),
    (schedules.from_alpha_bar, lambda: schedules.from_alpha_bar([[0.5]]), "alpha_bar: expected a sequence"),
    (schedules.fraction_of_steps, lambda: schedules.fraction_of_steps(S, [1, 0]), "monotonically"),
    (schedules.quadratic, lambda: schedules.quadratic(10, 0.5, 0.1), "first, last: expected"),
    (schedules.scaled_linear, lambda: schedules.scaled_linear(0), "T: expected"),
    (schedules.sigmoid, lambda: schedules.sigmoid(10, 3, -3), "sigmoid: expected"),
    (schedules.sigmoid_beta, lambda: schedules.sigmoid_beta(0.5), "T: expected"),
    (schedules.zero_terminal_snr, lambda: schedules.zero_terminal_snr(schedule.linear(1)), "zero_terminal_snr: expected"),
    (ideal.ideal_denoiser, lambda: ideal.ideal_denoiser(X[0], S), "images: expected"),
    (ideal.ideal_denoiser, lambda: ideal.ideal_denoiser(X, S)(OTHER, T), "xt: expected images of shape"),
    (ideal.ideal_denoiser, lambda: ideal.ideal_denoiser(X, S)(X, np.array([-1, 3])), "t: expected 1 to 10, got -1 to 3"),
    (gaussian.gaussian_denoiser, lambda: gaussian.gaussian_denoiser(S, X[0], np.ones((3, 3))), "covariance: expected"),
    (gaussian.gaussian_denoiser, lambda: gaussian.gaussian_denoiser(S, X[0], 1.0)(OTHER, T), "xt: expected images of shape"),
    (gaussian.least_J, lambda: gaussian.least_J(S, -1.0), "no negative eigenvalue"),
    (gaussian.probability_flow, lambda: gaussian.probability_flow(S, X[0], 1.0, X, -1, 3), "now, then, xt: expected steps from 0 to T = 10"),
    (gaussian.probability_flow, lambda: gaussian.probability_flow(S, X[0], 1.0, OTHER, 1, 3), "now, then, xt: expected"),
    (gaussian.moments, lambda: last(gaussian.moments(lambda x, noise: sampler.ancestral(same, S, x, noise), (1, 2, 2), 3)), "T: expected at least the largest t"),
    (likelihood.terms, lambda: last(likelihood.terms(same, S, X, z, 1)), "grey_levels: expected"),
    (likelihood.terms, lambda: last(likelihood.terms(same, S, X + 7, z, 3)), "x0: expected 3 grey levels"),
    (likelihood.terms, lambda: last(likelihood.terms(lambda x, t: ONE, S, X, z, 3)), "x0_hat: expected the shape of x0, (2, 1, 4, 4), got (1, 1, 4, 4)"),
    (likelihood.prior_term, lambda: likelihood.prior_term(S, X[0, 0]), "axis 2 is out of bounds"),
    (likelihood.step_term, lambda: likelihood.step_term(S, X, X, np.array([1, 2])), "t: expected 2 to T = 10"),
    (likelihood.step_term, lambda: likelihood.step_term(S, X, ONE, T), "x0_hat: expected the shape"),
    (likelihood.step_coefficients, lambda: likelihood.step_coefficients(S, S.beta[1:]), "variance: expected a table"),
    (likelihood.model_variance, lambda: likelihood.model_variance(S, -S.beta), "variance: expected positive"),
    (likelihood.decoder_term, lambda: likelihood.decoder_term(X, ONE, 0.1, 3), "x0_hat: expected the shape"),
    (likelihood.log_probability, lambda: likelihood.log_probability(T, X, 0.1, 3), "could not be broadcast"),
    (likelihood.grey_numbers, lambda: likelihood.grey_numbers(X + np.nan, 3), "x0: expected"),
    (likelihood.bits_per_dimension, lambda: likelihood.bits_per_dimension(X[0, 0]), "axis 2 is out of bounds"),
    (classes.dropped, lambda: classes.dropped(np.array([0, 10]), 10), "labels: expected classes from 0 to 9"),
    (classes.dropped, lambda: classes.dropped([1, 2], 10), "labels: expected a class for each image"),
    (classes.guided, lambda: classes.guided(same, np.array([0.5]), 10), "labels: expected a class for each image"),
    (classes.guided, lambda: classes.guided(same, T, 10)(X[:1], T[:1]), "xt: expected 2 images"),
    (classes.by_class, lambda: classes.by_class([same, same])(X, T, np.array([0, 2])), "labels: expected classes from 0 to 1"),
    (editing.truncated, lambda: editing.truncated(S, 11), "t: expected 1 to T = 10"),
    (editing.image_to_image, lambda: last(editing.image_to_image(same, S, X, 0, X, noise=z)), "t: expected 1 to T = 10"),
    (editing.image_to_image, lambda: last(editing.image_to_image(same, S, X, 3, ONE, noise=z)), "eps: expected"),
    (editing.interpolate_at, lambda: last(editing.interpolate_at(same, S, X[0], OTHER[0], [0.5], 3, X[0])), "same shape"),
    (editing.interpolate_at, lambda: last(editing.interpolate_at(same, S, X[0], X[0], [0.5], 3, OTHER[0])), "eps: expected"),
    (editing.interpolate_latents, lambda: last(editing.interpolate_latents(same, S, X[0], OTHER[0], [0.5], same)), "same shape"),
    (editing.slerp, lambda: editing.slerp(X[0], OTHER[0], [0.5]), "b: expected float32 of shape (1, 4, 4)"),
    (editing.inpaint, lambda: last(editing.inpaint(same, S, X, np.full((4, 4), 0.5), X, z)), "mask: expected 0 and 1"),
    (editing.inpaint, lambda: last(editing.inpaint(same, S, X, np.ones((4, 4)), ONE, z)), "mask, x_T: expected"),
    (editing.inpaint, lambda: last(editing.inpaint(same, S, X, np.ones((4, 4)), X, lambda t: ONE)), "expected float32 of shape (2, 1, 4, 4)"),
    (editing.resampling_path, lambda: editing.resampling_path(10, 0, 1), "resamplings: expected"),
    (editing.q_jump, lambda: editing.q_jump(S, X, 5, 3, X), "now, then: expected"),
    (editing.q_jump, lambda: editing.q_jump(S, X, -2, 3, X), "now, then: expected"),
    (editing.q_jump, lambda: editing.q_jump(S, X, 1, 3, ONE), "eps: expected"),
    (heldout.Draws, lambda: heldout.Draws(X, S).evaluate(lambda x, t: x[:1]), "expected float32 of shape"),
    (torch_random.Generator, lambda: torch_random.Generator(-1), "seed: expected"),
    (torch_random.Generator, lambda: torch_random.Generator(0).normal((3,)), "shape: PyTorch draws fewer"),
]

# Public, takes arrays, and has no row.
NO_ROW = {
    "any array will do": [ops.neg, ops.square, ops.silu, ops.sigmoid_of, more_ops.abs, more_ops.sqrt, more_ops.exp, more_ops.log, more_ops.tanh, more_ops.sigmoid, more_ops.relu, more_ops.gelu, more_ops.clip],
    "takes a schedule, which cannot be made wrong": [diffusion.posterior_coefficients, diffusion.posterior_variance, schedules.snr, schedules.log_snr],
    "is the one in another module": [predictions.eps_from_x0, predictions.x0_from_x0],
    "a decorator or a context": [autograd.primitive, autograd.no_grad],
    "is called by others here, with what they have checked": [conv.windows, conv.add_windows, likelihood.mean_and_error, gradient_descent, noise.Stream, heldout.mean_image],
    "an error, or a record": [autograd.engine.Node, inspect.getmodule(train).Step, check.GradientError, check.Method, likelihood.Bound],
    "takes numbers, which its own test gets wrong (test_classes)": [classes.ClassConfig, classes.ClassUNet, classes.ClassEmbedding],
    "takes what comes out of PyTorch's shapes (test_torch_random)": [torch_random.initial_weights],
}
MODULES = [autograd.engine, ops, more_ops, check, schedule, diffusion, inspect.getmodule(objective), sampler, inspect.getmodule(train), addressed, predictions, reverse, schedules, solvers, ideal, gaussian, likelihood, classes, editing, heldout, torch_random]


@pytest.mark.parametrize("function, call, words", ROWS, ids=lambda x: getattr(x, "__name__", None) if callable(x) else None)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_bad_call_says_what_was_expected_and_what_came(function, call, words):
    with pytest.raises((ValueError, TypeError, IndexError, FloatingPointError, AssertionError)) as caught:
        call()
    said = str(caught.value)
    assert words in said and "\n" not in said and len(said) < 400, said


@pytest.mark.parametrize("t", BAD_T)
@pytest.mark.parametrize("function", OF_T, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_a_t_that_is_no_step_is_refused(function, t):
    assert OF_T[function](T) is not None  # with a right one it computes
    value, words = BAD_T[t]
    if function in FROM_0:
        words = words.replace("expected 1 to", "expected 0 to")
        if t == "0":
            return
    with pytest.raises(ValueError, match=re.escape(words)):
        OF_T[function](value)


def test_every_public_function_is_here():
    named = {*(row[0] for row in ROWS), *OF_T, *(f for reason in NO_ROW.values() for f in reason)}
    public = {getattr(module, name) for module in MODULES for name, f in vars(module).items()
              if callable(f) and not name.startswith("_") and getattr(f, "__module__", None) == module.__name__}
    missing = sorted(f"{f.__module__}.{f.__name__}" for f in public - named)
    assert not missing


def test_a_t_on_a_gpu_is_not_waited_for_and_gives_nan(monkeypatch):
    """With t taken for an array on a GPU; on CuPy itself: tests/gpu."""
    monkeypatch.setattr(backend, "array_module", lambda a: None if a.dtype.kind == "i" else np)
    found = schedule.at(S.beta, np.array([-7, -1, 0, 1, 10, 11, 99]), np.zeros((7, 1, 2, 2)))
    assert found.shape == (7, 1, 1, 1)
    np.testing.assert_array_equal(found.ravel(), [np.nan, np.nan, np.nan, S.beta[1], S.beta[10], np.nan, np.nan])
