// A GPU that does not exist: cuBLAS's products of float32 and float64 matrices, as plain loops.
#include "fake_gpu.h"

#include <cstdlib>

using fake_gpu::count;

static const int NOT_SUPPORTED = 15;  // CUBLAS_STATUS_NOT_SUPPORTED
static const int REAL32 = 0, REAL64 = 1;  // cudaDataType
typedef long long Size;

// Count so many products of an m×k and a k×n matrix; true if that is all to be done.
static bool counted(double m, double n, double k, double batch, size_t bytes_of_a_number) {
    count("matrix product");
    const double numbers = batch * (m * k + k * n + m * n);
    const char* what = batch > 1 ? "matrix products" : "matrix product";
    return fake_gpu::only_noted(what, numbers * bytes_of_a_number, 2 * batch * m * n * k);
}

// Column-major C = alpha · op(A) op(B) + beta · C, as BLAS has it. Sums run in the matrices' type.
template <class T>
static void multiply(
    bool ta, bool tb, int m, int n, int k, T alpha, const T* A, Size lda, const T* B, Size ldb,
    T beta, T* C, Size ldc) {
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            T sum = 0;
            for (int p = 0; p < k; p++) {
                const T a = ta ? A[p + i * lda] : A[i + p * lda];
                const T b = tb ? B[j + p * ldb] : B[p + j * ldb];
                sum += a * b;
            }
            T& c = C[i + j * ldc];
            c = alpha * sum + (beta == T(0) ? T(0) : beta * c);  // beta 0: C may hold NaN
        }
}

// Matrix after matrix, each so many numbers after the one before.
template <class T>
static void multiply_strided(
    bool ta, bool tb, int m, int n, int k, const void* alpha, const void* A, Size lda,
    Size a_stride, const void* B, Size ldb, Size b_stride, const void* beta, void* C, Size ldc,
    Size c_stride, int batch) {
    for (int i = 0; i < batch; i++)
        multiply<T>(
            ta, tb, m, n, k, *(const T*)alpha, (const T*)A + i * a_stride, lda,
            (const T*)B + i * b_stride, ldb, *(const T*)beta, (T*)C + i * c_stride, ldc);
}

template <class T>
static int multiply_batched(
    bool ta, bool tb, int m, int n, int k, const T* alpha, const T* const* A, Size lda,
    const T* const* B, Size ldb, const T* beta, T* const* C, Size ldc, int batch) {
    if (counted(m, n, k, batch, sizeof(T))) return 0;
    for (int i = 0; i < batch; i++)
        multiply(ta, tb, m, n, k, *alpha, A[i], lda, B[i], ldb, *beta, C[i], ldc);
    return 0;
}

extern "C" {

int cublasCreate_v2(void** handle) {
    *handle = malloc(1);
    return 0;
}
int cublasDestroy_v2(void* handle) {
    free(handle);
    return 0;
}
int cublasGetVersion_v2(void*, int* version) {
    *version = 130200;
    return 0;
}
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasGetStream_v2(void*, void** stream) {
    *stream = nullptr;
    return 0;
}
int cublasSetMathMode(void*, int) { return 0; }
int cublasGetMathMode(void*, int* mode) {
    *mode = 0;
    return 0;
}
int cublasSetPointerMode_v2(void*, int mode) {
    return mode ? NOT_SUPPORTED : 0;  // scalars are read from the host
}
int cublasGetPointerMode_v2(void*, int* mode) {
    *mode = 0;
    return 0;
}
int cublasGemmStridedBatchedEx(
    void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* A, int a_type,
    int lda, Size a_stride, const void* B, int b_type, int ldb, Size b_stride, const void* beta,
    void* C, int c_type, int ldc, Size c_stride, int batch, int, int) {
    if (a_type != b_type || a_type != c_type) return NOT_SUPPORTED;
    if (a_type != REAL32 && a_type != REAL64) return NOT_SUPPORTED;
    if (counted(m, n, k, batch, a_type == REAL32 ? 4 : 8)) return 0;
    auto run = a_type == REAL32 ? multiply_strided<float> : multiply_strided<double>;
    run(ta, tb, m, n, k, alpha, A, lda, a_stride, B, ldb, b_stride, beta, C, ldc, c_stride, batch);
    return 0;
}
int cublasGemmEx(
    void* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* A, int a_type,
    int lda, const void* B, int b_type, int ldb, const void* beta, void* C, int c_type, int ldc,
    int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(
        h, ta, tb, m, n, k, alpha, A, a_type, lda, 0, B, b_type, ldb, 0, beta, C, c_type, ldc, 0, 1,
        compute, algorithm);
}
int cublasSgemmEx(
    void* h, int ta, int tb, int m, int n, int k, const float* alpha, const void* A, int a_type,
    int lda, const void* B, int b_type, int ldb, const float* beta, void* C, int c_type, int ldc) {
    return cublasGemmEx(
        h, ta, tb, m, n, k, alpha, A, a_type, lda, B, b_type, ldb, beta, C, c_type, ldc, 0, 0);
}
int cublasSgemm_v2(
    void* h, int ta, int tb, int m, int n, int k, const float* alpha, const float* A, int lda,
    const float* B, int ldb, const float* beta, float* C, int ldc) {
    return cublasGemmEx(
        h, ta, tb, m, n, k, alpha, A, REAL32, lda, B, REAL32, ldb, beta, C, REAL32, ldc, 0, 0);
}
int cublasDgemm_v2(
    void* h, int ta, int tb, int m, int n, int k, const double* alpha, const double* A, int lda,
    const double* B, int ldb, const double* beta, double* C, int ldc) {
    return cublasGemmEx(
        h, ta, tb, m, n, k, alpha, A, REAL64, lda, B, REAL64, ldb, beta, C, REAL64, ldc, 0, 0);
}
int cublasSgemmBatched(
    void*, int ta, int tb, int m, int n, int k, const float* alpha, const float* const* A, int lda,
    const float* const* B, int ldb, const float* beta, float* const* C, int ldc, int batch) {
    return multiply_batched(ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, batch);
}
int cublasDgemmBatched(
    void*, int ta, int tb, int m, int n, int k, const double* alpha, const double* const* A,
    int lda, const double* const* B, int ldb, const double* beta, double* const* C, int ldc,
    int batch) {
    return multiply_batched(ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, batch);
}
int cublasSgeam(
    void*, int ta, int tb, int m, int n, const float* alpha, const float* A, int lda,
    const float* beta, const float* B, int ldb, float* C, int ldc) {
    count("matrix sum");
    if (fake_gpu::only_noted("matrix sum", sizeof(float) * 3 * (Size)m * n, 0)) return 0;
    for (Size j = 0; j < n; j++)
        for (Size i = 0; i < m; i++) {
            // A factor of 0: the matrix may hold NaN.
            const float a = *alpha == 0 ? 0 : *alpha * (ta ? A[j + i * lda] : A[i + j * lda]);
            const float b = *beta == 0 ? 0 : *beta * (tb ? B[j + i * ldb] : B[i + j * ldb]);
            C[i + j * ldc] = a + b;
        }
    return 0;
}

}  // extern "C"
