"""What all optimizers share: a learning rate, a step counter, slots, and the options around a step.

update(params, grads) changes the parameters in place. What an optimizer remembers
between steps lies in `state`: one array for each slot and parameter.
"""

import operator
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from cnn import checks
from cnn.configurable import Configurable, as_json
from cnn.optimizers import schedules
from cnn.optimizers.arguments import OPTIONS, bounded, clipped
from cnn.variables import Variable
from kernels.optimizers import move_average

Array = np.ndarray
Params = dict[str, Array]
Schedule = schedules.LearningRateSchedule | Callable[[], float]


class LearningRate(float):
    """A float that also knows Keras' words for a variable: assign(value), numpy(), value. Copies are plain floats.

    >>> adam = Optimizer(0.5)
    >>> adam.learning_rate.assign(0.25)
    >>> adam.learning_rate, adam.learning_rate.numpy()
    (0.25, np.float32(0.25))
    """

    optimizer: "Optimizer"

    def assign(self, value: float) -> None:
        """Set the learning rate of the optimizer that this one came from. Raises ValueError, TypeError."""
        self.optimizer.learning_rate = value

    @property
    def value(self) -> float:
        """The number."""
        return float(self)

    def numpy(self) -> np.float32:
        """The number as Keras keeps it."""
        return np.float32(self)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """With arrays it is a plain float, so that float32 stays float32."""
        plain = (float(value) if isinstance(value, LearningRate) else value for value in inputs)
        return getattr(function, method)(*plain, **options)

    def __reduce__(self) -> tuple:
        return float, (float(self),)


class Optimizer(Configurable):
    """A learning rate, a counter of steps, and slots the shape of the parameters.

    learning_rate: a number, a schedule (see schedules.py), or a function that gives the number when it is asked.
    The options of every optimizer, by their names and off unless given:

    weight_decay: before its step each parameter w loses learning_rate * weight_decay * w (see
        exclude_from_weight_decay).
    clipnorm, clipvalue, global_clipnorm: one of them makes long gradients shorter: each array's length, each number,
        or the length of all arrays together.
    use_ema: keep a moving average of the parameters, average = ema_momentum * average + (1 - ema_momentum) * w after
        each step (ema_momentum 0.99 unless given), and put it in their place when fit ends and after every
        ema_overwrite_frequency steps.

    One of your own lists its `arguments` as a layer does (see Configurable), the names of its `slots`, and its `step`.

    >>> class SignDescent(Optimizer):
    ...     '''w -= learning_rate * sign(g)'''
    ...
    ...     def step(self, w, g):
    ...         w -= self.learning_rate * np.sign(g)
    >>> params = {"w": np.array([1.0, 1.0])}
    >>> SignDescent(0.25).update(params, {"w": np.array([7.0, -0.1])})
    >>> params["w"]
    array([0.75, 1.25])
    """

    slots: tuple[str, ...] = ()
    squares: tuple[str, ...] = ()  # those of them that are never below 0
    needs_rows = False  # whether its kernel reads arrays row after row
    arguments = {name: check for name, (_, check) in OPTIONS.items()}
    unless = {name: as_json(default) for name, (default, _) in OPTIONS.items()}
    averaged = False  # whether the model has the averages just now, and the slot the weights: see swap_average
    _current: LearningRate | None = None  # the learning rate while a step is taken
    _model: weakref.ref | None = None  # the one that it trains, from the first step on
    _arrays: Sequence[Array | None] = ()  # those of the last step, which need no second check

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    undecayed: tuple[str, ...]
    _unnamed: tuple[Array, ...] = ()  # left out as well, until their names are known

    def __init_subclass__(cls) -> None:
        """Every kind has the options beside its own arguments."""
        cls.arguments = {**cls.arguments, **Optimizer.arguments}

    def __init__(self, learning_rate: Any, name: str | None = None, **options: Any):
        self.name = name or type(self).__name__.lower()
        self.set_arguments({**self.unless, **options, "unsupported": options})
        self.learning_rate = learning_rate
        self.iterations = 0  # steps taken
        self.state: dict[str, Params] = {}  # slot -> parameter's name -> array
        clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"{self}: expected one of clipnorm, clipvalue and global_clipnorm, got {clips}")

    # ---- the learning rate

    @property
    def learning_rate(self) -> LearningRate:
        """How long the next step is; checked whenever it is set, and whenever a schedule gives it."""
        if self._current is not None:
            return self._current
        rate = LearningRate(self._ask())
        rate.optimizer = self
        return rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        known = schedules.from_document(self.name, value) if isinstance(value, dict) else value
        if isinstance(known, float) or not callable(known):
            if callable(getattr(self, "_learning_rate", None)):
                raise TypeError(
                    f"{self}: learning_rate: expected a schedule, got {value!r}: it follows {self._learning_rate!r}. "
                    "Give the optimizer a number to begin with if the rate is to be set"
                )
            known = bounded(self.name, "learning_rate", known)
        elif isinstance(known, type):
            raise ValueError(f"{self}: learning_rate: expected a number or a schedule, got the class {value!r}")
        self._learning_rate: float | Schedule = known

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate follows a schedule or a function, and cannot be set."""
        return callable(self._learning_rate)

    def _ask(self) -> float:
        """The number itself, or what the schedule says of the next step."""
        rate = self._learning_rate
        if not callable(rate):
            return rate
        value = rate(self.iterations) if isinstance(rate, schedules.LearningRateSchedule) else rate()  # type: ignore[call-arg]
        return bounded(self.name, "learning_rate", value)

    # ---- whom it trains

    def belong_to(self, model: Any) -> None:
        """Train this model from now on. Raises ValueError where it has trained another, whose moments it remembers."""
        if self._model is not None and self._model() is not model:
            raise ValueError(
                f"{model}: {self.name}: expected an optimizer of its own, got one that has trained another model. "
                "Call compile() with a new one."
            )
        self._model = weakref.ref(model)
        if self._unnamed:
            self._name_undecayed(model.params)

    @property
    def variables(self) -> list[Array]:
        """All that it remembers, as Keras lists it: the steps taken, the learning rate, the slots."""
        slots = [array for values in self.state.values() for array in values.values()]
        return [np.array(self.iterations, np.int64), np.array(self.learning_rate, np.float32), *slots]

    def __getstate__(self) -> dict:
        """What a copy or a file gets: the copy is free to train another model."""
        return {key: value for key, value in vars(self).items() if key not in ("_model", "_arrays")}

    # ---- a step

    def update(self, params: Params, grads: Params) -> None:
        """One step: change each array of params by what the array of the same name in grads asks for.

        Raises ValueError, and changes nothing, where the names differ or what is remembered is of another shape.
        """
        if params.keys() != grads.keys():
            raise ValueError(f"{self.name}: expected gradients for {sorted(params)}, got {sorted(grads)}")
        arrays = self._arrays_of(params)
        if len(arrays) != len(self._arrays) or not all(map(operator.is_, arrays, self._arrays)):
            self._check(params)
            self._arrays = self._arrays_of(params)
        self._name_undecayed(params)
        self._current = self.learning_rate  # asked once: a function may say something else the next time
        try:
            self._step_all(params, clipped(self, grads))
        finally:
            self._current = None
        self.iterations += 1

    def apply(self, grads: Sequence[Array], trainable_variables: Sequence[Variable]) -> None:
        """`update` in Keras' words: gradients, and in the same order the variables, which keep to their constraints."""
        params = {variable.path: variable.value for variable in trainable_variables}
        if len(params) != len(trainable_variables) or len(params) != len(grads):
            expected = "as many gradients as variables, each with a name of its own"
            raise ValueError(f"{self.name}: apply: expected {expected}, got {len(grads)} for {list(params)}")
        arrays = (np.asarray(grad, value.dtype) for grad, value in zip(grads, params.values(), strict=True))
        self.update(params, dict(zip(params, arrays, strict=True)))
        for variable in trainable_variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable.value))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Array, Variable]]) -> None:
        """The same in pairs: zip(grads, variables)."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)

    def _step_all(self, params: Params, grads: Params) -> None:
        kept = 1 - self.learning_rate * (self.weight_decay or 0)
        for key, value in params.items():
            if kept != 1 and not self._is_undecayed(key):
                value *= kept
            self.step(value, grads[key], *(self.state[slot][key] for slot in self.slots))
            if self.use_ema:
                self._average(value, self.state["average"][key])

    def _arrays_of(self, params: Params) -> list[Array | None]:
        """All arrays of a step, None for a slot that there is not yet."""
        slots = [self.state.get(slot, {}) for slot in self.all_slots]
        return [*params.values(), *(values.get(key) for values in slots for key in params)]

    def _check(self, params: Params) -> None:
        """Check the parameters and their slots, which are made where there are none. Raises ValueError."""
        for key, value in params.items():
            self._check_parameter(key, value)
        for slot in self.all_slots:
            values = self.state.setdefault(slot, {})
            for key, value in params.items():
                if key not in values:
                    values[key] = self.fresh_slot(slot, value)
                self._check_slot(slot, key, values[key], value)

    def _check_parameter(self, key: str, value: Array) -> None:
        checks.parameter(self.name, key, value)
        if not value.flags.writeable:
            raise ValueError(f"{self.name}: {key}: expected an array that can be changed, got one that is read-only")
        if (self.needs_rows or self.use_ema) and not value.flags.c_contiguous:
            raise ValueError(f"{self.name}: {key}: expected an array that lies row after row (np.ascontiguousarray)")

    def _check_slot(self, slot: str, key: str, old: Array, param: Array) -> None:
        if (old.shape, old.dtype) != (param.shape, param.dtype):  # the kernels behind `step` would not notice
            raise ValueError(
                f"{self.name}: {slot} of {key}: expected shape {param.shape}, {param.dtype}, "
                f"got {old.shape}, {old.dtype}: "
                "the layers have changed, or this optimizer trains another model. Call compile() with a new one."
            )

    def step(self, w: Array, g: Array, *slots: Array) -> None:
        """Change w, and what is remembered of it in the slots, in place, by the gradient g.

        This is step number self.iterations + 1.
        """
        raise NotImplementedError

    # ---- slots

    @property
    def all_slots(self) -> tuple[str, ...]:
        """The names of all it remembers of a parameter: its own slots, and the moving average."""
        return (*self.slots, "average") if self.use_ema else self.slots

    def fresh_slot(self, slot: str, param: Array) -> Array:
        """What a slot holds before the first step of a parameter: zeros; the average begins with the parameter."""
        return param.copy() if slot == "average" else np.zeros_like(param)

    # ---- weight decay

    def exclude_from_weight_decay(
        self, var_list: Sequence[Array] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave out of weight decay these arrays, and the parameters with one of these words in their name: ["bias"].

        A whole name such as "dense/kernel" means that parameter alone. Raises ValueError.
        """
        self.set_arguments({"undecayed": var_names or ()})
        self._unnamed = tuple(var_list or ())

    def _name_undecayed(self, params: Params) -> None:
        """Learn the names of the arrays that exclude_from_weight_decay was given: a file knows names alone."""
        if not self._unnamed:
            return
        names = [key for key, value in params.items() if any(np.shares_memory(value, array) for array in self._unnamed)]
        if len(names) != len(self._unnamed):
            raise ValueError(
                f"{self}: exclude_from_weight_decay: var_list: expected arrays of the model, got {len(self._unnamed)}, "
                f"of which {len(names)} are (after a load it has others)"
            )
        self.undecayed, self._unnamed = tuple(dict.fromkeys([*self.undecayed, *names])), ()

    def _is_undecayed(self, key: str) -> bool:
        own = key.rpartition("/")[2]
        return any(word == key or word in own for word in self.undecayed)

    # ---- the moving average

    def _average(self, w: Array, average: Array) -> None:
        move_average(average, w, self.ema_momentum if self.iterations else 0.0)
        if self.ema_overwrite_frequency and (self.iterations + 1) % self.ema_overwrite_frequency == 0:
            w[...] = average

    def swap_average(self, params: Params) -> None:
        """Exchange the parameters and their moving averages; once more, and all is as before. Raises ValueError."""
        if not self.use_ema:
            raise ValueError(f"{self}: expected an optimizer with use_ema=True, got one that keeps no average")
        for key, average in self.state.get("average", {}).items():
            params[key][...], average[...] = average.copy(), params[key].copy()
        self.averaged = not self.averaged

    def finalize_variable_values(self, params: Params) -> None:
        """The training is done: give the parameters the values of their moving averages, if they are kept."""
        if not self.use_ema:
            return
        for key, average in self.state.get("average", {}).items():
            source, target = (params[key], average) if self.averaged else (average, params[key])
            target[...] = source
        self.averaged = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The optimizer, without what it remembers, that said this of itself in get_config."""
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        rate = schedules.as_document(self._learning_rate)
        return {"name": self.name, "learning_rate": rate, **super().get_config()}

    def __str__(self) -> str:
        return self.name
