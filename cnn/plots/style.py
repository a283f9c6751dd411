"""The look that all pictures share. Figures are made without pyplot: they need no screen and leave nothing open."""

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, ORANGE, INK, GREY = "#1f5fa8", "#c8501e", "#222222", "#8a8a8a"
PALE = "#e8eef6"
DARK_BLUE, DARK_ORANGE, MARK = "#0b3d75", "#8f3409", "#b3006b"
# Negative orange, positive blue, as everywhere: told apart by all eyes.
DIVERGING = LinearSegmentedColormap.from_list("signs", [DARK_ORANGE, ORANGE, "white", BLUE, DARK_BLUE])
DPI = 150


class PlainFigure(Figure):
    """A figure whose texts stand as they are: to matplotlib alone, a class called "$5 to $9" would be mathematics."""

    def draw(self, renderer):
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out by matplotlib."""
    figure = PlainFigure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def show_photo(axes, photo, title: str | None = None, frame: str = GREY, width: float = 1.0, size: float = 12) -> None:
    """A photo (H, W), bytes or numbers from 0 to 1, with a frame and no ticks."""
    axes.imshow(photo, cmap="gray", vmin=0, vmax=255 if photo.dtype == "uint8" else 1, interpolation="nearest")
    bare(axes, frame, width)
    if title:
        axes.set_title(title, fontsize=size, color=INK, loc="left")


def bare(axes, frame: str = GREY, width: float = 1.0) -> None:
    """No ticks; a frame of this colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=frame, linewidth=width)


def open_axes(axes) -> None:
    """No line at the top and the right."""
    axes.spines[["top", "right"]].set_visible(False)
