"""On which machines a run was computed: kept in last.npz, told in config.json.

The bits of a result depend on versions, processor and BLAS kernels. A run that goes on elsewhere ends with other bits
than one that never stopped, and says so.
"""

import os
from typing import Any

from cnn.commands.shared import environment
from cnn.errors import ModelFileError

DECIDE_BITS = ("numpy-cnn", "NumPy", "Numba", "BLAS", "processor")
SET_BY_HAND = ("NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT")
MOST = 1000  # of one run


def machine() -> dict[str, str]:
    """What a result may depend on beside the settings."""
    found = {**environment.versions(), "BLAS": environment.blas_name(), "processor": environment.processor()}
    found |= {name: os.environ[name] for name in SET_BY_HAND if os.environ.get(name)}
    return {name: "".join(c if c.isprintable() else "?" for c in text)[:500] for name, text in found.items()}


def with_this_one(parts: list[dict], epoch: int, batch: int) -> list[dict]:
    """The parts of a run, with this machine from that epoch and batch on, where it is another than the last."""
    here = {"epoch": epoch, "batch": batch, "machine": machine()}
    return parts if parts and parts[-1]["machine"] == here["machine"] else [*parts, here][-MOST:]


def difference(parts: list[dict]) -> str:
    """What decides the last bits and was not the same in all parts, by name; "" if nothing."""
    machines = [part["machine"] for part in parts]
    found = {name: dict.fromkeys(one.get(name, "not set") for one in machines) for name in DECIDE_BITS + SET_BY_HAND}
    return "; ".join(f"{name} {', then '.join(values)}" for name, values in found.items() if len(values) > 1)


def read_parts(where: str | os.PathLike, kept: Any, config: dict) -> list[dict]:
    """The parts of a run as its last.npz keeps them, or, for an older run, its config.json. Raises ModelFileError."""
    if kept is None:
        first = {"epoch": 1, "batch": 1, "machine": config.get("machine")}
        return [first] if _is_part(first) else []
    if not isinstance(kept, list) or not 1 <= len(kept) <= MOST or not all(map(_is_part, kept)):
        raise ModelFileError(f"{where}: expected the machines that the run was computed on, got {str(kept)!r:.100}")
    return kept


def _is_part(found) -> bool:
    if not isinstance(found, dict) or found.keys() != {"epoch", "batch", "machine"}:
        return False
    numbers, texts = (found["epoch"], found["batch"]), found["machine"]
    if not isinstance(texts, dict) or len(texts) > 50 or any(type(number) is not int for number in numbers):
        return False
    words = [*texts, *texts.values()]
    return all(isinstance(text, str) and text.isprintable() and len(text) <= 500 for text in words)
