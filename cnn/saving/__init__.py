"""Model files: one .npz without pickle, written whole or not at all, read as if an enemy had written it.

model_file.py saves and loads; contents.py is what a file holds, whatever its form; document.py the text in it, which
describes the network, state.py how far its training has come, strict_json.py the JSON of both; limits.py says how large
a network in a file may be; npz.py is our container, atomic.py how any file is replaced. forms/ has the forms of other
programs: Keras, PyTorch, ONNX, C.

This page is the door for scripts, which want a Sequential. That stands above these files, which know networks only:
so it is fetched through the front door, when it is asked for.
"""

import os

import cnn
from cnn.saving import model_file
from cnn.saving.model_file import save_model, save_training
from cnn.saving.state import TrainingState

__all__ = ["load_model", "load_training", "save_model", "save_training"]


def load_model(path: str | os.PathLike) -> "cnn.models.Sequential":
    """The Sequential in a file, or in a run's folder, as models.load_model. Raises ModelFileError."""
    return model_file.load(path, cnn.models.Sequential)


def load_training(path: str | os.PathLike) -> tuple["cnn.models.Sequential", TrainingState]:
    """The Sequential and the state of training in a file or in a run's last.npz. Raises ModelFileError."""
    return model_file.load_training(path, cnn.models.Sequential)
