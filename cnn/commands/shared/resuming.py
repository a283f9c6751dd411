"""A run that is taken up again: what its file says must be one run of `cnn train`, told the same way three times.

Its settings stand in last.npz as flags, as what fit was called with, and in the model itself. A file may come from an
enemy: so they are compared before anything is made from them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cnn.commands.shared.data import Source
from cnn.errors import ModelFileError
from cnn.layers import Conv2D
from cnn.network import Network
from cnn.saving.document import describe_run
from cnn.saving.state import TrainingState
from cnn.training.run import differences


def check_epochs(path: Path, state: TrainingState) -> None:
    """Raise ModelFileError for more epochs than the run was to have."""
    most, begun = state.settings["epochs"], state.epoch + (state.step > 0)
    if begun > most:
        raise contradiction(path, "epochs begun", f"at most {most}", begun)


def check_model(path: Path, saved: Network, chosen: dict) -> None:
    """Raise ModelFileError where the settings would build larger convolutions than the model in the file has."""
    size = chosen["kernel_size"]
    told = [(filters, (size, size)) for filters in chosen["filters"]] if chosen["network"] == "cnn" else []
    found = [(layer.units, layer.kernel_size) for layer in saved.layers if isinstance(layer, Conv2D)]
    if told != found:
        raise contradiction(path, "convolutions", told, found)


def check_preparation(path: Path, source: Source, chosen: dict) -> None:
    """Raise ModelFileError where the settings tell of other photos than the model in the file."""
    told = {key: chosen[key] for key in source.settings}
    if told != source.settings:
        raise contradiction(path, "photos", told, source.settings)


def check_settings(path: Path, saved: Network, state: TrainingState, chosen: dict, new: Network) -> None:
    """Raise ModelFileError unless the file holds a run of these settings, of which `new` is the untrained model."""
    model = describe_run(new)
    told = {"batch_size": chosen["batch_size"], "validation_split": chosen["validation_split"]}
    told |= {"initial_epoch": 0, "shuffle": True, **model}
    noted = {key: value for key, value in state.settings.items() if key != "epochs"}
    for first, second in ((model, describe_run(saved)), (told, noted)):
        for place, expected, got in differences("run", first, second):
            raise contradiction(path, place, expected, got)


def check_progress(path: str | os.PathLike, saved: Network, state: TrainingState, steps: int) -> None:
    """Raise ModelFileError unless all follows that should from a run's epoch and batch; steps: batches an epoch."""
    for place, expected, got in _progress(saved, state, steps):
        if got != expected:
            raise contradiction(path, place, expected, got)


def _progress(saved, state, steps) -> Iterator[tuple[str, object, object]]:
    """(what, expected, got) for each of the places that tell how far a run has come."""
    yield "epochs of the model", state.epoch, saved.epoch
    yield "steps of the optimizer", state.epoch * steps + state.step, saved.optimizer.iterations
    epochs = state.callbacks["History"]["epoch"]
    yield "epochs in the history", state.epoch, len(epochs)
    yield "epochs in the history", list(range(len(epochs))), epochs
    for key, values in state.history.items():
        yield f"history of {key}", state.epoch, len(values)


def contradiction(path: str | os.PathLike, place: str, expected: object, got: object) -> ModelFileError:
    """The error of a file that says two things at once."""
    return ModelFileError(f"{path}: contradicts itself: {place}: expected {expected!s:.200}, got {got!s:.200}")
