"""Numbers and arrays that scripts for Keras ask for numpy(): there they are tensors, here they are what they look.

So loss(y, p).numpy() and model(x).numpy() work, and all else works as with a float and an array.
"""

from typing import Any

import numpy as np


class Number(float):
    """A float. Copies of it in files are plain floats.

    >>> loss = Number(0.5)
    >>> loss, loss.numpy(), 2 * loss
    (0.5, np.float32(0.5), 1.0)
    """

    def numpy(self) -> np.float32:
        """The number as Keras gives it."""
        return np.float32(self)

    def __reduce__(self) -> tuple:
        return float, (float(self),)


class Outputs(np.ndarray):
    """An array. What is computed from it is an array as any other, what is cut out of it is one of these.

    >>> outputs = np.array([[1.0, 2.0]]).view(Outputs)
    >>> outputs[0].numpy()
    array([1., 2.])
    >>> type(outputs + 1) is type(outputs.sum(axis=0)) is np.ndarray
    True
    """

    def numpy(self) -> np.ndarray:
        """The array itself."""
        return np.asarray(self)

    def __repr__(self) -> str:
        return repr(np.asarray(self))

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """What NumPy makes of its result."""
        return array[()] if return_scalar else np.asarray(array)
