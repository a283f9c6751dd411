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
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from cnn import checks, utils
from cnn.configurable import snake_case
from cnn.datasets.preparation import Preparation
from cnn.layers import Activation, ActivationFunction, Input, Layer, Softmax, Symbol
from cnn.layers.closing import OpenEnd, closing_name
from cnn.losses import Loss
from cnn.metrics import Metric
from cnn.optimizers import Optimizer
from cnn.weights import Weights
from cnn.world import ALONE, Alone
from kernels import threads

Array = np.ndarray
NAME = "sequential"  # of a network that is given none


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
    pairs = [(layer, cache) for layer, cache in zip(layers, caches, strict=True) if hasattr(layer, "averages")]
    return {f"{layer.name}/{key}": value for layer, cache in pairs for key, value in layer.averages(cache).items()}


def first_that_learns(layers: list[Layer], frozen: Collection[str] = ()) -> int:
    """The place of the first layer that has parameters and is not named in `frozen`, or the number of layers."""
    learning = (k for k, layer in enumerate(layers) if layer.params and layer.name not in frozen)
    return next(learning, len(layers))


class Network(Weights):
    """Layers in a row, and what is known of them as a whole.

    seed: the key of every random draw (None: the one of utils.set_random_seed, 0 at first).
    shards: into how many parts a training batch is cut; it fixes the last bits of the result.

    >>> from cnn.layers import Dense
    >>> network = Network([Dense(3, activation="relu", input_shape=(4,)), Dense(2)])
    >>> network.output_shape, list(network.params)
    ((None, 2), ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias'])
    >>> y, caches = forward(network.layers, np.ones((5, 4), np.float32))
    >>> grads, dx = backward(network.layers, caches, dy=np.ones_like(y), input_gradient=True)
    >>> grads["dense/kernel"].shape, dx.shape
    ((4, 3), (5, 4))

    A network may stand among the layers of another. Its layers then run in its place, under both names:

    >>> outer = Network([Network([Dense(3, input_shape=(4,))], name="inner"), Dense(2)])
    >>> [layer.name for layer in outer.layers], [layer.name for layer in outer.chain]
    (['inner', 'dense'], ['inner/dense', 'dense'])
    """

    world: Alone = ALONE  # the processes that learn together: see distribute.py

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None, seed: int | None = None):
        self.name = name or NAME
        self.seed = utils.default_seed() if seed is None else checks.whole(str(self), "seed", seed, 0, 2**32 - 1)
        self.shards = threads.default_shards()
        self.dtype = np.dtype(np.float32)
        self.layers: list[Any] = []  # a Layer, or a Network that stands among them
        self.photo_shape: tuple[int, ...] | None = None  # one photo's; None until known
        self._aliases: dict[str, Layer] = {}  # see chain
        # How it learns: see training/.
        self.optimizer: Optimizer | None = None
        self.loss: Loss | None = None
        self.metrics: list[Metric] = []
        self.epoch = 0  # epochs trained so far, over all calls of fit
        self.stop_training = False  # a callback sets it to end fit after this epoch
        self.stop_after_batch = False  # set it (from a callback or a signal's handler) to end fit after this batch
        self.history: Any = None  # the History of the last fit
        # For the record, and kept in its file.
        self.class_names: tuple[str, ...] | None = None
        self.input_scale: float | None = None  # what photos were multiplied by, 1/255 for bytes; None: unknown
        self.preparation: Preparation | None = None  # of the photo files that it learned from; None: of no such files
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

    def add(self, layer: "Layer | Network") -> None:
        """Append a layer, or a network. It is built at once when the input's shape is known. Raises ValueError."""
        taken = self._check_new(layer)
        declared = layer.declared_shape
        if declared and not self.layers:
            self.photo_shape = declared
        if isinstance(layer, Input):
            return
        if self.photo_shape is not None:
            self._build_layer(layer, checks.known(self.result_shape), len(list(self.flat())))
        if layer.name is None:
            layer.name = _free_name(layer, taken)
        self.layers.append(layer)

    def _check_new(self, layer) -> set[str | None]:
        """The names that are taken. Raises ValueError for what cannot be added."""
        if not isinstance(layer, Layer | Network):
            raise ValueError(f"{self}: add: expected a layer, got {layer!r}")
        if isinstance(layer, Input) and (self.layers or self.photo_shape):
            raise ValueError(f"{self}: add: Input stands once, before all layers")
        if layer in self.layers:
            raise ValueError(f"{self}: add: {layer} is in this model already")
        if isinstance(layer, Network) and self in layer.networks():
            raise ValueError(f"{self}: add: expected another network, got {layer}, which holds this one")
        taken = {other.name for other in self.layers}
        if isinstance(layer, Network) and layer.name == NAME:
            layer.name = _free_name(layer, taken)
        if layer.name in taken:
            raise ValueError(f"{self}: add: expected a name of its own, but there is another layer {layer.name!r}")
        if layer.declared_shape and self.layers and layer.declared_shape != self.result_shape:
            declares = f"{self}: add: {layer} declares input_shape {layer.declared_shape}"
            if self.photo_shape is None:
                raise ValueError(f"{declares}, which belongs to the first layer, {self.layers[0]}")
            raise ValueError(f"{declares}, but its input will be {self.result_shape}")
        return taken

    def pop(self) -> Layer:
        """Remove the last layer and return it. Raises ValueError when there is none."""
        if not self.layers:
            raise ValueError(f"{self}: pop: there is no layer to remove")
        return self.layers.pop()

    def networks(self) -> list["Network"]:
        """This network and those that stand among its layers, and among theirs."""
        inner = [network for layer in self.layers if isinstance(layer, Network) for network in layer.networks()]
        return [self, *inner]

    def flat(self) -> Iterator[tuple[str, Layer]]:
        for layer in self.layers:
            if isinstance(layer, Network):
                yield from ((f"{layer.name}/{name}", inner) for name, inner in layer.flat())
            else:
                yield layer.name, layer

    @property
    def chain(self) -> list[Layer]:
        """The layers as they run. Those of an inner network are copies under another name, with the same parameters."""
        return [layer if layer.name == name else self._alias(name, layer) for name, layer in self.flat()]

    def _alias(self, name, layer):
        """The copy; the same one as long as nothing in the layer changes, which the twin asks for."""
        alias = self._aliases.get(name)
        if alias is None or any(vars(alias)[key] is not value for key, value in vars(layer).items() if key != "name"):
            alias = self._aliases[name] = copy.copy(layer)
            alias.name = name
        return alias

    @property
    def declared_shape(self) -> tuple[int, ...] | None:
        """What it says of its input where it stands among the layers of another."""
        return self.photo_shape

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Create the parameters for inputs of this shape, batch axis first, as in Keras: (None, 28, 28, 1).

        Without one it must be built already. Raises ValueError.
        """
        if input_shape is None:
            return self.require_built("build")
        if not isinstance(input_shape, tuple | list) or len(input_shape) < 2:
            expected = "a shape with a batch axis such as (None, 28, 28, 1)"
            raise ValueError(f"{self}: build: expected {expected}, got {input_shape!r}")
        shape = checks.shape(str(self), "build: input_shape", tuple(input_shape[1:]))
        if self.photo_shape not in (None, shape):
            raise ValueError(f"{self}: build: this model is built for {self.photo_shape}, got {shape}")
        current = shape
        for _, layer in self.flat():  # raises before the first layer is built for a shape that cannot be right
            current = layer.infer_shape(current)
        current = shape
        for index, (_, layer) in enumerate(self.flat()):
            current = self._build_layer(layer, current, index)
        self._settle(shape)

    def _settle(self, photo_shape):
        """Remember the shape of the input, here and in the networks inside, whose layers are built."""
        self.photo_shape = photo_shape
        for network in self.networks()[1:]:
            network.photo_shape = next((layer.input_shape for _, layer in network.flat()), None)

    def _build_layer(self, layer, input_shape, index):
        if isinstance(layer, Network):
            current = input_shape
            for k, (_, inner) in enumerate(layer.flat()):
                current = self._build_layer(inner, current, index + k)
            layer._settle(input_shape)
            return current
        if layer.output_shape is None:
            return layer.build(input_shape, utils.generator(self.seed, utils.INITIALISATION, layer=index), self.dtype)
        if layer.input_shape != input_shape:
            raise ValueError(
                f"{self}: {layer} is built for input {layer.input_shape}, but here it would get {input_shape}"
            )
        return layer.output_shape

    def lay_out(self, layers: list[Layer], input_shape: tuple[int, ...]) -> None:
        """Take these layers and work out their shapes; `saving` fills in the parameters."""
        self.layers, current = list(layers), input_shape
        for _, layer in self.flat():
            layer.input_shape, layer.output_shape = current, layer.infer_shape(current)
            current = layer.output_shape
        self._settle(input_shape)

    @property
    def built(self) -> bool:
        """Whether the shapes are known."""
        return self.photo_shape is not None and len(self.layers) > 0

    def require_built(self, verb: str) -> None:
        """Raise ValueError, naming what was asked of it, unless the network is built."""
        if not self.built:
            hint = "give the first layer an input_shape, or call build()"
            raise ValueError(f"{self}: {verb}: the shape of the input is not known yet: {hint}")

    @property
    def result_shape(self) -> tuple[int, ...] | None:
        """The shape of one output; None while the input's shape is not known."""
        layers = [layer for _, layer in self.flat()]
        return layers[-1].output_shape if layers else self.photo_shape

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the input with the batch axis, as in Keras: (None, 28, 28, 1); None while it is not known."""
        return None if self.photo_shape is None else (None, *self.photo_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the output with the batch axis: (None, 10)."""
        return None if self.photo_shape is None else (None, *checks.known(self.result_shape))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The output's shape for this shape of the input, both with the batch axis. Raises ValueError."""
        current = checks.shape(str(self), "input_shape", tuple(input_shape[1:]))
        for _, layer in self.flat():
            current = layer.infer_shape(current)
        return input_shape[0], *current

    @property
    def input(self) -> Symbol:
        """What stands for its input, for Model(inputs=...). AttributeError while the input's shape is not known."""
        if self.photo_shape is None:
            raise AttributeError(f"{self}: the shape of the input is not known yet")
        return Symbol((None, *self.photo_shape), self, "input")

    @property
    def output(self) -> Symbol:
        """What stands for its output. AttributeError while the input's shape is not known."""
        return self.input._replace(shape=checks.known(self.output_shape), kind="output")

    @property
    def inputs(self) -> list[Symbol]:
        """The one input, as a list."""
        return [self.input]

    @property
    def outputs(self) -> list[Symbol]:
        """The one output, as a list."""
        return [self.output]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of this name, or at this place. Raises ValueError when there is none."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if index is None and layer.name == name:
                return layer
        names, got = [layer.name for layer in self.layers], index if name is None else repr(name)
        raise ValueError(f"{self}: get_layer: expected one of {names}, got {got}")

    @property
    def closing(self) -> ActivationFunction | None:
        """The softmax or sigmoid at the end, alone or in the last layer, whose input a loss may take; None without."""
        last: Any = self
        while isinstance(last, Network):
            last = last.layers[-1] if last.layers else None
        activation = last if closing_name(last) else getattr(last, "activation", None)
        return activation if closing_name(activation) else None

    def logit_layers(self) -> list[Layer]:
        """The layers without the closing activation: what training runs, since the loss wants logits (see losses/)."""
        *body, last = self.chain
        if not self.closing:
            return [*body, last]
        alone = closing_name(last) or isinstance(last, Activation)
        return body if alone else [*body, OpenEnd(last).now()]

    @property
    def ends_in_softmax(self) -> bool:
        """Whether the outputs are probabilities of classes."""
        return isinstance(self.closing, Softmax)

    @property
    def metrics_names(self) -> list[str]:
        """What evaluate returns, in its order: "loss", and the metrics that compile was given."""
        return ["loss", *(metric.name for metric in self.metrics)]

    def loss_and_gradient(
        self, y: Array, outputs: Array, batch_size: int, weights: Array | None = None
    ) -> tuple[float, Array]:
        """(L, dL/doutputs) for a part of a batch, from what logit_layers put out; see losses.Loss."""
        loss, closing = checks.known(self.loss), self.closing
        weighted = {} if weights is None else {"weights": weights}
        if closing is None:
            return loss.loss_and_gradient(y, outputs, batch_size, loss.from_logits, **weighted)
        if closing_name(closing) == loss.logits_of:  # it takes the logits themselves
            return loss.loss_and_gradient(y, outputs, batch_size, True, **weighted)
        p, cache = closing.forward(outputs)
        value, dp = loss.loss_and_gradient(y, p, batch_size, False, **weighted)
        return value, closing.backward(dp, cache)[0]

    # ---- copies and names

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy with float32 or float64 parameters, and an optimizer, of its own. ValueError for another dtype."""
        self.require_built("astype")
        dtype = checks.float_type(str(self), "astype", dtype)
        network = copy.copy(self)
        network.dtype, network.optimizer = dtype, copy.deepcopy(self.optimizer)
        for slot in network.optimizer.state.values() if network.optimizer else ():
            slot.update({key: value.astype(dtype) for key, value in slot.items()})
        network.layers, network._aliases = [_copied(layer, dtype) for layer in self.layers], {}
        return network

    def __repr__(self) -> str:
        """One line: the layers, the shapes, the parameters, and the seed that all its random draws depend on."""
        state = "not built"
        if self.built:
            state = f"{self.photo_shape} -> {self.result_shape}, {self.count_params():,} parameters"
        return f"<{self}: {len(self.layers)} layers; {state}; seed {self.seed}>"

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"'


def _copied(layer, dtype):
    """A layer, or a network among them, with parameters of this type of its own."""
    if isinstance(layer, Network):
        return layer.astype(dtype)
    layer = copy.copy(layer)
    layer.params = {key: value.astype(dtype) for key, value in layer.params.items()}
    return layer


def _free_name(layer, taken):
    """conv2d, conv2d_1, conv2d_2 ...: the first that this network has not given away."""
    base = snake_case(type(layer).__name__)
    names = [base] + [f"{base}_{k}" for k in range(1, len(taken) + 2)]
    return next(name for name in names if name not in taken)
