"""`cnn predict`: the article's question - type a number, and see whether the model is right."""

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnn.commands.shared import options, pictures

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    from cnn import terminal
    from cnn.datasets.idx import Split
    from cnn.models import Sequential
    from cnn.photos import Photo, Prediction

SIDE = 28  # rows and columns of a photo on the screen, at most
HELP = (
    "what the model says of a photo: of the test set by its number from 1, a random one, or an image file of your own"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn predict`."""
    parser.add_argument(
        "photo",
        metavar="PHOTO",
        nargs="*",
        type=options.name,
        help="a number from 1 to 10000, 'random', or an image file (none: you are asked)",
    )
    options.add_model(parser, "cnn; of a photo of your own: best")
    options.add_data(parser)
    parser.add_argument(
        "--figure",
        type=options.name,
        metavar="FILE",
        help="write the photo's card as a picture (.png, .pdf, .svg); several are numbered",
    )
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON")
    pictures.add_look(parser)


def run(args: argparse.Namespace) -> None:
    """Say what the model makes of each photo, or ask for photos where none is given."""
    from cnn import photos
    from cnn.commands.shared import streams
    from cnn.errors import UsageError

    pictures.check("--figure", args.figure)
    if not args.photo and (args.json or args.figure):
        raise UsageError(f"--{'json' if args.json else 'figure'}: expected a PHOTO as well")
    models = Models(args)
    chosen = [models.find(word) for word in args.photo]
    if not chosen:
        return ask(models, args)
    predictions = [photos.predict(models.of(photo)[0], [photo])[0] for photo in chosen]
    if args.json:
        streams.print_json(as_dict(predictions, [models.of(photo)[1] for photo in chosen]))
    else:
        print("\n\n".join(card(p, pictures.style(args)) for p in predictions))
    for name, prediction in zip(pictures.numbered(args.figure, len(predictions)), predictions, strict=False):
        from cnn import plots

        pictures.write(plots.prediction_card(prediction), name)


class Models:
    """Who is asked about which photo: --model, or else the article's model for test photos, and the best for others.

    Raises ModelFileError where it cannot be read.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.open: dict[str, tuple[Sequential, Path]] = {}
        if args.model:
            self._named(args.model)  # a bad file is better known before the first question

    def of(self, photo: "Photo") -> tuple["Sequential", "Path"]:
        """(the model for this photo, its file)."""
        return self._named(self.args.model or ("best" if photo.number is None else "cnn"))

    @functools.cached_property
    def test(self) -> "Split":
        """The test photos, read when one of them is first asked for."""
        from cnn.commands.shared import data, evaluation

        model, path = self._named(self.args.model or "cnn")
        test = data.of_model(self.args, model, path).split("test")
        evaluation.warn_of_other_data(path, test, self.args.data)
        return test

    def find(self, word: str) -> "Photo":
        """The photo that a word means. Raises UsageError, DataError."""
        import os

        from cnn import photos

        model = self._named(self.args.model)[0] if self.args.model else None
        if photos.number_in(word) is None and word != "random" and os.path.exists(word):
            return photos.own_photo(word, model=model)
        return photos.find(word, *self.test, model)

    def _named(self, name):
        if name not in self.open:
            self.open[name] = options.open_model(name)
        return self.open[name]


def ask(models: Models, args: argparse.Namespace) -> None:
    """Ask for photos until `q` or the end of the input; a word that means no photo is explained, and asked again."""
    from cnn import photos
    from cnn.errors import DataError, UsageError

    question = f"Photo (1 to {len(models.test[0])}, random, an image file; q ends): "
    while (word := _answer(question)) not in ("q", "quit", None):
        if not word:
            continue
        try:
            photo = models.find(word)
            prediction = photos.predict(models.of(photo)[0], [photo])[0]
            print("\n" + card(prediction, pictures.style(args)) + "\n", flush=True)
        except (DataError, UsageError) as error:
            options.log(f"{error}")


def _answer(question):
    """One line from the user, or None at the end of the input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")  # Ctrl-D leaves the cursor behind the question
    return line.strip() if line else None


def card(prediction: "Prediction", style: "terminal.Style") -> str:
    """The photo beside the ten probabilities, and the answer in words."""
    from cnn import terminal

    photo, names = prediction.photo, prediction.class_names
    notes = [terminal.fill(f"  - {note}", style.width, "    ") for note in photo.notes]
    shown = terminal.fitted(photo.pixels, SIDE)
    picture, across = terminal.draw_photo(shown, style), shown.shape[1]
    wide = style.width >= 62
    rows = _bars(prediction, style, style.width - (across + 3 if wide else 0))
    body = terminal.beside(picture, ["", "", *rows], across) if wide else [*picture, "", *rows]
    head = [terminal.visible(photo.title) + (f", labelled {names[photo.label]}" if photo.label is not None else "")]
    head += ["What was done to it:", *notes] if notes else []
    return "\n".join([*head, "", *body, "", terminal.fill(verdict(prediction), style.width)])


def _bars(prediction, style, width):
    """One line a class: a mark at the model's choice, name, percentage, bar."""
    from cnn import terminal

    longest = max(map(len, prediction.class_names))
    mark = "→" if style.unicode else ">"
    rows = []
    for k, (name, p) in enumerate(zip(prediction.class_names, prediction.probabilities, strict=True)):
        start = f"{mark if k == prediction.predicted else ' '} {name:<{longest}} {terminal.percent(p):>7} "
        rows.append((start + terminal.bar(float(p), max(4, width - len(start)), style)).rstrip())
    return rows


def verdict(prediction: "Prediction") -> str:
    """What the model says and whether that is right, in a sentence or two."""
    from cnn.terminal import percent

    sure = prediction.probabilities[prediction.predicted]
    says = f"The model says {prediction.says}, {percent(sure)} sure."
    label = prediction.photo.label
    if label is None:
        return f"{says} There is no label to compare with: you are the judge."
    says += f" The label says {prediction.class_names[label]}"
    if prediction.right:
        return f"{says}: RIGHT."
    return f"{says} (it gave that {percent(prediction.probabilities[label])}): WRONG."


def as_dict(predictions: Sequence["Prediction"], paths: Sequence["Path"]) -> dict:
    """The predictions for programs, as JSON can hold them; paths: the model's file of each.

    "model" is the one of all, null where several were asked.
    """

    def entry(p, path):
        label = p.photo.label
        return {
            "model": str(path),
            "photo": p.photo.number,
            "test_index": None if p.photo.number is None else p.photo.number - 1,
            "file": p.photo.title if p.photo.number is None else None,
            "notes": list(p.photo.notes),
            "label": None if label is None else p.class_names[label],
            "prediction": p.says,
            "right": p.right,
            "probabilities": {name: float(value) for name, value in zip(p.class_names, p.probabilities, strict=True)},
        }

    entries = [entry(p, path) for p, path in zip(predictions, paths, strict=True)]
    return {"model": str(paths[0]) if len(set(paths)) == 1 else None, "predictions": entries}
