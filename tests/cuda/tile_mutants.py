"""More bugs that `kernel_mutants.py` plants: in what tensor cores multiply."""

from mutant_gallery import Mutant

WAIT = "        wait_for_all_copies_but_the_last();\n"
ARRIVED = "        __syncthreads();  // everybody's copies for the step before are there\n"
READ = "        __syncthreads();  // nobody reads any more what the next step overwrites\n"
SPLIT_PRODUCT = """                float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
                multiply_16x8x8(part, a_small[i], b_big);
                multiply_16x8x8(part, a_big[i], b_small);
                multiply_16x8x8(part, a_big[i], b_big);
                #pragma unroll
                for (int e = 0; e < 4; e++) sum[i][j][e] += part[e];
"""
IN_THE_CORES = """                multiply_16x8x8(sum[i][j], a_small[i], b_big);
                multiply_16x8x8(sum[i][j], a_big[i], b_small);
                multiply_16x8x8(sum[i][j], a_big[i], b_big);
"""
FRAGMENT = "group + e {} 2 * 8, at = k + member + e {} 2 * 4"
INSIDE = "inside = inside && at_y < of.height && at_x {} of.width;"
ROWS = "(length) == 16 ? {} : {}"
BUGS = [
    ("nobody waits for a copy", WAIT, "", "shared"),
    ("no barrier after the copies", ARRIVED, "", "shared"),
    ("no barrier before new copies", READ, "", "shared"),
    (
        "the last copies are never waited for",
        "        end_of_copies();\n        if (step == 0)",
        "        if (step < steps) end_of_copies();\n        if (step == 0)",
        "shared",
    ),
    (
        "one buffer for two steps",
        "copy(step, a + now * TILE_OF(A_LENGTH)",
        "copy(step, a",
        "shared",
    ),
    (
        "lower bits are not cleared",
        "rounded_to_tf32(x) & 0xFFFFE000u",
        "rounded_to_tf32(x)",
        "twin",
    ),
    ("a product left out", "multiply_16x8x8(part, a_small[i], b_big);", "", "twin"),
    ("sums inside the tensor cores", SPLIT_PRODUCT, IN_THE_CORES, "twin"),
    ("rows of 16 without a gap", ROWS.format(20, 72), ROWS.format(16, 72), "banks"),
    ("rows of 64 without a gap", ROWS.format(20, 72), ROWS.format(20, 64), "banks"),
    ("rows that are not aligned", ROWS.format(20, 72), ROWS.format(18, 72), "copy"),
    ("fours of an odd number", "numbers % 4 == 0 &&", "numbers % 2 == 0 &&", "copy"),
    ("a fragment turned", FRAGMENT.format("%", "/"), FRAGMENT.format("/", "%"), "twin"),
    ("a result turned", "/ 4 + e / 2 * 8;", "/ 4 + e % 2 * 8;", "twin"),
    ("a part of a warp leaves", "if (first_row >= rows", "if (first_row + group >= rows", "order"),
    ("a tap too many in a row", "if (++kx == of.kw)", "if (++kx > of.kw)", "sanitizer"),
    ("the same channels again", "            channel += DEPTH;\n", "", "twin"),
    ("a column past the edge", INSIDE.format("<"), INSIDE.format("<="), "sanitizer"),
    ("gaps in one direction only", " && at_x % of.stride == 0;", ";", "twin"),
    (
        "outputs past the last",
        "if (row < rows && column < columns)",
        "if (row < rows)",
        "sanitizer",
    ),
    ("the row of a pixel", "row[pixel % of.n *", "row[pixel / of.n *", "sanitizer"),
    ("rows past the end", "row + r < end && column", "column", "sanitizer"),
    (
        "a weight that is not turned around",
        "(of.kh - 1 - ky) * of.kw + of.kw - 1 - kx",
        "ky * of.kw + kx",
        "twin",
    ),
    ("channels past the turned weight's", "ky < of.kh && to < of.c_out", "ky < of.kh", "sanitizer"),
    ("taps past the turned weight's", "ky < of.kh && to < of.c_out", "to < of.c_out", "sanitizer"),
    (
        "a turned weight read by rows",
        "turned ? 1 : ROW_OF(64), turned ? ROW_OF(16) : 1",
        "ROW_OF(64), 1",
        "shared",
    ),
    ("an instruction that there is not", "aligned.m16n8k8", "aligned.m16n8k9", "compiler"),
]
FENCE = "    __threadfence();  // whoever sees this block counted sees what it wrote\n"
COUNTED = "    __syncthreads();\n    if (threadIdx.x == 0)  // counts"
KNOWN = "    __syncthreads();\n    __threadfence();\n"
OF_WEIGHTS = [
    (
        "the last pixels left out",
        "(end - first_pixel + DEPTH - 1) /",
        "(end - first_pixel) /",
        "twin",
    ),
    ("parts in one place", "gw : parts + blockIdx.z * size;", "gw : parts;", "order"),
    (
        "a pixel too few for the bias",
        "k < DEPTH; k++)\n                    b",
        "k < DEPTH - 1; k++)\n                    b",
        "twin",
    ),
    ("a channel of the bias too many", "SIDE && own_channel < c_out;", "SIDE;", "sanitizer"),
    (
        "a bias that nobody adds up",
        "        if (has_bias)\n            add_rows",
        "        if (false)\n            add_rows",
        "twin",
    ),
    ("a block is counted, and nothing is there", FENCE, "", "fence"),
    ("some threads of a block are counted", COUNTED, COUNTED.split("\n")[1], "fence"),
    ("nobody waits for the count", KNOWN, KNOWN.split("\n", 1)[1], "order"),
    ("the first one adds up", "members - 1) == members - 1;", "members - 1) == 0;", "twin"),
    (
        "a counter that goes on",
        "atomicInc(finished_ones, members - 1)",
        "atomicInc(finished_ones, members)",
        "order",
    ),
    ("one counter for all rounds", "counters + first + round,", "counters + first,", "order"),
    ("one counter for all tiles", "(blockIdx.y * gridDim.x + blockIdx.x) * count", "0", "order"),
    ("one part left out", "i < members; i++", "i < members - 1; i++", "twin"),
    ("a group's first part again", "from[i * to_next_member + ", "from[", "twin"),
    (
        "a group without its end",
        "members = up_to_the_end < GROUP ? up_to_the_end : GROUP",
        "members = GROUP",
        "twin",
    ),
    (
        "a row past the last",
        "first_row + r, depth, teams",
        "first_row + r, depth + 2, teams",
        "sanitizer",
    ),
]
OF_PRODUCTS = [
    ("the numbers of another product", "x * depth * columns;", "x * columns;", "twin"),
    ("a column too many", "column < columns) use(", "column <= columns) use(", "sanitizer"),
    ("rows past the end", "row + r < end && column", "column", "sanitizer"),
]
OF = {"convolution": BUGS, "weight_gradient": OF_WEIGHTS, "product": OF_PRODUCTS}
TILE_MUTANTS = [
    Mutant(name, source, right, wrong, layers)
    for source, bugs in OF.items()
    for name, right, wrong, layers in bugs
]
