"""More bugs that `kernel_mutants.py` plants: in the convolution by tensor cores."""

from mutant_gallery import Mutant

WAIT = "        wait_for_all_copies_but_the_last();\n"
ARRIVED = "        __syncthreads();  // everybody's copies for the step before are there\n"
CONVOLVE = "        multiply_tiles(\n            a[(step - 1) % 2], ROW_OF_16"
READ = "        __syncthreads();  // nobody reads any more what the next step overwrites\n"
OUTPUTS = "            pixels - first_pixel, c_out - first_channel, sum);\n"
LAST_COPY = "copy_rows(b[step % 2], w, step * DEPTH, depth, first_channel, c_out);\n        }\n"
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
INSIDE = "inside = inside && at_y < height && at_x {} width;"
BUGS = [
    ("nobody waits for a copy", WAIT + ARRIVED + CONVOLVE, ARRIVED + CONVOLVE, "shared"),
    ("no barrier after the copies", WAIT + ARRIVED + CONVOLVE, WAIT + CONVOLVE, "shared"),
    ("no barrier before new copies", OUTPUTS + READ, OUTPUTS, "shared"),
    (
        "the last copies are never waited for",
        f"{LAST_COPY}        end_of_copies();",
        f"{LAST_COPY}        if (step < steps) end_of_copies();",
        "shared",
    ),
    ("one buffer for two steps", "a[step % 2] + r * ROW", "a[0] + r * ROW", "shared"),
    (
        "lower bits are not cleared",
        "rounded_to_tf32(x) & 0xFFFFE000u",
        "rounded_to_tf32(x)",
        "twin",
    ),
    ("a product left out", "multiply_16x8x8(part, a_small[i], b_big);", "", "twin"),
    ("sums inside the tensor cores", SPLIT_PRODUCT, IN_THE_CORES, "twin"),
    ("rows of 16 without a gap", "#define ROW_OF_16 20", "#define ROW_OF_16 16", "banks"),
    ("rows of 64 without a gap", "#define ROW_OF_64 72", "#define ROW_OF_64 64", "banks"),
    ("rows that are not aligned", "#define ROW_OF_16 20", "#define ROW_OF_16 18", "copy"),
    ("fours of an odd number", "numbers % 4 == 0 &&", "numbers % 2 == 0 &&", "copy"),
    ("a fragment turned", FRAGMENT.format("%", "/"), FRAGMENT.format("/", "%"), "twin"),
    ("a result turned", "/ 4 + e / 2 * 8;", "/ 4 + e % 2 * 8;", "twin"),
    ("a part of a warp leaves", "if (first_row >= rows", "if (first_row + group >= rows", "order"),
    ("a tap too many in a row", "if (++kx == kw)", "if (++kx > kw)", "twin"),
    ("the same channels again", "            channel += DEPTH;\n", "", "twin"),
    ("a column past the edge", INSIDE.format("<"), INSIDE.format("<="), "sanitizer"),
    ("gaps in one direction only", " && at_x % (int)gaps == 0;", ";", "twin"),
    (
        "outputs past the last",
        "if (pixel >= pixels || to >= c_out)",
        "if (pixel >= pixels)",
        "sanitizer",
    ),
    ("the row of a pixel", "row[pixel % (int)n *", "row[pixel / (int)n *", "sanitizer"),
    ("rows past the end", "row + k < end && column", "column", "sanitizer"),
    (
        "the last pixels left out",
        "(end - first_pixel + DEPTH - 1) /",
        "(end - first_pixel) /",
        "twin",
    ),
    ("one part left out", "part < count; part++", "part < count - 1; part++", "twin"),
    ("parts in one place", "parts[(blockIdx.z * depth + r)", "parts[(r)", "order"),
    ("an instruction that there is not", "aligned.m16n8k8", "aligned.m16n8k9", "compiler"),
]
OF_PRODUCTS = [
    ("the numbers of another product", "a += blockIdx.x * rows", "a += blockIdx.y * rows", "twin"),
    ("a column too many", "column < columns) c[", "column <= columns) c[", "sanitizer"),
    ("rows past the end", "row + r < end && column", "column", "sanitizer"),
]
TILE_MUTANTS = [
    Mutant(name, source, right, wrong, layers)
    for source, bugs in (("convolution", BUGS), ("product", OF_PRODUCTS))
    for name, right, wrong, layers in bugs
]
