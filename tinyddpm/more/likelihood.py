"""How many bits a model needs to encode an image: the variational bound on −log p(x_0).

    def draw(t):  # ε of step t, for each image
        return noise.normal(0, "bound", t, np.arange(len(images)), images.shape[1:])

    measured = Bound(terms(unet.denoise, schedule, images, draw, grey_levels=17))
    print(measured)  # a table: bits per dimension, with standard errors
    measured.total, measured.error, measured.terms[0]  # … and as numbers

Imagine sending x_T, x_{T−1}, …, x_1 and then the image, one after the other, to someone who has the
same model. Our distribution of x_{t−1} knows x_0, and the model's knows only x_t. Sending x_{t−1}
costs the divergence between the two:

    −log p(x_0) ≤ L_T + Σ_{t=2..T} L_{t−1} + L_0          (Ho et al. 2020, equation 5)

    L_T      KL(q(x_T | x_0) ‖ N(0, I))                     `prior_term`: no network in it
    L_{t−1}  KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t))   `step_term`: weight · ‖x_0 − x̂_0‖²
    L_0      −log p(x_0 | x_1)                              `decoder_term`: the image's grey levels

The weights are where training departs from likelihood. The lecture's J weights each t alike. The
bound weights t by (SNR_{t−1} − SNR_t)/2, which at small t is thousands of times larger than at
large t. So a model of lower J can have a higher bound.

All terms are in bits per dimension: nats divided by D·log 2, with D = C·H·W. They are computed in
float64, whatever the images are.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from autograd.backend import Array, array_module, expect, special, to_numpy

from ..diffusion import posterior_coefficients, posterior_variance, q_sample
from ..schedule import Schedule, at
from ..types import Denoiser, Noise


def terms(
    denoiser: Denoiser,
    schedule: Schedule,
    x0: Array,
    noise: Noise,
    grey_levels: int,
    variance: Array | None = None,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array]]:
    """An unbiased estimate of each term of the bound, for each image.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0, as for the samplers.
        schedule: the noise schedule.
        x0: images (N, C, H, W) in [−1, 1].
        noise: noise(t) is standard normal noise of x0's shape, one draw for each t.
        grey_levels: how many values a pixel can take, evenly spaced from −1 to 1: 17 for the
            digits, 256 for 8 bits.
        variance: the model's table (T+1,) of the variances of x_{t−1} given x_t, as for
            `ancestral`; β̃ if None. Where the network learned it: `variance.terms`.
        clip: x̂_0 is held within [−clip, clip], as in the samplers; None leaves it free.

    Yields:
        (i, L_i) for i = T, T−1, …, 0, each L_i (N,) in bits/dim.

    Raises:
        ValueError: for images with other grey levels, or a table with a variance that is not
            positive.
    """
    variance = model_variance(schedule, variance)
    grey_numbers(x0, grey_levels)  # raises now, not after T − 1 steps
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


def prior_term(schedule: Schedule, x0: Array) -> Array:
    """L_T for each image, (N,) bits/dim: KL(N(√ᾱ_T x_0, 1 − ᾱ_T) ‖ N(0, 1)).

    (Ho et al. 2020, equation 5.)
    """
    a = float(schedule.alpha_bar[-1])
    return bits_per_dimension((a * _squares(x0) - a - math.log1p(-a)) / 2)


def step_term(
    schedule: Schedule,
    x0: Array,
    x0_hat: Array,
    t: Array,
    variance: Array | None = None,
) -> Array:
    """L_{t−1} for each image, (N,) bits/dim: the KL of two Gaussians in closed form.

    (Ho et al. 2020, equations 5 and 8.) In both means x_t has the same coefficient (equation 7), so
    it cancels. What is left of their difference is c_1 (x_0 − x̂_0), whatever x_t was.

    Args:
        schedule: the noise schedule.
        x0: images (N, C, H, W).
        x0_hat: the denoiser's x̂_0 at x_t, of the same shape.
        t: timesteps (N,), integers in {2..T}.
        variance: as for `terms`.

    Raises:
        ValueError: for another t, or an x0_hat of another shape.
    """
    low, high, needed = int(t.min()), int(t.max()), f"2 to T = {schedule.T} (1 is the decoder's)"
    expect(low >= 2 and high <= schedule.T, "t", needed, f"{low} to {high}")
    _check_shape(x0_hat, x0)
    weight, offset = step_coefficients(schedule, variance)
    squares = _squares(x0, x0_hat)
    return bits_per_dimension(at(weight, t, squares) * squares + at(offset, t, squares))


def step_coefficients(schedule: Schedule, variance: Array | None = None) -> tuple[Array, Array]:
    """The weight and the offset of L_{t−1} = Σ_pixels weight[t]·(x_0 − x̂_0)² + offset[t] nats.

    The weight is c_1²/2σ_t². For σ² = β̃ this equals (SNR_{t−1} − SNR_t)/2 (Kingma et al. 2021,
    "Variational diffusion models", the discrete-time loss), and the offset is 0. The offset is the
    price of a variance other than β̃.

    Returns:
        Two tables (T+1,), whose entries 0 and 1 are 0.
    """
    variance = model_variance(schedule, variance)[2:]
    c1, _ = posterior_coefficients(schedule)
    ratio = posterior_variance(schedule)[2:] / variance
    weight, offset = c1[2:] ** 2 / (2 * variance), (ratio - 1 - np.log(ratio)) / 2
    return np.concatenate([[0.0, 0.0], weight]), np.concatenate([[0.0, 0.0], offset])


def decoder_term(x0: Array, x0_hat: Array, variance: float, grey_levels: int) -> Array:
    """L_0 = −log p(x_0 | x_1) for each image, (N,) bits/dim.

    x0_hat is the denoiser's x̂_0 at x_1, and the variance is that of `model_variance` at t = 1.
    """
    _check_shape(x0_hat, x0)
    numbers = grey_numbers(x0, grey_levels)
    return bits_per_dimension(-log_probability(numbers, x0_hat, variance, grey_levels))


def log_probability(
    numbers: Array, mean: Array, variance: Array | float, grey_levels: int
) -> Array:
    """The log of a Gaussian's probability for the bin of each grey level, in float64.

    (Ho et al. 2020, equation 13.) The first bin begins at −∞ and the last ends at ∞. So the
    probabilities of all levels add up to 1.

    Args:
        numbers: integers 0..grey_levels − 1. The levels are evenly spaced from −1 to 1.
        mean: of the Gaussian, of the same shape.
        variance: of the Gaussian: one number, or one for each of them.
        grey_levels: how many levels there are.
    """
    xp, log_cdf = array_module(mean), special(mean).log_ndtr
    low, high = standard_bin(numbers, mean, variance, grey_levels)
    # Far out in the right tail both cdfs round to 1, and their difference to 0. In the left tail
    # their logarithms keep all digits, so a bin to the right of the mean is mirrored.
    right = low > 0
    low, high = xp.where(right, -high, low), xp.where(right, -low, high)
    top = log_cdf(high)
    return top + xp.log(-xp.expm1(log_cdf(low) - top))  # log(e^h − e^l) = h + log(1 − e^(l − h))


def standard_bin(
    numbers: Array, mean: Array, variance: Array | float, grey_levels: int
) -> tuple[Array, Array]:
    """Where the bins begin and end, in standard deviations from the mean. See `log_probability`."""
    xp, deviation, width = array_module(mean), variance**0.5, 2 / (grey_levels - 1)
    away = width * numbers - 1 - mean.astype(np.float64)
    low = xp.where(numbers == 0, -math.inf, (away - width / 2) / deviation)
    return low, xp.where(numbers == grey_levels - 1, math.inf, (away + width / 2) / deviation)


def nearest_levels(x0: Array, grey_levels: int) -> Array:
    """The number of the grey level that is nearest to each value, 0..grey_levels − 1."""
    place = (x0.astype(np.float64) + 1) * ((grey_levels - 1) / 2)
    return array_module(x0).rint(place).clip(0, grey_levels - 1).astype(np.int64)


def grey_numbers(x0: Array, grey_levels: int) -> Array:
    """The grey level of each pixel: integers 0..grey_levels − 1, in x0's shape.

    Raises:
        ValueError: for values between levels, or fewer than 2 levels.
    """
    if isinstance(grey_levels, bool) or not isinstance(grey_levels, int) or grey_levels < 2:
        raise ValueError(
            "grey_levels: expected how many values a pixel can take, at least 2, "
            f"got {grey_levels!r}; images that can take any value have a density, not a probability"
        )
    place = (x0.astype(np.float64) + 1) * ((grey_levels - 1) / 2)
    numbers = array_module(x0).rint(place)
    off = float(abs(place - numbers).max())
    # float32 alone puts 16-bit images 0.002 off. (NaN fails every comparison.)
    if not (off < 0.01 and numbers.min() >= 0 and numbers.max() < grey_levels):
        lowest, highest = float(x0.min()), float(x0.max())
        raise ValueError(
            f"x0: expected {grey_levels} grey levels, evenly spaced from -1 to 1, got values "
            f"from {lowest:g} to {highest:g}, up to {off:.2g} of a level away from the nearest"
        )
    return numbers.astype(np.int64)


def model_variance(schedule: Schedule, variance: Array | None = None) -> Array:
    """The table (T+1,) of the model's variances, β̃ if None, but without a 0 at t = 1.

    The sampler adds no noise at t = 1. But a decoder of variance 0 would give all probability to
    one level. So where the table is 0 at t = 1, as β̃ is, it gets its value at t = 2. Ho et al.
    2020, section 3.2 and their code, choose β̃_2 too. `schedule.beta` stays as it is, β_1 included.

    Raises:
        ValueError: for a table of another length, or with a variance that is not positive.
    """
    chosen = posterior_variance(schedule) if variance is None else variance
    table = np.array(chosen, dtype=np.float64)
    needed = f"a table of T + 1 = {schedule.T + 1} numbers"
    expect(table.shape == (schedule.T + 1,), "variance", needed, f"shape {table.shape}")
    if table[1] == 0:
        needed = "a positive one at t = 1, which is the only step"
        expect(schedule.T > 1, "variance", needed, "0; schedule.beta has one")
        table[1] = table[2]
    positive = bool(np.all(table[1:] > 0))
    expect(positive, "variance", "positive numbers for t = 1..T", f"{table[1:].min():g}")
    return table


def bits_per_dimension(nats: Array) -> Array:
    """(N, C, H, W) nats of each pixel -> (N,) bits/dim."""
    return nats.mean(axis=(1, 2, 3)) / math.log(2)


def _check_shape(x0_hat: Array, x0: Array) -> None:
    expect(x0_hat.shape == x0.shape, "x0_hat", f"the shape of x0, {x0.shape}", x0_hat.shape)


def _squares(x: Array, y: Array | None = None) -> Array:
    """x², or (x − y)², in float64."""
    return np.square(x.astype(np.float64) if y is None else x.astype(np.float64) - y)


class Bound:
    """The bound over a set of images, from the chain of `terms`: Bound(terms(…)).

    Attributes:
        each: (T+1, N) bits/dim; row i is L_i of each image.
        terms: (T+1,) the mean of each L_i over the images.
        errors: (T+1,) the standard error of each mean; NaN for a single image.
        total: the bound itself.
        error: its standard error, with the images and their noise as independent draws.
        rate: L_1 + … + L_T (Ho et al. 2020, section 4.3).
        distortion: L_0.
    """

    def __init__(self, chain: Iterable[tuple[int, Array]]) -> None:
        rows = {i: to_numpy(bits) for i, bits in chain}
        whole = bool(rows) and rows.keys() == set(range(max(rows) + 1))
        needed = "the whole chain of `terms`, L_T to L_0"
        expect(whole, "Bound", needed, f"{len(rows)} of it")
        self.each = np.stack([rows[i] for i in range(len(rows))])
        self.terms, self.errors = mean_and_error(self.each)
        self.total, self.error = map(float, mean_and_error(self.each.sum(axis=0)))
        self.distortion, self.rate = float(self.terms[0]), float(self.terms[1:].sum())

    def rows(self, bands: int = 10) -> list[tuple[str, float, float]]:
        """(name, mean, standard error) of L_T, the L_{t−1} in bands of t, L_0 and the total."""
        T = len(self.each) - 1
        edges = sorted({1 + (T - 1) * i // bands for i in range(bands + 1)})  # t = 2..T
        found = [("L_T", self.each[T])]
        for before, last in reversed(list(zip(edges, edges[1:]))):
            first = before + 1
            name = f"L_t-1, t = {first}..{last}" if last > first else f"L_t-1, t = {last}"
            found.append((name, self.each[before:last].sum(axis=0)))  # row t − 1 is L_{t−1}
        found += [("L_0", self.each[0]), ("total", self.each.sum(axis=0))]
        table = []
        for name, bits in found:
            mean, error = mean_and_error(bits)
            table.append((name, float(mean), float(error)))
        return table

    def __str__(self) -> str:
        lines = [f"{name:<24}{mean:11.6f}  ± {error:.6f}" for name, mean, error in self.rows()]
        return "\n".join([f"{'bits/dim':>35}", *lines])


def mean_and_error(values: Array) -> tuple[Array, Array]:
    """The mean over the last axis, and its standard error: NaN if there is only one value."""
    n = values.shape[-1]
    error = np.full(values.shape[:-1], math.nan)
    if n > 1:
        error = values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1), error
