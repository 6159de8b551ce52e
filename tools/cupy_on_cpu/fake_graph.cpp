// A GPU that does not exist: streams, and graphs captured from them.
//
// A stream does everything at once. While it is captured it does nothing: it keeps what it was
// asked for, with copies of the arguments, as a GPU does. A graph does that again and again, with
// the same addresses and numbers. What was there when it was captured, or was allocated meanwhile,
// is not handed out again while a graph lives: memory that was given back is NaN for it, and what
// it writes there is an error.
#include "fake_gpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#undef cudaGraphInstantiate

namespace fake_gpu {

struct Capture {
    bool invalid = false;
    std::vector<Work> work;
};
typedef std::shared_ptr<std::vector<Work>> Sequence;

static std::map<CUstream, Capture> captures;
static std::set<CUstream> blocking;  // these and the default stream wait for each other
static std::map<const char*, size_t> given_back;  // what graphs may still read or write
static int graphs = 0;

bool any_is_captured() { return !captures.empty(); }
bool graphs_live() { return graphs || !captures.empty(); }

bool is_captured(CUstream stream) { return captures.count(stream); }

cudaError_t refuse_in_capture(CUstream stream) {
    Locked locked(lock);
    captures[stream].invalid = true;
    return cudaErrorStreamCaptureUnsupported;
}

void keep_for_graph(CUstream stream, Work work) {
    Locked locked(lock);
    captures[stream].work.push_back(std::move(work));
}

cudaError_t refuse_default_stream(CUstream stream) {
    Locked locked(lock);
    if (stream) return cudaSuccess;
    for (auto& [captured, capture] : captures)
        if (blocking.count(captured)) return capture.invalid = true, cudaErrorStreamCaptureImplicit;
    return cudaSuccess;
}

cudaError_t refuse_to_wait() {
    Locked locked(lock);
    for (auto& [stream, capture] : captures) capture.invalid = true;
    return captures.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

void keep_for_graphs(const char* address, size_t bytes) { given_back[address] = bytes; }

// The graph wrote where it must not: into memory that was given back.
static bool wrote_into_freed_memory() {
    bool wrote = false;
    for (auto& [address, bytes] : given_back)
        for (size_t i = 0; i < bytes; i++)
            if (address[i] != (char)0xFF) {
                memset((void*)address, 0xFF, bytes);
                wrote = true;
                break;
            }
    if (wrote) fprintf(stderr, "cupy_on_cpu: a graph wrote into memory that was given back\n");
    return wrote;
}

static void forget_graph() {
    if (--graphs || !captures.empty()) return;
    for (auto& [address, bytes] : given_back) free((void*)address);
    given_back.clear();
}

}  // namespace fake_gpu

using namespace fake_gpu;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
    Locked locked(lock);
    *s = (cudaStream_t)malloc(1);
    if (!(flags & cudaStreamNonBlocking)) blocking.insert(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int) {
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    Locked locked(lock);
    blocking.erase(s), captures.erase(s);
    free(s);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (is_captured(s)) return refuse_in_capture(s);
    count("synchronize");
    return refuse_default_stream(s);
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
    return is_captured(s) ? refuse_in_capture(s) : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    Locked locked(lock);
    if (!s) return cudaErrorStreamCaptureUnsupported;
    if (is_captured(s)) return cudaErrorIllegalState;
    captures[s] = Capture();
    for (auto& [address, allocation] : allocations) allocation.in_graph = true;
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
    Locked locked(lock);
    *status = cudaStreamCaptureStatusNone;
    if (is_captured(s))
        *status = captures[s].invalid ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
    return refuse_default_stream(s);
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
    Locked locked(lock);
    *graph = nullptr;
    if (!is_captured(s)) return cudaErrorIllegalState;
    Capture found = std::move(captures[s]);
    captures.erase(s);
    if (found.invalid) return cudaErrorStreamCaptureInvalidated;
    graphs++;
    *graph = (cudaGraph_t) new Sequence(new std::vector<Work>(std::move(found.work)));
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    Locked locked(lock);
    graphs++;
    *exec = (cudaGraphExec_t) new Sequence(*(Sequence*)graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    Locked locked(lock);
    delete (Sequence*)graph;
    forget_graph();
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    return cudaGraphDestroy((cudaGraph_t)exec);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    Locked locked(lock);
    if (is_captured(stream)) return refuse_in_capture(stream);
    count("graph launch");
    if (only_noted("graph launch", 0, 0)) return cudaSuccess;
    for (auto& work : **(Sequence*)exec)
        if (!work()) return cudaErrorLaunchFailure;
    return wrote_into_freed_memory() ? cudaErrorIllegalAddress : cudaSuccess;
}

}  // extern "C"
