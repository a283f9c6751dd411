"""Where data sets lie that are not shipped: in the folder where Keras keeps them, or where somebody says."""

import os
from collections.abc import Iterable
from pathlib import Path

from cnn.errors import DataError


def keras_folder() -> Path:
    """~/.keras/datasets, or datasets in the folder that the environment's KERAS_HOME names."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def find(what: str, path: str | os.PathLike | None, names: Iterable[str]) -> Path:
    """The file or folder at path, which may be a name in Keras' folder; else the first of `names` that is in it.

    Raises DataError, which says where to put what.
    """
    folder = keras_folder()
    asked = [] if path is None else [Path(path).expanduser(), folder / path]
    for candidate in asked or [folder / name for name in names]:
        if candidate.exists():
            return candidate
    where = folder if path is None else " or ".join(map(str, dict.fromkeys(asked)))
    raise DataError(f"{where}: expected {what} found nothing: put it there, or say load_data(path=...)")
