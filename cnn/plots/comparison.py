"""The comparison of networks as a picture: over the shifts, and under the other changes, with 95% intervals."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cnn.photos.comparison import BEST, CNN, DENSE, REACH, WHOLE, Comparison, shift_name
from cnn.plots.style import BLUE, INK, MARK, ORANGE, new_figure, open_axes

LOOKS = {CNN: (BLUE, "-", "o", ""), DENSE: (ORANGE, "--", "s", "////"), BEST: (MARK, ":", "D", "....")}
LEGEND = {CNN: "CNN", DENSE: "dense net", BEST: "CNN of augmented photos"}


def comparison(result: Comparison) -> Figure:
    """Left all photos, right the sandals (where there are any). Above the shifts along both axes, below the rest."""
    sandal = list(result.class_names).index("Sandal") if "Sandal" in result.class_names else None
    groups: list[tuple[int | None, str]] = [(None, f"All {result.counts.sum():,} photos")]
    if sandal is not None and result.counts[sandal]:
        groups.append((sandal, f"The {result.counts[sandal]:,} sandals"))
    figure = new_figure(6.6 * len(groups), 10.2)
    grid = figure.subplots(3, len(groups), squeeze=False, sharey=True)
    for column, (label, title) in enumerate(groups):
        _shifts(grid[0, column], result, label, "left  ←  pixels moved  →  right", sideways=True)
        _shifts(grid[1, column], result, label, "up  ←  pixels moved  →  down", sideways=False)
        _bars(grid[2, column], result, label)
        grid[0, column].set_title(title, fontsize=17, loc="left", color=INK, fontweight="bold")
    grid[0, 0].legend(frameon=False, fontsize=14, loc="lower center")
    for axes in grid[:, 0]:
        axes.set_ylabel("right", fontsize=13)
    return figure


def _shifts(axes, result, label, direction, sideways):
    """Accuracy over the distance, one line a network, its 95% interval as a band."""
    steps = np.arange(-REACH, REACH + 1)
    for network in result.correct:
        color, line, marker, _ = LOOKS[network]
        scores = [
            result.score(network, shift_name(d, 0) if sideways else shift_name(0, d), label) for d in steps.tolist()
        ]
        low, high = np.array([score.interval for score in scores]).T
        shares = [score.share for score in scores]
        axes.plot(steps, shares, line, color=color, marker=marker, markersize=7, linewidth=2.2, label=LEGEND[network])
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set_xticks(steps[::2])
    axes.set_xlabel(direction, fontsize=13)
    _percent(axes)


def _bars(axes, result, label):
    """The changes that are no shifts, a bar each for every network, with number and interval."""
    places, width = np.arange(len(WHOLE)), 0.8 / len(result.correct)
    size = 12 if len(result.correct) < 3 else 9
    for k, network in enumerate(result.correct):
        color, _, _, hatch = LOOKS[network]
        offset = (k + 0.5) * width - 0.4
        scores = [result.score(network, change, label) for change in WHOLE]
        shares = np.array([score.share for score in scores])
        low, high = np.array([score.interval for score in scores]).T
        face = color if not hatch else "white"
        axes.bar(places + offset, shares, width * 0.95, facecolor=face, edgecolor=color, hatch=hatch, linewidth=1.5)
        axes.errorbar(
            places + offset,
            shares,
            np.maximum([shares - low, high - shares], 0),
            fmt="none",
            ecolor=INK,
            elinewidth=1.6,
            capsize=4,
        )
        for place, share, top in zip(places + offset, shares, high, strict=True):
            axes.text(place, top + 0.015, f"{share * 100:.1f}", ha="center", va="bottom", fontsize=size, color=INK)
    axes.set_xticks(
        places, [name.replace(" swapped", "\nswapped").replace(" are", "\nare") for name in WHOLE], fontsize=13
    )
    axes.tick_params(axis="x", length=0)
    _percent(axes)


def _percent(axes):
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.tick_params(labelsize=12.5)
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    open_axes(axes)
