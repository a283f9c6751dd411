"""`import cnn` is clear about what may stand in its way."""

import os
import shutil

import pytest
from commandline import ENVIRONMENT, ROOT, run


def import_with(folder):
    """The process of `import cnn`, with this folder before all others."""
    path = os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]])
    return run("-c", "import cnn; print(cnn.__version__)", env={**ENVIRONMENT, "PYTHONPATH": path}, cwd=folder)


def other_distribution(folder):
    """PyPI has another distribution with this import name."""
    (folder / "kernels").mkdir()
    return folder / "kernels/__init__.py"


def other_distribution_over_ours(folder):
    """Installed after ours into the same folder: its first file, then our others."""
    shutil.copytree(ROOT / "kernels", folder / "kernels")
    return folder / "kernels/__init__.py"


def own_file(folder):
    """Beside the program of a user who has never heard of our folder."""
    return folder / "kernels.py"


@pytest.mark.parametrize("place", [other_distribution, other_distribution_over_ours, own_file])
def test_foreign_kernels_are_named(tmp_path, place):
    (file := place(tmp_path)).write_text("def get_kernel(name): ...\n")
    done = import_with(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: cnn: expected the package 'kernels' that comes with it, got another")
    assert str(file) in message and "virtual environment of its own" in message


def test_our_own_kernels_pass(tmp_path):
    done = import_with(tmp_path)
    assert done.returncode == 0 and done.stderr == ""
