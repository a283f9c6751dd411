"""The notebooks run in Jupyter: the teacher's with every answer right, the students' with every blank left open."""

import json
import re

import pytest
from commandline import run

from cnn import lessons

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
nbclient.NotebookClient(notebook, timeout=800, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def executed(folder, name):
    """The cells of code of a notebook, once Jupyter has run them."""
    given, done = folder / "given.ipynb", folder / "done.ipynb"
    given.write_text(lessons.notebooks()[name], "utf-8")
    process = run("-c", EXECUTE, given, done, cwd=folder, timeout=900)  # it may have to compile all kernels
    assert process.returncode == 0, process.stderr
    return [cell for cell in json.loads(done.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def shown(cell):
    """What a cell shows, as text and as HTML."""
    parts = [output.get("data", {}) for output in cell["outputs"]]
    return ["".join(part.get("text/plain", "")) for part in parts], [
        "".join(part.get("text/html", "")) for part in parts
    ]


def verdicts(cells):
    """The first words of all checkpoints and bets."""
    found = [re.match(r"(Right|Measured|Nearly|Not yet|Open): ", text) for cell in cells for text in shown(cell)[0]]
    return [match[1] for match in found if match]


@pytest.mark.slow
@pytest.mark.parametrize("name", lessons.LESSONS)
def test_the_teachers_notebook_runs_and_all_answers_are_right(tmp_path, name):
    cells = executed(tmp_path, f"teacher/{name}.ipynb")
    source = "".join("".join(cell["source"]) for cell in cells)
    said = verdicts(cells)
    assert len(said) == len(re.findall(r"^check\.|^lessons\.(?:bet|Checks\(newborn\))", source, re.M)) >= 5
    assert set(said) <= {"Right", "Measured"}
    assert sum("<table" in text for cell in cells for text in shown(cell)[1]) >= 2  # things show themselves


@pytest.mark.slow
@pytest.mark.parametrize("name", lessons.LESSONS)
def test_the_students_notebook_runs_with_its_blanks_and_says_what_is_open(tmp_path, name):
    said = verdicts(executed(tmp_path, f"students/{name}.ipynb"))
    assert len(said) >= 5 and set(said) == {"Open"}
