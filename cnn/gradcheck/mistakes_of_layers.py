"""The catalogue of mistakes that layers of a kind make: activations, products, normalization, and the loss.

The numbers are computed by our own layer of the same y, taken apart (counterparts.py), with one part wrong.
"""

import itertools
from typing import Any

import numpy as np

from cnn.gradcheck.cases import Array, Case, catalogue
from cnn.gradcheck.counterparts import Alone, Normalized, Product
from cnn.layers import ACTIVATIONS, Elementwise, Linear, Softmax
from cnn.layers.formulas import FORMULAS

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


@mistake("the numbers with {what} for the activation's derivative", what=("its input z", "its output y"))
def value_for_slope(c: Case, what: str) -> Array | None:
    """dy * x for dy * (x > 0)."""
    a = activated(c)
    return a.gradient(c.name, dz=a.dy * (a.z if what == "its input z" else a.y)) if a else None


@mistake("the numbers with the activation's derivative taken twice")
def slope_twice(c: Case) -> Array | None:
    """Once in the layer, and once more."""
    a = activated(c)
    return (
        a.gradient(c.name, dz=a.activation.backward(a.activation.backward(a.dy, a.cache)[0], a.cache)[0]) if a else None
    )


@mistake("the numbers with the derivative of {name}, another activation", name=("relu", "sigmoid", "tanh", "softmax"))
def slope_of_another_activation(c: Case, name: str) -> Array | None:
    """relu's mask behind a leaky relu, sigmoid's slope behind a tanh."""
    a = activated(c)
    if not a:
        return None
    other = ACTIVATIONS[name]()
    return a.gradient(c.name, dz=other.backward(a.dy, other.forward(a.z)[1])[0])


SUMS = {
    "the sum over the photos, not over each row": lambda a: (a.dy * a.y).sum(axis=0),
    "the sum over everything, not over each row": lambda a: (a.dy * a.y).sum(),
    "the mean of dy * y for its sum": lambda a: (a.dy * a.y).mean(axis=-1, keepdims=True),
    "the sum of dy for that of dy * y": lambda a: a.dy.sum(axis=-1, keepdims=True),
    "the sum of y for that of dy * y": lambda a: a.y.sum(axis=-1, keepdims=True),
}


@mistake("the numbers of y * (dy - sum(dy * y)) with {what}", what=tuple(SUMS))
def softmax_sum(c: Case, what: str) -> Array | None:
    """Another sum in the softmax's derivative."""
    a = activated(c)
    return a.gradient(c.name, dz=a.y * (a.dy - SUMS[what](a))) if a and isinstance(a.activation, Softmax) else None


@mistake("the numbers without the factor y in front: dy - sum(dy * y)")
def softmax_without_factor(c: Case) -> Array | None:
    """y (dy - sum dy y) without its first factor."""
    a = activated(c)
    soft = a and isinstance(a.activation, Softmax)
    return a.gradient(c.name, dz=a.dy - (a.dy * a.y).sum(axis=-1, keepdims=True)) if soft else None


# ---- products: Dense and Conv2D


@mistake("the numbers of a transposed kernel on the way back: its axes {axes} exchanged", axes=((0, 1), (2, 3)))
def kernel_not_transposed(c: Case, axes: tuple[int, int]) -> Array | None:
    """dz @ W for dz @ W^T, which fits only a square W; in a convolution rows and columns, channels and filters."""
    p = c.part(Product)
    if p is None or not c.of_input or max(axes) >= p.kernel.ndim:
        return None
    transposed = p.kernel.swapaxes(*axes)
    return p.gradient(c.name, kernel=transposed) if transposed.shape == p.kernel.shape else None


@mistake("the numbers of a product of sums, where a sum of products is meant")
def product_of_sums(c: Case) -> Array | None:
    """x and dz are summed over the batch first, and then multiplied."""
    p = c.part(Product)
    if p is None or c.name != p.kernel_name:
        return None
    dz = p.dz.reshape(-1, p.dz.shape[-1])
    return np.outer(p.columns.sum(axis=0), dz.sum(axis=0)).reshape(p.kernel.shape)


@mistake("the numbers of the {which} filter alone: `=` for `+=` over the filters", which=("first", "last"))
def one_filter_in_dx(c: Case, which: str) -> Array | None:
    """Each filter's part replaces that of the one before."""
    p = c.part(Product)
    if p is None or not c.of_input or p.kernel.shape[-1] < 2:
        return None
    kernel, f = np.zeros(p.kernel.shape), 0 if which == "first" else -1
    kernel[..., f] = p.kernel[..., f]
    return p.gradient(c.name, kernel=kernel)


SOME_AXES = tuple(axes for count in (1, 2, 3) for axes in itertools.combinations(range(4), count))


@mistake("the numbers with {what} summed over the wrong axes, {axes}", axes=SOME_AXES, what=("dz", "dy"))
def bias_over_wrong_axes(c: Case, axes: tuple[int, ...], what: str) -> Array | None:
    """The bias is added to each photo at each place, so it gets the sum over all of them; of dz, behind the mask."""
    p = c.part(Product)
    if p is None or c.name != p.bias_name or max(axes) >= p.dz.ndim or axes == (*range(p.dz.ndim - 1),):
        return None
    if what == "dy" and isinstance(p.activation, Linear):
        return None  # then it is dz
    return (p.dz if what == "dz" else p.dy).sum(axis=axes)


@mistake("the numbers of dy not summed: the bias of each photo and place for itself")
def bias_not_summed(c: Case) -> Array | None:
    """The sum left out."""
    p = c.part(Product)
    return p.dz.reshape(c.got.shape) if p and c.name == p.bias_name and p.dz.size == c.got.size else None


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


COUNTS = {"1, so that sums stand where means should": lambda n: 1, "the photos alone": lambda n: len(n.x)}


@mistake("the numbers with the sums over the batch divided by {by}", by=tuple(COUNTS))
def moments_of_another_count(c: Case, by: str) -> Array | None:
    """1/M of the mean and of the deviation: M counts the numbers of a channel, photos times places."""
    n = c.part(Normalized)
    return n.gradient(c.name, count=COUNTS[by](n)) if n and c.of_input else None


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
