/* A test double of the CUDA runtime and cuBLAS: memory is the host's, multiplications are queued and done by plain
 * loops at the next synchronisation, events take their time then, and every call is counted. It checks what a real
 * runtime would crash on: pointers that it did not give, frees, sizes, leading dimensions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum { OK = 0, INVALID = 1, MANY = 4096 };

typedef struct { int tb, ta, n, m, k; float alpha, beta; const float *b, *a; float *c; int ldb, lda, ldc; } Gemm;
typedef struct { int is_event; Gemm gemm; void **event; } Work;

static void *given[MANY];
static size_t given_bytes[MANY];
static Work queue[MANY];
static int queued, longest_queue;
static size_t used = 100 << 20;
static const size_t total = (size_t)4 << 30;

static void count(const char *call) {
    const char *path = getenv("STUB_CUDA_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) { fprintf(log, "%s\n", call); fclose(log); }
}
static int slot(const void *pointer) {
    for (int i = 0; i < MANY; i++) if (given[i] == pointer && pointer) return i;
    return -1;
}
static void run(const Gemm *g) {
    for (int i = 0; i < g->n; i++) for (int j = 0; j < g->m; j++) {
        double sum = 0; /* column-major, as cuBLAS: C(i, j) at i + j·ldc */
        for (int p = 0; p < g->k; p++) {
            float x = g->tb ? g->b[p + (size_t)i * g->ldb] : g->b[i + (size_t)p * g->ldb];
            float y = g->ta ? g->a[j + (size_t)p * g->lda] : g->a[p + (size_t)j * g->lda];
            sum += (double)x * y;
        }
        float *out = &g->c[i + (size_t)j * g->ldc];
        *out = g->alpha * (float)sum + (g->beta ? g->beta * *out : 0);
    }
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e3 + t.tv_nsec / 1e6; }

EXPORT int cudaGetDeviceCount(int *n) { count("cudaGetDeviceCount"); *n = 1; return OK; }
EXPORT int cudaGetDeviceProperties(void *p, int d) { count("cudaGetDeviceProperties"); memset(p, 0, 1024); strcpy(p, "Stub GPU"); return d ? INVALID : OK; }
EXPORT int cudaDeviceGetAttribute(int *v, int a, int d) { count("cudaDeviceGetAttribute"); *v = a == 16 ? 2 : a == 38 ? 262144 : a; return d ? INVALID : OK; }
EXPORT int cudaRuntimeGetVersion(int *v) { count("cudaRuntimeGetVersion"); *v = 8000; return OK; }
EXPORT int cudaMemGetInfo(size_t *f, size_t *t) { count("cudaMemGetInfo"); *t = total; *f = total - used; return OK; }
EXPORT int cudaMalloc(void **p, size_t n) {
    count("cudaMalloc");
    for (int i = 0; i < MANY; i++) if (!given[i]) {
        *p = given[i] = malloc(n); given_bytes[i] = n; used += n;
        return *p ? OK : INVALID;
    }
    return INVALID;
}
EXPORT int cudaFree(void *p) {
    count("cudaFree");
    int i = slot(p);
    if (i < 0 || queued) return INVALID; /* freed under queued work */
    free(p); used -= given_bytes[i]; given[i] = NULL;
    return OK;
}
EXPORT int cudaMemcpy(void *to, const void *from, size_t n, int kind) {
    count("cudaMemcpy");
    int i = slot(kind == 1 ? to : from);
    if (i < 0 || n > given_bytes[i]) return INVALID;
    memcpy(to, from, n);
    return OK;
}
EXPORT int cudaMemset(void *p, int v, size_t n) { count("cudaMemset"); int i = slot(p); if (i < 0 || n > given_bytes[i]) return INVALID; memset(p, v, n); return OK; }
EXPORT int cudaDeviceSynchronize(void) {
    if (queued > longest_queue) longest_queue = queued;
    char line[64]; snprintf(line, sizeof line, "cudaDeviceSynchronize after %d", queued); count(line);
    for (int i = 0; i < queued; i++) {
        if (queue[i].is_event) *(double *)*queue[i].event = now(); else run(&queue[i].gemm);
    }
    queued = 0;
    return OK;
}
EXPORT int cudaEventCreate(void **e) { count("cudaEventCreate"); *e = calloc(1, sizeof(double)); return OK; }
EXPORT int cudaEventDestroy(void *e) { count("cudaEventDestroy"); free(e); return OK; }
static void *pending[MANY];
EXPORT int cudaEventRecord(void *e, void *stream) {
    count("cudaEventRecord");
    if (stream || queued == MANY) return INVALID;
    pending[queued] = e; queue[queued].is_event = 1; queue[queued].event = &pending[queued]; queued++;
    return OK;
}
EXPORT int cudaEventElapsedTime(float *ms, void *a, void *b) {
    count("cudaEventElapsedTime");
    if (!*(double *)a || !*(double *)b) return INVALID; /* not happened yet */
    *ms = (float)(*(double *)b - *(double *)a) + 0.01f;
    return OK;
}
EXPORT int cublasCreate_v2(void **h) { count("cublasCreate_v2"); *h = &queue; return OK; }
EXPORT int cublasGetVersion_v2(void *h, int *v) { count("cublasGetVersion_v2"); *v = 8000; return h == &queue ? OK : INVALID; }
EXPORT int cublasSgemm_v2(void *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                          const float *b, int ldb, const float *beta, float *c, int ldc) {
    count("cublasSgemm_v2");
    int fits = lda >= (ta ? k : m) && ldb >= (tb ? n : k) && ldc >= m;
    if (h != &queue || slot(a) < 0 || slot(b) < 0 || slot(c) < 0 || !fits || queued == MANY) return INVALID;
    Gemm g = {ta, tb, m, n, k, *alpha, *beta, a, b, c, lda, ldb, ldc};
    queue[queued].is_event = 0; queue[queued].gemm = g; queued++;
    return OK;
}
