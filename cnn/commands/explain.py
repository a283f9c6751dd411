"""`cnn explain`: one photo's way through the network, every product of it, forward and backward."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cnn.commands.shared import options, pictures

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    from cnn.commands.shared.data import Source
    from cnn.datasets.idx import Split
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
    which = parser.add_mutually_exclusive_group()
    options.add_model(which, default="the article's, see --moment")
    which.add_argument(
        "--moment",
        choices=("untrained", "early", "finished"),
        help="the article's network before training, after one epoch of 2,000 photos, or after all of it "
        "(default: early, where one still sees it learn); the page of --html has a switch for them, and begins there",
    )
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
    whole.add_argument(
        "--figures",
        type=options.name,
        metavar="DIR",
        help="write fifteen pictures into this folder, or as many as the network has something for",
    )
    whole.add_argument(
        "--html",
        type=options.name,
        metavar="FILE",
        help="write the step-through as one page: offline, live, and it checks itself",
    )
    add_quiz(parser)
    parser.add_argument(
        "--run",
        dest="played",
        metavar="RUN",
        type=options.name,
        help="play a run of `cnn train --snapshots`, epoch by epoch; with --figures as one picture",
    )
    pictures.add_look(parser)


def add_quiz(parser: argparse.ArgumentParser) -> None:
    """The flags of the quiz."""
    parser.add_argument(
        "--quiz",
        action="store_true",
        help="ask for each step's number before it is shown; with --json print the questions and their answers",
    )
    parser.add_argument(
        "--seed", type=options.whole(0), metavar="N", help="decides what the quiz asks of each step (default 0)"
    )


def add_step(parser: argparse.ArgumentParser) -> None:
    """The flags that choose one step, and what it looks at."""
    parser.add_argument(
        "--step",
        type=options.name,
        metavar="STEP",
        help="F1 to F12, B1 to B12, R1 to R3 back through a ReLU, C chain rule, M im2col, G gradient check, L lab, "
        "S shifted photos",
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
    parser.add_argument("--all", action="store_true", default=None, help="in text: every term of every sum")
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


ONE_STEP = ("step", "cell", "filter", "channel", "unit", "weight", "learning_rate", "lab", "digits", "all")


def check_options(args: argparse.Namespace) -> None:
    """Raises UsageError for options of one step beside an output that holds all steps."""
    from cnn.errors import UsageError

    if args.seed is not None and not args.quiz:
        raise UsageError("--seed decides the questions of --quiz: give both, or leave it out")
    if args.quiz:
        return check_quiz(args)
    whole = "--json" if args.json else "--figures" if args.figures else "--html" if args.html else ""
    given = [f"--{name.replace('_', '-')}" for name in ONE_STEP if getattr(args, name) is not None]
    if whole and given:
        raise UsageError(f"{whole} holds all steps: {', '.join(given)} would change nothing, leave it out")


def check_quiz(args: argparse.Namespace) -> None:
    """Raises UsageError for what the quiz knows nothing of."""
    from cnn.errors import UsageError

    other = "--figures" if args.figures else "--html" if args.html else "--all" if args.all else ""
    if other:
        raise UsageError(f"--quiz asks in the terminal, or with --json prints its key: leave out {other}")


def run(args: argparse.Namespace) -> None:
    """Trace one photo, then write what was asked for: JSON, pictures, the page, plain text; or walk in the terminal."""
    from cnn import photos
    from cnn.commands.shared import data
    from cnn.explain import parts, trace
    from cnn.terminal import visible

    if args.played:
        return play(args)
    check_options(args)
    model, path, moment = open_moment(args)
    source = data.of_model(args, model, path)
    test = source.split("test")
    photo = photos.find(args.photo, *test, model) if args.photo else None
    if photo and not args.json:  # JSON has its own way with control characters
        photo = photo._replace(title=visible(photo.title))
    target = find_class(args.target, photos.class_names(model))
    rate = args.learning_rate or parts.Cursor.learning_rate
    cursor = parts.Cursor(args.cell, args.filter, args.channel, args.unit, args.weight, rate, args.lab)
    shown = photo or photos.shown_first(*test)
    photos.probabilities(model, shown.pixels[None])  # in float64 alone numbers that overflow would look like an answer
    t = trace(model, shown.pixels, target, shown.label, shown.number, "" if shown.number else shown.title, moment)
    check_step(t, args.step, cursor)
    if args.quiz:
        return ask(t, args, cursor)
    if args.json:
        return write_json(t)
    if args.figures:
        return write_figures(t, args.figures, test)
    if args.html:
        return write_page(model, path, shown, target, source, args.html, moment)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from cnn.explain.terminal import screen

        if not (reason := screen.usable()):
            return walk(model, photo, shown, test, target, cursor, args, moment)
        print(reason)
    return write_text(t, args, cursor)


def play(args: argparse.Namespace) -> None:
    """A run, epoch by epoch: on screens, as text or as one picture."""
    from pathlib import Path

    from cnn.commands.shared import files, snapshots
    from cnn.errors import UsageError
    from cnn.explain import film
    from cnn.explain.terminal import screen

    given = {"PHOTO": args.photo, "--model": args.model, "--moment": args.moment, "--target": args.target}
    given |= {"--json": args.json, "--html": args.html, "--quiz": args.quiz, "--step": args.step, "--all": args.all}
    if other := [name for name, value in given.items() if value]:
        raise UsageError(f"--run plays what the run has kept: leave out {', '.join(other)}")
    found, style = snapshots.read(args.played), pictures.style(args)
    if args.figures:
        pictures.write(film.figure(found), str(files.make_folder(args.figures) / "16-run.png"))
    elif sys.stdin.isatty() and sys.stdout.isatty() and not screen.usable():
        screen.run(film.Film(found, Path(args.played).name), style)
    else:
        print("\n".join(film.piped(found, style)))


def walk(
    model: "Sequential",
    photo: "Photo | None",
    shown: "Photo",
    test: "Split",
    target: int | None,
    cursor: "Cursor",
    args: argparse.Namespace,
    moment: str,
) -> None:
    """The walk in the terminal; with --step it begins there, else with the sheet of photos or the photo asked for."""
    from cnn.explain import voice
    from cnn.explain.terminal import screen
    from cnn.explain.terminal.walk import Walk

    begin, digits = args.step or "F1", args.digits or voice.DIGITS
    steps = Walk(model, shown if args.step else photo, test, target, begin, cursor, digits, moment)
    screen.run(steps, pictures.style(args))


def open_moment(args: argparse.Namespace) -> tuple["Sequential", "Path", str]:
    """The network, its file, and its moment: "" for one that --model names."""
    from cnn import article, pretrained

    if args.model:
        return *options.open_model(args.model), ""
    moment = args.moment or "early"
    return article.at_moment(moment), pretrained.path("cnn" if moment == "finished" else "early"), moment


def check_step(t: "Trace", step: str | None, cursor: "Cursor") -> None:
    """Raises UsageError for a step that this network does not have, or that cannot be shown so."""
    from cnn.errors import UsageError
    from cnn.explain.chain import looked_at
    from cnn.explain.formulas import find_step
    from cnn.explain.views import show

    try:
        if step:
            show(t, step, looked_at(t, find_step(t, step), cursor))
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


def ask(t: "Trace", args: argparse.Namespace, cursor: "Cursor") -> None:
    """The quiz, or with --json its key."""
    from cnn.commands.shared import streams
    from cnn.errors import UsageError
    from cnn.explain import quiz, voice
    from cnn.explain.terminal.quiz import Quiz

    digits, seed = args.digits or voice.DIGITS, args.seed or 0
    asked = quiz.questions(t, seed, args.step, cursor)
    if not asked:
        raise UsageError(f"--quiz: step {args.step.upper()} computes nothing that could be asked")
    if args.json:
        return streams.print_json(quiz.as_json(t, asked, seed, digits))
    Quiz(t, asked, digits, max(60, pictures.style(args).width)).run()


def write_text(t: "Trace", args: argparse.Namespace, cursor: "Cursor") -> None:
    """The tour, or one step of it, as plain text."""
    from cnn.explain import voice
    from cnn.explain.terminal import text

    style = pictures.style(args)
    digits = args.digits or voice.DIGITS
    lines = text.piped(t, style._replace(width=max(60, style.width)), digits, args.step, cursor, bool(args.all))
    print("\n".join(lines))


def write_json(t: "Trace") -> None:
    """The trace as one JSON object."""
    from cnn.commands.shared import streams
    from cnn.explain.trace import to_json

    streams.print_json(to_json(t), indent=None)


def write_figures(t: "Trace", folder: str, test: "Split") -> None:
    """The pictures, as PNG files; of those that this network has nothing for, what it lacks is said."""
    from cnn.commands.shared import files
    from cnn.explain import figures

    made = files.make_folder(folder)
    for name, make in figures.FIGURES.items():
        if why := figures.missing(t, name):
            options.log(f"left out {name}.png: this network has {why}")
            continue
        figure, _ = make(t, test)
        pictures.write(figure, str(made / f"{name}.png"))


def training_photos(source: "Source") -> "Split | None":
    """The photos that the page learns from; None, said on stderr, where they cannot be read: it needs the test's."""
    from cnn.errors import DataError

    try:
        return source.split("train")
    except DataError as error:
        options.log(f"note: the page will not learn from nothing: {error}")
        return None


def write_page(
    model: "Sequential", path: "Path", shown: "Photo", target: int | None, source: "Source", file: str, moment: str
) -> None:
    """The page, in one file; of the article's network at all its moments, beginning with this one.

    source: of test photos, and of those that the page learns from, if they can be read. Raises UsageError for a layer
    that the page's engine does not have.
    """
    import json
    from importlib import resources
    from pathlib import Path

    from cnn import article, pretrained
    from cnn.commands.shared import files
    from cnn.explain.page import build

    dense, _ = options.open_model(str(pretrained.path("dense")))
    measured = resources.files("cnn.refresher") / "compare.json"
    ours = (moment or Path(path) == pretrained.path("cnn")) and measured.is_file()
    comparison = json.loads(measured.read_text("utf-8")) if ours else None
    own = None if shown.number else shown
    others = {name: model if name == moment else article.at_moment(name) for name in article.MOMENTS if moment}
    example = build.Example(shown.number, *source.split("test"), comparison, own, training_photos(source))
    page = build.page(model, dense, example, target, others)
    files.write(file, page)
    options.log(f"wrote {file}: {len(page.encode()):,} bytes, for any browser, without a network")
