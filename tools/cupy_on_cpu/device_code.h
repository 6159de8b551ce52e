// What a CUDA kernel finds around it, for a kernel that g++ compiles: threadIdx, barriers,
// shuffles, atomics.
//
// It is put before every kernel (compiler.py). A launch runs block after block. In a block whose
// kernel meets no barrier, thread after thread runs to its end. Otherwise each thread is a fibre, a
// function call with a stack of its own, which runs up to a barrier and is put aside there until
// the others have arrived. So nothing ever runs at the same time. A race inside a block shows if
// the order of threads brings it out (CUPY_ON_CPU_ORDER=descending is the other order), and a race
// between blocks hardly ever.
#pragma once
#include <cuda_runtime.h>
#include <math.h>
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after another, so one copy serves them all
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

namespace simulator {
static unsigned current;
static bool failed;  // something that a GPU would not do, or would do wrong
static void wait_for_the_warp();
}

namespace tensor_cores {
static const bool IN_DETAIL = false;  // tools/kernel_on_cpu looks closer
static unsigned thread_number() { return simulator::current; }
static void wait_for_the_warp() { simulator::wait_for_the_warp(); }
static void fail(const char* what) {
    if (!simulator::failed) fprintf(stderr, "cupy_on_cpu: %s\n", what);
    simulator::failed = true;
}
}
#include "tensor_cores.h"

namespace simulator {

typedef void (*Kernel)(void** arguments);
enum State { READY, AT_BARRIER, AT_WARP_BARRIER, FINISHED };

struct Fibre {
    jmp_buf registers;
    std::unique_ptr<char[]> stack;
    bool started = false;
    State state = READY;
    uint64_t lane_value = 0;  // what this thread shows the others of its warp in a shuffle
};

static const size_t STACK = 128 << 10;
static std::vector<Fibre> fibres;
static jmp_buf scheduler;
static ucontext_t first_context;
static Kernel kernel;
static void** arguments;
static char* dynamic_shared;

static uint3 index_of(unsigned thread) {
    const unsigned row = thread / blockDim.x;
    return uint3{thread % blockDim.x, row % blockDim.y, row / blockDim.y};
}

// Leave the current fibre in `state`; returns when the scheduler chooses it again.
static void wait(State state) {
    fibres[current].state = state;
    if (!_setjmp(fibres[current].registers)) _longjmp(scheduler, 1);
}

static void wait_for_the_warp() { wait(AT_WARP_BARRIER); }

static void life_of_a_fibre() {
    for (;;) {  // one round for every block
        kernel(arguments);
        wait(FINISHED);
    }
}

static void resume(unsigned thread) {
    Fibre& fibre = fibres[thread];
    current = thread;
    threadIdx = index_of(thread);
    if (_setjmp(scheduler)) return;
    if (fibre.started) _longjmp(fibre.registers, 1);
    fibre.started = true;
    fibre.stack.reset(new char[STACK]);
    getcontext(&first_context);
    first_context.uc_stack.ss_sp = fibre.stack.get();
    first_context.uc_stack.ss_size = STACK;
    makecontext(&first_context, life_of_a_fibre, 0);
    setcontext(&first_context);
}

// Let the fibres of a warp go on if all that have not finished are at its barrier.
static void open_warp_barriers(unsigned threads) {
    for (unsigned warp = 0; warp < threads; warp += warpSize) {
        unsigned end = std::min(warp + warpSize, threads);
        bool all = true;
        for (unsigned i = warp; i < end; i++)
            all &= fibres[i].state == AT_WARP_BARRIER || fibres[i].state == FINISHED;
        for (unsigned i = warp; all && i < end; i++)
            if (fibres[i].state == AT_WARP_BARRIER) fibres[i].state = READY;
    }
}

static bool run_block_of_fibres(unsigned threads, bool descending) {
    if (fibres.size() < threads) fibres.resize(threads);
    for (unsigned i = 0; i < threads; i++) fibres[i].state = READY;
    tensor_cores::begin_block(threads);
    for (;;) {
        unsigned ran = 0, at_barrier = 0, finished = 0;
        for (unsigned i = 0; i < threads; i++) {
            unsigned thread = descending ? threads - 1 - i : i;
            if (fibres[thread].state == READY) resume(thread), ran++;
        }
        open_warp_barriers(threads);
        for (unsigned i = 0; i < threads; i++) {
            at_barrier += fibres[i].state == AT_BARRIER;
            finished += fibres[i].state == FINISHED;
        }
        if (finished == threads) return !failed;
        if (at_barrier == threads)
            for (unsigned i = 0; i < threads; i++) fibres[i].state = READY;
        else if (!ran) {
            fprintf(
                stderr,
                "cupy_on_cpu: deadlock: of %u threads %u wait at __syncthreads() "
                "and %u have returned\n",
                threads, at_barrier, finished);
            for (Fibre& fibre : fibres) fibre.started = false;  // their calls are abandoned
            return false;
        }
    }
}

// Run the kernel in the block `blockIdx`. False if its barriers do not match.
static bool run_block(unsigned threads, size_t shared_bytes, bool has_barriers, bool descending) {
    std::unique_ptr<char[]> shared(new char[shared_bytes]);
    memset(shared.get(), 0xFF, shared_bytes);  // NaN: a block must write before it reads
    dynamic_shared = shared.get();
    if (has_barriers) return run_block_of_fibres(threads, descending);
    for (unsigned i = 0; i < threads; i++) {
        threadIdx = index_of(descending ? threads - 1 - i : i);
        kernel(arguments);
    }
    return true;
}

// Run a kernel over a grid. False if its barriers do not match.
static bool launch(
    Kernel to_run, void** with, const unsigned* grid, const unsigned* block, size_t shared_bytes,
    bool has_barriers) {
    const char* order = getenv("CUPY_ON_CPU_ORDER");
    bool descending = order && !strcmp(order, "descending");
    kernel = to_run, arguments = with, failed = false;
    gridDim = dim3(grid[0], grid[1], grid[2]), blockDim = dim3(block[0], block[1], block[2]);
    unsigned threads = block[0] * block[1] * block[2];
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = uint3{x, y, z};
                if (!run_block(threads, shared_bytes, has_barriers, descending)) return false;
            }
    return true;
}

// Call a kernel with arguments that the driver was given as pointers to their values.
template <class... A, size_t... I>
static void call(void (*function)(A...), void** values, std::index_sequence<I...>) {
    function(*static_cast<std::remove_cv_t<std::remove_reference_t<A>>*>(values[I])...);
}
template <class... A>
static void call(void (*function)(A...), void** values) {
    call(function, values, std::index_sequence_for<A...>{});
}

// How many arguments a kernel has, and how long they are: written to `found`, if there is one.
template <class... A>
static size_t sizes(void (*)(A...), size_t* found) {
    const size_t all[] = {sizeof(std::remove_reference_t<A>)..., 0};
    if (found) memcpy(found, all, sizeof...(A) * sizeof *all);
    return sizeof...(A);
}

// The bytes of a kernel's arguments: each number of CuPy's arrays once, however often an axis of
// stride 0 repeats it. Nobody knows how long the array behind a plain pointer is: 0.
template <class A>
static size_t bytes_of(const A&) { return 0; }
template <template <class, int, bool, bool> class Array, class T, int N, bool C, bool I>
static size_t bytes_of(const Array<T, N, C, I>& a) {
    size_t numbers = 1;
    if constexpr (N > 0)
        for (int i = 0; i < N; i++)
            if (a.strides()[i] || !a.shape()[i]) numbers *= a.shape()[i];
    return numbers * sizeof(T);
}
template <class... A, size_t... I>
static size_t bytes(void (*)(A...), void** values, std::index_sequence<I...>) {
    return (
        size_t(0) + ... +
        bytes_of(*static_cast<std::remove_cv_t<std::remove_reference_t<A>>*>(values[I])));
}
template <class... A>
static size_t bytes(void (*function)(A...), void** values) {
    return bytes(function, values, std::index_sequence_for<A...>{});
}

// `value` of another thread of the warp; of one that has returned, what it last showed.
template <class T>
static T from_lane(T value, unsigned lane) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    unsigned source = current / warpSize * warpSize + lane;
    memcpy(&fibres[current].lane_value, &value, sizeof value);
    wait(AT_WARP_BARRIER);
    if (source < blockDim.x * blockDim.y * blockDim.z)
        memcpy(&value, &fibres[source].lane_value, sizeof value);
    wait(AT_WARP_BARRIER);
    return value;
}
static unsigned lane() { return current % warpSize; }

}  // namespace simulator

static inline void __syncthreads() { simulator::wait(simulator::AT_BARRIER); }
static inline void __syncwarp(unsigned = ~0u) { simulator::wait(simulator::AT_WARP_BARRIER); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

// Shuffles: `width` is a power of two, the warp's part within which they stay. A thread with nobody
// to ask keeps its own value.
template <class T>
static inline T shuffle(T v, int source, int width) {
    int own = simulator::lane(), first = own / width * width;
    return simulator::from_lane(v, source >= first && source < first + width ? source : own);
}
template <class T>
static inline T __shfl_sync(unsigned, T v, int lane, int width = 32) {
    return shuffle(v, int(simulator::lane()) / width * width + lane % width, width);
}
template <class T>
static inline T __shfl_xor_sync(unsigned, T v, int mask, int width = 32) {
    return shuffle(v, int(simulator::lane()) ^ mask, width);
}
template <class T>
static inline T __shfl_down_sync(unsigned, T v, unsigned n, int width = 32) {
    return shuffle(v, int(simulator::lane() + n), width);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T v, unsigned n, int width = 32) {
    return shuffle(v, int(simulator::lane()) - int(n), width);
}

// Nothing runs at the same time, so an atomic operation is the plain one.
template <class T>
static inline T atomicExch(T* p, T v) {
    T old = *p;
    *p = v;
    return old;
}
template <class T, class U>
static inline T atomicAdd(T* p, U v) { return atomicExch(p, T(*p + v)); }
template <class T, class U>
static inline T atomicMax(T* p, U v) { return atomicExch(p, std::max(*p, T(v))); }
template <class T, class U>
static inline T atomicMin(T* p, U v) { return atomicExch(p, std::min(*p, T(v))); }
static inline unsigned atomicInc(unsigned* p, unsigned most) {
    return atomicExch(p, *p >= most ? 0u : *p + 1);
}
template <class T>
static inline T atomicCAS(T* p, T compare, T v) { return atomicExch(p, *p == compare ? v : *p); }

// Functions of the CUDA language. Those with two underscores are a GPU's quick, inexact ones. Here
// they are exact.
using std::max;
using std::min;
using std::signbit;
template <class T>
static inline T __ldg(const T* p) { return *p; }
template <class To, class From>
static inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float x) { return same_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return same_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
// e^(x²) erfc(x). Far out, where the two factors would leave the range of numbers, by its
// asymptotic series.
static inline double erfcx(double x) {
    if (x < 9) return exp(x * x) * erfc(x);
    double term = 1, sum = 1;
    for (int n = 1; n < 20; n++) sum += term *= (1 - 2 * n) / (2 * x * x);
    return sum / (x * 1.7724538509055160273);  // the root of π
}
static inline float erfcxf(float x) { return (float)erfcx(x); }
static inline float __expf(float x) { return expf(x); }
static inline float __logf(float x) { return logf(x); }
static inline float __fdividef(float x, float y) { return x / y; }

// One rounding each: what a kernel uses whose result must be the same to the last bit everywhere.
static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __fsub_rn(float x, float y) { return x - y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline float __fdiv_rn(float x, float y) { return x / y; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline double __dadd_rn(double x, double y) { return x + y; }
static inline double __dsub_rn(double x, double y) { return x - y; }
static inline double __dmul_rn(double x, double y) { return x * y; }
static inline double __ddiv_rn(double x, double y) { return x / y; }
static inline double __dsqrt_rn(double x) { return sqrt(x); }
