"""The loss: how wrong the predictions of a batch are, as one number, and its gradient.

In this order they are read best:
1. crossentropy.py - SparseCategoricalCrossentropy, the article's: why softmax and the logarithm belong together
2. one_hot.py - CategoricalCrossentropy, BinaryCrossentropy: the same for labels that are probabilities
3. regression.py - MeanSquaredError, MeanAbsoluteError
What they share, and what a loss of your own needs, is in base.py (Loss). Keras' functions stand beside the classes.
"""

from types import FunctionType
from typing import Any

from cnn.configurable import find, table
from cnn.losses.base import EPSILON, Loss
from cnn.losses.crossentropy import (
    NEGLIGIBLE,
    SparseCategoricalCrossentropy,
    cross_entropy_of_logits,
    cross_entropy_of_probabilities,
    sparse_categorical_crossentropy,
)
from cnn.losses.one_hot import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
)
from cnn.losses.regression import MeanAbsoluteError, MeanSquaredError, mean_absolute_error, mean_squared_error

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
TABLE: dict[str, type[Loss]] = {
    **table(
        SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy, MeanSquaredError, MeanAbsoluteError
    ),
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
}
FUNCTIONS: dict[FunctionType, type[Loss]] = {globals()[name]: kind for name, kind in TABLE.items()}

__all__ = [
    "EPSILON",
    "FUNCTIONS",
    "MAE",
    "MSE",
    "NEGLIGIBLE",
    "TABLE",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "cross_entropy_of_logits",
    "cross_entropy_of_probabilities",
    "get",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "sparse_categorical_crossentropy",
]


def get(identifier: Any) -> Loss:
    """A loss from its name, its class, its function or itself, as in Keras. Raises ValueError for anything else."""
    if isinstance(identifier, FunctionType):
        identifier = FUNCTIONS.get(identifier, identifier)
    expected = (
        "loss: expected 'sparse_categorical_crossentropy' or another name in cnn.losses, or an object such as "
        "SparseCategoricalCrossentropy() (a plain function has no gradient: write a losses.Loss)"
    )
    return find(TABLE, Loss, identifier, expected)
