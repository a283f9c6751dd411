"""A save that fails leaves the old file and nothing else, and says which file suffered."""

import contextlib
import errno
import os

import pytest
from conftest import small_network

from cnn import models
from cnn.errors import ModelFileError
from cnn.saving import npz


def saved_twice(tmp_path, fault, monkeypatch):
    """Save, then save another model while `fault` is at work; return what was there before."""
    path = tmp_path / "model.npz"
    small_network(seed=1).save(path)
    before = path.read_bytes()
    other = small_network(seed=2)
    fault(monkeypatch)
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        other.save(path)
    monkeypatch.undo()
    return before, path, caught


def fail(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


def fail_in_third_write(monkeypatch):
    """The disk is full in the middle of the file."""
    original, count = npz._npy, iter(range(100))
    monkeypatch.setattr(
        npz,
        "_npy",
        lambda array: original(array) if next(count) < 3 else fail(OSError(errno.ENOSPC, "No space left on device"))(),
    )


FAULTS = {
    "disk full": fail_in_third_write,
    "fsync fails": lambda m: m.setattr(os, "fsync", fail(OSError(errno.EIO, "Input/output error"))),
    "rename fails": lambda m: m.setattr(os, "replace", fail(PermissionError(errno.EACCES, "Permission denied"))),
    "Ctrl-C before the rename": lambda m: m.setattr(os, "replace", fail(KeyboardInterrupt())),
}


def check_atomic(tmp_path, fault, monkeypatch):
    before, path, caught = saved_twice(tmp_path, fault, monkeypatch)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"], "a temporary file is left"
    if isinstance(caught.value, OSError):
        assert str(caught.value).endswith(f": '{path}'")
    models.load_model(path)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, fault, monkeypatch):
    check_atomic(tmp_path, fault, monkeypatch)


def test_the_check_above_finds_a_save_in_place(tmp_path, monkeypatch):
    """Injected fault: write straight to the path."""

    @contextlib.contextmanager
    def in_place(path):
        with open(path, "wb") as file:
            yield file
            os.fsync(file.fileno())

    with monkeypatch.context() as faulty:
        faulty.setattr(npz, "replacing", in_place)

        with pytest.raises((AssertionError, ModelFileError)), pytest.MonkeyPatch.context() as inner:
            check_atomic(tmp_path, fail_in_third_write, inner)


def test_everything_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    """Order of the system calls: file synced, renamed, folder synced."""
    calls = []
    fsync, replace = os.fsync, os.replace
    kind = lambda fd: "folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(f"sync {kind(fd)}"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    small_network().save(tmp_path / "model.npz")
    assert calls == ["sync file", "rename", "sync folder"]


def test_a_missing_or_unwritable_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere/model.npz'$"):
        small_network().save(tmp_path / "nowhere" / "model.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError, match="folder.npz"):
        small_network().save(tmp_path / "folder.npz")
    assert os.listdir(tmp_path) == ["folder.npz"]  # no temporary file
