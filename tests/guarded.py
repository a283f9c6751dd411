"""Trains networks of many shapes, each kept array and parameter of the twin between two pages that none may touch.

A process of its own, for a kernel that reads or writes beside its array ends it: see test_bounds.py.
`python guarded.py SEED NETWORKS`, or with `beyond` behind it: does that once, to show that it is noticed.
"""

import ctypes
import math
import mmap
import sys

import numpy as np

import cnn
from cnn import layers, losses, models
from cnn.training import twin
from cnn.training.step import run_batch

C = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE
rooms = []  # must outlive the arrays in them


def guarded(shape, dtype=np.float32, at_end=True):
    """An array of zeros that ends (or begins) where a forbidden page begins (or ends)."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    pages = -(-size // PAGE)
    rooms.append(mmap.mmap(-1, (pages + 2) * PAGE))
    address = ctypes.addressof(ctypes.c_char.from_buffer(rooms[-1]))
    for page in (0, pages + 1):
        assert C.mprotect(ctypes.c_void_p(address + page * PAGE), PAGE, 0) == 0
    offset = PAGE + (pages * PAGE - size if at_end else 0)
    return np.frombuffer(rooms[-1], np.uint8, size, offset).view(dtype).reshape(shape)


class GuardedBuffers(twin.Buffers):
    at_end = True

    def __call__(self, name, *shape, dtype=np.float32):
        key = name, shape, self.at_end
        if key not in self.arrays:
            self.arrays[key] = guarded(shape, dtype, self.at_end)
        return self.arrays[key]


def random_network(rng):
    """A convolution, perhaps pooled, of the sizes that decide which kernels run."""
    size, channels = rng.integers(2, 34, 2).tolist(), int(rng.choice([1, 1, 2, 3, 8, 16, 20, 32, 48]))
    window = (3, 3) if rng.random() < 0.5 else tuple(rng.choice([1, 2, 5, 7], 2).tolist())
    strides = (1, 1) if rng.random() < 0.7 else tuple(rng.integers(1, 4, 2).tolist())
    options = {
        "strides": strides,
        "padding": str(rng.choice(["same", "valid"])),
        "activation": rng.choice(["relu", None, "gelu"]),
        "use_bias": bool(rng.random() < 0.8),
    }
    conv = layers.Conv2D(int(rng.choice([3, 8, 10, 16, 32, 40, 64])), window, **options)
    pools = [layers.MaxPooling2D()] if rng.random() < 0.6 else []
    if rng.random() < 0.3:
        pools = [layers.BatchNormalization(), *([layers.ReLU()] if rng.random() < 0.5 else []), *pools]
    if rng.random() < 0.4:  # each channel by itself
        window, steps = tuple(rng.integers(1, 6, 2).tolist()), rng.integers(1, 4, 2).tolist()
        options |= {"strides": steps, "padding": str(rng.choice(["same", "valid"]))}
        separable = layers.SeparableConv2D(int(rng.choice([3, 16, 40])), window, **options)
        pools = [*pools, layers.DepthwiseConv2D(window, **options) if rng.random() < 0.5 else separable]
    if rng.random() < 0.2:  # one that is no part of a convolution
        window, steps = rng.integers(1, 4, 2).tolist(), rng.integers(1, 4, 2).tolist()
        pools += [layers.ReLU(), layers.MaxPooling2D(window, steps, str(rng.choice(["same", "valid"])))]
    return models.Sequential(
        [layers.Input((*size, channels)), conv, *pools, layers.Flatten(), layers.Dense(9, "relu"), layers.Dense(4)]
    )


def train(model, rng) -> None:
    """One pass with everything guarded."""
    model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.shards = 1
    for layer in model.layers:
        copies = {key: guarded(value.shape) for key, value in layer.params.items()}
        for key, value in layer.params.items():
            copies[key][:] = value
        layer.params = copies
    photos = int(rng.choice([1, 3]))
    x, y = rng.random((photos, *model.photo_shape), np.float32), rng.integers(0, 4, photos)
    for input_gradient in (True, False):
        run_batch(model, x, y, fast=True, input_gradient=input_gradient)
    model.predict(x, verbose=0)


def main(seed: int, networks: int, beyond: bool) -> None:
    """Print how many networks have been trained."""
    cnn.set_threads(1)
    twin.Buffers = GuardedBuffers
    rng, trained = np.random.default_rng(seed), 0
    while trained < networks:
        GuardedBuffers.at_end = trained % 3 > 0
        try:
            model = random_network(rng)
        except ValueError:  # too small for its window
            continue
        train(model, rng)
        trained += 1
    if beyond:
        array = guarded((5,))
        ctypes.memset(array.ctypes.data + array.nbytes, 0, 1)
    print(trained)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "beyond" in sys.argv)
