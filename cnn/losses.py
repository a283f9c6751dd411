"""The loss: how wrong the predictions of a batch are, as one number, and its gradient.

The mean over the batch lives here and nowhere else: every gradient behind it is a plain
sum over the photos.
"""

from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable, find, table

Array = np.ndarray
EPSILON = 1e-7  # how close to 0 or 1 a probability is taken at most, as in Keras
# Times the smallest normal number: 5e-20 in float32. A gradient below it is 0, for it moves no weight, and its products
# on the way back would be denormal numbers, over which many processors take a hundred times as long.
NEGLIGIBLE = 2.0**62


class SparseCategoricalCrossentropy(Configurable):
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
    from_logits: bool
    arguments = {"from_logits": checks.boolean}

    def __init__(self, from_logits: bool = False, name: str | None = None, **unsupported: Any):
        self.set_arguments(locals())
        self.name = name or self.name

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **super().get_config()}

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        """The loss of predictions y_pred (N, C) for the classes y_true (N,). Raises ValueError."""
        y_pred = checks.inputs(str(self), y_pred, None, name="y_pred")
        y_true = self.check(y_true, y_pred.shape)
        y_pred = y_pred if y_pred.dtype == np.float64 else y_pred.astype(np.float32)
        return self.loss_and_gradient(y_true, y_pred, len(y_pred), self.from_logits)[0]

    def check(self, y_true: Any, shape: tuple[int, ...]) -> Array:
        """y_true as class numbers (N,) for predictions of this shape. Raises ValueError for what does not fit."""
        if len(shape) != 2:
            raise ValueError(
                f"{self.name}: expected predictions (N, classes), got shape {shape}: one prediction for each place "
                "of the feature map. Add layers.Flatten() before the first Dense layer."
            )
        return checks.labels(self.name, y_true, shape[0], shape[1])

    def loss_and_gradient(
        self, y_true: Array, y_pred: Array, batch_size: int, from_logits: bool
    ) -> tuple[float, Array]:
        """(L, dL/dy_pred) for a part of a batch of batch_size photos: the parts' losses and gradients add up."""
        per_photo = cross_entropy_of_logits if from_logits else cross_entropy_of_probabilities
        losses, gradient = per_photo(y_true, y_pred)
        return float(losses.sum()) / batch_size, gradient / y_pred.dtype.type(batch_size)


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


TABLE: dict[str, type[SparseCategoricalCrossentropy]] = table(SparseCategoricalCrossentropy)


def get(identifier: Any) -> SparseCategoricalCrossentropy:
    """A loss from its name, its class or itself, as in Keras. Raises ValueError for anything else."""
    expected = "loss: expected 'sparse_categorical_crossentropy' or SparseCategoricalCrossentropy()"
    return find(TABLE, SparseCategoricalCrossentropy, identifier, expected)
