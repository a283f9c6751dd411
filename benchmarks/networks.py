"""The networks that are measured, and what follows from their shapes. No NumPy: contenders choose when to load it.

A layer is (kind, options), named as Keras and cnn both name them. Photos are (H, W, C).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

Shape = tuple[int, ...]
CLASSES = 10


class Network(NamedTuple):
    layers: tuple[tuple[str, dict[str, Any]], ...]
    shape: Shape = (28, 28, 1)  # of a photo
    batch: int = 32  # in training


class Step(NamedTuple):
    """One layer of a network, with pairs for all sizes, and the shapes of what comes in and goes out."""

    kind: str
    options: dict[str, Any]
    before: Shape
    after: Shape
    pads: tuple[int, int, int, int]  # top, bottom, left, right


def pair(size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def conv(filters, size=3, strides=1, padding="same", activation: str | None = "relu"):
    return "Conv2D", {
        "filters": filters,
        "kernel_size": pair(size),
        "strides": pair(strides),
        "padding": padding,
        "activation": activation,
    }


def separable(filters):
    return "SeparableConv2D", conv(filters)[1]


def pool(size=2, strides=None, padding="valid", kind="MaxPooling2D"):
    return kind, {"pool_size": pair(size), "strides": pair(strides or size), "padding": padding}


def dense(*units, last="softmax", activation="relu"):
    """Flatten, hidden layers of so many units, and one number for each class."""
    hidden = (("Dense", {"units": count, "activation": activation}) for count in units)
    return ("Flatten", {}), *hidden, ("Dense", {"units": CLASSES, "activation": last})


def dropout(rate):
    return "Dropout", {"rate": rate}


def article(shape: Shape = (28, 28, 1), filters=(32, 64), size=3, units=(128,)) -> Network:
    """The article's network, or one like it for other photos, filters and kernels."""
    blocks = (layer for count in filters for layer in (conv(count, size), pool()))
    return Network((*blocks, *dense(*units)), shape)


def normalized(filters):
    """A convolution and what usually stands behind it where batches are normalized."""
    return conv(filters, activation=None), ("BatchNormalization", {}), ("ReLU", {}), pool()


VALID = {"padding": "valid"}
TANH, LEAKY, MEAN = {"activation": "tanh"}, {"activation": "leaky_relu"}, {"kind": "AveragePooling2D"}
HALVED = {"size": 3, "strides": 2, "padding": "same"}
NETWORKS = {
    "article": article(),
    "8-16": article(filters=(8, 16)),
    "8-16-32, 5x5": article(filters=(8, 16, 32), size=5),
    "LeNet-5": article(filters=(6, 16), size=5, units=(120, 84)),
    "5x5": article(size=5),
    "7x7, 3x3": Network((conv(32, 7), pool(), conv(64, 3), pool(), *dense(128))),
    "Keras MNIST": Network(
        (conv(32, **VALID), pool(), conv(64, **VALID), pool(), *dense()[:1], dropout(0.5), *dense()[1:]), batch=128
    ),
    "strides": Network((conv(32, strides=2), conv(64, strides=2), *dense(128))),
    "VGG": Network((conv(32), conv(32), pool(), conv(64), conv(64), pool(), *dense(128))),
    "CIFAR tutorial": Network(
        (conv(32, **VALID), pool(), conv(64, **VALID), pool(), conv(64, **VALID), *dense(64)), (32, 32, 3)
    ),
    "dense 128": Network(dense(128)),
    "dense 512-512": Network(dense(512, 512), batch=128),
    "dense 1024-1024-512": Network(dense(1024, 1024, 512), batch=128),
    "32-64-128": article(filters=(32, 64, 128))._replace(batch=64),
    "64x64x3": article((64, 64, 3), (32, 64, 64, 128)),
    "1x1 between": Network((conv(32), pool(), conv(16, 1), conv(64), pool(), *dense(128))),
    "pooling 3x3": Network((conv(32), pool(**HALVED), conv(64), pool(**HALVED), *dense(128))),
    "batch normalization": Network((*normalized(32), *normalized(64), *dense(128)), batch=128),
    "tanh, average pooling": Network(
        (conv(6, 5, **TANH), pool(**MEAN), conv(16, 5, **VALID, **TANH), pool(**MEAN), *dense(120, 84, **TANH))
    ),
    "global average pooling": Network(
        (conv(32), pool(), conv(64), pool(), conv(64), ("GlobalAveragePooling2D", {}), *dense()[1:])
    ),
    "gelu": Network(
        (conv(32, activation="gelu"), pool(), conv(64, activation="gelu"), pool(), *dense(128, activation="gelu"))
    ),
    "leaky ReLU, strides": Network((conv(32, 4, 2, **LEAKY), conv(64, 4, 2, **LEAKY), *dense(128, **LEAKY))),
    "separable": Network(
        (conv(32), pool(), separable(64), pool(), separable(128), ("GlobalAveragePooling2D", {}), *dense()[1:])
    ),
    "article, batch 1": article()._replace(batch=1),
    "article, batch 4": article()._replace(batch=4),
    "article, batch 8": article()._replace(batch=8),
}


def steps(network: Network) -> Iterator[Step]:
    """The layers with their shapes; a SeparableConv2D as its two steps, as those who do not have it need it."""
    shape = network.shape
    for kind, options in (step for layer in network.layers for step in _apart(*layer)):
        after, pads = shape, (0, 0, 0, 0)
        if kind == "Flatten":
            after = (math.prod(shape),)
        elif kind == "Dense":
            after = (options["units"],)
        elif kind == "GlobalAveragePooling2D":
            after = shape[-1:]
        elif "kernel_size" in options or "pool_size" in options:
            window = options.get("kernel_size") or options["pool_size"]
            places, pads = windows(shape, window, options["strides"], options["padding"])
            after = (*places, options.get("filters", shape[-1]))
        yield Step(kind, options, shape, after, pads)
        shape = after


def _apart(kind, options):
    if kind != "SeparableConv2D":
        return [(kind, options)]
    depthwise = {key: options[key] for key in ("kernel_size", "strides", "padding")}
    return [("DepthwiseConv2D", depthwise), conv(options["filters"], 1, activation=options["activation"])]


def windows(shape, window, strides, padding):
    """((OH, OW), (top, bottom, left, right)): where a window fits."""
    if padding == "valid":
        return [(n - k) // s + 1 for n, k, s in zip(shape, window, strides, strict=False)], (0, 0, 0, 0)
    places = [-(-n // s) for n, s in zip(shape, strides, strict=False)]
    missing = [max((p - 1) * s + k - n, 0) for n, p, s, k in zip(shape, places, strides, window, strict=False)]
    return places, tuple(part for lack in missing for part in (lack // 2, lack - lack // 2))


def kernel(step: Step) -> Shape | None:
    """The shape of a layer's kernel, if it has one; with it goes a bias of its last size, but in a depthwise step."""
    if step.kind == "DepthwiseConv2D":
        return (*step.options["kernel_size"], step.before[-1], 1)
    if step.kind not in ("Conv2D", "Dense"):
        return None
    return (*step.options.get("kernel_size", ()), step.before[-1], step.after[-1])


def without_dropout(network: Network) -> Network:
    """The same, but that nothing is drawn: else the losses of two libraries cannot be compared."""
    return network._replace(layers=tuple(layer for layer in network.layers if layer[0] != "Dropout"))
