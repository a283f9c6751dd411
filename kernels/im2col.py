"""im2col and its transpose col2im, compiled: they move data, the matrix product is left to BLAS.

Both equal their loops in reference.py. The channels run innermost because they lie side
by side in memory, so the inner loop is one straight copy (or sum) of neighbours.
"""

import numpy as np
from numba import njit


def im2col(x: np.ndarray, kernel_size: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int]) -> np.ndarray:
    """columns[n,i,j, u,v,c] = x_padded[n, i*sh + u, j*sw + v, c]

    x (N, H, W, C) -> columns (N, OH, OW, kh, kw, C), contiguous: reshape it to
    (N*OH*OW, kh*kw*C) for the product. pads are (top, bottom, left, right).
    """
    photos, height, width, channels = x.shape
    top, bottom, left, right = pads
    out_h = (height + top + bottom - kernel_size[0]) // strides[0] + 1
    out_w = (width + left + right - kernel_size[1]) // strides[1] + 1
    columns = np.empty((photos, out_h, out_w, *kernel_size, channels), x.dtype)
    im2col_into(columns, np.ascontiguousarray(x), strides, (top, left))
    return columns


def col2im(columns: np.ndarray, x_shape: tuple[int, int, int, int], strides: tuple[int, int], pads: tuple[int, int, int, int]) -> np.ndarray:
    """dx[n,r,s,c] = sum of all columns[n,i,j, u,v,c] with i*sh + u - top = r and j*sw + v - left = s

    columns (N, OH, OW, kh, kw, C) -> dx of x_shape (N, H, W, C).
    """
    dx = np.empty(x_shape, columns.dtype)
    col2im_into(dx, np.ascontiguousarray(columns), strides, (pads[0], pads[2]))
    return dx


@njit(nogil=True, cache=True)
def im2col_into(columns, x, strides, offset):
    """Fill columns (N, OH, OW, kh, kw, C) from x (N, H, W, C); offset is (top, left) of the padding."""
    (sh, sw), (top, left) = strides, offset
    photos, out_h, out_w, kh, kw, channels = columns.shape
    height, width = x.shape[1], x.shape[2]
    for n in range(photos):
        for i in range(out_h):
            for j in range(out_w):
                for u in range(kh):
                    r = i * sh + u - top
                    for v in range(kw):
                        s = j * sw + v - left
                        if 0 <= r < height and 0 <= s < width:
                            for c in range(channels):
                                columns[n, i, j, u, v, c] = x[n, r, s, c]
                        else:  # the window hangs over the edge: padding
                            for c in range(channels):
                                columns[n, i, j, u, v, c] = 0


@njit(nogil=True, cache=True)
def col2im_into(dx, columns, strides, offset):
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
