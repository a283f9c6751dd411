"""Fashion-MNIST: 70,000 photos of clothes, 28x28 grey values, ten classes. Shipped with the package, nothing to load
from the net. Any other set of the MNIST family can take its place: name the directory that holds its four files.
"""

import os
from pathlib import Path

from cnn.datasets import idx
from cnn.datasets.idx import FILES as FILES
from cnn.datasets.idx import Split as Split

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PHOTO_SHAPE = (28, 28)

SHIPPED = Path(__file__).parent / "fashion-mnist"
# Of the unzipped files: their mirrors zip the same bytes in different ways.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


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
    given, hashes = (SHIPPED, SHA256) if directory is None else (directory, {})
    return idx.load_split(split, given, PHOTO_SHAPE, len(CLASS_NAMES), hashes)
