"""`cnn compare`: the article's claim put to the test, three networks on moved, mirrored and rearranged photos."""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cnn.commands.shared import options, pictures

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from pathlib import Path

    import numpy as np

    from cnn import terminal
    from cnn.models import Sequential
    from cnn.photos.comparison import Comparison

HELP = (
    "the CNN against the dense net and against itself, trained with augmented photos: test photos moved, mirrored ..."
)
ARTICLE_PHOTO = 9  # its sandal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `cnn compare`."""
    options.add_model(parser)
    parser.add_argument(
        "--dense",
        type=options.name,
        metavar="MODEL",
        help="the network to compare with, named as for --model (default: dense)",
    )
    parser.add_argument(
        "--best",
        type=options.name,
        metavar="MODEL",
        help="the third, which learned with augmented photos (default: best)",
    )
    options.add_data(parser)
    parser.add_argument(
        "--limit", type=options.whole(1), metavar="N", help="only the first N test photos: quicker, less sure"
    )
    parser.add_argument(
        "--out", type=options.name, metavar="DIR", help="write compare.json and compare.png into this folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    pictures.add_look(parser)


def run(args: argparse.Namespace) -> None:
    """Compare the networks; print tables and sentences, or JSON, and with --out keep both."""
    from cnn.commands.shared import data, evaluation, streams
    from cnn.errors import UsageError
    from cnn.photos import comparison

    model, path = options.open_model(args.model)
    others = other_networks(args, model)
    networks = {"CNN": model, **{name: network for name, (network, _) in others.items()}}
    test = data.of_model(args, model, path).split("test")
    evaluation.warn_of_other_data(path, test, args.data)
    if args.limit and args.limit > len(test[0]):
        raise UsageError(f"--limit: expected at most {len(test[0])}, the number of test photos, got {args.limit}")
    pixels, labels = (array[: args.limit] for array in test)
    result = comparison.compare(networks, pixels, labels, progress())
    content = report(result, networks, [path, *(file for _, file in others.values())], pixels, labels)
    if args.json:
        streams.print_json(content)
    else:
        print_report(result, content, pixels, labels, networks, pictures.style(args))
    if args.out:
        write(args.out, content, result)


def other_networks(args: argparse.Namespace, model: "Sequential") -> dict[str, tuple["Sequential", "Path"]]:
    """{"dense": (a network, its file), "best": ...}: those named, or the shipped ones, where they know the same photos.

    Raises UsageError where there is no dense net to compare with.
    """
    from cnn.errors import UsageError
    from cnn.photos import class_names, shape_of

    found = {}
    for name, given in (("dense", args.dense), ("best", args.best)):
        network, path = options.open_model(given or name)
        same = (
            class_names(network) == class_names(model) if given is None else network.result_shape == model.result_shape
        )
        if same and shape_of(network) == shape_of(model):
            found[name] = network, path
        elif given or name == "dense":
            flag = f"--{name}: expected a network of the photos and classes that --model knows"
            raise UsageError(f"{flag}, got {path}: see cnn train --network dense")
    return found


def progress() -> Callable[[str], None]:
    """A function to call after each change: it counts them on a terminal, and is silent elsewhere."""
    import sys

    from cnn.photos import comparison

    total, stream, done = len(comparison.changes()), options.Progress(), []
    live = sys.stderr.isatty()

    def count(name):
        done.append(name)
        if live:
            stream.write(f"\r{len(done)}/{total}  photos {name}\x1b[K" + "\r\x1b[K" * (len(done) == total))

    return count


def report(
    result: "Comparison",
    networks: dict[str, "Sequential"],
    files: Sequence["Path"],
    pixels: "np.ndarray",
    labels: "np.ndarray",
) -> dict:
    """The comparison as `comparison.as_json` gives it, with the sentences and where the networks come from."""
    from cnn.photos import comparison

    said = [*comparison.sentences(result), comparison.shoe_sentence(pixels, labels, result.class_names)]
    about = {name: _about(network, file) for (name, network), file in zip(networks.items(), files, strict=True)}
    return comparison.as_json(result, about, [text for text in said if text])


def _about(model, path):
    from cnn import datasets

    fingerprint = datasets.fingerprint(*model.get_weights())
    return {
        "file": path.name,
        "parameters": model.count_params(),
        "made_by": model.made_by,
        "weights_sha256": fingerprint,
    }


def write(folder: str, content: dict, result: "Comparison") -> None:
    """compare.json and compare.png in a folder, which is made if need be."""
    from cnn import plots
    from cnn.commands.shared import files

    made = files.make_folder(folder)
    files.write_json(made / "compare.json", content)
    options.log(f"wrote {made / 'compare.json'}")
    pictures.write(plots.comparison(result), str(made / "compare.png"))


# ---- text


def print_report(
    result: "Comparison",
    content: dict,
    pixels: "np.ndarray",
    labels: "np.ndarray",
    networks: dict[str, "Sequential"],
    style: "terminal.Style",
) -> None:
    """Tables, the article's own sandal, the sentences, and why."""
    from cnn import terminal
    from cnn.photos import comparison

    count = int(result.counts.sum())
    print(f"Right answers in percent, with 95% intervals, {count:,} test photos.")
    print("> and < mark a difference outside the intervals, = none; best is the CNN that")
    print("learned with augmented photos.\n")
    print("\n".join([*_tables(result), *_class_table(result)]) + "\n")
    if len(pixels) >= ARTICLE_PHOTO:
        print("\n".join(_article_photo(pixels, labels, networks, style)) + "\n")
    for sentence in content["sentences"]:
        print(terminal.fill(f"- {sentence}", style.width, "  "))
    print("\n" + terminal.fill(comparison.WHY, style.width))


def _tables(result):
    """One line a change: all networks over all photos, and then over the sandals."""
    from cnn.photos import comparison

    lines, networks = [], list(result.correct)
    sandal = list(result.class_names).index("Sandal") if "Sandal" in result.class_names else None
    groups = [(None, f"all {result.counts.sum():,} photos")]
    if sandal is not None and result.counts[sandal]:
        groups.append((sandal, f"the {result.counts[sandal]:,} sandals"))
    for label, head in groups:
        lines += [head, f"{'':12} " + "   ".join(f"{network:14}" for network in networks)]
        for change in comparison.changes():
            scores = [result.score(network, change.name, label) for network in networks]
            signs = [f" {comparison.sign(a, b)} " for a, b in pairwise(scores)]
            cells = [text for pair in zip(map(_cell, scores), [*signs, ""], strict=True) for text in pair]
            lines.append(f"{change.name.removesuffix(' swapped'):12} " + "".join(cells))
        lines.append("")
    return [line.rstrip() for line in lines]


def _cell(score):
    low, high = (_number(edge) for edge in score.interval)
    return f"{_number(score.share)} {low + '-' + high:9}"


def _number(share):
    return "100 " if share > 0.9995 else f"{share * 100:4.1f}"


def _class_table(result):
    """One line a class: the four changes that are not shifts, for each network."""
    from cnn.photos import comparison

    lines = [f"by class, {', '.join(comparison.WHOLE)}", f"{'':12}  " + "".join(f"{n:22}" for n in result.correct)]
    for k, name in enumerate(result.class_names):
        if result.counts[k]:
            shares = [[result.score(n, change, k).share for change in comparison.WHOLE] for n in result.correct]
            rows = ("".join(f"{_number(share):5}" for share in row) for row in shares)
            lines.append(f"{name:12}  " + "".join(f"{row:22}" for row in rows))
    return [line.rstrip() for line in lines]


def _article_photo(pixels, labels, networks, style):
    """The article's sandal in its four forms, and what each network says of them."""
    from cnn import photos, terminal
    from cnn.photos import comparison

    chosen = photos.test_photo(ARTICLE_PHOTO, pixels, labels)
    blocks = []
    for change in (c for c in comparison.changes() if c.name in comparison.WHOLE):
        changed = chosen._replace(pixels=change.apply(chosen.pixels))
        small = terminal.fitted(changed.pixels, 14)
        lines = [line + " " * (19 - small.shape[1]) for line in terminal.draw_photo(small, style)]
        captions = [change.name.replace("they are", "it is")]
        for network, model in networks.items():
            said = photos.predict(model, [changed])[0]
            mark = ("✓" if said.right else "✗") if style.unicode else ("+" if said.right else "x")
            captions.append(f"{mark} {network}: {said.says}")
        blocks.append(lines + [f"{caption[:19]:19}" for caption in captions])
    names = photos.class_names(networks["CNN"])
    return [f"The article's own, {chosen.title}, labelled {names[chosen.label]}:", "", *terminal.columns(blocks)]
