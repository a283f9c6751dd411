"""What all metrics share: sums over the photos, and the mean of a formula. No formula stands here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import checks
from cnn.configurable import Configurable
from cnn.results import Number

Array = np.ndarray


class Metric(Configurable):
    """What all metrics share: sums that add up over the photos, from which the result is read.

    One of your own names its `parts` and adds to self.sums in update_state; a mean of a formula is a MeanOf.

    >>> class Largest(Metric):
    ...     '''The largest prediction so far.'''
    ...     identifier, parts = "largest", ("value",)
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.sums["value"] = max(self.sums["value"], float(np.max(y_pred)))
    ...
    ...     def result(self):
    ...         return self.sums["value"]
    >>> largest = Largest()
    >>> largest.update_state([0, 1], [[0.5], [0.75]])
    >>> largest.result()
    0.75
    """

    parts: tuple[str, ...] = ("total", "count")
    weighted = False  # whether the photos count as their weights say: compile's weighted_metrics
    ranks = False  # whether it only asks which predictions are the largest, which logits tell as well
    at_default = {"dtype": None}

    def __init__(self, name: str | None = None, **unsupported: Any):
        self.name = name or self.identifier
        self.set_arguments(locals())
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **super().get_config()}

    def reset_state(self) -> None:
        """Forget all photos."""
        self.sums = dict.fromkeys(self.parts, 0.0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count these photos as well, each as often as its weight (N,) says if given. Raises ValueError."""
        raise NotImplementedError

    def result(self) -> float:
        """The metric over all photos since reset_state."""
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """update_state, and the result."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def _arrays(self, y_true, y_pred):
        y_true, y_pred = (
            checks.numeric_array(self.name, name, value) for name, value in (("y_true", y_true), ("y_pred", y_pred))
        )
        if y_true.shape[:1] != y_pred.shape[:1] or y_pred.ndim == 0:
            raise ValueError(
                f"{self.name}: expected as many labels as predictions, got shapes {y_true.shape} and {y_pred.shape}"
            )
        return y_true, y_pred


class Average(Metric):
    """What the mean of numbers and the mean of a formula share: a total, and how many it is of.

    >>> average = Average(name="height")
    >>> average.add(np.array([1.0, 3.0]), weights=np.array([1.0, 3.0]))
    >>> average.result()
    2.5
    """

    def add(self, values: Array, weights: Array | None = None) -> None:
        """Count these numbers as well, each as often as its weight says."""
        if weights is None:
            total, count = values.sum(dtype=np.float64), values.size
        else:
            weights = np.broadcast_to(weights, values.shape)
            total, count = (values * weights).sum(dtype=np.float64), weights.sum()
        self.sums["total"] += float(total)
        self.sums["count"] += float(count)

    def result(self) -> float:
        return Number(self.sums["total"] / self.sums["count"] if self.sums["count"] else 0.0)


class Mean(Average):
    """The mean of numbers, each as often as its weight says.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 2.0])
    >>> mean.update_state(6.0)
    >>> mean.result()
    3.0
    """

    identifier = name = "mean"

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]  # as in Keras
        """Count these numbers as well."""
        self.add(np.asarray(values), None if sample_weight is None else np.asarray(sample_weight, np.float64))


class MeanOf(Average):
    """The mean over the photos of `formula`, a function of y_true, y_pred and the metric's own arguments.

    >>> class Off(MeanOf):
    ...     '''How far off the predictions are.'''
    ...     identifier = "off"
    ...     formula = staticmethod(lambda y_true, y_pred: abs(y_true - y_pred))
    >>> Off()([1.0, 2.0], [1.5, 2.0])
    0.25
    """

    formula: Callable[..., Array]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = self._arrays(y_true, y_pred)
        values = np.asarray(self.formula(y_true, y_pred, **{name: getattr(self, name) for name in self.arguments}))
        if values.ndim != 1:  # its places; a photo counts once
            values = np.broadcast_to(values, len(y_pred)) if values.ndim == 0 else _mean_of_each(values)
        weights = None if sample_weight is None else checks.weights(self.name, sample_weight, len(y_pred))
        self.add(values, weights)


def _mean_of_each(values):
    return values.reshape(len(values), -1).mean(axis=1)


class MeanOfFunction(MeanOf):
    """The mean of a function(y_true, y_pred) of one's own: what compile makes of one in its list of metrics.

    >>> MeanOfFunction(lambda y_true, y_pred: abs(y_true - y_pred), name="distance")([1.0, 2.0], [1.5, 2.0])
    0.25
    """

    def __init__(self, formula: Callable[[Array, Array], Array], name: str | None = None):
        self.formula = formula
        super().__init__(name or formula.__name__)
