"""Pictures that explain one idea each with real numbers: one step of a convolution, stride and padding, max pooling."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnn.checks import known
from cnn.layers import place_windows
from cnn.models import Sequential
from cnn.photos import Photo, model_input
from cnn.plots.features import activations, convolutions
from cnn.plots.style import BLUE, DIVERGING, GREY, INK, MARK, ORANGE, PALE, bare, new_figure, show_photo
from kernels.geometry import window_geometry

Array = np.ndarray


def convolution_step(model: Sequential, photo: Photo, cell: tuple[int, int], filter_number: int) -> Figure:
    """One output cell of the first convolution: window times filter, summed, plus bias, through the ReLU."""
    layer = convolutions(model)[0]
    (i, j), f = cell, filter_number
    _, _, pads = place_windows(layer, known(layer.input_shape), layer.kernel_size)
    pixels = model_input(model, photo.pixels)[..., 0].astype(np.float64)
    padded = np.pad(pixels, (pads[:2], pads[2:]))
    top, left = i * layer.strides[0], j * layer.strides[1]
    window = padded[top : top + layer.kernel_size[0], left : left + layer.kernel_size[1]]
    kernel = layer.params["kernel"][:, :, 0, f].astype(np.float64)
    products, bias = window * kernel, float(layer.params["bias"][f])
    matrices = [
        Matrix(window, f"window around row {i}, column {j}"),
        Matrix(kernel, f"×  filter {f}", signed=True),
        Matrix(products, "=  nine products", signed=True),
    ]
    z = float(products.sum()) + bias
    said = (
        f"sum {products.sum():+.4f},  plus bias {bias:+.4f}  =  {z:+.4f},   ReLU: max(0, {z:+.4f}) = {max(0.0, z):.4f}"
    )
    return convolution_picture(photo.pixels, photo.title, (top - pads[0], left - pads[2]), matrices, said)


class Matrix(NamedTuple):
    """A small matrix. signed: it may hold negative numbers. words: what stands in the cells instead of digits."""

    values: Array
    title: str
    signed: bool = False
    words: Array | None = None


def convolution_picture(photo: Array, title: str, corner: tuple[int, int], matrices: list[Matrix], said: str) -> Figure:
    """A photo with a window at this corner (row, column), the matrices window, filter and products, and their sum."""
    height, width = matrices[0].values.shape
    scale = max(1, width / 4, height / 4)  # so that the numbers of a large window have room
    figure = new_figure(3.5 + 10.5 * scale, 1 + 3.5 * scale)
    axes = figure.subplots(1, 4, width_ratios=(1, scale, scale, scale))
    show_photo(axes[0], photo, title, size=14)
    frame(axes[0], corner[0], corner[1], height, width)
    for one, matrix in zip(axes[1:], matrices, strict=True):
        numbers(one, matrix)
    figure.supxlabel(said, fontsize=16, color=INK)
    return figure


def frame(
    axes: Axes, row: float, column: float, height: float, width: float, color: str = MARK, inset: float = 0.0
) -> None:
    """A frame around some cells of an image."""
    corner, size = (column - 0.5 + inset, row - 0.5 + inset), (width - 2 * inset, height - 2 * inset)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=3))


def numbers(axes: Axes, matrix: Matrix, high: float | None = None) -> None:
    """Shades, and every number in its cell: grey for what is never negative, else blue and orange with signs."""
    values = matrix.values
    size = 14 if values.shape[1] <= 4 else 11
    high = high or (float(np.abs(values).max()) or 1.0 if matrix.signed else 1.0)
    low, colours = (-high, DIVERGING) if matrix.signed else (0, "gray")
    axes.imshow(values, cmap=colours, vmin=low, vmax=high)
    for u, v in np.ndindex(values.shape):
        dark = abs(values[u, v]) > 0.4 * high if matrix.signed else values[u, v] < 0.5 * high
        word = _digits(values[u, v], matrix.signed) if matrix.words is None else str(matrix.words[u, v])
        axes.text(v, u, word, ha="center", va="center", fontsize=size, color="white" if dark else INK)
    bare(axes)
    axes.set_title(matrix.title, fontsize=14, color=INK, loc="left")


def _digits(value, signed):
    rounded = round(float(value), 3) + 0.0  # the sum turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.3f}"


ROWS = [(28, 1, "same"), (28, 2, "same"), (28, 2, "valid"), (5, 2, "same")]  # size, stride, padding


def stride_and_padding(kernel: int = 3) -> Figure:
    """Where windows stand along a row of 28 cells or 5, for stride 1 and 2, 'same' and 'valid', padded as in Keras."""
    figure = new_figure(13, 5.6)
    for axes, (size, stride, padding) in zip(figure.subplots(len(ROWS), 1), ROWS, strict=True):
        _windows(axes, size, kernel, stride, padding)
    return figure


def _windows(axes, size, kernel, stride, padding):
    """The cells of one row, the padding dashed, and the first two windows and the last above them."""
    out, before, after = window_geometry(size, kernel, stride, padding)
    for cell in range(-before, size + after):
        outside = not 0 <= cell < size
        color, line = ("white", "--") if outside else (PALE, "-")
        axes.add_patch(Rectangle((cell, 0), 1, 1, facecolor=color, edgecolor=GREY, linestyle=line))
        axes.text(cell + 0.5, 0.5, "0" if outside else str(cell), ha="center", va="center", fontsize=10, color=INK)
    for level, window in enumerate((0, 1, out - 1)):  # the second stands higher, so that none hides another
        start, color = window * stride - before, (BLUE, ORANGE, BLUE)[level]
        row = 1.15 if window != 1 else 1.65
        axes.add_patch(Rectangle((start + 0.06, row), kernel - 0.12, 0.36, facecolor=color, edgecolor="none"))
        axes.text(start + kernel / 2, row + 0.16, f"{window}", ha="center", va="center", fontsize=10, color="white")
    last = (out - 1) * stride - before + kernel  # what lies behind is never looked at
    if last < size:
        axes.add_patch(Rectangle((last, 0), size - last, 1, fill=False, hatch="xxxx", edgecolor=ORANGE))
    unused = f", column {last} is never used" if last < size else ""
    title = f"stride {stride}, '{padding}':  {size} → {out},  padding {before} before and {after} after{unused}"
    axes.set_title(title, fontsize=14, loc="left", color=INK)
    axes.set(xlim=(-1.2, 29.2), ylim=(-0.1, 2.1))
    axes.set_axis_off()


def pooling_step(
    model: Sequential, photo: Photo, map_number: int, corner: tuple[int, int] = (10, 10), size: int = 6
) -> Figure:
    """A part of one feature map and what 2x2 max pooling leaves of it: the largest of each four, framed."""
    name = known(convolutions(model)[0].name)
    names = [known(layer.name) for layer in model.layers]
    values = activations(model, photo.pixels)
    (top, left), f = corner, map_number
    before = values[name][top : top + size, left : left + size, f]
    after = values[names[names.index(name) + 1]][top // 2 : (top + size) // 2, left // 2 : (left + size) // 2, f]
    fours = before.reshape(size // 2, 2, size // 2, 2).transpose(0, 2, 1, 3).reshape(size // 2, size // 2, 4)
    winners = [(2 * i + w // 2, 2 * j + w % 2) for (i, j), w in np.ndenumerate(fours.argmax(axis=2))]
    place = f"rows {top}-{top + size - 1}, columns {left}-{left + size - 1}"
    said = "after 2x2 max pooling: the largest of each four\nstays, and where it stood is forgotten"
    matrices = Matrix(before, f"{photo.title}, map {f} of {name}:\n{place}"), Matrix(after, said)
    corners = [(2 * i, 2 * j) for i, j in np.ndindex(after.shape)]
    return pooling_picture(*matrices, (2, 2), corners, winners)


def pooling_picture(
    before: Matrix,
    after: Matrix,
    pool_size: tuple[int, int],
    corners: Iterable[tuple[int, int]],
    winners: Iterable[tuple[int, int]],
    notes: Iterable[tuple[int, int, str]] = (),
) -> Figure:
    """A part of a map and what pooling makes of it: windows at these corners, winners and notes at these cells.

    corners, winners: (row, column) in `before`; notes: (row, column, words).
    """
    figure = new_figure(11, 5.5)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    high = float(before.values.max()) or 1.0
    numbers(left, before, high)
    numbers(right, after, high)
    for row, column in corners:
        frame(left, row, column, pool_size[0], pool_size[1], color=GREY)
    for row, column in winners:
        frame(left, row, column, 1, 1, inset=0.08)
    for row, column, words in notes:
        left.text(column - 0.4, row - 0.3, words, fontsize=12, color=ORANGE, fontweight="bold")
    return figure
