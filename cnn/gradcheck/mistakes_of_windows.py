"""The catalogue of mistakes with sliding windows: Conv2D's kernel, stride and padding, overlaps, pooling's winners.

The numbers are computed by our own layer of the same y, taken apart (counterparts.py), with one part wrong.
"""

from typing import Any

import numpy as np

from cnn.gradcheck.cases import Array, Case, catalogue
from cnn.gradcheck.counterparts import Pooling, Product, chosen
from kernels.im2col import im2col

MISTAKES, mistake = catalogue()


# ---- the kernel, the stride, the padding


@mistake("the numbers of a kernel turned by 180 degrees on the way back to dx")
def kernel_turned_in_dx(c: Case) -> Array | None:
    """dx is the full convolution of dz with the kernel: whoever turns it once too often gets this."""
    p = c.part(Product)
    return p.gradient(c.name, kernel=p.kernel[::-1, ::-1]) if p and p.windows and c.of_input else None


@mistake("the numbers of a kernel whose {side} are flipped on the way back to dx", side=("rows", "columns"))
def kernel_flipped_in_dx(c: Case, side: str) -> Array | None:
    """Turned along one axis only."""
    p = c.part(Product)
    flipped = np.s_[::-1] if side == "rows" else np.s_[:, ::-1]
    return p.gradient(c.name, kernel=p.kernel[flipped]) if p and p.windows and c.of_input else None


def columns_with(p: Product, strides: tuple[int, int], pads: tuple[int, int, int, int]) -> Array | None:
    """Columns of a wrong geometry, as many as the right ones; zeros come behind where the photo ends too early."""
    assert p.windows is not None
    _, height, width, _ = p.x.shape
    (kh, kw), (_, out_h, out_w) = p.windows.size, p.places
    reach = (out_h - 1) * strides[0] + kh, (out_w - 1) * strides[1] + kw
    bottom, right = max(0, reach[0] - height - pads[0]), max(0, reach[1] - width - pads[2])
    return im2col(p.x, (kh, kw), strides, (pads[0], bottom, pads[2], right))[:, :out_h, :out_w]


STRIDES = {
    "forgotten: windows side by side": lambda strides: (1, 1),
    "of rows and columns exchanged": lambda s: s[::-1],
}


@mistake("the numbers of the kernel's gradient with the stride {how}", how=tuple(STRIDES))
def stride_forgotten(c: Case, how: str) -> Array | None:
    """x[i : i + kh] for x[i * stride : i * stride + kh]."""
    p = c.part(Product)
    if p is None or not p.windows or c.name != p.kernel_name or STRIDES[how](p.windows.strides) == p.windows.strides:
        return None
    return p.gradient(c.name, columns=columns_with(p, STRIDES[how](p.windows.strides), p.windows.pads))


PADDING = {
    "without the padding: its windows begin at the photo's first cell": lambda pads: (0, 0, 0, 0),
    "with the padding on the other side": lambda pads: (pads[1], pads[0], pads[3], pads[2]),
    "with the padding of rows and columns exchanged": lambda pads: (*pads[2:], *pads[:2]),
}


@mistake("the numbers of the kernel's gradient {how}", how=tuple(PADDING))
def padding_in_kernel(c: Case, how: str) -> Array | None:
    """Windows of x for windows of the padded x."""
    p = c.part(Product)
    if p is None or not p.windows or c.name != p.kernel_name or PADDING[how](p.windows.pads) == p.windows.pads:
        return None
    return p.gradient(c.name, columns=columns_with(p, p.windows.strides, PADDING[how](p.windows.pads)))


# ---- windows, of Conv2D and pooling


def windowed(c: Case) -> Any:
    """The counterpart with windows, for dx."""
    found = c.part(Product) or c.part(Pooling)
    return found if found is not None and found.windows is not None and c.of_input else None


ORDERS = {"windows": "each window replaces what another has left there", "cells": "each cell of the window replaces it"}


@mistake(lambda c, order: f"the numbers of `=` for `+=` where windows overlap: {ORDERS[order]}", order=tuple(ORDERS))
def assigned_for_added(c: Case, order: str) -> Array | None:
    """A cell gets the sum over all windows that hold it, and not what the last one says."""
    w = windowed(c)
    return w.gradient(c.name, scatter=lambda columns: w.windows.assigned(columns, order)) if w else None


CROPS = {
    "is cut off on the other side": lambda top, bottom: bottom,
    "is cut off at the end alone": lambda top, bottom: 0,
    "is cut off at the beginning alone": lambda top, bottom: top + bottom,
    "is cut off by one cell too many at the beginning": lambda top, bottom: top + 1,
}


@mistake("the numbers of a dx whose padding {how}", how=tuple(CROPS))
def cropped_wrong(c: Case, how: str) -> Array | None:
    """dx is computed with its border and then cut out: begin at top and left."""
    w = windowed(c)
    if w is None:
        return None
    top, bottom, left, right = w.windows.pads
    first = CROPS[how](top, bottom), CROPS[how](left, right)
    if first == (top, left) or first[0] > top + bottom or first[1] > left + right:
        return None
    return w.gradient(c.name, scatter=lambda columns: _cut(w.windows.with_border(columns), first, w.x.shape))


def _cut(padded, first, shape):
    return padded[:, first[0] : first[0] + shape[1], first[1] : first[1] + shape[2]]


@mistake("the numbers of the way back with the stride {how}", how=tuple(STRIDES))
def stride_forgotten_in_dx(c: Case, how: str) -> Array | None:
    """dx[i : i + kh] for dx[i * stride : i * stride + kh]."""
    w = windowed(c)
    if w is None or STRIDES[how](w.windows.strides) == w.windows.strides:
        return None
    return w.gradient(c.name, scatter=w.windows._replace(strides=STRIDES[how](w.windows.strides)).scatter)


@mistake("the numbers of the mean where windows overlap, in place of the sum")
def averaged_for_added(c: Case) -> Array | None:
    """Each cell divided by the number of windows that hold it."""
    w = windowed(c)
    if w is None:
        return None
    return w.gradient(
        c.name, scatter=lambda d: w.windows.scatter(d) / np.maximum(w.windows.scatter(np.ones_like(d)), 1)
    )


# ---- pooling


SHARES = {  # of maximum or mean: what happens to dy, and so each cell's share of it
    "max": {
        "ties given to all winners: each of several equal cells gets the whole dy": lambda p: p.ties,
        "ties shared: each of several equal cells gets its part of dy": lambda p: (
            p.ties / p.ties.sum(axis=(3, 4), keepdims=True)
        ),
        "ties given to the last winner, where it is the first that wins": lambda p: chosen(p.ties, -1),
        "dy given to every cell of a window, winner or not": lambda p: p.inside,
        "dy divided among all cells of a window, as for the mean": lambda p: p.shares["mean"],
        "dy given to the first cell of each window, winner or not": lambda p: chosen(p.inside, 0),
    },
    "mean": {
        "dy given whole to every cell of a window, not divided by their number": lambda p: p.inside,
        "dy given to the largest cell alone, as for the maximum": lambda p: p.shares["max"],
        "dy divided by all cells of a window, also by those in the padding": lambda p: (
            p.inside / np.prod(p.windows.size)
        ),
    },
}
OF_EITHER = tuple((kind, how) for kind in SHARES for how in SHARES[kind])


@mistake(lambda c, what: f"the numbers of {what[1]}", what=OF_EITHER)
def pooling_shares(c: Case, what: tuple[str, str]) -> Array | None:
    """dy goes to the first of the winners alone; of a mean, in equal parts to the cells inside the photo."""
    p = c.part(Pooling)
    return p.gradient(c.name, share=SHARES[p.kind][what[1]](p)) if p and p.kind == what[0] else None
