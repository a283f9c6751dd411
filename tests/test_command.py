"""What all commands share: help, exit codes, pipes; and the small ones, summary and env."""

import re
import subprocess
import sys

import numpy as np
import pytest
from commandline import ENVIRONMENT, cnn, refused, result, run, succeeds

from cnn.commands.cli import COMMANDS, build_parser


def test_summary_of_the_articles_network(tmp_path):
    text = succeeds("summary", "--network=cnn", cwd=tmp_path).stdout
    assert re.findall(r"│ (\S+) \((\w+)\) +│ \(None, ([\d, ]+)\) +│ +([\d,]+) │", text) == [
        ("conv2d", "Conv2D", "28, 28, 32", "320"),
        ("max_pooling2d", "MaxPooling2D", "14, 14, 32", "0"),
        ("conv2d_1", "Conv2D", "14, 14, 64", "18,496"),
        ("max_pooling2d_1", "MaxPooling2D", "7, 7, 64", "0"),
        ("flatten", "Flatten", "3136", "0"),
        ("dense", "Dense", "128", "401,536"),
        ("dense_1", "Dense", "10", "1,290"),
    ]
    assert "Total params: 421,642 (1.61 MB)" in text


def test_env_names_everything_a_bug_report_needs(photo_folder, tmp_path):
    text = succeeds("env", "--data", photo_folder, cwd=tmp_path).stdout
    assert re.search(rf"^NumPy +{re.escape(np.__version__)}$", text, re.M)
    assert re.search(rf"^Data +300 \+ 200 photos in {re.escape(str(photo_folder))}$", text, re.M)
    for name in (
        "numpy-cnn",
        "Python",
        "Numba",
        "Matplotlib",
        "Processor",
        "Cores",
        "Threads",
        "BLAS",
        "BLAS threads",
        "AVX-512",
        "Kernel cache",
    ):
        assert re.search(rf"^{name} +\S", text, re.M), name
    assert "expected a folder of photos" in succeeds("env", "--data=nowhere", cwd=tmp_path).stdout


def test_help_of_every_command(tmp_path):
    text = succeeds("--help", cwd=tmp_path).stdout
    for command in COMMANDS:
        assert re.search(rf"^ +{command}\s", text, re.M)
        assert f"usage: cnn {command}" in succeeds(command, "--help", cwd=tmp_path).stdout


def test_help_loads_nothing_heavy():
    heavy = "{'numpy', 'numba', 'matplotlib'}"
    code = f"import sys; from cnn.commands.cli import build_parser; build_parser(); print({heavy} & set(sys.modules))"
    assert run("-c", code).stdout == "set()\n"


def test_no_command_is_a_usage_error(tmp_path):
    refused(2, "required: COMMAND", cwd=tmp_path)
    assert build_parser().prog == "cnn"


# ---- pipes


def test_a_closed_pipe_is_quiet(tmp_path):
    command = f"{sys.executable} -m cnn summary --network=cnn | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.stdout == 'Model: "cnn"\n0\n' and done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_stop_nothing(photo_folder, tmp_path, closed):
    command = f"{sys.executable} -m cnn train --network=dense --epochs=2 --no-plots --data '{photo_folder}' {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert result(done.stdout) if ">&-" not in closed.split() else done.stdout == ""
    assert (tmp_path / "runs/train/metrics.json").exists()
    assert not list(tmp_path.glob("*.txt"))


def test_debug_shows_the_traceback(tmp_path):
    done = cnn("evaluate", "--model=nothing.npz", "--debug", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_an_unknown_command_is_a_usage_error(tmp_path):
    refused(2, "invalid choice: 'trian'", "trian", cwd=tmp_path)


def test_all_that_is_public_is_an_attribute_of_the_package():
    names = (
        "layers models losses optimizers initializers metrics callbacks datasets gradcheck explain lessons plots "
        "saving utils errors network article photos pretrained training"
    )
    for name in names.split():
        code = f"import cnn; print(cnn.{name}.__name__)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
        assert done.stdout == f"cnn.{name}\n", done.stderr
