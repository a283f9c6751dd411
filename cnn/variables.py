"""Parameters as Keras lists them: the arrays themselves, each with its name."""

from typing import Any

import numpy as np


class Variable(np.ndarray):
    """A view of a parameter: what is written into it, the layer has. What is computed from it is a plain array.

    >>> kernel = np.zeros((2, 3))
    >>> w = named("dense/kernel", kernel)
    >>> w.name, w.path, w.shape
    ('kernel', 'dense/kernel', (2, 3))
    >>> w.assign(np.ones((2, 3)))
    >>> float(kernel.sum()), type(w + 1).__name__
    (6.0, 'ndarray')
    """

    path: str = ""

    def __array_finalize__(self, source: Any) -> None:
        self.path = getattr(source, "path", "")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    @property
    def name(self) -> str:
        """Without the layer's: "kernel"."""
        return self.path.rpartition("/")[2]

    def numpy(self) -> np.ndarray:
        """A copy as a plain array."""
        return np.array(self)

    def assign(self, value: Any) -> None:
        """Replace all its numbers. Raises ValueError for another shape."""
        value = np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{self.path}: assign: expected shape {self.shape}, got {value.shape}")
        self[...] = value


def named(path: str, array: np.ndarray) -> Variable:
    """The array under this name."""
    variable = array.view(Variable)
    variable.path = path
    return variable
