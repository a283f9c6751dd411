"""Keras' operations on arrays, as far as metrics and looking at results ask for them: here they are NumPy's own.

They know no derivatives: a loss made of them cannot train a network. A losses.Loss says its gradient itself.

>>> from cnn import ops
>>> float(ops.mean(ops.square(ops.convert_to_tensor([1, 2, 3]) - 2.0))), ops.cast([0.5, 2.5], "int32")
(0.6666666666666666, array([0, 2], dtype=int32))
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnn import activations

WORDS = """
    abs absolute add all amax amin any arange argmax argmin argsort array ceil clip concatenate cos count_nonzero
    divide equal exp expand_dims eye floor greater greater_equal isclose isfinite isnan less less_equal log log10
    log1p log2 logical_and logical_not logical_or matmul max maximum mean median min minimum multiply negative
    not_equal ones_like power prod ravel repeat reshape round shape sign sin sort split sqrt square squeeze stack std
    subtract sum take take_along_axis tile transpose var vstack where zeros_like
"""
OF_NUMPY = frozenset(WORDS.split())


def __getattr__(name: str) -> Any:
    if name in OF_NUMPY:
        return getattr(np, name)
    if name in activations.__all__ and name not in ("get", "serialize", "deserialize"):
        return getattr(activations, name)
    raise AttributeError(f"module 'cnn.ops' has no attribute {name!r}: what a layer puts out is an array for NumPy")


def ones(shape: int | tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """Ones, in float32 as all that is computed here."""
    return np.ones(shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """Zeros, in float32 as all that is computed here."""
    return np.zeros(shape, dtype)


def cast(x: ArrayLike, dtype: Any) -> np.ndarray:
    """x as an array of this type."""
    return np.asarray(x).astype(dtype)


def convert_to_tensor(x: ArrayLike, dtype: Any = None) -> np.ndarray:
    """x as an array, which is what a tensor is here."""
    return np.asarray(x, dtype)


convert_to_numpy = convert_to_tensor
