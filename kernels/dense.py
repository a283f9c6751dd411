"""The one product of a Dense layer that BLAS is slow at: of a batch of one photo."""

import numpy as np

from kernels.compiled import compiled


@compiled
def outer_into(dkernel: np.ndarray, x: np.ndarray, dz: np.ndarray) -> None:
    """dkernel[i, o] = x[i] * dz[o]        x (I,), dz (O,), dkernel (I, O)"""
    for i in range(len(x)):
        row, factor = dkernel[i], x[i]
        for o in range(len(dz)):
            row[o] = factor * dz[o]
