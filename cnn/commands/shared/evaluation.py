"""How good a model is on photos with known classes, as `cnn train` and `cnn evaluate` report it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn import losses, metrics
from cnn.commands.shared import files, options
from cnn.datasets import fingerprint
from cnn.datasets.idx import Split
from cnn.network import Network
from cnn.photos import class_names, require_numbers, scaled
from cnn.training.step import outputs_in_batches

BATCH = 100  # photos that become numbers together, and pass the network together


class Result(NamedTuple):
    """How good a model is: its loss, and which classes it takes for which."""

    loss: float
    confusion: np.ndarray  # [true class, predicted class], counts of photos
    class_names: tuple[str, ...]

    @property
    def count(self) -> int:  # type: ignore[override]  # a number, where other tuples have a method
        """How many photos there were."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of photos whose class was recognised."""
        return int(np.trace(self.confusion)) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95% interval: what other photos of the same kind might give."""
        return metrics.wilson_interval(int(np.trace(self.confusion)), self.count)

    def recalls(self) -> dict[str, float | None]:
        """For each class the share of its photos that was recognised; None for a class without photos."""
        totals = self.confusion.sum(axis=1)
        shares = [int(self.confusion[k, k]) / int(total) if total else None for k, total in enumerate(totals)]
        return dict(zip(self.class_names, shares, strict=True))

    def as_dict(self) -> dict:
        """All of it as JSON can hold it."""
        return {
            "test_accuracy": self.accuracy,
            "test_loss": self.loss,
            "interval_95": list(self.interval),
            "photos": self.count,
            "recall": self.recalls(),
            "confusion_matrix": self.confusion.tolist(),
        }

    def text(self) -> str:
        """All of it for people."""
        low, high = self.interval
        lines = [
            f"test accuracy  {self.accuracy:.2%} of {self.count:,} photos (95% interval {low:.2%} to {high:.2%})",
            f"test loss      {self.loss:.4f}",
            "",
            "class          recognised  most often taken for",
        ]
        for k, (name, share) in enumerate(self.recalls().items()):
            lines.append(
                f"{name:<14} {'no photos' if share is None else f'{share:.1%}':>10}  {self._mistake(k)}".rstrip()
            )
        return "\n".join(lines) + "\n"

    def _mistake(self, k):
        """The wrong class that photos of class k were most often taken for."""
        others = self.confusion[k].copy()
        others[k] = 0
        return f"{self.class_names[others.argmax()]} ({others.max()})" if others.any() else ""


def evaluate(model: Network, photos: np.ndarray, labels: np.ndarray) -> Result:
    """The model's result on photos (N, H, W, ...) of bytes and their classes (N,); the loss is their cross-entropy."""
    kinds = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy
    probabilities = isinstance(model.loss, kinds) and not model.loss.from_logits and model.closing is None
    loss = losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    predicted, total = np.empty(len(photos), np.int64), 0.0
    for batch, outputs in outputs_in_batches(model, scaled(model, photos), BATCH):
        require_numbers(model, outputs)
        total += loss(labels[batch], outputs) * len(outputs)
        predicted[batch] = outputs.argmax(axis=1)
    names = class_names(model)
    return Result(total / len(photos), metrics.confusion_matrix(labels, predicted, len(names)), names)


def warn_of_other_data(path: Path, test: Split, directory: str | None) -> None:
    """Say on stderr when a model was trained on other data than it is now used on, or when nobody can tell."""
    trained_on = _test_data_of(path.with_name("config.json"))
    if trained_on is None and directory is not None:
        options.log(f"warning: {path} does not say whether it was trained on photos like those in {directory}")
    elif trained_on not in (None, fingerprint(*test)):
        options.log(f"warning: {path} was trained on other data than {directory or 'Fashion-MNIST'}")


def _test_data_of(config):
    """The fingerprint of the test photos that belong to a run's training photos; None without a run."""
    data = files.read_json(config).get("data")
    return data.get("test_sha256") if isinstance(data, dict) else None
