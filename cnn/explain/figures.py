"""The fifteen pictures of the step-through. Each function takes (trace, test set) and returns (figure, the data drawn).

What cnn.plots draws already is taken from there; the data beside it are the trace's.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnn import comparison, optimizers, photos, plots
from cnn.explain import extras
from cnn.explain import view as v
from cnn.explain.forward import pool_window
from cnn.explain.text import number
from cnn.explain.tour import photo_line, show
from cnn.explain.trace import Trace, loss_and_gradient, run_backward, run_forward
from cnn.explain.view import Num
from cnn.plots import concepts
from cnn.plots.style import BLUE, DIVERGING, GREY, INK, ORANGE, PALE, bare, new_figure, open_axes
from kernels.geometry import window_geometry

Test = tuple[np.ndarray, np.ndarray]
Result = tuple[Figure, dict]
COMPARED = 1000  # photos for the shift curves: enough for a picture; `cnn compare` takes all
STEPS = 30  # of gradient descent on one photo


def sheet(t: Trace, test: Test) -> Result:
    """01: the first 20 test photos, what they are and what the model says."""
    chosen = [photos.test_photo(k, *test) for k in range(1, 21)]
    said = photos.predict(t.model, chosen)
    data = {
        "pixels": np.stack([p.pixels for p in chosen]),
        "labels": [p.label for p in chosen],
        "predicted": [p.predicted for p in said],
    }
    return plots.photo_sheet(chosen, t.class_names, said), data


def convolution(t: Trace, test: Test) -> Result:
    """02: window times filter, product by product, as the step F3 has it."""
    step = next(s for s in v.steps(t) if s.kind == "conv")
    view = show(t, step)
    grids = [part for part in view.parts if isinstance(part, v.Grids)][0].items
    total = view.sums[0]
    figure = new_figure(13, 4.6)
    axes = figure.subplots(1, 4, width_ratios=(1.15, 1, 1, 1))
    axes[0].imshow(t["x"][..., 0], cmap="gray", vmin=0, vmax=1)
    bare(axes[0])
    axes[0].set_title(photo_line(t).split(":")[0], fontsize=14, loc="left", color=INK)
    layer = t.stages[step.stage].layer
    rows, columns = v.window_rows(layer, view.cursor.cell, layer.kernel_size)
    axes[0].add_patch(
        Rectangle((columns[0] - 0.5, rows[0] - 0.5), len(columns), len(rows), fill=False, edgecolor=ORANGE, linewidth=3)
    )
    for axis, grid, title in zip(
        axes[1:], grids[::2], ("the window", "times the filter", "= the products"), strict=True
    ):
        matrix(
            axis, grid.values, grid.kind, f"{title}\n{'' if grid.caption == 'products' else grid.caption}", grid.marks
        )
    z, a = total.total, max(0.0, total.total.value)
    words = "   ".join(f"{row.label} {number(row.num)}" for row in total.rows)
    figure.supxlabel(f"{words}   = {z.ref} {number(z)},   ReLU: {a:.6f}", fontsize=15, color=INK)
    return figure, {
        "grids": [grid.values for grid in grids[::2]],
        "z": z.value,
        "cell": view.cursor.cell,
        "filter": view.cursor.filter,
    }


def matrix(axes, values, kind: str, title: str, marks=None) -> None:
    """Shades and numbers: grey for what is never negative, two colours and a sign for what may be."""
    signed = kind != "value"
    limit = float(np.abs(values).max()) or 1.0
    axes.imshow(values, cmap=DIVERGING if signed else "gray", vmin=-limit if signed else 0, vmax=limit if signed else 1)
    for u, w in np.ndindex(values.shape):
        dark = abs(values[u, w]) > 0.6 * limit if signed else values[u, w] < 0.5
        padding = marks is not None and marks[u, w] == "pad"
        text = "pad" if padding else number(Num(values[u, w], kind=kind), 3)
        axes.text(w, u, text, ha="center", va="center", fontsize=14, color="white" if dark else INK)
    bare(axes)
    axes.set_title(title, fontsize=13, loc="left", color=INK)


def stride_and_padding(t: Trace, test: Test) -> Result:
    """03: where the windows stand, for 28 and for the article's drawing of 5."""
    return plots.stride_and_padding(3), {row: window_geometry(row[0], 3, *row[1:]) for row in concepts.ROWS}


def filters(t: Trace, test: Test) -> Result:
    """04: the filters of the first convolution."""
    stage = t.stages[v.first_stage(t, v.Conv2D)]
    return plots.filters(t.model), {"kernel": t.production[stage.names["kernel"]]}


def first_maps(t: Trace, test: Test) -> Result:
    """05a: what the first convolution finds in the photo."""
    return feature_maps(t, 0)


def last_maps(t: Trace, test: Test) -> Result:
    """05b: what the last convolution finds in the photo."""
    return feature_maps(t, -1)


def feature_maps(t: Trace, which: int) -> Result:
    """All maps of one convolution, on one scale."""
    stage = [s for s in t.stages if v.kind_of(s) == "conv"][which]
    figure = plots.feature_maps(t.model, shown_photo(t), stage.layer.name)
    return figure, {"maps": t.production[stage.names["y"]]}


def shown_photo(t: Trace) -> photos.Photo:
    """The trace's photo as the other pictures take it."""
    title = f"photo {t.number} = test[{t.number - 1}]" if t.number else t.source or "photo"
    return photos.Photo(t.photo, title, t.number, t.label)


def pooling(t: Trace, test: Test) -> Result:
    """06: four windows of max pooling: the winners framed, ties named."""
    step = next(s for s in v.steps(t) if s.kind == "pool")
    stage = t.stages[step.stage]
    i, j = show(t, step).cursor.cell
    f = show(t, step).cursor.filter
    y = t.get(stage, "y")
    i, j = min(i, y.shape[0] - 2), min(j, y.shape[1] - 2)
    figure = new_figure(11, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    ph, pw = stage.layer.pool_size
    (r0, *_), (s0, *_) = v.window_rows(stage.layer, (i, j), stage.layer.pool_size)
    region = t.get(stage, "x")[max(r0, 0) : r0 + 2 * ph, max(s0, 0) : s0 + 2 * pw, f]
    matrix(
        left,
        region,
        "value",
        f"{stage.names['x']}, map {f}: rows {r0}-{r0 + 2 * ph - 1}, columns {s0}-{s0 + 2 * pw - 1}",
    )
    after, ties = y[i : i + 2, j : j + 2, f], 0
    matrix(right, after, "value", f"{stage.names['y']}: the largest of each window")
    winners = []
    for a, b in np.ndindex(2, 2):
        _, _, cells, tie = pool_window(t, stage, (i + a, j + b, f))
        r, s = cells[int(t.get(stage, "winners")[i + a, j + b, f])]
        winners.append((r, s))
        ties += tie > 1
        left.add_patch(Rectangle((b * pw - 0.5, a * ph - 0.5), pw, ph, fill=False, edgecolor=GREY, linewidth=3))
        left.add_patch(Rectangle((s - s0 - 0.42, r - r0 - 0.42), 0.84, 0.84, fill=False, edgecolor=ORANGE, linewidth=4))
        if tie > 1:
            left.text(
                b * pw - 0.4,
                (a + 1) * ph - 0.62,
                f"{tie} equal: the first wins",
                fontsize=12,
                color=ORANGE,
                fontweight="bold",
            )
    for axes in (left, right):
        axes.images[0].set_clim(0, float(region.max()) or 1.0)
        for text in axes.texts:
            value = float(text.get_text()) if text.get_text().replace(".", "").isdigit() else 0
            text.set_color(
                ORANGE if "equal" in text.get_text() else "white" if value < 0.5 * (float(region.max()) or 1.0) else INK
            )
    return figure, {"region": region, "after": after, "winners": winners, "ties": ties, "filter": f}


def flatten(t: Trace, test: Test) -> Result:
    """07: which number of the row is which cell: the places of one map in the flattened row."""
    step = next(s for s in v.steps(t) if s.kind == "flatten")
    stage = t.stages[step.stage]
    x, y = t.get(stage, "x"), t.get(stage, "y")
    n = show(t, step).cursor.unit
    r, s, c = np.unravel_index(n, x.shape)
    indices = np.ravel_multi_index((*np.indices(x.shape[:2]), np.full(x.shape[:2], c)), x.shape)
    figure = new_figure(11, 7.4)
    top, bottom = figure.subplots(2, 1, height_ratios=(5, 1))
    top.imshow(x[..., c], cmap="gray", vmin=0)
    half = 0.5 * (float(x[..., c].max()) or 1.0)
    for a, b in np.ndindex(x.shape[:2]) if x.shape[0] <= 10 else ():
        top.text(
            b, a, f"{indices[a, b]}", ha="center", va="center", fontsize=14, color="white" if x[a, b, c] < half else INK
        )
    top.add_patch(Rectangle((s - 0.5, r - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=4))
    bare(top)
    top.set_title(f"map {c} of {x.shape[2]}: each cell with its place n in the row", fontsize=14, loc="left", color=INK)
    bottom.plot(y, color=GREY, linewidth=0.6)
    bottom.plot(indices.ravel(), y[indices.ravel()], "o", color=BLUE, markersize=4, label=f"map {c}")
    bottom.plot([n], [y[n]], "s", color=ORANGE, markersize=9, label=f"n = {n}")
    bottom.legend(frameon=False, fontsize=11, ncols=2)
    bottom.set_xlabel(
        f"n = (r*{x.shape[1]} + s)*{x.shape[2]} + c = ({r}*{x.shape[1]} + {s})*{x.shape[2]} + {c} = {n}",
        fontsize=14,
        color=INK,
    )
    open_axes(bottom)
    return figure, {"indices": indices, "map": x[..., c], "row": y, "n": n}


def card(t: Trace, test: Test) -> Result:
    """08: the photo and its ten probabilities."""
    said = photos.Prediction(shown_photo(t), t.production["p"], t.class_names)
    return plots.prediction_card(said), {"p": t.production["p"]}


def gradient_flow(t: Trace, test: Test) -> Result:
    """09: the gradient on its way back, from the logits to the photo, with the share of exact zeros."""
    names = list(
        dict.fromkeys(s.names[role] for s in reversed(t.stages) for role in ("dy", "dz", "dx") if role in s.names)
    )
    maps = [name for name in names if t[name].ndim == 3]
    rows = [name for name in names if t[name].ndim == 1]
    columns = max(len(maps), len(rows))
    figure = new_figure(2.35 * columns, 6.2)
    grid = figure.subplots(2, columns, squeeze=False)
    data = {}
    for line, chosen in zip(grid, (rows, maps), strict=True):
        for axes in line[len(chosen) :]:
            axes.set_visible(False)
        for axes, name in zip(line, chosen, strict=False):
            gradient, size = t[name], np.abs(t[name])
            drawn = size.sum(axis=2) if gradient.ndim == 3 else size
            data[name] = {"drawn": drawn, "zeros": float(np.mean(gradient == 0))}
            if gradient.ndim == 3:
                axes.imshow(drawn, cmap="magma", vmin=0)
                bare(axes)
            else:
                axes.vlines(np.arange(len(drawn)), 0, drawn, color=BLUE, linewidth=max(0.4, 60 / len(drawn)))
                axes.set_xticks([])
                axes.tick_params(labelsize=10)
                open_axes(axes)
            shape = "x".join(map(str, gradient.shape))
            axes.set_title(f"|{name}|\n{shape}\n{data[name]['zeros']:.1%} zeros", fontsize=11.5, loc="left", color=INK)
    figure.suptitle(
        f"Backward, from the logits (top left) to the photo (bottom right); target {t.class_names[t.target]}",
        fontsize=15,
        color=INK,
    )
    return figure, data


def weight_terms(t: Trace, test: Test) -> Result:
    """10: the terms of one weight's gradient, sorted, their running sum, and why the others are zero."""
    step = next(s for s in v.steps(t) if s.kind == "conv-dkernel")
    view = show(t, step)
    terms = view.sums[0].terms
    order = np.argsort(-np.abs(terms), kind="stable")
    live = int(np.count_nonzero(terms))
    bars, running = terms[order][: min(live, 60)], np.cumsum(terms[order])
    figure = new_figure(12, 5.6)
    axes = figure.subplots()
    places = np.arange(1, len(bars) + 1)
    axes.bar(
        places,
        bars,
        color=[BLUE if x >= 0 else "white" for x in bars],
        edgecolor=[BLUE if x >= 0 else ORANGE for x in bars],
        hatch=["" if x >= 0 else "////" for x in bars],
        label="product (hatched: negative)",
    )
    axes.step(places, running[: len(bars)], where="mid", color=INK, linewidth=2, label="running sum")
    total = view.sums[0].total
    axes.axhline(total.value, color=ORANGE, linestyle="--", linewidth=2, label=f"{total.ref} = {number(total)}")
    stage, words = t.stages[step.stage], zero_words(view)
    axes.set_title(
        f"One weight of {stage.layer.name}: {terms.size} products, {live} count, {terms.size - live} are 0\n({words})",
        fontsize=14,
        loc="left",
        color=INK,
    )
    axes.set_xlabel("product, the largest first", fontsize=13)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize=12.5)
    axes.tick_params(labelsize=12)
    axes.axhline(0, color=GREY, linewidth=1)
    open_axes(axes)
    return figure, {"bars": bars, "running": running, "total": view.sums[0].total.value, "live": live}


def zero_words(view) -> str:
    """'159 ReLU closed, 17 lost the pool': why products are zero, as the step says it."""
    said = next(part for part in view.parts if isinstance(part, v.Line))
    return "".join(part if isinstance(part, str) else number(part) for part in said.parts).partition("are 0: ")[2]


def gradient_check(t: Trace, test: Test) -> Result:
    """11: numeric against analytic slopes, 40 of each tensor; kinks as open marks."""
    results = extras.check_sample(t)
    smooth = np.array([(e.analytic, e.numeric) for r in results for e in r.smooth])
    kinks = np.array([(e.analytic, e.numeric) for r in results for e in r.entries if e.kinks]).reshape(-1, 2)
    figure = new_figure(8.6, 7.4)
    axes = figure.subplots()
    low = max(1e-12, float(np.abs(smooth[smooth != 0]).min())) if (smooth != 0).any() else 1e-6
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1)
    axes.plot(
        *smooth.T, "o", color=BLUE, markersize=6, alpha=0.7, label=f"{len(smooth)} numbers of {len(results)} tensors"
    )
    axes.plot(
        *kinks.T, "o", mfc="none", mec=ORANGE, markersize=8, label=f"{len(kinks)} at a kink: no slope to compare with"
    )
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=max(low, 1e-8))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0e}" if value else "0")
    axes.set_xlabel("dLoss/dw from backward", fontsize=13)
    axes.set_ylabel("(L(w+h) - L(w-h)) / 2h", fontsize=13)
    bad = [r.name for r in results if r.verdict == "WRONG"]
    worst = max((r.error for r in results if r.checked), default=0.0)
    few = sum(r.verdict == "not comparable" for r in results)
    said = f"largest error of a tensor {worst:.0e}" + (
        f"\n{few} of {len(results)} tensors: too few to judge" if few else ""
    )
    axes.set_title(f"Gradient check: {'WRONG: ' + ', '.join(bad) if bad else said}", fontsize=15, loc="left", color=INK)
    axes.legend(frameon=False, fontsize=12, loc="center left")
    axes.tick_params(labelsize=11)
    axes.locator_params(axis="both", numticks=9)
    open_axes(axes)
    return figure, {"smooth": smooth, "kinks": kinks, "results": results}


def shift_curves(t: Trace, test: Test) -> Result:
    """12: the CNN and the dense net on moved and mirrored photos."""
    pixels, labels = (array[:COMPARED] for array in test)
    result = comparison.compare({"CNN": t.model, "dense": extras.dense_model()}, pixels, labels)
    return plots.comparison(result), {"result": result}


def im2col(t: Trace, test: Test) -> Result:
    """13: the convolution as a product of matrices, with their real numbers and shapes."""
    stage = t.stages[v.first_stage(t, v.Conv2D)]
    kernel = t.get(stage, "kernel")
    left, right = t.get(stage, "columns").reshape(-1, kernel[..., 0].size), kernel.reshape(-1, kernel.shape[-1])
    result = t.get(stage, "z").reshape(len(left), -1)
    figure = new_figure(12, 7)
    axes = figure.subplots(1, 3, width_ratios=(1, 1.4, 1.4))
    titles = ("columns: a row is a window", "W: a column is a filter", "z: a row is an output cell")
    for axis, values, title, colours in zip(
        axes, (left, right, result), titles, ("gray", DIVERGING, DIVERGING), strict=True
    ):
        limit = float(np.abs(values).max()) or 1.0
        axis.imshow(
            values,
            cmap=colours,
            vmin=0 if colours == "gray" else -limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
        )
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
    axes.set_title(
        f"{photo_line(t).split(':')[0]}, target {t.class_names[t.target]}: the loss falls step by step",
        fontsize=15,
        loc="left",
        color=INK,
    )
    axes.set_xlabel("steps of w - learning rate x gradient, all weights", fontsize=13)
    axes.set_ylabel("loss", fontsize=13)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=13)
    axes.tick_params(labelsize=12)
    axes.grid(axis="y", color=PALE)
    open_axes(axes)
    return figure, {"losses": data}


def losses(t: Trace, rate: float, steps: int = STEPS) -> list[float]:
    """The loss before each of so many steps of gradient descent on this photo, in float64."""
    model, sgd, found = t.model64.astype(np.float64), optimizers.SGD(rate), [t.loss]
    for _ in range(steps):
        layers = model.logit_layers()
        tensors, caches = run_forward(t.stages, layers, t["x"][None])
        _, dlogits = loss_and_gradient(tensors[t.stages[-1].names["y"]], t.target)
        grads = run_backward(t.stages, layers, caches, dlogits)
        sgd.update(
            model.params,
            {f"{s.layer.name}/{key}": grads[s.names[f"d{key}"]] for s in t.stages for key in s.layer.params},
        )
        logits = run_forward(t.stages, model.logit_layers(), t["x"][None])[0][t.stages[-1].names["y"]]
        found.append(loss_and_gradient(logits, t.target)[0])
    return found


FIGURES = {
    "01-photos": sheet,
    "02-convolution": convolution,
    "03-stride-and-padding": stride_and_padding,
    "04-filters": filters,
    "05a-feature-maps": first_maps,
    "05b-feature-maps": last_maps,
    "06-pooling": pooling,
    "07-flatten": flatten,
    "08-prediction": card,
    "09-gradient-flow": gradient_flow,
    "10-weight-gradient": weight_terms,
    "11-gradient-check": gradient_check,
    "12-shift-curves": shift_curves,
    "13-im2col": im2col,
    "14-descent": descent,
}
