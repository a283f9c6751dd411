"""What a callback is, how fit calls it, and History, which every fit returns."""

from collections.abc import Sequence
from typing import Any, Protocol

from cnn.network import Network
from cnn.saving.state import TrainingState, check_history

Logs = dict[str, float]  # {"loss": 0.3, "accuracy": 0.9, "val_loss": ...}


class Run(Protocol):
    """One call of fit, as callbacks see it in on_restore and on_safe_point; training/run.py is what they get."""

    epoch: int
    step: int  # batches of this epoch that are done
    settings: dict

    @property
    def data(self) -> str:
        """The fingerprint of all that fit reads."""

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""

    def state(self) -> TrainingState:
        """Where the run stands now."""

    def restore(self, saved: Network, state: TrainingState, where: str) -> None:
        """Go on from this state. Raises ValueError if the saved run was another one than this."""


class Callback:
    """Override the moments you want to see. self.model is the model, self.params {"epochs", "steps", "verbose"}.

    logs is a dict; at moments that begin something it is empty.

    Beyond Keras: on_restore(run) and on_safe_point(run), where fit can be taken up and where it may be left: between
    two batches, when all callbacks have seen all that happened. A callback that remembers something which decides the
    future gives it away in get_state, as JSON can hold it (and weights as {parameter's name: array}), and takes it
    back in set_state.

    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> class Falls(Callback):
    ...     def on_train_begin(self, logs=None):
    ...         self.last = float("inf")
    ...
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"] < self.last)
    ...         self.last = logs["loss"]
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[Falls()])
    0 True
    1 True
    """

    model: Network = None  # type: ignore[assignment]  # fit hands it over before the first moment
    params: dict = {}
    only_writes = False  # whether it changes nothing in the training: of several processes only the first calls it

    def set_model(self, model: Network) -> None:
        """Takes the model, before the first moment."""
        self.model = model

    def set_params(self, params: dict) -> None:
        """Takes the params, before the first moment."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """fit begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """fit has ended; logs: the last epoch's."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch begins, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch has ended; logs: its losses and metrics, with val_... of the validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch begins, counted from 0 in its epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch has been learned; logs: the means of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """The short name of on_train_batch_begin."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """The short name of on_train_batch_end."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """evaluate begins, or a validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """It has ended; logs: its result."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it begins."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it is done; logs: the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """predict begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """It has ended."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of it begins."""

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """A batch of it is done; logs: {"outputs": (N, ...)}."""

    def on_restore(self, run: Run) -> None:
        """fit has begun and may be taken up from an earlier state: see run.restore."""

    def on_safe_point(self, run: Run) -> None:
        """Between two batches: what run.state gives now can be taken up later."""

    def reads(self) -> list[tuple[str, str]]:
        """(argument, the name in logs that it asks for): [("monitor", "val_loss")]."""
        return []

    def get_state(self) -> dict:
        """What it remembers and the future depends on."""
        return {}

    def set_state(self, state: dict) -> None:
        """Take back what get_state gave. Raises for anything else."""


class CallbackList:
    """Calls the same moment of several callbacks, in their order. Raises ValueError for what is not a callback.

    >>> from cnn.network import Network
    >>> callback = Callback()
    >>> callback.on_epoch_end = lambda epoch, logs=None: print(epoch, logs)
    >>> CallbackList([callback], Network(), {}).call("on_epoch_end", 3, {"loss": 0.5})
    3 {'loss': 0.5}
    """

    def __init__(self, callbacks: Sequence[Callback], model: Network, params: dict):
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ValueError(f"callbacks: expected instances of Callback, got {callback!r}")
            callback.set_params(params)
            callback.set_model(model)
        self.callbacks = callbacks

    def require(self, names: list[str], validation: bool) -> None:
        """Raise ValueError, before the first epoch, for a val_... that nobody will put into the logs."""
        if validation or not all(type(callback).__module__.startswith("cnn.") for callback in self.callbacks):
            return  # a callback of one's own may put it there
        for callback in self.callbacks:
            for argument, name in callback.reads():
                if name.startswith("val_"):
                    where, known = f"{type(callback).__name__}: {argument}", ", ".join(sorted(names))
                    raise ValueError(f"{where}: expected one of {known}, got {name!r} (no validation data?)")

    def call(self, moment: str, *args: Any, without: Sequence[Callback] = ()) -> None:
        """Tell all callbacks; one may set moments on itself, even while fit runs. Logs that do not exist are {}."""
        if moment.endswith("_begin") or moment == "on_predict_end":
            args = (*args, {})
        for callback in self.callbacks:
            if callback not in without:
                getattr(callback, moment)(*args)

    def waiting(self) -> list[Callback]:
        """Those that read what a validation gives, and have nothing to do in an epoch without one."""
        return [c for c in self.callbacks if any(name.startswith("val_") for _, name in c.reads())]


class History(Callback):
    """What fit returns: history["loss"][k] and so on, epoch[k], params.

    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> history = model.fit(x, y, epochs=3, verbose=0)
    >>> history.epoch, len(history.history["loss"])
    ([0, 1, 2], 3)
    """

    def __init__(self) -> None:
        # Also for a fit that is interrupted before it begins.
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for key, value in sorted((logs or {}).items()):
            self.history.setdefault(key, []).append(value)

    def get_state(self) -> dict:
        return {"epoch": list(self.epoch), "history": {key: list(values) for key, values in self.history.items()}}

    def set_state(self, state: dict) -> None:
        check_history(state.get("epoch"), state.get("history"))
        self.epoch, self.history = state["epoch"], state["history"]
