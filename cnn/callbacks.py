"""Callbacks: what may look on, or interfere, while a model trains. Names and arguments are Keras'."""

import contextlib
import csv
import dataclasses
import math
import os
import sys
import time

from cnn import checks
from cnn.terminal import can_write


class Callback:
    """Override the moments you want to see. self.model is the model, self.params {"epochs", "steps", "verbose"}.

    Beyond Keras: on_restore(run) and on_safe_point(run), where fit can be taken up and where it may be left: between
    two batches, when all callbacks have seen all that happened. A callback that remembers something which decides the
    future gives it away in get_state, as JSON can hold it (and weights as {parameter's name: array}), and takes it
    back in set_state.
    """

    model = None
    params: dict = {}

    def on_train_begin(self, logs=None): ...
    def on_train_end(self, logs=None): ...
    def on_epoch_begin(self, epoch, logs=None): ...
    def on_epoch_end(self, epoch, logs=None): ...
    def on_train_batch_begin(self, batch, logs=None): ...
    def on_train_batch_end(self, batch, logs=None): ...
    def on_test_begin(self, logs=None): ...
    def on_test_end(self, logs=None): ...
    def on_test_batch_begin(self, batch, logs=None): ...
    def on_test_batch_end(self, batch, logs=None): ...
    def on_predict_begin(self, logs=None): ...
    def on_predict_end(self, logs=None): ...
    def on_predict_batch_begin(self, batch, logs=None): ...
    def on_predict_batch_end(self, batch, logs=None): ...
    def on_restore(self, run): ...
    def on_safe_point(self, run): ...

    def get_state(self) -> dict:
        return {}

    def set_state(self, state: dict) -> None: ...


class CallbackList:
    """Calls the same moment of several callbacks, in their order. Raises ValueError for what is not a callback."""

    def __init__(self, callbacks: list[Callback], model, params: dict):
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ValueError(f"callbacks: expected instances of Callback, got {callback!r}")
            callback.model, callback.params = model, params
        # Most callbacks leave most moments alone: only those that override one are asked.
        self.watching = {
            moment: [getattr(c, moment) for c in callbacks if getattr(type(c), moment) is not getattr(Callback, moment)]
            for moment in vars(Callback)
            if moment.startswith("on_")
        }

    def call(self, moment: str, *args) -> None:
        for watch in self.watching[moment]:
            watch(*args)


class History(Callback):
    """What fit returns: history["loss"][k] and so on, epoch[k], params."""

    def __init__(self):
        self.epoch, self.history = [], {}  # also for a fit that is interrupted before it begins

    def on_train_begin(self, logs=None):
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for key, value in sorted(logs.items()):
            self.history.setdefault(key, []).append(value)

    def get_state(self):
        return {"epoch": list(self.epoch), "history": {key: list(values) for key, values in self.history.items()}}

    def set_state(self, state):
        epochs, history = state.get("epoch"), state.get("history")
        if not isinstance(epochs, list) or not isinstance(history, dict):
            raise ValueError("History: expected a list of epochs and an object of lists")
        for epoch in epochs:
            checks.whole("History", "epoch", epoch, low=0)
        for key, values in history.items():
            if not isinstance(values, list) or len(values) > len(epochs):
                raise ValueError(f"History: {key}: expected at most {len(epochs)} numbers")
            for value in values:
                checks.number("History", key, value, low=-math.inf)
        self.epoch, self.history = epochs, history


class EarlyStopping(Callback):
    """Stop when the monitored value has not improved by more than min_delta for `patience` epochs."""

    COUNTERS = ("wait", "stopped_epoch", "best_epoch")

    def __init__(
        self,
        monitor="val_loss",
        min_delta=0,
        patience=0,
        verbose=0,
        mode="auto",
        baseline=None,
        restore_best_weights=False,
        start_from_epoch=0,
    ):
        self.best = Best(monitor, mode, checks.number("EarlyStopping", "min_delta", abs(min_delta)), baseline)
        self.patience = checks.whole("EarlyStopping", "patience", patience, low=0)
        self.start_from_epoch = checks.whole("EarlyStopping", "start_from_epoch", start_from_epoch, low=0)
        self.verbose, self.restore_best_weights = verbose, restore_best_weights

    def on_train_begin(self, logs=None):
        self.best.reset()
        self.wait, self.stopped_epoch, self.best_epoch, self.best_weights = 0, 0, 0, None

    def on_epoch_end(self, epoch, logs=None):
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.best.improved_by(logs):
            self.wait, self.best_epoch = 0, epoch
        if self.restore_best_weights and (self.wait == 0 or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        if self.wait >= self.patience and self.wait > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs=None):
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                print(f"Restoring the weights of epoch {self.best_epoch + 1}, the best")

    def get_state(self):
        state = {"best": self.best.get_state(), **{name: getattr(self, name) for name in self.COUNTERS}}
        if self.best_weights is not None:
            state["best_weights"] = dict(zip(self.model.params, self.best_weights, strict=True))
        return state

    def set_state(self, state):
        self.best.set_state(state["best"])
        for name in self.COUNTERS:
            setattr(self, name, checks.whole("EarlyStopping", name, state[name], low=0))
        weights = state.get("best_weights")
        self.best_weights = None if weights is None else [weights[key] for key in self.model.params]


class ModelCheckpoint(Callback):
    """Save the model after each epoch, or with save_best_only after each that improves the monitored value.

    filepath may hold fields such as 'model-{epoch:02d}-{val_loss:.2f}.npz'; epoch counts from 1.
    """

    def __init__(self, filepath, monitor="val_loss", verbose=0, save_best_only=False, mode="auto"):
        self.filepath = os.fspath(filepath)
        if not self.filepath.endswith(".npz"):
            raise ValueError(f"ModelCheckpoint: filepath: expected a name that ends in .npz, got {self.filepath!r}")
        self.best = Best(monitor, mode)
        self.verbose, self.save_best_only = verbose, save_best_only

    def on_epoch_end(self, epoch, logs=None):
        if self.save_best_only and not self.best.improved_by(logs):
            return
        path = self.filepath.format(epoch=epoch + 1, **logs)
        self.model.save(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved {path}")

    def get_state(self):
        return {"best": self.best.get_state()}

    def set_state(self, state):
        self.best.set_state(state["best"])


class BackupAndRestore(Callback):
    """Keep what fit needs to go on in backup_dir; when fit is called again with the same arguments, it goes on.

    Weights, optimizer and history end with the same bits as if it had never stopped. save_freq: "epoch", or a number
    of batches; a stop through model.stop_after_batch is always saved. delete_checkpoint: delete the file once fit
    is done. extra: anything of yours, as JSON can hold it, to keep in the file.
    """

    def __init__(self, backup_dir, save_freq="epoch", delete_checkpoint=True, extra: dict | None = None):
        self.every = (
            None if save_freq == "epoch" else checks.whole("BackupAndRestore", "save_freq", save_freq, high=2**40)
        )
        self.path = os.path.join(os.fspath(backup_dir), "last.npz")
        self.delete_checkpoint, self.extra = delete_checkpoint, dict(extra or {})

    def on_restore(self, run):
        from cnn import document, npz, saving

        run.settings |= document.describe_run(self.model)
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        npz.remove_leftovers(self.path)
        if os.path.lexists(self.path):
            saved, state = saving.load_training(self.path)
            run.restore(saved, state, self.path)
            self.extra = state.extra | self.extra
        else:
            self.save(run)  # a full disk, or a network that no file can hold, is better known now than after hours

    def on_safe_point(self, run):
        due = run.step == 0 if self.every is None else self.model.optimizer.iterations % self.every == 0
        if due or self.model.stop_after_batch:
            self.save(run)

    def save(self, run) -> None:
        """Write the file now."""
        from cnn import saving

        saving.save_training(self.model, self.path, dataclasses.replace(run.state(), extra=self.extra))

    def on_train_end(self, logs=None):
        if self.delete_checkpoint:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


class CSVLogger(Callback):
    """Write epoch (from 0), loss and metrics as one row of a CSV file after each epoch, at once on the disk."""

    def __init__(self, filename, separator=",", append=False):
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self.columns = None

    def on_train_begin(self, logs=None):
        self.columns = None

    def on_epoch_end(self, epoch, logs=None):
        first = self.columns is None
        with open(self.filename, "w" if first and not self.append else "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if first:
                self.columns = sorted(logs)
                if file.tell() == 0:
                    writer.writerow(["epoch", *self.columns])
            writer.writerow([epoch, *(logs.get(key, "") for key in self.columns)])

    def get_state(self):
        return {"columns": self.columns, "size": os.path.getsize(self.filename) if os.path.exists(self.filename) else 0}

    def set_state(self, state):
        """Go on with the file, without the rows of epochs that will be done again."""
        size = checks.whole("CSVLogger", "size", state["size"], low=0, high=2**40)
        if os.path.exists(self.filename):
            os.truncate(self.filename, min(size, os.path.getsize(self.filename)))
            self.columns = state["columns"]


class Best:
    """Remembers the best value of a monitored metric. Accuracies are better when larger, the rest when smaller."""

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0, baseline: float | None = None):
        mode = checks.choice(f"monitoring {monitor!r}", "mode", mode, ("auto", "min", "max"))
        self.monitor, self.min_delta, self.baseline = monitor, min_delta, baseline
        self.sign = 1 if mode == "max" or (mode == "auto" and "acc" in monitor) else -1
        self.reset()

    def reset(self) -> None:
        self.value = -self.sign * math.inf if self.baseline is None else self.baseline

    def improved_by(self, logs: dict[str, float]) -> bool:
        """Whether this epoch is the best so far; then it is remembered. Raises ValueError if nothing is monitored."""
        if self.monitor not in logs:
            raise ValueError(
                f"monitor: expected one of {', '.join(sorted(logs))}, got {self.monitor!r} (no validation data?)"
            )
        if self.sign * (logs[self.monitor] - self.value) <= self.min_delta:
            return False
        self.value = logs[self.monitor]
        return True

    def get_state(self) -> float | None:
        """The best value as JSON can hold it: None for the infinity at the start."""
        return self.value if math.isfinite(self.value) else None

    def set_state(self, value: float | None) -> None:
        """Take back what get_state returned. Raises ValueError for anything else."""
        self.reset()
        if value is not None:
            self.value = checks.number(f"monitoring {self.monitor!r}", "best", value, low=-math.inf)


class ProgressBar(Callback):
    """Keras' progress line: live on a terminal (verbose 1), one line an epoch elsewhere (2), none (0)."""

    WIDTH = 20

    def __init__(self, verbose: int | str = "auto", stream=None):
        self.stream = stream or sys.stdout
        live = hasattr(self.stream, "isatty") and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.verbose = (1 if live else 2) if verbose == "auto" else verbose
        self.training = False
        self.open = False  # whether the cursor stands in a line that is not finished

    def on_train_begin(self, logs=None):
        self.training = True

    def on_train_end(self, logs=None):
        self.training = False

    def on_epoch_begin(self, epoch, logs=None):
        if self.verbose and self.params["epochs"] > 1:
            self._write(f"Epoch {epoch + 1}/{self.params['epochs']}\n")
        self._begin()

    def on_train_batch_end(self, batch, logs=None):
        self._update(batch + 1, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._end(logs)

    def on_test_begin(self, logs=None):
        if not self.training:
            self._begin()

    def on_test_batch_end(self, batch, logs=None):
        if not self.training:
            self._update(batch + 1, logs)

    def on_test_end(self, logs=None):
        if not self.training:
            self._end(logs)

    def on_predict_begin(self, logs=None):
        self._begin()

    def on_predict_batch_end(self, batch, logs=None):
        self._update(batch + 1, {})

    def on_predict_end(self, logs=None):
        self._end({})

    def close(self):
        """Leave a line that an interruption cut off."""
        if self.open:
            self.open = False
            self._write("\n")

    def _begin(self):
        self.started = self.shown = time.monotonic()
        self.done_before = None  # steps of this epoch that an earlier process did

    def _update(self, step, logs):
        now = time.monotonic()
        if self.done_before is None:
            self.done_before = step - 1
        pace = (now - self.started) / (step - self.done_before)
        if self.verbose == 1 and now - self.shown >= 0.05:
            self.shown = now
            left = pace * (self.params["steps"] - step)
            self.open = True
            self._write(f"\r{self._line(step, f'{_clock(left)} {_pace(pace)}', logs)}\x1b[K")

    def _end(self, logs):
        steps, spent = self.params["steps"], time.monotonic() - self.started
        pace = spent / max(steps - (self.done_before or 0), 1)
        self.open = False
        if self.verbose == 1:
            self._write(f"\r{self._line(steps, f'{spent:.0f}s {_pace(pace)}', logs)}\x1b[K\n")
        elif self.verbose == 2:
            self._write(" - ".join([f"{steps}/{steps}", f"{spent:.0f}s", _pace(pace), *_values(logs)]) + "\n")

    def _line(self, step, timing, logs):
        steps = self.params["steps"]
        done = self.WIDTH * step // steps
        full, empty = ("━", "─") if can_write(self.stream, "━─") else ("=", ".")
        counter = f"{step:>{len(str(steps))}}/{steps}"
        return " ".join(
            [counter, full * done + empty * (self.WIDTH - done), timing, "- " * bool(logs) + " - ".join(_values(logs))]
        )

    def _write(self, text):
        self.stream.write(text)
        self.stream.flush()


def _values(logs):
    return [
        f"{key}: {value:.4f}" if abs(value) > 1e-3 else f"{key}: {value:.4e}" for key, value in sorted(logs.items())
    ]


def _pace(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.0f}{unit}/step"
    return f"{seconds * 1e6:.0f}us/step"


def _clock(seconds):
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}" if seconds >= 60 else f"{seconds:.0f}s"
