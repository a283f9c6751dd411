"""The loss of the article: how wrong the probabilities of a batch are, as one number, and its gradient."""

from typing import Any

import numpy as np

from cnn import checks
from cnn.losses.base import EPSILON, Array, Loss

# Times the smallest normal number: 5e-20 in float32. A gradient below it is 0, for it moves no weight, and its products
# on the way back would be denormal numbers, over which many processors take a hundred times as long.
NEGLIGIBLE = 2.0**62


class SparseCategoricalCrossentropy(Loss):
    """L = -1/N * sum_n log p[n, y_n]        p (N, C): probabilities, y (N,): the right class of each photo

    With from_logits=True the network ends in logits z, and p = softmax(z).

    Why softmax and the logarithm belong together: with S = sum_j exp(z_j),
        -log p_y = log S - z_y    so    d(-log p_y)/dz_k = exp(z_k)/S - [k = y] = p_k - [k = y].
    So dz = (p - onehot(y)) / N: no logarithm of a vanishing p, no division by it. A model
    that ends in softmax therefore hands this loss its logits when it trains.

    >>> loss = SparseCategoricalCrossentropy()
    >>> round(loss([1, 0], [[0.25, 0.75], [0.5, 0.5]]), 4)  # the mean of -log 0.75 and -log 0.5
    0.4904
    >>> SparseCategoricalCrossentropy(from_logits=True)
    SparseCategoricalCrossentropy(from_logits=True)
    """

    identifier = name = "sparse_categorical_crossentropy"
    logits_of = "softmax"
    from_logits: bool
    arguments = {"from_logits": checks.boolean, **Loss.arguments}

    def __init__(self, from_logits: bool = False, *, name: str | None = None, **unsupported: Any):
        super().__init__(name=name, **unsupported)
        self.set_arguments(locals())

    def check(self, y_true: Any, shape: tuple[int, ...]) -> Array:
        """y_true as class numbers (N,) for predictions of this shape. Raises ValueError for what does not fit."""
        if len(shape) != 2:
            raise ValueError(
                f"{self.name}: expected predictions (N, classes), got shape {shape}: one prediction for each place "
                "of the feature map. Add layers.Flatten() before the first Dense layer."
            )
        return checks.labels(self.name, y_true, shape[0], shape[1])

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        per_photo = cross_entropy_of_logits if from_logits else cross_entropy_of_probabilities
        return per_photo(y_true, y_pred)


def cross_entropy_of_logits(y_true: Array, z: Array) -> tuple[Array, Array]:
    """(-log p_y, p - onehot(y)) of each photo, for p = softmax(z).

    -log p_y = log sum_j exp(z_j - m) - (z_y - m);  m, the largest z, changes nothing and keeps exp finite

    >>> losses, gradient = cross_entropy_of_logits(np.array([0]), np.array([[1000.0, 1000.0]]))
    >>> losses.round(4), gradient
    (array([0.6931]), array([[-0.5,  0.5]]))
    """
    photo = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    losses = np.log(total[:, 0]) - shifted[photo, y_true]
    gradient = e / total
    gradient[gradient < NEGLIGIBLE * np.finfo(z.dtype).tiny] = 0
    gradient[photo, y_true] -= 1
    return losses, gradient


def cross_entropy_of_probabilities(y_true: Array, p: Array) -> tuple[Array, Array]:
    """(-log q_y, its gradient) of each photo, q = p / sum(p) clipped to [EPSILON, 1 - EPSILON], as Keras does.

    -log q_y = log sum(p) - log p_y,  so  gradient_k = 1/sum(p) - [k = y]/p_y, and 0 where q_y was clipped
    """
    photo = np.arange(len(p))
    total = p.sum(axis=1)
    if (p < 0).any() or (total <= 0).any():
        raise ValueError(
            f"sparse_categorical_crossentropy: expected probabilities, got {p.min():.4g} among the predictions: "
            "end the model in softmax, or use SparseCategoricalCrossentropy(from_logits=True)"
        )
    q = p[photo, y_true] / total
    clipped = np.clip(q, EPSILON, 1 - EPSILON)
    gradient = np.repeat(1 / total[:, None], p.shape[1], axis=1)
    gradient[photo, y_true] -= 1 / np.maximum(p[photo, y_true], np.finfo(p.dtype).tiny)
    return -np.log(clipped), gradient * (q == clipped)[:, None]


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, **unsupported: Any) -> Array:
    """-log p_y of each photo (N,), as Keras' function of this name. Raises ValueError."""
    return SparseCategoricalCrossentropy(from_logits, **unsupported).per_photo(y_true, y_pred)
