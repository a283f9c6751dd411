"""Callbacks that steer the training: the learning rate, an end at NaN, the moving averages of the weights."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from cnn import checks
from cnn.callbacks.base import Callback, Logs
from cnn.callbacks.monitoring import Monitoring
from cnn.optimizers import Optimizer


class _SetsTheRate(Callback):
    """What callbacks share that set the learning rate: it must be one that can be set, and each epoch's is logged."""

    @property
    def optimizer(self) -> Optimizer:
        """The model's."""
        return checks.known(self.model.optimizer)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.optimizer.scheduled:
            raise TypeError(
                f"{type(self).__name__}: expected an optimizer whose learning rate can be set, got one that follows "
                "a schedule: give it a number to begin with"
            )

    def log_rate(self, logs: Logs | None) -> None:
        """Add the learning rate to an epoch's logs."""
        if logs is not None:
            logs["learning_rate"] = float(self.optimizer.learning_rate)


class ReduceLROnPlateau(_SetsTheRate, Monitoring):
    """Multiply the learning rate by factor when the monitored value has not improved for `patience` epochs.

    It improves by more than min_delta or not. After that, `cooldown` epochs do not count. The rate does not fall below
    min_lr.

    >>> import numpy as np
    >>> from cnn import layers, models, optimizers
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> reduce = ReduceLROnPlateau("loss", factor=0.5, patience=2, min_delta=10)
    >>> model.fit(x, y, epochs=5, verbose=0, callbacks=[reduce]).history["learning_rate"]
    [0.5, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        where = type(self).__name__
        Monitoring.__init__(self, monitor, mode, abs(checks.number(where, "min_delta", min_delta, low=-math.inf)))
        self.factor = checks.number(where, "factor", factor, 0, 1, below=True)
        self.patience = checks.whole(where, "patience", patience, low=0)
        self.cooldown = checks.whole(where, "cooldown", cooldown, low=0)
        self.min_lr, self.verbose = checks.number(where, "min_lr", min_lr), verbose
        self.wait = self.cooldown_counter = 0  # epochs without an improvement; epochs that will not count

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.watched.reset()
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.log_rate(logs)
        if self.cooldown_counter:
            self.cooldown_counter, self.wait = self.cooldown_counter - 1, 0
        if self.watched.improved_by(logs or {}):
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch):
        rate = float(self.optimizer.learning_rate)
        if rate <= self.min_lr:
            return
        self.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
        self.wait, self.cooldown_counter = 0, self.cooldown
        if self.verbose:
            print(f"Epoch {epoch + 1}: the learning rate is now {self.optimizer.learning_rate:g}")

    def get_state(self) -> dict:
        return {"best": self.watched.get_state(), "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def set_state(self, state: dict) -> None:
        self.watched.set_state(state["best"])
        self.wait, self.cooldown_counter = (
            checks.whole("ReduceLROnPlateau", name, state[name], low=0) for name in ("wait", "cooldown_counter")
        )


class LearningRateScheduler(_SetsTheRate):
    """Set the learning rate before each epoch to schedule(epoch, learning rate so far), or to schedule(epoch).

    >>> import numpy as np
    >>> from cnn import layers, models, optimizers
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    >>> model.fit(x, y, epochs=3, verbose=0, callbacks=[halve]).history["learning_rate"]
    [0.5, 0.25, 0.125]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise ValueError(f"LearningRateScheduler: schedule: expected a function of an epoch, got {schedule!r}")
        self.schedule, self.verbose = schedule, verbose
        self.asked: int | None = None  # the epoch for which the rate was last set

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.asked = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch == self.asked:
            return  # a run that goes on within this epoch
        rate = float(self.optimizer.learning_rate)
        self.optimizer.learning_rate = self.schedule(epoch, rate) if self._takes_two() else self.schedule(epoch)
        self.asked = epoch
        if self.verbose:
            print(f"Epoch {epoch + 1}: the learning rate is {self.optimizer.learning_rate:g}")

    def _takes_two(self) -> bool:
        try:
            inspect.signature(self.schedule).bind(0, 0.0)
        except TypeError:
            return False
        return True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.log_rate(logs)

    def get_state(self) -> dict:
        return {"asked": self.asked}

    def set_state(self, state: dict) -> None:
        asked = state["asked"]
        self.asked = None if asked is None else checks.whole("LearningRateScheduler", "asked", asked, low=0)


class TerminateOnNaN(Callback):
    """End fit, without an error, at a batch whose loss is NaN or infinite.

    The weights stay as they were before that batch, and the history ends with a loss of NaN. Without this callback, and
    with raise_error, fit raises DivergedError.

    >>> import numpy as np
    >>> from cnn import layers, models, optimizers
    >>> model = models.Sequential([layers.Dense(2, input_shape=(2,)), layers.Dense(2, activation="softmax")])
    >>> model.compile(optimizers.SGD(1e30), "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> with np.errstate(all="ignore"):
    ...     history = model.fit(x, y, epochs=9, verbose=0, callbacks=[TerminateOnNaN()])
    Batch 1: the loss became nan, so the training ends here
    >>> history.history["loss"][-1]
    nan
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = checks.boolean("TerminateOnNaN", "raise_error", raise_error)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss) and not self.raise_error:
            print(f"Batch {batch + 1}: the loss became {loss}, so the training ends here")
            self.model.stop_training = True


class SwapEMAWeights(Callback):
    """Evaluate, validate and predict with the moving averages of the weights, which the optimizer keeps (use_ema=True).

    swap_on_epoch: also from the end of an epoch to the beginning of the next, so that callbacks after this one, such as
    ModelCheckpoint, see the averages.

    >>> import numpy as np
    >>> from cnn import layers, models, optimizers
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile(optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9), "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> history = model.fit(x, y, epochs=9, verbose=0, validation_data=(x, y), callbacks=[SwapEMAWeights()])
    >>> history.history["val_loss"][-1] > history.history["loss"][-1]  # on its way down, an average is behind
    True
    """

    def __init__(self, swap_on_epoch: bool = False):
        self.swap_on_epoch = checks.boolean("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)

    def show(self, averages: bool) -> None:
        """Have the model hold the averages, or the weights that are trained. Raises ValueError without averages."""
        optimizer = checks.known(self.model.optimizer)
        if optimizer.averaged != averages or not optimizer.use_ema:
            optimizer.swap_average(self.model.params)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.show(averages=False)  # also after a fit that was interrupted during its validation

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self.show(averages=True)

    on_test_end = on_predict_end = on_train_begin
    on_predict_begin = on_test_begin

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.show(averages=False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self.show(averages=True)

    def get_state(self) -> dict:
        return {"averaged": checks.known(self.model.optimizer).averaged}

    def set_state(self, state: dict) -> None:
        checks.known(self.model.optimizer).averaged = checks.boolean("SwapEMAWeights", "averaged", state["averaged"])


class LambdaCallback(Callback):
    """A callback made of functions, one for each moment that is given; other arguments become its attributes.

    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> say = LambdaCallback(on_epoch_begin=lambda epoch, logs: print("epoch", epoch))
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[say])
    epoch 0
    epoch 1
    """

    def __init__(self, **moments: Any):
        for moment, function in moments.items():
            if moment.startswith("on_") and not hasattr(Callback, moment):
                known = ", ".join(name for name in vars(Callback) if name.startswith("on_"))
                raise ValueError(f"LambdaCallback: expected moments out of {known}, got {moment!r}")
            if moment.startswith("on_") and not (function is None or callable(function)):
                raise ValueError(f"LambdaCallback: {moment}: expected a function, got {function!r}")
            if function is not None:
                setattr(self, moment, function)


class RemoteMonitor(Callback):
    """Not here, since nothing in this package opens a connection; a LambdaCallback can send what you like.

    >>> RemoteMonitor()
    Traceback (most recent call last):
    ValueError: RemoteMonitor: is not supported here, where nothing is sent: LambdaCallback(on_epoch_end=...) can do it
    """

    only_writes = True

    def __init__(self, *arguments: Any, **more: Any):
        raise ValueError(
            "RemoteMonitor: is not supported here, where nothing is sent: LambdaCallback(on_epoch_end=...) can do it"
        )
