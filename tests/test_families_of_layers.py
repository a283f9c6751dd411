"""What holds for every family of layers in a network of its own: gradients, twin, file, step-through."""

import gates
import numpy as np
import pytest
import test_activations
import test_depthwise_and_colour
import test_more_layers
import test_stateless_layers
from conftest import random_batch

from cnn import gradcheck, models
from cnn.explain import trace
from cnn.explain.formulas import for_page
from cnn.explain.terminal.text import piped
from cnn.terminal import Style

FAMILIES = {  # a network, and names of layers that have a step of their own
    "activations": (test_activations.network, ("leaky_re_lu", "activation")),
    "stateless": (test_stateless_layers.network, ("rescaling", "average_pooling2d", "global_max_pooling2d", "reshape")),
    "transposed, noise, PReLU": (
        test_more_layers.network,
        ("gaussian_noise", "p_re_lu", "conv2d_transpose", "alpha_dropout", "softmax"),
    ),
    "depthwise, colour, size": (
        test_depthwise_and_colour.network,
        ("random_contrast", "cropping2d", "separable_conv2d", "up_sampling2d", "depthwise_conv2d"),
    ),
}
EACH = pytest.mark.parametrize(("network", "names"), FAMILIES.values(), ids=FAMILIES)


@EACH
def test_the_gradient_of_a_network(network, names):
    gates.all_passed(gradcheck.check_model(gates.random_biases(network()), *random_batch(6), samples=30))


@EACH
def test_the_fast_twin_has_the_plain_gradients(network, names):
    gates.fast_gate(network())


@EACH
def test_a_file_brings_it_back_and_it_trains_on(network, names, tmp_path):
    model, (x, y) = network(), random_batch(6)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.npz")
    again = models.load_model(tmp_path / "m.npz")
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    for each in (model, again):
        each.fit(x, y, epochs=2, verbose=0)
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@EACH
def test_the_step_through_has_a_step_for_each(network, names):
    t = trace(network(photo=(28, 28, 1)), np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8), label=3)
    text = "\n".join(piped(t, Style(unicode=False, colour=False, width=80)))
    for name in names:
        assert f"{name}: " in text
    assert for_page(t)["steps"]
