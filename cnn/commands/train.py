"""`cnn train`: a network learns the photos; a run folder keeps what it learned and how."""

from cnn.commands import network, options

HELP = "train a network and keep it, its learning curves and its result in a run folder"

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
}


def add_arguments(parser):
    add_settings(parser)
    group = parser.add_argument_group("the run")
    options.add_data(group)
    group.add_argument(
        "--threads", type=options.whole(1, 256), metavar="N", help="decides only the speed (default: one a core)"
    )
    group.add_argument("--out", default="runs", metavar="DIR", help="where run folders are kept (default: runs)")
    group.add_argument("--name", metavar="NAME", help="the folder's name (default: train, train-2, ...)")
    group.add_argument(
        "--resume",
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
    group.add_argument("--no-plots", action="store_true", help="draw no pictures")


def add_settings(parser):
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
    group.add_argument("--optimizer", choices=("adam", "sgd"), help="how gradients become steps (default: adam)")
    group.add_argument(
        "--seed", type=options.whole(0, 2**32 - 1), metavar="N", help="decides all random numbers (default: 0)"
    )
    group.add_argument(
        "--shards",
        type=options.whole(1, 256),
        metavar="N",
        help="parts of a batch; fixes the last bits of the result (default: one a core)",
    )
    group.add_argument(
        "--validation-split",
        type=options.fraction,
        metavar="F",
        help="hold back this last part of the photos, and keep the epoch best on them (default: 0)",
    )
    group.add_argument(
        "--limit", type=options.whole(1), metavar="N", help="train on the first N photos only (default: all)"
    )


def run(args):
    from cnn.commands import training

    return training.main(args)
