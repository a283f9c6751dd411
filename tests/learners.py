"""Layers and functions as somebody writes them who learns: right ones, and the parts in which the wrong ones differ."""

from functools import partial

import numpy as np

from cnn import losses
from cnn.layers import Layer


class Conv(Layer):
    """A convolution in loops over windows, with padding, stride and ReLU; what is commonly wrong is a method."""

    def __init__(self, filters=4, kernel_size=(3, 2), stride=(1, 1), pads=(1, 1, 0, 1), relu=False, **others):
        super().__init__(**others)
        self.filters, self.kernel_size, self.stride, self.pads, self.relu = filters, kernel_size, stride, pads, relu

    def param_shapes(self, input_shape):
        return {"kernel": (*self.kernel_size, input_shape[-1], self.filters), "bias": (self.filters,)}

    def kernel_initializer(self, shape, rng, dtype):
        return rng.uniform(-1, 1, shape).astype(dtype)

    def bias_initializer(self, shape, rng, dtype):
        return rng.uniform(0.1, 0.5, shape).astype(dtype)

    def infer_shape(self, input_shape):
        (h, w, _), (top, bottom, left, right) = input_shape, self.pads
        return (
            (h + top + bottom - self.kernel_size[0]) // self.stride[0] + 1,
            (w + left + right - self.kernel_size[1]) // self.stride[1] + 1,
            self.filters,
        )

    def windows(self, x):
        """(i, j, slices) of every window."""
        for i, j in np.ndindex(self.infer_shape(x.shape[1:])[:2]):
            yield i, j, self.window(i * self.stride[0], j * self.stride[1])

    def window(self, r, s):
        return np.s_[:, r : r + self.kernel_size[0], s : s + self.kernel_size[1]]

    def pad(self, x):
        top, bottom, left, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def forward(self, x, training=False, rng=None):
        padded, z = self.pad(x), np.zeros((len(x), *self.infer_shape(x.shape[1:])), x.dtype)
        for i, j, window in self.windows(x):
            z[:, i, j] = np.tensordot(padded[window], self.params["kernel"], 3) + self.params["bias"]
        return np.maximum(z, 0) if self.relu else z, (x, z)

    def backward(self, dy, cache, need_dx=True):
        x, z = cache
        dz = self.through_relu(dy, x, z)
        padded, kernel = self.pad(x), self.kernel_on_the_way_back(self.params["kernel"])
        dpadded, dkernel = np.zeros(padded.shape), np.zeros(kernel.shape)
        for i, j, window in self.windows(x):
            dkernel += np.tensordot(padded[window], dz[:, i, j], (0, 0))
            self.add(dpadded, window, np.tensordot(dz[:, i, j], kernel, (1, 3)))
        return self.crop(dpadded, x.shape), self.grads(dkernel, dz)

    def through_relu(self, dy, x, z):
        return dy * (z > 0) if self.relu else dy

    def kernel_on_the_way_back(self, kernel):
        return kernel

    def add(self, dpadded, window, part):
        dpadded[window] += part

    def crop(self, dpadded, shape):
        return dpadded[:, self.pads[0] : self.pads[0] + shape[1], self.pads[2] : self.pads[2] + shape[2]]

    def grads(self, dkernel, dz):
        return {"kernel": dkernel, "bias": dz.sum(axis=(0, 1, 2))}


def wrong(base, **methods):
    """A subclass with other methods, or other answers: dx(right, ...), grads."""
    return type(f"Wrong{base.__name__}", (base,), methods)


def answering(base, change):
    """A layer whose backward gives change(dx, grads, dy, cache) in place of (dx, grads)."""

    def backward(self, dy, cache, need_dx=True):
        return change(*base.backward(self, dy, cache), dy, cache)

    return wrong(base, backward=backward)


class Function(Layer):
    """A layer without parameters out of two functions."""

    def __init__(self, run, back, shape=None, **others):
        super().__init__(**others)
        self.run, self.back, self.shape = run, back, shape

    def infer_shape(self, input_shape):
        return input_shape if self.shape is None else self.shape(input_shape)

    def forward(self, x, training=False, rng=None):
        y = self.run(x)
        return y, (x, y)

    def backward(self, dy, cache, need_dx=True):
        return self.back(dy, *cache), {}

    def but(self, back):
        """With another way back, which may use this one."""
        return Function(self.run, lambda dy, x, y: back(dy, x, y, self.back), self.shape)


class Affine(Layer):
    """Dense, with a sigmoid or ReLU behind it."""

    def __init__(self, units=5, activation="linear", **others):
        super().__init__(**others)
        self.units, self.kind = units, activation

    def param_shapes(self, input_shape):
        return {"W": (input_shape[-1], self.units), "b": (self.units,)}

    def W_initializer(self, shape, rng, dtype):
        return rng.uniform(-1, 1, shape).astype(dtype)

    b_initializer = W_initializer

    def infer_shape(self, input_shape):
        return (self.units,)

    def forward(self, x, training=False, rng=None):
        z = x @ self.params["W"] + self.params["b"]
        y = {"linear": z, "relu": np.maximum(z, 0), "sigmoid": 1 / (1 + np.exp(-z))}[self.kind]
        return y, (x, z, y)

    def slope(self, x, z, y):
        return {"linear": 1, "relu": z > 0, "sigmoid": y * (1 - y)}[self.kind]

    def backward(self, dy, cache, need_dx=True):
        x, z, y = cache
        dz = dy * self.slope(x, z, y)
        return dz @ self.params["W"].T, {"W": x.T @ dz, "b": dz.sum(axis=0)}


def windows_of(shape, size, stride):
    """(i, j, slices) of pooling's windows."""
    for i, j in np.ndindex((shape[1] - size) // stride + 1, (shape[2] - size) // stride + 1):
        yield i, j, np.s_[:, i * stride : i * stride + size, j * stride : j * stride + size]


def pool(x, size, stride, reduce=np.max):
    """Pooling of 'valid' windows."""
    y = np.zeros((len(x), (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1, x.shape[3]))
    for i, j, window in windows_of(x.shape, size, stride):
        y[:, i, j] = reduce(x[window], axis=(1, 2))
    return y


def pool_back(share, add=True, size=2, stride=2):
    """backward of pooling: share(window) tells how much of dy each cell gets."""

    def back(dy, x, y):
        dx = np.zeros(x.shape)
        for i, j, window in windows_of(x.shape, size, stride):
            part = dy[:, i, j][:, None, None] * share(x[window])
            dx[window] = dx[window] * add + part
        return dx

    return back


def pooling(share, add=True, size=2, stride=2, reduce=np.max):
    """A pooling layer of this share."""
    shape = lambda s: ((s[0] - size) // stride + 1, (s[1] - size) // stride + 1, s[2])
    return Function(partial(pool, size=size, stride=stride, reduce=reduce), pool_back(share, add, size, stride), shape)


def largest(cells):
    """1 for all cells as large as the largest."""
    return (cells == cells.max(axis=(1, 2), keepdims=True)).astype(float)


def first_of(mask, reverse=False):
    """Of the marked cells the first alone."""
    flat = mask.reshape(len(mask), -1, mask.shape[-1])
    flat = flat[:, ::-1] if reverse else flat
    result = flat * (np.cumsum(flat, axis=1) == 1)
    return (result[:, ::-1] if reverse else result).reshape(mask.shape)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Norm(Layer):
    """Batch normalization in training."""

    def param_shapes(self, input_shape):
        return {"gamma": input_shape[-1:], "beta": input_shape[-1:]}

    def gamma_initializer(self, shape, rng, dtype):
        return rng.uniform(0.5, 2, shape).astype(dtype)

    beta_initializer = gamma_initializer

    def forward(self, x, training=False, rng=None):
        axes = tuple(range(x.ndim - 1))
        s = np.sqrt(x.var(axis=axes) + 0.1)
        normal = (x - x.mean(axis=axes)) / s
        return self.params["gamma"] * normal + self.params["beta"], (x, normal, s, axes)

    def dnormal(self, dy):
        return dy * self.params["gamma"]

    def moments(self, dn, normal, axes):
        return dn.mean(axis=axes) + normal * (dn * normal).mean(axis=axes)

    def backward(self, dy, cache, need_dx=True):
        _, normal, s, axes = cache
        dn = self.dnormal(dy)
        dx = (dn - self.moments(dn, normal, axes)) / s
        return dx, {"gamma": (dy * normal).sum(axis=axes), "beta": dy.sum(axis=axes)}


class Quadratic(losses.Loss):
    """A loss of one's own, whose gradient is whatever `slope` says."""

    identifier = "quadratic"

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def formula(self, y_true, y_pred, from_logits=False):
        return ((y_pred - y_true) ** 2).mean(axis=-1), self.slope(y_pred, y_true) / y_pred.shape[-1]


def numbers(shape, seed=1):
    """Numbers that all differ, none near 0 and none near another: no kink is in reach of a step."""
    size = int(np.prod(shape))
    values = np.linspace(-1, 1, 2 * size + 1)[::2][:size] + 0.3 / size
    return np.random.default_rng(seed).permutation(values).reshape(shape)


def tied(shape):
    """Whole numbers with many ties, such as a photo's."""
    return np.random.default_rng(2).integers(0, 3, shape).astype(float)
