"""The views beside the tour: M the im2col matrix, G the gradient check, L the lab, S shifted and mirrored photos."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnn import gradcheck, models, photos, pretrained
from cnn.checks import known
from cnn.explain import parts, voice
from cnn.explain.formulas import Step, first_stage, formula, kind_of, pads
from cnn.explain.parts import Grid, Grids, Line, Map, Num, Row, Sum, Table, count, gradient, line
from cnn.explain.terms import Tensors, evaluate
from cnn.explain.trace import Trace, network_input, run_forward
from cnn.explain.views.scene import Scene, window_cells
from cnn.explain.voice import LabSettings
from cnn.layers import Conv2D
from cnn.losses import SparseCategoricalCrossentropy
from cnn.photos import changes

Array = np.ndarray

# ---- M: the convolution as one matrix product


def im2col(s: Scene) -> tuple:
    """M: every window as a row of one matrix, and what the products of matrices are, forward and backward."""
    if kind_of(s.stage) != "conv":
        raise ValueError("step M: expected a network with a convolution")
    z, kernel = s.get("z"), s.get("kernel")
    i, j, f = parts.place(s.cursor, s.get("y"))
    matrix, weights = s.get("columns").reshape(-1, kernel[..., 0].size), kernel.reshape(-1, kernel.shape[-1])
    n, wide = i * z.shape[1] + j, min(9, matrix.shape[1])
    first = max(0, min(n - 1, len(matrix) - 3))
    sentence = formula(s.t, Step("", "conv", s.words.step.stage)).sentence
    terms = evaluate(known(sentence), Tensors(s.t), {"i": i, "j": j, "f": f})
    label = f"row {n} of columns x column {f} of W: {terms.terms.size} products"
    caption = f"columns, rows {first} to {first + 2}, first {wide} of {matrix.shape[1]} columns"
    grids = Grids([Grid(caption, matrix[first : first + 3, :wide])])
    found: list = [product_table(*matrix.shape, weights.shape[1]), grids]
    found.append(parts.summed(s.t, terms, label=label))
    picture = Map("columns: a row is a window", np.abs(matrix[:: max(1, len(matrix) // 56), :56]))
    return s.cursor.but(cell=(i, j), filter=f), f"output cell i={i} j={j} is row {n}; filter f={f}", found, picture


def product_table(m: int, k: int, o: int) -> Table:
    """The three matrix products of a convolution: what is multiplied with what, and how much work it is."""
    products = (
        ("forward   z = columns @ W", m, k, o),
        ("backward  dW = columns^T @ dz", k, m, o),
        ("backward  dcolumns = dz @ W^T", m, o, k),
    )
    rows = [[name, f"{a} x {b}", f"{b} x {c}", f"{a} x {c}", count(m * k * o)] for name, a, b, c in products]
    return Table(["", "left", "right", "result", "multiply-adds"], rows)


# ---- G: the gradient check


def probe(t: Trace) -> models.Sequential:
    """The float64 model, ready to be checked."""
    model = t.model64.astype(np.float64)
    model.loss = SparseCategoricalCrossentropy(from_logits=not model.ends_in_softmax)
    return model


def check(s: Scene) -> tuple:
    """G: the weight is moved a little both ways, the loss is measured, and the slope compared with the gradient."""
    t, index = s.t, s.weight()
    name = f"{s.stage.layer.name}/kernel"
    entry = gradcheck.check_weight(probe(t), t["x"][None], np.array([t.target]), name, index)
    w, h = Num(entry.value, s.ref("kernel", index), "exact"), Num(entry.h, kind="rate")
    plus, minus = parts.nums(np.array([entry.plus, entry.minus]), "exact")
    rows = [
        *(["w", w], ["h", h], ["loss at w + h", plus], ["loss at w - h", minus]),
        ["slope (L(w+h) - L(w-h)) / 2h", gradient(entry.numeric)],
        ["slope from backward", s.num("dkernel", index)],
    ]
    where = f"weight {s.ref('kernel', index)}, float64, target {t.class_names[t.target]}"
    found = [Table(["move the weight by h, measure the loss", ""], rows), line(verdict(entry, t.loss))]
    return s.cursor.but(weight=index), where, found


def verdict(entry: gradcheck.Entry, loss: float) -> str:
    """Whether the measured slope is the gradient; where a kink lies between, it cannot be told."""
    if entry.kinks:
        why = "units change sides between w - h and w + h, so the loss has a corner here: not comparable"
        return f"kink: {entry.kinks} {why}"
    # The loss is a number with 16 digits: its rounding, over 2h, is the slope's.
    rounding = 1e-15 * max(1.0, abs(loss)) / entry.h
    allowed = voice.TOLERANCES["slope"] * abs(entry.analytic) + 10 * rounding
    return f"kinks 0: the two slopes {'agree' if abs(entry.analytic - entry.numeric) <= allowed else 'DIFFER'}"


class Sample(NamedTuple):
    """A gradient check of some numbers of every tensor; names of the tensors as in "conv2d/kernel", and "input"."""

    results: list[gradcheck.TensorCheck]

    @property
    def wrong(self) -> list[str]:
        """The tensors whose gradient is wrong."""
        return [result.name for result in self.results if result.verdict == "WRONG"]

    @property
    def few(self) -> int:
        """How many tensors have too few numbers free of kinks."""
        return sum(result.verdict == "not comparable" for result in self.results)

    @property
    def worst(self) -> float:
        """The largest error."""
        return max((result.error for result in self.results if result.checked), default=0.0)


def check_sample(t: Trace, samples: int = 40) -> Sample:
    """The gradient check of so many numbers of every tensor."""
    tolerance = voice.TOLERANCES["sample"]
    return Sample(gradcheck.check_model(probe(t), t["x"][None], np.array([t.target]), samples, tolerance=tolerance))


# ---- L: the convolution lab


class Lab(NamedTuple):
    """One convolution of one channel with one filter, by Conv2D itself."""

    layer: Conv2D
    x: Array  # (H, W)
    kernel: Array  # (k, k)
    z: Array  # (OH, OW)
    z32: Array  # the same by the float32 layer
    columns: Array  # (OH, OW, k, k)
    pads: tuple[int, int, int, int]
    unused: tuple[int, int]  # rows at the bottom and columns at the right that no window reaches


def lab_kernel(t: Trace | None, settings: LabSettings, f: int = 0) -> Array:
    """The filter (k, k) that the settings name: a classic one, or filter f of the network's first convolution."""
    if settings.preset != "learned":
        return voice.preset(settings.preset, settings.kernel_size)
    assert t is not None  # without a network nothing has learned
    return voice.resized(t.get(t.stages[first_stage(t)], "kernel")[..., 0, f], settings.kernel_size)


def run_lab(x: Array, kernel: Array, settings: LabSettings) -> Lab:
    """The convolution of x (H, W) with the kernel (k, k) at these settings, float32 and float64."""
    layer = Conv2D(1, settings.kernel_size, settings.stride, settings.padding, use_bias=False, name="lab")
    results = []
    for dtype in (np.float32, np.float64):
        layer.build((*x.shape, 1), np.random.default_rng(0), dtype)
        layer.set_weights([kernel[..., None, None]])
        results.append(layer.forward(x[None, ..., None].astype(dtype)))
    (z32, _), (z, cache) = results
    top, bottom, left, right = around = pads(layer)
    reach = [(size - 1) * settings.stride + settings.kernel_size for size in z.shape[1:3]]
    unused = (x.shape[0] + top + bottom - reach[0], x.shape[1] + left + right - reach[1])
    return Lab(layer, x, kernel, z[0, ..., 0], z32[0, ..., 0], cache.columns[0, ..., 0], around, unused)


def lab_sum(lab: Lab, cell: tuple[int, int]) -> Sum:
    """The products behind one output cell; the float32 layer beside it."""
    products = (lab.columns[cell] * lab.kernel).reshape(-1)
    row = Row(f"sum of {products.size} products", Num(float(products.sum()), kind="total"))
    number = Num(float(lab.z[cell]), parts.ref("lab", cell), "total")
    scale = max(float(np.abs(lab.z32).max()), float(np.abs(products).sum()))  # a sum near 0 is rounded like its terms
    return Sum([row], "lab", cell, products, number, float(lab.z32[cell]), scale)


def lab(s: Scene) -> tuple:
    """L: one convolution whose filter, size, stride and padding may be chosen."""
    t, settings, f = s.t, s.cursor.lab or LabSettings(), s.cursor.filter or 0
    x = voice.TOY if settings.toy else t["x"].reshape(*t.photo.shape[:2], -1)[..., 0]
    lab = run_lab(x, lab_kernel(t, settings, f), settings)
    i, j = parts.clip(s.cursor.cell, lab.z.shape) if s.cursor.cell else parts.largest(lab.z)
    (height, width), k, stride = lab.z.shape, settings.kernel_size, settings.stride
    size = f"ceil({len(x)}/{stride})" if settings.padding == "same" else f"ceil(({len(x)}-{k}+1)/{stride})"
    zeros = line("zeros added:  top {} bottom {} left {} right {}", *map(count, lab.pads))
    rows, columns = lab.unused
    unused = f"; the last {rows} rows and {columns} columns are never used" if max(lab.unused) > 0 else ""
    name = f"learned filter {f}" if settings.preset == "learned" else settings.preset
    where = f"{name}, {k}x{k}, stride {stride}, '{settings.padding}': output size = {size} = {height}; "
    where += f"cell i={i} j={j} of {height} x {width}{unused}"
    found = [zeros, lab_grids(lab, settings, (i, j)), lab_sum(lab, (i, j))]
    return s.cursor.but(cell=(i, j), lab=settings), where, found, Map("output", lab.z, (i, j), signed=True, main=True)


def lab_grids(lab: Lab, settings: LabSettings, cell: tuple[int, int]) -> parts.Grids:
    """The window and the filter; of the small image all of it, and all that comes out."""
    if settings.toy:
        caption = "output {}x{}".format(*lab.z.shape)
        return Grids([Grid("the 5x5 image", lab.x), "->", Grid(caption, lab.z, "sum")])
    rows, columns = window_cells(lab.layer, cell, lab.layer.kernel_size)
    inside = np.outer([0 <= r < lab.x.shape[0] for r in rows], [0 <= c < lab.x.shape[1] for c in columns])
    window = Grid(f"x [{parts.span(rows)},{parts.span(columns)}]", lab.columns[cell], marks=parts.marked(~inside))
    results = ["=", Grid("products", lab.columns[cell] * lab.kernel, "product")] if settings.kernel_size <= 3 else []
    return Grids([window, "x", Grid("filter", lab.kernel, "signed"), *results])


# ---- S: the photo moved, mirrored, rearranged

CHANGES: dict[str, Callable[[Array], Array]] = {
    "as it is": lambda x: x,
    **{f"{d} right": functools.partial(changes.shift, dx=d, dy=0) for d in (1, 2, 4)},
    **{f"{d} down": functools.partial(changes.shift, dx=0, dy=d) for d in (2, 4)},
    "mirrored": changes.mirror,
    "halves swapped": changes.swap_halves,
    "quadrants swapped": changes.swap_quadrants,
}


@functools.cache
def dense_model() -> models.Sequential:
    """The dense network that ships with the package."""
    return models.load_model(pretrained.path("dense"))


def networks(t: Trace) -> dict[str, models.Sequential]:
    """This network and the dense net, which is left out where it knows other photos."""
    dense = dense_model()
    same = photos.shape_of(dense) == t.model.photo_shape and len(photos.class_names(dense)) == len(t.class_names)
    return {"this network": t.model, **({"dense net": dense} if same else {})}


def as_photo(t: Trace) -> Array:
    """The photo (H, W), or (H, W, 3) in colour."""
    return t.photo[..., 0] if t.photo.ndim == 3 and t.photo.shape[2] == 1 else t.photo


def shift(s: Scene) -> tuple:
    """S: what both networks say of the photo when it is moved, mirrored, rearranged."""
    t, photo, compared = s.t, as_photo(s.t), networks(s.t)
    wanted = t.predicted if t.label is None else t.label
    rows, kept = [], [0] * len(compared)
    for change, apply in CHANGES.items():
        row: list = [change]
        for k, model in enumerate(compared.values()):
            p = photos.probabilities(model, apply(photo)[None])[0]
            best = int(np.argmax(p))
            kept[k] += best == wanted
            row += ["+" if best == wanted else "x", t.class_names[best], Num(float(p[wanted]), kind="probability")]
        rows.append(row)
    share = f"p({t.class_names[wanted]})"
    better = "this network" if kept[0] > kept[-1] else "the dense net"
    said = "both equally often" if kept[0] == kept[-1] else f"{better} more often"
    told = ", ".join(f"{name} {count}" for name, count in zip(compared, kept, strict=True))
    counts = f"right (+): {told} of {len(rows)}{f': {said}' if len(kept) > 1 else ''}. "
    table = Table(["photo", *(word for name in compared for word in ("", name, share))], rows)
    found = [table, line(counts + "One photo proves nothing: see `cnn compare`."), *identities(t)]
    return s.cursor, "", found, Map("photo", photo if photo.ndim == 2 else photo.mean(axis=2).astype(photo.dtype))


def identities(t: Trace) -> list[Line]:
    """How exactly maps move with the photo, measured: the first convolution at 1 pixel, each pooling at its stride."""
    lines, step, one = [], 1, moved(t, 1)
    for k, stage in enumerate(t.stages[:4]):
        kind, strides = kind_of(stage), getattr(stage.layer, "strides", (1, 1))
        if kind not in ("conv", "pool") or strides[0] != strides[1]:
            break
        step *= strides[0]
        if kind == "conv" and k > 0:
            continue
        name, before = stage.names["y"], t.get(stage, "y")
        edge = 4 if before.shape[0] > 10 else 2  # what the border and its padding can reach
        inside = np.s_[edge:-edge, edge:-edge]
        after = moved(t, step)[name]
        equal = np.allclose(np.roll(before, 1, axis=1)[inside], after[inside], rtol=0, atol=1e-12)
        words = f"photo moved by {step}, maps by 1, {'exactly' if equal else 'NOT exactly'} (inside); by 1: "
        lines.append(line("{}: " + words + "{} of cells stay", name, parts.percent(one[name] == before)))
    return lines


def moved(t: Trace, by: int) -> dict[str, Array]:
    """The tensors of the photo moved to the right."""
    photo = changes.shift(as_photo(t), by, 0)
    return run_forward(t.stages, t.model64.logit_layers(), network_input(t.model, photo))[0]
