"""Networks among the layers of another: they train, save and are shown as the flat network would be."""

import explain_models as nets
import numpy as np
import pytest
from conftest import random_batch
from model_files import document_of, members, refuses, with_document

from cnn import gradcheck, layers, models, plots
from cnn.explain import trace
from cnn.explain.terminal.text import piped
from cnn.training.step import run_batch

X, Y = random_batch(20)


def parts(names=("conv2d", "batch_normalization", "dropout")):
    """The inner layers, the outer layers."""
    conv, normal, dropout = names
    inner = [
        layers.Conv2D(4, 3, input_shape=(8, 8, 1), name=conv),
        layers.BatchNormalization(name=normal),
        layers.ReLU(),
        layers.Dropout(0.3, name=dropout),
    ]
    return inner, [layers.Flatten(), layers.Dropout(0.2), layers.Dense(10, activation="softmax")]


def nested(shards=2):
    inner, outer = parts()
    model = models.Sequential([models.Sequential(inner, name="base"), *outer])
    return compiled(model, shards)


def flat(shards=2):
    inner, outer = parts(("a", "b", "c"))
    return compiled(models.Sequential([*inner, *outer]), shards)


def compiled(model, shards):
    model.shards = shards
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def test_it_stands_among_the_layers():
    model = nested()
    base = model.layers[0]
    assert [layer.name for layer in model.layers] == ["base", "flatten", "dropout", "dense"]
    assert model.get_layer("base") is base is model.get_layer(index=0)
    assert (base.input_shape, base.output_shape, model.output_shape) == ((None, 8, 8, 1), (None, 6, 6, 4), (None, 10))
    assert list(model.params)[:3] == ["base/conv2d/kernel", "base/conv2d/bias", "base/batch_normalization/gamma"]
    assert np.shares_memory(model.params["base/conv2d/kernel"], base.layers[0].kernel)
    assert model.count_params() == flat().count_params()
    assert model.compute_output_shape((None, 8, 8, 1)) == (None, 10)
    assert base.compute_output_shape((7, 8, 8, 1)) == (7, 6, 6, 4)


@pytest.mark.parametrize("shards", [1, 3])
def test_it_learns_to_the_same_bits_as_the_flat_network(shards):
    one, other = nested(shards), flat(shards)
    one.set_weights(other.get_weights())
    for model in (one, other):
        model.fit(X, Y, batch_size=6, epochs=3, verbose=0)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one.predict(X, verbose=0), other.predict(X, verbose=0))
    assert one.evaluate(X, Y, verbose=0) == other.evaluate(X, Y, verbose=0)
    base = one.layers[0]  # the inner network has learned, too
    np.testing.assert_allclose(base.predict(X, verbose=0), base(X), rtol=0, atol=1e-6)  # folded, other rounding
    assert (base.layers[0].kernel == one.params["base/conv2d/kernel"]).all()


def test_the_fast_twin_is_kept_while_nothing_changes():
    model = nested()
    assert all(a is b for a, b in zip(model.chain, model.chain, strict=True))
    before = model.chain[0]
    model.layers[0].layers[0].trainable = False
    assert model.chain[0] is not before and not model.chain[0].trainable
    plain, fast = (run_batch(model, X, Y, step=3, fast=fast) for fast in (False, True))
    for key, grad in fast.grads.items():
        assert gradcheck.relative_error(plain.grads[key], grad) <= 1e-6, key


def test_its_gradients_are_right():
    for result in gradcheck.check_model(nested(), X[:4], Y[:4], samples=60):
        assert result.passed or result.kinks, f"{result.name}: {result.verdict} {result.error}"


def test_frozen_as_a_whole():
    model = nested()
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    model.fit(X, Y, verbose=0)
    assert all((new == old).all() for new, old in zip(model.layers[0].get_weights(), before, strict=True))
    assert model.frozen == {"base/conv2d", "base/batch_normalization", "base/re_lu", "base/dropout"}
    assert len(model.trainable_weights) == 2


def test_built_by_the_outer_network_or_by_its_first_data():
    def network():
        return [models.Sequential([layers.Dense(3), models.Sequential([layers.Dense(4)])]), layers.Dense(2)]

    built = models.Sequential([layers.Input(5), *network()])
    by_data = models.Sequential(network())
    assert by_data(np.ones((2, 5))).shape == (2, 2)
    for model in (built, by_data):
        inner = model.layers[0]
        assert (inner.input_shape, inner.output_shape) == ((None, 5), (None, 4))
        assert inner.layers[1].input_shape == (None, 3)
        assert list(model.params)[2] == "sequential/sequential/dense/kernel"
    for a, b in zip(built.get_weights(), by_data.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_that_were_not_given_count_up():
    model = models.Sequential([layers.Input(4)])
    for _ in range(3):
        model.add(models.Sequential([layers.Dense(4)]))
    assert [layer.name for layer in model.layers] == ["sequential", "sequential_1", "sequential_2"]


def test_what_cannot_be_added():
    model = nested()
    with pytest.raises(ValueError, match='"base": add: expected another network, got .*, which holds this one'):
        model.layers[0].add(model)
    with pytest.raises(ValueError, match="add: expected another network"):
        model.add(model)
    with pytest.raises(ValueError, match=r"declares input_shape \(3,\), but its input will be \(10,\)"):
        model.add(models.Sequential([layers.Dense(2, input_shape=3)]))
    with pytest.raises(ValueError, match="another layer 'base'"):
        model.add(models.Sequential([layers.Dense(2)], name="base"))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = nested()
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model.npz")
    again = models.load_model(tmp_path / "model.npz")
    assert [type(layer).__name__ for layer in again.layers] == ["Sequential", "Flatten", "Dropout", "Dense"]
    assert again.layers[0].name == "base" and again.layers[0].output_shape == (None, 6, 6, 4)
    for one in (model, again):
        one.fit(X, Y, verbose=0)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "optimizer/momentum/base/conv2d/kernel" in members((tmp_path / "model.npz").read_bytes())


def test_hostile_networks_inside_are_refused(tmp_path):
    nested().save(tmp_path / "model.npz")
    data = (tmp_path / "model.npz").read_bytes()
    inner = document_of(data)["model"]["layers"][0]
    assert inner["config"].keys() == {"name", "layers"}

    def deep(document):
        for k in range(30):
            one = document["model"]["layers"][0]
            document["model"]["layers"][0] = {"class": "Sequential", "config": {"name": f"n{k}", "layers": [one]}}

    def many(document):
        flatten = [{"class": "Flatten", "config": {"name": f"f{k}"}} for k in range(600)]
        both = [{"class": "Sequential", "config": {"name": name, "layers": flatten}} for name in "ab"]
        document["model"]["layers"][1:1] = both

    changes = {
        "nested deeper than": deep,
        "expected at most 1000 layers": many,
        "expected 1 to 1000 layers": lambda d: d["model"]["layers"][0]["config"].update(layers=[]),
        "layers": lambda d: d["model"]["layers"][0]["config"].pop("layers"),
        "name: expected a word without '/'": lambda d: d["model"]["layers"][0]["config"].update(name="a/b"),
        "two layers have the same name": lambda d: d["model"]["layers"][1]["config"].update(name="base"),
        "is missing": lambda d: d["model"]["layers"][0]["config"].update(name="other"),
    }
    for reason, change in changes.items():
        refuses(tmp_path / "bad.npz", with_document(data, change), reason)


def test_the_step_through_and_the_pictures_walk_through_it():
    photo = nets.test_set()[0][8]
    convolution = layers.Conv2D(2, 3, strides=2, activation="relu", input_shape=(28, 28, 1))
    base = models.Sequential([convolution, layers.BatchNormalization(), layers.MaxPooling2D()], name="base")
    model = models.Sequential([base, layers.Flatten(), layers.Dense(10, activation="softmax")])
    model.input_scale = 1 / 255
    t = trace(model, photo)
    np.testing.assert_allclose(t["p"], model.predict((photo / 255)[None, ..., None], verbose=0)[0], atol=1e-6)
    assert {"base/conv2d/kernel:gradient", "base/batch_normalization:forward"} <= t.tensors.keys()
    assert "base/max_pooling2d" in "".join(piped(t, nets.PLAIN))
    assert list(plots.activations(model, photo))[:2] == ["base/conv2d", "base/batch_normalization"]


def test_summary_with_the_layers_inside():
    shown = []
    model = nested()
    model.layers[-1].trainable = False
    model.summary(line_length=88, print_fn=shown.append)
    model.summary(line_length=88, print_fn=shown.append, expand_nested=True, show_trainable=True)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown[1].splitlines() if "│" in line]
    first = [cell.strip() for cell in shown[0].splitlines()[4].split("│")[1:-1]]
    assert first == ["base (Sequential)", "(None, 6, 6, 4)", "56"]
    assert "conv2d" not in shown[0]
    assert rows[:2] == [
        ["base (Sequential)", "(None, 6, 6, 4)", "56", "Y"],
        ["└ conv2d (Conv2D)", "(None, 6, 6, 4)", "40", "Y"],
    ]
    assert rows[-1] == ["dense (Dense)", "(None, 10)", "1,450", "N"]
