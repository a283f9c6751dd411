"""What the benchmarks claim: that their reports are what was measured, and that a wrong network is never timed."""

import importlib
import itertools
import json

import numpy as np
import pytest
from test_readme import ROOT

from benchmarks import article, cores, family, networks, peers, plain_numpy, report, step
from benchmarks.child import Child, ChildError
from cnn import layers, models
from cnn.article import convolutional

RESULTS = ROOT / "benchmarks" / "results"


def with_whole_numbers(document):
    """JSON has made text of keys that were numbers."""
    return {int(key) if key.isdecimal() else key: value for key, value in document.items()}


@pytest.mark.parametrize("name", ["kernels", "step", "cores", "scaling", "peers", "family", "ranks"])
def test_a_report_says_what_was_measured(name):
    """The Markdown is made from the figures beside it, and nothing in it was written by hand."""
    module = importlib.import_module(f"benchmarks.{name}")
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"), object_hook=with_whole_numbers)
    about = found.pop("about")
    if name == "peers":
        assert found.pop("targets") == peers.judge(found)
        text = peers.markdown(found, peers.judge(found))
    else:
        text = module.markdown(found if name in ("kernels", "family") else next(iter(found.values())))
    written = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    head = "; ".join(f"{key}: {value}" for key, value in about.items())
    assert written.partition("\n\n")[2] == f"{head}\n\n{text}"


def test_the_yardstick_computes_the_same_network():
    """plain_numpy.py, whose losses all contenders must have, against our plain layers: loss and all gradients."""
    x, y = article.photos("test", 8)
    model = convolutional(seed=1)
    model.compile("adam", "sparse_categorical_crossentropy")
    weights = [w + np.float32(0.01) for w in article.start_weights()]
    model.set_weights(weights)
    loss, grads = model.loss_and_gradients(x, y)
    network = plain_numpy.Network(weights)
    assert network.train(x, y) == pytest.approx(loss, rel=1e-6)
    theirs = [grad for layer in network.layers if layer.params for grad in layer.grads]
    for key, grad in zip(model.params, theirs, strict=True):
        np.testing.assert_allclose(grad, grads[key], rtol=0, atol=2e-6 * np.abs(grads[key]).max(), err_msg=key)
    model.optimizer.update(model.params, grads)
    for ours, w in zip(model.get_weights(), (w for layer in network.layers for w in layer.params), strict=True):
        np.testing.assert_allclose(w, ours, rtol=0, atol=1e-5)


class Answers:
    """A child that always says the same."""

    def __init__(self, losses, probabilities):
        self.answer = {"losses": losses, "probabilities": [probabilities]}

    def ask(self, do, **arguments):
        return self.answer


@pytest.mark.parametrize(
    ("losses", "probabilities", "message"),
    [
        ([2.3, 2.1], [0.25, 0.75], None),
        ([2.3, 2.2], [0.25, 0.75], "expected the losses of plain NumPy"),
        ([2.3, float("nan")], [0.25, 0.75], "expected the losses of plain NumPy"),
        ([2.3, 2.1], [0.26, 0.74], "expected the probabilities of plain NumPy"),
    ],
)
def test_a_wrong_network_is_never_timed(losses, probabilities, message):
    children = {"plain": Answers([2.3, 2.1], [0.25, 0.75]), "torch": Answers(losses, probabilities)}
    if message is None:
        assert peers.check(children, list(children)) == {"plain": 0, "torch": 0}
    else:
        with pytest.raises(ChildError, match=f"torch: {message}"):
            peers.check(children, list(children))


def test_who_only_infers_has_no_losses_to_compare():
    children = {"plain": Answers([2.3, 2.1], [0.25, 0.75]), "onnx": Answers([], [0.25, 0.75])}
    del children["onnx"].answer["losses"]
    assert peers.check(children, list(children)) == {"plain": 0}


def test_ratios_are_taken_round_by_round():
    assert report.ratio([2, 8, 3], [1, 2, 3]) == {"median": 2, "min": 1, "max": 4, "count": 3}
    calls = []
    values = report.alternate(3, {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"})
    assert [sorted(calls[k : k + 3]) for k in range(0, 12, 3)] == [["a", "b", "c"]] * 4
    assert len({"".join(calls[k : k + 3]) for k in range(0, 12, 3)}) > 1  # not always the same one after the same
    assert sorted(itertools.chain(*values.values())) == list(range(4, 13))  # the first round only warms up


def test_a_child_that_fails_says_why():
    with (
        Child("benchmarks.worker", "cnn", "1", "28,28,1") as child,
        pytest.raises(ChildError, match="train: .*batch_size"),
    ):
        child.ask("train", batch=-1, count=8)
    with (
        Child("benchmarks.worker", "nobody", "1", "28,28,1") as child,
        pytest.raises(ChildError, match="KeyError: 'nobody'"),
    ):
        child.ask("describe")


def test_the_parts_of_a_step_make_up_the_whole():
    parts = step.measure(batch=8, steps=6)
    whole = parts.pop("all")
    assert len(parts) == 11 and all(len(times) == 6 for times in parts.values())
    np.testing.assert_allclose(sum(parts.values()), whole)
    assert all((times > 0).all() for times in parts.values())


def test_the_model_of_many_cores():
    """Loops over two shards gain nothing from a third core; what one thread does alone stays as it is."""
    alone = {"step": 1.0, "loops": {2: 0.4, 32: 0.4}, "calls": 10}
    assert cores.outside(alone) == pytest.approx(0.2)
    for count, expected in ((1, 1.0), (2, 0.2 + 0.2 + 0.2 + 0.01), (4, 0.2 + 0.2 + 0.1 + 0.02), (32, 0.4125 + 0.05)):
        assert cores.predicted(alone, count, begin=0.001) == pytest.approx(expected)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_of_the_family_is_what_cnn_makes_of_it(name):
    network = networks.NETWORKS[name]
    model = models.Sequential([getattr(layers, kind)(**options) for kind, options in network.layers])
    model.build((None, *network.shape))
    steps = [one for one in networks.steps(network) if one.kind != "DepthwiseConv2D"]  # SeparableConv2D's first step
    for step_, layer in zip(steps, model.layers, strict=True):
        assert (step_.before, step_.after) == (layer.input_shape, layer.output_shape)
        if type(layer).__name__ in ("Conv2D", "MaxPooling2D", "AveragePooling2D"):
            window = layer.kernel_size if step_.kind == "Conv2D" else layer.pool_size
            assert step_.pads == layers.place_windows(layer, layer.input_shape, window)[2]
    assert [w.shape for w in article.start_weights(0, network)] == [w.shape for w in model.get_weights()]
    assert all(kind != "Dropout" for kind, _ in networks.without_dropout(network).layers)


def family_found():
    """As if two networks had been measured, in two rounds."""
    two = {"cnn": [1.0, 2.0], "cnn-avx2": [2.0, 4.0], "torch": [2.0, 4.0], "torch-last": [3.0, 6.0]}
    slow = {"cnn": [4.0, 4.0], "cnn-avx2": [8.0, 8.0], "torch": [2.0, 3.0], "torch-last": [9.0, 9.0]}
    two["torch-avx2"], slow["torch-avx2"] = [4.0, 8.0], [4.0, 6.0]
    return {
        "contenders": {name: {} for name in two},
        "networks": {
            "article": {"batch": 32, "training": two, "inference": two},
            "dense 128": {"batch": 32, "training": slow, "inference": slow},
            "article, batch 1": {"batch": 1, "training": two},
        },
    }


def test_the_family_is_judged_by_its_mean_and_its_worst():
    factors = family.ratios(family_found())
    assert list(factors) == ["training", "inference", "training, both with AVX2", "inference, both with AVX2"]
    assert {name: row["median"] for name, row in factors["training"].items()} == {
        "article": 2,
        "dense 128": 0.625,  # of the better of PyTorch's layouts
        "article, batch 1": 2,
    }
    mean, worst, factor = family.summary(factors["inference"])
    assert (mean, worst, factor) == (pytest.approx((2 * 0.625) ** 0.5), "dense 128", 0.625)
    text = family.markdown(family_found())
    assert "| training, the worst: dense 128 | 0.625 | 1.3 | no |" in text
    assert "| dense 128 | 32 | 0.625 (0.5-0.75) |" in text
    assert "| geometric mean |  | 1.36 | 1.12 |" in text


def test_the_picture_of_the_family(tmp_path):
    family.plot(family_found(), tmp_path / "family.png")
    assert (tmp_path / "family.png").stat().st_size > 5000


def test_a_child_turns_to_another_network():
    with Child("benchmarks.worker", "cnn", "1", "28,28,1") as child:
        child.ask("turn_to", network="strides")
        answer = child.ask("check", batch=4, steps=2)
        child.ask("turn_to", network="64x64x3")
        other = child.ask("check", batch=4, steps=2)
    assert len(answer["losses"]) == len(other["losses"]) == 2
    assert answer["losses"] != other["losses"]
    assert np.shape(answer["probabilities"]) == np.shape(other["probabilities"]) == (100, 10)
