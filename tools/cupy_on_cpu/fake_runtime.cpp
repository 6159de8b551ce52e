// A GPU that does not exist: the functions of the CUDA runtime that CuPy calls, on the CPU.
#include "fake_gpu.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#undef cudaGetDeviceProperties

using namespace fake_gpu;

static thread_local cudaError_t last_error = cudaSuccess;

static cudaError_t answer(cudaError_t error) {
    if (error) last_error = error;
    return error;
}

static const Allocation* allocation_of(const void* address) {
    Locked locked(lock);
    auto next = allocations.upper_bound((const char*)address);
    if (next == allocations.begin()) return nullptr;
    --next;
    return (const char*)address < next->first + next->second.bytes ? &next->second : nullptr;
}

static cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t stream = nullptr) {
    auto place = [](const void* p) { return std::string(allocation_of(p) ? "device" : "host"); };
    const std::string what = "copy " + place(from) + " to " + place(to);
    if (is_captured(stream)) {
        if (place(from) != place(to)) return answer(refuse_in_capture(stream));
        keep_for_graph(stream, [=] { return memmove(to, from, bytes), true; });
        return cudaSuccess;
    }
    if (auto error = refuse_default_stream(stream)) return answer(error);
    count(what);
    // Tables from the host are copied all the same: they are kept for later.
    if (only_noted(what, 2 * bytes, 0) && place(from) == place(to)) return cudaSuccess;
    memmove(to, from, bytes);
    return cudaSuccess;
}

static cudaError_t fill(void* to, int value, size_t bytes, cudaStream_t stream = nullptr) {
    if (is_captured(stream)) {
        keep_for_graph(stream, [=] { return memset(to, value, bytes), true; });
        return cudaSuccess;
    }
    if (auto error = refuse_default_stream(stream)) return answer(error);
    count("memset");
    if (only_noted("memset", bytes, 0)) return cudaSuccess;
    memset(to, value, bytes);
    return cudaSuccess;
}

static double milliseconds() {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

extern "C" {

// ---- errors and versions ----

const char* cudaGetErrorName(cudaError_t e) {
    switch (e) {
        case cudaErrorNotSupported: return "cudaErrorNotSupported";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorIllegalState: return "cudaErrorIllegalState";
        case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
        case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
        case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
        default: return "cudaError";
    }
}
const char* cudaGetErrorString(cudaError_t e) {
    if (e == cudaErrorNotSupported) return "the simulated GPU cannot do that";
    return "from the simulated GPU";
}
cudaError_t cudaGetLastError() {
    auto e = last_error;
    last_error = cudaSuccess;
    return e;
}
cudaError_t cudaDriverGetVersion(int* version) {
    *version = VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = VERSION;
    return cudaSuccess;
}

// ---- devices ----

cudaError_t cudaGetDevice(int* d) {
    *d = device;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) {
    if (d < 0 || d >= DEVICES) return answer(cudaErrorInvalidDevice);
    device = d;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* n) {
    *n = DEVICES;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    count("synchronize");
    return answer(refuse_to_wait());
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
        case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
        case cudaDevAttrMultiProcessorCount: *value = 4; break;
        case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = SHARED_BYTES; break;
        default: *value = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "no GPU: CuPy on a CPU");
    p->uuid.bytes[0] = 'a' + d;
    p->major = 9, p->warpSize = 32, p->multiProcessorCount = 4, p->maxThreadsPerBlock = 1024;
    p->sharedMemPerBlock = SHARED_BYTES, p->totalGlobalMem = MEMORY;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int n, int d) {
    snprintf(id, n, "0000:0%d:00.0", d);
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
    *can = 0;  // so that a mix of devices is an error
    return cudaSuccess;
}

// ---- memory ----

cudaError_t cudaMalloc(void** address, size_t bytes) {
    size_t at_least = bytes ? bytes : 1;
    if (bytes > MEMORY || posix_memalign(address, 512, at_least))
        return answer(cudaErrorMemoryAllocation);
    if (!recording()) memset(*address, 0xFF, bytes);
    count("allocation");
    Locked locked(lock);
    allocations[(char*)*address] = {at_least, device, any_is_captured()};
    return cudaSuccess;
}
cudaError_t cudaFree(void* address) {
    if (!address) return cudaSuccess;
    Locked locked(lock);
    auto found = allocations.find((char*)address);
    if (found == allocations.end()) return answer(cudaErrorInvalidValue);
    const Allocation gone = found->second;
    const bool keep = gone.in_graph && graphs_live();
    if (keep || !recording()) memset(address, 0xFF, gone.bytes);
    allocations.erase(found);
    if (keep) keep_for_graphs((char*)address, gone.bytes);
    else free(address);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
    bool failed = posix_memalign(address, 4096, bytes ? bytes : 1);
    return failed ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* address) {
    free(address);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
    *available = *total = MEMORY;
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
    return copy(to, from, n);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind, cudaStream_t s) {
    return copy(to, from, n, s);
}
cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t n) {
    return copy(to, from, n);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t n, cudaStream_t s) {
    return copy(to, from, n, s);
}
cudaError_t cudaMemset(void* to, int value, size_t n) { return fill(to, value, n); }
cudaError_t cudaMemsetAsync(void* to, int value, size_t n, cudaStream_t s) {
    return fill(to, value, n, s);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* address) {
    memset(a, 0, sizeof *a);
    auto found = allocation_of(address);
    a->type = found ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
    a->device = found ? found->device : -2;
    a->devicePointer = found ? (void*)address : nullptr;
    return cudaSuccess;
}

// ---- events: one is a time. Streams are in fake_graph.cpp ----

cudaError_t cudaEventCreate(cudaEvent_t* e) {
    *e = (cudaEvent_t) new double(0);
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return cudaEventCreate(e); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    delete (double*)e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
    *(double*)e = milliseconds();
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    count("synchronize");
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
    *ms = (float)(*(double*)b - *(double*)a);
    return cudaSuccess;
}

}  // extern "C"
