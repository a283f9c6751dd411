"""Our own layer that computes what a learner's layer computes: from its parts follow the numbers of many a mistake.

It is recognised by its results and not by its name: the y that the learner's forward makes of x must come out. Sizes,
strides and padding are taken from the layer where it tells them, else all small ones are tried.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cnn.layers import ACTIVATIONS, ActivationFunction
from kernels.geometry import Pads, Pair, window_geometry
from kernels.im2col import col2im, im2col

Array = np.ndarray
INPUT = "input"  # the name under which dL/dx is checked, beside "kernel" and so on
EQUAL = 1e-9  # how far the learner's y may be from ours
SMALL = range(1, 6)  # sizes and strides that are tried


class Windows(NamedTuple):
    """Where the windows of a convolution or pooling lie; columns (N, OH, OW, kh, kw, C), as im2col lays them out."""

    x_shape: tuple[int, int, int, int]
    size: Pair
    strides: Pair
    pads: Pads  # top, bottom, left, right

    def gather(self, x: Array) -> Array:
        """The windows of x, with zeros outside."""
        return im2col(x, self.size, self.strides, self.pads)

    def scatter(self, columns: Array) -> Array:
        """Each cell of dx: the sum over its places in columns."""
        return col2im(columns, self.x_shape, self.strides, self.pads)

    def with_border(self, columns: Array) -> Array:
        """The same before the padding is cut off."""
        photos, height, width, channels = self.x_shape
        top, bottom, left, right = self.pads
        padded = (photos, height + top + bottom, width + left + right, channels)
        return col2im(columns, padded, self.strides, (0, 0, 0, 0))

    def assigned(self, columns: Array, order: str) -> Array:
        """dx with `=` for `+=`: the last window ("windows"), or the last cell of the windows ("cells"), stays."""
        photos, height, width, channels = self.x_shape
        top, bottom, left, right = self.pads
        (kh, kw), (sh, sw), (out_h, out_w) = self.size, self.strides, columns.shape[1:3]
        dx = np.zeros((photos, height + top + bottom, width + left + right, channels))
        if order == "windows":
            for i, j in np.ndindex(out_h, out_w):
                dx[:, i * sh : i * sh + kh, j * sw : j * sw + kw] = columns[:, i, j]
        else:
            for u, v in np.ndindex(kh, kw):
                dx[:, u : u + out_h * sh : sh, v : v + out_w * sw : sw][:, :out_h, :out_w] = columns[:, :, :, u, v]
        return dx[:, top : top + height, left : left + width]


class Product:
    """z = columns @ kernel + bias, y = activation(z): Dense, whose columns are x's rows, and Conv2D's windows."""

    activation: ActivationFunction
    y: Array
    cache: Any

    def __init__(self, x: Array, params: Mapping[str, Array], dy: Array, windows: Windows | None):
        self.x, self.dy, self.windows = x, dy, windows
        self.kernel_name, self.bias_name = parts(params)
        self.kernel = params[self.kernel_name]
        self.bias = params[self.bias_name] if self.bias_name else np.zeros(self.kernel.shape[-1])
        rows = x if windows is None else windows.gather(x)
        self.places = rows.shape[: rows.ndim - self.kernel.ndim + 1]  # (N, OH, OW) or (N,)
        self.columns = rows.reshape(-1, self.kernel[..., 0].size)  # (M, K)
        self.z = (self.columns @ self.kernel.reshape(-1, len(self.bias)) + self.bias).reshape(*self.places, -1)

    def ends_in(self, activation: ActivationFunction) -> "Product":
        """A copy with this activation behind it."""
        product = copy.copy(self)
        product.activation = activation
        product.y, product.cache = activation.forward(self.z)
        return product

    @functools.cached_property
    def dz(self) -> Array:
        """What the activation makes of dy."""
        return self.activation.backward(self.dy, self.cache)[0]

    def gradient(
        self,
        tensor: str,
        dy: Array | None = None,
        dz: Array | None = None,
        columns: Array | None = None,
        kernel: Array | None = None,
        scatter: Callable[[Array], Array] | None = None,
    ) -> Array | None:
        """The gradient of a tensor, or what becomes of it with another dy, dz, columns, kernel, or way back to dx."""
        if dz is None:
            dz = self.dz if dy is None else self.activation.backward(dy, self.cache)[0]
        dz = dz.reshape(-1, dz.shape[-1])  # (M, F)
        if tensor == self.kernel_name:
            columns = self.columns if columns is None else columns
            return (columns.reshape(len(dz), -1).T @ dz).reshape(self.kernel.shape)
        if tensor == self.bias_name:
            return dz.sum(axis=0)
        if tensor != INPUT:
            return None
        dcolumns = dz @ (self.kernel if kernel is None else kernel).reshape(-1, dz.shape[1]).T
        if self.windows is None:
            return dcolumns.reshape(self.x.shape)
        return (scatter or self.windows.scatter)(dcolumns.reshape(*self.places, *self.kernel.shape[:3]))


class Pooling:
    """y = sum over a window of share * x: of the maximum a share is 1 for the winner, of the mean 1 / their number."""

    def __init__(self, x: Array, dy: Array, windows: Windows, kind: str):
        self.x, self.dy, self.windows, self.kind = x, dy, windows, kind
        self.inside = windows.gather(np.ones_like(x)) > 0
        cells = np.where(self.inside, windows.gather(x), -np.inf)
        self.ties = (cells == cells.max(axis=(3, 4), keepdims=True)) & self.inside
        self.shares = {"max": chosen(self.ties, 0), "mean": self.inside / self.inside.sum(axis=(3, 4), keepdims=True)}
        self.y = (self.shares[kind] * windows.gather(x)).sum(axis=(3, 4))

    def gradient(
        self,
        tensor: str,
        dy: Array | None = None,
        share: Array | None = None,
        scatter: Callable[[Array], Array] | None = None,
    ) -> Array | None:
        """dx, or what becomes of it with another dy, other shares, or another way back."""
        if tensor != INPUT:
            return None
        dy, share = self.dy if dy is None else dy, self.shares[self.kind] if share is None else share
        return (scatter or self.windows.scatter)(dy[:, :, :, None, None] * share)

    @property
    def corners(self) -> Array:
        """The cells of x that share the largest number of a window with others: there the maximum has no slope."""
        several = self.ties & (self.ties.sum(axis=(3, 4), keepdims=True) > 1)
        return self.windows.scatter(several.astype(float)) > 0


def chosen(ties: Array, which: int) -> Array:
    """Of the cells of equal value in each window the first (0) or the last (-1) in row-major order alone."""
    flat = ties.reshape(*ties.shape[:3], -1, ties.shape[-1])
    number = np.cumsum(flat, axis=3)
    wanted = 1 if which == 0 else number[:, :, :, -1:]
    return (flat & (number == wanted)).reshape(ties.shape)


class Alone:
    """An activation as a layer of its own."""

    def __init__(self, x: Array, dy: Array, activation: ActivationFunction):
        self.x, self.dy, self.activation = x, dy, activation
        self.z = x
        self.y, self.cache = activation.forward(x)

    def gradient(self, tensor: str, dy: Array | None = None, dz: Array | None = None) -> Array | None:
        """dx, or what becomes of it with another dy; dz is dx."""
        if tensor != INPUT or dz is not None:
            return dz if tensor == INPUT else None
        return self.activation.backward(self.dy if dy is None else dy, self.cache)[0]


class Normalized:
    """normal = (x - mean) / s of each channel over the whole batch, y = gamma * normal + beta."""

    def __init__(self, x: Array, dy: Array, names: tuple[str | None, str | None], gamma: Array, beta: Array, s: Array):
        self.x, self.dy, self.gamma, self.s = x, dy, gamma, s
        (self.gamma_name, self.beta_name), self.axes = names, tuple(range(x.ndim - 1))
        self.normal = (x - x.mean(axis=self.axes)) / s
        self.y = gamma * self.normal + beta

    def gradient(
        self,
        tensor: str,
        dy: Array | None = None,
        gamma: Any = None,
        mean: bool = True,
        deviation: bool = True,
        count: int = 0,
    ) -> Array | None:
        """A gradient, or dx with another dy, gamma or count, or with the mean or the deviation taken for constants."""
        dy = self.dy if dy is None else dy
        sums = (dy * self.normal).sum(axis=self.axes), dy.sum(axis=self.axes)
        if tensor in (self.gamma_name, self.beta_name):
            return sums[0] if tensor == self.gamma_name else sums[1]
        if tensor != INPUT:
            return None
        count = count or self.x.size // self.x.shape[-1]
        rest = dy - mean * sums[1] / count - deviation * self.normal * sums[0] / count
        return (self.gamma if gamma is None else gamma) / self.s * rest


Counterpart = Product | Pooling | Alone | Normalized


def parts(params: Mapping[str, Array]) -> tuple[str, str | None]:
    """The names of kernel and bias, whatever they are called: by their shapes."""
    kernel = max(params, key=lambda name: params[name].ndim)
    return kernel, next((name for name in params if name != kernel), None)


def recognise(layer: Any, x: Array, params: Mapping[str, Array], y: Array, dy: Array) -> Counterpart | None:
    """Our parts whose y is the learner's, or None where none of them makes it."""
    try:
        every = list(params.values())
        found: Iterator[Counterpart]
        if not every:
            found = itertools.chain(alone(layer, x, y, dy), pooling(layer, x, y, dy))
        elif max(p.ndim for p in every) == 1:
            found = normalized(x, params, y, dy)
        else:
            found = products(layer, x, params, y, dy)
        return next((one for one in found if equal(one.y, y)), None)
    except (ValueError, TypeError, IndexError):  # shapes of a kind of its own
        return None


def equal(ours: Array, theirs: Array) -> bool:
    """Whether two results are the same but for rounding."""
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max(initial=0) <= EQUAL * np.abs(ours).max())


def activations(layer: Any) -> list[ActivationFunction]:
    """The layer's own activation, where it tells one that we know, then all others: linear and relu first."""
    own = getattr(layer, "activation", None)
    own = [own] if isinstance(own, ActivationFunction) else []
    return own + [make() for make in ACTIVATIONS.values()]


def alone(layer: Any, x: Array, y: Array, dy: Array) -> Iterator[Alone]:
    """Each activation."""
    if x.shape == y.shape:
        yield from (Alone(x, dy, activation) for activation in activations(layer)[1:])


def products(layer: Any, x: Array, params: Mapping[str, Array], y: Array, dy: Array) -> Iterator[Product]:
    """Dense, or Conv2D with each geometry that fits, with each activation."""
    kernel, bias = parts(params)
    shape = params[kernel].shape
    if len(params) > 1 + bool(bias) or (bias and params[bias].shape != shape[-1:]):
        return
    places: list[Windows | None] = [None]
    if len(shape) == 4 and x.ndim == 4:
        places = list(geometries(layer, x.shape, y.shape, [shape[:2]]))
    elif len(shape) != 2:
        return
    for windows in places:
        product = Product(x, params, dy, windows)
        yield from (product.ends_in(activation) for activation in activations(layer))


def pooling(layer: Any, x: Array, y: Array, dy: Array) -> Iterator[Pooling]:
    """Pooling by the maximum and by the mean, with each size and geometry that fits."""
    if x.ndim != 4 or y.ndim != 4:
        return
    told = pair(getattr(layer, "pool_size", None))
    sizes = [told] if told else list(itertools.product(SMALL, SMALL))
    for windows, kind in itertools.product(geometries(layer, x.shape, y.shape, sizes), ("max", "mean")):
        yield Pooling(x, dy, windows, kind)


def geometries(layer: Any, x_shape: tuple, y_shape: tuple, sizes: list[Pair]) -> Iterator[Windows]:
    """All windows of these sizes that make an output of y's height and width of x."""
    told = pair(getattr(layer, "strides", None)) or pair(getattr(layer, "stride", None))
    steps = [told] if told else [(1, 1), *itertools.product(SMALL, SMALL)]
    for size, strides, padding in itertools.product(sizes, steps, ("valid", "same")):
        axes = [window_geometry(x_shape[1 + k], size[k], strides[k], padding) for k in (0, 1)]
        if (axes[0][0], axes[1][0]) == y_shape[1:3]:
            yield Windows(x_shape, size, strides, (*axes[0][1:], *axes[1][1:]))
    for size, strides in itertools.product(sizes if len(sizes) == 1 else [], steps):  # padding of another kind
        rows, columns = (paddings(x_shape[1 + k], size[k], strides[k], y_shape[1 + k]) for k in (0, 1))
        for (top, bottom), (left, right) in itertools.product(rows, columns):
            yield Windows(x_shape, size, strides, (top, bottom, left, right))


def paddings(size: int, kernel: int, stride: int, out: int) -> list[Pair]:
    """Each (before, after) with which so many windows fit along an axis, less than a kernel on either side."""
    least = (out - 1) * stride + kernel - size
    sums = range(max(0, least), least + stride)
    return [(before, total - before) for total in sums for before in range(kernel) if 0 <= total - before < kernel]


def pair(value: Any) -> Pair | None:
    """3 and (3, 2) as two numbers; None for what is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    two = isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(size, int) for size in value)
    return (value[0], value[1]) if two else None


def normalized(x: Array, params: Mapping[str, Array], y: Array, dy: Array) -> Iterator[Normalized]:
    """Batch normalization: which of the parameters is gamma shows in y; epsilon follows from it."""
    channels, axes = x.shape[-1:], tuple(range(x.ndim - 1))
    names: list[str | None] = [name for name in params if params[name].shape == channels]
    for gamma, beta in itertools.permutations([*names, None], 2):
        g = params[gamma] if gamma else np.ones(channels)
        b = params[beta] if beta else np.zeros(channels)
        slope = ((y - b) * (x - x.mean(axis=axes))).mean(axis=axes) / x.var(axis=axes)  # gamma / s
        if (slope != 0).all():
            yield Normalized(x, dy, (gamma, beta), g, b, np.asarray(g / slope))
