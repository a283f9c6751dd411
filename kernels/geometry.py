"""Where the windows of a convolution or of pooling lie, with how much padding; which cells resizing takes."""

import numpy as np

Pair = tuple[int, int]  # along height and width
Pads = tuple[int, int, int, int]  # top, bottom, left, right
Shape = tuple[int, int, int, int]  # (N, H, W, C)


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


def transposed_geometry(size: int, kernel: int, stride: int, padding: str, more: int | None) -> tuple[int, int, int]:
    """Along one axis of a transposed convolution: how many cells come out, and how many are cut off before and after.

    Each of `size` cells is spread over `kernel` cells, a stride further than the one before: over
    (size - 1) * stride + kernel in all. 'valid' keeps these and `more` zeros, 'same' (size - 1) * stride + kernel % 2
    + more of them. more None: so many that there are at least a stride for each cell; with 'same' just as many.
    As in Keras. What is cut off after is at least 0: cells that nothing is spread over stay 0.
    """
    whole = (size - 1) * stride + kernel
    if padding == "valid":
        out, before = whole + (max(stride - kernel, 0) if more is None else more), 0
    else:
        more = stride - kernel % 2 if more is None else more
        out, before = (size - 1) * stride + kernel % 2 + more, max(0, kernel // 2 - (more + 1) // 2)
    return out, before, max(0, whole - before - out)


def parts_taken(old: int, new: int, interpolation: str) -> np.ndarray:
    """(new, old): of which old cells along an axis each new one is made, and of how much of each.

    >>> parts_taken(2, 3, "bilinear")
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    at = (np.arange(new) + 0.5) * old / new
    if interpolation == "nearest":
        return np.eye(old)[at.astype(int)]
    at = np.clip(at - 0.5, 0, old - 1)  # beyond the last middle there is nothing to go to
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))
