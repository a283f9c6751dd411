"""The class kit: the lessons' sources, the notebooks and worksheets made of them, and the command that writes them."""

import ast
import json
import re

import numpy as np
import pytest
from commandline import refused, succeeds
from matplotlib.backends.backend_agg import RendererAgg

from cnn import lessons
from cnn.datasets import fashion_mnist
from cnn.lessons import printing, source, worksheet
from cnn.photos import model_input

EXAMPLE = """# A lesson

Words.

> **Teacher:** only you.
> And you.

```python
a = 2 * 3  # blank: twice three
b = "# blank"
```

## A part (5 minutes)

**Question.** Why?

> **Answer.** Because.

More words.

```python
def f(x):
    return x + 1  # blank
```
"""


@pytest.fixture(scope="module")
def notebooks():
    return {name: json.loads(text) for name, text in lessons.notebooks().items()}


def words(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_one_text_gives_the_teachers_notebook():
    assert source.cells(EXAMPLE, teacher=True) == [
        ("markdown", "# A lesson\n\nWords.\n\n> **Teacher:** only you.\n> And you."),
        ("code", 'a = 2 * 3  # twice three\nb = "# blank"'),
        ("markdown", "## A part (5 minutes)\n\n**Question.** Why?"),
        ("markdown", "> **Answer.** Because."),
        ("markdown", "More words."),
        ("code", "def f(x):\n    return x + 1"),
    ]


def test_and_the_students_without_answers():
    assert source.cells(EXAMPLE, teacher=False) == [
        ("markdown", "# A lesson\n\nWords."),
        ("code", 'a = ...  # twice three\nb = "# blank"'),
        ("markdown", "## A part\n\n**Question.** Why?"),
        ("markdown", source.ROOM),
        ("markdown", "More words."),
        ("code", "def f(x):\n    return ..."),
    ]


def test_code_that_does_not_end_is_refused():
    with pytest.raises(ValueError, match="expected ``` after each block"):
        source.cells("words\n\n```python\na = 1\n", teacher=True)


def test_notebooks_have_the_form_that_jupyter_reads(notebooks):
    assert sorted(notebooks) == sorted(
        f"{whose}/{name}.ipynb" for whose in ("students", "teacher") for name in lessons.LESSONS
    )
    for notebook in notebooks.values():
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        names = [cell["id"] for cell in notebook["cells"]]
        assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
        for cell in notebook["cells"]:
            code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
            assert set(cell) == {"cell_type", "id", "metadata", "source"} | code
            assert cell["source"] and all(line.endswith("\n") for line in cell["source"][:-1])
            assert not cell.get("outputs")


def test_students_get_blanks_and_teachers_answers(notebooks):
    for name in lessons.LESSONS:
        teacher, students = (notebooks[f"{whose}/{name}.ipynb"] for whose in ("teacher", "students"))
        blank = re.compile(r"(= |return )\.\.\.", re.M)
        count = sum(len(blank.findall(code)) for code in words(students, "code"))
        assert count >= 5 and not any(blank.search(code) for code in words(teacher, "code"))
        said = "\n".join(words(students, "markdown"))
        assert not re.search(r"^>|Answer\.|minutes\)|Teacher", said, re.M)
        answers = sum("**Answer.**" in text for text in words(teacher, "markdown"))
        assert answers == words(students, "markdown").count(source.ROOM) >= 4
        assert sum(bool(re.search(r"^> \*\*What ", text, re.M)) for text in words(teacher, "markdown")) >= 1
        for code in words(teacher, "code") + words(students, "code"):
            assert ast.parse(code).body and "# blank" not in code


def test_every_lesson_fits_into_45_minutes(notebooks):
    for name in lessons.LESSONS:
        said = "\n".join(words(notebooks[f"teacher/{name}.ipynb"], "markdown"))
        minutes = sum(map(int, re.findall(r"^#.*\((\d+) minutes\)$", said, re.M)))
        assert 38 <= minutes <= 45 and f" {minutes}" in said.split("\n##")[0]


def test_no_line_of_a_lesson_is_too_long_to_read():
    for name in lessons.LESSONS:
        text = (printing.__file__.rpartition("/")[0] + f"/{name}.md").replace("\\", "/")
        with open(text, encoding="utf-8") as file:
            assert max(len(line.rstrip("\n")) for line in file) <= 130


# ---- the command


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_writes_notebooks_and_overwrites_no_students_work(tmp_path):
    done = succeeds("lessons", "kit", cwd=tmp_path)
    assert done.stdout == "" and "wrote 6 files" in done.stderr
    written = contents(tmp_path / "kit")
    assert {name: data.decode() for name, data in written.items()} == lessons.notebooks()
    succeeds("lessons", "kit", cwd=tmp_path)  # nothing of anybody's would be lost
    mine = tmp_path / "kit/students/2-backward.ipynb"
    mine.write_text("my answers", "utf-8")
    (tmp_path / "kit/teacher/1-forward.ipynb").unlink()
    before = contents(tmp_path / "kit")
    refused(2, r"2-backward.ipynb is there already .* --force$", "lessons", "kit", cwd=tmp_path)
    assert contents(tmp_path / "kit") == before  # not even what was missing
    succeeds("lessons", "kit", "--force", cwd=tmp_path)
    assert contents(tmp_path / "kit") == written


def test_the_command_writes_worksheets_as_the_seed_draws_them(tmp_path):
    succeeds("lessons", "one", "--students=1", "--seed=3", cwd=tmp_path)
    again = lessons.worksheets(1, 3)
    assert sorted(again) == sorted(lessons.WORKSHEETS)
    for name, data in again.items():
        assert (tmp_path / "one" / name).read_bytes() == data
    assert [data.count(b"/Type /Page ") for data in again.values()] == [2, 3]
    (tmp_path / "one" / lessons.WORKSHEETS[0]).write_bytes(b"corrected")
    refused(2, "students/worksheets.pdf is there already", "lessons", "one", "--students=1", "--seed=3", cwd=tmp_path)


def test_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    refused(1, "^cnn lessons: file/students: Not a directory$", "lessons", "file", cwd=tmp_path)
    refused(2, "--seed draws worksheets: give --students as well", "lessons", "kit", "--seed=3", cwd=tmp_path)
    refused(2, "expected a whole number from 1 to 200, got '0'", "lessons", "k", "--students=0", cwd=tmp_path)
    assert not (tmp_path / "kit").exists()


# ---- worksheets


@pytest.fixture(scope="module")
def sheets(cnn_model, data_set):
    return list(worksheet.sheets(cnn_model, data_set, 6, 1))


def near(a, b, digits):
    """Equal but for the last printed digit."""
    np.testing.assert_allclose(a, b, rtol=0, atol=0.51 * 10.0**-digits)


def test_sheets_are_of_different_photos_that_the_network_doubts(sheets, data_set):
    numbers = [sheet.photo.number for sheet in sheets]
    assert len(set(numbers)) == len(numbers)
    assert [sheet.student for sheet in sheets] == [1, 2, 3, 4, 5, 6]
    for sheet in sheets:
        np.testing.assert_array_equal(sheet.photo.pixels, data_set[0][sheet.photo.number - 1])
        assert sheet.photo.label == data_set[1][sheet.photo.number - 1]
        assert 0.35 < sheet.classes.p.max() < 0.85 and sheet.classes.p[sheet.photo.label] > 0.09


def test_more_students_do_not_change_the_sheets_of_the_first(cnn_model, data_set, sheets):
    fewer = list(worksheet.sheets(cnn_model, data_set, 2, 1))
    assert [s.cell.place for s in fewer] == [s.cell.place for s in sheets[:2]]
    assert [s.photo.number for s in fewer] == [s.photo.number for s in sheets[:2]]


def test_another_seed_draws_other_photos(cnn_model, data_set, sheets):
    (other,) = worksheet.sheets(cnn_model, data_set, 1, 2)
    assert other.photo.number != sheets[0].photo.number


def test_a_set_without_doubts_is_refused(cnn_model, data_set):
    black = np.zeros((3, 28, 28), np.uint8)
    with pytest.raises(ValueError, match="expected more photos"):
        list(worksheet.sheets(cnn_model, (black, np.array([9, 9, 9])), 2, 0))


def test_forward_answers_follow_from_what_is_printed_and_from_the_network(sheets, cnn_model):
    kernel, bias = (known.astype(float) for known in cnn_model.get_weights()[:2])
    for sheet in sheets:
        cell, (i, j, f) = sheet.cell, sheet.cell.place
        x = np.pad(sheet.photo.pixels / 255, 1)
        assert cell.byte == sheet.photo.pixels[i, j]
        near(cell.pixel, x[i + 1, j + 1], 3)
        near(cell.window, x[i : i + 3, j : j + 3], 3)
        near(cell.weights, kernel[:, :, 0, f], 3)
        near(cell.products, [[cell.window[u, v] * cell.weights[u, v] for v in range(3)] for u in range(3)], 3)
        near(cell.z, sum(map(sum, cell.products.tolist())) + cell.bias, 3)
        assert cell.a == max(0, cell.z)
        z = {
            (r, s): (x[r : r + 3, s : s + 3] * kernel[:, :, 0, f]).sum() + bias[f] for r in range(28) for s in range(28)
        }
        np.testing.assert_allclose(cell.exact, z[i, j], rtol=1e-5)
        near(cell.z, cell.exact, 1.7)  # nine products of rounded numbers
        pool, (r, s) = sheet.pool, (i // 2 * 2, j // 2 * 2)
        assert pool.place == (i // 2, j // 2, f)
        near(pool.z, [[z[r, s], z[r, s + 1]], [z[r + 1, s], z[r + 1, s + 1]]], 2)
        assert pool.a.tolist() == [[max(0, number) for number in row] for row in pool.z.tolist()]
        assert pool.winner == pool.a.max() and z[r + pool.at[0], s + pool.at[1]] == max(
            z[r + a, s + b] for a in (0, 1) for b in (0, 1)
        )


def test_softmax_and_loss_follow_from_what_is_printed(sheets, cnn_model):
    for sheet in sheets:
        c, label = sheet.classes, sheet.photo.label
        p = cnn_model.predict(model_input(cnn_model, sheet.photo.pixels[None]), verbose=0)[0]
        near(c.p, p, 2)
        near(c.powers, np.exp(c.z - max(c.z)), 3)
        near(c.total, sum(c.powers.tolist()), 3)
        near(c.p, c.powers / c.total, 3)
        assert c.y.tolist() == [float(k == label) for k in range(10)]
        near(c.error, c.p - c.y, 3)
        near(c.loss, -np.log(c.p[label]), 2)
        np.testing.assert_allclose(c.exact_loss, -np.log(p[label]), rtol=1e-3)
        assert label in c.first and int(c.z.argmax()) in c.first and 3 <= len(c.first) <= 4


def test_gradients_follow_from_what_is_printed_and_from_the_loss(sheets, cnn_model):
    model = cnn_model.astype(np.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    for sheet in sheets:
        w, label = sheet.weight, sheet.photo.label
        photo = sheet.photo.pixels[None, ..., None] * np.float64(np.float32(1 / 255))
        _, gradients = model.loss_and_gradients(photo, np.array([label]))
        (u, v, f), first = w.place, gradients["conv2d/kernel"]
        np.testing.assert_allclose(w.exact, first[u, v, 0, f], rtol=1e-5)
        near(w.products, [pixel * slope for pixel, slope in zip(w.pixels, w.slopes, strict=True)], 3)
        near(w.gradient, sum(w.products.tolist()) + w.rest, 3)
        near(w.gradient, w.exact, 1)
        near(w.new_w, w.w - 0.01 * w.gradient, 4)
        padded = np.pad(sheet.photo.pixels / 255, 1)
        near(w.pixels, [padded[i + u, j + v] for i, j in w.cells], 2)
        near(sheet.dense.gradient, sheet.dense.came_in * sheet.classes.error[label], 3)
        near(sheet.dense.gradient, gradients["dense_1/kernel"][sheet.dense.unit, label], 1)
        assert w.losses[1] < w.losses[0]


def written(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_pages_keep_the_answers_for_the_key(sheets):
    for make in (printing.forward_page, printing.backward_page):
        blank, key = (make(sheets[0], 6, key=key) for key in (False, True))
        assert len(written(key)) > len(written(blank)) + 10
        assert "Answers for the teacher" in written(key) and any("Name: ___" in text for text in written(blank))
        for text in (*key.axes[0].texts, *blank.axes[0].texts):  # nothing leaves the page
            box = text.get_window_extent(RendererAgg(10, 10, text.figure.dpi))
            assert box.x0 >= 0 and box.x1 <= 0.95 * text.figure.bbox.x1, text.get_text()
    cell = sheets[0].cell
    assert printing.number(cell.z) in written(printing.forward_page(sheets[0], 6, key=True))
    assert printing.number(cell.z) not in written(printing.forward_page(sheets[0], 6, key=False))


def test_the_overview_has_a_line_for_each_sheet(sheets):
    text = written(printing.overview(sheets))
    for sheet in sheets:
        assert {str(sheet.photo.number), printing.number(sheet.weight.new_w, "+.4f")} <= set(text)


def test_numbers_have_a_real_minus_and_nothing_has_no_sign():
    assert [printing.number(x) for x in (0.0004, -0.0004, -1.5, 2)] == ["0.000", "0.000", "−1.500", "+2.000"]


def test_names_come_from_the_data_set(sheets):
    assert {printing.label_of(sheet) for sheet in sheets} <= set(fashion_mnist.CLASS_NAMES)
