"""A convolutional network in plain NumPy, such as a good tutorial ends with: the same formulas, no compiled kernel.

Windows come from sliding_window_view, are copied into columns and multiplied; the way back adds
slices. It shows what the kernels of this project buy, and is the yardstick of the
others' losses: nothing in it is clever enough to be wrong.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def im2col(x):
    """x (N, H, W, C) -> the 3x3 windows around each cell, as rows (N*H*W, 9*C)."""
    x_padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(x_padded, (3, 3), axis=(1, 2))  # (N, H, W, C, 3, 3)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[3])


def col2im(columns, x_shape):
    """The transpose of im2col: each window is added back to where it came from."""
    photos, height, width, channels = x_shape
    columns = columns.reshape(photos, height, width, 3, 3, channels)
    dx_padded = np.zeros((photos, height + 2, width + 2, channels), columns.dtype)
    for u in range(3):
        for v in range(3):
            dx_padded[:, u : u + height, v : v + width] += columns[:, :, :, u, v]
    return dx_padded[:, 1:-1, 1:-1]


class Conv:
    """A 3x3 convolution, padded to the same size."""

    def __init__(self, kernel, bias):
        self.params = [kernel, bias]

    def forward(self, x):
        kernel, bias = self.params
        self.x_shape, self.columns = x.shape, im2col(x)
        z = self.columns @ kernel.reshape(-1, kernel.shape[3]) + bias
        return z.reshape(*x.shape[:3], -1)

    def backward(self, dz, need_dx=True):
        kernel, _ = self.params
        dz = dz.reshape(-1, kernel.shape[3])
        self.grads = [(self.columns.T @ dz).reshape(kernel.shape), dz.sum(axis=0)]
        return col2im(dz @ kernel.reshape(-1, kernel.shape[3]).T, self.x_shape) if need_dx else None


class ReLU:
    params = ()

    def forward(self, x):
        self.open = x > 0
        return x * self.open

    def backward(self, dy, need_dx=True):
        return dy * self.open


class MaxPool:
    """The largest of each 2x2 window; of equal ones the first."""

    params = ()

    def forward(self, x):
        photos, height, width, channels = x.shape
        windows = x[:, : height // 2 * 2, : width // 2 * 2].reshape(photos, height // 2, 2, width // 2, 2, channels)
        windows = windows.transpose(0, 1, 3, 5, 2, 4).reshape(photos, height // 2, width // 2, channels, 4)
        self.x_shape, self.winners = x.shape, windows.argmax(axis=-1)[..., None]
        return np.take_along_axis(windows, self.winners, axis=-1)[..., 0]

    def backward(self, dy, need_dx=True):
        photos, out_h, out_w, channels = dy.shape
        windows = np.zeros((*dy.shape, 4), dy.dtype)
        np.put_along_axis(windows, self.winners, dy[..., None], axis=-1)
        windows = windows.reshape(photos, out_h, out_w, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        dx = np.zeros(self.x_shape, dy.dtype)
        dx[:, : 2 * out_h, : 2 * out_w] = windows.reshape(photos, 2 * out_h, 2 * out_w, channels)
        return dx


class Flatten:
    params = ()

    def forward(self, x):
        self.x_shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy, need_dx=True):
        return dy.reshape(self.x_shape)


class Dense:
    def __init__(self, kernel, bias):
        self.params = [kernel, bias]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dz, need_dx=True):
        self.grads = [self.x.T @ dz, dz.sum(axis=0)]
        return dz @ self.params[0].T


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Network:
    """The article's network with Adam (Keras' formula and settings), from its eight arrays."""

    def __init__(self, weights):
        w = [array.copy() for array in weights]
        self.layers = [
            Conv(*w[0:2]),
            ReLU(),
            MaxPool(),
            Conv(*w[2:4]),
            ReLU(),
            MaxPool(),
            Flatten(),
            Dense(*w[4:6]),
            ReLU(),
            Dense(*w[6:8]),
        ]
        self.moments = [(np.zeros_like(array), np.zeros_like(array)) for array in w]
        self.steps = 0

    def predict(self, x):
        """Probabilities (N, 10)."""
        for layer in self.layers:
            x = layer.forward(x)
        return softmax(x)

    def train(self, x, y):
        """One step of Adam on a batch; its loss before that step."""
        p = self.predict(x)
        photo = np.arange(len(x))
        dy = p.copy()
        dy[photo, y] -= 1
        dy /= np.float32(len(x))
        for layer in reversed(self.layers):
            dy = layer.backward(dy, need_dx=layer is not self.layers[0])
        self.adam_step()
        return float(-np.log(p[photo, y]).mean())

    def adam_step(self):
        self.steps += 1
        alpha = np.float32(0.001 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps))
        pairs = [pair for layer in self.layers if layer.params for pair in zip(layer.params, layer.grads, strict=True)]
        for (w, g), (m, v) in zip(pairs, self.moments, strict=True):
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            w -= alpha * m / (np.sqrt(v) + np.float32(1e-7))
