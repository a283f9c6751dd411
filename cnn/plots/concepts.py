"""Pictures that explain one idea each with real numbers: one step of a convolution, stride and padding, max pooling."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnn.layers import place_windows
from cnn.photos import Photo, model_input
from cnn.plots.features import activations, convolutions
from cnn.plots.style import BLUE, DIVERGING, GREY, INK, ORANGE, PALE, bare, new_figure, show_photo
from kernels.reference import window_geometry


def convolution_step(model, photo: Photo, cell: tuple[int, int], filter_number: int) -> Figure:
    """One output cell of the first convolution: window times filter, summed, plus bias, through the ReLU."""
    layer = convolutions(model)[0]
    (i, j), f = cell, filter_number
    _, _, pads = place_windows(layer, layer.input_shape, layer.kernel_size)
    pixels = model_input(model, photo.pixels)[..., 0].astype(np.float64)
    padded = np.pad(pixels, (pads[:2], pads[2:]))
    top, left = i * layer.strides[0], j * layer.strides[1]
    window = padded[top : top + layer.kernel_size[0], left : left + layer.kernel_size[1]]
    kernel = layer.params["kernel"][:, :, 0, f].astype(np.float64)
    products, bias = window * kernel, float(layer.params["bias"][f])
    figure = new_figure(14, 4.5)
    axes = figure.subplots(1, 4)
    show_photo(axes[0], photo.pixels, photo.title, size=14)
    corner = left - pads[2] - 0.5, top - pads[0] - 0.5
    axes[0].add_patch(Rectangle(corner, *window.T.shape, fill=False, edgecolor=ORANGE, linewidth=3))
    _numbers(axes[1], window, f"window around row {i}, column {j}", "gray", 0, 1)
    limit = float(np.abs(kernel).max())
    _numbers(axes[2], kernel, f"×  filter {f}", DIVERGING, -limit, limit, signed=True)
    limit = float(np.abs(products).max()) or 1.0
    _numbers(axes[3], products, "=  nine products", DIVERGING, -limit, limit, signed=True)
    z = float(products.sum()) + bias
    text = (
        f"sum {products.sum():+.4f},  plus bias {bias:+.4f}  =  {z:+.4f},   ReLU: max(0, {z:+.4f}) = {max(0.0, z):.4f}"
    )
    figure.supxlabel(text, fontsize=17, color=INK)
    return figure


def _numbers(axes, values, title, colours, low, high, signed=False):
    """A small matrix: shades, and every number in its cell."""
    axes.imshow(values, cmap=colours, vmin=low, vmax=high)
    middle = (low + high) / 2
    for u, v in np.ndindex(values.shape):
        strong = values[u, v] < middle if colours in ("gray", "magma") else abs(values[u, v]) > 0.6 * high
        axes.text(
            v, u, _digits(values[u, v], signed), ha="center", va="center", fontsize=14, color="white" if strong else INK
        )
    bare(axes)
    axes.set_title(title, fontsize=14, color=INK, loc="left")


def _digits(value, signed):
    rounded = round(float(value), 3) + 0.0  # the sum turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.3f}"


ROWS = [(28, 1, "same"), (28, 2, "same"), (28, 2, "valid"), (5, 2, "same")]  # size, stride, padding


def stride_and_padding(kernel: int = 3) -> Figure:
    """Where the windows stand along a row of 28 cells or 5, for stride 1 and 2, 'same' and 'valid', padded as Keras does."""
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


def pooling_step(model, photo: Photo, map_number: int, corner: tuple[int, int] = (10, 10), size: int = 6) -> Figure:
    """A part of one feature map and what 2x2 max pooling leaves of it: the largest of each four, framed."""
    name = convolutions(model)[0].name
    names = [layer.name for layer in model.layers]
    values = activations(model, photo.pixels)
    (top, left), f = corner, map_number
    before = values[name][top : top + size, left : left + size, f]
    after = values[names[names.index(name) + 1]][top // 2 : (top + size) // 2, left // 2 : (left + size) // 2, f]
    figure = new_figure(11, 5.4)
    axes = figure.subplots(1, 2, width_ratios=(1.35, 1))
    high = float(before.max()) or 1.0
    place = f"rows {top}-{top + size - 1}, columns {left}-{left + size - 1}"
    _numbers(axes[0], before, f"{photo.title}, map {f} of {name}:\n{place}", "magma", 0, high)
    title = "after 2x2 max pooling: the largest of each four\nstays, and where it stood is forgotten"
    _numbers(axes[1], after, title, "magma", 0, high)
    for i, j in np.ndindex(size // 2, size // 2):
        axes[0].add_patch(Rectangle((2 * j - 0.5, 2 * i - 0.5), 2, 2, fill=False, edgecolor="white", linewidth=3))
        u, v = divmod(int(before[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].argmax()), 2)
        corner = 2 * j + v - 0.42, 2 * i + u - 0.42
        axes[0].add_patch(Rectangle(corner, 0.84, 0.84, fill=False, edgecolor="#35b6ff", linewidth=3))
    return figure
