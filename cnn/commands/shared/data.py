"""What --data names: the photos that a network learns from, is tested with and is shown.

Fashion-MNIST, shipped here, without it; four IDX files in a directory; Keras' .npz; or a folder of photos, whose files
are prepared as the model at hand has its photos.
"""

import argparse
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn.datasets.folder import Folder, PhotoFile
    from cnn.datasets.idx import Split
    from cnn.datasets.preparation import Preparation, Shape
    from cnn.models import Sequential

# Of a run that learns from a folder; None: what the photos suggest, and of others nothing.
DEFAULTS: dict[str, Any] = dict.fromkeys(("image_size", "color", "fit", "test_split", "skip_bad"))
USUAL_FIT, USUAL_SPLIT = "crop", 0.2
CHANNELS = {"gray": 1, "rgb": 3}

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = "train", "test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of DEFAULTS; None where they are not given."""
    group = parser.add_argument_group("the photos of a folder: one way for all of them, kept in the model")
    add = group.add_argument
    add(
        "--image-size", type=options.image_size, metavar="HxW", help="(default: their own, if all have one up to 64x64)"
    )
    add("--color", choices=tuple(CHANNELS), help="(default: gray, if all are)")
    fits = group.add_mutually_exclusive_group()
    for name, what in (("crop", "cut to the middle (default)"), ("pad", "black beside it"), ("stretch", "as it comes")):
        told = f"a photo of another shape: {what}"
        fits.add_argument(f"--{name}", dest="fit", action="store_const", const=name, help=told)
    split = "hold out this share of each class to test with, where there is no folder `test`; drawn by --seed"
    add("--test-split", type=options.fraction, metavar="F", help=f"{split} (default: {USUAL_SPLIT})")
    options.add_skip(group)


class Source:
    """Photos in two parts, with what is known of them before they are read."""

    preparation: "Preparation | None" = None

    def __init__(self, directory: str | None, shape: "Shape", class_names: Sequence[str]):
        self.directory, self.shape, self.class_names = directory, shape, tuple(class_names)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of DEFAULTS with which the same photos are made again."""
        return DEFAULTS

    def split(self, part: Part) -> "Split":
        """The photos, uint8 (N, H, W) or (N, H, W, 3), and their classes (N,). Raises DataError."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.directory or "Fashion-MNIST"


class Loaded(Source):
    """Photos in files that hold a whole set; load(part) reads a part of them."""

    def __init__(self, directory: str | None, load: "Callable[[Part], Split]", class_names: Sequence[str] | None):
        self.load: Callable[[Part], Split] = functools.cache(load)
        photos, labels = self.load("test")
        shape = (*photos.shape[1:3], photos.shape[3] if photos.ndim == 4 else 1)
        if class_names is None:  # nothing tells them: they are numbers
            count = max(int(part.max()) for part in (labels, self.load("train")[1])) + 1
            class_names = list(map(str, range(max(count, 2))))
        super().__init__(directory, shape, class_names)

    def split(self, part: Part) -> "Split":
        from cnn.errors import DataError

        photos, labels = self.load(part)
        if (*photos.shape[1:], 1)[:3] != self.shape:
            raise DataError(f"{self}: expected photos of {self.shape}, as in its other part, got {photos.shape[1:]}")
        if labels.max() >= len(self.class_names):
            got = f"a photo of class {labels.max()}"
            raise DataError(f"{self}: expected the classes 0 to {len(self.class_names) - 1} of the model, got {got}")
        return photos, labels


class OfFolder(Source):
    """Photos in files of their own."""

    def __init__(
        self, found: "Folder", shape: "Shape", preparation: "Preparation", args: argparse.Namespace, **more: Any
    ):
        super().__init__(str(found.root), shape, found.class_names)
        self.found, self.how = found, preparation
        self.preparation = preparation
        self.skip_bad, self.keep = bool(args.skip_bad), not args.no_cache
        self.place: Path | None = more.get("place")
        self.numbers: list[int] = more.get("numbers") or list(range(len(found.class_names)))
        self.writes: bool = more.get("writes", False)
        self.validation_split: float = more.get("validation_split", 0.0)

    @property
    def settings(self) -> dict[str, Any]:
        height, width, channels = self.shape
        return {
            "image_size": f"{height}x{width}",
            "color": "gray" if channels == 1 else "rgb",
            "fit": self.how.fit,
            "test_split": self.how.test_split if self.found.held_out else None,
            "skip_bad": self.skip_bad or None,
        }

    def files(self, part: Part) -> "list[PhotoFile]":
        """The files of a part, in their order."""
        from cnn.datasets import folder

        found = getattr(self.found, part)
        if part == "train" and self.validation_split:
            found = folder.held_back_last(found, self.validation_split, self.how.seed)
        return found

    def split(self, part: Part) -> "Split":
        import numpy as np

        from cnn.commands.shared import cache

        files = self.files(part)
        place = self.place if self.keep else None
        fit = self.how.fit
        photos, tally = cache.photos(self.found.root, files, self.shape, fit, self.skip_bad, place, self.writes)
        skipped = {at for at, _ in tally.skipped}
        labels = [self.numbers[file.label] for at, file in enumerate(files) if at not in skipped]
        for line in _told(part, tally):
            options.log(line)
        self._require_all_classes(part, labels)
        return photos, np.array(labels, np.uint8 if max(labels) < 256 else np.uint16)

    def _require_all_classes(self, part, labels):
        """Raise DataError for a class of which no photo is left to learn from."""
        from cnn.errors import DataError

        for number, name in zip(self.numbers, self.class_names, strict=True) if part == "train" else ():
            if number not in set(labels):
                raise DataError(f"{self.directory}: expected photos of {name!r} that can be read, found none")


def _told(part, tally):
    """What was done to the photos of a part, and which were left out, in a few lines."""
    done = ", ".join(f"{count:,} {note}" for note, count in tally.notes.most_common())
    lines = [f"{part + ' photos':<11} {done}"] if done else []
    if tally.skipped:
        lines.append(f"warning: {len(tally.skipped):,} {part} photos are left out:")
        lines += [f"  {why}" for _, why in tally.skipped[:SHOWN]]
        lines += [f"  and {len(tally.skipped) - SHOWN:,} more"] if len(tally.skipped) > SHOWN else []
    return lines


SHOWN = 10  # files that could not be read


# ---- which source it is


def of_settings(args: argparse.Namespace, settings: dict) -> Source:
    """The photos for a new run of `cnn train`. Raises DataError, and UsageError for flags of a folder beside others."""
    from cnn.datasets.preparation import Preparation
    from cnn.errors import UsageError

    if (source := _loaded(args.data)) is not None:
        for key in DEFAULTS:
            if settings[key] is not None:
                flag = settings["fit"] if key == "fit" else key.replace("_", "-")
                raise UsageError(f"--{flag}: expected a folder of photos as --data, got {source}, taken as it is")
        return source
    split = USUAL_SPLIT if settings["test_split"] is None else settings["test_split"]
    preparation = Preparation(settings["fit"] or USUAL_FIT, split, settings["seed"])
    more = {"place": Path(args.out), "writes": True, "validation_split": settings["validation_split"]}
    return _of_folder(args, preparation, settings, more)


def of_model(args: argparse.Namespace, model: "Sequential", path: Path, training: dict | None = None) -> Source:
    """The photos named by --data, or those of its run, as this model takes them, with its numbers for their classes.

    training: the settings of the run that goes on with them. Raises DataError, ModelFileError where they do not fit.
    """
    from cnn.datasets.preparation import Preparation
    from cnn.photos import class_names, shape_of

    args.data = args.data or learned_from(path.parent)
    shape, names = shape_of(model), class_names(model)
    if (loaded := _loaded(args.data, names)) is not None:
        _require_fit(loaded, shape, len(names), path)
        return loaded
    more: dict[str, Any] = {"place": path.parent.parent}
    if training is not None:
        more |= {"writes": True, "validation_split": training["validation_split"]}
    settings = {"image_size": f"{shape[0]}x{shape[1]}", "color": "gray" if shape[2] == 1 else "rgb"}
    found = _of_folder(args, model.preparation or Preparation(), settings, more)
    found.numbers = _numbers(found, names, path)
    return found


def learned_from(run: Path) -> str | None:
    """Where the photos of a run are, as its config.json says; None where that is Fashion-MNIST, or not there."""
    from cnn.commands.shared import files

    told = files.read_json(run / "config.json").get("data")
    directory = told.get("directory") if isinstance(told, dict) else None
    return directory if isinstance(directory, str) and os.path.exists(directory) else None


def of_command(args: argparse.Namespace) -> Source:
    """The photos named by --data, where no model says how it wants them. Raises DataError."""
    from cnn.datasets.preparation import Preparation

    return _loaded(args.data) or _of_folder(args, Preparation(), DEFAULTS, {})


def _loaded(directory: str | None, class_names: Sequence[str] | None = None) -> Loaded | None:
    """A whole set in files, of these classes; None for a folder of photos, whatever is in it. Raises DataError."""
    from cnn.datasets import fashion_mnist, idx, mnist
    from cnn.errors import DataError

    if directory is None:
        return Loaded(None, fashion_mnist.load_split, class_names or fashion_mnist.CLASS_NAMES)
    path = Path(directory)
    if not path.exists():
        raise DataError(f"{directory}: expected a folder of photos, one of IDX files, or an .npz, found nothing")
    if not path.is_dir():
        parts = dict(zip(("train", "test"), mnist.read_npz(path, any_photos=True), strict=True))
        return Loaded(directory, parts.__getitem__, class_names)
    try:
        if not idx.is_directory_of(path):
            return None
    except OSError as error:
        raise DataError(f"{directory}: cannot be read: {error.strerror}") from error
    return Loaded(directory, lambda part: idx.load_split(part, path), class_names)


def _of_folder(args, preparation, settings, more) -> OfFolder:
    from cnn.datasets import decoding, folder
    from kernels import threads

    found = folder.find(args.data, preparation.test_split, preparation.seed)
    if found.left_out:
        first = os.path.join(args.data, sorted(found.left_out)[0])
        options.log(
            f"{'left out':<11} {len(found.left_out):,} files that are no photos by their names, such as {first}"
        )
    shape = None
    if settings["image_size"] is None or settings["color"] is None:
        shape = decoding.usual_shape(found.root, found.train, threads.get_threads())
    height, width = map(int, settings["image_size"].split("x")) if settings["image_size"] else shape[:2]  # type: ignore[index]
    channels = CHANNELS[settings["color"]] if settings["color"] else shape[2]  # type: ignore[index]
    return OfFolder(found, (height, width, channels), preparation, args, **more)


def _require_fit(source, shape, count, path) -> None:
    """Raise ModelFileError for a model of other photos than those of a set."""
    from cnn.datasets.fashion_mnist import CLASS_NAMES
    from cnn.errors import ModelFileError

    classes = count if source.directory else len(CLASS_NAMES)
    if (source.shape, classes) != (shape, count):
        hint = "" if source.directory else ": name its photos with --data"
        wanted = f"a model that makes ({classes},) of {source.shape}, as {source} has them"
        raise ModelFileError(f"{path}: expected {wanted}, got one that makes ({count},) of {shape}{hint}")


def _numbers(source, names, path) -> list[int]:
    """The model's number for each class of a folder. Raises DataError for one that it does not know."""
    from cnn.errors import DataError

    for name in source.class_names:
        if name not in names:
            known = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
            raise DataError(f"{source}: expected the classes of {path}, which are {known}; got {name!r}")
    return [names.index(name) for name in source.class_names]
