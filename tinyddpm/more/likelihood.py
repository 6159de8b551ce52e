"""How many bits a model needs to write an image down: the variational bound on −log p(x_0), term by term.

    def draw(t):                                          # ε of step t, for each image
        return noise.normal(0, "bound", t, np.arange(len(images)), images.shape[1:])

    measured = Bound(terms(unet.denoise, schedule, images, draw, grey_levels=17))
    print(measured)                                       # a table: bits per dimension, with standard errors
    measured.total, measured.error, measured.terms[0]     # … and as numbers

Think of x_T, x_{T−1}, …, x_1 and then the image as sent one after the other to someone who has the model too. Writing x_{t−1}
costs what our distribution of it, which knows x_0, differs from the model's, which knows x_t alone:

    −log p(x_0) ≤ L_T + Σ_{t=2..T} L_{t−1} + L_0          (Ho et al. 2020, equation 5)

    L_T      KL(q(x_T | x_0) ‖ N(0, I))                   the start; no network in it                    `prior_term`
    L_{t−1}  KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t))   a weight times ‖x_0 − x̂_0‖²                    `step_term`
    L_0      −log p(x_0 | x_1)                            the image's own grey levels, given x_1         `decoder_term`

The weights are where training departs from likelihood: the lecture's J gives each t the same weight, the bound gives it
(SNR_{t−1} − SNR_t)/2, which at small t is thousands of times larger than at large t. So a model of lower J can have a higher bound.

All terms are in bits per dimension (nats divided by D·log 2, with D = C·H·W), in float64 whatever the images are.
"""
import math

import numpy as np

from autograd.backend import array_module, special, to_numpy

from ..diffusion import posterior_coefficients, posterior_variance, q_sample
from ..schedule import at


def terms(denoiser, schedule, x0, noise, grey_levels, variance=None, clip=1.0):
    """Yields (i, L_i) for i = T, T−1, …, 0: an unbiased estimate of each term for each image, (N,) bits/dim.

    denoiser     (xt, t) -> x̂_0, as the samplers take it; clip is theirs too: x̂_0 is held within [−clip, clip], None leaves it free
    x0           images (N, C, H, W) in [−1, 1]
    noise        noise(t) is standard normal noise of x0's shape, one draw for each t
    grey_levels  how many values a pixel can take, evenly spaced from −1 to 1: 17 for the digits, 256 for 8 bits
    variance     the model's table (T+1,) of the variances of x_{t−1} given x_t, as for `ancestral`; β̃ if None
    """
    variance = model_variance(schedule, variance)
    grey_numbers(x0, grey_levels)  # raises now, not after T − 1 steps, what is wrong with the images
    yield schedule.T, prior_term(schedule, x0)
    for step in range(schedule.T, 0, -1):
        t = array_module(x0).full(len(x0), step)
        x0_hat = denoiser(q_sample(schedule, x0, t, noise(step)), t)
        if clip is not None:
            x0_hat = x0_hat.clip(-clip, clip)
        if step > 1:
            yield step - 1, step_term(schedule, x0, x0_hat, t, variance)
        else:
            yield 0, decoder_term(x0, x0_hat, float(variance[1]), grey_levels)


def prior_term(schedule, x0):
    """L_T for each image, (N,) bits/dim: KL of N(√ᾱ_T x_0, 1 − ᾱ_T) from N(0, 1)  (Ho et al. 2020, equation 5)."""
    a = float(schedule.alpha_bar[-1])
    return bits_per_dimension((a * _squares(x0) - a - math.log1p(-a)) / 2)


def step_term(schedule, x0, x0_hat, t, variance=None):
    """L_{t−1} for each image, (N,) bits/dim: the KL of two Gaussians in closed form  (Ho et al. 2020, equations 5 and 8).

    x0, x0_hat (N, C, H, W), t (N,) integers in {2..T}, variance as for `terms`. Both means have the same share of x_t (equation 7),
    which cancels: what is left of their difference is c_1 (x_0 − x̂_0), whatever x_t was.
    """
    if int(t.min()) < 2 or int(t.max()) > schedule.T:
        raise ValueError(f"t: expected 2 to T = {schedule.T} (at t = 1 there is the decoder), got {int(t.min())} to {int(t.max())}")
    _check_shape(x0_hat, x0)
    weight, offset = step_coefficients(schedule, variance)
    squares = _squares(x0, x0_hat)
    return bits_per_dimension(at(weight, t, squares) * squares + at(offset, t, squares))


def step_coefficients(schedule, variance=None):
    """L_{t−1} = Σ over the pixels of weight[t]·(x_0 − x̂_0)² + offset[t] nats: two tables (T+1,), whose entries 0 and 1 are 0.

    weight = c_1²/2σ_t² is for σ² = β̃ the same as (SNR_{t−1} − SNR_t)/2 (Kingma et al. 2021, "Variational diffusion models",
    the discrete-time loss), and offset, the price of another variance than β̃, is then 0.
    """
    variance = model_variance(schedule, variance)[2:]
    c1, _ = posterior_coefficients(schedule)
    ratio = posterior_variance(schedule)[2:] / variance
    weight, offset = c1[2:] ** 2 / (2 * variance), (ratio - 1 - np.log(ratio)) / 2
    return np.concatenate([[0.0, 0.0], weight]), np.concatenate([[0.0, 0.0], offset])


def decoder_term(x0, x0_hat, variance, grey_levels):
    """L_0 = −log p(x_0 | x_1) for each image, (N,) bits/dim, with x̂_0 the answer to x_1 and variance that of `model_variance` at t = 1."""
    _check_shape(x0_hat, x0)
    return bits_per_dimension(-log_probability(grey_numbers(x0, grey_levels), x0_hat, variance, grey_levels))


def log_probability(numbers, mean, variance, grey_levels):
    """log of the probability that a Gaussian gives to the bin of a grey level  (Ho et al. 2020, equation 13), elementwise, in float64.

    numbers  integers 0..grey_levels − 1, the levels themselves being evenly spaced from −1 to 1;  mean, of the same shape;  variance
    The first bin begins at −∞ and the last ends at ∞, so that the probabilities of all levels add up to 1.
    """
    xp, log_cdf = array_module(mean), special(mean).log_ndtr
    mean, deviation, width = mean.astype(np.float64), math.sqrt(variance), 2 / (grey_levels - 1)
    centre = width * numbers - 1
    low = xp.where(numbers == 0, -math.inf, (centre - width / 2 - mean) / deviation)
    high = xp.where(numbers == grey_levels - 1, math.inf, (centre + width / 2 - mean) / deviation)
    # Far out in the right tail both cdfs round to 1 and their difference to 0. In the left tail their logarithms keep all
    # digits, so a bin to the right of the mean is mirrored. And log(e^h − e^l) = h + log(1 − e^(l − h)).
    right = low > 0
    low, high = xp.where(right, -high, low), xp.where(right, -low, high)
    top = log_cdf(high)
    return top + xp.log(-xp.expm1(log_cdf(low) - top))


def grey_numbers(x0, grey_levels):
    """Which grey level each pixel has: integers 0..grey_levels − 1 in x0's shape. Raises ValueError for values between levels."""
    if isinstance(grey_levels, bool) or not isinstance(grey_levels, int) or grey_levels < 2:
        raise ValueError(f"grey_levels: expected how many values a pixel can take, at least 2, got {grey_levels!r}; "
                         "images that can take any value have a density, not a probability")
    place = (x0.astype(np.float64) + 1) * ((grey_levels - 1) / 2)
    numbers = array_module(x0).rint(place)
    off = float(abs(place - numbers).max())
    if not (off < 0.01 and numbers.min() >= 0 and numbers.max() < grey_levels):  # float32 alone puts 16-bit images 0.002 off
        raise ValueError(f"x0: expected {grey_levels} grey levels, evenly spaced from -1 to 1, got values from {float(x0.min()):g} to "
                         f"{float(x0.max()):g}, up to {off:.2g} of a level away from the nearest")
    return numbers.astype(np.int64)


def model_variance(schedule, variance=None):
    """The table (T+1,) of the model's variances: β̃ if None, and where it says 0 at t = 1, as β̃ does, the value of t = 2.

    The sampler adds no noise at t = 1, but a decoder of no variance would give all probability to one level. β̃_2 is the choice
    of Ho et al. 2020, section 3.2 and their code; `schedule.beta` is taken as it is, β_1 included.
    """
    table = np.array(posterior_variance(schedule) if variance is None else variance, dtype=np.float64)
    if table.shape != (schedule.T + 1,):
        raise ValueError(f"variance: expected a table of T + 1 = {schedule.T + 1} numbers, got shape {table.shape}")
    if table[1] == 0:
        if schedule.T == 1:
            raise ValueError("variance: expected a positive one at t = 1 where that is the only step, such as schedule.beta, got 0")
        table[1] = table[2]
    if not np.all(table[1:] > 0):
        raise ValueError(f"variance: expected positive numbers for t = 1..T, got {table[1:].min():g}")
    return table


def bits_per_dimension(nats):
    """(N, C, H, W) nats of each pixel -> (N,) bits/dim."""
    return nats.mean(axis=(1, 2, 3)) / math.log(2)


def _check_shape(x0_hat, x0):
    if x0_hat.shape != x0.shape:
        raise ValueError(f"x0_hat: expected the shape of x0, {x0.shape}, got {x0_hat.shape}")


def _squares(x, y=None):
    """x², or (x − y)², in float64."""
    return np.square(x.astype(np.float64) if y is None else x.astype(np.float64) - y)


class Bound:
    """The bound over a set of images, from the chain of `terms`: Bound(terms(…)).

    each           (T+1, N) bits/dim: row i is L_i of each image
    terms, errors  (T+1,) mean of each L_i over the images, and the standard error of that mean (NaN for a single image)
    total, error   the bound itself and its standard error, which takes the images, with their noise, as independent draws
    rate, distortion  L_1 + … + L_T and L_0 (Ho et al. 2020, section 4.3)
    """

    def __init__(self, chain):
        rows = {i: to_numpy(bits) for i, bits in chain}
        if not rows or rows.keys() != set(range(max(rows) + 1)):
            raise ValueError(f"Bound: expected the whole chain of `terms`, L_T to L_0, got {len(rows)} of it")
        self.each = np.stack([rows[i] for i in range(len(rows))])
        self.terms, self.errors = mean_and_error(self.each)
        self.total, self.error = map(float, mean_and_error(self.each.sum(axis=0)))
        self.distortion, self.rate = float(self.terms[0]), float(self.terms[1:].sum())

    def rows(self, bands=10):
        """The table, as (name, mean, standard error): L_T, the L_{t−1} in bands of t, L_0 and the total."""
        T = len(self.each) - 1
        edges = sorted({1 + (T - 1) * i // bands for i in range(bands + 1)})  # t = 2..T
        found = [("L_T", self.each[T])]
        for before, last in reversed(list(zip(edges, edges[1:]))):
            name = f"L_t-1, t = {before + 1}..{last}" if last > before + 1 else f"L_t-1, t = {last}"
            found.append((name, self.each[before:last].sum(axis=0)))  # rows t − 1 for t = before + 1 .. last
        found += [("L_0", self.each[0]), ("total", self.each.sum(axis=0))]
        return [(name, *map(float, mean_and_error(bits))) for name, bits in found]

    def __str__(self):
        lines = [f"{name:<24}{mean:11.6f}  ± {error:.6f}" for name, mean, error in self.rows()]
        return "\n".join([f"{'bits/dim':>35}", *lines])


def mean_and_error(values):
    """Mean over the last axis, and the standard error of that mean: NaN if there is only one value."""
    n = values.shape[-1]
    error = values.std(axis=-1, ddof=1) / math.sqrt(n) if n > 1 else np.full(values.shape[:-1], math.nan)
    return values.mean(axis=-1), error
