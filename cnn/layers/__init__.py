"""The layers: each holds its parameters, and its formula stands beside its code, forward and backward.

forward(x) returns (y, cache): the result, and what backward will need to know. backward
takes dy = dLoss/dy and that cache, and returns (dx, grads): dLoss/dx, and the gradient
of each parameter under the parameter's own name. A pass leaves no trace in the layer.
So dy, dx, dz are derivatives of the loss; ∂y/∂x is that of y by x alone. [j = k] is 1 where j = k, else 0.

Photos are (N, H, W, C), as in Keras: photo, row, column, channel.

In this order they are read best:
1. dense.py - Dense: every input times a weight, added up
2. activations.py - ReLU, Softmax, Linear
3. convolution.py - Conv2D: the same product, over windows laid out by im2col
4. pooling.py - MaxPooling2D
5. reshaping.py - Flatten
6. regularization.py - Dropout
7. normalization.py - BatchNormalization
What they share, and what a layer of your own needs, is in base.py (Layer), weighted.py (kernel, bias, activation),
windows.py (where a window fits) and whole_batch.py (what adds up over a batch that is cut into shards).
"""

from cnn.layers.activations import ACTIVATIONS, Activation, Linear, LinearCache, ReLU, ReLUCache, Softmax, SoftmaxCache
from cnn.layers.base import Array, Input, Layer, Symbol
from cnn.layers.convolution import Conv2D, Conv2DCache
from cnn.layers.dense import Dense, DenseCache
from cnn.layers.normalization import BatchNormalization, BatchNormalizationCache
from cnn.layers.pooling import MaxPooling2D, MaxPooling2DCache
from cnn.layers.regularization import Dropout, DropoutCache
from cnn.layers.reshaping import Flatten, FlattenCache
from cnn.layers.weighted import Weighted
from cnn.layers.whole_batch import WholeBatch
from cnn.layers.windows import place_windows

Convolution2D, MaxPool2D = Conv2D, MaxPooling2D  # Keras' other names for them

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Array",
    "BatchNormalization",
    "BatchNormalizationCache",
    "Conv2D",
    "Conv2DCache",
    "Convolution2D",
    "Dense",
    "DenseCache",
    "Dropout",
    "DropoutCache",
    "Flatten",
    "FlattenCache",
    "Input",
    "Layer",
    "Linear",
    "LinearCache",
    "MaxPool2D",
    "MaxPooling2D",
    "MaxPooling2DCache",
    "ReLU",
    "ReLUCache",
    "Softmax",
    "SoftmaxCache",
    "Symbol",
    "Weighted",
    "WholeBatch",
    "place_windows",
]
