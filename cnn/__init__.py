"""A convolutional neural network from scratch, with Keras' names: `from cnn import layers, models`.

To understand a network, read kernels/reference.py and kernels/im2col.py, and then here, in this order:

    layers      each layer's formula beside its code, forward and backward
    losses      why softmax and the logarithm belong together
    network     the two loops: forward through the layers, backward in reverse

then initializers, regularizers, constraints, optimizers and metrics; gradcheck (how we know that all of it is right);
and models, Keras' words over it. The other files that stand flat (activations, ops, errors, checks, results,
variables, utils, terminal, summary, article) are small. What one need not read to understand a network is a folder:
training, callbacks, saving, photos, datasets, plots, explain, exercises, lessons, commands, and pretrained and
refresher, which are made by commands.

The modules are loaded when they are first used, so that `import cnn` is quick.
"""

import importlib
from typing import Any

import kernels  # before NumPy: it may still ask for the processor's best matrix product

if not hasattr(kernels, "blas"):
    raise ImportError(
        f"cnn: expected the package 'kernels' that comes with it, got another of this name, {kernels.__spec__.origin}: "
        "give numpy-cnn a virtual environment of its own, and a file of yours another name"
    )

__version__ = "0.1.0"

_MODULES = (
    "activations",
    "article",
    "backend",
    "callbacks",
    "constraints",
    "datasets",
    "distribute",
    "errors",
    "explain",
    "gradcheck",
    "initializers",
    "layers",
    "lessons",
    "losses",
    "metrics",
    "models",
    "network",
    "ops",
    "optimizers",
    "photos",
    "plots",
    "pretrained",
    "regularizers",
    "saving",
    "training",
    "utils",
)

# What of Keras is not here, and what to take instead.
_ELSEWHERE = {
    "applications": "nothing is downloaded; models.load_model reads the files of Keras and PyTorch",
    "preprocessing": "layers.Rescaling, RandomFlip, RandomZoom and their like do it, in the network",
    "mixed_precision": "all is computed in float32",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cnn.{name}")
    if name in ("set_threads", "get_threads"):
        return getattr(importlib.import_module("kernels.threads"), name)
    if name == "Variable":
        return importlib.import_module("cnn.variables").Variable
    if name == "Input":
        return importlib.import_module("cnn.layers").Input
    if name in ("Model", "Sequential"):
        return getattr(importlib.import_module("cnn.models"), name)
    hint = f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"module 'cnn' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES, "Input", "Model", "Sequential", "Variable", "set_threads", "get_threads"]
