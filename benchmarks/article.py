"""The job that all contenders do: the article's network, its start weights, the photos and their order.

Photos are float32 (N, H, W, C) in 0..1; weights are Keras' eight arrays, kernel before bias.
"""

import math

import numpy as np

from benchmarks import networks
from benchmarks.networks import CLASSES

FILTERS = (32, 64)
UNITS = 128
PHOTO_SHAPE = (28, 28, 1)


def flop(shape=PHOTO_SHAPE) -> tuple[int, int]:
    """Floating-point operations of the products for one photo: (forward, training).

    Training takes two more products of each layer's size, but nobody needs the gradient of the photo itself.
    """
    height, width, channels = shape
    features = (height // 4) * (width // 4) * FILTERS[1]
    conv1 = height * width * 9 * channels * FILTERS[0]
    conv2 = (height // 2) * (width // 2) * 9 * FILTERS[0] * FILTERS[1]
    forward = conv1 + conv2 + features * UNITS + UNITS * CLASSES
    return 2 * forward, 2 * (3 * forward - conv1)


def start_weights(seed: int = 0, network: networks.Network | None = None) -> list[np.ndarray]:
    """Glorot's uniform kernels and zero biases, as Keras starts with; without a network the article's."""
    rng = np.random.default_rng(seed)
    weights: list[np.ndarray] = []
    for step in networks.steps(network or networks.article()):
        zeros = np.zeros(step.after[-1], np.float32)
        if kernel := networks.kernel(step):
            limit = np.sqrt(6 / (math.prod(kernel[:-2]) * (kernel[-2] + kernel[-1])))
            weights += [rng.uniform(-limit, limit, kernel).astype(np.float32)]
            weights += [zeros] if step.kind != "DepthwiseConv2D" else []
        elif step.kind == "BatchNormalization":  # gamma, beta, and the averages of mean and variance
            weights += [zeros + 1, zeros, zeros, zeros + 1]
    return weights


def photos(split: str = "train", count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST's photos as float32 (N, 28, 28, 1) in 0..1, and their classes as int64 (N,)."""
    from cnn.datasets.fashion_mnist import load_split

    x, y = load_split(split)
    x, y = x[:count], y[:count]
    return np.multiply(x[..., None], np.float32(1 / 255), dtype=np.float32), y.astype(np.int64)


def noise(shape, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random photos of any shape, half of them black, for questions of speed alone."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((count, *shape), np.float32), 0)
    return x, rng.integers(0, CLASSES, count)


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the photos in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)
