"""A network is two loops: forward through its layers, backward through them in reverse.

`forward` and `backward` are all there is to it. With the loss they make a step of training:

>>> from cnn.layers import Dense
>>> from cnn.losses import cross_entropy_of_logits
>>> network = Network([Dense(3, activation="relu", input_shape=(2,)), Dense(2)])
>>> x, classes = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([0, 1])
>>> for step in range(200):
...     logits, caches = forward(network.layers, x, training=True)
...     losses, dlogits = cross_entropy_of_logits(classes, logits)
...     grads, _ = backward(network.layers, caches, dlogits / len(x))
...     for key, param in network.params.items():
...         param -= 0.5 * grads[key]
>>> float(losses.mean()) < 0.1
True

`Network` below is the bookkeeping: it keeps the layers in a row, gives each its name and, from the shape of what the
layer before puts out, its parameters, in Keras' words. How a long training is run stands in training/.
"""

import copy
import re
from collections.abc import Collection, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from cnn import checks, utils
from cnn.layers import Activation, Input, Layer, Linear, Softmax, WholeBatch
from cnn.losses import SparseCategoricalCrossentropy
from cnn.optimizers import Optimizer
from kernels import threads

Array = np.ndarray


def forward(layers: list[Layer], x: Array, training: bool = False, rngs: dict | None = None) -> tuple[Array, list]:
    """y = layers[-1](... layers[0](x)), and the cache of each layer. rngs: generators for the layers that draw."""
    caches = []
    for layer in layers:
        x, cache = layer.forward(x, training, (rngs or {}).get(layer.name))
        caches.append(cache)
    return x, caches


def backward(
    layers: list[Layer], caches: list, dy: Array, input_gradient: bool = False, frozen: Collection[str] = ()
) -> tuple[dict[str, Array], Array | None]:
    """The chain rule, from the last layer to the first: ({"conv2d/kernel": dL/dkernel, ...}, dL/dx or None).

    Unless input_gradient is set, the way back ends at the first layer that has parameters and is not in `frozen`:
    nobody would read what it could hand on.
    """
    grads = {}
    first = 0 if input_gradient else first_that_learns(layers, frozen)
    for k in reversed(range(first, len(layers))):
        need_dx = k > first or input_gradient
        dy, layer_grads = layers[k].backward(dy, caches[k], need_dx)  # type: ignore[assignment]  # only the last is None
        grads.update({f"{layers[k].name}/{key}": value for key, value in layer_grads.items()})
    return grads, dy if input_gradient else None


def averages(layers: list[Layer], caches: list) -> dict[str, Array]:
    """{"batch_normalization/moving_mean": ..., ...}: what the averages that layers keep become after these passes."""
    pairs = [(layer, cache) for layer, cache in zip(layers, caches, strict=True) if isinstance(layer, WholeBatch)]
    return {f"{layer.name}/{key}": value for layer, cache in pairs for key, value in layer.averages(cache).items()}


def first_that_learns(layers: list[Layer], frozen: Collection[str] = ()) -> int:
    """The place of the first layer that has parameters and is not in `frozen`, the names of layers that do not learn."""
    learning = (k for k, layer in enumerate(layers) if layer.params and layer.name not in frozen)
    return next(learning, len(layers))


class Network:
    """Layers in a row, and what is known of them as a whole.

    seed: the key of every random draw (None: the one of utils.set_random_seed, 0 at first).
    shards: into how many parts a training batch is cut; it fixes the last bits of the result.

    >>> from cnn.layers import Dense
    >>> network = Network([Dense(3, activation="relu", input_shape=(4,)), Dense(2)])
    >>> network.output_shape, list(network.params)
    ((2,), ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias'])
    >>> y, caches = forward(network.layers, np.ones((5, 4), np.float32))
    >>> grads, dx = backward(network.layers, caches, dy=np.ones_like(y), input_gradient=True)
    >>> grads["dense/kernel"].shape, dx.shape
    ((4, 3), (5, 4))
    """

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None, seed: int | None = None):
        self.name = name or "sequential"
        self.seed = utils.default_seed() if seed is None else checks.whole(str(self), "seed", seed, 0, 2**32 - 1)
        self.shards = threads.default_shards()
        self.dtype = np.dtype(np.float32)
        self.layers: list[Layer] = []
        self.input_shape: tuple[int, ...] | None = None  # one photo's; None until known
        # How it learns: see training/.
        self.optimizer: Optimizer | None = None
        self.loss: SparseCategoricalCrossentropy | None = None
        self.metrics: list[str] = []
        self.epoch = 0  # epochs trained so far, over all calls of fit
        self.stop_training = False  # a callback sets it to end fit after this epoch
        self.stop_after_batch = False  # set it (from a callback or a signal's handler) to end fit after this batch
        self.history: Any = None  # the History of the last fit
        # For the record, and kept in its file.
        self.class_names: tuple[str, ...] | None = None
        self.input_scale: float | None = None  # what photos were multiplied by, 1/255 for bytes; None: unknown
        self.made_by: str | None = None  # the command that trained it
        self.file: str | None = None  # where it came from; not kept
        for layer in layers or []:
            self.add(layer)

    def __setattr__(self, name: str, value: Any) -> None:
        """As always, but class names must be a list of different words: one alone would pass for a list of letters."""
        if name == "class_names" and value is not None:
            value = checks.names(str(self), name, value)
        super().__setattr__(name, value)

    # ---- layers

    def add(self, layer: Layer) -> None:
        """Append a layer. It is built at once when the input's shape is known. Raises ValueError."""
        taken = self._check_new(layer)
        declared = layer.declared_shape
        if declared and not self.layers:
            self.input_shape = declared
        if isinstance(layer, Input):
            return
        if self.input_shape is not None:
            self._build_layer(layer, self.output_shape, len(self.layers))
        if layer.name is None:
            layer.name = _free_name(layer, taken)
        self.layers.append(layer)

    def _check_new(self, layer: Layer) -> set[str | None]:
        """The names that are taken. Raises ValueError for what cannot be added."""
        if not isinstance(layer, Layer):
            raise ValueError(f"{self}: add: expected a layer, got {layer!r}")
        if isinstance(layer, Input) and (self.layers or self.input_shape):
            raise ValueError(f"{self}: add: Input stands once, before all layers")
        if layer in self.layers:
            raise ValueError(f"{self}: add: {layer} is in this model already")
        taken = {other.name for other in self.layers}
        if layer.name in taken:
            raise ValueError(f"{self}: add: expected a name of its own, but there is another layer {layer.name!r}")
        if layer.declared_shape and self.layers and layer.declared_shape != self.output_shape:
            declares = f"{self}: add: {layer} declares input_shape {layer.declared_shape}"
            if self.input_shape is None:
                raise ValueError(f"{declares}, which belongs to the first layer, {self.layers[0]}")
            raise ValueError(f"{declares}, but its input will be {self.output_shape}")
        return taken

    def pop(self) -> Layer:
        """Remove the last layer and return it. Raises ValueError when there is none."""
        if not self.layers:
            raise ValueError(f"{self}: pop: there is no layer to remove")
        return self.layers.pop()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the parameters for inputs of this shape, batch axis first, as in Keras: (None, 28, 28, 1)."""
        if not isinstance(input_shape, tuple | list) or len(input_shape) < 2:
            expected = "a shape with a batch axis such as (None, 28, 28, 1)"
            raise ValueError(f"{self}: build: expected {expected}, got {input_shape!r}")
        shape = checks.shape(str(self), "build: input_shape", tuple(input_shape[1:]))
        if self.input_shape not in (None, shape):
            raise ValueError(f"{self}: build: this model is built for {self.input_shape}, got {shape}")
        current = shape
        for layer in self.layers:  # raises before the first layer is built for a shape that cannot be right
            current = layer.infer_shape(current)
        current = shape
        for index, layer in enumerate(self.layers):
            current = self._build_layer(layer, current, index)
        self.input_shape = shape

    def _build_layer(self, layer, input_shape, index):
        if layer.output_shape is None:
            return layer.build(input_shape, utils.generator(self.seed, utils.INITIALISATION, layer=index), self.dtype)
        if layer.input_shape != input_shape:
            raise ValueError(
                f"{self}: {layer} is built for input {layer.input_shape}, but here it would get {input_shape}"
            )
        return layer.output_shape

    def lay_out(self, layers: list[Layer], input_shape: tuple[int, ...]) -> None:
        """Take these layers and work out their shapes; `saving` fills in the parameters."""
        self.input_shape = current = input_shape
        for layer in layers:
            layer.input_shape, layer.output_shape = current, layer.infer_shape(current)
            current = layer.output_shape
        self.layers = list(layers)

    @property
    def built(self) -> bool:
        """Whether the shapes are known."""
        return self.input_shape is not None and len(self.layers) > 0

    def require_built(self, verb: str) -> None:
        """Raise ValueError, naming what was asked of it, unless the network is built."""
        if not self.built:
            hint = "give the first layer an input_shape, or call build()"
            raise ValueError(f"{self}: {verb}: the shape of the input is not known yet: {hint}")

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of one output; None while the input's shape is not known."""
        return self.layers[-1].output_shape if self.layers else self.input_shape

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place. Raises ValueError when there is none."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if index is None and layer.name == name:
                return layer
        names, got = [layer.name for layer in self.layers], index if name is None else repr(name)
        raise ValueError(f"{self}: get_layer: expected one of {names}, got {got}")

    def logit_layers(self) -> list[Layer]:
        """The layers without a closing softmax: what training runs, since the loss wants logits (see losses.py)."""
        *body, last = self.layers
        if isinstance(last, Softmax) or (isinstance(last, Activation) and self.ends_in_softmax):
            return body
        if isinstance(getattr(last, "activation", None), Softmax):
            last = copy.copy(last)  # the same parameters, another activation
            last.activation = Linear()  # type: ignore[attr-defined]  # it has one, says the line above
        return [*body, last]

    @property
    def ends_in_softmax(self) -> bool:
        """Whether the outputs are probabilities."""
        last = self.layers[-1] if self.layers else None
        return isinstance(last, Softmax) or isinstance(getattr(last, "activation", None), Softmax)

    # ---- parameters

    @property
    def params(self) -> dict[str, Array]:
        """{"conv2d/kernel": array, ...}: the arrays themselves, in the order of the layers."""
        return {f"{layer.name}/{key}": value for layer in self.layers for key, value in layer.params.items()}

    @property
    def learnable(self) -> list[str]:
        """The names of the parameters that have a gradient, frozen or not: what the optimizer has slots for."""
        return [f"{layer.name}/{key}" for layer in self.layers for key in layer.learnable]

    @property
    def trainable_params(self) -> dict[str, Array]:
        """Those of `params` that the optimizer changes: not the frozen ones, nor averages that training keeps."""
        frozen, params = self.frozen, self.params
        return {key: params[key] for key in self.learnable if key.rpartition("/")[0] not in frozen}

    @property
    def frozen(self) -> set[str]:
        """The names of the layers that do not learn."""
        return {checks.known(layer.name) for layer in self.layers if not layer.trainable}

    @property
    def trainable(self) -> bool:
        """Whether training changes anything here. Setting it sets it in all layers."""
        return any(layer.trainable for layer in self.layers) or not self.layers

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    @property
    def weights(self) -> list[Array]:
        """The parameters themselves: layer by layer, kernel before bias."""
        return list(self.params.values())

    @property
    def trainable_weights(self) -> list[Array]:
        """Those that the optimizer changes."""
        return list(self.trainable_params.values())

    @property
    def non_trainable_weights(self) -> list[Array]:
        """The others: of frozen layers, and averages that training keeps."""
        trainable = self.trainable_params
        return [value for key, value in self.params.items() if key not in trainable]

    variables, trainable_variables, non_trainable_variables = weights, trainable_weights, non_trainable_weights

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
        checked = [copy.copy(layer) for layer in self.layers]  # raise on copies first, so that nothing is half set
        for layer in checked:
            layer.set_weights([weights.pop(0) for _ in layer.params])
        for layer, new in zip(self.layers, checked, strict=True):
            layer.params = new.params

    def keep(self, averages: dict[str, Array]) -> None:
        """Write these averages over the old ones, after a step of training; `averages` above gives them."""
        params = self.params if averages else {}
        for key, value in averages.items():
            params[key][:] = value

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy with float32 or float64 parameters, and an optimizer, of its own. ValueError for another dtype."""
        self.require_built("astype")
        dtype = checks.float_type(str(self), "astype", dtype)
        network = copy.copy(self)
        network.dtype, network.optimizer = dtype, copy.deepcopy(self.optimizer)
        for slot in network.optimizer.state.values() if network.optimizer else ():
            slot.update({key: value.astype(dtype) for key, value in slot.items()})
        network.layers = [copy.copy(layer) for layer in self.layers]
        for layer in network.layers:
            layer.params = {key: value.astype(dtype) for key, value in layer.params.items()}
        return network

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"'


def _free_name(layer, taken):
    """conv2d, conv2d_1, conv2d_2 ...: the first that this network has not given away."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    base = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    names = [base] + [f"{base}_{k}" for k in range(1, len(taken) + 2)]
    return next(name for name in names if name not in taken)
