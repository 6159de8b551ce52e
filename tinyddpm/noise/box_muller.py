"""Random words to normal numbers, the same to the last bit on every machine: on a CPU in NumPy, on a GPU as a kernel.

Box and Muller (1958): if u and v are uniform on (0, 1), then sqrt(-2 log u) cos(2 pi v) and sqrt(-2 log u) sin(2 pi v) are
normal and independent. But no two libraries agree on the last digit of a logarithm or a cosine. IEEE 754 makes everybody
agree on + - * / and the square root, each rounded exactly. So logarithm, cosine and sine are built of those here, in
one fixed order, with the words taken apart as integers, where nothing is rounded at all. They are good to 2 units in the
last place. The kernel does the same operations in the same order, and is compiled so that no product and sum become one.

The polynomials are Taylor's, with as many terms as it takes: their coefficients explain themselves, and nobody needs to
trust a table. Each is held as the fraction that it is, and rounded once.
"""
import math
from fractions import Fraction

import numpy as np

from autograd import backend

LOG_2 = Fraction("0.6931471805599453094172321214581765680755")
TWO_PI = Fraction("6.2831853071795864769252867665590057683943")
PIECE = 2**12  # pairs worked on at once: their intermediate results stay in the processor's cache
THREADS = 256  # to a block of the kernel


def _split(constant, bits):
    """A constant as high + low, where high has so few bits after the point that a product with a small number is exact."""
    high = Fraction(round(constant * 2**bits), 2**bits)
    return float(high), float(constant - high)


# log m = 2 s + s^3 P(s^2), with s = (m - 1) / (m + 1): P = 2/3 + 2/5 s^2 + ...
LOG = [2 / (2 * n + 1) for n in range(1, 11)]
# cos(2 pi z) = 1 + z^2 C(z^2) and sin(2 pi z) = 2 pi z + z^3 S(z^2)
COSINE = [float(Fraction((-1) ** n, math.factorial(2 * n)) * TWO_PI ** (2 * n)) for n in range(1, 9)]
SINE = [float(Fraction((-1) ** n, math.factorial(2 * n + 1)) * TWO_PI ** (2 * n + 1)) for n in range(1, 9)]
LOG_2_HIGH, LOG_2_LOW = _split(LOG_2, 44)     # times at most 33: 6 bits
TWO_PI_HIGH, TWO_PI_LOW = _split(TWO_PI, 20)  # times z: 30 bits
ROOT_HALF = 0x3FE6A09E667F3BCD                # the bits of sqrt(1/2) as a float64


def box_muller(words, dtype):
    """uint32 words (..., 2 n), on the CPU or a GPU -> as many normal numbers of dtype float32 or float64, in the same shape.

    Of each two words the first is u, the second v: (word + 1/2) / 2**32, so that neither is ever 0 or 1.
    """
    if backend.array_module(words) is not np:
        return box_muller_on_gpu(words, dtype)
    pairs = words.reshape(-1, 2)
    out = np.empty(pairs.shape, dtype)
    for start in range(0, len(pairs), PIECE):
        u, v = pairs[start:start + PIECE].T
        radius = np.sqrt(-2.0 * log_of_uniform(u))
        cosine, sine = cosine_and_sine(v)
        piece = out[start:start + PIECE]
        piece[:, 0], piece[:, 1] = radius * cosine, radius * sine
    return out.reshape(words.shape)


def log_of_uniform(word):
    """log((word + 1/2) / 2**32), float64.

    (word + 1/2) = 2^k m with m in [sqrt(1/2), sqrt(2)). With f = m - 1, which is exact, and s = f / (2 + f) it holds that
    2 s = f - s f, so log m = f - s (f - s^2 P): f is large, and what is subtracted small.
    """
    bits = (word + 0.5).view(np.int64)
    k = (bits - ROOT_HALF) >> 52
    f = (bits - (k << 52)).view(np.float64) - 1.0
    k = k - 32.0
    s = f / (2.0 + f)
    z = s * s
    return k * LOG_2_HIGH + (f - (s * (f - z * _polynomial(LOG, z)) - k * LOG_2_LOW))


def cosine_and_sine(word):
    """cos and sin of 2 pi (word + 1/2) / 2**32, float64.

    The nearest quarter of a turn is taken off as an integer; z, in turns, is the exact rest, between -1/8 and 1/8.
    """
    turned = word + np.uint32(2**29)  # wraps around, as an angle does
    quarter = turned >> 30
    z = ((turned & (2**30 - 1)) - (2**29 - 0.5)) * 2.0**-32
    w = z * z
    cosine = 1.0 + w * _polynomial(COSINE, w)
    sine = z * TWO_PI_HIGH + z * (TWO_PI_LOW + w * _polynomial(SINE, w))
    odd = (quarter & 1).astype(bool)
    return (np.where(odd, sine, cosine) * (1.0 - (quarter + 1 & 2)),  # of quarters 0 to 3: cosine, -sine, -cosine, sine
            np.where(odd, cosine, sine) * (1.0 - (quarter & 2)))      # sine, cosine, -sine, -cosine


def _polynomial(coefficients, x):
    """coefficients[0] + coefficients[1] x + ..., by Horner's rule: one product and one sum at a time."""
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def box_muller_on_gpu(words, dtype):
    """The same numbers by the kernel below: one thread to a pair."""
    xp = backend.array_module(words)
    words = xp.ascontiguousarray(words)
    out = xp.empty(words.shape, dtype)
    if out.size:
        pairs = out.size // 2
        backend.kernel(f"box_muller_{out.dtype}", SOURCE)((-(-pairs // THREADS),), (THREADS,), (words, out, pairs))
    return out


def _horner(coefficients, x):
    """`_polynomial` as an expression of C, its coefficients to the last bit."""
    expression = coefficients[-1].hex()
    for c in reversed(coefficients[:-1]):
        expression = f"({expression} * {x} + {c.hex()})"
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
    const double z = ((turned & ((1u << 30) - 1)) - ((1u << 29) - 0.5)) * (1.0 / 4294967296.0), w = z * z;
    const double cosine = 1.0 + w * COSINE_POLYNOMIAL;
    const double sine = z * TWO_PI_HIGH + z * (TWO_PI_LOW + w * SINE_POLYNOMIAL);
    const bool odd = quarter & 1;
    out[2 * i] = (Number)(radius * ((odd ? sine : cosine) * (1.0 - (quarter + 1 & 2))));
    out[2 * i + 1] = (Number)(radius * ((odd ? cosine : sine) * (1.0 - (quarter & 2))));
}

extern "C" __global__ void box_muller_float32(const unsigned* words, float* out, long long pairs) { box_muller(words, out, pairs); }
extern "C" __global__ void box_muller_float64(const unsigned* words, double* out, long long pairs) { box_muller(words, out, pairs); }
"""
for _name, _value in {"LOG_POLYNOMIAL": _horner(LOG, "z"), "COSINE_POLYNOMIAL": _horner(COSINE, "w"), "SINE_POLYNOMIAL": _horner(SINE, "w"),
                      "LOG_2_HIGH": LOG_2_HIGH.hex(), "LOG_2_LOW": LOG_2_LOW.hex(), "TWO_PI_HIGH": TWO_PI_HIGH.hex(),
                      "TWO_PI_LOW": TWO_PI_LOW.hex(), "ROOT_HALF": f"{ROOT_HALF}ll"}.items():
    SOURCE = SOURCE.replace(_name, _value)
