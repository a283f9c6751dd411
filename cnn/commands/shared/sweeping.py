"""What `cnn sweep` does: runs of `cnn train` side by side, one folder each, and what they tell together.

The runs are given to an engine that exists: with several ranks of MPI to those behind the first
(mpi4py.futures.MPICommExecutor), else to processes of this machine. All that is known of a sweep stands in its folder:
sweep.json says which runs there are, each run's own folder how far it has come. So it can be taken up after any end.
"""

import argparse
import contextlib
import functools
import itertools
import math
import multiprocessing
import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from cnn import distribute, terminal
from cnn.commands.shared import files, options, runs, session, settings, streams
from cnn.errors import UsageError
from cnn.network import Network
from cnn.saving.model_file import BEST, LAST
from cnn.world import ALONE
from kernels import threads

SWEEP, TABLE, PICTURE = "sweep.json", "sweep.csv", "sweep.png"
MOST = 10_000  # runs of a sweep
HELD_BACK = "0.1"  # of the photos, unless --validation-split says otherwise: they choose, the test photos never do
# 97.5% quantiles of Student's t for 1 ... 10 degrees of freedom (any table of it); beyond, the normal one and its
# first two corrections (Abramowitz and Stegun, 1964, 26.7.5).
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Group(NamedTuple):
    """The runs of one setting, which differ in their seeds."""

    name: str
    scores: list[float]  # accuracy on the photos held back, one a seed
    tests: list[float]  # on the test photos

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(self.scores)

    @property
    def half(self) -> float:
        """Half the 95% interval of the mean; NaN with one seed."""
        return half_interval(self.scores)


def main(args: argparse.Namespace, command: Callable[[list[str]], int]) -> int:
    """Train all runs that are left, and tell what came of them; 1 where some failed. Raises UsageError.

    command: what does a run, `cnn` with arguments, and gives its exit code.
    """
    group = distribute.world()
    Network.world = ALONE  # each run is that of one rank
    with pool(group, args.jobs or threads.cores()) as (engine, workers, share):
        if engine is None:  # this rank has worked for the first, and all is done
            return 0
        folder, jobs, data = taken_up(args) if args.resume else begun(args)
        with runs.alone(folder):
            one = functools.partial(trained, command, str(folder), data, share)
            options.log(f"{len(jobs)} runs in {folder}, {workers} at a time with {share} threads each")
            failed = work(engine, one, folder, jobs)
            groups = collected(folder, jobs)
            tell(folder, groups, failed, plots=not args.no_plots)
    return 1 if failed else 0


# ---- which runs there are


def grid(args: argparse.Namespace) -> list[dict]:
    """The settings of each run as flags have them, {"learning-rate": "1e-3", ...}. Raises UsageError."""
    given = {key: getattr(args, key) for key in settings.DEFAULTS if getattr(args, key) is not None}
    given.setdefault("validation_split", HELD_BACK)
    given.setdefault("shards", str(threads.default_shards()))
    lists = {key: [text] if text is True else values(key, text) for key, text in given.items()}
    count = math.prod(map(len, lists.values()))
    if count > MOST:
        raise UsageError(f"expected at most {MOST:,} runs, got {count:,}")
    jobs = [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]
    for job in jobs:
        checked(job)
    return jobs


def values(key: str, text: str) -> list[str]:
    """The values in what a flag was given: of '1e-3,3e-3' two, of '0:5' five, of lists those between semicolons.

    >>> values("seed", "0:3,7"), values("filters", "32,64;16,32")
    (['0', '1', '2', '7'], ['32,64', '16,32'])
    """
    found: list[str] = []
    for part in text.split(";" if isinstance(settings.DEFAULTS[key], list) else ","):
        first, colon, last = part.partition(":")
        if colon and first.isdecimal() and last.isdecimal() and int(first) < int(last) <= int(first) + MOST:
            found += map(str, range(int(first), int(last)))
        else:
            found.append(part.strip())
    if len(set(found)) < len(found):
        raise UsageError(f"--{key.replace('_', '-')}: expected different values, got {text!r}")
    return found


def checked(job: dict) -> None:
    """Raise UsageError for settings that `cnn train` would refuse."""
    parser = argparse.ArgumentParser(prog="cnn sweep", exit_on_error=False)
    settings.add_settings(parser)
    try:
        chosen = settings.chosen(parser.parse_args(settings.flags(job)))
    except argparse.ArgumentError as error:
        raise UsageError(str(error).removeprefix("argument ")) from None
    if not chosen["validation_split"]:
        raise UsageError("--validation-split: expected more than 0: photos held back tell which run is best")
    session.compiled(chosen)


def names(jobs: list[dict], without: tuple[str, ...] = ()) -> list[str]:
    """What each run is called: the settings in which they differ."""
    differ = [key for key in jobs[0] if len({job[key] for job in jobs}) > 1 and key not in without]
    return [" ".join(f"{key}={job[key]}" for key in differ) or "all" for job in jobs]


def begun(args: argparse.Namespace) -> tuple[Path, list[dict], str | None]:
    """(a new folder, its runs, where the photos are). Raises UsageError."""
    jobs = grid(args)
    data = None if args.data is None else os.path.abspath(args.data)
    folder = runs.create(args.out, args.name, needed_bytes=min(len(jobs), 100) * 10_000_000, default="sweep")
    files.write_json(folder / SWEEP, {"jobs": jobs, "data": data})
    return folder, jobs, data


def taken_up(args: argparse.Namespace) -> tuple[Path, list[dict], str | None]:
    """(the folder of an old sweep, its runs, where the photos are). Raises UsageError."""
    folder = runs.find(args.resume, args.out)
    found = files.read_json(folder / SWEEP)
    jobs: Any = found.get("jobs")
    data = args.data or found.get("data")
    whole = isinstance(jobs, list) and 0 < len(jobs) <= MOST and all(isinstance(job, dict) for job in jobs)
    if not whole or not isinstance(data, str | None) or any(job.keys() - settings.DEFAULTS for job in jobs):
        raise UsageError(f"--resume: expected the folder of a sweep, with its {SWEEP}, got {folder}")
    for key in settings.DEFAULTS:
        if getattr(args, key) is not None:
            raise UsageError(f"--{key.replace('_', '-')}: the sweep in {folder} has its settings: leave it out")
    jobs = [{key: value if value is True else str(value) for key, value in job.items()} for job in jobs]
    for job in jobs:
        checked(job)
    return folder, jobs, data


# ---- who does them


@contextlib.contextmanager
def pool(group: Any, jobs: int) -> Iterator[tuple[Executor | None, int, int]]:
    """(the engine, how many runs at a time, threads of each); a rank that works for the first gets None, at the end."""
    if group.size > 1:
        from mpi4py.futures import MPICommExecutor

        with MPICommExecutor(group.comm, root=0) as engine:
            yield engine, group.size - 1, threads.get_threads()
    else:
        spawn = multiprocessing.get_context("spawn")  # a fork would not have our threads
        with ProcessPoolExecutor(jobs, mp_context=spawn) as engine:
            yield engine, jobs, max(1, threads.cores() // jobs)


def work(engine: Executor, one: Callable, folder: Path, jobs: list[dict]) -> list[str]:
    """Do what is left to do; the names of the runs that failed. Raises KeyboardInterrupt once they have stopped."""
    called = zip(names(jobs), jobs, strict=True)
    left = [(name, job) for name, job in called if not (folder / name / runs.METRICS).exists()]
    failed: list[str] = []
    todo = {engine.submit(one, name, settings.flags(job)): name for name, job in left}
    try:
        for count, future in enumerate(as_completed(todo), start=1):
            code, last = ended(future)
            options.log(f"{count}/{len(left)}  {todo[future]}  {last}")
            if code:
                failed.append(todo[future])
    except KeyboardInterrupt:
        engine.shutdown(cancel_futures=True)
        command = streams.command_line(["cnn", "sweep", "--resume", str(folder)])
        raise KeyboardInterrupt(f"interrupted. To go on:\n  {command}") from None
    return failed


def ended(future: Future) -> tuple[int, str]:
    """(exit code, last line) of a run."""
    try:
        return future.result()
    except BrokenProcessPool:
        return 1, "its process was killed"


def trained(
    command: Callable[[list[str]], int], folder: str, data: str | None, share: int, name: str, arguments: list[str]
) -> tuple[int, str]:
    """(exit code, last line of the log) of one run of `cnn train`, taken up where there is something of it."""
    place = Path(folder) / name
    if (place / LAST).exists():
        arguments = [f"--resume={place}"]
    else:
        shutil.rmtree(place, ignore_errors=True)  # it had come to nothing
        arguments = [f"--out={folder}", f"--name={name}", *arguments]
    arguments = ["train", *arguments, f"--threads={share}", "--verbose=2", *([f"--data={data}"] if data else [])]
    path = Path(folder) / f"{name}.log"
    with open(path, "a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        code = command(arguments)
    lines = path.read_text("utf-8", "replace").strip().splitlines()
    return code, terminal.visible(lines[-1]) if lines else ""


# ---- what they tell together


def collected(folder: Path, jobs: list[dict]) -> list[Group]:
    """The results of all runs that have ended, by setting, the best first."""
    groups: dict[str, Group] = {}
    for run, name in zip(names(jobs), names(jobs, without=("seed",)), strict=True):
        test = files.read_json(folder / run / runs.METRICS).get("test_accuracy")
        if isinstance(test, float | int):
            found = groups.setdefault(name, Group(name, [], []))
            found.scores.append(validated(folder / run))
            found.tests.append(test)
    return sorted(groups.values(), key=lambda group: -group.mean)


def validated(folder: Path) -> float:
    """The accuracy on the photos held back of the model that a run stands for: its best epoch's, or its last's."""
    lines = (folder / runs.HISTORY).read_text().splitlines()
    columns = lines[0].split(",")
    epochs = [dict(zip(columns, map(float, line.split(",")), strict=True)) for line in lines[1:]]
    kept = min(epochs, key=lambda epoch: epoch["val_loss"]) if (folder / BEST).exists() else epochs[-1]
    return kept["val_accuracy"]


def half_interval(scores: list[float]) -> float:
    """Half the 95% interval of the mean of these numbers, by Student's t; NaN for one alone.

    >>> round(half_interval([0.90, 0.92, 0.91]), 4)
    0.0248
    """
    count = len(scores)
    if count < 2:
        return math.nan
    z, df = 1.959964, count - 1
    beyond = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    t = T[df - 1] if df <= len(T) else beyond
    return t * statistics.stdev(scores) / math.sqrt(count)


def tell(folder: Path, groups: list[Group], failed: list[str], plots: bool) -> None:
    """The table on stdout, the same as a file, and a picture. Raises RuntimeError where no run has ended."""
    if not groups:
        raise RuntimeError(f"no run has come to a result; {folder} has their logs")
    rows = [(group.name, len(group.scores), group.mean, group.half) for group in groups]
    files.write_csv(folder / TABLE, [("setting", "seeds", "val_accuracy", "half_interval_95"), *rows])
    width = max(len("setting"), *(len(group.name) for group in groups))
    print(f"{'setting':<{width}}  seeds  accuracy on photos held back (95% interval over seeds)")
    for name, count, mean, half in rows:
        print(f"{name:<{width}}  {count:>5}  {mean:.2%}" + ("" if math.isnan(half) else f" +- {half:.2%}"))
    if failed:
        print(f"failed         {', '.join(sorted(failed))}: see the logs in {folder}")
    if plots:
        session.draw(lambda plots: plots.sweep([(g.name, g.scores, g.mean, g.half) for g in groups]), folder / PICTURE)
    best = groups[0]
    print(f"RESULT best={best.name!r} val_accuracy={best.mean:.4f} test_accuracy={statistics.fmean(best.tests):.4f}")
