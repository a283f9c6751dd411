"""`cnn explain --html`: one page that holds weights, photos, the trace and the program that computes it all again.

The parts of the page lie in page/ as they are sent; here they are put together, with the
numbers. Nothing on it is loaded from anywhere, and it may be opened from a disk.
"""

import base64
import hashlib
import inspect
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cnn
from cnn import layers, losses, optimizers
from cnn.errors import UsageError
from cnn.explain import html_tables as tables
from cnn.explain.trace import Trace, to_json, trace
from cnn.models import Sequential, forward
from kernels import reference

Array = np.ndarray
PAGE = Path(__file__).parent / "page"
SCRIPTS = ("engine", "proof", "show", "forward", "backward", "labs", "state", "app", "own", "boot")
SHEET = 20  # photos on the page
LIMIT = 4_000_000  # bytes
# What one photo's full trace holds; the page derives the others from these, and their sums are compared for every photo.
FULL = (
    "z1",
    "p1",
    "z2",
    "p2",
    "z3",
    "z4",
    "p",
    "dlogits",
    "da3",
    "dz3",
    "df",
    "dp1",
    "dx",
    "dW1",
    "db1",
    "dW2",
    "db2",
    "db3",
    "dW4",
    "db4",
)
SHORT = (
    "x",
    "z1",
    "a1",
    "p1",
    "z2",
    "a2",
    "p2",
    "f",
    "z3",
    "a3",
    "z4",
    "p",
    "dlogits",
    "da3",
    "dz3",
    "df",
    "dp2",
    "da2",
    "dz2",
    "dp1",
    "da1",
    "dz1",
    "dx",
    "dW1",
    "db1",
    "dW2",
    "db2",
    "dW3",
    "db3",
    "dW4",
    "db4",
)
PARAMETERS = ("W1", "b1", "W2", "b2", "W3", "b3", "W4", "b4")

# The code that computes a step: found through the function itself.
CODE = {
    "window_geometry": reference.window_geometry,
    "im2col": reference.im2col,
    "col2im": reference.col2im,
    "max_pool": reference.max_pool,
    "max_pool_backward": reference.max_pool_backward,
    "Conv2D.forward": layers.Conv2D.forward,
    "Conv2D.backward": layers.Conv2D.backward,
    "ReLU.forward": layers.ReLU.forward,
    "ReLU.backward": layers.ReLU.backward,
    "MaxPooling2D.forward": layers.MaxPooling2D.forward,
    "MaxPooling2D.backward": layers.MaxPooling2D.backward,
    "Flatten.forward": layers.Flatten.forward,
    "Flatten.backward": layers.Flatten.backward,
    "Dense.forward": layers.Dense.forward,
    "Dense.backward": layers.Dense.backward,
    "weight_grads": layers.Weighted.weight_grads,
    "Softmax.forward": layers.Softmax.forward,
    "loss": losses.cross_entropy_of_logits,
    "SGD.step": optimizers.SGD.step,
}
STEP_CODE = {
    "F1": "",
    "F2": "window_geometry",
    "F3": "Conv2D.forward im2col",
    "F4": "ReLU.forward",
    "F5": "MaxPooling2D.forward max_pool",
    "F6": "Conv2D.forward im2col",
    "F7": "ReLU.forward",
    "F8": "MaxPooling2D.forward max_pool",
    "F9": "Flatten.forward",
    "F10": "Dense.forward",
    "F11": "Dense.forward",
    "F12": "Softmax.forward loss",
    "B1": "loss",
    "B2": "Dense.backward weight_grads",
    "B3": "Dense.backward",
    "B4": "ReLU.backward weight_grads",
    "B5": "Dense.backward",
    "B6": "Flatten.backward",
    "B7": "MaxPooling2D.backward max_pool_backward",
    "B8": "Conv2D.backward weight_grads",
    "B9": "Conv2D.backward col2im",
    "B10": "MaxPooling2D.backward max_pool_backward",
    "B11": "Conv2D.backward weight_grads",
    "B12": "SGD.step",
    "L": "window_geometry",
    "M": "im2col col2im",
    "G": "",
    "T": "SGD.step",
    "S": "",
}
TITLES = dict(
    zip(
        STEP_CODE,
        [
            "input",
            "padding",
            "conv1",
            "ReLU",
            "pool1",
            "conv2",
            "ReLU",
            "pool2",
            "flatten",
            "dense",
            "logits",
            "softmax",
            "p − y",
            "output weights",
            "128 units",
            "dense weights",
            "3136 numbers",
            "unflatten",
            "pool2",
            "conv2 weight",
            "pool1 cell",
            "pool1",
            "conv1 weight",
            "photo and step",
        ],
        strict=False,
    )
)
KEYS = (
    ("n p", "next, previous step"),
    ("Space Backspace", "next small step, one back"),
    ("← ↑ → ↓", "move the cell; with Shift by 5"),
    ("[ ]", "filter or unit"),
    ("{ }", "input channel, tap or class"),
    ("PageUp PageDown", "layer"),
    ("f b", "the twin step forward, backward"),
    ("i", "choose a photo"),
    ("m < >", "mirror, shift left, shift right"),
    ("g G", "check this gradient, check 40 of each tensor"),
    ("t T u", "one step of training, a hundred, undo"),
    ("x l s", "im2col, lab, mirror and shift"),
    ("c", "the code of this step"),
    ("d", "digits, 3 to 9"),
    ("a + -", "play, faster, slower"),
    ("j", "jump to the strongest cell"),
    ("y", "copy the address of this step"),
)


class Example(NamedTuple):
    """What the page is about: a test photo by number, all test photos and labels, and what `cnn compare` found (or None)."""

    number: int
    pixels: Array
    labels: Array
    comparison: dict | None = None


def page(model: Sequential, dense: Sequential, example: Example, target: int | None = None) -> str:
    """The whole page as text. Raises UsageError for a model other than the article's, or a page that grows too large."""
    photo = example.pixels[example.number - 1]
    t = trace(model, photo, target, int(example.labels[example.number - 1]), example.number)
    check_networks(t, dense)
    numbers = [*range(1, SHEET + 1), *([example.number] if example.number > SHEET else [])]
    traces = [
        t if n == example.number else trace(model, example.pixels[n - 1], None, int(example.labels[n - 1]), n)
        for n in numbers
    ]
    blobs = {
        "weights": b"".join(t.production[name].astype("<f4").tobytes() for name in PARAMETERS),
        "baseline": b"".join(value.astype("<f4").tobytes() for value in dense.params.values()),
        "photo-bytes": b"".join(example.pixels[n - 1].tobytes() for n in numbers) + bytes(one.label for one in traces),
    }
    parts = {"data": as_script(data(t, traces, dense, blobs))} | {
        key: base64.b64encode(blob).decode() for key, blob in blobs.items()
    }
    parts |= text_parts(t, traces, example)
    return check_size(fill((PAGE / "page.html").read_text("utf-8"), parts))


def check_networks(t: Trace, dense: Sequential) -> None:
    """Raises UsageError unless these are the article's two networks, in the sizes that the page's engine knows."""
    shapes = {
        "z1": (28, 28, 32),
        "z2": (14, 14, 64),
        "z3": (128,),
        "z4": (10,),
        "W1": (3, 3, 1, 32),
        "W2": (3, 3, 32, 64),
    }
    if not t.article or any(t[name].shape != shape for name, shape in shapes.items()):
        raise UsageError(
            f"--html: expected the article's network (conv 32, pool, conv 64, pool, dense 128, dense 10), got {t.model.name}: "
            "the page's own engine knows only that one; `cnn explain` without --html explains any"
        )
    if [value.shape for value in dense.params.values()] != [(784, 128), (128,), (128, 10), (10,)]:
        raise UsageError(f"--html: expected the dense net 784-128-10 to compare with, got {dense.name}")


def check_size(text: str) -> str:
    """The text, unless it is too large to be sent by mail. Raises UsageError."""
    size = len(text.encode())
    if size > LIMIT:
        raise UsageError(f"--html: the page would have {size:,} bytes, at most {LIMIT:,} are allowed")
    return text


def fill(text: str, parts: dict[str, str]) -> str:
    """Each {{name}} replaced by its part, once: what is put in is not searched again."""
    return re.sub(r"\{\{([\w-]+)\}\}", lambda found: parts[found[1]], text)


# ---- numbers


def data(t: Trace, traces: list[Trace], dense: Sequential, blobs: dict[str, bytes]) -> dict:
    """What the page reads as JSON: the layout of the weights, one trace in full, the others in short."""
    full = to_json(t, list(FULL))
    del full["production"]  # the weights lie in their own block
    return {
        "schema": "cnn-page/1",
        "version": cnn.__version__,
        "classes": list(t.class_names),
        "scale": t.model.input_scale or 1 / 255,
        "layout": {
            "cnn": layout((name, t[name]) for name in PARAMETERS),
            "dense": layout(zip(("W1", "b1", "W2", "b2"), dense.params.values(), strict=True)),
        },
        "sha256": {key: hashlib.sha256(blob).hexdigest() for key, blob in blobs.items()},
        "full": full,
        "photos": [short(one, dense) for one in traces],
    }


def layout(named) -> list:
    """[[name, shape], ...]: how one block of float32 numbers is cut into tensors."""
    return [[name, list(array.shape)] for name, array in named]


def short(t: Trace, dense: Sequential) -> dict:
    """One photo's numbers in short: each tensor's sum, largest size and length, the hash of the pooling winners, logits and loss."""
    dense64 = dense.astype(np.float64)
    p, _ = forward(dense64.layers, t["x"][None])
    return {
        "number": t.number,
        "label": t.label,
        "predicted": t.predicted,
        "target": t.target,
        "loss": t.loss,
        "logits": t["z4"].tolist(),
        "dense": p[0].tolist(),
        "tensors": {name: [float(t[name].sum()), float(np.abs(t[name]).max()), t[name].size] for name in SHORT},
        "argmax1": winners(t["argmax1"]),
        "argmax2": winners(t["argmax2"]),
        "ties": split_ties(t),
    }


def winners(array: Array) -> str:
    """The SHA-256 of the pooling winners, a byte each."""
    return hashlib.sha256(array.astype(np.uint8).tobytes()).hexdigest()


def split_ties(t: Trace) -> dict[str, list[list[int]]]:
    """{"argmax1": [[window, its winner], ...], "argmax2": ...}: where of equal cells not the first won, by rounding alone.

    BLAS may add up the same numbers in another order at another place of its matrix. The page adds up all
    places alike, so there the first wins: it has to be told of these few, or it would go another way back.
    """
    return {f"argmax{k}": _split(t[f"a{k}"], t[f"argmax{k}"].ravel()) for k in (1, 2)}


def _split(a, winners):
    height, width, channels = a.shape
    cells = a.reshape(height // 2, 2, width // 2, 2, channels).transpose(0, 2, 4, 1, 3).reshape(-1, 4)
    first = (cells >= cells.max(axis=1, keepdims=True) - 1e-12 * max(1.0, a.max())).argmax(axis=1)
    return [[int(n), int(winners[n])] for n in np.flatnonzero(first != winners)]


def as_script(value) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- text


def text_parts(t: Trace, traces: list[Trace], example: Example) -> dict[str, str]:
    """Everything of the page that a person reads, and the scripts."""
    live = {step: live_part(step, t) for step in STEP_CODE}
    return live | {
        "number": str(t.number),
        "numbers": f"1 to {SHEET}" + (f" or {t.number}" if t.number > SHEET else ""),
        "label": tables.escape(t.class_names[t.label].lower()),
        "style": (PAGE / "page.css").read_text("utf-8"),
        "scripts": "\n".join(f"<script>\n{(PAGE / f'{name}.js').read_text('utf-8')}</script>" for name in SCRIPTS),
        "forward": fill((PAGE / "forward.html").read_text("utf-8"), live),
        "backward": fill((PAGE / "backward.html").read_text("utf-8"), live),
        "steps-F": step_links("F"),
        "steps-B": step_links("B"),
        "player-F": player("F"),
        "player-B": player("B"),
        "keys": "".join(
            f"<dt>{' '.join(f'<kbd>{tables.escape(key)}</kbd>' for key in keys.split())}</dt><dd>{what}</dd>"
            for keys, what in KEYS
        ),
        "sheet": tables.sheet(traces),
        "network": tables.network(),
        "geometry": tables.geometry(),
        "compare": tables.comparison(example.comparison),
        "target": tables.target(t),
        "sources": "".join(source(name, function) for name, function in CODE.items()),
        "report": "The self-check runs when the page opens with JavaScript.",
        "provenance": provenance(t),
    }


def live_part(step: str, t: Trace) -> str:
    """The place where a step comes alive; before that it holds its numbers as tables, where there are any."""
    static = tables.STATIC[step](t) if step in tables.STATIC else ""
    html = f'<div class="live derived" id="live-{step}">{static}</div>'
    if not STEP_CODE[step]:
        return html
    ids = " ".join(f"code-{name}" for name in STEP_CODE[step].split())
    links = ", ".join(f'<a href="#code-{name}">{name}</a>' for name in STEP_CODE[step].split())
    return (
        html
        + f'<details class="code" data-code="{ids}"><summary>The code <kbd>c</kbd></summary><p>{links}</p><div></div></details>'
    )


def step_links(way: str) -> str:
    """The row of links to the twelve steps of one way."""
    steps = (f"{way}{k}" for k in range(1, 13))
    return "".join(f'<a href="#step-{step}" data-step="{step}"><b>{step}</b> {TITLES[step]}</a>' for step in steps)


def player(way: str) -> str:
    """The buttons for playing a step bit by bit."""
    buttons = (
        ("p", "Previous step"),
        ("Backspace", "One back"),
        (" ", "Next small step"),
        ("a", "Play"),
        ("n", "Next step"),
    )
    html = "".join(
        f'<button type="button" data-key="{key}">{text} <kbd>{"Space" if key == " " else key}</kbd></button> '
        for key, text in buttons
    )
    return (
        f'<div class="player js-only" role="group" aria-label="Small steps">{html}'
        f'<label>small step <input type="range" id="scrub-{way}" data-scrub="1" min="0" max="0" value="0"></label>'
        f'<label>seconds each <input type="range" id="pace-{way}" data-pace="1" min="0.1" max="4" step="0.1" value="0.6"></label>'
        f'<p class="now derived" id="now-{way}"></p></div>'
    )


def source(name: str, function) -> str:
    """A function's own text with its file and line, as it ran."""
    function = inspect.unwrap(getattr(function, "py_func", function))
    lines, first = inspect.getsourcelines(function)
    file = f"{function.__module__.replace('.', '/')}.py"
    indent = len(lines[0]) - len(lines[0].lstrip())
    body = tables.escape("".join(line[indent:] if line.strip() else "\n" for line in lines).rstrip())
    return (
        f'<figure id="code-{name}" class="source"><figcaption>{file}, line {first}: <code>{name}</code></figcaption>'
        f'<pre tabindex="0" role="region" aria-label="{name}">{body}</pre></figure>'
    )


def provenance(t: Trace) -> str:
    """Where the numbers come from."""
    made = tables.escape(t.model.made_by or "not recorded")
    data = "Data: Fashion-MNIST by Zalando Research, MIT licence."
    return f"Written by numpy-cnn {cnn.__version__}; model trained by: <code>{made}</code>. {data}"
