"""Pictures of a training: its learning curves and its confusion matrix, as matplotlib figures to save or show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cnn.plots.style import BLUE, INK, ORANGE, new_figure


def learning_curves(history: dict[str, list[float]]) -> Figure:
    """Loss and accuracy after each epoch, training and validation, from a History's `history`.

    Raises ValueError for a history without an epoch.
    """
    if not history.get("loss"):
        raise ValueError("learning_curves: expected the history of at least one epoch, got none")
    metric = next((key for key in history if key in ("accuracy", "acc")), None)
    keys = ["loss", metric] if metric else ["loss"]
    figure = new_figure(5.4 * len(keys), 4.2)
    for axes, key in zip(np.atleast_1d(figure.subplots(1, len(keys))), keys, strict=True):
        _curves(axes, history, key)
    return figure


def _curves(axes, history, key):
    """One value over the epochs: what was trained on, and what was held back. Line style and marker differ as well."""
    epochs = range(1, len(history[key]) + 1)
    lines = [(key, "training", BLUE, "-", "o"), (f"val_{key}", "validation", ORANGE, "--", "s")]
    for name, label, color, style, marker in lines:
        if name in history:
            axes.plot(
                epochs,
                history[name],
                color=color,
                linestyle=style,
                marker=marker,
                markersize=6,
                linewidth=2,
                label=label,
            )
            value = history[name][-1]
            text = f"{value:.3f}" if key == "loss" else f"{value:.1%}"
            axes.annotate(
                text,
                (len(epochs), value),
                color=color,
                fontweight="bold",
                fontsize=12,
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                annotation_clip=False,
            )
    axes.set_title({"loss": "Loss"}.get(key, "Accuracy"), fontsize=15, loc="left", color=INK)
    axes.set_xlabel("epoch", fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if key != "loss":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(labelsize=11)
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.06)
    if f"val_{key}" in history:
        axes.legend(frameon=False, fontsize=12)


def sweep(groups: Sequence[tuple[str, Sequence[float], float, float]]) -> Figure:
    """(setting, accuracy of each seed, their mean, half its 95% interval or NaN), one row each, the first on top."""
    figure = new_figure(7.0, 1.2 + 0.32 * len(groups))
    axes = figure.subplots()
    for row, (_, scores, mean, half) in enumerate(groups):
        axes.plot(scores, [row] * len(scores), "o", color=ORANGE, alpha=0.5, markersize=4, linewidth=0)
        if half == half:  # not NaN
            axes.plot([mean - half, mean + half], [row, row], color=BLUE, linewidth=2)
        axes.plot([mean], [row], "|", color=BLUE, markersize=14, markeredgewidth=2)
    axes.set_yticks(range(len(groups)), [name for name, *_ in groups])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("accuracy on photos held back, 95% interval")
    return figure


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """counts[t, p], photos of class t taken for class p, as a table with the share of each true class as shade.

    Raises ValueError unless counts is (classes, classes).
    """
    counts, classes = np.asarray(counts), len(class_names)
    if counts.shape != (classes, classes):
        raise ValueError(f"confusion_matrix: counts: expected shape {(classes, classes)}, got {counts.shape}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.6 + 0.62 * classes
    figure = new_figure(size + 0.6, size)
    axes = figure.subplots()
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.15)  # the root makes rare mistakes visible
    for t, p in np.ndindex(counts.shape):
        if counts[t, p]:
            axes.text(
                p,
                t,
                f"{counts[t, p]}",
                ha="center",
                va="center",
                fontsize=11,
                color="white" if shares[t, p] > 0.4 else INK,
                fontweight="bold" if t == p else "normal",
            )
    _name_classes(axes, class_names, counts, shares)
    return figure


def _name_classes(axes, class_names, counts, shares):
    """Names along both sides, and at the right the share of each class that was found."""
    places = range(len(class_names))
    axes.set_xticks(places, class_names, rotation=45, ha="right", rotation_mode="anchor", fontsize=11)
    axes.set_yticks(places, class_names, fontsize=11)
    axes.set_xlabel("the network says", fontsize=13)
    axes.set_ylabel("it is", fontsize=13)
    right = axes.secondary_yaxis("right")
    right.set_ylabel("share recognised", fontsize=13)
    right.set_yticks(places, [f"{shares[k, k]:.1%}" for k in places], fontsize=11)
    for spines in (axes.spines, right.spines):
        spines[:].set_visible(False)
    axes.tick_params(length=0)
    right.tick_params(length=0)
    axes.set_xticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    total = counts.sum()
    axes.set_title(
        f"{np.trace(counts):,} of {total:,} photos right ({np.trace(counts) / max(total, 1):.2%})",
        fontsize=15,
        loc="left",
        color=INK,
    )
