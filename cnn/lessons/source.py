"""A lesson is one text; the teacher's and the students' notebooks are made from it.

The text is Markdown. Each ```python block becomes a cell of code, what stands between them cells of words, a new one
at each heading. What is quoted (> at the beginning of the line) is the teacher's. Two more marks:

    z = products.sum() + bias  # blank: the sum, and the bias      students get  z = ...  # the sum, and the bias
    > **Answer.** A filter looks at ...                            students get  *Your answer:* and room
"""

import json
import re
from typing import NamedTuple

BLANK = re.compile(r"^(\s*(?:return |.*? = ))(.+?)  # blank(?:: (.*))?$")
MINUTES = re.compile(r"^(#.*) \(\d+ minutes\)$", re.M)
ANSWER = "> **Answer.**"
ROOM = "*Your answer (double-click here and write):*\n\n&nbsp;"


class Cell(NamedTuple):
    """A cell of a notebook. kind: "code" or "markdown"."""

    kind: str
    text: str


def cells(text: str, teacher: bool) -> list[Cell]:
    """The cells of the teacher's notebook, or of the students'. Raises ValueError for a block that does not end."""
    found = []
    for k, block in enumerate(re.split(r"^```(?:python)?$", text, flags=re.M)):
        if k % 2:
            code = (blank(line, teacher) for line in block.strip("\n").splitlines())
            found.append(Cell("code", "\n".join(code)))
        else:
            found += words(block, teacher)
    if text.count("\n```") % 2:
        raise ValueError("lesson: expected ``` after each block of code")
    return found


def blank(line: str, teacher: bool) -> str:
    """A line of code; where it is marked as a blank, students get ... for the answer."""
    found = BLANK.match(line)
    if not found:
        return line
    start, answer, hint = found.groups()
    return f"{start}{answer if teacher else '...'}" + (f"  # {hint}" if hint else "")


def words(block: str, teacher: bool) -> list[Cell]:
    """The cells of words: one for each heading, and one for each answer."""
    found = []
    for part in re.split(rf"^(?=#)|^(?={re.escape(ANSWER)})", block, flags=re.M):
        if part.startswith(ANSWER):
            quoted = re.match(r"(?:>.*\n?)+", part)
            answer = quoted[0] if quoted else part
            found += [Cell("markdown", answer.strip() if teacher else ROOM)]
            part = part[len(answer) :]
        found.append(Cell("markdown", told(part, teacher)))
    return [cell for cell in found if cell.text]


def told(text: str, teacher: bool) -> str:
    """The words; quoted paragraphs, and the minutes in headings, are for the teacher."""
    if teacher:
        return text.strip()
    paragraphs = re.split(r"\n\s*\n", MINUTES.sub(r"\1", text.strip()))
    return "\n\n".join(one for one in paragraphs if not one.startswith(">"))


def notebook(made: list[Cell], name: str) -> str:
    """A Jupyter notebook of these cells, format 4.5, as text. name: what the cells' ids begin with."""
    content = {
        "cells": [_cell(cell, f"{name}-{k:02}") for k, cell in enumerate(made)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: Cell, name: str) -> dict:
    more: dict = {"execution_count": None, "outputs": []} if cell.kind == "code" else {}
    return {"cell_type": cell.kind, "id": name, "metadata": {}, "source": cell.text.splitlines(keepends=True), **more}
