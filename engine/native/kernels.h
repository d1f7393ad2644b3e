/* The layers of a dense DiffusionGemma, and what is around them, for one instruction set.
 *
 * `layers.c` includes this once for each instruction set it is built for, with these defined:
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
 * Matrices lie in panels of 16 outputs, wherever the code runs: see PANEL_BYTES. Likewise 16 queries are taken
 * together. Either is 16 / WIDTH vectors.
 */

typedef float NAME(Floats) __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t NAME(Unsigned) __attribute__((vector_size(4 * WIDTH)));
typedef int32_t NAME(Signed) __attribute__((vector_size(4 * WIDTH)));
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

/* The greatest of a vector's numbers. */
INLINE float NAME(most)(Floats x) {
    float most = x[0];
    for (int i = 1; i < WIDTH; i++) most = x[i] > most ? x[i] : most;
    return most;
}

#ifdef DOT_BYTES
typedef uint8_t NAME(Input);
#else
typedef float NAME(Input);
#endif
#define INPUT NAME(Input)

/* A row of inputs as products take it: x is `to` times the result. Where bytes are multiplied, each row is rounded to
 * MOST_STEP steps of its own, up and down. */
INLINE float NAME(take_row)(const float *x, INPUT *to, int count) {
#ifdef DOT_BYTES
    const float shift = 12582912.0f; /* what is added to it is rounded to whole numbers, which are its last bits */
    Floats largest = {0};
    for (int i = 0; i < count; i += WIDTH) {
        Floats size = (Floats)((Unsigned)load(x + i) & 0x7fffffffu);
        largest = NAME(choose)(size > largest, size, largest);
    }
    float most = NAME(most)(largest), steps = most > 1e-30f ? MOST_STEP / most : 0.0f;
    for (int i = 0; i < count; i += WIDTH) {
        Unsigned step = (Unsigned)(load(x + i) * steps + shift) - 0x4b400000u;
        Bytes bytes = __builtin_convertvector(step + ZERO_STEP, Bytes);
        memcpy(to + i, &bytes, sizeof bytes);
    }
    return most / MOST_STEP;
#else
    memcpy(to, x, sizeof(float) * count);
    return 1.0f;
#endif
}

/* `rows` <= TILE_ROWS rows of y (stride `wide`) from `panels` <= TILE_PANELS panels; both are constants where
 * this is inlined, so that sums stay in registers. */
INLINE void NAME(tile)(const uint8_t *panel, const INPUT *x, const float *scale, float *y, int inputs, int x_stride,
                       int wide, const int rows, const int panels) {
    const size_t bytes = PANEL_BYTES(inputs);
#ifdef DOT_BYTES
    Signed sums[TILE_ROWS][TILE_PANELS * VECTORS];
    for (int v = 0; v < panels * VECTORS; v++) {
        Signed none;
        memcpy(&none, panel + v / VECTORS * bytes + 4 * (LANES + v % VECTORS * WIDTH), sizeof none);
        for (int r = 0; r < rows; r++) sums[r][v] = none * ZERO_STEP;
    }
#else
    Floats sums[TILE_ROWS][TILE_PANELS * VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < panels * VECTORS; v++) sums[r][v] = (Floats){0};
#endif
    for (int i = 0; i < inputs; i += 4) {
        for (int v = 0; v < panels * VECTORS; v++) {
            Unsigned four;
            const uint8_t *at = panel + v / VECTORS * bytes + PANEL_HEAD + (size_t)i * LANES + v % VECTORS * WIDTH * 4;
            memcpy(&four, at, sizeof four);
            /* What comes next is seldom near: between two passes others use the caches. Left to itself the
             * processor looks no further ahead than a page of memory. */
            __builtin_prefetch(at + panels * bytes, 0, 2);
#ifdef DOT_BYTES
            for (int r = 0; r < rows; r++) {
                int32_t quad;
                memcpy(&quad, x + (size_t)r * x_stride + i, sizeof quad);
                sums[r][v] = DOT_BYTES(sums[r][v], (Signed){0} + quad, four);
            }
#else
            for (int k = 0; k < 4; k++) {
                Floats one = __builtin_convertvector((Signed)(four << (24 - 8 * k)) >> 24, Floats);
                for (int r = 0; r < rows; r++) sums[r][v] += one * x[(size_t)r * x_stride + i + k];
            }
#endif
        }
    }
    for (int v = 0; v < panels * VECTORS; v++) {
        Floats unit;
        memcpy(&unit, panel + v / VECTORS * bytes + 4 * (v % VECTORS * WIDTH), sizeof unit);
        for (int r = 0; r < rows; r++) {
#ifdef DOT_BYTES
            Floats sum = __builtin_convertvector(sums[r][v], Floats) * scale[r];
#else
            Floats sum = sums[r][v];
#endif
            store(y + (size_t)r * wide + v * WIDTH, sum * unit);
        }
    }
}

/* y (rows, outputs) = x (rows, inputs) times the matrix's transpose, its panels `from` to `to`; rows of x are
 * `x_stride` apart and are to be multiplied by `scale` each. */
static void NAME(panels)(const uint8_t *weight, const INPUT *x, const float *scale, float *y, int rows, int inputs,
                         int x_stride, int outputs, int from, int to) {
    const size_t bytes = PANEL_BYTES(inputs);
    for (int p = from; p < to; p += TILE_PANELS) {
        int panels = to - p < TILE_PANELS ? to - p : TILE_PANELS;
        const uint8_t *panel = weight + p * bytes;
        for (int r = 0; r < rows; r += TILE_ROWS) {
            const INPUT *from_row = x + (size_t)r * x_stride;
            float *into = y + (size_t)r * outputs + p * LANES;
            int left = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
            if (panels < TILE_PANELS) {
                for (int one = 0; one < panels; one++)
                    for (int row = 0; row < left; row++)
                        NAME(tile)(panel + one * bytes, from_row + (size_t)row * x_stride, scale + r + row,
                                   into + (size_t)row * outputs + one * LANES, inputs, x_stride, outputs, 1, 1);
                continue;
            }
            switch (left) {
#define ROWS(n)                                                                                              \
    case n:                                                                                                  \
        NAME(tile)(panel, from_row, scale + r, into, inputs, x_stride, outputs, n, TILE_PANELS);             \
        break;
                ROWS(1)
#if TILE_ROWS > 1
                ROWS(2)
#endif
#if TILE_ROWS > 2
                ROWS(3)
                ROWS(4)
#endif
#if TILE_ROWS > 4
                ROWS(5)
                ROWS(6)
                ROWS(7)
                ROWS(8)
#endif
#undef ROWS
            }
        }
    }
}

INLINE void NAME(product)(const uint8_t *weight, const INPUT *x, const float *scale, float *y, int rows, int inputs,
                          int x_stride, int outputs) {
    NAME(panels)(weight, x, scale, y, rows, inputs, x_stride, outputs, 0, outputs / LANES);
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

/* Query, key and value heads of one token, normed and turned, from y; keys and values go where they stay. */
static void NAME(heads_of)(const Layer *layer, const Model *model, const float *y, const float *cosine,
                           const float *sine, float *queries, float *key, float *value) {
    int d = layer->head_dim, half = d / 2;
    float normed[MOST_HIDDEN];
    for (int head = 0; head < model->heads + layer->kv_heads; head++) {
        int is_key = head >= model->heads;
        const float *weight = is_key ? layer->k_norm : layer->q_norm;
        float *to = is_key ? key + (head - model->heads) * d : queries + head * d;
        NAME(norm)(y + head * d, weight, normed, d, model->eps);
        for (int i = 0; i < half; i += WIDTH) {
            Floats first = load(normed + i), second = load(normed + half + i);
            Floats c = load(cosine + i), s = load(sine + i);
            store(to + i, first * c - second * s);
            store(to + half + i, second * c + first * s);
        }
    }
    /* The values of full layers are the keys as they were before their norm's weight and rotation. */
    const float *values = y + (model->heads + (layer->own_values ? layer->kv_heads : 0)) * d;
    for (int head = 0; head < layer->kv_heads; head++)
        NAME(norm)(values + head * d, 0, value + head * d, d, model->eps);
}

/* `count` keys or values of `d` numbers each as floats: where they are, or in `room`. */
INLINE const float *NAME(as_floats)(const void *at, size_t offset, int count, int is_bf16, float *room) {
    if (!is_bf16) return (const float *)at + offset;
    const uint16_t *from = (const uint16_t *)at + offset;
    for (int i = 0; i < count; i += WIDTH) {
        Halves half;
        memcpy(&half, from + i, sizeof half);
        store(room + i, (Floats)(__builtin_convertvector(half, Unsigned) << 16));
    }
    return room;
}

INLINE void NAME(keep)(const float *x, void *at, size_t offset, int count, int is_bf16) {
    if (!is_bf16) {
        memcpy((float *)at + offset, x, sizeof(float) * count);
        return;
    }
    uint16_t *to = (uint16_t *)at + offset;
    for (int i = 0; i < count; i += WIDTH) NAME(store_bf16)(to + i, load(x + i));
}

/* Scores of 16 queries, turned on their side (d, 16), for `count` <= TILE_KEYS keys (count, d): (count, 16). */
INLINE void NAME(scores)(const float *queries, const float *keys, float *to, int d, const int count) {
    Floats sums[TILE_KEYS][VECTORS];
    for (int k = 0; k < count; k++)
        for (int v = 0; v < VECTORS; v++) sums[k][v] = (Floats){0};
    for (int i = 0; i < d; i++)
        for (int v = 0; v < VECTORS; v++) {
            Floats query = load(queries + i * LANES + v * WIDTH);
            for (int k = 0; k < count; k++) sums[k][v] += query * keys[k * d + i];
        }
    for (int k = 0; k < count; k++)
        for (int v = 0; v < VECTORS; v++) store(to + k * LANES + v * WIDTH, sums[k][v]);
}

#if DOT_BF16
/* The same of queries in pairs (d / 2, 16, 2) and keys that are bfloat16. */
INLINE void NAME(paired_scores)(const uint16_t *queries, const uint16_t *keys, float *to, int d, const int count) {
    Floats sums[TILE_KEYS];
    for (int k = 0; k < count; k++) sums[k] = (Floats){0};
    for (int pair = 0; pair < d / 2; pair++) {
        Unsigned query;
        memcpy(&query, queries + 2 * LANES * pair, sizeof query);
        for (int k = 0; k < count; k++) {
            int32_t twice;
            memcpy(&twice, keys + (size_t)k * d + 2 * pair, sizeof twice);
            sums[k] = (Floats)_mm512_dpbf16_ps((__m512)sums[k], (__m512bh)query, (__m512bh)_mm512_set1_epi32(twice));
        }
    }
    for (int k = 0; k < count; k++) store(to + k * LANES, sums[k]);
}
#endif

/* Scores of 16 queries for keys that may be bfloat16; `paired` is where the queries may be put in pairs. */
INLINE void NAME(all_scores)(const float *queries, const uint16_t *paired, const void *keys, size_t offset, int count,
                             int is_bf16, float *to, int d) {
#if DOT_BF16
    if (is_bf16) {
        const uint16_t *key = (const uint16_t *)keys + offset;
        int done = 0;
        for (; done + TILE_KEYS <= count; done += TILE_KEYS)
            NAME(paired_scores)(paired, key + (size_t)done * d, to + (size_t)done * LANES, d, TILE_KEYS);
        for (; done < count; done++)
            NAME(paired_scores)(paired, key + (size_t)done * d, to + (size_t)done * LANES, d, 1);
        return;
    }
#endif
    (void)paired;
    float room[TILE_KEYS * MOST_HEAD_DIM];
    int k = 0;
    for (; k + TILE_KEYS <= count; k += TILE_KEYS) {
        const float *tile = NAME(as_floats)(keys, offset + (size_t)k * d, TILE_KEYS * d, is_bf16, room);
        NAME(scores)(queries, tile, to + (size_t)k * LANES, d, TILE_KEYS);
    }
    for (; k < count; k++) {
        const float *one = NAME(as_floats)(keys, offset + (size_t)k * d, d, is_bf16, room);
        NAME(scores)(queries, one, to + (size_t)k * LANES, d, 1);
    }
}

/* out (16, d) += weights (count, 16) times values (count, d), for `lanes` lanes from `lane` on. */
INLINE void NAME(mix)(const float *weights, const float *values, float *out, int count, int d, int lane,
                      const int lanes, int column, const int vectors) {
    Floats sums[MIX_LANES][MIX_VECTORS];
    for (int l = 0; l < lanes; l++)
        for (int v = 0; v < vectors; v++) sums[l][v] = load(out + (size_t)(lane + l) * d + column + v * WIDTH);
    for (int k = 0; k < count; k++)
        for (int v = 0; v < vectors; v++) {
            Floats value = load(values + (size_t)k * d + column + v * WIDTH);
            for (int l = 0; l < lanes; l++) sums[l][v] += value * weights[(size_t)k * LANES + lane + l];
        }
    for (int l = 0; l < lanes; l++)
        for (int v = 0; v < vectors; v++) store(out + (size_t)(lane + l) * d + column + v * WIDTH, sums[l][v]);
}

#if DOT_BF16
/* The same of weights (count / 2, 16, 2) and values (count / 2, d, 2) that are bfloat16. */
INLINE void NAME(paired_mix)(const uint32_t *weights, const uint32_t *values, float *out, int pairs, int d, int lane,
                             const int lanes, int column, const int vectors) {
    Floats sums[MIX_LANES][MIX_VECTORS];
    for (int l = 0; l < lanes; l++)
        for (int v = 0; v < vectors; v++) sums[l][v] = load(out + (size_t)(lane + l) * d + column + v * WIDTH);
    for (int k = 0; k < pairs; k++)
        for (int v = 0; v < vectors; v++) {
            Unsigned value;
            memcpy(&value, values + (size_t)k * d + column + v * WIDTH, sizeof value);
            for (int l = 0; l < lanes; l++)
                sums[l][v] = (Floats)_mm512_dpbf16_ps((__m512)sums[l][v], (__m512bh)value,
                                                      (__m512bh)_mm512_set1_epi32(weights[k * LANES + lane + l]));
        }
    for (int l = 0; l < lanes; l++)
        for (int v = 0; v < vectors; v++) store(out + (size_t)(lane + l) * d + column + v * WIDTH, sums[l][v]);
}

INLINE void NAME(paired_mix_all)(const float *weights, const uint16_t *values, int count, float *out, int d, int lane,
                                 int end) {
    uint32_t twos[MIXED_KEYS / 2 * LANES], room[MIXED_KEYS / 2 * MOST_HEAD_DIM];
    for (int k = 0; k < count; k += MIXED_KEYS) {
        int some = count - k < MIXED_KEYS ? count - k : MIXED_KEYS, pairs = (some + 1) / 2;
        for (int pair = 0; pair < pairs; pair++) {
            const float *w = weights + (size_t)(k + 2 * pair) * LANES;
            const uint16_t *v = values + (size_t)(k + 2 * pair) * d;
            int both = 2 * pair + 1 < some;
            Unsigned first = NAME(rounded)(load(w)) >> 16;
            Unsigned second = both ? NAME(rounded)(load(w + LANES)) & 0xffff0000u : (Unsigned){0};
            first |= second;
            memcpy(twos + pair * LANES, &first, sizeof first);
            for (int i = 0; i < d; i += WIDTH) {
                Halves one, other;
                memcpy(&one, v + i, sizeof one);
                memcpy(&other, v + (both ? d : 0) + i, sizeof other);
                Unsigned joined = __builtin_convertvector(one, Unsigned) |
                                  __builtin_convertvector(other, Unsigned) << 16;
                memcpy(room + (size_t)pair * d + i, &joined, sizeof joined);
            }
        }
        int l = lane;
        for (; l + MIX_LANES <= end; l += MIX_LANES) {
            int column = 0;
            for (; column + MIX_VECTORS * WIDTH <= d; column += MIX_VECTORS * WIDTH)
                NAME(paired_mix)(twos, room, out, pairs, d, l, MIX_LANES, column, MIX_VECTORS);
            for (; column < d; column += WIDTH) NAME(paired_mix)(twos, room, out, pairs, d, l, MIX_LANES, column, 1);
        }
        for (; l < end; l++)
            for (int column = 0; column < d; column += WIDTH)
                NAME(paired_mix)(twos, room, out, pairs, d, l, 1, column, 1);
    }
}
#endif

INLINE void NAME(mix_all)(const float *weights, const void *values, size_t offset, int count, int is_bf16,
                          float *out, int d, int lane, int end) {
#if DOT_BF16
    if (is_bf16) {
        NAME(paired_mix_all)(weights, (const uint16_t *)values + offset, count, out, d, lane, end);
        return;
    }
#endif
    float room[MIXED_KEYS * MOST_HEAD_DIM];
    for (int k = 0; k < count; k += MIXED_KEYS) {
        int some = count - k < MIXED_KEYS ? count - k : MIXED_KEYS;
        const float *v = NAME(as_floats)(values, offset + (size_t)k * d, some * d, is_bf16, room);
        const float *w = weights + (size_t)k * LANES;
        int l = lane;
        for (; l + MIX_LANES <= end; l += MIX_LANES) {
            int column = 0;
            for (; column + MIX_VECTORS * WIDTH <= d; column += MIX_VECTORS * WIDTH)
                NAME(mix)(w, v, out, some, d, l, MIX_LANES, column, MIX_VECTORS);
            for (; column < d; column += WIDTH) NAME(mix)(w, v, out, some, d, l, MIX_LANES, column, 1);
        }
        for (; l < end; l++)
            for (int column = 0; column < d; column += WIDTH) NAME(mix)(w, v, out, some, d, l, 1, column, 1);
    }
}

/* How many of a row's own tokens there are to look at, of the first `most`. */
INLINE int NAME(seen_of)(const Pass *pass, int row, int most) {
    int written = pass->at[row] + pass->count;
    return written < most ? written : most;
}

/* Whether the own keys and values of the first row lie where the shared ones of a head end. */
INLINE int NAME(follow)(const Keys *keys, int kv, int d) {
    size_t size = keys->shared_bf16 ? 2 : 4;
    size_t end = (kv * keys->shared_head + (size_t)keys->shared_count * d) * size, own = kv * keys->own_head * size;
    return keys->shared_bf16 == keys->own_bf16 && (const char *)keys->shared_k + end == (const char *)keys->own_k + own &&
           (const char *)keys->shared_v + end == (const char *)keys->own_v + own;
}

/* What up to 16 queries of one key-value head see: `used` of them, from `lane` on behind token `from`.
 *
 * There is a lane for each query head of the group, for each token; `queries` (tokens, heads, d) are those of
 * the tokens from `from` on, `out` likewise. */
static void NAME(attend_block)(const Pass *pass, const Layer *layer, const Keys *keys, int kv, int from, int begin,
                               int used, const float *queries, float *out, float *scratch) {
    int d = layer->head_dim, heads = pass->model->heads, group = heads / layer->kv_heads;
    int first = from * group + begin; /* the block's first lane, counted from the first token of all */
    int own_count = pass->causal ? 0 : pass->columns; /* that any of them sees */
    for (int lane = 0; pass->causal && lane < used; lane++) {
        int token = (first + lane) / group, column = pass->at[token / pass->count] + token % pass->count;
        own_count = column + 1 > own_count ? column + 1 : own_count;
    }
    int shared = keys->shared_count, total = shared + own_count;
    /* Where a row's own tokens follow what it shares, they are one: what is computed is then the same, to the last
     * bit, wherever the one ends and the other begins. */
    int joined = pass->rows == 1 && NAME(follow)(keys, kv, d), apart = joined ? 0 : own_count;
    float *turned = scratch, *scores = turned + d * LANES, *mixed = scores + (size_t)total * LANES;
    memset(turned, 0, sizeof(float) * d * LANES);
    for (int lane = 0; lane < used; lane++) {
        int token = (begin + lane) / group, head = kv * group + (begin + lane) % group;
        const float *query = queries + ((size_t)token * heads + head) * d;
        for (int i = 0; i < d; i++) turned[i * LANES + lane] = query[i];
    }
    uint16_t paired[DOT_BF16 ? MOST_HEAD_DIM * LANES : 1];
#if DOT_BF16
    for (int pair = 0; pair < d / 2; pair++) {
        Unsigned both = NAME(rounded)(load(turned + 2 * pair * LANES)) >> 16 |
                        (NAME(rounded)(load(turned + (2 * pair + 1) * LANES)) & 0xffff0000u);
        memcpy(paired + 2 * LANES * pair, &both, sizeof both);
    }
#endif
    NAME(all_scores)(turned, paired, keys->shared_k, kv * keys->shared_head, total - apart, keys->shared_bf16, scores,
                     d);
    float *own = scores + (size_t)shared * LANES;
    for (int i = 0; i < apart * LANES; i++) own[i] = -INFINITY;
    int lanes_of_row = pass->count * group;
    for (int lane = 0; apart && lane < used;) { /* lanes of one row after those of another */
        int row = (first + lane) / lanes_of_row, end = (row + 1) * lanes_of_row - first;
        end = end < used ? end : used;
        int seen = NAME(seen_of)(pass, row, apart);
        float *part = mixed; /* not needed yet */
        NAME(all_scores)(turned, paired, keys->own_k, row * keys->own_row + kv * keys->own_head, seen,
                         keys->own_bf16, part, d);
        for (int k = 0; k < seen; k++)
            for (int l = lane; l < end; l++) own[k * LANES + l] = part[k * LANES + l];
        lane = end;
    }
    if (pass->causal) {
        for (int lane = 0; lane < used; lane++) {
            int token = (first + lane) / group, column = pass->at[token / pass->count] + token % pass->count;
            for (int k = column + 1; k < own_count; k++) own[k * LANES + lane] = -INFINITY;
            int oldest = keys->window ? shared + column - keys->window + 1 : 0; /* as an index into all */
            for (int k = 0; k < oldest; k++) scores[(size_t)k * LANES + lane] = -INFINITY;
        }
    }
    float whole[LANES];
    for (int v = 0; v < LANES; v += WIDTH) {
        Floats most = load(scores + v), sum = {0};
        for (int k = 1; k < total; k++) {
            Floats x = load(scores + (size_t)k * LANES + v);
            most = NAME(choose)(x > most, x, most);
        }
        for (int k = 0; k < total; k++) {
            Floats weight = NAME(exponential)(load(scores + (size_t)k * LANES + v) - most);
            sum += weight;
            store(scores + (size_t)k * LANES + v, weight);
        }
        store(whole + v, sum);
    }
    memset(mixed, 0, sizeof(float) * d * LANES);
    NAME(mix_all)(scores, keys->shared_v, kv * keys->shared_head, total - apart, keys->shared_bf16, mixed, d, 0, used);
    for (int lane = 0; apart && lane < used;) {
        int row = (first + lane) / lanes_of_row, end = (row + 1) * lanes_of_row - first;
        end = end < used ? end : used;
        NAME(mix_all)(own, keys->own_v, row * keys->own_row + kv * keys->own_head,
                      NAME(seen_of)(pass, row, apart), keys->own_bf16, mixed, d, lane, end);
        lane = end;
    }
    for (int lane = 0; lane < used; lane++) {
        int token = (begin + lane) / group, head = kv * group + (begin + lane) % group;
        float scale = 1.0f / whole[lane];
        float *to = out + ((size_t)token * heads + head) * d;
        for (int i = 0; i < d; i += WIDTH) store(to + i, load(mixed + lane * d + i) * scale);
    }
}

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
        int row = (from + t) / pass->count, column = pass->at[row] + (from + t) % pass->count;
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

/* The panels `from` to `to` of a product. */
static void NAME(whole_product)(const Product *product, int from, int to, float *scratch) {
    int inputs = product->inputs, rows = product->rows;
    float *scale = scratch;
    INPUT *input = (INPUT *)(scale + rows);
    for (int r = 0; r < rows; r++)
        scale[r] = NAME(take_row)(product->x + (size_t)r * inputs, input + (size_t)r * inputs, inputs);
    NAME(panels)(product->weight, input, scale, product->y, rows, inputs, inputs, product->outputs, from, to);
    float cap = product->cap;
    for (int r = 0; cap > 0 && r < rows; r++) {
        float *row = product->y + (size_t)r * product->outputs;
        for (int i = from * LANES; i < to * LANES; i += WIDTH) {
            Floats y = load(row + i) * (2.0f / cap);
            y = NAME(choose)(y > 80.0f, (Floats){0} + 80.0f, y);
            store(row + i, cap - 2.0f * cap / (NAME(exponential)(y) + 1.0f));
        }
    }
}

/* What a step needs of the rows `from` to `to` of logits, which become probabilities. */
static void NAME(choices)(const Choices *choices, int from, int to) {
    int vocab = choices->vocab;
    for (int r = from; r < to; r++) {
        float *row = choices->logits + (size_t)r * vocab;
        Floats most = load(row);
        for (int i = WIDTH; i < vocab; i += WIDTH) {
            Floats x = load(row + i);
            most = NAME(choose)(x > most, x, most);
        }
        float best = NAME(most)(most);
        int argmax = 0;
        while (argmax < vocab - 1 && row[argmax] < best) argmax++;
        Floats at_one = {0}, whole = {0}, weighted = {0};
        for (int i = 0; i < vocab; i += WIDTH) {
            Floats relative = load(row + i) - best;
            at_one += NAME(exponential)(relative);
            relative *= choices->inverse_temperature;
            Floats p = NAME(exponential)(relative);
            whole += p;
            weighted += p * NAME(choose)(p > 0.0f, relative, (Floats){0});
            store(row + i, p);
        }
        float total = NAME(sum)(whole), scale = 1.0f / total;
        for (int i = 0; i < vocab; i += WIDTH) store(row + i, load(row + i) * scale);
        float entropy = logf(total) - NAME(sum)(weighted) * scale;
        choices->argmax[r] = argmax;
        choices->confidence[r] = 1.0f / NAME(sum)(at_one);
        choices->entropy[r] = entropy > 0 ? entropy : 0;
    }
}

/* Where the cumulative sum of each of the rows `from` to `to` passes its share of the whole. */
static void NAME(draws)(const Draws *draws, int from, int to) {
    int vocab = draws->vocab;
    for (int r = from; r < to; r++) {
        const float *row = draws->probabilities + (size_t)r * vocab;
        Floats sums = {0};
        for (int i = 0; i < vocab; i += WIDTH) sums += load(row + i);
        float target = NAME(sum)(sums) * draws->uniform[r], before = 0;
        int i = 0;
        for (; i < vocab - WIDTH; i += WIDTH) {
            float some = NAME(sum)(load(row + i));
            if (before + some > target) break;
            before += some;
        }
        int found = -1;
        for (; i < vocab; i++) { /* rounding may have us pass the end: then it is the last one with any weight */
            if (row[i] <= 0) continue;
            found = i;
            before += row[i];
            if (before > target) break;
        }
        if (found < 0)
            for (found = vocab - 1; found > 0 && row[found] <= 0;) found--;
        draws->drawn[r] = found;
    }
}

/* The natural logarithm of the sum of the exponentials of `count` numbers. */
static float NAME(log_sum_exp)(const float *row, int count) {
    Floats most = load(row), sum = {0};
    for (int i = WIDTH; i < count; i += WIDTH) {
        Floats x = load(row + i);
        most = NAME(choose)(x > most, x, most);
    }
    float best = NAME(most)(most);
    for (int i = 0; i < count; i += WIDTH) sum += NAME(exponential)(load(row + i) - best);
    return best + logf(NAME(sum)(sum));
}

/* The log-probability of a token for each row of logits. */
static void NAME(log_probabilities)(const float *logits, const int32_t *tokens, int rows, int vocab, float *to) {
    for (int r = 0; r < rows; r++) {
        const float *row = logits + (size_t)r * vocab;
        to[r] = row[tokens[r]] - NAME(log_sum_exp)(row, vocab);
    }
}

/* Where a context's last tokens stand in a text, at least `shortest` of them: the places behind, how many there are. */
static int NAME(matches)(const Text *of, const int32_t *context, int width, int shortest, int32_t *places,
                         int32_t *lengths) {
    const int32_t *text = of->tokens;
    int count = of->count, found = 0, last = context[width - 1];
    for (int from = 0; from < count - 1; from += LANES) {
        int some = count - 1 - from < LANES ? count - 1 - from : LANES, any = some < LANES;
        for (int i = 0; i < LANES && some == LANES; i++) any |= text[from + i] == last;
        for (int i = from; any && i < from + some; i++) {
            if (text[i] != last || text[i + 1] < 0) continue;
            int length = 1;
            while (length < width && length <= i && text[i - length] == context[width - 1 - length]) length++;
            if (length < shortest) continue;
            places[found] = i + 1;
            lengths[found++] = length;
        }
    }
    return found;
}

/* What followed a context's last tokens in the texts: the tokens go to `said`, what is to be added to the probability
 * of each to `added`, and to `share` which part of its own every token keeps. How many tokens there are. */
static int NAME(say)(const Likeliest *of, const int32_t *context, int width, float *share) {
    int said = 0;
    *share = 1.0f;
    for (const Text *text = of->text; text < of->text + of->texts && width >= of->shortest; text++) {
        int places = NAME(matches)(text, context, width, of->shortest, of->places, of->lengths);
        for (int length = of->shortest, known = 1; known; length++) {
            int kinds = 0, seen = 0;
            known = 0;
            for (int i = 0; i < places; i++) {
                if (of->lengths[i] < length) continue;
                known = 1;
                int token = text->tokens[of->places[i]];
                if (text->silent && text->silent[token]) continue;
                if (!of->seen[token] && !(of->added[token] > 0)) of->said[said++] = token;
                kinds += !of->seen[token]++;
                seen++;
            }
            float base = of->base_weight * kinds, whole = base + seen;
            if (!seen) continue;
            *share *= base / whole;
            for (int i = 0; i < said; i++) {
                int token = of->said[i];
                of->added[token] = of->added[token] * (base / whole) + of->seen[token] / whole;
                of->seen[token] = 0;
            }
        }
    }
    return said;
}

/* Have what was said of `said` next tokens in a row's logits, `whole` being their logarithm of the sum: what is to be
 * added to them for log-probabilities. What they were goes to `own`, the ends' first. */
static float NAME(mix_in)(const Likeliest *of, int said, float share, float *row, float whole) {
    float *own = of->own, moved = logf(share), going_on = 1.0f;
    for (int e = 0; e < of->ends; e++) {
        own[e] = row[of->end[e]];
        going_on -= expf(own[e] - whole);
    }
    for (int i = 0; i < said; i++) {
        float *at = row + of->said[i], *added = of->added + of->said[i];
        own[of->ends + i] = *at;
        float p = expf(*at - whole) * share + *added * going_on;
        *at = logf(p > LEAST ? p : LEAST) + whole - moved;
        *added = 0;
    }
    /* Where a text ends is for the model to say. */
    for (int e = 0; e < of->ends; e++) row[of->end[e]] = own[e] - moved;
    return moved - whole;
}

/* What `mix_in` changed of a row. */
static void NAME(take_out)(const Likeliest *of, int said, float *row) {
    for (int i = said - 1; i >= 0; i--) row[of->said[i]] = of->own[of->ends + i];
    for (int e = 0; e < of->ends; e++) row[of->end[e]] = of->own[e];
}

/* Keep the best so far in order, the first of equals first. */
INLINE void NAME(offer)(const Likeliest *of, int list, float value, int row, int token) {
    float *best = of->best + (size_t)list * of->count;
    int32_t *rows = of->row + (size_t)list * of->count, *tokens = of->token + (size_t)list * of->count;
    int at = of->count - 1;
    if (!(value > best[at])) return;
    for (; at > 0 && value > best[at - 1]; at--) {
        best[at] = best[at - 1];
        rows[at] = rows[at - 1];
        tokens[at] = tokens[at - 1];
    }
    best[at] = value;
    rows[at] = row;
    tokens[at] = token;
}

/* The likeliest next tokens of all rows together, or of each. */
static void NAME(likeliest)(const Likeliest *of) {
    int lists = of->apart ? of->rows : 1;
    for (int i = 0; i < lists * of->count; i++) of->best[i] = -INFINITY;
    const int32_t *allowed = of->allowed, *context = of->context;
    for (int r = 0; r < of->rows; context += of->width[r++]) {
        float *row = of->logits + (size_t)of->at[r] * of->vocab, share;
        int list = of->apart ? r : 0, said = NAME(say)(of, context, of->width[r], &share);
        float whole = NAME(log_sum_exp)(row, of->vocab);
        float shift = said ? NAME(mix_in)(of, said, share, row, whole) : -whole;
        if (of->allowed_count[r] >= 0) {
            float sum = 0, before = of->total[r];
            for (int i = 0; i < of->allowed_count[r]; i++) sum += expf(row[allowed[i]] + shift);
            for (int i = 0; i < of->allowed_count[r]; i++)
                NAME(offer)(of, list, row[allowed[i]] + shift - logf(sum) + before, r, allowed[i]);
            allowed += of->allowed_count[r];
        } else {
            shift += of->total[r];
            const float *least = of->best + (size_t)(list + 1) * of->count - 1;
            for (int i = 0; i < of->vocab; i += WIDTH) {
                Signed above = load(row + i) + shift > *least;
                int any = 0;
                for (int k = 0; k < WIDTH; k++) any |= above[k];
                for (int k = 0; any && k < WIDTH; k++) NAME(offer)(of, list, row[i + k] + shift, r, i + k);
            }
        }
        if (said) NAME(take_out)(of, said, row);
    }
}

#undef INPUT
#undef Floats
#undef Unsigned
#undef Signed
#undef Halves
#undef Bytes
#undef VECTORS
#undef load
#undef store
