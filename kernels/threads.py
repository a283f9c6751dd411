"""The one place that decides how many threads do what.

There are two ways. The kernels of the fast twin share out their loops (kernels/compiled.py: in_threads), and one thread
of Python runs from kernel to kernel. The plain layers run a shard of the batch in each thread of Python: `run`. Both
with BLAS single-threaded, so that two pools of threads never fight for the same cores.
"""

import contextlib
import contextvars
import functools
import os
import platform
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from queue import SimpleQueue
from typing import Any

from numba import config, set_num_threads

from kernels import blas

MAX_THREADS = 1024
MOST_SHARDS = 8  # each more costs a sum of gradients; beyond it that takes more than it saves: benchmarks/cores.py
# How often a thread of the team looks for work before it sleeps: for about a tenth of a millisecond. It takes a
# nanosecond to look, but an x86 then rests (`pause`) for 25 to 57, as was measured.
TURNS = "3000" if platform.machine() in ("x86_64", "AMD64") else "100000"
_threads = None  # set by set_threads; None means one for each core
_crew: tuple[SimpleQueue, list[threading.Thread]] | None = None  # the queue of work, and who looks there for it


class _Here(threading.local):
    helping = False  # whether this thread is a helper
    team: int | None = None  # what set_num_threads was told in it


_here = _Here()
_team: dict[str, int] = {}  # who may start kernels in several threads: "holder" is a thread
_most: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # threads of a team
_forked = False


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_cores = cores()  # asked once: a pass asks often


def default_shards() -> int:
    """One shard a core, but not more than MOST_SHARDS; one in all where BLAS insists on using threads of its own."""
    return min(cores(), MOST_SHARDS) if blas.controllable() else 1


def get_threads() -> int:
    """How many threads our passes use."""
    return _threads or _cores


def set_threads(count: int | None) -> None:
    """Use this many threads from now on (None: one for each core). The results stay the same bits.

    Call it between passes, not while another thread trains or predicts.
    Raises ValueError for anything but a whole number from 1 to MAX_THREADS.
    """
    global _threads
    whole = isinstance(count, Integral) and not isinstance(count, bool)
    if count is not None and not (whole and 1 <= count <= MAX_THREADS):
        limits = f"of at least 1 and at most {MAX_THREADS}"
        raise ValueError(f"set_threads: expected a whole number {limits}, or None, got {count!r}")
    if _crew is not None:
        queue, hired = _crew
        for _ in hired:
            queue.put(None)  # one of the helpers leaves
    _threads = None if count is None else int(count)
    _forget_helpers()


def run(task: Callable[[Any], Any], parts: Iterable[Any]) -> list:
    """[task(part) for part in parts], in parallel; the order of the results is that of the parts.

    The calling thread only waits. In the main thread an exception may break in at any moment, for
    Ctrl-C, and in the middle of Numba's or BLAS's bookkeeping it would leave a lock taken for ever.
    It works itself where nobody could wait for such a lock, with one part or one thread, in a
    debugger, so that breakpoints are met, and in a helper, whose task must not wait for helpers.
    """
    job = _Job(task, list(parts))
    count = min(get_threads(), len(job.parts)) if blas.controllable() else 1  # else BLAS starts threads of its own
    if count <= 1 or sys.gettrace() or _here.helping:
        job.work()
    else:
        job.have_helpers_work(count)
    if job.errors:
        raise job.errors.pop(0)
    return job.results


def aside(task: Callable[[], Any]) -> Any:
    """task(), where Ctrl-C cannot break into it: in a helper, while the main thread waits until it has ended."""
    job = _Job(lambda _: task(), [None])
    if threading.current_thread() is not threading.main_thread() or sys.gettrace():
        job.work()
    else:
        job.have_helpers_work(1)
    if job.errors:
        raise job.errors.pop(0)
    return job.results[0]


def join() -> bool:
    """Whether this thread may now start a kernel in team_size() threads; then it must call part() behind it.

    They are OpenMP's, which wait awake, or else Numba's own. Not where another thread has them, in a helper, and after
    a fork, whose child does not have them.
    """
    size, me = team_size(), threading.get_ident()
    # setdefault is one step. What Ctrl-C left held by this thread between join and part, this thread has still.
    if size == 1 or _team.setdefault("holder", me) != me:
        return False
    if _here.team != size:
        with _short_wait():
            aside(lambda: set_num_threads(size))  # the first of all loads OpenMP
            set_num_threads(size)
        _here.team = size
    return True


def part() -> None:
    """Let others join."""
    _team.pop("holder", None)


@contextlib.contextmanager
def _short_wait() -> Iterator[None]:
    """Meanwhile whoever loads GNU's OpenMP, as set_num_threads does at first, tells it how long to wait awake.

    TURNS last from kernel to kernel, mostly. To sleep at once costs each kernel what it takes to wake
    (a fifth of a step); to wait awake for long, as it does itself, takes the cores from other programs, and from
    the thread of this team whose core another program has: beside one on two cores, steps then took twice as long.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = TURNS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def team_size() -> int:
    """How many parts a kernel's work should be cut into."""
    return 1 if _forked or _here.helping else min(_threads or _cores, _most)


class _Job:
    """One call of run: what is to be done, and what has come of it."""

    def __init__(self, task, parts):
        self.task, self.parts = task, parts
        self.results, self.errors = [None] * len(parts), []
        # Shared by the threads that work. Each number goes to one of them, because `next` of an iterator written
        # in C is one step under the interpreter's global lock; an interpreter without it would need a lock here.
        self.todo = iter(range(len(parts)))
        self.ended, self.done = [], SimpleQueue()

    def work(self):
        """Take parts until none is left, or one fails."""
        try:
            with blas.single_threaded():
                for index in self.todo:
                    self.results[index] = self.task(self.parts[index])
        except BaseException as error:
            self.errors.append(error)
        self.ended.append(True)
        self.done.put(None)

    def have_helpers_work(self, count):
        """Have so many helpers do the work, and come back when they have ended, also after an exception."""
        started = []
        try:
            for _ in range(count):
                context = contextvars.copy_context()  # np.errstate holds for them too
                _helpers(count).put(functools.partial(context.run, self.work))
                started.append(True)
            self.wait(started)
        except BaseException:
            deque(self.todo, maxlen=0)  # nothing more is begun
            self.wait(started)
            raise

    def wait(self, started):
        """Until as many have ended as were started: by the list, since an exception may swallow what the queue gave."""
        while len(self.ended) < len(started):
            self.done.get()


def _helpers(count: int) -> SimpleQueue:
    """Where the helpers look for work: `count` of them, or as many as the system lets us start.

    SimpleQueue is the one queue that an exception cannot leave locked.
    """
    global _crew
    crew = _crew
    if crew is None:
        crew = _crew = (SimpleQueue(), [])
    queue, hired = crew
    while len(hired) < count:
        helper = threading.Thread(target=_help, args=(queue,), name="cnn", daemon=True)
        try:
            helper.start()
        except RuntimeError:  # the system gives no more threads
            if not hired:
                raise
            break
        hired.append(helper)
    return queue


def _help(queue: SimpleQueue) -> None:
    _here.helping = True
    for work in iter(queue.get, None):
        work()
        del work  # else what it made would live on until the next


def _forget_helpers() -> None:
    global _crew
    _crew = None


def _in_a_child() -> None:
    global _forked
    _forked = True
    _team.clear()
    _forget_helpers()


# Threads do not survive a fork: the child makes its own when it needs them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_child)
