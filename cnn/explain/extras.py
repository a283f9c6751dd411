"""The views beside the tour: M the im2col matrix, G the gradient check, L the convolution lab, S shifted and mirrored photos."""

import functools
from dataclasses import dataclass

import numpy as np

from cnn import gradcheck, models, photos
from cnn.explain import view as v
from cnn.explain.trace import Trace, network_input
from cnn.explain.view import (
    Cursor,
    Grid,
    Line,
    Map,
    Num,
    Row,
    Step,
    Sum,
    Table,
    View,
    count,
    gradient,
    grids,
    line,
    percent,
)
from cnn.layers import Conv2D
from cnn.losses import SparseCategoricalCrossentropy
from cnn.photos import changes
from kernels.im2col import im2col_into

# ---- M: the convolution as one matrix product


def im2col_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """M: every window as a row of one matrix, and what the products of matrices are, forward and backward."""
    stage = t.stages[step.stage]
    if v.kind_of(stage) != "conv":
        raise ValueError("step M: expected a network with a convolution")
    layer, names = stage.layer, stage.names
    columns, z, kernel = t.get(stage, "columns"), t.get(stage, "z"), t.get(stage, "kernel")
    i, j, f = v.place(cursor, t.get(stage, "y"))
    matrix, weights = columns.reshape(-1, kernel[..., 0].size), kernel.reshape(-1, kernel.shape[-1])
    n = i * z.shape[1] + j
    first = max(0, min(n - 1, len(matrix) - 3))
    shown = np.s_[first : first + 3, : min(9, matrix.shape[1])]
    products = matrix[n] * weights[:, f]
    rows = [
        Row(f"row {n} of columns x column {f} of W: {len(products)} products", Num(float(products.sum()), kind="total"))
    ]
    terms = products
    if layer.use_bias:
        terms = np.append(products, t.get(stage, "bias")[f])
        rows.append(Row(f"+ bias {v.ref(names['bias'], (f,))}", v.num(t, names["bias"], (f,), "total")))
    caption = f"columns, rows {first} to {first + 2}, first {min(9, matrix.shape[1])} of {matrix.shape[1]} columns"
    parts = [product_table(*matrix.shape, weights.shape[1]), grids(Grid(caption, matrix[shown]))]
    parts.append(v.total(t, names["z"], (i, j, f), terms, rows, "forward"))
    return View(
        step,
        f"{layer.name}: im2col, the convolution as one product",
        "columns[i*W+j, (u*kw+v)*C+c] = xpad[i*s+u, j*s+v, c]",
        "Each window is laid flat as one row. Then the whole convolution is one matrix product, which computers "
        "do very fast. Backward, col2im "
        "adds each row back to where it came from.",
        cursor.but(cell=(i, j), filter=f),
        f"output cell i={i} j={j} is row {n}; filter f={f}",
        parts,
        Map("columns: a row is a window", np.abs(matrix[:: max(1, len(matrix) // 56), :56])),
        v_function(im2col_into),
        "target = row[j * sw + v], columns[n, i, j, u, v]",
    )


def product_table(m: int, k: int, o: int) -> Table:
    """The three matrix products of a convolution: what is multiplied with what, and how much work it is."""
    work = count(m * k * o)
    rows = [
        ["forward   z = columns @ W", f"{m} x {k}", f"{k} x {o}", f"{m} x {o}", work],
        ["backward  dW = columns^T @ dz", f"{k} x {m}", f"{m} x {o}", f"{k} x {o}", work],
        ["backward  dcolumns = dz @ W^T", f"{m} x {o}", f"{o} x {k}", f"{m} x {k}", work],
    ]
    return Table(["", "left", "right", "result", "multiply-adds"], rows)


def v_function(kernel):
    """The Python function behind a compiled one."""
    return getattr(kernel, "py_func", kernel)


# ---- G: the gradient check


def probe(t: Trace) -> models.Sequential:
    """The float64 model, ready to be checked."""
    model = t.model64.astype(np.float64)
    model.loss = SparseCategoricalCrossentropy(from_logits=not model.ends_in_softmax)
    return model


def check_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """G: the weight is moved a little both ways, the loss is measured, and the slope compared with the gradient."""
    stage = t.stages[step.stage]
    dkernel = t.get(stage, "dkernel")
    index = v.largest(dkernel) if cursor.weight is None else v.clip(cursor.weight, dkernel.shape)
    entry = gradcheck.check_weight(probe(t), t["x"][None], np.array([t.target]), f"{stage.layer.name}/kernel", index)
    if entry.kinks:
        verdict = f"kink: {entry.kinks} units change sides between w - h and w + h, so the loss has a corner here: not comparable"
    else:
        # The loss is a number near t.loss with 16 digits: its rounding, over 2h, is the slope's.
        rounding = 1e-15 * max(1.0, abs(t.loss)) / entry.h
        close = abs(entry.analytic - entry.numeric) <= 1e-5 * abs(entry.analytic) + 10 * rounding
        verdict = "kinks 0: the two slopes agree" if close else "kinks 0: the two slopes DIFFER"
    parts = [
        Table(
            ["move the weight by h, measure the loss", ""],
            [
                ["w", Num(entry.value, v.ref(stage.names["kernel"], index), "exact")],
                ["h", Num(entry.h, kind="rate")],
                ["loss at w + h", Num(entry.plus, kind="exact")],
                ["loss at w - h", Num(entry.minus, kind="exact")],
                ["slope (L(w+h) - L(w-h)) / 2h", gradient(entry.numeric)],
                ["gradient from backward", v.num(t, stage.names["dkernel"], index, "gradient")],
            ],
        ),
        line(verdict),
    ]
    return View(
        step,
        f"{stage.layer.name}: is the gradient right?",
        "dLoss/dw = (L(w+h) - L(w-h)) / 2h, nearly",
        "A gradient is a slope. So move the weight a little up and a little down, run the whole network forward, and compare. "
        "Nothing of backward is used for that.",
        cursor.but(weight=index),
        f"weight {v.ref(stage.names['kernel'], index)}, float64, target {t.class_names[t.target]}",
        parts,
        code=gradcheck.check_entry,
        needle="plus, above = measure()",
    )


def check_sample(t: Trace, samples: int = 40) -> list[gradcheck.TensorCheck]:
    """A sample of every tensor; names of the tensors as in "conv2d/kernel", and "input"."""
    return gradcheck.check_model(probe(t), t["x"][None], np.array([t.target]), samples=samples)


# ---- L: the convolution lab

PRESETS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "blur": [[1 / 9] * 3] * 3,
    "sobel-x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel-y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "outline": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
}
SIZES, STRIDES, PADDINGS = (1, 2, 3, 5, 7), (1, 2, 3), ("same", "valid")
TOY = np.arange(1.0, 26.0).reshape(5, 5) / 25


@dataclass(frozen=True)
class LabSettings:
    """preset: one of PRESETS, or "learned": a filter of the network's first convolution. toy: the 5x5 image, not the photo."""

    kernel_size: int = 3
    stride: int = 1
    padding: str = "same"
    preset: str = "outline"
    toy: bool = False


@dataclass(frozen=True)
class Lab:
    """One convolution of one channel with one filter, by Conv2D itself."""

    layer: Conv2D
    x: np.ndarray  # (H, W)
    kernel: np.ndarray  # (k, k)
    z: np.ndarray  # (OH, OW)
    z32: np.ndarray  # the same by the float32 layer
    columns: np.ndarray  # (OH, OW, k, k)
    pads: tuple[int, int, int, int]
    unused: tuple[int, int]  # rows at the bottom and columns at the right that no window reaches


def preset_kernel(t: Trace | None, settings: LabSettings, f: int = 0) -> np.ndarray:
    """A preset of 3x3 in the middle of k x k zeros (or its middle, where k is smaller); blur is 1/k^2 everywhere."""
    k = settings.kernel_size
    if settings.preset == "blur":
        return np.full((k, k), 1 / k**2)
    small = (
        t.get(t.stages[v.first_stage(t, Conv2D)], "kernel")[..., 0, f]
        if settings.preset == "learned"
        else np.array(PRESETS[settings.preset], float)
    )
    side = small.shape[0]
    if k >= side:
        before = (k - side) // 2
        return np.pad(small, (before, k - side - before))
    start = (side - k) // 2
    return small[start : start + k, start : start + k]


def run_lab(x: np.ndarray, kernel: np.ndarray, settings: LabSettings) -> Lab:
    """The convolution of x (H, W) with the kernel (k, k) at these settings, float64 and float32."""
    layer = Conv2D(1, settings.kernel_size, settings.stride, settings.padding, use_bias=False, name="lab")
    results = []
    for dtype in (np.float64, np.float32):
        layer.build((*x.shape, 1), np.random.default_rng(0), dtype)
        layer.set_weights([kernel[..., None, None]])
        results.append(layer.forward(x[None, ..., None].astype(dtype)))
    layer.build((*x.shape, 1), np.random.default_rng(0), np.float64)
    layer.set_weights([kernel[..., None, None]])
    (z, cache), (z32, _) = results
    top, bottom, left, right = pads = v.pads(layer)
    reach = [(size - 1) * settings.stride + settings.kernel_size for size in z.shape[1:3]]
    unused = (x.shape[0] + top + bottom - reach[0], x.shape[1] + left + right - reach[1])
    return Lab(layer, x, kernel, z[0, ..., 0], z32[0, ..., 0], cache.columns[0, ..., 0], pads, unused)


def lab_sum(lab: Lab, cell: tuple[int, int]) -> Sum:
    """The products behind one output cell; the float32 layer beside it."""
    products = (lab.columns[cell] * lab.kernel).reshape(-1)
    row = Row(f"sum of {products.size} products", Num(float(products.sum()), kind="total"))
    number = Num(float(lab.z[cell]), v.ref("lab", cell), "total")
    scale = max(float(np.abs(lab.z32).max()), float(np.abs(products).sum()))  # a sum near 0 is rounded like its terms
    return Sum([row], "lab", cell, products, number, "forward", float(lab.z32[cell]), scale)


def lab_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """L: one convolution whose filter, size, stride and padding may be chosen."""
    settings = cursor.lab or LabSettings()
    x = TOY if settings.toy else t["x"].reshape(*t.photo.shape[:2], -1)[..., 0]
    lab = run_lab(x, preset_kernel(t, settings, cursor.filter or 0), settings)
    i, j = v.clip(cursor.cell, lab.z.shape) if cursor.cell else v.largest(lab.z)
    rows, columns = v.window_rows(lab.layer, (i, j), lab.layer.kernel_size)
    marks = v.outside(rows, columns, x.shape)
    k, s = settings.kernel_size, settings.stride
    size = f"ceil({x.shape[0]}/{s})" if settings.padding == "same" else f"ceil(({x.shape[0]}-{k}+1)/{s})"
    sides = [
        part
        for name, n in zip(("top", "bottom", "left", "right"), lab.pads, strict=True)
        for part in (f" {name} ", count(n))
    ]
    unused = (
        f"; the last {lab.unused[0]} rows and {lab.unused[1]} columns are never used" if max(lab.unused) > 0 else ""
    )
    if settings.toy:
        shown = grids(Grid("the 5x5 image", x), "->", Grid(f"output {lab.z.shape[0]}x{lab.z.shape[1]}", lab.z, "sum"))
    else:
        window = Grid(f"x [{v.span(rows)},{v.span(columns)}]", lab.columns[i, j], marks=marks)
        results = ["=", Grid("products", lab.columns[i, j] * lab.kernel, "product")] if k <= 3 else []
        shown = grids(window, "x", Grid("filter", lab.kernel, "signed"), *results)
    name = f"learned filter {cursor.filter or 0}" if settings.preset == "learned" else settings.preset
    return View(
        step,
        f"convolution lab: {name}, {k}x{k}, stride {s}, '{settings.padding}'",
        f"output size = {size} = {lab.z.shape[0]}",
        "Change the filter, its size, the stride and the padding, and see what comes out. Of an odd number of "
        "zeros the smaller half comes first.",
        cursor.but(cell=(i, j), lab=settings),
        f"output cell i={i} j={j} of {lab.z.shape[0]} x {lab.z.shape[1]}{unused}",
        [line("zeros added: ", *sides), shown, lab_sum(lab, (i, j))],
        Map("output", lab.z, (i, j), signed=True, main=True),
        Conv2D.forward,
        "@ kernel",
    )


# ---- S: the photo moved, mirrored, rearranged

CHANGES = {
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
    from cnn import pretrained

    return models.load_model(pretrained.path("dense"))


def shift_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """S: what both networks say of the photo when it is moved, mirrored, rearranged."""
    photo = t.photo.reshape(t.photo.shape[:2])
    models_ = {"this network": t.model, "dense net": dense_model()}
    wanted = t.predicted if t.label is None else t.label
    rows, kept = [], dict.fromkeys(models_, 0)
    for change, apply in CHANGES.items():
        row = [change]
        for name, model in models_.items():
            p = photos.probabilities(model, apply(photo)[None])[0]
            best = int(np.argmax(p))
            kept[name] += best == wanted
            row += ["+" if best == wanted else "x", t.class_names[best], Num(float(p[wanted]), kind="probability")]
        rows.append(row)
    head = ["photo", "", "this network", f"p({t.class_names[wanted]})", "", "dense net", f"p({t.class_names[wanted]})"]
    a, b = kept.values()
    said = "both equally often" if a == b else ("this network more often" if a > b else "the dense net more often")
    parts = [
        Table(head, rows),
        line(
            f"right: this network {a}, dense net {b} of {len(rows)}: {said}. One photo proves nothing: see `cnn compare`."
        ),
        *identities(t),
    ]
    return View(
        step,
        "moved, mirrored, rearranged: two networks",
        "",
        "A convolution finds the same things wherever they are; but Flatten numbers the places, and Dense has "
        "other weights for each. "
        "So how much does moving a photo matter? (+ right, x wrong)",
        cursor,
        "",
        parts,
        Map("photo", photo, None),
        code=changes.shift,
        needle="moved[",
    )


def identities(t: Trace) -> list[Line]:
    """How exactly feature maps move with the photo, measured: the first convolution at 1 pixel, each pooling at its stride."""
    from cnn.explain.trace import run_forward

    lines = []
    photo = t.photo.reshape(t.photo.shape[:2])
    step = 1
    for k, stage in enumerate(t.stages[:4]):
        if v.kind_of(stage) not in ("conv", "pool"):
            break
        if stage.layer.strides[0] != stage.layer.strides[1]:
            break
        step *= stage.layer.strides[0]
        if v.kind_of(stage) == "conv" and k > 0:
            continue
        moved, _ = run_forward(
            t.stages, t.model64.logit_layers(), network_input(t.model, changes.shift(photo, step, 0))
        )
        before, after = t.get(stage, "y"), moved[stage.names["y"]]
        edge = 4  # what the border and its padding can reach
        inside = np.s_[edge:-edge, edge:-edge] if before.shape[0] > 2 * edge + 2 else np.s_[2:-2, 2:-2]
        equal = np.allclose(np.roll(before, 1, axis=1)[inside], after[inside], rtol=0, atol=1e-12)
        one, _ = run_forward(t.stages, t.model64.logit_layers(), network_input(t.model, changes.shift(photo, 1, 0)))
        share = float(np.mean(one[stage.names["y"]] == before))
        how = "exactly" if equal else "NOT exactly"
        words = f"{stage.names['y']}: photo moved by {step}, maps by 1, {how} (inside); by 1: "
        lines.append(line(words, percent(100 * share), " of cells stay"))
    return lines


VIEWS = {"im2col": im2col_view, "check": check_view, "lab": lab_view, "shift": shift_view}
