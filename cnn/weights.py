"""What of a network is numbers: its parameters, which of them learn, what they cost, in and out as copies."""

import copy
from collections.abc import Iterable, Iterator

import numpy as np

from cnn.layers import Layer
from cnn.variables import Variable

Array = np.ndarray


class Weights:
    """The parameters of layers in a row, as Keras lists them. What the row is, network.Network says."""

    def flat(self) -> Iterator[tuple[str, Layer]]:
        """(its name in the names of parameters, a layer), in the order in which the layers run."""
        raise NotImplementedError

    def require_built(self, verb: str) -> None:
        """Raise ValueError, naming what was asked of it, unless the shapes are known."""
        raise NotImplementedError

    @property
    def params(self) -> dict[str, Array]:
        """{"conv2d/kernel": array, ...}: the arrays themselves, in the order of the layers."""
        return {f"{name}/{key}": value for name, layer in self.flat() for key, value in layer.params.items()}

    # ---- which of them learn

    @property
    def learnable(self) -> list[str]:
        """The names of the parameters that have a gradient, frozen or not: what the optimizer has slots for."""
        return [f"{name}/{key}" for name, layer in self.flat() for key in layer.learnable]

    @property
    def frozen(self) -> set[str]:
        """The names of the layers that do not learn."""
        return {name for name, layer in self.flat() if not layer.trainable}

    @property
    def trainable_params(self) -> dict[str, Array]:
        """Those of `params` that the optimizer changes: not the frozen ones, nor averages that training keeps."""
        learning = ((name, layer) for name, layer in self.flat() if layer.params and layer.trainable)
        return {f"{name}/{key}": layer.params[key] for name, layer in learning for key in layer.learnable}

    @property
    def trainable(self) -> bool:
        """Whether training changes anything here. Setting it sets it in all layers."""
        return any(layer.trainable for _, layer in self.flat()) or not any(self.flat())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, layer in self.flat():
            layer.trainable = value

    @property
    def weights(self) -> list[Variable]:
        """The parameters themselves: layer by layer, kernel before bias, each with its name."""
        found = [(name, weight) for name, layer in self.flat() for weight in layer.weights]
        for name, weight in found:
            weight.path = f"{name}/{weight.name}"  # of a layer in an inner network both names
        return [weight for _, weight in found]

    @property
    def trainable_weights(self) -> list[Variable]:
        """Those that the optimizer changes."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The others: of frozen layers, and averages that training keeps."""
        return [weight for weight in self.weights if not weight.trainable]

    variables, trainable_variables, non_trainable_variables = weights, trainable_weights, non_trainable_weights

    # ---- what they cost

    @property
    def losses(self) -> list[float]:
        """The penalties of the regularizers, which training and evaluate add to the loss."""
        return [penalty for _, layer in self.flat() for penalty in layer.losses]

    def penalty(self, grads: dict[str, Array] | None = None) -> float:
        """Their sum; the gradient of each is added to its parameter's in `grads`."""
        total = 0.0
        for name, layer in self.flat():
            for key, regularizer in layer.regularized.items():
                total += regularizer(layer.params[key])
                if grads is not None:
                    grads[f"{name}/{key}"] += regularizer.gradient(layer.params[key])
        return total

    # ---- in and out

    def count_params(self) -> int:
        """How many numbers the parameters hold. Raises ValueError before the model is built."""
        self.require_built("count_params")
        return sum(value.size for value in self.params.values())

    def get_weights(self) -> list[Array]:
        """Copies of all parameters: layer by layer, kernel before bias. Raises ValueError before the model is built."""
        self.require_built("get_weights")
        return [value.copy() for value in self.params.values()]

    def set_weights(self, weights: Iterable[Array]) -> None:
        """Replace all parameters by copies of these arrays. Raises ValueError, and then changes nothing."""
        self.require_built("set_weights")
        weights = list(weights)
        if len(weights) != len(self.params):
            raise ValueError(f"{self}: set_weights: expected {len(self.params)} arrays, got {len(weights)}")
        layers = [layer for _, layer in self.flat()]
        checked = [copy.copy(layer) for layer in layers]  # raise on copies first, so that nothing is half set
        for layer in checked:
            layer.set_weights([weights.pop(0) for _ in layer.params])
        for layer, new in zip(layers, checked, strict=True):
            layer.params = new.params

    def constrain(self) -> None:
        """Bring the parameters that have constraints back to where these want them, after a step of training."""
        for _, layer in self.flat():
            layer.constrain()

    def keep(self, averages: dict[str, Array]) -> None:
        """Write these averages over the old ones, after a step of training; network.averages gives them."""
        params = self.params if averages else {}
        for key, value in averages.items():
            params[key][:] = value
