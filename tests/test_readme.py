"""README's code and commands do what it says. The two commands with a virtual environment are what .ci/run runs."""

import json
import re
import shlex

import pytest
from commandline import ROOT, cnn, result, run, succeeds

from benchmarks import family
from benchmarks.report import figures
from cnn import layers, models
from cnn.commands.cli import COMMANDS
from cnn.datasets import fashion_mnist

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
]
INSTALLING, PLAIN = [line for line in SHELL if "venv" in line], [line for line in SHELL if line.startswith("cnn ")]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def test_readme_is_short_and_all_its_commands_are_known():
    assert len(README.splitlines()) <= 150
    assert sorted(INSTALLING + PLAIN) == sorted(SHELL)
    mentioned = re.findall(r"`(?:\.venv/bin/)?(cnn [^`]*)`", README) + PLAIN
    assert {shlex.split(command)[1] for command in mentioned} <= set(COMMANDS)
    assert {"train", "gradcheck", "explain", "compare"} <= {shlex.split(command)[1] for command in mentioned}


def test_the_installing_command_ends_in_a_training(tmp_path):
    """The virtual environment left out, and on fewer photos."""
    *install, train = INSTALLING[0].split(" && ")
    assert install == ["python3 -m venv .venv", ".venv/bin/pip install ."]
    program, *arguments = shlex.split(train)
    assert program == ".venv/bin/cnn"
    process = succeeds(*arguments, "--limit=320", cwd=tmp_path)
    assert result(process.stdout) and "Epoch 10/10" in process.stderr
    assert {"curves.png", "confusion_matrix.png", "last.npz"} <= {
        path.name for path in (tmp_path / "runs/train").iterdir()
    }


def test_the_testing_command_runs_these_tests():
    *install, test = INSTALLING[1].split(" && ")
    assert install == ["python3 -m venv .venv", '.venv/bin/pip install ".[test]"']
    done = run(*shlex.split(test)[1:], "--collect-only", "tests/test_readme.py", cwd=ROOT)
    assert done.returncode == 0 and "test_the_testing_command_runs_these_tests" in done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the run that README's commands look into."""
    folder = tmp_path_factory.mktemp("readme")
    succeeds("train", "--network=dense", "--epochs=1", "--limit=320", cwd=folder)
    return folder


@pytest.mark.parametrize("command", PLAIN)
def test_each_command_runs(folder, command):
    limit = ["--limit=200"] if command == "cnn compare" else []
    done = cnn(*shlex.split(command)[1:], *limit, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5 and "Traceback" not in done.stderr


def test_variations_run(tmp_path):
    commands = re.findall(r"`(cnn train --filters[^`]*)`", README)
    assert commands
    for command in commands:
        succeeds(*shlex.split(command)[1:], "--limit=64", "--epochs=1", "--no-plots", cwd=tmp_path)


def test_results_are_those_of_the_shipped_models(tmp_path):
    row = r"^\| ([\d.]+%) \| ([\d.]+%) to ([\d.]+%) \| ([\d.]+) \| `(cnn evaluate[^`]*)`"
    rows = re.findall(row, README, re.M)
    assert len(rows) == 2
    for accuracy, low, high, loss, command in rows:
        stdout = succeeds(*shlex.split(command)[1:], cwd=tmp_path).stdout
        assert f"test accuracy  {accuracy} of 10,000 photos (95% interval {low} to {high})" in stdout
        assert f"test loss      {loss}" in stdout


def test_speed_is_what_the_benchmark_wrote():
    """Every row of the table, and all rows of the file that a reader would ask for: none is left out for its figure."""
    row = r"^\| ((?:training|inference|seconds)[^|]*) \| ([^|]*) \| ([\d.]+)"
    written = re.findall(row + r" \(", (ROOT / "benchmarks/results/peers.md").read_text(encoding="utf-8"), re.M)
    assert re.findall(row + r" \|$", README, re.M) == written
    assert len(written) >= 8


def test_speed_of_many_networks_is_what_the_benchmark_wrote():
    """The geometric mean and the worst of them, in training and inference."""
    found = json.loads((ROOT / "benchmarks/results/family.json").read_text(encoding="utf-8"))
    (train, name, worst), (predict, other, slowest) = (
        family.summary(family.ratios(found)[column]) for column in ("training", "inference")
    )
    said = (
        f"training {figures(train)} times PyTorch in the mean, {figures(worst)} at worst ({name}), "
        f"inference {figures(predict)} and {figures(slowest)} ({other})."
    )
    assert said in " ".join(README.split())


def test_the_articles_code_runs(tmp_path, monkeypatch, capsys):
    """On fewer photos; predict must give one class."""
    load_data = fashion_mnist.load_data
    few = lambda: tuple((x[:640], y[:640]) for x, y in load_data())
    monkeypatch.setattr(fashion_mnist, "load_data", few)
    (code,) = PYTHON
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "Total params: 421,642 (1.61 MB)" in shown and "Epoch 10/10" in shown
    assert shown.splitlines()[-1] in map(str, range(10))
    assert names["accuracy"] > 0.6
    assert [type(layer).__name__ for layer in names["model"].layers].count("Conv2D") == 2


def test_without_flatten_the_loss_says_so():
    model = models.Sequential([layers.Conv2D(2, 3, input_shape=(28, 28, 1)), layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    (x, y), _ = fashion_mnist.load_data()
    with pytest.raises(ValueError, match="Flatten"):
        model.fit(x[:32, :, :, None], y[:32], verbose=0)
