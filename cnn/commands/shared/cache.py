"""Photos that were decoded once, in a file beside the runs: batches are read from there, however many photos there are.

    the photos' bytes, one after the other | JSON: what they are made from and how, their SHA-256 | its length, 8 bytes

The file takes its place only when it is whole. Where a photo has another size or date since, or the file another byte,
the photos are decoded again.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from cnn import terminal
from cnn.commands.shared import files, options
from cnn.datasets.decoding import Tally, decoded
from cnn.datasets.folder import PhotoFile
from cnn.datasets.preparation import Shape
from cnn.errors import DataError, ModelFileError
from cnn.saving import atomic, strict_json
from kernels import threads

FORMAT = 1
PIECE = 1 << 20
ROOM = 100_000_000  # bytes that stay free on the disk


class Decoded(NamedTuple):
    """Photos of a folder as bytes, and what was done to them."""

    photos: np.ndarray  # uint8 (N, H, W) or (N, H, W, 3), in a file
    tally: Tally


def photos(
    root: Path, found: Sequence[PhotoFile], shape: Shape, fit: str, skip_bad: bool, place: Path | None, write: bool
) -> Decoded:
    """The photos in these files: from the cache in the folder `place`, or decoded now and, with `write`, kept there.

    Without a place, or where nothing is to be written, they go into a temporary file that nobody else sees.
    Raises DataError for a photo that cannot be read, OSError where there is no room.
    """
    key = _key(root, found, shape, fit, skip_bad)
    path = None if place is None else place / f"photos-{key[:16]}.cache"
    if path is not None and (known := _read(path, key, shape)):
        return known

    tally, needed = Tally(), len(found) * math.prod(shape)

    def make(file: IO[bytes]) -> None:
        with _progress(len(found)) as done:
            stream = decoded(root, found, shape, fit, tally, skip_bad, threads.get_threads(), done)
            _write(file, stream, key, shape, tally)

    def view(file: IO[bytes]) -> Decoded:
        return Decoded(_map(file, len(found) - len(tally.skipped), shape), tally)

    if path is None or not write:
        _require_room(Path(tempfile.gettempdir()), needed)
        with tempfile.TemporaryFile() as unnamed:  # the system keeps it for as long as it is mapped
            make(unnamed)
            return view(unnamed)
    with _folder(path.parent):
        _require_room(path.parent, needed)
        with atomic.replacing(str(path)) as new:
            make(new)
    options.log(f"{'decoded':<11} {path} keeps the photos for the next time, and may be deleted")
    with open(path, "rb") as kept:
        return view(kept)


@contextlib.contextmanager
def _folder(place: Path) -> Iterator[None]:
    """The folder of the runs, made if need be; if it was, and this block fails, it goes again. Raises OSError."""
    made = not place.exists()
    try:
        files.make_folder(place)
    except OSError as error:
        raise OSError(f"{place}: cannot keep a run here: {error.strerror}") from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def _key(root, found, shape, fit, skip_bad) -> str:
    """What the photos depend on, as a hash: the files' names, sizes and dates, and what is done to them."""
    import PIL

    digest = hashlib.sha256(json.dumps([FORMAT, PIL.__version__, shape, fit, skip_bad]).encode())
    for file in found:
        try:
            about = os.stat(root / file.path)
        except OSError as error:
            raise DataError(f"{terminal.visible(str(root / file.path))}: cannot be read: {error.strerror}") from None
        digest.update(os.fsencode(file.path) + f"\0{about.st_size} {about.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _require_room(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed + ROOM:
        expected = f"expected at least {(needed + ROOM) / 1e6:.0f} MB of free disk for the decoded photos"
        raise OSError(0, f"{expected}, got {free / 1e6:.0f} MB", str(folder))


def _shape_of(count: int, shape: Shape) -> tuple[int, ...]:
    return (count, *shape[:2]) if shape[2] == 1 else (count, *shape)


def _map(file: IO[bytes], count: int, shape: Shape) -> np.ndarray:
    return np.memmap(file, np.uint8, "r", shape=_shape_of(count, shape))


# ---- the file


def _write(file: IO[bytes], stream: Iterator[np.ndarray], key: str, shape: Shape, tally: Tally) -> None:
    """Decode the photos into a file, and say behind them what they are."""
    digest, count = hashlib.sha256(), 0
    for count, photo in enumerate(stream, start=1):  # noqa: B007 - the last one counts
        data = photo.tobytes()
        digest.update(data)
        file.write(data)
    if count == 0:
        raise DataError(
            f"expected photos, but none of the {len(tally.skipped):,} files can be read: {tally.skipped[0][1]}"
        )
    about = {"key": key, "count": count, "shape": shape, "sha256": digest.hexdigest()}
    told = json.dumps(about | {"notes": tally.notes, "skipped": tally.skipped}).encode()
    file.write(told + len(told).to_bytes(8, "big"))
    file.flush()


def _read(path: Path, key: str, shape: Shape) -> Decoded | None:
    """What a cache holds, once its every byte is checked; None where there is none, or none of these photos."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer
        with open(descriptor, "rb") as file:
            about, size = _about(file, key, shape)
            digest, left = hashlib.sha256(), size
            file.seek(0)
            while left and (piece := file.read(min(PIECE, left))):
                digest.update(piece)
                left -= len(piece)
            if digest.hexdigest() != about["sha256"]:
                raise ModelFileError("its photos have another SHA-256")
            return Decoded(_map(file, about["count"], shape), _tally(about))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, OverflowError) as error:
        options.log(f"warning: {path} is damaged ({error}): the photos are decoded again")
        return None


def _about(file, key, shape) -> tuple[dict, int]:
    """(what stands behind the photos, how many bytes these are). Raises ValueError."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size < 8:
        raise ModelFileError("expected a file of photos")
    file.seek(status.st_size - 8)
    length = int.from_bytes(file.read(8), "big")
    size = status.st_size - 8 - length
    if not (0 < length <= strict_json.MAX_BYTES and size > 0):
        raise ModelFileError("it was cut off")
    file.seek(size)
    names = "key", "count", "shape", "sha256", "notes", "skipped"
    about = dict(zip(names, strict_json.values("cache", strict_json.parse(file.read(length)), *names), strict=True))
    if about["key"] != key or about["shape"] != list(shape) or math.prod(_shape_of(about["count"], shape)) != size:
        raise ModelFileError("it holds other photos")
    return about, size


def _tally(about) -> Tally:
    tally = Tally()
    tally.notes.update({str(name): int(count) for name, count in about["notes"].items()})
    tally.skipped = [(int(place), str(why)) for place, why in about["skipped"]]
    return tally


# ---- what is seen of it


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of photos done: a bar on a terminal, elsewhere one line before it all."""
    stream, live = options.Progress(), sys.stderr.isatty()
    style = terminal.style_of(sys.stderr)
    if not live:
        options.log(f"decoding {total:,} photos ...")

    def done(count):
        if live:
            bar = terminal.bar(count / total, 30, style)
            stream.write(f"\rdecoding the photos  {bar:<30} {count:,} of {total:,}\x1b[K")

    try:
        done(0)
        yield done
    finally:
        if live:
            stream.write("\r\x1b[K")
