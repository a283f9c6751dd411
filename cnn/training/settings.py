"""The numbers that fit is called with, checked."""

from typing import Any

from cnn import checks

# What a run is compared by when it is taken up stands in its file. These came later: only what is not at its default
# is kept there, so that older files still fit.
LATER = {"steps_per_epoch": None, "validation_steps": None, "validation_batch_size": None, "validation_freq": 1}


def check_settings(where: str, given: dict) -> tuple[dict, dict]:
    """(what is kept of the settings in a file, all of them), checked. Raises ValueError."""
    settings = {
        "batch_size": batch_size_of(where, given["batch_size"]),
        "initial_epoch": checks.whole(where, "initial_epoch", given["initial_epoch"], low=0),
        "epochs": checks.whole(where, "epochs", given["epochs"]),
        "shuffle": checks.boolean(where, "shuffle", given["shuffle"]),
        "validation_split": checks.number(where, "validation_split", given["validation_split"], 0, 1, below=True),
    }
    later = {name: given.get(name, default) for name, default in LATER.items()}
    for name, value in later.items():
        if name == "validation_freq" and isinstance(value, list | tuple | set):
            later[name] = sorted(checks.whole(where, "validation_freq: epoch", epoch) for epoch in value)
        elif value is not None:
            later[name] = checks.whole(where, name, value)
    kept = {name: value for name, value in later.items() if value != LATER[name]}
    return settings | kept, settings | later


def batch_size_of(where: str, value: Any) -> int:
    """The batch size, 32 unless given. Raises ValueError."""
    return checks.whole(where, "batch_size", 32 if value is None else value)
