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


TRAIN = "tests/core/test_train.py::"
DIFFUSION = "tests/core/test_diffusion.py::"
SCHEDULE = "tests/core/test_schedule.py::"
SAMPLER = "tests/core/test_sampler.py::"
DATA = "tests/data/test_idx_files.py::"
REVERSE = "tests/more/test_reverse.py::"
SOLVERS = "tests/more/test_solvers.py::"
LIKELIHOOD = "tests/more/test_likelihood.py::"
PREDICTIONS = "tests/more/test_predictions.py::"
LOSSES = "tests/more/test_weighted_losses.py::"
EDITING = "tests/more/test_editing.py::"
INPAINTING = "tests/more/test_inpainting.py::"
GUIDANCE = "tests/more/test_guidance.py::"

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
        "tinyddpm/data/stored/images.py",
        "images /= white / 2",
        "images /= white",
        DATA + "test_every_uint8_lands_where_it_should",
    ),
    # ---- noise in x_t ----
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
        "tinyddpm/more/schedules.py",
        "return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]",
        "return list(range(steps, 0, -1))",
        SAMPLER + "test_ddim_visits_T_and_not_only_the_first_steps",
    ),
    Bug(
        "DDIM on a grid that never visits T",
        "tinyddpm/more/schedules.py",
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
        "DDIM goes on from x̂_0 before it was clipped",
        "tinyddpm/more/solvers.py",
        "_onward(schedule, x0_hat, xt, t,",
        "_onward(schedule, denoiser(xt, t), xt, t,",
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
        "chosen = (labels[:, None] == xp.arange(count)).astype(self.table.dtype)",
        "chosen = (labels[:, None] == xp.arange(count)).astype(self.table.dtype)\n"
        "        chosen[labels == count - 1] = -1",
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
]
