"""How a network is trained, as data: each recipe is the flags of `cnn train` in which it differs from the article's.

The numbers were chosen on 5,000 training photos that were held back; the test photos chose nothing. What a recipe adds
acts in training alone: models.folded gives the network of the article again.
"""

import argparse
from typing import TYPE_CHECKING, Any

from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    import numpy as np

    from cnn.layers import Layer
    from cnn.losses import Loss
    from cnn.optimizers import Optimizer

ARTICLE: dict[str, Any] = {
    "recipe": "article",
    "flip": "none",
    "shift": 0,
    "erase": 0.0,
    "erase_area": 0.25,
    "normalization": "none",
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warm_up": 0.2,
    "average": 0.0,
}
BEST: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "weight_decay": 0.03,
    "schedule": "one-cycle",
    "average": 0.04,
    "flip": "random",
    "shift": 1,
    "erase": 0.3,
    "normalization": "batch",
    "dropout": 0.3,
    "label_smoothing": 0.05,
}
QUICK = BEST | {"epochs": 8, "dropout": 0.0}
RECIPES: dict[str, dict[str, Any]] = {"article": {}, "quick": QUICK, "best": BEST}
LEAST_AREA = 0.02  # of a photo, that is erased
FIRST_RATE = 1 / 25  # of the largest learning rate, at the beginning of one-cycle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ARTICLE; None where they are not given."""
    group = parser.add_argument_group("the recipe: what it sets, other flags change")
    group.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="the article's, or one with augmented photos: quick, or the best we know (default: article)",
    )
    group.add_argument(
        "--flip", choices=("none", "random", "alternating"), help="mirror photos: half of them, or each second epoch"
    )
    group.add_argument("--shift", type=options.whole(0, 14), metavar="N", help="move photos by up to N pixels")
    add = group.add_argument
    add("--erase", type=options.fraction, metavar="P", help="cover a part of so many photos with noise")
    add("--erase-area", type=options.fraction, metavar="A", help="the largest such part, as a share of the photo")
    add("--normalization", choices=("none", "batch"), help="normalize the batch before each ReLU, in training")
    add("--dropout", type=options.fraction, metavar="F", help="drop so much of what the dense layers take, in training")
    add("--label-smoothing", type=options.fraction, metavar="F", help="spread so much of each label over all classes")
    add("--weight-decay", type=options.fraction, metavar="F", help="of the kernels, times the learning rate")
    add("--schedule", choices=("constant", "one-cycle"), help="the learning rate stays, or rises and falls to 0")
    add("--warm-up", type=options.fraction, metavar="F", help="the part of one-cycle in which it rises (default: 0.2)")
    add("--average", type=options.fraction, metavar="F", help="end with the weights' mean over about the last F of all")


def augmentation(settings: dict, photo_shape: tuple[int, int, int]) -> list["Layer"]:
    """The layers at the head of the network, which change photos in training. All draw by photo and epoch."""
    from cnn import layers

    found: list[Layer] = []
    if settings["flip"] != "none":
        found.append(layers.RandomFlip("horizontal", alternating=settings["flip"] == "alternating"))
    if settings["shift"]:  # the nearest of what is drawn from -1.5 to 1.5 is -1, 0 or 1, equally often
        height, width = ((settings["shift"] + 0.5) / size for size in photo_shape[:2])
        found.append(layers.RandomTranslation(height, width, fill_mode="constant", interpolation="nearest"))
    if settings["erase"]:
        chance, area = (settings["erase"],) * 2, (LEAST_AREA, settings["erase_area"])
        found.append(layers.RandomErasing(chance, area, value_range=(0, 1)))
    return found


def optimizer(settings: dict, steps: int) -> "Optimizer":
    """The optimizer for a training of so many steps."""
    from cnn import optimizers
    from cnn.optimizers.schedules import CosineDecay

    rate: Any = settings["learning_rate"]
    if settings["schedule"] == "one-cycle":
        rising = int(steps * settings["warm_up"])
        rate = CosineDecay(rate * FIRST_RATE, steps - rising, warmup_target=rate, warmup_steps=rising)
    extras: dict[str, Any] = {}
    if settings["weight_decay"] or settings["optimizer"] == "adamw":
        extras["weight_decay"] = settings["weight_decay"]
    if settings["average"]:
        extras |= {"use_ema": True, "ema_momentum": max(0.0, 1 - 1 / (steps * settings["average"]))}
    chosen = optimizers.TABLE[settings["optimizer"]](rate, **extras)
    if settings["weight_decay"]:
        chosen.exclude_from_weight_decay(var_names=["bias", "beta"])  # kernels alone decay
    return chosen


def loss(settings: dict) -> "Loss":
    """The cross-entropy, with labels that are smoothed or not."""
    from cnn import losses

    if settings["label_smoothing"]:
        return losses.CategoricalCrossentropy(label_smoothing=settings["label_smoothing"])
    return losses.SparseCategoricalCrossentropy()


def labels(settings: dict, y: "np.ndarray", classes: int) -> "np.ndarray":
    """Classes (N,) as that loss takes them."""
    from cnn import utils

    return utils.to_categorical(y, classes) if settings["label_smoothing"] else y
