"""Ctrl-C and SIGTERM while something is under way that should come to an orderly end."""

import contextlib
import os
import signal
import threading


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; exit_code is 130 for Ctrl-C (SIGINT) and 143 for SIGTERM."""

    def __init__(self, number: int, message: str = "interrupted"):
        super().__init__(message)
        self.exit_code = 128 + number


class Interrupts:
    """Within this block the first SIGINT or SIGTERM is only noted in `received`; the second raises Interrupted at once.

    After leave_at_once so does the first, with those last words.
    """

    NOTICE = b"\nStopping: this batch is finished and saved first. Once more leaves at once.\n"

    def __init__(self):
        self.received, self.last_words, self.before = None, None, {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # Python lets no other set handlers
            self.before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
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
            os.write(2, self.NOTICE)  # not print, which may be what was interrupted
