"""`cnn exercise` as a learner and a teacher use it."""

import json
import subprocess
import sys
import time

import pytest
from commandline import ENVIRONMENT, PATIENCE, cnn, refused, succeeds

from cnn.exercises import EXERCISES, files
from cnn.exercises.hints import HINTS


def exercise(*arguments, cwd, **options):
    return succeeds("exercise", *arguments, cwd=cwd, **options).stdout


def test_a_learners_way_through_the_first(tmp_path):
    assert "0 of 14 done. Next: cnn exercise start cell" in exercise("list", cwd=tmp_path)
    exercise("start", "cell", cwd=tmp_path)
    mine = tmp_path / "exercises/cell.py"
    assert mine.read_text() == files.stub("cell")
    refused(2, "cell.py is there already, and stays", "exercise", "start", "cell", cwd=tmp_path)
    done = cnn("exercise", "check", "cell", cwd=tmp_path)
    assert done.returncode == 1 and "not written yet" in done.stdout and "hint cell" in done.stdout
    mine.write_text(files.solution_text("cell").replace(" + bias", ""))
    done = cnn("exercise", "check", "cell", cwd=tmp_path)
    assert done.returncode == 1 and "without the bias" in done.stdout and "cnn explain 9 --step F3" in done.stdout
    assert "yours is the sum without bias" in done.stdout and "x[0, 0, 0] * kernel[0, 0, 0]" in done.stdout
    mine.write_text(files.solution_text("cell"))
    assert "Next: cnn exercise start padding" in exercise("check", "cell", cwd=tmp_path)
    text = exercise("list", cwd=tmp_path)
    assert "1 of 14 done. Next: cnn exercise start padding" in text and " done\n" in text
    assert (tmp_path / "exercises/progress.txt").read_text().startswith("cell: done, checks 3, hints 0, ")


def test_hints_come_one_after_the_other(tmp_path):
    exercise("start", "padding", cwd=tmp_path)
    counts = [exercise("hint", "padding", cwd=tmp_path).count("hint ") for _ in range(4)]
    assert counts == [1, 2, 3, 3]
    assert "There are no more" in exercise("hint", "padding", cwd=tmp_path)
    assert set(HINTS) == set(EXERCISES) and all(len(hints) == 3 for hints in HINTS.values())


def test_reset_loses_nothing(tmp_path):
    exercise("start", "cell", cwd=tmp_path)
    mine = tmp_path / "exercises/cell.py"
    for number in (1, 2):
        mine.write_text(f"# try {number}\n")
        assert f"kept as exercises/cell.old-{number}.py" in exercise("reset", "cell", cwd=tmp_path)
        assert (tmp_path / f"exercises/cell.old-{number}.py").read_text() == f"# try {number}\n"
        assert mine.read_text() == files.stub("cell")


def test_lines_of_ones_own_stay_in_the_progress_file(tmp_path):
    exercise("start", "cell", cwd=tmp_path)
    notes = tmp_path / "exercises/progress.txt"
    notes.write_text("my notes\n" + notes.read_text() + "im2col: ask Ada\n")
    cnn("exercise", "check", "cell", cwd=tmp_path)
    lines = notes.read_text().splitlines()
    assert lines[0] == "my notes" and lines[2] == "im2col: ask Ada" and "checks 1" in lines[1]


def test_the_solution_is_shown_after_asking(tmp_path):
    refused(2, "--yes", "exercise", "solution", "cell", cwd=tmp_path)
    assert exercise("solution", "cell", "--yes", cwd=tmp_path) == files.solution_text("cell")


def test_json_for_a_teacher(tmp_path):
    handed_in = tmp_path / "ada lovelace.py"
    handed_in.write_text(files.solution_text("cell").replace("* kernel)", "* kernel[::-1, ::-1])"))
    arguments = ("exercise", "check", str(handed_in), "--exercise=cell", "--json")
    done = cnn(*arguments, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["exercise"] == "cell" and not report["passed"]
    assert report["mistake"] == "of a kernel turned by 180 degrees" and report["state"] == "wrong numbers"
    assert report["expected"] != report["got"] and report["case"] and not (tmp_path / "progress.txt").exists()
    handed_in.write_text(files.solution_text("cell"))
    done = cnn(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["passed"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("check", "nothing"), "expected one of cell, padding, .*, network, got nothing"),
        (("check", "cell"), "there is no such file: `cnn exercise start cell` writes it"),
        (("watch", "cell"), "there is no such file"),
        (("reset", "cell"), "nothing to reset"),
        (("check", "alice.py"), "--exercise NAME tells which one"),
        (("hint", "cell.py"), "expected the NAME of an exercise, got the file cell.py"),
        (("check",), "expected the NAME of an exercise"),
        (("begin", "cell"), "invalid choice: 'begin'"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, arguments, reason):
    refused(2, reason, "exercise", *arguments, cwd=tmp_path)


def test_watch_checks_at_each_save_until_it_is_right(tmp_path):
    exercise("start", "loss", cwd=tmp_path)
    command = [sys.executable, "-u", "-m", "cnn", "exercise", "watch", "loss"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    watching = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes)
    try:
        said = read_until(watching, "watching")
        assert "not written yet" in said
        (tmp_path / "exercises/loss.py").write_text(files.solution_text("loss").replace("-np.log", "np.log"))
        assert "without the minus sign" in read_until(watching, "watching")
        (tmp_path / "exercises/loss.py").write_text(files.solution_text("loss"))
        rest, errors = watching.communicate(timeout=PATIENCE)
        assert watching.returncode == 0 and "loss: right" in rest and not errors
    finally:
        watching.kill()


def read_until(process, word):
    """The lines up to one that begins with this word."""
    lines, until = [], time.monotonic() + PATIENCE
    for line in process.stdout:
        lines.append(line)
        if line.startswith(word) or time.monotonic() > until:
            break
    return "".join(lines)


@pytest.mark.slow
def test_the_whole_learns_as_ours_does(tmp_path):
    folder = tmp_path / "exercises"
    folder.mkdir()
    for name in EXERCISES:
        (folder / f"{name}.py").write_text(files.solution_text(name))
    report = json.loads(exercise("check", "network", "--json", cwd=tmp_path))
    found = report["milestone"]
    assert report["passed"] and found["photos"] == 2000 and found["times"] > 1
    assert abs(found["accuracy"] - found["our_accuracy"]) < 0.01 and found["accuracy"] > 0.7
    (folder / "optimizers.py").write_text(files.stub("optimizers"))
    done = cnn("exercise", "check", "network", cwd=tmp_path)
    assert done.returncode == 1 and "first optimizers.py, which the training uses" in " ".join(done.stdout.split())
