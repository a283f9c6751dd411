"""Is the gradient right? It is compared with the slope of the loss, measured by moving one number at a time.

The slope in one weight w is (L(w + h) - L(w - h)) / 2h, up to an error of order h^2; everything
runs in float64, or rounding would hide what is looked for.

Where a ReLU changes its side or a pooling window its winner between w - h and w + h, the loss
has a corner (a kink): there is no slope to compare with. Then a smaller h is tried, and if
that does not help the entry is counted as a kink. A kink excuses nothing by itself: a
tensor with too few entries free of kinks does not pass.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn.gradcheck.diagnosis import Diagnosis
from cnn.layers import GlobalMaxPooling2D, MaxPooling2D, place_windows

Array = np.ndarray
STEPS = (1e-4, 1e-5)  # h: the first leaves the smallest error, the other is for entries close to a kink
LAST_STEPS = (
    1e-6,
    1e-7,
)  # only for tensors that have too few entries otherwise: one rounding of the loss is 1e-10 of such a slope
TOLERANCE = 1e-8
ROUNDING = 1e-14  # numbers that differ by less are equal but for rounding
FEW = 20  # entries that differ are measured again; if no kink was the reason in any, none is in the others
ENOUGH = 30  # a tensor needs this many entries free of kinks, or all of them where it has fewer


class Pass(NamedTuple):
    """One layer's part in a forward pass."""

    layer: Any  # a Layer, or what has its forward and backward
    x: Array
    cache: Any  # what its forward returned


Measure = Callable[[], tuple[float, list[Pass]]]  # the loss at the present weights, and the passes that led to it


class Entry(NamedTuple):
    """One number of a tensor: its gradient, and the loss on both sides of it."""

    index: tuple[int, ...]  # type: ignore[assignment]  # the place, where other tuples have a method
    value: float  # w
    h: float
    plus: float  # L(w + h)
    minus: float  # L(w - h)
    analytic: float  # dL/dw, from backward
    kinks: int  # units that change sides between w - h and w + h

    @property
    def numeric(self) -> float:
        """The slope (L(w + h) - L(w - h)) / 2h."""
        return (self.plus - self.minus) / (2 * self.h)

    @property
    def error(self) -> float:
        """|analytic - numeric| / (|analytic| + |numeric|)"""
        return relative_error(self.analytic, self.numeric)


class TensorCheck(NamedTuple):
    """What checking one tensor found."""

    name: str
    shape: tuple[int, ...]
    entries: list[Entry]
    tolerance: float = TOLERANCE
    diagnosis: Diagnosis | None = None  # of a tensor that is wrong: the mistake, or where the error sits

    @property
    def smooth(self) -> list[Entry]:
        """The entries free of kinks, which are compared."""
        return [entry for entry in self.entries if entry.kinks == 0]

    @property
    def checked(self) -> int:
        """How many entries were compared."""
        return len(self.smooth)

    @property
    def kinks(self) -> int:
        """How many entries were left out because a kink lies within their reach."""
        return len(self.entries) - self.checked

    @property
    def error(self) -> float:
        """||a - n|| / (||a|| + ||n||), a the gradient and n the slopes; NaN when nothing could be compared."""
        if not self.smooth:
            return math.nan
        return relative_error(np.array([e.analytic for e in self.smooth]), np.array([e.numeric for e in self.smooth]))

    @property
    def worst(self) -> Entry | None:
        """The compared entry whose gradient is furthest from its slope."""
        return max(self.smooth, key=lambda entry: abs(entry.analytic - entry.numeric), default=None)

    @property
    def comparable(self) -> bool:
        """Whether enough entries are free of kinks."""
        return self.checked >= min(math.prod(self.shape), ENOUGH)

    @property
    def passed(self) -> bool:
        """Whether enough entries were compared, and agree."""
        return self.comparable and self.error <= self.tolerance and self.diagnosis is None

    @property
    def verdict(self) -> str:
        """'ok', 'not comparable' or 'WRONG'."""
        if self.diagnosis or (self.checked and not self.error <= self.tolerance):
            return "WRONG"
        return "ok" if self.comparable else "not comparable"


def check_tensor(
    name: str,
    array: Array,
    gradient: Array,
    measure: Measure,
    reach: float,
    samples: int | None,
    rng: np.random.Generator,
    tolerance: float = TOLERANCE,
) -> TensorCheck:
    """Check entries in random order until `samples` were free of kinks, 4 * samples at most; None: check all."""
    places = np.arange(array.size) if samples is None else rng.permutation(array.size)[: 4 * samples]
    entries, smooth = [], 0
    for place in places:
        index = tuple(int(i) for i in np.unravel_index(place, array.shape))
        entries.append(check_entry(array, index, gradient[index], measure, reach))
        smooth += entries[-1].kinks == 0
        if smooth == samples:
            break
    if smooth < min(array.size, ENOUGH):
        entries = [
            check_entry(array, e.index, e.analytic, measure, reach, LAST_STEPS) if e.kinks else e for e in entries
        ]
    return TensorCheck(name, array.shape, without_hidden_kinks(entries, array, measure, reach), tolerance)


def without_hidden_kinks(entries: list[Entry], array: Array, measure: Measure, reach: float) -> list[Entry]:
    """The entries, those that differ measured again with smaller steps: a kink may be the reason.

    A layer that somebody writes need not tell where its corners are. Where a corner was crossed the slope of a smaller
    step agrees, and on a corner the slopes of both sides differ; where the gradient is wrong neither is so.
    """
    differ = [k for k, e in enumerate(entries) if e.kinks == 0 and e.error > 1e-7]
    if not differ:
        return entries
    loss, found = measure()[0], 0
    for tried, k in enumerate(differ):
        again = _without_hidden_kink(entries[k], loss, array, measure, reach)
        found += again is not entries[k]
        entries[k] = again
        if tried == FEW and not found:  # kinks are not what is wrong here
            break
    return entries


def _without_hidden_kink(entry, loss, array, measure, reach):
    """The entry measured with a smaller step if that agrees; with kinks = 1 if its slope jumps right there."""
    for step in (STEPS[1], LAST_STEPS[0]):
        again = check_entry(array, entry.index, entry.analytic, measure, reach, (step,))
        if abs(again.analytic - again.numeric) < 0.01 * abs(entry.analytic - entry.numeric):
            return again
    sides = (again.plus - loss) / again.h, (loss - again.minus) / again.h
    jump, noise = abs(sides[0] - sides[1]), 1e-15 * (1 + abs(loss)) / again.h
    return again._replace(kinks=1) if jump > 0.01 * max(map(abs, sides)) and jump > 100 * noise else entry


def check_entry(
    array: Array,
    index: tuple[int, ...],
    analytic: float,
    measure: Measure,
    reach: float = 1.0,
    steps: Sequence[float] = STEPS,
) -> Entry:
    """Measure the slope in array[index], with the first of the steps that crosses no kink; the array stays as it was.

    reach: the steps are divided by it, so that what is computed from the array moves by about a step.
    """
    value = float(array[index])
    for h in (step / reach for step in steps):
        try:
            array[index] = value + h
            plus, above = measure()
            array[index] = value - h
            minus, below = measure()
        finally:
            array[index] = value
        kinks = sum(map(crossings, above, below))
        if kinks == 0:
            break
    return Entry(index, value, h, plus, minus, float(analytic), kinks)


def crossings(above: Pass, below: Pass) -> int:
    """How many activations stand on other sides of a corner, and pooling windows have other winners, in two passes."""
    if isinstance(above.layer, MaxPooling2D | GlobalMaxPooling2D):
        return _pool_crossings(above, below)
    a, b = (getattr(p.cache, "activation", p.cache) for p in (above, below))
    return sum(
        int(np.count_nonzero(((a.x > corner) != (b.x > corner)) & (np.abs(a.x - b.x) > ROUNDING)))
        for corner in getattr(a, "corners", ())
    )


def _pool_crossings(above, below):
    """Cells of equal value, such as a black background's, often move together: then it does not matter which wins."""
    windows = np.nonzero(above.cache.winners != below.cache.winners)
    apart = np.zeros(len(windows[0]), bool)
    for x in (above.x, below.x):
        cells = [x[_winning_cells(p, windows)] for p in (above, below)]
        apart |= np.abs(cells[0] - cells[1]) > ROUNDING * np.maximum(1, np.abs(cells[0]))
    return int(np.count_nonzero(apart))


def _winning_cells(pooling, windows):
    """Where in x the winners of these windows (n, i, j, c) lie."""
    layer, (n, i, j, c) = pooling.layer, windows
    if isinstance(layer, GlobalMaxPooling2D):
        return n, *np.divmod(pooling.cache.winners[windows], pooling.x.shape[2]), c
    _, _, (top, _, left, _) = place_windows(layer, pooling.x.shape[1:], layer.pool_size)
    u, v = np.divmod(pooling.cache.winners[windows], layer.pool_size[1])
    return n, i * layer.strides[0] + u - top, j * layer.strides[1] + v - left, c


def relative_error(a: Array | float, n: Array | float) -> float:
    """||a - n|| / (||a|| + ||n||), and 0 where both are zero."""
    difference, size = np.linalg.norm(a - n), np.linalg.norm(a) + np.linalg.norm(n)
    return float(difference / size) if size != 0 else 0.0
