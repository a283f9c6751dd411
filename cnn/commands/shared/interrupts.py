"""Ctrl-C, SIGTERM and a terminal that is closed, while something is under way that should come to an orderly end."""

import contextlib
import os
import signal
import sys
import threading
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; exit_code is 130 for Ctrl-C (SIGINT), 143 for SIGTERM, 129 for SIGHUP."""

    def __init__(self, number: int, message: str = "interrupted"):
        super().__init__(message)
        self.exit_code = 128 + number


class Interrupts:
    """Within this block the first SIGINT, SIGTERM or SIGHUP is only noted in `received`.

    The second raises Interrupted at once; after leave_at_once so does the first, with those last words.
    """

    NOTICE = b"\nStopping: this batch is finished and saved first. Once more leaves at once.\n"

    def __init__(self) -> None:
        self.received: int | None = None
        self.last_words: str | None = None
        self.before: dict[int, Any] = {}  # what handled these signals

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # Python lets no other set handlers
            self.before = {number: signal.signal(number, self._receive) for number in _awaited()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def leave_at_once(self, last_words: str) -> None:
        """From here on nothing needs an orderly end."""
        self.last_words = last_words

    def _receive(self, number, frame):
        if self.received or self.last_words:
            raise Interrupted(number, self.last_words or "left at once")
        self.received = number
        with contextlib.suppress(OSError):  # nobody may be reading
            os.write(sys.stderr.fileno(), self.NOTICE)  # not print, which may be what was interrupted


def _awaited() -> list[int]:
    """The signals that ask for an end; SIGHUP, where there is one, unless nohup has it ignored."""
    awaited: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        awaited.append(hangup)
    return awaited
