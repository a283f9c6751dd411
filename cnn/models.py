"""Sequential: Keras' words for a network and for training it.

Each verb is a few lines: what a network does stands in network.py, how it is trained in training/, what a file holds
in saving/.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from cnn import losses, optimizers
from cnn import metrics as metric_table
from cnn.callbacks import Callback, History
from cnn.checks import boolean, known
from cnn.configurable import require_defaults
from cnn.feature_maps import Model as Model
from cnn.folding import folded as folded
from cnn.layers import Input, Layer
from cnn.losses import Loss
from cnn.network import Network, averages, forward
from cnn.optimizers import Optimizer
from cnn.results import Outputs
from cnn.saving import document, model_file
from cnn.summary import for_stdout, summary_html, summary_table
from cnn.training import batches, fit, step
from cnn.training.means import RunningMean

Array = np.ndarray
COMPILE_DEFAULTS = {"loss_weights": None, "auto_scale_loss": True}  # what else Keras takes


class Sequential(Network):
    """A network of layers in a row, with the verbs of Keras' Sequential.

    seed: the key of every random draw (None: the one of utils.set_random_seed, 0 at first): two models of the same
    layers and seed start with the same weights.
    shards: into how many parts a training batch is cut; it fixes the last bits of the result.

    >>> from cnn import layers
    >>> model = Sequential([layers.Dense(2, input_shape=(3,)), layers.Softmax()])
    >>> model.count_params()
    8
    >>> model.predict([[1.0, 2.0, 3.0]], verbose=0).shape
    (1, 2)
    """

    calls = 0  # of model(x, training=True): each drops other units

    def __init__(self, layers: Sequence[Layer] | None = None, name: str | None = None, seed: int | None = None):
        super().__init__(layers, name, seed)

    def __call__(self, x: ArrayLike, training: bool = False) -> Array:
        """The outputs (N, ...) for a batch x (N, ...). Raises ValueError for inputs that do not fit.

        training: Dropout drops, BatchNormalization normalizes with the batch's own moments and moves its averages.
        """
        x = batches.check_inputs(self, "call", x).astype(self.dtype, copy=False)
        rngs = step.call_generators(self, self.calls) if training else {}
        self.calls += training
        layers = self.chain
        y, caches = forward(layers, x, training, rngs)
        self.keep(averages(layers, caches) if training else {})
        return y.view(Outputs)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def loss_and_gradients(self, x: ArrayLike, y: ArrayLike, input_gradient: bool = False) -> tuple:
        """(loss, {"conv2d/kernel": dL/dkernel, ...}), and dL/dx as a third with input_gradient=True.

        x (N, ...), y (N,). Changes nothing, and Dropout drops nothing.
        Raises ValueError for bad input or before compile.
        """
        batch = batches.check_batch(self, "loss_and_gradients", x, y)
        result = step.run_batch(self, batch.x, batch.y, input_gradient=input_gradient, training=False)
        return (result.loss, result.grads, result.dx) if input_gradient else (result.loss, result.grads)

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], object] | None = None,
        *,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print the layers, their output shapes and numbers of parameters as a table, as Keras does.

        print_fn: called with the whole table instead. expand_nested: with the layers of networks inside.
        show_trainable: Y or N says which layers learn.
        """
        table = summary_table(self, line_length, expand_nested, show_trainable)
        (print_fn or print)(for_stdout(table) if print_fn in (None, print) else table)

    def compile(
        self,
        optimizer: str | Optimizer | type[Optimizer] = "rmsprop",
        loss: str | Loss | type[Loss] | Callable | None = None,
        metrics: str | Sequence | None = None,
        *,
        weighted_metrics: str | Sequence | None = None,
        run_eagerly: bool = False,
        jit_compile: str | bool | None = "auto",
        steps_per_execution: int = 1,
        **unsupported: Any,
    ) -> None:
        """Choose the optimizer, the loss and the metrics; names and objects as in Keras. Raises ValueError.

        weighted_metrics: in these each photo counts as often as fit's class_weight or sample_weight says.
        run_eagerly, jit_compile and steps_per_execution tell other programs how to be fast; they change nothing here.
        """
        require_defaults(f"{self}: compile", unsupported, COMPILE_DEFAULTS)
        chosen = optimizers.get(optimizer), losses.get(loss), metric_table.get_all(metrics, weighted_metrics)
        self.optimizer, self.loss, self.metrics = chosen

    def fit(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train on photos x (N, ...) and their labels y; return the History of losses and metrics.

        batch_size is 32 unless given; validation_split holds the last fraction of x and y back; epochs counts from
        initial_epoch. class_weight {class: how often its photos count} or sample_weight (N,) weigh the loss and
        compile's weighted_metrics. Instead of x and y: a generator of batches (x, y) or (x, y, weights), with
        steps_per_epoch, or an object with __len__ and __getitem__ that has them by number; validation_data may be one,
        too, or a tuple.
        Raises ValueError for bad input and DivergedError when the loss becomes NaN or infinite.
        """
        settings = {
            "batch_size": batch_size,
            "initial_epoch": initial_epoch,
            "epochs": epochs,
            "shuffle": shuffle,
            "validation_split": validation_split,
            "steps_per_epoch": steps_per_epoch,
            "validation_steps": validation_steps,
            "validation_batch_size": validation_batch_size,
            "validation_freq": validation_freq,
        }
        return fit.fit(self, x, y, settings, validation_data, callbacks, verbose, sample_weight, class_weight)

    def evaluate(
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss, or [loss, accuracy] when compiled with that metric, or a dict of them. Raises ValueError.

        x may be what fit takes instead of arrays; steps: so many batches of it alone.
        """
        return _as_keras(fit.evaluate(self, x, y, batch_size, verbose, callbacks, sample_weight, steps), return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
    ) -> Array:
        """The outputs for all of x, computed in batches: memory does not grow with their number. Raises ValueError."""
        return fit.predict(self, x, batch_size, verbose, callbacks, steps)

    def train_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """One step of the optimizer on a batch; its loss and metrics as from evaluate. ValueError, DivergedError."""
        where = f"{self}: train_on_batch"
        batch = batches.check_batch(self, "train_on_batch", x, y, sample_weight, class_weight)
        return_dict = boolean(where, "return_dict", return_dict)
        mean = RunningMean(self)
        loss, outputs = step.train_step(self, batch.x, batch.y, known(self.optimizer).iterations, weights=batch.weights)
        mean.add(loss, batch.y, outputs, batch.weights)
        return _as_keras(mean.logs(), return_dict)

    def test_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Loss and metrics on one batch. Raises ValueError."""
        batch = batches.check_batch(self, "test_on_batch", x, y, sample_weight)
        logs = fit.evaluate(self, batch.x, batch.y, len(batch.x), 0, None, batch.weights)
        return _as_keras(logs, boolean(f"{self}: test_on_batch", "return_dict", return_dict))

    def predict_on_batch(self, x: ArrayLike) -> Array:
        """The outputs for one batch. Raises ValueError."""
        return np.asarray(self(x))

    def save(self, path: str | os.PathLike, overwrite: bool = True) -> None:
        """Write the model to one file, with the optimizer's state when it is compiled; the ending says the form.

        .npz is ours; .keras opens in Keras 3, .safetensors in PyTorch. See saving/. Raises ValueError for what the form
        cannot hold.
        """
        model_file.save_model(self, path, overwrite=overwrite)

    def get_config(self) -> dict[str, Any]:
        """The layers as JSON can hold them: what from_config makes the same untrained model of."""
        layers = [{"class_name": type(layer).__name__, "config": layer.get_config()} for layer in self.layers]
        shape = None if self.photo_shape is None else [None, *self.photo_shape]
        return {"name": self.name, "seed": self.seed, "layers": layers, "build_input_shape": shape}

    def save_weights(self, filepath: str | os.PathLike, overwrite: bool = True) -> None:
        """Write the weights alone to a file as `save` does, for load_weights; .weights.h5 for Keras' as well."""
        model_file.save_model(self, filepath, overwrite=overwrite, include_optimizer=False)

    def load_weights(self, filepath: str | os.PathLike) -> None:
        """Take the weights in a file, whose layers must have these shapes. Raises ModelFileError, ValueError."""
        model_file.load_weights(filepath, self)

    def to_json(self) -> str:
        """The layers as text, without weights; model_from_json reads it."""
        return json.dumps({"class_name": "Sequential", "config": self.get_config()})

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, type] | None = None) -> Self:
        """The untrained model that get_config described. custom_objects: layers of your own, by the names of classes.

        Raises ValueError.
        """
        known_layers: dict[str, Any] = {**document.LAYERS, "Sequential": Sequential, **(custom_objects or {})}
        model = cls(name=config["name"], seed=config.get("seed"))
        if config.get("build_input_shape"):
            model.add(Input(config["build_input_shape"][1:]))
        for layer in config["layers"]:
            if layer["class_name"] not in known_layers:
                raise ValueError(f"{model}: from_config: expected one of {', '.join(known_layers)}, got {layer}")
            kind = known_layers[layer["class_name"]]
            more = (custom_objects,) if issubclass(kind, Network) else ()
            model.add(kind.from_config(layer["config"], *more))
        return model

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Sequential":
        """The model that `save` wrote. Raises ModelFileError."""
        return model_file.load(path, cls)


def clone_model(model: Sequential) -> Sequential:
    """A model of the same layers, untrained, as keras.models.clone_model."""
    return type(model).from_config(model.get_config())


def model_from_json(json_string: str, custom_objects: Mapping[str, type] | None = None) -> Sequential:
    """The untrained model that to_json described, as keras.models.model_from_json. Raises ValueError."""
    described = json.loads(json_string)
    if not isinstance(described, dict) or described.get("class_name") != "Sequential":
        raise ValueError(f"model_from_json: expected what Sequential.to_json gives, got {json_string!r:.100}")
    return Sequential.from_config(described["config"], custom_objects)


def load_model(path: str | os.PathLike) -> Sequential:
    """The model that `Sequential.save` wrote, or Keras (.keras, .h5). Raises ModelFileError."""
    return Sequential.load(path)


def _as_keras(logs: dict[str, float], return_dict: bool) -> float | list[float] | dict[str, float]:
    """Losses and metrics in the form that Keras' evaluate returns them."""
    if return_dict:
        return dict(sorted(logs.items()))
    values = [logs["loss"], *(value for key, value in logs.items() if key != "loss")]
    return values if len(values) > 1 else values[0]
