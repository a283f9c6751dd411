"""Precision and Recall: how many of the yeses are right, and how many of the right answers are a yes."""

from typing import Any

import numpy as np

from cnn import checks
from cnn.metrics.base import Metric
from cnn.results import Number


class Hits(Metric):
    """What Precision and Recall share: which predictions are a yes, and how many of them are right.

    thresholds: a yes is above it, 0.5 unless given. class_id: count this class alone. top_k: only the k largest
    predictions of a photo can be a yes; then any of them is, unless there is a threshold as well.
    """

    arguments = {
        "thresholds": lambda where, name, value: None if value is None else checks.number(where, name, value, 0, 1),
        "top_k": lambda where, name, value: None if value is None else checks.whole(where, name, value),
        "class_id": lambda where, name, value: None if value is None else checks.whole(where, name, value, low=0),
    }
    thresholds: float | None
    top_k: int | None
    class_id: int | None

    def __init__(
        self,
        thresholds: float | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, **unsupported)
        self.set_arguments(locals())

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = self._arrays(y_true, y_pred)
        hint = "class numbers? pass utils.to_categorical(y)"
        right, yes = checks.targets(self.name, y_true, y_pred.shape, 0, 1, hint) > 0, self._yes(y_pred)
        weights = np.ones(len(y_pred))
        if sample_weight is not None:
            weights = checks.weights(self.name, sample_weight, len(y_pred))
        chosen = slice(None) if self.class_id is None else self.class_id
        for part, hits in (
            ("true_positives", right & yes),
            ("false_positives", ~right & yes),
            ("false_negatives", right & ~yes),
        ):
            if part in self.parts:
                self.sums[part] += float(weights @ hits[..., chosen].reshape(len(weights), -1).sum(axis=1))

    def _yes(self, y_pred):
        if self.top_k is None:
            return y_pred > (0.5 if self.thresholds is None else self.thresholds)
        yes = np.zeros(y_pred.shape, bool)
        np.put_along_axis(yes, np.argsort(-y_pred, axis=-1, kind="stable")[..., : self.top_k], True, axis=-1)
        return yes if self.thresholds is None else yes & (y_pred > self.thresholds)

    def result(self) -> float:
        total = sum(self.sums.values())
        return Number(self.sums["true_positives"] / total if total else 0.0)


class Precision(Hits):
    """Of the predictions above the threshold, the share that is right: true positives / (true + false positives).

    >>> Precision()([0, 1, 1, 1], [[1], [0], [1], [1]])
    0.6666666666666666
    """

    identifier = name = "precision"
    parts = ("true_positives", "false_positives")


class Recall(Hits):
    """Of the right answers, the share whose prediction is above the threshold: true positives / (those + the missed).

    >>> Recall()([0, 1, 1, 1], [[1], [0], [1], [1]])
    0.6666666666666666
    """

    identifier = name = "recall"
    parts = ("true_positives", "false_negatives")
