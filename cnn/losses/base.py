"""What all losses share: labels and predictions checked, the photos weighed, the mean taken. No formula stands here.

The mean over the batch lives here and nowhere else: every gradient behind it is a plain sum over the photos.
"""

from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable
from cnn.results import Number

Array = np.ndarray
MEAN = "sum_over_batch_size"
EPSILON = 1e-7  # how close to 0 or 1 a probability is taken at most, as in Keras


def check_reduction(where: str, name: str, value: Any) -> str:
    """MEAN, also as "mean", or "sum", or "none", also as None; else ValueError."""
    value = "none" if value is None else MEAN if value == "mean" else value
    return checks.choice(where, name, value, (MEAN, "sum", "none"))


class Loss(Configurable):
    """A loss of your own is its formula, and which labels it wants where those are not numbers like the predictions':

    - `formula(y_true, y_pred, from_logits)` returns (losses, gradient): the loss of each photo, or of each place of
      its map, y_pred.shape[:-1]; and the derivative of each by its own y_pred, of y_pred's shape;
    - `check(y_true, shape)` returns the labels as formula takes them, for predictions of this shape, or raises.

    With `logits_of`, the identifier of an activation, formula also knows the loss of that activation's input z, the
    logits, whose gradient is simpler and exact where the activation saturates. A model that ends in it hands them over.

    >>> class Quartic(Loss):
    ...     '''L = mean (p - y)^4, so dL/dp = 4 (p - y)^3'''
    ...     identifier = "quartic"
    ...
    ...     def formula(self, y_true, y_pred, from_logits=False):
    ...         error = y_pred - y_true
    ...         return (error**4).mean(axis=-1), 4 * error**3 / error.shape[-1]
    >>> Quartic()([[0.0, 1.0]], [[2.0, 1.0]])
    8.0
    """

    from_logits = False  # whether the predictions are logits
    logits_of: str | None = None
    low, high = -np.inf, np.inf  # what a label may be
    least_axes = 2  # of the smallest batch of predictions: (N, classes)
    hint = ""  # what might help somebody whose labels are of another shape
    at_default = {"axis": -1, "ignore_class": None, "dtype": None}
    reduction: str  # of the photos' losses to one: their mean, "sum", or "none": as they are, which trains nothing
    arguments = {"reduction": check_reduction}
    unless = {"reduction": MEAN}

    def __init__(self, *, name: str | None = None, reduction: str | None = MEAN, **unsupported: Any):
        self.name = name or self.identifier
        self.set_arguments(locals())

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **super().get_config()}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of predictions y_pred (N, ...), each photo's times its weight (N,), or times one number for all.

        Raises ValueError.
        """
        y_true, y_pred = self._checked(y_true, y_pred)
        if y_pred.ndim == 1:  # one photo's
            y_true, y_pred = y_true[None], y_pred[None]
        if isinstance(sample_weight, int | float):
            sample_weight = [sample_weight] * len(y_pred)
        weights = None if sample_weight is None else checks.weights(str(self), sample_weight, len(y_pred))
        if self.reduction == "none":
            losses = self.formula(y_true, y_pred, self.from_logits)[0]
            return losses if weights is None else _times(weights, losses)
        return Number(self.loss_and_gradient(y_true, y_pred, len(y_pred), self.from_logits, weights)[0])

    def per_photo(self, y_true: Any, y_pred: Any) -> Array:
        """The loss of each photo, or of each place of its map, as Keras' functions return it. Raises ValueError."""
        y_true, y_pred = self._checked(y_true, y_pred)
        return self.formula(y_true, y_pred, self.from_logits)[0]

    def _checked(self, y_true, y_pred):
        y_pred = checks.inputs(str(self), y_pred, None, name="y_pred", least_axes=self.least_axes)
        y_true = self.check(y_true, y_pred.shape)
        return y_true, y_pred if y_pred.dtype == np.float64 else y_pred.astype(np.float32)

    def check(self, y_true: Any, shape: tuple[int, ...]) -> Array:
        """y_true as an array that formula takes with predictions of this shape. Raises ValueError where it is none."""
        return checks.targets(self.name, y_true, shape, self.low, self.high, self.hint)

    def formula(self, y_true: Array, y_pred: Array, from_logits: bool = False) -> tuple[Array, Array]:
        """(the loss of each photo or place, its derivative by y_pred)."""
        raise NotImplementedError

    def loss_and_gradient(
        self, y_true: Array, y_pred: Array, batch_size: int, from_logits: bool, weights: Array | None = None
    ) -> tuple[float, Array]:
        """(L, dL/dy_pred) for a part of a batch of batch_size photos: the parts' losses and gradients add up.

        weights (N,): the loss of each photo counts so many times; the mean stays one over batch_size, as in Keras.
        The reduction "sum" divides by nothing.
        """
        losses, gradient = self.formula(y_true, y_pred, from_logits)
        count = batch_size * max(1, losses.size // len(y_pred)) if self.reduction == MEAN else 1
        if weights is not None:
            losses, gradient = _times(weights, losses), _times(weights, gradient)
        return float(losses.sum()) / count, gradient / y_pred.dtype.type(count)


def _times(weights: Array, values: Array) -> Array:
    """Each photo's values times its weight."""
    return values * weights.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
