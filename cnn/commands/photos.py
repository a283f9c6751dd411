"""`cnn photos`: the article's first 20 test photos, in the terminal and as a picture."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnn.commands.shared import options, pictures

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn import terminal
    from cnn.photos import Photo, Prediction

HELP = "the first 20 test photos with their labels, as in the article; with --model also what the model says"
COUNT = 20
SIDE = 14  # rows and columns that a photo has there at most
WIDTH, GAP = 15, 1  # of one photo with its caption in the terminal: five of them fill 80 columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn photos`."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        nargs="?",
        type=options.name,
        const="cnn",
        help="with predictions: of this model, or without MODEL of the one shipped here",
    )
    parser.add_argument(
        "--out", type=options.name, metavar="FILE", help="also write the sheet as a picture (.png, .pdf, .svg)"
    )
    options.add_data(parser)
    pictures.add_look(parser)


def run(args: argparse.Namespace) -> None:
    """Print the sheet, and with --out write it as a picture."""
    from cnn import photos
    from cnn.commands.shared import data, evaluation

    pictures.check("--out", args.out)
    predictions = None
    if args.model is None:
        source = data.of_command(args)
        chosen, names = photos.first(*source.split("test"), COUNT), source.class_names
    else:
        model, path = options.open_model(args.model)
        test = data.of_model(args, model, path).split("test")
        evaluation.warn_of_other_data(path, test, args.data)
        chosen, names = photos.first(*test, COUNT), photos.class_names(model)
        predictions = photos.predict(model, chosen)
    print_sheet(chosen, names, predictions, pictures.style(args))
    if args.out:
        from cnn import plots  # matplotlib takes a while

        pictures.write(plots.photo_sheet(chosen, names, predictions), args.out)


def print_sheet(
    chosen: Sequence["Photo"], names: Sequence[str], predictions: Sequence["Prediction"] | None, style: "terminal.Style"
) -> None:
    """Rows of five photos with their captions, and with predictions a line that counts the right ones."""
    from cnn import terminal

    print(f"The first {len(chosen)} test photos, counted from 1 as in the article: photo 9 is test[8].\n")
    blocks = [_block(photo, names, predictions[k] if predictions else None, style) for k, photo in enumerate(chosen)]
    in_a_row = max(1, (style.width + GAP) // (WIDTH + GAP))
    in_a_row = min(in_a_row, 5 if in_a_row < 10 else 10)
    for first in range(0, len(blocks), in_a_row):
        print("\n".join(terminal.columns(blocks[first : first + in_a_row], GAP)) + "\n")
    if predictions:
        print(_count(predictions))


def _block(photo, names, prediction, style):
    """One photo, small, and beneath it its number and label, and what the model says."""
    from cnn import terminal

    small = terminal.fitted(photo.pixels, SIDE)
    lines = [line + " " * (WIDTH - small.shape[1]) for line in terminal.draw_photo(small, style)]
    captions = [f"{photo.number} {names[photo.label]}"]
    if prediction:
        arrow, right, wrong = ("→", "✓ right", "✗ WRONG") if style.unicode else (">", "+ right", "x WRONG")
        sure = prediction.probabilities.max()
        captions += [
            f"{arrow} {prediction.says}",
            f"{right if prediction.right else wrong} {terminal.percent(sure, 0)}",
        ]
    return lines + [f"{caption[:WIDTH]:<{WIDTH}}" for caption in captions]


def _count(predictions):
    """How many are right, and which are not."""
    wrong = [p for p in predictions if not p.right]
    text = f"The model is right about {len(predictions) - len(wrong)} of {len(predictions)} photos."
    for p in wrong:
        text += f"\nIt takes {p.photo.title}, a {p.class_names[p.photo.label]}, for a {p.says}."
    return text.replace(" a Ankle", " an Ankle")
