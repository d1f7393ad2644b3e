/* The layers of a dense DiffusionGemma for a CPU, in one call: no interpreter and no lock of one in between.
 *
 * Plain C with vectors as GCC and Clang know them. What is computed is in kernels.h, once for each instruction
 * set of sets.h; here is what is called from outside. Nothing here allocates: all memory is the caller's.
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

#include "structures.h"

#include "sets.h"
#include "threads.h"

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
    return part_floats(pass, tokens_of(pass) + threads) + (threads - 1) * part_floats(pass, 0);
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
    int tokens = tokens_of(pass), each = (tokens + job->parts - 1) / job->parts, from, to;
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

/* Run all layers over x (tokens, hidden), in place, the last norm without its weight included. Keys and
 * values of these tokens are written to their rows' own. */
EXPORT void infill_run(const Pass *pass, int set, float *x, float *scratch, int threads) {
    Running running = {.job.run = run_part, .pass = pass, .set = sets + set, .x = x, .scratch = scratch};
    do_in_parts(&running.job, worth(threads, tokens_of(pass)));
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
    size_t head = (size_t)threads * tokens_of(pass) * (pass->model->hidden + 1);
    size_t rows = (size_t)pass->rows * pass->most_own * MOST_HEAD_DIM;
    size_t most = layers > head ? layers : head;
    return most > rows ? most : rows;
}

/* Run all layers over tokens, and the head. */
EXPORT void infill_read(const Pass *pass, const Reading *reading, int set, float *scratch, int threads) {
    int hidden = pass->model->hidden, tokens = tokens_of(pass);
    if (reading->source) go_on_from(pass, reading->source, scratch);
    for (int i = 0; i < tokens; i++)
        memcpy(reading->x + (size_t)i * hidden, reading->embedding + (size_t)reading->tokens[i] * hidden,
               sizeof(float) * hidden);
    infill_run(pass, set, reading->x, scratch, threads);
    Product head = {.weight = reading->head, .x = reading->x, .y = reading->logits, .cap = reading->cap,
                    .rows = tokens, .inputs = hidden, .outputs = reading->vocab};
    infill_product(&head, set, scratch, threads);
    for (int i = 0; i < tokens; i++)
        for (int id = reading->vocab - reading->unused; id < reading->vocab; id++)
            reading->logits[(size_t)i * reading->vocab + id] = OFF;
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
