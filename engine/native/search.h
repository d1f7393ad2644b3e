/* Middles written behind a cached prefix, along beams as engine/causal/beams.py defines it or each by itself as
 * engine/causal/verified.py does, for as long as nothing but the model, the text around and the line's end has a say in
 * it. Included by layers.c.
 */

#define MOST_BEAMS 64
#define MOST_WRITTEN 256 /* tokens of a middle */
#define MOST_DRAFT 11
#define MOST_CONTEXT 8 /* tokens that n-grams are looked up by */
#define MOST_TOKENS 96 /* of one forward: eight beams and their drafts, or more beams without */
#define LEAST_LIKELY 1e-12

/* A middle with its log-probability; `source` is the row of the last forward that read it so far. */
typedef struct {
    double total;
    float probabilities[MOST_WRITTEN];
    int32_t ids[MOST_WRITTEN];
    int32_t count, source;
    int32_t brackets; /* open on its line */
    int32_t ended, full;
    int32_t origin; /* of what it was begun with, the one it goes on from */
} Beam;

/* The search on its way. There is room for `width` of the `open`, as many `grown` as are looked at, and of the
 * `finished` for `width` more than are to be found. Beams that go on `apart` do not compete: each is one of those
 * to be found, and goes on with its likeliest token. */
typedef struct {
    Pass *within;         /* over rows behind the prefix; the search says which */
    Reading *reading;     /* tokens and sources likewise */
    Likeliest *likeliest; /* rows and results likewise */
    float *first;         /* logits (vocab,) of the first token, as long as none was chosen: no beam has one yet */
    const Text *draft;    /* `drafts` texts to draft from, and from the beam itself; NULL: nothing */
    int32_t *places, *lengths;  /* room for the longest of them */
    const int32_t *context;     /* the last tokens before the middle */
    const int32_t *brackets;    /* by token, how many more it opens than it closes; NULL: no line ends a middle */
    const uint8_t *begins_line; /* by token */
    Beam *open, *grown, *finished;
    double margin, finished_margin;
    int32_t open_count, finished_count, context_count, longest_context;
    int32_t width, looked_at, batch, length, end_marker, apart, drafts;
} Search;

static double log_of(double probability) { return log(probability > LEAST_LIKELY ? probability : LEAST_LIKELY); }

static void copy_beam(Beam *to, const Beam *from) {
    size_t count = sizeof(float) * from->count;
    to->total = from->total;
    memcpy(to->probabilities, from->probabilities, count);
    memcpy(to->ids, from->ids, count);
    memcpy(&to->count, &from->count, sizeof(Beam) - offsetof(Beam, count));
}

/* The last tokens before a beam's next one; how many. */
static int context_of(const Search *search, const int32_t *ids, int count, int32_t *to) {
    int own = count < search->longest_context ? count : search->longest_context;
    int before = search->longest_context - own;
    before = before < search->context_count ? before : search->context_count;
    memcpy(to, search->context + search->context_count - before, sizeof(int32_t) * before);
    memcpy(to + before, ids + count - own, sizeof(int32_t) * own);
    return before + own;
}

/* What followed the longest match of a beam's end the last time, see `NgramCache.draft`; how many tokens. */
static int draft_of(const Search *search, int set, const Beam *beam, int32_t *to) {
    int32_t context[MOST_CONTEXT];
    int width = context_of(search, beam->ids, beam->count, context), most = search->length - 1 - beam->count;
    int longest = 0, left = 0, count = 0;
    const int32_t *following = 0;
    if (!search->draft) return 0;
    for (int at = 1; at < beam->count; at++) {
        int length = 0;
        while (length < width && length < at && beam->ids[at - 1 - length] == context[width - 1 - length]) length++;
        if (!length || length < longest) continue;
        longest = length;
        following = beam->ids + at;
        left = beam->count - at;
    }
    for (const Text *text = search->draft + search->drafts; text-- > search->draft;) {
        int found = sets[set].matches(text, context, width, longest + 1, search->places, search->lengths);
        for (int i = 0; i < found; i++) {
            if (search->lengths[i] < longest) continue; /* of those as long as each other the last */
            longest = search->lengths[i];
            following = text->tokens + search->places[i];
            left = text->count - search->places[i];
        }
    }
    most = most < MOST_DRAFT ? most : MOST_DRAFT;
    if (longest && most >> (longest - 1)) most = 1 << (longest - 1);
    most = most < left ? most : left;
    for (; count < most && following[count] >= 0; count++) to[count] = following[count];
    return count;
}

/* Have a beam go on with a token. */
static void grow(const Search *search, Beam *beam, int token, double probability) {
    int at = beam->count++;
    beam->ids[at] = token;
    beam->probabilities[at] = (float)probability;
    beam->total += log_of(probability);
    for (int e = 0; e < search->likeliest->ends; e++) beam->ended |= token == search->likeliest->end[e];
    if (!beam->ended && search->brackets) {
        /* The token that begins what comes after is the end's own. */
        if (search->begins_line[token] && beam->brackets <= 0) {
            beam->ids[at] = search->end_marker;
            beam->ended = 1;
        }
        beam->brackets += search->brackets[token];
    }
    beam->full = !beam->ended && beam->count >= search->length - 1;
}

/* The likeliest continuations of all open beams, whose next tokens' logits are those at `depth` of their rows of
 * `count`; those that end one alike are one. How many. */
static int grown_from(const Search *search, int set, int count, int depth) {
    Likeliest *of = search->likeliest;
    int32_t at[MOST_BEAMS], width[MOST_BEAMS], contexts[MOST_BEAMS * MOST_CONTEXT], any[MOST_BEAMS];
    int32_t ending[MOST_BEAMS]; /* each beam's continuation that ends it */
    float total[MOST_BEAMS];
    int32_t *context = contexts;
    for (int r = 0; r < search->open_count; r++) {
        const Beam *beam = search->open + r;
        at[r] = beam->source * count + depth;
        total[r] = (float)beam->total;
        any[r] = ending[r] = -1;
        context += width[r] = of->texts ? context_of(search, beam->ids, beam->count, context) : 0;
    }
    of->at = at;
    of->total = total;
    of->width = width;
    of->context = contexts;
    of->allowed_count = any;
    of->rows = search->open_count;
    of->count = search->looked_at;
    of->margin = (float)search->margin;
    of->apart = 0;
    sets[set].likeliest(of);
    int grown = 0;
    for (int i = 0; i < search->looked_at && of->best[i] > -INFINITY; i++) {
        if (of->best[i] < of->best[0] - search->margin) break;
        const Beam *beam = search->open + of->row[i];
        Beam *child = search->grown + grown;
        copy_beam(child, beam);
        grow(search, child, of->token[i], exp(of->best[i] - beam->total));
        int32_t *same = ending + of->row[i];
        if (!child->ended) {
            grown++;
        } else if (*same < 0) {
            *same = grown++;
        } else {
            Beam *known = search->grown + *same;
            float *last = known->probabilities + known->count - 1;
            double before = known->total - log_of(*last);
            *last += child->probabilities[child->count - 1];
            known->total = before + log_of(*last);
        }
    }
    return grown;
}

/* Put a beam where it belongs among some, the likeliest first, behind those as likely. */
static void insert(Beam *beams, int count, const Beam *beam) {
    int at = count;
    for (; at > 0 && beams[at - 1].total < beam->total; at--) copy_beam(beams + at, beams + at - 1);
    copy_beam(beams + at, beam);
}

/* Keep the best of all beams: those that are done, and those worth going on with. */
static void keep_best(Search *search, int grown) {
    const Beam *kept[MOST_BEAMS];
    int count = 0;
    for (int i = 0; i < grown; i++) {
        const Beam *beam = search->grown + i;
        int at = count < search->width ? count++ : search->width;
        for (; at > 0 && kept[at - 1]->total < beam->total; at--)
            if (at < search->width) kept[at] = kept[at - 1];
        if (at < search->width) kept[at] = beam;
    }
    double best = -INFINITY, least, first = -INFINITY;
    for (int i = 0; i < count; i++) {
        if (kept[i]->ended || kept[i]->full) insert(search->finished, search->finished_count++, kept[i]);
        best = kept[i]->total > best ? kept[i]->total : best;
    }
    int enough = search->finished_count >= search->batch, whole = 0;
    if (enough) search->finished_count = search->batch;
    for (int i = 0; i < search->finished_count; i++) {
        const Beam *beam = search->finished + i;
        best = beam->total > best ? beam->total : best;
        if (beam->count > 1 && !whole++) first = beam->total;
    }
    least = best - search->margin;
    if (enough && search->finished[search->batch - 1].total > least) least = search->finished[search->batch - 1].total;
    if (whole > 1 && first - search->finished_margin > least) least = first - search->finished_margin;
    search->open_count = 0;
    for (int i = 0; i < count; i++)
        if (!kept[i]->ended && !kept[i]->full && kept[i]->total > least)
            copy_beam(search->open + search->open_count++, kept[i]);
}

/* Read every open beam's last token and its draft, and go on for as far as that reaches. How many tokens that took. */
static int forward(Search *search, int set, float *scratch, int threads) {
    Pass *pass = search->within;
    Reading *reading = search->reading;
    int32_t tokens[MOST_TOKENS], source[MOST_BEAMS], at[MOST_BEAMS], draft[MOST_DRAFT];
    int rows = search->open_count, moved = 0;
    int drafted = rows == 1 ? draft_of(search, set, search->open, draft) : 0;
    for (int r = 0; r < rows; r++) {
        Beam *beam = search->open + r;
        at[r] = beam->count - 1;
        tokens[r] = beam->ids[beam->count - 1];
        source[r] = beam->source;
        moved |= source[r] != r;
        beam->source = r;
    }
    memcpy(tokens + rows, draft, sizeof(int32_t) * drafted);
    pass->at = at;
    pass->first = 0;
    pass->rows = rows;
    pass->count = 1 + drafted;
    pass->columns = pass->most_own = search->open->count + drafted;
    reading->tokens = tokens;
    reading->source = moved ? source : 0;
    infill_read(pass, reading, set, scratch, threads);
    for (int depth = 0; depth <= drafted; depth++) {
        keep_best(search, grown_from(search, set, 1 + drafted, depth));
        for (int i = 0; i < search->open_count; i++) {
            const Beam *beam = search->open + i;
            if (depth >= drafted || beam->ids[beam->count - 1] != draft[depth]) return tokens_of(pass);
        }
        if (!search->open_count) break;
    }
    return tokens_of(pass);
}

/* A beam's likeliest next token, of which the logits of that index tell. */
static int likeliest_of(const Search *search, int set, const Beam *beam, int32_t at, double *probability) {
    Likeliest *of = search->likeliest;
    int32_t context[MOST_CONTEXT], any = -1;
    int32_t width = of->texts ? context_of(search, beam->ids, beam->count, context) : 0;
    float nothing = 0;
    of->at = &at;
    of->total = &nothing;
    of->width = &width;
    of->context = context;
    of->allowed_count = &any;
    of->rows = of->count = of->apart = 1;
    of->margin = INFINITY;
    sets[set].likeliest(of);
    *probability = exp(of->best[0]);
    return of->token[0];
}

/* The same, each beam along its own draft. */
static int forward_apart(Search *search, int set, float *scratch, int threads) {
    Pass *pass = search->within;
    Reading *reading = search->reading;
    int32_t tokens[MOST_TOKENS], source[MOST_BEAMS], at[MOST_BEAMS], first[MOST_BEAMS + 1];
    int rows = search->open_count, moved = 0;
    pass->count = pass->most_own = first[0] = 0;
    for (int r = 0; r < rows; r++) {
        Beam *beam = search->open + r;
        int count = 1 + draft_of(search, set, beam, tokens + first[r] + 1);
        tokens[first[r]] = beam->ids[beam->count - 1];
        at[r] = beam->count - 1;
        source[r] = beam->source;
        moved |= source[r] != r;
        beam->source = r;
        first[r + 1] = first[r] + count;
        pass->count = count > pass->count ? count : pass->count;
        pass->most_own = at[r] + count > pass->most_own ? at[r] + count : pass->most_own;
    }
    pass->at = at;
    pass->first = first;
    pass->rows = rows;
    reading->tokens = tokens;
    reading->source = moved ? source : 0;
    infill_read(pass, reading, set, scratch, threads);
    search->open_count = 0;
    for (int r = 0; r < rows; r++) {
        Beam *beam = search->open + r;
        double probability;
        for (int i = first[r]; i < first[r + 1] && !beam->ended && !beam->full; i++) {
            int token = likeliest_of(search, set, beam, i, &probability);
            grow(search, beam, token, probability);
            if (i + 1 < first[r + 1] && tokens[i + 1] != token) break;
        }
        Beam *to = beam->ended || beam->full ? search->finished + search->finished_count++
                                             : search->open + search->open_count++;
        if (to != beam) copy_beam(to, beam);
    }
    return first[rows];
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

/* Go on until no open beam can change what is found, for so many forwards, or by as many as `seconds` allow for, one
 * at least; what has not begun only begins. How many rows and how many tokens each of them took goes to `sizes`. How
 * many there were. */
EXPORT int infill_search(Search *search, int set, float *scratch, int threads, double seconds, int forwards,
                         int32_t *sizes) {
    double began = now(), last = began;
    int done = 0;
    if (search->first) {
        search->likeliest->logits = search->first;
        search->first = 0;
        keep_best(search, grown_from(search, set, 1, 0));
        return 0;
    }
    while (search->open_count && done < forwards) {
        int tokens = (search->apart ? forward_apart : forward)(search, set, scratch, threads);
        sizes[2 * done] = search->within->rows;
        sizes[2 * done++ + 1] = tokens;
        double time = now();
        if (time - began + (time - last) > seconds) break;
        last = time;
    }
    return done;
}
