"""The files that commands write and the small ones that they read."""

import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cnn.saving import atomic, strict_json

MAX_BYTES = 1 << 20


def write(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part. OSError names it.

    What is no file, such as /dev/null or a pipe, is not replaced but written to.
    """
    path, data = os.fspath(path), content.encode() if isinstance(content, str) else content
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(data)
        return
    try:
        with atomic.replacing(path) as file:
            file.write(data)
    except OSError as error:  # which speaks of the path behind all links
        raise OSError(error.errno, error.strerror, path) from error


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON file for people and programs. Raises ValueError for NaN and infinity, which JSON does not know."""
    write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write(path, text.getvalue())


def make_folder(path: str | os.PathLike) -> Path:
    """The folder, made if need be, however deep it lies."""
    folder = Path(path)
    for part in reversed(folder.parents):  # mkdir(parents=True) calls itself for each
        if not part.exists():
            part.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    return folder


def read_small(path: str | os.PathLike) -> bytes:
    """The bytes of a small file that anybody may have put there. OSError for a pipe, a device, over a megabyte."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for its writer
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "expected a regular file", os.fspath(path))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(0, f"expected at most {MAX_BYTES:,} bytes", os.fspath(path))
    return data


def read_json(path: str | os.PathLike) -> dict:
    """The object in a small JSON file of ours; {} where there is none, or anything else."""
    try:
        found = strict_json.parse(read_small(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
