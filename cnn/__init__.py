"""A convolutional neural network from scratch, with Keras' names: `from cnn import layers, models`.

The modules are loaded when they are first used, so that `import cnn` is quick.
"""

import importlib

import kernels  # before NumPy: it may still ask for the processor's best matrix product

if not hasattr(kernels, "blas"):
    raise ImportError(
        f"cnn: expected the package 'kernels' that comes with it, got another of this name, {kernels.__spec__.origin}: "
        "give numpy-cnn a virtual environment of its own, and a file of yours another name"
    )

__version__ = "0.1.0"

_MODULES = (
    "callbacks",
    "datasets",
    "errors",
    "gradcheck",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "networks",
    "optimizers",
    "plots",
    "resume",
    "saving",
    "utils",
)


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"cnn.{name}")
    if name in ("set_threads", "get_threads"):
        return getattr(importlib.import_module("kernels.threads"), name)
    if name == "Sequential":
        return importlib.import_module("cnn.models").Sequential
    raise AttributeError(f"module 'cnn' has no attribute {name!r}")


def __dir__():
    return [*globals(), *_MODULES, "Sequential", "set_threads", "get_threads"]
