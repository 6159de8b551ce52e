// A GPU's tensor cores, and its copies that run in the background, on a CPU: what the functions of
// `tinyddpm/fast/cuda/ptx.py` do for a kernel that g++ compiles.
//
// The file that includes this defines, in the namespace:
//
//     thread_number()      of the thread that runs, in its block
//     wait_for_the_warp()  returns when all 32 threads of the warp have called it
//     fail(what)           says what went wrong
//     IN_DETAIL            false: sums as a CPU makes them, and no bank conflicts counted: quicker
//
// It calls begin_block(threads) where a block begins.
//
// A copy is made at the worst moments that PTX allows. Its destination is NaN from the moment when
// the copy is asked for, and its numbers arrive only when its thread waits for them. So whoever
// reads too early, or copies over what another thread still reads, computes NaN.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <vector>

namespace tensor_cores {

struct Copy { char* to; const char* from; unsigned bytes, given; };

struct Thread {
    std::vector<Copy> copies;   // asked for, not yet made
    std::vector<size_t> groups; // how many copies there were when each group was closed
    std::vector<uintptr_t> reads, shown_reads[2]; // of shared memory, since the last product
    unsigned products = 0;
    // What a thread shows the others of its warp. One product fills the one slot while a slower
    // thread still reads the other.
    struct { uint32_t a[4], b[2]; } shown[2];
};

static const unsigned WARP_SIZE = 32, BANKS = 32;
static std::vector<Thread> every_thread;
static long bank_conflicts;

static Thread& this_thread() { return every_thread[thread_number()]; }

static void begin_block(unsigned threads) {
    every_thread.resize(threads);
    for (Thread& thread : every_thread) {
        thread.copies.clear(), thread.groups.clear(), thread.reads.clear();
        thread.products = 0;
    }
}

static void copy(void* to, const void* from, unsigned bytes, bool inside) {
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes) fail("a copy that is not aligned");
    memset(to, 0xFF, bytes);
    this_thread().copies.push_back({(char*)to, (const char*)from, bytes, inside ? bytes : 0});
}

static void close_group() {
    this_thread().groups.push_back(this_thread().copies.size());
}

// Make all copies but those of the last `left` groups.
static void wait_for_copies(size_t left) {
    Thread& thread = this_thread();
    if (thread.groups.size() <= left) return;
    const size_t done = thread.groups[thread.groups.size() - 1 - left];
    for (size_t i = 0; i < done; i++) {
        const Copy& c = thread.copies[i];
        memcpy(c.to, c.from, c.given);
        memset(c.to + c.given, 0, c.bytes - c.given);
    }
    thread.copies.erase(thread.copies.begin(), thread.copies.begin() + done);
    thread.groups.erase(thread.groups.begin(), thread.groups.end() - left);
    for (size_t& end : thread.groups) end -= done;
}

template <class To, class From>
static To bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from, "bits: of one size");
    memcpy(&to, &from, sizeof to);
    return to;
}

// cvt.rna.tf32.f32: 10 bits after the point, halves away from zero. PTX does not say what the lower
// 13 bits are afterwards; here they are ones.
static uint32_t rounded_to_tf32(float x) {
    const uint32_t u = bits<uint32_t>(x);
    if (!std::isfinite(x)) return u;
    return (u + 0x1000u) | 0x1FFFu;
}

// What the tensor cores make of a factor: they do not look at its lower 13 bits.
static double factor(uint32_t u) { return bits<float>(u & 0xFFFFE000u); }

// c plus four products, as the tensor cores of an A100 add: every summand is cut off below the
// 24th bit after the point of the largest, and the sum is cut off to float32 (Fasi et al. 2021,
// "Numerical behavior of NVIDIA tensor cores"). NVIDIA says nothing about it. Later cards keep more
// bits, so what is accurate enough here is so there too.
static float add_four(float c, const double* products) {
    double largest = std::fabs(c), plain = c;
    for (int i = 0; i < 4; i++) {
        largest = std::max(largest, std::fabs(products[i]));
        plain += products[i];
    }
    if (!IN_DETAIL || !std::isfinite(plain) || largest == 0) return (float)plain;
    const double last = std::ldexp(1.0, std::ilogb(largest) - 24);
    double sum = std::trunc(c / last);
    for (int i = 0; i < 4; i++) sum += std::trunc(products[i] / last);
    sum *= last;
    const float nearest = (float)sum;
    return std::fabs((double)nearest) > std::fabs(sum) ? std::nextafter(nearest, 0.0f) : nearest;
}

// How often reads that a warp makes at once wait for each other: two words of the same bank.
static void count_bank_conflicts(unsigned slot, unsigned first) {
    const size_t count = every_thread[first].shown_reads[slot].size();
    for (size_t i = 0; i < count; i++) {
        std::map<unsigned, std::set<uintptr_t>> words;
        for (unsigned lane = 0; lane < WARP_SIZE; lane++) {
            const auto& reads = every_thread[first + lane].shown_reads[slot];
            if (i < reads.size()) words[reads[i] / 4 % BANKS].insert(reads[i] / 4);
        }
        size_t most = 1;
        for (const auto& bank : words) most = std::max(most, bank.second.size());
        bank_conflicts += most - 1;
    }
}

// d += a b, where d is 16×8, a 16×8 and b 8×8. Which numbers of them a thread holds is said in the
// PTX ISA, "Matrix Fragments for mma.m16n8k8" (of .tf32); `row` and `column` are its groupID and
// threadID_in_group.
static void multiply(float* d, const uint32_t* a, const uint32_t* b) {
    Thread& own = this_thread();
    const unsigned slot = own.products++ % 2, lane = thread_number() % WARP_SIZE;
    const unsigned first = thread_number() - lane, row = lane / 4, column = lane % 4;
    memcpy(own.shown[slot].a, a, sizeof own.shown[slot].a);
    memcpy(own.shown[slot].b, b, sizeof own.shown[slot].b);
    own.shown_reads[slot].swap(own.reads);
    own.reads.clear();
    wait_for_the_warp();
    if (IN_DETAIL && lane == 0) count_bank_conflicts(slot, first);
    // a of a row r and a k lies in the thread 4 (r % 8) + k % 4; b of a column in 4 column + k % 4.
    for (unsigned i = 0; i < 4; i++) {
        const unsigned r = row + i / 2 * 8, c = 2 * column + i % 2;
        for (unsigned half = 0; half < 2; half++) {
            double products[4];
            for (unsigned k = 0; k < 4; k++) {
                const uint32_t* as = every_thread[first + r % 8 * 4 + k].shown[slot].a;
                const uint32_t* bs = every_thread[first + c * 4 + k].shown[slot].b;
                products[k] = factor(as[r / 8 + 2 * half]) * factor(bs[half]);
            }
            d[i] = add_four(d[i], products);
        }
    }
}

static float read(const float* p) {
    this_thread().reads.push_back((uintptr_t)p);
    if (bits<uint32_t>(*p) == 0xFFFFFFFFu)
        fail("a read of shared memory that nobody wrote, or of a copy that nobody waited for");
    return *p;
}

}  // namespace tensor_cores

static inline void copy_16_bytes(float* to, const float* from, bool inside) {
    tensor_cores::copy(to, from, 16, inside);
}
static inline void copy_4_bytes(float* to, const float* from, bool inside) {
    tensor_cores::copy(to, from, 4, inside);
}
static inline void end_of_copies() { tensor_cores::close_group(); }
static inline void wait_for_all_copies_but_the_last() { tensor_cores::wait_for_copies(1); }
static inline unsigned rounded_to_tf32(float x) { return tensor_cores::rounded_to_tf32(x); }
static inline void multiply_16x8x8(float* d, const unsigned* a, const unsigned* b) {
    tensor_cores::multiply(d, a, b);
}
static inline float read_shared(const float* p) { return tensor_cores::read(p); }
