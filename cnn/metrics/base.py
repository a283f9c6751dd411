"""What all metrics share: sums over the photos, and the mean of a formula. No formula stands here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import checks, initializers
from cnn.configurable import Configurable, snake_case
from cnn.results import Number
from cnn.variables import Variable, named

Array = np.ndarray


class Metric(Configurable):
    """What all metrics share: sums that add up over the photos, from which the result is read.

    One of your own has what add_weight gives it, as in Keras, or names its `parts` and adds to self.sums; a mean of a
    formula is a MeanOf.

    >>> class Largest(Metric):
    ...     '''The largest prediction so far.'''
    ...
    ...     def __init__(self, **others):
    ...         super().__init__(**others)
    ...         self.largest = self.add_weight(name="largest", initializer="zeros")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(max(self.largest, np.max(y_pred)))
    ...
    ...     def result(self):
    ...         return self.largest
    >>> largest = Largest()
    >>> largest.update_state([0, 1], [[0.5], [0.75]])
    >>> largest.name, float(largest.result())
    ('largest', 0.75)
    """

    parts: tuple[str, ...] = ("total", "count")
    weighted = False  # whether the photos count as their weights say: compile's weighted_metrics
    ranks = False  # whether it only asks which predictions are the largest, which logits tell as well
    at_default = {"dtype": None}

    def __init__(self, name: str | None = None, **unsupported: Any):
        self.name = name or str(getattr(self, "identifier", snake_case(type(self).__name__)))
        self.set_arguments(locals())
        self.sums = dict.fromkeys(self.parts, 0.0)
        self.variables: list[Variable] = []

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **super().get_config()}

    def expect(self, outputs: int) -> None:
        """Be told how many numbers a network puts out for a photo, before the first."""

    def reset_state(self) -> None:
        """Forget all photos."""
        self.sums = dict.fromkeys(self.parts, 0.0)
        for variable in self.variables:
            variable[...] = 0

    def add_weight(
        self,
        shape: Any = (),
        initializer: initializers.Identifier = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A number, or an array of them, that update_state changes by assign and assign_add. Raises ValueError."""
        shape = checks.shape(self.name, "add_weight: shape", shape) if shape != () else ()
        filled = initializers.get(initializer, f"{self.name}: add_weight: initializer")(shape)
        variable = named(f"{self.name}/{name or f'variable_{len(self.variables)}'}", filled.astype(dtype or np.float32))
        self.variables.append(variable)
        return variable

    add_variable = add_weight

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count these photos as well, each as often as its weight (N,) says if given. Raises ValueError."""
        raise NotImplementedError

    def result(self) -> float:
        """The metric over all photos since reset_state."""
        raise NotImplementedError

    def __call__(self, *arguments: Any, **named_arguments: Any) -> float:
        """update_state with these arguments, and the result."""
        self.update_state(*arguments, **named_arguments)
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


class Sum(Mean):
    """The sum of numbers, each as often as its weight says.

    >>> Sum()([1.0, 2.0], [1.0, 3.0])
    7.0
    """

    identifier = name = "sum"

    def result(self) -> float:
        return Number(self.sums["total"])


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

    settings: what the function is called with beside these two.
    """

    def __init__(self, fn: Callable[..., Array], name: str | None = None, dtype: Any = None, **settings: Any):
        self.fn, self.settings = fn, settings
        super().__init__(name or fn.__name__, dtype=dtype)

    def formula(self, y_true: Array, y_pred: Array) -> Array:
        """The function with its settings."""
        return self.fn(y_true, y_pred, **self.settings)


MeanMetricWrapper = MeanOfFunction  # Keras' name for it
