"""A check in a process of its own: what never ends is ended, what crashes is told, and Ctrl-C leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cnn
from cnn.exercises.sentences import say

FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')


def check(
    name: str, path: Path, seed: int = 0, seconds: float = 10.0, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """The report of checker.check as a dict. seconds: of one call, at most. progress: gets a line now and then."""
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "dump"
        dump.touch()
        # -P: a file of the learner's called like a module of Python's must not take its place
        command = [sys.executable, "-P", "-m", "cnn.exercises.child", name, str(path.absolute()), str(seed)]
        child = subprocess.Popen(
            [*command, str(seconds), str(dump)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,  # Ctrl-C is ours to hear
        )
        try:
            report, last = listen(child, progress)
            child.wait()
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None  # it is a pipe
            child.stdout.close()
        return report or ended(name, path, seconds, last, child.returncode, dump.read_text("utf-8", "replace"))


def environment() -> dict[str, str]:
    """Ours, with the folder in which this package lies."""
    root = str(Path(cnn.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def listen(child: subprocess.Popen, progress: Callable[[str], None]) -> tuple[dict[str, Any] | None, tuple[str, str]]:
    """(the report, or None where the child ended without one, the last (function, case) that it began)."""
    last = ("", "")
    assert child.stdout is not None  # it is a pipe
    for line in child.stdout:
        said = json.loads(line)
        if "at" in said:
            last = said["at"]
        elif "progress" in said:
            progress(said["progress"])
        else:
            return said["report"], last
    return None, last


def ended(name: str, path: Path, seconds: float, last: tuple[str, str], code: int, dump: str) -> dict[str, Any]:
    """The report on a child that could not write one."""
    from cnn.exercises.checker import Report

    function, case = last
    if "Timeout" in dump:
        frames = [m for m in FRAME.finditer(dump) if Path(m[1]).parent == path.absolute().parent]
        place = f" (at {Path(frames[0][1]).name}, line {frames[0][2]}, in {frames[0][3]})" if frames else ""
        state, sentence = "endless", say("endless", function=function, seconds=seconds, place=place)
    else:
        got = f"signal {-code}" if code < 0 else f"exit code {code}"
        state, sentence = "crashed", say("crashed", function=function or path.name, got=got)
    report = Report(name, str(path), state=state, sentence=sentence, function=function or None, case=case or None)
    return vars(report)
