"""Normalization: each channel with mean 0 and standard deviation 1, so that no layer must follow the drift of another.

Ioffe and Szegedy, 2015.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, constraints, initializers, regularizers
from cnn.layers.base import AnyShape, Array, Shape
from cnn.layers.whole_batch import Task, WholeBatch


class BatchNormalizationCache(NamedTuple):
    """What backward needs of the forward pass, and the moments for the moving averages. All but the first (C,)."""

    normal: Array  # of x's shape
    deviation: Array  # sqrt(variance + epsilon)
    mean: Array
    variance: Array
    numbers: int  # so many in a channel of the whole batch; 0 outside training, where the moments are constants


class BatchNormalization(WholeBatch):
    """normal = (x - mean) / sqrt(variance + epsilon),  y = gamma * normal + beta        for each channel, the last axis

    In training mean and variance are those of the channel over the whole batch, M numbers, in however many shards it is
    cut (variance = the mean of (x - mean)^2). Each step moves their moving averages:
        moving = momentum * moving + (1 - momentum) * the batch's
    Outside training, and where `trainable` is False, these stand for mean and variance.

    Backward, of one channel: let s = sqrt(variance + epsilon), x and normal its M numbers. mean and s depend on each:
        ∂mean/∂x_m = 1/M,   ∂s/∂x_m = (x_m - mean) / (M s) = normal_m / M,   (the mean's part in s is 0)
        ∂normal_k/∂x_m = ([k = m] - 1/M - normal_k * normal_m / M) / s
    With dgamma = sum_k dy_k * normal_k and dbeta = sum_k dy_k, by the chain rule
        dx_m = sum_k dy_k * gamma * ∂normal_k/∂x_m = gamma / s * (dy_m - dbeta / M - normal_m * dgamma / M)
    Outside training they do not depend on x, and  dx = gamma / s * dy.

    >>> layer, x = BatchNormalization(), np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> layer(x).round(1)  # the moving averages start at mean 0 and variance 1
    array([[ 1., 10.],
           [ 3., 30.]])
    >>> y, cache = layer.forward(x, training=True)
    >>> y.round(2), cache.mean, cache.variance
    (array([[-1., -1.],
           [ 1.,  1.]]), array([ 2., 20.]), array([  1., 100.]))
    """

    not_learned, squares = ("moving_mean", "moving_variance"), ("moving_variance",)

    def forward_of_part(self, x: Array, training: bool = False) -> Task:
        mean, variance, numbers = self.params["moving_mean"], self.params["moving_variance"], 0
        of_batch = training and self.trainable
        if of_batch:
            numbers, total = yield x.size // x.shape[-1], _sums(x)
            mean = total / numbers
        normal = x - mean
        if of_batch:
            (squares,) = yield (_sums(normal, normal),)
            variance = squares / numbers
        deviation = np.sqrt(variance + self.epsilon)
        normal /= deviation
        y = normal * self.params.get("gamma", 1)
        y += self.params.get("beta", 0)
        return y, BatchNormalizationCache(normal, deviation, mean, variance, numbers)

    def backward_of_part(self, dy: Array, cache: BatchNormalizationCache) -> Task:
        sums = {"gamma": _sums(dy, cache.normal), "beta": _sums(dy)}
        rest = dy
        if cache.numbers:
            dgamma, dbeta = yield tuple(sums.values())
            rest = cache.normal * (-dgamma / cache.numbers)  # dy less what mean and deviation undo of it
            rest += dy
            rest -= dbeta / cache.numbers
        dx = rest * (self.params.get("gamma", 1) / cache.deviation)
        return dx, {key: sums[key] for key in self.learnable}

    def averages(self, cache: BatchNormalizationCache) -> dict[str, Array]:
        if not cache.numbers:
            return {}
        moments = {"moving_mean": cache.mean, "moving_variance": cache.variance}
        return {key: self.momentum * self.params[key] + (1 - self.momentum) * now for key, now in moments.items()}

    # ---- what it is made from

    axis: int
    momentum: float
    epsilon: float
    center: bool
    scale: bool
    beta_initializer: initializers.Initializer
    gamma_initializer: initializers.Initializer
    moving_mean_initializer: initializers.Initializer
    moving_variance_initializer: initializers.Initializer
    beta_regularizer: regularizers.Regularizer | None
    gamma_regularizer: regularizers.Regularizer | None
    beta_constraint: constraints.Constraint | None
    gamma_constraint: constraints.Constraint | None
    least_axes = 2
    arguments = {
        "axis": partial(checks.whole, low=-1, high=8),
        "momentum": partial(checks.number, low=0, high=1),
        "epsilon": partial(checks.number, low=0, high=1e6),
        "center": checks.boolean,
        "scale": checks.boolean,
        "beta_initializer": initializers.argument,
        "gamma_initializer": initializers.argument,
        "moving_mean_initializer": initializers.argument,
        "moving_variance_initializer": initializers.argument,
        "beta_regularizer": regularizers.argument,
        "gamma_regularizer": regularizers.argument,
        "beta_constraint": constraints.argument,
        "gamma_constraint": constraints.argument,
        **WholeBatch.arguments,
    }
    unless = {
        **WholeBatch.unless,
        **dict.fromkeys(("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint")),
    }
    at_default = {**WholeBatch.at_default, "synchronized": False, "renorm": False}

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: initializers.Identifier = "zeros",
        gamma_initializer: initializers.Identifier = "ones",
        moving_mean_initializer: initializers.Identifier = "zeros",
        moving_variance_initializer: initializers.Identifier = "ones",
        beta_regularizer: regularizers.Identifier = None,
        gamma_regularizer: regularizers.Identifier = None,
        beta_constraint: constraints.Identifier = None,
        gamma_constraint: constraints.Identifier = None,
        *,
        input_shape: AnyShape | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, input_shape, **unsupported)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        if self.axis not in (-1, len(input_shape)):
            raise ValueError(f"{self}: axis: expected -1 or {len(input_shape)}, the channels, got {self.axis}")
        return input_shape

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        used = [key for key, wanted in (("gamma", self.scale), ("beta", self.center)) if wanted]
        return dict.fromkeys([*used, *self.not_learned], input_shape[-1:])


def _sums(*factors: Array) -> Array:
    """The sum of x, or of the products of x and y, in each channel (C,): by photos, since short sums round less."""
    x, *y = (a.reshape(len(a), -1, a.shape[-1]) for a in factors)
    per_photo = np.einsum("nmc,nmc->nc", x, *y) if y else np.einsum("nmc->nc", x)
    return per_photo.sum(axis=0)
