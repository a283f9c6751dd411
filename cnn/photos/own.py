"""Makes a photo like those of the data set out of any image file: 28x28 grey values, the thing bright on black.

The data set's makers took catalogue photos on white, cut off the margins, made the longer
side 28 pixels, centred the rest and inverted. The same is done here, for walls of any
colour, unevenly lit, and cameras with noise; every step that was taken is told.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnn.datasets.image_file import colours_in, quietly, read_colours
from cnn.datasets.preparation import DONE, Preparation, Shape, prepared
from cnn.errors import DataError

SIZE = 28
SHAPE = (SIZE, SIZE, 1)
WORKING_SIZE = 112  # where the thing is looked for; averaging down to it also takes most of a camera's noise away
INVERTED = "inverted: bright on dark, as in the data set"
NO_BACKGROUND = "expected one thing before an even background, found none"

Array = np.ndarray


class OwnPhoto(NamedTuple):
    """A picture made fit for a network."""

    pixels: Array  # uint8 (28, 28), as the network sees it; of another set (H, W), or (H, W, 3) in colour
    notes: list[str]  # what was done, step by step


def read(path: str | os.PathLike) -> OwnPhoto:
    """The photo in an image file, prepared. Raises DataError as read_colours does, or where there is nothing to see."""
    colours, notes, size = read_colours(path)
    try:
        return prepare(colours, notes, size)
    except DataError as error:
        raise DataError(f"{os.fspath(path)}: {error}") from None


def read_as_set(path: str | os.PathLike, shape: Shape, preparation: Preparation) -> OwnPhoto:
    """The photo in an image file as a folder of photos would hold it: of this shape, prepared as all the others were.

    Raises DataError as read_colours does.
    """
    with quietly():
        colours, notes, size = colours_in(path, first_of_many=True)
    pixels = prepared(colours, shape, preparation.fit)
    if shape[2] == 1:
        notes = [*notes, *_grey_notes(colours)]
    if size != (shape[1], shape[0]):
        same = size[0] * shape[0] == size[1] * shape[1]  # of their sides' ratio
        notes = [*notes, *([] if same else [DONE[preparation.fit]])]
        notes += [f"scaled from {size[0]} x {size[1]} to {shape[1]} x {shape[0]}"]
    return OwnPhoto(pixels, notes or [f"taken as it is: {shape[1]} x {shape[0]}"])


def prepare(colours: Array, notes: Sequence[str] = (), size: tuple[int, int] | None = None) -> OwnPhoto:
    """Photo of the data set's kind from colours (H, W, 3). Raises DataError when there is nothing to see.

    notes: what was done to the picture before; size: the width and height that it had then.
    """
    height, width = colours.shape[:2]
    if (height, width) == (SIZE, SIZE):
        return _as_it_is(colours, notes)
    size, small = size or (width, height), _shrink(colours, WORKING_SIZE)
    difference, noise = _differences(small)
    seen = _thing(np.abs(difference).max(axis=2), noise)
    notes = [*notes, *_grey_notes(colours)]
    channel = int(
        np.abs(difference[seen]).sum(axis=0).argmax()
    )  # where it stands out most: a red shirt is dark in green
    grey = difference[..., channel]
    inverted = grey[seen].sum() < 0
    rows, columns = _box(seen)
    cut = _blank_outside(-grey if inverted else grey, seen)[rows, columns]
    if cut.size < small.shape[0] * small.shape[1]:
        share = cut.size / seen.size
        notes.append(f"cut out the thing, {share:.0%} of the picture, and took the background away")
    pixels = _fit(cut)
    notes.append(f"scaled from {size[0]} x {size[1]} to {SIZE} pixels along its longer side, and centred")
    notes += [INVERTED] if inverted else []
    return OwnPhoto(pixels, [*notes, "contrast stretched"])


def _as_it_is(colours: Array, notes: Sequence[str]) -> OwnPhoto:
    """A 28x28 picture needs no fitting in; it is inverted if its edge is bright."""
    notes = [*notes, *_grey_notes(colours)]
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    if grey.max() - grey.min() < 8:
        raise DataError("expected something to see, got a picture of one and the same brightness")
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(edge) > 127:
        return OwnPhoto(np.rint(255 - grey).astype(np.uint8), [*notes, INVERTED])
    return OwnPhoto(np.rint(grey).astype(np.uint8), notes or ["taken as it is: 28 x 28 grey values, bright on dark"])


def _grey_notes(colours: Array) -> list[str]:
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    return ["turned from colour to grey"] if max(np.abs(red - green).max(), np.abs(green - blue).max()) > 8 else []


def _shrink(colours: Array, longest: int) -> Array:
    """At most `longest` pixels along the longer side, every new pixel the mean of those it covers."""
    factor = longest / max(colours.shape[:2])
    if factor >= 1:
        return colours
    height, width = (max(2, round(side * factor)) for side in colours.shape[:2])
    return np.stack([_resize(colours[..., c], width, height, "BOX") for c in range(3)], axis=2)


def _resize(values: Array, width: int, height: int, filter_name: str) -> Array:
    from PIL import Image

    return np.asarray(
        Image.fromarray(np.ascontiguousarray(values)).resize((width, height), Image.Resampling[filter_name])
    )


def _differences(colours: Array) -> tuple[Array, float]:
    """How far each pixel is from the background, (H, W, 3), signed; and how much the background itself varies.

    The background is a plane a + b*row + c*column in each colour, because walls are lit
    from one side. It is fitted to the picture's edge; what deviates there - sleeves that
    reach the edge - is left out, and the plane fitted again.
    """
    height, width = colours.shape[:2]
    rows, columns = np.indices((height, width), np.float64)
    basis = np.stack([np.ones_like(rows), rows / height - 0.5, columns / width - 0.5], axis=2)
    margin = max(1, round(min(height, width) * 0.04))
    edge = np.ones((height, width), bool)
    edge[margin:-margin, margin:-margin] = False
    a, b = basis[edge], colours[edge].astype(np.float64)
    kept = np.abs(b - np.median(b, axis=0)).max(axis=1) <= 80  # the wall is what most of the edge shows
    if not kept.any():  # an edge of red, green and blue in equal parts, say
        raise DataError(NO_BACKGROUND)
    for _ in range(8):
        plane = np.linalg.lstsq(a[kept], b[kept], rcond=None)[0]
        residual = np.abs(b - a @ plane).max(axis=1)
        kept = residual <= max(3 * 1.48 * np.median(residual[kept]), 4)
    return (colours - basis @ plane).astype(np.float32), float(1.48 * np.median(residual[kept]))


def _thing(distance: Array, noise: float) -> Array:
    """Mask (H, W) of what is not background: clearly above its noise, and in pieces that are more than specks."""
    strongest = float(np.percentile(distance, 99.5))
    threshold = max(4 * noise, 0.15 * strongest)
    if strongest < max(12, 4 * noise):
        raise DataError("expected something to see, got a picture of one and the same brightness")
    return _without_specks(distance > threshold)


def _without_specks(mask: Array) -> Array:
    """The mask without pieces smaller than a twentieth of the largest."""
    pieces = _pieces(mask)
    if not pieces:
        raise DataError(NO_BACKGROUND)
    largest = max(map(len, pieces))
    kept = np.zeros_like(mask)
    for piece in pieces:
        if len(piece) * 20 >= largest:
            kept[tuple(np.array(piece).T)] = True
    return kept


def _pieces(mask: Array) -> list[list[tuple[int, int]]]:
    """The connected pieces of a mask, corner to corner counted as connected."""
    left, pieces = set(zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True)), []
    while left:
        piece = [left.pop()]
        for row, column in piece:  # grows while it is walked through
            near = {(row + u, column + v) for u in (-1, 0, 1) for v in (-1, 0, 1)} & left
            left -= near
            piece.extend(near)
        pieces.append(piece)
    return pieces


def _box(mask: Array) -> tuple[slice, slice]:
    """The smallest rectangle around the mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _blank_outside(grey: Array, mask: Array) -> Array:
    """Zero where the background is; darker parts of the thing, such as a print, stay, but are not below zero."""
    return np.where(mask, np.maximum(grey, 0), 0).astype(np.float32)


def _fit(grey: Array) -> Array:
    """uint8 (28, 28): the longer side 28 pixels, centred on black, and the brightest hundredth of the thing white."""
    height, width = grey.shape
    factor = SIZE / max(height, width)
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    scaled = np.maximum(_resize(grey, new_width, new_height, "LANCZOS"), 0)
    white = np.percentile(scaled[scaled > 0], 99)
    photo = np.zeros((SIZE, SIZE), np.uint8)
    top, left = (SIZE - new_height) // 2, (SIZE - new_width) // 2
    photo[top : top + new_height, left : left + new_width] = np.rint(np.clip(scaled / white * 255, 0, 255))
    return photo
