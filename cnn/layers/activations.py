"""Activations: what each number, or each row of numbers, becomes between two layers."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.configurable import is_description
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.formulas import FORMULAS, OTHER_NAMES, PLACES, Formula


class ActivationFunction(Layer):
    """A layer without parameters whose y has the shape of x; Dense and Conv2D may have one at their end.

    >>> find_activation("Dense", "activation", "relu")
    <ReLU: not built>
    """

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array, Grads]:
        """(dx, {}) from dy and forward's cache."""
        raise NotImplementedError


class ReLUCache(NamedTuple):
    """What backward needs of the forward pass: x, for its sign."""

    x: Array

    @property
    def corners(self) -> tuple[float, ...]:
        """Where the slope jumps, for the gradient check."""
        return (0.0,)


class ReLU(ActivationFunction):
    """y = max(0, x)

    Backward: ∂y/∂x is 1 where x > 0 (there y = x) and 0 where x < 0 (there y = 0 whatever x is), so
        dx = dy where x > 0, else 0        (at x = 0, where no derivative exists, it is 0)

    >>> ReLU()([[-1.0, 0.0, 2.0]])
    array([[0., 0., 2.]])
    """

    identifier = "relu"

    def __new__(
        cls, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **others: Any
    ) -> Any:
        """With one of these settings it is another function: the layer is an Activation with the formula bent_relu."""
        settings = {"negative_slope": negative_slope, "max_value": max_value, "threshold": threshold}
        changed = {key: value for key, value in settings.items() if value not in (None, 0)}
        if max_value == 0:
            raise ValueError(f"ReLU: max_value: expected a number above 0, got {max_value!r}")
        if cls is ReLU and changed:
            return Activation(Elementwise("bent_relu", changed), **others)
        return super().__new__(cls)

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **others: Any
    ):
        super().__init__(**others)

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ReLUCache]:
        return np.maximum(x, 0), ReLUCache(x)

    def backward(self, dy: Array, cache: ReLUCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy * (cache.x > 0), {}


class SoftmaxCache(NamedTuple):
    """What backward needs: the probabilities."""

    y: Array


class Softmax(ActivationFunction):
    """y_k = exp(x_k) / S,  S = sum_j exp(x_j)        along the last axis, or that of `axis`, or several

    Backward: x_k stands in S and so in every y_j, and in y_k also above the line. By the rule for quotients
        ∂y_j/∂x_k = ([j = k] * exp(x_j) * S - exp(x_j) * exp(x_k)) / S^2 = y_j * ([j = k] - y_k)
        dx_k = sum_j dy_j * y_j * ([j = k] - y_k) = y_k * (dy_k - sum_j dy_j * y_j)
    Subtracting the largest x first changes nothing in the quotient, and exp cannot overflow.

    >>> Softmax()([[1000.0, 1000.0]])
    array([[0.5, 0.5]])
    """

    identifier = "softmax"

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, SoftmaxCache]:
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        y = e / e.sum(axis=self.axis, keepdims=True)
        return y, SoftmaxCache(y)

    def backward(self, dy: Array, cache: SoftmaxCache, need_dx: bool = True) -> tuple[Array, Grads]:
        y = cache.y
        return y * (dy - (dy * y).sum(axis=self.axis, keepdims=True)), {}

    # ---- what it is made from

    axis: checks.Axes
    arguments = {"axis": checks.axes, **Layer.arguments}
    unless = {"axis": -1, **Layer.unless}

    def __init__(self, axis: checks.Axes = -1, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def infer_shape(self, input_shape: Shape) -> Shape:
        if self.axis != -1:  # which every input has, a lone row of numbers too
            count, axes = 1 + len(input_shape), np.atleast_1d(self.axis)
            if (abs(axes) >= count).any() or (axes == 0).any() or len(set(axes % count)) < len(axes):
                raise ValueError(f"{self}: axis: expected 1 to {count - 1}, or from the end, once, got {self.axis}")
        return input_shape


class LinearCache(NamedTuple):
    """The identity needs to remember nothing."""


class Linear(ActivationFunction):
    """y = x, the activation None;  dx = dy

    >>> Linear()([[-1.0, 2.0]])
    array([[-1.,  2.]])
    """

    identifier = "linear"

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, LinearCache]:
        return x, LinearCache()

    def backward(self, dy: Array, cache: LinearCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy, {}


# ---- the others: formulas.py has them, number by number


class ElementwiseCache(NamedTuple):
    """What backward needs."""

    x: Array
    y: Array
    corners: tuple[float, ...]  # where the slope jumps, for the gradient check


class Elementwise(ActivationFunction):
    """y = f(x), number by number: the formula of this name, with settings such as {"alpha": 0.5}

    Backward: each y depends on its own x alone, so  dx = dy * f'(x),  and f' stands above f in formulas.py.

    >>> Elementwise("sigmoid")([[0.0, 1000.0]])
    array([[0.5, 1. ]])
    """

    def __init__(self, formula: str, settings: dict[str, Any] | None = None, **others: Any):
        super().__init__(**others)
        self.formula = checks.choice(str(self), "formula", formula, tuple(FORMULAS))
        self.given = check_settings(str(self), FORMULAS[self.formula], settings or {})

    @property
    def settings(self) -> dict[str, Any]:
        """What the formula is called with beside x."""
        return self.given

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ElementwiseCache]:
        formula = FORMULAS[self.formula]
        y = formula.function(x, **self.settings)
        places = [value for name, value in self.settings.items() if name in PLACES]
        return y, ElementwiseCache(x, y, (*formula.corners, *places))

    def backward(self, dy: Array, cache: ElementwiseCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return dy * FORMULAS[self.formula].slope(cache.x, cache.y, **self.settings), {}

    def as_argument(self) -> str | dict[str, Any]:
        if type(self) not in (Elementwise, LeakyReLU, ELU):
            return type(self).__name__
        known = inspect.signature(FORMULAS[self.formula].function).parameters
        changed = {key: value for key, value in self.settings.items() if value != known[key].default}
        return {"class_name": self.formula, "config": changed} if changed else self.formula


class LeakyReLU(Elementwise):
    """y = x where x > 0, else negative_slope * x;  dx = dy, or dy * negative_slope        alpha: its older name

    >>> LeakyReLU(0.1)([[-1.0, 2.0]])
    array([[-0.1,  2. ]])
    """

    negative_slope: float
    arguments = {"negative_slope": checks.number, **Layer.arguments}

    def __init__(self, negative_slope: float = 0.3, *, alpha: float | None = None, **others: Any):
        super().__init__("leaky_relu", **others)
        negative_slope = negative_slope if alpha is None else alpha
        self.set_arguments(locals())

    @property
    def settings(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}


class ELU(Elementwise):
    """y = x where x > 0, else alpha * (exp(x) - 1);  dx = dy, or dy * alpha * exp(x)

    >>> ELU()([[-1000.0, 2.0]])
    array([[-1.,  2.]])
    """

    alpha: float
    arguments = {"alpha": checks.number, **Layer.arguments}

    def __init__(self, alpha: float = 1.0, **others: Any):
        super().__init__("elu", **others)
        self.set_arguments(locals())

    @property
    def settings(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


def check_settings(where: str, formula: Formula, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that a formula has, each of its default's kind: a number or a flag. Raises ValueError."""
    known = {key: one.default for key, one in inspect.signature(formula.function).parameters.items() if key != "x"}
    for key in settings.keys() - known.keys():
        raise ValueError(f"{where}: the argument {key!r} is not supported here")
    check = {key: checks.boolean if isinstance(known[key], bool) else checks.number for key in settings}
    return {key: check[key](where, key, value) for key, value in settings.items()}


# ---- asked for by name


ACTIVATIONS: dict[str, Callable[..., ActivationFunction]] = {
    **{"linear": Linear, "relu": ReLU, "softmax": Softmax},
    **{name: functools.partial(Elementwise, name) for name in FORMULAS},
    **{other: functools.partial(Elementwise, name) for other, name in OTHER_NAMES.items()},
}
OUR_FUNCTIONS = ("cnn.activations", "cnn.layers.formulas")  # where functions are made that ACTIVATIONS has by name


def find_activation(where: str, name: str, value: Any) -> ActivationFunction:
    """The layer that an `activation` argument asks for; else ValueError.

    It may be a name, None for Linear, a function of cnn.activations, functools.partial of one with its settings, a
    layer or its class, or what as_json made of one.
    """
    settings = {}
    if isinstance(value, type) and issubclass(value, ActivationFunction):
        value = value()
    if is_description(value):
        value, settings = value["class_name"], value["config"]
    if isinstance(value, functools.partial) and not value.args:
        value, settings = value.func, value.keywords
    if isinstance(value, ActivationFunction | Activation):
        return value.activation if isinstance(value, Activation) else value
    if inspect.isfunction(value) and value.__module__ in OUR_FUNCTIONS:
        value = value.__name__
    make = ACTIVATIONS[checks.choice(where, name, "linear" if value is None else value, tuple(ACTIVATIONS))]
    made = make(settings) if isinstance(make, functools.partial) else make(**settings)
    return made.activation if isinstance(made, Activation) else made


class ActivationCache(NamedTuple):
    """What backward needs: the function's own cache."""

    activation: Any


class Activation(Layer):
    """y = activation(x): what Dense and Conv2D may have at their end, as a layer of its own;  dx is the function's

    >>> Activation("relu")([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    arguments = {"activation": find_activation, **Layer.arguments}
    activation: ActivationFunction

    def __init__(self, activation: str | Callable | ActivationFunction | None, **others: Any):
        super().__init__(**others)
        self.set_arguments(locals())

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, ActivationCache]:
        y, cache = self.activation.forward(x)
        return y, ActivationCache(cache)

    def backward(self, dy: Array, cache: ActivationCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return self.activation.backward(dy, cache.activation, need_dx)
