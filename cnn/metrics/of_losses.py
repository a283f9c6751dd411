"""Losses as metrics: their mean, without the weights and penalties of what is trained by."""

import math
from typing import Any

from cnn import losses
from cnn.metrics.base import Array, MeanOf
from cnn.results import Number


class MeanLoss(MeanOf):
    """What they share: the loss whose mean is taken, and its arguments, which stand behind the name as in Keras.

    >>> class Squares(MeanLoss):
    ...     '''The mean of squared errors.'''
    ...     identifier, kind = "squares", losses.MeanSquaredError
    >>> Squares()([[0.0], [1.0]], [[2.0], [1.0]])
    2.0
    """

    kind: type[losses.Loss]

    def __init__(self, name: str | None = None, dtype: None = None, **arguments: Any):
        self.loss = self.kind(**arguments)
        super().__init__(name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {**self.loss.get_config(), "name": self.name}

    def formula(self, y_true: Array, y_pred: Array) -> Array:  # type: ignore[override]  # a method, of its own loss
        """The loss of each photo or place."""
        return self.loss.per_photo(y_true, y_pred)


class SparseCategoricalCrossentropy(MeanLoss):
    """The mean of -log p of the class y_true (N,).

    >>> round(SparseCategoricalCrossentropy()([1, 0], [[0.25, 0.75], [0.5, 0.5]]), 4)
    0.4904
    """

    identifier = name = "sparse_categorical_crossentropy"
    kind = losses.SparseCategoricalCrossentropy


class CategoricalCrossentropy(MeanLoss):
    """The mean of -sum y log p for rows y_true (N, C).

    >>> round(CategoricalCrossentropy()([[0, 1], [1, 0]], [[0.25, 0.75], [0.5, 0.5]]), 4)
    0.4904
    """

    identifier = name = "categorical_crossentropy"
    kind = losses.CategoricalCrossentropy


class BinaryCrossentropy(MeanLoss):
    """The mean of -y log p - (1 - y) log(1 - p).

    >>> round(BinaryCrossentropy()([1, 0], [[0.75], [0.5]]), 4)
    0.4904
    """

    identifier = name = "binary_crossentropy"
    kind = losses.BinaryCrossentropy


class MeanSquaredError(MeanLoss):
    """The mean of (p - y)^2.

    >>> MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]])
    2.0
    """

    identifier = name = "mean_squared_error"
    kind = losses.MeanSquaredError


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (p - y)^2, in the unit of y.

    >>> RootMeanSquaredError()([[0.0, 0.0]], [[1.0, 7.0]])
    5.0
    """

    identifier = name = "root_mean_squared_error"

    def result(self) -> float:
        return Number(math.sqrt(super().result()))


class MeanAbsoluteError(MeanLoss):
    """The mean of |p - y|.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[2.0, 1.0]])
    1.0
    """

    identifier = name = "mean_absolute_error"
    kind = losses.MeanAbsoluteError


class MeanAbsolutePercentageError(MeanLoss):
    """The mean of 100 |p - y| / |y|.

    >>> MeanAbsolutePercentageError()([[2.0, 4.0]], [[3.0, 4.0]])
    25.0
    """

    identifier = name = "mean_absolute_percentage_error"
    kind = losses.MeanAbsolutePercentageError


class MeanSquaredLogarithmicError(MeanLoss):
    """The mean of (log(1 + p) - log(1 + y))^2.

    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[math.e - 1]]), 4)
    1.0
    """

    identifier = name = "mean_squared_logarithmic_error"
    kind = losses.MeanSquaredLogarithmicError


class LogCoshError(MeanLoss):
    """The mean of log(cosh(p - y)).

    >>> round(LogCoshError()([[0.0]], [[1000.0]]), 3)
    999.307
    """

    identifier = name = "logcosh"
    kind = losses.LogCosh
