"""Any function of arrays, and the check as an assertion for a test of one's own."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn.gradcheck import states
from cnn.gradcheck.cases import Case
from cnn.gradcheck.counterparts import INPUT, Counterpart, recognise
from cnn.gradcheck.networks import check_model
from cnn.gradcheck.report import sentences
from cnn.gradcheck.slopes import TOLERANCE, Pass, TensorCheck
from cnn.gradcheck.trials import check_gradient, check_layer, fits, jacobian, ties_checked
from cnn.models import Sequential

Array = np.ndarray
UPSTREAM = ("dy", "dz", "dout", "upstream", "grad_output")  # what people call the gradient from above


def check_function(
    f: Callable[..., Any],
    gradient: Callable[..., Any],
    x: ArrayLike | tuple[ArrayLike, ...],
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[TensorCheck]:
    """Check the gradient of f, any function of one array x, or of several, x = (a, b, ...).

    Where f gives one number, gradient(a, b, ...) is its derivative by each argument: one array, or a tuple of them (or
    a dict with the arguments' names). Where f gives an array y, gradient(a, b, ..., dy) is handed a random dy of y's
    shape and returns what the chain rule makes of it, the derivatives of sum(dy * y); an argument of gradient
    called dy gets it by its name. Arguments without a float, such as labels, are handed on and not checked.
    Raises Refusal, a ValueError, where f or gradient cannot be used at all.

    >>> check, = check_function(lambda x: (x**2).sum(), lambda x: 2 * x, np.array([1.0, 2.0]))
    >>> check.verdict
    'ok'
    >>> check, = check_function(lambda x: (x**2).sum(), lambda x: x, np.array([[1.0, 2.0, 4.0]]))
    >>> check.diagnosis.sentence[:43]
    'these are the right numbers times 1/2 (agre'
    """
    given = x if isinstance(x, tuple) else (x,)
    trial = FunctionTrial(f, [np.array(array) for array in given], seed)
    trial.ask(gradient)
    return [trial.check(argument, tolerance) for argument in trial.floats]


class FunctionTrial:
    """A function on its arguments, some of which are moved. Raises Refusal."""

    def __init__(self, f: Callable[..., Any], arrays: list[Array], seed: int):
        self.f, self.name, names = f, getattr(f, "__name__", "f"), argument_names(f, len(arrays))
        self.arrays = {
            name: array.astype(np.float64) if array.dtype.kind == "f" else array
            for name, array in zip(names, arrays, strict=True)
        }
        self.floats = [name for name, array in self.arrays.items() if array.dtype.kind == "f"]
        self.y = self.run()
        states.require_same(
            self.name, "the result", self.y, self.run(), "the same arguments give another one the second time"
        )
        self.rng = np.random.default_rng(seed)
        self.dy = self.rng.standard_normal(self.y.shape) if self.y.ndim else np.ones(())
        self.answers: dict[str, Any] = {}

    def run(self) -> Array:
        """What the function gives at the present numbers."""
        copies = {name: array.copy() for name, array in self.arrays.items()}
        y = states.run(self.name, self.f, *copies.values())
        self.require_untouched(self.name, copies)
        if problem := states.unusable(y):
            raise states.Refusal(f"{self.name}: its result: {problem.sentence}")
        return np.array(y, np.float64)

    def require_untouched(self, name: str, copies: Mapping[str, Array]) -> None:
        """Raise Refusal where a function wrote into its arguments."""
        for argument, copy in copies.items():
            why = "the argument is overwritten: a function must leave it as it is"
            states.require_same(name, argument, self.arrays[argument], copy, why)

    def measure(self) -> tuple[float, list[Pass]]:
        """The sum of dy * y, less what it is at first."""
        return float((self.dy * (self.run() - self.y)).sum()), []

    def ask(self, gradient: Callable[..., Any]) -> None:
        """{argument: its gradient}, from whatever form gradient returns them in."""
        name, copies = (
            getattr(gradient, "__name__", "gradient"),
            {key: array.copy() for key, array in self.arrays.items()},
        )
        told, given = positional_names(gradient), list(copies.values())
        upstream = next((word for word in UPSTREAM if word in told), None)
        if upstream is not None and (self.y.ndim or len(told) > len(given)):
            given = _around(told, upstream, given, self.dy.copy())
        elif self.y.ndim:
            given.append(self.dy.copy())
        result = states.run(name, gradient, *given)
        self.require_untouched(name, copies)
        listed = list(result) if isinstance(result, tuple | list) else [result]
        if len(listed) > len(self.floats):
            count = len(self.floats)
            expected = "one array" if count == 1 else f"{count} arrays, of {', '.join(self.floats)}"
            raise states.Refusal(f"{name}: expected {expected}, got {states.described(result)}")
        self.answers = dict(result) if isinstance(result, Mapping) else dict(zip(self.floats, listed, strict=False))

    def check(self, argument: str, tolerance: float) -> TensorCheck:
        """The gradient of one argument."""
        array = self.arrays[argument]
        if argument not in self.answers:
            return TensorCheck(argument, array.shape, [], tolerance, states.missing(argument, self.answers))
        got = self.answers[argument]
        known = functools.partial(self.case, got=got)
        result = check_gradient(argument, array, got, self.measure, None, self.rng, tolerance, known)
        return ties_checked(result, got, self.counterpart) if argument == self.floats[0] else result

    @functools.cached_property
    def counterpart(self) -> Counterpart | None:
        """Our own layer of the same y; the first argument is its input, the others are its parameters."""
        if not self.y.ndim:
            return None
        x, *params = (self.arrays[name] for name in self.floats)
        return recognise(None, x, dict(zip(self.floats[1:], params, strict=True)), self.y, self.dy)

    def case(self, result: TensorCheck, got: Any) -> Case:
        """All that is known around an argument whose gradient is wrong, also our own layer's parts where it is one."""
        argument, arrays, kin = result.name, {name: self.arrays[name] for name in self.floats}, self.counterpart
        slopes = {name: jacobian(self.run, array) for name, array in arrays.items()}
        rights = {name: (self.dy.ravel() @ slopes[name]).reshape(array.shape) for name, array in arrays.items()}
        case = Case(argument, rights.pop(argument), got, value=arrays[argument], others=rights)
        if not self.y.ndim:
            return case
        case.y, case.dy, case.jacobian = self.y, self.dy, slopes[argument]
        case.of_input = argument == self.floats[0]
        name = INPUT if case.of_input else argument
        if kin is not None and fits(kin, name, case.right):
            exact = kin.gradient(name)
            assert exact is not None  # or it would not fit
            case.name, case.right, case.exact, case.counterpart = name, exact, True, kin
            case.x, case.kind = self.arrays[self.floats[0]], "photos" if case.of_input else "weights"
        return case


def argument_names(f: Callable, count: int) -> list[str]:
    """What f calls its first arguments; x, x1, x2 where it does not tell."""
    told = positional_names(f)[:count]
    return told if len(told) == count else ["x", *(f"x{k}" for k in range(1, count))][:count]


def positional_names(function: Callable) -> list[str]:
    """The names of the arguments that a function takes in a row; none where it does not tell."""
    try:
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        return []


def _around(told, upstream, arrays, dy):
    """The arguments in gradient's own order, dy among them."""
    given, rest = [], list(arrays)
    for name in told:
        if name == upstream:
            given.append(dy)
        elif rest:
            given.append(rest.pop(0))
        else:
            break  # what else it takes has a default
    return given


def assert_gradients(thing: Any, *arguments: Any, **options: Any) -> None:
    """Raise AssertionError, with the diagnosis, unless all gradients are right. For anybody's pytest.

    assert_gradients(layer, x) checks a layer, assert_gradients(model, x, y) a network, and
    assert_gradients(f, gradient, x) a function; options are those of check_layer, check_model and check_function.

    >>> assert_gradients(lambda x: (x**3).sum(), lambda x: 3 * x**2, np.array([1.0, 2.0]))
    """
    check: Callable[..., Sequence[TensorCheck]] = check_layer
    if isinstance(thing, Sequential):
        check = check_model
    elif not hasattr(thing, "backward"):
        check = check_function
    try:
        results = check(thing, *arguments, **options)
    except states.Refusal as refusal:
        raise AssertionError(str(refusal)) from refusal
    if not all(result.passed for result in results):
        raise AssertionError("\n".join(sentences(results)))
