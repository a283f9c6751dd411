"""The settings of a run of `cnn train`: from flags, from a file, and back into flags."""

import argparse
import shlex
from typing import TYPE_CHECKING, TypeGuard

from cnn.commands.shared import data, network, options, recipes
from cnn.errors import ModelFileError, UsageError

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    from cnn.saving.state import TrainingState

# What decides the result. A run keeps these, and restores them when it is resumed.
DEFAULTS = {
    **network.DEFAULTS,
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "seed": 0,
    "shards": None,
    "validation_split": 0.0,
    "limit": None,
    **data.DEFAULTS,
    **recipes.ARTICLE,
}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The flags of DEFAULTS; None where they are not given."""
    network.add_arguments(parser)
    group = parser.add_argument_group("the training")
    group.add_argument(
        "--epochs", type=options.whole(1), metavar="N", help="how often to go through all photos (default: 10)"
    )
    group.add_argument("--batch-size", type=options.whole(1), metavar="N", help="photos in each step (default: 32)")
    group.add_argument(
        "--learning-rate", type=options.positive, metavar="RATE", help="length of each step (default: 1e-3)"
    )
    group.add_argument(
        "--optimizer", choices=("adam", "adamw", "sgd"), help="how gradients become steps (default: adam)"
    )
    group.add_argument(
        "--seed", type=options.whole(0, 2**32 - 1), metavar="N", help="decides all random numbers (default: 0)"
    )
    group.add_argument(
        "--shards",
        type=options.whole(1, 256),
        metavar="N",
        help="parts of a batch; fixes the last bits of the result (default: one a core, 8 at most)",
    )
    group.add_argument(
        "--validation-split",
        type=options.fraction,
        metavar="F",
        help="hold back this last part of the photos, and keep the epoch best on them; with a recipe the last one "
        "counts all the same (default: 0)",
    )
    group.add_argument(
        "--limit", type=options.whole(1), metavar="N", help="train on the first N photos only (default: all)"
    )
    recipes.add_arguments(parser)
    data.add_arguments(parser)


def given(args: argparse.Namespace) -> dict:
    """The settings that flags were given for."""
    return {key: getattr(args, key) for key in DEFAULTS if getattr(args, key) is not None}


def chosen(args: argparse.Namespace) -> dict:
    """Flags given, of the others what the recipe says. Raises UsageError for flags that do not go together."""
    from cnn import distribute
    from kernels import threads

    settings = of_recipe(args.recipe or recipes.ARTICLE["recipe"]) | given(args) | network.settings(args)
    ranks = distribute.world().size
    shards = threads.default_shards() if ranks == 1 else max(ranks, threads.MOST_SHARDS)  # not what one machine has
    if settings["shards"] and settings["shards"] < ranks:
        raise UsageError(f"--shards: expected at least {ranks}, one for each rank, got {settings['shards']}")
    return settings | {"shards": settings["shards"] or shards}


def of_recipe(name: str) -> dict:
    """The settings of a recipe alone."""
    return DEFAULTS | recipes.RECIPES[name]


def restored(args: argparse.Namespace, state: "TrainingState", folder: "Path") -> tuple[dict, str | None]:
    """(the settings of a saved run, its data directory), with --epochs and --data from the flags where given.

    Raises UsageError for a flag that contradicts the run, ModelFileError for a file that `cnn train` has not written.
    """
    settings, directory, seconds = (state.extra.get(key) for key in ("settings", "data", "seconds"))
    if isinstance(settings, dict):
        settings = data.DEFAULTS | recipes.ARTICLE | settings  # a run that began before there were others
    if not _valid(settings) or not isinstance(directory, str | None) or not isinstance(seconds, float) or seconds < 0:
        raise ModelFileError(f"{folder}: expected a run of `cnn train`, got a training of another kind")
    if args.data is None and directory is not None and not (directory.isprintable() and len(directory) < 4096):
        expected = f"expected a data folder of printable text, got {directory!r:.100}"
        raise ModelFileError(f"{folder}: {expected}: give it with --data")
    for key, value in given(args).items():
        free = key == "epochs" and settings["schedule"] == "constant"  # else the learning rate follows their number
        if free and value >= state.epoch + (state.step > 0):
            settings["epochs"] = value
        elif value != settings[key]:
            has = f"the run in {folder} has {_text(settings[key])}"
            flag = _flag(key, value).partition("=")[0]
            raise UsageError(f"{flag}: {has}, got {_text(value)}: leave it out")
    if args.name not in (None, folder.name):
        raise UsageError(f"--name: the run in {folder} has its name already, got {args.name}: leave it out")
    return settings, directory if args.data is None else args.data


def _valid(settings: object) -> TypeGuard[dict]:
    """Whether these settings, from a file, could have been given as flags."""
    if not isinstance(settings, dict) or settings.keys() != DEFAULTS.keys():
        return False
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_settings(parser)
    try:
        return given(parser.parse_args(flags(settings))) == {
            key: value for key, value in settings.items() if value is not None
        }
    except (argparse.ArgumentError, TypeError):
        return False


def flags(settings: dict) -> list[str]:
    """The flags that give these settings."""
    return [_flag(key, value) for key, value in settings.items() if value is not None]


def _flag(key: str, value: object) -> str:
    if key == "fit":  # --crop, --pad or --stretch
        return f"--{value}"
    return f"--{key.replace('_', '-')}" + ("" if value is True else f"={_text(value)}")


def command(settings: dict, directory: str | None) -> str:
    """The command that repeats a run. What it would do anyway is left out, but not the shards: machines differ."""
    usual = of_recipe(settings["recipe"]) | {"recipe": DEFAULTS["recipe"]}
    told = {key: value for key, value in settings.items() if value != usual[key]}
    text = shlex.join(["cnn", "train", *flags(told), *([f"--data={directory}"] if directory is not None else [])])
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:2000]


def _text(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def text(settings: dict) -> str:
    """The settings in a line for people."""
    left_out = [key for key, value in settings.items() if value is None]
    left_out += ["filters", "kernel_size"] if settings["network"] == "dense" else []
    left_out += [key for key, usual in recipes.ARTICLE.items() if settings[key] == usual]
    return ", ".join(
        f"{key.replace('_', ' ')} {_text(value)}" for key, value in settings.items() if key not in left_out
    )
