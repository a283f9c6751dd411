"""Metrics that are the mean of a formula: accuracies of all kinds.

First the formulas, from y_true and y_pred, both with a first axis of photos, to a number for each photo or each of its
places; then the metrics, by Keras' names.
"""

from typing import Any

import numpy as np

from cnn import checks
from cnn.metrics.base import Array, MeanOf


def accuracy(y_true: Array, y_pred: Array) -> Array:
    """Whether the prediction is right: as Keras' "accuracy", binary, sparse or categorical by the shapes.

    Predictions (N,) are class numbers themselves.
    """
    if y_pred.ndim == 1:
        return y_pred == y_true.reshape(y_pred.shape)
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    sparse = y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1
    return (sparse_categorical_accuracy if sparse else categorical_accuracy)(y_true, y_pred)


def sparse_categorical_accuracy(y_true: Array, y_pred: Array) -> Array:
    """Whether the class y_true is the largest of y_pred (N, C); of equal ones the first counts."""
    return y_pred.argmax(axis=-1) == _class_numbers(y_true, y_pred)


def categorical_accuracy(y_true: Array, y_pred: Array) -> Array:
    """The same for one-hot rows y_true (N, C)."""
    return y_pred.argmax(axis=-1) == y_true.argmax(axis=-1)


def binary_accuracy(y_true: Array, y_pred: Array, threshold: float = 0.5) -> Array:
    """Whether y_pred is above the threshold where y_true is 1, and not where it is 0."""
    return (y_pred > threshold) == y_true.reshape(y_pred.shape)


def sparse_top_k_categorical_accuracy(y_true: Array, y_pred: Array, k: int = 5) -> Array:
    """Whether fewer than k classes have a larger y_pred than the class y_true."""
    own = np.take_along_axis(y_pred, _class_numbers(y_true, y_pred)[..., None], axis=-1)
    return (y_pred > own).sum(axis=-1) < k


def top_k_categorical_accuracy(y_true: Array, y_pred: Array, k: int = 5) -> Array:
    """The same for one-hot rows y_true (N, C)."""
    return sparse_top_k_categorical_accuracy(y_true.argmax(axis=-1), y_pred, k)


def _class_numbers(y_true, y_pred):
    return (y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true).astype(np.int64, copy=False)


# ---- the metrics


class Accuracy(MeanOf):
    """What the name "accuracy" means: BinaryAccuracy where there is one output, SparseCategoricalAccuracy where the
    labels are class numbers, else CategoricalAccuracy.

    >>> Accuracy()([1, 0], [[0.25, 0.75], [0.5, 0.5]]), Accuracy()([1, 0], [[0.75], [0.75]])
    (1.0, 0.5)
    """

    identifier = name = "accuracy"
    ranks = True
    formula = staticmethod(accuracy)


class SparseCategoricalAccuracy(MeanOf):
    """The share of photos whose class y_true (N,) has the largest of the predictions (N, C).

    >>> SparseCategoricalAccuracy()([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    0.75
    """

    identifier = name = "sparse_categorical_accuracy"
    ranks = True
    formula = staticmethod(sparse_categorical_accuracy)


class CategoricalAccuracy(MeanOf):
    """The share of photos whose largest label of y_true (N, C) and largest prediction (N, C) are the same class.

    >>> CategoricalAccuracy()([[1, 0], [0, 1]], [[0.9, 0.1], [0.6, 0.4]])
    0.5
    """

    identifier = name = "categorical_accuracy"
    ranks = True
    formula = staticmethod(categorical_accuracy)


class BinaryAccuracy(MeanOf):
    """The share of answers y_true, 0 or 1, on whose side of the threshold the prediction is.

    >>> BinaryAccuracy()([1, 1, 0, 0], [[0.98], [1], [0], [0.6]])
    0.75
    """

    identifier = name = "binary_accuracy"
    formula = staticmethod(binary_accuracy)
    arguments = {"threshold": checks.number}

    def __init__(self, name: str | None = None, dtype: None = None, threshold: float = 0.5, **unsupported: Any):
        super().__init__(name, dtype=dtype, **unsupported)
        self.set_arguments(locals())


class TopKCategoricalAccuracy(MeanOf):
    """The share of photos whose largest label of y_true (N, C) is among the k largest predictions (N, C).

    >>> TopKCategoricalAccuracy(k=2)([[1, 0, 0], [0, 0, 1]], [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]])
    0.5
    """

    identifier = name = "top_k_categorical_accuracy"
    ranks = True
    formula = staticmethod(top_k_categorical_accuracy)
    arguments = {"k": checks.whole}

    def __init__(self, k: int = 5, name: str | None = None, **unsupported: Any):
        super().__init__(name, **unsupported)
        self.set_arguments(locals())


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The same for class numbers y_true (N,).

    >>> SparseTopKCategoricalAccuracy(k=2)([0, 2], [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]])
    0.5
    """

    identifier = name = "sparse_top_k_categorical_accuracy"
    formula = staticmethod(sparse_top_k_categorical_accuracy)
