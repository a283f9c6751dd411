"""Reads any image file as colours, the right way up and free of transparency, whatever the file is or pretends to be.

A file may come from an enemy, and Pillow decodes what it is given: a few hundred kilobytes can unfold to gigabytes.
So the size that a file claims is checked before anything is decoded; what is decoded is made smaller at once, before
it is laid on white and made floating point; and whatever Pillow raises becomes one DataError.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cnn.errors import DataError
from cnn.terminal import visible

if TYPE_CHECKING:  # matplotlib brings it, and it takes a while to load
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_BYTES = 256 * 2**20  # of the file
MAX_PIXELS = 100_000_000  # a JPEG whose colours lie in scans of their own takes 8 bytes for each, all others far less
MAX_WHOLE = 25_000_000  # pixels where all of them must be decoded, at up to 16 bytes each; only JPEG can do with fewer
LARGE = 1000  # pixels along a side, more than is ever needed
ORIENTATION = 274  # the number of this entry in a camera's notes
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
FIRST = "its first picture was taken of several: an animation"
TILE_SIZE = 322, 323  # the numbers of a TIFF's entries for the width and height of the tiles it is stored in

Array = np.ndarray
Size = tuple[int, int]  # width and height


def read_colours(path: str | os.PathLike) -> tuple[Array, list[str], Size]:
    """The picture in a file: float32 (H, W, 3) from 0 to 255, notes of what was done to it, and its size upright.

    A very large one is handed on smaller, since nobody would see the difference. Raises DataError for a file with no
    picture, with several, with a very small one, or with one that would need too much memory.
    """
    with quietly():
        return colours_in(path)


def colours_in(path: str | os.PathLike, first_of_many: bool = False) -> tuple[Array, list[str], Size]:
    """As read_colours, for many threads at once that are all within one `quietly`.

    first_of_many: of an animation its first picture, where read_colours wants to be told which.
    """
    with opened(path) as image:
        first = _check_image(image, first_of_many)
        colours, notes, size = _colours(image)
        return colours, [*first, *notes], size


def read_whole(path: str | os.PathLike) -> "Image":
    """The picture in a file as Pillow decodes it, its first where there are several, neither turned nor made smaller.

    To be called within `quietly`. Raises DataError for a file with no picture, or one that would need too much memory.
    """
    with opened(path) as image:
        _check_memory(image, MAX_WHOLE)
        image.load()
        return image.copy()


def quietly() -> warnings.catch_warnings:
    """Within this block Pillow does not warn of sizes, which are checked here anyway. For the whole process at once."""
    return warnings.catch_warnings(action="ignore")


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator["Image"]:
    """An image file, of which only the header has been read. What goes wrong in this block becomes one DataError."""
    from PIL import Image, UnidentifiedImageError

    name = visible(os.fspath(path))
    try:
        _check_file(path)
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            yield image
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        size = os.path.getsize(path)
        got = "an empty file" if size == 0 else f"{size:,} bytes of something else"
        raise DataError(f"{name}: expected an image ({', '.join(FORMATS)}), got {got}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name}: expected at most {_millions(MAX_PIXELS)}, got far more") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # Pillow, on damaged files: nearly every kind that there is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: cannot be read: the image is damaged ({reason})") from None


def _check_file(path) -> None:
    """Raise DataError for what is no file: opening a pipe would wait for somebody to write to it."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError("expected an image file, got a directory, pipe or device")
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise DataError(f"expected an image file of at most {MAX_BYTES >> 20} MiB, got {size:,} bytes")


def _check_image(image, first_of_many) -> list[str]:
    """Raise DataError unless an opened image, of which only the header has been read, is one photo of a fit size.

    The note of an animation of which the first picture is taken.
    """
    (width, height), notes = image.size, []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # phones put a preview behind the photo
        if not first_of_many or image.format == "TIFF":
            raise DataError(f"expected one photo, got {image.n_frames} of them in one file (an animation?)")
        image.seek(0)  # a GIF looks for its second picture to know
        notes.append(FIRST)
    _check_memory(image, MAX_PIXELS if _decodes_at_a_fraction(image) else MAX_WHOLE)
    if min(width, height) < 8:
        raise DataError(f"expected an image of at least 8 x 8 pixels, got {width} x {height}")
    return notes


def _check_memory(image, most) -> None:
    """Raise DataError for an opened image of more than so many pixels, or of tiles that large."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"expected at most {_millions(MAX_PIXELS)}, got {width:,} x {height:,}")
    if width * height > most:
        kind = "progressive JPEG" if image.format in ("JPEG", "MPO") else image.format
        limit = f"at most {_millions(most)} in a file of this kind ({kind})"
        raise DataError(f"expected {limit}, got {width:,} x {height:,}: save it smaller, or as a plain JPEG")
    across, down = (getattr(image, "tag_v2", {}).get(number, 0) for number in TILE_SIZE)
    if across * down > MAX_WHOLE:  # a tile is decoded whole, even where the picture is smaller
        raise DataError(f"expected tiles of at most {_millions(MAX_WHOLE)}, got {across:,} x {down:,}")


def _millions(pixels: int) -> str:
    return f"{pixels // 10**6} million pixels"


def _decodes_at_a_fraction(image) -> bool:
    """Whether the file can be decoded to half, a quarter or an eighth of its size, never whole in memory."""
    return image.format in ("JPEG", "MPO") and not image.info.get("progressive")


def _colours(image) -> tuple[Array, list[str], Size]:
    """An opened image as read_colours returns it: decoded, turned, made smaller, laid on white, as numbers."""
    from PIL import Image

    size = image.size
    if size[0] * size[1] > MAX_WHOLE:
        factor = _factor(size)
        image.draft(None, (max(1, size[0] // factor), max(1, size[1] // factor)))
        image.load()
    else:
        image.load()
        size = image.size  # a TIFF has turned itself upright by now
    upright, notes, orientation = image, [], _orientation(image)
    if orientation in TURNS:
        upright = image.transpose(Image.Transpose[TURNS[orientation]])
        size, notes = size[::-1] if orientation >= 5 else size, ["turned upright, as the camera noted"]
    small = _reduced(upright)
    if small.mode in ("I", "F"):
        return _scaled(small), [*notes, f"{image.mode} grey values scaled to 0-255"], size
    if small.mode == "RGBA" and small.getextrema()[3][0] < 255:
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
        notes = [*notes, "laid on white, where transparent"]
    return np.asarray(small.convert("RGB"), np.float32), notes, size


def _factor(size: Size) -> int:
    """How many times smaller a picture of this size may become."""
    return max(1, max(size) // LARGE)


def _orientation(image) -> int:
    """2 to 8, as the camera noted it; else 1, upright: its notes may be damaged where the picture is whole."""
    try:
        noted = image.getexif().get(ORIENTATION)
        return noted if noted in TURNS else 1
    except Exception:  # Pillow reads the notes only now, and raises whatever the damage leads to
        return 1


def _reduced(image):
    """A decoded image, smaller where very large: grey values beyond 8 bits in "I" or "F", else "RGB" or "RGBA"."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(_factor(image.size))


def _scaled(image) -> Array:
    """Grey values of more than 8 bits as colours (H, W, 3), from 0 for the darkest to 255 for the brightest."""
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise DataError("expected finite grey values, got NaN or infinity")
    values -= values.min()
    values /= values.max() / 255 or 1
    return np.repeat(values.astype(np.float32)[..., None], 3, axis=2)
