"""The trace: names, agreement with the production layers, every tensor recomputed by plain loops at chosen cells."""

import itertools
import json
import math

import explain_models as nets
import numpy as np
import pytest

from cnn.explain import trace
from cnn.explain.trace import choose_target, decode, loss_with, to_json, update
from cnn.layers import Conv2D, Dense, Flatten
from cnn.models import Sequential

ARTICLE = {
    "x",
    "columns1",
    "z1",
    "a1",
    "p1",
    "argmax1",
    "columns2",
    "z2",
    "a2",
    "p2",
    "argmax2",
    "f",
    "z3",
    "a3",
    "z4",
    "p",
    "W1",
    "b1",
    "W2",
    "b2",
    "W3",
    "b3",
    "W4",
    "b4",
    "dlogits",
    "dW4",
    "db4",
    "da3",
    "dz3",
    "dW3",
    "db3",
    "df",
    "dp2",
    "da2",
    "dz2",
    "dW2",
    "db2",
    "dp1",
    "da1",
    "dz1",
    "dW1",
    "db1",
    "dx",
}


def test_the_article_network_has_the_short_names():
    t = nets.traced("tiny")
    assert set(t.tensors) == ARTICLE == set(t.production)
    assert t.article and not nets.traced("odd").article
    assert t["z2"].shape == (14, 14, 4) and t["dW1"].shape == (3, 3, 1, 3) and t["x"].shape == (28, 28, 1)


def test_other_networks_are_named_after_their_layers():
    tensors = nets.traced("dense").tensors
    assert {
        "flatten:forward",
        "dense:z",
        "dense:forward",
        "dense/kernel",
        "dense/kernel:gradient",
        "dense:backward",
        "dx",
    } <= set(tensors)


@pytest.mark.parametrize("name", nets.MODELS)
@pytest.mark.parametrize("number", [9, 12, 1])
def test_float32_layers_agree(name, number):
    t = nets.traced(name, number)
    assert set(t.tensors) == set(t.production)
    for key, exact in t.tensors.items():
        assert t.production[key].dtype == (exact.dtype if exact.dtype == np.int32 else np.float32)
        limit = 1e-5 * max(np.abs(exact).max(), 1e-300)
        assert np.abs(t.production[key] - exact.astype(np.float64)).max() <= limit, key


@pytest.mark.parametrize("name", nets.MODELS)
def test_gradients_are_those_of_training(name):
    t = nets.traced(name)
    model = t.model64.astype(np.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    loss, grads, dx = model.loss_and_gradients(t["x"][None], np.array([t.target]), input_gradient=True)
    assert loss == pytest.approx(t.loss, rel=1e-12)
    np.testing.assert_allclose(t["dx"], dx[0], rtol=1e-9, atol=1e-14)
    for stage, key in ((s, key) for s in t.stages for key in s.layer.learnable):
        np.testing.assert_allclose(t.get(stage, f"d{key}"), grads[f"{stage.layer.name}/{key}"], rtol=1e-9, atol=1e-14)


def test_tracing_leaves_the_model_alone_and_the_trace_cannot_be_changed():
    model = nets.tiny()
    before = model.get_weights()
    t = trace(model, nets.test_set()[0][0])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    with pytest.raises(ValueError, match="read-only"):
        t["z1"][0] = 0


# ---- plain loops: each tensor from the one before it, the first from the bytes of the file


def padded(values, i, j):
    return values[i][j] if 0 <= i < len(values) and 0 <= j < len(values[0]) else 0.0


CELLS = [(0, 0), (27, 27), (13, 8), (5, 27)]


@pytest.mark.parametrize("number", [9, 12])
def test_forward_by_plain_loops(number):
    t = nets.traced("tiny", number)
    photo = nets.test_set()[0][number - 1]
    x = [[float(np.float32(int(byte)) * np.float32(1 / 255)) for byte in row] for row in photo]
    for (i, j), f in itertools.product(CELLS, range(3)):
        z = float(t["b1"][f])
        for u, v in itertools.product(range(3), range(3)):
            z += padded(x, i + u - 1, j + v - 1) * float(t["W1"][u, v, 0, f])
        assert z == pytest.approx(t["z1"][i, j, f], rel=1e-12, abs=1e-14)
        assert t["a1"][i, j, f] == max(t["z1"][i, j, f], 0.0)
    for (i, j), f in itertools.product([(0, 0), (6, 4), (13, 13)], range(3)):
        window = [t["a1"][2 * i + u, 2 * j + v, f] for u in (0, 1) for v in (0, 1)]
        assert t["p1"][i, j, f] == max(window) and t["argmax1"][i, j, f] == window.index(max(window))
    for (i, j), f in itertools.product([(0, 0), (6, 4), (13, 13)], range(4)):
        z = float(t["b2"][f])
        for u, v, c in itertools.product(range(3), range(3), range(3)):
            z += padded(t["p1"][:, :, c], i + u - 1, j + v - 1) * float(t["W2"][u, v, c, f])
        assert z == pytest.approx(t["z2"][i, j, f], rel=1e-12, abs=1e-14)
    for r, s, c in itertools.product(range(7), range(7), range(4)):
        assert (
            t["f"][(r * 7 + s) * 4 + c]
            == t["p2"][r, s, c]
            == max(t["a2"][2 * r + u, 2 * s + v, c] for u in (0, 1) for v in (0, 1))
        )
    for name_x, name_w, name_b, name_z, unit in (("f", "W3", "b3", "z3", 17), ("a3", "W4", "b4", "z4", 5)):
        z = float(t[name_b][unit]) + math.fsum(
            float(a) * float(w) for a, w in zip(t[name_x], t[name_w][:, unit], strict=True)
        )
        assert z == pytest.approx(t[name_z][unit], rel=1e-12, abs=1e-14)
    total = math.fsum(math.exp(z) for z in t["z4"])
    assert [math.exp(z) / total for z in t["z4"]] == pytest.approx(t["p"].tolist(), rel=1e-12)
    assert t.loss == pytest.approx(-math.log(t["p"][t.target]), rel=1e-12)


@pytest.mark.parametrize("number", [9, 12])
def test_backward_by_plain_loops(number):
    t = nets.traced("tiny", number)
    assert t["dlogits"].tolist() == pytest.approx([p - (k == t.target) for k, p in enumerate(t["p"])], rel=1e-12)
    n, u = 17, 5
    assert t["dW4"][n, u] == pytest.approx(t["a3"][n] * t["dlogits"][u], rel=1e-12)
    assert t["da3"][n] == pytest.approx(math.fsum(t["W4"][n, k] * t["dlogits"][k] for k in range(10)), rel=1e-10)
    assert all(t["dz3"][k] == (t["da3"][k] if t["z3"][k] > 0 else 0) for k in range(128))
    assert t["df"][33] == pytest.approx(math.fsum(t["W3"][33, k] * t["dz3"][k] for k in range(128)), rel=1e-10)
    for r, s, c in [(0, 0, 0), (3, 3, 1), (6, 6, 3)]:
        assert t["dp2"][r, s, c] == t["df"][(r * 7 + s) * 4 + c]
    for i, j, f in [(0, 0, 0), (6, 7, 1), (13, 13, 3)]:
        won = t["argmax2"][i // 2, j // 2, f] == (i % 2) * 2 + j % 2
        assert t["da2"][i, j, f] == (t["dp2"][i // 2, j // 2, f] if won else 0)
        assert t["dz2"][i, j, f] == (t["da2"][i, j, f] if t["z2"][i, j, f] > 0 else 0)
    for name_x, name_d, name_w, size, weights in (
        ("p1", "dz2", "dW2", 14, [(0, 2, 1, 3), (1, 1, 0, 0)]),
        ("x", "dz1", "dW1", 28, [(2, 0, 0, 2), (0, 0, 0, 1)]),
    ):
        for u, v, c, f in weights:
            terms = [
                padded(t[name_x][:, :, c], i + u - 1, j + v - 1) * t[name_d][i, j, f]
                for i, j in itertools.product(range(size), range(size))
            ]
            assert t[name_w][u, v, c, f] == pytest.approx(math.fsum(terms), rel=1e-10, abs=1e-13)
            assert t[name_w.replace("W", "b")][f] == pytest.approx(
                math.fsum(t[name_d][:, :, f].flat), rel=1e-10, abs=1e-13
            )
    for name_d, name_w, name_dx, places in (
        ("dz2", "W2", "dp1", [(0, 0, 1), (6, 7, 2)]),
        ("dz1", "W1", "dx", [(27, 13, 0), (13, 8, 0)]),
    ):
        filters = t[name_w].shape[3]
        for r, s, c in places:
            terms = [
                padded(t[name_d][:, :, f], r - u + 1, s - v + 1) * t[name_w][u, v, c, f]
                for u, v, f in itertools.product(range(3), range(3), range(filters))
            ]
            assert t[name_dx][r, s, c] == pytest.approx(math.fsum(terms), rel=1e-10, abs=1e-13)


# ---- target, update, JSON, errors


def test_a_sure_network_is_asked_about_the_strongest_other_class():
    t = nets.traced("sure")
    p = t["p"]
    other = int(np.argsort(-p)[1])
    if t.predicted == t.label:
        assert (t.target, t.why) == (other, "other")
    assert choose_target(np.array([0.995, 0.004, 0.001]), None, 0) == (1, "other")
    assert choose_target(np.array([0.9, 0.09, 0.01]), None, 0) == (0, "label")
    assert choose_target(np.array([0.9, 0.09, 0.01]), None, 2) == (2, "label")
    assert choose_target(np.array([0.9, 0.09, 0.01]), None, None) == (0, "prediction")
    assert choose_target(np.array([1.0, 0.0]), 1, 0) == (1, "chosen")
    with pytest.raises(ValueError, match="expected a class from 0 to 1, got 2"):
        choose_target(np.array([1.0, 0.0]), 2, 0)


def test_one_step_of_one_weight_and_of_all():
    t = nets.traced("tiny")
    index = (1, 1, 0, 2)
    step = update(t, t.stages[0], index, 0.05)
    assert step.new_w == t["W1"][index] - 0.05 * t["dW1"][index]
    model = t.model64.astype(np.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.layers[0].params["kernel"][index] = step.new_w
    assert step.loss_one == pytest.approx(model.loss_and_gradients(t["x"][None], np.array([t.target]))[0], rel=1e-13)
    model = t.model64.astype(np.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    _, grads = model.loss_and_gradients(t["x"][None], np.array([t.target]))
    model.set_weights([w - 0.05 * grads[name] for name, w in model.params.items()])
    assert step.loss_all == pytest.approx(model.loss_and_gradients(t["x"][None], np.array([t.target]))[0], rel=1e-12)
    assert step.loss_all < step.loss_one < t.loss == loss_with(t, {})


def test_json_gives_back_every_bit():
    t = nets.traced("tiny")
    document = json.loads(json.dumps(to_json(t)))
    assert document["schema"] == "cnn-explain-trace/1" and document["photo"] == {"number": 9, "index": 8, "source": ""}
    parameters = {"W1", "b1", "W2", "b2", "W3", "b3", "W4", "b4"}
    assert set(document["tensors"]) == ARTICLE - parameters and set(document["production"]) == ARTICLE
    for part, tensors in (("tensors", t.tensors), ("production", t.production)):
        for name, entry in document[part].items():
            back = decode(entry)
            assert back.dtype == tensors[name].dtype and np.array_equal(back, tensors[name])
    for name in parameters:
        assert np.array_equal(decode(document["production"][name]).astype(np.float64), t[name])
    assert set(to_json(t, ["z1", "dx"])["tensors"]) == {"z1", "dx"}


@pytest.mark.parametrize("shape", [(28, 29), (14, 56), (28, 28, 3), (784,)])
def test_a_photo_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected a photo of shape \(28, 28, 1\)"):
        trace(nets.tiny(), np.zeros(shape))


def test_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match="one number for each class"):
        trace(Sequential([Conv2D(2, 3, input_shape=(28, 28, 1))]), np.zeros((28, 28)))


def test_a_network_whose_outputs_are_not_shares_of_one_is_refused():
    model = Sequential([Conv2D(2, 3, input_shape=(28, 28, 1)), Flatten(), Dense(10, activation="sigmoid")])
    with pytest.raises(ValueError, match="ends in softmax or in logits, got one that ends in sigmoid"):
        trace(model, np.zeros((28, 28)))


def test_floats_are_taken_as_they_are():
    photo = nets.test_set()[0][8]
    scaled = trace(nets.tiny(), (photo * np.float32(1 / 255)).astype(np.float32))
    assert np.array_equal(scaled["x"], nets.traced("tiny")["x"])
