"""`cnn explain --html`: one page that holds weights, photos, the trace and the program that computes it all again.

The parts of the page lie beside this file as they are sent; here they are put together, with
the numbers and with all that formulas.py says. Nothing on it is loaded from anywhere, and it
may be opened from a disk. Text from outside (names of classes, of layers, of commands) goes
through `markup.escape` only.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cnn
from cnn import photos
from cnn.checks import known
from cnn.errors import UsageError
from cnn.explain import formulas, voice
from cnn.explain.page import markup
from cnn.explain.page.markup import escape
from cnn.explain.trace import SURE, Trace, to_json, trace
from cnn.models import Sequential, forward

Array = np.ndarray
PAGE = Path(__file__).parent
SCRIPTS = ("engine", "proof", "terms", "show", "prepare", "state", "parts", "steps", "labs", "app", "own", "boot")
SHEET = 20  # photos on the page, where there are as many
LIMIT = 4_000_000  # bytes
PARAMETERS = ("W1", "b1", "W2", "b2", "W3", "b3", "W4", "b4")
# Of one photo every tensor is on the page but these, which follow from the others by copying alone, and the largest.
LEFT_OUT = ("x", "a1", "a2", "f", "a3", "dp2", "da2", "dz2", "da1", "dz1", "dW3")
SHAPES = {"z1": (28, 28, 32), "z2": (14, 14, 64), "z3": (128,), "z4": (10,), "W1": (3, 3, 1, 32), "W2": (3, 3, 32, 64)}


class Example(NamedTuple):
    """What the page is about: a test photo by number, all test photos and labels, and what `cnn compare` found."""

    number: int
    pixels: Array
    labels: Array
    comparison: dict | None = None


def page(model: Sequential, dense: Sequential, example: Example, target: int | None = None) -> str:
    """The whole page as text. Raises UsageError for a model other than the article's, or a page that is too large."""
    photo = example.pixels[example.number - 1]
    t = trace(model, photo, target, int(example.labels[example.number - 1]), example.number)
    check_networks(t, dense)
    numbers = photo_numbers(example)
    others = {n: int(example.labels[n - 1]) for n in numbers if n != example.number}
    traces = [trace(model, example.pixels[n - 1], None, others[n], n) if n in others else t for n in numbers]
    labels = np.array([one.label for one in traces], np.uint8)
    blocks = {
        "weights": Block(t.production, PARAMETERS, "<f4"),
        "baseline": Block(dict(zip(("W1", "b1", "W2", "b2"), dense.params.values(), strict=True)), None, "<f4"),
        "full": Block(t.tensors, [name for name in compared(t) if name not in LEFT_OUT], "<f8"),
        "photo-bytes": Block({"photos": example.pixels[np.array(numbers) - 1], "labels": labels}, None, "u1"),
    }
    words = formulas.for_page(t)
    parts = {name: block.text for name, block in blocks.items()}
    parts |= {"data": as_script(data(t, traces, dense, blocks)), "words": as_script(words)}
    return check_size(fill(read("page.html"), parts | text_parts(t, traces, example)))


def photo_numbers(example: Example) -> list[int]:
    """The numbers of the page's photos: the first of the set, and the one that it is about."""
    first = range(1, min(SHEET, len(example.pixels)) + 1)
    return [*first, *([example.number] if example.number not in first else [])]


def compared(t: Trace) -> list[str]:
    """The tensors that the page computes again, by the names that it has for them."""
    return [name for name in t.tensors if name not in PARAMETERS and not name.startswith(("columns", "argmax"))]


def check_networks(t: Trace, dense: Sequential) -> None:
    """Raises UsageError unless these are the article's two networks, in the sizes that the page's engine knows."""
    if not t.article or any(t[name].shape != shape for name, shape in SHAPES.items()):
        raise UsageError(
            "--html: expected the article's network (conv 32, pool, conv 64, pool, dense 128, dense 10), got "
            f"{t.model.name}: the page's own engine knows only that one; `cnn explain` without --html explains any"
        )
    if [value.shape for value in dense.params.values()] != [(784, 128), (128,), (128, 10), (10,)]:
        raise UsageError(f"--html: expected the dense net 784-128-10 to compare with, got {dense.name}")


def check_size(text: str) -> str:
    """The text, unless it is too large to be sent by mail. Raises UsageError."""
    size = len(text.encode())
    if size > LIMIT:
        raise UsageError(f"--html: the page would have {size:,} bytes, at most {LIMIT:,} are allowed")
    return text


def read(name: str) -> str:
    """A file beside this one."""
    return (PAGE / name).read_text("utf-8")


def fill(text: str, parts: dict[str, str]) -> str:
    """Each {{name}} replaced by its part, once: what is put in is not searched again."""
    return re.sub(r"\{\{([\w-]+)\}\}", lambda found: parts[found[1]], text)


# ---- numbers


class Block:
    """Arrays as one block of numbers. text: their bytes, sorted by their place in a number, deflated, in base64.

    First come all first bytes, then all second ones: so equal signs and exponents lie together.
    """

    def __init__(self, tensors: Mapping[str, Any], names: Iterable[str] | None, dtype: str):
        chosen = {name: np.asarray(tensors[name], dtype) for name in (names or tensors)}
        raw = b"".join(array.tobytes() for array in chosen.values())
        width = np.dtype(dtype).itemsize
        packer = zlib.compressobj(9, wbits=-15)
        planes = np.frombuffer(raw, np.uint8).reshape(-1, width).T.tobytes()
        self.text = base64.b64encode(packer.compress(planes) + packer.flush()).decode()
        layout = [[name, list(array.shape)] for name, array in chosen.items()]
        self.told = {"width": width, "layout": layout, "sha256": hashlib.sha256(raw).hexdigest()}


def data(t: Trace, traces: list[Trace], dense: Sequential, blocks: dict[str, Block]) -> dict:
    """What the page reads as JSON: how the blocks are cut into tensors, and what was found for each photo."""
    full = {key: value for key, value in to_json(t, []).items() if key not in ("production", "tensors")}  # in blocks
    return {
        "schema": "cnn-page/2",
        "version": cnn.__version__,
        "classes": list(t.class_names),
        "articled": [voice.article(name) for name in t.class_names],
        "scale": photos.input_scale(t.model),
        "sure": SURE,
        "blocks": {name: block.told for name, block in blocks.items()},
        "full": full,
        "photos": [short(one, dense.astype(np.float64)) for one in traces],
    }


def short(t: Trace, dense: Sequential) -> dict:
    """One photo in short: logits, loss, the winners' hashes, and of each tensor its sum, largest size and length.

    dense: the dense net in float64.
    """
    p, _ = forward(dense.layers, t["x"][None])
    return {
        **{name: getattr(t, name) for name in ("number", "label", "predicted", "target", "loss")},
        "logits": t["z4"].tolist(),
        "dense": p[0].tolist(),
        "tensors": {name: [float(t[name].sum()), float(np.abs(t[name]).max()), t[name].size] for name in compared(t)},
        **{name: hashlib.sha256(t[name].astype(np.uint8)).hexdigest() for name in ("argmax1", "argmax2")},
        "ties": split_ties(t),
    }


def split_ties(t: Trace) -> dict[str, list[list[int]]]:
    """{"argmax1": [[window, its winner], ...], ...}: where of equal cells not the first won, by rounding alone.

    BLAS may add up the same numbers in another order at another place of its matrix. The page adds up all
    places alike, so there the first wins: it has to be told of these few, or it would go another way back.
    """
    return {f"argmax{k}": _split(t[f"a{k}"], t[f"argmax{k}"].ravel()) for k in (1, 2)}


def _split(a, winners):
    height, width, channels = a.shape
    cells = a.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 4, 1, 3).reshape(-1, 4)
    first = (cells >= cells.max(axis=1, keepdims=True) - 1e-12 * max(1.0, a.max())).argmax(axis=1)
    return [[int(n), int(winners[n])] for n in np.flatnonzero(first != winners)]


def as_script(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- text


def text_parts(t: Trace, traces: list[Trace], example: Example) -> dict[str, str]:
    """Everything of the page that a person reads, and the scripts."""
    beside = [*(formulas.find_step(t, name) for name in formulas.BESIDE), formulas.Step("T", "train", -1)]
    tour = {step.id: markup.Stop(t, step) for step in [*formulas.steps(t), *beside]}
    count = sum(number <= SHEET for number in photo_numbers(example))
    extra = f" or {t.number}" if known(t.number) > count else ""
    scripts = [f"\n{read(f'{name}.js')}" for name in SCRIPTS]
    return {
        **{f"{step}-{part}": getattr(stop, part)() for step, stop in tour.items() for part in ("head", "live")},
        "number": str(t.number),
        "count": str(count),
        "photos-in-all": str(len(traces)),
        "numbers": f"1 to {count}{extra}",
        "a-label": escape(voice.article(t.class_names[known(t.label)].lower())),
        "style": f"{colours()}{read('page.css')}",
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "hashes": " ".join(f"'sha256-{fingerprint(script)}'" for script in scripts),
        **{f"tour-{way}": "\n".join(tour[step].article() for step in tour if step[0] == way) for way in "FB"},
        **{f"steps-{way}": markup.step_links(tour, way) for way in "FB"},
        **{f"player-{way}": fill(read("player.html"), {"way": way}) for way in "FB"},
        "keys": markup.keys(),
        "sheet": markup.sheet(traces),
        "network": markup.network(t),
        "geometry": markup.geometry(),
        "compare": markup.comparison(example.comparison),
        "target": markup.target(t),
        "sources": markup.sources(tour),
        "report": "The self-check runs when the page opens with JavaScript.",
        "provenance": provenance(t),
    }


def fingerprint(script: str) -> str:
    """What the content policy knows a script by: only these scripts run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def colours() -> str:
    """The colours of positive and negative numbers, by day and by night."""
    said = lambda time: " ".join(f"--{name[:3]}: {colour[time]};" for name, colour in voice.COLOURS.items())
    day, night = said("light"), said("dark")
    return f":root {{ {day} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {night} }} }}\n"


def provenance(t: Trace) -> str:
    """Where the numbers come from."""
    made, about = escape(t.model.made_by or "not recorded"), "Data: Fashion-MNIST by Zalando Research, MIT licence."
    return f"Written by numpy-cnn {cnn.__version__}; model trained by: <code>{made}</code>. {about}"
