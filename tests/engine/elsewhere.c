/* A small random model read by the library, to be built and run on other processors than the one that tests run on.
 *
 * Prints, for each instruction set the processor has, its name, the largest error of a product against one counted
 * out in double (relative to the sum of its terms' sizes), and the logits of two passes. Random numbers are the same
 * everywhere.
 */

#include "layers.c"

#include <stdio.h>
#include <stdlib.h>

enum { HIDDEN = 64, HEADS = 2, DIM = 32, MLP = 64, EXPERT = 32, LAYERS = 2, VOCAB = 96, BEFORE = 7, OWN = 24, ROWS = 3 };

static uint32_t state = 1;

static float number(void) { /* in [-1, 1) */
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)(state & 0xffffff00u) / 2147483648.0f;
}

static float *numbers(int count, float scale, float shift) {
    float *out = malloc(sizeof(float) * count);
    for (int i = 0; i < count; i++) out[i] = number() * scale + shift;
    return out;
}

static int8_t nearest(float x) { return (int8_t)lrintf(x); }

/* A matrix (outputs, inputs) in panels. */
static uint8_t *in_panels(const float *weight, int outputs, int inputs) {
    uint8_t *out = malloc(outputs / LANES * PANEL_BYTES(inputs));
    for (int o = 0; o < outputs; o++) {
        uint8_t *panel = out + o / LANES * PANEL_BYTES(inputs);
        float most = 1e-30f;
        for (int i = 0; i < inputs; i++) most = fmaxf(most, fabsf(weight[o * inputs + i]));
        float step = most / 127;
        int32_t sum = 0;
        for (int i = 0; i < inputs; i++) {
            int8_t steps = nearest(weight[o * inputs + i] / step);
            sum -= steps;
            memcpy(panel + PANEL_HEAD + (i / 4 * LANES + o % LANES) * 4 + i % 4, &steps, 1);
        }
        memcpy(panel + 4 * (o % LANES), &step, 4);
        memcpy(panel + 4 * (LANES + o % LANES), &sum, 4);
    }
    return out;
}

static uint8_t *matrix(int outputs, int inputs) {
    return in_panels(numbers(outputs * inputs, 1.7f / sqrtf(inputs), 0), outputs, inputs);
}

static double in_steps(float x, float most, int steps) {
    return steps ? lrintf(x * (steps / most)) * (double)(most / steps) : x;
}

/* The largest error of a product, whose inputs are rounded to so many steps; 0 for none. */
static double worst(int set, int steps) {
    enum { ROWS_HERE = 5, INPUTS = 48, OUTPUTS = 80 };
    float *weight = numbers(OUTPUTS * INPUTS, 3, 0), *x = numbers(ROWS_HERE * INPUTS, 2, 0.5f);
    uint8_t *panels = in_panels(weight, OUTPUTS, INPUTS);
    float y[ROWS_HERE * OUTPUTS], scratch[ROWS_HERE * (INPUTS + 1)];
    Product product = {.weight = panels, .x = x, .y = y, .rows = ROWS_HERE, .inputs = INPUTS, .outputs = OUTPUTS};
    infill_product(&product, set, scratch, 1);
    double worst = 0;
    for (int r = 0; r < ROWS_HERE; r++)
        for (int o = 0; o < OUTPUTS; o++) {
            float most = 0, step;
            for (int i = 0; i < INPUTS; i++) most = fmaxf(most, fabsf(x[r * INPUTS + i]));
            const uint8_t *panel = panels + o / LANES * PANEL_BYTES(INPUTS);
            memcpy(&step, panel + 4 * (o % LANES), 4);
            double sum = 0, size = 0;
            for (int i = 0; i < INPUTS; i++) {
                int8_t steps_of;
                memcpy(&steps_of, panel + PANEL_HEAD + (i / 4 * LANES + o % LANES) * 4 + i % 4, 1);
                double term = (double)step * steps_of * in_steps(x[r * INPUTS + i], most, steps);
                sum += term;
                size += fabs(term);
            }
            worst = fmax(worst, fabs(y[r * OUTPUTS + o] - sum) / size);
        }
    return worst;
}

static void read_and_print(int set, const Model *model, int rows, int count, int is_bf16) {
    Keys keys[LAYERS];
    float *table = numbers((BEFORE + OWN) * DIM / 2, 1, 0);
    for (int layer = 0; layer < LAYERS; layer++) {
        float *shared[2];
        for (int value = 0; value < 2; value++) {
            shared[value] = numbers(BEFORE * DIM, 1, 0);
            uint16_t *half = malloc(2 * BEFORE * DIM);
            for (int i = 0; i < BEFORE * DIM; i++) {
                uint32_t bits;
                memcpy(&bits, shared[value] + i, 4);
                half[i] = bits >> 16;
            }
            if (is_bf16) shared[value] = (float *)half;
        }
        keys[layer] = (Keys){.shared_k = shared[0], .shared_v = shared[1],
                             .own_k = calloc(ROWS * OWN * DIM, 4), .own_v = calloc(ROWS * OWN * DIM, 4),
                             .cosine = table, .sine = table, .shared_head = BEFORE * DIM,
                             .own_row = OWN * DIM, .own_head = OWN * DIM, .shared_count = BEFORE,
                             .window = layer ? 0 : 9, .shared_bf16 = is_bf16};
    }
    int32_t at[ROWS] = {0, 3, 1}, tokens[ROWS * OWN];
    for (int i = 0; i < rows * count; i++) tokens[i] = (int)((number() + 1) * (VOCAB / 2 - 1));
    static float x[ROWS * OWN * HIDDEN], logits[ROWS * OWN * VOCAB];
    Pass pass = {.model = model, .keys = keys, .at = at, .rows = rows, .count = count, .start = BEFORE, .causal = 1,
                 .encoder = 1, .columns = OWN, .most_own = OWN};
    Reading reading = {.tokens = tokens, .embedding = numbers(VOCAB * HIDDEN, 1, 0), .head = matrix(VOCAB, HIDDEN),
                       .x = x, .logits = logits, .cap = 30, .vocab = VOCAB};
    infill_read(&pass, &reading, set, malloc(4 * infill_reading_scratch(&pass, 2)), 2);
    for (int i = 0; i < rows * count * VOCAB; i++) printf("%.6g ", logits[i]);
}

int main(void) {
    for (int set = 0; set < infill_sets(); set++) {
        const char *name = infill_set(set);
        if (!name) continue;
        state = 1;
        Layer layers[LAYERS];
        for (int i = 0; i < LAYERS; i++)
            layers[i] = (Layer){.qkv = matrix((HEADS + 2) * DIM, HIDDEN), .out = matrix(HIDDEN, HEADS * DIM),
                                .gate = matrix(MLP + EXPERT, HIDDEN), .up = matrix(MLP + EXPERT, HIDDEN),
                                .mlp_down = matrix(HIDDEN, MLP), .expert_down = matrix(HIDDEN, EXPERT),
                                .q_norm = numbers(DIM, 0.2f, 1), .k_norm = numbers(DIM, 0.2f, 1),
                                .after_attention = numbers(HIDDEN, 0.2f, 1), .after_mlp = numbers(HIDDEN, 0.2f, 1),
                                .after_expert = numbers(HIDDEN, 0.2f, 1), .after_both = numbers(HIDDEN, 0.2f, 1),
                                .scalars = {1, 0.9f}, .kv_heads = 1, .head_dim = DIM, .own_values = 1};
        Model model = {.layer = layers, .layers = LAYERS, .hidden = HIDDEN, .heads = HEADS, .mlp = MLP,
                       .expert = EXPERT, .widest = (HEADS + 2) * DIM, .eps = 1e-6f};
        int few = !strcmp(name, "avx2") || !strcmp(name, "avx512");
        printf("%s %.3g ", name, worst(set, strcmp(name, "plain") ? few ? 63 : 127 : 0));
        read_and_print(set, &model, 3, 5, 1);
        read_and_print(set, &model, 2, 1, 0);
        printf("\n");
    }
    return 0;
}
