"""The loss: how wrong the predictions of a batch are, as one number, and its gradient.

In this order they are read best:
1. crossentropy.py - SparseCategoricalCrossentropy, the article's: why softmax and the logarithm belong together
2. one_hot.py - CategoricalCrossentropy, BinaryCrossentropy: the same for labels that are probabilities
3. regression.py - MeanSquaredError and the other losses of numbers
What they share, and what a loss of your own needs, is in base.py (Loss). Keras' functions stand beside the classes.
"""

from types import FunctionType
from typing import Any

from cnn.configurable import find, serialize, table
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
from cnn.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
TABLE: dict[str, type[Loss]] = {
    **table(SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy),
    **table(MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError),
    **table(Huber, LogCosh),
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
}
FUNCTIONS: dict[FunctionType, type[Loss]] = {globals()[name]: kind for name, kind in TABLE.items()}

__all__ = [
    "EPSILON",
    "FUNCTIONS",
    "MAE",
    "MAPE",
    "MSE",
    "MSLE",
    "NEGLIGIBLE",
    "TABLE",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "cross_entropy_of_logits",
    "cross_entropy_of_probabilities",
    "deserialize",
    "get",
    "huber",
    "log_cosh",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "serialize",
    "sparse_categorical_crossentropy",
]


def get(identifier: Any) -> Loss:
    """A loss from its name, its class, its function or itself, as in Keras. Raises ValueError for anything else.

    A list of one is that one: a network here has one output.
    """
    if isinstance(identifier, list | tuple) and len(identifier) == 1:
        identifier = identifier[0]
    if isinstance(identifier, FunctionType):
        identifier = FUNCTIONS.get(identifier, identifier)
    expected = (
        "loss: expected 'sparse_categorical_crossentropy' or another name in cnn.losses, or an object such as "
        "SparseCategoricalCrossentropy() (a plain function has no gradient: write a losses.Loss)"
    )
    loss = find(TABLE, Loss, identifier, expected)
    if loss.reduction == "none":
        raise ValueError(f"{loss}: reduction: expected 'sum_over_batch_size' or 'sum' of what a network trains by")
    return loss


deserialize = get
