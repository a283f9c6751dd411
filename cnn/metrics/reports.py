"""What reports count: which classes are taken for which, and how sure a share is."""

import math

import numpy as np

Array = np.ndarray


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


def mcnemar(first: int, second: int) -> float:
    """How probable it is that two equal classifiers differ as much on the same photos (McNemar, 1947; the exact form).

    first, second: the photos that one alone, and the other alone, is right about. For equal ones each of these n photos
    is a toss of a coin, so  p = 2 * sum over k up to the smaller number of (n choose k) / 2^n,  at most 1.

    >>> round(mcnemar(5, 15), 4), mcnemar(7, 7)
    (0.0414, 1.0)
    """
    n, ways, total = first + second, 1, 0
    for k in range(min(first, second) + 1):
        total += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * total / 2**n)
