"""`cnn explain`: one photo's way through the network, every product of it, forward and backward."""

import sys

from cnn.commands.shared import options, pictures

HELP = "walk through the network with one photo: every product, sum and gradient, forward and backward"


def add_arguments(parser):
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
        "--learning-rate",
        metavar="RATE",
        type=options.positive,
        default=0.01,
        help="of the one step in B12 (default 0.01)",
    )
    parser.add_argument(
        "--lab",
        metavar="K,S,PADDING,FILTER",
        type=lab_words,
        help="for L: such as 7,1,same,blur or 3,2,same,learned (5x5 as a fifth word)",
    )
    parser.add_argument(
        "--digits", metavar="3..9", type=options.whole(3, 9), default=4, help="digits after the point (default 4)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole trace as JSON and nothing else")
    parser.add_argument("--figures", type=options.name, metavar="DIR", help="write fifteen pictures into this folder")
    parser.add_argument(
        "--html",
        type=options.name,
        metavar="FILE",
        help="write the step-through as one page: offline, live, and it checks itself",
    )
    pictures.add_look(parser)


def numbers(*lengths):
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


def lab_words(text):
    """A type for argparse: 7,1,same,blur."""
    import argparse

    from cnn.explain import extras

    words = text.split(",")
    try:
        settings = extras.LabSettings(
            int(words[0]), int(words[1]), *words[2:4], *[word == "5x5" for word in words[4:5]]
        )
        known = (
            settings.kernel_size in extras.SIZES
            and settings.stride in extras.STRIDES
            and settings.padding in extras.PADDINGS
        )
    except (ValueError, IndexError, TypeError):
        known = False
    if not known or settings.preset not in (*extras.PRESETS, "learned") or words[4:] not in ([], ["5x5"]):
        raise argparse.ArgumentTypeError(
            f"expected size {extras.SIZES}, stride {extras.STRIDES}, same or valid, one of "
            f"{', '.join([*extras.PRESETS, 'learned'])}, such as 7,1,same,blur; got {text!r}"
        )
    return settings


def run(args):
    from cnn import photos
    from cnn.datasets import fashion_mnist
    from cnn.explain import trace, view
    from cnn.terminal import visible

    test = fashion_mnist.load_split("test", args.data)
    photo = photos.find(args.photo, *test) if args.photo else None
    if photo and not args.json:  # JSON has its own way with control characters
        photo = photo._replace(title=visible(photo.title))
    model, path = options.open_model(args.model)
    target = find_class(args.target, photos.class_names(model))
    cursor = view.Cursor(args.cell, args.filter, args.channel, args.unit, args.weight, args.learning_rate, args.lab)
    shown = photo or photos.test_photo(9, *test)
    photos.probabilities(
        model, shown.pixels[None]
    )  # told in float64 alone, numbers that overflow would look like an answer
    t = trace(model, shown.pixels, target, shown.label, shown.number, "" if shown.number else shown.title)
    check_step(t, args.step, cursor)
    if args.json:
        return write_json(t)
    if args.figures:
        return write_figures(t, args.figures, test)
    if args.html:
        return write_page(model, path, shown, target, test, args.html)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from cnn.explain import screen
        from cnn.explain.walk import Walk

        if not (reason := screen.usable()):
            walk = Walk(model, shown if args.step else photo, test, target, args.step or "F1", cursor, args.digits)
            return screen.run(walk, pictures.style(args))
        print(reason)
    return write_text(t, args, cursor)


def check_step(t, step, cursor) -> None:
    """Raises UsageError for a step that this network does not have, or that cannot be shown so."""
    from cnn.errors import UsageError
    from cnn.explain.tour import show

    try:
        if step:
            show(t, step, cursor)
    except ValueError as error:
        raise UsageError(f"--step {step}: {str(error).removeprefix('step: ')}") from None


def find_class(word, names):
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


def write_text(t, args, cursor):
    """The tour, or one step of it, as plain text."""
    from cnn.explain import text

    style = pictures.style(args)
    lines = text.piped(t, style._replace(width=max(60, style.width)), args.digits, args.step, cursor)
    print("\n".join(lines))


def write_json(t):
    """The trace as one JSON object."""
    from cnn.commands.shared import streams
    from cnn.explain.trace import to_json

    streams.print_json(to_json(t), indent=None)


def write_figures(t, folder, test):
    """The pictures, as PNG files."""
    from cnn.commands.shared import files
    from cnn.explain import figures

    folder = files.make_folder(folder)
    for name, make in figures.FIGURES.items():
        figure, _ = make(t, test)
        pictures.write(figure, str(folder / f"{name}.png"))


def write_page(model, path, shown, target, test, file):
    """The page, in one file. Raises UsageError for a photo that is no test photo, or a model that the page does not know."""
    import json
    from pathlib import Path

    from cnn import pretrained
    from cnn.commands.shared import files
    from cnn.errors import UsageError
    from cnn.explain import html

    if shown.number is None:
        raise UsageError(
            f"--html: expected the number of a test photo, got {shown.title}: the page itself loads pictures, in its last part"
        )
    dense, _ = options.open_model(str(pretrained.path("dense")))
    measured = Path(pretrained.__file__).parents[1] / "refresher" / "compare.json"
    ours = Path(path) == pretrained.path("cnn") and measured.exists()
    comparison = json.loads(measured.read_text("utf-8")) if ours else None
    page = html.page(model, dense, html.Example(shown.number, *test, comparison), target)
    files.write(file, page)
    options.log(f"wrote {file}: {len(page.encode()):,} bytes, for any browser, without a network")
