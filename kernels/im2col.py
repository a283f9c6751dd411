"""im2col and its transpose col2im, compiled: they move and add numbers, the matrix product is left to BLAS.

Both equal their loops in reference.py. What lies side by side in memory runs innermost, so
that the inner loop is one straight copy (or sum) of neighbours: over the channels of a cell,
or, in photos of one channel, over the cells of a row, that is over windows.
"""

import numpy as np

from kernels.compiled import compiled
from kernels.geometry import Pads, Pair, Shape


def im2col(x: np.ndarray, kernel_size: Pair, strides: Pair, pads: Pads) -> np.ndarray:
    """columns[n,i,j, u,v,c] = x_padded[n, i*sh + u, j*sw + v, c]

    x (N, H, W, C) -> columns (N, OH, OW, kh, kw, C), contiguous: reshape it to
    (N*OH*OW, kh*kw*C) for the product. pads are (top, bottom, left, right).
    """
    photos, height, width, channels = x.shape
    top, bottom, left, right = pads
    x_padded = np.zeros((photos, height + top + bottom, width + left + right, channels), x.dtype)
    x_padded[:, top : top + height, left : left + width] = x
    out_h = (x_padded.shape[1] - kernel_size[0]) // strides[0] + 1
    out_w = (x_padded.shape[2] - kernel_size[1]) // strides[1] + 1
    columns = np.empty((photos, out_h, out_w, *kernel_size, channels), x.dtype)
    im2col_into(columns, x_padded, strides)
    return columns


def col2im(columns: np.ndarray, x_shape: Shape, strides: Pair, pads: Pads) -> np.ndarray:
    """dx[n,r,s,c] = sum of all columns[n,i,j, u,v,c] with i*sh + u - top = r and j*sw + v - left = s

    columns (N, OH, OW, kh, kw, C) -> dx of x_shape (N, H, W, C).
    """
    dx = np.empty(x_shape, columns.dtype)
    col2im_into(dx, np.ascontiguousarray(columns), strides, (pads[0], pads[2]))
    return dx


@compiled
def im2col_into(columns: np.ndarray, x_padded: np.ndarray, strides: Pair) -> None:
    """Fill columns (N, OH, OW, kh, kw, C) from x_padded (N, H, W, C)."""
    sh, sw = strides
    photos, out_h, out_w, kh, kw, channels = columns.shape
    for n in range(photos):
        for i in range(out_h):
            for u in range(kh):
                row = x_padded[n, i * sh + u]
                if channels == 1 and sw == 1:  # windows side by side read cells side by side
                    for v in range(kw):
                        source, target = row[v:, 0], columns[n, i, :, u, v, 0]
                        for j in range(out_w):
                            target[j] = source[j]
                else:
                    for j in range(out_w):
                        for v in range(kw):
                            source, target = row[j * sw + v], columns[n, i, j, u, v]
                            for c in range(channels):
                                target[c] = source[c]


@compiled
def col2im_into(dx: np.ndarray, columns: np.ndarray, strides: Pair, offset: Pair) -> None:
    """Fill dx (N, H, W, C) from columns (N, OH, OW, kh, kw, C); offset is (top, left) of the padding.

    reference.col2im scatters each column over the cells it came from. This one stands at
    a cell and gathers the at most kh*kw terms that land on it: no zeroed copy with
    borders, and each cell is written once.
    """
    (sh, sw), (top, left) = strides, offset
    photos, out_h, out_w, kh, kw, channels = columns.shape
    height, width = dx.shape[1], dx.shape[2]
    for n in range(photos):
        for r in range(height):
            for s in range(width):
                for c in range(channels):
                    dx[n, r, s, c] = 0
                for u in range(kh):
                    i, i_rest = divmod(r + top - u, sh)
                    if i_rest != 0 or i < 0 or i >= out_h:
                        continue
                    for v in range(kw):
                        j, j_rest = divmod(s + left - v, sw)
                        if j_rest != 0 or j < 0 or j >= out_w:
                            continue
                        for c in range(channels):
                            dx[n, r, s, c] += columns[n, i, j, u, v, c]
