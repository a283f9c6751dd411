"""Against PyTorch, which shares no code with us: outputs, every gradient, and whole trajectories of the optimizers."""

import math

import numpy as np
import pytest
import torch
from conftest import random_batch

from cnn import layers, models, optimizers
from cnn.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from kernels.geometry import window_geometry

F = torch.nn.functional
pytestmark = pytest.mark.parity
DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])


def close(ours, theirs, tolerance):
    """Equal to `tolerance` of the largest number."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1, np.abs(theirs).max()))


def tensor(array):
    return torch.tensor(np.array(array), requires_grad=array.dtype.kind == "f")


def pad(x, shape, size, strides, padding, value=0.0):
    """x (N, C, H, W) with the padding of Keras' 'same', which PyTorch itself does not know."""
    _, top, bottom = window_geometry(shape[0], size[0], strides[0], padding)
    _, left, right = window_geometry(shape[1], size[1], strides[1], padding)
    return F.pad(x, (left, right, top, bottom), value=value)


def torch_conv(x, kernel, bias, layer):
    """x (N, H, W, C) and kernel (kh, kw, C, F), ours."""
    padded = pad(x.permute(0, 3, 1, 2), x.shape[1:3], layer.kernel_size, layer.strides, layer.padding)
    return F.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, layer.strides).permute(0, 2, 3, 1)


def torch_pool(x, layer):
    padded = pad(x.permute(0, 3, 1, 2), x.shape[1:3], layer.pool_size, layer.strides, layer.padding, -math.inf)
    return F.max_pool2d(padded, layer.pool_size, layer.strides).permute(0, 2, 3, 1)


CONVOLUTIONS = [
    (kernel, strides, padding, activation)
    for kernel in (1, 2, 3, 5, 7, (2, 3), (5, 1))
    for strides in (1, 2, 3, (1, 2))
    for padding, activation in (("valid", None), ("same", "relu"))
]


@pytest.mark.parametrize(("kernel", "strides", "padding", "activation"), CONVOLUTIONS)
@DTYPES
def test_convolution(kernel, strides, padding, activation, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer = layers.Conv2D(4, kernel, strides=strides, padding=padding, activation=activation)
    layer.build((9, 8, 3), rng, dtype)
    layer.params["bias"][:] = rng.uniform(-1, 1, 4)
    x = rng.standard_normal((2, 9, 8, 3)).astype(dtype)
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, cache)

    tx, tk, tb = tensor(x), tensor(layer.params["kernel"]), tensor(layer.params["bias"])
    ty = torch_conv(tx, tk, tb, layer)
    ty = F.relu(ty) if activation else ty
    ty.backward(torch.tensor(dy))
    for ours, theirs in ((y, ty), (dx, tx.grad), (grads["kernel"], tk.grad), (grads["bias"], tb.grad)):
        close(ours, theirs, tolerance)


@pytest.mark.parametrize("size", [2, 3, (2, 3)])
@pytest.mark.parametrize("strides", [None, 1, (2, 1), 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("values", ["different", "ties", "black"])
@DTYPES
def test_max_pooling_with_and_without_ties(size, strides, padding, values, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = {
        "different": rng.standard_normal((2, 9, 8, 3)),
        "ties": rng.integers(0, 2, (2, 9, 8, 3)),
        "black": np.zeros((2, 9, 8, 3)),
    }[values].astype(dtype)
    layer = layers.MaxPooling2D(size, strides=strides, padding=padding)
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    tx = tensor(x)
    ty = torch_pool(tx, layer)
    ty.backward(torch.tensor(dy))
    close(y, ty, 0)
    close(layer.backward(dy, cache)[0], tx.grad, tolerance)


@DTYPES
def test_softmax_and_dense(dtype, tolerance):
    rng = np.random.default_rng(0)
    layer = layers.Dense(6, activation="softmax")
    layer.build((5,), rng, dtype)
    x = 3 * rng.standard_normal((4, 5)).astype(dtype)
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, cache)
    tx, tk, tb = tensor(x), tensor(layer.params["kernel"]), tensor(layer.params["bias"])
    ty = torch.softmax(tx @ tk + tb, dim=1)
    ty.backward(torch.tensor(dy))
    for ours, theirs in ((y, ty), (dx, tx.grad), (grads["kernel"], tk.grad), (grads["bias"], tb.grad)):
        close(ours, theirs, tolerance)


@pytest.mark.parametrize("shape", [(5,), (4, 3, 5)])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("training", [True, False])
@DTYPES
def test_batch_normalization(shape, scale, training, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer = layers.BatchNormalization(scale=scale)
    layer.build(shape, rng, dtype)
    for value in layer.params.values():
        value[:] = rng.uniform(0.5, 1.5, value.shape)
    x = (3 + 2 * rng.standard_normal((7, *shape))).astype(dtype)
    y, cache = layer.forward(x, training)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx, grads = layer.backward(dy, cache)
    tx, given = tensor(x), {key: tensor(value) for key, value in layer.params.items()}
    moving = [given[key].detach().clone() for key in ("moving_mean", "moving_variance")]
    rows = tx.reshape(-1, 5)
    ty = F.batch_norm(rows, *moving, given.get("gamma"), given["beta"], training, 0.01, 1e-3).reshape(x.shape)
    ty.backward(torch.tensor(dy))
    close(y, ty, tolerance)
    close(dx, tx.grad, tolerance)
    for key, grad in grads.items():
        close(grad, given[key].grad, 10 * tolerance)
    if training:  # PyTorch keeps the variance of a sample, Keras that of the numbers themselves
        averages, count = layer.averages(cache), rows.shape[0]
        close(averages["moving_mean"], moving[0], tolerance)
        old = 0.99 * layer.params["moving_variance"]
        close(averages["moving_variance"], old + (moving[1].numpy() - old) * ((count - 1) / count), tolerance)
    else:
        assert layer.averages(cache) == {}


@pytest.mark.parametrize("size", [1, 100, 1e4])
@DTYPES
def test_cross_entropy_of_logits(size, dtype, tolerance):
    rng = np.random.default_rng(0)
    z = (size * rng.standard_normal((7, 10))).astype(dtype)
    y = rng.integers(10, size=7)
    loss, dz = SparseCategoricalCrossentropy().loss_and_gradient(y, z, 7, True)
    tz = tensor(z)
    theirs = F.cross_entropy(tz, torch.tensor(y))
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=max(tolerance, 1e-6 if dtype == np.float32 else 0))
    close(dz, tz.grad, tolerance)


LABELS = np.random.default_rng(5).dirichlet(np.ones(10), size=7)
YES = (np.random.default_rng(6).random((7, 10)) < 0.5).astype(float)
SPREAD = np.random.default_rng(7).uniform(0.01, 0.99, (7, 10))
PHOTOS_COUNT = np.random.default_rng(8).random(7)


def weighted(losses, weights):
    return (losses if weights is None else losses * torch.tensor(weights)).sum() / len(losses)


FAMILY = {
    "categorical": (
        lambda: CategoricalCrossentropy(label_smoothing=0.1),
        LABELS,
        True,
        lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1, reduction="none"),
    ),
    "categorical of probabilities": (
        CategoricalCrossentropy,
        LABELS,
        False,
        lambda p, y: -(y * torch.log(p / p.sum(dim=1, keepdim=True))).sum(dim=1),
    ),
    "binary": (
        lambda: BinaryCrossentropy(label_smoothing=0.1),
        YES,
        True,
        lambda z, y: F.binary_cross_entropy_with_logits(z, 0.9 * y + 0.05, reduction="none").mean(dim=1),
    ),
    "binary of probabilities": (
        BinaryCrossentropy,
        YES,
        False,
        lambda p, y: F.binary_cross_entropy(p, y, reduction="none").mean(dim=1),
    ),
    "squares": (MeanSquaredError, LABELS, False, lambda p, y: F.mse_loss(p, y, reduction="none").mean(dim=1)),
    "distances": (MeanAbsoluteError, LABELS, False, lambda p, y: F.l1_loss(p, y, reduction="none").mean(dim=1)),
}


@pytest.mark.parametrize("weights", [None, PHOTOS_COUNT], ids=["plain", "weighted"])
@pytest.mark.parametrize(("make", "labels", "from_logits", "formula"), FAMILY.values(), ids=FAMILY)
@DTYPES
def test_the_family_of_losses(make, labels, from_logits, formula, weights, dtype, tolerance):
    values = (20 * (SPREAD - 0.5) if from_logits else SPREAD).astype(dtype)
    labels = labels.astype(dtype)
    weights = None if weights is None else weights.astype(dtype)
    loss, gradient = make().loss_and_gradient(labels, values, 7, from_logits, weights)
    theirs = tensor(values)
    expected = weighted(formula(theirs, torch.tensor(labels)), weights)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=max(tolerance, 1e-6 if dtype == np.float32 else 0))
    close(gradient, theirs.grad, tolerance)


# A whole network


def network(dtype, optimizer="sgd"):
    """Strides, odd sizes, both paddings: conv - pool - conv - pool - dense - dense."""
    model = models.Sequential(
        [
            layers.Input((13, 12, 2)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(5, (3, 2), strides=(2, 1), padding="same", activation="relu"),
            layers.MaxPooling2D((2, 3), strides=1, padding="same"),
            layers.Flatten(),
            layers.Dense(9, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile(optimizer, "sparse_categorical_crossentropy")
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.uniform(-0.1, 0.1, w.shape) for w in model.get_weights()])
    return model.astype(dtype)


def torch_loss(model, params, x, y):
    """The same network's loss, from PyTorch's own operations on params {"conv2d/kernel": tensor, ...}."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            x = F.relu(torch_conv(x, params[f"{layer.name}/kernel"], params[f"{layer.name}/bias"], layer))
        elif isinstance(layer, layers.MaxPooling2D):
            x = torch_pool(x, layer)
        elif isinstance(layer, layers.Flatten):
            x = x.reshape(len(x), -1)
        else:
            x = x @ params[f"{layer.name}/kernel"] + params[f"{layer.name}/bias"]
            x = x if layer is model.layers[-1] else F.relu(x)
    return F.cross_entropy(x, torch.tensor(y))


@DTYPES
def test_loss_and_all_gradients_of_a_network(dtype, tolerance):
    model = network(dtype)
    x, y = random_batch(9, (13, 12, 2))
    x = x.astype(dtype)
    x[:4, :6] = 0  # a black background
    loss, grads, dx = model.loss_and_gradients(x, y, input_gradient=True)
    params, tx = {key: tensor(value) for key, value in model.params.items()}, tensor(x)
    theirs = torch_loss(model, params, tx, y)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=tolerance)
    assert grads.keys() == params.keys()
    for key, grad in grads.items():
        close(grad, params[key].grad, tolerance)
    close(dx, tx.grad, tolerance)


def torch_optimizer(ours, params):
    if isinstance(ours, optimizers.Adam):
        return torch.optim.Adam(params, lr=ours.learning_rate, betas=(ours.beta_1, ours.beta_2))
    return torch.optim.SGD(params, lr=ours.learning_rate, momentum=ours.momentum, nesterov=ours.nesterov)


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adam, other betas": lambda: optimizers.Adam(0.003, beta_1=0.5, beta_2=0.9),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@DTYPES
def test_five_steps(make, dtype, tolerance):
    model = network(dtype, make())
    params = {key: tensor(value) for key, value in model.params.items()}
    theirs = torch_optimizer(model.optimizer, list(params.values()))
    for step in range(1, 6):
        x, y = random_batch(8, (13, 12, 2), seed=step)
        x = x.astype(dtype)
        model.train_on_batch(x, y)
        if isinstance(model.optimizer, optimizers.Adam):
            # PyTorch adds epsilon after the correction of sqrt(v), Keras and we before it.
            theirs.param_groups[0]["eps"] = 1e-7 / math.sqrt(1 - model.optimizer.beta_2**step)
        theirs.zero_grad()
        torch_loss(model, params, torch.tensor(x), y).backward()
        theirs.step()
    moved = max(
        np.abs(value - start).max()
        for value, start in zip(model.params.values(), network(dtype).params.values(), strict=True)
    )
    assert moved > 1e-3
    for key, value in model.params.items():
        close(value, params[key], 20 * tolerance)


def test_with_a_fixed_epsilon_adam_would_differ():
    """Why the test above sets it at each step: with gradients near epsilon the two forms part."""
    ours, w = optimizers.Adam(0.01), {"w": np.zeros(1)}
    theirs = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([theirs], lr=0.01, eps=1e-7)
    ours.update(w, {"w": np.array([1e-6])})
    theirs.grad = torch.tensor([1e-6], dtype=torch.float64)
    adam.step()
    assert abs(w["w"].item() - theirs.item()) > 1e-4


# With epsilon 0 the formulas of all of them coincide; where PyTorch adds it elsewhere, it would make the difference.
FAMILY = {
    "adamw": (
        lambda: optimizers.AdamW(0.01, weight_decay=0.2, epsilon=0),
        lambda w: torch.optim.AdamW([w], 0.01, weight_decay=0.2, eps=0),
    ),
    "amsgrad": (
        lambda: optimizers.Adam(0.01, beta_2=0.5, amsgrad=True, epsilon=0),
        lambda w: torch.optim.Adam([w], 0.01, (0.9, 0.5), amsgrad=True, eps=0),
    ),
    "rmsprop": (
        lambda: optimizers.RMSprop(0.01, epsilon=0),
        lambda w: torch.optim.RMSprop([w], 0.01, alpha=0.9, eps=0),
    ),
    "rmsprop, centered, momentum": (
        lambda: optimizers.RMSprop(0.01, rho=0.5, momentum=0.8, centered=True, epsilon=0),
        lambda w: torch.optim.RMSprop([w], 0.01, alpha=0.5, momentum=0.8, centered=True, eps=0),
    ),
    "nadam": (lambda: optimizers.Nadam(0.01), lambda w: torch.optim.NAdam([w], 0.01, eps=1e-7, momentum_decay=1)),
    "adagrad": (
        lambda: optimizers.Adagrad(0.01, initial_accumulator_value=0.3, epsilon=0),
        lambda w: torch.optim.Adagrad([w], 0.01, initial_accumulator_value=0.3, eps=0),
    ),
    "adamax": (
        lambda: optimizers.Adamax(0.01, beta_2=0.9, epsilon=0),
        lambda w: torch.optim.Adamax([w], 0.01, (0.9, 0.9), eps=0),
    ),
    "adadelta": (
        lambda: optimizers.Adadelta(1.0, epsilon=1e-4),
        lambda w: torch.optim.Adadelta([w], 1.0, rho=0.95, eps=1e-4),
    ),
}


@pytest.fixture
def double_scalars():
    """PyTorch keeps NAdam's product of momenta in its default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("make", "theirs"), FAMILY.values(), ids=FAMILY)
@DTYPES
def test_ten_steps_of_each_optimizer(make, theirs, dtype, tolerance, double_scalars):
    rng = np.random.default_rng(0)
    w, ours = rng.normal(size=(6, 5)).astype(dtype), make()
    parameter = tensor(w)
    other, start = theirs(parameter), w.copy()
    for _ in range(10):
        g = rng.normal(size=w.shape).astype(dtype)
        ours.update({"w": w}, {"w": g})
        parameter.grad = torch.tensor(g)
        other.step()
    assert np.abs(w - start).max() > 1e-3
    close(w, parameter, 10 * tolerance)
