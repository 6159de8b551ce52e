// What a CUDA kernel finds around it, for a kernel that g++ compiles: threadIdx, shared memory,
// barriers, shuffles.
//
// A launch runs block after block. In a block each thread is a fibre, a function call with a stack
// of its own, which runs up to a barrier and is put aside there until the others have arrived. So
// nothing runs at the same time. But each launch chooses an order of threads and blocks, and shared
// memory is full of NaN when a block begins. Where a barrier is missing, some order lets a thread
// read what was not written yet, or write what was not read yet.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <ucontext.h>
#include <utility>
#include <vector>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// Blocks run one after another, so one copy of shared variables serves them all.
#define __shared__ static __attribute__((section("shared_memory")))

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

// The linker's names for where the section of shared variables begins and ends. They are null in a
// source without such variables.
extern "C" char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));

namespace on_cpu {
static unsigned current;
static const char* failure;
static void wait_for_the_warp();
}

namespace tensor_cores {
static const bool IN_DETAIL = true;
static unsigned thread_number() { return on_cpu::current; }
static void wait_for_the_warp() { on_cpu::wait_for_the_warp(); }
static void fail(const char* what) { on_cpu::failure = what; }
}
#include "tensor_cores.h"

namespace on_cpu {

typedef void (*Body)(void** arguments);
enum State { READY, AT_BARRIER, AT_WARP_BARRIER, FINISHED };
enum Order { ASCENDING, DESCENDING, SHUFFLED };

struct Fibre {
    ucontext_t context;
    std::vector<char> stack;
    State state;
    uint64_t shown;  // what this thread shows the others of its warp in a shuffle
    bool fenced;  // has it called __threadfence() since the block's last atomic operation?
};

static const size_t STACK = 32 << 10;
static const unsigned WARP = 32;
static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static unsigned threads;
static Body body;
static void** arguments;

static void life() {
    body(arguments);
    fibres[current].state = FINISHED;
    swapcontext(&fibres[current].context, &scheduler);
}

static Index index_in(unsigned i, Index size) {
    const unsigned row = i / size.x;
    return {i % size.x, row % size.y, row / size.y};
}

// Called by a thread of the kernel: puts it aside in this state. Returns when the scheduler resumes
// it.
static void wait(State state) {
    fibres[current].state = state;
    swapcontext(&fibres[current].context, &scheduler);
}

static void wait_for_the_warp() { wait(AT_WARP_BARRIER); }

static void resume(unsigned thread) {
    current = thread;
    threadIdx = index_in(thread, blockDim);
    swapcontext(&scheduler, &fibres[thread].context);
}

static void start(unsigned thread) {
    Fibre& fibre = fibres[thread];
    fibre.stack.resize(STACK);
#ifdef __SANITIZE_ADDRESS__
    // The call that last used it never returned.
    __asan_unpoison_memory_region(fibre.stack.data(), STACK);
#endif
    fibre.state = READY, fibre.fenced = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, life, 0);
}

static unsigned count(State state, unsigned from, unsigned to) {
    auto begin = fibres.begin();
    auto is_there = [=](const Fibre& f) { return f.state == state; };
    return std::count_if(begin + from, begin + to, is_there);
}

static void release(State state, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++)
        if (fibres[i].state == state) fibres[i].state = READY;
}

__attribute__((no_sanitize("address"))) static void fill_shared_memory_with_nan() {
    for (volatile char* p = __start_shared_memory; p != __stop_shared_memory; p++) *p = (char)0xFF;
}

static std::vector<unsigned> in_order(unsigned n, Order order, std::mt19937& random) {
    std::vector<unsigned> list(n);
    std::iota(list.begin(), list.end(), 0);
    if (order == DESCENDING) std::reverse(list.begin(), list.end());
    if (order == SHUFFLED) std::shuffle(list.begin(), list.end(), random);
    return list;
}

// The threads of one warp, as far as they go without the other warps: one warp is then far ahead of
// the others. In the shuffled order only to their next shuffle: all warps are then about equally
// far.
static void run_warp(unsigned from, unsigned to, Order order, std::mt19937& random) {
    do {
        for (unsigned i : in_order(to - from, order, random))
            if (fibres[from + i].state == READY) resume(from + i);
        const unsigned waiting = count(AT_WARP_BARRIER, from, to);
        if (waiting && waiting < to - from)
            failure = "a shuffle or a product was not reached by all 32 threads of a warp";
        release(AT_WARP_BARRIER, from, to);
    } while (order != SHUFFLED && !failure && count(READY, from, to));
}

// Of the reads that each warp has made since the last barrier, by `read_shared`.
static void count_bank_conflicts() {
    for (unsigned first = 0; first + WARP <= threads; first += WARP) {
        for (unsigned i = first; i < first + WARP; i++) {
            tensor_cores::Thread& thread = tensor_cores::every_thread[i];
            thread.shown_reads[0].swap(thread.reads);
            thread.reads.clear();
        }
        tensor_cores::count_bank_conflicts(0, first);
    }
}

// All threads of one block, to their ends. Sets `failure` if their barriers do not match.
static void run_block(Order order, std::mt19937& random) {
    fill_shared_memory_with_nan();
    tensor_cores::begin_block(threads);
    for (unsigned i = 0; i < threads; i++) start(i);
    while (count(FINISHED, 0, threads) < threads) {
        for (unsigned warp : in_order((threads + WARP - 1) / WARP, order, random)) {
            run_warp(warp * WARP, std::min(warp * WARP + WARP, threads), order, random);
            if (failure) return;
        }
        const unsigned waiting = count(AT_BARRIER, 0, threads);
        if (waiting == threads) {
            count_bank_conflicts();
            release(AT_BARRIER, 0, threads);
        } else if (waiting && waiting + count(FINISHED, 0, threads) == threads) {
            failure = "__syncthreads() was not reached by all threads of a block";
            return;
        }
    }
}

// Run a kernel over a grid. Returns null, or what went wrong.
static const char* launch(
    Body to_run, void** with, const unsigned* grid, const unsigned* block, int order,
    unsigned seed) {
    std::mt19937 random(seed);
    body = to_run, arguments = with, failure = nullptr, tensor_cores::bank_conflicts = 0;
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    threads = block[0] * block[1] * block[2];
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    if (!threads || threads > 1024 || !blocks)
        return "a block has 1 to 1024 threads and a grid at least one block";
    if (fibres.size() < threads) fibres.resize(threads);
    for (unsigned i : in_order(blocks, (Order)order, random)) {
        blockIdx = index_in(i, gridDim);
        run_block((Order)order, random);
        if (failure) return failure;
    }
    return nullptr;
}

// Call a kernel with pointers to the values of its arguments, as the CUDA driver gets them.
template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(values[I])...);
}
template <class... A>
static void call(void (*kernel)(A...), void** values) {
    call(kernel, values, std::index_sequence_for<A...>{});
}

template <class T>
static T of_lane(T value, unsigned lane) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    memcpy(&fibres[current].shown, &value, sizeof value);
    wait(AT_WARP_BARRIER);
    memcpy(&value, &fibres[current / WARP * WARP + lane % WARP].shown, sizeof value);
    wait(AT_WARP_BARRIER);  // before anybody shows something else
    return value;
}

template <class To, class From>
static To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from, "same_bits: of one size");
    memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace on_cpu

static inline void __syncthreads() { on_cpu::wait(on_cpu::AT_BARRIER); }
static inline void __threadfence() { on_cpu::fibres[on_cpu::current].fenced = true; }
// Counts blocks that have finished. Whoever sees the number must see what they wrote, all threads
// of them, so each has to call __threadfence() before.
static inline unsigned atomicInc(unsigned* p, unsigned most) {
    for (unsigned i = 0; i < on_cpu::threads; i++) {
        if (!on_cpu::fibres[i].fenced)
            on_cpu::failure = "an atomic operation before each thread's __threadfence()";
        on_cpu::fibres[i].fenced = false;
    }
    const unsigned before = *p;
    *p = before >= most ? 0 : before + 1;
    return before;
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int with) {
    if (mask != 0xFFFFFFFFu)
        on_cpu::failure = "a shuffle among a part of a warp, which is not simulated";
    return on_cpu::of_lane(value, (on_cpu::current % on_cpu::WARP) ^ with);
}
static inline long long __double_as_longlong(double x) { return on_cpu::same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return on_cpu::same_bits<double>(x); }
static inline float __uint_as_float(unsigned x) { return on_cpu::same_bits<float>(x); }
static inline unsigned __float_as_uint(float x) { return on_cpu::same_bits<unsigned>(x); }
