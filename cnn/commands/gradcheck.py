"""`cnn gradcheck`: every gradient of a network, or of a layer of your own, against slopes; exit 1 if one is wrong."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn import terminal
from cnn.commands.shared import options

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    import numpy as np

    from cnn.gradcheck import TensorCheck
    from cnn.models import Sequential

HELP = "check every gradient of a network against numerical derivatives"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn gradcheck`."""
    parser.add_argument(
        "own",
        nargs="?",
        type=options.name,
        metavar="FILE.py:NAME",
        help="a layer or function of your own, also with arguments, as mine.py:'Conv2D(4, 3)' (default: a network)",
    )
    parser.add_argument(
        "--shape",
        type=shape,
        action="append",
        metavar="H,W,C",
        help="of one photo for your layer, without the batch; for a function once for each of its arrays",
    )
    options.add_model(parser)
    options.add_data(parser)
    parser.add_argument("--init", action="store_true", help="check the article's network as it is before any training")
    parser.add_argument(
        "--photos",
        type=options.whole(1, 10_000),
        metavar="N",
        help="photos in the batch (default: 8, for your layer 3 or 5 of random numbers)",
    )
    parser.add_argument(
        "--samples",
        type=options.whole(30),
        metavar="N",
        help="numbers checked in each tensor (default: 60, and all of your layer)",
    )
    parser.add_argument(
        "--seed",
        type=options.whole(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="draws photos, classes and numbers (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Check the gradients and print a table, or JSON; the exit code, 1 where one is wrong."""
    from cnn import gradcheck
    from cnn.commands.shared import streams

    results = check_own(args) if args.own else check_network(args, gradcheck)
    if args.json:
        streams.print_json(as_list(results))
    else:
        print(table(results))
        explain(results, args.init)
    return 0 if all(is_right(result, args.init) for result in results) else 1


def check_own(args: argparse.Namespace) -> list["TensorCheck"]:
    """The layer or function in the user's file; what it prints goes where the log goes. Raises UsageError, Refusal."""
    from cnn.errors import UsageError
    from cnn.gradcheck import own

    for flag in ("model", "data", "init"):
        if getattr(args, flag):
            raise UsageError(f"--{flag}: belongs to a network, not to {args.own}")
    with contextlib.redirect_stdout(sys.stderr):
        title, results = own.check_own(own.load(args.own), args.shape or (), args.photos, args.seed, args.samples)
    options.log(title)
    return results


def check_network(args: argparse.Namespace, gradcheck: Any) -> list["TensorCheck"]:
    """The network that the flags name, on test photos. Raises UsageError, DataError, ModelFileError."""
    from cnn.errors import UsageError

    if args.shape:
        raise UsageError("--shape: belongs to a layer or function of your own, FILE.py:NAME")
    args.photos = args.photos or 8
    model = network_of(args)
    x, y = draw_batch(model, args)
    options.log(f"{args.photos} photos, classes drawn at random, float64")
    options.log("kink: a number whose difference crosses the corner of a ReLU or of a pooling window; left out")
    return gradcheck.check_model(model, x, y, args.samples or 60, seed=args.seed)


def shape(text: str) -> tuple[int, ...]:
    """A type for argparse: 8,8,3 as (8, 8, 3)."""
    return tuple(options.whole_list(1, 10_000)(text))


def network_of(args: argparse.Namespace) -> "Sequential":
    """The model to check, compiled. Raises UsageError, ModelFileError."""
    from cnn import article, losses
    from cnn.errors import UsageError

    if args.init and args.model:
        raise UsageError("--init and --model: expected one of them, got both")
    model = article.convolutional(seed=args.seed) if args.init else options.open_model(args.model)[0]
    if model.loss is None:
        model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=not model.ends_in_softmax))
    return model


def draw_batch(model: "Sequential", args: argparse.Namespace) -> tuple["np.ndarray", "np.ndarray"]:
    """Test photos and classes, both at random. Raises DataError, UsageError.

    A trained network is so sure of the right classes that their gradients would drown in rounding.
    """
    from pathlib import Path

    import numpy as np

    from cnn.checks import known
    from cnn.commands.shared import data
    from cnn.errors import UsageError
    from cnn.losses import SparseCategoricalCrossentropy
    from cnn.photos import model_input, probabilities
    from cnn.utils import to_categorical

    photos, _ = data.of_model(args, model, Path(model.file or "the network")).split("test")
    if args.photos > len(photos):
        raise UsageError(f"--photos: expected at most the {len(photos)} photos there are, got {args.photos}")
    rng = np.random.default_rng(args.seed)
    chosen = photos[rng.choice(len(photos), args.photos, replace=False)]
    probabilities(model, chosen)  # in float64 alone, numbers that overflow would not be noticed
    count = known(model.result_shape)[-1]
    classes = rng.integers(count, size=args.photos)
    by_number = isinstance(model.loss, SparseCategoricalCrossentropy)
    return model_input(model, chosen, np.float64), classes if by_number else to_categorical(classes, count)


def table(results: Sequence["TensorCheck"]) -> str:
    """The results as lines of text: tensor, shape, checked, kinks, error, verdict."""
    head = ("tensor", "shape", "checked", "kinks", "error", "verdict")
    rows = [head] + [
        (
            r.name,
            " x ".join(map(str, r.shape)),
            str(r.checked),
            str(r.kinks),
            f"{r.error:.1e}" if r.checked else "-",
            r.verdict,
        )
        for r in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = ("<", "<", ">", ">", ">", "<")
    lines = [
        "  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(row, align, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def is_right(result: "TensorCheck", fresh: bool) -> bool:
    """Whether a tensor passes; with --init a bias that only has kinks is nobody's fault (see `explain`)."""
    return result.passed or (fresh and result.verdict == "not comparable" and result.name.endswith("/bias"))


def explain(results: Sequence["TensorCheck"], fresh: bool) -> None:
    """Say in words what the table does not: which mistake was made, why a tensor could not be compared."""
    from cnn import gradcheck

    width = terminal.style_of().width
    for said in gradcheck.sentences(results):
        print(terminal.fill(said, width, "    "))
    if fresh and any(result.verdict == "not comparable" for result in results):
        print(
            "Biases start at 0, so over a black background every sum is exactly 0, the corner of ReLU: "
            "there the loss has no slope. A trained network has none of this."
        )


def as_list(results: Sequence["TensorCheck"]) -> list[dict]:
    """The table as JSON can hold it."""
    return [
        {
            "tensor": r.name,
            "shape": r.shape,
            "checked": r.checked,
            "kinks": r.kinks,
            "error": r.error if r.checked else None,
            "verdict": r.verdict,
            "mistake": r.diagnosis.mistake if r.diagnosis else None,
            "layer": r.diagnosis.layer if r.diagnosis else None,
            "diagnosis": r.diagnosis.sentence if r.diagnosis else None,
        }
        for r in results
    ]
