"""Model files by their paths: save and load. contents.py says what is in a file; npz.py is the container of our own.

Format 1 is one .npz with the arrays that contents.py names, and `json`, the text, in uint8. The forms of other programs
stand in forms/, and a file's ending says which one it is.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.saving import contents, forms, npz, strict_json
from cnn.saving.document import N
from cnn.saving.state import TrainingState

Array = np.ndarray
MODEL, BEST, LAST = "model.npz", "best.npz", "last.npz"  # in a run's folder

# ---- saving


def save_model(
    model: Network,
    path: str | os.PathLike,
    overwrite: bool = True,
    training_state: TrainingState | None = None,
    include_optimizer: bool = True,
) -> None:
    """Write the model to one file. Whatever happens, path holds the old file or the new one, whole.

    The ending says the form: .npz is ours, the others are in forms/. Scripts for Keras give its endings also where h5py
    is missing, and where Keras itself has another format now (.h5), and read the file again by themselves: there it is
    the same .npz under that name, and a warning says that Keras cannot read it.

    Without include_optimizer the file holds weights only; training goes on from them with a fresh optimizer.
    Raises FileExistsError unless overwrite, ValueError for what a file cannot hold, DivergedError for weights that
    are NaN or infinite, OSError where the disk refuses.
    """
    path = os.fsdecode(path)
    check_name(f"{model}: save", "path", path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path}: exists already (overwrite=False)")
    text, arrays = contents.describe(model, training_state, include_optimizer, path)
    form = forms.find(path)
    if form is not None and form.write is not None and (form.is_installed() or not form.hint):
        return form.write(model, path, arrays, include_optimizer)
    npz.write(path, {"json": np.frombuffer(text, np.uint8), **arrays})
    if form is not None and form.hint:
        warnings.warn(f"{path}: is an .npz file of this package, which Keras cannot read{form.hint}", stacklevel=3)


def check_name(where: str, name: str, path: str) -> None:
    """Raise ValueError unless a model file may be called so."""
    if not path.endswith((".npz", *forms.FORMS)):
        raise ValueError(f"{where}: {name}: expected a file name that ends in .npz, got {path!r}")


def save_training(model: Network, path: str | os.PathLike, state: TrainingState) -> None:
    """Write the model, its optimizer and how far its training has come to one file. Raises as save_model."""
    save_model(model, path, training_state=state)


# ---- loading


def load(path: str | os.PathLike, kind: type[N]) -> N:
    """The network, of this kind, in a file or in a run's folder: its model.npz, best.npz or last.npz, the first there.

    Raises ModelFileError, with the file and the reason, for anything but a whole file.
    """
    return _load(str(file_in(path)), kind)[0]


def load_training(path: str | os.PathLike, kind: type[N]) -> tuple[N, TrainingState]:
    """The network and the state of training in a file, or in the last.npz of a run's folder. Raises ModelFileError."""
    file = str(file_in(path, (LAST,)))
    model, state = _load(file, kind)
    if state is None:
        raise ModelFileError(f"{file}: holds a model, but no state of training to go on from")
    return model, state


def load_weights(path: str | os.PathLike, model: Network) -> None:
    """Give a network the weights in a file, whose layers must have its shapes. Raises ModelFileError, ValueError."""
    file = str(file_in(path))
    form = forms.find(file)
    if form is not None and form.read_weights is not None and not npz.is_ours(file):
        model.require_built("load_weights")
        return _guarded(file, lambda: form.read_weights(model, file))
    saved = _load(file, Network)[0]
    if not model.built:
        model.build(saved.input_shape)
    model.set_weights(saved.get_weights())


def file_in(path: str | os.PathLike, names: tuple[str, ...] = (MODEL, BEST, LAST)) -> Path:
    """The model file meant by `path`: itself, or of a folder the first of these files in it. Raises ModelFileError."""
    path = Path(os.fsdecode(path))
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).exists():
            return path / name
    raise ModelFileError(
        f"{path}: expected a model file or the folder of a run; this folder holds no {' or '.join(names)}"
    )


def _load(path: str, kind: type[N]) -> tuple[N, TrainingState | None]:
    def read():
        form = forms.find(path)
        if form is not None and not npz.is_ours(path):
            return form.read(path, kind), None
        with npz.reading(path) as reader:
            return _read(reader, kind)

    return _guarded(path, read)


def _guarded(path, read):
    """What read() gives; its errors are a ModelFileError with the file's name."""
    try:
        return read()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: {_one_line(error)}") from None
    except MemoryError:
        raise ModelFileError(f"{path}: does not fit into this machine's memory") from None


def _one_line(error) -> str:
    """An error's text, safe to print: the file may have chosen parts of it."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(error))
    return text if len(text) <= 500 else f"{text[:500]}..."


def _read(reader: npz.Reader, kind: type[N]) -> tuple[N, TrainingState | None]:
    if "json" not in reader.members:
        raise ModelFileError("not a model file of this project: it holds no 'json'")
    described = strict_json.parse(reader.array("json", None, npz.BYTES, strict_json.MAX_BYTES).tobytes())

    def arrays(model, expected):
        contents.check_names(set(reader.members) - {"json"}, set(expected))
        return {name: reader.array(name, shape, npz.REAL) for name, shape in expected.items()}

    return contents.restore(described, kind, arrays)
