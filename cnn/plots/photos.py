"""Photos with what is known of them: the sheet of the first photos, and the card of one."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from cnn.checks import known
from cnn.photos import Photo, Prediction
from cnn.plots.style import BLUE, GREY, INK, ORANGE, new_figure, open_axes, show_photo
from cnn.terminal import percent


def photo_sheet(
    photos: Sequence[Photo], class_names: Sequence[str], predictions: Sequence[Prediction] | None = None
) -> Figure:
    """Photos in rows of five with number and label; with predictions a tick or cross, what the model says, how sure."""
    rows = -(-len(photos) // 5)
    figure = new_figure(10, rows * (2.75 if predictions else 2.35))
    grid = figure.subplots(rows, 5, squeeze=False).ravel()
    for axes in grid[len(photos) :]:
        axes.set_visible(False)
    for k, (axes, photo) in enumerate(zip(grid, photos, strict=False)):
        said = predictions[k] if predictions else None
        frame = (ORANGE, 4) if said and not said.right else (GREY, 1)
        show_photo(axes, photo.pixels, f"{photo.number}  {class_names[known(photo.label)]}", *frame, size=14)
        if said:
            text = f"{'✓' if said.right else '✗'} {said.says} {percent(said.probabilities.max(), 0)}"
            color, weight = (INK, "normal") if said.right else (ORANGE, "bold")
            axes.set_xlabel(text, fontsize=12, color=color, fontweight=weight, loc="left")
    if predictions:
        right = sum(bool(p.right) for p in predictions)
        key = "Above: number and label.  Below: what the network says, ✓ right or ✗ wrong"
        figure.suptitle(f"{right} of {len(predictions)} right.  {key}", fontsize=13, color=INK)
    return figure


def prediction_card(prediction: Prediction) -> Figure:
    """One photo, ten probabilities as bars, the answer in words. The true class is marked; hatched where missed."""
    figure = new_figure(10, 4.9)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    photo, names = prediction.photo, prediction.class_names
    label = "" if photo.label is None else f", labelled {names[photo.label]}"
    show_photo(left, photo.pixels, photo.title + label, size=14)
    bars = right.barh(range(len(names)), prediction.probabilities, color=GREY, height=0.72)
    bars[prediction.predicted].set_color(BLUE)
    if prediction.right is False:
        bars[photo.label].set(facecolor="white", edgecolor=ORANGE, hatch="////")
    for k, p in enumerate(prediction.probabilities):
        says = k == prediction.predicted
        right.text(
            p + 0.015, k, percent(p), va="center", fontsize=12, fontweight="bold" if says else "normal", color=INK
        )
    marks = [name + (" ◀ label" if k == photo.label else "") for k, name in enumerate(names)]
    right.set_yticks(range(len(names)), marks, fontsize=12.5)
    right.tick_params(length=0)
    right.invert_yaxis()
    right.set(xlim=(0, 1.22), xticks=[])
    open_axes(right)
    right.spines["bottom"].set_visible(False)
    color = ORANGE if prediction.right is False else INK
    right.set_title(_answer(prediction), fontsize=15, loc="left", color=color, fontweight="bold")
    return figure


def _answer(prediction):
    ending = {True: ": right ✓", False: ": wrong ✗", None: ""}[prediction.right]
    return f"The model says {prediction.says}{ending}"
