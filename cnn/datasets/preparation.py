"""How photo files of any size become the photos of one set: which part is kept, at which size, in colour or grey.

A model keeps the Preparation of the photos that it learned, so that all others it is ever shown are prepared alike.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn import checks

FITS = ("crop", "pad", "stretch")
DONE = {
    "crop": "cut to the middle part of the shape that is wanted",
    "pad": "laid in the middle of a black picture of the shape that is wanted",
    "stretch": "stretched to the shape that is wanted",
}
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look, as television weighs them

Array = np.ndarray
Shape = tuple[int, int, int]  # of a photo as a network takes it: height, width, channels


class Preparation(NamedTuple):
    """What is done to the photos of a folder beyond what a model's shape says, and which of them are for testing."""

    fit: str = "crop"  # one of FITS
    test_split: float = 0.2  # the share of photos held out, where the folder has none of its own for testing
    seed: int = 0  # which they are

    def as_dict(self) -> dict[str, Any]:
        """It as JSON can hold it, for `read`."""
        return self._asdict()


def read(described: Any) -> Preparation:
    """What as_dict has described. Raises ValueError for anything else."""
    if not isinstance(described, dict) or described.keys() != set(Preparation._fields):
        raise ValueError(
            f"preparation: expected an object with {', '.join(Preparation._fields)}, got {described!r:.100}"
        )
    fit = checks.choice("preparation", "fit", described["fit"], FITS)
    test_split = checks.number("preparation", "test_split", described["test_split"], 0, 1, below=True)
    return Preparation(fit, test_split, checks.whole("preparation", "seed", described["seed"], 0, 2**32 - 1))


def prepared(colours: Array, shape: Shape, fit: str) -> NDArray[np.uint8]:
    """A photo (height, width), or (height, width, 3) in colour, out of a picture (H, W, 3) from 0 to 255.

    What has the size already keeps every value; else Pillow's bilinear filter computes it, which where it makes a
    picture smaller takes the mean of all that a new pixel covers.

    >>> prepared(np.full((8, 16, 3), 200.0, np.float32), (8, 8, 1), "pad")[:, 0]
    array([  0,   0, 200, 200, 200, 200,   0,   0], dtype=uint8)
    """
    height, width, channels = shape
    inner, box = _part_kept(colours.shape[:2], (height, width), fit)
    values = colours if channels == 3 else colours @ GREY
    pixels = np.rint(values).astype(np.uint8)
    if colours.shape[:2] != (height, width):
        pixels = _resized(pixels, inner, box)
    if inner == (height, width):
        return pixels
    photo = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    photo[top : top + inner[0], left : left + inner[1]] = pixels
    return photo


def _part_kept(old: tuple[int, int], new: tuple[int, int], fit: str):
    """(the height and width that the picture gets within the photo, the part of the picture that is taken for them).

    The part as Pillow takes it: left, top, right, bottom.
    """
    (height, width), whole = old, (0.0, 0.0, float(old[1]), float(old[0]))
    down, across = new[0] / height, new[1] / width
    if fit == "crop":  # both sides grow by the same factor, the larger one
        factor = max(down, across)
        top, left = max(0.0, (height - new[0] / factor) / 2), max(0.0, (width - new[1] / factor) / 2)
        return new, (left, top, width - left, height - top)  # not a rounding beyond the edge
    if fit == "pad":
        factor = min(down, across)
        return (max(1, round(height * factor)), max(1, round(width * factor))), whole
    return new, whole


def _resized(pixels, size, box):
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, box))
