"""What is done to photos to see what a network carries over: shifts, the mirror image, parts in another order.

Each takes photos (..., H, W) and returns new ones of the same shape and dtype.
"""

import numpy as np

Array = np.ndarray


def shift(photos: Array, dx: int, dy: int) -> Array:
    """Moved dx pixels to the right and dy down (negative: left, up); what comes in is 0, what leaves is lost."""
    height, width = photos.shape[-2:]
    moved = np.zeros_like(photos)
    moved[..., max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = photos[
        ..., max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
    ]
    return moved


def mirror(photos: Array) -> Array:
    """Left and right exchanged, as in a looking glass."""
    return np.ascontiguousarray(photos[..., ::-1])


def swap_halves(photos: Array) -> Array:
    """The right half before the left half, neither of them mirrored. The middle goes to the edges."""
    return np.roll(photos, photos.shape[-1] // 2, axis=-1)


def swap_quadrants(photos: Array) -> Array:
    """Each quarter goes to the corner opposite its own: the parts in mixed-up order."""
    return np.roll(photos, (photos.shape[-2] // 2, photos.shape[-1] // 2), axis=(-2, -1))
