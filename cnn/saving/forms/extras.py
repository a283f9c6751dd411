"""What several forms share: the sentence where a library is missing, and names of strangers in programs."""

import importlib
from typing import Any

from cnn.saving.forms import PIP


def need(library: str, what: str) -> Any:
    """The library, imported. Raises ImportError, with the command that installs it, where it is missing.

    >>> need("json", "this example").loads("1")
    1
    >>> need("no_such_library", "this example")
    Traceback (most recent call last):
    ImportError: this example needs no_such_library: pip install ".[interop]"
    """
    package = library.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(f"{what} needs {package}: {PIP}") from None
    return importlib.import_module(library)


def comment(text: str) -> str:
    """A name that anybody may have chosen, as it can stand in a line's comment, or in one of C: it does not end it.

    >>> comment("my */ model" + chr(10))
    'my * / model?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("*/", "* /")
