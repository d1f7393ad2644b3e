/* The instruction sets there are kernels for, and which of them this processor has. Included by layers.c. */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(x) JOIN(x, SET)

#if defined(__clang__)
#define HAS_AVXVNNI (__clang_major__ >= 13)
#else
#define HAS_AVXVNNI (__GNUC__ >= 12)
#endif

/* Clang takes it where the whole build may, as on every Mac of this kind. */
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__))
#define HAS_DOTPROD 1
#else
#define HAS_DOTPROD 0
#endif

#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define BEGIN_SET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_SET PRAGMA(clang attribute pop)
#else
#define BEGIN_SET(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_SET PRAGMA(GCC pop_options)
#endif

/* Sums of products of bytes by fours; x has no sign where the weights have one, but for ARM's. */
#if defined(__x86_64__)
#define MADD_256(sums, x, weights)                                                                           \
    ((sums) + (Signed)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)(x), (__m256i)(weights)),              \
                                        _mm256_set1_epi16(1)))
#define MADD_512(sums, x, weights)                                                                           \
    ((sums) + (Signed)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)(x), (__m512i)(weights)),              \
                                        _mm512_set1_epi16(1)))
#define VNNI_256(sums, x, weights)                                                                           \
    ((Signed)_mm256_dpbusd_avx_epi32((__m256i)(sums), (__m256i)(x), (__m256i)(weights)))
#define VNNI_512(sums, x, weights)                                                                           \
    ((Signed)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(x), (__m512i)(weights)))
#elif defined(__aarch64__)
#define DOTPROD(sums, x, weights)                                                                            \
    ((Signed)vdotq_s32((int32x4_t)(sums), (int8x16_t)(x), (int8x16_t)(weights)))
#endif

/* What every processor of the platform has. kernels.h ends with SET and what is said of bytes undefined. */
#define WIDTH 4
#define TILE_ROWS 4
#define TILE_PANELS 1
#define TILE_KEYS 4
#define MIX_LANES 4
#define MIX_VECTORS 4
#define DOT_BF16 0
#define SET plain
#include "kernels.h"

#if defined(__x86_64__)
#undef WIDTH
#undef MIX_VECTORS
#define WIDTH 8 /* 16 registers */
#define MIX_VECTORS 2

#define DOT_BYTES MADD_256
#define MOST_STEP 63.0f /* two products of a byte up to 127 and one with a sign are a 16-bit number */
#define ZERO_STEP 64
BEGIN_SET("avx2,fma")
#define SET avx2
#include "kernels.h"
END_SET

#if HAS_AVXVNNI
#define DOT_BYTES VNNI_256
#define MOST_STEP 127.0f
#define ZERO_STEP 128
BEGIN_SET("avx2,fma,avxvnni")
#define SET avxvnni
#include "kernels.h"
END_SET
#endif

#undef WIDTH
#undef TILE_ROWS
#undef TILE_PANELS
#undef TILE_KEYS
#undef MIX_VECTORS
#define WIDTH 16 /* 32 registers */
#define TILE_ROWS 8
#define TILE_PANELS 2
#define TILE_KEYS 8
#define MIX_VECTORS 4

#define DOT_BYTES MADD_512
#define MOST_STEP 63.0f
#define ZERO_STEP 64
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define SET avx512
#include "kernels.h"
END_SET

#define DOT_BYTES VNNI_512
#define MOST_STEP 127.0f
#define ZERO_STEP 128
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")
#define SET avx512vnni
#include "kernels.h"
END_SET

#undef DOT_BF16
#define DOT_BF16 1
#define DOT_BYTES VNNI_512
#define MOST_STEP 127.0f
#define ZERO_STEP 128
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma")
#define SET avx512bf16
#include "kernels.h"
END_SET

#elif HAS_DOTPROD
#define DOT_BYTES DOTPROD
#define MOST_STEP 127.0f
#define ZERO_STEP 0 /* both have a sign */
#if !defined(__ARM_FEATURE_DOTPROD)
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#define SET dotprod
#include "kernels.h"
#if !defined(__ARM_FEATURE_DOTPROD)
#pragma GCC pop_options
#endif
#endif

typedef struct {
    const char *name;
    void (*project)(const Pass *, int, int, int, const float *, float *, float *);
    void (*finish)(const Pass *, int, int, int, float *, const float *, float *);
    void (*last_norm)(const Pass *, int, int, float *);
    void (*whole_product)(const Product *, int, int, float *);
    void (*choices)(const Choices *, int, int);
    void (*draws)(const Draws *, int, int);
    void (*likeliest)(const Likeliest *);
    void (*log_probabilities)(const float *, const int32_t *, int, int, float *);
    int (*matches)(const Text *, const int32_t *, int, int, int32_t *, int32_t *);
} Set;

#define AS_SET(name)                                                                                         \
    {#name,        project_##name,   finish_##name,            last_norm_##name, whole_product_##name,        \
     choices_##name, draws_##name, likeliest_##name, log_probabilities_##name, matches_##name}

/* The slowest first. */
static const Set sets[] = {
    AS_SET(plain),
#if defined(__x86_64__)
    AS_SET(avx2),
#if HAS_AVXVNNI
    AS_SET(avxvnni),
#endif
    AS_SET(avx512),
    AS_SET(avx512vnni),
    AS_SET(avx512bf16),
#elif HAS_DOTPROD
    AS_SET(dotprod),
#endif
};

static int has(const char *name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    int vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    if (!strcmp(name, "avx2")) return avx2;
    if (!strcmp(name, "avxvnni")) { /* which compilers learned to ask for later than to use */
        unsigned a, b, c, d;
        return avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
    }
    if (!strcmp(name, "avx512")) return avx512;
    if (!strcmp(name, "avx512vnni")) return vnni;
    if (!strcmp(name, "avx512bf16")) return vnni && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__) && defined(__linux__)
    if (!strcmp(name, "dotprod")) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__aarch64__) && defined(__APPLE__)
    if (!strcmp(name, "dotprod")) return 1; /* all that Apple has built */
#endif
    return !strcmp(name, "plain");
}

/* How many instruction sets there are kernels for, the slowest first. */
EXPORT int infill_sets(void) { return sizeof sets / sizeof *sets; }

/* The name of one, and NULL where this processor does not have it. */
EXPORT const char *infill_set(int set) {
    return set >= 0 && set < infill_sets() && has(sets[set].name) ? sets[set].name : 0;
}
