"""Bugs, each with the test that is there for it.

Some are real bugs of well-known implementations of diffusion, some our own invention. `run.py`
plants each and runs its test.
"""

from typing import NamedTuple


class Bug(NamedTuple):
    """Replace `right` by `wrong` in `file`, and `test` fails."""

    name: str
    file: str
    right: str  # stands there once
    wrong: str
    test: str


TRAIN, DIFFUSION = "tests/core/test_train.py::", "tests/core/test_diffusion.py::"
SCHEDULE, SAMPLER = "tests/core/test_schedule.py::", "tests/core/test_sampler.py::"
DATA, REVERSE = "tests/data/test_idx_files.py::", "tests/more/test_reverse.py::"
SOLVERS, LIKELIHOOD = "tests/more/test_solvers.py::", "tests/more/test_likelihood.py::"
PREDICTIONS, LOSSES = "tests/more/test_predictions.py::", "tests/more/test_weighted_losses.py::"
EDITING, INPAINTING = "tests/more/test_editing.py::", "tests/more/test_inpainting.py::"
GUIDANCE, UNET = "tests/more/test_guidance.py::", "tests/nn/test_unet.py::"
EVALUATION, EMA = "tests/evaluation/test_evaluation.py::", "tests/runs/test_ema.py::"
PIXELS, IMPORT = "tests/data/test_exact_pixels.py::", "tests/interop/test_interop_commands.py::"
TENSOR = "tests/autograd/test_plain.py::"

BUGS = [
    # ---- training ----
    Bug(
        "T is never drawn",
        "tinyddpm/train.py",
        '1 + noise.integers(seed, "t", k, m, schedule.T)',
        '1 + noise.integers(seed, "t", k, m, schedule.T - 1)',
        TRAIN + "test_t_covers_exactly_1_to_T_uniformly",
    ),
    Bug(
        "t is drawn from 0",
        "tinyddpm/train.py",
        '1 + noise.integers(seed, "t", k, m, schedule.T)',
        'noise.integers(seed, "t", k, m, schedule.T)',
        TRAIN + "test_t_covers_exactly_1_to_T_uniformly",
    ),
    Bug(
        "image 0 is never trained on",
        "tinyddpm/train.py",
        'noise.integers(seed, "data", k, m, len(images))',
        '1 + noise.integers(seed, "data", k, m, len(images) - 1)',
        TRAIN + "test_every_image_is_drawn_and_equally_often",
    ),
    Bug(
        "pixels end up in [−½, ½]",
        "tinyddpm/data/loading.py",
        "half = (grey_levels - 1) / 2",
        "half = grey_levels - 1",
        DATA + "test_every_uint8_lands_where_it_should",
    ),
    Bug(
        "x_t with the noise of t − 1",
        "tinyddpm/diffusion.py",
        "noise = at(np.sqrt(1 - alpha_bar), t, x0, first=0)",
        "noise = at(np.sqrt(1 - alpha_bar), t - 1, x0, first=0)",
        DIFFUSION + "test_q_sample_is_equation_4_with_its_own_t_for_each_sample",
    ),
    # ---- schedules ----
    Bug(
        "ᾱ before t = 1 wraps to ᾱ_T",
        "tinyddpm/diffusion.py",
        "    before = schedule.alpha_bar[:-1]\n    c1",
        "    before = np.roll(schedule.alpha_bar[1:], 1)\n    c1",
        REVERSE + "test_at_t_1_with_the_true_x0_eps_or_v_the_mean_is_x0",
    ),
    Bug(
        "β̃ before t = 1 wraps to ᾱ_T",
        "tinyddpm/diffusion.py",
        "before, alpha_bar = schedule.alpha_bar[:-1], schedule.alpha_bar[1:]",
        "before, alpha_bar = np.roll(schedule.alpha_bar[1:], 1), schedule.alpha_bar[1:]",
        DIFFUSION + "test_alpha_bar_before_t_1_does_not_wrap_to_the_last",
    ),
    Bug(
        "cosine clipped to [.01, .99]",
        "tinyddpm/schedule.py",
        "np.minimum(1 - f[1:] / f[:-1], 0.999)",
        "np.clip(1 - f[1:] / f[:-1], 0.01, 0.99)",
        SCHEDULE + "test_cosine_is_not_clipped_to_the_hundredth",
    ),
    # ---- samplers ----
    Bug(
        "noise at the final step",
        "tinyddpm/sampler.py",
        "if step > 1:",
        "if step > 0:",
        SAMPLER + "test_no_noise_is_added_at_the_final_step",
    ),
    Bug(
        "DDIM with the wrong sign on ε",
        "tinyddpm/more/solvers.py",
        "* x0_hat + float(direction) * eps_hat",
        "* x0_hat - float(direction) * eps_hat",
        SAMPLER + "test_ddim_that_knows_x0_follows_the_noise_back_with_its_sign",
    ),
    Bug(
        "DDIM visits only the first steps",
        "tinyddpm/more/solvers.py",
        "return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]",
        "return list(range(steps, 0, -1))",
        SAMPLER + "test_ddim_visits_T_and_not_only_the_first_steps",
    ),
    Bug(
        "DDIM on a grid that never visits T",
        "tinyddpm/more/solvers.py",
        "return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]",
        "return [1 + T * i // steps for i in range(steps - 1, -1, -1)]",
        SAMPLER + "test_the_grid_goes_evenly_from_T_to_its_last_step",
    ),
    Bug(
        "DDIM takes x̂_0 for ε",
        "tinyddpm/more/solvers.py",
        "eps_hat = predicted_noise(schedule, x0_hat, xt, t)",
        "eps_hat = x0_hat",
        SAMPLER + "test_ddim_that_knows_x0_follows_the_noise_back_with_its_sign",
    ),
    Bug(
        "ε̂ not of the clipped x̂_0",
        "tinyddpm/more/solvers.py",
        "eps_hat = predicted_noise(schedule, x0_hat, xt, t)",
        "eps_hat = predicted_noise(schedule, denoiser(xt, t), xt, t)",
        SAMPLER + "test_ddim_with_eta_1_on_all_steps_is_the_ancestral_sampler",
    ),
    Bug(
        "σ forgotten under the root",
        "tinyddpm/more/solvers.py",
        "np.sqrt(1 - alpha_bar[then] - sigma2)",
        "np.sqrt(1 - alpha_bar[then])",
        SAMPLER + "test_ddim_with_eta_1_on_all_steps_is_the_ancestral_sampler",
    ),
    Bug(
        "DPM-Solver never updates its memory",
        "tinyddpm/more/solvers.py",
        "before, x0_before = now, x0_hat",
        "before, x0_before = now, D",
        SOLVERS + "test_dpm_solver_is_the_published_algorithm",
    ),
    Bug(
        "inversion takes ε̂ one step late",
        "tinyddpm/more/solvers.py",
        "_denoised(denoiser, guess, then, clip)",
        "_denoised(denoiser, guess, max(now, 1), clip)",
        SOLVERS + "test_inversion_is_the_step_of_ddim_the_other_way_round",
    ),
    # ---- likelihood ----
    Bug(
        "edge bins closed",
        "tinyddpm/more/likelihood.py",
        "xp.where(numbers == 0, -math.inf, ",
        "xp.where(numbers < 0, -math.inf, ",
        LIKELIHOOD + "test_the_probabilities_of_all_grey_levels_sum_to_1",
    ),
    Bug(
        "L_T of T − 1",
        "tinyddpm/more/likelihood.py",
        "a = float(schedule.alpha_bar[-1])",
        "a = float(schedule.alpha_bar[-2])",
        LIKELIHOOD + "test_prior_term_is_the_integral_of_the_kl",
    ),
    # ---- predictions, guidance, editing ----
    Bug(
        "v with the wrong sign",
        "tinyddpm/more/predictions.py",
        "return _signal(schedule, t, eps) * eps - _noise",
        "return _signal(schedule, t, eps) * eps + _noise",
        PREDICTIONS + "test_x_t_and_v_are_x_0_and_eps_turned_by_an_angle",
    ),
    Bug(
        "predicting x_0 with the ε-loss in disguise",
        "tinyddpm/more/predictions.py",
        '    if weight != "none":',
        '    weight = "snr" if weight == "none" else weight\n    if weight != "none":',
        LOSSES + "test_an_x0_prediction_without_weight_is_not_the_eps_loss_in_disguise",
    ),
    Bug(
        "guidance weights swapped",
        "tinyddpm/more/classes.py",
        "return x0_null + float(weight) * (x0_class - x0_null)",
        "return x0_class + float(weight) * (x0_class - x0_null)",
        GUIDANCE + "test_guidance_goes_from_the_one_model_through_the_other",
    ),
    Bug(
        "guidance conditioned on −one-hot",
        "tinyddpm/more/classes.py",
        "chosen = (labels[:, None] == xp.arange(rows)).astype(self.table.dtype)",
        "chosen = (labels[:, None] == xp.arange(rows)).astype(self.table.dtype)\n"
        "        chosen[labels == rows - 1] = -1",
        GUIDANCE + "test_gallery_the_unconditional_half_is_of_the_null_class_and_not_minus_one_hot",
    ),
    Bug(
        "noised to t, denoised from t − 1",
        "tinyddpm/more/editing.py",
        "yield from sampler(denoiser, truncated(schedule, t), blend",
        "yield from sampler(denoiser, truncated(schedule, t - 1), blend",
        EDITING + "test_gallery_interpolation_denoises_from_the_very_t_that_it_noised_to",
    ),
    Bug(
        "RePaint noises the known pixels to t, not t − 1",
        "tinyddpm/more/editing.py",
        "_same(then, image), noise(next(further)))",
        "_same(now, image), noise(next(further)))",
        INPAINTING + "test_a_mask_of_ones_returns_the_image_noised_to_each_step_reached",
    ),
    # ---- runs ----
    Bug(
        "every dropout layer of a step draws the same numbers",
        "tinyddpm/noise/addressed.py",
        "self.calls += 1",
        "self.calls = 1",
        UNET + "test_no_two_layers_of_a_step_drop_the_same_features",
    ),
    Bug(
        "EMA of the θ before the step",
        "tinyddpm/runs/training/trainer.py",
        "ema.update(model.ema.theta, model.unet.theta, config.ema_decay, step.k)",
        "ema.update(model.ema.theta, vars(self).get('before', model.unet.theta), "
        "config.ema_decay, step.k)\n                self.before = model.unet.theta.copy()",
        EMA + "test_the_ema_is_a_weighted_mean_of_the_thetas_after_each_step",
    ),
    Bug(
        "an imported run never uses the large variance",
        "tinyddpm/runs/opening.py",
        "scheduler.schedule.beta if scheduler.large_variance else None",
        "None",
        IMPORT + "test_an_imported_model_is_sampled_as_its_scheduler_says",
    ),
    Bug(
        "an imported run is clipped to [−1, 1]",
        "tinyddpm/runs/opening.py",
        "variance, scheduler.clip, scheduler.timesteps",
        "variance, 1.0, scheduler.timesteps",
        IMPORT + "test_an_imported_model_is_sampled_as_its_scheduler_says",
    ),
    # ---- data ----
    Bug(
        "the centre crop 10 % off",
        "tinyddpm/data/image_files.py",
        "ImageOps.fit(image, width_height, Image.Resampling.BICUBIC)",
        "ImageOps.fit(image, width_height, Image.Resampling.BICUBIC, centering=(0.6, 0.6))",
        PIXELS + "test_the_crop_is_the_centre_to_the_pixel",
    ),
    Bug(
        "16-bit values scaled by floor",
        "tinyddpm/data/image_files.py",
        "(values + 128) // 257",
        "values // 257",
        PIXELS + "test_every_sixteen_bit_grey_is_rounded_to_the_nearest_of_eight_bits",
    ),
    # ---- evaluation ----
    Bug(
        "precision and recall exchanged",
        "tinyddpm/evaluation/evaluate.py",
        '"precision", "recall", "density"',
        '"recall", "precision", "density"',
        EVALUATION + "test_one_real_image_over_and_over_is_precise_and_recalls_nothing",
    ),
    Bug(
        "the ideal denoiser knows the test images",
        "tinyddpm/evaluation/evaluate.py",
        "ideal_denoiser(train, run.schedule)",
        "ideal_denoiser(test, run.schedule)",
        EVALUATION + "test_j_of_the_ideal_denoiser_is_that_of_the_training_set",
    ),
    Bug(
        "J of the ideal denoiser and of the model exchanged",
        "tinyddpm/evaluation/evaluate.py",
        "for denoiser in (mean, ideal, model)]",
        "for denoiser in (mean, model, ideal)]",
        EVALUATION + "test_the_model_has_its_own_column",
    ),
    Bug(
        "the row of other real images compares the reference with itself",
        "tinyddpm/evaluation/evaluate.py",
        "function(test[n : 2 * n])",
        "function(test[:n])",
        EVALUATION + "test_other_real_images_are_other_ones",
    ),
    # ---- the engine ----
    Bug(
        "x == 0 is Python's identity",
        "autograd/plain.py",
        "    def __eq__(self",
        "    def equals(self",
        TENSOR + "test_where_x_is_zero",
    ),
]
