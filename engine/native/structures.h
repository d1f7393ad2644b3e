/* What the caller tells, laid out likewise by engine/native/compiled.py. Included by layers.c. */

#define LANES 16
#define MOST_HIDDEN 4096 /* numbers in the residual stream, and in all heads of keys */
#define MOST_HEAD_DIM 512
#define MIXED_KEYS 16

/* A matrix (outputs, inputs) is rounded to 127 steps of each output's own, up and down, and lies in panels of 16
 * outputs: what a step of each is, float; the sum of its steps, negative, int32, to take off again what is added to
 * inputs where those must have no sign; and the steps themselves, (inputs / 4, 16, 4) int8. */
#define PANEL_HEAD (2 * LANES * 4)
#define PANEL_BYTES(inputs) (PANEL_HEAD + (size_t)(inputs) * LANES)

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
    const int32_t *first; /* each row's first token, and behind them how many there are; NULL: `count` in each */
    int32_t rows, count; /* of tokens in each row, or in the longest */
    int32_t start; /* position of column 0 */
    int32_t causal, encoder;
    int32_t columns;  /* of its own that a token sees where not causal */
    int32_t most_own; /* columns that the longest row has */
} Pass;

/* The first of a row's tokens, among those of all rows. */
static inline int first_of(const Pass *pass, int row) { return pass->first ? pass->first[row] : row * pass->count; }

static inline int tokens_of(const Pass *pass) { return first_of(pass, pass->rows); }

static inline int row_of(const Pass *pass, int token) {
    if (!pass->first) return token / pass->count;
    int row = 0;
    while (token >= pass->first[row + 1]) row++;
    return row;
}

static inline int column_of(const Pass *pass, int row, int token) {
    return pass->at[row] + token - first_of(pass, row);
}

/* What is read by a pass and asked of it: the tokens of all rows, and the logits of what follows each. */
typedef struct {
    const int32_t *tokens;
    const int32_t *source;  /* the row whose tokens so far each row goes on from; NULL: its own */
    const float *embedding; /* (vocab, hidden) */
    const uint8_t *head;    /* (vocab, hidden), in panels */
    float *x, *logits;      /* (tokens, hidden) and (tokens, vocab) */
    float cap;
    int32_t vocab, unused; /* so many ids at the end stand for nothing: their logits are OFF */
} Reading;

#define OFF -1e4f /* as in engine/networks/network.py */

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
 * for each, it is never told that they followed; NULL: of none. What is said without the text counts `base_weight`
 * times the square of how many tokens followed. */
typedef struct {
    const int32_t *tokens;
    const uint8_t *silent;
    float base_weight;
    int32_t count;
} Text;

/* The likeliest `count` next tokens of some rows of logits (.., vocab), with their log-probabilities: of all rows
 * together, or of each if they are `apart`. Logits are as they were afterwards. What followed a row's last tokens in
 * the texts is interpolated with the model's word, by engine/causal/ngram_cache.py's definition, the first text's first. */
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
    float margin; /* nats: tokens so much less likely than the best may be left out */
    int32_t shortest; /* tokens of context that count */
    int32_t rows, vocab, texts, ends, count, apart;
} Likeliest;

#define LEAST 1e-30f /* a probability */
#define LOOKED_AT_ONCE 64 /* tokens of a text */
