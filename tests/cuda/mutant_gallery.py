"""The bugs that `kernel_mutants.py` plants, and the layers that find them, as it names them."""

from typing import NamedTuple

from autograd import backend


class Mutant(NamedTuple):
    name: str
    source: str  # which of SOURCES
    right: str  # stands there once; nothing if the bug is in the options
    wrong: str
    layers: str  # which find it
    options: tuple = backend.KERNEL_OPTIONS


SIZES = "long long size, long long n, "
TREE = "        __syncthreads();\n        if (block.team + half < left)"
PIXELS = "pixel {} block.to{}; pixel += block.teams) {{\n                    const Pack<V> pack"
READY = "__syncthreads();  // the mean and the totals are there; nobody reads the sums any more"

NORM_SILU = [
    Mutant(
        "no barrier after the sums of teams",
        "norm_silu",
        "    __syncthreads();\n}\n\n// Adds to each",
        "}\n\n// Adds to each",
        "shared",
    ),
    Mutant("no barrier before sums are written again", "norm_silu", READY, "", "shared"),
    Mutant("no barrier in the tree", "norm_silu", TREE, TREE.split("\n")[1], "shared"),
    Mutant(
        "a barrier that not all reach",
        "norm_silu",
        TREE,
        "        if (block.team + half >= left) continue;\n"
        "        __syncthreads();\n        if (true)",
        "order",
    ),
    Mutant("a warp's sum of 16 lanes only", "norm_silu", "offset = 16;", "offset = 8;", "twin"),
    Mutant("a wrong stride", "norm_silu", "(int)(n * c), f", "(int)c, f", "order"),
    Mutant(
        "a group begins one channel late",
        "norm_silu",
        "const int at = sample * c + first_group * width;",
        "const int at = sample * c + first_group * width + 1;",
        "sanitizer",
    ),
    Mutant(
        "the last pixel of a group is left out",
        "norm_silu",
        PIXELS.format("<", ""),
        PIXELS.format("<", " - 1"),
        "twin",
    ),
    Mutant(
        "a sum takes one pixel of the next row",
        "norm_silu",
        PIXELS.format("<", ""),
        PIXELS.format("<=", ""),
        "sanitizer",
    ),
    Mutant(
        "the gradient reads one channel too far",
        "norm_silu",
        "if (stage != REST && works && inside)",
        "if (stage != REST && works)",
        "sanitizer",
    ),
    Mutant(
        "an odd number of teams is halved downwards",
        "norm_silu",
        "const int half = (left + 1) / 2;",
        "const int half = left / 2;",
        "order",
    ),
    Mutant(
        "every group has the first one's mean",
        "norm_silu",
        "middle[v] = shared.mean[(channel + v) / block.width]",
        "middle[v] = shared.mean[0]",
        "twin",
    ),
    Mutant("only the last channels count", "norm_silu", "totals[g] += v", "totals[g] = v", "twin"),
    Mutant(
        "silu' without the slope of the sigmoid",
        "norm_silu",
        "g * (s * (1.0f + h * (1.0f - s)))",
        "g * s",
        "twin",
    ),
    Mutant(
        "a name that CUDA does not have",
        "norm_silu",
        "const float s = 1.0f / (1.0f + expf(-h));",
        "const float s = 1.0f / (1.0f + std::exp(-h));",
        "compiler",
    ),
    Mutant(
        "four channels at once where there are three",
        "norm_silu",
        "return aligned && bundle * (c / groups) % 4 == 0;",
        "return aligned;",
        "shared",
    ),
    Mutant(
        "sums without a gap",
        "norm_silu",
        "#define ROW (THREADS + 8)",
        "#define ROW THREADS",
        "banks",
    ),
    Mutant(
        "every part's mean counts the same",
        "norm_silu",
        "((float)(to - from) / to)",
        "(1.0f / (part + 1))",
        "twin",
    ),
    Mutant(
        "parts' squares without what their means differ by",
        "norm_silu",
        " + (to - from) * block.width * d * d",
        "",
        "twin",
    ),
    Mutant(
        "the gradients of the last part are left out",
        "norm_silu",
        "for (int part = 0; part < gridDim.y; part++) {\n                const float* of_part",
        "for (int part = 0; part + 1 < gridDim.y; part++) {\n                const float* of_part",
        "twin",
    ),
    Mutant(
        "every part writes the first one's pixels",
        "norm_silu",
        "from = pixels * blockIdx.y / gridDim.y, to = pixels * (b",
        "from = 0, to = pixels * (b",
        "twin",
    ),
]
ADD = [
    Mutant("one thread too many", "add", "if (i >= size)", "if (i > size)", "sanitizer"),
    Mutant("no end", "add", "if (i >= size) return;", "", "sanitizer"),
    Mutant("one number too few", "add", "if (i >= size)", "if (i >= size - 1)", "twin"),
    Mutant("sums in an order of chance", "add", "y[i] = sum;", "y[0] = y[0] + sum;", "order"),
    Mutant("an argument in another size", "add", f"{SIZES}long long c", f"{SIZES}int c", "call"),
    Mutant(
        "an argument forgotten",
        "add",
        f"{SIZES}long long c",
        f"{SIZES}long long c, long long more",
        "call",
    ),
]
COLUMNS = [
    Mutant("rows read past the right edge", "columns", "xx < width;", "xx <= width;", "sanitizer"),
    Mutant(
        "a read past the last row",
        "columns",
        "y >= 0 && y < height && xx",
        "y >= 0 && y <= height && xx",
        "sanitizer",
    ),
    Mutant(
        "the gradient without the stride's remainder",
        "columns",
        " || from_y % stride || from_x % stride",
        "",
        "twin",
    ),
    Mutant(
        "the gradient reads past the part of rows",
        "columns",
        "out_y >= to",
        "out_y > to",
        "sanitizer",
    ),
]
NOISE = [
    Mutant("a key of the cipher not raised", "philox", "k1 += 0xBB67AE85u;", "", "twin"),
    Mutant("nine rounds", "philox", "round < 10", "round < 9", "twin"),
    Mutant(
        "the last words of a sample run into the next",
        "philox",
        "j < 4 && 4 * block + j < count",
        "j < 4",
        "sanitizer",
    ),
    Mutant(
        "a quarter of a turn off by one word",
        "box_muller",
        "+ (1u << 29), quarter",
        "+ (1u << 29) - 1, quarter",
        "twin",
    ),
    Mutant(
        "a logarithm of the other order",
        "box_muller",
        "k * LOG_2_HIGH + (f - (s",
        "(k * LOG_2_HIGH + f) - ((s",
        "twin",
    ),
    Mutant("contraction left on", "box_muller", "", "", "compiler, twin", ("--std=c++17",)),
]
ATTENTION = [
    Mutant(
        "a softmax whose largest number is that of 16 lanes",
        "attention",
        """for (int offset = 16; offset > 0; offset /= 2)
        value = fmaxf""",
        """for (int offset = 8; offset > 0; offset /= 2)
        value = fmaxf""",
        "twin",
    ),
    Mutant(
        "a row too many",
        "attention",
        "if (row >= rows) return;\n    float*",
        "if (row > rows) return;\n    float*",
        "sanitizer",
    ),
    Mutant(
        "heads and samples changed about",
        "attention",
        "i / (P * D) % H, sample = i / (P * D * H);",
        "i / (P * D * N), sample = i / (P * D) % N;",
        "twin",
    ),
    Mutant(
        "matrices turned twice",
        "attention",
        "within % P : within / D",
        "within / D : within % P",
        "twin",
    ),
    Mutant(
        "the gradient without the sum",
        "attention",
        "(numbers[i] - sum) * weights[i]",
        "numbers[i] * weights[i]",
        "twin",
    ),
]
PARAMETERS = [
    Mutant(
        "one part's place is another's", "parameters", "start = start3,", "start = start2,", "twin"
    ),
    Mutant(
        "a part's end is forgotten",
        "parameters",
        "i < size; i += step",
        "i <= size; i += step",
        "sanitizer",
    ),
    Mutant(
        "later numbers of a long part",
        "parameters",
        "(long long)gridDim.x * blockDim.x;",
        "size;",
        "twin",
    ),
]
MUTANTS = NORM_SILU + ADD + COLUMNS + NOISE + ATTENTION + PARAMETERS
