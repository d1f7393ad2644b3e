/* What is made of logits: choices, draws, and the likeliest next tokens. Included by kernels.h, for one instruction set. */

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

/* Which of as many tokens as a vector has are `last`, and behind `before` unless `either` has all bits. */
INLINE Signed NAME(standing)(const int32_t *text, int32_t last, int back, int32_t before, int32_t either) {
    Signed here, previous;
    memcpy(&here, text, sizeof here);
    memcpy(&previous, text - back, sizeof previous);
    return (here == last) & ((previous == before) | either);
}

/* Where a context's last tokens stand in a text, at least `shortest` of them: the places behind, how many there are. */
static int NAME(matches)(const Text *of, const int32_t *context, int width, int shortest, int32_t *places,
                         int32_t *lengths) {
    const int32_t *text = of->tokens;
    if (width < shortest) return 0;
    /* Two tokens at once where two have to match: a single one stands in too many places. */
    int back = shortest > 1, count = of->count, found = 0;
    int32_t last = context[width - 1], before = context[width - 1 - back], either = back - 1;
    for (int from = back; from < count - 1; from += LOOKED_AT_ONCE) {
        int some = count - 1 - from < LOOKED_AT_ONCE ? count - 1 - from : LOOKED_AT_ONCE;
        if (some == LOOKED_AT_ONCE) {
            Signed standing = {0};
            for (int i = 0; i < LOOKED_AT_ONCE; i += WIDTH)
                standing |= NAME(standing)(text + from + i, last, back, before, either);
            if (!NAME(any)(standing)) continue;
        }
        for (int i = from; i < from + some; i++) {
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
    for (const Text *text = of->text; text < of->text + of->texts; text++) {
        int places = NAME(matches)(text, context, width, of->shortest, of->places, of->lengths);
        for (int length = of->shortest; places; length++) {
            int kinds = 0, seen = 0, longer = 0;
            for (int i = 0; i < places; i++) {
                int token = text->tokens[of->places[i]];
                if (of->lengths[i] > length) { /* the next length looks at these only */
                    of->places[longer] = of->places[i];
                    of->lengths[longer++] = of->lengths[i];
                }
                if (text->silent && text->silent[token]) continue;
                if (!of->seen[token] && !(of->added[token] > 0)) of->said[said++] = token;
                kinds += !of->seen[token]++;
                seen++;
            }
            places = longer;
            if (!seen) continue;
            float base = text->base_weight * kinds * kinds, whole = base + seen;
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

/* What a token has to be likelier than to be among the best of a list. */
INLINE float NAME(least)(const Likeliest *of, int list) {
    const float *best = of->best + (size_t)list * of->count;
    float last = best[of->count - 1], far = best[0] - of->margin;
    return last > far ? last : far;
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
            float least = NAME(least)(of, list);
            for (int i = 0; i < of->vocab; i += WIDTH) {
                Signed above = load(row + i) + shift > least;
                if (!NAME(any)(above)) continue;
                for (int k = 0; k < WIDTH; k++) NAME(offer)(of, list, row[i + k] + shift, r, i + k);
                least = NAME(least)(of, list);
            }
        }
        if (said) NAME(take_out)(of, said, row);
    }
}
