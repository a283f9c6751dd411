"""What each forward step shows: from the pixels to the loss. Every function is view(trace, step, cursor) -> View."""

import numpy as np

from cnn.explain import view as v
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Grid, Grids, Line, Map, Num, Row, Step, Table, View
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D, ReLU, Softmax
from cnn.losses import _on_logits

TOP = 6  # how many of the largest terms of a long sum are shown


def input_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F1: a pixel as the byte of the file and as the network's input."""
    x = t["x"] if t["x"].ndim == 3 else t["x"].reshape(*t.photo.shape[:2], -1)
    i, j, c = v.place(cursor, x)
    box = np.s_[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
    marks = np.full(x[box][..., c].shape, "", object)
    marks[min(i, 1), min(j, 1)] = "here"
    grids = [Grid("x, the same scaled", x[box][..., c], marks=marks, ref=f"x[{box[0].start}:,{box[1].start}:,{c}]")]
    if t.photo.dtype == np.uint8:
        photo = t.photo.reshape(*t.photo.shape[:2], -1)
        grids = [Grid("bytes of the photo", photo[box][..., c], "count", marks), "/ 255 =", *grids]
    index = (i, j, c) if t["x"].ndim == 3 else (int(np.ravel_multi_index((i, j, c), x.shape)),)
    black = float(np.mean(x == 0))
    return View(
        step, "the photo", "x[i,j] = byte / 255" if t.photo.dtype == np.uint8 else "x[i,j] as given",
        "A photo is a table of numbers. Here they go from 0 (black) to 1 (white).",
        cursor.but(cell=(i, j)), f"pixel i={i} j={j}, and its neighbours",
        [Grids(grids), Line(["x at this pixel = ", v.num(t, "x", index, "total"), "     black pixels: ", Num(100 * black, kind="percent")]),
         Line(["names to come: W weights, b bias, z sum, a after ReLU, p pooled, f in one row; i, j row and column, f filter, c channel"])],
        Map("photo", x[..., c], (i, j), main=True),
    )  # fmt: skip


def padding_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F2: the zeros around the photo."""
    layer = t.stages[step.stage].layer
    x = t.get(t.stages[step.stage], "x")
    top, bottom, left, right = v.pads(layer)
    padded = np.pad(x[..., 0], ((top, bottom), (left, right)))
    real = np.pad(np.ones(x.shape[:2], bool), ((top, bottom), (left, right)))
    size = layer.kernel_size
    corner = np.s_[: size[0] + 1, : size[1] + 3]
    marks = np.where(real, "", "pad").astype(object)
    sides = [f"{name} " for name in ("top", "bottom", "left", "right")]
    counts = [part for name, n in zip(sides, (top, bottom, left, right), strict=True) for part in (name, Num(n, kind="count"), "  ")]
    return View(
        step, f"padding for {layer.name}", f"padding = '{layer.padding}', kernel {size[0]}x{size[1]}, stride {layer.strides[0]}",
        "Zeros around the photo let the filter stand on its edge too, so the result stays as large. Of an odd number the smaller half "
        "comes first.",
        cursor, f"upper left corner; the padded photo is {padded.shape[0]} x {padded.shape[1]}; . is padding",
        [Line(["zeros added:  ", *counts]), Grids([Grid("xpad, upper left", padded[corner], marks=marks[corner])])],
        Map("photo", x[..., 0]), v.place_windows, "window_geometry(input_shape[0]",
    )  # fmt: skip


def conv_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F3, F6: one output cell as the sum of kernel-size products in each input channel."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    z, kernel = t[names["z"]], t[names["kernel"]]
    i, j, f = v.place(cursor, t[names["y"]])
    window, weights = t[names["columns"]][i, j], kernel[..., f]  # (kh, kw, C) each
    products = window * weights
    channels = products.sum(axis=(0, 1))
    c = v.largest(channels)[0] if cursor.channel is None else v.clip((cursor.channel,), channels.shape)[0]
    rows, columns = v.window_rows(layer, (i, j), layer.kernel_size)
    marks = v.outside(rows, columns, layer.input_shape)
    shown = tuple(Num(value, kind="product") for value in products[..., c].flat)
    count = products.size
    parts = [conv_grids(stage, window[..., c], weights[..., c], products[..., c], marks, c, f, rows, columns)]
    if len(channels) == 1:
        parts.append(Line(["running sum ", *spaced(np.cumsum(products), "sum")]))
        rows_of_sum = [Row(f"sum of {count} products", Num(products.sum(), kind="total"), shown)]
    else:
        own = Row(f"sum of these {len(shown)} products, channel {c}", Num(channels[c], kind="total"), shown)
        parts += [channel_sums(channels, c)]
        all_sums = tuple(Num(value, kind="sum") for value in channels) if len(channels) <= 32 else ()
        rows_of_sum = [own, Row(f"all {len(channels)} channels, {count} products", Num(products.sum(), kind="total"), all_sums)]
    terms = products
    if layer.use_bias:
        terms = np.append(products, t[names["bias"]][f])
        rows_of_sum.append(Row(f"+ bias {v.ref(names['bias'], (f,))}", v.num(t, names["bias"], (f,), "total")))
    parts.append(v.total(t, names["z"], (i, j, f), terms, rows_of_sum, "forward"))
    say = ("A filter is a small table of weights. Each number under it is multiplied by its weight; all products are added. Large means: here "
           "the photo looks like the filter.")  # fmt: skip
    if len(channels) > 1:
        say = f"This filter looks at all {len(channels)} maps of the layer before at once: {len(channels)} small tables of weights, one sum."
    name, padded = v.letters(stage), "pad" if sum(v.pads(layer)) else ""
    start = f"{name['bias']}[f] + " if layer.use_bias else ""
    formula = f"{name['z']}[i,j,f] = {start}SUM(u,v,c) {name['x']}{padded}[{v.at_window(layer)}, c] * {name['kernel']}[u,v,c,f]"
    return View(
        step, f"{layer.name}: one cell of the convolution", formula, say,
        cursor.but(cell=(i, j), filter=f, channel=c),
        f"output cell i={i} j={j}   filter f={f} of 0..{kernel.shape[3] - 1}   input channel c={c} of 0..{len(channels) - 1}",
        parts, Map(f"{names['z']}, filter {f}", z[..., f], (i, j), signed=True), Conv2D.forward, "@ kernel",
    )  # fmt: skip


def conv_grids(stage, window, weights, products, marks, c, f, rows, columns) -> Grids:
    """The window times the filter gives the products, as three matrices."""
    source, kernel = stage.names["x"], stage.names["kernel"]
    return Grids([
        Grid(f"{source} [{v.span(rows)},{v.span(columns)},{c}]", window, marks=marks), "x",
        Grid(f"{kernel} [:,:,{c},{f}]", weights, "signed", ref=f"{kernel}[:,:,{c},{f}]"), "=", Grid("products", products, "product"),
    ])  # fmt: skip


def channel_sums(channels, c: int) -> Grids | Table:
    """The partial sum of each input channel: all of them up to 32, else the largest."""
    if len(channels) <= 32:
        padded = np.pad(channels, (0, -len(channels) % 8))
        marks = np.full(padded.shape, "", object)
        marks[c] = "here"
        marks[len(channels) :] = "blank"
        return Grids([Grid(f"sum of each channel, 0 to {len(channels) - 1}, row by row", padded.reshape(-1, 8), "sum", marks.reshape(-1, 8))])
    order = np.argsort(-np.abs(channels), kind="stable")[:TOP]
    head = ["channel", *[str(k) for k in order], f"other {len(channels) - len(order)}"]
    rest = channels.sum() - channels[order].sum()
    return Table(head, [["sum", *[Num(channels[k], kind="sum") for k in order], Num(rest, kind="sum")]])


def spaced(values, kind: str) -> list:
    """Numbers with a space between each two."""
    return [part for value in values for part in (Num(float(value), kind=kind), " ")][:-1]


def relu_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F4, F7: the activation after a convolution."""
    stage = t.stages[step.stage]
    z, y = t.get(stage, "z"), t.get(stage, "y")
    i, j, f = v.place(cursor, y)
    r, s = max(i - 1, 0), max(j - 1, 0)
    box = np.s_[r : i + 2, s : j + 2, f]
    marks = np.full(z[box].shape, "", object)
    marks[i - r, j - s] = "here"
    name_z, name_y = stage.names["z"], stage.names["y"]
    parts = [
        Grids([Grid(f"{name_z} [{r}:,{s}:,{f}]", z[box], "signed", marks), "->", Grid(f"{name_y}, the same cells", y[box], marks=marks)]),
        Line(["here: z = ", v.num(t, name_z, (i, j, f), "total"), ", open" if z[i, j, f] > 0 else ", closed"]),
        v.total(t, name_y, (i, j, f), [max(0.0, z[i, j, f])], [Row("max(0, z)", Num(max(0.0, z[i, j, f]), kind="total"))], "forward"),
        Line(["closed cells: ", Num(100 * float(np.mean(z[..., f] <= 0)), kind="percent"), " of this map, ",
              Num(100 * float(np.mean(z <= 0)), kind="percent"), " of all ", Num(z.shape[-1], kind="count"), " maps"]),  # fmt: skip
    ]
    return View(
        step, f"{stage.layer.name}: {stage.layer.activation_name}", f"{v.letters(stage)['y']} = max(0, {v.letters(stage)['z']})" if is_relu(stage) else "a = softmax(z) over the channels",
        "Positive numbers pass (open), the others become 0 (closed). Without such a bend many layers could do no more than one.",
        cursor.but(cell=(i, j), filter=f), f"cell i={i} j={j}   filter f={f}   (marked with < >)", parts,
        Map(f"{name_y}, filter {f}", y[..., f], (i, j)), ReLU.forward, "np.maximum(x, 0)",
    )  # fmt: skip


def is_relu(stage) -> bool:
    """Whether this layer's activation is a ReLU."""
    return isinstance(getattr(stage.layer, "activation", None), ReLU)


def pool_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F5, F8: the largest number of each window, and which cell it was."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    y, x, winners = t[names["y"]], t[names["x"]], t[names["winners"]]
    i, j, f = v.place(cursor, y)
    values, marks, cells, ties = pool_window(t, stage, (i, j, f))
    du, dv = divmod(int(winners[i, j, f]), layer.pool_size[1])
    rows, columns = v.window_rows(layer, (i, j), layer.pool_size)
    source = names["x"]
    field = v.receptive_field(t, step.stage, (i, j))
    tie = "one cell alone is the largest" if ties == 1 else f"{ties} cells are equal: the first, row by row, wins alone"
    winner_row = Row(f"the winner {source}[{rows[du]},{columns[dv]},{f}]", v.num(t, source, (rows[du], columns[dv], f), "total"))
    parts = [
        Grids([Grid(f"{source} [{v.span(rows)},{v.span(columns)},{f}]", values, marks=marks), "-> max =",
               Grid(f"{names['y']}[{i},{j},{f}]", y[i : i + 1, j : j + 1, f], ref=v.ref(names["y"], (i, j, f)))]),
        Line(["winner: row ", Num(du, kind="count"), ", column ", Num(dv, kind="count"), " of its window; ", tie]),
        v.total(t, names["y"], (i, j, f), [x[rows[du], columns[dv], f]], [winner_row], "forward"),
        Line(["size: ", f"{x.shape[0]}x{x.shape[1]} becomes {y.shape[0]}x{y.shape[1]}, for each of {y.shape[2]} maps"]),
    ]  # fmt: skip
    if field:
        parts.append(Line([f"this cell sees rows {field[0]} to {field[1]} and columns {field[2]} to {field[3]} of the photo"]))
    return View(
        step, f"{layer.name}: max pooling", f"{v.letters(stage)['y'].replace('a', 'y')}[i,j,f] = MAX(u,v) {v.letters(stage)['x']}[{v.at_window(layer)}, f]",
        "Of each small window only the largest number goes on: what was found counts, not exactly where. Backward goes to that winner alone.",
        cursor.but(cell=(i, j), filter=f), f"output cell i={i} j={j}   map f={f} of 0..{y.shape[2] - 1}   [ ] is the winner", parts,
        Map(f"{names['y']}, map {f}", y[..., f], (i, j)), MaxPooling2D.forward, "max_pool(",
    )  # fmt: skip


def pool_window(t: Trace, stage, place) -> tuple:
    """(values, marks, [(row, column)] and how many tie) under one output cell of a pooling layer."""
    layer, (i, j, f) = stage.layer, place
    x = t.get(stage, "x")[..., f]
    rows, columns = v.window_rows(layer, (i, j), layer.pool_size)
    marks = v.outside(rows, columns, x.shape)
    values = np.array([[x[r, s] if marks[u, w] == "" else -np.inf for w, s in enumerate(columns)] for u, r in enumerate(rows)])
    ties = int((values == values.max()).sum())
    marks.reshape(-1)[int(t.get(stage, "winners")[i, j, f])] = "won"
    return np.where(np.isinf(values), 0, values), marks, [(r, s) for r in rows for s in columns], ties


def flatten_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F9: which number of the row is which cell of which map."""
    stage = t.stages[step.stage]
    x, y, names = t.get(stage, "x"), t.get(stage, "y"), stage.names
    n = v.largest(y)[0] if cursor.unit is None else v.clip((cursor.unit,), y.shape)[0]
    rows = []
    first = max(0, min(n - 2, len(y) - 5))
    for k in range(first, min(len(y), first + 5)):
        origin = tuple(int(i) for i in np.unravel_index(k, x.shape))
        rows.append([">" if k == n else "", Num(k, kind="count"), ", ".join(map(str, origin)), v.num(t, names["x"], origin), v.num(t, names["y"], (k,))])
    origin = tuple(int(i) for i in np.unravel_index(n, x.shape))
    if x.ndim == 3:
        formula = f"n = (r*{x.shape[1]} + s)*{x.shape[2]} + c"
        there = f"n = ({origin[0]}*{x.shape[1]} + {origin[1]})*{x.shape[2]} + {origin[2]} = {n}"
    else:
        formula, there = "the same numbers in one row", f"n = {n}"
    total = v.total(t, names["y"], (n,), [x[origin]], [Row(f"the same number, {v.ref(names['x'], origin)}", v.num(t, names["x"], origin, "total"))], "forward")
    return View(
        step, f"{stage.layer.name}: all maps in one row", formula,
        f"The {' x '.join(map(str, x.shape))} = {len(y)} numbers, written one after the other. Nothing is computed.",
        cursor.but(unit=n), there, [Table(["", "n", "r, s, c" if x.ndim == 3 else "place", names["x"], names["y"]], rows), total],
        code=Flatten.forward, needle="x.reshape(len(x), -1)",
    )  # fmt: skip


def dense_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F10: one unit as the sum of its terms, the largest first, each with the cell it comes from."""
    stage = t.stages[step.stage]
    layer, names = stage.layer, stage.names
    x, z, y, kernel = (t.get(stage, role) for role in ("x", "z", "y", "kernel"))
    u = v.largest(y)[0] if cursor.unit is None else v.clip((cursor.unit,), y.shape)[0]
    terms = x * kernel[:, u]
    table, row = term_table(t, step.stage, terms, names["x"], lambda n: Num(x[n], v.ref(names["x"], (n,))),
                            lambda n: v.num(t, names["kernel"], (n, u), "signed"), names["kernel"])  # fmt: skip
    zeros = int((x == 0).sum())
    rows, all_terms = [row], terms
    if layer.use_bias:
        all_terms = np.append(terms, t.get(stage, "bias")[u])
        rows.append(Row(f"+ bias {v.ref(names['bias'], (u,))}", v.num(t, names["bias"], (u,), "total")))
    parts = [table, v.total(t, names["z"], (u,), all_terms, rows, "forward")]
    if is_relu(stage):
        parts.append(Line([f"then ReLU: {names['y']}[{u}] = max(0, z) = ", v.num(t, names["y"], (u,), "total"),
                           "; units closed: ", Num(int((z <= 0).sum()), kind="count"), " of ", Num(len(z), kind="count")]))  # fmt: skip
    origin = v.flat_origin(t, step.stage, int(np.argmax(np.abs(terms))))
    field = v.receptive_field(t, step.stage - 2, origin[:2]) if origin and len(origin) == 3 and step.stage > 1 else None
    if field:
        parts.append(Line([f"the largest term saw rows {field[0]} to {field[1]}, columns {field[2]} to {field[3]} of the photo"]))
    return View(
        step, f"{layer.name}: one unit", "{z}[u] = {bias}[u] + SUM(n) {x}[n] * {kernel}[n,u]".format(**v.letters(stage)),
        f"Each unit weighs all {len(x)} numbers at once, for or against what it has learned to look for. {zeros} of them are 0 and add nothing.",
        cursor.but(unit=u), f"unit u={u} of 0..{len(z) - 1}; the {min(TOP, len(x))} largest of {len(x)} terms", parts, code=Dense.forward,
        needle='x @ self.params["kernel"]',
    )  # fmt: skip


def term_table(t: Trace, stage: int, terms, left: str, first, second, right: str, kind: str = "product") -> tuple[Table, Row]:
    """The largest terms of a long sum with their running sum, the rest in one line; and the row with the sum of all."""
    order = np.argsort(-np.abs(terms), kind="stable")[: min(TOP, len(terms))]
    running, rows = 0.0, []
    origins = v.flat_origin(t, stage, 0) is not None
    for n in order:
        running += terms[n]
        rows.append([Num(int(n), kind="count"), *([", ".join(map(str, v.flat_origin(t, stage, n)))] if origins else []), first(n), second(n),
                     Num(terms[n], kind=kind), Num(running, kind=kind)])  # fmt: skip
    rest = float(np.delete(terms, order).sum())
    others = len(terms) - len(order)
    if others:
        live = int((np.delete(terms, order) != 0).sum())
        rows.append(["rest", *([""] if origins else []), f"{live} terms", f"{others - live} zeros", Num(rest, kind=kind), Num(running + rest, kind=kind)])
    head = ["n", *(["r, s, c"] if origins else []), left, right, "product", "running sum"]
    shown = tuple(row[-2] for row in rows)
    return Table(head, rows), Row(f"sum of {len(terms)} products", Num(float(terms.sum()), kind="total" if kind == "product" else kind), shown)


def logits_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F11: one number for each class, before they become probabilities."""
    stage = t.stages[step.stage]
    x, z, kernel, names = t.get(stage, "x"), t.get(stage, "z"), t.get(stage, "kernel"), stage.names
    use_bias = stage.layer.use_bias
    rows = []
    for k in top_classes(z):
        mark = "<- largest" if k == t.predicted else "label" if k == t.label else ""
        dot = x @ kernel[:, k]
        bias = v.num(t, names["bias"], (k,), "total") if use_bias else "none"
        rows.append([Num(int(k), kind="count"), t.class_names[k], Num(dot, kind="total"), bias, v.num(t, names["z"], (k,), "total"), mark])
    u = t.predicted if cursor.unit is None else v.clip((cursor.unit,), z.shape)[0]
    terms = x * kernel[:, u]
    lines = [Row(f"sum of {len(x)} products for {t.class_names[u]}", Num(float(terms.sum()), kind="total"))]
    if use_bias:
        lines.append(Row(f"+ bias {v.ref(names['bias'], (u,))}", v.num(t, names["bias"], (u,), "total")))
        terms = np.append(terms, t.get(stage, "bias")[u])
    return View(
        step, f"{stage.layer.name}: one number for each class", "{z}[k] = {bias}[k] + SUM(u) {x}[u] * {kernel}[u,k]".format(**v.letters(stage)),
        f"Each class adds up the {len(x)} units with weights of its own. The largest number (logit) wins.",
        cursor.but(unit=u), f"class k={u}, {t.class_names[u]}",
        [Table(["k", "class", "dot product", "bias", names["z"], ""], rows), v.total(t, names["z"], (u,), terms, lines, "forward")],
        code=Dense.forward, needle='x @ self.params["kernel"]',
    )  # fmt: skip


def top_classes(z) -> list[int]:
    """All classes, in order; of more than twelve the ten with the largest numbers."""
    return list(range(len(z))) if len(z) <= 12 else sorted(int(k) for k in np.argsort(-z, kind="stable")[:10])


def softmax_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """F12: from logits to probabilities, and the loss."""
    logits = t.stages[-1].names["y"]
    z, p = t[logits], t["p"]
    e = np.exp(z - z.max())
    rows = []
    for k in top_classes(z):
        mark = " ".join([*(["label"] if k == t.label else []), *(["target"] if k == t.target else []), *(["answer"] if k == t.predicted else [])])
        numbers = [v.num(t, logits, (k,)), Num(z[k] - z.max(), kind="signed"), Num(e[k], kind="probability"), v.num(t, "p", (k,), "probability")]
        rows.append([Num(k, kind="count"), t.class_names[k], *numbers, mark])
    wanted = t.predicted if t.label is None else t.label
    loss = float(-np.log(p[wanted])) if p[wanted] > 0 else float(z.max() - z[wanted] + np.log(e.sum()))
    name = t.class_names[wanted]
    parts = [
        Table(["k", "class", "z", "z - max", "exp", "p", ""], rows),
        Line(["sum of exp = ", Num(float(e.sum()), kind="total"), "    sum of p = ", Num(float(p.sum()), kind="total")]),
        v.total(t, "p", (wanted,), [e[wanted] / e.sum()], [Row(f"exp / sum of exp, {name}", Num(e[wanted] / e.sum(), kind="total"))], "forward"),
        Line([f"loss = -log p[{name}] = ", Num(loss, kind="size"), f"        {name} is {'the answer' if t.label is None else 'the label'}"]),
    ]
    return View(
        step, "softmax and loss", "p[k] = exp(z[k] - max) / SUM exp        loss = -log p[label]",
        "exp makes all numbers positive, dividing by their sum turns them into probabilities. The loss is 0 if the right class has p = 1, and "
        "grows the less the network believed in it.",
        cursor, "", parts, code=Softmax.forward if t.label is None else _on_logits, needle="np.exp(",
    )  # fmt: skip


def through_view(t: Trace, step: Step, cursor: Cursor) -> View:
    """Layers without a view of their own, such as Dropout outside training or a ReLU by itself: in and out at one place."""
    stage = t.stages[step.stage]
    names, y, x = stage.names, t.get(stage, "y"), t.get(stage, "x")
    index = v.largest(y)
    parts = [v.total(t, names["y"], index, [y[index]], [Row("computed by the layer", v.num(t, names["y"], index, "total"))], "forward")]
    if x.shape == y.shape:
        parts.insert(0, Line([f"in:  {names['x']} = ", v.num(t, names["x"], index, "total")]))
    return View(step, f"{stage.layer.name}: {type(stage.layer).__name__}", (type(stage.layer).__doc__ or "").strip().splitlines()[0],
                "One number of this layer, where it is largest.", cursor, f"place {index} of {y.shape}", parts,
                code=type(stage.layer).forward)  # fmt: skip


VIEWS = {
    "input": input_view, "padding": padding_view, "conv": conv_view, "relu": relu_view, "pool": pool_view, "flatten": flatten_view,
    "dense": dense_view, "logits": logits_view, "softmax": softmax_view, "through": through_view,
}  # fmt: skip
