/* Heads, and what they see of keys and values. Included by kernels.h, for one instruction set. */

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

/* Scores of one query (d,) for keys that may be bfloat16, each LANES numbers behind the other. */
INLINE void NAME(scores_of_one)(const float *query, const void *keys, size_t offset, int count, int is_bf16, float *to,
                                int d) {
    float room[MOST_HEAD_DIM];
    for (int k = 0; k < count; k++) {
        const float *key = NAME(as_floats)(keys, offset + (size_t)k * d, d, is_bf16, room);
        Floats sum = load(query) * load(key);
        for (int i = WIDTH; i < d; i += WIDTH) sum += load(query + i) * load(key + i);
        to[k * LANES] = NAME(sum)(sum);
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
    int written = column_of(pass, row, first_of(pass, row + 1));
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
        int token = (first + lane) / group, column = column_of(pass, row_of(pass, token), token);
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
    for (int lane = 0; apart && lane < used;) { /* lanes of one row after those of another */
        int row = row_of(pass, (first + lane) / group), end = first_of(pass, row + 1) * group - first;
        end = end < used ? end : used;
        int seen = NAME(seen_of)(pass, row, apart);
        int by_itself = pass->causal && pass->rows > 1;
        size_t offset = row * keys->own_row + kv * keys->own_head;
        float *part = mixed; /* not needed yet */
        if (!by_itself) NAME(all_scores)(turned, paired, keys->own_k, offset, seen, keys->own_bf16, part, d);
        for (int k = 0; !by_itself && k < seen; k++)
            for (int l = lane; l < end; l++) own[k * LANES + l] = part[k * LANES + l];
        /* Where several rows are written on, few of a block's queries are of one row: one by one is quicker, and the
         * same to the last bit however many there are. */
        for (int l = lane; by_itself && l < end; l++) {
            int token = (first + l) / group, column = column_of(pass, row, token), head = kv * group + (first + l) % group;
            NAME(scores_of_one)(queries + ((size_t)(token - from) * heads + head) * d, keys->own_k, offset,
                                column < seen ? column + 1 : seen, keys->own_bf16, own + l, d);
        }
        lane = end;
    }
    if (pass->causal) {
        for (int lane = 0; lane < used; lane++) {
            int token = (first + lane) / group, column = column_of(pass, row_of(pass, token), token);
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
        int row = row_of(pass, (first + lane) / group), end = first_of(pass, row + 1) * group - first;
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
