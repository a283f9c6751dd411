"""What a learner's file may do beside wrong numbers: each state gets its sentence and ends nothing of ours."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commandline import ENVIRONMENT, PATIENCE

from cnn.exercises import EXERCISES, checker, files, process
from cnn.exercises.sentences import SENTENCES

CELL = "    kh, kw, _ = kernel.shape\n    z = (x[i : i + kh, j : j + kw] * kernel).sum() + bias\n"
HEAD = "import numpy as np\n\n\ndef cell(x, kernel, bias, i, j):\n"
MANY = "import numpy as np\n\n\ndef dense_backward(dz, x, kernel):\n"
MANY += "    a, b, c = x.T @ dz, dz.sum(axis=0), dz @ kernel.T\n"

# (exercise, file, state, words of the sentence)
STATES = {
    "untouched": ("cell", files.stub("cell"), "untouched", "the file is still as you got it"),
    "not written": ("cell", HEAD + "    x = 2 * x\n    raise NotImplementedError\n", "unwritten", "line 6"),
    "None": ("cell", HEAD + CELL, "None", "returns None: is there a `return`"),
    "one of three": ("dense", MANY + "    return a\n", "results", "shape (5, 2); expected (dkernel, dbias, dx)"),
    "a tuple of one": ("cell", HEAD + CELL + "    return (z,)\n", "results", "a tuple of one; expected z alone"),
    "another order": ("dense", MANY + "    return c, b, a\n", "order", "got (dx, dbias, dkernel)"),
    "a word": ("cell", HEAD + CELL + "    return str(z)\n", "no array", "z is str"),
    "None among three": ("dense", MANY + "    return a, None, c\n", "no array", "dbias is None"),
    "an array of one": ("cell", HEAD + CELL + "    return np.array([z])\n", "no number", "expected one number"),
    "integers": ("dense", MANY + "    return a.astype(int), b, c\n", "integers", "dkernel came as int64"),
    "float32": (
        "dense",
        MANY + "    return a, b, np.float32(c)\n",
        "rounded",
        "dx came as float32: the numbers are right",
    ),
    "NaN": ("cell", HEAD + CELL + "    return z * np.nan\n", "wrong numbers", "z is NaN. Such a number comes of 0 / 0"),
    "infinite": (
        "dense",
        MANY + "    return a + np.inf, b, c\n",
        "wrong numbers",
        "10 of 10 numbers that are infinite",
    ),
    "shape": ("dense", MANY + "    return a[:1], b, c\n", "wrong numbers", "dkernel has shape (1, 2); expected (5, 2)"),
    "raises": ("cell", HEAD + "    return x[99]\n", "raises", "IndexError: index 99 is out of bounds for axis 0"),
    "its line": ("cell", HEAD + "    return x[99]\n", "raises", "(at cell.py, line 5: return x[99])"),
    "raises at the beginning": ("cell", "1 / 0\n" + HEAD + "    return 1\n", "raises", "cell.py: ZeroDivisionError"),
    "calls itself": ("cell", HEAD + "    return cell(x, kernel, bias, i, j)\n", "raises", "RecursionError"),
    "syntax": ("cell", HEAD + "    return (1\n", "syntax", "Python cannot read cell.py, line 5: '(' was never closed"),
    "indentation": ("cell", HEAD + "  return 1\n   return 2\n", "syntax", "line 6: unexpected indent"),
    "another name": (
        "cell",
        HEAD.replace("def cell", "def my_cell") + "    return 1\n",
        "no function",
        "there is my_cell",
    ),
    "no function at all": ("cell", "import numpy as np\n", "no function", "there is none"),
    "an argument less": (
        "cell",
        HEAD.replace(", j)", ")") + "    return 1\n",
        "signature",
        "yours takes (x, kernel, bias, i)",
    ),
    "overwritten": ("cell", HEAD + "    x[0] = 1\n" + CELL + "    return z\n", "overwritten", "writes into x"),
    "overwritten with +=": (
        "cell",
        HEAD + "    kernel *= 2\n    kernel /= 2.5\n" + CELL + "    return z\n",
        "overwritten",
        "kernel",
    ),
    "at random": ("cell", HEAD + CELL + "    return z + np.random.rand()\n", "not deterministic", "drawn at random"),
    "left over": (
        "cell",
        "count = []\n" + HEAD + CELL + "    count.append(1)\n    return z + (len(count) > 6)\n",
        "not deterministic",
        "another z the second time",
    ),
    "exit": ("cell", HEAD + "    exit()\n", "exit", "cell.py ended the program"),
    "asks": ("cell", HEAD + "    return input()\n", "raises", "EOFError"),
    "a file that is missing": ("product", "from im2col import im2col\n", "needs", "`cnn exercise start im2col`"),
    "a module that is missing": (
        "cell",
        "import torchy\n" + HEAD + "    return 1\n",
        "raises",
        "No module named 'torchy'",
    ),
}


@pytest.mark.parametrize(("name", "text", "state", "words"), STATES.values(), ids=STATES)
def test_a_state_gets_its_sentence(tmp_path, name, text, state, words):
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    report = process.check(name, path) if state in ("exit",) or "input" in text else vars(checker.check(name, path)[0])
    assert not report["passed"]
    assert report["state"] == state and words in report["sentence"], report["sentence"]
    assert sorted(os.listdir(tmp_path)) == [f"{name}.py"]  # no cache, no dump


def test_a_file_that_another_one_takes_from_is_checked_first(tmp_path):
    (tmp_path / "product.py").write_text(files.solution_text("product"))
    (tmp_path / "im2col.py").write_text(files.solution_text("im2col").replace("x[:, u :", "2 * x[:, u :"))
    report, _ = checker.check("product", tmp_path / "product.py")
    assert report.state == "neighbour" and "first im2col.py, which product.py uses" in report.sentence
    assert "times 2" in report.sentence


def test_a_remark_on_float64_is_no_refusal(tmp_path):
    text = files.solution_text("input_gradient").replace("np.zeros(x_shape, dz.dtype)", "np.zeros(x_shape)")
    (tmp_path / "input_gradient.py").write_text(text)
    report, _ = checker.check("input_gradient", tmp_path / "input_gradient.py")
    assert report.passed and "dx went out as float64" in report.remarks[0]


def test_an_endless_loop_is_ended_where_it_was(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text(HEAD + "    u = 0\n    while u < 3:\n        z = u\n    return z\n")
    begun = time.monotonic()
    report = process.check("cell", path, seconds=1)
    assert report["state"] == "endless" and time.monotonic() - begun < PATIENCE
    assert "(at cell.py, line " in report["sentence"] and "busy after 1 seconds" in report["sentence"]
    assert report["function"] == "cell" and report["case"] == "one channel"


def test_an_endless_loop_outside_of_any_function(tmp_path):
    (tmp_path / "cell.py").write_text("while True:\n    pass\n")
    report = process.check("cell", tmp_path / "cell.py", seconds=1)
    assert report["state"] == "endless" and "cell.py was still busy" in report["sentence"]


def test_a_process_that_dies_is_told(tmp_path):
    (tmp_path / "cell.py").write_text("import os\n" + HEAD + "    os._exit(7)\n")
    report = process.check("cell", tmp_path / "cell.py")
    assert report["state"] == "crashed" and "exit code 7" in report["sentence"]
    (tmp_path / "cell.py").write_text("import os, signal\n" + HEAD + "    os.kill(os.getpid(), signal.SIGSEGV)\n")
    assert "signal 11" in process.check("cell", tmp_path / "cell.py")["sentence"]


def test_prints_are_shown_up_to_a_length(tmp_path):
    path = tmp_path / "cell.py"
    path.write_text(HEAD + "    print('here', x.shape)\n" + CELL + "    return z\n")
    assert "here (4, 5, 1)\n" in process.check("cell", path)["printed"]
    path.write_text(HEAD + "    print('a' * 10**6)\n" + CELL + "    return z\n")
    report = process.check("cell", path)
    assert report["passed"] and len(report["printed"]) < 3000 and "characters more" in report["printed"]


def test_files_called_like_modules_of_python_take_nobody_s_place(tmp_path):
    for name in ("numpy", "json", "random", "cnn"):
        (tmp_path / f"{name}.py").write_text("1 / 0\n")
    (tmp_path / "cell.py").write_text(HEAD + CELL + "    return z\n")
    command = [sys.executable, "-P", "-m", "cnn", "exercise", "check", "cell", "--folder=."]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_whatever_ends_the_command_ends_the_child_too(tmp_path, number, code):
    (tmp_path / "exercises").mkdir()
    text = f"import os\nopen({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))\nwhile True:\n    pass\n"
    (tmp_path / "exercises/cell.py").write_text(text)
    command = [sys.executable, "-m", "cnn", "exercise", "check", "cell", "--seconds=200"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    parent = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes)
    until = time.monotonic() + PATIENCE
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert time.monotonic() < until and parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(number)
    _, said = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == code and said == ("cnn exercise: interrupted\n" if code > 0 else "")
    while is_running(int((tmp_path / "child").read_text())):
        assert time.monotonic() < until
        time.sleep(0.1)


def is_running(number):
    """Whether there is such a process; one that has ended and that nobody has asked for counts as none."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True).stdout
    return not state.startswith("Z")


def test_every_sentence_has_a_case():
    here = {state for _, _, state, _ in STATES.values()} | {"neighbour", "endless", "crashed"}
    inner = {"NaN", "NaN alone", "shape", "whole"}  # of wrong numbers; "whole" stands in exercises/pooling.txt
    assert set(SENTENCES) - here - inner == set()
    assert all(sentence[0] != " " and not sentence.endswith(".") for sentence in SENTENCES.values())
    assert list(EXERCISES)[-1] == "network"
