"""The page's engine in Node against the Python trace: every tensor, the lab, the gradient check, the hash.

Slow tests: they need Node, on the path or with Playwright (the extra `page`), and fail without it.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import page
import pytest
from photographs import photograph

from cnn import layers
from cnn.errors import DataError
from cnn.explain import formulas, terms, trace
from cnn.explain.page import build
from cnn.photos import changes, own

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


def parameters():
    t = page.traced()
    return {name: t[name] for name in build.PARAMETERS}


def dense_parameters():
    return {
        f"dense{name}": value
        for name, value in zip(("W1", "b1", "W2", "b2"), page.networks()[1].params.values(), strict=True)
    }


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
    scaled = [np.float64(np.float32(image) * np.float32(1 / 255)) for image, _, _ in given]
    traces = [trace(page.networks()[0], changed(image, change), target) for image, change, target in given]
    job = {
        "what": "network",
        "photos": [
            {"file": f"photo{n}", "target": target, "ties": build.split_ties(t), **change}
            for n, (t, (_, change, target)) in enumerate(zip(traces, given, strict=True))
        ],
    }
    node(tmp_path, job, **parameters(), **dense_parameters(), **{f"photo{n}": x for n, x in enumerate(scaled)})
    dense = page.networks()[1].astype(np.float64)
    found = json.loads((tmp_path / "out.json").read_text())
    for n, (names, t, (_, change, _)) in enumerate(zip(found, traces, given, strict=True)):
        flat, at = np.frombuffer((tmp_path / f"photo{n}.out").read_bytes()), 0
        expected = dict(t.tensors) | {"dense": dense(t["x"][None])[0], "loss": [t.loss]}
        assert len(names) > 30
        for name, size in names:
            agree(f"image {n} {change}: {name}", flat[at : at + size], expected[name])
            at += size


def test_a_tie_between_cells_that_differ_is_refused(tmp_path):
    t = page.traced()
    window = int(np.argmax(t["p2"]))
    photo = {
        "file": "photo",
        "target": t.target,
        "ties": {"argmax1": [], "argmax2": [[window, int(t["argmax2"].flat[window] + 1) % 4]]},
    }
    with pytest.raises(AssertionError, match=rf"photo tie argmax2\[{window}\]"):
        node(tmp_path, {"what": "network", "photos": [photo]}, **parameters(), **dense_parameters(), photo=t["x"])


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
    entries = [[name, int(n)] for name in build.PARAMETERS for n in np.argsort(-np.abs(t[f"d{name}"]), axis=None)[:4]]
    node(tmp_path, {"what": "check", "target": t.target, "entries": entries}, **parameters(), x=t["x"])
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


def test_sentences_have_the_same_terms_as_in_python(tmp_path):
    """Every sentence of the tour at random places: value, terms, padding, sums by each letter."""
    t, rng, cases = page.traced(), np.random.default_rng(8), []
    for step in formulas.steps(t):
        found = formulas.formula(t, step)
        for sentence in filter(None, (found.sentence, *found.also)):
            for _ in range(3):
                cases.append((sentence, {letter: int(rng.integers(size)) for letter, size in sentence.places}))
    assert len(cases) > 70
    job = {"what": "sentences", "target": t.target, "cases": [(s.as_json(), at) for s, at in cases]}
    node(tmp_path, job, **parameters(), x=t["x"])
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
    names = [name for name in page.data()["blocks"] if name != "photo-bytes"]
    blocks = [[page.parts().scripts[name], page.data()["blocks"][name]] for name in names]
    node(tmp_path, {"what": "blocks", "blocks": blocks})
    for n, (name, (_, told)) in enumerate(zip(names, blocks, strict=True)):
        expected = page.block(name, f"<f{told['width']}").astype(np.float64)
        assert (tmp_path / f"{n}out").read_bytes() == expected.tobytes(), name
