"""Model(inputs, outputs) of a Sequential's layers, symbols, configurations: what scripts ask a built model for."""

import numpy as np
import pytest
from conftest import random_batch, small_network

import cnn
from cnn import backend, callbacks, layers, models

X, Y = random_batch(40)


def test_each_layers_output():
    model = small_network()
    maps = models.Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
    outputs = maps.predict(X, batch_size=7, verbose=0)
    y = X
    for layer, output in zip(model.layers, outputs, strict=True):
        y, _ = layer.forward(y)
        np.testing.assert_allclose(output, y, rtol=0, atol=1e-6)
    assert [output.shape for output in outputs] == [(40, *shape[1:]) for shape in maps.output_shape]
    assert maps.input_shape == (None, 8, 8, 1)
    np.testing.assert_allclose(outputs[-1], model.predict(X, verbose=0), rtol=0, atol=1e-6)
    for one, other in zip(maps(X[:3]), outputs, strict=True):
        np.testing.assert_allclose(one, other[:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrapped", [True, False])
def test_one_output_is_one_array(wrapped):
    model = small_network()
    output = model.get_layer("max_pooling2d").output
    maps = models.Model(model.input, [output] if wrapped else output)
    assert [layer.name for layer in maps.layers] == ["conv2d", "max_pooling2d"]
    assert maps.predict(X, verbose=0).shape == (40, 4, 4, 4)
    assert maps.output_shape == (None, 4, 4, 4) == maps.outputs[0].shape
    assert maps(X).shape == (40, 4, 4, 4)


def test_several_outputs_tell_how_far_they_are():
    model, seen = small_network(), []
    maps = models.Model(model.inputs, [layer.output for layer in model.layers[:2]])
    look = callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: seen.append((batch, [len(y) for y in logs["outputs"]]))
    )
    maps.predict(X, batch_size=16, verbose=0, callbacks=look)
    assert seen == [(0, [16, 16]), (1, [16, 16]), (2, [8, 8])]


def test_it_shares_the_layers():
    model = small_network()
    maps = models.Model(model.inputs, model.layers[0].output)
    before = maps.predict(X, verbose=0)
    model.fit(X, Y, verbose=0)
    after = maps.predict(X, verbose=0)
    assert (before != after).any()
    np.testing.assert_allclose(after, model.layers[0](X), rtol=0, atol=1e-6)


def test_outputs_inside_a_network_among_the_layers():
    base = models.Sequential([layers.Conv2D(2, 3, input_shape=(8, 8, 1)), layers.ReLU()], name="base")
    model = models.Sequential([base, layers.Flatten(), layers.Dense(3)])
    outputs = [base.layers[0].output, base.output, model.layers[1].output]
    inside, whole, rows = models.Model(model.inputs, outputs).predict(X, verbose=0)
    np.testing.assert_array_equal(np.maximum(inside, 0), whole)
    np.testing.assert_array_equal(whole.reshape(40, -1), rows)


def test_the_body_of_a_trained_network_under_a_new_head():
    body = small_network()
    body.fit(X, Y, verbose=0)
    features = models.Model(body.inputs, body.layers[-2].output)
    features.trainable = False
    model = models.Sequential([features, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    before = features.get_weights()
    model.fit(X, Y % 3, verbose=0)
    assert all((new == old).all() for new, old in zip(features.get_weights(), before, strict=True))
    several = models.Model(body.inputs, [layer.output for layer in body.layers])
    with pytest.raises(ValueError, match="cannot stand among the layers of another"):
        models.Sequential([several, layers.Dense(3)])


def test_symbols():
    model = small_network()
    assert (model.inputs[0].shape, model.outputs[0].shape) == ((None, 8, 8, 1), (None, 10))
    assert model.layers[0].output.shape == (None, 8, 8, 4)
    assert model.layers[1].input.shape == model.layers[0].output.shape
    assert repr(model.input) == '<Symbol: (None, 8, 8, 1), the input of Sequential "sequential">'
    unbuilt = models.Sequential([layers.Dense(2)])
    assert cnn.Model is models.Model
    assert not hasattr(unbuilt, "input") and not hasattr(unbuilt.layers[0], "output")
    assert unbuilt.input_shape is None and unbuilt.output_shape is None


OTHER = small_network()
REFUSED = {
    "inputs of one's own": (lambda m: models.Model(layers.Input(3), m.output), "Model: inputs: expected model.inputs"),
    "a layer's input": (
        lambda m: models.Model(m.layers[1].input, m.output),
        "inputs: expected model.inputs, got <Symbol",
    ),
    "nothing": (lambda m: models.Model(), "Model: inputs: expected model.inputs, got None"),
    "layers": (lambda m: models.Model(m.inputs, m.layers), "Model: outputs: expected layer.output, or a list of them"),
    "no outputs": (lambda m: models.Model(m.inputs, []), "Model: outputs: expected layer.output"),
    "another's": (lambda m: models.Model(m.inputs, OTHER.layers[0].output), "expected layer.output of layers of Seq"),
    "argument": (lambda m: models.Model(m.inputs, m.outputs, steps=3), "the argument 'steps' is not supported"),
    "compile": (lambda m: models.Model(m.inputs, m.outputs).compile("adam"), "compile: .* train the Sequential"),
    "training": (lambda m: models.Model(m.inputs, m.outputs)(X, training=True), "call the Sequential itself"),
    "a layer called with an input": (lambda m: layers.Dense(3)(layers.Input(3)), "functional API is not supported"),
    "a layer called with an output": (lambda m: layers.Dense(3)(m.output), "functional API is not supported here"),
    "batch size": (lambda m: models.Model(m.inputs, m.layers[0].output).predict(X, batch_size=0), "batch_size"),
    "photos": (
        lambda m: models.Model(m.inputs, m.layers[0].output).predict(X[:, :5]),
        r"expected shape \(N, 8, 8, 1\)",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_is_not(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(small_network())
    assert "\n" not in str(caught.value)


# Configurations


def test_a_layer_from_its_configuration():
    layer = layers.Conv2D(3, (2, 3), activation="relu", kernel_regularizer="l2", name="c", trainable=False)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert layer.compute_output_shape((None, 8, 9, 1)) == (None, 7, 7, 3)
    assert layers.Flatten().compute_output_shape((5, 2, 3)) == (5, 6)


def test_a_model_from_its_configuration_is_the_same_but_untrained():
    model = small_network(seed=7)
    start = model.get_weights()
    model.fit(X, Y, verbose=0)
    text = model.to_json()
    copies = (
        models.Sequential.from_config(model.get_config()),
        models.clone_model(model),
        models.model_from_json(text),
    )
    for again in copies:
        assert again.get_config() == model.get_config()
        assert again.optimizer is None
        for ours, theirs in zip(again.get_weights(), start, strict=True):  # of the same seed
            np.testing.assert_array_equal(ours, theirs)


def test_a_model_with_networks_and_layers_of_ones_own_from_its_configuration():
    class Twice(layers.Layer):
        def forward(self, x, training=False, rng=None):
            return 2 * x, ()

    model = models.Sequential([models.Sequential([layers.Dense(3), Twice()]), layers.Dense(2)])
    again = models.Sequential.from_config(model.get_config() | {"seed": None}, custom_objects={"Twice": Twice})
    assert again.get_config() == model.get_config()
    assert not again.built
    with pytest.raises(ValueError, match="model_from_json: expected what Sequential.to_json gives, got '\\[1\\]'"):
        models.model_from_json("[1]")
    with pytest.raises(ValueError, match="from_config: expected one of .*Conv2D.*, got .*Twice"):
        models.Sequential.from_config(model.get_config())


def test_a_model_says_its_seed():
    model = small_network(seed=7)
    shapes = f"(8, 8, 1) -> (10,), {model.count_params():,} parameters"
    assert repr(model) == f'<Sequential "sequential": 9 layers; {shapes}; seed 7>'
    assert repr(models.Sequential([layers.Flatten()])) == '<Sequential "sequential": 1 layers; not built; seed 0>'


def test_clear_session_begins_anew():
    def first():
        return layers.Dense(3)(np.ones((1, 4)))

    backend.clear_session()
    one = first()
    assert (first() != one).any()
    backend.clear_session()
    assert (first() == one).all()
    assert (backend.backend(), backend.floatx(), backend.image_data_format()) == ("numpy", "float32", "channels_last")
    assert backend.epsilon() == 1e-7
