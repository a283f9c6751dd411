"""The trained models that ship with the package: the article's network and the dense one it is compared with.

Both were made by `python -m cnn.pretrained`, which trains them again; each file says the
command and the seed that made it. They hold weights only.
"""

from pathlib import Path

NAMES = ("cnn", "dense")


def path(name: str) -> Path:
    """The file of the trained model "cnn" or "dense". Raises ValueError for another name."""
    if name not in NAMES:
        raise ValueError(f"pretrained: expected {' or '.join(map(repr, NAMES))}, got {name!r}")
    return Path(__file__).parent / f"{name}.npz"
