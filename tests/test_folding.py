"""models.folded: the same predictions from fewer layers; the recipe's network becomes the article's."""

import numpy as np
import pytest
from conftest import random_batch

from cnn import article, folding, layers, models, saving


def disturbed(model, seed=0):
    """The model with every parameter changed, moving averages too, as a training would leave them."""
    rng = np.random.default_rng(seed)
    for value in model.params.values():
        value += rng.uniform(0.05, 0.5, value.shape).astype(value.dtype)
    return model


def normalized(before, behind, **of_bn):
    """A network with BatchNormalization somewhere, its gamma above 0 unless told otherwise."""
    rest = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, "softmax")]
    return models.Sequential([*before, layers.BatchNormalization(**of_bn), *behind, *rest])


def conv(**more):
    return layers.Conv2D(3, 3, input_shape=(8, 8, 1), **more)


KINDS = {
    "behind a convolution": (lambda: normalized([conv()], [layers.ReLU()]), ["Conv2D", "Flatten", "Dense"]),
    "behind pooling": (
        lambda: normalized([conv(use_bias=False), layers.MaxPooling2D()], [layers.Activation("relu")], scale=False),
        ["Conv2D", "MaxPooling2D", "Flatten", "Dense"],
    ),
    "another activation": (
        lambda: normalized([conv()], [layers.Activation("tanh")]),
        ["Conv2D", "Activation", "Flatten", "Dense"],
    ),
    "twice": (
        lambda: normalized([conv(), layers.BatchNormalization(center=False)], [layers.ReLU()]),
        ["Conv2D", "Flatten", "Dense"],
    ),
    "behind an activation": (
        lambda: normalized([conv(activation="relu")], []),
        ["Conv2D", "BatchNormalization", "Flatten", "Dense"],
    ),
    "a negative slope behind pooling": (
        lambda: normalized([conv(), layers.MaxPooling2D()], [layers.ReLU()]),
        ["Conv2D", "MaxPooling2D", "BatchNormalization", "ReLU", "Flatten", "Dense"],
    ),
    "in a network inside": (
        lambda: models.Sequential(
            [models.Sequential([conv(), layers.BatchNormalization()]), layers.Flatten(), layers.Dense(10)]
        ),
        ["Conv2D", "Flatten", "Dense"],
    ),
}


def assert_same_predictions(model, x):
    """To rounding, in both precisions."""
    for kind, tolerance in ((np.float32, 2e-5), (np.float64, 1e-13)):
        exact = model.astype(kind)
        before = exact.predict(x, verbose=0)
        np.testing.assert_allclose(models.folded(exact).predict(x, verbose=0), before, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("make", "kinds"), KINDS.values(), ids=KINDS)
def test_the_same_predictions_from_fewer_layers(make, kinds):
    model = make()
    if "MaxPooling2D" in kinds and "BatchNormalization" in kinds:
        model.build((None, 8, 8, 1))
        model.layers[2].params["gamma"][0] = -1  # one channel is enough
        model.layers[2].params["beta"] += 0.3
    else:
        disturbed(model)
    assert_same_predictions(model, random_batch(20)[0])
    assert [type(layer).__name__ for layer in models.folded(model).layers] == kinds


@pytest.mark.parametrize("kind", ["convolutional", "dense"])
def test_the_recipes_network_becomes_the_articles(kind, tmp_path):
    make = getattr(article, kind)
    full = make(
        seed=1,
        augmentation=[layers.RandomFlip("horizontal"), layers.RandomErasing(value_range=(0, 1))],
        dropout=0.3,
        normalized=True,
    )
    full.compile("adam", "sparse_categorical_crossentropy")
    disturbed(full)
    x = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    assert_same_predictions(full, x)
    result, plain = models.folded(full), make()
    assert [repr(layer) for layer in result.layers] == [
        repr(layer).replace(f'"{layer.name}"', f'"{own.name}"')
        for layer, own in zip(plain.layers, result.layers, strict=True)
    ]
    assert result.count_params() == plain.count_params() and result.class_names == plain.class_names
    saving.save_model(result, tmp_path / "m.npz", include_optimizer=False)
    np.testing.assert_array_equal(
        models.load_model(tmp_path / "m.npz").predict(x, verbose=0), result.predict(x, verbose=0)
    )


def test_the_model_itself_is_not_changed():
    model = disturbed(KINDS["behind a convolution"][0]())
    before = [value.copy() for value in model.get_weights()]
    copy = models.folded(model)
    for value in copy.params.values():
        value += 1
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match='Sequential "sequential": folded: the shape of the input is not known yet'):
        models.folded(models.Sequential([layers.Flatten()]))


FAULTS = {
    "without epsilon": lambda layer: (layer.params["gamma"] / np.sqrt(layer.params["moving_variance"]), 0),
    "without the mean": lambda layer: (LINE(layer)[0], layer.params["beta"]),
    "negative slopes pass the pooling": lambda layer: LINE(layer),
}
LINE = folding._as_line


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(name, monkeypatch):
    if name.startswith("negative"):
        original = folding._without_activation
        monkeypatch.setattr(folding, "_without_activation", lambda kept, grows: original(kept, True))
        case = "a negative slope behind pooling"
    else:
        monkeypatch.setattr(folding, "_as_line", FAULTS[name])
        case = "behind a convolution"
    with pytest.raises(AssertionError):
        test_the_same_predictions_from_fewer_layers(*KINDS[case])
