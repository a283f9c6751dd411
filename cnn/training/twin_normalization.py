"""The twin of BatchNormalization, with the ReLU and the 2x2 MaxPooling2D behind it, if they are there, in one step.

The formulas are those of cnn/layers/normalization.py. The moments are made from each photo's own (Chan et al., 1979):

    mean = mean over n of mean_n,    M * variance = sum over n of (squares_n + M_n * (mean_n - mean)^2)

where squares_n is the sum of (x - mean_n)^2 over the M_n numbers of photo n. So x need not be read twice from far away:
a photo is still in a near cache when its mean is known.
"""

from typing import Any, NamedTuple

import numpy as np

from cnn.checks import known
from cnn.layers import BatchNormalization
from kernels import normalization

Array = np.ndarray
Grads = dict[str, Array]


class NormalizationCache(NamedTuple):
    """What backward needs of the forward pass; the moments also for the moving averages."""

    x: Array  # (N, H, W, C)
    winners: Array  # (N, P, Q, C), uint8
    deviation: Array
    mean: Array
    variance: Array
    numbers: int  # so many in a channel of the whole batch; 0 where the moments are constants


class TwinNormalization:
    """y = max_pool_2x2(relu(normalization(x))), or without one of them or both.

    folded: where a pass does not come back, the convolution before has done it all; see twin.NormalizedConv.
    """

    draws = False

    def __init__(self, layer: BatchNormalization, has_relu: bool, pool: Any, is_folded: bool, buffer: Any):
        self.layer, self.name, self.buffer, self.is_folded = layer, layer.name, buffer, is_folded
        self.floor, self.side = np.float32(0 if has_relu else -np.inf), 2 if pool else 1
        *photo, channels = known(layer.input_shape)
        self.maps = (*photo, channels) if len(photo) == 2 else (-1, 1, channels)  # (H, W, C)
        self.out = (photo[0] // 2, photo[1] // 2, channels) if pool else (*photo, channels)

    @property
    def params(self) -> dict[str, Array]:
        """The layer's own."""
        return self.layer.params

    def vector(self, key: str, otherwise: float) -> Array:
        """A parameter as the kernels want it, or this number for each channel."""
        return np.asarray(self.params.get(key, np.full(self.maps[-1], otherwise)), np.float32)

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, NormalizationCache | None]:
        """(y, cache), valid until the next pass."""
        if self.is_folded and not training and self.buffer.share is None:
            return x, None
        maps = np.ascontiguousarray(x, np.float32).reshape(len(x), *self.maps)
        mean, variance, numbers = self.vector("moving_mean", 0), self.vector("moving_variance", 1), 0
        if training and self.layer.trainable:
            mean, variance, numbers = self.moments(maps)
        deviation = np.sqrt(variance + np.float32(self.layer.epsilon))
        scale, shift = self.vector("gamma", 1) / deviation, self.vector("beta", 0)
        cells = tuple(size // self.side for size in maps.shape[1:3])
        y = self.buffer("y", len(x), *cells, self.maps[-1])
        winners = self.buffer("winners", *y.shape, dtype=np.uint8)
        normalization.normalize(y, winners, maps, mean, scale, shift, self.floor, self.side)
        return y.reshape(len(x), *self.out), NormalizationCache(maps, winners, deviation, mean, variance, numbers)

    def moments(self, maps: Array) -> tuple[Array, Array, int]:
        """(mean, variance, numbers) of the whole batch (N, H, W, C)."""
        photos, height, width, channels = maps.shape
        means, squares = (self.buffer(name, photos, channels) for name in ("means", "squares"))
        normalization.moments(means, squares, maps)
        means, squares = self.of_all(means), self.of_all(squares)
        mean, numbers = means.mean(axis=0), len(means) * height * width
        apart = (means - mean) ** 2
        return mean, squares.sum(axis=0) / np.float32(numbers) + apart.mean(axis=0), numbers

    def of_all(self, rows: Array) -> Array:
        """The rows of all photos of the batch, though this pass may have a share of them only."""
        return rows if self.buffer.share is None else self.buffer.share.of_all(rows)

    def backward(self, dy: Array, cache: NormalizationCache, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads), valid until the next pass."""
        dy = np.ascontiguousarray(dy, np.float32).reshape(cache.winners.shape)
        dgammas, dbetas = (self.buffer(name, len(dy), self.maps[-1]) for name in ("dgammas", "dbetas"))
        normalization.gradient_sums(dgammas, dbetas, dy, cache.winners, cache.x, cache.mean, self.side)
        dgamma, dbeta = self.of_all(dgammas).sum(axis=0), self.of_all(dbetas).sum(axis=0)
        sums = {"gamma": dgamma / cache.deviation, "beta": dbeta}
        grads = {key: sums[key] for key in self.layer.learnable}
        return self.input_gradient(dy, cache, **sums) if need_dx else None, grads

    def input_gradient(self, dy: Array, cache: NormalizationCache, gamma: Array, beta: Array) -> Array:
        """dx = gamma / s * (dy - dbeta / M - normal * dgamma / M) from the sums that are dgamma and dbeta."""
        of_dy = self.vector("gamma", 1) / cache.deviation
        part = np.float32(1 / cache.numbers if cache.numbers else 0)
        of_x, constant = -of_dy * gamma * part / cache.deviation, -of_dy * beta * part
        dx = self.buffer("dx", *cache.x.shape)
        normalization.input_gradient(dx, dy, cache.winners, cache.x, cache.mean, of_dy, of_x, constant, self.side)
        return dx.reshape(len(dx), *known(self.layer.input_shape))

    def averages(self, cache: NormalizationCache) -> dict[str, Array]:
        """The layer's own."""
        return self.layer.averages(cache)  # type: ignore[arg-type]  # it has the moments too
