"""The page of `cnn explain --html`: what can be checked without a browser.

test_page_engine.py needs Node, test_page_live.py Chromium.
"""

import base64
import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import page
import pytest

from cnn import layers, models
from cnn.errors import UsageError
from cnn.explain import formulas, views, voice
from cnn.explain.page import build, markup, plan
from kernels import reference


def test_the_full_trace_is_embedded_bit_for_bit():
    t, full, found = page.traced(), page.moment()["full"], page.tensors("full-early", "<f8")
    names = "z1 p1 z2 p2 z3 z4 p dlogits da3 df dp1 dx dW1 db1 dW2 db2 db3 dW4 db4"
    assert set(found) == set(names.split())
    for name, tensor in found.items():
        assert tensor.tobytes() == t[name].tobytes() and tensor.shape == t[name].shape, name
    assert (full["loss"], full["target"], full["label"], full["photo"]["number"]) == (t.loss, t.target, 5, 9)


def test_the_weights_are_embedded_bit_for_bit():
    """Those of the early network as halves, which lose nothing; the untrained ones the page draws itself."""
    (early, dense), (finished, _) = page.networks(), page.networks("finished")
    for name, model, dtype in (
        ("weights-early", early, "<f2"),
        ("weights-finished", finished, "<f4"),
        ("baseline", dense, "<f4"),
    ):
        found = page.tensors(name, dtype)
        for tensor, value in zip(found.values(), model.params.values(), strict=True):
            assert tensor.astype(np.float32).tobytes() == value.tobytes() and tensor.shape == value.shape
    assert sum(int(np.prod(shape)) for _, shape in page.data()["blocks"]["weights-early"]["layout"]) == 421_642
    assert "weights-untrained" not in page.parts().scripts and page.text().count("weights-untrained") == 2


def test_the_photos_and_the_hashes_are_those_of_the_blocks():
    pixels, labels = page.test_set()
    assert page.block("photo-bytes", np.uint8).tobytes() == pixels[:20].tobytes() + labels[:20].tobytes()
    assert [record["label"] for record in page.moment()["photos"]] == labels[:20].tolist()
    for name, told in page.data()["blocks"].items():
        if "drawn" in told:
            weights = b"".join(value.tobytes() for value in page.networks("untrained")[0].params.values())
            assert hashlib.sha256(weights).hexdigest() == told["sha256"]
            continue
        raw = page.block(name, {1: "u1", 2: "<f2", 4: "<f4", 8: "<f8"}[told["width"]]).tobytes()
        assert hashlib.sha256(raw).hexdigest() == told["sha256"]


def test_each_photo_has_a_short_record_of_its_own_trace():
    for number in (1, 7, 20):
        record, t = page.moment()["photos"][number - 1], page.traced(number)
        assert record["number"] == number and record["loss"] == t.loss and record["target"] == t.target
        assert set(record["tensors"]) == {
            name
            for name in t.tensors
            if name[0] not in "Wb" and name not in ("columns1", "columns2", "argmax1", "argmax2")
        }
        assert set(record["winners"]) == set(record["ties"]) == {"argmax1", "argmax2"}
        for name, (total, largest, size) in record["tensors"].items():
            assert (total, largest, size) == (t[name].sum(), np.abs(t[name]).max(), t[name].size), (number, name)
        dense = page.networks()[1].astype(np.float64)
        np.testing.assert_allclose(record["dense"], dense(t["x"][None])[0], rtol=0, atol=1e-15)


def test_ties_that_rounding_split_are_found():
    """Of each four equal cells the first wins; in two windows the last one is larger by a rounding, in one by more."""
    rng, layer = np.random.default_rng(0), layers.MaxPooling2D()
    a1, a2 = (np.repeat(np.repeat(rng.uniform(1, 2, (3, 3, 2)), 2, 0), 2, 1) for _ in range(2))
    a1[1, 3, 0] *= 1 + 1e-15
    a1[5, 5, 1] *= 1 + 1e-15
    a2[3, 1, 1] *= 1 + 1e-6
    winners = [reference.max_pool(a[None], (2, 2), (2, 2), (0, 0, 0, 0))[1][0] for a in (a1, a2)]
    assert winners[0].sum() == 6 and winners[1].sum() == 3
    assert plan.split_windows(layer, a1, winners[0]) == [[2, 3], [17, 3]]
    assert plan.split_windows(layer, a2, winners[1]) == []
    odd = layers.MaxPooling2D((3, 2), (2, 1), "same")
    _, cache = odd.forward(np.floor(rng.uniform(0, 3, (1, 7, 6, 2))))
    assert plan.split_windows(odd, np.zeros((7, 6, 2)), np.zeros_like(cache.winners[0])) == [
        [n, 0] for n in range(12)
    ]  # at the upper edge the window's first row is padding


def value(t, ref):
    """The number that a cell names: entries of the trace, products of them, or a sum of a step's terms."""
    if "=" in ref:
        step, *letters = ref.split()
        return partial_sum(t, step, {letter: int(n) for letter, n in (one.split("=") for one in letters)})
    found = 1.0
    for one in ref.split("*"):
        name, _, index = one.rstrip("]").partition("[")
        found *= t[name][tuple(map(int, index.split(",")))]
    return float(found)


def partial_sum(t, step, at):
    """F3, F6 and B9 written out once more, without sentences; the products of other steps from their two entries."""
    if {"F3", "F6"} & {step} and "u" in at:
        x, n = (t["x"], 1) if step == "F3" else (t["p1"], 2)
        i, j = at["i"] + at["u"] - 1, at["j"] + at["v"] - 1
        inside = 0 <= i < len(x) and 0 <= j < len(x)
        return float(x[i, j, at["c"]] * t[f"W{n}"][at["u"], at["v"], at["c"], at["f"]]) if inside else 0.0
    if step == "F6":
        window = np.pad(t["p1"][:, :, at["c"]], 1)[at["i"] : at["i"] + 3, at["j"] : at["j"] + 3]
        return float((window * t["W2"][:, :, at["c"], at["f"]]).sum())
    if step != "B9":
        products = {
            "F10": lambda n, u: t["f"][n] * t["W3"][n, u],
            "F11": lambda u, k: t["a3"][u] * t["W4"][u, k],
            "B3": lambda u, k: t["W4"][u, k] * t["dlogits"][k],
            "B5": lambda n, u: t["W3"][n, u] * t["dz3"][u],
            "B8": lambda u, v, c, f, i, j: t["p1"][i + u - 1, j + v - 1, c] * t["dz2"][i, j, f],
            "B11": lambda u, v, c, f, i, j: t["x"][i + u - 1, j + v - 1, c] * t["dz1"][i, j, f],
        }
        return float(products[step](**at))
    i, j = at["r"] - at["u"] + 1, at["s"] - at["v"] + 1
    inside = 0 <= i < 14 and 0 <= j < 14
    return float(t["dz2"][i, j] @ t["W2"][at["u"], at["v"], at["c"]]) if inside else 0.0


def test_every_printed_number_equals_the_value_it_names_at_the_printed_digits():
    t, cells = page.traced(), page.parts().cells
    assert len(cells) > 150
    for ref, form, text in cells:
        v, digits = value(t, ref), text.replace("−", "-")
        assert digits == voice.number(v, form), ref
        half = 0.5 * 10 ** (int(digits.partition("e")[2] or 0) - len(digits.partition("e")[0].partition(".")[2]))
        assert abs(float(digits) - v) <= half * 1.0000001, ref


def test_each_step_can_be_read_without_script():
    """What the terminal shows stands in the page: every number of every view."""
    t = page.traced()
    for step in [*formulas.tour(t), *(formulas.find_step(t, name) for name in "MGLS")]:
        inside = page.text().split(f'id="live-{step.id}">')[1].split("<section")[0].split("</article>")[0]
        view = views.show(t, step)
        assert markup.escape(view.where) in inside
        for total in view.sums:
            assert markup.number(total.total) in inside, step
    for step in ("F3", "F5", "F6", "F10", "F12", "B1", "B7", "B8", "B9"):
        assert "data-ref=" in page.text().split(f'id="live-{step}">')[1].split("</article>")[0], step


def test_title_explanation_and_formula_are_those_of_the_terminal():
    t = page.traced()
    for step in [*formulas.tour(t), *(formulas.find_step(t, name) for name in "MGLS")]:
        words = formulas.formula(t, step)
        article = page.text().split(f'id="step-{step.id}"')[1].split('class="live')[0]
        for said in (words.title[1:], words.say, words.text):
            assert markup.escape(said) in article, step.id
        if step.id[0] in markup.WAY:
            assert f'data-step="{step.id}"><b>{step.id}</b> {markup.escape(words.short)}</a>' in page.text()


@pytest.mark.parametrize(
    ("v", "signed", "gradient"),
    [
        (0.0, "+0.0000", "0"),
        (-1e-9, "+0.0000", "−1.000e−09"),
        (1.5, "+1.5000", "+1.500"),
        (-0.012345678, "−0.0123", "−0.01235"),
        (12345.678, "+12345.6780", "+1.235e+04"),
        (0.00099999, "+0.0010", "+0.001000"),
        (2.5e10, "+25000000000.0000", "+2.500e+10"),
    ],
)
def test_numbers_are_printed_with_a_real_minus_and_never_minus_zero(v, signed, gradient):
    assert markup.number(markup.Num(v, kind="signed")) == signed
    assert markup.number(markup.Num(v, kind="gradient")) == gradient


def test_the_page_is_small_enough_for_mail_with_room_left():
    assert build.LIMIT == 1_500_000
    for parts in (page.parts(), *(page.Parts(page.other(name)[1]) for name in ("dense", "deep", "colour"))):
        aside = ("weights", "baseline", "learn-photos")
        weights = sum(len(text) for name, text in parts.scripts.items() if name.startswith(aside))
        assert sum(map(len, parts.scripts.values())) - weights <= 0.75 * build.LIMIT
    with pytest.raises(UsageError, match="1,500,001 bytes beside weights and training photos, at most 1,500,000"):
        build.check_size("x" * 1_500_011, 10)


def test_nothing_on_the_page_is_loaded_from_anywhere():
    for tag, attributes in page.parts().elements:
        for key in ("src", "href", "action", "data", "poster", "srcset", "formaction", "xlink:href"):
            assert not attributes.get(key) or attributes[key].startswith(("#", "data:")), (tag, attributes)
    code = "".join(text for name, text in page.parts().scripts.items() if name.startswith("script"))
    style = page.text().split("<style>")[1].split("</style>")[0]
    assert len(code) > 30_000 and not re.search(
        r"https?:|//[a-z]+\.[a-z]|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|importScripts|\bimport\(|\beval\(|"
        r"new Function",
        code,
    )
    assert not re.search(r"url\(|@import|https?:", style)


def test_the_content_security_policy_allows_nothing_but_the_page_itself():
    policy = next(a["content"] for tag, a in page.parts().elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    code = [text for name, text in page.parts().scripts.items() if name.startswith("script")]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert rules.pop("script-src").split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(code) == len(build.SCRIPTS)
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "worker-src": "blob:",
    }


def test_every_step_stands_in_the_page_once_and_no_id_twice():
    ids = [attributes["id"] for _, attributes in page.parts().elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    steps = [f"{way}{k}" for way in "FB" for k in range(1, 13)] + ["R1", "R2", "R3", "C", "L", "M", "G", "T", "S"]
    assert {f"step-{step}" for step in steps} | {f"live-{step}" for step in steps} <= set(ids)
    targets = [a["href"][1:] for _, a in page.parts().elements if a.get("href", "").startswith("#")]
    assert set(targets) <= set(ids)
    assert not re.search(r"\{\{[\w-]+\}\}", page.text())


def test_the_code_shown_is_the_code_that_runs():
    t = page.traced()
    named = {code.name: code.function for step in formulas.tour(t) for code in formulas.formula(t, step).code}
    assert len(named) > 15
    for name, function in named.items():
        shown = markup.source(name, function)
        assert f'id="code-{name}"' in shown and "def " in shown and shown in page.text()
    assert "columns.reshape(-1, len(kernel)) @ kernel" in markup.source("c", layers.Conv2D.forward)


def test_the_measured_comparison_is_shown_as_it_came_out():
    found = page.small_comparison()
    for sentence in found["sentences"]:
        assert markup.escape(sentence) in page.text()
    mirrored = next(row for row in found["results"] if row["change"] == "mirrored")
    assert (
        f"<td>{100 * mirrored['CNN']['share']:.1f}</td>"
        in page.text().split("What the whole test set says")[1].split("mirrored</th>")[1]
    )
    assert "cnn compare" in markup.comparison(None)


def test_a_photo_beyond_the_first_twenty_comes_along():
    assert [record["number"] for record in page.moment(number=57)["photos"]] == [*range(1, 21), 57]


@pytest.mark.parametrize("count", [1, 5, 20])
def test_a_set_of_any_number_of_photos_has_a_page(count):
    pixels, labels = (array[:count] for array in page.test_set())
    text = build.page(*page.networks(), build.Example(count, pixels, labels))
    records = json.loads(page.Parts(text).scripts["trace"])["moments"][0]["photos"]
    assert [record["number"] for record in records] == list(range(1, count + 1))
    assert f"The first {count} photos of the test set" in text.replace("The first photo", "The first 1 photos")
    assert f"computes all {count} photos" in text and f'data-numbers="1 to {count}"' in text


def test_articles_stand_before_their_nouns():
    """Photo 1 is an ankle boot."""
    assert "One photo of an ankle boot." in page.text(1) and "One photo of a sandal." in page.text()
    assert page.data()["articled"][9] == "an Ankle boot" and page.data()["articled"][5] == "a Sandal"


class Halved(layers.Layer):
    """y = x / 2"""

    def forward(self, x, training=False, rng=None):
        return x / 2, ()

    def backward(self, dy, cache, need_dx=True):
        return dy / 2, {}


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.PReLU(name="p"), "PReLU"),
        (layers.DepthwiseConv2D(3), "DepthwiseConv2D"),
        (layers.SeparableConv2D(2, 3), "SeparableConv2D"),
        (layers.Conv2DTranspose(2, 3), "Conv2DTranspose"),
        (layers.Softmax(axis=1), "Softmax along axis 1"),
        (Halved(), "Halved"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_that_the_engine_does_not_have_is_refused_by_name(layer, named):
    model = models.Sequential([layers.Input((28, 28, 1)), layer, layers.Flatten(), layers.Dense(10)])
    with pytest.raises(UsageError, match=f"engine has no {named}, and") as refused:
        build.page(model, None, build.Example(1, *(array[:1] for array in page.test_set())))
    assert str(refused.value).count("\n") == 0


def test_a_layer_of_ones_own_is_never_taken_for_the_one_it_inherits_from():
    for name in layers.__all__:
        kind = getattr(layers, name)
        if isinstance(kind, type) and issubclass(kind, layers.Layer):
            layer = object.__new__(type("Own", (kind,), {"__module__": __name__}))
            layer.name, layer.input_shape, layer.output_shape, layer.params = "own", (28, 28, 1), None, {}
            with pytest.raises(UsageError, match="engine has no Own"):
                plan.operation(layer)


@pytest.mark.parametrize("name", page.OTHERS)
def test_the_page_of_another_network_says_all_its_steps_and_no_number_of_the_articles(name):
    t, text = page.other(name)
    parts = page.Parts(text)
    ids = {attributes["id"] for _, attributes in parts.elements if "id" in attributes}
    there = [step.id for step in formulas.tour(t)] + [
        b for b in "MGLS" if formulas.has_step(t, formulas.find_step(t, b))
    ]
    assert {f"step-{step}" for step in (*there, "T")} == {one for one in ids if one.startswith("step-")}
    targets = [a["href"][1:] for _, a in parts.elements if a.get("href", "").startswith("#")]
    assert set(targets) <= ids and not re.search(r"\{\{[\w-]+\}\}|<!--", text)
    said = text.split("<script")[0]
    assert "421,642" not in said and "4,241,152" not in said and "There are 32 filters" not in said
    assert ("It acts in training alone" in said) == (name in ("odd", "colour"))
    assert len(parts.cells) > 50 and json.loads(parts.scripts["trace"])["moments"][0]["full"]["loss"] == t.loss
    assert ("Your own 28" in said) == (t.photo.shape == (28, 28))
    assert ("Fashion-MNIST" in said) == (t.class_names == page.traced().class_names)


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


def test_no_file_or_function_of_the_page_is_longer_than_a_person_reads():
    files = sorted(file for file in build.PAGE.iterdir() if file.suffix not in (".py", "") and file.is_file())
    assert {file.suffix for file in files} == {".html", ".css", ".js"}
    for file in files:
        lines = file.read_text("utf-8").splitlines()
        assert len(lines) <= 400, file.name
        if file.suffix == ".js":
            assert max(map(len, lines)) <= 120, file.name
            assert max(functions(lines), default=0) <= 40, file.name


def functions(lines):
    """The lengths of a script's functions: those that stand two spaces in and end with a brace there."""
    start = None
    for n, line in enumerate(lines):
        if re.match(
            r"  (async )?function \w+\(|  const \w+ = (async )?\([^)]*\) => \{$|  const \w+ = \(?\w+\)? => \{$", line
        ):
            start = n
        if re.match(r"  \};?$|  \}\)\(.*\);$", line) and start is not None:
            yield n - start + 1
            start = None


def test_a_hostile_text_stays_text_in_the_page():
    """Names of classes, of the command that made the model, of changes: all that comes from outside."""
    hostile = "</script><img src=x onerror=alert(1)>\u2028"
    model = page.networks()[0].astype(np.float32)
    starts = (hostile, "<td onclick=alert(1)>", "{{data}}", "</td></table>", "</style>")
    model.class_names, model.made_by = [f"{starts[k % 5]}{hostile}{k}" for k in range(10)], hostile
    model.input_scale = page.networks()[0].input_scale
    text = build.page(model, page.networks()[1], build.Example(9, *page.test_set(), page.small_comparison()))
    elements = page.Parts(text).elements
    assert not any(tag == "img" or any(key.startswith("on") for key in attributes) for tag, attributes in elements)
    assert len(elements) == len(page.Parts(page.alone()).elements)
