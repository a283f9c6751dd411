"""The files of the exercises: our solutions, what the learner gets of them, and the learner's own, loaded."""

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

SOLUTIONS = Path(__file__).parent / "solutions"
PROGRESS = "progress.txt"
UNWRITTEN = "raise NotImplementedError"
LINE = re.compile(r"(\w+): (\w+), checks (\d+), hints (\d+), (.*)")


def solution_text(name: str) -> str:
    """Our answer, as it stands in its file."""
    return (SOLUTIONS / f"{name}.py").read_text("utf-8")


def stub(name: str) -> str:
    """What the learner gets: the same file, each function without the lines below its example."""
    text = solution_text(name)
    lines, kept, begin = text.splitlines(), [], 0
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            example, last = node.body[0].end_lineno, node.end_lineno
            assert example is not None and last is not None  # known of all that was parsed
            kept += [*lines[begin:example], f"    {UNWRITTEN}"]
            begin = last
    return "\n".join(kept) + "\n"


def load(path: Path, own: Iterable[str]) -> ModuleType:
    """The module in a file, which may import its neighbours; those called as an exercise (own) are loaded anew.

    Raises whatever the file's own code raises.
    """
    own = set(own)
    for name in own:
        sys.modules.pop(name, None)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # its name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.fspath(path.parent))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode  # nothing but what was asked for lies there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(os.fspath(path.parent))
    return module


def neighbours(path: Path, own: Iterable[str]) -> list[str]:
    """The exercises whose files lie beside this one and are imported by it, directly."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return [name for name in own if name in imported and (path.parent / f"{name}.py").is_file()]


class State(NamedTuple):
    """How far somebody is with an exercise."""

    state: str = "begun"  # "begun", "done"
    checks: int = 0
    hints: int = 0
    day: str = ""


def parse_progress(text: str) -> dict[str, State]:
    """{exercise: state} of a progress file; lines that say anything else are somebody's own."""
    found = (LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {m[1]: State(m[2], int(m[3]), int(m[4]), m[5]) for m in found if m}


def progress_text(text: str, name: str, state: State) -> str:
    """The same file with the line of one exercise replaced, or added."""
    line = f"{name}: {state.state}, checks {state.checks}, hints {state.hints}, {state.day}"
    lines, done = [], False
    for old in text.splitlines():
        mine = (found := LINE.fullmatch(old.strip())) is not None and found[1] == name
        lines.append(line if mine else old)
        done |= mine
    return "\n".join([*lines, *([] if done else [line])]) + "\n"
