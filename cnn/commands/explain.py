"""`cnn explain`: one photo's way through the network, every product of it, forward and backward."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cnn.commands.shared import options, pictures

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    from cnn.datasets.fashion_mnist import Split
    from cnn.explain.parts import Cursor
    from cnn.explain.trace import Trace
    from cnn.explain.voice import LabSettings
    from cnn.models import Sequential
    from cnn.photos import Photo

HELP = "walk through the network with one photo: every product, sum and gradient, forward and backward"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn explain`."""
    parser.add_argument(
        "photo",
        metavar="PHOTO",
        nargs="?",
        type=options.name,
        help="a number from 1 to 10000 or an image file (none: the sheet of the first 20)",
    )
    options.add_model(parser)
    options.add_data(parser)
    parser.add_argument(
        "--target",
        type=options.name,
        metavar="CLASS",
        help="explain this class, by number or name, instead of the label",
    )
    add_step(parser)
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument("--json", action="store_true", help="print the whole trace as JSON and nothing else")
    whole.add_argument("--figures", type=options.name, metavar="DIR", help="write fifteen pictures into this folder")
    whole.add_argument(
        "--html",
        type=options.name,
        metavar="FILE",
        help="write the step-through as one page: offline, live, and it checks itself",
    )
    pictures.add_look(parser)


def add_step(parser: argparse.ArgumentParser) -> None:
    """The flags that choose one step, and what it looks at."""
    parser.add_argument(
        "--step",
        type=options.name,
        metavar="STEP",
        help="F1 to F12, B1 to B12, M im2col, G gradient check, L lab, S shifted photos",
    )
    parser.add_argument("--cell", metavar="I,J", type=numbers(2), help="row and column of the output cell")
    for name in ("filter", "channel", "unit"):
        parser.add_argument(f"--{name}", metavar=name[0].upper(), type=options.whole(0), help=f"which {name}")
    parser.add_argument(
        "--weight", metavar="U,V,C,F", type=numbers(2, 4), help="a weight of the kernel; N,U for a Dense layer"
    )
    parser.add_argument(
        "--learning-rate", metavar="RATE", type=options.positive, help="of the one step in B12 (default 0.01)"
    )
    parser.add_argument(
        "--lab",
        metavar="K,S,PADDING,FILTER",
        type=lab_words,
        help="for L: such as 7,1,same,blur or 3,2,same,learned (5x5 as a fifth word)",
    )
    parser.add_argument("--digits", metavar="3..9", type=options.whole(3, 9), help="digits after the point (default 4)")


def numbers(*lengths: int) -> Callable[[str], tuple[int, ...]]:
    """A type for argparse: so many whole numbers from 0, with commas between them."""

    def parse(text):
        import argparse

        words = text.split(",")
        if len(words) not in lengths:
            raise argparse.ArgumentTypeError(
                f"expected {' or '.join(map(str, lengths))} numbers with commas between them, got {text!r}"
            )
        return tuple(options.whole(0)(word) for word in words)

    return parse


def lab_words(text: str) -> "LabSettings":
    """A type for argparse: 7,1,same,blur."""
    import argparse

    from cnn.explain import voice

    words, presets = text.split(","), (*voice.PRESETS, "learned")
    known = len(words) in (4, 5) and words[0].isdigit() and words[1].isdigit() and words[4:] in ([], ["5x5"])
    if known:
        settings = voice.LabSettings(int(words[0]), int(words[1]), words[2], words[3], toy=len(words) == 5)
        choices = voice.SIZES, voice.STRIDES, voice.PADDINGS, presets
        known = all(value in choice for value, choice in zip(settings, choices, strict=False))
    if not known:
        raise argparse.ArgumentTypeError(
            f"expected size {voice.SIZES}, stride {voice.STRIDES}, same or valid, one of {', '.join(presets)}, "
            f"such as 7,1,same,blur; got {text!r}"
        )
    return settings


ONE_STEP = ("step", "cell", "filter", "channel", "unit", "weight", "learning_rate", "lab", "digits")


def check_options(args: argparse.Namespace) -> None:
    """Raises UsageError for options of one step beside an output that holds all steps."""
    from cnn.errors import UsageError

    whole = "--json" if args.json else "--figures" if args.figures else "--html" if args.html else ""
    given = [f"--{name.replace('_', '-')}" for name in ONE_STEP if getattr(args, name) is not None]
    if whole and given:
        raise UsageError(f"{whole} holds all steps: {', '.join(given)} would change nothing, leave it out")


def run(args: argparse.Namespace) -> None:
    """Trace one photo, then write what was asked for: JSON, pictures, the page, plain text; or walk in the terminal."""
    from cnn import photos
    from cnn.datasets import fashion_mnist
    from cnn.explain import parts, trace
    from cnn.terminal import visible

    check_options(args)
    test = fashion_mnist.load_split("test", args.data)
    photo = photos.find(args.photo, *test) if args.photo else None
    if photo and not args.json:  # JSON has its own way with control characters
        photo = photo._replace(title=visible(photo.title))
    model, path = options.open_model(args.model)
    target = find_class(args.target, photos.class_names(model))
    rate = args.learning_rate or parts.Cursor.learning_rate
    cursor = parts.Cursor(args.cell, args.filter, args.channel, args.unit, args.weight, rate, args.lab)
    shown = photo or photos.shown_first(*test)
    photos.probabilities(model, shown.pixels[None])  # in float64 alone numbers that overflow would look like an answer
    t = trace(model, shown.pixels, target, shown.label, shown.number, "" if shown.number else shown.title)
    check_step(t, args.step, cursor)
    if args.json:
        return write_json(t)
    if args.figures:
        return write_figures(t, args.figures, test)
    if args.html:
        return write_page(model, path, shown, target, test, args.html)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from cnn.explain.terminal import screen

        if not (reason := screen.usable()):
            return walk(model, photo, shown, test, target, cursor, args)
        print(reason)
    return write_text(t, args, cursor)


def walk(
    model: "Sequential",
    photo: "Photo | None",
    shown: "Photo",
    test: "Split",
    target: int | None,
    cursor: "Cursor",
    args: argparse.Namespace,
) -> None:
    """The walk in the terminal; with --step it begins there, else with the sheet of photos or the photo asked for."""
    from cnn.explain import voice
    from cnn.explain.terminal import screen
    from cnn.explain.terminal.walk import Walk

    begin, digits = args.step or "F1", args.digits or voice.DIGITS
    steps = Walk(model, shown if args.step else photo, test, target, begin, cursor, digits)
    screen.run(steps, pictures.style(args))


def check_step(t: "Trace", step: str | None, cursor: "Cursor") -> None:
    """Raises UsageError for a step that this network does not have, or that cannot be shown so."""
    from cnn.errors import UsageError
    from cnn.explain.views import show

    try:
        if step:
            show(t, step, cursor)
    except ValueError as error:
        raise UsageError(f"--step {step}: {str(error).removeprefix('step: ')}") from None


def find_class(word: str | None, names: Sequence[str]) -> int | None:
    """The class that a number or a name means; None for None. Raises UsageError."""
    from cnn.errors import UsageError

    if word is None:
        return None
    lowered = [name.lower() for name in names]
    if word.lower() in lowered:
        return lowered.index(word.lower())
    if word.isdigit() and int(word) < len(names):
        return int(word)
    raise UsageError(
        f"--target: expected a class from 0 to {len(names) - 1} or one of {', '.join(names)}, got {word!r}"
    )


def write_text(t: "Trace", args: argparse.Namespace, cursor: "Cursor") -> None:
    """The tour, or one step of it, as plain text."""
    from cnn.explain import voice
    from cnn.explain.terminal import text

    style = pictures.style(args)
    digits = args.digits or voice.DIGITS
    lines = text.piped(t, style._replace(width=max(60, style.width)), digits, args.step, cursor)
    print("\n".join(lines))


def write_json(t: "Trace") -> None:
    """The trace as one JSON object."""
    from cnn.commands.shared import streams
    from cnn.explain.trace import to_json

    streams.print_json(to_json(t), indent=None)


def write_figures(t: "Trace", folder: str, test: "Split") -> None:
    """The pictures, as PNG files."""
    from cnn.commands.shared import files
    from cnn.explain import figures

    made = files.make_folder(folder)
    for name, make in figures.FIGURES.items():
        figure, _ = make(t, test)
        pictures.write(figure, str(made / f"{name}.png"))


def write_page(model: "Sequential", path: "Path", shown: "Photo", target: int | None, test: "Split", file: str) -> None:
    """The page, in one file. Raises UsageError for a photo that is no test photo, or a model it does not know."""
    import json
    from importlib import resources
    from pathlib import Path

    from cnn import pretrained
    from cnn.commands.shared import files
    from cnn.errors import UsageError
    from cnn.explain.page import build

    if shown.number is None:
        raise UsageError(
            f"--html: expected the number of a test photo, got {shown.title}: the page itself loads pictures, "
            "in its last part"
        )
    dense, _ = options.open_model(str(pretrained.path("dense")))
    measured = resources.files("cnn.refresher") / "compare.json"
    ours = Path(path) == pretrained.path("cnn") and measured.is_file()
    comparison = json.loads(measured.read_text("utf-8")) if ours else None
    page = build.page(model, dense, build.Example(shown.number, *test, comparison), target)
    files.write(file, page)
    options.log(f"wrote {file}: {len(page.encode()):,} bytes, for any browser, without a network")
