"""Training from nothing: the page's steps against the library's on the same batches, in Node; and what it learns from.

Slow tests: they need Node, on the path or with Playwright, and fail without it.
"""

import json

import numpy as np
import page
import pytest
from explain_models import deep, with_biases
from test_page_engine import agree, node

from cnn import article, layers, models, optimizers
from cnn.errors import UsageError
from cnn.explain import trace
from cnn.explain.page import build, learning, plan

STEPS, RATE = 20, 0.05


def strided():
    """Stride 2, no padding, pools that overlap, ReLU as a layer, a Dense without bias."""
    net = [
        layers.Conv2D(6, 5, strides=2, padding="valid", input_shape=(28, 28, 1)),
        layers.ReLU(),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.Conv2D(9, 3, strides=2, activation="tanh", use_bias=False),
        layers.Flatten(),
        layers.Dense(12, activation="elu", use_bias=False),
        layers.Dense(10, activation="softmax"),
    ]
    return models.Sequential(net, seed=3)


def normalized():
    """Batch normalization of a photo, of maps and of units, with and without its two parameters."""
    net = [
        layers.BatchNormalization(momentum=0.9, input_shape=(28, 28, 1)),
        layers.Conv2D(4, 3, strides=2, use_bias=False),
        layers.BatchNormalization(scale=False, momentum=0.8),
        layers.ReLU(),
        layers.AveragePooling2D(3),
        layers.Flatten(),
        layers.Dense(12),
        layers.BatchNormalization(center=False, epsilon=0.1),
        layers.Dense(10, activation="softmax"),
    ]
    return models.Sequential(net, seed=4)


NETWORKS = {
    "article": (lambda: with_biases(article.convolutional(seed=1)), 4),
    "strided": (strided, 8),
    "five by five": (deep, 4),
    "dense": (lambda: article.dense(seed=2), 16),
    "one photo": (lambda: article.dense(seed=2), 1),
    "normalized": (normalized, 8),
}


def photos_of(count):
    """Training photos and labels, and the photos as the network takes them."""
    pixels, labels = page.training_set()
    return pixels[:count], labels[:count], np.float64(np.float32(pixels[:count]) * np.float32(1 / 255))[..., None]


def jobs(changes=None):
    """What the runner needs for each network, its arrays, and the network itself with its batches."""
    cases, arrays, networks = [], {}, {}
    pixels, labels, x = photos_of(64)
    for k, (name, (make, size)) in enumerate(NETWORKS.items()):
        t = trace(make(), pixels[0], 3)
        names = [stage.names[role] for stage in t.stages for role in stage.layer.learnable]
        batches = [np.random.default_rng([k, step]).permutation(64)[:size].tolist() for step in range(STEPS)]
        case = {"plan": plan.plan(t), "tensors": names, "name": str(k), "rate": RATE, "batches": batches}
        cases.append(case | {"labels": labels.tolist()} | (changes or {}))
        arrays |= {f"{k}n{n}": t[one] for n, one in enumerate(names)} | {f"{k}x": x}
        networks[name] = make().astype(np.float64), batches
    return cases, arrays, networks


def learned(model, batches):
    """The library's SGD in float64 on these batches: the losses."""
    _, labels, x = photos_of(64)
    model.compile(optimizer=optimizers.SGD(RATE), loss="sparse_categorical_crossentropy")
    return [model.train_on_batch(x[batch], labels[batch], return_dict=True)["loss"] for batch in batches]


@pytest.mark.slow
def test_twenty_steps_in_the_page_are_those_of_the_librarys_sgd(tmp_path):
    cases, arrays, networks = jobs()
    node(tmp_path, {"what": "train", "cases": cases}, **arrays)
    answers = json.loads((tmp_path / "out.json").read_text())
    for k, ((name, (model, batches)), found) in enumerate(zip(networks.items(), answers, strict=True)):
        before = {key: value.copy() for key, value in model.params.items()}
        agree(f"{name}: losses", np.array(found["losses"]), learned(model, batches))
        numbers, at = np.frombuffer((tmp_path / f"{k}out").read_bytes()), 0
        for key in model.learnable:
            w = model.params[key]
            agree(f"{name}: {key}", numbers[at : at + w.size], w)
            assert np.abs(w - before[key]).max() > 1e-4 * np.abs(w).max(), (name, key)  # it did move
            at += w.size
        assert at == len(numbers)
        normal = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
        assert len(normal) == len(found["averages"])
        for layer, (mean, deviation) in zip(normal, found["averages"], strict=True):
            agree(f"{name}: {layer.name} mean", np.array(mean), layer.params["moving_mean"])
            expected = np.sqrt(layer.params["moving_variance"] + layer.epsilon)
            agree(f"{name}: {layer.name} deviation", np.array(deviation), expected)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"rate": RATE * (1 + 1e-6)}, {"labels": [0] * 64}], ids=["rate", "labels"])
def test_steps_that_are_a_little_different_do_not_agree(tmp_path, change):
    cases, arrays, networks = jobs(change)
    node(tmp_path, {"what": "train", "cases": cases[1:2]}, **arrays)
    found = json.loads((tmp_path / "out.json").read_text())[0]
    with pytest.raises(AssertionError):
        agree("losses", np.array(found["losses"]), learned(*networks["strided"]))


def course(folder, model, seeds, count=100, **more):
    """Courses of the page on the first photos of each class."""
    pixels, labels = page.training_set()
    found = learning.chosen(pixels[: 20 * count], labels[: 20 * count])
    photos, labels = found.pixels[:count], found.labels[:count]
    data = {"plan": plan.plan(trace(model, photos[0], 3)), "scale": 1 / 255}
    cases = [{"data": data, "seed": seed, "rate": 0.1, "size": 8, "batches": 3, **more} for seed in seeds]
    node(folder, {"what": "courses", "cases": cases}, photos=photos, labels=labels)
    return json.loads((folder / "out.json").read_text()), labels


@pytest.mark.slow
def test_a_course_starts_at_random_and_never_learns_from_what_it_holds_back(tmp_path):
    (one, same, other), labels = course(tmp_path, strided(), (1, 1, 2))
    assert one == same and one["start"] != other["start"]
    for name, w in one["start"].items():
        shape, size = one["shapes"][name], np.ptp(w)
        window = np.prod(shape[:-2])
        most = np.sqrt(6 / (window * (shape[-2] + shape[-1]))) if len(shape) > 1 else 0
        assert np.abs(w).max() <= most and size >= 1.7 * most, name
        assert abs(np.mean(w)) <= 4 * most / np.sqrt(3 * len(w)), name
    assert sorted(one["learned"] + one["held"]) == list(range(100)) and one["seen"] == 24
    held = np.flatnonzero(learning.ranks(labels) % learning.FIFTH == learning.FIFTH - 1)
    assert one["held"] == held.tolist() and [exam["of"] for exam in one["exams"]] == [20, 20]
    assert len(set(labels[held])) == 10
    assert one["now"]["values"][1] != one["start"]["W1" if "W1" in one["start"] else next(iter(one["start"]))][3]


@pytest.mark.slow
def test_it_learns_and_a_rate_too_high_is_stopped_with_its_numbers(tmp_path):
    (good,), _ = course(tmp_path, article.dense(seed=1), (1,), 200, batches=60)
    assert good["failed"] is None and good["exams"][1]["right"] >= 20 > good["exams"][0]["right"]
    (bad,), _ = course(tmp_path, strided(), (1,), batches=200, rate=1000)
    failed = bad["failed"]
    assert failed["why"] == "grew" and failed["first"]["rate"] == 1000 and failed["now"]["steps"] < 200
    assert failed["now"]["loss"] is None or failed["now"]["loss"] > 20 * np.log(10)


# ---- what it learns from


def test_the_first_photos_of_each_class_are_chosen_also_where_the_classes_lie_one_after_another():
    labels = np.repeat([0, 1, 2], [50, 4, 30])
    found = learning.chosen(np.zeros((84, 128, 128), np.uint8), labels)
    assert len(found.labels) == learning.BYTES // 128**2 == 95 or len(found.labels) == 84
    few = learning.chosen(np.zeros((84, 400, 400), np.uint8), labels)
    assert few.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2] and few.held_back == 0 and few.of == 84


def with_photos(**more):
    pixels, labels = page.training_set()
    learn = pixels[:300], labels[:300]
    return build.page(*page.networks(), build.Example(9, *page.test_set(), learn=learn, **more))


def test_the_photos_are_in_the_page_byte_by_byte():
    import base64
    import hashlib
    import zlib

    parts = page.Parts(with_photos())
    told = json.loads(parts.scripts["trace"])["learn"]
    raw = zlib.decompress(base64.b64decode(parts.scripts["learn-photos"], validate=True), -15)
    pixels, labels = (array[:300] for array in page.training_set())
    order = np.argsort(learning.ranks(labels), kind="stable")
    assert raw == pixels[order].tobytes() + labels[order].astype(np.uint8).tobytes() and told["count"] == 300
    pieces = [raw[at : at + told["piece"]] for at in range(0, len(raw), told["piece"])]
    assert told["sha256"] == [hashlib.sha256(one).hexdigest() for one in pieces] and len(pieces) == 3


@pytest.mark.parametrize(
    ("learn", "why"),
    [
        (None, "were not there"),
        ((np.zeros((9, 28, 28), np.uint8), np.arange(9)), "only 9 photos"),
        ((np.zeros((90, 28, 28), np.uint8), np.arange(90)), "of class 89 do not fit"),
        ((np.zeros((90, 20, 28), np.uint8), np.arange(90) % 9), r"uint8 \(20, 28\), not bytes \(28, 28\)"),
    ],
)
def test_a_page_without_photos_says_why(learn, why):
    import re

    text = build.page(*page.networks(), build.Example(9, *page.test_set(), learn=learn))
    said = re.search(r'<section id="learn">.*?</section>', text, re.S)[0]
    assert re.search(f"nothing to learn from: .*{why}", said) and "cnn train" in said
    assert 'id="school"' not in text and page.Parts(text).scripts.get("learn-photos", "") == ""


def test_what_acts_in_training_alone_is_named():
    pixels, labels = page.colour_photos()
    learn = np.repeat(pixels, 5, axis=0), np.repeat(labels, 5)
    model = page.OTHERS["colour"]()[0]
    said = build.page(model, None, build.Example(2, pixels, labels, learn=learn))
    assert "Left out here: random_flip, dropout" in said and "deviation are those of the batch itself" in said
    with pytest.raises(UsageError, match="beside weights and training photos"):
        build.check_size("x" * 1_500_011, 10)
