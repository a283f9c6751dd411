"""What a network from a file may ask of the machine, told from its shapes before a single parameter is allocated.

A few hundred bytes of text can describe a layer of a million units on each pixel. So we count the numbers that one
photo becomes on its way through all layers, as the plain layers keep them: each layer's outputs, before and after
its activation, and what its windows lay out. VGG16 makes 774 of each number of a 256x256x3 photo, 152 million in all,
0.6 GB in float32; the article's network makes 0.2 million of its photo.
"""

import math

from cnn.errors import ModelFileError
from cnn.layers import (
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Layer,
    Linear,
    MaxPooling2D,
    Reshape,
)
from cnn.network import Network

FREE = 10_000_000  # 40 MB in float32, fifty times the article's network: anybody may have that
PER_INPUT = 5000  # times the photo: who passes large photos expects large maps; six times what VGG16 takes
MOST = 400_000_000  # 1.6 GB in float32, more than twice what VGG16 takes of 256x256x3 photos
# A file of many weights may have as many outputs: its size says by itself what it will take.

AT_ONCE = 32_000_000  # numbers: more leave the near caches, fewer keep threads waiting (not per thread: same bits)


def numbers_of(layer: Layer) -> int:
    """How many numbers a photo becomes in this layer."""
    if isinstance(layer, Flatten | Linear | Reshape):
        return 0  # the same numbers
    shape, photo = layer.output_shape or (), layer.input_shape or (0,)
    numbers = math.prod(shape)
    if isinstance(layer, BatchNormalization | Conv2D | Conv2DTranspose | Dense | DepthwiseConv2D):
        numbers *= 2  # before and after the activation; before and after gamma and beta
    if isinstance(layer, AveragePooling2D | Conv2D | DepthwiseConv2D | MaxPooling2D):
        window = layer.kernel_size if isinstance(layer, Conv2D | DepthwiseConv2D) else layer.pool_size
        numbers += math.prod(shape[:-1]) * math.prod(window) * photo[-1]
    if isinstance(layer, DepthwiseConv2D):  # what is between its two steps
        numbers += math.prod(shape[:-1]) * photo[-1] * layer.depth_multiplier
    if isinstance(layer, Conv2DTranspose):
        numbers += math.prod(photo[:-1]) * math.prod(layer.kernel_size) * shape[-1]
    return numbers


def check(network: Network, weights: int) -> None:
    """Raise ModelFileError where a network, laid out but not yet allocated, makes too many numbers of one photo."""
    allowed = min(MOST, max(FREE, PER_INPUT * math.prod(network.photo_shape or ()), weights))
    numbers = 0
    for layer in network.chain:
        numbers += numbers_of(layer)
        if numbers > allowed:
            raise ModelFileError(
                f"{layer}: with the layers before it needs {numbers:.1e} numbers for one photo; "
                f"a model in a file, of such photos and so many weights, may need {allowed:.1e}"
            )


def photos_at_once(network: Network, asked: int) -> int:
    """How many photos pass together where `asked` would be one batch: that in equal parts."""
    passes = math.ceil(asked * sum(map(numbers_of, network.chain)) / AT_ONCE)
    return math.ceil(asked / max(1, passes))
