"""The catalogue of mistakes that layers of a kind make: windows, pooling, activations, norms, loss.

The numbers are computed by our own layer of the same y, taken apart (counterparts.py), with one part wrong.
"""

import itertools
from typing import Any

import numpy as np

from cnn.gradcheck.cases import Array, Case, catalogue
from cnn.gradcheck.counterparts import Alone, Normalized, Pooling, Product, chosen
from cnn.layers import Elementwise, Linear, Softmax
from cnn.layers.formulas import FORMULAS
from kernels.im2col import im2col

MISTAKES, mistake = catalogue()


# ---- activations, alone or in a layer of weights


def activated(c: Case) -> Any:
    """The counterpart with an activation that does something; it has z, dy and gradient(dz=...)."""
    found = c.part(Product) or c.part(Alone)
    return found if found is not None and not isinstance(found.activation, Linear) else None


@mistake("the numbers without the activation's derivative: the mask is forgotten, dz = dy")
def mask_forgotten(c: Case) -> Array | None:
    """dy is taken for dz."""
    a = activated(c)
    return a.gradient(c.name, dz=a.dy) if a else None


@mistake("the numbers with the activation's derivative at y, its output, for its input z")
def slope_at_output(c: Case) -> Array | None:
    """sigmoid'(y) for sigmoid'(z)."""
    a = activated(c)
    return a.gradient(c.name, dz=a.activation.backward(a.dy, a.activation.forward(a.y)[1])[0]) if a else None


@mistake("the numbers with the activation's derivative written for its output y, but taken at its input")
def input_for_output(c: Case) -> Array | None:
    """z * (1 - z) for y * (1 - y)."""
    a = activated(c)
    if not a or not isinstance(a.activation, Elementwise):
        return None
    return a.gradient(c.name, dz=a.dy * FORMULAS[a.activation.formula].slope(a.z, a.z, **a.activation.settings))


@mistake("the numbers with the activation's derivative at z without the bias")
def mask_without_bias(c: Case) -> Array | None:
    """The bias left out of the z that backward computes again."""
    p = c.part(Product)
    if p is None or p.bias_name is None or isinstance(p.activation, Linear):
        return None
    return p.gradient(c.name, dz=p.activation.backward(p.dy, p.activation.forward(p.z - p.bias)[1])[0])


@mistake("the numbers with the mask the wrong way round: what should pass is 0, and what should be 0 passes")
def mask_inverted(c: Case) -> Array | None:
    """z < 0 for z > 0."""
    a = activated(c)
    return a.gradient(c.name, dz=a.dy - a.activation.backward(a.dy, a.cache)[0]) if a else None


@mistake("the numbers with a mask of dy > 0, the gradient from above, for z > 0")
def mask_of_upstream(c: Case) -> Array | None:
    """The mask taken from the wrong array."""
    a = activated(c)
    return a.gradient(c.name, dz=a.dy * (a.dy > 0)) if a else None


@mistake(lambda c: f"the numbers with a mask of {_mask_of(c)}, for this layer's own z > 0")
def mask_of_another_layer(c: Case) -> Array | None:
    """The mask taken from what another layer put out."""
    name = _mask_of(c)
    return _masked_by(c, _arrays(c)[name]) if name else None


def _arrays(c):
    """What else has a sign: the layer's input, the outputs of the others."""
    return {"x > 0, the layer's input": c.x, **{f"the output of {name}": array for name, array in c.outputs.items()}}


def _masked_by(c, array):
    a = activated(c)
    return a.gradient(c.name, dz=a.dy * (array > 0)) if a and array is not None and array.shape == a.dy.shape else None


def _mask_of(c):
    """The array whose mask gives these numbers."""
    for name, array in _arrays(c).items():
        made = _masked_by(c, array)
        if made is not None and made.shape == c.got.shape and np.allclose(made, c.got, rtol=1e-6, atol=1e-12):
            return name
    return None


@mistake("the numbers with the sum over {axis} for the sum over each row", axis=("the photos", "everything"))
def softmax_sum(c: Case, axis: str) -> Array | None:
    """y (dy - sum dy y) with a sum over the wrong axis."""
    a = activated(c)
    if not a or not isinstance(a.activation, Softmax):
        return None
    total = (a.dy * a.y).sum(axis=0 if axis == "the photos" else None)
    return a.gradient(c.name, dz=a.y * (a.dy - total))


@mistake("the numbers without the factor y in front: dy - sum(dy * y)")
def softmax_without_factor(c: Case) -> Array | None:
    """y (dy - sum dy y) without its first factor."""
    a = activated(c)
    soft = a and isinstance(a.activation, Softmax)
    return a.gradient(c.name, dz=a.dy - (a.dy * a.y).sum(axis=-1, keepdims=True)) if soft else None


# ---- products: Dense and Conv2D


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


@mistake("the numbers of a transposed kernel on the way back: W for W^T")
def kernel_not_transposed(c: Case) -> Array | None:
    """dz @ W, which fits only where W is square; in a convolution rows and columns, or channels and filters."""
    p = c.part(Product)
    if p is None or not c.of_input:
        return None
    transposed = p.kernel.swapaxes(0, 1)
    if transposed.shape != p.kernel.shape and p.kernel.ndim == 4:
        transposed = p.kernel.swapaxes(2, 3)
    return p.gradient(c.name, kernel=transposed) if transposed.shape == p.kernel.shape else None


@mistake("the numbers of the {which} filter alone: `=` for `+=` over the filters", which=("first", "last"))
def one_filter_in_dx(c: Case, which: str) -> Array | None:
    """Each filter's part replaces that of the one before."""
    p = c.part(Product)
    if p is None or not c.of_input or p.kernel.shape[-1] < 2:
        return None
    kernel, f = np.zeros(p.kernel.shape), 0 if which == "first" else -1
    kernel[..., f] = p.kernel[..., f]
    return p.gradient(c.name, kernel=kernel)


def columns_with(p: Product, strides: tuple[int, int], pads: tuple[int, int, int, int]) -> Array | None:
    """Columns of a wrong geometry, as many as the right ones; zeros come behind where the photo ends too early."""
    assert p.windows is not None
    _, height, width, _ = p.x.shape
    (kh, kw), (_, out_h, out_w) = p.windows.size, p.places
    reach = (out_h - 1) * strides[0] + kh, (out_w - 1) * strides[1] + kw
    bottom, right = max(0, reach[0] - height - pads[0]), max(0, reach[1] - width - pads[2])
    return im2col(p.x, (kh, kw), strides, (pads[0], bottom, pads[2], right))[:, :out_h, :out_w]


@mistake("the numbers with the stride forgotten in the kernel's gradient: windows side by side")
def stride_forgotten(c: Case) -> Array | None:
    """x[i : i + kh] for x[i * stride : i * stride + kh]."""
    p = c.part(Product)
    if p is None or not p.windows or p.windows.strides == (1, 1) or c.name != p.kernel_name:
        return None
    return p.gradient(c.name, columns=columns_with(p, (1, 1), p.windows.pads))


PADDING = {
    "without the padding: its windows begin at the photo's first cell": lambda pads: (0, 0, 0, 0),
    "with the padding on the other side": lambda pads: (pads[1], pads[0], pads[3], pads[2]),
}


@mistake("the numbers of the kernel's gradient {how}", how=tuple(PADDING))
def padding_in_kernel(c: Case, how: str) -> Array | None:
    """Windows of x for windows of the padded x."""
    p = c.part(Product)
    if p is None or not p.windows or c.name != p.kernel_name or PADDING[how](p.windows.pads) == p.windows.pads:
        return None
    return p.gradient(c.name, columns=columns_with(p, p.windows.strides, PADDING[how](p.windows.pads)))


SOME_AXES = tuple(axes for count in (1, 2, 3) for axes in itertools.combinations(range(4), count))


@mistake("the numbers with dy summed over the wrong axes: over the axes {axes}", axes=SOME_AXES)
def bias_over_wrong_axes(c: Case, axes: tuple[int, ...]) -> Array | None:
    """The bias is added to each photo at each place, so it gets the sum over all of them."""
    p = c.part(Product)
    if p is None or c.name != p.bias_name or max(axes) >= p.dz.ndim or axes == (*range(p.dz.ndim - 1),):
        return None
    return p.dz.sum(axis=axes)


@mistake("the numbers of dy not summed: the bias of each photo and place for itself")
def bias_not_summed(c: Case) -> Array | None:
    """The sum left out."""
    p = c.part(Product)
    return p.dz.reshape(c.got.shape) if p and c.name == p.bias_name and p.dz.size == c.got.size else None


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


@mistake("the numbers with the stride forgotten on the way back: windows side by side")
def stride_forgotten_in_dx(c: Case) -> Array | None:
    """dx[i : i + kh] for dx[i * stride : i * stride + kh]."""
    w = windowed(c)
    if w is None or w.windows.strides == (1, 1):
        return None
    return w.gradient(c.name, scatter=w.windows._replace(strides=(1, 1)).scatter)


# ---- pooling


SHARES = {
    "ties given to all winners: each of several equal cells gets the whole dy": lambda p: p.ties,
    "ties shared: each of several equal cells gets its part of dy": lambda p: (
        p.ties / p.ties.sum(axis=(3, 4), keepdims=True)
    ),
    "ties given to the last winner, where forward names the first": lambda p: chosen(p.ties, -1),
    "dy given to every cell of a window, winner or not": lambda p: p.inside,
    "dy divided among all cells of a window, as for the mean": lambda p: p.shares["mean"],
    "dy given to the largest cell, as for the maximum": lambda p: p.shares["max"],
    "dy divided by all cells of a window, also by those in the padding": lambda p: p.inside / np.prod(p.windows.size),
    "dy given to the first cell of each window, winner or not": lambda p: chosen(p.inside, 0),
}


@mistake("the numbers of {how}", how=tuple(SHARES))
def pooling_shares(c: Case, how: str) -> Array | None:
    """dy goes to the first of the winners alone; of a mean, in equal parts to the cells inside the photo."""
    p = c.part(Pooling)
    return p.gradient(c.name, share=SHARES[how](p)) if p else None


# ---- normalization


CONSTANTS = {
    "mean and standard deviation": {"mean": False, "deviation": False},
    "the mean": {"mean": False},
    "the standard deviation": {"deviation": False},
}


@mistake("the numbers with {what} of the batch taken for constants, though x stands in them", what=tuple(CONSTANTS))
def moments_as_constants(c: Case, what: str) -> Array | None:
    """Mean and deviation depend on each x: two terms of dx come from them."""
    n = c.part(Normalized)
    return n.gradient(c.name, **CONSTANTS[what]) if n and c.of_input else None


@mistake("the numbers without gamma")
def gamma_forgotten(c: Case) -> Array | None:
    """normal for gamma * normal."""
    n = c.part(Normalized)
    return n.gradient(c.name, gamma=1) if n and c.of_input else None


@mistake("the numbers with {what} for the normalized x", what=("x", "y", "x - mean"))
def gamma_of_another_array(c: Case, what: str) -> Array | None:
    """dgamma = sum of dy * normal."""
    n = c.part(Normalized)
    if n is None or c.name != n.gamma_name:
        return None
    return (n.dy * {"x": n.x, "y": n.y, "x - mean": n.normal * n.s}[what]).sum(axis=n.axes)


# ---- the loss: softmax or sigmoid with its cross-entropy


def probabilities_and_labels(c: Case) -> tuple[Array, Array, float] | None:
    """(p, y, k) where the right gradient is k * (p - y) for p = softmax or sigmoid of the tensor and labels y."""
    z = c.value
    if z is None or z.ndim not in (1, 2) or z.shape != c.right.shape or not np.isfinite(c.right).all():
        return None
    for p in (Softmax().forward(z)[0], FORMULAS["sigmoid"].function(z)):
        for k in (1.0, 1 / len(z), 1 / z.size):
            labels = p - c.right / k
            if np.abs(labels - labels.round()).max() < 1e-6 and set(np.unique(labels.round())) <= {0.0, 1.0}:
                return p, labels.round(), k
    return None


LABELS = {
    "p for p - y": lambda z, p, y: p,
    "-y for p - y": lambda z, p, y: -y,
    "y - p for p - y": lambda z, p, y: y - p,
    "p + y for p - y": lambda z, p, y: p + y,
    "z - y for p - y: softmax or sigmoid is forgotten": lambda z, p, y: z - y,
    "p - 1 for p - y: 1 is subtracted from every class": lambda z, p, y: p - 1,
    "p - y at the right class, and 0 for the others": lambda z, p, y: (p - y) * y,
    "p - y times the softmax's or sigmoid's own slope p (1 - p)": lambda z, p, y: (p - y) * p * (1 - p),
    "the derivative by p, -y / p, for that by z": lambda z, p, y: -y / p,
    "p - y with a softmax over the photos, not over the classes": lambda z, p, y: np.exp(z) / np.exp(z).sum(axis=0) - y,
    "p - y with exp(z), which is not divided by its sum": lambda z, p, y: np.exp(z) - y,
}


@mistake(lambda c, what: f"the numbers of {what}{_scale(c)}", what=tuple(LABELS))
def p_minus_y(c: Case, what: str) -> Array | None:
    """The gradient of the cross-entropy is p - y, divided by the number of photos where the loss is their mean."""
    found = probabilities_and_labels(c)
    return found[2] * LABELS[what](c.value, *found[:2]) if found else None


def _scale(c):
    found = probabilities_and_labels(c)
    return "" if found is None or found[2] == 1 else f", divided by {round(1 / found[2])} as the mean is"
