"""The process in which a learner's code runs: `python -m cnn.exercises.child NAME FILE SEED SECONDS DUMP`.

It tells what it is doing in lines of JSON on what was its stdout; what the learner's code prints is kept, up to a
length. A call that takes too long ends the process: a watchdog in C writes into the file DUMP where it was.
"""

import contextlib
import dataclasses
import faulthandler
import io
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

KEPT = 2000  # characters of what was printed


class Kept(io.TextIOBase):
    """What is printed, as far as it is kept."""

    def __init__(self) -> None:
        self.text, self.length = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Keep the beginning."""
        self.length += len(text)
        self.text += text[: KEPT - len(self.text)]
        return len(text)

    def told(self) -> str:
        """The beginning, and how much more there was."""
        more = self.length - len(self.text)
        return f"{self.text}\n... and {more:,} characters more" if more else self.text


class Guard:
    """Runs learner's code: watched, its prints kept, each call announced."""

    def __init__(self, channel: TextIO, seconds: float, dump: TextIO):
        self.channel, self.seconds, self.dump, self.printed = channel, seconds, dump, Kept()

    def tell(self, **what: Any) -> None:
        """One line to the process that waits."""
        self.channel.write(json.dumps(what) + "\n")
        self.channel.flush()

    def __call__(self, function: str, case: str, call: Callable[[], Any], seconds: float | None = None) -> Any:
        self.tell(at=[function, case])
        faulthandler.dump_traceback_later(seconds or self.seconds, exit=True, file=self.dump)
        try:
            with contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
                return call()
        finally:
            faulthandler.cancel_dump_traceback_later()


def end_with(parent: int) -> None:
    """Whatever ends the process that waits for us ends us as well; nobody would hear us any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(name: str, file: str, seed: str, seconds: str, dump: str) -> None:
    """Check one file and report."""
    end_with(os.getppid())
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # whoever writes there without print does not write into our lines
    warnings.simplefilter("ignore")
    from cnn.exercises import checker, milestone

    with open(dump, "w") as where:
        guard = Guard(channel, float(seconds), where)
        report, module = checker.check(name, Path(file), int(seed), guard)
        if report.passed and name == "network":
            report.milestone = milestone.reach(Path(file), module, report, guard)
        report.printed = guard.printed.told()
        guard.tell(report=dataclasses.asdict(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
