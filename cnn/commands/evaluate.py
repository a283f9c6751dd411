"""`cnn evaluate`: how good a trained model is on the test photos."""

import argparse

from cnn.commands.shared import options

HELP = "accuracy, loss and mistakes of a trained model on the test photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn evaluate`."""
    options.add_model(parser)
    options.add_data(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON, the confusion matrix included")


def run(args: argparse.Namespace) -> None:
    """Print the result on the test photos, or JSON."""
    from cnn.commands.shared import data, evaluation, streams
    from cnn.terminal import visible

    model, path = options.open_model(args.model)
    test = data.of_model(args, model, path).split("test")
    evaluation.warn_of_other_data(path, test, args.data)
    result = evaluation.evaluate(model, *test)
    if args.json:
        streams.print_json({"model": str(path), **result.as_dict()})
    else:
        print(f"model          {visible(str(path))}\n{result.text()}", end="")
