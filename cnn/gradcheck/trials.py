"""One layer alone: its states, its gradients against slopes, and for those that are wrong the mistake."""

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnn.gradcheck import states
from cnn.gradcheck.cases import Case
from cnn.gradcheck.counterparts import INPUT, Counterpart, Pooling, recognise
from cnn.gradcheck.diagnosis import diagnose, distance
from cnn.gradcheck.slopes import TOLERANCE, Measure, Pass, TensorCheck, check_tensor
from cnn.layers import Layer

Array = np.ndarray
STEP = 1e-3  # of `jacobian`
ROOM = 4_000_000  # numbers in a matrix of derivatives at most
TRUSTED = 1e-6  # how far our own gradient may be from the slopes to be taken for the right one


def check_layer(
    layer: Layer,
    x: Array,
    samples: int | None = None,
    training: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[TensorCheck]:
    """Check one layer alone on x (N, ...), with the "loss" sum(dy * y) for a random dy; all entries unless `samples`.

    A layer not yet built is built for x; the layer itself is not changed otherwise. A tensor that is WRONG has a
    `diagnosis`. Raises Refusal, a ValueError, where forward or backward cannot be used at all.
    """
    return Trial(layer, x, training, seed).check(samples, tolerance)


class Trial:
    """A float64 copy of a layer on one input: it ran forward and backward, and left alone what is not its own.

    dy: what really arrives from above (default: random numbers). outputs: those of a network's other layers, for the
    diagnosis. Raises Refusal.
    """

    def __init__(
        self,
        layer: Any,
        x: Array,
        training: bool = False,
        seed: int = 0,
        dy: Array | None = None,
        outputs: Mapping[str, Array] | None = None,
    ):
        self.name = getattr(layer, "name", None) or type(layer).__name__
        self.x, self.training, self.seed, self.outputs = np.array(x, np.float64), training, seed, outputs or {}
        if getattr(layer, "input_shape", ()) is None:
            states.run(f"{self.name}: build", layer.build, self.x.shape[1:], np.random.default_rng(seed))
        self.layer = in_float64(layer)
        self.params = self.layer.params
        before = self.x.copy(), {key: value.copy() for key, value in self.params.items()}
        y, cache = self.forward(self.x)
        self.y = np.array(y, np.float64)  # of its own: Flatten's y, say, lies in x, which will be moved
        self.rng = np.random.default_rng(seed)
        self.dy = self.rng.standard_normal(self.y.shape) if dy is None else np.array(dy, np.float64)
        self._require_one_answer(before[0])
        given = self.dy.copy()
        self.dx, grads = states.backward(self.name, self.layer, given, cache)
        self.grads = {**grads}
        self._require_untouched(*before, given)
        self._require_cache(cache)

    def forward(self, x: Array) -> tuple[Array, Any]:
        """(y, cache), with the same draws each time."""
        return states.forward(self.name, self.layer, x, self.training, np.random.default_rng(self.seed))

    # ---- what a pass must leave alone

    def _require_one_answer(self, x):
        why = "the input is overwritten: a pass must leave x as it is (x *= ... writes into it, x = x * ... does not)"
        states.require_same(self.name, "forward", x, self.x, why)
        again, _ = self.forward(self.x)
        if not np.array_equal(self.y, again, equal_nan=True):
            why = "the same x gives another y the second time: nothing can be compared (draw from the rng it is given)"
            states.require_same(self.name, "forward", self.y, again, why)

    def _require_untouched(self, x, params, given):
        why = "the input that forward got is overwritten: a pass must leave its arrays as they are"
        states.require_same(self.name, "backward", x, self.x, why)
        why = "dy is overwritten: a pass must leave it as it is (dy *= ... writes into it, dy = dy * ... does not)"
        states.require_same(self.name, "backward", self.dy, given, why)
        for key, value in params.items():
            why = f"the parameter {key!r} is changed: learning is the optimizer's work, from what backward returns"
            states.require_same(self.name, "a pass", value, self.params[key], why)

    def _require_cache(self, cache):
        """backward must go by the cache it is given: between the two, forward may have seen another batch."""
        first = _comparable(self.dx, self.grads)
        again = _comparable(*states.backward(self.name, self.layer, self.dy.copy(), cache))
        if not _same(first, again):
            raise states.Refusal(f"{self.name}: backward: the same dy and cache give other gradients the second time")
        other = self.x[::-1] if len(self.x) > 1 else self.x / 2
        self.forward(other.copy())
        if not _same(first, _comparable(*states.backward(self.name, self.layer, self.dy.copy(), cache))):
            why = "backward goes by what the last forward left in the layer, not by the cache that it is given"
            raise states.Refusal(f"{self.name}: {why}: hand what it needs over in the cache, (y, cache)")

    # ---- the check

    @property
    def learnable(self) -> tuple[str, ...]:
        """The parameters that need a gradient."""
        return tuple(getattr(self.layer, "learnable", self.params))

    @functools.cached_property
    def tensors(self) -> dict[str, tuple[Array, Any]]:
        """{name: (the array, what backward says of it)}, parameters first."""
        pairs = {key: (self.params[key], self.grads.get(key)) for key in self.learnable}
        return {**pairs, INPUT: (self.x, self.dx)}

    def measure(self) -> tuple[float, list[Pass]]:
        """The "loss" at the present numbers, less what it is at first: fewer digits are lost."""
        present = self.x.copy()  # x itself will be moved again, and the pass must be remembered as it was
        y, cache = self.forward(present)
        return float((self.dy * (y - self.y)).sum()), [Pass(self.layer, present, cache)]

    def check(self, samples: int | None = None, tolerance: float = TOLERANCE) -> list[TensorCheck]:
        """Each gradient against slopes, with its diagnosis where it is wrong."""
        results = [self.check_one(name, samples, tolerance) for name in self.tensors]
        results += [
            TensorCheck(key, np.shape(value), [], tolerance, states.extra(key, self.params))
            for key, value in self.grads.items()
            if key not in self.learnable
        ]
        return results

    def check_one(self, name: str, samples: int | None, tolerance: float) -> TensorCheck:
        """One tensor."""
        array, gradient = self.tensors[name]
        if name != INPUT and name not in self.grads:
            return TensorCheck(name, array.shape, [], tolerance, states.missing(name, self.grads))
        known = functools.partial(self.case, gradient=gradient)
        result = check_gradient(name, array, gradient, self.measure, samples, self.rng, tolerance, known)
        return ties_checked(result, gradient, self.counterpart) if name == INPUT else result

    # ---- what is known for the diagnosis

    def case(self, result: TensorCheck, gradient: Array) -> Case:
        """All that is known around a gradient that is wrong."""
        array, kin = self.tensors[result.name][0], self.counterpart
        right = slopes_of(result)
        if kin is not None and not fits(kin, result.name, right):
            kin = None  # its y is the same, but it is not this layer
        exact = kin.gradient(result.name) if kin is not None else None
        case = Case(result.name, right if exact is None else exact, gradient, exact=exact is not None)
        case.of_input = result.name == INPUT
        case.kind = "photos" if case.of_input else "weights"
        case.value, case.x, case.y, case.dy, case.outputs = array, self.x, self.y, self.dy, self.outputs
        case.counterpart, case.params = kin, self.params
        if array.size * self.y.size <= ROOM and array.size <= 3000 and not hasattr(kin, "windows"):
            case.jacobian = jacobian(lambda: self.forward(self.x.copy())[0], array)
            if exact is None:
                case.right = (self.dy.ravel() @ case.jacobian).reshape(array.shape)
        case.others = {
            name: right for name in self.tensors if (right := self._right(kin, name, result.name)) is not None
        }
        return case

    def _right(self, kin, name, but):
        """The right gradient of another tensor of the same size, for results handed back in each other's place."""
        array = self.tensors[name][0]
        if name == but or array.size != np.size(self.tensors[but][1]):
            return None
        if kin is not None:
            return kin.gradient(name)
        if array.size * self.y.size > ROOM or array.size > 3000:
            return None
        slopes = jacobian(lambda: self.forward(self.x.copy())[0], array)
        return (self.dy.ravel() @ slopes).reshape(array.shape)

    @functools.cached_property
    def counterpart(self) -> Counterpart | None:
        """Our own layer of the same y."""
        return recognise(self.layer, self.x, {key: self.params[key] for key in self.learnable}, self.y, self.dy)


def check_gradient(
    name: str,
    array: Array,
    gradient: Any,
    measure: Measure,
    samples: int | None,
    rng: np.random.Generator,
    tolerance: float,
    case: Callable[[TensorCheck], Case],
) -> TensorCheck:
    """A gradient against slopes, whatever it is; where it is wrong, the diagnosis of what `case` knows around it."""
    if problem := states.unusable(gradient):
        return TensorCheck(name, array.shape, [], tolerance, problem)
    fits = np.shape(gradient) == array.shape
    compared = np.asarray(gradient, np.float64) if fits else np.full(array.shape, np.nan)
    result = check_tensor(name, array, compared, measure, 1.0, samples, rng, tolerance)
    if result.verdict != "WRONG":
        return result
    return result._replace(diagnosis=diagnose(case(result)), entries=result.entries if fits else [])


def ties_checked(result: TensorCheck, dx: Array, kin: Counterpart | None) -> TensorCheck:
    """Of pooling's equal cells the first gets dy: no slope tells that, for there the maximum has a corner."""
    if not result.checked or result.verdict == "WRONG" or not isinstance(kin, Pooling) or kin.kind != "max":
        return result
    if not fits(kin, INPUT, np.where(kin.corners, np.nan, slopes_of(result))):
        return result
    right = kin.gradient(INPUT)
    assert right is not None  # of its input it has one
    if distance(right, dx) <= TRUSTED:
        return result
    case = Case(INPUT, right, dx, "photos", kin.x, kin.x, kin.y, kin.dy, counterpart=kin, of_input=True, exact=True)
    return result._replace(diagnosis=diagnose(case))


def slopes_of(result: TensorCheck) -> Array:
    """The slopes that were measured, NaN elsewhere."""
    right = np.full(result.shape, np.nan)
    for entry in result.smooth:
        right[entry.index] = entry.numeric
    return right


def fits(kin: Counterpart, name: str, right: Array) -> bool:
    """Whether our own gradient is the one that was measured."""
    ours = kin.gradient(name)
    known = np.isfinite(right)
    return ours is not None and ours.shape == right.shape and distance(ours[known], right[known]) <= TRUSTED


def jacobian(run: Callable[[], Array], array: Array) -> Array:
    """dy/darray (numbers of y, numbers of the array): slopes at two steps, from which the error of order h^2 is taken.

    Slopes of h and h/2 err by c h^2 and c h^2 / 4, so (4 * the second - the first) / 3 errs by order h^4. Where the two
    differ much there is a corner between, and NaN.
    """
    columns = []
    for place in np.ndindex(array.shape):
        value = float(array[place])
        try:
            wide, narrow = (_slope(run, array, place, value, h) for h in (STEP, STEP / 2))
        finally:
            array[place] = value
        smooth = np.abs(wide - narrow).max(initial=0) <= STEP * (1 + np.abs(narrow).max(initial=0))
        columns.append((4 * narrow - wide) / 3 if smooth else np.full(narrow.shape, np.nan))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _slope(run, array, place, value, h):
    array[place] = value + h
    plus = np.array(run(), np.float64).ravel()
    array[place] = value - h
    return (plus - np.array(run(), np.float64).ravel()) / (2 * h)


def in_float64(layer: Any) -> Any:
    """A copy of a layer with float64 parameters of its own."""
    layer = copy.copy(layer)
    layer.params = {key: np.array(value, np.float64) for key, value in getattr(layer, "params", {}).items()}
    return layer


def _comparable(dx, grads):
    return {INPUT: dx, **{f"/{key}": value for key, value in grads.items()}}


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two answers of backward are the same; what is no array of numbers is judged elsewhere."""
    arrays = [(a[key], b.get(key)) for key in a if isinstance(a[key], np.ndarray) and a[key].dtype.kind in "fiub"]
    return all(isinstance(y, np.ndarray) and np.array_equal(x, y, equal_nan=True) for x, y in arrays)
