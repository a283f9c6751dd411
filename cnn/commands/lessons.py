"""`cnn lessons`: three lessons as notebooks, for students and for the teacher, and worksheets on paper."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

HELP = "write a class kit: three lessons of 45 minutes as notebooks, for students and teacher, and worksheets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn lessons`."""
    parser.add_argument(
        "folder", metavar="DIR", type=options.name, help="where the folders students and teacher are made"
    )
    parser.add_argument(
        "--students",
        metavar="N",
        type=options.whole(1, 200),
        help="also worksheets for so many, each with a photo of its own, and their key (PDF)",
    )
    parser.add_argument(
        "--seed",
        metavar="S",
        type=options.whole(0),
        help="draws the worksheets: the same seed draws the same, another class gets another (default 0)",
    )
    parser.add_argument("--force", action="store_true", help="write over files that somebody has changed")


def run(args: argparse.Namespace) -> None:
    """Write the notebooks, and with --students the worksheets. Raises UsageError for files that somebody changed."""
    from pathlib import Path

    from cnn import lessons
    from cnn.commands.shared import files
    from cnn.errors import UsageError

    if args.seed is not None and args.students is None:
        raise UsageError("--seed draws worksheets: give --students as well, or leave it out")
    folder = Path(args.folder)
    content: dict[str, bytes] = {name: text.encode() for name, text in lessons.notebooks().items()}
    if not args.force:
        require_unchanged(folder, content)  # before anything is drawn, which takes a while
    if args.students:
        content |= lessons.worksheets(args.students, args.seed or 0)
    if not args.force:
        require_unchanged(folder, content)
    for name, data in content.items():
        files.make_folder((folder / name).parent)
        files.write(folder / name, data)
    options.log(f"wrote {len(content)} files: {folder / 'students'} to hand out, {folder / 'teacher'} with the answers")
    options.log('Notebooks open in Jupyter: pip install ".[lessons]" in the clone, then jupyter notebook')


def require_unchanged(folder: "Path", content: Mapping[str, bytes]) -> None:
    """Raises UsageError where a file is there that holds anything else: students write into notebooks."""
    from cnn.errors import UsageError

    paths = [folder / name for name in content]
    there = [path for path in paths if path.exists()]
    kept = [path for path, data in zip(paths, content.values(), strict=True) if path in there and not same(path, data)]
    if kept:
        more = f" and {len(kept) - 1} more are" if kept[1:] else " is"
        raise UsageError(f"{kept[0]}{more} there already with other content: choose another DIR, or add --force")


def same(path: "Path", data: bytes) -> bool:
    """Whether the file holds just these bytes."""
    return path.is_file() and path.read_bytes() == data
