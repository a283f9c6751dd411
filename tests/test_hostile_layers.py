"""Arguments of layers, activations and initializers in a file from a stranger: a whole model or one ModelFileError."""

import json

import numpy as np
import pytest
from model_files import with_document

from cnn import constraints, initializers, layers, models
from cnn.errors import ModelFileError

MODEL = [
    lambda: layers.Rescaling((2.0,), offset=-1, input_shape=(8, 8, 1)),
    lambda: layers.Normalization(mean=[0.1], variance=[0.5]),
    lambda: layers.RandomFlip("horizontal", seed=1, alternating=True),
    lambda: layers.RandomContrast(0.3, value_range=(0, 1)),
    lambda: layers.RandomBrightness((0, 0.2), seed=1),
    lambda: layers.UpSampling2D((1, 2)),
    lambda: layers.Resizing(9, 17),
    lambda: layers.CenterCrop(8, 16),
    lambda: layers.Cropping2D((0, 4)),
    lambda: layers.SeparableConv2D(2, 3, padding="same", depth_multiplier=2, depthwise_regularizer="l2"),
    lambda: layers.DepthwiseConv2D((1, 2), padding="same", use_bias=False, depthwise_constraint="non_neg"),
    lambda: layers.RandomErasing(0.3, (0.02, 0.25), value_range=(0, 1)),
    lambda: layers.RandomTranslation(0.1, (0, 0.2), seed=1),
    lambda: layers.RandomZoom(0.1, (0, 0.2), "constant"),
    lambda: layers.RandomRotation(0.1),
    lambda: layers.ZeroPadding2D(1),
    lambda: layers.Conv2D(4, 3, activation=layers.ELU(0.5), kernel_initializer=initializers.VarianceScaling(seed=1)),
    lambda: layers.Activation("gelu"),
    lambda: layers.GaussianNoise(0.1, seed=1),
    lambda: layers.AlphaDropout(0.1, seed=1),
    lambda: layers.GaussianDropout(0.1, seed=1),
    lambda: layers.PReLU(shared_axes=[1, 2], alpha_constraint="non_neg"),
    lambda: layers.Softmax(axis=1),
    lambda: layers.Conv2DTranspose(
        4, 3, padding="same", output_padding=0, kernel_constraint=constraints.MinMaxNorm(0.5, 1, axis=(0, 1))
    ),
    lambda: layers.LeakyReLU(0.1),
    lambda: layers.SpatialDropout2D(0.25, seed=1),
    lambda: layers.AveragePooling2D(2, padding="same"),
    lambda: layers.Reshape((4, 4, 4)),
    lambda: layers.GlobalAveragePooling2D(keepdims=True),
    lambda: layers.ELU(0.5),
    lambda: layers.GlobalMaxPooling2D(),
    lambda: layers.Dense(10, kernel_initializer=initializers.RandomUniform(0, 1), bias_initializer="constant"),
]
NASTY = [
    *(None, True, False, -1, 0, 1, 2, 3.5, -0.0, 1e308, -1e308, 10**30, 10**400, "", "relu", "__class__", "a/b"),
    *([], [[]], [1, 2], [1, [2]], [[1, 2], [3, 4]], [1] * 40, [[[[1]]]], [None], ["a"], [-1, -1], [1e308, 1e308]),
    *({}, {"class_name": "elu"}, {"class_name": "elu", "config": {"alpha": 1e308}}, {"class_name": 3, "config": {}}),
    {"class_name": "relu", "config": {"self": 1}},
    {"class_name": "gelu", "config": {"approximate": "yes"}},
    {"class_name": "gelu", "config": {"x": [1]}},
    {"class_name": "gelu", "config": {"approximate": False}},  # as if it were not told
    {"class_name": "constant", "config": {"value": [1]}},
    {"class_name": "variance_scaling", "config": {"scale": 0}},
    {"class_name": "MaxNorm", "config": {"max_value": "a", "axis": 0}},
    {"class_name": "MinMaxNorm", "config": {"axis": [[0]]}},
    {"class_name": "MaxNorm", "config": {"max_value": 1.0, "axis": [7, 7]}},
    {"class_name": ["elu"], "config": {"class_name": "elu", "config": {}}},
]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """A file of all these layers, and the model in it."""
    model, path = models.Sequential([make() for make in MODEL]), tmp_path_factory.mktemp("model") / "m.npz"
    model.save(path)
    return path.read_bytes(), models.load_model(path)


@pytest.mark.parametrize("index", range(len(MODEL)))
def test_no_argument_does_harm(document, index, tmp_path):
    valid, model = document
    for key in model.layers[index].get_config():
        for value in NASTY:

            def change(described, key=key, value=value):
                described["model"]["layers"][index]["config"][key] = value

            (tmp_path / "m.npz").write_bytes(with_document(valid, change))
            with np.errstate(all="ignore"):
                try:
                    loaded = models.load_model(tmp_path / "m.npz")
                except ModelFileError as error:
                    assert str(error).isprintable() and len(str(error)) < 900
                else:  # then it is what the file says, and computes
                    assert json.dumps(loaded.layers[index].get_config()[key]) == json.dumps(value)
                    loaded.predict(np.ones((2, 8, 8, 1), np.float32), verbose=0)
