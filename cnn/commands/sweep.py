"""`cnn sweep`: a grid of settings, each trained with each seed, on all cores or all ranks; the best by validation."""

import argparse

from cnn.commands.shared import options, settings

HELP = "train with all combinations of some settings, and tell which is best on photos held back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn sweep`."""
    group = parser.add_argument_group(
        "the settings",
        "those of `cnn train`, each with one value or several: 1e-3,3e-3, or 0:5 for 0,1,2,3,4; "
        "lists with a semicolon between them: '32,64;16,32'",
    )
    for key in (key for key in settings.DEFAULTS if key != "skip_bad"):  # it belongs to --data
        group.add_argument(f"--{key.replace('_', '-')}", type=options.name, metavar="VALUES")
    group = parser.add_argument_group("the sweep")
    options.add_data(group)
    group.add_argument("--jobs", type=options.whole(1, 256), metavar="N", help="runs at a time (default: one a core)")
    group.add_argument("--out", type=options.name, default="runs", metavar="DIR", help="where its folder is kept")
    group.add_argument("--name", metavar="NAME", help="the folder's name (default: sweep, sweep-2, ...)")
    group.add_argument("--resume", type=options.name, metavar="SWEEP", help="do what is left of this sweep")
    group.add_argument("--no-plots", action="store_true", help="draw no picture")


def run(args: argparse.Namespace) -> int:
    """Sweep: see shared/sweeping.py, which loads what it takes only now."""
    from cnn.commands.shared import sweeping

    return sweeping.main(args, one_run)


def one_run(arguments: list[str]) -> int:
    """The exit code of `cnn` with these arguments, within this process."""
    from cnn.commands import cli

    return cli.run(cli.build_parser().parse_args(arguments))
