"""The page's engine in Node against the Python trace: every tensor, the lab, the gradient check, the hash.

Slow tests: they need Node, on the path or with Playwright (the extra `page`), and fail without it.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import explain_models
import numpy as np
import page
import pytest
from photographs import photograph

from cnn import layers, models
from cnn.errors import DataError
from cnn.explain import formulas, terms, trace
from cnn.explain.page import build, carried, plan
from cnn.photos import changes, own
from kernels.geometry import window_geometry

pytestmark = pytest.mark.slow

LAB = [(k, s, padding) for k in (1, 2, 3, 5, 7) for s in (1, 2, 3) for padding in ("same", "valid")]


RUNNER = Path(__file__).with_name("page_runner.js")


@functools.cache
def node_program():
    """Node: the one on the path, else the one that comes with Playwright."""
    if found := shutil.which("node"):
        return found
    from playwright._impl._driver import compute_driver_executable

    return compute_driver_executable()[0]


def node(folder, job, **arrays):
    """Run the engine in Node on arrays, written as float64 files, in this folder."""
    for name, array in arrays.items():
        (folder / name).write_bytes(np.ascontiguousarray(array, np.float64).tobytes())
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [node_program(), str(RUNNER), str(build.PAGE)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


def job_of(t, name=""):
    """What the runner needs of a trace's network, and the arrays for it."""
    names = carried.parameters(t)
    arrays = {f"{name}n{k}": t[one] for k, one in enumerate(names)} | {f"{name}x": t["x"]}
    known = {"ties": plan.split_ties(t), "corners": plan.near_corners(t)}
    return {"plan": plan.plan(t), "tensors": names, "target": t.target, "name": name, "known": known}, arrays


def photo_of(t, file, **change):
    """One photo of such a job; change: what is done to it first."""
    known = {"ties": plan.split_ties(t), "corners": plan.near_corners(t)}
    shape = t.photo.shape if t.photo.ndim == 3 else (*t.photo.shape, 1)
    return {"file": file, "target": t.target, "shape": shape, **known, **change}


def compare(folder, photo, names, t):
    """Every tensor that the engine computed for a photo, with its shape, against the trace."""
    flat, at, expected = np.frombuffer((folder / f"{photo}.out").read_bytes()), 0, dict(t.tensors) | {"loss": [t.loss]}
    for name, size, shape in names:
        if name in expected:
            assert shape is None or tuple(shape) == np.shape(expected[name]), (photo, name)
            agree(f"{photo}: {name}", flat[at : at + size], expected[name])
        at += size
    missing = set(carried.compared(t)) - {name for name, *_ in names}
    assert not missing, missing


def agree(name, found, expected):
    """Within 1e-9 of the tensor's scale."""
    expected = np.ravel(expected).astype(np.float64)
    assert found.shape == expected.shape, name
    assert np.abs(found - expected).max() <= 1e-9 * max(1, np.abs(expected).max()), name


def cases():
    """20 test photos and 50 random images; every third shifted, every fifth mirrored, every seventh rearranged."""
    pixels, labels = page.test_set()
    rng = np.random.default_rng(6)
    images = [*pixels[:20], *rng.integers(0, 256, (50, 28, 28), dtype=np.uint8)]
    for n, image in enumerate(images):
        change = {"dx": int(rng.integers(-6, 7)), "dy": int(rng.integers(-6, 7))} if n % 3 == 1 else {}
        change |= {"mirror": 1} if n % 5 == 2 else {}
        change |= {"parts": ("halves", "quadrants")[n % 2]} if n % 7 == 3 else {}
        yield image, change, int(labels[n]) if n < 20 else n % 10


def changed(image, change):
    """The same change by the package's own functions: parts, then mirror, then shift."""
    if change.get("parts"):
        image = getattr(changes, f"swap_{change['parts']}")(image)
    if change.get("mirror"):
        # The page mirrors what it then takes apart: in this order it is the same picture.
        image = changes.mirror(image)
    return changes.shift(image, change.get("dx", 0), change.get("dy", 0))


def test_forward_and_backward_equal_the_trace(tmp_path):
    given = list(cases())
    scaled = {f"photo{n}": np.float64(np.float32(image) * np.float32(1 / 255)) for n, (image, *_) in enumerate(given)}
    traces = [trace(page.networks()[0], changed(image, change), target) for image, change, target in given]
    job, arrays = job_of(traces[0])
    job["photos"] = [photo_of(t, f"photo{n}", **given[n][1]) for n, t in enumerate(traces)]
    node(tmp_path, {"what": "networks", "networks": [job]}, **arrays, **scaled)
    for n, (names, t) in enumerate(zip(json.loads((tmp_path / "out.json").read_text())[0], traces, strict=True)):
        compare(tmp_path, f"photo{n}", names, t)


def with_activation(name):
    """A small network whose layers all have this activation."""
    return explain_models.with_biases(
        models.Sequential(
            [
                layers.Conv2D(2, 3, strides=3, activation=name, input_shape=(28, 28, 1)),
                layers.GlobalAveragePooling2D(),
                layers.Dense(4, activation=name),
                layers.Dense(10),
            ],
            seed=3,
        )
    )


def test_other_networks_and_every_activation_equal_the_trace(tmp_path):
    photo = page.test_set()[0][8]
    traces = {name: page.other(name)[0] for name in page.OTHERS}
    traces |= {name: trace(with_activation(name), photo, 5) for name in ("relu", "softmax", *layers.formulas.FORMULAS)}
    bent = [layers.Flatten(input_shape=(28, 28, 1)), layers.ReLU(0.4, 0.1, 0.02), layers.ELU(0.5), layers.Dense(10)]
    traces["bent"] = trace(models.Sequential([*bent[:1], layers.Dense(9), *bent[1:]], seed=1), photo, 5)
    jobs, arrays = [], {}
    for name, t in traces.items():
        job, needed = job_of(t, name)
        jobs.append({**job, "photos": [photo_of(t, f"{name}x")]})
        arrays |= needed
    node(tmp_path, {"what": "networks", "networks": jobs}, **arrays)
    for (name, t), found in zip(traces.items(), json.loads((tmp_path / "out.json").read_text()), strict=True):
        compare(tmp_path, f"{name}x", found[0], t)


@pytest.mark.parametrize("changes_", [{"strides": [1, 1]}, {"padding": "valid"}], ids=["stride", "padding"])
def test_an_engine_with_another_stride_or_padding_does_not_agree(tmp_path, changes_):
    """The second pooling and convolution of `odd` have stride 2 and padding."""
    t = page.other("odd")[0]
    job, arrays = job_of(t)
    next(layer for layer in job["plan"]["layers"] if layer["op"] == "max").update(changes_)
    node(tmp_path, {"what": "networks", "networks": [{**job, "photos": [photo_of(t, "x")]}]}, **arrays)
    with pytest.raises(AssertionError):
        compare(tmp_path, "x", json.loads((tmp_path / "out.json").read_text())[0][0], t)


def test_a_tie_between_cells_that_differ_is_refused(tmp_path):
    t = page.traced()
    window = int(np.argmax(t["p2"]))
    job, arrays = job_of(t)
    ties = {"argmax1": [], "argmax2": [[window, int(t["argmax2"].flat[window] + 1) % 4]]}
    with pytest.raises(AssertionError, match=rf"x tie argmax2\[{window}\]"):
        node(
            tmp_path,
            {"what": "networks", "networks": [{**job, "photos": [photo_of(t, "x") | {"ties": ties}]}]},
            **arrays,
        )


def test_a_cell_moves_the_path_by_the_rule(tmp_path):
    """Backward the middle of the window, of an even one the first; forward the window around it that is nearest."""
    net = plan.plan(page.traced())["layers"]
    at = [[0, 0, 0], [0, 0, 4], [0, 0, 4], [0, 0, 9], [0, 0, 9], [9], [2], [7]]
    odd, strided = plan.plan(page.other("odd")[0])["layers"][:1], [[0, 0, 0], [0, 0, 1]]
    cases = [
        (
            net,
            at,
            3,
            [6, 5, 9],
            [[12, 10, 0], [12, 10, 4], [6, 5, 4], [6, 5, 9], [6 // 2, 2, 9], [3 * 448 + 137], [2], [7]],
        ),
        (
            net,
            at,
            0,
            [27, 13, 0],
            [[27, 13, 0], [27, 13, 4], [13, 6, 4], [13, 6, 9], [6, 3, 9], [6 * 448 + 201], [2], [7]],
        ),
        (net, at, 7, [3], [*at[:7], [3]]),
        (odd, strided, 1, [2, 11, 2], [[6, 24, 0], [2, 11, 2]]),
        (odd, strided, 0, [0, 9, 0], [[0, 9, 0], [0, 3, 1]]),
    ]
    for layers_, path, k, cell, expected in cases:
        node(tmp_path, {"what": "paths", "layers": with_windows(layers_), "cases": [[path, k, cell]]})
        assert json.loads((tmp_path / "out.json").read_text()) == [expected], (k, cell)


def with_windows(described):
    """The plan's layers with their windows, as the engine counts them (test_the_lab holds that)."""
    found = []
    for layer in described:
        if "kernel" in layer:
            (h, w, c), (kh, kw), (sh, sw) = layer["in"], layer["kernel"], layer["strides"]
            rows, columns = (window_geometry(n, k, s, layer["padding"]) for n, k, s in ((h, kh, sh), (w, kw, sw)))
            sizes = {"H": h, "W": w, "C": c, "kh": kh, "kw": kw, "sh": sh, "sw": sw}
            layer = {**layer, "window": sizes | {"OH": rows[0], "top": rows[1], "OW": columns[0], "left": columns[1]}}
        found.append(layer)
    return found


def test_the_lab_equals_the_layer_on_all_its_settings(tmp_path):
    rng, arrays, expected, settings = np.random.default_rng(7), {}, [], []
    for k, s, padding in LAB:
        for H, W, C, F in ((28, 28, 1, 1), (9, 8, 2, 3)):
            n = len(settings)
            layer = layers.Conv2D(F, k, s, padding)
            layer.build((H, W, C), rng, np.float64)
            layer.params["bias"] = rng.normal(size=F)
            x = rng.normal(size=(1, H, W, C))
            z, cache = layer.forward(x)
            dz = rng.normal(size=z.shape)
            dx, grads = layer.backward(dz, cache)
            arrays |= {f"{n}x": x, f"{n}w": layer.params["kernel"], f"{n}b": layer.params["bias"], f"{n}dz": dz}
            geometry = [*z.shape[1:3], *layers.place_windows(layer, (H, W, C), (k, k))[2]]
            expected.append((geometry, np.concatenate([np.ravel(a) for a in (z, grads["kernel"], grads["bias"], dx)])))
            settings.append([k, s, padding, H, W, C, F])
    node(tmp_path, {"what": "lab", "cases": settings}, **arrays)
    for n, (geometry, numbers) in enumerate(expected):
        found = np.frombuffer((tmp_path / f"{n}out").read_bytes())
        assert found[:6].tolist() == geometry, settings[n]
        agree(settings[n], found[6:], numbers)


def test_the_page_checks_gradients_as_python_does(tmp_path):
    t = page.traced(12)
    job, arrays = job_of(t)
    entries = [[name, int(n)] for name in job["tensors"] for n in np.argsort(-np.abs(t[f"d{name}"]), axis=None)[:4]]
    node(tmp_path, {"what": "check", "entries": entries, **job}, **arrays)
    results = json.loads((tmp_path / "out.json").read_text())
    assert sum(r["kinks"] == 0 for r in results) >= 24
    for r in results:
        assert r["analytic"] == pytest.approx(t[f"d{r['name']}"].ravel()[r["index"]], rel=1e-9)
        assert r["kinks"] or r["relative"] < 1e-5, r


def test_the_page_hashes_as_the_standard_does_and_takes_only_strict_base64(tmp_path):
    import base64
    import hashlib

    blobs = [os.urandom(n) for n in (0, 1, 2, 3, 55, 56, 63, 64, 65, 1000)]
    node(tmp_path, {"what": "sha", "texts": [base64.b64encode(blob).decode() for blob in blobs]})
    assert json.loads((tmp_path / "out.json").read_text()) == [hashlib.sha256(blob).hexdigest() for blob in blobs]
    node(tmp_path, {"what": "base64", "texts": ["QUJD", "QUI=", "QQ==", "QUJ", "QU D", "QUJé", "QUJ=", "QR==", "Q==="]})
    assert json.loads((tmp_path / "out.json").read_text()) == ["taken"] * 3 + ["refused"] * 6


@pytest.mark.parametrize("t", [page.traced, lambda: page.other("odd")[0]], ids=["article", "odd"])
def test_sentences_have_the_same_terms_as_in_python(tmp_path, t):
    """Every sentence of the tour at random places: value, terms, padding, sums by each letter."""
    t, rng, cases = t(), np.random.default_rng(8), []
    for step in formulas.steps(t):
        found = formulas.formula(t, step)
        for sentence in filter(None, (found.sentence, *found.also)):
            for _ in range(3):
                cases.append((sentence, {letter: int(rng.integers(size)) for letter, size in sentence.places}))
    assert len(cases) > 45
    job, arrays = job_of(t)
    node(tmp_path, {"what": "sentences", "cases": [(s.as_json(), at) for s, at in cases], **job}, **arrays)
    tensors = terms.Tensors(t)
    for (sentence, at), found in zip(cases, json.loads((tmp_path / "out.json").read_text()), strict=True):
        expected = terms.evaluate(sentence, tensors, at)
        scale = 1e-9 * max(1.0, expected.size)
        assert found["value"] == pytest.approx(expected.value, abs=scale), sentence.text
        assert found["result"] == pytest.approx(expected.value, abs=scale), sentence.text
        np.testing.assert_allclose(found["terms"], expected.terms.ravel(), rtol=0, atol=scale)
        assert found["inside"] == np.broadcast_to(expected.inside, expected.terms.shape).ravel().tolist()
        for letter, sums in found["groups"].items():
            np.testing.assert_allclose(sums, expected.by(letter), rtol=0, atol=scale)


def own_pictures():
    """Photographs of things of the data set, on a dark wall too, small and huge; photos of the set; and empty ones."""
    pixels, rng = page.test_set()[0], np.random.default_rng(9)
    yield from (photograph(pixels[n], rng) for n in range(8))
    yield photograph(pixels[3], rng, size=(480, 700), wall=(120, 60, 50), dye=(200, 200, 20))
    yield photograph(pixels[5], rng, size=(70, 60), enlarge=2)
    yield photograph(pixels[7], rng, size=(2600, 1900), enlarge=50)
    yield from (np.repeat(photo[..., None], 3, 2) for photo in (pixels[8], 255 - pixels[8]))
    yield np.full((60, 90, 3), 130, np.uint8)
    yield np.full((5, 90, 3), 130, np.uint8)


def test_a_picture_of_ones_own_is_prepared_as_python_does(tmp_path):
    from PIL import Image

    pictures = list(own_pictures())
    for n, picture in enumerate(pictures):
        (tmp_path / f"picture{n}").write_bytes(picture.tobytes())
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
    node(tmp_path, {"what": "own", "shapes": [picture.shape[:2] for picture in pictures]})
    for n, found in enumerate(json.loads((tmp_path / "out.json").read_text())):
        try:
            expected = own.read(tmp_path / f"{n}.png").pixels.ravel().astype(int)
        except DataError as error:
            assert found in str(error), n
            continue
        difference = np.abs(expected - found)
        assert difference.max() <= 1 and np.count_nonzero(difference) <= 4, n


def test_the_page_unpacks_what_python_packed(tmp_path):
    names = [name for name, told in page.data()["blocks"].items() if name != "photo-bytes" and "drawn" not in told]
    blocks = [[page.parts().scripts[name], page.data()["blocks"][name]] for name in names]
    node(tmp_path, {"what": "blocks", "blocks": blocks})
    for n, (name, (_, told)) in enumerate(zip(names, blocks, strict=True)):
        expected = page.block(name, f"<f{told['width']}").astype(np.float64)
        assert (tmp_path / f"{n}out").read_bytes() == expected.tobytes(), name
