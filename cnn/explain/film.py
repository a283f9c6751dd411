"""A run, epoch by epoch: what `cnn train --snapshots` keeps after each, and how it is shown one after the other.

A snapshot follows from the weights alone, so a run that was interrupted and went on has the same ones.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn import models, network
from cnn.checks import known
from cnn.explain import voice
from cnn.explain.parts import Num, Table
from cnn.explain.terminal import text
from cnn.layers import ReLU
from cnn.losses import SparseCategoricalCrossentropy
from cnn.terminal import Style, visible

Array = np.ndarray
FORMAT = "cnn-snapshot/1"
PROBE = 256  # photos on which ReLUs and gradients are measured
FILTERS = 32  # at most so many are drawn
IN_A_ROW = 8


class Snapshot(NamedTuple):
    """The network after an epoch; 0 is before the first."""

    epoch: int
    photo: int  # number of the test photo
    label: int
    classes: tuple[str, ...]
    probabilities: Array  # of that photo
    kernel: Array  # of the first layer that has one
    dead: dict[str, float]  # of each layer with a ReLU the share of filters or units that no photo of the probe opens
    gradients: dict[str, float]  # of each kernel the root of the mean square of its gradient on the probe


def take(model: models.Sequential, epoch: int, photo: tuple[int, Array, int], probe: tuple[Array, Array]) -> Snapshot:
    """The snapshot of a model. photo: (number, input with a batch axis, label); probe: (inputs, labels as numbers)."""
    layers, (number, x, label), (y, labels) = model.logit_layers(), photo, probe
    dead, caches = {}, []
    for layer in layers:
        y, cache = layer.forward(y)
        caches.append(cache)
        if isinstance(layer, ReLU) or isinstance(getattr(layer, "activation", None), ReLU):
            dead[known(layer.name)] = float((y <= 0).reshape(-1, y.shape[-1]).all(axis=0).mean())
    _, dlogits = SparseCategoricalCrossentropy().loss_and_gradient(labels, y, len(y), from_logits=True)
    grads, _ = network.backward(layers, caches, dlogits)
    sizes = {key: float(np.sqrt(np.mean(np.square(grad)))) for key, grad in grads.items() if key.endswith("/kernel")}
    logits, _ = network.forward(layers, x)
    exp = np.exp(logits[0].astype(np.float64) - logits[0].max())
    kernel = next((value for key, value in model.params.items() if key.endswith("/kernel")), np.zeros((1, 1, 1, 1)))
    return Snapshot(epoch, number, label, tuple(model.class_names or ()), exp / exp.sum(), kernel, dead, sizes)


def as_json(snapshot: Snapshot) -> dict:
    """The snapshot as JSON can hold it, each float as it is."""
    arrays = {name: getattr(snapshot, name).tolist() for name in ("probabilities", "kernel")}
    return {"format": FORMAT} | snapshot._asdict() | arrays


def from_json(document: dict) -> Snapshot:
    """The snapshot that `as_json` wrote. Raises ValueError for anything else."""
    if document.get("format") != FORMAT or set(document) != {"format", *Snapshot._fields}:
        raise ValueError(f"expected a snapshot ({FORMAT}), got {str(document.get('format'))[:40]!r}")
    found = {name: document[name] for name in Snapshot._fields}
    for name in ("probabilities", "kernel"):
        found[name] = np.array(found[name], np.float64)  # ValueError where the rows are of different lengths
    names, numbers = found["classes"], [found["dead"], found["gradients"]]
    right = found["probabilities"].ndim == 1 and np.isfinite(found["kernel"]).all() and found["kernel"].size
    right = right and isinstance(names, list) and all(isinstance(name, str) for name in names)
    right = right and all(type(found[name]) is int for name in ("epoch", "photo", "label"))
    right = (
        right and len(names) in (0, len(found["probabilities"])) and 0 <= found["label"] < len(found["probabilities"])
    )
    right = right and all(isinstance(one, dict) and all(type(v) is float for v in one.values()) for one in numbers)
    if not right:
        raise ValueError(f"expected a snapshot ({FORMAT}), got fields that do not fit together")
    return Snapshot(**{**found, "classes": tuple(visible(name) for name in names)})


# ---- shown


def name_of(snapshot: Snapshot, k: int) -> str:
    """A class's name, or its number."""
    return snapshot.classes[k] if snapshot.classes else str(k)


def tables(film: Sequence[Snapshot]) -> list[Table]:
    """A line for each epoch: what is said of the photo and how much is dead; and how large the gradients are."""
    first, epochs = film[0], [Num(one.epoch, kind="count") for one in film]
    said = [
        [
            Num(float(one.probabilities[one.label]), kind="probability"),
            name_of(one, int(one.probabilities.argmax())),
            *(Num(100 * share, kind="percent") for share in one.dead.values()),
        ]
        for one in film
    ]
    sizes = [[Num(size, kind="size") for size in one.gradients.values()] for one in film]
    heads: tuple[list[str], list[str]] = (
        [f"p({name_of(first, first.label)})", "says", *(f"dead {name}" for name in first.dead)],
        [f"dW {name.removesuffix('/kernel')}" for name in first.gradients],
    )
    both: tuple[list[list], list[list]] = said, sizes
    lines = [[[epoch, *row] for epoch, row in zip(epochs, rows, strict=True)] for rows in both]
    return [Table(["epoch", *head], rows) for head, rows in zip(heads, lines, strict=True)]


ABOUT = (
    "dead: filters or units that none of {} training photos opens; dW: how large a kernel's gradient is on them "
    "(the root of the mean square)"
)


def piped(film: Sequence[Snapshot], style: Style) -> list[str]:
    """The whole run as plain text: a line an epoch, then the filters at its beginning and at its end."""
    first, last = film[0], film[-1]
    title = f"photo {first.photo}, label {name_of(first, first.label)}, after each epoch (0: before the first)"
    lines = [title, *text.wrapped(ABOUT.format(PROBE), style.width)]
    for one in tables(film):
        lines += ["", *text.table_text(one, style.width, 3)]
    for snapshot in (first, last):
        lines += ["", f"first filters, epoch {snapshot.epoch}   ({SIGNS})", *filters(snapshot, style)]
    return lines


def filters(snapshot: Snapshot, style: Style) -> list[str]:
    """The filters of the first layer, channel 0, beside each other; a Dense kernel as numbers for one unit is none."""
    if snapshot.kernel.ndim != 4:
        return ["(the first layer is no convolution)"]
    blocks = []
    for f in range(min(FILTERS, snapshot.kernel.shape[3])):
        values = snapshot.kernel[:, :, 0, f]
        blocks.append(text.draw_signed(np.pad(values, ((0, len(values) % 2), (0, 0))), style))
    lines = []
    for start in range(0, len(blocks), IN_A_ROW):
        lines += ["  ".join(row) for row in zip(*blocks[start : start + IN_A_ROW], strict=True)] + [""]
    return lines[:-1]


SIGNS = "# + positive, = - negative, . small"


class Film:
    """The run on a screen, epoch after epoch; see screen.run, which hands it the keys."""

    def __init__(self, film: Sequence[Snapshot], name: str):
        self.film, self.name, self.at = film, name, 0
        self.playing, self.pause, self.finished = False, 1.0, False

    def press(self, key: str) -> None:
        """n, p and Space go through the epochs, a plays, + and - change its speed, q ends."""
        steps = {"n": 1, " ": 1, "right": 1, "p": -1, "\x7f": -1, "left": -1}
        self.playing = self.playing != (key == "a") and not (key == "n" and self.at == len(self.film) - 1)
        self.at = min(max(self.at + steps.get(key, 0), 0), len(self.film) - 1)
        self.pause = min(4.0, max(0.1, self.pause * {"+": 0.5, "-": 2.0}.get(key, 1.0)))
        self.finished = key == "q"

    def screen(self, width: int, height: int, style: Style) -> list[str]:
        """The lines of the screen: at most height of them."""
        one = self.film[self.at]
        bars = [f"{name_of(one, k):12.12} {p:.4f} {'#' * round(16 * p)}" for k, p in enumerate(one.probabilities[:12])]
        bars[one.label] = f"{bars[one.label]:37} <"
        health = [f"dead {name} {100 * share:.1f} %" for name, share in one.dead.items()]
        health += [
            f"dW {name.removesuffix('/kernel')} {voice.number(size, 'size', 3)}" for name, size in one.gradients.items()
        ]
        title = f"{self.name}: epoch {one.epoch} of {self.film[-1].epoch}   "
        title += f"photo {one.photo}, label {name_of(one, one.label)}"
        lines = [title[:width], "", *text.beside(bars, filters(one, style), 40)]
        lines += ["", *text.wrapped("; ".join(health), width, " ", " ")]
        lines = [*lines[: height - 1], *[""] * (height - 1 - len(lines))]
        return [*lines, f" n p epoch  a play  + - speed  q quit   {SIGNS}"[:width]]


def figure(film: Sequence[Snapshot]) -> Any:
    """The run as one picture: the photo's probabilities, dead ReLUs, gradients; and eight filters over the epochs."""
    from cnn.plots.style import DIVERGING, new_figure

    drawn = new_figure(12, 8)
    halves: Any = drawn.subfigures(2, 1, height_ratios=(1.2, 1))
    top, bottom = halves
    epochs, first = [one.epoch for one in film], film[0]
    curves = top.subplots(1, 3)
    largest = np.argsort(-np.max([one.probabilities for one in film], axis=0), kind="stable")[:4]
    for k in sorted({first.label, *map(int, largest)}):
        curves[0].plot(epochs, [one.probabilities[k] for one in film], "o-", label=name_of(first, k))
    for name in first.dead:
        curves[1].plot(epochs, [100 * one.dead[name] for one in film], "o-", label=name)
    for name in first.gradients:
        curves[2].plot(epochs, [one.gradients[name] for one in film], "o-", label=name.removesuffix("/kernel"))
    curves[2].set_yscale("log")
    curves[2].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    curves[2].yaxis.set_minor_formatter(lambda value, _: "")
    for axes, title in zip(curves, (f"p, photo {first.photo}", "dead ReLUs, %", "size of gradients"), strict=True):
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        axes.legend(fontsize=8)
    if first.kernel.ndim == 4:
        shown = [film[k] for k in sorted({round(n) for n in np.linspace(0, len(film) - 1, 8)})]
        count, limit = min(8, first.kernel.shape[3]), max(float(np.abs(one.kernel).max()) for one in film)
        grid = bottom.subplots(len(shown), count, squeeze=False)
        for row, one in zip(grid, shown, strict=True):
            row[0].set_ylabel(one.epoch, rotation=0, labelpad=12, va="center")
            for f, axes in enumerate(row):
                axes.imshow(one.kernel[:, :, 0, f], cmap=DIVERGING, vmin=-limit, vmax=limit)
                axes.set(xticks=[], yticks=[])
        bottom.suptitle("first filters, a row an epoch", x=0.02, ha="left", fontsize=11)
    return drawn
