"""The definition of im2col, col2im, max pooling and Adam, as plain loops that read like the formula.

Start reading here. These functions are slow on purpose; the compiled kernels beside
this file must equal them, and the tests hold them to it.

Photos are (N, H, W, C): photo, row, column, channel. A window of kernel_size (kh, kw)
slides over each photo in steps of strides (sh, sw) after pads (top, bottom, left, right)
cells have been added around it; there are (OH, OW) places where it fits.
"""

import numpy as np


def window_geometry(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Along one axis: how many windows fit, and the padding before and after.

    'valid' pads nothing: out = ceil((size - kernel + 1) / stride). 'same' makes
    out = ceil(size / stride), and when the padding is odd the smaller half goes first,
    as in Keras: size 28, kernel 3, stride 2 is padded by 0 before and 1 after.
    """
    if padding == "valid":
        return max(0, (size - kernel) // stride + 1), 0, 0
    out = -(-size // stride)  # ceil(size / stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2


def im2col(x, kernel_size, strides, pads):
    """columns[n,i,j, u,v,c] = x_padded[n, i*sh + u, j*sw + v, c]

    One row of columns is one window of the photo laid flat, so that a convolution
    becomes one matrix product: columns (N*OH*OW, kh*kw*C) @ kernel (kh*kw*C, F).
    """
    (kh, kw), (sh, sw), (top, bottom, left, right) = kernel_size, strides, pads
    x_padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    photos, height, width, channels = x_padded.shape
    out_h, out_w = (height - kh) // sh + 1, (width - kw) // sw + 1
    columns = np.zeros((photos, out_h, out_w, kh, kw, channels), x.dtype)
    for n, i, j, u, v, c in np.ndindex(columns.shape):
        columns[n, i, j, u, v, c] = x_padded[n, i * sh + u, j * sw + v, c]
    return columns


def col2im(columns, x_shape, strides, pads):
    """dx_padded[n, i*sh + u, j*sw + v, c] += dcolumns[n,i,j, u,v,c], then the padding cut off.

    The transpose (adjoint) of im2col: each cell of a photo receives the sum of all the
    places in columns that im2col copied it to.
    """
    (sh, sw), (top, bottom, left, right) = strides, pads
    photos, height, width, channels = x_shape
    dx_padded = np.zeros((photos, height + top + bottom, width + left + right, channels), columns.dtype)
    for n, i, j, u, v, c in np.ndindex(columns.shape):
        dx_padded[n, i * sh + u, j * sw + v, c] += columns[n, i, j, u, v, c]
    return dx_padded[:, top : top + height, left : left + width, :]


def max_pool(x, pool_size, strides, pads):
    """y[n,i,j,c] = max over u,v of x_padded[n, i*sh + u, j*sw + v, c], padded with -infinity

    Also returns winners[n,i,j,c] = u*pw + v, the place of that maximum in its window.
    The first of several equal cells, in row-major order, wins alone. NaN beats everything.
    """
    (ph, pw), (sh, sw), (top, bottom, left, right) = pool_size, strides, pads
    x_padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=-np.inf)
    photos, height, width, channels = x_padded.shape
    out_h, out_w = (height - ph) // sh + 1, (width - pw) // sw + 1
    y = np.zeros((photos, out_h, out_w, channels), x.dtype)
    winners = np.zeros(y.shape, np.int32)
    for n, i, j, c in np.ndindex(y.shape):
        window = x_padded[n, i * sh : i * sh + ph, j * sw : j * sw + pw, c]
        winners[n, i, j, c] = np.argmax(window)
        y[n, i, j, c] = window.flat[winners[n, i, j, c]]
    return y, winners


def max_pool_backward(dy, winners, x_shape, pool_size, strides, pads):
    """dx[n, i*sh + u, j*sw + v, c] += dy[n,i,j,c]   for the winner (u, v) of each window, no other cell"""
    (ph, pw), (sh, sw), (top, bottom, left, right) = pool_size, strides, pads
    dx = np.zeros(x_shape, dy.dtype)
    for n, i, j, c in np.ndindex(dy.shape):
        u, v = divmod(int(winners[n, i, j, c]), pw)
        dx[n, i * sh + u - top, j * sw + v - left, c] += dy[n, i, j, c]
    return dx


def adam_update(w, g, m, v, alpha, beta_1, beta_2, epsilon):
    """m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v),   w -= alpha m / (sqrt(v) + epsilon)"""
    for k in np.ndindex(w.shape):
        m[k] += (1 - beta_1) * (g[k] - m[k])
        v[k] += (1 - beta_2) * (g[k] ** 2 - v[k])
        w[k] -= alpha * m[k] / (np.sqrt(v[k]) + epsilon)
