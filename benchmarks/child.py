"""Contenders run in processes of their own and are asked for one piece of work at a time, in lines of JSON.

The parent writes {"do": "train", "batch": 32, ...} to the child's standard input; the child
answers with one line, and otherwise sleeps: while one contender runs, no other does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REST = 0.3  # seconds before each turn: the thread pool of the turn before goes to sleep


class ChildError(Exception):
    """The child could not do what it was asked; the message says why."""


class Child:
    """A process `python -m MODULE ARGUMENTS` that answers requests; use it in a `with` block."""

    def __init__(self, module: str, *arguments: str, environment: dict[str, str] | None = None):
        self.name = " ".join([module, *arguments])
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  what its libraries have to say; close() closes it
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
            env=os.environ | (environment or {}),
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def ask(self, do: str, **arguments):
        """The child's answer to one request. Raises ChildError."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it is dead, and will not answer
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with code {self.process.wait()}\n{self.last_words()}"}
        if "error" in answer:
            raise ChildError(f"{self.name}: {do}: {answer['error']}")
        return answer["result"]

    def ask_rested(self, do: str, **arguments):
        """The same after a short rest, for timing."""
        time.sleep(REST)
        return self.ask(do, **arguments)

    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self.started

    def last_words(self) -> str:
        self.log.seek(0)
        return "".join(self.log.readlines()[-5:])

    def close(self) -> None:
        """Ask it to end by closing its input; a child that does not listen is killed."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


def serve(worker) -> None:
    """The child's side: answer each request with the result of the worker's method of that name."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print must not mix with the answers
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(worker, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def peak_memory() -> float:
    """The most memory this process has held so far, in MB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000
    except (OSError, IndexError):  # not Linux
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1000
