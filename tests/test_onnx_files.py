"""Against ONNX Runtime: the .onnx file that we write gives the same predictions, for a batch of any size."""

import numpy as np
import onnx
import onnxruntime
import pytest
import test_layers
from conftest import random_batch
from test_c_header import NETWORKS, random_weights
from test_keras_files import close

from cnn import layers, models
from cnn.saving import forms

pytestmark = pytest.mark.parity


def predicted(model, path, x):
    forms.EXPORTS[".onnx"].write(model, str(path), model.params)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": x})[0]


@pytest.mark.parametrize(("make", "shape"), test_layers.TABLE.values(), ids=test_layers.TABLE)
def test_every_layer(make, shape, tmp_path):
    model = random_weights(models.Sequential([layers.Input(shape), make()]))
    x = test_layers.batch(shape, 3, dtype=np.float32)
    try:
        theirs = predicted(model, tmp_path / "m.onnx", x)
    except ValueError as error:
        assert "ONNX" in str(error) and model.layers[0].name in str(error)
        return
    close(theirs, model.predict(x, verbose=0))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_networks_and_what_is_told_of_them(network, tmp_path):
    model = random_weights(network())
    model.input_scale, model.class_names = 1 / 255, [f"class {k}" for k in range(10)]
    x = random_batch(7)[0]
    close(predicted(model, tmp_path / "m.onnx", x), model.predict(x, verbose=0))
    found = onnx.load(tmp_path / "m.onnx")
    texts = {one.key: one.value for one in found.metadata_props}
    assert float(texts["input_scale"]) == 1 / 255 and "class 9" in texts["class_names"]
    assert repr(1 / 255) in found.graph.input[0].doc_string
    assert found.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert len(found.graph.value_info) >= len(found.graph.node) - 1  # each shape is told
