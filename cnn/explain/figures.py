"""The fifteen pictures of the step-through. Each function takes (trace, test set) and returns (figure, the data drawn).

`missing` says which of them a network has nothing for.

What cnn.plots draws already is taken from there; the data beside it are the trace's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnn import article, optimizers, photos, plots
from cnn.checks import known
from cnn.explain import voice
from cnn.explain.chain import looked_at
from cnn.explain.formulas import Step, find_step, first_stage, has_step, kind_of, steps
from cnn.explain.parts import Grid, Grids, View
from cnn.explain.terms import Tensors, causes, evaluate
from cnn.explain.trace import Trace, is_relu, loss_and_gradient, run_backward, run_forward
from cnn.explain.views import beside, show
from cnn.explain.views.maps import Window
from cnn.explain.views.rows import place_in_row
from cnn.explain.views.scene import window_cells
from cnn.photos import comparison
from cnn.plots import concepts
from cnn.plots.concepts import Matrix, frame
from cnn.plots.style import BLUE, DIVERGING, GREY, INK, ORANGE, PALE, bare, new_figure, open_axes
from kernels.geometry import window_geometry

Test = tuple[np.ndarray, np.ndarray]
Result = tuple[Figure, dict]
COMPARED = 1000  # photos for the shift curves: enough for a picture; `cnn compare` takes all
STEPS = 30  # of gradient descent on one photo


def step_of(t: Trace, kind: str) -> Step:
    """The first step of this kind."""
    return next(step for step in steps(t) if step.kind == kind)


def on_path(t: Trace, kind: str) -> View:
    """The first step of this kind, where the tour begins."""
    step = step_of(t, kind)
    return show(t, step, looked_at(t, step))


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", legend: Any = "best") -> None:
    """What all pictures with axes look like."""
    axes.set_title(title, fontsize=15, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=13, color=INK)
    axes.set_ylabel(y, fontsize=13, color=INK)
    axes.tick_params(labelsize=12)
    axes.legend(frameon=False, fontsize=12.5, loc=legend)
    open_axes(axes)


def sheet(t: Trace, test: Test) -> Result:
    """01: the first 20 test photos, what they are and what the model says."""
    chosen = photos.first(*test)
    said = photos.predict(t.model, chosen)
    pixels, labels = np.stack([photo.pixels for photo in chosen]), [photo.label for photo in chosen]
    data = {"pixels": pixels, "labels": labels, "predicted": [one.predicted for one in said]}
    return plots.photo_sheet(chosen, t.class_names, said), data


def convolution(t: Trace, test: Test) -> Result:
    """02: window times filter, product by product, as the step F3 has it."""
    view = on_path(t, "conv")
    shown = next(part for part in view.parts if isinstance(part, Grids)).items[::2]
    titles = ("the window", "times the filter", "= the products")
    matrices = [grid_matrix(grid, title) for grid, title in zip(shown, titles, strict=True)]
    z, stage = view.sums[0].total, t.stages[view.step.stage]
    layer = stage.layer
    rows, columns = window_cells(layer, known(view.cursor.cell), layer.kernel_size)
    words = "   ".join(f"{row.label} {row.num.text()}" for row in view.sums[0].rows)
    said = f"{words}   = {z.ref} {z.text()}"
    said += f",   ReLU: {voice.number(max(0.0, z.value), digits=6)}" if is_relu(stage) else ""
    picture = concepts.convolution_picture(t["x"][..., 0], t.title, (rows[0], columns[0]), matrices, said)
    data = {"grids": [grid.values for grid in shown], "z": z.value}
    return picture, data | {"cell": view.cursor.cell, "filter": view.cursor.filter}


def grid_matrix(grid: Grid, title: str) -> Matrix:
    """A part of a view as a matrix to draw, with the digits of the step-through; padding says so."""
    words = np.array([[voice.number(value, grid.kind, 3) for value in row] for row in grid.values], object)
    if grid.marks is not None:
        words[grid.marks == "pad"] = "pad"
    caption = "" if grid.caption == "products" else grid.caption
    return Matrix(grid.values, f"{title}\n{caption}", grid.kind != "value", words)


def stride_and_padding(t: Trace, test: Test) -> Result:
    """03: where the windows stand, for 28 and for the article's drawing of 5."""
    return plots.stride_and_padding(3), {row: window_geometry(row[0], 3, *row[1:]) for row in concepts.ROWS}


def filters(t: Trace, test: Test) -> Result:
    """04: the filters of the first convolution."""
    stage = t.stages[first_stage(t)]
    return plots.filters(t.model, stage.name), {"kernel": t.production[stage.names["kernel"]]}


def feature_maps(t: Trace, test: Test, which: int) -> Result:
    """05a, 05b: what the first and the last convolution find in the photo: all their maps, on one scale."""
    stage = [s for s in t.stages if kind_of(s) == "conv"][which]
    figure = plots.feature_maps(t.model, shown_photo(t), stage.layer.name, stage.name)
    return figure, {"maps": t.production[stage.names["y"]]}


def shown_photo(t: Trace) -> photos.Photo:
    """The trace's photo as the other pictures take it."""
    return photos.Photo(t.photo, t.title, t.number, t.label)


def pooling(t: Trace, test: Test) -> Result:
    """06: four windows of max pooling: the winners framed, ties named."""
    view = on_path(t, "pool")
    stage, f = t.stages[view.step.stage], known(view.cursor.filter)
    y, (ph, pw) = t.get(stage, "y"), stage.layer.pool_size
    i, j = (min(place, size - 2) for place, size in zip(known(view.cursor.cell), y.shape, strict=False))
    windows = [Window(t, stage, (i + a, j + b, f)) for a, b in np.ndindex(2, 2)]
    r0, s0 = max(windows[0].rows[0], 0), max(windows[0].columns[0], 0)
    last_row, last_column = windows[-1].rows[-1], windows[-1].columns[-1]
    region, after = t.get(stage, "x")[r0 : last_row + 1, s0 : last_column + 1, f], y[i : i + 2, j : j + 2, f]
    title = f"{stage.names['x']}, map {f}: rows {r0}-{last_row}, columns {s0}-{last_column}"
    corners = [(one.rows[0] - r0, one.columns[0] - s0) for one in windows]
    winners = [(one.winner[0] - r0, one.winner[1] - s0) for one in windows]
    tied = [(corner, one.ties) for corner, one in zip(corners, windows, strict=True) if one.ties > 1]
    notes = [(row + ph - 1, column, f"{ties} equal: the first wins") for (row, column), ties in tied]
    matrices = Matrix(region, title), Matrix(after, f"{stage.names['y']}: the largest of each window")
    figure = concepts.pooling_picture(*matrices, (ph, pw), corners, winners, notes)
    data = {"region": region, "after": after, "winners": [one.winner for one in windows]}
    return figure, data | {"ties": len(tied), "filter": f}


def flatten(t: Trace, test: Test) -> Result:
    """07: which number of the row is which cell: the places of one map in the flattened row."""
    step = step_of(t, "flatten")
    x, y = t.get(t.stages[step.stage], "x"), t.get(t.stages[step.stage], "y")
    n = known(looked_at(t, step).unit)
    r, s, c = cell = tuple(map(int, np.unravel_index(n, x.shape)))
    indices = np.ravel_multi_index((*np.indices(x.shape[:2]), np.full(x.shape[:2], c)), x.shape)
    figure = new_figure(11, 7.4)
    top, bottom = figure.subplots(2, 1, height_ratios=(5, 1))
    words = indices.astype(str) if x.shape[0] <= 10 else np.full(indices.shape, "")
    title = f"map {c} of {x.shape[2]}: each cell with its place n in the row"
    concepts.numbers(top, Matrix(x[..., c], title, words=words), float(x[..., c].max()) or 1.0)
    frame(top, r, s, 1, 1)
    bottom.plot(y, color=GREY, linewidth=0.6)
    bottom.plot(indices.ravel(), y[indices.ravel()], "o", color=BLUE, markersize=4, label=f"map {c}")
    bottom.plot([n], [y[n]], "s", color=ORANGE, markersize=9, label=f"n = {n}")
    dress(bottom, x=f"n = {place_in_row(tuple('rsc'), x.shape)} = {place_in_row(cell, x.shape)} = {n}")
    return figure, {"indices": indices, "map": x[..., c], "row": y, "n": n}


def card(t: Trace, test: Test) -> Result:
    """08: the photo and its ten probabilities."""
    said = photos.Prediction(shown_photo(t), t.production["p"], t.class_names)
    return plots.prediction_card(said), {"p": t.production["p"]}


def gradient_flow(t: Trace, test: Test) -> Result:
    """09: the gradient on its way back, from the logits to the photo, with the share of exact zeros."""
    roles = [stage.names.get(role) for stage in reversed(t.stages) for role in ("dy", "dz", "dx")]
    names = [name for name in dict.fromkeys(roles) if name]
    rows, maps = ([name for name in names if t[name].ndim == axes] for axes in (1, 3))
    titles = {name: f"|{name}|".replace(":", ":\n") for name in (*rows, *maps)}  # long names take two lines
    longest = max(len(line) for title in titles.values() for line in title.split("\n"))
    figure = new_figure(max(2.35, 0.1 * longest + 0.4) * max(len(maps), len(rows), 3), 6.2)
    grid, data = figure.subplots(2, max(len(maps), len(rows)), squeeze=False), {}
    for axes in (*grid[0][len(rows) :], *grid[1][len(maps) :]):
        axes.set_visible(False)
    for axes, name in [*zip(grid[0], rows, strict=False), *zip(grid[1], maps, strict=False)]:
        size = np.abs(t[name])
        drawn, zeros = size.sum(axis=2) if size.ndim == 3 else size, float(np.mean(size == 0))
        data[name] = {"drawn": drawn, "zeros": zeros}
        draw_sizes(axes, drawn)
        shape = "x".join(map(str, size.shape))
        axes.set_title(f"{titles[name]}\n{shape}\n{zeros:.1%} zeros", fontsize=11.5, loc="left", color=INK)
    words = f"Backward, from the logits (top left) to the photo (bottom right); target {t.class_names[t.target]}"
    figure.suptitle(words, fontsize=15, color=INK)
    return figure, data


def draw_sizes(axes: Axes, sizes: np.ndarray) -> None:
    """Numbers without a sign: a map as shades, a row as lines."""
    if sizes.ndim == 2:
        axes.imshow(sizes, cmap="magma", vmin=0)
        return bare(axes)
    axes.vlines(np.arange(len(sizes)), 0, sizes, color=GREY, linewidth=max(0.4, 60 / len(sizes)))
    axes.set_xticks([])
    axes.tick_params(labelsize=10)
    return open_axes(axes)


def weight_terms(t: Trace, test: Test) -> Result:
    """10: the terms of one weight's gradient, sorted, their running sum, and why the others are zero."""
    view = on_path(t, "conv-dkernel")
    total, at = view.sums[0].total, dict(zip("uvcf", known(view.cursor.weight), strict=True))
    terms = evaluate(known(view.words.sentence), Tensors(t), at)
    products, live = terms.terms.reshape(-1)[terms.order()], int(np.count_nonzero(terms.terms))
    bars, running = products[: min(live, 60)], np.cumsum(products)
    figure = new_figure(12, 5.6)
    axes = figure.subplots()
    draw_bars(axes, bars)
    places, sofar = np.arange(1, len(bars) + 1), running[: len(bars)]
    axes.step(places, sofar, where="mid", color=INK, linewidth=2, label="running sum")
    axes.axhline(total.value, color=GREY, linestyle="--", linewidth=2, label=f"{total.ref} = {total.text()}")
    words = ", ".join(f"{number} {name}" for name, number in causes(t, view.step.stage, terms).items())
    counts = f"{products.size} products, {live} count, {products.size - live} are 0"
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # an AutoLocator, which can
    dress(axes, f"One weight of {view.words.layer}: {counts}\n({words})", "product, the largest first")
    return figure, {"bars": bars, "running": running, "total": total.value, "live": live}


def draw_bars(axes: Axes, bars: Sequence[float]) -> None:
    """Positive blue, negative orange and hatched, over one line at zero."""
    signs = [value >= 0 for value in bars]
    edges, faces = [BLUE if plus else ORANGE for plus in signs], [BLUE if plus else "white" for plus in signs]
    hatches, label = ["" if plus else "////" for plus in signs], "product (hatched: negative)"
    axes.bar(np.arange(1, len(bars) + 1), bars, color=faces, edgecolor=edges, hatch=hatches, label=label)
    axes.axhline(0, color=GREY, linewidth=1)


def gradient_check(t: Trace, test: Test) -> Result:
    """11: numeric against analytic slopes, 40 of each tensor; kinks as open marks."""
    sample = beside.check_sample(t)
    smooth = np.array([(e.analytic, e.numeric) for r in sample.results for e in r.smooth])
    kinks = np.array([(e.analytic, e.numeric) for r in sample.results for e in r.entries if e.kinks]).reshape(-1, 2)
    figure = new_figure(8.6, 7.4)
    axes, tensors = figure.subplots(), len(sample.results)
    low = max(1e-12, float(np.abs(smooth[smooth != 0]).min())) if (smooth != 0).any() else 1e-6
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1)
    checked = f"{len(smooth)} numbers of {tensors} tensors"
    left_out = f"{len(kinks)} at a kink: no slope to compare with"
    axes.plot(*smooth.T, "o", color=BLUE, markersize=6, alpha=0.7, label=checked)
    axes.plot(*kinks.T, "o", mfc="none", mec=ORANGE, markersize=8, label=left_out)
    for scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        scale("symlog", linthresh=max(low, 1e-8))
        axis.set_major_formatter(lambda value, _: f"{value:.0e}" if value else "0")
    few = f"\n{sample.few} of {tensors} tensors: too few to judge" if sample.few else ""
    said = f"WRONG: {', '.join(sample.wrong)}" if sample.wrong else f"largest error of a tensor {sample.worst:.0e}{few}"
    axes.locator_params(axis="both", numticks=9)
    dress(axes, f"Gradient check: {said}", "dLoss/dw from backward", "(L(w+h) - L(w-h)) / 2h", "center left")
    return figure, {"smooth": smooth, "kinks": kinks, "results": sample.results}


def shift_curves(t: Trace, test: Test) -> Result:
    """12: the CNN and the dense net on moved and mirrored photos."""
    pixels, labels = (array[:COMPARED] for array in test)
    cnn, *dense = beside.networks(t).values()
    cnn = article.trained("cnn") if t.moment else cnn  # the dense net has finished its training too
    compared = dict(zip(("CNN", "dense"), (cnn, *dense), strict=False))
    result = comparison.compare(compared, pixels, labels)
    return plots.comparison(result), {"result": result}


def im2col(t: Trace, test: Test) -> Result:
    """13: the convolution as a product of matrices, with their real numbers and shapes."""
    stage = t.stages[first_stage(t)]
    kernel = t.get(stage, "kernel")
    left, right = t.get(stage, "columns").reshape(-1, kernel[..., 0].size), kernel.reshape(-1, kernel.shape[-1])
    result = t.get(stage, "z").reshape(len(left), -1)
    figure = new_figure(12, 7)
    axes = figure.subplots(1, 3, width_ratios=(1, 1.4, 1.4))
    titles = ("columns: a row is a window", "W: a column is a filter", "z: a row is an output cell")
    for axis, values, title, signed in zip(axes, (left, right, result), titles, (False, True, True), strict=True):
        high = float(np.abs(values).max()) or 1.0
        look = {"cmap": DIVERGING if signed else "gray", "vmin": -high if signed else 0, "vmax": high}
        axis.imshow(values, **look, aspect="auto", interpolation="nearest")
        bare(axis)
        axis.set_title(f"{title}\n{values.shape[0]} x {values.shape[1]}", fontsize=13.5, loc="left", color=INK)
    axes[0].set_xlabel("@", fontsize=20, loc="right", color=INK)
    axes[1].set_xlabel("+ b =", fontsize=20, loc="right", color=INK)
    return figure, {"columns": left, "kernel": right, "z": result}


def descent(t: Trace, test: Test) -> Result:
    """14: the first steps of plain gradient descent on this photo alone, with two learning rates."""
    figure = new_figure(9.5, 5.6)
    axes = figure.subplots()
    data = {rate: losses(t, rate) for rate in (0.001, 0.0001)}
    for (rate, values), color, line, mark in zip(data.items(), (BLUE, ORANGE), ("-", "--"), "os", strict=True):
        axes.plot(values, line, color=color, marker=mark, markersize=5, linewidth=2, label=f"learning rate {rate:g}")
    title = f"{t.title}, target {t.class_names[t.target]}: the loss falls step by step"
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=PALE)
    dress(axes, title, "steps of w - learning rate x gradient, all weights", "loss")
    return figure, {"losses": data}


def losses(t: Trace, rate: float, steps: int = STEPS) -> list[float]:
    """The loss before each of so many steps of gradient descent on this photo, and after the last, in float64."""
    model, sgd, found = t.model64.astype(np.float64), optimizers.SGD(rate), []
    for step in range(steps + 1):
        layers = model.logit_layers()
        tensors, caches = run_forward(t.stages, layers, t["x"][None])
        loss, dlogits = loss_and_gradient(tensors[t.stages[-1].names["y"]], t.target)
        found.append(loss)
        if step < steps:
            grads = run_backward(t.stages, layers, caches, dlogits)
            named = [(stage, key) for stage in t.stages for key in stage.layer.learnable]
            slopes = {f"{s.layer.name}/{key}": grads[s.names[f"d{key}"]] for s, key in named}
            sgd.update({key: model.params[key] for key in slopes}, slopes)
    return found


NAMES = """01-photos 02-convolution 03-stride-and-padding 04-filters 05a-feature-maps 05b-feature-maps 06-pooling
07-flatten 08-prediction 09-gradient-flow 10-weight-gradient 11-gradient-check 12-shift-curves 13-im2col 14-descent"""
MAPS = partial(feature_maps, which=0), partial(feature_maps, which=-1)
FORWARD = sheet, convolution, stride_and_padding, filters, *MAPS, pooling, flatten, card
BACKWARD = gradient_flow, weight_terms, gradient_check, shift_curves, im2col, descent
FIGURES: dict[str, Callable[[Trace, Test], Result]] = dict(zip(NAMES.split(), (*FORWARD, *BACKWARD), strict=True))
CONVOLUTION = "02-convolution", "04-filters", "05a-feature-maps", "05b-feature-maps", "10-weight-gradient", "13-im2col"


def missing(t: Trace, name: str) -> str:
    """Why there is nothing to draw, as in "this network has no convolution"; "" where there is."""
    stages = {kind_of(stage): stage for stage in reversed(t.stages)}
    if name in CONVOLUTION and "conv" not in stages:
        return "no convolution"
    if name == "06-pooling" and ("pool" not in stages or min(t.get(stages["pool"], "y").shape[:2]) < 2):
        return "no max pooling with two rows and columns of windows"
    if name == "07-flatten" and ("flatten" not in stages or t.get(stages["flatten"], "x").ndim != 3):
        return "no Flatten behind maps"
    if name == "12-shift-curves" and not has_step(t, find_step(t, "S")):
        return "other photos or classes than the dense net to compare it with"
    return ""
