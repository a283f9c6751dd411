"""Is the gradient right? It is compared with the slope of the loss, measured by moving one number at a time.

The slope in one weight w is (L(w + h) - L(w - h)) / 2h, up to an error of order h^2; everything
runs in float64, or rounding would hide what is looked for.

Where a ReLU changes its side or a pooling window its winner between w - h and w + h, the loss
has a corner (a kink): there is no slope to compare with. Then a smaller h is tried, and if
that does not help the entry is counted as a kink. A kink excuses nothing by itself: a
tensor with too few entries free of kinks does not pass.
"""

import copy
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.checks import known
from cnn.layers import GlobalMaxPooling2D, Layer, MaxPooling2D, place_windows
from cnn.models import Sequential
from cnn.training.batches import check_batch
from kernels import blas

Array = np.ndarray
STEPS = (1e-4, 1e-5)  # h: the first leaves the smallest error, the other is for entries close to a kink
LAST_STEPS = (
    1e-6,
    1e-7,
)  # only for tensors that have too few entries otherwise: one rounding of the loss is 1e-10 of such a slope
TOLERANCE = 1e-8
ROUNDING = 1e-14  # numbers that differ by less are equal but for rounding
ENOUGH = 30  # a tensor needs this many entries free of kinks, or all of them where it has fewer
INPUT = "input"  # the name under which dL/dx is checked, beside "conv2d/kernel" and so on


class Pass(NamedTuple):
    """One layer's part in a forward pass."""

    layer: Layer
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
        return self.comparable and self.error <= self.tolerance

    @property
    def verdict(self) -> str:
        """'ok', 'not comparable' or 'WRONG'."""
        if self.checked and not self.error <= self.tolerance:
            return "WRONG"
        return "ok" if self.comparable else "not comparable"


def check_model(
    model: Sequential,
    x: ArrayLike,
    y: ArrayLike,
    samples: int | None = 60,
    names: Collection[str] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[TensorCheck]:
    """Check the gradient of every parameter and of the input, for the loss of photos x (N, ...) of classes y (N,).

    samples: how many entries of each tensor, at least 30, drawn with `seed` (None: all). names: only
    these tensors, such as "conv2d/kernel" or "input". The model must be compiled; it is
    not changed. Raises ValueError for bad arguments.
    """
    if samples is not None:
        checks.whole("check_model", "samples", samples, low=ENOUGH)
    problem = Problem(model, x, y)
    rng = np.random.default_rng(checks.whole("check_model", "seed", seed, 0, 2**32 - 1))
    return [check_tensor(name, *problem.parts(name), samples, rng, tolerance) for name in names or problem.arrays]


def check_weight(model: Sequential, x: ArrayLike, y: ArrayLike, name: str, index: tuple[int, ...]) -> Entry:
    """Check one number alone, such as check_weight(model, x, y, "conv2d/kernel", (0, 2, 0, 5)). Raises ValueError."""
    array, gradient, measure, reach = Problem(model, x, y).parts(name)
    index = tuple(index)
    if len(index) != array.ndim or not all(0 <= i < size for i, size in zip(index, array.shape, strict=True)):
        raise ValueError(f"check_weight: index: expected a place in {name} of shape {array.shape}, got {index}")
    return check_entry(
        array, index, gradient[index], measure, reach, STEPS + LAST_STEPS
    )  # no other entry can take its place


def check_layer(
    layer: Layer,
    x: Array,
    samples: int | None = None,
    training: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[TensorCheck]:
    """Check one layer alone on x (N, ...), with the "loss" sum(dy * y) for a random dy; all entries unless `samples`.

    A layer not yet built is built for x; the layer itself is not changed otherwise.
    """
    if layer.input_shape is None:
        layer.build(x.shape[1:], np.random.default_rng(seed))
    layer, x = in_float64(layer), np.array(x, np.float64)

    def run(x):
        return layer.forward(x, training, np.random.default_rng(seed))  # the same draws each time

    y, cache = run(x)
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(y.shape)
    dx, grads = layer.backward(dy, cache)

    def measure():
        present = x.copy()  # x itself will be moved again, and the pass must be remembered as it was
        y, cache = run(present)
        return float((dy * y).sum()), [Pass(layer, present, cache)]

    tensors = {**{key: (layer.params[key], grads[key]) for key in layer.learnable}, INPUT: (x, known(dx))}
    return [check_tensor(name, *pair, measure, 1.0, samples, rng, tolerance) for name, pair in tensors.items()]


class Problem:
    """A float64 copy of a model with its photos and gradients, whose numbers can be moved and the loss measured."""

    def __init__(self, model: Sequential, x: ArrayLike, y: ArrayLike):
        x, self.y, _ = check_batch(model, "gradcheck", x, y)
        self.model, self.x = model.astype(np.float64), np.array(x, np.float64)
        _, gradients, dx = self.model.loss_and_gradients(self.x, self.y, input_gradient=True)
        self.arrays = {**{key: self.model.params[key] for key in self.model.learnable}, INPUT: self.x}
        self.gradients = {**gradients, INPUT: dx}
        self.layers = self.model.logit_layers()

    def parts(self, name: str) -> tuple[Array, Array, Measure, float]:
        """A tensor, its gradient, the loss as a function of it, and how far moving it by 1 may move the sums it is in.

        Layers before the tensor's own do not depend on it and run once and for all. Raises ValueError for a wrong name.
        """
        if name not in self.arrays:
            raise ValueError(f"gradient check: name: expected one of {', '.join(self.arrays)}, got {name!r}")
        first = 0 if name == INPUT else [layer.name for layer in self.layers].index(name.rpartition("/")[0])
        start, _ = run_layers(self.layers[:first], self.x)

        def measure():
            outputs, passes = run_layers(self.layers[first:], start.copy())  # the input itself will be moved again
            loss, _ = self.model.loss_and_gradient(self.y, outputs, len(outputs))
            return loss + self.model.penalty(), passes

        return self.arrays[name], self.gradients[name], measure, max(1.0, float(np.abs(start).max()))


def run_layers(layers: list[Layer], x: Array) -> tuple[Array, list[Pass]]:
    """The outputs of layers in a row, and what each of them did. BLAS runs one thread: the products are small."""
    passes = []
    with blas.single_threaded():
        for layer in layers:
            y, cache = layer.forward(x)
            passes.append(Pass(layer, x, cache))
            x = y
    return x, passes


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
    return TensorCheck(name, array.shape, entries, tolerance)


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


def in_float64(layer: Layer) -> Layer:
    """A copy of a layer with float64 parameters of its own."""
    layer = copy.copy(layer)
    layer.params = {key: value.astype(np.float64) for key, value in layer.params.items()}
    return layer
