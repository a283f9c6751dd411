"""Losses of numbers: how far the predictions are from what they should be."""

from typing import Any

import numpy as np

from cnn.losses.base import Array, Loss


class MeanSquaredError(Loss):
    """L = mean (p - y)^2        over the C numbers of each prediction p (N, ..., C), places and photos

    Backward: the derivative of (p - y)^2 by p is 2 (p - y), so dp = 2 (p - y) / C, over places and photos.

    >>> MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]])
    2.0
    """

    identifier = name = "mean_squared_error"
    least_axes = 1

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        error = y_pred - y_true.astype(y_pred.dtype, copy=False)
        return (error**2).mean(axis=-1), 2 * error / error.shape[-1]


class MeanAbsoluteError(Loss):
    """L = mean |p - y|        over the C numbers of each prediction p (N, ..., C), places and photos

    Backward: |p - y| is p - y or y - p, so dp = sign(p - y) / C, over places and photos; 0 where both are equal.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]])
    1.0
    """

    identifier = name = "mean_absolute_error"
    least_axes = 1

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        error = y_pred - y_true.astype(y_pred.dtype, copy=False)
        return np.abs(error).mean(axis=-1), np.sign(error) / error.shape[-1]


def mean_squared_error(y_true: Any, y_pred: Any) -> Array:
    """The mean of (p - y)^2 along the last axis, as Keras' function of this name. Raises ValueError."""
    return MeanSquaredError().per_photo(y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Array:
    """The mean of |p - y| along the last axis, as Keras' function of this name. Raises ValueError."""
    return MeanAbsoluteError().per_photo(y_true, y_pred)
