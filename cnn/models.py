"""Sequential: layers one after the other. Forward is one loop over them, backward the same loop in reverse.

`loss_and_gradients` is a pure function of the parameters, because a pass leaves nothing in
the layers. So a batch can be cut into shards, one for each core: each shard divides by the
whole batch's size, and then losses and gradients simply add up, always in the same order.
"""

import contextlib
import copy
from typing import NamedTuple

import numpy as np

from cnn import checks, losses, metrics, optimizers, trainer, utils
from cnn.layers import Input, Layer, Linear, Softmax
from cnn.training import twin
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
    layers: list[Layer], caches: list, dy: Array, input_gradient: bool = False
) -> tuple[dict[str, Array], Array | None]:
    """The chain rule, from the last layer to the first: ({"conv2d/kernel": dL/dkernel, ...}, dL/dx or None).

    Unless input_gradient is set, the way back ends at the first layer that has
    parameters: nobody would read what it could hand on.
    """
    grads = {}
    first = 0 if input_gradient else next((k for k, layer in enumerate(layers) if layer.params), len(layers))
    for k in reversed(range(first, len(layers))):
        dy, layer_grads = layers[k].backward(dy, caches[k], need_dx=k > first or input_gradient)
        grads.update({f"{layers[k].name}/{key}": value for key, value in layer_grads.items()})
    return grads, dy


class ShardResult(NamedTuple):
    loss: float  # this shard's part of the batch's loss
    correct: int  # photos whose most probable class is the right one
    grads: dict[str, Array]
    dx: Array | None


class Sequential:
    """A network of layers in a row, with the verbs of Keras' Sequential.

    seed: the key of every random draw (None: the one of utils.set_random_seed, 0 at first).
    shards: into how many parts a training batch is cut; it fixes the last bits of the result.
    """

    def __init__(self, layers=None, name: str | None = None, seed: int | None = None):
        self.name = name or "sequential"
        self.seed = utils.default_seed() if seed is None else checks.whole(str(self), "seed", seed, 0, 2**32 - 1)
        self.shards = threads.default_shards()
        self.dtype = np.dtype(np.float32)
        self.layers: list[Layer] = []
        self.input_shape: tuple[int, ...] | None = None  # one photo's; None until known
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.SparseCategoricalCrossentropy | None = None
        self.metrics: list[str] = []
        self.epoch = 0  # epochs trained so far, over all calls of fit
        self.stop_training = False  # a callback sets it to end fit after this epoch
        self.stop_after_batch = False  # set it (from a callback or a signal's handler) to end fit after this batch
        self.history = None  # the History of the last fit
        self.class_names: tuple[str, ...] | None = None
        self.input_scale: float | None = None  # what photos were multiplied by, 1/255 for bytes; None: unknown
        self.made_by: str | None = None  # the command that trained it, for the record
        for layer in layers or []:
            self.add(layer)

    # ---- structure

    def add(self, layer: Layer) -> None:
        """Append a layer. It is built at once when the input's shape is known. Raises ValueError."""
        if not isinstance(layer, Layer):
            raise ValueError(f"{self}: add: expected a layer, got {layer!r}")
        if isinstance(layer, Input) and (self.layers or self.input_shape):
            raise ValueError(f"{self}: add: Input stands once, before all layers")
        if layer in self.layers:
            raise ValueError(f"{self}: add: {layer} is in this model already")
        taken = {other.name for other in self.layers}
        if layer.name in taken:
            raise ValueError(f"{self}: add: expected a name of its own, but there is another layer {layer.name!r}")
        declared = layer.declared_shape
        if declared and self.layers and self.input_shape is None:
            raise ValueError(
                f"{self}: add: {layer} declares input_shape {declared}, which belongs to the first layer, {self.layers[0]}"
            )
        if declared and self.layers and declared != self.output_shape:
            raise ValueError(
                f"{self}: add: {layer} declares input_shape {declared}, but its input will be {self.output_shape}"
            )
        if declared and not self.layers:
            self.input_shape = declared
        if isinstance(layer, Input):
            return
        if self.input_shape is not None:
            self._build_layer(layer, self.output_shape, len(self.layers))
        if layer.name is None:
            layer.name = _free_name(layer, taken)
        self.layers.append(layer)

    def pop(self) -> Layer:
        """Remove the last layer and return it. Raises ValueError when there is none."""
        if not self.layers:
            raise ValueError(f"{self}: pop: there is no layer to remove")
        return self.layers.pop()

    def build(self, input_shape) -> None:
        """Create the parameters for inputs of this shape, batch axis first, as in Keras: (None, 28, 28, 1)."""
        if not isinstance(input_shape, tuple | list) or len(input_shape) < 2:
            raise ValueError(
                f"{self}: build: expected a shape with a batch axis such as (None, 28, 28, 1), got {input_shape!r}"
            )
        shape = checks.shape(str(self), "build: input_shape", tuple(input_shape[1:]))
        if self.input_shape not in (None, shape):
            raise ValueError(f"{self}: build: this model is built for {self.input_shape}, got {shape}")
        current = shape
        for layer in self.layers:
            current = layer.infer_shape(
                current
            )  # raises before the first layer is built for a shape that cannot be right
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

    @property
    def built(self) -> bool:
        """Whether the parameters exist."""
        return self.input_shape is not None and len(self.layers) > 0

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of one output; None while the input's shape is not known."""
        return self.layers[-1].output_shape if self.layers else self.input_shape

    @property
    def params(self) -> dict[str, Array]:
        """{"conv2d/kernel": array, ...}: the arrays themselves, in the order of the layers."""
        return {f"{layer.name}/{key}": value for layer in self.layers for key, value in layer.params.items()}

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name, or at this place. Raises ValueError when there is none."""
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if index is None and layer.name == name:
                return layer
        raise ValueError(
            f"{self}: get_layer: expected one of {[layer.name for layer in self.layers]}, got {index if name is None else name!r}"
        )

    def count_params(self) -> int:
        """How many numbers there are to learn. Raises ValueError before the model is built."""
        self._require_built("count_params")
        return sum(value.size for value in self.params.values())

    def get_weights(self) -> list[Array]:
        """Copies of all parameters: layer by layer, kernel before bias. Raises ValueError before the model is built."""
        self._require_built("get_weights")
        return [value.copy() for value in self.params.values()]

    def set_weights(self, weights) -> None:
        """Replace all parameters by copies of these arrays. Raises ValueError, and then changes nothing."""
        self._require_built("set_weights")
        weights = list(weights)
        if len(weights) != len(self.params):
            raise ValueError(f"{self}: set_weights: expected {len(self.params)} arrays, got {len(weights)}")
        checked = [copy.copy(layer) for layer in self.layers]  # raise on copies first, so that nothing is half set
        for layer in checked:
            layer.set_weights([weights.pop(0) for _ in layer.params])
        for layer, new in zip(self.layers, checked, strict=True):
            layer.params = new.params

    def astype(self, dtype) -> "Sequential":
        """A copy of this model with float32 or float64 parameters, and an optimizer, of its own."""
        self._require_built("astype")
        model = copy.copy(self)
        model.dtype, model.optimizer = np.dtype(dtype), copy.deepcopy(self.optimizer)
        for slot in model.optimizer.state.values() if model.optimizer else ():
            slot.update({key: value.astype(dtype) for key, value in slot.items()})
        model.layers = [copy.copy(layer) for layer in self.layers]
        for layer in model.layers:
            layer.params = {key: value.astype(dtype) for key, value in layer.params.items()}
        return model

    def summary(self, line_length: int | None = None, print_fn=print) -> None:
        """Print the layers, their output shapes and numbers of parameters as a table, as Keras does."""
        from cnn.summary import summary_table

        print_fn(summary_table(self, line_length))

    # ---- passes

    def __call__(self, x, training: bool = False) -> Array:
        """The outputs (N, ...) for a batch x (N, ...). Raises ValueError for inputs that do not fit."""
        x = self._check_inputs("call", x)
        whole = slice(0, len(x))
        return forward(self.layers, x.astype(self.dtype, copy=False), training, self._rngs(training, 0, len(x), whole))[
            0
        ]

    def logit_layers(self) -> list[Layer]:
        """The layers without a closing softmax: what training runs, since the loss wants logits (see losses.py)."""
        *body, last = self.layers
        if isinstance(last, Softmax):
            return body
        if isinstance(getattr(last, "activation", None), Softmax):
            last = copy.copy(last)  # the same parameters, another activation
            last.activation = Linear()
        return [*body, last]

    @property
    def ends_in_softmax(self) -> bool:
        """Whether the outputs are probabilities."""
        last = self.layers[-1] if self.layers else None
        return isinstance(last, Softmax) or isinstance(getattr(last, "activation", None), Softmax)

    def loss_and_gradients(self, x, y, input_gradient: bool = False) -> tuple:
        """(loss, {"conv2d/kernel": dL/dkernel, ...}), and dL/dx as a third with input_gradient=True.

        x (N, ...), y (N,). Changes nothing, and Dropout drops nothing. Raises ValueError for bad input or before compile.
        """
        x, y = self._check_batch("loss_and_gradients", x, y)
        result = self.run_batch(x, y, input_gradient=input_gradient, training=False)
        return (result.loss, result.grads, result.dx) if input_gradient else (result.loss, result.grads)

    def run_batch(
        self, x: Array, y: Array, step: int = 0, training=True, input_gradient=False, fast=False
    ) -> ShardResult:
        """One forward and backward pass over checked x and y, in shards, added up in their order.

        fast: run the model's twin (see training/twin.py), whose gradients are valid until its next pass.
        """
        shards = shard_slices(len(x), self.shards)
        plain = contextlib.nullcontext([self.logit_layers()] * len(shards))
        from_logits = self.loss.from_logits or self.ends_in_softmax

        def run_shard(part):
            layers, shard = part
            rngs = self._rngs(training, step, len(x), shard)
            outputs, caches = forward(layers, x[shard].astype(self.dtype, copy=False), training, rngs)
            loss, dy = self.loss.loss_and_gradient(y[shard], outputs, len(x), from_logits)
            grads, dx = backward(layers, caches, dy, input_gradient)
            return ShardResult(loss, metrics.count_correct(y[shard], outputs), grads, dx)

        with twin.lend(self, len(shards)) if fast else plain as networks:
            results = threads.run(run_shard, zip(networks, shards, strict=True))
            return self._sum(results, input_gradient)

    @staticmethod
    def _sum(results: list[ShardResult], input_gradient: bool) -> ShardResult:
        """The shards' results added up in their order."""
        grads = results[0].grads
        for result in results[1:]:
            for key, grad in result.grads.items():
                grads[key] += grad
        loss, correct = sum(r.loss for r in results), sum(r.correct for r in results)
        return ShardResult(loss, correct, grads, np.concatenate([r.dx for r in results]) if input_gradient else None)

    def _rngs(self, training, step, batch_size, shard):
        """A generator for each layer that draws random numbers in training: keyed by epoch, step and layer."""
        if not training:
            return {}
        return {
            layer.name: utils.ShardOfDraws(
                utils.generator(self.seed, utils.DROPOUT, self.epoch, step, k), batch_size, shard
            )
            for k, layer in enumerate(self.layers)
            if layer.draws
        }

    # ---- Keras' verbs

    def compile(self, optimizer, loss, metrics=None) -> None:
        """Choose the optimizer, the loss and the metrics; names and objects as in Keras. Raises ValueError."""
        chosen = optimizers.get(optimizer), losses.get(loss), trainer.check_metrics(metrics)
        self.optimizer, self.loss, self.metrics = chosen

    def fit(
        self,
        x,
        y,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        initial_epoch=0,
    ):
        """Train on photos x (N, ...) and classes y (N,); return the History of losses and metrics.

        batch_size is 32 unless given; validation_split holds the last fraction of x and y
        back; epochs counts from initial_epoch. Raises ValueError for bad input and
        DivergedError when the loss becomes NaN or infinite.
        """
        return trainer.fit(
            self,
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            validation_data,
            shuffle,
            initial_epoch,
        )

    def evaluate(self, x, y, batch_size=None, verbose="auto", callbacks=None, return_dict=False):
        """The loss, or [loss, accuracy] when compiled with that metric, or a dict of them. Raises ValueError."""
        return trainer.evaluate(self, x, y, batch_size, verbose, callbacks, return_dict)

    def predict(self, x, batch_size=None, verbose="auto", callbacks=None) -> Array:
        """The outputs for all of x, computed in batches: memory does not grow with their number. Raises ValueError."""
        return trainer.predict(self, x, batch_size, verbose, callbacks)

    def train_on_batch(self, x, y, return_dict: bool = False):
        """One step of the optimizer on one batch; its loss and metrics as from evaluate. Raises ValueError, DivergedError."""
        x, y = self._check_batch("train_on_batch", x, y)
        return trainer.as_keras(trainer.train_step(self, x, y, self.optimizer.iterations), return_dict)

    def test_on_batch(self, x, y, return_dict: bool = False):
        """Loss and metrics on one batch. Raises ValueError."""
        return self.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=return_dict)

    def predict_on_batch(self, x) -> Array:
        """The outputs for one batch. Raises ValueError."""
        return self(x)

    def save(self, path, overwrite: bool = True) -> None:
        """Write the model to one .npz file, with the optimizer's state when it is compiled. See saving.py."""
        from cnn import saving

        saving.save_model(self, path, overwrite=overwrite)

    @staticmethod
    def load(path) -> "Sequential":
        """The model that `save` wrote. Raises ModelFileError."""
        from cnn import saving

        return saving.load_model(path)

    # ---- checks

    def _check_inputs(self, verb, x):
        x = checks.inputs(f"{self}: {verb}", x, self.input_shape, self.dtype)
        if not self.layers:
            raise ValueError(f"{self}: {verb}: the model has no layers: add some first")
        if not self.built:
            self.build((None, *x.shape[1:]))
        return x

    def _check_batch(self, verb, x, y):
        """x and y checked, the model built and found fit to train."""
        if self.loss is None:
            raise ValueError(f"{self}: {verb}: call compile() first")
        x = self._check_inputs(verb, x)
        if self.loss.from_logits and self.ends_in_softmax:
            raise ValueError(
                f"{self}: {verb}: the loss expects logits (from_logits=True), but the model ends in softmax"
            )
        return x, self.loss.check(y, (len(x), *self.output_shape))

    def _require_built(self, verb):
        if not self.built:
            raise ValueError(
                f"{self}: {verb}: the shape of the input is not known yet: give the first layer an input_shape, or call build()"
            )

    def __str__(self):
        return f'Sequential "{self.name}"'


def shard_slices(count: int, shards: int) -> list[slice]:
    """`count` photos cut into at most `shards` parts that differ by one photo at most; none is empty."""
    shards = min(shards, count)
    edges = [count * k // shards for k in range(shards + 1)]
    return [slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


def _free_name(layer, taken):
    """conv2d, conv2d_1, conv2d_2 ...: the first that this model has not given away."""
    base = {"Conv2D": "conv2d", "MaxPooling2D": "max_pooling2d", "ReLU": "re_lu"}.get(
        type(layer).__name__, type(layer).__name__.lower()
    )
    names = [base] + [f"{base}_{k}" for k in range(1, len(taken) + 2)]
    return next(name for name in names if name not in taken)


def load_model(path) -> Sequential:
    """The model that `Sequential.save` wrote, as keras.models.load_model. Raises ModelFileError."""
    return Sequential.load(path)
