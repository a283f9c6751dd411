"""Text for the terminal: photos out of half-blocks, bars, columns. Colour and Unicode only where they can be shown."""

import os
import re
import shutil
import sys
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    import numpy as np

RESET = "\x1b[0m"
SHADES_ASCII = " .:-=+*#%@"
SHADES = " ░▒▓█"
EIGHTHS = " ▏▎▍▌▋▊▉"
# What we draw in colour, whole: signs that are no letters, each in its colours, and the end of all colours.
DRAWING = re.compile(r"((?:\x1b\[38;5;\d{1,3}(?:;48;5;\d{1,3})?m[▀+#=-]+)+\x1b\[0m)")
SUSPECT = re.compile(r"[^ -~]")


class Style(NamedTuple):
    """What the terminal can show."""

    unicode: bool
    colour: bool
    width: int


def style_of(stream: TextIO | None = None, colour: str = "auto", ascii_only: bool = False) -> Style:
    """The style for a stream (default: stdout). colour: 'always', 'never' beat NO_COLOR, FORCE_COLOR beat 'auto'."""
    stream = stream or sys.stdout
    unicode = not ascii_only and can_write(stream, SHADES + EIGHTHS + "▀▄→✓✗")
    return Style(
        unicode, unicode and _wants_colour(stream, colour), min(shutil.get_terminal_size((80, 24)).columns, 200)
    )


def _wants_colour(stream, choice: str) -> bool:
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")


def can_write(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has all these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def visible(text: str, keep: str = "") -> str:
    r"""The text with all that a terminal would obey, or not show, made visible: \x1b, \u202e. keep: such as "\n"."""
    return SUSPECT.sub(
        lambda found: found[0] if found[0].isprintable() or found[0] in keep else _escape(found[0]), text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def shown(text: str) -> str:
    """`visible`, but for the ends of lines and what this module has drawn."""
    pieces = DRAWING.split(text)  # every second one is a drawing
    return "".join(piece if k % 2 else visible(piece, "\n") for k, piece in enumerate(pieces))


def draw(stream: TextIO, text: str) -> None:
    """Write text with codes of our own for the terminal on a stream, with a door or without, at once."""
    getattr(stream, "draw", stream.write)(text)
    stream.flush()


def draw_photo(photo: "np.ndarray", style: Style) -> list[str]:
    """A photo (H, W) or (H, W, 3), uint8, H even, as H/2 lines of W characters: each shows two pixels, upper and lower.

    With colour, half-blocks in 26 greys, or in 216 colours; without, blocks and shades, or ASCII. Bright pixels are the
    inked ones.
    """
    in_colour = photo.ndim == 3
    if in_colour and not style.colour:
        photo = photo.mean(axis=2).round()
    rows = photo.astype(int).reshape(len(photo) // 2, 2, photo.shape[1], -1)
    pairs = [list(zip(upper.tolist(), lower.tolist(), strict=True)) for upper, lower in rows]
    if style.colour:
        return [_coloured_line(line, _colour if in_colour else _grey) for line in pairs]
    character = _block if style.unicode else _ascii
    return ["".join(character(*top, *bottom) for top, bottom in line) for line in pairs]


def _coloured_line(pairs, code) -> str:
    codes = [(code(*top), code(*bottom)) for top, bottom in pairs]
    runs = ((colours, len(list(run))) for colours, run in groupby(codes))
    return "".join(f"\x1b[38;5;{top};48;5;{bottom}m" + "▀" * count for (top, bottom), count in runs) + RESET


def _colour(red: int, green: int, blue: int) -> int:
    """The nearest of the terminal's colours: six steps each of red, green and blue, from 16 on."""
    red, green, blue = (round(value / 255 * 5) for value in (red, green, blue))
    return 16 + 36 * red + 6 * green + blue


def _grey(value: int) -> int:
    """The nearest of the terminal's greys: black is 16, white 231, and 232 to 255 are the steps between."""
    step = round(value / 255 * 25)
    return {0: 16, 25: 231}.get(step, 231 + step)


def _block(top: int, bottom: int) -> str:
    """A half-block at a sharp edge between the two pixels, else the shade of both."""
    if abs(top - bottom) > 110:
        return "▀" if top > bottom else "▄"
    return SHADES[round((top + bottom) / 510 * (len(SHADES) - 1))]


def _ascii(top: int, bottom: int) -> str:
    return SHADES_ASCII[round((top + bottom) / 510 * (len(SHADES_ASCII) - 1))]


def fitted(photo: "np.ndarray", most: int) -> "np.ndarray":
    """A photo (H, W, ...) of at most so many rows and columns, for draw_photo: its pixels are means of neighbours."""
    height, width = photo.shape[:2]
    factor = min(1.0, most / max(height, width))
    for axis, new in enumerate((max(2, int(height * factor) // 2 * 2), max(1, int(width * factor)))):
        photo = _means(photo, new, axis)
    return photo.round().astype("uint8")


def _means(values, new, axis):
    """Along an axis `new` means of neighbours."""
    import numpy as np

    old = values.shape[axis]
    if new == old:
        return values
    starts = np.arange(new) * old // new
    counts = np.diff(starts, append=old).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    return np.add.reduceat(values.astype(float), starts, axis) / counts


def bar(share: float, width: int, style: Style) -> str:
    """A bar of at most `width` characters; in Unicode exact to an eighth of one. No spaces behind it."""
    if not style.unicode:
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def percent(share: float, digits: int = 2) -> str:
    """54.16%; what rounds to all is written >99.99%: a softmax is never quite sure, however its digits end."""
    text = f"{share:.{digits}%}"
    return f">{1 - 10 ** -(digits + 2):.{digits}%}" if text.startswith("100") else text


def beside(left: list[str], right: list[str], left_width: int, gap: int = 3) -> list[str]:
    """Two blocks of lines next to each other. left_width: how wide the left one looks, colour codes not counted."""
    blank = " " * left_width
    count = max(len(left), len(right))
    left, right = left + [blank] * (count - len(left)), right + [""] * (count - len(right))
    return [f"{a}{' ' * gap}{b}".rstrip(" ") if b else a.rstrip(" ") for a, b in zip(left, right, strict=True)]


def columns(blocks: list[list[str]], gap: int = 1) -> list[str]:
    """Blocks of equally many lines, all of them as wide as their block, in one row."""
    return [(" " * gap).join(line).rstrip(" ") for line in zip(*blocks, strict=True)]


def fill(text: str, width: int, indent: str = "") -> str:
    """A paragraph, broken between words; the lines after the first are indented."""
    import textwrap

    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
