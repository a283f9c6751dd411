"""What the backward steps from the loss to the maps show. Every function is view(trace, step, cursor) -> View.

The letter d in front of a tensor's name means: how much the loss would grow if that number
grew by 1 (the derivative of the loss by it).
"""

import numpy as np

from cnn.explain import view as v
from cnn.explain.forward import is_relu
from cnn.explain.forward_dense import term_table, top_classes
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Grid, Line, Map, Row, Step, Table, View, count, gradient, grids, line, percent
from cnn.layers import Dense, Flatten, Weighted
from cnn.losses import cross_entropy_of_logits


def dlogits_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B1: the error at the output, p - y."""
    p, dlogits = t["p"], t["dlogits"]
    k = t.target if cursor.unit is None else v.clip((cursor.unit,), p.shape)[0]
    rows = []
    for n in top_classes(p):
        y = count(float(n == t.target))
        mark = "<- target: push up" if n == t.target else ""
        rows.append(
            [count(n), t.class_names[n], v.num(t, "p", (n,), "size"), y, v.num(t, "dlogits", (n,), "gradient"), mark]
        )
    wanted = float(k == t.target)
    lines = [Row(f"p[{k}]", v.num(t, "p", (k,), "gradient")), Row(f"- y[{k}]", gradient(-wanted))]
    parts = [
        Table(["k", "class", "p", "y", "dlogits = p - y", ""], rows),
        line("sum of all = ", count(float(round(dlogits.sum(), 12)) + 0.0), ": what one class gains the others lose"),
        v.total(t, "dlogits", (k,), [p[k], -wanted], lines, "backward"),
    ]
    return View(
        step,
        "the error at the output",
        "dlogits[k] = dLoss/dz[k] = p[k] - y[k]     y = 1 for the target, else 0",
        "d before a name is its gradient: how much the loss would grow if that number grew by 1. Minus: more of "
        "it lowers the loss. At the "
        "logits it is what the network said minus what it should say.",
        cursor.but(unit=k),
        "",
        parts,
        code=cross_entropy_of_logits,
        needle="gradient[photo, y_true] -= 1",
    )


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
        came_in = Line([f"{names['x']}[{k}] = ", v.num(t, names["x"], (k,))])
        rows.append([came_in, *[v.num(t, names["dkernel"], (k, w), "gradient") for w in units]])
    factors = v.num(t, names["x"], (n,), "gradient"), v.num(t, names["dz"], (u,), "gradient")
    lines = [Row(f"{names['x']}[{n}]", factors[0]), Row(f"x {names['dz']}[{u}]", factors[1])]
    total = v.total(t, names["dkernel"], (n, u), [x[n] * dz[u]], lines, "backward")
    parts = [gate_line(t, stage, (u,)), Table(head, rows), total]
    if stage.layer.use_bias:
        bias = v.num(t, names["dbias"], (u,), "gradient")
        parts.append(line(f"bias: {v.ref(names['dbias'], (u,))} = {names['dz']}[{u}] = ", bias))
    zeros = percent(100 * float(np.mean(dkernel == 0)))
    parts.append(
        line(
            "weights whose gradient is exactly 0: ",
            zeros,
            " of ",
            count(dkernel.size),
            ": a silent input, or a closed unit",
        )
    )
    return View(
        step,
        f"{stage.layer.name}: the gradient of its weights",
        "{dkernel}[n,u] = {x}[n] * {dz}[u]     {dbias}[u] = {dz}[u]".format(**v.letters(stage)),
        "A weight carries one input to one unit. Its gradient: what came in, times how much the unit matters "
        f"({v.letters(stage)['dz']}).",
        cursor.but(weight=(n, u)),
        f"weight n={n} u={u}, w = {stage.layer.params['kernel'][n, u]:+.6f}",
        [part for part in parts if part],
        code=Weighted.weight_grads,
        needle="x.T @ dz",
    )


def gate_line(t: Trace, stage, index) -> Line | None:
    """How the gradient passes the layer's ReLU at one place; None where there is none."""
    if not is_relu(stage):
        return None
    names = stage.names
    opened = t.get(stage, "z")[index] > 0
    text = "> 0: open, so " if opened else "<= 0: closed, so "
    return line(
        f"ReLU: {v.ref(names['z'], index)} = ",
        v.num(t, names["z"], index),
        f" {text}{names['dz']} = ",
        v.num(t, names["dz"], index, "gradient"),
        f" from {names['dy']} = ",
        v.num(t, names["dy"], index, "gradient"),
    )


def dense_dx_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B3, B5: what each unit behind says about one input, added up."""
    stage = t.stages[step.stage]
    names, kernel, dz, dx = stage.names, t.get(stage, "kernel"), t.get(stage, "dz"), t.get(stage, "dx")
    n = v.largest(dx)[0] if cursor.unit is None else v.clip((cursor.unit,), dx.shape)[0]
    terms = kernel[n] * dz
    table, row = term_table(
        t,
        0,
        terms,
        names["kernel"],
        lambda u: v.num(t, names["kernel"], (n, u), "signed"),
        lambda u: v.num(t, names["dz"], (u,), "gradient"),
        names["dz"],
        "gradient",
    )
    table.head[0] = "u"
    origin = v.flat_origin(t, step.stage, n)
    where = f"input n={n} of 0..{len(dx) - 1}" + (f", the cell (r, s, c) = {origin}" if origin else "")
    return View(
        step,
        f"{stage.layer.name}: the gradient of its input",
        "{dx}[n] = SUM(u) {kernel}[n,u] * {dz}[u]".format(**v.letters(stage)),
        f"This input went to {len(dz)} units. It shares in what each of them does to the loss, by the same weights.",
        cursor.but(unit=n),
        where,
        [table, v.total(t, names["dx"], (n,), terms, [row], "backward")],
        code=Dense.backward,
        needle='dz @ self.params["kernel"].T',
    )


def flatten_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """B6: the row of gradients becomes maps again."""
    stage = t.stages[step.stage]
    names, dy, dx = stage.names, t.get(stage, "dy"), t.get(stage, "dx")
    n = v.largest(dy)[0] if cursor.unit is None else v.clip((cursor.unit,), dy.shape)[0]
    origin = tuple(int(i) for i in np.unravel_index(n, dx.shape))
    total = v.total(
        t,
        names["dx"],
        origin,
        [dy[n]],
        [Row(v.ref(names["dy"], (n,)), v.num(t, names["dy"], (n,), "gradient"))],
        "backward",
    )
    parts = [total]
    if dx.ndim == 3:
        r, s, c = origin
        formula = (
            f"r = n // {dx.shape[1] * dx.shape[2]}   s = n // {dx.shape[2]} % {dx.shape[1]}   c = n % {dx.shape[2]}"
        )
        row = Grid(
            f"{names['dx']}[:,:,{c}], all places of map {c}",
            dx[..., c],
            "brief",
            here(dx.shape[:2], (r, s)),
            f"{names['dx']}[:,:,{c}]",
        )
        parts = [grids(row), total] if dx.shape[1] <= 7 else parts
    else:
        formula = "the same numbers in their old shape"
    return View(
        step,
        f"{stage.layer.name}: back into maps",
        formula,
        "Nothing is computed: each gradient goes back to the cell its number came from.",
        cursor.but(unit=n),
        f"n={n} goes back to {origin}",
        parts,
        Map(names["dx"], dx[..., origin[-1]], origin[:2], signed=True) if dx.ndim == 3 else None,
        Flatten.backward,
        "dy.reshape(cache.x_shape)",
    )


def here(shape, place) -> np.ndarray:
    """marks with "here" at one place."""
    marks = np.full(shape, "", object)
    marks[place] = "here"
    return marks


def relu_back_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """Layers without weights of their own: the gradient that comes in and the one that goes on, at one place."""
    stage = t.stages[step.stage]
    names, dx, dy = stage.names, t.get(stage, "dx"), t.get(stage, "dy")
    index = v.largest(dx)
    row = Row("computed by the layer", v.num(t, names["dx"], index, "gradient"))
    parts = [v.total(t, names["dx"], index, [dx[index]], [row], "backward")]
    if dx.shape == dy.shape:
        parts.insert(0, line(f"in:  {names['dy']} = ", v.num(t, names["dy"], index, "gradient")))
    return View(
        step,
        f"{stage.layer.name}: {type(stage.layer).__name__}, backward",
        "dx from dy, see the source",
        "One number, where it is largest.",
        cursor,
        f"place {index} of {dx.shape}",
        parts,
        code=type(stage.layer).backward,
    )


VIEWS = {
    "dlogits": dlogits_view,
    "dense-dkernel": dense_kernel_view,
    "dense-dx": dense_dx_view,
    "flatten-back": flatten_back_view,
    "through-back": relu_back_view,
}
