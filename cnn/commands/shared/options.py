"""What several commands share: checked numbers on the command line, the data, the model."""

import argparse
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnn import terminal

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    from cnn.models import Sequential


def name(text: str) -> str:
    """A type for argparse: the name of something, which is never empty."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got ''")
    return text


def whole(low: int, high: int = 1_000_000) -> Callable[[str], int]:
    """A type for argparse: a whole number in [low, high]."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high:,}, got {text!r}")
        return value

    return parse


def whole_list(low: int, high: int) -> Callable[[str], list[int]]:
    """A type for argparse: whole numbers in [low, high] with commas between them, as a list."""
    return lambda text: [whole(low, high)(part) for part in text.split(",")]


def positive(text: str) -> float:
    """A type for argparse: a finite number above 0."""
    value = _float(text)
    if value is None or not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def fraction(text: str) -> float:
    """A type for argparse: a number from 0 up to, but not including, 1."""
    value = _float(text)
    if value is None or not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a fraction from 0 to below 1, got {text!r}")
    return value


def _float(text):
    try:
        return float(text)
    except ValueError:
        return None


def add_model(parser: argparse._ActionsContainer, default: str = "cnn") -> None:
    """--model MODEL, for `open_model`; default: what --help says of it."""
    parser.add_argument(
        "--model",
        type=name,
        metavar="MODEL",
        help="a model file, the folder of a run, or cnn, dense or best: the trained models shipped here "
        f"(default: {default})",
    )


def image_size(text: str) -> str:
    """A type for argparse: height and width of a photo, '64x48', from 8 to 1000 each."""
    words = text.lower().split("x")
    if len(words) != 2:
        raise argparse.ArgumentTypeError(f"expected height x width such as 64x64, got {text!r}")
    return "x".join(str(whole(8, 1000)(word)) for word in words)


def add_data(parser: argparse.ArgumentParser | argparse._ArgumentGroup, skip: bool = True) -> None:
    """--data DATA and what belongs to it, for shared/data.py; skip: with --skip-bad."""
    parser.add_argument(
        "--data",
        type=name,
        metavar="DATA",
        help="a folder of photos with a subfolder for each class (or train and test with these), a folder of four IDX "
        "files, or an .npz as Keras has them (default: Fashion-MNIST, shipped here)",
    )
    if skip:
        add_skip(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="decode the photos of a folder anew, and keep them nowhere"
    )


def add_skip(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--skip-bad."""
    parser.add_argument(
        "--skip-bad", action="store_const", const=True, help="leave out photos of a folder that cannot be read"
    )


def open_model(given: str | None) -> tuple["Sequential", "Path"]:
    """(a model that finds classes of photos, the path of its file). Raises ModelFileError."""
    from cnn import photos

    model, path = load_any(given)
    photos.shape_of(model)
    return model, path


def load_any(given: str | None) -> tuple["Sequential", "Path"]:
    """(a model for photos of any size, the path of its file); None: the article's. Raises ModelFileError."""
    from cnn import models, pretrained
    from cnn.saving.model_file import file_in

    path = pretrained.path(given or "cnn") if given in (None, *pretrained.NAMES) else file_in(given)
    model = models.load_model(path)
    model.file = str(path)
    return model, path


def log(text: str = "") -> None:
    """A line for people, on stderr; nobody reading it is no reason to stop (see streams.Door)."""
    print(terminal.visible(text), file=sys.stderr, flush=True)


class Progress:
    """stderr for lines that are written again and again, with our own codes for the terminal."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> None:
        """Write text with codes of our own for the terminal."""
        terminal.draw(sys.stderr, text)
