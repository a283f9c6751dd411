"""A folder of photos, one subfolder a class: which photos there are, of which class, and which are for testing.

    FOLDER/cat/1.jpg ...  FOLDER/dog/1.jpg ...          a share of each class is held out for testing, drawn by a seed
    FOLDER/train/cat/1.jpg ...  FOLDER/test/cat/7.jpg   those in test are

Nothing is decoded here. A folder may come from an enemy, out of an archive: links that lead out of it are not followed,
and names are text.
"""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cnn.errors import DataError
from cnn.terminal import visible

ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_CLASSES = 10_000
LONGEST_NAME = 100  # of a class, as model files keep it


class PhotoFile(NamedTuple):
    """A photo that has not been read yet."""

    path: str  # within the folder
    label: int


class Folder(NamedTuple):
    """What is in a folder."""

    root: Path
    class_names: tuple[str, ...]
    train: list[PhotoFile]  # the classes mixed
    test: list[PhotoFile]
    held_out: bool  # whether the test photos were drawn from one set, or have a folder of their own
    left_out: list[str]  # other files, of which nothing is known


def find(directory: str | os.PathLike, test_split: float, seed: int) -> Folder:
    """The photos in a folder of classes. Raises DataError for anything else.

    test_split: the share of each class that is held out for testing, by seed, where there is no folder `test`.
    """
    root = Path(directory)
    try:
        names = [entry.name for entry in _subfolders(root)]
        left_out: list[str] = []
        if "train" in names and "test" in names:
            classes, train = _classes(root, "train", left_out)
            others, test = _classes(root, "test", left_out)
            _require_known(root / "test", others, classes)
            test = [[] if name not in others else test[others.index(name)] for name in classes]
            split = train, test, False
        else:
            classes, found = _classes(root, "train" if names == ["train"] else "", left_out)
            split = *_held_out(root, classes, found, test_split, seed), True
    except OSError as error:
        raise DataError(f"{visible(error.filename or str(root))}: cannot be read: {error.strerror}") from error
    train, test, held_out = split
    return Folder(root, classes, _in_order(train, seed), _in_order(test, seed), held_out, left_out)


def _subfolders(directory: Path) -> list[os.DirEntry]:
    """Those that may be classes, by name: none that is hidden, nor what a Mac puts into archives."""
    with os.scandir(directory) as entries:
        found = [entry for entry in entries if entry.is_dir() and not _hidden(entry.name)]
    return sorted(found, key=lambda entry: entry.name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _classes(root: Path, part: str, left_out: list[str]) -> tuple[tuple[str, ...], list[list[str]]]:
    """(the names of the classes in a part of the folder, the paths of the photos of each). Raises DataError."""
    folder = root / part
    entries = _subfolders(folder)
    names = tuple(entry.name for entry in entries)
    if len(names) < (1 if part == "test" else 2):
        got = f"only {visible(names[0])!r}" if names else "none"
        expected = "expected a subfolder of photos for each of two classes or more"
        raise DataError(f"{visible(str(folder))}: {expected}, got {got}")
    _check_names(folder, names)
    found = []
    for entry in entries:
        _require_inside(root, entry)
        photos: list[str] = []
        for path in _files(root, entry.path):
            (photos if path.lower().endswith(ENDINGS) else left_out).append(path)
        if not photos:
            raise DataError(f"{visible(entry.path)}: expected photos ({' '.join(ENDINGS)}), found none")
        found.append(photos)
    return names, found


def _files(root: Path, folder: str) -> Iterator[str]:
    """The paths within root of all files in a folder, however deep. Raises DataError for a link that leaves root."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _hidden(entry.name):
                continue
            _require_inside(root, entry)
            if entry.is_dir():
                yield from _files(root, entry.path)
            else:
                yield os.path.relpath(entry.path, root)


def _require_inside(root: Path, entry: os.DirEntry) -> None:
    """Raise DataError for a link to a folder, which may hold itself, and for one to a file outside."""
    if not entry.is_symlink():
        return
    target = os.path.realpath(entry.path)
    if entry.is_dir() or os.path.commonpath([target, os.path.realpath(root)]) != os.path.realpath(root):
        kind = "a link to a folder" if entry.is_dir() else "a link that leaves the folder"
        raise DataError(f"{visible(entry.path)}: expected files of its own in {visible(str(root))}, got {kind}")


def _check_names(folder: Path, names: tuple[str, ...]) -> None:
    """Raise DataError unless these are not too many classes, with names that can be shown and told apart."""
    where = visible(str(folder))
    if len(names) > MOST_CLASSES:
        raise DataError(f"{where}: expected at most {MOST_CLASSES:,} classes, got {len(names):,}")
    seen: dict[str, str] = {}
    for name in names:
        if not name.isprintable() or len(name) > LONGEST_NAME:
            limit = f"of at most {LONGEST_NAME} printable characters"
            raise DataError(f"{where}: expected classes with names {limit}, got '{visible(name)[:200]}'")
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain in seen:
            raise DataError(
                f"{where}: expected classes that differ by more than case, got {seen[plain]!r} and {name!r}"
            )
        seen[plain] = name


def _require_known(folder: Path, others: tuple[str, ...], classes: tuple[str, ...]) -> None:
    for name in others:
        if name not in classes:
            raise DataError(f"{visible(str(folder))}: expected the classes of train, got {name!r}, which is not there")


def _held_out(root, classes, found, share, seed) -> tuple[list[list[str]], list[list[str]]]:
    """(the photos of each class to learn from, those to test with).

    A photo is drawn by its name: one that is added later changes little of what the others are for.
    """
    train, test = [], []
    for name, paths in zip(classes, found, strict=True):
        if len(paths) < 2:
            raise DataError(
                f"{visible(str(root / name))}: expected 2 photos or more, one to test with, got {len(paths)}"
            )
        count = min(max(round(len(paths) * share), 1), len(paths) - 1)
        drawn = set(in_drawn_order(paths, seed)[:count])
        train.append([path for path in paths if path not in drawn])
        test.append([path for path in paths if path in drawn])
    return train, test


def in_drawn_order(paths: list[str], seed: int) -> list[str]:
    """The paths in an order that the seed draws: by a hash of each."""
    return sorted(paths, key=lambda path: hashlib.blake2b(f"{seed}/".encode() + os.fsencode(path)).digest())


def _in_order(by_class: list[list[str]], seed: int) -> list[PhotoFile]:
    """By their numbers, where all photos have one of their own: they may have been cut out of a set. Else as drawn."""
    label_of = {path: label for label, paths in enumerate(by_class) for path in paths}
    stems = [os.path.splitext(os.path.basename(path))[0] for path in label_of]
    numbered = len(set(stems)) == len(stems) and all(stem.isdecimal() and len(stem) < 19 for stem in stems)
    in_order = sorted(label_of, key=lambda path: int(os.path.splitext(os.path.basename(path))[0])) if numbered else None
    return [PhotoFile(path, label_of[path]) for path in in_order or in_drawn_order(list(label_of), seed)]


def held_back_last(files: list[PhotoFile], share: float, seed: int) -> list[PhotoFile]:
    """The same photos, a share of each class at the end, where `fit` holds back for its validation."""
    by_class = defaultdict(list)
    for file in files:
        by_class[file.label].append(file.path)
    last = len(files) - int(len(files) * (1 - share) + 1e-9)  # as fit cuts them
    rank = {}  # how far a photo is from the end of its class, as a share of it
    for paths in by_class.values():
        for place, path in enumerate(in_drawn_order(paths, seed)):
            rank[path] = (place + 0.5) / len(paths)
    back = {file.path for file in sorted(files, key=lambda file: (rank[file.path], file.path))[:last]}
    return [file for file in files if file.path not in back] + [file for file in files if file.path in back]
