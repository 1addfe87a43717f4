/* What ggml-blas.cpp takes for OpenBLAS: products computed by the threads of OpenMP that llama.cpp computes with.

   Those of OpenBLAS would be a second team on the same cores, and wait for each other within a product: on a machine
   with other work that took three times as long as here, where each thread computes columns of its own. */

#ifndef GGUF_BENCH_CBLAS_H
#define GGUF_BENCH_CBLAS_H

#include "scipy_openblas32/include/cblas.h"

/* ggml-blas.cpp then unpacks quantized weights by them too, not by threads made anew each time. */
#define GGML_USE_OPENMP

static int gguf_bench_threads = 1;

static inline void openblas_set_num_threads(int threads) {
    gguf_bench_threads = threads;
    scipy_openblas_set_num_threads(1);
}

static inline int openblas_get_parallel(void) {
    return OPENBLAS_OPENMP;
}

/* Row-major matrices: c[m][n] = alpha * a * b + beta * c. */
static inline void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE a_is, CBLAS_TRANSPOSE b_is, int m, int n, int k,
                               float alpha, const float * a, int lda, const float * b, int ldb,
                               float beta, float * c, int ldc) {
    const long threads = gguf_bench_threads;
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < threads; i++) {
        const long from = n * i / threads;
        const long columns = n * (i + 1) / threads - from;
        if (columns > 0) {
            scipy_cblas_sgemm(order, a_is, b_is, m, columns, k, alpha, a, lda,
                              b + (b_is == CblasNoTrans ? from : from * ldb), ldb, beta, c + from, ldc);
        }
    }
}

#endif
