"""The twin of the activations that go number by number (cnn/layers/formulas.py), behind any layer.

NumPy computes the formulas fast, but each of their steps makes a new array: over a whole batch many megabytes, which
the system takes longer to give than the processor to fill. So it is done block by block, in all threads.
"""

from typing import Any

import numpy as np

from cnn.layers import ELU, Elementwise, LeakyReLU
from cnn.layers.formulas import FORMULAS
from kernels import threads

Array = np.ndarray
BLOCK = 2**16  # numbers: an array of so many stays in a near cache, and is worth a second thread
RISING = {  # formulas that never fall, so that the largest y is that of the largest x
    *("sigmoid", "tanh", "softsign", "elu", "selu", "leaky_relu", "softplus", "relu6", "hard_sigmoid", "exponential"),
    "bent_relu",
}


class TwinElementwise:
    """y = f(x), dx = dy * f'(x) in blocks."""

    draws = False

    def __init__(self, activation: Elementwise, buffer: Any):
        self.name, self.buffer, self.settings = activation.name, buffer, activation.settings
        self.params: dict[str, Array] = {}
        self.function, self.slope, _ = FORMULAS[activation.formula]

    @staticmethod
    def fits(activation: Any) -> bool:
        """Whether it can do this layer. A subclass may compute something else."""
        return type(activation) in (Elementwise, LeakyReLU, ELU)

    @staticmethod
    def rises(activation: Any) -> bool:
        """Whether its y never falls where x grows."""
        return TwinElementwise.fits(activation) and activation.formula in RISING  # no setting is below 0

    def forward(self, x: Array, training: bool = False, rng: object = None) -> tuple[Array, tuple[Array, Array]]:
        """(y, cache), valid until the next pass."""
        x, y = np.ascontiguousarray(x, np.float32), self.buffer("y", *x.shape)
        flat_x, flat_y = x.reshape(-1), y.reshape(-1)

        def fill(part: slice) -> None:
            flat_y[part] = self.function(flat_x[part], **self.settings)

        _in_blocks(fill, x.size)
        return y, (x, y)

    def backward(self, dy: Array, cache: tuple[Array, Array], need_dx: bool = True) -> tuple[Array, dict]:
        """(dx, {}), valid until the next pass."""
        dx, flat_dy = self.buffer("dx", *dy.shape), np.ascontiguousarray(dy, np.float32).reshape(-1)
        flat_x, flat_y = (array.reshape(-1) for array in cache)
        flat_dx = dx.reshape(-1)

        def fill(part: slice) -> None:
            slope = self.slope(flat_x[part], flat_y[part], **self.settings)
            np.multiply(flat_dy[part], slope, out=flat_dx[part])

        _in_blocks(fill, dy.size)
        return dx, {}


def _in_blocks(fill: Any, size: int) -> None:
    """fill(slice) for slices of BLOCK that cover 0 ... size, in all threads where there is work for them."""
    count = min(threads.get_threads(), -(-size // BLOCK))

    def fill_share(share: int) -> None:
        first, last = share * size // count, (share + 1) * size // count
        for start in range(first, last, BLOCK):
            fill(slice(start, min(start + BLOCK, last)))

    threads.run(fill_share, range(count))
