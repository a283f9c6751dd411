"""Convolutions channel by channel, contrast and brightness, cropped and repeated photos: values, networks, faults."""

import gates
import numpy as np
import pytest

from cnn import initializers, layers, models
from cnn.layers import colour, depthwise

X = np.random.default_rng(0).standard_normal((2, 6, 5, 3))


def test_a_depthwise_convolution_is_one_for_each_channel():
    layer = layers.DepthwiseConv2D((2, 3), (1, 2), "same", depth_multiplier=2, bias_initializer="ones")
    y = layer(X)
    kernel, bias = layer.get_weights()
    for c in range(3):
        alone = layers.Conv2D(2, (2, 3), (1, 2), "same")
        alone(X[..., c : c + 1])
        alone.set_weights([kernel[:, :, c : c + 1], bias[2 * c : 2 * c + 2]])
        np.testing.assert_allclose(alone(X[..., c : c + 1]), y[..., 2 * c : 2 * c + 2], rtol=0, atol=1e-14)


def test_a_separable_convolution_is_a_convolution_of_a_special_kernel():
    layer, whole = layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2), layers.Conv2D(4, 3, padding="same")
    y = layer(X)
    by_channel, pointwise, bias = layer.get_weights()
    whole(X)
    kernel = np.einsum("uvcd,cdf->uvcf", by_channel, pointwise.reshape(3, 2, 4))
    whole.set_weights([kernel, bias])
    np.testing.assert_allclose(whole(X), y, rtol=0, atol=1e-13)
    assert [weight.name for weight in layer.weights] == ["depthwise", "pointwise", "bias"]
    assert layer.count_params() == 3 * 3 * 3 * 2 + 6 * 4 + 4


class Fixed:
    """In place of a generator: it draws what it is told."""

    def __init__(self, number):
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


def test_contrast_and_brightness_by_hand():
    x = np.array([10.0, 30.0, 200.0, 240.0]).reshape(1, 2, 2, 1)  # of mean 120
    more, less = layers.RandomContrast(0.5), layers.RandomContrast((0.5, 0.5))
    assert (more.factor, less.factor) == ((0, 0.5), (0.5, 0.5))  # one number lets contrast grow alone, as in Keras
    assert more.forward(x, True, Fixed(0.0))[0].ravel().tolist() == x.ravel().tolist()
    assert more.forward(x, True, Fixed(0.8))[0].ravel().tolist() == [0, 0, 232, 255]  # times 1.4, cut off
    assert less.forward(x, True, Fixed(0.0))[0].ravel().tolist() == [65, 75, 160, 180]
    darker = layers.RandomBrightness(0.2).forward(x, True, Fixed(0.0))[0]
    np.testing.assert_allclose(darker.ravel(), [0, 0, 149, 189])
    brighter = layers.RandomBrightness((0, 0.2), value_range=(0, 1000)).forward(x, True, Fixed(0.5))[0]
    np.testing.assert_allclose(brighter, x + 100)
    assert (more(x) == x).all() and more(x[0], training=True).shape == (2, 2, 1)


def test_an_initializer_of_ones_own(tmp_path):
    def own(shape, dtype=None):
        return np.full(shape, 2, dtype)

    class Ramp(initializers.Initializer):
        def __init__(self, step):
            self.step = step

        def __call__(self, shape, dtype=None, **others):
            return (self.step * np.arange(np.prod(shape))).reshape(shape).astype(dtype)

    dense = layers.Dense(2, kernel_initializer=own, bias_initializer=Ramp(3.0))
    dense(np.ones((1, 2)))
    assert (dense.kernel == 2).all() and dense.bias.tolist() == [0, 3]
    model = models.Sequential([layers.Dense(2, kernel_initializer=own, input_shape=(2,))])
    with pytest.raises(ValueError, match="save: .*kernel_initializer: expected one of .*, got '<own>'"):
        model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"<<lambda>>: expected numbers of shape \(2, 2\), got \(3,\)"):
        layers.Dense(2, kernel_initializer=lambda shape, dtype: np.ones(3))(np.ones((1, 2)))


def test_a_network_that_is_built_needs_no_shape_to_be_built():
    built = models.Sequential([layers.Dense(2, input_shape=(3,))])
    built.build()
    with pytest.raises(ValueError, match="build: the shape of the input is not known yet"):
        models.Sequential([layers.Dense(2)]).build()


def test_a_layer_in_keras_style_is_told_what_it_lacks():
    with pytest.raises(TypeError, match="Linear: expected forward and backward, got call: nothing here finds deriv"):

        class Linear(layers.Layer):
            def call(self, inputs):
                return inputs


BAD = {
    "multiplier": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=0),
        "DepthwiseConv2D: depth_multiplier: .* got 0",
    ),
    "window": (
        lambda: layers.SeparableConv2D(2, 9)(X),
        r"SeparableConv2D: expected input of at least 9 x 9 \(the window\), got \(6, 5, 3\)",
    ),
    "kernel": (
        lambda: layers.DepthwiseConv2D(3, kernel_initializer="zeros"),
        "DepthwiseConv2D: the argument 'kernel_initializer' is not supported here",
    ),
    "dilation": (
        lambda: layers.SeparableConv2D(1, 3, dilation_rate=2),
        "'dilation_rate' is not supported here but as 1",
    ),
    "initializer": (
        lambda: layers.SeparableConv2D(1, 3, pointwise_initializer="two"),
        "SeparableConv2D: pointwise_initializer: expected one of .* got 'two'",
    ),
    "all cropped": (
        lambda: layers.Cropping2D((3, 0))(X),
        r"Cropping2D: expected input larger than its cropping \(\(3, 3\), \(0, 0\)\), got \(6, 5, 3\)",
    ),
    "cropping": (lambda: layers.Cropping2D(-1), "Cropping2D: cropping: expected a whole number from 0 .*, got -1"),
    "size": (lambda: layers.UpSampling2D(0), "UpSampling2D: size: expected a whole number from 1 .*, got 0"),
    "between": (
        lambda: layers.UpSampling2D(interpolation="bicubic"),
        "UpSampling2D: interpolation: expected 'bilinear' or 'nearest', got 'bicubic'",
    ),
    "bicubic": (lambda: layers.Resizing(2, 3, "bicubic"), "interpolation: expected 'bilinear' or 'nearest', got 'bic"),
    "aspect": (lambda: layers.Resizing(2, 3, crop_to_aspect_ratio=True), "crop_to_aspect_ratio' is not supported here"),
    "middle": (lambda: layers.CenterCrop(9, 2)(X), r"CenterCrop: expected input of at least 9 x 2, got \(6, 5, 3\)"),
    "contrast": (lambda: layers.RandomContrast(2), r"RandomContrast: factor: expected a number in \[0, 1\], got 2"),
    "range": (lambda: layers.RandomContrast(0.1, (1, 0)), "value_range: expected two numbers that rise, got"),
    "brightness": (lambda: layers.RandomBrightness((0, 2)), r"RandomBrightness: factor: expected .* \[-1, 1\], got 2"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---- in a network


def network(photo=(8, 8, 1)):
    """Every one of them, between layers that learn."""
    model = models.Sequential(
        [
            layers.RandomContrast((0.2, 0.4), value_range=(0, 1), input_shape=photo),
            layers.RandomBrightness(0.2, value_range=(0, 1)),
            layers.CenterCrop(8, 6),
            layers.Resizing(10, 9),
            layers.Cropping2D(1),
            layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=2, pointwise_regularizer="l2"),
            layers.UpSampling2D((2, 1)),
            layers.DepthwiseConv2D((3, 2), 2, activation="relu", depthwise_constraint="max_norm"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_default_names_are_keras():
    names = [layer.name for layer in network().layers]
    assert names[:4] == ["random_contrast", "random_brightness", "center_crop", "resizing"]
    assert names[4:6] == ["cropping2d", "separable_conv2d"]
    assert names[6:8] == ["up_sampling2d", "depthwise_conv2d"]


# ---- faults


def cropped_on_the_other_side(patch):
    original = depthwise.col2im

    def faulty(columns, x_shape, strides, pads):
        top, bottom, left, right = pads
        return original(columns, x_shape, strides, (bottom, top, right, left))

    patch.setattr(depthwise, "col2im", faulty)


def multiplied_channels_exchanged(dx, grads):
    kernel = grads.get("depthwise")
    return dx, grads if kernel is None else grads | {"depthwise": kernel.swapaxes(2, 3).reshape(kernel.shape)}


FAULTS = {
    "cropped on the other side": cropped_on_the_other_side,
    "multiplied channels exchanged": gates.backward_of(layers.DepthwiseConv2D, multiplied_channels_exchanged),
    "channels not mixed on the way back": lambda patch: patch.setattr(
        layers.SeparableConv2D,
        "mixed_back",
        lambda self, dz, middle: (
            dz[:, :1] + 0 * middle,
            {"pointwise": (middle.T @ dz).reshape(self.params["pointwise"].shape)},
        ),
    ),
    "border that learns": gates.backward_of(
        layers.Cropping2D, lambda dx, grads: (np.where(dx == 0, dx.mean(), dx), grads)
    ),
    "middle moved": gates.backward_of(layers.CenterCrop, lambda dx, grads: (np.roll(dx, 1, axis=1), grads)),
    "resized from the other side": gates.backward_of(layers.Interpolation, lambda dx, grads: (dx[:, :, ::-1], grads)),
    "a mean of repeated cells": gates.backward_of(layers.Interpolation, lambda dx, grads: (dx / 6, grads)),
    "a mean taken for a constant": lambda patch: patch.setattr(
        layers.RandomContrast, "change_back", lambda self, dy, drawn: dy * drawn
    ),
    "what is cut off learns": lambda patch: patch.setattr(
        colour.ColourLayer, "backward", lambda self, dy, cache, need_dx=True: (self.change_back(dy, cache.drawn), {})
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_makes_the_gate_fail(fault, monkeypatch):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        gates.layer_gate()
