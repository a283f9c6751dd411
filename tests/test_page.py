"""The page of `cnn explain --html`: what can be checked without a browser. test_page_engine.py needs Node, test_page_live.py Chromium."""

import hashlib
import re
import subprocess
import sys

import numpy as np
import page
import pytest

from cnn import layers, models
from cnn.errors import UsageError
from cnn.explain import html, html_tables
from cnn.explain.trace import decode, trace
from kernels import reference


def test_the_full_trace_is_embedded_bit_for_bit():
    t, full = page.traced(), page.data()["full"]
    assert set(full["tensors"]) == set(html.FULL)
    for name, entry in full["tensors"].items():
        found = decode(entry)
        assert found.dtype == np.float64 and found.tobytes() == t[name].tobytes(), name
    assert (full["loss"], full["target"], full["label"], full["photo"]["number"]) == (t.loss, t.target, 5, 9)


def test_the_weights_are_embedded_bit_for_bit():
    cnn, dense = page.networks()
    for name, model in (("weights", cnn), ("baseline", dense)):
        expected = np.concatenate([value.ravel() for value in model.params.values()])
        assert page.block(name, "<f4").tobytes() == expected.tobytes()
    layout = page.data()["layout"]["cnn"]
    assert [tuple(shape) for _, shape in layout] == [value.shape for value in cnn.params.values()]
    assert sum(int(np.prod(shape)) for _, shape in layout) == 421_642


def test_the_photos_and_the_hashes_are_those_of_the_blocks():
    pixels, labels = page.test_set()
    assert page.block("photo-bytes", np.uint8).tobytes() == pixels[:20].tobytes() + labels[:20].tobytes()
    assert [record["label"] for record in page.data()["photos"]] == labels[:20].tolist()
    for name, digest in page.data()["sha256"].items():
        assert hashlib.sha256(page.block(name, np.uint8).tobytes()).hexdigest() == digest


def test_each_photo_has_a_short_record_of_its_own_trace():
    for number in (1, 7, 20):
        record, t = page.data()["photos"][number - 1], page.traced(number)
        assert record["number"] == number and record["loss"] == t.loss and record["target"] == t.target
        for name, (total, largest, size) in record["tensors"].items():
            assert (total, largest, size) == (t[name].sum(), np.abs(t[name]).max(), t[name].size), (number, name)
        dense = page.networks()[1].astype(np.float64)
        np.testing.assert_allclose(record["dense"], dense(t["x"][None])[0], rtol=0, atol=1e-15)


def test_ties_that_rounding_split_are_found():
    """Of each four equal cells the first wins; in two windows the last one is larger by a rounding, in one by more."""
    rng = np.random.default_rng(0)
    a1, a2 = (np.repeat(np.repeat(rng.uniform(1, 2, (3, 3, 2)), 2, 0), 2, 1) for _ in range(2))
    a1[1, 3, 0] *= 1 + 1e-15
    a1[5, 5, 1] *= 1 + 1e-15
    a2[3, 1, 1] *= 1 + 1e-6
    winners = [reference.max_pool(a[None], (2, 2), (2, 2), (0, 0, 0, 0))[1] for a in (a1, a2)]
    assert winners[0].sum() == 6 and winners[1].sum() == 3
    found = html.split_ties({"a1": a1, "a2": a2, "argmax1": winners[0], "argmax2": winners[1]})
    assert found == {"argmax1": [[2, 3], [17, 3]], "argmax2": []}


def test_every_printed_number_equals_the_value_it_names_at_the_printed_digits():
    t, cells = page.traced(), page.parts().cells
    assert len(cells) > 150
    for ref, form, text in cells:
        v = html_tables.value(t, ref)
        assert text == html_tables.FORMATS[form](v), ref
        digits = text.replace("−", "-")
        half = 0.5 * 10 ** (int(digits.partition("e")[2] or 0) - len(digits.partition("e")[0].partition(".")[2]))
        assert abs(float(digits) - v) <= half * 1.0000001, ref


def test_the_special_numbers_of_the_tables_by_plain_loops():
    t = page.traced()
    i, j, f = html_tables.largest(t["a2"])
    parts = [html_tables.value(t, f"part2[{i},{j},{f},{c}]") for c in range(32)]
    assert sum(parts) + t["b2"][f] == pytest.approx(t["z2"][i, j, f], rel=1e-12)
    (i, j, _), c = html_tables.top_term(t), html_tables.strongest_weight(t)[2]
    sent = [html_tables.value(t, f"scatter[{u},{v},{i},{j},{c}]") for u in range(3) for v in range(3)]
    assert sum(sent) == pytest.approx(t["dp1"][i, j, c], rel=1e-12)
    u, v, c, f = html_tables.strongest_weight(t)
    total = 0.0
    for i in range(14):
        for j in range(14):
            if 0 <= i + u - 1 < 14 and 0 <= j + v - 1 < 14:
                total += t["p1"][i + u - 1, j + v - 1, c] * t["dz2"][i, j, f]
    assert total == pytest.approx(t["dW2"][u, v, c, f], rel=1e-12)
    assert html_tables.value(t, f"numeric[{u},{v},{c},{f}]") == pytest.approx(total, rel=1e-6)


def test_each_step_that_shall_be_readable_without_script_has_its_table():
    for step in ("F3", "F5", "F6", "F10", "F12", "B1", "B7", "B8", "B9", "G"):
        inside = page.text().split(f'id="live-{step}">')[1].split("<section")[0]
        assert "data-ref=" in inside.split("</article>")[0], step


@pytest.mark.parametrize(
    ("v", "signed", "grad"),
    [
        (0.0, "+0.00000", "0"),
        (-1e-9, "+0.00000", "−1.000e−9"),
        (1.5, "+1.50000", "+1.500"),
        (-0.012345678, "−0.01235", "−0.01235"),
        (12345.678, "+12345.67800", "+12345.7"),
        (0.00099999, "+0.00100", "+1.000e−3"),
        (2.5e10, "+25000000000.00000", "+25000000000.0"),
    ],
)
def test_numbers_are_printed_with_a_real_minus_and_never_minus_zero(v, signed, grad):
    assert html_tables.signed(v) == signed
    assert html_tables.grad(v) == grad


def test_the_page_is_small_enough_for_mail():
    assert len(page.text().encode()) <= html.LIMIT == 4_000_000
    with pytest.raises(UsageError, match="4,000,001 bytes, at most 4,000,000"):
        html.check_size("x" * 4_000_001)


def test_nothing_on_the_page_is_loaded_from_anywhere():
    for tag, attributes in page.parts().elements:
        for key in ("src", "href", "action", "data", "poster", "srcset", "formaction", "xlink:href"):
            assert not attributes.get(key) or attributes[key].startswith(("#", "data:")), (tag, attributes)
    code = "".join(text for name, text in page.parts().scripts.items() if name.startswith("script"))
    style = page.text().split("<style>")[1].split("</style>")[0]
    assert len(code) > 30_000 and not re.search(
        r"https?:|//[a-z]+\.[a-z]|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|importScripts|\bimport\(|\beval\(|new Function",
        code,
    )
    assert not re.search(r"url\(|@import|https?:", style)


def test_the_content_security_policy_allows_nothing_but_the_page_itself():
    policy = next(a["content"] for tag, a in page.parts().elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def test_every_step_stands_in_the_page_once_and_no_id_twice():
    ids = [attributes["id"] for _, attributes in page.parts().elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    steps = [f"{way}{k}" for way in "FB" for k in range(1, 13)] + ["L", "M", "G", "T", "S"]
    assert {f"step-{step}" for step in steps} | {f"live-{step}" for step in steps} <= set(ids)
    targets = [a["href"][1:] for _, a in page.parts().elements if a.get("href", "").startswith("#")]
    assert set(targets) <= set(ids)
    assert not re.search(r"\{\{[\w-]+\}\}", page.text())


def test_the_code_shown_is_the_code_that_runs():
    for name, function in html.CODE.items():
        shown = html.source(name, function)
        assert f'id="code-{name}"' in shown and "def " in shown
    assert "columns.reshape(-1, len(kernel)) @ kernel" in html.source("c", layers.Conv2D.forward)


def test_the_measured_comparison_is_shown_as_it_came_out():
    found = page.small_comparison()
    for sentence in found["sentences"]:
        assert html_tables.escape(sentence) in page.text()
    mirrored = next(row for row in found["results"] if row["change"] == "mirrored")
    assert f"{mirrored['CNN']['share']:.1%}" in page.text().split("mirrored</th>")[1]
    assert "cnn compare" in html_tables.comparison(None)


def test_a_photo_beyond_the_first_twenty_comes_along():
    assert [record["number"] for record in page.data(57)["photos"]] == [*range(1, 21), 57]


def test_another_network_is_refused_in_one_sentence():
    small = models.Sequential([layers.Flatten(input_shape=(28, 28, 1)), layers.Dense(10, activation="softmax")])
    pixels, labels = page.test_set()
    with pytest.raises(UsageError, match="expected the article's network"):
        html.page(small, page.networks()[1], html.Example(9, pixels, labels))
    with pytest.raises(UsageError, match="784-128-10"):
        html.check_networks(trace(page.networks()[0], pixels[8], None, 5, 9), small)


def test_the_command_writes_the_page(tmp_path):
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "cnn", "explain", *words], capture_output=True, text=True, timeout=300
        )

    done = run("9", "--html", str(tmp_path / "a.html"))
    assert done.returncode == 0 and done.stdout == "" and "bytes" in done.stderr
    again = run("9", "--html", str(tmp_path / "b.html"))
    assert again.returncode == 0 and (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    refused = run("9", "--html", str(tmp_path / "missing" / "a.html"))
    assert refused.returncode != 0 and refused.stderr.count("\n") == 1


def test_no_file_of_the_page_is_longer_than_a_person_reads():
    files = sorted(html.PAGE.iterdir())
    assert {file.suffix for file in files} == {".html", ".css", ".js"}
    for file in files:
        lines = file.read_text("utf-8").splitlines()
        assert len(lines) <= 400, file.name
        if file.suffix == ".js":
            assert max(map(len, lines)) <= 130, file.name
