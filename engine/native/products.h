/* Products with matrices that lie in panels of bytes. Included by kernels.h, for one instruction set. */

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
