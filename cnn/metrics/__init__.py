"""How good predictions are: metrics as compile takes them, and what reports count.

A metric is a formula for each photo, of which the mean is taken, or a count of right and wrong ones. Its numbers add
up: however a batch is cut, and wherever a run is stopped and taken up again, the result is the same. What metrics
share, and what one of your own needs, is in base.py; Keras' metrics are in means.py, of_losses.py and hits.py.
"""

import copy
from types import FunctionType
from typing import Any

from cnn.configurable import find, serialize, table
from cnn.metrics.base import Mean, MeanMetricWrapper, MeanOf, MeanOfFunction, Metric, Sum
from cnn.metrics.hits import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from cnn.metrics.means import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from cnn.metrics.of_losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
)
from cnn.metrics.reports import confusion_matrix, mcnemar, wilson_interval

__all__ = [
    "AUC",
    "TABLE",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanOf",
    "MeanOfFunction",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "confusion_matrix",
    "deserialize",
    "get",
    "get_all",
    "mcnemar",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
    "wilson_interval",
]

TABLE: dict[str, type[Metric]] = {
    **table(
        Accuracy,
        SparseCategoricalAccuracy,
        CategoricalAccuracy,
        BinaryAccuracy,
        SparseTopKCategoricalAccuracy,
        TopKCategoricalAccuracy,
    ),
    **table(SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy),
    **table(MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError),
    **table(MeanSquaredLogarithmicError, LogCoshError),
    **table(Precision, Recall, TruePositives, FalsePositives, TrueNegatives, FalseNegatives, AUC, F1Score, FBetaScore),
    **table(Mean, Sum),
    "acc": Accuracy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
}


def get(identifier: Any) -> Metric:
    """A metric from its name, which the logs will call it by, its class, itself, or a function. Raises ValueError."""
    if isinstance(identifier, FunctionType):
        return MeanOfFunction(identifier)
    expected = f"compile: metrics: expected {', '.join(map(repr, TABLE))}, a Metric or a function of y_true and y_pred"
    metric = find(TABLE, Metric, identifier, expected)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


deserialize = get


def get_all(identifiers: Any, weighted: Any = None) -> list[Metric]:
    """Those that compile is given, one alone or a list, each with a name of its own. Raises ValueError.

    weighted: compile's weighted_metrics, which come after the others and take the weights of the photos.
    """
    found: list[Metric] = []
    chosen = _listed("metrics", identifiers)
    for k, metric in enumerate(map(get, [*chosen, *_listed("weighted_metrics", weighted)])):
        metric = copy.deepcopy(metric)  # two models may share the object given
        if getattr(metric, "average", "") is None:
            expected = "expected 'micro', 'macro' or 'weighted', since the logs hold one number of each"
            raise ValueError(f"compile: metrics: {metric.name}: average: {expected}, got None")
        taken = {"loss", *(before.name for before in found)}
        metric.weighted |= k >= len(chosen)
        other = [f"weighted_{metric.name}"] if metric.weighted else []
        names = [metric.name, *other, *(f"{metric.name}_{k}" for k in range(1, len(taken) + 1))]
        metric.name = next(name for name in names if name not in taken)
        found.append(metric)
    return found


def _listed(argument: str, identifiers: Any) -> list:
    """One or several as a list; else ValueError."""
    if identifiers is None or isinstance(identifiers, str | Metric) or callable(identifiers):
        return [] if identifiers is None else [identifiers]
    if not isinstance(identifiers, list | tuple):
        raise ValueError(f"compile: {argument}: expected a list of metrics, got {identifiers!r}")
    return list(identifiers)
