"""The numbers of a worksheet: a real photo, drawn for each student, and what is to be computed with it by hand.

What is printed is rounded to a few places, and the answers are computed from what is printed, as the student
does; beside them stands what the network has with all its digits.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cnn import photos
from cnn.checks import known
from cnn.explain.trace import Trace, trace, update
from cnn.models import Sequential
from cnn.photos import Photo

Array = np.ndarray
DOUBT = (0.4, 0.8)  # how sure the network is of the photos that are drawn: with 0 and 1 there is nothing to compute
LEAST = 0.1  # of the label: whoever rounds its probability to 0 cannot take a logarithm
CHUNK = 200  # photos that are looked at together in search of such
TERMS = 5  # of the long sum that are written out
RATE = 0.01
CLASSES = 3  # the most probable ones, whose rows are to be filled in


class Cell(NamedTuple):
    """Task 1 and 2: a cell of the first convolution. All numbers as printed; exact: z with all digits."""

    place: tuple[int, int, int]  # row, column, filter
    byte: int
    pixel: float
    window: Array
    weights: Array
    products: Array
    bias: float
    z: float
    a: float
    exact: float


class Pool(NamedTuple):
    """Task 3: a window of max pooling, before and after the ReLU."""

    place: tuple[int, int, int]
    z: Array
    a: Array
    winner: float
    at: tuple[int, int]  # where in the window the winner stands


class Classes(NamedTuple):
    """Task 4: softmax, loss and error. first: the classes to fill in, the most probable ones and the label."""

    z: Array
    powers: Array  # exp(z - largest z)
    total: float
    p: Array
    y: Array
    error: Array
    loss: float
    first: list[int]
    exact_loss: float


class DenseWeight(NamedTuple):
    """Task 5 a: a weight of the last layer, to the label."""

    unit: int
    came_in: float
    gradient: float


class FilterWeight(NamedTuple):
    """Task 5 b: a weight of a filter, the largest terms of its gradient, and a step."""

    place: tuple[int, int, int]  # row, column, filter
    w: float
    cells: list[tuple[int, int]]
    pixels: Array
    slopes: Array
    products: Array
    rest: float  # all other products together
    others: int  # how many of them are not 0
    gradient: float
    new_w: float
    exact: float  # the gradient with all digits
    losses: tuple[float, float]  # before and after this weight alone has taken its step


class Sheet(NamedTuple):
    """One student's worksheet."""

    student: int
    seed: int
    photo: Photo
    class_names: Sequence[str]
    cell: Cell
    pool: Pool
    classes: Classes
    dense: DenseWeight
    weight: FilterWeight


def sheets(model: Sequential, test: tuple[Array, Array], students: int, seed: int) -> Iterator[Sheet]:
    """The worksheets of students 1, 2, ...: each has its own photo and places; the same seed draws the same.

    Raises ValueError where no photo makes the network doubt.
    """
    taken: set[int] = set()
    for student in range(1, students + 1):
        rng = np.random.default_rng([seed, student])
        photo = photos.test_photo(draw_photo(model, test, rng, taken), *test)
        taken.add(known(photo.number))
        t = trace(model, photo.pixels, photo.label, photo.label)
        cell, classes = draw_cell(t, rng), classes_of(t)
        weights = dense_weight(t, classes), filter_weight(t, cell.place[2])
        yield Sheet(student, seed, photo, t.class_names, cell, pool_of(t, cell), classes, *weights)


def draw_photo(model: Sequential, test: tuple[Array, Array], rng: np.random.Generator, taken: set[int]) -> int:
    """The number of a photo that the network is in doubt about, and nobody else has."""
    order = rng.permutation(len(test[0]))
    for start in range(0, len(order), CHUNK):
        some = order[start : start + CHUNK]
        p = photos.probabilities(model, test[0][some])
        of_label = p[np.arange(len(some)), test[1][some]]
        doubted = (p.max(axis=1) >= DOUBT[0]) & (p.max(axis=1) <= DOUBT[1]) & (of_label >= LEAST)
        for index in some[doubted]:
            if index + 1 not in taken:
                return int(index) + 1
    raise ValueError(f"worksheets: expected more photos of which the network is {DOUBT[0]} to {DOUBT[1]} sure")


def draw_cell(t: Trace, rng: np.random.Generator) -> Cell:
    """A cell with much to compute: hardly any black in its window, both signs in its filter and in its pooling window.

    Where a photo has none, the largest number of the layer.
    """
    z = t["z1"]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(t["x"][..., 0], 1), (3, 3))
    full = (windows > 0.05).sum(axis=(2, 3)) >= 8
    fours = z.reshape(z.shape[0] // 2, 2, z.shape[1] // 2, 2, -1)
    mixed = ((fours > 0.02).any(axis=(1, 3)) & (fours < -0.02).any(axis=(1, 3))).repeat(2, 0).repeat(2, 1)
    both = (t["W1"] < -0.05).any(axis=(0, 1, 2)) & (t["W1"] > 0.05).any(axis=(0, 1, 2))
    fitting = np.argwhere(full[..., None] & mixed & both & (z > 0.1))
    if not len(fitting):
        fitting = np.argwhere(z == z.max())
    i, j, f = (int(n) for n in fitting[rng.integers(len(fitting))])
    window, weights = windows[i, j].round(3), t["W1"][:, :, 0, f].round(3)
    products, bias = (window * weights).round(3) + 0.0, round(float(t["b1"][f]), 3)
    total = round(float(products.sum()) + bias, 3)
    byte = int(np.asarray(t.photo)[i, j])
    numbers = byte, round(byte / 255, 3), window, weights, products, bias, total, max(0.0, total)
    return Cell((i, j, f), *numbers, float(z[i, j, f]))


def pool_of(t: Trace, cell: Cell) -> Pool:
    """The window of the pooling in which that cell lies."""
    i, j, f = cell.place[0] // 2, cell.place[1] // 2, cell.place[2]
    exact = t["z1"][2 * i : 2 * i + 2, 2 * j : 2 * j + 2, f]
    z = exact.round(2) + 0.0
    a = np.maximum(z, 0)
    return Pool((i, j, f), z, a, float(a.max()), divmod(int(exact.argmax()), 2))


def classes_of(t: Trace) -> Classes:
    """Softmax, loss and error with printed numbers."""
    z = t["z4"].round(2)
    powers = np.exp(z - z.max()).round(3)
    total = round(float(powers.sum()), 3)
    p, y = (powers / total).round(3), np.eye(len(z))[t.target]
    first = sorted({*np.argsort(-z, kind="stable")[:CLASSES].tolist(), t.target})
    loss = round(-float(np.log(p[t.target])), 2)
    return Classes(z, powers, total, p, y, (p - y).round(3), loss, first, t.loss)


def dense_weight(t: Trace, classes: Classes) -> DenseWeight:
    """The weight from the unit that says most to the label."""
    unit = int(t["a3"].argmax())
    came_in = round(float(t["a3"][unit]), 2)
    return DenseWeight(unit, came_in, round(came_in * float(classes.error[t.target]), 3))


def filter_weight(t: Trace, f: int) -> FilterWeight:
    """The weight of filter f with the largest gradient, its largest terms, and the step that it takes."""
    gradients = t["dW1"][:, :, 0, f]
    u, v = (int(n) for n in np.unravel_index(np.abs(gradients).argmax(), gradients.shape))
    height, width = t["z1"].shape[:2]
    seen, slopes = np.pad(t["x"][..., 0], 1)[u : u + height, v : v + width].ravel(), t["dz1"][..., f].ravel()
    terms = seen * slopes
    largest = np.argsort(-np.abs(terms), kind="stable")[:TERMS]
    pixels, printed = seen[largest].round(2), slopes[largest].round(3)
    products, rest = (pixels * printed).round(3), round(float(terms.sum() - terms[largest].sum()), 3) + 0.0
    gradient, w = round(float(products.sum()) + rest, 3), round(float(t["W1"][u, v, 0, f]), 3)
    step = update(t, t.stages[0], (u, v, 0, f), RATE)
    return FilterWeight(
        place=(u, v, f),
        w=w,
        cells=[divmod(int(k), width) for k in largest],
        pixels=pixels,
        slopes=printed,
        products=products,
        rest=rest,
        others=int(np.count_nonzero(np.delete(terms, largest))),
        gradient=gradient,
        new_w=round(w - RATE * gradient, 4),
        exact=float(gradients[u, v]),
        losses=(step.loss, step.loss_one),
    )
