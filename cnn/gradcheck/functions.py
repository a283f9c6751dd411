"""Any function of arrays, and the check as an assertion for a test of one's own."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn.gradcheck import states
from cnn.gradcheck.cases import Case
from cnn.gradcheck.counterparts import INPUT, recognise
from cnn.gradcheck.networks import check_model
from cnn.gradcheck.report import sentences
from cnn.gradcheck.slopes import TOLERANCE, TensorCheck
from cnn.gradcheck.trials import check_gradient, check_layer, fits, jacobian
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
    arrays = [np.array(a, np.float64) if np.asarray(a).dtype.kind == "f" else np.array(a) for a in given]
    names = argument_names(f, len(arrays))
    name = getattr(f, "__name__", "f")
    rng = np.random.default_rng(seed)

    def run():
        copies = [array.copy() for array in arrays]
        y = states.run(name, f, *copies)
        for argument, copy, array in zip(names, copies, arrays, strict=True):
            states.require_same(name, argument, array, copy, "the argument is overwritten: f must leave it as it is")
        if problem := states.unusable(y):
            raise states.Refusal(f"{name}: its result: {problem.sentence}")
        return np.asarray(y, np.float64)

    y = run()
    states.require_same(name, "the result", y, run(), "the same arguments give another result the second time")
    dy = rng.standard_normal(y.shape) if y.ndim else np.ones(())
    answers = by_name(names, arrays, gradient, dy)
    results = []
    for argument, array in zip(names, arrays, strict=True):
        if array.dtype.kind != "f":
            continue

        def case(result: TensorCheck, argument=argument) -> Case:
            floats = {n: a for n, a in zip(names, arrays, strict=True) if a.dtype.kind == "f"}
            return case_of(argument, answers[argument], floats, run, y, dy)

        def measure():
            return float((dy * (run() - y)).sum()), []

        if argument not in answers:
            results.append(TensorCheck(argument, array.shape, [], tolerance, states.missing(argument, answers)))
            continue
        results.append(check_gradient(argument, array, answers[argument], measure, None, rng, tolerance, case))
    return results


def case_of(argument: str, got: Any, arrays: dict[str, Array], run: Callable[[], Array], y: Array, dy: Array) -> Case:
    """All that is known around an argument whose gradient is wrong; of a layer's function also our own layer's parts.

    For these the first argument is the layer's input, and the others are its parameters.
    """
    slopes = {name: jacobian(run, array) for name, array in arrays.items()}
    rights = {name: (dy.ravel() @ slopes[name]).reshape(array.shape) for name, array in arrays.items()}
    right, (first, x), params = rights.pop(argument), next(iter(arrays.items())), dict(list(arrays.items())[1:])
    case = Case(argument, right, got, value=arrays[argument], others=rights)
    if not y.ndim:
        return case
    case.y, case.dy, case.jacobian, case.of_input = y, dy, slopes[argument], argument == first
    kin = recognise(None, x, params, y, dy)
    name = INPUT if case.of_input else argument
    if kin is not None and fits(kin, name, right):
        exact = kin.gradient(name)
        assert exact is not None  # or it would not fit
        case.name, case.right, case.exact, case.counterpart, case.x, case.params = name, exact, True, kin, x, params
        case.kind = "photos" if case.of_input else "weights"
    return case


def argument_names(f: Callable, count: int) -> list[str]:
    """What f calls its first arguments; x, x1, x2 where it does not tell."""
    try:
        parameters = [p for p in inspect.signature(f).parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        parameters = []
    told = [p.name for p in parameters[:count]]
    return told if len(told) == count else ["x", *(f"x{k}" for k in range(1, count))][:count]


def by_name(names: list[str], arrays: list[Array], gradient: Callable, dy: Array) -> dict[str, Any]:
    """{argument: its gradient}, from whatever form gradient returns them in. Raises Refusal."""
    name, copies = getattr(gradient, "__name__", "gradient"), [array.copy() for array in arrays]
    told = _parameters(gradient)
    upstream = next((word for word in UPSTREAM if word in told), None)
    if not dy.ndim and (upstream is None or len(told) <= len(copies)):
        result = states.run(name, gradient, *copies)
    elif upstream is not None:
        result = states.run(name, lambda: gradient(*_around(told, upstream, copies, dy.copy())))
    else:
        result = states.run(name, gradient, *copies, dy.copy())
    for argument, copy, array in zip(names, copies, arrays, strict=True):
        states.require_same(name, argument, array, copy, "the argument is overwritten: gradient must leave it as it is")
    if isinstance(result, Mapping):
        return dict(result)
    floats = [n for n, array in zip(names, arrays, strict=True) if array.dtype.kind == "f"]
    listed = list(result) if isinstance(result, tuple | list) else [result]
    if len(listed) > len(floats):
        expected = "one array" if len(floats) == 1 else f"{len(floats)} arrays, of {', '.join(floats)}"
        raise states.Refusal(f"{name}: expected {expected}, got {states.described(result)}")
    return dict(zip(floats, listed, strict=False))


def _parameters(function):
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
