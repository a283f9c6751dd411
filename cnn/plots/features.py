"""What a network has learned to look for, and what it finds in a photo: filters and feature maps."""

import numpy as np
from matplotlib.figure import Figure

from cnn.checks import known
from cnn.layers import Conv2D, MaxPooling2D
from cnn.models import Sequential
from cnn.photos import Photo, model_input
from cnn.plots.style import DIVERGING, GREY, INK, bare, new_figure, show_photo

Array = np.ndarray


def filters(model: Sequential, called: str | None = None) -> Figure:
    """The filters of the first convolution, each weight as a shade with its number; one scale for all.

    called: what the title calls the layer, if not by its name.

    Raises ValueError for a model without a convolution.
    """
    layer = convolutions(model)[0]
    kernel = layer.params["kernel"][:, :, 0]  # what they look for in the first channel: photos have one
    limit, columns = float(np.abs(kernel).max()), 8
    rows = -(-kernel.shape[-1] // columns)
    figure = new_figure(12, 0.9 + 1.62 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[kernel.shape[-1] :]:
        axes.set_visible(False)
    for f in range(kernel.shape[-1]):
        shown = grid[f].imshow(kernel[..., f], cmap=DIVERGING, vmin=-limit, vmax=limit)
        bare(grid[f])
        grid[f].set_title(f"{f}", fontsize=11, color=INK, pad=3)
        if kernel.shape[0] <= 3:
            for u, v in np.ndindex(kernel.shape[:2]):
                color = "white" if abs(kernel[u, v, f]) > 0.6 * limit else INK
                grid[f].text(v, u, _short(kernel[u, v, f]), ha="center", va="center", fontsize=9.5, color=color)
    _scale(figure, shown, f"weight, {-limit:.2f} to {limit:.2f}")
    height, width, count = kernel.shape
    figure.suptitle(
        f"What {called or layer.name} looks for: its {count} filters of {height} x {width}", fontsize=16, color=INK
    )
    return figure


def _short(value):
    """+.27 for 0.27: sign and two digits; 0 for what rounds to it."""
    rounded = round(float(value), 2) + 0.0  # the sum turns -0.0 into 0.0
    return f"{rounded:+.2f}".replace("0.", ".", 1).replace("-", "−") if rounded else "0"


def feature_maps(model: Sequential, photo: Photo, layer: str | None = None, called: str | None = None) -> Figure:
    """All feature maps of a photo behind one convolution (default: the first) and its activation; one scale for all.

    called: what the title calls the layer, if not by its name.

    Raises ValueError when there is no such convolution.
    """
    name = layer or known(convolutions(model)[0].name)
    maps = activations(model, photo.pixels)[name]
    if maps.ndim != 3:
        raise ValueError(f"feature_maps: layer: expected a convolution or pooling, got {name!r}")
    count, columns = maps.shape[-1], 8
    rows = -(-count // columns)
    figure = new_figure(12, 0.9 + 1.36 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    for f in range(count):
        shown = grid[f].imshow(maps[..., f], cmap="magma", vmin=0, vmax=float(maps.max()) or 1.0)
        bare(grid[f])
        silent = "" if maps[..., f].any() else "  silent"
        grid[f].set_title(f"{f}{silent}", fontsize=11, color=INK, pad=2, loc="left")
    _scale(figure, shown, f"activation, 0 to {maps.max():.2f}")
    size, zeros = f"{maps.shape[0]} x {maps.shape[1]}", float((maps == 0).mean())
    title = f"{photo.title} behind {called or name}: {count} feature maps of {size}, {zeros:.0%} of the cells are 0"
    figure.suptitle(title, fontsize=16, color=INK)
    return figure


def journey(model: Sequential, photo: Photo, maps: int = 6) -> Figure:
    """A photo's way through the convolutions and poolings: of each the maps that answer it most strongly.

    Raises ValueError for a model without a convolution.
    """
    convolutions(model)
    stages = [layer for layer in model.chain if isinstance(layer, Conv2D | MaxPooling2D)]
    values = activations(model, photo.pixels)
    figure = new_figure(2.1 * (len(stages) + 1), 1.62 * maps + 0.9)
    grid = figure.subplots(maps, len(stages) + 1, squeeze=False)
    show_photo(grid[0, 0], photo.pixels)
    grid[0, 0].set_title(f"{photo.title}\n{' x '.join(map(str, photo.pixels.shape))}", fontsize=13, color=INK)
    for axes in grid[1:, 0]:
        axes.set_visible(False)
    strongest = None
    for column, layer in enumerate(stages, start=1):
        shown = values[known(layer.name)]
        if isinstance(layer, Conv2D) or strongest is None:  # a pooling is shown under the maps that it pools
            strongest = np.sort(np.argsort(-shown.sum(axis=(0, 1)), kind="stable")[:maps])
        for row, f in enumerate(strongest):
            grid[row, column].imshow(shown[..., f], cmap="magma", vmin=0, vmax=float(shown.max()) or 1.0)
            bare(grid[row, column])
            grid[row, column].set_ylabel(f"map {f}", fontsize=11, color=INK)
        height, width, count = shown.shape
        name = "max pooling" if isinstance(layer, MaxPooling2D) else layer.name
        grid[0, column].set_title(f"{name}\n{height} x {width} x {count}", fontsize=13, color=INK)
    return figure


def activations(model: Sequential, pixels: Array) -> dict[str, Array]:
    """What every layer makes of one photo (28, 28), uint8, by the layer's name; without the batch axis."""
    x = model_input(model, pixels[None])
    values: dict[str, Array] = {}
    for layer in model.chain:
        x, _ = layer.forward(x)
        values[known(layer.name)] = x[0]
    return values


def convolutions(model: Sequential) -> list[Conv2D]:
    """The convolutions of a model. Raises ValueError where there is none."""
    found = [layer for layer in model.chain if isinstance(layer, Conv2D)]
    if not found:
        raise ValueError(f"{model}: expected a model with a convolution")
    return found


def _scale(figure, shown, label):
    """A colour bar with its label, for the whole figure."""
    bar = figure.colorbar(shown, ax=figure.axes, fraction=0.02, pad=0.01, aspect=40)
    bar.ax.tick_params(labelsize=11, color=GREY)
    bar.set_label(label, fontsize=12, color=INK)
    bar.outline.set_visible(False)
