"""What other programs make of a model that was exported: the outputs of each layer, where the program is installed."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn.models import Sequential

Array = np.ndarray
Outputs = dict[str, Array]  # by the names of our layers; "" is the model's own
TOLERANCE = 1e-4  # of the largest number: float32 rounds otherwise in another order


class Comparison(NamedTuple):
    """What came of it."""

    tool: str  # what computed, with its version
    photos: int
    layers: list[tuple[str, tuple[int, ...], float]]  # (name, output shape, largest difference)

    @property
    def worst(self) -> float:
        """The largest difference of all."""
        return max(difference for _, _, difference in self.layers)


def compare(model: Sequential, path: str, photos: int = 100) -> Comparison | None:
    """The model beside the file that was written of it, by its own program; None where that is not installed.

    Raises ValueError where an output is another.
    """
    x = np.random.default_rng(0).random((photos, *(model.photo_shape or ())), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, such as Keras' that weights alone say nothing of an optimizer
        found = next(tool for endings, tool in TOOLS.items() if path.endswith(endings))(model, path, x)
    if found is None:
        return None
    name, theirs = found
    ours, rows = dict(_ours(model, x)), []
    for layer, y in theirs.items():
        expected = ours[layer]
        difference = float(abs(y - expected).max()) if y.shape == expected.shape else np.inf
        if not difference <= TOLERANCE * max(1.0, float(abs(expected).max())):
            raise ValueError(
                f"{path}: {name} computes something else in {layer or 'the model'}: {difference:.1e} apart"
            )
        rows.append((layer or "(the model)", expected.shape[1:], difference))
    return Comparison(name, photos, rows)


def _ours(model: Sequential, x: Array) -> Iterator[tuple[str, Array]]:
    for name, layer in model.flat():
        x = layer.forward(x.astype(model.dtype, copy=False))[0]
        yield name, x
    yield "", x


def _imported(*names: str) -> list[Any] | None:
    """The libraries, or None where one is not installed."""
    if any(importlib.util.find_spec(name.partition(".")[0]) is None for name in names):
        return None
    return [importlib.import_module(name) for name in names]


# ---- the programs: (its name, its outputs), None where it is not installed


def _keras(model, path, x) -> tuple[str, Outputs] | None:
    backend = next((name for name in ("tensorflow", "torch", "jax") if _imported(name)), None)
    if backend is None:
        return None
    os.environ.setdefault("KERAS_BACKEND", backend)  # it asks for TensorFlow unless it is told
    found = _imported("keras")
    if found is None:
        return None
    keras, theirs = found[0], _keras_model(found[0], model, path)
    flat = [layer for layer in _flat(theirs) if type(layer).__name__ != "InputLayer"]
    outputs, y = {}, x
    for (name, _), layer in zip(model.flat(), flat, strict=True):
        y = layer(y, training=False)
        outputs[name] = keras.ops.convert_to_numpy(y)
    return f"Keras {keras.__version__} on {keras.backend.backend()}", {**outputs, "": theirs.predict(x, verbose=0)}


def _keras_model(keras, model, path):
    if path.endswith(".keras"):
        return keras.saving.load_model(path)
    from cnn.saving.forms import keras_code

    scope: dict[str, Any] = {}
    exec(Path(path).read_text() if path.endswith(".py") else keras_code.code(model), scope)
    with tempfile.TemporaryDirectory() as folder:
        weights = path if path.endswith(".h5") else f"{folder}/m.weights.h5"
        if weights != path:
            model.save_weights(weights)
        scope["model"].load_weights(weights)
    return scope["model"]


def _flat(network) -> Iterator[Any]:
    for layer in network.layers:
        yield from _flat(layer) if hasattr(layer, "layers") else [layer]


def _torch(model, path, x) -> tuple[str, Outputs] | None:
    found = _imported("torch", "safetensors.torch")
    if found is None:
        return None
    from cnn.saving.forms import safetensors_file, torch_code, torch_modules

    torch, safetensors = found
    scope: dict[str, Any] = {"__name__": "exported"}
    exec(Path(path).read_text() if path.endswith(".py") else torch_code.code(model, path), scope)
    module = scope["make_model"]()
    arrays = safetensors_file.state_dict(model, model.params)
    given = {key: torch.from_numpy(array) for key, array in arrays.items()}
    module.load_state_dict(given if path.endswith(".py") else safetensors.load_file(path))
    module.eval()
    outputs: Outputs = {}
    names = {id(layer): name for name, layer in model.flat()}
    y, flattened = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x)), None
    for part, told in zip(module, torch_modules.modules(model), strict=True):
        with torch.no_grad():
            y = part(y)
        shape = told.layer.input_shape or ()
        if told.code == "nn.Flatten()" and len(shape) == 3 and type(told.layer).__name__ == "Flatten":
            flattened = shape
        flattened = None if told.code.startswith("nn.Linear") else flattened
        outputs[names[id(told.layer)]] = _as_ours(y.numpy(), flattened)
    return f"PyTorch {torch.__version__}", {**outputs, "": _as_ours(y.numpy(), None)}


def _as_ours(y: Array, flattened: tuple[int, ...] | None) -> Array:
    """PyTorch's (N, C, H, W), also in a row, as ours."""
    if flattened is not None:
        height, width, channels = flattened
        y = y.reshape(len(y), channels, height, width)
    turned = y.transpose(0, 2, 3, 1) if y.ndim == 4 else y
    return turned.reshape(len(y), -1) if flattened is not None else turned


def _onnx(model, path, x) -> tuple[str, Outputs] | None:
    found = _imported("onnx", "onnxruntime")
    if found is None:
        return None
    from cnn.saving.forms import onnx_file

    onnx, runtime = found
    marks = onnx_file.operators(model).marks
    told = onnx.load(path)
    inner = {name: value for name, value in marks.items() if value[0] != "input"}
    for name in dict.fromkeys(value for value, _ in inner.values()):
        told.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = runtime.InferenceSession(told.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value for value, _ in inner.values()]
    values = session.run([*names, "output"], {"input": x})
    turned = [is_turned for _, is_turned in inner.values()]
    outputs = {
        name: y.transpose(0, 2, 3, 1) if is_turned else y
        for name, y, is_turned in zip(inner, values, turned, strict=False)
    }
    return f"ONNX Runtime {runtime.__version__}", {**outputs, "": values[-1]}


C_MAIN = """#include "model.h"
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


def _gcc(model, path, x) -> tuple[str, Outputs] | None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, f"{folder}/model.h")
        Path(folder, "main.c").write_text(C_MAIN)
        build = [compiler, "-std=c99", "-O2", "main.c", "-o", "main", "-lm"]
        subprocess.run(build, cwd=folder, check=True, capture_output=True)
        done = subprocess.run([f"{folder}/main"], input=x.tobytes(), capture_output=True, check=True)
    y = np.frombuffer(done.stdout, np.float32).reshape(len(x), *(model.result_shape or ()))
    return Path(compiler).name, {"": y}


TOOLS: dict[tuple[str, ...], Callable[..., tuple[str, Outputs] | None]] = {
    (".keras", ".weights.h5"): _keras,
    (".safetensors",): _torch,
    (".onnx",): _onnx,
    (".h",): _gcc,
    (".py",): lambda model, path, x: (_torch if "nn.Sequential" in Path(path).read_text() else _keras)(model, path, x),
}
