"""Callbacks that keep something on the disk: BackupAndRestore, CSVLogger."""

import contextlib
import csv
import dataclasses
import os

from cnn import checks
from cnn.callbacks.base import Callback, Logs, Run
from cnn.network import Network
from cnn.saving import atomic, document, model_file


class BackupAndRestore(Callback):
    """Keep what fit needs to go on in backup_dir; when fit is called again with the same arguments, it goes on.

    Weights, optimizer and history end with the same bits as if it had never stopped. save_freq: "epoch", or a number
    of batches; a stop through model.stop_after_batch is always saved. delete_checkpoint: delete the file once fit
    is done. extra: anything of yours, as JSON can hold it, to keep in the file.

    >>> import tempfile
    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> folder = tempfile.TemporaryDirectory()
    >>> first = model.fit(x, y, epochs=2, verbose=0, callbacks=[BackupAndRestore(folder.name, delete_checkpoint=False)])
    >>> again = model.fit(x, y, epochs=3, verbose=0, callbacks=[BackupAndRestore(folder.name)])
    >>> again.epoch, model.epoch  # the third epoch alone was left to do
    ([0, 1, 2], 3)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike,
        save_freq: str | int = "epoch",
        *,
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        extra: dict | None = None,
    ):
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: backup_dir: expected the name of a folder, got ''")
        if double_checkpoint:
            raise ValueError(
                "BackupAndRestore: double_checkpoint: True is not supported here, nor needed: whatever happens, "
                "the folder holds the old file or the new one, whole"
            )
        self.every = (
            None if save_freq == "epoch" else checks.whole("BackupAndRestore", "save_freq", save_freq, high=2**40)
        )
        self.path = os.path.join(os.fspath(backup_dir), "last.npz")
        self.delete_checkpoint, self.extra = delete_checkpoint, dict(extra or {})

    def on_restore(self, run: Run) -> None:
        run.settings |= document.describe_run(self.model)
        if not self.model.world.leads:
            return  # fit will hand over where the first process stands
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        atomic.remove_leftovers(self.path)
        if os.path.lexists(self.path):
            saved, state = model_file.load_training(self.path, Network)
            run.restore(saved, state, self.path)
            self.extra = state.extra | self.extra
        else:
            self.save(run)  # a full disk, or a network that no file can hold, is better known now than after hours

    def on_safe_point(self, run: Run) -> None:
        due = run.step == 0 if self.every is None else checks.known(self.model.optimizer).iterations % self.every == 0
        if (due or self.model.stop_after_batch) and self.model.world.leads:
            self.save(run)

    def save(self, run: Run) -> None:
        """Write the file now."""
        model_file.save_training(self.model, self.path, dataclasses.replace(run.state(), extra=self.extra))

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint and self.model.world.leads:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


class CSVLogger(Callback):
    """Write epoch (from 0), loss and metrics as one row of a CSV file after each epoch, at once on the disk.

    >>> import tempfile
    >>> import numpy as np
    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Dense(2, activation="softmax", input_shape=(2,))])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> x, y = np.eye(2), [0, 1]
    >>> folder = tempfile.TemporaryDirectory()
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[CSVLogger(f"{folder.name}/log.csv")])
    >>> with open(f"{folder.name}/log.csv") as file:
    ...     [line.partition(",")[0] for line in file]
    ['epoch', '0', '1']
    >>> folder.cleanup()
    """

    only_writes = True

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self.columns: list[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.columns = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs, anew = logs or {}, self.columns is None and not self.append
        with open(self.filename, "w" if anew else "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if self.columns is None:
                self.columns = sorted(logs)
                if file.tell() == 0:
                    writer.writerow(["epoch", *self.columns])
            writer.writerow([epoch, *(logs.get(key, "") for key in self.columns)])

    def get_state(self) -> dict:
        return {"columns": self.columns, "size": os.path.getsize(self.filename) if os.path.exists(self.filename) else 0}

    def set_state(self, state: dict) -> None:
        """Go on with the file, without the rows of epochs that will be done again."""
        size = checks.whole("CSVLogger", "size", state["size"], low=0, high=2**40)
        if os.path.exists(self.filename):
            os.truncate(self.filename, min(size, os.path.getsize(self.filename)))
            self.columns = _checked_columns(state["columns"])


def _checked_columns(columns):
    """The columns of a log as a file tells them, or None. Raises ValueError for anything else."""
    if columns is None or (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
        return columns
    raise ValueError(f"CSVLogger: columns: expected a list of names, got {columns!r}")
