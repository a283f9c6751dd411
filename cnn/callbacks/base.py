"""What a callback is, how fit calls it, and History, which every fit returns."""

from collections.abc import Sequence

from cnn.network import Network
from cnn.saving.state import check_history


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

    def reads(self) -> list[tuple[str, str]]:
        """(argument, the name in logs that it asks for): [("monitor", "val_loss")]."""
        return []

    def get_state(self) -> dict:
        return {}

    def set_state(self, state: dict) -> None: ...


class CallbackList:
    """Calls the same moment of several callbacks, in their order. Raises ValueError for what is not a callback."""

    def __init__(self, callbacks: Sequence[Callback], model: Network, params: dict):
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ValueError(f"callbacks: expected instances of Callback, got {callback!r}")
            callback.model, callback.params = model, params
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

    def call(self, moment: str, *args) -> None:
        """Tell all callbacks. Most leave most moments alone; one may set them on itself, even while fit runs."""
        idle = getattr(Callback, moment)
        for callback in self.callbacks:
            watch = getattr(callback, moment)
            if getattr(watch, "__func__", watch) is not idle:
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
        check_history(epochs, history)
        self.epoch, self.history = epochs, history
