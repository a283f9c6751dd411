"""What all layers share: a name, parameters, building, calling, weights in and out. No formula stands here."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any, NamedTuple, Self

import numpy as np

from cnn import checks, utils
from cnn.configurable import Configurable
from cnn.regularizers import Regularizer
from cnn.results import Outputs
from cnn.variables import Variable, named

Array = np.ndarray
Grads = dict[str, Array]  # the gradient of each parameter, under the parameter's name
Shape = tuple[int, ...]
AnyShape = int | Sequence[int]  # a shape as users may write it


class Symbol(NamedTuple):
    """What stands for the photos at a place of a network while there are none: layer.output, model.inputs[0].

    >>> from cnn.layers import Dense
    >>> layer = Dense(3)
    >>> y = layer([[1.0, 2.0]])
    >>> layer.output
    <Symbol: (None, 3), the output of Dense>
    """

    shape: tuple[int | None, ...]  # None is the batch axis
    owner: Any  # the layer whose output it is, or the network whose input
    kind: str = "output"
    dtype: str = "float32"

    def __repr__(self) -> str:
        return f"<Symbol: {self.shape}, the {self.kind} of {self.owner}>"


class Layer(Configurable):
    """A layer of your own is its formula, forward and backward, and what it is made from:

    - `arguments`, each with its check, and a constructor that shows them and hands them to set_arguments;
    - `param_shapes(input_shape)`, if it learns: {"kernel": shape}, filled as its argument kernel_initializer says; what
      an argument kernel_regularizer asks for is added to the loss, what a kernel_constraint asks for done after a step;
    - `infer_shape(input_shape)`, if the output has another shape than the input;
    - `forward` and `backward`, as the head of cnn/layers/__init__.py says; `draws = True` if forward needs `rng`.

    A check is called as check(where, name, value) and returns the value to keep, or raises ValueError; the cache is a
    NamedTuple; y and dx have x's dtype. `gradcheck.check_layer` tells whether backward is the derivative of forward,
    and where it is not, which mistake was made (a cache with x and `corners` tells it where the slope jumps). Then
    import the layer and its cache in cnn/layers/__init__.py, and give it a line in the TABLE of tests/test_layers.py.
    If it shall be saved: a line in LAYERS of cnn/saving/document.py, and how many numbers it makes of a photo in
    cnn/saving/limits.py. If it shall go to other programs: a line in the TABLEs of cnn/saving/forms/.

    >>> class Scale(Layer):
    ...     '''y = factor * x,  so  dx = factor * dy'''
    ...     arguments = {"factor": checks.number, **Layer.arguments}
    ...
    ...     def __init__(self, factor: float, input_shape=None, name=None, **unsupported):
    ...         super().__init__(name, input_shape, **unsupported)
    ...         self.set_arguments(locals())
    ...
    ...     def forward(self, x, training=False, rng=None):
    ...         return self.factor * x, ()
    ...
    ...     def backward(self, dy, cache, need_dx=True):
    ...         return self.factor * dy, {}
    >>> scale, x = Scale(3, name="triple"), np.array([[1.0, 2.0]])
    >>> scale(x)
    array([[3., 6.]])
    >>> scale
    <Scale "triple": factor=3.0; (2,) -> (2,), 0 parameters>
    >>> from cnn.gradcheck import check_layer
    >>> [result.passed for result in check_layer(scale, x)]
    [True]
    """

    arguments = {"name": checks.layer_name, "trainable": checks.boolean}
    unless = {"trainable": True}
    at_default = {"dtype": "float32", "autocast": True, "activity_regularizer": None}
    draws = False  # whether forward needs random numbers in training
    least_axes = 1  # of the smallest batch it takes: (N,)
    not_learned: tuple[str, ...] = ()  # the parameters without a gradient: averages that training keeps
    squares: tuple[str, ...] = ()  # those of them that are never below 0

    def __init__(
        self, name: str | None = None, input_shape: AnyShape | None = None, trainable: bool = True, **unsupported: Any
    ):
        self.name: str | None = None
        self.params: dict[str, Array] = {}
        self.input_shape: Shape | None = None  # one photo's, known once built
        self.output_shape: Shape | None = None
        self.set_arguments(locals())
        self.declared_shape = None if input_shape is None else checks.shape(str(self), "input_shape", input_shape)

    def __init_subclass__(cls) -> None:
        """Say at once what a layer in Keras' style lacks here: its derivative. Raises TypeError."""
        if "call" in vars(cls):
            raise TypeError(
                f"{cls.__name__}: expected forward and backward, got call: nothing here finds derivatives by itself, "
                "so a layer of your own brings its own; see cnn.layers.Layer"
            )
        super().__init_subclass__()

    # ---- building

    def build(self, input_shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> Shape:
        """Allocate the parameters for inputs of this shape (no batch axis); return the output's shape."""
        input_shape = tuple(input_shape)
        output_shape = self.infer_shape(input_shape)  # raises for an input that does not fit, which then builds nothing
        self.params = {
            key: getattr(self, f"{key}_initializer")(shape, rng, dtype)
            for key, shape in self.param_shapes(input_shape).items()
        }
        self.input_shape, self.output_shape = input_shape, output_shape
        return output_shape

    def infer_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output; raises ValueError, naming the layer, for an input it cannot take."""
        return input_shape

    def param_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shape of each parameter, before any is allocated."""
        return {}

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The output's shape for this shape of the input, both with the batch axis. Raises ValueError."""
        return input_shape[0], *self.infer_shape(checks.shape(str(self), "input_shape", tuple(input_shape[1:])))

    @property
    def input(self) -> Symbol:
        """What stands for its input. AttributeError before the layer is built."""
        return self.output._replace(shape=(None, *checks.known(self.input_shape)), kind="input")

    @property
    def output(self) -> Symbol:
        """What stands for its output, for Model(outputs=...). AttributeError before the layer is built."""
        if self.output_shape is None:
            raise AttributeError(f"{self}: output: not built yet: give it a place in a model that knows its input")
        return Symbol((None, *self.output_shape), self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer that get_config described, without its weights. Raises ValueError."""
        return cls(**config)

    # ---- passes

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, Any]:
        """(y, cache) for a batch x."""
        raise NotImplementedError

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> tuple[Array | None, Grads]:
        """(dx, grads) from dy and forward's cache; dx may be None where need_dx is not set."""
        raise NotImplementedError

    def __call__(self, x: Any, training: bool = False) -> Array:
        """y for a batch x, as in Keras: the layer is built from x if it is not yet. Raises ValueError.

        A layer without parameters takes inputs of any shape that it can compute with, whatever it was built for.
        """
        if isinstance(x, Symbol | Layer):
            raise ValueError(
                f"{self}: call: expected a batch of photos, got {x}: the functional API is not supported here, "
                "a Sequential takes its layers in a row"
            )
        x = checks.inputs(str(self), x, self.input_shape if self.params else None, least_axes=self.least_axes)
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        if self.input_shape is None:
            self.build(x.shape[1:], utils.lone_layer_generator(), dtype)
        else:
            self.infer_shape(x.shape[1:])  # raises where a second shape does not fit
        dtype = next((p.dtype for p in self.params.values()), dtype)
        rng = utils.lone_call_generator() if training and self.draws else None
        return self.forward(x.astype(dtype, copy=False), training, rng)[0].view(Outputs)

    # ---- weights

    @property
    def trainable(self) -> bool:
        """Whether training changes the parameters. False freezes them, from the next step on."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = checks.boolean(str(self), "trainable", value)

    @property
    def learnable(self) -> tuple[str, ...]:
        """The names of the parameters that have a gradient, frozen or not."""
        return tuple(key for key in self.params if key not in self.not_learned)

    def variable(self, key: str) -> Variable:
        """The parameter of this name itself, with Keras' words for it."""
        variable = named(f"{self.name or type(self).__name__}/{key}", self.params[key])
        variable.trainable = self.trainable and key in self.learnable
        variable.constraint = getattr(self, f"{key}_constraint", None)
        return variable

    @property
    def weights(self) -> list[Variable]:
        """The parameters themselves, kernel before bias, each with its name."""
        return list(map(self.variable, self.params))

    @property
    def trainable_weights(self) -> list[Variable]:
        """Those that training changes by their gradients: none where the layer is frozen."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The others."""
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def regularized(self) -> dict[str, Regularizer]:
        """{"kernel": its regularizer}, of the parameters that training changes and that have one."""
        return self._asked_for("regularizer")

    def constrain(self) -> None:
        """Bring the parameters that have a constraint, and that training changes, to where it wants them."""
        for key, constraint in self._asked_for("constraint").items():
            self.params[key][...] = constraint(self.params[key])

    def _asked_for(self, what: str) -> dict[str, Any]:
        found = ((key, getattr(self, f"{key}_{what}", None)) for key in self.params)
        given = {key: argument for key, argument in found if argument is not None}
        return {key: given[key] for key in self.learnable if key in given} if given and self.trainable else {}

    @property
    def losses(self) -> list[float]:
        """What its parameters cost: a number for each that has a regularizer."""
        return [regularizer(self.params[key]) for key, regularizer in self.regularized.items()]

    variables, trainable_variables, non_trainable_variables = weights, trainable_weights, non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Copies of the parameters, kernel before bias."""
        return [value.copy() for value in self.params.values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the parameters by copies of these arrays. Raises ValueError, and then changes nothing."""
        count = len(weights) if isinstance(weights, Sized) else repr(weights)
        if count != len(self.params):
            raise ValueError(f"{self}: set_weights: expected {len(self.params)} arrays, got {count}")
        checked = {}
        for (key, old), new in zip(self.params.items(), weights, strict=True):
            new = checks.numeric_array(f"{self}: set_weights", key, new)
            if new.shape != old.shape:
                raise ValueError(f"{self}: set_weights: {key}: expected shape {old.shape}, got {new.shape}")
            if key in self.squares and (new < 0).any():
                raise ValueError(f"{self}: set_weights: {key}: expected numbers of at least 0, got {new.min():g}")
            checked[key] = np.array(new, old.dtype, order="C")
        self.params = checked

    def count_params(self) -> int:
        """How many numbers the parameters hold."""
        return sum(value.size for value in self.params.values())

    # ---- names

    def __repr__(self) -> str:
        """One line: the arguments, the shapes and the number of parameters."""
        state = "not built"
        if self.output_shape is not None:
            state = f"{self.input_shape} -> {self.output_shape}, {self.count_params():,} parameters"
        elif self.declared_shape is not None:
            state = f"not built, input {self.declared_shape}"
        return f"<{self}: {'; '.join(filter(None, [self.arguments_text(), state]))}>"

    def __str__(self) -> str:
        return f'{type(self).__name__} "{self.name}"' if self.name else type(self).__name__


class Input(Layer):
    """Says the shape of one photo, for the first place in a Sequential; batch_shape: with the batch axis, (None, ...).

    batch_size is accepted, as in Keras, and has no effect: batches may be of any size.

    >>> Input(shape=(28, 28, 1))
    <Input: not built, input (28, 28, 1)>
    """

    at_default = {**Layer.at_default, "sparse": False, "ragged": False, "optional": False}
    at_default |= dict.fromkeys(("tensor", "input_tensor"))

    def __init__(
        self,
        shape: AnyShape | None = None,
        batch_size: int | None = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        input_shape: AnyShape | None = None,
        name: str | None = None,
        **unsupported: Any,
    ):
        given = [one for one in (shape, input_shape, batch_shape and tuple(batch_shape)[1:]) if one is not None]
        if len(given) > 1:
            raise ValueError(f"Input: shape: expected one shape, got {' and '.join(map(str, given))}")
        if batch_size is not None:
            checks.whole("Input", "batch_size", batch_size)
        super().__init__(name, checks.shape("Input", "shape", given[0] if given else None), **unsupported)


InputLayer = Input  # Keras' name for what its Input makes
