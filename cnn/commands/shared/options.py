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


def add_model(parser: argparse.ArgumentParser, default: str = "cnn") -> None:
    """--model MODEL, for `open_model`; default: what --help says of it."""
    parser.add_argument(
        "--model",
        type=name,
        metavar="MODEL",
        help="a model file, the folder of a run, or cnn, dense or best: the trained models shipped here "
        f"(default: {default})",
    )


def add_data(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--data DIR, for the functions of cnn.datasets.fashion_mnist."""
    parser.add_argument(
        "--data",
        type=name,
        metavar="DIR",
        help="four IDX files of the MNIST family (default: Fashion-MNIST, shipped here)",
    )


def open_model(given: str | None) -> tuple["Sequential", "Path"]:
    """(a model for photos of 28x28 in ten classes, the path of its file). Raises ModelFileError."""
    from cnn import models, pretrained
    from cnn.errors import ModelFileError
    from cnn.saving.model_file import file_in

    path = pretrained.path(given or "cnn") if given in (None, *pretrained.NAMES) else file_in(given)
    model = models.load_model(path)
    model.file = str(path)
    shapes = model.photo_shape, model.result_shape
    if shapes != ((28, 28, 1), (10,)):
        raise ModelFileError(
            f"{path}: expected a model that makes (10,) of (28, 28, 1), got {shapes[1]} of {shapes[0]}"
        )
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
