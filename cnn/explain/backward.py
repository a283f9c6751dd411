"""What each backward step shows: from the loss back to the change of one weight. Every function is view(trace, step, cursor) -> View.

The letter d in front of a tensor's name means: how much the loss would grow if that number
grew by 1 (the derivative of the loss by it).
"""

import numpy as np

from cnn.explain import view as v
from cnn.explain.forward import is_relu, pool_window, term_table, top_classes
from cnn.explain.trace import Trace, update
from cnn.explain.view import Cursor, Grid, Grids, Line, Map, Num, Row, Step, Table, View
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D, Weighted
from cnn.losses import _on_logits
from cnn.optimizers import SGD
from kernels.im2col import col2im_into
from kernels.pooling import max_pool_backward_into


def dlogits_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B1: the error at the output, p - y."""
    p, dlogits = t["p"], t["dlogits"]
    k = t.target if cursor.unit is None else v.clip((cursor.unit,), p.shape)[0]
    rows = []
    for n in top_classes(p):
        y = Num(float(n == t.target), kind="count")
        mark = "<- target: push up" if n == t.target else ""
        rows.append([Num(n, kind="count"), t.class_names[n], v.num(t, "p", (n,), "size"), y, v.num(t, "dlogits", (n,), "gradient"), mark])
    wanted = float(k == t.target)
    lines = [Row(f"p[{k}]", v.num(t, "p", (k,), "gradient")), Row(f"- y[{k}]", Num(-wanted, kind="gradient"))]
    parts = [
        Table(["k", "class", "p", "y", "dlogits = p - y", ""], rows),
        Line(["sum of all = ", Num(float(round(dlogits.sum(), 12)) + 0.0, kind="count"), ": what one class gains the others lose"]),
        v.total(t, "dlogits", (k,), [p[k], -wanted], lines, "backward"),
    ]
    return View(
        step, "the error at the output", "dlogits[k] = dLoss/dz[k] = p[k] - y[k]     y = 1 for the target, else 0",
        "d before a name is its gradient: how much the loss would grow if that number grew by 1. Minus: more of it lowers the loss. At the "
        "logits it is what the network said minus what it should say.",
        cursor.but(unit=k), "", parts, code=_on_logits, needle="gradient[photo, y_true] -= 1",
    )  # fmt: skip


def dense_kernel_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B2, B4: the gradient of one weight of a Dense layer is one product."""
    stage = t.stages[step.stage]
    names, x = stage.names, t.get(stage, "x")
    dkernel, dz = t.get(stage, "dkernel"), t.get(stage, "dz")
    n, u = v.largest(dkernel) if cursor.weight is None else v.clip(cursor.weight, dkernel.shape)
    units = sorted({u, *np.argsort(-np.abs(dz), kind="stable")[:3].tolist()})
    inputs = [n, *[k for k in np.argsort(-np.abs(x), kind="stable")[:4].tolist() if k != n]][:4]
    head = ["", *[f"{names['dz']}[{k}]" for k in units]]
    rows = [["", *[v.num(t, names["dz"], (k,), "gradient") for k in units]]]
    for k in inputs:
        rows.append([Line([f"{names['x']}[{k}] = ", v.num(t, names["x"], (k,))]), *[v.num(t, names["dkernel"], (k, w), "gradient") for w in units]])
    lines = [Row(f"{names['x']}[{n}]", v.num(t, names["x"], (n,), "gradient")), Row(f"x {names['dz']}[{u}]", v.num(t, names["dz"], (u,), "gradient"))]
    parts = [gate_line(t, stage, (u,)), Table(head, rows), v.total(t, names["dkernel"], (n, u), [x[n] * dz[u]], lines, "backward")]
    if stage.layer.use_bias:
        parts.append(Line([f"bias: {v.ref(names['dbias'], (u,))} = {names['dz']}[{u}] = ", v.num(t, names["dbias"], (u,), "gradient")]))
    parts.append(Line(["weights whose gradient is exactly 0: ", Num(100 * float(np.mean(dkernel == 0)), kind="percent"), " of ",
                       Num(dkernel.size, kind="count"), ": a silent input, or a closed unit"]))  # fmt: skip
    return View(
        step, f"{stage.layer.name}: the gradient of its weights", "{dkernel}[n,u] = {x}[n] * {dz}[u]     {dbias}[u] = {dz}[u]".format(**v.letters(stage)),
        f"A weight carries one input to one unit. Its gradient: what came in, times how much the unit matters ({v.letters(stage)['dz']}).",
        cursor.but(weight=(n, u)), f"weight n={n} u={u}, w = {stage.layer.params['kernel'][n, u]:+.6f}", [part for part in parts if part],
        code=Weighted.weight_grads, needle="x.T @ dz",
    )  # fmt: skip


def gate_line(t: Trace, stage, index) -> Line | None:
    """How the gradient passes the layer's ReLU at one place; None where there is none."""
    if not is_relu(stage):
        return None
    names = stage.names
    opened = t.get(stage, "z")[index] > 0
    text = "> 0: open, so " if opened else "<= 0: closed, so "
    return Line([f"ReLU: {v.ref(names['z'], index)} = ", v.num(t, names["z"], index), f" {text}{names['dz']} = ", v.num(t, names["dz"], index, "gradient"),
                 f" from {names['dy']} = ", v.num(t, names["dy"], index, "gradient")])  # fmt: skip


def dense_dx_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B3, B5: what each unit behind says about one input, added up."""
    stage = t.stages[step.stage]
    names, kernel, dz, dx = stage.names, t.get(stage, "kernel"), t.get(stage, "dz"), t.get(stage, "dx")
    n = v.largest(dx)[0] if cursor.unit is None else v.clip((cursor.unit,), dx.shape)[0]
    terms = kernel[n] * dz
    table, row = term_table(t, 0, terms, names["kernel"], lambda u: v.num(t, names["kernel"], (n, u), "signed"),
                            lambda u: v.num(t, names["dz"], (u,), "gradient"), names["dz"], "gradient")  # fmt: skip
    table.head[0] = "u"
    origin = v.flat_origin(t, step.stage, n)
    where = f"input n={n} of 0..{len(dx) - 1}" + (f", the cell (r, s, c) = {origin}" if origin else "")
    return View(
        step, f"{stage.layer.name}: the gradient of its input", "{dx}[n] = SUM(u) {kernel}[n,u] * {dz}[u]".format(**v.letters(stage)),
        f"This input went to {len(dz)} units. It shares in what each of them does to the loss, by the same weights.",
        cursor.but(unit=n), where, [table, v.total(t, names["dx"], (n,), terms, [row], "backward")], code=Dense.backward,
        needle='dz @ self.params["kernel"].T',
    )  # fmt: skip


def flatten_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B6: the row of gradients becomes maps again."""
    stage = t.stages[step.stage]
    names, dy, dx = stage.names, t.get(stage, "dy"), t.get(stage, "dx")
    n = v.largest(dy)[0] if cursor.unit is None else v.clip((cursor.unit,), dy.shape)[0]
    origin = tuple(int(i) for i in np.unravel_index(n, dx.shape))
    total = v.total(t, names["dx"], origin, [dy[n]], [Row(v.ref(names["dy"], (n,)), v.num(t, names["dy"], (n,), "gradient"))], "backward")
    parts = [total]
    if dx.ndim == 3:
        r, s, c = origin
        formula = f"r = n // {dx.shape[1] * dx.shape[2]}   s = n // {dx.shape[2]} % {dx.shape[1]}   c = n % {dx.shape[2]}"
        row = Grid(f"{names['dx']}[:,:,{c}], all places of map {c}", dx[..., c], "brief", here(dx.shape[:2], (r, s)), f"{names['dx']}[:,:,{c}]")
        parts = [Grids([row]), total] if dx.shape[1] <= 7 else parts
    else:
        formula = "the same numbers in their old shape"
    return View(
        step, f"{stage.layer.name}: back into maps", formula, "Nothing is computed: each gradient goes back to the cell its number came from.",
        cursor.but(unit=n), f"n={n} goes back to {origin}", parts,
        Map(names["dx"], dx[..., origin[-1]], origin[:2], signed=True) if dx.ndim == 3 else None, Flatten.backward, "dy.reshape(cache.x_shape)",
    )  # fmt: skip


def here(shape, place) -> np.ndarray:
    """marks with "here" at one place."""
    marks = np.full(shape, "", object)
    marks[place] = "here"
    return marks


def pool_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B7, B10: the gradient goes to the winner of the window and to no other cell."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    dy, dx, winners = t.get(stage, "dy"), t.get(stage, "dx"), t.get(stage, "winners")
    i, j, f = v.place(cursor, dy)
    values, marks, cells, ties = pool_window(t, stage, (i, j, f))
    rows, columns = v.window_rows(layer, (i, j), layer.pool_size)
    r, s = cells[int(winners[i, j, f])]
    routed = np.where(marks == "pad", 0, [[dx[a, b, f] if 0 <= a < dx.shape[0] and 0 <= b < dx.shape[1] else 0 for b in columns] for a in rows])
    sources = [k for k in covering(layer, (r, s), layer.pool_size, dy.shape) if wins(layer, winners, k, (r, s), f)]
    lines = [Row(v.ref(names["dy"], (*k, f)), v.num(t, names["dy"], (*k, f), "gradient")) for k in sources]
    tie = "" if ties == 1 else f"{ties} cells of this window are equal: the first, row by row, gets all"
    parts = [
        Grids([Grid(f"{names['x']} [{v.span(rows)},{v.span(columns)},{f}]", values, marks=marks), "gets", Grid(names["dx"], routed, "gradient", marks)]),
        v.total(t, names["dx"], (r, s, f), [dy[(*k, f)] for k in sources], lines, "backward"),
        *([Line([tie])] if tie else []),
        Line(["gradients that are not 0: ", Num(int(np.count_nonzero(dx)), kind="count"), " of ", Num(dx.size, kind="count")]),
    ]
    return View(
        step, f"{layer.name}: back to the winners", "{dx}[winner of window i,j] += {dy}[i,j], every other cell 0".format(**v.letters(stage)),
        "Only the largest number of each window went on, so only that cell gets the gradient. The others, which changed nothing, get 0.",
        cursor.but(cell=(i, j), filter=f), f"window i={i} j={j}   map f={f}   winner: cell ({r}, {s})", parts,
        Map(f"{names['dx']}, map {f}", dx[..., f], (r, s), signed=True), max_pool_backward_into.py_func
        if hasattr(max_pool_backward_into, "py_func") else MaxPooling2D.backward, "+= dy[n, i, j, c]",
    )  # fmt: skip


def covering(layer, cell, size, shape) -> list[tuple[int, int]]:
    """The output cells whose window covers an input cell."""
    found = []
    for axis in (0, 1):
        shifted = cell[axis] + v.pads(layer)[2 * axis]
        found.append([k for k in range(shape[axis]) if 0 <= shifted - k * layer.strides[axis] < size[axis]])
    return [(i, j) for i in found[0] for j in found[1]]


def wins(layer, winners, window, cell, f: int) -> bool:
    """Whether this input cell is the largest of that window."""
    rows, columns = v.window_rows(layer, window, layer.pool_size)
    u, w = divmod(int(winners[(*window, f)]), layer.pool_size[1])
    return (rows[u], columns[w]) == cell


def conv_kernel_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B8, B11: the gradient of one weight, added up over all places the filter stood."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    dkernel, dz, columns = t.get(stage, "dkernel"), t.get(stage, "dz"), t.get(stage, "columns")
    index = v.largest(dkernel) if cursor.weight is None else v.clip(cursor.weight, dkernel.shape)
    u, w, c, f = index
    values, gradients = columns[:, :, u, w, c], dz[..., f]
    terms = values * gradients
    order = [k for k in np.argsort(-np.abs(terms), axis=None, kind="stable")[:5].tolist() if terms.flat[k] != 0]
    rows, running = [], 0.0
    for rank, k in enumerate(order, 1):
        i, j = (int(n) for n in np.unravel_index(k, terms.shape))
        running += terms[i, j]
        rows.append([Num(rank, kind="count"), Num(i, kind="count"), Num(j, kind="count"), v.num(t, names["columns"], (i, j, u, w, c)),
                     v.num(t, names["dz"], (i, j, f), "gradient"), Num(terms[i, j], kind="gradient"), Num(running, kind="gradient")])  # fmt: skip
    live = int(np.count_nonzero(terms))
    rest = float(terms.sum()) - running
    if live > len(order):
        rows.append(["rest", "", "", f"{live - len(order)} terms", "", Num(rest, kind="gradient"), Num(running + rest, kind="gradient")])
    source = v.letters(stage)["x"] + ("pad" if sum(v.pads(layer)) else "")
    line = Row(f"sum of {terms.size} products", Num(float(terms.sum()), kind="gradient"), tuple(row[-2] for row in rows))
    parts = [
        Table(["rank", "i", "j", f"{source}[{v.at_window(layer)}, c]".replace(" ", ""), f"{v.letters(stage)['dz']}[i,j,f]", "product", "running sum"], rows),
        Line([f"{live} terms count, ", Num(terms.size - live, kind="count"), " are 0: ", *zero_causes(t, step.stage, values, gradients, (u, w, c, f))]),
        v.total(t, names["dkernel"], index, terms, [line], "backward"),
    ]
    if layer.use_bias:
        parts.append(Line([f"bias: {v.ref(names['dbias'], (f,))} = sum of all {names['dz']}[:,:,{f}] = ", v.num(t, names["dbias"], (f,), "gradient")]))
    return View(
        step, f"{layer.name}: the gradient of one weight", "{dkernel}[u,v,c,f] = SUM(i,j) {1}[{0}, c] * {dz}[i,j,f]".format(v.at_window(layer), source, **v.letters(stage)),
        f"The same weight was used at {terms.size} places. Its gradient adds up over all of them: what it was multiplied with, times how much "
        f"the result there matters.",
        cursor.but(weight=index), f"weight u={u} v={w} c={c} f={f}   w = {layer.params['kernel'][index]:+.6f}   places {terms.shape[0]}x{terms.shape[1]}",
        parts, Map(f"products, weight {u},{w},{c},{f}", terms, None, signed=True), Weighted.weight_grads, "x.T @ dz",
    )  # fmt: skip


def zero_causes(t: Trace, stage: int, values, gradients, index) -> list:
    """Why products are 0: first the ReLU, then the pooling behind, then the input; counted once each."""
    this = t.stages[stage]
    f = index[3]
    closed = (t.get(this, "z")[..., f] <= 0) if is_relu(this) else np.zeros(values.shape, bool)
    no_gradient = (gradients == 0) & ~closed
    zero_input = (values == 0) & (gradients != 0)
    rows = np.arange(values.shape[0]) * this.layer.strides[0] + index[0] - v.pads(this.layer)[0]
    columns = np.arange(values.shape[1]) * this.layer.strides[1] + index[1] - v.pads(this.layer)[2]
    padding = (v.outside(rows, columns, this.layer.input_shape) == "pad") & zero_input
    pooled = stage + 1 < len(t.stages) and isinstance(t.stages[stage + 1].layer, MaxPooling2D)
    causes = [("ReLU closed", closed), ("lost the pool" if pooled else "no gradient", no_gradient), ("padding", padding), ("zero input", zero_input & ~padding)]
    counts = [(name, int(mask.sum())) for name, mask in causes]
    counts = [(name, count) for name, count in counts if count]
    return [part for k, (name, count) in enumerate(counts) for part in (", " * (k > 0), Num(count, kind="count"), f" {name}")]


def conv_dx_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B9: the gradient of one input cell, once as what the windows over it send back, once with the rotated filter."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    dx, dz, kernel = t.get(stage, "dx"), t.get(stage, "dz"), t.get(stage, "kernel")
    r, s, c = v.place(cursor.but(filter=cursor.channel), dx)
    terms, scatter, marks = scattered(layer, dz, kernel, (r, s, c))
    count = int((marks == "").sum()) * kernel.shape[3]
    full = kernel.shape[0] * kernel.shape[1] * kernel.shape[3]
    shown = tuple(Num(value, kind="gradient") for value in scatter[marks == ""])
    line = Row(f"scatter: {int((marks == '').sum())} sums of {kernel.shape[3]} products", Num(float(scatter.sum()), kind="gradient"), shown)
    parts = [Grids([Grid(f"scatter, by u and v: SUM(f) dz * W[u,v,{c},f] of each window", scatter, "gradient", marks)])]
    rows = [line]
    if layer.strides == (1, 1):
        parts_of_gather = gathered(layer, dz, kernel, (r, s, c))
        parts.append(Grids([Grid(f"gather: {names['dz']} around the cell x the filter rotated by 180 degrees", parts_of_gather, "gradient")]))
        same = abs(parts_of_gather.sum() - scatter.sum()) <= 1e-12 * max(np.abs(terms).sum(), 1e-300)
        rows.append(Row(f"gather, the rotated filter: {'the same' if same else 'DIFFERENT'}", Num(float(parts_of_gather.sum()), kind="gradient")))
    else:
        parts.append(Line([f"with stride {layer.strides} a rotated filter would need zeros between the cells of dz: only the scatter is shown"]))
    parts.append(v.total(t, names["dx"], (r, s, c), terms, rows, "backward"))
    parts.append(Line([Num(count, kind="count"), " products land on this cell, of at most ", Num(full, kind="count"), "" if count == full else ": the cell lies at the edge"]))
    return View(
        step, f"{layer.name}: the gradient of its input", "{dx}[r,s,c] = SUM(i,j: window lies on r,s) SUM(f) {dz}[i,j,f] * {kernel}[u,v,c,f]".format(**v.letters(stage)),
        f"The cell lay under up to {kernel.shape[0] * kernel.shape[1]} windows, each time under another weight; each sends its share back. Seen from the "
        "cell they come in reverse order: so books rotate the filter by 180 degrees.",
        cursor.but(cell=(r, s), channel=c), f"input cell r={r} s={s}   channel c={c} of 0..{dx.shape[2] - 1}", parts,
        Map(f"{names['dx']}, channel {c}", dx[..., c], (r, s), signed=True),
        col2im_into.py_func if hasattr(col2im_into, "py_func") else Conv2D.backward, "dx[n, r, s, c] += columns",
    )  # fmt: skip


def scattered(layer, dz, kernel, place) -> tuple:
    """All products that land on an input cell; their sums by (u, v), the weight that the window laid on the cell; marks."""
    r, s, c = place
    sums = np.zeros(kernel.shape[:2])
    marks = np.full(sums.shape, "pad", object)
    terms = []
    for i, j in covering(layer, (r, s), layer.kernel_size, dz.shape):
        rows, columns = v.window_rows(layer, (i, j), layer.kernel_size)
        u, w = r - rows[0], s - columns[0]
        products = dz[i, j] * kernel[u, w, c]
        sums[u, w], marks[u, w] = products.sum(), ""
        terms.append(products)
    return np.array(terms).reshape(-1), sums, marks


def gathered(layer, dz, kernel, place) -> np.ndarray:
    """With stride 1: dz, padded, under the filter turned by 180 degrees and laid around the input cell; (kh, kw) sums."""
    r, s, c = place
    top, bottom, left, right = v.pads(layer)
    kh, kw = layer.kernel_size
    around = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right), (0, 0))
    window = np.pad(dz, around)[r : r + kh, s : s + kw]
    return (window * kernel[::-1, ::-1, c]).sum(axis=2)


def input_gradient_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B12: what each pixel does to the loss; and one step for one weight, and for all."""
    stage = t.stages[v.first_stage(t, Conv2D)]
    dx = t["dx"] if t["dx"].ndim == 3 else t["dx"].reshape(*t.photo.shape[:2], -1)
    r, s, c = v.place(cursor, dx)
    dkernel = t.get(stage, "dkernel")
    index = v.largest(dkernel) if cursor.weight is None else v.clip(cursor.weight, dkernel.shape)
    step_taken = update(t, stage, index, cursor.learning_rate)
    name = stage.names["kernel"]
    better = "lower" if step_taken.loss_one < t.loss else "not lower: the step was too long, or the gradient is 0"
    tiny = 0 < step_taken.loss - step_taken.loss_one
    parts = [
        Table(["one weight", v.ref(name, index)], [
            ["w", Num(step_taken.w, v.ref(name, index), "loss")],
            ["- learning rate x gradient", Line([Num(step_taken.learning_rate, kind="rate"), " x ", Num(step_taken.gradient, v.ref(stage.names["dkernel"], index), "gradient")])],
            ["= new w", Num(step_taken.new_w, kind="loss")],
        ]),
        Table(["loss", "before", "after"], [
            ["this weight alone moves", Num(step_taken.loss, kind="loss"), Num(step_taken.loss_one, kind="loss")],
            [f"all {sum(s.layer.count_params() for s in t.stages):,} weights move", Num(step_taken.loss, kind="loss"), Num(step_taken.loss_all, kind="loss")],
        ]),
        Line([f"one weight: loss {better}, by ", Num(step_taken.loss - step_taken.loss_one, kind="gradient"),
              "; foretold by rate x gradient^2: ", Num(step_taken.learning_rate * step_taken.gradient**2, kind="gradient")]),
    ]  # fmt: skip
    if not tiny:
        parts.append(Line(["(try a smaller learning rate with --learning-rate, or another weight)"]))
    sums = pixel_sum(t, (r, s, c))
    return View(
        step, "the input's gradient, and one step of learning", "w_new = w - learning rate * dW        (plain gradient descent, SGD)",
        "Every weight takes a small step against its gradient: the loss goes down. Training repeats this.",
        cursor.but(cell=(r, s), weight=index), f"pixel r={r} s={s}   weight {v.ref(name, index)}   this photo alone, learning rate {cursor.learning_rate:g}",
        [*([sums] if sums else []), *parts], Map("dx: + brighter raises the loss", dx[..., c], (r, s), signed=True),
        SGD.step, "w -= self.learning_rate * g",
    )  # fmt: skip


def pixel_sum(t: Trace, place):
    """Where the first layer is a convolution: the products that land on this pixel."""
    stage = t.stages[0]
    if v.kind_of(stage) != "conv":
        return None
    terms, scatter, marks = scattered(stage.layer, t.get(stage, "dz"), t.get(stage, "kernel"), place)
    row = Row(f"a brighter pixel: {len(terms)} products, summed as in B9", Num(float(terms.sum()), kind="gradient"))
    return v.total(t, "dx", place, terms, [row], "backward")


def relu_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """Layers without weights of their own: the gradient that comes in and the one that goes on, at one place."""
    stage = t.stages[step.stage]
    names, dx, dy = stage.names, t.get(stage, "dx"), t.get(stage, "dy")
    index = v.largest(dx)
    row = Row("computed by the layer", v.num(t, names["dx"], index, "gradient"))
    parts = [v.total(t, names["dx"], index, [dx[index]], [row], "backward")]
    if dx.shape == dy.shape:
        parts.insert(0, Line([f"in:  {names['dy']} = ", v.num(t, names["dy"], index, "gradient")]))
    return View(step, f"{stage.layer.name}: {type(stage.layer).__name__}, backward", "dx from dy, see the source", "One number, where it is largest.",
                cursor, f"place {index} of {dx.shape}", parts, code=type(stage.layer).backward)  # fmt: skip


VIEWS = {
    "dlogits": dlogits_view, "dense-dkernel": dense_kernel_view, "dense-dx": dense_dx_view, "flatten-back": flatten_back_view,
    "pool-back": pool_back_view, "conv-dkernel": conv_kernel_view, "conv-dx": conv_dx_view, "input-gradient": input_gradient_view,
    "through-back": relu_back_view,
}  # fmt: skip
