"""The steps of photo and maps: convolution, ReLU, pooling, forward and backward, and one step of learning."""

from typing import Any

import numpy as np

from cnn.explain import parts, voice
from cnn.explain.formulas import first_stage, kind_of, pads
from cnn.explain.parts import Grid, Grids, Line, Map, Num, Row, Table, count, gradient, line, nums, ref, span
from cnn.explain.terms import Terms, causes
from cnn.explain.trace import Stage, Trace, Update, update
from cnn.explain.views.scene import Scene, around, field_line, image, table_and_sum, window_cells

Array = np.ndarray
ROW = 8  # partial sums side by side
MANY = 32  # channels whose partial sums are all shown
NOTHING = Row("no window that it won", gradient(0.0))


def input(s: Scene) -> tuple:
    """F1: a pixel as the byte of the file and as the network's input."""
    t, x = s.t, image(s.t["x"], s.t)
    i, j, c = place = parts.place(s.cursor, x)
    at, scaled, marks = around(x, place)
    shown: list = [Grid("x, the same scaled", scaled, marks=marks, ref=f"x{at}")]
    if t.photo.dtype == np.uint8:
        bytes_ = Grid("bytes of the photo", around(image(t.photo, t), place)[1], "count", marks)
        shown = [bytes_, f"/ {s.words.text.rpartition(' ')[2]} =", *shown]
    index = place if t["x"].ndim == 3 else (int(np.ravel_multi_index(place, x.shape)),)
    here = "x at this pixel = {}     black pixels: {}"
    names = "names to come: W weights, b bias, z sum, a after ReLU, p pooled, f in one row; "
    names += "i, j row and column, f filter, c channel"
    found = [Grids(shown), line(here, parts.num(t, "x", index, "total"), parts.percent(x == 0)), line(names)]
    picture = Map("photo", x[..., c], (i, j), main=True)
    return s.cursor.but(cell=(i, j)), f"pixel i={i} j={j}, and its neighbours", found, picture


def padding(s: Scene) -> tuple:
    """F2: the zeros around the photo."""
    layer, x = s.stage.layer, s.get("x")
    top, bottom, left, right = around = pads(layer)
    sides, (kh, kw) = ((top, bottom), (left, right)), layer.kernel_size
    padded, outside = np.pad(x[..., 0], sides), np.pad(np.zeros(x.shape[:2], bool), sides, constant_values=True)
    row, column = edge(padded, outside, (kh + 1, kw + 3))
    part = np.s_[row : row + kh + 1, column : column + kw + 3]
    caption = f"x with its padding, from row {row - top}, column {column - left}"
    shown = Grid(caption, padded[part], marks=parts.marked(outside)[part])
    where = f"padding '{layer.padding}', kernel {kh}x{kw}, stride {layer.strides[0]}; "
    where += f"the padded photo is {padded.shape[0]} x {padded.shape[1]}; . is padding"
    zeros = line("zeros added:  top {}  bottom {}  left {}  right {}  ", *map(count, around))
    return s.cursor, where, [zeros, Grids([shown])], Map("photo", x[..., 0])


def edge(padded: np.ndarray, outside: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    """Where, of all pieces of this size that reach into the padding, the one begins in which most can be seen."""
    height, width = (min(pair) for pair in zip(size, padded.shape, strict=True))
    pieces = np.lib.stride_tricks.sliding_window_view(np.where(outside, 0.0, np.abs(padded)), (height, width))
    beyond = np.lib.stride_tricks.sliding_window_view(outside, (height, width)).any(axis=(2, 3))
    row, column = np.unravel_index(np.argmax(np.where(beyond, pieces.sum(axis=(2, 3)), -1.0)), beyond.shape)
    return int(row), int(column)


def conv(s: Scene) -> tuple:
    """F3, F6: one output cell: the products of one input channel, the sum of each channel, and all of them."""
    i, j, f = parts.place(s.cursor, s.get("y"))
    terms, z = s.terms(i=i, j=j, f=f), s.get("z")
    channels = terms.by("c")
    c, many = parts.one(s.cursor.channel, channels), len(channels)
    products, total = nums(terms.terms[..., c], "product"), Num(terms.terms.sum(), kind="total")
    more: Line | Grids | Table
    if many == 1:
        more = line("running sum" + " {}" * len(products), *nums(terms.terms.cumsum(), "sum"))
        rows = [Row(f"sum of {len(products)} products", total, products)]
    else:
        more = channel_sums(channels, c, s.of_terms(terms, c="{n}"))
        here = f"sum of these {len(products)} products, channel {c}"
        shown = nums(channels, "sum") if many <= MANY else ()
        rows = [Row(here, Num(channels[c], kind="total"), products)]
        rows.append(Row(f"all {many} channels, {terms.terms.size} products", total, shown))
    where = f"output cell i={i} j={j}   filter f={f} of 0..{z.shape[2] - 1}   input channel c={c} of 0..{many - 1}"
    picture = Map(f"{s.names['z']}, filter {f}", z[..., f], (i, j), signed=True)
    found = [conv_grids(s, terms, c), more, parts.summed(s.t, terms, *rows)]
    return s.cursor.but(cell=(i, j), filter=f, channel=c), where, found, picture


def conv_grids(s: Scene, terms: Terms, c: int) -> Grids:
    """The window times the filter gives the products, as three matrices."""
    (window, weights), kernel, at = terms.factors, s.names["kernel"], terms.at
    rows, columns = window_cells(s.stage.layer, (at["i"], at["j"]), s.stage.layer.kernel_size)
    chosen, name = f"[:,:,{c},{at['f']}]", f"{s.names['x']} [{span(rows)},{span(columns)},{c}]"
    products = s.of_terms(terms, c=c, u="{u}", v="{v}")
    x = Grid(name, window[..., c], marks=parts.marked(~terms.inside[..., c]))
    w = Grid(f"{kernel} {chosen}", weights[..., c], "signed", ref=kernel + chosen)
    return Grids([x, "x", w, "=", Grid("products", terms.terms[..., c], "product", ref=products)])


def channel_sums(channels: Array, c: int, name: str) -> Grids | Table:
    """The partial sum of each input channel: all of them up to 32, else the largest. name: what the n-th is called."""
    if len(channels) <= MANY:
        padded = np.pad(channels, (0, -len(channels) % ROW))
        marks = parts.here(padded.shape, (c,))
        marks[len(channels) :] = "blank"
        caption = f"sum of each channel, 0 to {len(channels) - 1}, row by row"
        return Grids([Grid(caption, padded.reshape(-1, ROW), "sum", marks.reshape(-1, ROW), name)])
    order = np.argsort(-np.abs(channels), kind="stable")[:6]
    numbers = [*channels[order], channels.sum() - channels[order].sum()]
    head = ["channel", *map(str, order), f"other {len(channels) - len(order)}"]
    return Table(head, [["sum", *nums(np.array(numbers), "sum")]])


def relu(s: Scene) -> tuple:
    """F4, F7: the activation after a convolution."""
    z, y, name = s.get("z"), s.get("y"), s.names["y"]
    i, j, f = place = parts.place(s.cursor, y)
    (at, before, marks), (_, after, _) = around(z, place), around(y, place)
    passed, opened = s.terms(i=i, j=j, f=f).result, "open" if z[place] > 0 else "closed"
    closed = parts.percent(z[..., f] <= 0), parts.percent(z <= 0), count(z.shape[-1])
    left, right = Grid(f"{s.names['z']} {at}", before, "signed", marks), Grid(f"{name}, the same", after, marks=marks)
    found = [
        Grids([left, "->", right]),
        line(f"here: z = {{}}, {opened}", s.num("z", place, "total")),
        s.total("y", place, [passed], Row("max(0, z)", Num(passed, kind="total"))),
        line("closed cells: {} of this map, {} of all {} maps", *closed),
    ]
    picture = Map(f"{name}, filter {f}", y[..., f], (i, j))
    return s.cursor.but(cell=(i, j), filter=f), f"cell i={i} j={j}   filter f={f}   (marked with < >)", found, picture


class Window:
    """The window of one output cell of a pooling layer: its cells, which won, and how many are as large.

    here: the cell of it that one looks at; by default the winner.
    """

    def __init__(self, t: Trace, stage: Stage, place: tuple[int, int, int], here: tuple[int, ...] | None = None):
        *cell, f = place
        x, shape = t.get(stage, "x")[..., f], stage.layer.pool_size
        self.rows, self.columns = window_cells(stage.layer, cell, shape)
        self.cells = [(r, c) for r in self.rows for c in self.columns]
        self.inside = np.array([0 <= r < x.shape[0] and 0 <= c < x.shape[1] for r, c in self.cells])
        values = np.array([x[one] if real else -np.inf for one, real in zip(self.cells, self.inside, strict=True)])
        self.won = int(t.get(stage, "winners")[place])
        self.winner = self.cells[self.won]
        self.ties = int((values == values.max()).sum())
        marks = parts.marked(~self.inside)
        self.here = (here[0], here[1]) if here and here[:2] in self.cells else self.winner
        marks[self.cells.index(self.here)] = "here"
        marks[self.won] = "won"
        caption = f"{stage.names['x']} [{span(self.rows)},{span(self.columns)},{f}]"
        values = np.where(self.inside, values, 0.0)
        self.grid = Grid(caption, values.reshape(shape), marks=marks.reshape(shape))


def pool(s: Scene) -> tuple:
    """F5, F8: the largest number of each window, and which cell it was."""
    x, y, name = s.get("x"), s.get("y"), s.names["y"]
    i, j, f = place = parts.place(s.cursor, y)
    window, largest = Window(s.t, s.stage, place, s.on_path), s.terms(i=i, j=j, f=f).result
    tie = f"{window.ties} cells are equal: the first, row by row, wins alone"
    tie = tie if window.ties > 1 else "one cell alone is the largest"
    at, winner, here = divmod(window.won, len(window.columns)), (*window.winner, f), s.ref("y", place)
    found = [
        Grids([window.grid, "-> max =", Grid(here, y[i : i + 1, j : j + 1, f], ref=here)]),
        line("winner: row {}, column {} of its window; " + tie, *map(count, at)),
        *lost_line(window, s.ref("x", (*window.here, f)), "does not go on"),
        s.total("y", place, [largest], Row(f"the winner {s.ref('x', winner)}", s.num("x", winner, "total"))),
        line(f"size: {x.shape[0]}x{x.shape[1]} becomes {y.shape[0]}x{y.shape[1]}, for each of {y.shape[2]} maps"),
        *field_line(s.t, s.words.step.stage, (i, j), "this cell"),
    ]
    where = f"output cell i={i} j={j}   map f={f} of 0..{y.shape[2] - 1}   [ ] is the winner"
    return s.cursor.but(cell=(i, j), filter=f), where, found, Map(f"{name}, map {f}", y[..., f], (i, j))


def lost_line(window: Window, cell: str, what: str) -> list[Line]:
    """What it means that the path's cell is not the winner; nothing where it is."""
    return [] if window.here == window.winner else [line("{} < > on the path lost: it " + what, cell)]


def pool_back(s: Scene) -> tuple:
    """B7, B10: the gradient goes to the winner of the window and to no other cell."""
    dx, name = s.get("dx"), s.names["dx"]
    i, j, f = parts.place(s.cursor, s.get("dy"))
    window = Window(s.t, s.stage, (i, j, f), s.on_path)
    r, c = window.here
    routed = [dx[(*cell, f)] if real else 0.0 for cell, real in zip(window.cells, window.inside, strict=True)]
    back = Grid(name, np.reshape(routed, window.grid.values.shape), "gradient", window.grid.marks)
    terms = s.terms(r=r, s=c, f=f)
    sources = [(*map(int, place), f) for place in np.argwhere(terms.inside & (terms.factors[1] > 0))]
    rows = [Row(s.ref("dy", k), s.num("dy", k, "gradient")) for k in sources]
    found = [Grids([window.grid, "gets", back]), parts.summed(s.t, terms, *(rows or [NOTHING]))]
    found += lost_line(window, s.ref("x", (r, c, f)), "gets nothing back from this window")
    if window.ties > 1:
        found.append(line(f"{window.ties} cells of this window are equal: the first, row by row, gets all"))
    found.append(line("slopes that are not 0: {} of {}", count(int(np.count_nonzero(dx))), count(dx.size)))
    where = f"window i={i} j={j}   map f={f}   winner: cell {window.winner}"
    picture = Map(f"{name}, map {f}", dx[..., f], (r, c), signed=True)
    return s.cursor.but(cell=(i, j), filter=f), where, found, picture


def conv_dkernel(s: Scene) -> tuple:
    """B8, B11: the gradient of one weight, added up over all places the filter stood."""
    u, w, c, f = weight = s.weight()
    terms = s.terms(u=u, v=w, c=c, f=f)
    products, live = terms.terms, int(np.count_nonzero(terms.terms))
    table, total = table_and_sum(s, terms)
    why = causes(s.t, s.words.step.stage, terms)
    zeros = ", ".join(f"{{}} {name}" for name in why)
    counts = map(count, [products.size - live, *why.values()])
    found = [table, line(f"{live} terms count, {{}} are 0: {zeros}", *counts), total]
    found += s.bias_line((f,), f"sum of all {s.names['dz']}[:,:,{f}]")
    where = f"weight u={u} v={w} c={c} f={f}   w = {s.num('kernel', weight, 'total').text()}   places "
    picture = Map(f"products, weight {u},{w},{c},{f}", products, None, signed=True)
    return s.cursor.but(weight=weight), where + "x".join(map(str, products.shape)), found, picture


def conv_dx(s: Scene) -> tuple:
    """B9: the gradient of one input cell, once as what the windows over it send back, once with the rotated filter."""
    layer, dx, names = s.stage.layer, s.get("dx"), s.names
    r, w, c = place = parts.place(s.cursor, dx, s.cursor.channel)
    terms = s.terms(r=r, s=w, c=c)
    sums, marks = scattered(terms, layer)
    windows, filters = int((marks == "").sum()), terms.terms.shape[-1]
    label = f"scatter: {windows} sums of {filters} products"
    rows = [Row(label, gradient(sums.sum()), nums(sums[marks == ""], "gradient"))]
    caption = f"scatter, by u and v: SUM(f) dz * W[u,v,{c},f] of each window"
    named = s.of_terms(terms, u="{u}", v="{v}") if layer.strides == (1, 1) else ""  # else the sentence runs over i, j
    found: list = [Grids([Grid(caption, sums, "gradient", marks, named)])]
    if layer.strides == (1, 1):
        gather = gathered(layer, s.get("dz"), s.get("kernel"), place)
        same = abs(gather.sum() - sums.sum()) <= voice.TOLERANCES["terms"] * max(terms.size, 1e-300)
        caption = f"gather: {names['dz']} around the cell x the filter rotated by 180 degrees"
        found.append(Grids([Grid(caption, gather, "gradient")]))
        rows.append(Row(f"gather, the rotated filter: {'the same' if same else 'DIFFERENT'}", gradient(gather.sum())))
    else:
        why = "a rotated filter needs zeros between the cells of dz: only the scatter is shown"
        found.append(line(f"with stride {layer.strides} {why}"))
    edge = "" if windows == sums.size else ": the cell lies at the edge, or between the windows"
    land = line(
        "{} products land on this cell, of at most {}" + edge, count(windows * filters), count(sums.size * filters)
    )
    found += [parts.summed(s.t, terms, *rows), land]
    picture = Map(f"{names['dx']}, channel {c}", dx[..., c], (r, w), signed=True)
    where = f"input cell r={r} s={w}   channel c={c} of 0..{dx.shape[2] - 1}"
    return s.cursor.but(cell=(r, w), channel=c), where, found, picture


def scattered(terms: Terms, layer: Any) -> tuple[Array, Array]:
    """The products that land on an input cell, summed by (u, v), the weight that a window laid on it; and marks."""
    sums, marks = np.zeros(layer.kernel_size), np.full(layer.kernel_size, "pad", object)
    for place in np.argwhere(terms.inside[..., 0]):
        _, (u, v, *_) = terms.entry(1, int(np.ravel_multi_index((*place, 0), terms.terms.shape)))
        sums[u, v], marks[u, v] = terms.terms[tuple(place)].sum(), ""
    return sums, marks


def gathered(layer: Any, dz: Array, kernel: Array, place: tuple[int, int, int]) -> Array:
    """With stride 1: dz, padded, under the filter turned by 180 degrees and laid around the cell; (kh, kw) sums."""
    (r, s, c), (top, bottom, left, right), (kh, kw) = place, pads(layer), layer.kernel_size
    around = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right), (0, 0))
    window = np.pad(dz, around)[r : r + kh, s : s + kw]
    return (window * kernel[::-1, ::-1, c]).sum(axis=2)


def input_gradient(s: Scene) -> tuple:
    """B12: what each pixel does to the loss; and one step for one weight, and for all."""
    t, stage, rate = s.t, s.t.stages[first_stage(s.t)], s.cursor.learning_rate
    dx, dkernel, chosen = image(t["dx"], t), t.get(stage, "dkernel"), s.cursor.weight
    r, w, c = parts.place(s.cursor, dx)
    index = parts.largest(dkernel) if chosen is None else parts.clip(chosen, dkernel.shape)
    found = update_parts(t, stage, index, update(t, stage, index, rate))
    if kind_of(t.stages[0]) == "conv":
        terms = s.terms(r=r, s=w, c=c)
        label = f"a brighter pixel: {int(terms.inside.sum())} products"
        found.insert(0, parts.summed(t, terms, label=label))
    name = ref(stage.names["kernel"], index)
    where = f"pixel r={r} s={w}   weight {name}   this photo alone, learning rate {rate:g}"
    picture = Map("dx: + brighter raises the loss", dx[..., c], (r, w), signed=True)
    return s.cursor.but(cell=(r, w), weight=index), where, found, picture


def update_parts(t: Trace, stage: Stage, index: tuple[int, ...], taken: Update) -> list:
    """The new weight, and the loss before and after: with this weight moved, with all."""
    name, lower = ref(stage.names["kernel"], index), taken.loss_one < taken.loss
    rate, slope = Num(taken.learning_rate, kind="rate"), parts.num(t, stage.names["dkernel"], index)
    before, one, every = nums(np.array([taken.loss, taken.loss_one, taken.loss_all]), "loss")
    weights = sum(other.layer.count_params() for other in t.stages)
    rows: list[list] = [["w", Num(taken.w, name, "loss")], ["- learning rate x slope", line("{} x {}", rate, slope)]]
    rows.append(["= new w", Num(taken.new_w, kind="loss")])
    better = "lower" if lower else "not lower: the step was too long, or the slope is 0"
    gained, foretold = gradient(taken.loss - taken.loss_one), gradient(taken.learning_rate * taken.gradient**2)
    said = line(f"one weight: loss {better}, by {{}}; foretold by rate x slope^2: {{}}", gained, foretold)
    losses: list[list] = [["this weight alone moves", before, one], [f"all {weights:,} weights move", before, every]]
    advice = [] if lower else [line("(try a smaller learning rate with --learning-rate, or another weight)")]
    return [Table(["one weight", name], rows), Table(["loss", "before", "after"], losses), said, *advice]
