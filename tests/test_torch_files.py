"""Against PyTorch: our .safetensors fits the nn.Sequential that we print, and gives the same predictions; and back."""

import numpy as np
import pytest
import safetensors.torch
import test_layers
import torch
from conftest import random_batch
from test_c_header import NETWORKS, random_weights
from test_keras_files import close

from cnn import layers, models
from cnn.errors import ModelFileError
from cnn.saving.forms import torch_code

pytestmark = pytest.mark.parity


def theirs(model, path):
    """The printed nn.Sequential with our weights."""
    model.save(path)
    scope = {"__name__": "printed"}
    exec(torch_code.code(model, path), scope)
    module = scope["make_model"]()
    module.load_state_dict(safetensors.torch.load_file(path), strict=True)
    return module.eval()


def predicted(module, x):
    with torch.no_grad():
        y = module(torch.tensor(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x)).numpy()
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


@pytest.mark.parametrize(("make", "shape"), test_layers.TABLE.values(), ids=test_layers.TABLE)
def test_every_layer(make, shape, tmp_path):
    model = random_weights(models.Sequential([layers.Input(shape), make()]))
    x = test_layers.batch(shape, 3, dtype=np.float32)
    try:
        module = theirs(model, tmp_path / "m.safetensors")
    except ValueError as error:
        assert "PyTorch" in str(error) and model.layers[0].name in str(error)
        return
    close(predicted(module, x), model.predict(x, verbose=0))
    again = models.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_go_out_and_pytorch_weights_come_in(network, tmp_path):
    model = random_weights(network())
    module, x = theirs(model, tmp_path / "m.safetensors"), random_batch(20)[0]
    expected = model.predict(x, verbose=0)
    close(predicted(module, x), expected)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter * 0.5)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "theirs.safetensors")
    model.load_weights(tmp_path / "theirs.safetensors")
    close(model.predict(x, verbose=0), predicted(module, x))
    assert abs(model.predict(x, verbose=0) - expected).max() > 1e-3
    with pytest.raises(ModelFileError, match="holds weights alone"):
        models.load_model(tmp_path / "theirs.safetensors")


def test_a_flattened_photo_stands_in_another_order_and_comes_back(tmp_path):
    """Also where no Dense takes it at once, and where a network of another layout is refused."""
    inner = models.Sequential([layers.Conv2D(3, 2, activation="relu"), layers.BatchNormalization(scale=False)])
    rest = [layers.Flatten(), layers.Dropout(0.5), layers.ReLU(), layers.Dense(4), layers.Softmax()]
    model = random_weights(models.Sequential([layers.Input((5, 4, 2)), layers.Rescaling([1, 2], 0.5), inner, *rest]))
    x = np.random.default_rng(1).random((9, 5, 4, 2), np.float32)
    close(predicted(theirs(model, tmp_path / "m.safetensors"), x), model.predict(x, verbose=0))
    short = random_weights(models.Sequential([layers.Input((5, 4, 2)), layers.Flatten(), layers.Softmax()]))
    close(predicted(theirs(short, tmp_path / "s.safetensors"), x), short.predict(x, verbose=0))
    other = models.Sequential([layers.Input((5, 4, 2)), layers.Conv2D(3, 2, activation="relu")])
    with pytest.raises(ModelFileError, match="the array .* is missing"):
        other.load_weights(tmp_path / "m.safetensors")
