"""Instructions that CUDA C++ has no words for, each behind a function.

A kernel's source begins with PTX. On a GPU these functions are NVIDIA's instructions, which its PTX
ISA describes under the names that stand beside them. Without a GPU `tools/kernel_on_cpu` has
functions of the same names, which do on a CPU what the instructions do.

    copy_16_bytes(to, from, inside)     start a copy into shared memory; zeros if not `inside`
    copy_4_bytes(to, from, inside)      the same for a single number
    end_of_copies()                     the copies started so far are a group
    wait_for_all_copies_but_the_last()  all groups but the last one have arrived, for this thread
    rounded_to_tf32(x)                  10 bits after the point; ignore the lower 13 of its 32 bits
    multiply_16x8x8(d, a, b)            d += a b by the tensor cores, for all threads of a warp
    read_shared(p)                      *p, where it is to be seen which threads read together

Copies and products need compute capability 8.0, an A100 or later.
"""

PTX = r"""
#ifdef __CUDA_ARCH__
// cp.async. Where fewer bytes are given than copied, the rest are zeros. The copy of 16
// bytes leaves out the first cache, since nobody else needs these numbers soon.
__device__ void copy_16_bytes(float* to, const float* from, bool inside) {
    const unsigned shared = (unsigned)__cvta_generic_to_shared(to), given = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared), "l"(from), "r"(given) : "memory");
}
__device__ void copy_4_bytes(float* to, const float* from, bool inside) {
    const unsigned shared = (unsigned)__cvta_generic_to_shared(to), given = inside ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :: "r"(shared), "l"(from), "r"(given) : "memory");
}
__device__ void end_of_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
__device__ void wait_for_all_copies_but_the_last() {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
}

// cvt. Halves are rounded away from zero.
__device__ unsigned rounded_to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// mma. See "Matrix Fragments for mma.m16n8k8" (.tf32) for which thread holds which numbers.
__device__ void multiply_16x8x8(float* d, const unsigned* a, const unsigned* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ float read_shared(const float* p) { return *p; }
#endif
"""
