"""Photo files become bytes, on all cores, in their order; memory does not grow with their number."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cnn.datasets import image_file
from cnn.datasets.folder import PhotoFile
from cnn.datasets.preparation import Shape, prepared
from cnn.errors import DataError

AT_ONCE = 256  # photos that are handed out together; those who are done wait for the last of them
SAMPLED = 32  # photos that tell what the others are like
LARGEST_AS_IT_IS, USUAL = 64, (64, 64)  # photos of one small size keep it; others get this one

Array = np.ndarray


class Tally:
    """What was done to how many photos, and which could not be read."""

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()
        self.skipped: list[tuple[int, str]] = []  # (its place in the list, why)


def decoded(
    root: Path,
    files: Sequence[PhotoFile],
    shape: Shape,
    fit: str,
    tally: Tally,
    skip_bad: bool = False,
    workers: int = 1,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[Array]:
    """The photos in these files, prepared, uint8 (height, width) or (height, width, 3). done(so many) tells of each.

    Raises DataError for the first that cannot be read; or with skip_bad leaves it out and notes it in the tally.
    """

    def read(file):
        try:
            colours, notes, _ = image_file.colours_in(root / file.path, first_of_many=True)
            return prepared(colours, shape, fit), notes, colours.shape[:2] != shape[:2]
        except DataError as error:
            return None, str(error), False

    with image_file.quietly(), ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), AT_ONCE):
            few = files[start : start + AT_ONCE]
            for place, (photo, notes, resized) in enumerate(pool.map(read, few), start):
                if photo is None:
                    if not skip_bad:
                        raise DataError(notes)
                    tally.skipped.append((place, notes))
                else:
                    tally.notes.update([*notes, "resized"] if resized else notes)
                    yield photo
            done(min(start + AT_ONCE, len(files)))


def usual_shape(root: Path, files: Sequence[PhotoFile], workers: int = 1) -> Shape:
    """What a sample of the photos suggests: their own size, where all share a small one, else USUAL; grey, if all are.

    Photos that cannot be read suggest nothing.
    """
    sample = files[:: max(1, len(files) // SAMPLED)]

    def look(file):
        try:
            colours, _, size = image_file.colours_in(root / file.path, first_of_many=True)
        except DataError:
            return None
        return size[::-1], bool((colours == colours[..., :1]).all())

    with image_file.quietly(), ThreadPoolExecutor(workers) as pool:
        seen = [found for found in pool.map(look, sample) if found is not None]
    sizes = {size for size, _ in seen}
    size = sizes.pop() if len(sizes) == 1 else USUAL
    height, width = size if max(size) <= LARGEST_AS_IT_IS else USUAL
    return height, width, 1 if all(grey for _, grey in seen) else 3
