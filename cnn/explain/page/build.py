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
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.errors import UsageError
from cnn.explain import chain, formulas, voice
from cnn.explain.page import markup, plan
from cnn.explain.page.markup import escape
from cnn.explain.trace import SURE, Trace, to_json, trace
from cnn.layers import Softmax
from cnn.models import Sequential, forward
from cnn.photos import Photo

Array = np.ndarray
PAGE = Path(__file__).parent
SCRIPTS = [
    "activations",
    "engine",
    "proof",
    "terms",
    "path",
    "show",
    "prepare",
    "state",
    "parts",
    "steps",
    "backward",
    "labs",
    "app",
    "own",
    "boot",
]
SHEET = 20  # photos on the page, where there are as many
PHOTO_BYTES = 400_000  # of all of them together; where photos are large, there are fewer
LIMIT = 1_500_000  # bytes of the lesson; the weights come on top, as many as the network has
IN_FULL = 80_000  # numbers of one photo's trace that are on the page; of the other tensors there are sum and size
SHAPES = {"z1": (28, 28, 32), "z2": (14, 14, 64), "z3": (128,), "z4": (10,), "W1": (3, 3, 1, 32), "W2": (3, 3, 32, 64)}


class Example(NamedTuple):
    """What the page is about: a test photo by number, all test photos and labels, and what `cnn compare` found.

    own: a photo that is none of the set; then the number does not matter.
    """

    number: int | None
    pixels: Array
    labels: Array
    comparison: dict | None = None
    own: Photo | None = None


def page(model: Sequential, dense: Sequential | None, example: Example, target: int | None = None) -> str:
    """The whole page as text, for any network that can be traced and whose layers the page's engine has.

    dense: the net to compare with, left out where it takes other photos or has other classes. Raises UsageError for a
    layer that the engine does not have, photos that are no bytes, or a page that is too large; ValueError as `trace`.
    """
    if example.pixels.dtype != np.uint8:
        raise UsageError(f"--html: expected photos of bytes (uint8), got {example.pixels.dtype}")
    traces = traced(model, example, target)
    number = None if example.own else example.number
    t, baseline = next(one for one in reversed(traces) if one.number == number), None
    net = plan.plan(t)
    if dense is not None and formulas.has_step(t, formulas.Step("S", "shift", 0)):
        baseline = trace(dense, t.photo, t.target)
    photo_bytes = np.stack([one.photo for one in traces]), np.array([label_byte(one) for one in traces], np.uint8)
    blocks = {
        "weights": Block(t.production, parameters(t), "<f4"),
        "full": Block(t.tensors, in_full(t), "<f8"),
        "photo-bytes": Block(dict(zip(("photos", "labels"), photo_bytes, strict=True)), None, "u1"),
    }
    if baseline:
        blocks["baseline"] = Block(baseline.production, parameters(baseline), "<f4")
    parts = {"baseline": ""} | {name: block.text for name, block in blocks.items()}
    nets = {"net": net, "baseline": baseline and plan.plan(baseline)}
    parts["data"] = as_script(data(t, traces, baseline, blocks) | nets)
    parts["words"] = as_script(formulas.for_page(t))
    text = fill(chosen(read("page.html"), t), parts | text_parts(t, traces, example))
    return check_size(text, len(parts["weights"]) + len(parts["baseline"]))


def traced(model: Sequential, example: Example, target: int | None) -> list[Trace]:
    """The traces of the page's photos; the one that it is about explains the target class."""
    found = []
    for n in photo_numbers(example):
        label, asked = int(example.labels[n - 1]), target if n == example.number and not example.own else None
        known_label = label if label < known(model.result_shape)[0] else None
        found.append(trace(model, example.pixels[n - 1], asked, known_label, n))
    if example.own:
        found.append(trace(model, example.own.pixels, target, example.own.label, None, example.own.title))
    return found


def photo_numbers(example: Example) -> list[int]:
    """The numbers of the page's photos: the first of the set, and the one that it is about."""
    count = min(SHEET, len(example.pixels), max(1, PHOTO_BYTES // max(1, example.pixels[0].size)))
    first, number = range(1, count + 1), None if example.own else example.number
    return [*first, *([number] if number is not None and number not in first else [])]


def label_byte(t: Trace) -> int:
    """The label; 255 where there is none."""
    return 255 if t.label is None else t.label


def parameters(t: Trace) -> list[str]:
    """The names of all weights, layer by layer."""
    return [stage.names[role] for stage in t.stages for role in stage.layer.learnable]


def compared(t: Trace) -> list[str]:
    """The tensors that the page computes again, by the names that it has for them."""
    roles = ("columns", "winners")
    others = {stage.names[role] for stage in t.stages for role in (*roles, *stage.layer.params) if role in stage.names}
    return [name for name in t.tensors if name not in others]


def in_full(t: Trace) -> list[str]:
    """The tensors that are on the page number by number: what sums make; copies, and what is cut, follow from those.

    Of these the smallest, as long as there are not too many numbers.
    """
    found = ["p", "dlogits", "dx"]
    for stage in t.stages:
        moves = plan.operation(stage.layer)["op"] in ("copy", "activate")
        found += [] if moves else [stage.names["z"] if "z" in stage.names else stage.names["y"]]
        found += [stage.names["dx"]] if stage.layer.learnable else []
        found += [stage.names[f"d{role}"] for role in stage.layer.learnable]
    names = sorted(dict.fromkeys(found), key=lambda name: t[name].size)
    sizes = np.cumsum([t[name].size for name in names])
    kept = {name for name, size in zip(names, sizes, strict=True) if size <= IN_FULL}
    return [name for name in compared(t) if name in kept]


def check_size(text: str, weights: int) -> str:
    """The text, unless it is too large beside its weights to be sent by mail. Raises UsageError."""
    size = len(text.encode()) - weights
    if size > LIMIT:
        raise UsageError(
            f"--html: the page would have {size:,} bytes beside the weights, at most {LIMIT:,} are allowed"
        )
    return text


def chosen(text: str, t: Trace) -> str:
    """The page's text with what this network has: <!--if M-->...<!--end--> stays where there is a step M."""
    grey = t.photo.shape == (28, 28)
    there = {"own": grey, "clothes": t.class_names == CLASS_NAMES and grey}
    there |= {name: formulas.has_step(t, formulas.find_step(t, name)) for name in formulas.BESIDE}
    pattern = r"<!--if (\w+)-->(.*?)<!--end-->"
    return re.sub(pattern, lambda found: found[2] if there[found[1]] else "", text, flags=re.S)


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


def data(t: Trace, traces: list[Trace], baseline: Trace | None, blocks: dict[str, Block]) -> dict:
    """What the page reads as JSON: how the blocks are cut into tensors, and what was found for each photo."""
    full = {key: value for key, value in to_json(t, []).items() if key not in ("production", "tensors")}  # in blocks
    return {
        "schema": "cnn-page/3",
        "version": cnn.__version__,
        "classes": list(t.class_names),
        "articled": [voice.article(name) for name in t.class_names],
        "shape": list(t.photo.shape if t.photo.ndim == 3 else (*t.photo.shape, 1)),
        "scale": photos.input_scale(t.model),
        "sure": SURE,
        "blocks": {name: block.told for name, block in blocks.items()},
        "full": full,
        "photos": [short(one, baseline) for one in traces],
    }


def short(t: Trace, baseline: Trace | None) -> dict:
    """One photo in short: logits, loss, where its tour starts, winners' hashes, tensors' sums, largest sizes, lengths.

    number: 0 for a photo that is none of the set. baseline: a trace of the net to compare with.
    """
    sums = {name: [float(t[name].sum()), float(np.abs(t[name]).max()), t[name].size] for name in compared(t)}
    won = {plan.winners_name(stage): plan.winners(t, stage) for stage in t.stages}
    hashes = {name: hashlib.sha256(w.astype("<i4").tobytes()).hexdigest() for name, w in won.items() if w is not None}
    found = {name: getattr(t, name) for name in ("label", "predicted", "target", "loss")}
    found |= {"number": t.number or 0, "logits": t[t.stages[-1].names["y"]].tolist(), "start": chain.start(t).cells}
    if baseline:
        logits, _ = forward(baseline.model64.logit_layers(), t["x"][None])
        found["dense"] = Softmax().forward(logits)[0][0].tolist()
    return found | {"tensors": sums, "winners": hashes, "ties": plan.split_ties(t), "corners": plan.near_corners(t)}


def as_script(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- text


def text_parts(t: Trace, traces: list[Trace], example: Example) -> dict[str, str]:
    """Everything of the page that a person reads, and the scripts."""
    names = [name for name in formulas.BESIDE if formulas.has_step(t, formulas.find_step(t, name))]
    beside = [*(formulas.find_step(t, name) for name in names), formulas.Step("T", "train", -1)]
    told = is_article(t)
    tour = {step.id: markup.Stop(t, step, told) for step in [*formulas.steps(t), *beside]}
    numbers = [one.number for one in traces]
    count = sum(number in range(1, SHEET + 1) for number in numbers)
    extra = f" or {t.number}" if t.number and t.number > count else ""
    label = None if t.label is None else voice.article(t.class_names[t.label].lower())
    scripts = [f"\n{read(f'{name}.js')}" for name in SCRIPTS]
    return {
        **{f"{step}-{part}": getattr(stop, part)() for step, stop in tour.items() for part in ("head", "live")},
        "number": str(t.number or 0),
        "which": escape(f"photo {t.number}" if t.number else t.title),
        "count": str(count),
        "photos-in-all": str(len(traces)),
        "numbers": f"1 to {count}{extra}",
        "a-label": escape(f" of {label}" if label else ""),
        "multiplications": f"{sum(markup.products(stage) for stage in t.stages):,}",
        "parameters": f"{sum(stage.layer.count_params() for stage in t.stages):,}",
        "style": f"{colours()}{read('page.css')}",
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "hashes": " ".join(f"'sha256-{fingerprint(script)}'" for script in scripts),
        **{f"tour-{way}": "\n".join(tour[step].article() for step in tour if step[0] == way) for way in "FB"},
        **{f"steps-{way}": markup.step_links(tour, way) for way in "FB"},
        **{f"player-{way}": fill(read("player.html"), {"way": way}) for way in "FB"},
        "keys": markup.keys(),
        "sheet": markup.sheet(traces),
        "network": markup.network(t),
        "strip": markup.strip(t),
        "geometry": markup.geometry(),
        "compare": markup.comparison(example.comparison),
        "target": markup.target(t),
        "sources": markup.sources(tour),
        "report": "The self-check runs when the page opens with JavaScript.",
        "provenance": provenance(t),
    }


def is_article(t: Trace) -> bool:
    """Whether this is the article's network in the article's sizes: of it the page tells more."""
    return t.article and all(t[name].shape == shape for name, shape in SHAPES.items())


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
    made = escape(t.model.made_by or "not recorded")
    return f"Written by numpy-cnn {cnn.__version__}; model trained by: <code>{made}</code>."
