"""The definition of im2col, col2im, max pooling and Adam, as plain loops that read like the formula.

Start reading here. These functions are slow on purpose; the compiled kernels beside
this file must equal them, and the tests hold them to it.

Photos are (N, H, W, C): photo, row, column, channel. A window of kernel_size (kh, kw)
slides over each photo in steps of strides (sh, sw), and may hang over its edges by pads
(top, bottom, left, right); there are (OH, OW) places where it fits. The cell (u, v) of the
window at place (i, j) is the photo's cell (i*sh + u - top, j*sw + v - left), if there is one.
"""

import numpy as np

from kernels.geometry import Pads, Pair, Shape

Array = np.ndarray


def im2col(x: Array, kernel_size: Pair, strides: Pair, pads: Pads) -> Array:
    """columns[n,i,j, u,v,c] = x[n, i*sh + u - top, j*sw + v - left, c], and 0 outside the photo

    One row of columns is one window of the photo laid flat, so that a convolution
    becomes one matrix product: columns (N*OH*OW, kh*kw*C) @ kernel (kh*kw*C, F).
    """
    (kh, kw), (sh, sw), (top, bottom, left, right) = kernel_size, strides, pads
    photos, height, width, channels = x.shape
    out_h, out_w = (top + height + bottom - kh) // sh + 1, (left + width + right - kw) // sw + 1
    columns = np.zeros((photos, out_h, out_w, kh, kw, channels), x.dtype)
    for n, i, j, u, v, c in np.ndindex(columns.shape):
        row, column = i * sh + u - top, j * sw + v - left
        if 0 <= row < height and 0 <= column < width:
            columns[n, i, j, u, v, c] = x[n, row, column, c]
    return columns


def col2im(columns: Array, x_shape: Shape, strides: Pair, pads: Pads) -> Array:
    """dx[n, i*sh + u - top, j*sw + v - left, c] += dcolumns[n,i,j, u,v,c], but nothing outside the photo

    The transpose (adjoint) of im2col: each cell of a photo receives the sum of all the
    places in columns that im2col copied it to.
    """
    (sh, sw), (top, _, left, _) = strides, pads
    _, height, width, _ = x_shape
    dx = np.zeros(x_shape, columns.dtype)
    for n, i, j, u, v, c in np.ndindex(columns.shape):
        row, column = i * sh + u - top, j * sw + v - left
        if 0 <= row < height and 0 <= column < width:
            dx[n, row, column, c] += columns[n, i, j, u, v, c]
    return dx


def max_pool(x: Array, pool_size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Array]:
    """y[n,i,j,c] = max over u,v of x[n, i*sh + u - top, j*sw + v - left, c], of the cells inside the photo

    Also returns winners[n,i,j,c] = u*pw + v, the place of that maximum in its window.
    The first of several equal cells, in row-major order, wins alone. NaN beats everything.
    """
    (ph, pw), (sh, sw), (top, bottom, left, right) = pool_size, strides, pads
    photos, height, width, channels = x.shape
    out_h, out_w = (top + height + bottom - ph) // sh + 1, (left + width + right - pw) // sw + 1
    y = np.zeros((photos, out_h, out_w, channels), x.dtype)
    winners = np.zeros(y.shape, np.int32)
    for n, i, j, c in np.ndindex(y.shape):
        inside = {}  # the cells of the window that lie inside the photo
        for u, v in np.ndindex(ph, pw):
            row, column = i * sh + u - top, j * sw + v - left
            if 0 <= row < height and 0 <= column < width:
                inside[u * pw + v] = x[n, row, column, c]
        first = np.argmax(list(inside.values()))  # of the largest; NaN counts as larger than all
        winners[n, i, j, c] = list(inside)[first]
        y[n, i, j, c] = inside[winners[n, i, j, c]]
    return y, winners


def max_pool_backward(dy: Array, winners: Array, x_shape: Shape, pool_size: Pair, strides: Pair, pads: Pads) -> Array:
    """dx[n, i*sh + u - top, j*sw + v - left, c] += dy[n,i,j,c]   for the winner (u, v) of each window, no other cell"""
    (_, pw), (sh, sw), (top, _, left, _) = pool_size, strides, pads
    dx = np.zeros(x_shape, dy.dtype)
    for n, i, j, c in np.ndindex(dy.shape):
        u, v = divmod(int(winners[n, i, j, c]), pw)
        dx[n, i * sh + u - top, j * sw + v - left, c] += dy[n, i, j, c]
    return dx


def adam_update(
    w: Array, g: Array, m: Array, v: Array, alpha: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """m += (1 - beta_1) (g - m),   v += (1 - beta_2) (g^2 - v),   w -= alpha m / (sqrt(v) + epsilon)"""
    for k in np.ndindex(w.shape):
        m[k] += (1 - beta_1) * (g[k] - m[k])
        v[k] += (1 - beta_2) * (g[k] ** 2 - v[k])
        w[k] -= alpha * m[k] / (np.sqrt(v[k]) + epsilon)
