"""Random numbers by key and place: each can be drawn alone, so neither threads nor how a batch is cut change any.

The generator is SplitMix64 (Steele, Lea and Flood, 2014), whose n-th number needs no other: a state goes on in steps
of GOLDEN, the golden ratio times 2^64, and is mixed by shifts and products.
"""

import numpy as np
from numba import prange

from kernels.compiled import compiled, in_threads
from kernels.elementwise import LEAST

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
SPARE, UNIT = np.uint64(11), 2.0**-53  # a float64 has 53 of the 64 bits
ONE = np.uint64(1)


@compiled
def _number(key, place):
    """Number `place` of this key, in [0, 1)"""
    z = key + (place + ONE) * GOLDEN
    z = (z ^ (z >> SHIFTS[0])) * FIRST
    z = (z ^ (z >> SHIFTS[1])) * SECOND
    return np.float64((z ^ (z >> SHIFTS[2])) >> SPARE) * UNIT


def uniform(numbers: np.ndarray, rows: np.ndarray, key: np.uint64) -> None:
    """numbers[n, m] = number rows[n] * M + m of this key, float64 in [0, 1); numbers (N, M), rows (N,) uint64"""
    with np.errstate(over="ignore"):  # products are meant modulo 2^64; without the compiler NumPy would warn
        uniform_into(numbers, rows, key)


@in_threads(least=LEAST)
def uniform_into(numbers: np.ndarray, rows: np.ndarray, key: np.uint64) -> None:
    """uniform, compiled."""
    count, width = numbers.shape
    for n in prange(count):
        first = rows[n] * np.uint64(width)
        for m in range(width):
            numbers[n, m] = _number(key, first + np.uint64(m))


def dropped(y: np.ndarray, x: np.ndarray, rows: np.ndarray, key: np.uint64, rate: float, factor: float) -> None:
    """y[n] = x[n] * factor where number rows[n] * M + m of this key is at least `rate`, else x[n] * 0; (N, M)"""
    with np.errstate(over="ignore"):
        dropped_into(y, x, rows, key, rate, factor)


@in_threads(least=LEAST)
def dropped_into(y: np.ndarray, x: np.ndarray, rows: np.ndarray, key: np.uint64, rate: float, factor: float) -> None:
    """dropped, compiled."""
    count, width = x.shape
    none, factor = x.dtype.type(0), x.dtype.type(factor)
    for n in prange(count):
        first = rows[n] * np.uint64(width)
        for m in range(width):
            y[n, m] = x[n, m] * (factor if _number(key, first + np.uint64(m)) >= rate else none)
