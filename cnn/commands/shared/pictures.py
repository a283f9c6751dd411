"""What the commands that show something share: the flags for the terminal, and picture files."""

import argparse
import io
import os
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from matplotlib.figure import Figure

    from cnn import terminal

FORMATS = (".png", ".pdf", ".svg")


def add_look(parser: argparse.ArgumentParser) -> None:
    """--color and --ascii, for terminal.style_of."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="photos in shades of grey (default: on a terminal)",
    )
    parser.add_argument("--ascii", action="store_true", help="nothing but ASCII characters")


def style(args: argparse.Namespace) -> "terminal.Style":
    """The terminal.Style that the flags of add_look ask for."""
    from cnn import terminal

    return terminal.style_of(colour=args.color, ascii_only=args.ascii)


def check(flag: str, path: str | None) -> None:
    """Before any work: the picture file can be one. Raises UsageError for another ending or for no folder."""
    from cnn.errors import UsageError

    if path is None:
        return
    if os.path.splitext(path)[1].lower() not in FORMATS:
        raise UsageError(f"{flag}: expected a name that ends in {' or '.join(FORMATS)}, got {path!r}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"{flag}: {path}: there is no folder {folder}")


def write(figure: "Figure", path: str) -> None:
    """Save a figure and say so on stderr. Raises RuntimeError for one that cannot be drawn, OSError for its file."""
    from cnn.commands.shared import files, options

    files.write(path, drawn(figure, path))
    options.log(f"wrote {path}")


def drawn(figure: "Figure", path: str, **settings: Any) -> bytes:
    """What a figure's file will hold, without dates or versions: the same figure gives the same bytes.

    Raises RuntimeError, with the file's name, for a figure that matplotlib cannot draw, as where somebody's
    matplotlibrc asks for a LaTeX that is not there.
    """
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Producer": None}, ".svg": {"Date": None}}
    ending, buffer = os.path.splitext(path)[1].lower(), io.BytesIO()
    try:
        from matplotlib import rc_context

        with warnings.catch_warnings(), rc_context({"svg.hashsalt": "cnn"}):  # else SVG draws its names at random
            warnings.filterwarnings("ignore", "Glyph .* missing")  # names may be in any script
            figure.savefig(buffer, format=ending[1:], metadata=metadata[ending], **settings)
    except Exception as error:
        raise RuntimeError(f"{path}: cannot be drawn: {error}") from error
    return buffer.getvalue()


def numbered(path: str | None, count: int) -> list[str]:
    """card.png, card-2.png, card-3.png ... for `count` pictures; none without a path."""
    if path is None:
        return []
    stem, ending = os.path.splitext(path)
    return [path] + [f"{stem}-{k}{ending}" for k in range(2, count + 1)]
