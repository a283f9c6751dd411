""".safetensors with PyTorch's names and layouts: load_state_dict(safetensors.torch.load_file(path)) takes them all.

Arrays alone stand in such a file, and text: there we write down our description of the network, so that it comes back
whole but for what the optimizer remembers. A file of PyTorch's own has no such text; its weights go into a model of the
same layers, by load_weights. Photos are (N, C, H, W) there.
"""

import json
from typing import Any

import numpy as np

from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.saving import atomic, contents, npz, strict_json
from cnn.saving.document import N
from cnn.saving.forms import torch_modules
from cnn.saving.forms.extras import need

OURS = "numpy_cnn"  # the description's name among the texts
WHAT = "a .safetensors file"

# ---- out


def write(network: Network, path: str, arrays: contents.Arrays, with_optimizer: bool = False) -> None:
    """Write the weights, and the network's description. Raises ValueError where PyTorch has no module, OSError."""
    library = need("safetensors.numpy", WHAT)
    text, arrays = contents.describe(network, None, False, path)
    texts = {"format": "pt", "input": "photos (N, C, H, W)", OURS: text.decode()}
    if network.input_scale is not None:
        texts["input_scale"] = repr(network.input_scale)
    if network.class_names is not None:
        texts["class_names"] = json.dumps(list(network.class_names))
    data = library.save(state_dict(network, arrays), metadata=texts)
    with atomic.replacing(path) as file:
        file.write(data)


def state_dict(network: Network, arrays: contents.Arrays) -> dict[str, np.ndarray]:
    """{"0.weight": array}: what PyTorch's load_state_dict wants. Raises ValueError."""
    found: dict[str, np.ndarray] = {}
    for k, module in enumerate(torch_modules.modules(network)):
        found |= {f"{k}.{key}": layout.there(arrays[layout.ours]) for key, layout in module.weights.items()}
        found |= {f"{k}.{key}": array for key, array in module.constants.items()}
    return found


# ---- in


def read(path: str, kind: type[N]) -> N:
    """The network, of this kind, in a file that we wrote. Raises ModelFileError, ValueError, TypeError, OSError."""
    texts, tensors = _opened(path)
    if OURS not in texts:
        raise ModelFileError(
            "holds weights alone: make a model of the same layers, and call its load_weights with this file"
        )
    described = strict_json.parse(texts[OURS].encode())
    return contents.restore(described, kind, lambda model, shapes: _arrays(model, tensors))[0]


def read_weights(network: Network, path: str) -> None:
    """Give the network the weights in a file, whose modules must be its own. Raises ModelFileError, ValueError."""
    found = _arrays(network, _opened(path)[1])
    network.set_weights([found[name] for name in network.params])


def _arrays(network: Network, tensors: dict[str, np.ndarray]) -> contents.Arrays:
    """Our arrays from PyTorch's, all of them and no others."""
    modules = torch_modules.modules(network)
    layouts = {f"{k}.{key}": layout for k, one in enumerate(modules) for key, layout in one.weights.items()}
    constants = {f"{k}.{key}": array for k, one in enumerate(modules) for key, array in one.constants.items()}
    contents.check_names(set(tensors) - set(constants), set(layouts))
    found = {}
    for name, layout in layouts.items():
        if tensors[name].shape != layout.shape:
            raise ModelFileError(f"{name}: expected shape {layout.shape} for {layout.ours}, got {tensors[name].shape}")
        found[layout.ours] = layout.here(tensors[name])
    for name, array in constants.items():
        if not name.endswith("num_batches_tracked") and name in tensors and (tensors[name] != array).any():
            raise ModelFileError(f"{name}: expected {array.flat[0]:g} everywhere: this layer has no such parameter")
    return found


def _opened(path: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The texts and the arrays. The library checks that these fill the file without gap or overlap."""
    library: Any = need("safetensors", WHAT)
    need("safetensors.numpy", WHAT)
    npz.open_regular(path).close()
    try:
        with library.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            texts = dict(file.metadata() or {})
    except (library.SafetensorError, AttributeError, TypeError, KeyError) as error:  # bfloat16 is none of NumPy's
        raise ModelFileError(f"not a .safetensors file that NumPy can read: {error}") from None
    for name, array in tensors.items():
        if array.dtype.kind != "f" and not name.endswith("num_batches_tracked"):
            raise ModelFileError(f"{name:.100}: expected floating-point numbers, got {array.dtype}")
    return texts, tensors
