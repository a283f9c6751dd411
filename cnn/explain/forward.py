"""What the forward steps of photo and maps show. Every function is view(trace, step, cursor) -> View."""

import numpy as np

from cnn.explain import view as v
from cnn.explain.trace import Trace
from cnn.explain.view import Cursor, Grid, Grids, Map, Num, Row, Step, Table, View, count, grids, line, percent
from cnn.layers import Conv2D, MaxPooling2D, ReLU

ONE_CHANNEL = (
    "A filter is a small table of weights. Each number under it is multiplied by its weight; all products are added. "
    "Large means: here the photo looks like the filter."
)
ALL_CHANNELS = "This filter looks at all {0} maps of the layer before at once: {0} small tables of weights, one sum."
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
        step,
        "the photo",
        "x[i,j] = byte / 255" if t.photo.dtype == np.uint8 else "x[i,j] as given",
        "A photo is a table of numbers. Here they go from 0 (black) to 1 (white).",
        cursor.but(cell=(i, j)),
        f"pixel i={i} j={j}, and its neighbours",
        [
            Grids(grids),
            line("x at this pixel = ", v.num(t, "x", index, "total"), "     black pixels: ", percent(100 * black)),
            line(
                "names to come: W weights, b bias, z sum, a after ReLU, p pooled, f in one row; i, j row and column, f "
                "filter, c channel"
            ),
        ],
        Map("photo", x[..., c], (i, j), main=True),
    )


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
    counts = [
        part for name, n in zip(sides, (top, bottom, left, right), strict=True) for part in (name, count(n), "  ")
    ]
    return View(
        step,
        f"padding for {layer.name}",
        f"padding = '{layer.padding}', kernel {size[0]}x{size[1]}, stride {layer.strides[0]}",
        "Zeros around the photo let the filter stand on its edge too, so the result stays as large. Of an odd "
        "number the smaller half "
        "comes first.",
        cursor,
        f"upper left corner; the padded photo is {padded.shape[0]} x {padded.shape[1]}; . is padding",
        [line("zeros added:  ", *counts), grids(Grid("xpad, upper left", padded[corner], marks=marks[corner]))],
        Map("photo", x[..., 0]),
        v.place_windows,
        "window_geometry(input_shape[0]",
    )


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
    parts = [conv_grids(stage, window[..., c], weights[..., c], products[..., c], marks, c, f, rows, columns)]
    if len(channels) == 1:
        parts.append(line("running sum ", *spaced(np.cumsum(products), "sum")))
        say = ONE_CHANNEL
    else:
        parts.append(channel_sums(channels, c))
        say = ALL_CHANNELS.format(len(channels))
    summed, terms = conv_rows(products, channels, c), products
    if layer.use_bias:
        terms = np.append(products, t[names["bias"]][f])
        summed.append(Row(f"+ bias {v.ref(names['bias'], (f,))}", v.num(t, names["bias"], (f,), "total")))
    parts.append(v.total(t, names["z"], (i, j, f), terms, summed, "forward"))
    name, padded = v.letters(stage), "pad" if sum(v.pads(layer)) else ""
    start = f"{name['bias']}[f] + " if layer.use_bias else ""
    formula = f"{name['z']}[i,j,f] = {start}SUM(u,v,c) {name['x']}{padded}[{v.at_window(layer)}, c] * {name['kernel']}[u,v,c,f]"
    return View(
        step,
        f"{layer.name}: one cell of the convolution",
        formula,
        say,
        cursor.but(cell=(i, j), filter=f, channel=c),
        f"output cell i={i} j={j}   filter f={f} of 0..{kernel.shape[3] - 1}   input channel c={c} of 0..{len(channels) - 1}",
        parts,
        Map(f"{names['z']}, filter {f}", z[..., f], (i, j), signed=True),
        Conv2D.forward,
        "@ kernel",
    )


def conv_rows(products, channels, c: int) -> list[Row]:
    """The sum of the products that are shown; of several channels the sum of all."""
    shown = tuple(Num(value, kind="product") for value in products[..., c].flat)
    if len(channels) == 1:
        return [Row(f"sum of {products.size} products", Num(products.sum(), kind="total"), shown)]
    own = Row(f"sum of these {len(shown)} products, channel {c}", Num(channels[c], kind="total"), shown)
    sums = tuple(Num(value, kind="sum") for value in channels) if len(channels) <= 32 else ()
    return [
        own,
        Row(f"all {len(channels)} channels, {products.size} products", Num(products.sum(), kind="total"), sums),
    ]


def conv_grids(stage, window, weights, products, marks, c, f, rows, columns) -> Grids:
    """The window times the filter gives the products, as three matrices."""
    source, kernel = stage.names["x"], stage.names["kernel"]
    return grids(
        Grid(f"{source} [{v.span(rows)},{v.span(columns)},{c}]", window, marks=marks),
        "x",
        Grid(f"{kernel} [:,:,{c},{f}]", weights, "signed", ref=f"{kernel}[:,:,{c},{f}]"),
        "=",
        Grid("products", products, "product"),
    )


def channel_sums(channels, c: int) -> Grids | Table:
    """The partial sum of each input channel: all of them up to 32, else the largest."""
    if len(channels) <= 32:
        padded = np.pad(channels, (0, -len(channels) % 8))
        marks = np.full(padded.shape, "", object)
        marks[c] = "here"
        marks[len(channels) :] = "blank"
        return grids(
            Grid(
                f"sum of each channel, 0 to {len(channels) - 1}, row by row",
                padded.reshape(-1, 8),
                "sum",
                marks.reshape(-1, 8),
            )
        )
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
    before = Grid(f"{name_z} [{r}:,{s}:,{f}]", z[box], "signed", marks)
    after = Grid(f"{name_y}, the same cells", y[box], marks=marks)
    passed = max(0.0, z[i, j, f])
    closed = [percent(100 * float(np.mean(part <= 0))) for part in (z[..., f], z)]
    parts = [
        grids(before, "->", after),
        line("here: z = ", v.num(t, name_z, (i, j, f), "total"), ", open" if z[i, j, f] > 0 else ", closed"),
        v.total(t, name_y, (i, j, f), [passed], [Row("max(0, z)", Num(passed, kind="total"))], "forward"),
        line("closed cells: ", closed[0], " of this map, ", closed[1], " of all ", count(z.shape[-1]), " maps"),
    ]
    return View(
        step,
        f"{stage.layer.name}: {stage.layer.activation_name}",
        f"{v.letters(stage)['y']} = max(0, {v.letters(stage)['z']})"
        if is_relu(stage)
        else "a = softmax(z) over the channels",
        "Positive numbers pass (open), the others become 0 (closed). Without such a bend many layers could do no more than one.",
        cursor.but(cell=(i, j), filter=f),
        f"cell i={i} j={j}   filter f={f}   (marked with < >)",
        parts,
        Map(f"{name_y}, filter {f}", y[..., f], (i, j)),
        ReLU.forward,
        "np.maximum(x, 0)",
    )


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
    winner_row = Row(
        f"the winner {source}[{rows[du]},{columns[dv]},{f}]", v.num(t, source, (rows[du], columns[dv], f), "total")
    )
    parts = [
        grids(
            Grid(f"{source} [{v.span(rows)},{v.span(columns)},{f}]", values, marks=marks),
            "-> max =",
            Grid(f"{names['y']}[{i},{j},{f}]", y[i : i + 1, j : j + 1, f], ref=v.ref(names["y"], (i, j, f))),
        ),
        line("winner: row ", count(du), ", column ", count(dv), " of its window; ", tie),
        v.total(t, names["y"], (i, j, f), [x[rows[du], columns[dv], f]], [winner_row], "forward"),
        line("size: ", f"{x.shape[0]}x{x.shape[1]} becomes {y.shape[0]}x{y.shape[1]}, for each of {y.shape[2]} maps"),
    ]
    if field:
        parts.append(
            line(f"this cell sees rows {field[0]} to {field[1]} and columns {field[2]} to {field[3]} of the photo")
        )
    return View(
        step,
        f"{layer.name}: max pooling",
        f"{v.letters(stage)['y'].replace('a', 'y')}[i,j,f] = MAX(u,v) {v.letters(stage)['x']}[{v.at_window(layer)}, f]",
        "Of each small window only the largest number goes on: what was found counts, not exactly where. Backward "
        "goes to that winner alone.",
        cursor.but(cell=(i, j), filter=f),
        f"output cell i={i} j={j}   map f={f} of 0..{y.shape[2] - 1}   [ ] is the winner",
        parts,
        Map(f"{names['y']}, map {f}", y[..., f], (i, j)),
        MaxPooling2D.forward,
        "max_pool(",
    )


def pool_window(t: Trace, stage, place) -> tuple:
    """(values, marks, [(row, column)] and how many tie) under one output cell of a pooling layer."""
    layer, (i, j, f) = stage.layer, place
    x = t.get(stage, "x")[..., f]
    rows, columns = v.window_rows(layer, (i, j), layer.pool_size)
    marks = v.outside(rows, columns, x.shape)
    values = np.array(
        [[x[r, s] if marks[u, w] == "" else -np.inf for w, s in enumerate(columns)] for u, r in enumerate(rows)]
    )
    ties = int((values == values.max()).sum())
    marks.reshape(-1)[int(t.get(stage, "winners")[i, j, f])] = "won"
    return np.where(np.isinf(values), 0, values), marks, [(r, s) for r in rows for s in columns], ties


VIEWS = {"input": input_view, "padding": padding_view, "conv": conv_view, "relu": relu_view, "pool": pool_view}
