"""Callbacks that watch one metric: EarlyStopping, ModelCheckpoint."""

import math
import os
import string

import numpy as np

from cnn import checks
from cnn.callbacks.base import Callback, Logs
from cnn.saving import model_file

GROWING = ("acc", "precision", "recall", "auc", "top_k")  # in the names of metrics that are better when larger


class Best:
    """Remembers the best value of a monitored metric. Accuracies are better when larger, the rest when smaller.

    >>> best = Best("val_loss")
    >>> [best.improved_by({"val_loss": value}) for value in (2.0, 1.0, 1.5)]
    [True, True, False]
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0, baseline: float | None = None):
        mode = checks.choice(f"monitoring {monitor!r}", "mode", mode, ("auto", "min", "max"))
        if baseline is not None:
            baseline = checks.number(f"monitoring {monitor!r}", "baseline", baseline, low=-math.inf)
        self.monitor, self.min_delta, self.baseline = monitor, min_delta, baseline
        grows = any(word in monitor for word in GROWING)
        self.sign = 1 if mode == "max" or (mode == "auto" and grows) else -1
        self.reset()

    def reset(self) -> None:
        """Forget all values: the next is the best."""
        self.value = -self.sign * math.inf if self.baseline is None else self.baseline

    def improved_by(self, logs: dict[str, float]) -> bool:
        """Whether this epoch is the best so far; then it is remembered. Raises ValueError if nothing is monitored."""
        if self.monitor not in logs:
            raise ValueError(
                f"monitor: expected one of {', '.join(sorted(logs))}, got {self.monitor!r} (no validation data?)"
            )
        if not self.better(logs[self.monitor], self.value):
            return False
        self.value = logs[self.monitor]
        return True

    def better(self, value: float, than: float) -> bool:
        """Whether it is, by more than min_delta."""
        return self.sign * value - self.min_delta > self.sign * than

    def get_state(self) -> float | None:
        """The best value as JSON can hold it: None for the infinity at the start."""
        return self.value if math.isfinite(self.value) else None

    def set_state(self, value: float | None) -> None:
        """Take back what get_state returned. Raises ValueError for anything else."""
        self.reset()
        if value is not None:
            self.value = checks.number(f"monitoring {self.monitor!r}", "best", value, low=-math.inf)


class Monitoring(Callback):
    """What callbacks share that watch one value.

    >>> Monitoring("val_loss").best is None
    True
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0, initial: float | None = None) -> None:
        self.watched = Best(monitor, mode, min_delta, initial)

    @property
    def best(self) -> float | None:
        """The best value so far; None before the first."""
        return self.watched.get_state()

    def reads(self) -> list[tuple[str, str]]:
        return [("monitor", self.watched.monitor)]


class EarlyStopping(Monitoring):
    """Stop when the monitored value has not improved by more than min_delta for `patience` epochs.

    An epoch that is no better than a baseline counts as one without an improvement; but as in Keras, the training does
    not stop at the best epoch so far. restore_best_weights: end with the weights of the best epoch, be it better than
    the baseline or not. start_from_epoch: do not look before that epoch.

    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> history = model.fit(x, y, epochs=50, verbose=0, callbacks=[EarlyStopping("loss", min_delta=10, patience=2)])
    >>> history.epoch  # the first is an improvement on nothing
    [0, 1, 2]
    """

    COUNTERS = ("wait", "stopped_epoch", "best_epoch")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        min_delta = abs(checks.number("EarlyStopping", "min_delta", min_delta, low=-math.inf))
        super().__init__(monitor, mode, min_delta)
        self.baseline = Best(monitor, mode, baseline=baseline).value
        self.patience = checks.whole("EarlyStopping", "patience", patience, low=0)
        self.start_from_epoch = checks.whole("EarlyStopping", "start_from_epoch", start_from_epoch, low=0)
        self.verbose, self.restore_best_weights = verbose, restore_best_weights

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.watched.reset()
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self.watched.improved_by(logs or {})
        if improved:
            self.best_epoch = epoch
            if self.watched.better(self.watched.value, than=self.baseline):
                self.wait = 0
        elif self.wait >= self.patience:
            self.stopped_epoch, self.model.stop_training = epoch, True
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                print(f"Restoring the weights of epoch {self.best_epoch + 1}, the best")

    def get_state(self) -> dict:
        state = {"best": self.watched.get_state(), **{name: getattr(self, name) for name in self.COUNTERS}}
        if self.best_weights is not None:
            state["best_weights"] = dict(zip(self.model.params, self.best_weights, strict=True))
        return state

    def set_state(self, state: dict) -> None:
        self.watched.set_state(state["best"])
        for name in self.COUNTERS:
            setattr(self, name, checks.whole("EarlyStopping", name, state[name], low=0))
        weights = state.get("best_weights")
        self.best_weights = None if weights is None else [weights[key] for key in self.model.params]


class ModelCheckpoint(Monitoring):
    """Save the model after each epoch, or with save_best_only after each that improves the monitored value.

    filepath may hold fields such as 'model-{epoch:02d}-{val_loss:.2f}.npz'; epoch counts from 1.
    save_weights_only: without what the optimizer remembers. save_freq: "epoch", or after how many batches to save, with
    the means of the epoch so far as values, and {batch}, from 1, as another field. initial_value_threshold: what the
    first value must improve on.

    >>> import tempfile
    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> folder = tempfile.TemporaryDirectory()
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[ModelCheckpoint(folder.name + "/{epoch}.npz")])
    >>> sorted(os.listdir(folder.name))
    ['1.npz', '2.npz']
    >>> folder.cleanup()
    """

    only_writes = True

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        self.filepath = os.fspath(filepath)
        model_file.check_name("ModelCheckpoint", "filepath", self.filepath)
        threshold = initial_value_threshold
        if threshold is not None:
            threshold = checks.number("ModelCheckpoint", "initial_value_threshold", threshold, low=-math.inf)
        super().__init__(monitor, mode, initial=threshold)
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.every = (
            None if save_freq == "epoch" else checks.whole("ModelCheckpoint", "save_freq", save_freq, high=2**40)
        )
        self.epoch, self.batches = 0, 0  # the epoch that runs; batches since the last that was due to be saved

    def reads(self) -> list[tuple[str, str]]:
        fields = [("filepath", name) for _, name, _, _ in string.Formatter().parse(self.filepath) if name is not None]
        return [*fields, *super().reads()] if self.save_best_only else fields

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.batches = 0
        for argument, name in self.reads():
            if name == "batch" if self.every is None else name.startswith("val_"):
                when = "an epoch" if self.every is None else "a batch"
                raise ValueError(f"ModelCheckpoint: {argument}: expected what is known after {when}, got {name!r}")
        folder = os.path.dirname(self.filepath)
        if "{" not in folder:  # a folder that cannot be made is better known now than after an epoch
            os.makedirs(folder or ".", exist_ok=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batches += 1
        if self.every is not None and self.batches >= self.every:
            self.batches = 0
            self._save_if_due({**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.every is None:
            self._save_if_due(logs or {})

    def _save_if_due(self, values):
        if self.save_best_only and not self.watched.improved_by(values):
            return
        path = self._path(self.epoch, values)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            model_file.save_model(self.model, path, include_optimizer=False)
        else:
            self.model.save(path)  # type: ignore[attr-defined]  # a Sequential, which can
        if self.verbose:
            print(f"Epoch {self.epoch + 1}: saved {path}")

    def _path(self, epoch, logs):
        try:
            return self.filepath.format(epoch=epoch + 1, **logs)
        except (LookupError, AttributeError, ValueError) as error:
            known = ", ".join(["epoch", *sorted(logs)])
            raise ValueError(
                f"ModelCheckpoint: filepath: expected fields out of {known}, got {self.filepath!r} ({error})"
            ) from None

    def get_state(self) -> dict:
        return {"best": self.watched.get_state(), "batches": self.batches}

    def set_state(self, state: dict) -> None:
        self.watched.set_state(state["best"])
        self.batches = checks.whole("ModelCheckpoint", "batches", state.get("batches", 0), low=0, high=2**40)
