"""Photos that stay bytes until their turn comes: of a set larger than memory only a batch at a time becomes numbers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray
PIECE = 1 << 22  # numbers that are made at once where all are asked for


class Scaled:
    """Photos (N, H, W) or (N, H, W, C) of bytes as the numbers (N, H, W, C) that a network takes, made when asked for.

    photos: in memory or in a file (numpy.memmap). A slice of it is one of these again, and costs nothing; the rows of
    an array of indices are numbers, and so is what `astype` gives.

    >>> all_of_them = Scaled(np.full((5, 2, 2), 255, np.uint8), 1 / 255)
    >>> all_of_them[1:4].shape, all_of_them[np.array([4, 0])].ravel()
    ((3, 2, 2, 1), array([1., 1., 1., 1., 1., 1., 1., 1.], dtype=float32))
    """

    def __init__(self, photos: Array, scale: float, dtype: DTypeLike = np.float32):
        self.photos, self.scale, self.dtype = np.asarray(photos), scale, np.dtype(dtype)
        self.shape = photos.shape if photos.ndim == 4 else (*photos.shape, 1)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, rows: "slice | Array") -> "Scaled | Array":
        chosen = Scaled(self.photos[rows], self.scale, self.dtype)
        return chosen if isinstance(rows, slice) else chosen.astype(self.dtype)

    def astype(self, dtype: DTypeLike, copy: bool = True) -> Array:
        """All of them as numbers of this type; copy: for NumPy's own signature, there is nothing to share."""
        numbers = self.photos.reshape(self.shape) * np.asarray(self.scale, self.dtype)[()]
        return numbers.astype(dtype, copy=False)

    def pieces(self) -> Iterator[Array]:
        """All of them in order, a few at a time."""
        few = max(1, PIECE * len(self) // max(1, self.photos.size))
        for start in range(0, len(self), few):
            yield self[start : start + few].astype(self.dtype)
