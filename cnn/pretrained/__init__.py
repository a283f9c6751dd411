"""The trained models that ship with the package: "cnn", the article's network trained as in the article; "dense", which
it is compared with; "best", the first once more, trained by `cnn train --recipe best`; and "early", the first after
one epoch of 2,000 photos, from which one still sees something learn.

They were made by `python -m cnn.pretrained`, which trains them again; each file says the
command and the seed that made it. They hold weights only; those of "early" are halves (float16),
because it is looked at and nobody trains on from it: 0.8 MB instead of 1.7.
"""

from pathlib import Path

NAMES = ("cnn", "dense", "best", "early")


def path(name: str) -> Path:
    """The file of the trained model "cnn", "dense", "best" or "early". Raises ValueError for another name."""
    if name not in NAMES:
        raise ValueError(f"pretrained: expected {', '.join(map(repr, NAMES))}, got {name!r}")
    return Path(__file__).parent / f"{name}.npz"
