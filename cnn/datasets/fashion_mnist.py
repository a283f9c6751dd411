"""Fashion-MNIST: 70,000 photos of clothes, 28x28 grey values, ten classes. Shipped with the package, nothing to load
from the net. Any other set of the MNIST family can take its place: name the directory that holds its four files.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.datasets.idx import read_idx
from cnn.errors import DataError

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PHOTO_SHAPE = (28, 28)

SHIPPED = Path(__file__).parent / "fashion-mnist"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# Of the unzipped files: their mirrors zip the same bytes in different ways.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_data(directory: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """Returns `(train_x, train_y), (test_x, test_y)` as Keras does: uint8 photos (N, 28, 28) and labels (N,).

    N is 60,000 and 10,000. For `directory` and the errors see `load_split`.
    """
    return load_split("train", directory), load_split("test", directory)


def load_split(split: str, directory: str | os.PathLike | None = None) -> Split:
    """Returns the photos (N, 28, 28) and labels (N,), uint8, of "train" or "test"; the test set loads several times
    as fast as both.

    `directory` holds another set of 28x28 photos in ten classes under the usual four names, gzipped or not. Only the
    shipped files are compared with their SHA-256.

    Raises DataError if a file is missing or wrong, or if photos and labels do not belong together, and ValueError if
    there is no such split.
    """
    if split not in FILES:
        raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
    photos_name, labels_name = FILES[split]
    photos_path, labels_path = _find(directory, photos_name), _find(directory, labels_name)
    hashes = SHA256 if directory is None else {}
    photos = read_idx(photos_path, PHOTO_SHAPE, hashes.get(photos_name))
    labels = read_idx(labels_path, (), hashes.get(labels_name))
    _check_labels(labels_path, labels, photos_path, photos)
    return photos, labels


def _find(directory: str | os.PathLike | None, name: str) -> Path:
    """Returns the path of the file `name` in the directory, unzipped if there are both; raises DataError if none."""
    directory = SHIPPED if directory is None else Path(directory)
    dotted = name.replace("-idx", ".idx")
    candidates = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    try:
        present = os.listdir(directory)
    except OSError as error:
        raise DataError(f"{directory}: expected a directory with data files: {error.strerror}") from error
    for candidate in candidates:
        # One download of MNIST has directories of these names beside the files.
        if candidate in present and not (directory / candidate).is_dir():
            return directory / candidate
    raise DataError(f"{directory}: expected a file named {' or '.join(candidates)}, found none of them")


def _check_labels(labels_path: Path, labels: NDArray[np.uint8], photos_path: Path, photos: NDArray[np.uint8]) -> None:
    """Raises DataError unless there is one label from 0 to 9 for each photo."""
    if len(labels) != len(photos):
        raise DataError(
            f"{labels_path}: expected {len(photos)} labels, one for each photo in {photos_path.name}, got {len(labels)}"
        )
    if labels.max() >= len(CLASS_NAMES):
        first = int(np.argmax(labels >= len(CLASS_NAMES)))
        raise DataError(f"{labels_path}: label at index {first}: expected 0 to 9, got {labels[first]}")
