"""The layers: each holds its parameters, and its formula stands beside its code, forward and backward.

forward(x) returns (y, cache): the result, and what backward will need to know. backward
takes dy = dLoss/dy and that cache, and returns (dx, grads): dLoss/dx, and the gradient
of each parameter under the parameter's own name. A pass leaves no trace in the layer.
So dy, dx, dz are derivatives of the loss; ∂y/∂x is that of y by x alone. [j = k] is 1 where j = k, else 0.

Photos are (N, H, W, C), as in Keras: photo, row, column, channel.

In this order they are read best:
1. dense.py - Dense: every input times a weight, added up
2. activations.py - ReLU, Softmax, Linear; the other activations, whose formulas are a table in formulas.py; prelu.py
3. convolution.py - Conv2D: the same product, over windows laid out by im2col; transposed.py and depthwise.py
4. pooling.py - MaxPooling2D; average_pooling.py - AveragePooling2D, and pooling over whole maps
5. reshaping.py - Flatten, Reshape, ZeroPadding2D, Cropping2D; resizing.py
6. regularization.py - Dropout, SpatialDropout2D; noise.py - GaussianNoise, GaussianDropout, AlphaDropout
7. normalization.py - BatchNormalization; scaling.py - Rescaling, Normalization
8. augmentation.py - RandomFlip, RandomTranslation, RandomZoom, RandomRotation; erasing.py, colour.py
What they share, and what a layer of your own needs, is in base.py (Layer), weighted.py (kernel, bias, activation),
windows.py (where a window fits) and whole_batch.py (what adds up over a batch that is cut into shards).
"""

from cnn.layers.activations import (
    ACTIVATIONS,
    ELU,
    Activation,
    ActivationCache,
    ActivationFunction,
    Elementwise,
    ElementwiseCache,
    LeakyReLU,
    Linear,
    LinearCache,
    ReLU,
    ReLUCache,
    Softmax,
    SoftmaxCache,
)
from cnn.layers.augmentation import RandomFlip, RandomLayer, RandomRotation, RandomTranslation, RandomZoom
from cnn.layers.average_pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D
from cnn.layers.base import Array, Input, InputLayer, Layer, Symbol
from cnn.layers.colour import ColourCache, ColourLayer, RandomBrightness, RandomContrast
from cnn.layers.convolution import Conv2D, Conv2DCache
from cnn.layers.dense import Dense, DenseCache
from cnn.layers.depthwise import DepthwiseCache, DepthwiseConv2D, SeparableConv2D
from cnn.layers.erasing import RandomErasing
from cnn.layers.noise import AlphaDropout, GaussianDropout, GaussianNoise, Noise, NoiseCache
from cnn.layers.normalization import BatchNormalization, BatchNormalizationCache
from cnn.layers.pooling import MaxPooling2D, MaxPooling2DCache
from cnn.layers.prelu import PReLU, PReLUCache
from cnn.layers.regularization import Dropout, DropoutCache, SpatialDropout2D
from cnn.layers.reshaping import Cropping2D, Flatten, FlattenCache, Reshape, ZeroPadding2D
from cnn.layers.resizing import CenterCrop, Interpolation, Resizing, ResizingCache, UpSampling2D
from cnn.layers.scaling import Normalization, Rescaling
from cnn.layers.transposed import Conv2DTranspose, Conv2DTransposeCache
from cnn.layers.weighted import Weighted
from cnn.layers.whole_batch import WholeBatch
from cnn.layers.windows import place_windows

Convolution2DTranspose = Conv2DTranspose
Convolution2D, MaxPool2D, AvgPool2D = Conv2D, MaxPooling2D, AveragePooling2D  # Keras' other names for them
GlobalAvgPool2D, GlobalMaxPool2D = GlobalAveragePooling2D, GlobalMaxPooling2D

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "Activation",
    "ActivationCache",
    "ActivationFunction",
    "AlphaDropout",
    "Array",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "BatchNormalizationCache",
    "CenterCrop",
    "ColourCache",
    "ColourLayer",
    "Conv2D",
    "Conv2DCache",
    "Conv2DTranspose",
    "Conv2DTransposeCache",
    "Convolution2D",
    "Convolution2DTranspose",
    "Cropping2D",
    "Dense",
    "DenseCache",
    "DepthwiseCache",
    "DepthwiseConv2D",
    "Dropout",
    "DropoutCache",
    "Elementwise",
    "ElementwiseCache",
    "Flatten",
    "FlattenCache",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "Interpolation",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LinearCache",
    "MaxPool2D",
    "MaxPooling2D",
    "MaxPooling2DCache",
    "Noise",
    "NoiseCache",
    "Normalization",
    "PReLU",
    "PReLUCache",
    "RandomBrightness",
    "RandomContrast",
    "RandomErasing",
    "RandomFlip",
    "RandomLayer",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "ReLUCache",
    "Rescaling",
    "Reshape",
    "Resizing",
    "ResizingCache",
    "SeparableConv2D",
    "Softmax",
    "SoftmaxCache",
    "SpatialDropout2D",
    "Symbol",
    "UpSampling2D",
    "Weighted",
    "WholeBatch",
    "ZeroPadding2D",
    "place_windows",
]
