"""Cross-entropies whose labels are probabilities themselves: one for each class, or one for each yes-or-no question.

A label may be soft: that is what label_smoothing, mixtures of photos and the outputs of a teacher are.
"""

from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.losses.base import EPSILON, Array, Loss
from cnn.losses.crossentropy import NEGLIGIBLE

SHARE = partial(checks.number, low=0, high=1)  # from 0 to 1


class Smoothed(Loss):
    """What the two share: labels from 0 to 1, and label_smoothing, the share a of each that is spread over all answers.

    >>> BinaryCrossentropy(label_smoothing=0.25).smooth(np.array([[0.0], [1.0]])).ravel()
    array([0.125, 0.875])
    """

    from_logits: bool
    label_smoothing: float
    arguments = {"from_logits": checks.boolean, "label_smoothing": SHARE, **Loss.arguments}
    low, high = 0, 1

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None, **unsupported: Any
    ):
        super().__init__(name=name, **unsupported)
        self.set_arguments(locals())

    def answers(self, y_true: Array) -> int:
        """Over how many answers a label is spread."""
        raise NotImplementedError

    def smooth(self, y_true: Array) -> Array:
        """t = (1 - a) * y + a / answers."""
        a = self.label_smoothing
        return y_true * (1 - a) + a / self.answers(y_true) if a else y_true


class CategoricalCrossentropy(Smoothed):
    """L = -1/N * sum_n sum_k t[n, k] log p[n, k]        p (N, C): probabilities; t (N, C): those it should have

    t is y, one-hot rows such as utils.to_categorical makes, or with label_smoothing a: t = (1 - a) * y + a / C.
    With from_logits=True the network ends in logits z, and p = softmax(z).

    Backward: with S = sum_j exp(z_j) and T = sum_k t_k, which is 1 for probabilities,
        -sum_k t_k log p_k = T log S - sum_k t_k z_k    so    dz_k = T * p_k - t_k, over N.
    One-hot rows give p - y, the gradient of SparseCategoricalCrossentropy.

    >>> loss = CategoricalCrossentropy()
    >>> round(loss([[0, 1], [1, 0]], [[0.25, 0.75], [0.5, 0.5]]), 4)  # the mean of -log 0.75 and -log 0.5
    0.4904
    >>> loss.formula(np.array([[0.0, 1.0]]), np.array([[3.0, 3.0]]), from_logits=True)[1]
    array([[ 0.5, -0.5]])
    """

    identifier = name = "categorical_crossentropy"
    logits_of = "softmax"
    hint = "class numbers? pass utils.to_categorical(y), or choose the loss sparse_categorical_crossentropy"

    def answers(self, y_true: Array) -> int:
        return y_true.shape[-1]

    def check(self, y_true: Any, shape: tuple[int, ...]) -> Array:
        if len(shape) != 2:
            raise ValueError(
                f"{self.name}: expected predictions (N, classes), got shape {shape}: one prediction for each place "
                "of the feature map. Add layers.Flatten() before the first Dense layer."
            )
        return super().check(y_true, shape)

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        t = self.smooth(y_true.astype(y_pred.dtype, copy=False))
        return (_of_logits if from_logits else _of_probabilities)(t, y_pred)


def _of_logits(t, z):
    """(T log S - sum t z, T p - t); the largest z, taken away first, changes nothing and keeps exp finite."""
    shifted = z - z.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total, weight = e.sum(axis=1, keepdims=True), t.sum(axis=1, keepdims=True)
    losses = (t * (np.log(total) - shifted)).sum(axis=1)
    p = e / total
    p[p < NEGLIGIBLE * np.finfo(z.dtype).tiny] = 0
    return losses, weight * p - t


def _of_probabilities(t, p):
    """(-sum t log q, its gradient), q = p / sum(p) clipped to [EPSILON, 1 - EPSILON], as Keras does.

    -log q_k = log sum(p) - log p_k,  so  gradient_j = sum_k t_k/sum(p) - t_j/p_j, without those k that were clipped
    """
    total = p.sum(axis=1, keepdims=True)
    if (p < 0).any() or (total <= 0).any():
        raise ValueError(
            f"categorical_crossentropy: expected probabilities, got {p.min():.4g} among the predictions: "
            "end the model in softmax, or use CategoricalCrossentropy(from_logits=True)"
        )
    q = p / total
    clipped = np.clip(q, EPSILON, 1 - EPSILON)
    live = t * (q == clipped)
    gradient = live.sum(axis=1, keepdims=True) / total - live / np.maximum(p, np.finfo(p.dtype).tiny)
    return -(t * np.log(clipped)).sum(axis=1), gradient


class BinaryCrossentropy(Smoothed):
    """L = -1/N * sum_n mean_k (t log p + (1 - t) log(1 - p))        p (N, C): the probability of yes, t (N, C)

    t is y, 0 or 1 for each question, of the predictions' shape; with label_smoothing a: t = (1 - a) * y + a / 2.
    With from_logits=True the network ends in logits z, and p = 1 / (1 + exp(-z)), the sigmoid.

    Backward: log p = z - log(1 + exp(z)) and log(1 - p) = -log(1 + exp(z)), so
        -t log p - (1 - t) log(1 - p) = log(1 + exp(z)) - t * z    and    dz = (p - t) / C, over N.
    For z > 0 log(1 + exp(z)) = z + log(1 + exp(-z)), where exp cannot overflow.

    >>> loss = BinaryCrossentropy()
    >>> round(loss([1, 0], [[0.75], [0.5]]), 4)
    0.4904
    >>> loss.formula(np.array([[1.0]]), np.array([[0.0]]), from_logits=True)[1]
    array([[-0.5]])
    """

    identifier = name = "binary_crossentropy"
    logits_of = "sigmoid"
    least_axes = 1

    def answers(self, y_true: Array) -> int:
        return 2

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        t = self.smooth(y_true.astype(y_pred.dtype, copy=False))
        losses, gradient = (_binary_of_logits if from_logits else _binary_of_probabilities)(t, y_pred)
        return losses.mean(axis=-1), gradient / y_pred.shape[-1]


def _binary_of_logits(t, z):
    small = np.exp(-np.abs(z))
    p = np.where(z >= 0, 1, small) / (1 + small)
    p[p < NEGLIGIBLE * np.finfo(z.dtype).tiny] = 0
    return np.maximum(z, 0) + np.log1p(small) - t * z, p - t


def _binary_of_probabilities(t, p):
    """(-t log q - (1 - t) log(1 - q), (q - t) / (q (1 - q))), q = p clipped, where the gradient is 0, as Keras does."""
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"binary_crossentropy: expected probabilities, got {p.min():.4g} to {p.max():.4g} among the predictions: "
            "end the model in sigmoid, or use BinaryCrossentropy(from_logits=True)"
        )
    q = np.clip(p, EPSILON, 1 - EPSILON)
    return -t * np.log(q) - (1 - t) * np.log(1 - q), (q - t) / (q * (1 - q)) * (q == p)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, **unsupported: Any
) -> Array:
    """-sum_k t_k log p_k of each photo (N,), as Keras' function of this name. Raises ValueError."""
    return CategoricalCrossentropy(from_logits, label_smoothing, **unsupported).per_photo(y_true, y_pred)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, **unsupported: Any
) -> Array:
    """The mean over the questions of each photo (N,), as Keras' function of this name. Raises ValueError."""
    return BinaryCrossentropy(from_logits, label_smoothing, **unsupported).per_photo(y_true, y_pred)
