// What the parts of the fake GPU share: its state, and what they count.
//
// "Device memory" is ordinary memory, filled with NaN (all bits one) when it is handed out and when
// it is given back, so that a read of what nobody wrote shows. Everything has happened when a call
// returns. What CuPy asks of a device is counted, for simulator.counting(). Functions that are in
// none of the files answer "not supported" (build.py makes them).
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <string>

namespace fake_gpu {

struct Allocation {
    size_t bytes;
    int device;
};

const int VERSION = 13020, DEVICES = 2, SHARED_BYTES = 48 << 10;
const size_t MEMORY = (size_t)4 << 30;

// Kernels keep their state in global variables, so one runs at a time.
extern std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Locked;

extern std::map<const char*, Allocation> allocations;
extern thread_local int device;

void count(const std::string& what);

// For simulator.recording(): then nothing is computed or filled, and each launch is noted. Whoever
// would do the work asks `only_noted` first.
bool recording();
bool only_noted(const std::string& what, size_t bytes, double flop);

}  // namespace fake_gpu
