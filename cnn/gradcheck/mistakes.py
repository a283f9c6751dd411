"""The catalogue of mistakes that show in any tensor: factors, axes, borders, photos, what came from above.

Each function makes, of the right numbers and what is known around them, the numbers that one mistake would give. The
words above it complete "these are ...". Those that only layers of a kind make stand in mistakes_of_layers.py.
"""

import itertools
import math

import numpy as np

from cnn.gradcheck.cases import Array, Case, catalogue

MISTAKES, mistake = catalogue()
ENOUGH = 3  # a factor without a name needs so many numbers of different size that it fits
ORDERS = [order for count in (2, 3, 4) for order in itertools.permutations(range(count)) if order != (*range(count),)]


@mistake("all 0")
def zeros(c: Case) -> Array:
    """Nothing was added up."""
    return np.zeros(c.right.shape)


# ---- a factor


def factors(c: Case) -> dict[str, float]:
    """The factors that have a name here."""
    named = {"-1: the sign": -1.0, "2": 2.0, "1/2": 0.5}
    counts: dict[str, int] = {}
    if c.x is not None:
        counts["number of photos"] = len(c.x)
    if c.dy is not None and c.dy.ndim == 4:
        counts["number of places (rows times columns) of the output"] = c.dy.shape[1] * c.dy.shape[2]
        counts["number of photos times places of the output"] = math.prod(c.dy.shape[:3])
        counts["number of channels of the output"] = c.dy.shape[3]
    elif c.dy is not None and c.dy.ndim == 2:
        counts["length of a row of the output"] = c.dy.shape[1]
    if c.x is not None and c.x.ndim == 4:
        counts["number of channels of the input"] = c.x.shape[3]
    if c.x is not None and c.x.ndim == 4:
        counts["number of places (rows times columns) of the input"] = c.x.shape[1] * c.x.shape[2]
    if (size := window_size(c)) is not None:
        counts["number of cells of a window"] = size
    if c.kind == "array" and c.right.ndim:
        counts |= {f"length of axis {k}": length for k, length in enumerate(c.right.shape)}
        counts["number of numbers"] = c.right.size
    for words, count in counts.items():
        if count > 1:
            named[f"{count}, the {words}"] = float(count)
            named[f"1/{count}, {count} being the {words}"] = 1 / count
    return named


def window_size(c: Case) -> int | None:
    """kh * kw, where there are windows."""
    windows = getattr(c.counterpart, "windows", None)
    return math.prod(windows.size) if windows is not None else None


def factor(c: Case) -> float:
    """The one factor that fits best; NaN for other shapes."""
    if c.got.shape != c.right.shape:
        return math.nan
    known = np.isfinite(c.right) & np.isfinite(c.got)
    right, got = c.right[known], c.got[known]
    return float(right @ got / (right @ right)) if right.any() else math.nan


def factor_words(c: Case) -> str:
    """The factor with all names that it has here."""
    k = factor(c)
    names = [words for words, value in factors(c).items() if abs(k / value - 1) < 1e-6]
    return f"the right numbers times {', or '.join(names) or f'{k:.6g}'}"


@mistake(factor_words)
def constant_factor(c: Case) -> Array | None:
    """A factor too many or too few. One without a name counts only where many numbers bear it out."""
    k = factor(c)
    if not math.isfinite(k) or k == 0:
        return None
    named = [value for value in factors(c).values() if abs(k / value - 1) < 1e-6]
    different = np.unique(np.abs(c.right[np.isfinite(c.right) & (c.right != 0)]).round(9)).size
    return c.right * (named[0] if named else k) if named or different >= ENOUGH else None


# ---- axes


def exchange_words(c: Case, order: tuple[int, ...]) -> str:
    """Which axes lie where."""
    if c.right.ndim == 2:
        return "the right numbers transposed"
    return f"the right numbers with axes exchanged, as by transpose{order}"


@mistake(exchange_words, order=ORDERS)
def axes_exchanged(c: Case, order: tuple[int, ...]) -> Array | None:
    """Row for column, channel for filter."""
    return c.right.transpose(order) if c.right.ndim == len(order) else None


@mistake("the right numbers in a wrong order: with the axes as by transpose{order} and then reshaped", order=ORDERS)
def reshaped_for_transposed(c: Case, order: tuple[int, ...]) -> Array | None:
    """reshape where transpose is meant: the numbers stay in their order, the shape looks right."""
    if c.right.ndim != len(order) or [n for n in c.right.transpose(order).shape if n > 1] == [
        n for n in c.right.shape if n > 1
    ]:
        return None
    return c.right.transpose(order).reshape(c.right.shape)


@mistake(
    "the right numbers in a wrong order: reshaped to another order of the axes, then by transpose{order}", order=ORDERS
)
def transposed_for_reshaped(c: Case, order: tuple[int, ...]) -> Array | None:
    """The other way round: reshaped first, to the axes that transpose then puts in order."""
    if c.right.ndim != len(order):
        return None
    before = tuple(c.right.shape[order.index(k)] for k in range(len(order)))
    return c.right.reshape(before).transpose(order) if before != c.right.shape else None


@mistake("the right numbers in another shape")
def another_shape(c: Case) -> Array | None:
    """As many numbers, in the same order."""
    return c.right.reshape(c.got.shape) if c.got.shape != c.right.shape and c.got.size == c.right.size else None


def spatial(c: Case) -> tuple[int, int] | None:
    """The axes of height and width, where the tensor has them."""
    return {("photos", 4): (1, 2), ("weights", 4): (0, 1)}.get((c.kind, c.right.ndim))


@mistake(
    lambda c: f"the right numbers with {'the kernel' if c.kind == 'weights' else 'each photo'} turned by 180 degrees"
)
def turned(c: Case) -> Array | None:
    """Correlation for convolution, or the other way round."""
    axes = spatial(c)
    return np.flip(c.right, axes) if axes else None


@mistake(lambda c, axis: f"the right numbers flipped: the last {c.axis(axis)} first", axis=range(4))
def flipped(c: Case, axis: int) -> Array | None:
    """An axis read backwards."""
    return np.flip(c.right, axis) if axis < c.right.ndim and c.right.shape[axis] > 1 else None


def move_words(c: Case, axis: int, by: int) -> str:
    """Which way."""
    return f"the right numbers moved by one {c.axis(axis)} towards the {'end' if by > 0 else 'beginning'}"


@mistake(move_words, axis=range(4), by=(1, -1))
def moved(c: Case, axis: int, by: int) -> Array | None:
    """The border cut off on the wrong side, an index off by one: what left at one side is lost, 0 came in."""
    if axis >= c.right.ndim or c.right.shape[axis] < 2:
        return None
    result = np.roll(c.right, by, axis)
    result.swapaxes(0, axis)[0 if by > 0 else -1] = 0
    return result


# ---- too much, too little


def missing_words(c: Case, axis: int, place: int) -> str:
    """Which of them."""
    return f"the right numbers without the {'last' if place else 'first'} {c.axis(axis)}, where 0 stands"


@mistake(missing_words, axis=range(4), place=(0, -1))
def place_missing(c: Case, axis: int, place: int) -> Array | None:
    """A loop that begins too late or ends too early."""
    if axis >= c.right.ndim or c.right.shape[axis] < 3:
        return None
    result = c.right.copy()
    result.swapaxes(0, axis)[place] = 0
    return result


def only_words(c: Case, axis: int, place: int) -> str:
    """Which of them."""
    return f"the right numbers for the {'last' if place else 'first'} {c.axis(axis)} alone, and 0 elsewhere"


@mistake(only_words, axis=range(4), place=(0, -1))
def only_one_place(c: Case, axis: int, place: int) -> Array | None:
    """A loop that ends after the first, or whose result is replaced each time."""
    if axis >= c.right.ndim or c.right.shape[axis] < 2:
        return None
    result = np.zeros(c.right.shape)
    result.swapaxes(0, axis)[place] = c.right.swapaxes(0, axis)[place]
    return result


@mistake(lambda c, axis: f"the sums of the right numbers over every {c.axis(axis)}, put at each", axis=range(4))
def summed_and_spread(c: Case, axis: int) -> Array | None:
    """A sum too many, hidden by broadcasting."""
    return c.right.sum(axis, keepdims=True) + 0 * c.right if axis < c.right.ndim else None


@mistake(lambda c, axis: f"the means of the right numbers over every {c.axis(axis)}, put at each", axis=range(4))
def averaged_and_spread(c: Case, axis: int) -> Array | None:
    """A mean too many, hidden by broadcasting."""
    return c.right.mean(axis, keepdims=True) + 0 * c.right if axis < c.right.ndim else None


@mistake(lambda c, axis: f"the right numbers summed over every {c.axis(axis)}", axis=range(4))
def summed(c: Case, axis: int) -> Array | None:
    """A sum too many, which shows in the shape."""
    if axis >= c.right.ndim:
        return None
    return c.right.sum(axis).reshape(c.got.shape) if c.got.size == c.right.size // c.right.shape[axis] else None


@mistake(lambda c: f"the right numbers for {_that_of(c)}")
def of_another_tensor(c: Case) -> Array | None:
    """Two results handed back in each other's place."""
    name = _that_of(c)
    return c.others[name] if name else None


def _that_of(c):
    """The other tensor whose right gradient this is."""
    same = (name for name, right in c.others.items() if right.shape == c.got.shape)
    return next((name for name in same if np.allclose(c.others[name], c.got, rtol=1e-6, atol=0)), None)


# ---- from above


@mistake("the slopes of sum(y): dy, the gradient from above, is left out")
def upstream_left_out(c: Case) -> Array | None:
    """Only the layer's own derivative, without the chain rule."""
    return None if c.dy is None else c.with_upstream(np.ones(c.dy.shape))


@mistake("dy itself, the gradient from above, handed on as it is")
def upstream_handed_on(c: Case) -> Array | None:
    """The layer's own derivative left out; also a mask forgotten."""
    return c.dy if c.of_input else None  # of a parameter nobody hands it on


@mistake("dy, the gradient from above, times the slopes of sum(y): of each number only its own slope")
def upstream_times_all_slopes(c: Case) -> Array | None:
    """The derivative of the sum of all outputs in place of each one's own."""
    slopes = upstream_left_out(c) if c.dy is not None and c.of_input and c.dy.shape == c.right.shape else None
    return c.dy * slopes if slopes is not None and c.dy is not None else None


@mistake("what each y contributes by its own x alone: the diagonal of the derivatives, all others left out")
def diagonal_alone(c: Case) -> Array | None:
    """A softmax or a normalization taken for a function of each number for itself."""
    if c.jacobian is None or c.dy is None or c.dy.shape != c.right.shape:
        return None
    diagonal = np.diag(c.jacobian).reshape(c.dy.shape)
    return None if np.allclose(c.jacobian, np.diag(np.diag(c.jacobian))) else diagonal * c.dy


@mistake("the derivatives multiplied with dy from the wrong side: the matrix of derivatives is not transposed")
def other_side(c: Case) -> Array | None:
    """J @ dy for J^T @ dy."""
    square = c.jacobian is not None and c.dy is not None and c.jacobian.shape[0] == c.jacobian.shape[1]
    return (c.jacobian @ c.dy.ravel()).reshape(c.right.shape) if square else None  # type: ignore[operator, union-attr]


@mistake("the right numbers for dy * dy: dy, the gradient from above, comes in twice")
def upstream_twice(c: Case) -> Array | None:
    """The chain rule applied twice."""
    return None if c.dy is None else c.with_upstream(c.dy * c.dy)


@mistake("dy, the gradient from above, cut out from row {row} and column {column} on", row=range(5), column=range(5))
def upstream_cut_out(c: Case, row: int, column: int) -> Array | None:
    """A padding undone at the wrong place."""
    if c.dy is None or c.dy.ndim != 4 or c.right.ndim != 4 or not c.of_input or c.dy.shape == c.right.shape:
        return None
    return c.dy[:, row : row + c.right.shape[1], column : column + c.right.shape[2]]


@mistake("the right numbers without the bias")
def bias_left_out(c: Case) -> Array | None:
    """z = x @ W; of an output, not of a gradient."""
    return c.right - c.params["bias"] if "bias" in c.params and c.name in ("y", "z") else None


PLACES = {1: "row", 2: "column"}


def some_words(c: Case, axis: int, place: int, alone: bool) -> str:
    """Which of the outputs count."""
    what = {0: "photo", **PLACES}.get(axis, "channel") if c.dy is not None and c.dy.ndim == 4 else "photo"
    which = f"the {'last' if place else 'first'} {what}"
    whose = f"{which} of the batch" if axis == 0 else f"{which} of the output"
    return f"the right numbers for {whose} alone" if alone else f"the right numbers without {whose}"


@mistake(some_words, axis=range(4), place=(0, -1), alone=(True, False))
def only_some_outputs(c: Case, axis: int, place: int, alone: bool) -> Array | None:
    """`=` for `+=` in a loop over photos or places, or a loop over them that begins too late or ends too early."""
    if c.dy is None or c.dy.ndim not in (2, 4) or axis >= c.dy.ndim or (c.dy.ndim == 2 and axis):
        return None
    if c.dy.shape[axis] < (2 if alone else 3):
        return None
    kept = np.full(c.dy.shape, not alone)
    kept.swapaxes(0, axis)[place] = alone
    return c.with_upstream(c.dy * kept)
