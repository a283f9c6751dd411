"""Several ranks, started as a user does: the same bits as one process, and one end for all. Needs the extra `mpi`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import ENVIRONMENT, ROOT, assert_no_foreign_words, write_photos

pytestmark = pytest.mark.slow  # several processes on one core or two
RANKED = ROOT / "tests" / "ranked.py"
TRAIN = ["train", "--data=photos", "--shards=8", "--batch-size=32", "--epochs=12", "--filters=4", "--no-plots"]
PATIENCE, SOON = 900, 120  # seconds: against hanging, also beside other work
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def ranks(count, *arguments):
    """The command that starts so many ranks of Python; [rank's own arguments] for each where they differ."""
    one = [sys.executable, "-m", "mpi4py"]
    if arguments and isinstance(arguments[0], list):
        return [MPIEXEC, *[word for own in arguments for word in ("-n", "1", *own, ":")][:-1]]
    return [MPIEXEC, "-n", str(count), *one, *map(str, arguments)]


def start(command, cwd):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, **pipes)


def ended(process, patience=PATIENCE):
    """(exit code, stdout, stderr) of a process, which must not hang."""
    try:
        out, error = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    return process.returncode, out, error


def run(command, cwd):
    return ended(start(command, cwd))


def after_first_epoch(process):
    """stderr so far, once the first epoch is saved."""
    text = ""
    for line in process.stderr:
        text += line
        if "Epoch 2/" in line:
            return text
    raise AssertionError(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small set of photos, and a run of one process in it."""
    place = tmp_path_factory.mktemp("ranks")
    write_photos(place / "photos", train=310)
    code, _, error = run([sys.executable, "-m", "cnn", *TRAIN, "--name=alone"], place)
    assert code == 0, error
    return place


@pytest.fixture(scope="module")
def by_threads(place):
    """What ranked.py finds in one process."""
    code, out, error = run([sys.executable, RANKED], place)
    assert code == 0, error
    return json.loads(out)


def weights(folder):
    with np.load(folder / "last.npz") as file:
        return {name: file[name].tobytes() for name in file.files if name != "json"}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_ranks_ends_with_the_same_bits(place, by_threads, count):
    code, out, error = run(ranks(count, RANKED), place)
    assert code == 0, error
    assert json.loads(out) == by_threads


def test_the_fast_exchange_is_right_to_rounding(place):
    """One epoch, before rounding has grown."""
    for name, command in {"slow": [sys.executable], "fast": ranks(3)}.items():
        more = ["--allreduce"] if name == "fast" else []
        code, _, error = run([*command, "-m", "cnn", *TRAIN, "--epochs=1", f"--name={name}", *more], place)
        assert code == 0, error
    slow, fast = (np.load(place / f"runs/{name}/last.npz") for name in ("slow", "fast"))
    for key in slow.files:
        if slow[key].dtype == np.float32:
            np.testing.assert_allclose(fast[key], slow[key], rtol=1e-3, atol=1e-5, err_msg=key)


def test_shards_added_in_another_order_are_noticed(place, by_threads):
    code, out, error = run(ranks(2, RANKED, "reversed"), place)
    assert code == 0, error
    found = json.loads(out)
    assert len(found) == 2 and all(found[case][0] != by_threads[case][0] for case in found)


def test_a_slow_rank_changes_nothing(place, by_threads):
    code, out, error = run(ranks(2, RANKED, "slow"), place)
    assert code == 0, error
    assert json.loads(out)["plain, adam"] == by_threads["plain, adam"]


def test_an_exception_of_one_rank_ends_a_script(place):
    code, out, error = run(ranks(2, RANKED, "raises"), place)
    assert code != 0 and out == "" and "the roof is leaking" in error


def test_a_generator_is_not_shared(place):
    code, _, error = run(ranks(2, RANKED, "generator"), place)
    assert code != 0 and "ranks cannot share a generator" in error


# ---- the command


def test_a_stopped_run_goes_on_with_any_number_of_ranks(place):
    process = start(ranks(4, "-m", "cnn", *TRAIN, "--name=four"), place)
    after_first_epoch(process)
    process.send_signal(signal.SIGINT)  # which mpiexec hands on to all
    code, out, error = ended(process, SOON)
    assert code == 130 and "RESULT" not in out  # mpiexec itself writes there
    assert error.count("stopped and saved. To go on:") == 1 and "cnn train --resume" in error
    assert_no_foreign_words(subprocess.CompletedProcess([], code, out, error))
    shutil.copytree(place / "runs/four", place / "runs/two")
    for name, command in (
        ("four", [sys.executable, "-m", "cnn", "train", "--resume=four", "--no-plots"]),
        ("two", ranks(2, "-m", "cnn", "train", "--resume=two", "--no-plots")),
    ):
        code, out, error = run(command, place)
        assert code == 0, error
        assert out.count("RESULT") == 1 and "going on at epoch" in error
        assert weights(place / "runs" / name) == weights(place / "runs/alone")
        histories = [(place / "runs" / one / "history.csv").read_bytes() for one in (name, "alone")]
        assert histories[0] == histories[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_rank_ends_all_and_the_checkpoint_is_whole(place, number):
    name = f"signal-{number}"
    process = start(ranks(3, "-m", "cnn", *TRAIN, "--epochs=1000", f"--name={name}"), place)
    after_first_epoch(process)
    last = children(process)[-1]
    os.kill(last, number)
    code, out, error = ended(process, SOON)
    assert code != 0 and "RESULT" not in out
    if number != signal.SIGKILL:
        assert (code, out) == (128 + number, "") and error.count("stopped and saved") == 1
    code, _, error = run([sys.executable, "-m", "cnn", "evaluate", "--data=photos", f"--model=runs/{name}"], place)
    assert code == 0, error


def children(process):
    """The process numbers of the ranks, as the system knows them, in the order of their start."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes()
            except OSError:
                continue
            rank = re.search(rb"PMI_RANK=(\d+)", variables)
            if (
                rank
                and words[0].decode() == sys.executable
                and os.readlink(entry / "cwd") == os.readlink(f"/proc/{process.pid}/cwd")
            ):
                found.append((int(rank[1]), int(entry.name)))
    return [number for _, number in sorted(found)]


def test_a_run_that_diverges_ends_with_one_sentence(place):
    code, out, error = run(ranks(2, "-m", "cnn", *TRAIN, "--optimizer=sgd", "--learning-rate=1e30"), place)
    assert (code, out) == (5, "")
    assert error.count("the loss became") == 1 and "The last good model is in" in error


def test_wrong_arguments_are_told_once(place):
    code, out, error = run(ranks(3, "-m", "cnn", *TRAIN, "--shards=2"), place)
    assert (code, out) == (2, "")
    assert error.count("--shards: expected at least 3, one for each rank, got 2") == 1


@pytest.mark.parametrize("what", ["settings", "photos", "kernels"])
def test_ranks_that_differ_are_told_so_by_name(place, what):
    python = [sys.executable, "-m", "mpi4py", "-m", "cnn", *TRAIN]
    if what == "photos":
        write_photos(place / "others", train=310, shift=1)
    others = {
        "settings": ([*python, "--seed=1"], r"the ranks differ: --seed: rank 0 \(.*\) has None, rank 1 \(.*\) has 1"),
        "photos": ([*python, "--data=others"], r"the ranks differ: photos \(SHA-256\): rank 0 .* has .*, rank 1 "),
        "kernels": (["env", "NUMBA_CPU_NAME=generic", *python], r"the ranks differ: NUMBA_CPU_NAME: .*generic"),
    }
    other, reason = others[what]
    code, out, error = run(ranks(2, python, other), place)
    assert code != 0 and out == ""
    assert len(re.findall(reason, error)) == 1, error


def test_without_mpi_it_is_one_sentence_with_the_command(place):
    hidden = place / "hidden"
    hidden.mkdir()
    (hidden / "mpi4py.py").write_text("raise ImportError('no mpi4py here')")
    environment = ENVIRONMENT | {"PYTHONPATH": f"{hidden}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}
    command = [MPIEXEC, "-n", "2", sys.executable, "-m", "cnn", *TRAIN]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and done.stderr.count('pip install "numpy-cnn[mpi]"') == 1
