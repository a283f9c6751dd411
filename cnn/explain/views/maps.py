"""The steps of photo and maps: convolution, ReLU, pooling, forward and backward, and one step of learning."""

from typing import Any

import numpy as np

from cnn.explain import parts, voice
from cnn.explain.formulas import first_stage, kind_of, pads
from cnn.explain.parts import Grid, Grids, Line, Map, Num, Row, Sum, Table, count, gradient, grids, line, ref, span
from cnn.explain.terms import Terms, causes
from cnn.explain.trace import Stage, Trace, Update, update
from cnn.explain.views.scene import Scene, field_line, image, table_sum, term_table, window_cells

Array = np.ndarray
ROW = 8  # partial sums side by side
MANY = 32  # channels whose partial sums are all shown


def photo(s: Scene) -> tuple:
    """F1: a pixel as the byte of the file and as the network's input."""
    t, x = s.t, image(s.t["x"], s.t)
    i, j, c = parts.place(s.cursor, x)
    box = np.s_[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
    marks = parts.here(x[box].shape[:2], (min(i, 1), min(j, 1)))
    shown: list = [
        Grid("x, the same scaled", x[box][..., c], marks=marks, ref=f"x[{box[0].start}:,{box[1].start}:,{c}]")
    ]
    if t.photo.dtype == np.uint8:
        scale = s.words.text.rpartition(" ")[2]
        shown = [Grid("bytes of the photo", image(t.photo, t)[box][..., c], "count", marks), f"/ {scale} =", *shown]
    index = (i, j, c) if t["x"].ndim == 3 else (int(np.ravel_multi_index((i, j, c), x.shape)),)
    here = line("x at this pixel = ", parts.num(t, "x", index, "total"), "     black pixels: ", parts.percent(x == 0))
    names = line(
        "names to come: W weights, b bias, z sum, a after ReLU, p pooled, f in one row; i, j row and column, f filter, "
        "c channel"
    )
    picture = Map("photo", x[..., c], (i, j), main=True)
    return s.cursor.but(cell=(i, j)), f"pixel i={i} j={j}, and its neighbours", [Grids(shown), here, names], picture


def padding(s: Scene) -> tuple:
    """F2: the zeros around the photo."""
    layer, x = s.stage.layer, s.get("x")
    top, bottom, left, right = pads(layer)
    around = ((top, bottom), (left, right))
    padded, outside = np.pad(x[..., 0], around), np.pad(np.zeros(x.shape[:2], bool), around, constant_values=True)
    (kh, kw), sides = layer.kernel_size, zip(("top", "bottom", "left", "right"), pads(layer), strict=True)
    zeros = line("zeros added:  ", *[part for name, n in sides for part in (f"{name} ", count(n), "  ")])
    corner = np.s_[: kh + 1, : kw + 3]
    shown = grids(Grid("x with its padding, upper left", padded[corner], marks=parts.marked(outside)[corner]))
    where = f"padding '{layer.padding}', kernel {kh}x{kw}, stride {layer.strides[0]}; "
    where += f"the padded photo is {padded.shape[0]} x {padded.shape[1]}; . is padding"
    return s.cursor, where, [zeros, shown], Map("photo", x[..., 0])


def conv(s: Scene) -> tuple:
    """F3, F6: one output cell: the products of one input channel, the sum of each channel, and all of them."""
    i, j, f = parts.place(s.cursor, s.get("y"))
    terms = s.terms(i=i, j=j, f=f)
    channels = terms.by("c")
    c = parts.one(s.cursor.channel, channels)
    products = tuple(Num(value, kind="product") for value in terms.terms[..., c].flat)
    rows = []
    more: Line | Grids | Table
    if len(channels) == 1:
        running = np.cumsum(terms.terms)
        more = line("running sum ", *[part for value in running for part in (Num(value, kind="sum"), " ")][:-1])
        rows.append(Row(f"sum of {len(products)} products", Num(terms.terms.sum(), kind="total"), products))
    else:
        more = channel_sums(channels, c, s.of_terms(terms, c="{n}"))
        shown = tuple(Num(value, kind="sum") for value in channels) if len(channels) <= MANY else ()
        rows.append(
            Row(f"sum of these {len(products)} products, channel {c}", Num(channels[c], kind="total"), products)
        )
        words = f"all {len(channels)} channels, {terms.terms.size} products"
        rows.append(Row(words, Num(terms.terms.sum(), kind="total"), shown))
    z = s.get("z")
    where = (
        f"output cell i={i} j={j}   filter f={f} of 0..{z.shape[2] - 1}   input channel c={c} of 0..{len(channels) - 1}"
    )
    picture = Map(f"{s.names['z']}, filter {f}", z[..., f], (i, j), signed=True)
    found = [conv_grids(s, terms, c), more, parts.summed(s.t, terms, rows)]
    return s.cursor.but(cell=(i, j), filter=f, channel=c), where, found, picture


def conv_grids(s: Scene, terms: Terms, c: int) -> Grids:
    """The window times the filter gives the products, as three matrices."""
    (window, weights), (x, kernel), at = terms.factors, (s.names["x"], s.names["kernel"]), terms.at
    rows, columns = window_cells(s.stage.layer, (at["i"], at["j"]), s.stage.layer.kernel_size)
    marks = parts.marked(~terms.inside[..., c])
    return grids(
        Grid(f"{x} [{span(rows)},{span(columns)},{c}]", window[..., c], marks=marks),
        "x",
        Grid(f"{kernel} [:,:,{c},{at['f']}]", weights[..., c], "signed", ref=f"{kernel}[:,:,{c},{at['f']}]"),
        "=",
        Grid("products", terms.terms[..., c], "product", ref=s.of_terms(terms, c=c, u="{u}", v="{v}")),
    )


def channel_sums(channels: Array, c: int, name: str) -> Grids | Table:
    """The partial sum of each input channel: all of them up to 32, else the largest. name: what the n-th is called."""
    if len(channels) <= MANY:
        padded = np.pad(channels, (0, -len(channels) % ROW))
        marks = parts.here(padded.shape, (c,))
        marks[len(channels) :] = "blank"
        caption = f"sum of each channel, 0 to {len(channels) - 1}, row by row"
        return grids(Grid(caption, padded.reshape(-1, ROW), "sum", marks.reshape(-1, ROW), name))
    order = np.argsort(-np.abs(channels), kind="stable")[:6]
    numbers = [*channels[order], channels.sum() - channels[order].sum()]
    head = ["channel", *map(str, order), f"other {len(channels) - len(order)}"]
    return Table(head, [["sum", *[Num(float(value), kind="sum") for value in numbers]]])


def relu(s: Scene) -> tuple:
    """F4, F7: the activation after a convolution."""
    z, y, name_z, name_y = s.get("z"), s.get("y"), s.names["z"], s.names["y"]
    i, j, f = parts.place(s.cursor, y)
    r, c = max(i - 1, 0), max(j - 1, 0)
    box = np.s_[r : i + 2, c : j + 2, f]
    marks = parts.here(z[box].shape, (i - r, j - c))
    before, after = (
        Grid(f"{name_z} [{r}:,{c}:,{f}]", z[box], "signed", marks),
        Grid(f"{name_y}, the same", y[box], marks=marks),
    )
    passed = s.terms(i=i, j=j, f=f).result
    found = [
        grids(before, "->", after),
        line("here: z = ", s.num("z", (i, j, f), "total"), ", open" if z[i, j, f] > 0 else ", closed"),
        parts.total(s.t, name_y, (i, j, f), [passed], [Row("max(0, z)", Num(passed, kind="total"))]),
        line(
            "closed cells: ",
            parts.percent(z[..., f] <= 0),
            " of this map, ",
            parts.percent(z <= 0),
            " of all ",
            count(z.shape[-1]),
            " maps",
        ),
    ]
    picture = Map(f"{name_y}, filter {f}", y[..., f], (i, j))
    return s.cursor.but(cell=(i, j), filter=f), f"cell i={i} j={j}   filter f={f}   (marked with < >)", found, picture


class Window:
    """The window of one output cell of a pooling layer: its cells, which won, and how many are as large."""

    def __init__(self, t: Trace, stage: Stage, place: tuple[int, int, int]):
        *cell, f = place
        self.rows, self.columns = window_cells(stage.layer, cell, stage.layer.pool_size)
        x = t.get(stage, "x")[..., f]
        self.cells = [(r, c) for r in self.rows for c in self.columns]
        inside = np.array([0 <= r < x.shape[0] and 0 <= c < x.shape[1] for r, c in self.cells])
        values = np.array([x[one] if real else -np.inf for one, real in zip(self.cells, inside, strict=True)])
        self.won = int(t.get(stage, "winners")[place])
        self.winner = self.cells[self.won]
        self.ties = int((values == values.max()).sum())
        marks = parts.marked(~inside)
        marks[self.won] = "won"
        shape = len(self.rows), len(self.columns)
        self.inside, self.marks = inside.reshape(shape), marks.reshape(shape)
        self.values = np.where(inside, values, 0.0).reshape(shape)
        self.caption = f"{stage.names['x']} [{span(self.rows)},{span(self.columns)},{f}]"


def pool(s: Scene) -> tuple:
    """F5, F8: the largest number of each window, and which cell it was."""
    x, y, name = s.get("x"), s.get("y"), s.names["y"]
    i, j, f = parts.place(s.cursor, y)
    window = Window(s.t, s.stage, (i, j, f))
    largest = s.terms(i=i, j=j, f=f).result
    tie = "one cell alone is the largest"
    tie = tie if window.ties == 1 else f"{window.ties} cells are equal: the first, row by row, wins alone"
    row, column = divmod(window.won, len(window.columns))
    winner = (*window.winner, f)
    found = [
        grids(
            Grid(window.caption, window.values, marks=window.marks),
            "-> max =",
            Grid(f"{name}[{i},{j},{f}]", y[i : i + 1, j : j + 1, f], ref=ref(name, (i, j, f))),
        ),
        line("winner: row ", count(row), ", column ", count(column), " of its window; ", tie),
        parts.total(
            s.t,
            name,
            (i, j, f),
            [largest],
            [Row(f"the winner {ref(s.names['x'], winner)}", s.num("x", winner, "total"))],
        ),
        line(f"size: {x.shape[0]}x{x.shape[1]} becomes {y.shape[0]}x{y.shape[1]}, for each of {y.shape[2]} maps"),
        *field_line(s.t, s.words.step.stage, (i, j), "this cell"),
    ]
    where = f"output cell i={i} j={j}   map f={f} of 0..{y.shape[2] - 1}   [ ] is the winner"
    return s.cursor.but(cell=(i, j), filter=f), where, found, Map(f"{name}, map {f}", y[..., f], (i, j))


def pool_back(s: Scene) -> tuple:
    """B7, B10: the gradient goes to the winner of the window and to no other cell."""
    dy, dx, names = s.get("dy"), s.get("dx"), s.names
    i, j, f = parts.place(s.cursor, dy)
    window = Window(s.t, s.stage, (i, j, f))
    r, c = window.winner
    routed = [dx[(*cell, f)] if real else 0.0 for cell, real in zip(window.cells, window.inside.flat, strict=True)]
    terms = s.terms(r=r, s=c, f=f)
    sources = [tuple(map(int, place)) for place in np.argwhere(terms.inside & (terms.factors[1] > 0))]
    rows = [Row(ref(names["dy"], (*k, f)), s.num("dy", (*k, f), "gradient")) for k in sources]
    tie = f"{window.ties} cells of this window are equal: the first, row by row, gets all"
    found = [
        grids(
            Grid(window.caption, window.values, marks=window.marks),
            "gets",
            Grid(names["dx"], np.reshape(routed, window.values.shape), "gradient", window.marks),
        ),
        parts.summed(s.t, terms, rows),
        *([line(tie)] if window.ties > 1 else []),
        line("gradients that are not 0: ", count(int(np.count_nonzero(dx))), " of ", count(dx.size)),
    ]
    where = f"window i={i} j={j}   map f={f}   winner: cell ({r}, {c})"
    picture = Map(f"{names['dx']}, map {f}", dx[..., f], (r, c), signed=True)
    return s.cursor.but(cell=(i, j), filter=f), where, found, picture


def conv_kernel(s: Scene) -> tuple:
    """B8, B11: the gradient of one weight, added up over all places the filter stood."""
    dkernel, names = s.get("dkernel"), s.names
    u, w, c, f = parts.largest(dkernel) if s.cursor.weight is None else parts.clip(s.cursor.weight, dkernel.shape)
    terms = s.terms(u=u, v=w, c=c, f=f)
    products = terms.terms
    table, live = term_table(s, terms), int(np.count_nonzero(products))
    found = [
        table,
        line(
            f"{live} terms count, ",
            count(products.size - live),
            " are 0: ",
            *cause_words(causes(s.t, s.words.step.stage, terms)),
        ),
        parts.summed(s.t, terms, [Row(f"sum of {products.size} products", gradient(products.sum()), table_sum(table))]),
    ]
    if s.stage.layer.use_bias:
        found.append(
            line(f"bias: {ref(names['dbias'], (f,))} = sum of all {names['dz']}[:,:,{f}] = ", s.num("dbias", (f,)))
        )
    where = f"weight u={u} v={w} c={c} f={f}   w = {voice.number(s.get('kernel')[u, w, c, f], 'total')}   places "
    picture = Map(f"products, weight {u},{w},{c},{f}", products, None, signed=True)
    return s.cursor.but(weight=(u, w, c, f)), where + "x".join(map(str, products.shape)), found, picture


def cause_words(found: dict[str, int]) -> list:
    """9 ReLU closed, 138 lost the pool"""
    pieces = [[", ", count(number), f" {name}"] for name, number in found.items()]
    return [part for piece in pieces for part in piece][1:]


def conv_input(s: Scene) -> tuple:
    """B9: the gradient of one input cell, once as what the windows over it send back, once with the rotated filter."""
    layer, dx, names = s.stage.layer, s.get("dx"), s.names
    r, w, c = parts.place(s.cursor, dx, s.cursor.channel)
    terms = s.terms(r=r, s=w, c=c)
    sums, marks = scattered(terms, layer)
    windows, filters = int((marks == "").sum()), terms.terms.shape[-1]
    shown = tuple(gradient(value) for value in sums[marks == ""])
    rows = [Row(f"scatter: {windows} sums of {filters} products", gradient(sums.sum()), shown)]
    caption = f"scatter, by u and v: SUM(f) dz * W[u,v,{c},f] of each window"
    found: list = [grids(Grid(caption, sums, "gradient", marks, s.of_terms(terms, u="{u}", v="{v}")))]
    if layer.strides == (1, 1):
        gather = gathered(layer, s.get("dz"), s.get("kernel"), (r, w, c))
        same = abs(gather.sum() - sums.sum()) <= voice.TOLERANCES["terms"] * max(terms.size, 1e-300)
        found.append(
            grids(
                Grid(f"gather: {names['dz']} around the cell x the filter rotated by 180 degrees", gather, "gradient")
            )
        )
        rows.append(Row(f"gather, the rotated filter: {'the same' if same else 'DIFFERENT'}", gradient(gather.sum())))
    else:
        why = "a rotated filter needs zeros between the cells of dz: only the scatter is shown"
        found.append(line(f"with stride {layer.strides} {why}"))
    edge = "" if windows == sums.size else ": the cell lies at the edge, or between the windows"
    found.append(parts.total(s.t, names["dx"], (r, w, c), terms.terms, rows))
    found.append(
        line(count(windows * filters), " products land on this cell, of at most ", count(sums.size * filters), edge)
    )
    picture = Map(f"{names['dx']}, channel {c}", dx[..., c], (r, w), signed=True)
    return (
        s.cursor.but(cell=(r, w), channel=c),
        f"input cell r={r} s={w}   channel c={c} of 0..{dx.shape[2] - 1}",
        found,
        picture,
    )


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


def learning(s: Scene) -> tuple:
    """B12: what each pixel does to the loss; and one step for one weight, and for all."""
    t, stage, rate = s.t, s.t.stages[first_stage(s.t)], s.cursor.learning_rate
    dx, dkernel, name = image(t["dx"], t), t.get(stage, "dkernel"), stage.names["kernel"]
    r, w, c = parts.place(s.cursor, dx)
    index = parts.largest(dkernel) if s.cursor.weight is None else parts.clip(s.cursor.weight, dkernel.shape)
    found = [*pixel_sum(s, (r, w, c)), *update_parts(t, stage, index, update(t, stage, index, rate))]
    where = f"pixel r={r} s={w}   weight {ref(name, index)}   this photo alone, learning rate {rate:g}"
    picture = Map("dx: + brighter raises the loss", dx[..., c], (r, w), signed=True)
    return s.cursor.but(cell=(r, w), weight=index), where, found, picture


def pixel_sum(s: Scene, place: tuple[int, int, int]) -> list[Sum]:
    """Where the first layer is a convolution: the products that land on this pixel."""
    if kind_of(s.t.stages[0]) != "conv":
        return []
    terms = s.terms(**dict(zip("rsc", place, strict=True)))
    label = f"a brighter pixel: {int(terms.inside.sum())} products"
    return [parts.total(s.t, "dx", place, terms.terms, [Row(label, gradient(float(terms.terms.sum())))])]


def update_parts(t: Trace, stage: Stage, index: tuple[int, ...], taken: Update) -> list:
    """The new weight, and the loss before and after: with this weight moved, with all."""
    name, lower = ref(stage.names["kernel"], index), taken.loss_one < taken.loss
    rate, slope = Num(taken.learning_rate, kind="rate"), parts.num(t, stage.names["dkernel"], index)
    before, one, every = (Num(loss, kind="loss") for loss in (taken.loss, taken.loss_one, taken.loss_all))
    weights = sum(other.layer.count_params() for other in t.stages)
    rows: list[list] = [
        ["w", Num(taken.w, name, "loss")],
        ["- learning rate x gradient", line(rate, " x ", slope)],
        ["= new w", Num(taken.new_w, kind="loss")],
    ]
    better = "lower" if lower else "not lower: the step was too long, or the gradient is 0"
    foretold = gradient(taken.learning_rate * taken.gradient**2)
    gained = gradient(taken.loss - taken.loss_one)
    said = line(f"one weight: loss {better}, by ", gained, "; foretold by rate x gradient^2: ", foretold)
    losses: list[list] = [["this weight alone moves", before, one], [f"all {weights:,} weights move", before, every]]
    advice = [] if lower else [line("(try a smaller learning rate with --learning-rate, or another weight)")]
    return [Table(["one weight", name], rows), Table(["loss", "before", "after"], losses), said, *advice]


VIEWS = {
    "input": photo,
    "padding": padding,
    "conv": conv,
    "relu": relu,
    "pool": pool,
    "pool-back": pool_back,
    "conv-dkernel": conv_kernel,
    "conv-dx": conv_input,
    "input-gradient": learning,
}
