// What the parts of the fake GPU share: its state, and what they count.
//
// "Device memory" is ordinary memory, filled with NaN (all bits one) when it is handed out and when
// it is given back, so that a read of what nobody wrote shows. Everything has happened when a call
// returns. What CuPy asks of a device is counted, for simulator.counting(). Functions that are in
// none of the files answer "not supported" (build.py makes them).
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace fake_gpu {

struct Allocation {
    size_t bytes;
    int device;
    bool in_graph;  // was there while a stream was captured
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

// For graphs (fake_graph.cpp). A captured stream keeps its work; some requests are refused then.
typedef std::function<bool()> Work;
bool is_captured(CUstream stream);
void keep_for_graph(CUstream stream, Work work);
cudaError_t refuse_in_capture(CUstream stream);
cudaError_t refuse_default_stream(CUstream stream);  // while a stream that it waits for is captured
cudaError_t refuse_to_wait();                        // while any is captured
bool any_is_captured();
bool graphs_live();  // or one is being captured
void keep_for_graphs(const char* address, size_t bytes);  // memory that was given back

}  // namespace fake_gpu
