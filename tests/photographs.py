"""Makes photographs such as people take: a thing large on a wall, lit from one side, with noise and colour."""

import numpy as np
from PIL import Image


def photograph(photo, rng, wall=(225, 220, 212), dye=(40, 45, 70), enlarge=14, size=(640, 480), noise=6.0, light=25.0):
    """uint8 (height, width, 3): `photo` (28, 28) large, its bright cloth dyed dark, on an unevenly lit wall."""
    width, height = size
    thing = (
        np.asarray(Image.fromarray(photo).resize((28 * enlarge, 28 * enlarge), Image.Resampling.BICUBIC), float) / 255
    )
    cover = np.zeros((height, width))
    top, left = rng.integers(0, height - len(thing) + 1), rng.integers(0, width - len(thing) + 1)
    cover[top : top + len(thing), left : left + len(thing)] = thing
    picture = np.array(wall, float) * (1 - cover[..., None]) + np.array(dye, float) * cover[..., None]
    rows, columns = np.indices((height, width))
    angle = rng.uniform(0, 2 * np.pi)
    picture += light * (np.cos(angle) * (rows / height - 0.5) + np.sin(angle) * (columns / width - 0.5))[..., None]
    picture += rng.normal(0, noise, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
