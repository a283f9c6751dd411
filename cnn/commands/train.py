"""`cnn train`: a network learns the photos; a run folder keeps what it learned and how."""

import argparse

from cnn.commands.shared import options, settings

HELP = "train a network and keep it, its learning curves and its result in a run folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn train`."""
    settings.add_settings(parser)
    group = parser.add_argument_group("the run")
    options.add_data(group, skip=False)
    group.add_argument(
        "--threads", type=options.whole(1, 256), metavar="N", help="decides only the speed (default: one a core)"
    )
    group.add_argument(
        "--allreduce",
        action="store_true",
        help="ranks of MPI add gradients in an order of its own: fewer bytes to send, results right to rounding only",
    )
    group.add_argument(
        "--out", type=options.name, default="runs", metavar="DIR", help="where run folders are kept (default: runs)"
    )
    group.add_argument("--name", metavar="NAME", help="the folder's name (default: train, train-2, ...)")
    group.add_argument(
        "--resume",
        type=options.name,
        metavar="RUN",
        help="go on with this run (its folder, or its name in --out), to the same bits "
        "as if it had never stopped; a finished one with more --epochs",
    )
    group.add_argument(
        "--verbose",
        choices=("auto", "0", "1", "2"),
        default="auto",
        help="0 quiet, 1 live, 2 a line an epoch (default: live on a terminal)",
    )
    group.add_argument(
        "--snapshots",
        action="store_true",
        help="keep what `cnn explain --run RUN` plays: after each epoch the first filters, what the network says of "
        "test photo 9, how many ReLUs are dead and how large the gradients are",
    )
    group.add_argument("--no-plots", action="store_true", help="draw no pictures")


def run(args: argparse.Namespace) -> None:
    """Train: see shared/session.py, which loads what it takes only now."""
    from cnn.commands.shared import session

    return session.main(args)
