"""What the backward steps through the maps show: pooling, convolution, the photo, and one step of learning."""

import numpy as np

from cnn.explain import view as v
from cnn.explain.forward import is_relu, pool_window
from cnn.explain.trace import Trace, Update, update
from cnn.explain.view import Cursor, Grid, Map, Num, Row, Step, Table, View, count, gradient, grids, line
from cnn.layers import Conv2D, MaxPooling2D, Weighted
from cnn.optimizers import SGD
from kernels.im2col import col2im_into
from kernels.pooling import max_pool_backward_into


def pool_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B7, B10: the gradient goes to the winner of the window and to no other cell."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    dy, dx, winners = t.get(stage, "dy"), t.get(stage, "dx"), t.get(stage, "winners")
    i, j, f = v.place(cursor, dy)
    values, marks, cells, ties = pool_window(t, stage, (i, j, f))
    rows, columns = v.window_rows(layer, (i, j), layer.pool_size)
    r, s = cells[int(winners[i, j, f])]
    routed = np.where(
        marks == "pad",
        0,
        [[dx[a, b, f] if 0 <= a < dx.shape[0] and 0 <= b < dx.shape[1] else 0 for b in columns] for a in rows],
    )
    sources = [k for k in covering(layer, (r, s), layer.pool_size, dy.shape) if wins(layer, winners, k, (r, s), f)]
    lines = [Row(v.ref(names["dy"], (*k, f)), v.num(t, names["dy"], (*k, f), "gradient")) for k in sources]
    tie = "" if ties == 1 else f"{ties} cells of this window are equal: the first, row by row, gets all"
    parts = [
        grids(
            Grid(f"{names['x']} [{v.span(rows)},{v.span(columns)},{f}]", values, marks=marks),
            "gets",
            Grid(names["dx"], routed, "gradient", marks),
        ),
        v.total(t, names["dx"], (r, s, f), [dy[(*k, f)] for k in sources], lines, "backward"),
        *([line(tie)] if tie else []),
        line("gradients that are not 0: ", count(int(np.count_nonzero(dx))), " of ", count(dx.size)),
    ]
    return View(
        step,
        f"{layer.name}: back to the winners",
        "{dx}[winner of window i,j] += {dy}[i,j], every other cell 0".format(**v.letters(stage)),
        "Only the largest number of each window went on, so only that cell gets the gradient. The others, which "
        "changed nothing, get 0.",
        cursor.but(cell=(i, j), filter=f),
        f"window i={i} j={j}   map f={f}   winner: cell ({r}, {s})",
        parts,
        Map(f"{names['dx']}, map {f}", dx[..., f], (r, s), signed=True),
        max_pool_backward_into.py_func if hasattr(max_pool_backward_into, "py_func") else MaxPooling2D.backward,
        "+= dy[n, i, j, c]",
    )


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
    rows, live = largest_products(t, names, values, gradients, index), int(np.count_nonzero(terms))
    source = v.letters(stage)["x"] + ("pad" if sum(v.pads(layer)) else "")
    summed = Row(f"sum of {terms.size} products", gradient(terms.sum()), tuple(row[-2] for row in rows))
    window, dz_name = f"{source}[{v.at_window(layer)}, c]".replace(" ", ""), f"{v.letters(stage)['dz']}[i,j,f]"
    causes = zero_causes(t, step.stage, values, gradients, index)
    parts = [
        Table(["rank", "i", "j", window, dz_name, "product", "running sum"], rows),
        line(f"{live} terms count, ", count(terms.size - live), " are 0: ", *causes),
        v.total(t, names["dkernel"], index, terms, [summed], "backward"),
    ]
    if layer.use_bias:
        value = v.num(t, names["dbias"], (f,), "gradient")
        parts.append(line(f"bias: {v.ref(names['dbias'], (f,))} = sum of all {names['dz']}[:,:,{f}] = ", value))
    return View(
        step,
        f"{layer.name}: the gradient of one weight",
        "{dkernel}[u,v,c,f] = SUM(i,j) {1}[{0}, c] * {dz}[i,j,f]".format(
            v.at_window(layer), source, **v.letters(stage)
        ),
        f"The same weight was used at {terms.size} places. Its gradient adds up over all of them: what it was "
        "multiplied with, times how much "
        f"the result there matters.",
        cursor.but(weight=index),
        f"weight u={u} v={w} c={c} f={f}   w = {layer.params['kernel'][index]:+.6f}   places {terms.shape[0]}x{terms.shape[1]}",
        parts,
        Map(f"products, weight {u},{w},{c},{f}", terms, None, signed=True),
        Weighted.weight_grads,
        "x.T @ dz",
    )


def largest_products(t: Trace, names, values, gradients, index) -> list[list]:
    """The five largest products of a weight's gradient with their running sum, and the rest in one row."""
    u, w, c, f = index
    terms, rows, running = values * gradients, [], 0.0
    order = [k for k in np.argsort(-np.abs(terms), axis=None, kind="stable")[:5].tolist() if terms.flat[k] != 0]
    for rank, k in enumerate(order, 1):
        i, j = (int(n) for n in np.unravel_index(k, terms.shape))
        running += terms[i, j]
        factors = v.num(t, names["columns"], (i, j, u, w, c)), v.num(t, names["dz"], (i, j, f), "gradient")
        rows.append([count(rank), count(i), count(j), *factors, gradient(terms[i, j]), gradient(running)])
    others = int(np.count_nonzero(terms)) - len(order)
    if others:
        rest = float(terms.sum()) - running
        rows.append(["rest", "", "", f"{others} terms", "", gradient(rest), gradient(running + rest)])
    return rows


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
    causes = [
        ("ReLU closed", closed),
        ("lost the pool" if pooled else "no gradient", no_gradient),
        ("padding", padding),
        ("zero input", zero_input & ~padding),
    ]
    counts = [(name, int(mask.sum())) for name, mask in causes if mask.any()]
    return [part for k, (name, found) in enumerate(counts) for part in (", " * (k > 0), count(found), f" {name}")]


def conv_dx_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B9: the gradient of one input cell, once as what the windows over it send back, once with the rotated filter."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    dx, dz, kernel = t.get(stage, "dx"), t.get(stage, "dz"), t.get(stage, "kernel")
    r, s, c = v.place(cursor.but(filter=cursor.channel), dx)
    terms, scatter, marks = scattered(layer, dz, kernel, (r, s, c))
    windows, filters = int((marks == "").sum()), kernel.shape[3]
    parts = [grids(Grid(f"scatter, by u and v: SUM(f) dz * W[u,v,{c},f] of each window", scatter, "gradient", marks))]
    shown = tuple(gradient(value) for value in scatter[marks == ""])
    rows = [Row(f"scatter: {windows} sums of {filters} products", gradient(scatter.sum()), shown)]
    if layer.strides == (1, 1):
        gather = gathered(layer, dz, kernel, (r, s, c))
        parts.append(
            grids(
                Grid(f"gather: {names['dz']} around the cell x the filter rotated by 180 degrees", gather, "gradient")
            )
        )
        same = abs(gather.sum() - scatter.sum()) <= 1e-12 * max(np.abs(terms).sum(), 1e-300)
        rows.append(Row(f"gather, the rotated filter: {'the same' if same else 'DIFFERENT'}", gradient(gather.sum())))
    else:
        parts.append(
            line(
                f"with stride {layer.strides} a rotated filter needs zeros between the cells of dz: only the scatter is shown"
            )
        )
    edge = "" if windows == scatter.size else ": the cell lies at the edge"
    parts.append(v.total(t, names["dx"], (r, s, c), terms, rows, "backward"))
    parts.append(
        line(count(windows * filters), " products land on this cell, of at most ", count(scatter.size * filters), edge)
    )
    return View(
        step,
        f"{layer.name}: the gradient of its input",
        "{dx}[r,s,c] = SUM(i,j: window lies on r,s) SUM(f) {dz}[i,j,f] * {kernel}[u,v,c,f]".format(**v.letters(stage)),
        f"The cell lay under up to {scatter.size} windows, each time under another weight; each sends its share back. Seen "
        "from the cell they come in reverse order: so books rotate the filter by 180 degrees.",
        cursor.but(cell=(r, s), channel=c),
        f"input cell r={r} s={s}   channel c={c} of 0..{dx.shape[2] - 1}",
        parts,
        Map(f"{names['dx']}, channel {c}", dx[..., c], (r, s), signed=True),
        col2im_into.py_func if hasattr(col2im_into, "py_func") else Conv2D.backward,
        "dx[n, r, s, c] += columns",
    )


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
    taken = update(t, stage, index, cursor.learning_rate)
    name, parts = stage.names["kernel"], update_parts(t, stage, index, taken)
    sums = pixel_sum(t, (r, s, c))
    return View(
        step,
        "the input's gradient, and one step of learning",
        "w_new = w - learning rate * dW        (plain gradient descent, SGD)",
        "Every weight takes a small step against its gradient: the loss goes down. Training repeats this.",
        cursor.but(cell=(r, s), weight=index),
        f"pixel r={r} s={s}   weight {v.ref(name, index)}   this photo alone, learning rate {cursor.learning_rate:g}",
        [*([sums] if sums else []), *parts],
        Map("dx: + brighter raises the loss", dx[..., c], (r, s), signed=True),
        SGD.step,
        "w -= self.learning_rate * g",
    )


def update_parts(t: Trace, stage, index, taken: Update) -> list:
    """The new weight, and the loss before and after: with this weight moved, with all."""
    name = v.ref(stage.names["kernel"], index)
    slope = line(
        Num(taken.learning_rate, kind="rate"),
        " x ",
        Num(taken.gradient, v.ref(stage.names["dkernel"], index), "gradient"),
    )
    before, one, every = (Num(loss, kind="loss") for loss in (taken.loss, taken.loss_one, taken.loss_all))
    weights = sum(other.layer.count_params() for other in t.stages)
    lower = taken.loss_one < taken.loss
    rows = [
        ["w", Num(taken.w, name, "loss")],
        ["- learning rate x gradient", slope],
        ["= new w", Num(taken.new_w, kind="loss")],
    ]
    better = "lower" if lower else "not lower: the step was too long, or the gradient is 0"
    foretold = gradient(taken.learning_rate * taken.gradient**2)
    said = line(
        f"one weight: loss {better}, by ",
        gradient(taken.loss - taken.loss_one),
        "; foretold by rate x gradient^2: ",
        foretold,
    )
    losses = [["this weight alone moves", before, one], [f"all {weights:,} weights move", before, every]]
    advice = [] if lower else [line("(try a smaller learning rate with --learning-rate, or another weight)")]
    return [Table(["one weight", name], rows), Table(["loss", "before", "after"], losses), said, *advice]


def pixel_sum(t: Trace, place):
    """Where the first layer is a convolution: the products that land on this pixel."""
    stage = t.stages[0]
    if v.kind_of(stage) != "conv":
        return None
    terms, scatter, marks = scattered(stage.layer, t.get(stage, "dz"), t.get(stage, "kernel"), place)
    row = Row(f"a brighter pixel: {len(terms)} products, summed as in B9", gradient(float(terms.sum())))
    return v.total(t, "dx", place, terms, [row], "backward")


VIEWS = {
    "pool-back": pool_back_view,
    "conv-dkernel": conv_kernel_view,
    "conv-dx": conv_dx_view,
    "input-gradient": input_gradient_view,
}
