"""The line that says how far fit, evaluate and predict have come."""

import os
import sys
import time
from typing import Any

from cnn.callbacks.base import Callback, Logs
from cnn.terminal import can_write


class ProgressBar(Callback):
    """Keras' progress line: live on a terminal (verbose 1), one line an epoch elsewhere (2), none (0).

    stream: what it writes to, stdout unless given.

    >>> import io
    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> stream = io.StringIO()
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[ProgressBar(stream=stream)])
    >>> [line.partition(" - ")[0] for line in stream.getvalue().splitlines()]
    ['Epoch 1/2', '1/1', 'Epoch 2/2', '1/1']
    """

    WIDTH = 20

    only_writes = True

    def __init__(self, verbose: int | str = "auto", stream: Any = None):
        self.stream = stream or sys.stdout
        live = hasattr(self.stream, "isatty") and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.verbose = (1 if live else 2) if verbose == "auto" else verbose
        self.training = False
        self.open = False  # whether the cursor stands in a line that is not finished

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.training = True
        self.first: tuple[int, float] | None = None  # the epoch that fit began with, and when that was

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.training = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.verbose and self.params["epochs"] > 1:
            self._write(f"Epoch {epoch + 1}/{self.params['epochs']}{self._left(epoch)}\n")
        self._begin()

    def _left(self, epoch):
        """How long all epochs will take, as long as each one of them so far; on a terminal, from the second on."""
        now = time.monotonic()
        self.first = self.first or (epoch, now)
        done = epoch - self.first[0]
        if self.verbose != 1 or not done:
            return ""
        return f" - {_clock((now - self.first[1]) / done * (self.params['epochs'] - epoch))} left"

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._end(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self.training:
            self._begin()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self.training:
            self._update(batch + 1, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self.training:
            self._end(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._update(batch + 1, {})

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._end({})

    def close(self) -> None:
        """Leave a line that an interruption cut off."""
        if self.open:
            self.open = False
            self._write("\n")

    def _begin(self):
        self.started = self.shown = time.monotonic()
        self.done = 0  # steps of this epoch
        self.done_before = None  # steps of this epoch that an earlier process did

    def _update(self, step, logs):
        now, self.done = time.monotonic(), step
        if self.done_before is None:
            self.done_before = step - 1
        pace = (now - self.started) / (step - self.done_before)
        if self.verbose == 1 and now - self.shown >= 0.05:
            self.shown = now
            left = f"{_clock(pace * (self.params['steps'] - step))} " if self.params["steps"] else ""
            self.open = True
            self._write(f"\r{self._line(step, f'{left}{_pace(pace)}', logs, self.params['steps'])}\x1b[K")

    def _end(self, logs):
        steps, spent = self.params["steps"] or self.done, time.monotonic() - self.started
        pace = spent / max(steps - (self.done_before or 0), 1)
        self.open = False
        if self.verbose == 1:
            self._write(f"\r{self._line(steps, f'{spent:.0f}s {_pace(pace)}', logs, steps)}\x1b[K\n")
        elif self.verbose == 2:
            self._write(" - ".join([f"{steps}/{steps}", f"{spent:.0f}s", _pace(pace), *_values(logs)]) + "\n")

    def _line(self, step, timing, logs, steps):
        done = self.WIDTH * step // steps if steps else 0
        full, empty = ("━", "─") if can_write(self.stream, "━─") else ("=", ".")
        counter = f"{step:>{len(str(steps))}}/{steps}" if steps else f"{step}/?"  # a generator does not say how many
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
