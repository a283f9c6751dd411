"""Metrics of yes and no: the four counts of right and wrong answers, their ratios, and the area under a curve of these.

Positive is what is predicted to be a yes; true is what is predicted right.
"""

from functools import partial
from typing import Any

import numpy as np

from cnn import checks
from cnn.metrics.base import Array, Metric
from cnn.results import Number

LEAST = 1e-7  # added to what something is divided by, as in Keras
HINT = "class numbers? pass utils.to_categorical(y)"


class Hits(Metric):
    """What all share: which predictions are a yes, and how many of them are right; `parts` are the counts that matter.

    thresholds: a yes is above it, 0.5 unless given. class_id: count this class alone. top_k: only the k largest
    predictions of a photo can be a yes; then any of them is, unless there is a threshold as well.
    """

    arguments = {
        "thresholds": checks.or_none(partial(checks.number, low=0, high=1)),
        "top_k": checks.or_none(checks.whole),
        "class_id": checks.or_none(partial(checks.whole, low=0)),
    }
    thresholds: float | None = None
    top_k: int | None = None
    class_id: int | None = None

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
        right, y_pred, weights = self._checked(y_true, y_pred, sample_weight)
        yes, chosen = self._yes(y_pred), slice(None) if self.class_id is None else self.class_id
        for part, hits in (
            ("true_positives", right & yes),
            ("false_positives", ~right & yes),
            ("false_negatives", right & ~yes),
            ("true_negatives", ~right & ~yes),
        ):
            if part in self.parts:
                self.sums[part] += float(weights @ hits[..., chosen].reshape(len(weights), -1).sum(axis=1))

    def _checked(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
        """Which answers are a yes, the predictions, and the weight of each photo. Raises ValueError."""
        y_true, y_pred = self._arrays(y_true, y_pred)
        right, weights = checks.targets(self.name, y_true, y_pred.shape, 0, 1, HINT) > 0, np.ones(len(y_pred))
        return right, y_pred, weights if sample_weight is None else checks.weights(self.name, sample_weight, len(right))

    def _yes(self, y_pred):
        if self.top_k is None:
            return y_pred > (0.5 if self.thresholds is None else self.thresholds)
        yes = np.zeros(y_pred.shape, bool)
        np.put_along_axis(yes, np.argsort(-y_pred, axis=-1, kind="stable")[..., : self.top_k], True, axis=-1)
        return yes if self.thresholds is None else yes & (y_pred > self.thresholds)

    def result(self) -> float:
        total = sum(self.sums.values())
        return Number(self.sums[self.parts[0]] / total if total else 0.0)


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


class TruePositives(Hits):
    """How many answers are yes and found to be so. It, and the three after it, are counts: `parts` is their own alone.

    >>> TruePositives()([0, 1, 1, 1], [[1], [0], [1], [1]])
    2.0
    """

    identifier = name = "true_positives"
    parts: tuple[str, ...] = ("true_positives",)
    arguments = {"thresholds": Hits.arguments["thresholds"]}

    def __init__(self, thresholds: float | None = None, name: str | None = None, **unsupported: Any):
        super().__init__(thresholds, name=name, **unsupported)

    def result(self) -> float:
        return Number(self.sums[self.identifier])


class FalsePositives(TruePositives):
    """How many answers are no and taken for a yes.

    >>> FalsePositives()([0, 1, 1, 1], [[1], [0], [1], [1]])
    1.0
    """

    identifier = name = "false_positives"
    parts = ("false_positives",)


class TrueNegatives(TruePositives):
    """How many answers are no and found to be so.

    >>> TrueNegatives()([0, 1, 1, 1], [[1], [0], [1], [1]])
    0.0
    """

    identifier = name = "true_negatives"
    parts = ("true_negatives",)


class FalseNegatives(TruePositives):
    """How many answers are yes and missed.

    >>> FalseNegatives()([0, 1, 1, 1], [[1], [0], [1], [1]])
    1.0
    """

    identifier = name = "false_negatives"
    parts = ("false_negatives",)


class FBetaScore(Metric):
    """(1 + beta^2) * precision * recall / (beta^2 * precision + recall), both counted for each class by itself

    A yes is a prediction above the threshold; without one, the largest of its photo. average "macro": the mean over
    the classes; "weighted": each as often as it is right; "micro": of the counts of all classes together; None: one
    number for each class, which the logs of fit cannot hold.

    >>> score = FBetaScore(average=None, beta=2.0, threshold=0.5)
    >>> score([[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]).round(3)
    array([0.385, 0.909, 0.833])
    """

    identifier = name = "fbeta_score"
    parts: tuple[str, ...] = ()  # three for each class, once it is known how many there are
    average: str | None
    beta: float
    threshold: float | None
    arguments = {
        "average": checks.or_none(partial(checks.choice, allowed=("micro", "macro", "weighted"))),
        "beta": partial(checks.number, low=1e-6),
        "threshold": checks.or_none(partial(checks.number, low=0, high=1)),
    }

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        super().__init__(name, **unsupported)
        self.set_arguments(locals())

    def expect(self, outputs: int) -> None:
        """Count the right, the wrong and the missed yes of so many classes."""
        if not self.parts:
            self.parts = tuple(f"{kind}_{k}" for kind in ("right", "wrong", "missed") for k in range(outputs))
            self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = self._arrays(y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(f"{self.name}: y_pred: expected predictions (N, classes), got shape {y_pred.shape}")
        right = checks.targets(self.name, y_true, y_pred.shape, 0, 1, HINT).astype(np.float64)
        w = np.ones(len(right)) if sample_weight is None else checks.weights(self.name, sample_weight, len(right))
        if self.threshold is None:
            yes = (y_pred >= y_pred.max(axis=1, keepdims=True)) & (abs(y_pred) > 1e-9)
        else:
            yes = y_pred > self.threshold
        self.expect(y_pred.shape[1])
        counts = np.concatenate([w @ (right * yes), w @ ((1 - right) * yes), w @ (right * ~yes)])
        for part, count in zip(self.parts, counts.tolist(), strict=True):
            self.sums[part] += count

    def result(self) -> Any:
        right, wrong, missed = np.array(list(self.sums.values())).reshape(3, -1)
        if self.average == "micro":
            right, wrong, missed = (count.sum(keepdims=True) for count in (right, wrong, missed))
        precision, recall = right / (right + wrong + LEAST), right / (right + missed + LEAST)
        scores = (1 + self.beta**2) * precision * recall / (self.beta**2 * precision + recall + LEAST)
        if self.average is None:
            return scores
        shares = (right + missed) / ((right + missed).sum() + LEAST)
        return Number((scores * shares).sum() if self.average == "weighted" else scores.mean() if scores.size else 0.0)


class F1Score(FBetaScore):
    """The same with beta 1: the harmonic mean of precision and recall.

    >>> round(F1Score(average="micro")([[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]]), 3)
    0.5
    """

    identifier = name = "f1_score"
    arguments = {key: FBetaScore.arguments[key] for key in ("average", "threshold")}
    beta = 1.0

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = None, **unsupported: Any
    ):
        Metric.__init__(self, name, **unsupported)
        self.set_arguments(locals())


class AUC(Hits):
    """The area under a curve that a threshold draws on its way from 0 to 1, through num_thresholds places.

    curve "ROC": recall over the share of false alarms, false positives / (false positives + true negatives); the area
    is how probably a yes is predicted higher than a no. "PR": precision over recall, between two places not a line but
    the hyperbola that the counts between them follow (Davis and Goadrich, 2006). from_logits: predictions are logits.

    >>> AUC()([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """

    identifier = name = "auc"
    num_thresholds: int
    curve: str
    from_logits: bool
    arguments = {
        "num_thresholds": partial(checks.whole, low=2, high=10_000),
        "curve": partial(checks.choice, allowed=("roc", "pr")),
        "from_logits": checks.boolean,
    }
    at_default = {**Hits.at_default, "summation_method": "interpolation", "thresholds": None, "multi_label": False}

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        *,
        from_logits: bool = False,
        name: str | None = None,
        **unsupported: Any,
    ):
        self.set_arguments(locals())
        places = range(self.num_thresholds - 1)
        self.parts = tuple(f"{kind}_{place}" for kind in ("yes", "no") for place in places)
        Metric.__init__(self, name, **unsupported)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """A place's part counts the predictions between its threshold and the next."""
        right, p, weights = self._checked(y_true, y_pred, sample_weight)
        if self.from_logits:
            p = 1 / (1 + np.exp(-p))
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"{self.name}: y_pred: expected probabilities, got {p.min():.4g} to {p.max():.4g}")
        steps = self.num_thresholds - 1
        places = np.maximum(np.ceil(p * steps).astype(np.int64) - 1, 0)
        weights = np.broadcast_to(weights.reshape(-1, *[1] * (p.ndim - 1)), p.shape)
        for kind, those in (("yes", right), ("no", ~right)):
            for place, count in enumerate(np.bincount(places[those], weights[those], steps).tolist()):
                self.sums[f"{kind}_{place}"] += count

    def result(self) -> float:
        counts = np.array(list(self.sums.values())).reshape(2, -1)
        tp, fp = (np.append(np.cumsum(of_kind[::-1])[::-1], 0) for of_kind in counts)  # above each threshold
        yes, no = max(tp[0], 1e-300), max(fp[0], 1e-300)
        if self.curve == "roc":
            return Number(((fp[:-1] - fp[1:]) / no * (tp[:-1] + tp[1:]) / 2 / yes).sum())
        positives = tp + fp
        slope = (tp[:-1] - tp[1:]) / np.maximum(positives[:-1] - positives[1:], 1e-300)
        ratio = np.where(positives[1:] > 0, positives[:-1] / np.maximum(positives[1:], 1e-300), 1)
        rest = tp[1:] - slope * positives[1:]
        return Number((slope * (tp[:-1] - tp[1:] + rest * np.log(ratio))).sum() / yes)
