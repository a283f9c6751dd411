"""The trained models that ship with the package: "cnn", the article's network trained as in the article; "dense", which
it is compared with; and "best", the first once more, trained by `cnn train --recipe best`.

They were made by `python -m cnn.pretrained`, which trains them again; each file says the
command and the seed that made it. They hold weights only.
"""

from pathlib import Path

NAMES = ("cnn", "dense", "best")


def path(name: str) -> Path:
    """The file of the trained model "cnn", "dense" or "best". Raises ValueError for another name."""
    if name not in NAMES:
        raise ValueError(f"pretrained: expected {', '.join(map(repr, NAMES))}, got {name!r}")
    return Path(__file__).parent / f"{name}.npz"
