"""The forms of other programs: what a network is called there, and what becomes of its weights.

A form is a small file that reads as a table of correspondences:
- keras_names.py: layers, optimizers, losses and metrics, as Keras' JSON; keras_arrays.py: where Keras' HDF5 keeps them
- keras_file.py: .keras and .weights.h5; keras_legacy.py: Keras' older .h5; hdf5.py: HDF5 from strangers
- torch_modules.py: PyTorch's modules and the layout of their weights; safetensors_file.py: .safetensors
- onnx_file.py, keras_code.py, torch_code.py, c_header.py: out alone
What needs a library beside NumPy says so in one sentence: extras.py.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple


class Form(NamedTuple):
    """What can be done with files of an ending, by functions that are imported when they are wanted."""

    module: str  # in this folder
    needs: str | None = None  # the library
    hint: str = ""  # what else a warning says that the form is not written

    def _function(self, name: str) -> Callable[..., Any] | None:
        return getattr(importlib.import_module(f"cnn.saving.forms.{self.module}"), name, None)

    @property
    def write(self) -> Callable[..., Any] | None:
        """write(network, path, arrays), of models that may be saved: (..., with_optimizer)"""
        return self._function("write")

    @property
    def read(self) -> Callable[..., Any]:
        """read(path, kind) -> a network of this kind"""
        function = self._function("read")
        assert function is not None
        return function

    @property
    def read_weights(self) -> Callable[..., Any] | None:
        """read_weights(network, path): into its layers"""
        return self._function("read_weights")

    def is_installed(self) -> bool:
        """Whether its library is there."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


PIP = 'pip install ".[interop]"'
FORMS = {  # of models that may be loaded or saved, by the ending; the first that fits
    ".keras": Form("keras_file", "h5py", f" ({PIP} writes files that it can)"),
    ".weights.h5": Form("keras_weights", "h5py", f" ({PIP} writes files that it can)"),
    ".h5": Form("keras_legacy", "h5py", " (a name that ends in .keras is written for it)"),
    ".safetensors": Form("safetensors_file", "safetensors"),
}
EXPORTS = {**FORMS, ".onnx": Form("onnx_file", "onnx"), ".h": Form("c_header"), ".py": Form("keras_code")}  # out alone


def find(path: str) -> Form | None:
    """The form that the ending of this name says, None for our own."""
    return next((form for ending, form in FORMS.items() if path.endswith(ending)), None)


def require(form: Form) -> None:
    """Raise ImportError, with the command that installs it, where a form's library is missing."""
    if not form.is_installed():
        raise ImportError(f"this form needs {form.needs}: {PIP}")


def find_export(path: str) -> Form | None:
    """The form that `cnn export` writes under this name, None where there is none."""
    return next((form for ending, form in EXPORTS.items() if path.endswith(ending) and form.write), None)
