"""`python -m cnn.refresher`: measure, draw the pictures, and write README.md and compare.json beside this file."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cnn import photos, plots, summary
from cnn.checks import known
from cnn.commands import compare
from cnn.commands.shared import evaluation, files, options, pictures
from cnn.commands.shared.evaluation import Result
from cnn.datasets import fashion_mnist, in_both
from cnn.models import Sequential
from cnn.photos import comparison
from cnn.photos.comparison import Comparison
from kernels.geometry import window_geometry

FOLDER = Path(__file__).parent
DPI = 110
CALLED_BEST = comparison.CALLED[comparison.BEST]
SHOWN = (comparison.PLAIN, "1 left", "1 right", "2 left", "2 right", "4 left", "4 right", *comparison.WHOLE[1:])


def main(folder: Path = FOLDER) -> None:
    """Everything anew, into this folder."""
    networks: dict[str, Sequential] = {}
    paths: list[Path] = []
    for name, given in (("CNN", "cnn"), ("dense", "dense"), ("best", "best")):
        networks[name], path = options.open_model(given)
        paths.append(path)
    pixels, labels = fashion_mnist.load_split("test")
    result = comparison.compare(networks, pixels, labels, compare.progress())
    content = compare.report(result, networks, paths, pixels, labels)
    content["in_both"] = len(in_both(fashion_mnist.load_split("train")[0], pixels))
    results = {name: evaluation.evaluate(model, pixels, labels) for name, model in networks.items()}
    files.write_json(folder / "compare.json", content)
    files.write(folder / "README.md", page(networks, results, content, pixels, labels))
    for name, figure in figures(networks["CNN"], pixels, labels, results["CNN"], result).items():
        save(figure, folder / f"{name}.png")


def page(networks: dict, results: dict, content: dict, pixels: np.ndarray, labels: np.ndarray) -> str:
    """The text, its numbers filled in. content: what `cnn compare --json` prints; results: one of each network."""
    template = (FOLDER / "page.md").read_text(encoding="utf-8")
    chosen = photos.predict(networks["CNN"], [photos.test_photo(k, pixels, labels) for k in range(1, 21)])
    values = {
        "sheet_right": sum(bool(p.right) for p in chosen),
        "sheet_count": len(chosen),
        "photo9_says": chosen[8].says,
        "photo9_label": chosen[8].class_names[known(chosen[8].photo.label)],
        "filters": networks["CNN"].layers[0].units,
        "summary": summary.summary_table(networks["CNN"], 76),
        "why": content["why"],
        "table": table(content["results"]),
        "sentences": "\n".join(f"- {text}" for text in content["sentences"] if CALLED_BEST not in text),
        **_remedy(content),
        "plain_verdict": content["sentences"][0].rsplit(": ", 1)[1].rstrip("."),
        **_padding(),
        **_mistakes(results["CNN"]),
    }
    for name, model in networks.items():
        low, high = results[name].interval
        about = {
            "accuracy": f"{results[name].accuracy:.2%}",
            "interval": f"{low:.2%} to {high:.2%}",
            "parameters": f"{model.count_params():,}",
            "made_by": model.made_by,
        }
        values |= {f"{name.lower()}_{key}": value for key, value in about.items()}
    return template.format_map(values)


def _padding():
    """The zeros before and after, for a 3x3 filter with stride 2 and 'same'."""
    pads = {size: window_geometry(size, 3, 2, "same")[1:] for size in (5, 28)}
    return {f"pad{size}_{side}": pads[size][k] for size in pads for k, side in enumerate(("before", "after"))}


def _remedy(content):
    """What is said of the network that learned with augmented photos, and how clean the test is."""
    count = content["in_both"]
    photos = f"{count} of the training photos are" if count > 1 else "One training photo is"
    return {
        "best_claims": "\n".join(f"- {text}" for text in content["sentences"] if CALLED_BEST in text),
        "in_both": f"{photos if count else 'No training photo is'} in the test set as well, byte by byte.",
    }


def _mistakes(result):
    """The class that is found least and most, and what the first is taken for."""
    names = result.class_names
    found = [result.recalls()[name] for name in names]
    worst, best = int(np.argmin(found)), int(np.argmax(found))
    others = result.confusion[worst].copy()
    others[worst] = 0
    return {
        "hardest": names[worst],
        "hardest_recall": f"{found[worst]:.1%}",
        "hardest_count": int(others.max()),
        "hardest_for": names[int(others.argmax())],
        "easiest": names[best],
        "easiest_recall": f"{found[best]:.1%}",
    }


def table(rows: list[dict]) -> str:
    """The chief rows of `cnn compare --json` as a Markdown table."""
    networks = [name for name in ("CNN", "dense", "best") if name in rows[0]]
    heads = [f"{name}, {group}" for group in ("all", "sandals") for name in networks]
    lines = [f"| photos | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for row in (row for row in rows if row["change"] in SHOWN):
        scores = [row[name] for name in networks] + [row[name]["by_class"]["Sandal"] for name in networks]
        cells = [comparison.percent(comparison.Score(s["correct"], s["count"])) for s in scores]
        lines.append(f"| {row['change']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(model: Sequential, pixels: np.ndarray, labels: np.ndarray, result: Result, compared: Comparison) -> dict:
    """All pictures of the page by name. Convolution and pooling are shown where photo 9 is answered most strongly."""
    chosen = [photos.test_photo(k, pixels, labels) for k in range(1, 21)]
    predictions = photos.predict(model, chosen)
    sandal = chosen[8]
    maps = plots.activations(model, sandal.pixels)[known(model.layers[0].name)]
    i, j, f = (int(k) for k in np.unravel_index(maps.argmax(), maps.shape))
    top, left = (min(max(k // 2 * 2 - 2, 0), 22) for k in (i, j))
    return {
        "photos": plots.photo_sheet(chosen, photos.class_names(model), predictions),
        "card": plots.prediction_card(predictions[8]),
        "convolution": plots.convolution_step(model, sandal, (i, j), f),
        "filters": plots.filters(model),
        "stride_and_padding": plots.stride_and_padding(),
        "maps": plots.feature_maps(model, sandal),
        "pooling": plots.pooling_step(model, sandal, f, (top, left)),
        "journey": plots.journey(model, sandal, maps=4),
        "confusion_matrix": plots.confusion_matrix(result.confusion, result.class_names),
        "compare": plots.comparison(compared),
    }


def save(figure: Figure, path: Path) -> None:
    """A PNG of at most 256 colours, a third of the size: a page of ten should load quickly."""
    from PIL import Image

    picture, small = io.BytesIO(pictures.drawn(figure, str(path), dpi=DPI)), io.BytesIO()
    Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    files.write(path, small.getvalue())
    options.log(f"wrote {path}")


if __name__ == "__main__":
    main()
