"""Layers in the style of most tutorials, handed on as the check expects them.

There forward(x) returns y alone and keeps on self what backward needs; backward(dy) returns dx and leaves the gradients
on self, as dW beside W, or returns them too, (dx, dW, db); or backward(dy, learning_rate) learns at once.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
RATES = ("lr", "rate", "alpha", "eta", "step_size", "learn_rate", "learning_rate")
GRADIENTS = ("d{}", "d_{}", "d{}s", "grad_{}", "{}_grad", "{}_gradient", "d_L_d_{}", "dL_d{}", "grad{}", "g_{}")


def adapted(layer: Any) -> Any:
    """The layer itself, or an adapter around one whose backward takes dy alone, or dy and a learning rate."""
    return Tutorial(layer) if len(_taken(layer.backward)) == 1 or _rate_of(layer.backward) else layer


def _taken(function: Callable) -> list[str]:
    """The arguments that a function must be given."""
    try:
        return [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):
        return []


def _rate_of(backward: Callable) -> bool:
    taken = _taken(backward)
    return len(taken) == 2 and taken[1].lower() in RATES


def floats(layer: Any) -> dict[str, Array]:
    """The arrays of floats that lie on an object."""
    return {
        key: value for key, value in vars(layer).items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }


class Tutorial:
    """params, forward -> (y, cache) and backward -> (dx, grads) of such a layer; the cache is itself after forward."""

    def __init__(self, layer: Any):
        self.layer, self.name = layer, type(layer).__name__
        self.params: dict[str, Array] = floats(layer)
        self.input_shape: tuple[int, ...] | None = None  # it is built, as far as that needs a batch, by `build`

    def __getattr__(self, name: str) -> Any:
        if name in ("layer", "params"):  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self.layer, name)

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The shape of a row that fits its matrix, where it has one."""
        return [value.shape[:1] for value in self.params.values() if value.ndim == 2][:1]

    def build(self, input_shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Find the parameters, also those that only a first forward makes: they have a gradient after backward."""
        layer = copy.deepcopy(self.layer)
        y = np.asarray(layer.forward(rng.standard_normal((2, *input_shape))), np.float64)
        made = {key: value.copy() for key, value in floats(layer).items()}
        self.back(layer, np.ones(y.shape))
        self.params |= {key: value for key, value in made.items() if gradient_name(layer, key)}
        self.layer = copy.deepcopy(self.layer)
        vars(self.layer).update({key: value for key, value in vars(layer).items() if key not in vars(self.layer)})
        self.input_shape = input_shape

    def forward(self, x: Array, training: bool = False, rng: Any = None) -> tuple[Any, Any]:
        """(y, the layer as it is now)."""
        layer = copy.deepcopy(self.layer)
        vars(layer).update({key: value.copy() for key, value in self.params.items()})
        return layer.forward(x), layer

    def backward(self, dy: Array, cache: Any) -> tuple[Any, dict[str, Any]]:
        """(dx, {parameter: its gradient}), wherever the layer leaves them."""
        layer = copy.deepcopy(cache)
        result = self.back(layer, dy)
        if isinstance(result, tuple):
            dx, *others = result
            if len(others) == 1 and isinstance(others[0], dict):
                return dx, others[0]
            return dx, dict(zip(self.params, others, strict=False))
        if _rate_of(layer.backward):  # it went a step of 1 * gradient
            return result, {key: value - getattr(layer, key) for key, value in self.params.items()}
        names = {key: gradient_name(layer, key) for key in self.params}
        return result, {key: getattr(layer, name) for key, name in names.items() if name}

    @staticmethod
    def back(layer: Any, dy: Array) -> Any:
        """What the layer's own backward returns."""
        return layer.backward(dy, 1.0) if _rate_of(layer.backward) else layer.backward(dy)


def gradient_name(layer: Any, name: str) -> str | None:
    """The attribute in which the gradient of W lies: dW, d_W, grad_W, W_grad."""
    return next((text for text in (pattern.format(name) for pattern in GRADIENTS) if hasattr(layer, text)), None)
