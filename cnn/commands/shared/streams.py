"""The door through which all output of a command goes: names from strangers do not steer the terminal.

Photos, models, folders and runs may be called anything, and errors quote them. What goes out through print, argparse,
a warning or a traceback therefore passes `terminal.shown`: control characters become visible, as \\x1b. Only codes of
our own for a line that is written again and again go around it, through `draw`.
"""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from cnn import terminal


class Door:
    """stdout or stderr with all text made visible, and what its encoding does not have written as \\u2192.

    A log is not the work: where it cannot be written any more (the disk is full, the terminal is gone, nobody reads),
    the work goes on without. Of stdout, whose text is the result, OSError says so.
    """

    def __init__(self, stream: TextIO, name: str, is_log: bool = False):
        self.stream, self.name, self.is_log = stream, name, is_log

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text, made visible; its length."""
        self.draw(terminal.shown(text))
        return len(text)

    def draw(self, text: str) -> None:
        """Write text with codes of our own for the terminal, as they are."""
        encoding = self.stream.encoding or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self.stream.write(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what the stream still holds."""
        self._try(self.stream.flush)

    def _try(self, action):
        try:
            action()
        except OSError as error:
            self._give_up()
            if not self.is_log:
                raise OSError(error.errno, error.strerror, self.name) from error

    def _give_up(self):
        """What is still in the buffer must go somewhere, or Python complains when it ends."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def doors() -> Iterator[None]:
    """Within this block stdout and stderr have their doors, and streams that were closed before us are empty."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin or _nowhere("r")  # in this order: each takes the number that its stream should have
    sys.stdout = _with_door(sys.stdout or _nowhere("w"), "stdout")
    sys.stderr = _with_door(sys.stderr or _nowhere("w"), "stderr", is_log=True)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _nowhere(mode):
    return open(os.devnull, mode)  # for as long as the process lives


def _with_door(stream, name, is_log=False):
    return stream if isinstance(stream, Door) else Door(stream, name, is_log)


def one_line(error: Exception) -> str:
    """What an error says, in one line; of the system's errors the file and the reason, without the number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return terminal.visible(f"{os.fsdecode(error.filename)}: {error.strerror}")
    return terminal.visible(str(error) or type(error).__name__)


def print_json(content: Any, indent: int | None = 2) -> None:
    """Print JSON that stays JSON: in another encoding, and where a name would steer the terminal, in ASCII."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    if terminal.visible(text, "\n") != text or not terminal.can_write(sys.stdout, text):
        text = json.dumps(content, indent=indent, allow_nan=False)
    print(text)


def command_line(words: list[str]) -> str:
    r"""Words as a shell takes them; one that cannot be shown as it is stands as $'a\x1bb'."""
    return " ".join(shlex.quote(word) if word.isprintable() else _ansi_quoted(word) for word in words)


def _ansi_quoted(word: str) -> str:
    plain = (letter if letter.isprintable() and letter not in "\\'" else None for letter in word)
    escaped = ("".join(f"\\x{byte:02x}" for byte in os.fsencode(letter)) for letter in word)
    return f"$'{''.join(shown or code for shown, code in zip(plain, escaped, strict=True))}'"
