"""What somebody at the keyboard waits for: the commands from start to end, and the first compilation."""

import subprocess
import sys
import tempfile
import time

from benchmarks.child import REST, ROOT, Child
from benchmarks.report import alternate, figures, spread, table, with_range

COMMANDS = {
    "cnn --help": (["-m", "cnn", "--help"], 0.3),
    "import cnn": (["-c", "import cnn"], 0.6),
    "import cnn, its layers and models": (["-c", "from cnn import layers, models"], None),
    "cnn predict 9": (["-m", "cnn", "predict", "9"], 1.5),
}


def seconds_of(arguments: list[str]) -> float | None:
    """How long this Python process takes; None where it fails."""
    time.sleep(REST)
    start = time.perf_counter()
    process = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True)
    return time.perf_counter() - start if process.returncode == 0 else None


def first_steps(cache_directory: str) -> float:
    """Seconds of a process's first 10 training steps and 100 predictions, with this directory for compiled kernels."""
    with Child("benchmarks.worker", "cnn", "1", "28,28,1", environment={"NUMBA_CACHE_DIR": cache_directory}) as child:
        child.ask("describe")
        start = time.perf_counter()
        child.ask("check", batch=32, steps=10)
        return time.perf_counter() - start


def measure(rounds: int) -> dict:
    """{"commands": {command: seconds or None}, "first process": seconds, "next process": seconds}"""
    turns = {name: lambda arguments=arguments: seconds_of(arguments) for name, (arguments, _) in COMMANDS.items()}
    values = alternate(rounds, turns)
    commands = {name: None if None in seconds else spread(seconds) for name, seconds in values.items()}
    with tempfile.TemporaryDirectory() as directory:
        first, following = first_steps(directory), first_steps(directory)
    return {"commands": commands, "first process": first, "next process": following}


def markdown(found: dict) -> str:
    """Both as a table."""
    rows = []
    for name, seconds in found["commands"].items():
        limit = COMMANDS[name][1]
        met = "" if limit is None else "failed" if seconds is None else "yes" if seconds["median"] <= limit else "no"
        rows.append([name, with_range(seconds) if seconds else "failed", limit or "", met])
    compiling = found["first process"] - found["next process"]
    rows.append(
        [
            "compiling the kernels of training and inference, once",
            figures(max(compiling, 0)),
            15,
            "yes" if compiling <= 15 else "no",
        ]
    )
    rows.append(["the first 10 steps with an empty cache of kernels", figures(found["first process"]), "", ""])
    rows.append(["the same in the next process", figures(found["next process"]), "", ""])
    return table(["", "seconds", "at most", "met"], rows)
