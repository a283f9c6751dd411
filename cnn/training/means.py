"""The loss and the metrics over the photos that a pass has seen so far."""

import copy

import numpy as np

from cnn.metrics import Metric
from cnn.network import Network

Array = np.ndarray


class RunningMean:
    """The mean of the loss over the photos seen so far, and the metrics, counted anew: several passes may run at once.

    >>> mean = RunningMean(Network())
    >>> for loss, outputs in ((1.0, np.zeros((3, 2))), (2.0, np.zeros((1, 2)))):
    ...     mean.add(loss, np.zeros(len(outputs)), outputs)
    >>> mean.logs()
    {'loss': 1.25}
    """

    def __init__(self, network: Network):
        self.network, self.loss, self.count = network, 0.0, 0
        self.metrics: list[Metric] = copy.deepcopy(network.metrics)
        for metric in self.metrics:
            metric.reset_state()
            metric.expect((network.result_shape or (0,))[-1])

    def add(self, loss: float, y: Array, outputs: Array, weights: Array | None = None) -> None:
        """One more batch: its loss, labels, what the network put out (without its closing activation), and weights."""
        self.loss += loss * len(outputs)
        self.count += len(outputs)
        closing = self.network.closing
        predictions = None
        for metric in self.metrics:
            seen = outputs
            if closing is not None and not (metric.ranks and outputs.shape[-1] > 1):
                seen = predictions = closing.forward(outputs)[0] if predictions is None else predictions
            metric.update_state(y, seen, *([weights] if metric.weighted else []))  # one's own may not know of weights

    def logs(self) -> dict[str, float]:
        """{"loss": ..., "accuracy": ...}"""
        return {"loss": self.loss / self.count, **{metric.name: _result(metric) for metric in self.metrics}}

    # ---- as a file keeps it: numbers by name, and the photos

    def sums(self) -> dict[str, float]:
        """All numbers that add up; none before the first batch. How many photos a metric counted, count says."""
        own = {key: metric.sums[part] for metric in self.metrics for part, key in _keys(metric)}
        return {"loss": self.loss, **own} if self.count else {}

    def names(self) -> set[str]:
        """The keys of sums after a batch."""
        return {"loss", *(key for metric in self.metrics for _, key in _keys(metric))}

    def take(self, sums: dict[str, float], count: int) -> None:
        """Go on from these."""
        self.loss, self.count = sums.get("loss", 0.0), count
        for metric in self.metrics:
            metric.sums |= {part: sums.get(key, 0.0) for part, key in _keys(metric)}
            metric.sums |= {"count": float(count)} if "count" in metric.sums and not metric.weighted else {}


def _result(metric: Metric) -> float:
    """The metric as a log holds it. Raises ValueError for one of one's own that has no number to give."""
    result = np.asarray(metric.result())
    if result.size != 1 or result.dtype.kind not in "buif":
        raise ValueError(f"{metric.name}: result: expected one number, got {metric.result()!r:.100}")
    return float(result.item())


def _keys(metric: Metric) -> list[tuple[str, str]]:
    """(part, its name in a file): a mean's total has the metric's own name, its count is that of the photos."""
    parts = [part for part in metric.parts if part != "count" or metric.weighted]
    return [(part, metric.name if part == "total" else f"{metric.name}/{part}") for part in parts]
