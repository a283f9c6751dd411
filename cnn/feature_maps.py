"""Model(inputs=model.inputs, outputs=[layer.output, ...]): what goes on inside a network, as arrays.

The layers are the network's own: when it learns, these outputs change as well.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import checks
from cnn.layers import Symbol
from cnn.network import Network
from cnn.saving.limits import photos_at_once
from cnn.summary import for_stdout, summary_html, summary_table
from cnn.training import batches, fit
from kernels import threads

Array = np.ndarray
ONLY = "Model takes model.inputs and layer.output of a Sequential's layers; the functional API is not supported here"


class Model(Network):
    """The outputs of some layers of a Sequential: predict gives an array, or a list of them for several outputs.

    >>> from cnn import layers, models
    >>> model = models.Sequential([layers.Conv2D(3, 2, input_shape=(5, 5, 1)), layers.MaxPooling2D()])
    >>> maps = Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
    >>> [y.shape for y in maps.predict(np.zeros((2, 5, 5, 1)), verbose=0)]
    [(2, 4, 4, 3), (2, 2, 2, 3)]
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **unsupported: Any):
        for argument in unsupported:
            raise ValueError(f"Model: the argument {argument!r} is not supported here")
        network, owners = _network(inputs), _owners(outputs)
        super().__init__(name=name or "functional", seed=network.seed)
        self.dtype, self.class_names, self.input_scale = network.dtype, network.class_names, network.input_scale
        ends = _ends(network)
        if any(id(owner) not in ends for owner in owners):
            raise ValueError(f"Model: outputs: expected layer.output of layers of {network}: {ONLY}")
        self.places = [ends[id(owner)][1] for owner in owners]  # in the chain
        self.layers = network.layers[: 1 + max(ends[id(owner)][0] for owner in owners)]
        self.photo_shape = network.photo_shape

    def __call__(self, x: ArrayLike, training: bool = False) -> Array | list[Array]:
        """The outputs for a batch x (N, ...). Raises ValueError."""
        if training:
            raise ValueError(f"{self}: call: training=True: call the Sequential itself")
        return _alone(self._run(batches.check_inputs(self, "call", x)))

    def predict(
        self, x: ArrayLike, batch_size: int | None = None, verbose: str | int = "auto", callbacks: Any = None
    ) -> Array | list[Array]:
        """The outputs for all of x, computed in batches. Raises ValueError."""
        if self.places == [len(self.chain) - 1]:
            return fit.predict(self, x, batch_size, verbose, callbacks)
        x = batches.check_inputs(self, "predict", x)
        size = checks.whole(f"{self}: predict", "batch_size", 32 if batch_size is None else batch_size)
        few, team, parts = photos_at_once(self, size), threads.get_threads(), list[list[Array]]()
        starts = range(0, len(x), few)
        watchers = fit.watch(self, "predict", len(starts), verbose, callbacks)
        watchers.call("on_predict_begin")
        for first in range(0, len(starts), team):
            for outputs in threads.run(lambda start: self._run(x[start : start + few]), starts[first : first + team]):
                watchers.call("on_predict_batch_begin", len(parts))
                parts.append(outputs)
                watchers.call("on_predict_batch_end", len(parts) - 1, {"outputs": _alone(outputs)})
        watchers.call("on_predict_end")
        return _alone([np.concatenate(outputs) for outputs in zip(*parts, strict=True)])

    def _run(self, x):
        """The outputs for checked photos."""
        y, found = x.astype(self.dtype, copy=False), {}
        for place, layer in enumerate(self.chain[: max(self.places) + 1]):
            y, _ = layer.forward(y)
            found[place] = y
        return [found[place] for place in self.places]

    @property
    def outputs(self) -> list[Symbol]:
        """What stands for each output, with its shape."""
        return [self.chain[place].output for place in self.places]

    @property
    def output_shape(self) -> Any:
        """The shape of the output with the batch axis, a list of shapes for several."""
        return _alone([output.shape for output in self.outputs])

    @property
    def declared_shape(self) -> tuple[int, ...] | None:
        """What it says of its input among the layers of another. ValueError if it cannot stand there."""
        if self.places != [len(self.chain) - 1]:
            raise ValueError(f"{self}: several outputs, or one inside: it cannot stand among the layers of another")
        return self.photo_shape

    def summary(self, line_length: int | None = None, print_fn: Callable[[str], object] = print) -> None:
        """Print the layers as a table, as Keras does."""
        table = summary_table(self, line_length)
        print_fn(for_stdout(table) if print_fn is print else table)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Refused: the Sequential trains."""
        raise ValueError(f"{self}: compile: these outputs are only looked at: train the Sequential that they are of")


def _network(inputs) -> Network:
    """The network whose inputs these are; else ValueError."""
    given = list(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, Symbol) else [inputs]
    if len(given) != 1 or not isinstance(given[0], Symbol) or not isinstance(given[0].owner, Network):
        raise ValueError(f"Model: inputs: expected model.inputs, got {inputs!r:.100}: {ONLY}")
    return given[0].owner


def _owners(outputs) -> list:
    """The layers whose outputs these are; else ValueError."""
    given = list(outputs) if isinstance(outputs, Sequence) and not isinstance(outputs, Symbol) else [outputs]
    if not given or not all(isinstance(output, Symbol) for output in given):
        raise ValueError(f"Model: outputs: expected layer.output, or a list of them, got {outputs!r:.100}: {ONLY}")
    return [output.owner for output in given]


def _ends(network: Network) -> dict[int, tuple[int, int]]:
    """{id of a layer or inner network: (its place among the layers, where in the chain its output comes out)}"""
    ends, place = {id(network): (len(network.layers) - 1, len(network.chain) - 1)}, 0
    for index, top in enumerate(network.layers):
        inner = [layer for _, layer in top.flat()] if isinstance(top, Network) else [top]
        for layer in inner:
            ends[id(layer)] = index, place
            place += 1
        ends[id(top)] = index, place - 1
    return ends


def _alone(values: list) -> Any:
    """The one value, or the list of several."""
    return values[0] if len(values) == 1 else values
