"""The C header, compiled with the warnings of a careful compiler, gives our predictions."""

import shutil
import subprocess

import numpy as np
import pytest
import test_activations
import test_depthwise_and_colour
import test_layers
import test_more_layers
import test_stateless_layers

from cnn import layers, models
from cnn.saving.forms import c_header

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
MAIN = """
#include "model.h"
#include <stdio.h>
int main(void)
{
    static float photo[MODEL_INPUTS], output[MODEL_OUTPUTS];
    while (fread(photo, sizeof(float), MODEL_INPUTS, stdin) == MODEL_INPUTS) {
        model_predict(photo, output);
        fwrite(output, sizeof(float), MODEL_OUTPUTS, stdout);
    }
    return 0;
}
"""
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=undefined"]


def random_weights(model):
    rng = np.random.default_rng(0)
    low = lambda weight: -0.4 if weight.ndim > 1 else 0.1  # variances are above 0
    model.set_weights([rng.uniform(low(weight), 0.6, weight.shape) for weight in model.get_weights()])
    return model


def predicted(model, folder, x):
    (folder / "model.h").write_text(c_header.code(model))
    (folder / "main.c").write_text(MAIN)
    subprocess.run(["gcc", *STRICT, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    done = subprocess.run([folder / "main"], input=x.tobytes(), capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, np.float32).reshape(len(x), *model.result_shape)


def compared(model, folder, count=3):
    x = test_layers.batch(model.photo_shape, count, dtype=np.float32)
    np.testing.assert_allclose(predicted(model, folder, x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


NETWORKS = {
    "activations": test_activations.network,
    "stateless": test_stateless_layers.network,
    "depthwise, colour, size": test_depthwise_and_colour.network,
    "transposed, noise, PReLU": test_more_layers.network,
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks(network, tmp_path):
    model = random_weights(network())
    if network is test_more_layers.network:  # its softmax along the rows is refused
        with pytest.raises(ValueError, match="softmax.*: the C header has softmax along the last axis alone"):
            c_header.code(model)
        model = random_weights(models.Sequential([one for one in model.layers if one.name != "softmax"]))
    compared(model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(test_layers.TABLE)[::4])
def test_layers_of_every_kind(name, tmp_path):
    make, shape = test_layers.TABLE[name]
    model = random_weights(models.Sequential([layers.Input(shape), make()]))
    try:
        compared(model, tmp_path)
    except ValueError as error:
        assert model.layers[0].name in str(error) and "C header" in str(error)
