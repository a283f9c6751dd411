"""`cnn summary`: the layers of a network as a table."""

import argparse

from cnn.commands.shared import network, options

HELP = "the layers of a network, their output shapes and numbers of parameters"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn summary`."""
    options.add_model(parser)
    network.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the layers of a model, or of a new network with these flags."""
    from cnn.errors import UsageError

    flags = [flag for flag in ("network", "filters", "kernel_size") if getattr(args, flag) is not None]
    if args.model is not None and flags:
        raise UsageError(f"--model and --{flags[0].replace('_', '-')}: expected one of them, got both")
    model = network.build(**network.settings(args)) if flags else options.open_model(args.model)[0]
    model.summary()
