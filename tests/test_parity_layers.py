"""Against PyTorch: the activations and the layers without weights, outputs and gradients."""

import numpy as np
import pytest
import torch
from test_parity import DTYPES, close, tensor

from cnn import activations, layers
from cnn.layers.formulas import FORMULAS

F = torch.nn.functional
pytestmark = pytest.mark.parity


def same(layer, theirs, x, tolerance, training=False, rng=None):
    """y and dx of a layer, and of a function of PyTorch that takes x as we do."""
    y, cache = layer.forward(x, training, rng)
    dy = np.random.default_rng(5).standard_normal(y.shape).astype(x.dtype)
    tx = tensor(x)
    ty = theirs(tx)
    ty.backward(torch.tensor(dy))
    close(y, ty, tolerance)
    close(layer.backward(dy, cache)[0], tx.grad, tolerance)


THEIRS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": F.gelu,
    "relu6": F.relu6,
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,  # its own slope is 1/6 in float32
    "hard_silu": F.hardswish,
    "exponential": torch.exp,
}
OTHERS = {
    "LeakyReLU": (layers.LeakyReLU(), lambda x: F.leaky_relu(x, 0.3)),
    "ELU": (layers.ELU(0.5), lambda x: F.elu(x, 0.5)),
    "gelu, approximate": (layers.Elementwise("gelu", {"approximate": True}), lambda x: F.gelu(x, approximate="tanh")),
}


def test_every_formula_is_compared():
    assert THEIRS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", THEIRS)
@DTYPES
def test_activations(name, dtype, tolerance):
    x = np.random.default_rng(0).uniform(-9, 9, (40, 50)).astype(dtype)
    same(layers.Activation(name), THEIRS[name], x, tolerance)


@pytest.mark.parametrize(("layer", "theirs"), OTHERS.values(), ids=OTHERS)
@DTYPES
def test_activations_with_settings(layer, theirs, dtype, tolerance):
    same(layer, theirs, np.random.default_rng(0).uniform(-9, 9, (40, 50)).astype(dtype), tolerance)


def test_relu_of_a_threshold():
    x = np.linspace(-3, 9, 50)
    ours = activations.relu(x, negative_slope=0.25, max_value=6)
    close(ours, torch.clamp(F.leaky_relu(tensor(x), 0.25), max=6), 1e-15)
