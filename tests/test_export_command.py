"""`cnn export` and `cnn import`, and what is said where a library is missing."""

import ast
import json
import shutil
import sys
import warnings

import numpy as np
import pytest
import test_more_layers
from commandline import refused, succeeds
from conftest import small_network
from test_c_header import NETWORKS, random_weights

from cnn import layers, models
from cnn.commands.shared import compared
from cnn.saving import forms
from cnn.saving.forms import keras_code, torch_code

ENDINGS = [".keras", ".weights.h5", ".safetensors", ".onnx", ".h", ".py"]
with_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@with_gcc
def test_a_model_goes_out_and_is_compared(tmp_path):
    text = succeeds("export", "dense", "m.h", cwd=tmp_path).stdout
    assert "wrote m.h: 101,770 parameters. gcc beside us, 100 photos of noise:" in text
    told = json.loads(succeeds("export", "cnn", "m.h", "--json", cwd=tmp_path).stdout)
    assert told["tool"] == "gcc" and told["photos"] == 100 and 0 < told["largest_difference"] < 1e-5
    header = (tmp_path / "m.h").read_text()
    assert "bytes multiplied by 0.00392156863f" in header and "Ankle boot" in header


@with_gcc
def test_another_result_is_an_error(tmp_path):
    model = small_network()
    path = str(tmp_path / "m.h")
    forms.EXPORTS[".h"].write(model, path, model.params)
    assert compared.compare(model, path).worst < 1e-5
    model.layers[0].params["kernel"][0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="gcc computes something else in the model"):
        compared.compare(model, path)


def test_arguments_that_do_not_go_together(tmp_path):
    for arguments, reason in (
        (("export", "cnn", "m.foo"), "expected a name that ends in .keras, .weights.h5, .safetensors, .onnx, .h, .py"),
        (("export", "cnn", "m.h5"), "expected a name that ends in"),
        (("export", "cnn", "m.onnx", "--torch-code"), "expected a FILE that ends in .safetensors or .py"),
        (("export", "cnn", "m.safetensors", "--torch-code", "--json"), "expected one of them"),
        (("import", "m.npz", "m.npz"), "FILE: expected a name that ends in .keras"),
        (("import", "m.keras", "m.keras"), "MODEL: expected a file name that ends in .npz"),
        (("import", "m.keras", "m.npz", "--input-scale", "0"), "expected a number above 0"),
    ):
        refused(2, reason, *arguments, cwd=tmp_path)
    refused(4, "m.keras: cannot be read: No such file", "import", "m.keras", "m.npz", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
    for library in ("h5py", "safetensors", "onnx"):
        monkeypatch.setitem(sys.modules, library, None)
    model = small_network()
    for ending in (".safetensors", ".onnx"):
        with pytest.raises(ImportError, match=r'^an? \S+ file needs \w+: pip install "\.\[interop\]"$'):
            forms.EXPORTS[ending].write(model, str(tmp_path / f"m{ending}"), model.params)
    (tmp_path / "m.keras").write_bytes(b"no archive of ours")
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ImportError, match="a file of Keras' needs h5py: pip install"):
        models.load_model(tmp_path / "m.h5")
    with pytest.raises(ImportError, match="this form needs h5py"):
        forms.require(forms.FORMS[".keras"])


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_programs_are_programs(network):
    """Keras' and PyTorch's run them in the test below; that they can be read is told without these."""
    model = network()
    assert len(ast.parse(keras_code.code(model)).body) == 4
    assert "nn.Sequential(" in torch_code.code(model) and ast.parse(torch_code.code(model))


@with_gcc
def test_names_of_strangers_do_not_become_programs(tmp_path):
    for name in ('"""\nraise SystemExit', "*/ #error here /*", "x\r\n1/0 #\\"):
        model = small_network()
        model.name, model.class_names = name, [f"{name}{k}" for k in range(10)]
        assert [type(part).__name__ for part in ast.parse(keras_code.code(model)).body][:2] == ["Import", "ImportFrom"]
        assert type(ast.parse(torch_code.code(model)).body[-1]).__name__ == "If"
        forms.EXPORTS[".h"].write(model, str(tmp_path / "m.h"), model.params)
        assert compared.compare(model, str(tmp_path / "m.h"), 3).worst < 1e-5


@pytest.mark.parity
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_form_computes_the_same_in_its_own_program(network, tmp_path):
    """Each layer, and the whole, by the file that was written."""
    pytest.importorskip("keras")
    model = random_weights(network())
    for ending in ENDINGS:
        if ending == ".h" and network is test_more_layers.network:  # see test_c_header.py
            continue
        path = str(tmp_path / f"m{ending}")
        if ending in forms.FORMS:
            model.save(path) if ending != ".weights.h5" else model.save_weights(path)
        else:
            forms.EXPORTS[ending].write(model, path, model.params)
        found = compared.compare(model, path, 20)
        assert found.worst < 1e-5 and found.photos == 20
        assert ending == ".h" or len(found.layers) >= len(model.layers) - 3
    (tmp_path / "torch.py").write_text(torch_code.code(model))
    assert compared.compare(model, str(tmp_path / "torch.py")).tool.startswith("PyTorch")


@pytest.mark.parity
def test_models_go_out_and_in_by_command(tmp_path):
    pytest.importorskip("keras")
    for ending in (".keras", ".safetensors"):
        succeeds("export", "cnn", f"m{ending}", cwd=tmp_path)
        assert "421,642 parameters" in succeeds("import", f"m{ending}", "back.npz", cwd=tmp_path).stdout
        back = models.load_model(tmp_path / "back.npz")
        assert back.input_scale == 1 / 255 and back.class_names[9] == "Ankle boot"
    code = succeeds("export", "cnn", "m.safetensors", "--torch-code", cwd=tmp_path).stdout
    assert "model.load_state_dict(load_file('m.safetensors'))" in code and ast.parse(code)
    succeeds("export", "cnn", "m.weights.h5", cwd=tmp_path)
    refused(4, "holds weights alone", "import", "m.weights.h5", "w.npz", cwd=tmp_path)
    done = succeeds("import", "m.weights.h5", "w.npz", "--like", "cnn", cwd=tmp_path)
    ours = models.load_model(tmp_path / "w.npz")
    np.testing.assert_array_equal(ours.get_weights()[0], back.get_weights()[0])
    assert done.stderr == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = models.Sequential([layers.Dense(2, input_shape=(3,))])
        plain.save(tmp_path / "plain.keras")
    assert "--input-scale tells it" in succeeds("import", "plain.keras", "p.npz", cwd=tmp_path).stderr
