"""`cnn sweep`: which runs a grid has, what is told of them, and a sweep that is stopped and taken up again."""

import argparse
import csv
import json
import math
import shutil

import pytest
from commandline import refused, succeeds, write_photos

from cnn import plots
from cnn.commands import sweep
from cnn.commands.shared import sweeping
from cnn.commands.shared.sweeping import Group
from cnn.errors import UsageError


def grid(*arguments):
    parser = argparse.ArgumentParser()
    sweep.add_arguments(parser)
    return sweeping.grid(parser.parse_args(arguments))


def test_a_grid_has_every_combination_once():
    jobs = grid("--learning-rate=1e-3,3e-3", "--seed=0:3", "--filters=32,64;16")
    assert len({json.dumps(job) for job in jobs}) == len(jobs) == 2 * 3 * 2
    assert {job["filters"] for job in jobs} == {"32,64", "16"} and {job["validation_split"] for job in jobs} == {"0.1"}
    names = sweeping.names(jobs)
    assert len(set(names)) == 12 and "filters=16 learning_rate=1e-3 seed=2" in names
    assert len(set(sweeping.names(jobs, without=("seed",)))) == 4


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--seed=0,0", "--seed: expected different values, got '0,0'"),
        ("--seed=3:1", "--seed: expected a whole number from 0"),
        ("--optimizer=adam,adamm", "--optimizer: invalid choice: 'adamm'"),
        ("--validation-split=0", "--validation-split: expected more than 0"),
        ("--seed=0:20000", "expected at most 10,000 runs, got|--seed: expected a whole"),
        ("--filters=4;4,4,4,4,4", "--filters: 5 convolutions are too many"),
    ],
)
def test_what_is_no_grid_is_refused(flag, reason):
    with pytest.raises(UsageError, match=reason):
        grid(flag)


def test_the_interval_is_students():
    """Of 5 numbers of spread 1 the half is t(4) / sqrt(5); of many it nears that of the normal distribution."""
    five = [value / math.sqrt(2.5) for value in (-2, -1, 0, 1, 2)]
    assert sweeping.half_interval(five) == pytest.approx(2.776 / math.sqrt(5))
    twelve = [0.0, 1.0] * 6
    spread = math.sqrt(0.25 * 12 / 11)
    assert sweeping.half_interval(twelve) == pytest.approx(2.201 * spread / math.sqrt(12), rel=2e-3)
    assert math.isnan(sweeping.half_interval([0.5]))


def test_the_picture_has_a_row_a_setting():
    figure = plots.sweep([("a", [0.8, 0.9], 0.85, 0.1), ("b", [0.7], 0.7, math.nan)])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert len(axes.lines) == 2 + 1 + 2  # points and mean of each, the interval of the first alone


def test_the_mean_chooses():
    assert Group("g", [0.5, 0.7], [0.1, 0.2]).mean == pytest.approx(0.6)


@pytest.mark.slow  # four runs in processes of their own
def test_a_sweep_from_beginning_to_end_and_again(tmp_path):
    write_photos(tmp_path / "photos", train=200)
    settings = [
        "--data=photos",
        "--learning-rate=1e-3,1e30",
        "--optimizer=sgd",
        "--seed=0:2",
        "--filters=4",
        "--epochs=2",
    ]
    done = refused_but_told(*settings, "--jobs=2", cwd=tmp_path)
    assert "failed         learning_rate=1e30 seed=0, learning_rate=1e30 seed=1" in done.stdout
    folder = tmp_path / "runs/sweep"
    with open(folder / "sweep.csv") as file:
        (row,) = csv.DictReader(file)
    assert row["setting"] == "learning_rate=1e-3" and row["seeds"] == "2"
    assert (folder / "sweep.png").stat().st_size > 5000
    first = folder / "learning_rate=1e-3 seed=0"
    weights = (first / "last.npz").read_bytes()
    for name in ("learning_rate=1e30 seed=0", "learning_rate=1e30 seed=1"):
        shutil.rmtree(folder / name)
    jobs = json.loads((folder / "sweep.json").read_text())
    jobs["jobs"] = [job | {"learning_rate": job["learning_rate"].replace("1e30", "1e-2")} for job in jobs["jobs"]]
    (folder / "sweep.json").write_text(json.dumps(jobs))
    (first / "metrics.json").unlink()  # as if it had been stopped before its result
    done = succeeds("sweep", "--resume=sweep", cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("RESULT best='learning_rate=1e-")
    assert (first / "last.npz").read_bytes() == weights and (first / "metrics.json").exists()
    refused(2, "--seed: the sweep in .* has its settings", "sweep", "--resume=sweep", "--seed=3", cwd=tmp_path)


def refused_but_told(*arguments, cwd):
    from commandline import cnn

    done = cnn("sweep", *arguments, cwd=cwd)
    assert done.returncode == 1 and "RESULT best='learning_rate=1e-3'" in done.stdout, done.stderr
    return done
