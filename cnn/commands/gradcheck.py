"""`cnn gradcheck`: compare every gradient of a network with measured slopes; exit 1 when one is wrong."""

import json
import sys

HELP = "check every gradient of a network against numerical derivatives"


def add_arguments(parser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="model file or run folder (default: the trained model of this package)")
    parser.add_argument("--init", action="store_true", help="check the article's network freshly initialised instead, not trained")
    parser.add_argument("--photos", type=int, default=8, metavar="N", help="test photos in the batch (default 8)")
    parser.add_argument("--samples", type=int, default=60, metavar="N", help="numbers checked in each tensor (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="draws photos, classes and numbers (default 0)")
    parser.add_argument("--data", metavar="DIR", help="directory with four IDX files (default: Fashion-MNIST)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args) -> int:
    """Print the table; 0 when every gradient is right, else 1. Raises UsageError, DataError, ModelFileError."""
    import numpy as np

    from cnn import checks, gradcheck
    from cnn.datasets import fashion_mnist
    from cnn.errors import UsageError

    if args.init and args.model:
        raise UsageError("expected either --model or --init, got both")
    photos, _ = fashion_mnist.load_split("test", args.data)
    count = checks.whole("gradcheck", "--photos", args.photos, high=len(photos))
    rng = np.random.default_rng(checks.whole("gradcheck", "--seed", args.seed, 0, 2**32 - 1))
    model = fresh_network(args.seed) if args.init else trained_network(args.model)
    x = photos[rng.choice(len(photos), count, replace=False), :, :, None] * (model.input_scale or 1 / 255)
    # Classes at random: a trained network is so sure of the right ones that their gradient would drown in rounding.
    y = rng.integers(model.output_shape[-1], size=count)
    print(f"float64, {count} photos, classes drawn at random; a kink is an entry whose difference crosses the corner "
          "of a ReLU or a tie in a pooling window", file=sys.stderr)  # fmt: skip
    results = gradcheck.check_model(model, x, y, args.samples, seed=args.seed)
    print(as_json(results) if args.json else gradcheck.table(results))
    if not args.json:
        explain(results, args.init)
    return 0 if all(is_right(result, args.init) for result in results) else 1


def trained_network(path):
    """The model of this file or run folder, or the one shipped with the package; compiled if it was not."""
    from cnn import models, pretrained

    model = models.load_model(pretrained.path("cnn") if path is None else path)
    if model.loss is None:
        model.compile("adam", "sparse_categorical_crossentropy")
    return model


def fresh_network(seed: int):
    """The article's network with its first weights."""
    from cnn import layers, models

    model = models.Sequential(seed=seed)
    model.add(layers.Conv2D(32, (3, 3), padding="same", activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D((2, 2), strides=2))
    model.add(layers.Conv2D(64, (3, 3), padding="same", activation="relu"))
    model.add(layers.MaxPooling2D((2, 2), strides=2))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def is_right(result, fresh: bool) -> bool:
    """Whether a tensor passes; with --init a bias that only has kinks is nobody's fault (see `explain`)."""
    return result.passed or (fresh and result.verdict == "not comparable" and result.name.endswith("/bias"))


def explain(results, fresh: bool) -> None:
    """Say in words what the table does not: which number is furthest off, why a tensor could not be compared."""
    for result in results:
        if result.verdict == "WRONG":
            worst = result.worst
            print(f"{result.name}: furthest off at {list(worst.index)}: gradient {worst.analytic:.9g}, slope {worst.numeric:.9g}")
        elif result.verdict == "not comparable":
            print(f"{result.name}: only {result.checked} entries free of kinks")
    if fresh and any(result.verdict == "not comparable" for result in results):
        print("Biases start at 0, so over a black background every sum is exactly 0, the corner of ReLU: "
              "there the loss has no slope. A trained network has none of this.")  # fmt: skip


def as_json(results) -> str:
    """The table as a JSON list."""
    return json.dumps(
        [
            {"tensor": r.name, "shape": r.shape, "checked": r.checked, "kinks": r.kinks,
             "error": r.error if r.checked else None, "verdict": r.verdict}
            for r in results
        ],
        indent=2,
    )  # fmt: skip
