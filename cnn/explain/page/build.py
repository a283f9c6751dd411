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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cnn
from cnn.checks import known
from cnn.datasets.fashion_mnist import CLASS_NAMES
from cnn.errors import UsageError
from cnn.explain import formulas, quiz, voice
from cnn.explain.page import carried, learning, markup, nothing, plan
from cnn.explain.page.markup import escape
from cnn.explain.trace import Trace, trace
from cnn.models import Sequential
from cnn.photos import Photo

Array = np.ndarray
PAGE = Path(__file__).parent
SCRIPTS = [
    "activations",
    "products",
    "engine",
    "batch",
    "proof",
    "learner",
    "terms",
    "path",
    "show",
    "prepare",
    "state",
    "parts",
    "steps",
    "backward",
    "chain",
    "rule",
    "labs",
    "quiz",
    "ask",
    "toy",
    "nothing",
    "app",
    "present",
    "own",
    "learned",
    "learn",
    "draws",
    "check",
    "moments",
    "boot",
]
STYLES = ("page", "lesson", "backward", "learn")
SHEET = 20  # photos on the page, where there are as many
PHOTO_BYTES = 400_000  # of all of them together; where photos are large, there are fewer
LIMIT = 1_500_000  # bytes of the lesson; on top come the weights, as many as there are, and the training photos
SHAPES = {"z1": (28, 28, 32), "z2": (14, 14, 64), "z3": (128,), "z4": (10,), "W1": (3, 3, 1, 32), "W2": (3, 3, 32, 64)}


class Example(NamedTuple):
    """What the page is about: a test photo by number, all test photos and labels, and what `cnn compare` found.

    own: a photo that is none of the set; then the number does not matter. learn: photos and labels to train with.
    """

    number: int | None
    pixels: Array
    labels: Array
    comparison: dict | None = None
    own: Photo | None = None
    learn: tuple[Array, Array] | None = None


def page(
    model: Sequential,
    dense: Sequential | None,
    example: Example,
    target: int | None = None,
    moments: Mapping[str, Sequential] | None = None,
) -> str:
    """The whole page as text, for any network that can be traced and whose layers the page's engine has.

    dense: the net to compare with, left out where it takes other photos or has other classes. moments: the same network
    with other weights, by name, in the order of the page's switch; `model` is the one of them with which it begins.
    Raises UsageError for a layer that the engine does not have, photos that are no bytes, or a page that is too large;
    ValueError as `trace`.
    """
    if example.pixels.dtype != np.uint8:
        raise UsageError(f"--html: expected photos of bytes (uint8), got {example.pixels.dtype}")
    traces = {name: traced(one, example, target, name) for name, one in (moments or {"": model}).items()}
    about = {name: photo_of(example, found) for name, found in traces.items()}  # the photo that the page is about
    t, baseline = next(one for one in about.values() if one.model is model), None
    nets: dict[str, Any] = {"net": carried.same_net(about.values())}
    if dense is not None and formulas.has_step(t, formulas.Step("S", "shift", 0)):
        baseline = trace(dense, t.photo, t.target)
    blocks = carried.moment_blocks(t, about) | carried.photo_blocks(traces[t.moment])
    if baseline:
        blocks["baseline"] = carried.weights_block(baseline)
    nets["baseline"] = baseline and plan.plan(baseline)
    lesson, why = learning.find(example.learn, t.photo, len(t.class_names))
    nets["learn"] = learning.told(lesson) if lesson else None
    found = carried.data(t, traces, baseline, blocks)
    parts = {"data": as_script(found | nets), "words": as_script(formulas.for_page(t) | {"quiz": quiz.for_page(t)})}
    parts |= {"moments": markup.moments([*about], t.moment), "moments-said": markup.moments_said([*about], t.moment)}
    parts["provenance"] = provenance(about.values())
    parts["blocks"] = "\n".join(block.script(name) for name, block in blocks.items() if block.text)
    parts["learn"] = carried.Block(learning.arrays(lesson), None, "u1").text if lesson else ""
    parts["learn-section"] = learning.section(read("learn.html"), lesson, why, nets["net"]["layers"], t.class_names)
    text = fill(chosen(read("page.html"), t), parts | text_parts(t, traces[t.moment], example))
    weights = (len(block.text) for name, block in blocks.items() if name.startswith(("weights", "baseline")))
    return check_size(text, len(parts["learn"]) + sum(weights))


def photo_of(example: Example, traces: list[Trace]) -> Trace:
    """The trace of the photo that the page is about."""
    number = None if example.own else example.number
    return next(one for one in reversed(traces) if one.number == number)


def traced(model: Sequential, example: Example, target: int | None, moment: str = "") -> list[Trace]:
    """The traces of the page's photos; the one that it is about explains the target class."""
    found = []
    for n in photo_numbers(example):
        label, asked = int(example.labels[n - 1]), target if n == example.number and not example.own else None
        known_label = label if label < known(model.result_shape)[0] else None
        found.append(trace(model, example.pixels[n - 1], asked, known_label, n, "", moment))
    if example.own:
        own = example.own
        found.append(trace(model, own.pixels, target, own.label, None, own.title, moment))
    return found


def photo_numbers(example: Example) -> list[int]:
    """The numbers of the page's photos: the first of the set, and the one that it is about."""
    count = min(SHEET, len(example.pixels), max(1, PHOTO_BYTES // max(1, example.pixels[0].size)))
    first, number = range(1, count + 1), None if example.own else example.number
    return [*first, *([number] if number is not None and number not in first else [])]


def check_size(text: str, weights: int) -> str:
    """The text, unless it is too large beside its weights and training photos to be sent by mail. Raises UsageError."""
    size = len(text.encode()) - weights
    if size > LIMIT:
        raise UsageError(
            f"--html: the page would have {size:,} bytes beside weights and training photos, at most {LIMIT:,} are "
            "allowed"
        )
    return text


def chosen(text: str, t: Trace) -> str:
    """The page's text with what this network has: <!--if M-->...<!--end--> stays where there is a step M."""
    grey = t.photo.shape == (28, 28)
    there = {"own": grey, "moments": bool(t.moment), "clothes": t.class_names == CLASS_NAMES and grey}
    there["C"] = any(step.kind == "chain" for step in formulas.tour(t))
    there |= {name: formulas.has_step(t, formulas.find_step(t, name)) for name in formulas.BESIDE}
    pattern = r"<!--if (\w+)-->(.*?)<!--end-->"
    return re.sub(pattern, lambda found: found[2] if there[found[1]] else "", text, flags=re.S)


def read(name: str) -> str:
    """A file beside this one."""
    return (PAGE / name).read_text("utf-8")


def fill(text: str, parts: dict[str, str]) -> str:
    """Each {{name}} replaced by its part, once: what is put in is not searched again."""
    return re.sub(r"\{\{([\w-]+)\}\}", lambda found: parts[found[1]], text)


def as_script(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- text


def text_parts(t: Trace, traces: list[Trace], example: Example) -> dict[str, str]:
    """Everything of the page that a person reads, and the scripts."""
    names = [name for name in formulas.BESIDE if formulas.has_step(t, formulas.find_step(t, name))]
    beside = [*(formulas.find_step(t, name) for name in names), formulas.Step("T", "train", -1)]
    told = is_article(t)
    tour = {step.id: markup.Stop(t, step, told) for step in [*formulas.tour(t), *beside]}
    numbers = [one.number for one in traces]
    count = sum(number in range(1, SHEET + 1) for number in numbers)
    extra = f" or {t.number}" if t.number and t.number > count else ""
    label = None if t.label is None else voice.article(t.class_names[t.label].lower())
    scripts = {name: f"\n{read(f'{name}.js')}" for name in SCRIPTS}
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
        "style": colours() + "".join(read(f"{name}.css") for name in STYLES),
        "scripts": "\n".join(f'<script data-name="{name}">{script}</script>' for name, script in scripts.items()),
        "hashes": " ".join(f"'sha256-{fingerprint(script)}'" for script in scripts.values()),
        **{
            f"tour-{way}": "\n".join(tour[step].article() for step in tour if markup.WAY.get(step[0]) == way)
            for way in "FB"
        },
        **{f"steps-{way}": markup.step_links(tour, way) for way in "FB"},
        **{f"player-{way}": fill(read("player.html"), {"way": way}) for way in "FB"},
        "keys": markup.keys(),
        "sheet": markup.sheet(traces),
        "network": markup.network(t),
        "strip": markup.strip(t),
        "nothing": nothing.chapter(t, chosen(read("nothing.html"), t)),
        "geometry": markup.geometry(),
        "compare": markup.comparison(example.comparison),
        "target": markup.target(t),
        "sources": markup.sources(tour),
        "report": "The self-check runs when the page opens with JavaScript.",
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


def provenance(traces: Iterable[Trace]) -> str:
    """Where the numbers come from; of a network at several moments, those of each."""
    made = "; ".join(
        f"{escape(t.moment)} network drawn from seed {t.model.seed}"
        if carried.draws(t) and not t.model.made_by
        else f"{escape(t.moment or 'model')}{' network' * bool(t.moment)} trained by: "
        f"<code>{escape(t.model.made_by or 'not recorded')}</code>"
        for t in traces
    )
    return f"Written by numpy-cnn {cnn.__version__}; {made}."
