"""How good predictions are: counts of right ones, the confusion matrix, and how sure a share is."""

import math
from collections.abc import Sequence

import numpy as np

from cnn import checks

Array = np.ndarray


def check_names(names: str | Sequence[str] | None) -> list[str]:
    """The metrics that compile accepts: 'accuracy' or 'acc', or none. Raises ValueError for others."""
    names = [names] if isinstance(names, str) else list(names or [])
    return [checks.choice("compile", "metrics", name, ("accuracy", "acc")) for name in names]


def count_correct(y_true: Array, y_pred: Array) -> int:
    """How many photos have their right class as the largest of y_pred (N, C); of equal ones the first counts.

    >>> count_correct(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    2
    """
    return int(np.count_nonzero(y_pred.argmax(axis=1) == y_true))


def confusion_matrix(y_true: Array, predicted: Array, classes: int) -> Array:
    """counts[t, p]: how many photos of class t were taken for class p, int64 (classes, classes).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), classes=2)
    array([[1, 0],
           [1, 1]])
    """
    counts = np.bincount(np.asarray(y_true) * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def wilson_interval(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval that holds the true share with 95% confidence (Wilson, 1927), for `correct` of `count`.

    >>> low, high = wilson_interval(9162, 10000)
    >>> print(f"{low:.2%} to {high:.2%}")
    91.06% to 92.15%
    """
    share = correct / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
