"""The worksheets as pages of A4, with blanks or, for the teacher, with the answers in them; in grey as well."""

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.patches import Rectangle

from cnn.checks import known
from cnn.lessons.worksheet import RATE, Sheet
from cnn.plots.style import BLUE, GREY, INK, PlainFigure

Array = np.ndarray
WIDTH, HEIGHT = 210, 297  # millimetres of A4; all places and sizes below are in them
LEFT, RIGHT = 18, 192
INCH = 25.4
LINE = 7  # the height of a line of a table
GIVEN, EMPTY = "#eeeeee", "white"


class Page:
    """A page of A4. key: blanks hold their answers."""

    def __init__(self, key: bool):
        self.key = key
        self.figure = PlainFigure(figsize=(WIDTH / INCH, HEIGHT / INCH))
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0), frame_on=False)
        self.axes.set_axis_off()

    def text(self, x: float, y: float, words: str, size: float = 10, bold: bool = False, side: str = "left") -> None:
        """A line of words that stands on y."""
        weight = "bold" if bold else "normal"
        self.axes.text(x, y, words, fontsize=size, fontweight=weight, ha=side, va="baseline", color=INK)

    def paragraph(self, x: float, y: float, words: str, width: int = 96) -> None:
        """Words in lines of so many characters, the first of which stands on y."""
        for k, line in enumerate(textwrap.wrap(words, width)):
            self.text(x, y + 5.5 * k, line)

    def box(self, x: float, y: float, words: str, blank: bool = False, width: float = 16, height: float = 8) -> None:
        """A cell with its upper left corner here: grey with a number in it, or a blank."""
        edge, thick = (INK, 1.2) if blank else (GREY, 0.6)
        ground = EMPTY if blank else GIVEN
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=ground, edgecolor=edge, linewidth=thick))
        if not blank or self.key:
            colour, weight = (BLUE, "bold") if blank else (INK, "normal")
            place = x + width / 2, y + height / 2 + 0.3
            self.axes.text(*place, words, ha="center", va="center", fontsize=10, color=colour, fontweight=weight)

    def grid(self, x: float, y: float, values: Array, title: str, form: str, blank: bool = False) -> None:
        """A small matrix under its title."""
        self.text(x, y - 2, title, 9.5)
        for (row, column), value in np.ndenumerate(values):
            self.box(x + 16 * column, y + 8 * row, number(value, form), blank)

    def row(self, y: float, *entries: tuple[str, str, bool]) -> None:
        """Labelled boxes beside each other: (label, number, whether it is a blank)."""
        for k, (label, words, blank) in enumerate(entries):
            self.text(LEFT + 45 * k, y + 2, label, 9.5)
            self.box(LEFT + 45 * k, y + 4, words, blank, width=24)

    def photo(self, x: float, y: float, size: float, pixels: Array, corner: tuple[int, int], side: int) -> None:
        """A photo with a frame around a window of side x side pixels; rows and columns are numbered by sevens."""
        self.axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(x, x + size, y + size, y), aspect="auto")
        one = size / len(pixels)
        place = (x + one * corner[1], y + one * corner[0])
        for colour, thick in (("white", 3.2), ("black", 1.4)):  # seen on dark and on bright pixels
            frame = Rectangle(place, one * side, one * side, fill=False, edgecolor=colour, linewidth=thick)
            self.axes.add_patch(frame)
        for k in range(0, len(pixels), 7):
            self.text(x + one * (k + 0.5), y - 2, str(k), 7, side="center")
            self.text(x - 1, y + one * (k + 0.5), str(k), 7, side="right")
        self.axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))

    def head(self, sheet: Sheet, title: str, of: int) -> None:
        """Title, whose page this is, and how to make it again."""
        self.text(LEFT, 19, title, 17, bold=True)
        self.text(RIGHT, 19, f"sheet {sheet.student} of {of}", side="right")
        self.text(LEFT, 29, "Answers for the teacher" if self.key else "Name: " + "_" * 42, 11, bold=self.key)
        self.text(RIGHT, 29, f"{sheet.photo.title}, label {label_of(sheet)}", side="right")
        self.axes.plot((LEFT, RIGHT), (33, 33), color=INK, linewidth=1)
        self.text(LEFT, 287, f"Seed {sheet.seed}, sheet {sheet.student}. Compute with the numbers as printed.", 8)

    def task(self, y: float, title: str, words: str) -> None:
        """The heading of a task, and what is to be done."""
        self.text(LEFT, y, title, 12, bold=True)
        self.paragraph(LEFT, y + 7, words)


def label_of(sheet: Sheet) -> str:
    """The name of the class that the photo belongs to."""
    return sheet.class_names[known(sheet.photo.label)]


def number(value: float, form: str = "+.3f") -> str:
    """A number with a real minus sign; what rounds to nothing has no sign."""
    text = format(float(value), form)
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")


def forward_page(sheet: Sheet, of: int, key: bool) -> PlainFigure:
    """Tasks 1 to 3: pixel, convolution, ReLU and pooling."""
    page, cell = Page(key), sheet.cell
    i, j, f = cell.place
    page.head(sheet, "Forward: from pixels to a number", of)
    page.photo(LEFT + 4, 44, 62, sheet.photo.pixels, (i - 1, j - 1), 3)
    page.text(95, 47, "1. A pixel", 12, bold=True)
    framed = f"The middle of the framed window is in row {i}, column {j}, both counted from 0. Its byte is {cell.byte}."
    page.paragraph(95, 55, f"The network takes x = byte / 255; black is 0, white is 255. {framed}", 50)
    page.text(95, 83, f"x[{i},{j}] =")
    page.box(118, 78, number(cell.pixel, ".3f"), blank=True, width=24)
    laid = f"Filter {f} lies on the window. Multiply what lies on each other, and add up the nine products. Then add"
    page.task(120, "2. One cell of the convolution", f"{laid} the bias: that is z. The ReLU makes 0 of a negative z.")
    x, y = LEFT, 147
    for title, values, form, sign in (
        ("window of x", cell.window, ".3f", "×"),
        (f"filter {f}", cell.weights, "+.3f", "="),
        ("products", cell.products, "+.3f", ""),
    ):
        page.grid(x, y, values, title, form, blank=title == "products")
        page.text(x + 52, y + 13.5, sign, 14, side="center")
        x += 56
    total, z, a = (number(value) for value in (cell.products.sum(), cell.z, cell.a))
    page.row(
        180, ("sum of the nine", total, True), ("+ bias", number(cell.bias), False), ("= z", z, True), ("ReLU", a, True)
    )
    pooling(page, sheet)
    return page.figure


def pooling(page: Page, sheet: Sheet) -> None:
    """Task 3."""
    (i, j, _), a = sheet.pool.place, sheet.pool.a
    four = f"Four neighbours of the same map: rows {2 * i} and {2 * i + 1}, columns {2 * j} and {2 * j + 1}."
    page.task(208, "3. ReLU and max pooling", f"{four} First the ReLU of each, then the largest goes on.")
    page.grid(LEFT, 231, sheet.pool.z, "z, as the network has it", "+.2f")
    page.text(LEFT + 41, 240.5, "ReLU →", 9, side="center")
    page.grid(LEFT + 50, 231, a, "a = max(0, z)", ".2f", blank=True)
    page.text(LEFT + 90, 240.5, "max →", 9, side="center")
    page.grid(LEFT + 98, 235, np.array([[sheet.pool.winner]]), "winner", ".2f", blank=True)
    page.text(LEFT, 260, f"Which of the four goes on, and what becomes of the other three? {'_' * 31}")
    if page.key:
        row, column = sheet.pool.at
        page.text(
            LEFT, 267, f"The one in row {2 * i + row}, column {2 * j + column}; the others change nothing.", bold=True
        )
        page.text(LEFT, 273, f"With all digits, z of task 2 is {number(sheet.cell.exact, '+.5f')}.", bold=True)


def backward_page(sheet: Sheet, of: int, key: bool) -> PlainFigure:
    """Tasks 4 and 5: softmax, loss and error; the gradients of two weights, and a step."""
    page, classes = Page(key), sheet.classes
    page.head(sheet, "Backward: from the mistake to a weight", of)
    wanted = (
        "Fill in the framed cells. max is the largest z; p is exp divided by the sum of all exp; y is 1 for the label"
    )
    page.task(43, "4. Probabilities, loss and error", f"{wanted} and 0 for the others. The loss is −ln p of the label.")
    columns, top = (LEFT, 58, 85, 112, 139, 166), 66
    for x, title in zip(columns, ("class", "z", "exp(z − max)", "p", "y", "p − y"), strict=True):
        page.text(x, top, title, 9.5, bold=True)
    for k, name in enumerate(sheet.class_names):
        y, blank = top + 2 + LINE * k, k in classes.first
        page.text(LEFT, y + 5, name)
        page.box(columns[1], y, number(classes.z[k], "+.2f"), width=24, height=LINE)
        filled = (classes.powers[k], ".3f"), (classes.p[k], ".3f"), (classes.y[k], ".0f"), (classes.error[k], "+.3f")
        for x, (value, form) in zip(columns[2:], filled, strict=True):
            page.box(x, y, number(value, form), blank, 24, LINE)
    page.row(145, ("sum of exp", number(classes.total, ".3f"), True), ("loss", number(classes.loss, ".2f"), True))
    if key:
        page.text(LEFT + 90, 154.5, f"With all digits the loss is {classes.exact_loss:.4f}.", bold=True)
    weights(page, sheet)
    return page.figure


def weights(page: Page, sheet: Sheet) -> None:
    """Task 5."""
    w, dense, name = sheet.weight, sheet.dense, label_of(sheet)
    u, v, f = w.place
    last = f"a) A weight of the last layer leads from unit {dense.unit} to {name}. Through it came"
    error = "Its gradient is that, times the error of this class, p − y."
    page.task(168, "5. The gradient of a weight, and one step", f"{last} {number(dense.came_in, '.2f')}. {error}")
    page.text(LEFT, 190.5, "gradient =")
    page.box(LEFT + 22, 185, number(dense.gradient), blank=True, width=24)
    used = f"b) The weight in row {u}, column {v} of filter {f} was used at every place of the photo: there it was"
    page.paragraph(
        LEFT,
        201,
        f"{used} multiplied with a pixel, and dz tells how much the result matters. Multiply; then add up all.",
    )
    top = 216
    for x, title in zip((LEFT, 54, 78, 102), ("row, column", "pixel", "dz", "product"), strict=True):
        page.text(x, top, title, 9.5, bold=True)
    for k, (i, j) in enumerate(w.cells):
        y = top + 2 + LINE * k
        page.text(LEFT, y + 5, f"{i}, {j}")
        page.box(54, y, number(w.pixels[k], ".2f"), width=22, height=LINE)
        page.box(78, y, number(w.slopes[k]), width=22, height=LINE)
        page.box(102, y, number(w.products[k]), True, 22, LINE)
    y = top + 2 + LINE * len(w.cells)
    page.text(LEFT, y + 5, f"all others, {w.others} that are not 0")
    page.box(102, y, number(w.rest), width=22, height=LINE)
    page.text(132, top + 7, "gradient =")
    page.box(168, top + 2, number(w.gradient), blank=True, width=24)
    page.text(132, top + 20, f"The weight is {number(w.w)}. One step:")
    page.text(132, top + 26, f"new = weight − {RATE} × gradient")
    page.text(132, top + 36, "new =")
    page.box(168, top + 31, number(w.new_w, "+.4f"), blank=True, width=24)
    page.text(LEFT, 270, f"Will this step make the loss larger or smaller, and why? {'_' * 41}")
    if page.key:
        before, after = w.losses
        size, why = ("Smaller", "it goes downhill") if after < before else ("Larger", "the step was too long")
        said = f"{size}: {why}. {before:.5f} becomes {after:.5f} if this weight alone moves."
        page.text(LEFT, 276, said, bold=True)
        page.text(LEFT, 281.5, f"With all digits the gradient is {number(w.exact, '+.5f')}.", bold=True)


ANSWERS = ("sheet", "photo", "x", "z", "winner", "p label", "loss", "5 a)", "5 b)", "new w")
A_PAGE = 32  # lines of the overview


def overview(some: Sequence[Sheet]) -> PlainFigure:
    """The chief answers of many sheets, one line each."""
    page, wide = Page(key=True), (RIGHT - LEFT) / len(ANSWERS)
    page.text(LEFT, 19, "The key at a glance", 17, bold=True)
    page.text(LEFT, 29, f"Seed {some[0].seed}. Whole pages with all answers follow. The last digit may differ.")
    for n, words in enumerate([ANSWERS, *map(chief, some)]):
        for k, word in enumerate(words):
            page.text(LEFT + wide * (k + 0.9), 41 + LINE * n, word, bold=n == 0, side="right")
        page.axes.plot((LEFT, RIGHT), (43 + LINE * n,) * 2, color=GREY, linewidth=0.4 if n else 1)
    return page.figure


def chief(sheet: Sheet) -> list[str]:
    """The answers of one line."""
    cell, classes, weight = sheet.cell, sheet.classes, sheet.weight
    label = known(sheet.photo.label)
    few = (cell.pixel, ".3f"), (cell.z, "+.3f"), (sheet.pool.winner, ".2f"), (classes.p[label], ".3f")
    more = (classes.loss, ".2f"), (sheet.dense.gradient, "+.3f"), (weight.gradient, "+.3f"), (weight.new_w, "+.4f")
    return [str(sheet.student), str(sheet.photo.number), *(number(*one) for one in (*few, *more))]


def pdfs(made: Iterable[Sheet]) -> tuple[bytes, bytes]:
    """(the students' pages, the teacher's key) as PDF; the same sheets give the same bytes."""
    sheets = list(made)
    glance = (overview(sheets[k : k + A_PAGE]) for k in range(0, len(sheets), A_PAGE))
    return pdf(pages_of(sheets, key=False)), pdf(chain(glance, pages_of(sheets, key=True)))


def pages_of(sheets: Sequence[Sheet], key: bool) -> Iterator[PlainFigure]:
    """Two pages for each sheet."""
    for sheet in sheets:
        yield forward_page(sheet, len(sheets), key)
        yield backward_page(sheet, len(sheets), key)


def pdf(figures: Iterable[PlainFigure]) -> bytes:
    """The figures as the pages of one PDF, without dates or versions."""
    data = io.BytesIO()
    with PdfPages(data, metadata={"CreationDate": None, "Producer": None, "Creator": None}) as pages:
        for figure in figures:
            pages.savefig(figure)
    return data.getvalue()
