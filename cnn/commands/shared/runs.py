"""Run folders: runs/train, runs/train-2 ... hold what one training was, did and learned.

config.json   what was asked for, and the versions and the machine that did it; "resumed": those that went on with it
history.csv   loss and accuracy after each epoch
last.npz      the model and all that its training needs to go on
best.npz      the model of the best epoch, where validation data tell which that is
snapshots/    with --snapshots a file for each epoch, see snapshots.py
model.npz     the network that a recipe was for, once it is done: averaged weights, folded layers
metrics.json  the result on the test photos;  curves.png, confusion_matrix.png: the same as pictures
"""

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cnn.checks import known
from cnn.commands.shared import files, options
from cnn.errors import UsageError
from cnn.saving import atomic
from cnn.saving.model_file import BEST, LAST, MODEL

METRICS, CONFIG, HISTORY = "metrics.json", "config.json", "history.csv"
SNAPSHOTS = "snapshots"
LOCK = "lock"  # made only where a folder cannot be locked, a file in it can
CURVES, CONFUSION = "curves.png", "confusion_matrix.png"
RESULTS = (METRICS, CURVES, CONFUSION, MODEL)


def create(out: str | os.PathLike, name: str | None = None, needed_bytes: int = 0, default: str = "train") -> Path:
    """A new folder out/name; without a name out/train, or the first of out/train-2, out/train-3 ... that is free.

    default: what else it is called instead of train.

    Raises UsageError if the name is taken or is none, OSError if the folder cannot be made or the disk has no room
    for needed_bytes.
    """
    out = Path(out)
    if name is not None and (name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}):
        raise UsageError(f"--name: expected the name of a folder, got {name!r}")
    names: Iterable[str] = (
        [name] if name else itertools.chain([default], (f"{default}-{k}" for k in itertools.count(2)))
    )
    try:
        files.make_folder(out)
        folder = next(filter(None, (_make(out / candidate) for candidate in names)), None)
        if folder is None:
            raise UsageError(f"--name: {out / known(name)} exists already; a run folder is never overwritten")
        if (free := shutil.disk_usage(folder).free) < needed_bytes:
            folder.rmdir()
            raise OSError(0, f"expected at least {needed_bytes / 1e6:.0f} MB of free disk, got {free / 1e6:.0f} MB")
    except OSError as error:
        raise OSError(f"{out}: cannot keep a run here: {error.strerror}") from error
    return folder


def _make(folder):
    """The folder, made by this very call, or None: of two processes that try at once one succeeds."""
    try:
        folder.mkdir()
    except FileExistsError:
        return None
    return folder


def find(run: str, out: str | os.PathLike) -> Path:
    """The folder of a run given by its path, or by its name within `out`. Raises UsageError."""
    for folder in (Path(run), Path(out) / run):
        if folder.is_dir():
            return folder
    raise UsageError(f"--resume: expected the folder of a run, or its name in {out}, got {run}")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within this block no other process trains in this folder. Raises UsageError if one does.

    Network folders, and those that a virtual machine shares, may know no locks, or confirm no write: the block runs all
    the same, after a line that says what is then not promised.
    """
    with contextlib.ExitStack() as stack:
        if not _lock(folder, stack):
            options.log(f"note: {folder} cannot be locked on this file system: start no second training in it")
        if not atomic.sync_folder(str(folder)):
            options.log(f"note: {folder}: its file system confirms no write: a power cut may take back the last saves")
        yield


def _lock(folder, stack) -> bool:
    """Lock the folder until the stack is closed; False where that cannot be done. Raises UsageError if another has."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    # The folder itself leaves nothing behind. NFS locks only what is open for writing: then a file in it. SMB says "no
    # access" of a file that another has locked.
    ways = (folder, os.O_RDONLY, (errno.EAGAIN,)), (folder / LOCK, os.O_RDWR | os.O_CREAT, (errno.EAGAIN, errno.EACCES))
    for path, flags, held in ways:
        try:
            descriptor = os.open(path, flags, 0o666)  # the system drops the lock with the process, however that ends
        except OSError:
            continue
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in held:
                raise UsageError(f"{folder}: another process is training in this folder") from None
    return False


def discard(folder: Path) -> None:
    """Remove a folder in which nothing could be saved; one that holds anything else than its lock stays."""
    with contextlib.suppress(OSError):
        if not (folder / LAST).exists():
            shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
        if os.listdir(folder) == [LOCK]:
            (folder / LOCK).unlink()
        folder.rmdir()


def write_history(path: Path, history: dict[str, list[float]]) -> None:
    """Write one row an epoch, with epoch counted from 1 as on the screen."""
    rows = ([epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True), start=1))
    files.write_csv(path, [["epoch", *history], *rows])


def remove_results(folder: Path) -> None:
    """Delete what was found of a model that has been trained further since."""
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process had begun to write."""
    for name in (LAST, BEST, CONFIG, HISTORY, *RESULTS):
        atomic.remove_leftovers(str(folder / name))
