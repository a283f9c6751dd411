"""The flags that choose a network, for the commands that build one."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn.models import Sequential

DEFAULTS = {"network": "cnn", "filters": [32, 64], "kernel_size": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--network, --filters and --kernel-size, for `settings`."""
    group = parser.add_argument_group("the network")
    group.add_argument(
        "--network",
        choices=("cnn", "dense"),
        help="the article's convolutional network, or the dense one it beats (default: cnn)",
    )
    group.add_argument(
        "--filters",
        type=options.whole_list(1, 1024),
        metavar="N,N",
        help="filters of each convolution (default: 32,64; for other photos than 28x28 as many as their size bears)",
    )
    group.add_argument(
        "--kernel-size", type=options.whole(1, 28), metavar="N", help="rows and columns of each filter (default: 3)"
    )


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The chosen network as keywords for `build`. Raises UsageError for flags that do not go together."""
    from cnn.errors import UsageError

    given = {key: getattr(args, key) for key in DEFAULTS if getattr(args, key) is not None}
    if given.get("network") == "dense":
        for key in ("filters", "kernel_size"):
            if key in given:
                raise UsageError(f"--{key.replace('_', '-')}: the dense network has no convolutions")
    return DEFAULTS | given


def build(network: str, filters: Sequence[int], kernel_size: int, seed: int = 0, **more: Any) -> "Sequential":
    """The network of these settings, not yet compiled; more: see article.convolutional.

    Raises UsageError where the photos become too small.
    """
    from cnn import article
    from cnn.errors import UsageError

    if network == "dense":
        return article.dense(seed, **more)
    try:
        return article.convolutional(filters, kernel_size, seed, **more)
    except ValueError as error:
        size = "x".join(map(str, more.get("input_shape", article.INPUT_SHAPE)[:2]))
        raise UsageError(f"--filters: {len(filters)} convolutions are too many for {size} photos: {error}") from None
