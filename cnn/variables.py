"""Parameters as Keras lists them: the arrays themselves, each with its name."""

import itertools
from typing import Any

import numpy as np

_unnamed = itertools.count()  # variables of one's own, which need names that differ


class Variable(np.ndarray):
    """A view of a parameter: what is written into it, the layer has. What is computed from it is a plain array.

    >>> kernel = np.zeros((2, 3))
    >>> w = named("dense/kernel", kernel)
    >>> w.name, w.path, w.shape
    ('kernel', 'dense/kernel', (2, 3))
    >>> w.assign(np.ones((2, 3))) is w
    True
    >>> float(kernel.sum()), type(w + 1).__name__
    (6.0, 'ndarray')

    Made from numbers it is one of your own, in float32 unless said otherwise:

    >>> count = Variable(3.0, name="count")
    >>> count.assign_add(2).numpy()
    array(5., dtype=float32)
    """

    path: str = ""
    trainable = True
    constraint: Any = None  # a constraints.Constraint, where optimizer.apply shall keep to one

    def __new__(
        cls, initializer: Any, dtype: Any = None, name: str | None = None, trainable: bool = True
    ) -> "Variable":
        """A copy of these numbers."""
        variable = named(name or f"variable_{next(_unnamed)}", np.array(initializer, dtype or np.float32))
        variable.trainable = trainable
        return variable

    def __array_finalize__(self, source: Any) -> None:
        self.path = getattr(source, "path", "")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    @property
    def name(self) -> str:
        """Without the layer's: "kernel"."""
        return self.path.rpartition("/")[2]

    @property
    def value(self) -> np.ndarray:
        """The numbers as a plain array: not a copy."""
        return np.asarray(self)

    def numpy(self) -> np.ndarray:
        """A copy as a plain array."""
        return np.array(self)

    def assign(self, value: Any) -> "Variable":
        """Replace all its numbers. Raises ValueError for another shape."""
        value = np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{self.path}: assign: expected shape {self.shape}, got {value.shape}")
        self[...] = value
        return self

    def assign_add(self, value: Any) -> "Variable":
        """Add to each of its numbers. Raises ValueError for another shape."""
        return self.assign(self.value + value)

    def assign_sub(self, value: Any) -> "Variable":
        """Take away from each of its numbers. Raises ValueError for another shape."""
        return self.assign(self.value - value)


def named(path: str, array: np.ndarray) -> Variable:
    """The array under this name."""
    variable = array.view(Variable)
    variable.path = path
    return variable
