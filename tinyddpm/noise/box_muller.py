"""Random words to normal numbers, the same to the last bit on every machine, on a CPU or a GPU.

    z = box_muller(words, np.float32)

Box and Muller (1958): if u and v are uniform on (0, 1), then sqrt(-2 log u) cos(2 pi v) and
sqrt(-2 log u) sin(2 pi v) are normal and independent. But no two libraries agree on the last digit
of a logarithm or a cosine. They do agree on + - * / and the square root, because IEEE 754 has each
of these rounded exactly. So logarithm, cosine and sine are built from those here, in one fixed
order, and the words are taken apart as integers, where nothing is rounded at all. The results are
good to 2 units in the last place. The kernel does the same operations in the same order, and is
compiled so that no product and sum are fused into one operation.

The polynomials are Taylor's, with as many terms as it takes. Their coefficients explain themselves,
and nobody needs to trust a table. Each is computed as an exact fraction and rounded once.
"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from autograd import backend
from autograd.backend import Array

LOG_2 = Fraction("0.6931471805599453094172321214581765680755")
TWO_PI = Fraction("6.2831853071795864769252867665590057683943")
PIECE = 2**12  # pairs worked on at once: their intermediate results stay in the processor's cache
THREADS = 256  # to a block of the kernel


def _split(constant: Fraction, bits: int) -> tuple[float, float]:
    """A constant as high + low, where high has few bits after the point.

    The product of high and a small number is then exact.
    """
    high = Fraction(round(constant * 2**bits), 2**bits)
    return float(high), float(constant - high)


def _taylor(power: int) -> float:
    """(2 pi)^n / n!, with the signs of the cosine (n even) and the sine (n odd)."""
    return float(Fraction((-1) ** (power // 2), math.factorial(power)) * TWO_PI**power)


# log m = 2 s + s^3 P(s^2), with s = (m - 1) / (m + 1): P = 2/3 + 2/5 s^2 + ...
LOG = [2 / (2 * n + 1) for n in range(1, 11)]
# cos(2 pi z) = 1 + z^2 C(z^2) and sin(2 pi z) = 2 pi z + z^3 S(z^2)
COSINE = [_taylor(2 * n) for n in range(1, 9)]
SINE = [_taylor(2 * n + 1) for n in range(1, 9)]
LOG_2_HIGH, LOG_2_LOW = _split(LOG_2, 44)  # times at most 33: 6 bits
TWO_PI_HIGH, TWO_PI_LOW = _split(TWO_PI, 20)  # times z: 30 bits
ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2) as a float64


def box_muller(words: Array, dtype: npt.DTypeLike) -> Array:
    """As many normal numbers as random words.

    Of each two words the first is u and the second v: (word + 1/2) / 2**32, never 0 or 1.

    Args:
        words: uint32 (..., 2 n), on the CPU or a GPU.
        dtype: float32 or float64.

    Returns:
        An array of the words' shape, on their device.
    """
    if backend.array_module(words) is not np:
        return box_muller_on_gpu(words, dtype)
    pairs = words.reshape(-1, 2)
    out: Array = np.empty(pairs.shape, dtype)
    for start in range(0, len(pairs), PIECE):
        u, v = pairs[start : start + PIECE].T
        radius = np.sqrt(-2.0 * log_of_uniform(u))
        cosine, sine = cosine_and_sine(v)
        piece = out[start : start + PIECE]
        piece[:, 0], piece[:, 1] = radius * cosine, radius * sine
    return out.reshape(words.shape)


def log_of_uniform(word: Array) -> Array:
    """log((word + 1/2) / 2**32), float64.

    Write (word + 1/2) = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1, which is exact, and
    s = f / (2 + f). Then 2 s = f - s f, so log m = f - s (f - s^2 P): f is large, and what is
    subtracted from it is small.
    """
    bits = (word + 0.5).view(np.int64)
    exponent = (bits - ROOT_HALF) >> 52
    f = (bits - (exponent << 52)).view(np.float64) - 1.0
    k = exponent - 32.0
    s = f / (2.0 + f)
    z = s * s
    logarithm: Array = k * LOG_2_HIGH + (f - (s * (f - z * _polynomial(LOG, z)) - k * LOG_2_LOW))
    return logarithm


def cosine_and_sine(word: Array) -> tuple[Array, Array]:
    """The cosine and sine of 2 pi (word + 1/2) / 2**32, float64.

    The nearest quarter of a turn is taken off as an integer. The rest z is exact, in turns, and
    lies between -1/8 and 1/8.
    """
    turned = word + np.uint32(2**29)  # wraps around, as an angle does
    quarter = turned >> 30
    z = ((turned & (2**30 - 1)) - (2**29 - 0.5)) * 2.0**-32
    w = z * z
    cosine = 1.0 + w * _polynomial(COSINE, w)
    sine = z * TWO_PI_HIGH + z * (TWO_PI_LOW + w * _polynomial(SINE, w))
    odd = (quarter & 1).astype(bool)
    # In the quarters 0 to 3 the cosine is cosine, -sine, -cosine, sine of z,
    # and the sine is sine, cosine, -sine, -cosine of z.
    return (
        np.where(odd, sine, cosine) * (1.0 - (quarter + 1 & 2)),
        np.where(odd, cosine, sine) * (1.0 - (quarter & 2)),
    )


def _polynomial(c: list[float], x: Array) -> Array | float:
    """c[0] + c[1] x + c[2] x^2 + ... by Horner's rule: one product and one sum at a time."""
    total: Array | float = c[-1]
    for coefficient in reversed(c[:-1]):
        total = total * x + coefficient
    return total


def box_muller_on_gpu(words: Array, dtype: npt.DTypeLike) -> Array:
    """The same numbers by the kernel below: one thread to a pair."""
    xp = backend.array_module(words)
    words = xp.ascontiguousarray(words)
    out: Array = xp.empty(words.shape, dtype)
    if out.size:
        kernel, pairs = backend.kernel(f"box_muller_{out.dtype}", SOURCE), out.size // 2
        kernel((-(-pairs // THREADS),), (THREADS,), (words, out, pairs))
    return out


def _horner(c: list[float], x: str) -> str:
    """`_polynomial` as an expression of C, with its coefficients to the last bit."""
    expression = c[-1].hex()
    for coefficient in reversed(c[:-1]):
        expression = f"({expression} * {x} + {coefficient.hex()})"
    return expression


SOURCE = r"""
__device__ double log_of_uniform(unsigned word) {
    const long long bits = __double_as_longlong(word + 0.5);
    const long long exponent = (bits - ROOT_HALF) >> 52;
    const double f = __longlong_as_double(bits - exponent * (1ll << 52)) - 1.0;
    const double k = exponent - 32.0, s = f / (2.0 + f), z = s * s;
    return k * LOG_2_HIGH + (f - (s * (f - z * LOG_POLYNOMIAL) - k * LOG_2_LOW));
}

template <typename Number>
__device__ void box_muller(const unsigned* words, Number* out, long long pairs) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pairs) return;
    const double radius = sqrt(-2.0 * log_of_uniform(words[2 * i]));
    const unsigned turned = words[2 * i + 1] + (1u << 29), quarter = turned >> 30;
    const double z = ((turned & ((1u << 30) - 1)) - ((1u << 29) - 0.5)) * (1.0 / 4294967296.0);
    const double w = z * z;
    const double cosine = 1.0 + w * COSINE_POLYNOMIAL;
    const double sine = z * TWO_PI_HIGH + z * (TWO_PI_LOW + w * SINE_POLYNOMIAL);
    const bool odd = quarter & 1;
    out[2 * i] = (Number)(radius * ((odd ? sine : cosine) * (1.0 - (quarter + 1 & 2))));
    out[2 * i + 1] = (Number)(radius * ((odd ? cosine : sine) * (1.0 - (quarter & 2))));
}

extern "C" __global__ void box_muller_float32(
    const unsigned* words, float* out, long long pairs) {
    box_muller(words, out, pairs);
}

extern "C" __global__ void box_muller_float64(
    const unsigned* words, double* out, long long pairs) {
    box_muller(words, out, pairs);
}
"""
CONSTANTS = {
    "LOG_POLYNOMIAL": _horner(LOG, "z"),
    "COSINE_POLYNOMIAL": _horner(COSINE, "w"),
    "SINE_POLYNOMIAL": _horner(SINE, "w"),
    "LOG_2_HIGH": LOG_2_HIGH.hex(),
    "LOG_2_LOW": LOG_2_LOW.hex(),
    "TWO_PI_HIGH": TWO_PI_HIGH.hex(),
    "TWO_PI_LOW": TWO_PI_LOW.hex(),
    "ROOT_HALF": f"{ROOT_HALF}ll",
}
for _name, _value in CONSTANTS.items():
    SOURCE = SOURCE.replace(_name, _value)
