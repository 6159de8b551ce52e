// A GPU that does not exist: the functions of the CUDA driver that CuPy calls, on the CPU.
#include "fake_gpu.h"

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#undef cuGetProcAddress
#undef cuModuleGetGlobal
#undef cuDevicePrimaryCtxRelease

namespace fake_gpu {

std::recursive_mutex lock;
std::map<const char*, Allocation> allocations;
thread_local int device = 0;
static std::map<std::string, long> counted;

struct Function {
    bool (*launch)(void**, const unsigned*, const unsigned*, size_t);
    size_t (*bytes)(void**);
    size_t (*sizes)(size_t*);
    std::string name;
};

struct Noted {
    std::string what;
    size_t bytes;
    double flop;
};
static bool is_recording = false;
static std::vector<Noted> notes;

bool recording() { return is_recording; }

bool only_noted(const std::string& what, size_t bytes, double flop) {
    Locked locked(lock);
    if (is_recording) notes.push_back({what, bytes, flop});
    return is_recording;
}

void count(const std::string& what) {
    Locked locked(lock);
    counted[what]++;
}

static size_t bytes_of_elf(const void* image) {
    auto header = (const Elf64_Ehdr*)image;
    return header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
}

static bool write_all(int file, const void* image) {
    return write(file, image, bytes_of_elf(image)) == (ssize_t)bytes_of_elf(image);
}

// The launch with copies of its arguments, to be done later, or often.
static Work for_later(
    const Function* function, void** arguments, const unsigned* grid, const unsigned* block,
    unsigned shared) {
    std::vector<size_t> sizes(function->sizes(nullptr));
    function->sizes(sizes.data());
    std::vector<std::vector<char>> values;
    for (size_t i = 0; i < sizes.size(); i++)
        values.emplace_back((char*)arguments[i], (char*)arguments[i] + sizes[i]);
    const std::vector<unsigned> g(grid, grid + 3), b(block, block + 3);
    return [=]() mutable {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(value.data());
        return function->launch(pointers.data(), g.data(), b.data(), shared);
    };
}

// Would a GPU start this many blocks and threads?
static bool fits(const unsigned* grid, const unsigned* block, unsigned shared) {
    for (int i = 0; i < 3; i++)
        if (!grid[i] || !block[i]) return false;
    if (grid[1] > 65535 || grid[2] > 65535 || block[2] > 64 || shared > SHARED_BYTES) return false;
    return (size_t)block[0] * block[1] * block[2] <= 1024;
}

}  // namespace fake_gpu

using namespace fake_gpu;

extern "C" {

// ---- for simulator.py ----

// The i-th counter, or -1 after the last.
long cupy_on_cpu_count(int i, const char** name) {
    Locked locked(lock);
    for (auto& [what, n] : counted)
        if (!i--) return *name = what.c_str(), n;
    return -1;
}
void cupy_on_cpu_reset() {
    Locked locked(lock);
    counted.clear();
}

// From now on work is noted and not done, or done again.
void cupy_on_cpu_record(int on) {
    Locked locked(lock);
    is_recording = on;
    if (on) notes.clear();
}
// The i-th note: 0, or -1 after the last.
int cupy_on_cpu_note(int i, const char** what, double* bytes, double* flop) {
    Locked locked(lock);
    if (i >= (int)notes.size()) return -1;
    return *what = notes[i].what.c_str(), *bytes = notes[i].bytes, *flop = notes[i].flop, 0;
}
// More of the kernel launched last: what it was given behind plain pointers, and its work.
void cupy_on_cpu_add(double bytes, double flop) {
    Locked locked(lock);
    if (!is_recording || notes.empty()) return;
    notes.back().bytes += bytes;
    notes.back().flop += flop;
}

// ---- the driver ----

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) {
    *version = VERSION;
    return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char** name) {
    switch (error) {
        case CUDA_ERROR_NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
        case CUDA_ERROR_INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
        case CUDA_ERROR_LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        default: *name = "CUDA_ERROR";
    }
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult, const char** text) {
    *text = "from the simulated GPU";
    return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = (CUcontext)(long)(device + 1);
    return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
    device = (int)(long)context - 1;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice* d) {
    *d = device;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }

// The image is a shared library, as compiler.py made it.
CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    char path[] = P_tmpdir "/cupy_on_cpu_XXXXXX";  // the system's own folder for such files
    int file = mkstemp(path);
    if (file < 0 || !write_all(file, image)) return CUDA_ERROR_INVALID_IMAGE;
    *module = (CUmodule)dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "cupy_on_cpu: %s\n", dlerror());
    close(file);
    unlink(path);
    return *module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}
CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    void* launch = dlsym((void*)module, ("simulated_" + std::string(name)).c_str());
    if (!launch) return CUDA_ERROR_NOT_FOUND;
    void* bytes = dlsym((void*)module, ("bytes_of_" + std::string(name)).c_str());
    void* sizes = dlsym((void*)module, ("sizes_of_" + std::string(name)).c_str());
    *function = (CUfunction) new Function{
        (decltype(Function::launch))launch, (decltype(Function::bytes))bytes,
        (decltype(Function::sizes))sizes, name};
    return CUDA_SUCCESS;
}
CUresult cuModuleGetGlobal_v2(
    CUdeviceptr* address, size_t* bytes, CUmodule module, const char* name) {
    void* found = dlsym((void*)module, name);
    *address = (CUdeviceptr)found;
    if (bytes) *bytes = 0;
    return found ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) {
    *value = 0;
    return CUDA_SUCCESS;
}
CUresult cuLaunchKernel(
    CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared, CUstream stream, void** arguments, void**) {
    auto function = (const Function*)f;
    unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    if (!fits(grid, block, shared)) return CUDA_ERROR_INVALID_VALUE;
    Locked locked(lock);
    if (is_captured(stream)) {
        keep_for_graph(stream, for_later(function, arguments, grid, block, shared));
        return CUDA_SUCCESS;
    }
    if (auto error = refuse_default_stream(stream)) return (CUresult)error;
    count("kernel " + function->name);
    if (only_noted("kernel " + function->name, function->bytes(arguments), 0)) return CUDA_SUCCESS;
    bool done = function->launch(arguments, grid, block, shared);
    return done ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

}  // extern "C"
