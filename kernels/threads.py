"""The one place that decides how many threads do what.

A batch is cut into shards; each shard runs in a thread of its own, with serial kernels
and single-threaded BLAS, so two pools of threads never fight for the same cores.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kernels import blas

_threads = None  # set by set_threads; None means one for each core
_pool = None  # the threads beside the calling one


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_shards() -> int:
    """One shard a core, or one in all where BLAS insists on using threads of its own."""
    return cores() if blas.controllable() else 1


def get_threads() -> int:
    """How many threads our passes use."""
    return _threads or cores()


def set_threads(count: int | None) -> None:
    """Use this many threads from now on (None: one for each core). The results stay the same bits.

    Raises ValueError for anything but a whole number of at least 1.
    """
    global _threads, _pool
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ValueError(f"set_threads: expected a whole number of at least 1, or None, got {count!r}")
    _threads, _pool = count, None


def run(task: Callable[[Any], Any], parts: Iterable[Any]) -> list:
    """[task(part) for part in parts], in parallel; the order of the results is that of the parts."""
    parts = list(parts)
    if len(parts) == 1 and not blas.controllable():
        return [task(parts[0])]
    results = [None] * len(parts)
    todo = iter(range(len(parts)))

    def work():
        for index in todo:
            results[index] = task(parts[index])

    with blas.single_threaded():
        helpers = [_helpers().submit(work) for _ in range(min(get_threads(), len(parts)) - 1)]
        try:
            work()  # the calling thread takes its share
        finally:
            for helper in helpers:
                helper.exception()  # wait for all of them, whatever happens here
        for helper in helpers:
            helper.result()
    return results


def _helpers() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, get_threads() - 1), thread_name_prefix="cnn")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


# Threads do not survive a fork: the child makes its own when it needs them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
