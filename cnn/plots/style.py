"""The look that all pictures share. Figures are made without pyplot: they need no screen and leave nothing open."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from cnn.terminal import visible

BLUE, ORANGE, INK, GREY = "#1f5fa8", "#c8501e", "#222222", "#8a8a8a"
PALE = "#e8eef6"
DARK_BLUE, DARK_ORANGE, MARK = "#0b3d75", "#8f3409", "#b3006b"
# Negative orange, positive blue, as everywhere: told apart by all eyes.
DIVERGING = LinearSegmentedColormap.from_list("signs", [DARK_ORANGE, ORANGE, "white", BLUE, DARK_BLUE])
DPI = 150
SHOWN_DPI = 80  # in a notebook, whose column is narrower than a page


class PlainFigure(Figure):
    """A figure whose texts stand as they are: to matplotlib alone, a class called "$5 to $9" would be mathematics.

    Control characters, from the names of files, are shown as on the terminal.
    """

    def draw(self, renderer: RendererBase) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
            if text.get_text() != (plain := visible(text.get_text(), "\n")):
                text.set_text(plain)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """What a notebook shows, also where nobody said %matplotlib inline."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=SHOWN_DPI)
        return picture.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out by matplotlib."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    return PlainFigure(figsize=(width, height), dpi=DPI, layout=layout)


def show_photo(
    axes: Axes, photo: np.ndarray, title: str | None = None, frame: str = GREY, width: float = 1.0, size: float = 12
) -> None:
    """A photo (H, W), bytes or numbers from 0 to 1, with a frame and no ticks."""
    axes.imshow(photo, cmap="gray", vmin=0, vmax=255 if photo.dtype == "uint8" else 1, interpolation="nearest")
    bare(axes, frame, width)
    if title:
        axes.set_title(title, fontsize=size, color=INK, loc="left")


def bare(axes: Axes, frame: str = GREY, width: float = 1.0) -> None:
    """No ticks; a frame of this colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=frame, linewidth=width)


def open_axes(axes: Axes) -> None:
    """No line at the top and the right."""
    axes.spines[["top", "right"]].set_visible(False)
