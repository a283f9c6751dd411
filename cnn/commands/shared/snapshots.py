"""The snapshots of a run: RUN/snapshots/epoch-000.json and so on, each whole or not there; written and read here."""

import contextlib
from pathlib import Path
from typing import Any

from cnn.callbacks import Callback
from cnn.callbacks.base import Logs
from cnn.commands.shared import files, runs
from cnn.datasets.idx import Split
from cnn.errors import ModelFileError, UsageError
from cnn.explain import film
from cnn.explain.film import Snapshot
from cnn.photos import model_input
from cnn.saving import atomic
from cnn.saving.state import TrainingState

PHOTO = 9  # the sandal of the article


def was_kept(state: TrainingState | None) -> bool:
    """Whether the run that is taken up keeps snapshots."""
    return bool(state and state.extra.get("snapshots"))


class Snapshots(Callback):
    """Takes one before the first epoch and one after each."""

    model: Any
    only_writes = True

    def __init__(self, folder: Path, train: Split, test: Split):
        self.folder, self.test = folder / runs.SNAPSHOTS, test
        self.probe = train[0][: film.PROBE], train[1][: film.PROBE]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        try:
            files.make_folder(self.folder)
            self.begin()
        except OSError:
            runs.discard(self.folder.parent)  # not even the beginning could be saved
            raise

    def begin(self) -> None:
        """Take the first, unless a run goes on; what a killed process had begun to write is deleted."""
        for path in self.folder.glob("epoch-*.json.tmp.*"):
            atomic.remove_leftovers(str(path).partition(".tmp.")[0])
        if not self.path(0).exists():
            self.take(0)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.take(epoch + 1)

    def path(self, epoch: int) -> Path:
        """The file of an epoch."""
        return self.folder / f"epoch-{epoch:03}.json"

    def take(self, epoch: int) -> None:
        """Write the snapshot of the weights as they are now."""
        number = min(PHOTO, len(self.test[0]))
        photo = number, model_input(self.model, self.test[0][number - 1 : number]), int(self.test[1][number - 1])
        probe = model_input(self.model, self.probe[0]), self.probe[1]
        with contextlib.suppress(ValueError):  # NaN: a network that has diverged shows nothing, and fit says so
            files.write_json(self.path(epoch), film.as_json(film.take(self.model, epoch, photo, probe)))


def read(run: str) -> list[Snapshot]:
    """The snapshots of a run, by epoch. Raises UsageError where there are none, ModelFileError for a damaged one."""
    paths = sorted((Path(run) / runs.SNAPSHOTS).glob("epoch-*.json"))
    if not paths:
        raise UsageError(f"--run: expected the folder of a run of `cnn train --snapshots`, got {run}")
    found = []
    for path in paths:
        try:
            found.append(film.from_json(files.read_json(path)))
        except (ValueError, TypeError, OverflowError) as error:
            raise ModelFileError(f"{path}: {error}") from None
    if any(
        (one.dead.keys(), one.gradients.keys(), one.probabilities.shape, one.kernel.shape)
        != (found[0].dead.keys(), found[0].gradients.keys(), found[0].probabilities.shape, found[0].kernel.shape)
        for one in found
    ):
        raise ModelFileError(f"{run}: expected snapshots of one network, got several")
    return sorted(found, key=lambda one: one.epoch)
