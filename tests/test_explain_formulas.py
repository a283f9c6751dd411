"""The steps as data: every sentence, evaluated, is the trace's entry; as JSON it can be evaluated by others."""

import json

import explain_models as nets
import numpy as np
import pytest

from cnn.explain import formulas, sentences, trace, voice
from cnn.explain.terms import Tensors, evaluate
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D
from cnn.models import Sequential

PLACES = 60  # of each tensor


def overlapping():
    """Strides of 3 and 2 with padding, windows of two sides, pools that overlap, and sizes that do not divide."""
    layers = [
        Conv2D(3, (5, 3), strides=(2, 3), padding="same", activation="relu", input_shape=(17, 19, 2)),
        MaxPooling2D((3, 2), strides=(2, 1), padding="same"),
        Conv2D(4, (2, 3), strides=(1, 2), padding="valid", activation="relu"),
        MaxPooling2D(2, strides=1),
        Flatten(),
        Dense(6, activation="relu"),
        Dense(5),
    ]
    photo = np.random.default_rng(4).normal(size=(17, 19, 2))
    return trace(nets.with_biases(Sequential(layers, seed=4)), photo, label=2)


NETWORKS = {name: lambda name=name: nets.traced(name) for name in nets.MODELS} | {"overlapping": overlapping}


def all_steps(t):
    beside = [formulas.find_step(t, name) for name in formulas.BESIDE]
    return [*formulas.steps(t), *[step for step in beside if formulas.has_step(t, step)]]


def all_sentences(t):
    for step in all_steps(t):
        found = formulas.formula(t, step)
        yield from [sentence for sentence in (found.sentence, *found.also) if sentence]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_sentence_is_true_at_random_places(name):
    rng, t = np.random.default_rng(0), NETWORKS[name]()
    tensors, checked, padded = Tensors(t), set(), 0
    for sentence in all_sentences(t):
        for _ in range(PLACES):
            at = {letter: int(rng.integers(size)) for letter, size in sentence.places}
            terms = evaluate(sentence, tensors, at)
            assert terms.value == tensors[sentence.out.tensor][terms.index]
            assert abs(terms.result - terms.value) <= 1e-12 * terms.size, (sentence.text, at)
            padded += not terms.inside.all()
        checked.add(sentence.out.tensor)
    assert padded or name == "dense"
    assert computed(t) <= checked


def computed(t):
    """The tensors of the trace, without the input, parameters, softmax, winners, and layers that have no sentence."""
    given = {"x", "p", *(stage.names[key] for stage in t.stages for key in stage.layer.params)}
    given |= {stage.names["winners"] for stage in t.stages if "winners" in stage.names}
    columns = {stage.names["columns"] for stage in t.stages[1:] if "columns" in stage.names}
    stages = [s for s in t.stages if formulas.kind_of(s) == "through"]
    through = {s.names[role] for s in stages for role in ("y", "dx", *(f"d{key}" for key in s.layer.learnable))}
    return set(t.tensors) - given - columns - through


def test_a_sentence_that_is_not_true_is_found():
    t = nets.traced("tiny")
    text = formulas.formula(t, formulas.find_step(t, "F6")).sentence.text
    wrong = sentences.parse(text.replace("i+u-1", "i+u"), {}, Tensors(t).shapes)
    terms = evaluate(wrong, Tensors(t), {"i": 6, "j": 8, "f": 2})
    assert abs(terms.result - terms.value) > 1e-3


def test_a_sentence_taken_apart():
    t = nets.traced("tiny")
    found = formulas.formula(t, formulas.find_step(t, "F6")).sentence.as_json()
    assert found["text"] == "z2[i,j,f] = b2[f] + SUM(u:3, v:3, c:3) p1[i+u-1, j+v-1, c] * W2[u,v,c,f]"
    assert found["out"] == {"tensor": "z2", "index": [[["i", 1]], [["j", 1]], [["f", 1]]]}
    assert found["places"] == [["i", 14], ["j", 14], ["f", 4]] and found["ranges"] == [["u", 3], ["v", 3], ["c", 3]]
    assert found["start"] == {"tensor": "b2", "index": [[["f", 1]]]} and found["operator"] == "SUM"
    assert found["factors"][0] == {
        "tensor": "p1",
        "index": [[["i", 1], ["u", 1], ["", -1]], [["j", 1], ["v", 1], ["", -1]], [["c", 1]]],
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("i", (("i", 1),)),
        ("i*2+u-1", (("i", 2), ("u", 1), ("", -1))),
        ("(r*7+s)*64+c", (("r", 448), ("s", 64), ("c", 1))),
        ("r-2*i", (("r", 1), ("i", -2))),
        ("0", (("", 0),)),
    ],
)
def test_indices_are_sums_of_letters(text, parts):
    assert sentences.linear(text) == parts


@pytest.mark.parametrize("text", ["z = x", "z[i] = x[i", "z[i] = SUM(u:3) x[i*u] * w[u]", "z[i] = x[i] / w[i]"])
def test_what_is_no_sentence_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        sentences.parse(text, {}, {"z": (3,), "x": (3,), "w": (3,)})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_gets_it_as_json(name):
    t = NETWORKS[name]()
    found = json.loads(json.dumps(formulas.for_page(t)))
    beside = [step.id for step in all_steps(t) if step.id in formulas.BESIDE]
    assert [step["id"] for step in found["steps"]] == [*[step.id for step in formulas.tour(t)], *beside, "T"]
    assert all(step["title"] and step["short"] and step["say"] for step in found["steps"])
    assert not any("{" in step[key] for step in found["steps"] for key in ("short", "title", "say", "formula"))
    assert all(found["lab"]["presets"][name][str(k)] for name in voice.PRESETS for k in voice.SIZES)


def test_the_article_s_names_stand_in_every_step():
    t = nets.traced("tiny")
    layers = {step.id: formulas.formula(t, step).layer for step in formulas.steps(t)}
    assert [layers[f"F{n}"] for n in range(2, 12)] == [
        *("conv1", "conv1", "conv1", "pool1", "conv2", "conv2", "pool2", "flatten", "dense", "output")
    ]


def test_filters_of_the_lab():
    assert voice.preset("sobel-x", 3).tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert voice.preset("outline", 3).tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert voice.preset("sobel-y", 5)[0].tolist() == [-2, -8, -12, -8, -2]
    for name in voice.PRESETS:
        for k in voice.SIZES:
            total = voice.preset(name, k).sum()
            assert total == pytest.approx(1.0 if name in ("identity", "blur") else 0.0)
    learned = np.arange(9.0).reshape(3, 3)
    assert voice.resized(learned, 5)[1:4, 1:4].tolist() == learned.tolist()
    assert voice.resized(learned, 1).tolist() == [[4.0]] and voice.resized(learned, 3).tolist() == learned.tolist()


@pytest.mark.parametrize(("name", "said"), [("Sandal", "a Sandal"), ("Ankle boot", "an Ankle boot")])
def test_the_article_before_a_name(name, said):
    assert voice.article(name) == said
