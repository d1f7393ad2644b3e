/* The layers of a dense DiffusionGemma, and what is around them, for one instruction set.
 *
 * `sets.h` includes this once for each instruction set it is built for, with these defined:
 *
 *   NAME(x)      x with the instruction set's name behind it
 *   WIDTH        floats in a vector register
 *   TILE_ROWS    rows of a product that are computed together
 *   TILE_PANELS  panels of a product that are computed together
 *   TILE_KEYS    keys whose scores are computed together
 *   MIX_LANES, MIX_VECTORS  queries, and vectors of a value, that are added up together
 *   DOT_BF16     1 where pairs of bfloat16 are multiplied and added up by one instruction, else 0
 *   DOT_BYTES(sums, x, weights)  where there is a quick way: adds up products of bytes by fours
 *   MOST_STEP, ZERO_STEP  there: a byte of x is a step between -MOST_STEP and MOST_STEP, and ZERO_STEP more
 *
 * Here are vectors and a layer's way from its input to its output; products, attention and choices are in files of
 * their own. Matrices lie in panels of 16 outputs, wherever the code runs: see PANEL_BYTES. Likewise 16 queries are taken
 * together. Either is 16 / WIDTH vectors.
 */

typedef float NAME(Floats) __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t NAME(Unsigned) __attribute__((vector_size(4 * WIDTH)));
typedef int32_t NAME(Signed) __attribute__((vector_size(4 * WIDTH)));
typedef int64_t NAME(Longs) __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t NAME(Halves) __attribute__((vector_size(2 * WIDTH)));
typedef uint8_t NAME(Bytes) __attribute__((vector_size(WIDTH)));
#define Floats NAME(Floats)
#define Unsigned NAME(Unsigned)
#define Signed NAME(Signed)
#define Halves NAME(Halves)
#define Bytes NAME(Bytes)
#define VECTORS (LANES / WIDTH)

INLINE Floats NAME(load)(const float *from) {
    Floats x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void NAME(store)(float *to, Floats x) { memcpy(to, &x, sizeof x); }
#define load NAME(load)
#define store NAME(store)

/* The bits of x rounded to bfloat16, which are the upper half: to the nearest, ties to even. */
INLINE Unsigned NAME(rounded)(Floats x) {
    Unsigned bits = (Unsigned)x;
    return bits + 0x7fff + ((bits >> 16) & 1);
}

/* As many numbers as a vector has, as bfloat16. */
INLINE void NAME(store_bf16)(uint16_t *to, Floats x) {
    Halves half = __builtin_convertvector(NAME(rounded)(x) >> 16, Halves);
    memcpy(to, &half, sizeof half);
}

INLINE Floats NAME(choose)(Signed which, Floats yes, Floats no) {
    return (Floats)(((Signed)yes & which) | ((Signed)no & ~which));
}

/* Whether any bit is set. */
INLINE int NAME(any)(Signed x) {
    NAME(Longs) twos = (NAME(Longs))x;
    int64_t bits = 0;
    for (int i = 0; i < WIDTH / 2; i++) bits |= twos[i];
    return bits != 0;
}

/* The greatest of a vector's numbers. */
INLINE float NAME(most)(Floats x) {
    float most = x[0];
    for (int i = 1; i < WIDTH; i++) most = x[i] > most ? x[i] : most;
    return most;
}

INLINE Floats NAME(exponential)(Floats x) {
    /* 2^(n + f), n whole and f within half of 0; Taylor's polynomial of 2^f is good to 2e-7 there. */
    const float shift = 12582912.0f;
    Floats t = x * 1.44269504088896f;
    Floats rounded = t + shift;
    Floats f = t - (rounded - shift);
    Floats y = f * 1.5403530e-4f + 1.3333558e-3f;
    y = y * f + 9.6181291e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    Signed power = (Signed)rounded - 0x4b400000;
    Floats out = (Floats)((Signed)y + (power << 23));
    return (Floats)((Signed)out & (x > -87.0f));
}

INLINE float NAME(sum)(Floats x) {
    float total = 0;
    for (int i = 0; i < WIDTH; i++) total += x[i];
    return total;
}

#include "products.h"

INLINE float NAME(inverse_rms)(const float *x, int count, float eps) {
    Floats squares = {0};
    for (int i = 0; i < count; i += WIDTH) squares += load(x + i) * load(x + i);
    return 1.0f / sqrtf(NAME(sum)(squares) / count + eps);
}

/* to = x over its root mean square, times `weight` where there is one. */
INLINE void NAME(norm)(const float *x, const float *weight, float *to, int count, float eps) {
    float scale = NAME(inverse_rms)(x, count, eps);
    for (int i = 0; i < count; i += WIDTH) {
        Floats y = load(x + i) * scale;
        store(to + i, weight ? y * load(weight + i) : y);
    }
}

/* x over its root mean square as products take it; see `take_row`. */
INLINE float NAME(normed_input)(const float *x, INPUT *to, int count, float eps) {
    float y[MOST_HIDDEN];
    NAME(norm)(x, 0, y, count, eps);
    return NAME(take_row)(y, to, count);
}

#include "attention.h"

INLINE void NAME(gate)(float *gates, const float *ups, int count) {
    for (int i = 0; i < count; i += WIDTH) {
        Floats x = load(gates + i);
        /* gelu with tanh: x * sigmoid(2 u) */
        Floats u = (x * x * x * 0.044715f + x) * -1.5957691216057308f;
        u = NAME(choose)(u > 80.0f, (Floats){0} + 80.0f, u);
        store(gates + i, x / (NAME(exponential)(u) + 1.0f) * load(ups + i));
    }
}

/* The tokens `from` to `to` of all rows' tokens up to where keys and values are written: queries go to `queries`.
 * Scratch is as `scratch_floats` says. */
static void NAME(project)(const Pass *pass, int index, int from, int to, const float *x, float *queries,
                          float *scratch) {
    const Model *model = pass->model;
    const Layer *layer = model->layer + index;
    const Keys *keys = pass->keys + index;
    int tokens = to - from, hidden = model->hidden, d = layer->head_dim;
    int width = model->heads * d, kv_width = layer->kv_heads * d;
    int joined = width + kv_width * (layer->own_values ? 2 : 1);
    INPUT *input = (INPUT *)scratch;
    float *scale = scratch + (size_t)tokens * model->widest, *y = scale + 2 * tokens;
    for (int t = 0; t < tokens; t++)
        scale[t] = NAME(normed_input)(x + (size_t)(from + t) * hidden, input + (size_t)t * hidden, hidden, model->eps);
    NAME(product)(layer->qkv, input, scale, y, tokens, hidden, hidden, joined);
    for (int t = 0; t < tokens; t++) {
        int row = row_of(pass, from + t), column = column_of(pass, row, from + t);
        size_t position = (size_t)(pass->start + column) * (d / 2);
        float key[MOST_HIDDEN], value[MOST_HIDDEN];
        NAME(heads_of)(layer, model, y + (size_t)t * joined, keys->cosine + position, keys->sine + position,
                       queries + (size_t)t * width, key, value);
        for (int kv = 0; kv < layer->kv_heads; kv++) {
            size_t offset = row * keys->own_row + kv * keys->own_head + (size_t)column * d;
            NAME(keep)(key + kv * d, keys->own_k, offset, d, keys->own_bf16);
            NAME(keep)(value + kv * d, keys->own_v, offset, d, keys->own_bf16);
        }
    }
}

/* The same tokens from there on: what they see, and what they make of it. */
static void NAME(finish)(const Pass *pass, int index, int from, int to, float *x, const float *queries,
                         float *scratch) {
    const Model *model = pass->model;
    const Layer *layer = model->layer + index;
    const Keys *keys = pass->keys + index;
    int tokens = to - from, hidden = model->hidden, width = model->heads * layer->head_dim;
    int wide = model->mlp + model->expert, group = model->heads / layer->kv_heads;
    INPUT *input = (INPUT *)scratch;
    float *scale = scratch + (size_t)tokens * model->widest, *expert_scale = scale + tokens;
    float *y = expert_scale + tokens, *other = y + (size_t)tokens * model->widest;
    float *rest = other + (size_t)tokens * model->widest;
    float *attended = y;
    for (int kv = 0; kv < layer->kv_heads; kv++)
        for (int lane = 0; lane < tokens * group; lane += LANES)
            NAME(attend_block)(pass, layer, keys, kv, from, lane,
                               tokens * group - lane < LANES ? tokens * group - lane : LANES, queries, attended,
                               rest);
    for (int t = 0; t < tokens; t++)
        scale[t] = NAME(take_row)(attended + (size_t)t * width, input + (size_t)t * width, width);
    NAME(product)(layer->out, input, scale, other, tokens, width, width, hidden);
    for (int t = 0; t < tokens; t++) {
        float *at = x + (size_t)(from + t) * hidden, normed[MOST_HIDDEN];
        NAME(norm)(other + (size_t)t * hidden, layer->after_attention, normed, hidden, model->eps);
        for (int i = 0; i < hidden; i += WIDTH) store(at + i, load(at + i) + load(normed + i));
        scale[t] = NAME(normed_input)(at, input + (size_t)t * hidden, hidden, model->eps);
    }
    NAME(product)(layer->gate, input, scale, y, tokens, hidden, hidden, wide);
    NAME(product)(layer->up, input, scale, other, tokens, hidden, hidden, wide);
    NAME(gate)(y, other, tokens * wide);
    for (int t = 0; t < tokens; t++) {
        float *dense = y + (size_t)t * wide, *expert = dense + model->mlp;
        INPUT *to = input + (size_t)t * wide;
        scale[t] = NAME(take_row)(dense, to, model->mlp);
        expert_scale[t] = NAME(take_row)(expert, to + model->mlp, model->expert);
    }
    NAME(product)(layer->mlp_down, input, scale, y, tokens, model->mlp, wide, hidden);
    NAME(product)(layer->expert_down, input + model->mlp, expert_scale, other, tokens, model->expert, wide, hidden);
    for (int t = 0; t < tokens; t++) {
        float *at = x + (size_t)(from + t) * hidden, dense[MOST_HIDDEN], expert[MOST_HIDDEN];
        NAME(norm)(y + (size_t)t * hidden, layer->after_mlp, dense, hidden, model->eps);
        NAME(norm)(other + (size_t)t * hidden, layer->after_expert, expert, hidden, model->eps);
        for (int i = 0; i < hidden; i += WIDTH) store(dense + i, load(dense + i) + load(expert + i));
        NAME(norm)(dense, layer->after_both, dense, hidden, model->eps);
        float scalar = layer->scalars[pass->encoder];
        for (int i = 0; i < hidden; i += WIDTH) store(at + i, (load(at + i) + load(dense + i)) * scalar);
    }
}

static void NAME(last_norm)(const Pass *pass, int from, int to, float *x) {
    int hidden = pass->model->hidden;
    for (int t = from; t < to; t++)
        NAME(norm)(x + (size_t)t * hidden, 0, x + (size_t)t * hidden, hidden, pass->model->eps);
}

#include "choices.h"

#undef INPUT
#undef Floats
#undef Unsigned
#undef Signed
#undef Halves
#undef Bytes
#undef VECTORS
#undef load
#undef store
#undef DOT_BYTES
#undef MOST_STEP
#undef ZERO_STEP
#undef SET
