"""Against PyTorch: the activations and the layers without weights, outputs and gradients."""

import numpy as np
import pytest
import torch
from test_parity import DTYPES, close, pad, tensor

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
    "bent_relu": F.relu,
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


# ---- layers without weights


def nchw(function):
    """A function of PyTorch's photos (N, C, H, W) for ours."""
    return lambda x: function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def photos(dtype, seed=0):
    return np.random.default_rng(seed).standard_normal((2, 9, 8, 3)).astype(dtype)


@pytest.mark.parametrize("size", [2, 3, (2, 3)])
@pytest.mark.parametrize("strides", [None, 1, (2, 1), 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
@DTYPES
def test_average_pooling(size, strides, padding, dtype, tolerance):
    layer = layers.AveragePooling2D(size, strides, padding)

    def theirs(x):  # the sum over the padded window, divided by how many cells of it are the photo's
        sums = [
            F.avg_pool2d(pad(one.permute(0, 3, 1, 2), (9, 8), layer.pool_size, layer.strides, padding), *windows)
            for one in (x, torch.ones_like(x))
            for windows in [(layer.pool_size, layer.strides)]
        ]
        return (sums[0] / sums[1]).permute(0, 2, 3, 1)

    same(layer, theirs, photos(dtype), tolerance)


@DTYPES
def test_pooling_over_maps_and_zeros_around(dtype, tolerance):
    same(layers.GlobalAveragePooling2D(), lambda x: x.mean((1, 2)), photos(dtype), tolerance)
    same(layers.GlobalMaxPooling2D(), lambda x: x.amax((1, 2)), photos(dtype), tolerance)
    same(layers.ZeroPadding2D(((1, 2), (0, 3))), nchw(lambda x: F.pad(x, (0, 3, 1, 2))), photos(dtype), 0)


@pytest.mark.parametrize("axis", [1, 2, (1, 3)])
@DTYPES
def test_softmax_along_other_axes(axis, dtype, tolerance):
    def theirs(x):
        powers = torch.exp(x - x.amax(axis, keepdim=True))
        return powers / powers.sum(axis, keepdim=True)

    same(layers.Softmax(axis), theirs, photos(dtype), tolerance)


@DTYPES
def test_prelu_of_maps(dtype, tolerance):
    layer, x = layers.PReLU("random_normal", shared_axes=[1, 2]), photos(dtype)
    layer.build(x.shape[1:], np.random.default_rng(0), dtype)
    alpha = tensor(layer.params["alpha"].reshape(-1))
    same(layer, nchw(lambda x: F.prelu(x, alpha)), x, tolerance)
    y, cache = layer.forward(x)
    close(
        layer.backward(np.random.default_rng(5).standard_normal(y.shape).astype(dtype), cache)[1]["alpha"].reshape(-1),
        alpha.grad,
        20 * tolerance,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4, (2, 5)])
@pytest.mark.parametrize("strides", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@DTYPES
def test_transposed_convolution(size, strides, padding, dtype, tolerance):
    """PyTorch's without padding, of which the cells are cut out that geometry names; beyond it there are zeros."""
    layer, x = layers.Conv2DTranspose(4, size, strides, padding, bias_initializer="ones"), photos(dtype)
    layer.build(x.shape[1:], np.random.default_rng(0), dtype)
    kernel, bias = (tensor(value) for value in layer.params.values())
    out_h, out_w, (top, _, left, _) = layer.place(x.shape[1:])

    def theirs(x):
        whole = F.conv_transpose2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), stride=layer.strides)
        whole = F.pad(whole, (0, 3, 0, 3))[:, :, top : top + out_h, left : left + out_w]
        return whole.permute(0, 2, 3, 1) + bias

    same(layer, theirs, x, 10 * tolerance)
    y, cache = layer.forward(x)
    grads = layer.backward(np.random.default_rng(5).standard_normal(y.shape).astype(dtype), cache)[1]
    close(grads["kernel"], kernel.grad, 50 * tolerance)
    close(grads["bias"], bias.grad, 50 * tolerance)


@pytest.mark.parametrize("size", [1, 3, (2, 4)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("multiplier", [1, 2])
@DTYPES
def test_separable_convolution(size, strides, padding, multiplier, dtype, tolerance):
    layer = layers.SeparableConv2D(5, size, strides, padding, depth_multiplier=multiplier, bias_initializer="ones")
    x = photos(dtype)
    layer.build(x.shape[1:], np.random.default_rng(0), dtype)
    depthwise, pointwise, bias = (tensor(value) for value in layer.params.values())

    def theirs(x):
        kernel = depthwise.permute(2, 3, 0, 1).reshape(3 * multiplier, 1, *layer.kernel_size)
        padded = pad(x.permute(0, 3, 1, 2), (9, 8), layer.kernel_size, layer.strides, padding)
        middle = F.conv2d(padded, kernel, stride=layer.strides, groups=3)
        return F.conv2d(middle, pointwise.permute(3, 2, 0, 1), bias).permute(0, 2, 3, 1)

    same(layer, theirs, x, 20 * tolerance)
    y, cache = layer.forward(x)
    grads = layer.backward(np.random.default_rng(5).standard_normal(y.shape).astype(dtype), cache)[1]
    for ours, their in ((grads["depthwise"], depthwise), (grads["pointwise"], pointwise), (grads["bias"], bias)):
        close(ours, their.grad, 50 * tolerance)


@DTYPES
def test_repeated_and_cropped_photos(dtype, tolerance):
    same(layers.UpSampling2D((2, 3)), nchw(lambda x: F.interpolate(x, scale_factor=(2, 3))), photos(dtype), tolerance)
    larger = layers.UpSampling2D((2, 3), interpolation="bilinear")
    same(larger, nchw(lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear")), photos(dtype), tolerance)
    same(layers.Cropping2D(((1, 2), (0, 3))), lambda x: x[:, 1:-2, :-3], photos(dtype), 0)


@pytest.mark.parametrize("size", [(18, 24), (5, 11), (9, 8), (1, 3)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@DTYPES
def test_resized_photos(size, mode, dtype, tolerance):
    theirs = {"bilinear": {"mode": mode, "align_corners": False}, "nearest": {"mode": "nearest-exact"}}[mode]
    same(layers.Resizing(*size, mode), nchw(lambda x: F.interpolate(x, size, **theirs)), photos(dtype), tolerance)


def sampled(maps, mode, interpolation):
    """PyTorch's own grid_sample at the places that our maps (N, 2, 3) mean; its places are -1 to 1, columns first."""

    def theirs(x):
        i, j = torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="ij")
        grid = torch.stack([i, j, torch.ones_like(i)], -1).to(x.dtype)
        at = torch.einsum("nkc,hwc->nhwk", torch.tensor(maps).to(x.dtype), grid)
        scaled = torch.stack([2 * at[..., 1] / 7 - 1, 2 * at[..., 0] / 8 - 1], -1)
        padding = {"constant": "zeros", "nearest": "border"}[mode]
        photos = x.permute(0, 3, 1, 2)
        return F.grid_sample(photos, scaled, interpolation, padding, align_corners=True).permute(0, 2, 3, 1)

    return theirs


@pytest.mark.parametrize("mode", ["constant", "nearest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("kind", [layers.RandomZoom, layers.RandomRotation, layers.RandomTranslation])
@DTYPES
def test_random_maps(kind, mode, interpolation, dtype, tolerance):
    factors = (0.3, 0.2) if kind is layers.RandomTranslation else (0.2,)
    layer = kind(*factors, fill_mode=mode, interpolation=interpolation)
    maps = layer.draw(np.random.default_rng(3), (2, 9, 8, 3))
    theirs = sampled(maps, mode, interpolation)
    same(layer, theirs, photos(dtype), 10 * tolerance, training=True, rng=np.random.default_rng(3))
