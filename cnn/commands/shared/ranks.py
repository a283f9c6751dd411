"""A command that a launcher of MPI has started several times: one of them is heard, and all end together.

mpiexec -n 4 python -m mpi4py -m cnn train --shards 8
"""

import argparse
import contextlib
import io
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `cnn --help` passes here and loads nothing heavy
    from cnn.distribute import World
    from cnn.world import Alone

LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # set by those of MPICH, Open MPI, Intel
COURTESY = 1.0  # seconds for which another rank than the first keeps its words: mostly the first has the same to say
OURS = ("out", "name", "verbose", "no_plots", "debug", "threads", "data", "run")  # flags that may differ


def together(command: Callable[[], int]) -> int:
    """The exit code of command(). Of several ranks the first alone is heard; what ends one of them ends all."""
    if "mpi4py" not in sys.modules and not any(int(os.environ.get(name) or 1) > 1 for name in LAUNCHERS):
        return command()
    from cnn import distribute

    try:
        group = distribute.use()
    except (ImportError, ValueError) as error:  # the same on all ranks
        if int(os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0) == 0:
            print(f"cnn: {error}", file=sys.stderr)
        return 1
    if group.size == 1:
        return command()
    with heard(group) as words:
        code = _code(command)
        if code:
            time.sleep(0 if group.leads else COURTESY * (1 + group.rank / group.size))
            if not group.leads:
                print(f"rank {group.rank} on {platform.node()}: {words.getvalue().strip()}", file=sys.__stderr__)
            group.abort(code)
        group.together()
    return code


def _code(command) -> int:
    """The exit code of command(), whatever ends it."""
    try:
        return command()
    except SystemExit as end:  # of argparse
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


class LastLine(io.StringIO):
    """Keeps the last line that was written."""

    def write(self, text: str) -> int:
        if text.strip():
            self.seek(0)
            self.truncate()
        return super().write(text)


@contextlib.contextmanager
def heard(group: "World") -> Iterator[Any]:
    """Within this block all ranks but the first write to nobody; gives what holds their last words."""
    words = LastLine()
    if group.leads:
        yield words
        return
    out, error = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), words
    try:
        yield words
    finally:
        sys.stdout, sys.stderr = out, error


def group(args: argparse.Namespace) -> "Alone":
    """The ranks that train as these arguments say, and the threads of each. Raises ValueError where they differ."""
    import cnn
    from cnn import distribute

    found = distribute.world()
    found.require_same({f"--{key.replace('_', '-')}": value for key, value in vars(args).items() if key not in OURS})
    if found.size > 1:
        found.allreduce = args.allreduce  # type: ignore[attr-defined]  # it is a World
    if args.threads or found.size == 1:
        cnn.set_threads(args.threads)
    return found


def told(args: argparse.Namespace) -> dict[str, str]:
    """What is said of the ranks where there are several."""
    from cnn import distribute

    size = distribute.world().size
    ways = "in MPI's order: right to rounding" if args.allreduce else "in the order of the shards: the same bits as one"
    return {"ranks": f"{size}, whose gradients are added {ways}"} if size > 1 else {}
