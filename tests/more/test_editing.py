"""Inpainting, interpolation and image-to-image: what is kept, where the chain starts, and the exact answers for Gaussian data
(the interpolation of the gallery that noises to t and denoises from t − 1)."""
import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import noise_table, same, schedules, seeds

from tinyddpm import noise as addressed
from tinyddpm.diffusion import q_sample, q_step
from tinyddpm.more.editing import image_to_image, inpaint, interpolate_at, interpolate_latents, q_jump, resampling_path, slerp, truncated
from tinyddpm.sampler import ancestral, ddim
from tinyddpm.schedule import cosine, linear

SHAPE = (3, 2, 2, 4)  # of the batches: H and W differ
S = linear(12)


def bent(xt, t):
    """A denoiser of no meaning: it depends on t and is not linear, and clipping changes what it says."""
    return np.sin(2 * xt + (0.1 * t.reshape(-1, 1, 1, 1)).astype(xt.dtype))


def rng_of(seed=0):
    return np.random.default_rng(seed)


def some(seed=0, shape=SHAPE, dtype=np.float64):
    return np.clip(0.5 * rng_of(seed).standard_normal(shape), -1, 1).astype(dtype)


def draws(i, shape=SHAPE, dtype=np.float64):
    return addressed.normal(5, "editing", i, range(shape[0]), shape[1:], dtype)


def equal(chain, other):
    """Two chains are the same to the bit, and there is something in them."""
    chain, other = list(chain), list(other)
    assert len(chain) == len(other) > 0
    for (t, x, x0_hat), (t2, x2, x0_hat2) in zip(chain, other):
        assert t == t2
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(x0_hat, x0_hat2)


def noting(denoiser, seen):
    def noted(xt, t):
        seen.append((t.tolist(), xt))
        return denoiser(xt, t)
    return noted


# ---- from a step on the way ----------------------------------------------------------------------


@given(schedules, st.data())
def test_a_truncated_schedule_has_the_same_tables(schedule, data):
    t = data.draw(st.integers(1, schedule.T))
    short = truncated(schedule, t)
    assert short.T == t
    for name in ("beta", "alpha", "alpha_bar"):
        np.testing.assert_array_equal(getattr(short, name), getattr(schedule, name)[:t + 1])


@pytest.mark.parametrize("t", [0, -1, 13])
def test_a_step_that_is_none_is_refused(t):
    with pytest.raises(ValueError, match=f"^t: expected 1 to T = 12, got {t}"):
        truncated(S, t)
    for chain in (image_to_image(bent, S, some(), t, some(1)), interpolate_at(bent, S, some()[0], some()[1], [0.5], t, some(1)[0])):
        with pytest.raises((ValueError, IndexError)):
            next(chain)


@given(st.integers(1, 12), seeds)
def test_an_ancestral_chain_from_a_step_is_the_rest_of_the_whole_chain(t, seed):
    noise = noise_table(rng_of(seed), 12, SHAPE)
    whole = list(ancestral(bent, S, some(), noise))
    x = some() if t == 12 else whole[11 - t][1]
    equal(ancestral(bent, truncated(S, t), x, noise), whole[12 - t:])


@given(st.integers(1, 12), seeds)
def test_image_to_image_noises_to_t_and_denoises_from_that_very_t(t, seed):
    image, eps = rng_of(seed).standard_normal((2, *SHAPE))
    seen = []
    chain = list(image_to_image(noting(bent, seen), S, image, t, eps, noise=draws))
    assert [s for s, _ in seen] == [[s] * 3 for s in range(t, 0, -1)] and [s for s, _, _ in chain] == list(range(t - 1, -1, -1))
    np.testing.assert_array_equal(seen[0][1], q_sample(S, image, same(t, 3), eps))
    seen.clear()
    list(image_to_image(noting(bent, seen), S, image, t, eps, ddim, steps=1))
    assert [s for s, _ in seen] == [[t] * 3]


@given(st.integers(1, 12), st.lists(st.floats(0, 1), min_size=1, max_size=4), seeds)
def test_gallery_interpolation_denoises_from_the_very_t_that_it_noised_to(t, shares, seed):
    """Told the blend itself as x̂_0, DDIM keeps x_s on q_sample's path for every s. Started one step off, it leaves it at once."""
    a, b, eps = rng_of(seed).standard_normal((3, *SHAPE[1:]))
    share = np.array(shares).reshape(-1, 1, 1, 1)
    blend, n, seen = (1 - share) * a + share * b, len(shares), []
    chain = interpolate_at(noting(lambda xt, t: blend, seen), S, a, b, shares, t, eps, ddim, steps=t, clip=None)
    for s, xt, _ in chain:
        np.testing.assert_allclose(xt, q_sample(S, blend, same(s, n), np.stack([eps] * n)), rtol=0, atol=1e-9)
    assert [s for s, _ in seen] == [[s] * n for s in range(t, 0, -1)]
    np.testing.assert_allclose(seen[0][1], q_sample(S, blend, same(t, n), np.stack([eps] * n)), rtol=0, atol=1e-12)


def test_the_ends_of_an_interpolation_are_the_two_images_gone_through_alone():
    a, b, eps = some(1)[0], some(2)[0], some(3)[0]
    noise = partial(draws, shape=(2, *SHAPE[1:]))
    equal(interpolate_at(bent, S, a, b, [0, 1], 7, eps, noise=noise), image_to_image(bent, S, np.stack([a, b]), 7, np.stack([eps, eps]), noise=noise))


# ---- between latents -----------------------------------------------------------------------------


@given(seeds, st.floats(0, 1), st.sampled_from([np.float32, np.float64]))
def test_slerp_goes_along_the_arc_at_even_speed(seed, share, dtype):
    a, b = rng_of(seed).standard_normal((2, 2, 3, 5)).astype(dtype)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    at, = slerp(a, b, [share])
    tolerance = 1e-5 if dtype == np.float32 else 1e-9
    assert at.dtype == dtype and at.shape == a.shape
    assert np.linalg.norm(at) == pytest.approx(np.linalg.norm(a), rel=tolerance)
    assert angle(a, at) == pytest.approx(share * angle(a, b), abs=3e-3 if dtype == np.float32 else 1e-6)
    assert angle(at, b) == pytest.approx((1 - share) * angle(a, b), abs=3e-3 if dtype == np.float32 else 1e-6)


def angle(a, b):
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))


@given(seeds, st.sampled_from([np.float32, np.float64]))
def test_slerp_ends_at_its_ends_to_the_bit(seed, dtype):
    a, b = rng_of(seed).standard_normal((2, 2, 3, 5)).astype(dtype)
    np.testing.assert_array_equal(slerp(a, b, [0, 1]), np.stack([a, b]))


def test_slerp_of_parallel_and_of_opposite_directions():
    a = some()[0]
    np.testing.assert_allclose(slerp(a, 3 * a, [0, 0.5, 1]), np.stack([a, 2 * a, 3 * a]), rtol=1e-12)
    with pytest.raises(ValueError, match="^slerp: .*opposite"):
        slerp(a, -a, [0.5])


def test_latent_interpolation_gives_the_images_back_at_its_ends_and_an_image_of_full_contrast_between():
    """Data N(0, s²) and the exact denoiser: DDIM multiplies x_T by a number, so its inverse, the encoder, is known."""
    s, schedule = 0.5, linear(100)

    def denoiser(xt, t):
        a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
        return np.sqrt(a) * s**2 / (a * s**2 + 1 - a) * xt

    *_, (_, factor, _) = ddim(denoiser, schedule, np.ones((1, 1, 1, 1)), steps=25, clip=None)
    a, b = s * rng_of(0).standard_normal((2, 3, 16, 20))
    chain = list(interpolate_latents(denoiser, schedule, a, b, [0, 0.25, 0.5, 1], lambda images: images / factor, steps=25, clip=None))
    assert [t for t, _, _ in chain] == [*range(96, 3, -4), 0]
    x0 = chain[-1][1]
    np.testing.assert_allclose(x0[[0, 3]], np.stack([a, b]), rtol=1e-10)
    assert np.abs(x0.std(axis=(1, 2, 3)) - s).max() < 0.05 and ((a + b) / 2).std() < 0.4
    np.testing.assert_allclose(x0[2], slerp(a, b, [0.5])[0], rtol=1e-9)


def test_latent_interpolation_takes_any_sampler():
    a, b = some(1)[0], some(2)[0]
    noise = partial(draws, shape=(2, *SHAPE[1:]))
    equal(interpolate_latents(bent, S, a, b, [0, 1], lambda images: 2 * images, ancestral, noise=noise), ancestral(bent, S, np.stack([2 * a, 2 * b]), noise))


# ---- inpainting: what is kept --------------------------------------------------------------------

MASK = np.array([[1, 0, 0, 1], [0, 0, 1, 0]])


@given(seeds, st.sampled_from([(1, 1), (3, 1), (2, 4), (2, 30)]), st.sampled_from([np.float32, np.float64]), st.sampled_from([None, 0.3]))
def test_known_pixels_are_kept_to_the_bit_and_the_others_are_painted(seed, plan, dtype, clip):
    image, mask = some(seed, dtype=dtype), rng_of(seed).integers(0, 2, SHAPE)
    *_, (t, x, x0_hat) = inpaint(bent, S, image, mask, some(1, dtype=dtype), partial(draws, dtype=dtype), *plan, clip=clip)
    assert t == 0 and x.dtype == x0_hat.dtype == dtype
    np.testing.assert_array_equal(x[mask == 1], image[mask == 1])
    assert (x[mask == 0] != image[mask == 0]).all()
    np.testing.assert_allclose(x[mask == 0], x0_hat[mask == 0], rtol=1e-5)  # at t = 1 the posterior mean is x̂_0
    if clip:
        assert abs(x0_hat).max() <= np.float32(clip)


def test_a_mask_of_ones_returns_the_image_and_known_pixels_are_noised_to_the_step_that_is_reached():
    """At t the known pixels are x_t, not x_{t+1}: the noise that leads there is one of those drawn, and none is used twice."""
    image, drawn = some(), {}

    def noise(i):
        assert i not in drawn
        return drawn.setdefault(i, draws(i))

    chain = list(inpaint(bent, S, image, np.ones(SHAPE[1:], bool), some(1), noise, resamplings=2, jump=3))
    np.testing.assert_array_equal(chain[-1][1], image)
    used = []
    for t, xt, _ in chain[:-1]:
        eps = (xt - np.sqrt(S.alpha_bar[t]) * image) / np.sqrt(1 - S.alpha_bar[t])
        used += [i for i, z in drawn.items() if np.abs(z - eps).max() < 1e-9]
    assert len(used) == len(set(used)) == len(chain) - 1 and min(used) > S.T


@pytest.mark.parametrize("schedule", [S, cosine(7), linear(1)], ids=["linear", "cosine", "one step"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("jump", [1, 5])
def test_a_mask_of_zeros_without_resampling_is_ancestral_sampling_to_the_bit(schedule, large, jump):
    variance = schedule.beta if large else None
    equal(inpaint(bent, schedule, some(), np.zeros(SHAPE), some(1), draws, 1, jump, clip=0.7, variance=variance),
          ancestral(bent, schedule, some(1), draws, clip=0.7, variance=variance))


def test_what_the_mask_hides_has_no_influence_and_nothing_is_written_into():
    image, x_T = some(), some(1)
    other = np.where(MASK, image, 0.123)
    before = image.copy(), x_T.copy(), MASK.copy()
    equal(inpaint(bent, S, image, MASK, x_T, draws, 2, 2), inpaint(bent, S, other, MASK, x_T, draws, 2, 2))
    for a, b in zip((image, x_T, MASK), before):
        np.testing.assert_array_equal(a, b)


def test_masks_broadcast_and_the_batch_permutes():
    image, x_T, order = some(), some(1), np.array([2, 0, 1])
    whole = list(inpaint(bent, S, image, MASK, x_T, draws, 2, 2))
    for mask in (MASK.astype(bool), MASK.astype(np.float32), np.broadcast_to(MASK, SHAPE), np.broadcast_to(MASK, SHAPE[1:]), MASK.tolist()):
        equal(whole, inpaint(bent, S, image, mask, x_T, draws, 2, 2))
    permuted = list(inpaint(bent, S, image[order], MASK, x_T[order], lambda i: draws(i)[order], 2, 2))
    np.testing.assert_array_equal(permuted[-1][1], whole[-1][1][order])


def test_every_yielded_array_is_a_fresh_one():
    image, x_T = some(), some(1)
    arrays = [image, x_T, *(a for _, xt, x0_hat in inpaint(bent, S, image, MASK, x_T, draws, 2, 2) for a in (xt, x0_hat))]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_inputs_that_do_not_fit_are_named():
    for mask in (0.5 * np.ones(SHAPE), np.full(SHAPE, 2), np.full(SHAPE, np.nan)):
        with pytest.raises(ValueError, match="^mask: expected 0 and 1"):
            next(inpaint(bent, S, some(), mask, some(1), draws))
    for mask, x_T in ((np.ones((5, *SHAPE)), some(1)), (MASK, some(1)[:2])):
        with pytest.raises(ValueError, match="^mask, x_T: expected"):
            next(inpaint(bent, S, some(), mask, x_T, draws))
    for options in ({"resamplings": 0}, {"jump": 0}):
        with pytest.raises(ValueError, match=f"^{[*options][0]}: expected at least 1, got 0"):
            next(inpaint(bent, S, some(), MASK, some(1), draws, **options))


# ---- inpainting: the way back up -----------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 5))
def test_jumps_of_1_are_algorithm_1(T, U):
    """For t = T..1, U times: a step down from t and, but for the last time and at t = 1, one up again."""
    expected = [T]
    for t in range(T, 0, -1):
        for u in range(1, U + 1):
            if t > 1 or u == 1:
                expected.append(t - 1)
            if u < U and t > 1:
                expected.append(t)
    assert resampling_path(T, U, 1) == expected


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 70))
def test_every_stretch_is_gone_through_as_often_as_asked(T, r, jump):
    path = resampling_path(T, r, jump)
    steps = [b - a for a, b in itertools.pairwise(path)]
    assert path[0] == T and path[-1] == 0 and path.count(0) == 1 and set(steps) <= {-1, jump} and max(path) == T
    top = 1 + jump * max(0, (T - 1) // jump)  # above this there is no room for a jump
    assert [path.count(t) > 0 for t in range(T + 1)] == [True] * (T + 1)
    downs = [sum(a == t and b == t - 1 for a, b in itertools.pairwise(path)) for t in range(1, T + 1)]
    assert downs == [r if 1 < t <= top else 1 for t in range(1, T + 1)]


def test_the_plan_of_the_paper():
    """T = 250, 10 resamplings, jumps of 10: 24 stretches, nine ways up each."""
    path = resampling_path(250, 10, 10)
    ups = [(a, b) for a, b in itertools.pairwise(path) if b > a]
    assert len(ups) == 216 and ups[0] == (231, 241) and ups[-1] == (1, 11) and len(path) - 1 == 250 + 216 * 11


@given(schedules.filter(lambda s: s.T > 1), st.data())
def test_a_jump_is_the_steps_it_stands_for(schedule, data):
    """the same share of x, and the same variance."""
    then = data.draw(st.integers(2, schedule.T))
    now = data.draw(st.integers(1, then - 1))
    one, zero = np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1))
    kept, variance = one, 0.0
    for t in range(now + 1, then + 1):
        kept = q_step(schedule, kept, same(t), zero)
        variance = (q_step(schedule, np.full_like(one, np.sqrt(variance)), same(t), zero) ** 2 + q_step(schedule, zero, same(t), one) ** 2).item()
    np.testing.assert_allclose(q_jump(schedule, one, now, then, zero), kept, rtol=1e-10)
    np.testing.assert_allclose(q_jump(schedule, zero, now, then, one) ** 2, variance, rtol=1e-10, atol=1e-15)


def test_the_way_up_starts_from_what_was_reached_and_adds_its_noise():
    seen, drawn = [], {}
    denoiser = noting(bent, seen)
    chain = list(inpaint(denoiser, S, some(), MASK, some(1), lambda i: drawn.setdefault(i, draws(i)), resamplings=2, jump=4))
    reached, started = chain[3], seen[4]  # 12 → 11 → 10 → 9 → 8, … : the first jump is from 5 to 9
    assert [t for t, _, _ in chain][:12] == [11, 10, 9, 8, 7, 6, 5, 8, 7, 6, 5, 4]
    reached, started = chain[6], seen[7]
    assert started[0] == [9] * 3
    eps = (started[1] - np.sqrt(S.alpha_bar[9] / S.alpha_bar[5]) * reached[1]) / np.sqrt(1 - S.alpha_bar[9] / S.alpha_bar[5])
    assert sum(np.abs(z - eps).max() < 1e-9 for z in drawn.values()) == 1


# ---- inpainting Gaussian data: the exact answer --------------------------------------------------

D = 6  # pixels of an image (1, 2, 3)
KNOWN = np.array([[1, 0, 1], [0, 1, 0]], bool)


class Gaussian:
    """Data N(m, Σ) of D correlated pixels, its exact denoiser, and the exact answer to inpainting it."""

    def __init__(self):
        rng = rng_of(0)
        A = rng.standard_normal((D, D))
        self.m, self.cov = 0.3 * rng.standard_normal(D), 0.25 * (A @ A.T / D + 0.05 * np.eye(D))
        self.image = 0.5 * rng.standard_normal((1, 1, 2, 3))
        k = KNOWN.ravel()
        gain = self.cov[np.ix_(~k, k)] @ np.linalg.inv(self.cov[np.ix_(k, k)])
        self.mean = self.m[~k] + gain @ (self.image.ravel()[k] - self.m[k])  # of the unknown pixels, given the known ones
        self.covariance = self.cov[np.ix_(~k, ~k)] - gain @ self.cov[np.ix_(k, ~k)]

    def denoiser(self, schedule, m):
        """E[x_0 | x_t] = m + √ᾱ Σ (ᾱΣ + (1 − ᾱ)I)⁻¹ (x_t − √ᾱ m)."""
        def denoise(xt, t):
            a = schedule.alpha_bar[int(t[0])]
            gain = np.sqrt(a) * np.linalg.solve(a * self.cov + (1 - a) * np.eye(D), self.cov)  # its two factors commute
            return (m + (xt.reshape(-1, D) - np.sqrt(a) * m) @ gain).reshape(xt.shape)
        return denoise

    def painted_mean(self, T, resamplings, jump=1):
        """The mean of what is painted: everything is affine, so it is what comes out if all noise is 0."""
        zero, schedule = np.zeros((1, 1, 2, 3)), linear(T)
        *_, (_, x, _) = inpaint(self.denoiser(schedule, self.m), schedule, self.image, KNOWN, zero, lambda i: zero, resamplings, jump, clip=None)
        return x[0, 0][~KNOWN]

    def painted_covariance(self, T, resamplings, large=False):
        """Row after row of the batch has noise 1 in one pixel of one draw (x_T is draw 0) and all else 0: sums of squares are variances."""
        schedule, path = linear(T), resampling_path(T, resamplings, 1)
        B = D * (T + 2 * len(path))
        zero = np.zeros((B, 1, 2, 3))

        def noise(i):
            unit = np.zeros((B, D))
            unit[D * i:D * (i + 1)] = np.eye(D)
            return unit.reshape(zero.shape)

        *_, (_, x, _) = inpaint(self.denoiser(schedule, np.zeros(D)), schedule, zero, KNOWN, noise(0), noise, resamplings, 1, clip=None,
                               variance=schedule.beta if large else None)
        weights = x[:, 0][:, ~KNOWN]
        return weights.T @ weights


def test_gaussian_data_what_is_painted_tends_to_the_conditional_mean_as_resampling_grows():
    """Without resampling the known pixels are hardly heard: the mean moves halfway from that of the data. With it, it arrives."""
    data = Gaussian()
    errors = [abs(data.painted_mean(100, r) - data.mean).max() for r in (1, 3, 10, 40)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5 and errors[2] < 0.15 and errors[3] < 0.06
    assert abs(data.painted_mean(100, 10, jump=5) - data.mean).max() < 0.4 * errors[0]


def test_gaussian_data_the_covariance_of_what_is_painted_lies_between_those_of_the_two_variances():
    """β̃ is too narrow for each step, β too wide, and resampling repeats it: the conditional covariance lies between (the
    differences are definite matrices), and the more steps there are the nearer both come."""
    data, widths = Gaussian(), []
    for T in (25, 50):
        narrow, wide = (data.painted_covariance(T, 4, large) for large in (False, True))
        assert np.linalg.eigvalsh(data.covariance - narrow).min() > 0.003 and np.linalg.eigvalsh(wide - data.covariance).min() > 0.003
        widths.append(np.trace(wide - narrow))
    assert widths[1] < 0.75 * widths[0]
