"""How far a training has come, as a file keeps it; and the reading of that from a file that may come from an enemy."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from cnn import checks
from cnn.errors import ModelFileError
from cnn.saving import strict_json

WEIGHTS = object()  # stands in a callback's state until its arrays are read


@dataclasses.dataclass
class TrainingState:
    """A run of fit between two batches. model_file.py writes it into the model's file."""

    epoch: int  # the epoch that runs, from 0
    step: int  # its batches that are done
    sums: dict[str, float]  # of loss and metrics over the photos of these batches
    count: int  # these photos
    stopped: bool  # whether a callback has ended the training
    settings: dict  # what fit was called with, and the model it was called on
    data: str  # fingerprint of all that fit reads
    callbacks: dict[str, dict]  # name -> what its get_state returned
    extra: dict = dataclasses.field(default_factory=dict)  # what the caller keeps here for itself

    @property
    def history(self) -> dict[str, list[float]]:
        """{"loss": [...], ...}: one value for each finished epoch."""
        return self.callbacks["History"]["history"]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do of the epochs that the run was started with."""
        return self.stopped or self.epoch >= self.settings["epochs"]


def read_training(described: Any, logged: Sequence[str] = ("loss",)) -> TrainingState:
    """The state in a document, of a network that logs the loss and these metrics. Raises ModelFileError, ValueError."""
    values = dict(
        zip(
            names := [field.name for field in dataclasses.fields(TrainingState)],
            strict_json.values("training", described, *names),
            strict=True,
        )
    )
    for name in ("epoch", "step", "count"):
        checks.whole("training", name, values[name], 0, 2**40)
    if (values["step"] == 0) != (values["count"] == 0):
        raise ModelFileError("training: step and count: one of them is 0")
    if values["step"] > values["count"]:
        raise ModelFileError(f"training: expected a photo in each batch, got {values['step']} and {values['count']}")
    strict_json.text("training: data", values["data"])
    if type(values["stopped"]) is not bool:
        raise ModelFileError("training: stopped: expected true or false")
    for name in ("sums", "settings", "callbacks", "extra"):
        if not isinstance(values[name], dict):
            raise ModelFileError(f"training: {name}: expected an object")
    for value in values["sums"].values():
        checks.number("training", "sums", value, low=-math.inf)
    if len(values["callbacks"]) > 50:
        raise ModelFileError(f"training: callbacks: expected at most 50, got {len(values['callbacks'])}")
    checks.whole("training: settings", "epochs", values["settings"].get("epochs"))
    state = TrainingState(
        **{**values, "callbacks": {name: _read_callback(kept) for name, kept in values["callbacks"].items()}}
    )
    kept = state.callbacks.get("History", {})
    check_history(kept.get("epoch"), kept.get("history"))
    each_epoch = ("", "val_") if state.settings.get("validation_freq", 1) == 1 else ("",)
    _check_columns(state.history, len(kept["epoch"]), {f"{prefix}{name}" for prefix in each_epoch for name in logged})
    return state


def _check_columns(history, epochs, names) -> None:
    """Raise for a history of uneven length. Callbacks may add a number now and then, fit adds its own each epoch."""
    for key in history.keys() & names:
        if len(history[key]) != epochs:
            raise ModelFileError(f"History: {key}: expected {epochs} numbers, one an epoch, got {len(history[key])}")


def _read_callback(described) -> dict:
    values, weights = strict_json.values("training: callbacks", described, "values", "weights")
    if not isinstance(values, dict) or not isinstance(weights, list) or len(weights) > 4:
        raise ModelFileError("training: callbacks: expected values and at most 4 names of weights")
    return values | {strict_json.text("training: callbacks", name): WEIGHTS for name in weights}


def check_history(epochs: Any, history: Any) -> None:
    """Raise ValueError unless these are a list of epochs and, by name, at most as many numbers for each."""
    if not isinstance(epochs, list) or not isinstance(history, dict):
        raise ValueError("History: expected a list of epochs and an object of lists")
    for epoch in epochs:
        checks.whole("History", "epoch", epoch, low=0)
    for key, values in history.items():
        if not isinstance(values, list) or len(values) > len(epochs):
            raise ValueError(f"History: {key}: expected at most {len(epochs)} numbers")
        for value in values:
            checks.number("History", key, value, low=-math.inf)
