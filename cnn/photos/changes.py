"""What is done to photos to see what a network carries over: shifts, the mirror image, parts in another order.

Each takes photos (..., H, W), or (..., H, W, 3) in colour, and returns new ones of the same shape and dtype.
"""

import numpy as np

Array = np.ndarray


def _axes(photos: Array) -> tuple[int, int]:
    """Rows and columns: the last two axes, or in colour those before the last."""
    return (-3, -2) if photos.ndim > 2 and photos.shape[-1] == 3 else (-2, -1)


def shift(photos: Array, dx: int, dy: int) -> Array:
    """Moved dx pixels to the right and dy down (negative: left, up); what comes in is 0, what leaves is lost."""
    moved = np.zeros_like(photos)
    into, out = np.moveaxis(moved, _axes(photos), (0, 1)), np.moveaxis(photos, _axes(photos), (0, 1))
    height, width = out.shape[:2]
    into[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = out[
        max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
    ]
    return moved


def mirror(photos: Array) -> Array:
    """Left and right exchanged, as in a looking glass."""
    return np.ascontiguousarray(np.flip(photos, _axes(photos)[1]))


def swap_halves(photos: Array) -> Array:
    """The right half before the left half, neither of them mirrored. The middle goes to the edges."""
    _, columns = _axes(photos)
    return np.roll(photos, photos.shape[columns] // 2, axis=columns)


def swap_quadrants(photos: Array) -> Array:
    """Each quarter goes to the corner opposite its own: the parts in mixed-up order."""
    axes = _axes(photos)
    return np.roll(photos, tuple(photos.shape[axis] // 2 for axis in axes), axis=axes)
