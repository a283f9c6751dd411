"""TensorBoard: losses and metrics as its files of events."""

import os
from typing import Any

from cnn import checks
from cnn.callbacks import event_file
from cnn.callbacks.base import Callback, Logs

PARTS = ("train", "validation")  # the folders in log_dir


class TensorBoard(Callback):
    """Write losses, metrics and the learning rate for TensorBoard to show: `tensorboard --logdir logs`.

    log_dir/train gets epoch_loss and so on, log_dir/validation those of the validation. histogram_freq: every so many
    epochs, also how the weights are spread. update_freq: "epoch", or after how many batches ("batch": each) batch_loss
    and so on are written as well. There is no graph to write, as there is none here.

    >>> import tempfile
    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> folder = tempfile.TemporaryDirectory()
    >>> history = model.fit(x, y, verbose=0, validation_data=(x, y), callbacks=[TensorBoard(folder.name)])
    >>> sorted(os.listdir(folder.name))
    ['train', 'validation']
    >>> folder.cleanup()
    """

    only_writes = True

    def __init__(
        self,
        log_dir: str | os.PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ):
        unsupported = {
            "write_images": write_images,
            "write_steps_per_second": write_steps_per_second,
            "profile_batch": profile_batch,
            "embeddings_freq": embeddings_freq,
            "embeddings_metadata": embeddings_metadata,
        }
        for name, value in unsupported.items():
            if value:
                raise ValueError(f"TensorBoard: {name}={value!r} is not supported here: it writes numbers alone")
        checks.boolean("TensorBoard", "write_graph", write_graph)
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = checks.whole("TensorBoard", "histogram_freq", histogram_freq, low=0)
        every = 1 if update_freq == "batch" else update_freq
        self.every = None if every == "epoch" else checks.whole("TensorBoard", "update_freq", every)
        self.batches = 0  # of training, over all epochs
        self.names = {part: event_file.new_name() for part in PARTS}  # of their files, which are made when needed

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.batches, self.names = 0, {part: event_file.new_name() for part in PARTS}

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batches += 1
        if self.every is not None and self.batches % self.every == 0:
            self._write_scalars("train", "batch_", logs or {}, self.batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        steps = checks.known(self.model.optimizer).iterations
        named = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write_scalars("validation", "evaluation_", named, steps)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        trained = {name: value for name, value in logs.items() if not name.startswith("val_")}
        validated = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        rate = {"learning_rate": float(checks.known(self.model.optimizer).learning_rate)}
        self._write_scalars("train", "epoch_", trained | rate, epoch)
        self._write_scalars("validation", "epoch_", validated, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            weights = {f"{name}/histogram": value for name, value in self.model.params.items()}
            event_file.append(self._path("train"), event_file.histograms(weights, epoch))

    def _write_scalars(self, part: str, prefix: str, values: Logs, step: int) -> None:
        if values:
            named = {prefix + name: value for name, value in sorted(values.items())}
            event_file.append(self._path(part), event_file.scalars(named, step))

    def _path(self, part: str) -> str:
        return os.path.join(self.log_dir, part, self.names[part])

    def get_state(self) -> dict:
        sizes = {part: os.path.getsize(self._path(part)) if os.path.exists(self._path(part)) else 0 for part in PARTS}
        return {"batches": self.batches, "files": {part: [self.names[part], sizes[part]] for part in PARTS}}

    def set_state(self, state: dict) -> None:
        """Go on with the files, without the events of batches that will be done again."""
        self.batches = checks.whole("TensorBoard", "batches", state["batches"], low=0, high=2**40)
        for part, (name, size) in state["files"].items():
            if part not in PARTS or not name.startswith(event_file.PREFIX) or os.path.basename(name) != name:
                raise ValueError(f"TensorBoard: files: expected files of events in {self.log_dir}, got {part}/{name}")
            self.names[part], size = name, checks.whole("TensorBoard", "size", size, 0, 2**40)
            if os.path.exists(self._path(part)):
                os.truncate(self._path(part), min(size, os.path.getsize(self._path(part))))
