"""Training from nothing, in the page: the photos that it learns from, and what the page says of them.

The arithmetic is the page's own (batch.js, learner.js); here the photos are chosen and packed.
"""

import hashlib
import re
from typing import Any, NamedTuple

import numpy as np

from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.explain.page.markup import escape

Array = np.ndarray
MOST = 2_000  # photos
BYTES = 2_000 * 28 * 28  # of all of them together; where photos are large, there are fewer
LEAST = 20  # photos from which one can learn anything
FIFTH = 5  # of each class every fifth photo is held back
PIECE = 100_000  # bytes with a hash of their own


class Photos(NamedTuple):
    """Training photos (N, H, W) or (N, H, W, C) of bytes and their labels (N,); of how many they are the first."""

    pixels: Array
    labels: Array
    of: int

    @property
    def held_back(self) -> int:
        """How many the network never learns from."""
        return int(np.sum(ranks(self.labels) % FIFTH == FIFTH - 1))


def ranks(labels: Array) -> Array:
    """(N,): the how manyth of its class each photo is, from 0.

    >>> ranks(np.array([3, 1, 3, 3, 1]))
    array([0, 0, 1, 2, 1])
    """
    by_class = np.argsort(labels, kind="stable")
    found = np.empty(len(labels), int)
    found[by_class] = np.arange(len(labels)) - np.searchsorted(labels[by_class], labels[by_class])
    return found


def chosen(pixels: Array, labels: Array) -> Photos:
    """The first photos of each class in turn, as many as the page has room for: of some folders all of one class come
    before all of the next.
    """
    count = min(MOST, len(pixels), BYTES // max(1, pixels[0].size))
    first = np.argsort(ranks(labels), kind="stable")[:count]
    return Photos(pixels[first], labels[first], len(pixels))


def find(learn: tuple[Array, Array] | None, photo: Array, classes: int) -> tuple[Photos | None, str]:
    """The photos to learn from; or None, and why the page has none. photo: one that the network takes."""
    if learn is None or not len(learn[0]):
        return None, "its training photos were not there when it was written"
    pixels, labels = learn
    if pixels.dtype != np.uint8 or pixels.shape[1:] != photo.shape:
        return None, f"its training photos are {pixels.dtype} {pixels.shape[1:]}, not bytes {photo.shape}"
    if labels.max() >= min(classes, 256) or classes < 2:
        return None, f"training photos of class {labels.max()} do not fit a network of {classes} classes"
    found = chosen(pixels, labels)
    if len(found.pixels) < LEAST or not found.held_back:
        return None, f"only {len(found.pixels)} photos of this size have room in it, and {LEAST} are too few already"
    return found, ""


def arrays(found: Photos) -> dict[str, Array]:
    """What the page carries."""
    return {"photos": found.pixels, "labels": found.labels.astype(np.uint8)}


def told(found: Photos) -> dict[str, Any]:
    """What it is told of them."""
    raw = b"".join(array.tobytes() for array in arrays(found).values())
    pieces = [raw[at : at + PIECE] for at in range(0, len(raw), PIECE)]
    return {"count": len(found.labels), "piece": PIECE, "sha256": [hashlib.sha256(one).hexdigest() for one in pieces]}


# ---- what the page says


def section(template: str, found: Photos | None, why: str, layers: list[dict], classes: tuple[str, ...]) -> str:
    """The section's HTML: the template filled, or the reason why there is nothing to learn from."""
    ours = tuple(classes) == CLASS_NAMES
    command = f"cnn train --optimizer sgd --learning-rate 0.1{'' if ours else ' --data FOLDER'}"
    if found is None:
        said = f"This page has nothing to learn from: {why}. <code>{command}</code> trains a network anew."
        return f'<section id="learn"><h2>Train from nothing</h2><p>{said}</p></section>'
    count, held = len(found.labels), found.held_back
    parts = {
        "count": f"{count:,}",
        "all": "" if count == found.of else f" of the {found.of:,}",
        "learned": f"{count - held:,}",
        "held": f"{held:,}",
        "notes": notes(layers),
        "command": command,
    }
    return re.sub(r"\{\{learn-(\w+)\}\}", lambda name: parts[name[1]], template)


def notes(layers: list[dict]) -> str:
    """What is different in training, for the layers that know of it."""
    calm = [escape(layer["name"]) for layer in layers if layer.get("inactive")]
    normal = [escape(layer["name"]) for layer in layers if "epsilon" in layer]
    said = ""
    if calm:
        said += f" Left out here: {', '.join(calm)}, which change photos or numbers at random while training."
    if normal:
        said += f" {', '.join(normal)}: while training, mean and deviation are those of the batch itself."
    return f"<p>{said.strip()}</p>" if said else ""
