"""Keras 3's own file, .keras: a zip archive, not compressed, of metadata.json, config.json and model.weights.h5.

config.json is keras_names.py's; the arrays lie where keras_arrays.py says. What Keras has no place for, such as what
photos are multiplied by, stands in metadata.json under our name, where Keras does not look.
"""

import io
import json
import os
import warnings
import zipfile
from typing import Any

from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.saving import atomic, contents, document, npz, strict_json
from cnn.saving.document import N
from cnn.saving.forms import hdf5, keras_names, keras_weights

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
KERAS_VERSION = "3.15.1"  # the one that this was tried with
OURS = "numpy_cnn"  # our place in the metadata

# ---- out


def write(network: Network, path: str, arrays: contents.Arrays, with_optimizer: bool = True) -> None:
    """Write the network, compiled as it is; with_optimizer: and what the optimizer remembers. ValueError, OSError."""
    config = {**keras_names.of_network(network), "compile_config": keras_names.of_compile(network)}
    ours = _ours(network)
    metadata = {"keras_version": KERAS_VERSION, "date_saved": "1980-01-01@00:00:00", OURS: ours}
    if ours["undecayed"]:
        call = f"exclude_from_weight_decay(var_names={ours['undecayed']})"
        warnings.warn(f"{path}: Keras does not read from a file what has no weight decay: call {call}", stacklevel=4)
    weights = io.BytesIO()
    more = keras_weights.optimizer_arrays(network, arrays, with_optimizer) if config["compile_config"] else {}
    keras_weights.write_arrays(network, weights, arrays, more)
    members = {METADATA: _json(metadata), CONFIG: _json(config), WEIGHTS: weights.getvalue()}
    with atomic.replacing(path) as file, npz.archive(file) as archive:
        for name, data in members.items():
            archive.writestr(npz.undated(name), data)


def _json(value) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _ours(network: Network) -> dict[str, Any]:
    """What Keras' words leave out."""
    return {
        "seed": network.seed,
        "shards": network.shards,
        "epochs": network.epoch,
        "class_names": document.describe_class_names(network),
        "input_scale": network.input_scale,
        "preparation": None if network.preparation is None else network.preparation.as_dict(),
        "made_by": network.made_by,
        "undecayed": None if network.optimizer is None else list(network.optimizer.undecayed),
    }


MAYBE = "class_names", "input_scale", "preparation", "made_by", "undecayed"  # what is known of some networks
UNKNOWN = {"seed": 0, "shards": 1, "epochs": 0} | dict.fromkeys(MAYBE)

# ---- in


def read(path: str, kind: type[N]) -> N:
    """The network, of this kind, in a file. Raises ModelFileError, ValueError, TypeError, OSError."""
    members = _members(path)
    config, metadata = (strict_json.parse(members[name]) for name in (CONFIG, METADATA))
    ours = metadata.get(OURS) if isinstance(metadata, dict) else None
    if not isinstance(config, dict):
        raise ModelFileError(f"{CONFIG}: expected an object")
    network = keras_names.to_network(config)
    keras_names.to_compile(config.get("compile_config"), network)
    with hdf5.opened(io.BytesIO(members[WEIGHTS])) as h5:
        found = hdf5.datasets(h5)
        keras_weights.adapt(network, found)
        steps = keras_weights.read_steps(network, found)
        described = described_as_ours(network, steps, ours)
        return contents.restore(described, kind, lambda model, shapes: keras_weights.read_arrays(model, shapes, found))[
            0
        ]


def described_as_ours(network: Network, steps: int, ours: Any = None) -> dict[str, Any]:
    """The document of a network that was read, and what stands under our name in its file."""
    told = dict(zip(UNKNOWN, strict_json.values(OURS, UNKNOWN if ours is None else ours, *UNKNOWN), strict=True))
    undecayed = told.pop("undecayed")
    if network.optimizer is not None and undecayed:
        network.optimizer.exclude_from_weight_decay(var_names=undecayed)
    model = document.describe_model(network) | {"seed": told.pop("seed"), "shards": told.pop("shards")}
    return {
        "format": document.FORMAT,
        "model": model,
        "compile": None if network.optimizer is None else document.describe_compile(network),
        "progress": {"epochs": told.pop("epochs"), "iterations": steps},
        "training": None,
        **told,
    }


def _members(path: str) -> dict[str, bytes]:
    """The three members. Raises ModelFileError unless they are there as they are, not compressed, and nothing else."""
    with npz.open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
                if sorted(info.filename for info in infos) != sorted((METADATA, CONFIG, WEIGHTS)):
                    names = ", ".join(info.filename for info in infos[:5])
                    raise ModelFileError(
                        f"expected {METADATA}, {CONFIG} and {WEIGHTS} in a .keras file, got {names:.200}"
                    )
                if any(
                    info.compress_type or info.flag_bits & 1 or info.file_size != info.compress_size for info in infos
                ):
                    raise ModelFileError("its members are compressed or encrypted; those of a .keras file are not")
                if sum(info.file_size for info in infos) > os.fstat(file.fileno()).st_size:
                    raise ModelFileError("damaged: its members claim more bytes than the file has")
                return {info.filename: archive.read(info) for info in infos}
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise ModelFileError(f"not a .keras file: {error}") from None
