"""JSON from strangers: finite numbers of at most 64 bits, no key twice, nothing deep, nothing large; values checked.

All functions raise ModelFileError.
"""

import json
import math
import re
from typing import Any

import numpy as np

from cnn.errors import ModelFileError

MAX_BYTES = 1 << 22
MAX_DEPTH = 20


def parse(data: bytes) -> Any:
    """The JSON in these bytes: finite numbers of at most 64 bits, no key twice, not deeper than MAX_DEPTH."""
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"json: expected at most {MAX_BYTES:,} bytes, got {len(data):,}")
    depth = 0
    for match in re.finditer(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', data, re.DOTALL):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise ModelFileError(f"json: nested deeper than {MAX_DEPTH}")
    try:
        return json.loads(
            data.decode("utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_once,
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFileError(f"json: not JSON in UTF-8: {error}") from None


def _finite(text):
    if math.isfinite(value := float(text)):
        return value
    raise ModelFileError(f"json: expected finite numbers, got {text}")


def _bounded(text):
    if len(text) < 20 and abs(value := int(text)) < 2**63:
        return value
    raise ModelFileError("json: a whole number of more than 64 bits")


def _once(pairs):
    if len(found := dict(pairs)) == len(pairs):
        return found
    raise ModelFileError("json: a key stands twice in one object")


def values(what: str, found: Any, *names: str) -> list:
    """The values of an object that has these keys and no others."""
    if not isinstance(found, dict) or set(found) != set(names):
        got = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ModelFileError(f"{what}: expected an object with {', '.join(names)}, got {got}")
    return [found[name] for name in names]


def text(what: str, value: Any, most: int = 100) -> str:
    """value as a text that can be printed."""
    if isinstance(value, str) and value.isprintable() and 1 <= len(value) <= most:
        return value
    raise ModelFileError(f"{what}: expected 1 to {most} printable characters, got {value!r:.50}")


def plain_number(value: Any) -> Any:
    """Numbers that callbacks put into the logs may be NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected numbers, text, lists and dicts, got {type(value).__name__}")
