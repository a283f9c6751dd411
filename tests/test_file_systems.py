"""File systems that know less: network folders that lock nothing, or confirm no write. Their refusals are made here."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from commandline import ENVIRONMENT, PATIENCE, refused, write_photos

from cnn import models, saving
from cnn.commands import cli
from cnn.commands.shared import runs
from cnn.errors import UsageError
from cnn.layers import Dense

fcntl = pytest.importorskip("fcntl")

TRAIN = ("train", "--filters=2", "--epochs=1", "--no-plots", "--name=run")
NO_LOCKS = (
    errno.EBADF,
    errno.ENOLCK,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.EIO,
)
NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EPERM, errno.EROFS)


def is_folder(descriptor) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def refusing(call, number, where=lambda descriptor: True):
    """The system call as a file system offers it that answers with this error."""

    def answer(descriptor, *arguments):
        if where(descriptor):
            raise OSError(number, os.strerror(number))
        return call(descriptor, *arguments)

    return answer


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos", train=60, test=40)


@pytest.fixture
def small():
    return models.Sequential([Dense(2, input_shape=(3,))], seed=1)


# ---- fsync


@pytest.mark.parametrize("where", [is_folder, lambda descriptor: True], ids=["folders", "files too"])
@pytest.mark.parametrize("number", NO_SYNC, ids=errno.errorcode.get)
def test_a_file_is_saved_where_fsync_is_not_known(tmp_path, monkeypatch, small, number, where):
    monkeypatch.setattr(os, "fsync", refusing(os.fsync, number, where))
    small.save(tmp_path / "m.npz")
    assert os.listdir(tmp_path) == ["m.npz"]
    assert models.load_model(tmp_path / "m.npz").count_params() == 8


@pytest.mark.parametrize("where", [is_folder, lambda descriptor: not is_folder(descriptor)], ids=["folder", "file"])
@pytest.mark.parametrize("number", (errno.EIO, errno.ENOSPC, errno.EDQUOT), ids=errno.errorcode.get)
def test_a_disk_that_fails_is_still_an_error(tmp_path, monkeypatch, small, number, where):
    monkeypatch.setattr(os, "fsync", refusing(os.fsync, number, where))
    with pytest.raises(OSError, match="m.npz") as caught:
        small.save(tmp_path / "m.npz")
    assert caught.value.errno == number


def test_a_folder_that_cannot_be_opened_does_not_undo_the_file_in_it(tmp_path, monkeypatch, small):
    """One may write into a folder that one may not read."""
    real = os.open

    def opening(path, flags, *arguments, **keywords):
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", opening)
    small.save(tmp_path / "m.npz")
    assert os.listdir(tmp_path) == ["m.npz"]


# ---- locks


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_training_goes_on_without_locks_and_says_so_once(tmp_path, monkeypatch, capsys, photos, number):
    monkeypatch.setattr(fcntl, "flock", refusing(fcntl.flock, number))
    monkeypatch.setattr(os, "fsync", refusing(os.fsync, errno.EINVAL, is_folder))
    assert cli.main([*TRAIN, f"--data={photos}", f"--out={tmp_path}"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("RESULT ")
    assert err.count("cannot be locked on this file system: start no second training in it") == 1
    assert err.count("confirms no write: a power cut may take back the last saves") == 1
    assert cli.main(["train", "--resume=run", "--epochs=2", "--no-plots", f"--out={tmp_path}"]) == 0


def test_on_ordinary_disks_nothing_is_said_and_nothing_left(tmp_path, capsys):
    with runs.alone(tmp_path):
        assert os.listdir(tmp_path) == []
    assert capsys.readouterr().err == ""


def test_where_folders_cannot_be_locked_a_file_in_them_is(tmp_path, monkeypatch, capsys):
    """As on NFS."""
    monkeypatch.setattr(fcntl, "flock", refusing(fcntl.flock, errno.EBADF, is_folder))
    refused = pytest.raises(UsageError, match=f"{tmp_path}: another process is training in this folder")
    with runs.alone(tmp_path), refused, runs.alone(tmp_path):
        pass
    with runs.alone(tmp_path):
        pass
    assert capsys.readouterr().err == ""


def test_a_locked_file_on_a_windows_share_is_another_process(tmp_path, monkeypatch):
    number = {True: errno.EOPNOTSUPP, False: errno.EACCES}
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, _: refusing(None, number[is_folder(descriptor)])(descriptor))
    with pytest.raises(UsageError, match="another process is training"), runs.alone(tmp_path):
        pass


def test_a_folder_that_may_not_be_read_is_locked_by_its_file(tmp_path, monkeypatch, capsys):
    real = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, *rest: real("/nowhere" if os.path.isdir(path) and rest[0] == os.O_RDONLY else path, *rest),
    )
    with runs.alone(tmp_path), pytest.raises(UsageError, match="another process"), runs.alone(tmp_path):
        pass


def test_an_exception_within_is_not_taken_for_a_lock(tmp_path):
    with pytest.raises(BlockingIOError), runs.alone(tmp_path):
        raise BlockingIOError(errno.EAGAIN, "of a pipe")


def test_a_run_that_could_not_begin_leaves_no_folder_with_a_lock(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / runs.LOCK).touch()
    runs.discard(tmp_path / "run")
    assert os.listdir(tmp_path) == []
    (tmp_path / "last.npz").touch()
    (tmp_path / runs.LOCK).touch()
    runs.discard(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["last.npz", runs.LOCK]


def test_of_two_processes_that_resume_one_run_one_is_refused_by_name(tmp_path, photos):
    data = write_photos(tmp_path / "more", train=4000, test=40)
    assert cli.main([*TRAIN, f"--data={data}", f"--out={tmp_path / 'runs'}"]) == 0
    resume = ["train", "--resume=run", "--epochs=40", "--no-plots", "--threads=1"]
    first = subprocess.Popen(
        [sys.executable, "-m", "cnn", *resume], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    while "going on at epoch" not in first.stderr.readline():  # it holds the lock
        assert first.poll() is None
    reader = threading.Thread(target=first.stderr.read)
    reader.start()
    try:
        refused(2, "runs/run: another process is training in this folder$", *resume, cwd=tmp_path)
    finally:
        first.terminate()
        assert first.wait(PATIENCE) == 143
        reader.join()
        first.stderr.close()
    model, state = saving.load_training(tmp_path / "runs/run")
    assert model.epoch == state.epoch >= 1
    assert json.loads((tmp_path / "runs/run/config.json").read_text())["settings"]["epochs"] == 40


def test_what_is_read_of_a_run_is_read_behind_its_lock(tmp_path, monkeypatch, photos):
    """Else a process that waits a moment too long goes on from what the other has made of it meanwhile."""
    assert cli.main([*TRAIN, f"--data={photos}", f"--out={tmp_path}"]) == 0
    held = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(saving, "load_training", lambda path: pytest.fail("read without the lock"))
    try:
        assert cli.main(["train", "--resume=run", f"--out={tmp_path}"]) == 2
    finally:
        os.close(held)


def test_a_thousand_folders_deep_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--out: expected fewer folders within each other, got 1,500"):
        runs.create("a/" * 1500)
    assert os.listdir(tmp_path) == []
