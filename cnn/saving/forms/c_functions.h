/* x (rows, inputs) times kernel (inputs, units), and bias */
static void dense(const float *x, float *y, int rows, int inputs, int units, const float *kernel, const float *bias)
{
    for (int n = 0; n < rows; n++)
        for (int o = 0; o < units; o++) {
            float sum = bias ? bias[o] : 0.0f;
            for (int i = 0; i < inputs; i++)
                sum += x[n * inputs + i] * kernel[i * units + o];
            y[n * units + o] = sum;
        }
}

/* x (h, w, c), y (oh, ow, filters), kernel (kh, kw, c, filters) */
static void convolve(const float *x, float *y, int h, int w, int c, int oh, int ow, int kh, int kw, int sh, int sw,
                     int top, int left, int filters, const float *kernel, const float *bias)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++)
            for (int f = 0; f < filters; f++) {
                float sum = bias ? bias[f] : 0.0f;
                for (int u = 0; u < kh; u++)
                    for (int v = 0; v < kw; v++) {
                        int r = i * sh + u - top, s = j * sw + v - left;
                        if (r < 0 || r >= h || s < 0 || s >= w)
                            continue;
                        for (int k = 0; k < c; k++)
                            sum += x[(r * w + s) * c + k] * kernel[((u * kw + v) * c + k) * filters + f];
                    }
                y[(i * ow + j) * filters + f] = sum;
            }
}

/* each channel by itself: kernel (kh, kw, c, each), y (oh, ow, c * each) */
static void depthwise(const float *x, float *y, int h, int w, int c, int oh, int ow, int kh, int kw, int sh, int sw,
                      int top, int left, int each, const float *kernel, const float *bias)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++)
            for (int f = 0; f < c * each; f++) {
                float sum = bias ? bias[f] : 0.0f;
                for (int u = 0; u < kh; u++)
                    for (int v = 0; v < kw; v++) {
                        int r = i * sh + u - top, s = j * sw + v - left;
                        if (r >= 0 && r < h && s >= 0 && s < w)
                            sum += x[(r * w + s) * c + f / each] * kernel[(u * kw + v) * c * each + f];
                    }
                y[(i * ow + j) * c * each + f] = sum;
            }
}

/* x (h, w, c) spread over y (oh, ow, filters) by kernel (kh, kw, filters, c) */
static void transposed(const float *x, float *y, int h, int w, int c, int oh, int ow, int filters, int kh, int kw,
                       int sh, int sw, int top, int left, const float *kernel, const float *bias)
{
    for (int i = 0; i < oh * ow * filters; i++)
        y[i] = bias ? bias[i % filters] : 0.0f;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++)
            for (int u = 0; u < kh; u++)
                for (int v = 0; v < kw; v++) {
                    int r = i * sh + u - top, s = j * sw + v - left;
                    if (r < 0 || r >= oh || s < 0 || s >= ow)
                        continue;
                    for (int f = 0; f < filters; f++)
                        for (int k = 0; k < c; k++)
                            y[(r * ow + s) * filters + f] +=
                                x[(i * w + j) * c + k] * kernel[((u * kw + v) * filters + f) * c + k];
                }
}

/* the largest number of each window, or the mean of those inside the photo */
static void pool(const float *x, float *y, int h, int w, int c, int oh, int ow, int kh, int kw, int sh, int sw, int top,
                 int left, int is_mean)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++)
            for (int k = 0; k < c; k++) {
                float most = -INFINITY, sum = 0.0f;
                int count = 0;
                for (int u = 0; u < kh; u++)
                    for (int v = 0; v < kw; v++) {
                        int r = i * sh + u - top, s = j * sw + v - left;
                        if (r < 0 || r >= h || s < 0 || s >= w)
                            continue;
                        float value = x[(r * w + s) * c + k];
                        most = value > most ? value : most;
                        sum += value;
                        count++;
                    }
                y[(i * ow + j) * c + k] = is_mean ? sum / (float)count : most;
            }
}

/* scale and offset repeat after `period` numbers */
static void scale_and_shift(const float *x, float *y, int size, const float *scale, const float *offset, int period)
{
    for (int i = 0; i < size; i++)
        y[i] = x[i] * scale[i % period] + offset[i % period];
}

static void prelu(const float *x, float *y, int size, const float *alpha, int period)
{
    for (int i = 0; i < size; i++)
        y[i] = x[i] > 0 ? x[i] : alpha[i % period] * x[i];
}

/* x (h, w, c) in y (oh, ow, c) from row top and column left on, zeros around it */
static void place(const float *x, float *y, int h, int w, int c, int oh, int ow, int top, int left)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++)
            for (int k = 0; k < c; k++) {
                int r = i - top, s = j - left;
                int is_inside = r >= 0 && r < h && s >= 0 && s < w;
                y[(i * ow + j) * c + k] = is_inside ? x[(r * w + s) * c + k] : 0.0f;
            }
}

/* down (oh, h) times x (h, w, c) times across (ow, w) transposed, for each channel */
static void resize(const float *x, float *y, int h, int w, int c, int oh, int ow, const float *down,
                   const float *across)
{
    for (int i = 0; i < oh; i++)
        for (int j = 0; j < ow; j++)
            for (int k = 0; k < c; k++) {
                float sum = 0.0f;
                for (int r = 0; r < h; r++)
                    for (int s = 0; s < w; s++) {
                        float part = down[i * h + r] * across[j * w + s];
                        if (part != 0.0f)
                            sum += part * x[(r * w + s) * c + k];
                    }
                y[(i * ow + j) * c + k] = sum;
            }
}

static void softmax(const float *x, float *y, int rows, int classes)
{
    for (int n = 0; n < rows; n++, x += classes, y += classes) {
        float most = x[0], sum = 0.0f;
        for (int k = 1; k < classes; k++)
            most = x[k] > most ? x[k] : most;
        for (int k = 0; k < classes; k++)
            sum += y[k] = expf(x[k] - most);
        for (int k = 0; k < classes; k++)
            y[k] /= sum;
    }
}
