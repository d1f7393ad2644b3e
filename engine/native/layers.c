/* The layers of a dense DiffusionGemma for a CPU, in one call: no interpreter and no lock of one in between.
 *
 * Plain C with vectors as GCC and Clang know them. What is computed is in kernels.h, once for each instruction
 * set; here is what they share, which of them this processor has, and the threads. Nothing here allocates: all
 * memory is the caller's.
 */

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

#define LANES 16
#define MOST_HIDDEN 4096 /* numbers in the residual stream, and in all heads of keys */
#define MOST_HEAD_DIM 512
#define MIXED_KEYS 16

/* A matrix (outputs, inputs) is rounded to 127 steps of each output's own, up and down, and lies in panels of 16
 * outputs: what a step of each is, float; the sum of its steps, negative, int32, to take off again what is added to
 * inputs where those must have no sign; and the steps themselves, (inputs / 4, 16, 4) int8. */
#define PANEL_HEAD (2 * LANES * 4)
#define PANEL_BYTES(inputs) (PANEL_HEAD + (size_t)(inputs) * LANES)

/* The structures are laid out by engine/native/compiled.py likewise. */

typedef struct {
    const uint8_t *qkv, *out, *gate, *up, *mlp_down, *expert_down; /* in panels */
    const float *q_norm, *k_norm, *after_attention, *after_mlp, *after_expert, *after_both;
    float scalars[2]; /* the denoiser's, the encoder's */
    int32_t kv_heads, head_dim, own_values;
} Layer;

typedef struct {
    const Layer *layer;
    int32_t layers, hidden, heads, mlp, expert;
    int32_t widest; /* the most numbers of a token between two products */
    float eps;
} Model;

/* What a layer's queries look at: what all rows share, and behind it each row's own. Strides count numbers;
 * tokens follow each other. */
typedef struct {
    const void *shared_k, *shared_v;
    void *own_k, *own_v;
    const float *cosine, *sine; /* (positions, head_dim / 2) */
    int64_t shared_head, own_row, own_head;
    int32_t shared_count, window; /* window 0: none */
    int32_t shared_bf16, own_bf16;
} Keys;

typedef struct {
    const Model *model;
    const Keys *keys;
    const int32_t *at; /* each row's column of its first token */
    int32_t rows, count; /* of tokens in each row */
    int32_t start; /* position of column 0 */
    int32_t causal, encoder;
    int32_t columns;  /* of its own that a token sees where not causal */
    int32_t most_own; /* columns that the longest row has */
} Pass;

/* What is read by a pass and asked of it: tokens (rows, count), and the logits of what follows each. */
typedef struct {
    const int32_t *tokens;
    const int32_t *source;  /* the row whose tokens so far each row goes on from; NULL: its own */
    const float *embedding; /* (vocab, hidden) */
    const uint8_t *head;    /* (vocab, hidden), in panels */
    float *x, *logits;      /* (rows, count, hidden) and (rows, count, vocab) */
    float cap;
    int32_t vocab;
} Reading;

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(x) JOIN(x, SET)

/* y (rows, outputs) = x (rows, inputs) times a matrix's transpose, soft-capped to cap * tanh(y / cap) if `cap` is
 * not 0. */
typedef struct {
    const uint8_t *weight; /* (outputs, inputs), in panels */
    const float *x;
    float *y;
    float cap;
    int32_t rows, inputs, outputs;
} Product;

/* One step's choice from logits (rows, vocab), which become probabilities at the temperature; argmax and its
 * probability at temperature 1, and the entropy in nats at the temperature, (rows,) each. */
typedef struct {
    float *logits;
    int64_t *argmax;
    float *confidence, *entropy;
    float inverse_temperature;
    int32_t rows, vocab;
} Choices;

/* A token (rows,) of each row of probabilities (rows, vocab), by a number in [0, 1). */
typedef struct {
    const float *probabilities, *uniform;
    int64_t *drawn;
    int32_t rows, vocab;
} Draws;

/* Tokens of a text, in which negative numbers are breaks that nothing continues. Of tokens that are `silent`, a flag
 * for each, it is never told that they followed; NULL: of none. */
typedef struct {
    const int32_t *tokens;
    const uint8_t *silent;
    int32_t count;
} Text;

/* The likeliest `count` next tokens of some rows of logits (.., vocab), with their log-probabilities: of all rows
 * together, or of each if they are `apart`. Logits are as they were afterwards. What followed a row's last tokens in
 * the texts is interpolated with the model's word, by engine/ngram_cache.py's definition, the first text's first. */
typedef struct {
    float *logits;
    const int32_t *at;   /* each row's logits */
    const float *total;  /* added to a row's log-probabilities */
    const int32_t *width, *context; /* how many of a row's last tokens are told, one row's behind the other's */
    const Text *text;
    const int32_t *allowed_count, *allowed; /* a row's only choices, one row's behind the other's; -1: any */
    const int32_t *end;                     /* tokens of which nothing is ever said */
    int32_t *places, *lengths;              /* room for the longest text */
    int32_t *seen, *said;                   /* room for the vocabulary; what was `seen` is and stays zero */
    float *added, *own;                     /* likewise; `own` with room for the ends besides */
    float *best;                            /* the results, the best first; -inf where there are no more */
    int32_t *row, *token;
    float base_weight; /* how many times as much as a new continuation what is said without it counts */
    int32_t shortest;  /* tokens of context that count */
    int32_t rows, vocab, texts, ends, count, apart;
} Likeliest;

#define LEAST 1e-30f /* a probability */

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

/* What every processor of the platform has. */
#define WIDTH 4
#define TILE_ROWS 4
#define TILE_PANELS 1
#define TILE_KEYS 4
#define MIX_LANES 4
#define MIX_VECTORS 4
#define DOT_BF16 0
#define SET plain
#include "kernels.h"
#undef SET

#if defined(__x86_64__)
#undef WIDTH
#undef MIX_VECTORS
#define WIDTH 8 /* 16 registers */
#define MIX_VECTORS 2
#define MOST_STEP 63.0f /* two products of a byte up to 127 and one with a sign are a 16-bit number */
#define ZERO_STEP 64
#define DOT_BYTES(sums, x, weights)                                                                          \
    ((sums) + (Signed)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)(x), (__m256i)(weights)),              \
                                        _mm256_set1_epi16(1)))
BEGIN_SET("avx2,fma")
#define SET avx2
#include "kernels.h"
#undef SET
END_SET

#if HAS_AVXVNNI
#undef DOT_BYTES
#undef MOST_STEP
#undef ZERO_STEP
#define MOST_STEP 127.0f
#define ZERO_STEP 128
#define DOT_BYTES(sums, x, weights)                                                                          \
    ((Signed)_mm256_dpbusd_avx_epi32((__m256i)(sums), (__m256i)(x), (__m256i)(weights)))
BEGIN_SET("avx2,fma,avxvnni")
#define SET avxvnni
#include "kernels.h"
#undef SET
END_SET
#endif

#undef WIDTH
#undef TILE_ROWS
#undef TILE_PANELS
#undef TILE_KEYS
#undef MIX_VECTORS
#undef DOT_BYTES
#undef MOST_STEP
#undef ZERO_STEP
#define WIDTH 16 /* 32 registers */
#define TILE_ROWS 8
#define TILE_PANELS 2
#define TILE_KEYS 8
#define MIX_VECTORS 4
#define MOST_STEP 63.0f
#define ZERO_STEP 64
#define DOT_BYTES(sums, x, weights)                                                                          \
    ((sums) + (Signed)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)(x), (__m512i)(weights)),              \
                                        _mm512_set1_epi16(1)))
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define SET avx512
#include "kernels.h"
#undef SET
END_SET

#undef DOT_BYTES
#undef MOST_STEP
#undef ZERO_STEP
#define MOST_STEP 127.0f
#define ZERO_STEP 128
#define DOT_BYTES(sums, x, weights)                                                                          \
    ((Signed)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(x), (__m512i)(weights)))
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")
#define SET avx512vnni
#include "kernels.h"
#undef SET
END_SET

#undef DOT_BF16
#define DOT_BF16 1
BEGIN_SET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma")
#define SET avx512bf16
#include "kernels.h"
#undef SET
END_SET

#elif HAS_DOTPROD
#define MOST_STEP 127.0f
#define ZERO_STEP 0 /* both have a sign */
#define DOT_BYTES(sums, x, weights)                                                                          \
    ((Signed)vdotq_s32((int32x4_t)(sums), (int8x16_t)(x), (int8x16_t)(weights)))
#if !defined(__ARM_FEATURE_DOTPROD)
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#define SET dotprod
#include "kernels.h"
#undef SET
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

/* Scratch of some tokens, in floats. */
static size_t part_floats(const Pass *pass, int tokens) {
    size_t lanes = 0;
    for (int i = 0; i < pass->model->layers; i++) {
        size_t own = pass->most_own, d = pass->model->layer[i].head_dim;
        size_t floats = LANES * (d + pass->keys[i].shared_count + own + (own > d ? own : d));
        lanes = floats > lanes ? floats : lanes;
    }
    return (size_t)tokens * (4 * pass->model->widest + 2) + lanes;
}

/* Floats of scratch that `infill_run` needs with up to `threads` threads. */
EXPORT size_t infill_scratch(const Pass *pass, int threads) {
    /* However many parts there are, each but the last has one token more than its share at most. */
    return part_floats(pass, pass->rows * pass->count + threads) + (threads - 1) * part_floats(pass, 0);
}

/* Work that is done in parts by several threads at once. */
typedef struct Job Job;
struct Job {
    void (*run)(Job *, int part);
    int parts;
};

/* A share of `count` things, for part `part`. */
static void share_of(const Job *job, int part, int count, int *from, int *to) {
    int each = (count + job->parts - 1) / job->parts;
    *from = part * each < count ? part * each : count;
    *to = *from + each < count ? *from + each : count;
}

static void pause_a_little(int times) {
    if (times > 4096) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* Helping threads: one job at a time; whoever finds them at work does without them. */

#define MOST_HELPERS 15
static pthread_mutex_t helpers_free = PTHREAD_MUTEX_INITIALIZER; /* held while a job is theirs */
static pthread_mutex_t helpers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t helpers_called = PTHREAD_COND_INITIALIZER;
static int helpers;                                    /* that were started */
static unsigned long helpers_began[MOST_HELPERS + 1]; /* the round each was started in */
static Job *helpers_job;
static unsigned long helpers_round;
static atomic_int helpers_done;

static void *help(void *argument) {
    int part = (int)(intptr_t)argument;
    unsigned long seen = helpers_began[part];
    for (;;) {
        pthread_mutex_lock(&helpers_lock);
        while (helpers_round == seen) pthread_cond_wait(&helpers_called, &helpers_lock);
        seen = helpers_round;
        Job *job = part < helpers_job->parts ? helpers_job : 0;
        pthread_mutex_unlock(&helpers_lock);
        if (job) {
            job->run(job, part);
            atomic_fetch_add(&helpers_done, 1);
        }
    }
    return 0;
}

static void helpers_are_gone(void) { /* in the child of a fork */
    helpers = 0;
    pthread_mutex_init(&helpers_free, 0);
    pthread_mutex_init(&helpers_lock, 0);
    pthread_cond_init(&helpers_called, 0);
}

static int start_helpers(int wanted) {
    static int watched;
    if (!watched) {
        pthread_atfork(0, 0, helpers_are_gone);
        watched = 1;
    }
    while (helpers < wanted) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        helpers_began[helpers + 1] = helpers_round;
        int failed = pthread_create(&thread, &attributes, help, (void *)(intptr_t)(helpers + 1));
        pthread_attr_destroy(&attributes);
        if (failed) break;
        helpers++;
    }
    return helpers < wanted ? helpers : wanted;
}

/* Do a job in up to `parts` parts; how many is settled before any of them begins. */
static void do_in_parts(Job *job, int parts) {
    int wanted = parts - 1 < MOST_HELPERS ? parts - 1 : MOST_HELPERS;
    job->parts = 1;
    if (wanted < 1 || pthread_mutex_trylock(&helpers_free) != 0) {
        job->run(job, 0);
        return;
    }
    wanted = start_helpers(wanted);
    job->parts = wanted + 1;
    atomic_store(&helpers_done, 0);
    pthread_mutex_lock(&helpers_lock);
    helpers_job = job;
    helpers_round++;
    pthread_cond_broadcast(&helpers_called);
    pthread_mutex_unlock(&helpers_lock);
    job->run(job, 0);
    for (int times = 0; atomic_load(&helpers_done) < wanted; times++) pause_a_little(times);
    pthread_mutex_unlock(&helpers_free);
}

/* A pass on its way: each of its parts takes some of the tokens through all layers. */
typedef struct {
    Job job;
    const Pass *pass;
    const Set *set;
    float *x, *scratch;
    atomic_int written; /* how often a part has written a layer's keys */
} Running;

static void run_part(Job *job, int part) {
    Running *running = (Running *)job;
    const Pass *pass = running->pass;
    const Set *set = running->set;
    int tokens = pass->rows * pass->count, each = (tokens + job->parts - 1) / job->parts, from, to;
    share_of(job, part, tokens, &from, &to);
    float *queries = running->scratch + part * part_floats(pass, each);
    float *scratch = queries + (size_t)each * pass->model->widest;
    for (int layer = 0; layer < pass->model->layers; layer++) {
        set->project(pass, layer, from, to, running->x, queries, scratch);
        /* The only thing tokens know of each other are keys and values. */
        atomic_fetch_add(&running->written, 1);
        int wanted = job->parts * (layer + 1);
        for (int times = 0; atomic_load(&running->written) < wanted; times++) pause_a_little(times);
        set->finish(pass, layer, from, to, running->x, queries, scratch);
    }
    set->last_norm(pass, from, to, running->x);
}

#define FEW_TOKENS 8 /* that no second thread is woken for */

static int worth(int threads, int tokens) { return tokens / FEW_TOKENS < threads ? tokens / FEW_TOKENS : threads; }

/* Run all layers over x (rows * count, hidden), in place, the last norm without its weight included. Keys and
 * values of these tokens are written to their rows' own. */
EXPORT void infill_run(const Pass *pass, int set, float *x, float *scratch, int threads) {
    Running running = {.job.run = run_part, .pass = pass, .set = sets + set, .x = x, .scratch = scratch};
    do_in_parts(&running.job, worth(threads, pass->rows * pass->count));
}

typedef struct {
    Job job;
    const void *what;
    const Set *set;
    float *scratch;
} Other;

static size_t product_floats(const Product *product) { return (size_t)product->rows * (product->inputs + 1); }

static void product_part(Job *job, int part) {
    const Other *other = (const Other *)job;
    const Product *product = other->what;
    int from, to;
    share_of(job, part, product->outputs / LANES, &from, &to);
    other->set->whole_product(product, from, to, other->scratch + part * product_floats(product));
}

/* Scratch has threads * rows * (inputs + 1) floats. */
EXPORT void infill_product(const Product *product, int set, float *scratch, int threads) {
    Other other = {.job.run = product_part, .what = product, .set = sets + set, .scratch = scratch};
    do_in_parts(&other.job, worth(threads, product->rows));
}

static void choices_part(Job *job, int part) {
    const Other *other = (const Other *)job;
    const Choices *choices = other->what;
    int from, to;
    share_of(job, part, choices->rows, &from, &to);
    other->set->choices(choices, from, to);
}

EXPORT void infill_choose(const Choices *choices, int set, int threads) {
    Other other = {.job.run = choices_part, .what = choices, .set = sets + set};
    do_in_parts(&other.job, worth(threads, choices->rows));
}

static void draws_part(Job *job, int part) {
    const Other *other = (const Other *)job;
    const Draws *draws = other->what;
    int from, to;
    share_of(job, part, draws->rows, &from, &to);
    other->set->draws(draws, from, to);
}

EXPORT void infill_draw(const Draws *draws, int set, int threads) {
    Other other = {.job.run = draws_part, .what = draws, .set = sets + set};
    do_in_parts(&other.job, worth(threads, draws->rows));
}

/* What a layer's row has of a head's keys or values, of one row among those that `source` tells. */
static char *own_at(const Keys *keys, void *own, int row, int head) {
    return (char *)own + (row * keys->own_row + head * keys->own_head) * (keys->own_bf16 ? 2 : 4);
}

static size_t own_bytes(const Pass *pass, int layer, int row) {
    return (size_t)pass->at[row] * pass->model->layer[layer].head_dim * (pass->keys[layer].own_bf16 ? 2 : 4);
}

static void go_on_from(const Pass *pass, const int32_t *source, void *scratch) {
    for (int layer = 0; layer < pass->model->layers; layer++)
        for (int head = 0; head < pass->model->layer[layer].kv_heads; head++)
            for (int value = 0; value < 2; value++) {
                const Keys *keys = pass->keys + layer;
                void *own = value ? keys->own_v : keys->own_k;
                for (int writing = 0; writing < 2; writing++) {
                    char *room = scratch;
                    for (int row = 0; row < pass->rows; row++) {
                        if (source[row] == row) continue;
                        size_t bytes = own_bytes(pass, layer, row);
                        if (writing)
                            memcpy(own_at(keys, own, row, head), room, bytes);
                        else
                            memcpy(room, own_at(keys, own, source[row], head), bytes);
                        room += bytes;
                    }
                }
            }
}

/* Floats of scratch that `infill_read` needs. */
EXPORT size_t infill_reading_scratch(const Pass *pass, int threads) {
    size_t layers = infill_scratch(pass, threads);
    size_t head = (size_t)threads * pass->rows * pass->count * (pass->model->hidden + 1);
    size_t rows = (size_t)pass->rows * pass->most_own * MOST_HEAD_DIM;
    size_t most = layers > head ? layers : head;
    return most > rows ? most : rows;
}

/* Run all layers over tokens, and the head. */
EXPORT void infill_read(const Pass *pass, const Reading *reading, int set, float *scratch, int threads) {
    int hidden = pass->model->hidden, tokens = pass->rows * pass->count;
    if (reading->source) go_on_from(pass, reading->source, scratch);
    for (int i = 0; i < tokens; i++)
        memcpy(reading->x + (size_t)i * hidden, reading->embedding + (size_t)reading->tokens[i] * hidden,
               sizeof(float) * hidden);
    infill_run(pass, set, reading->x, scratch, threads);
    Product head = {.weight = reading->head, .x = reading->x, .y = reading->logits, .cap = reading->cap,
                    .rows = tokens, .inputs = hidden, .outputs = reading->vocab};
    infill_product(&head, set, scratch, threads);
}

#include "search.h"

EXPORT void infill_likeliest(const Likeliest *likeliest, int set) { sets[set].likeliest(likeliest); }

EXPORT void infill_log_probabilities(int set, const float *logits, const int32_t *tokens, int rows, int vocab,
                                     float *to) {
    sets[set].log_probabilities(logits, tokens, rows, vocab, to);
}

/* `places` and `lengths` have room for the whole text. */
EXPORT int infill_matches(int set, const Text *text, const int32_t *context, int width, int shortest, int32_t *places,
                          int32_t *lengths) {
    return sets[set].matches(text, context, width, shortest, places, lengths);
}
