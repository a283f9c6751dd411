"""One photo's whole story through a network, as arrays: every activation, every gradient, and the update of one step.

The numbers come from the model's own layers, called in float64; beside them stand those of
the float32 layers that train and predict. Terminal, figures and page show what is in here
and compute no network value of their own.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import cnn
from cnn import models, photos
from cnn.checks import known
from cnn.datasets import fingerprint
from cnn.explain import glance
from cnn.layers import Conv2D, Dense, Flatten, Layer, Linear, MaxPooling2D, ReLU, Softmax
from cnn.layers.closing import closing_name
from cnn.losses import SparseCategoricalCrossentropy

Array = np.ndarray
SCHEMA = "cnn-explain-trace/1"
SURE = 0.01  # below this loss every gradient is almost 0, and the tour asks about another class instead

# The article's network: what each layer's tensors are called. Gradients put a d in front.
ARTICLE_KINDS = (Conv2D, MaxPooling2D, Conv2D, MaxPooling2D, Flatten, Dense, Dense)
ARTICLE_TENSORS = (
    *("columns=columns1 z=z1 y=a1 kernel=W1 bias=b1", "winners=argmax1 y=p1"),
    *("columns=columns2 z=z2 y=a2 kernel=W2 bias=b2", "winners=argmax2 y=p2"),
    *("y=f", "z=z3 y=a3 kernel=W3 bias=b3", "z=z4 y=z4 kernel=W4 bias=b4"),
)
ARTICLE_NAMES = [dict(pair.split("=") for pair in names.split()) for names in ARTICLE_TENSORS]
ARTICLE_LAYERS = ("conv1", "pool1", "conv2", "pool2", "flatten", "dense", "output")


class Stage(NamedTuple):
    """One layer (its float64 copy), the names of its tensors by their role, and what the steps call it.

    Roles: x, y (input, output), z (before the activation), columns, winners, kernel, bias,
    and dx, dy, dz, dkernel, dbias: the loss's derivative by each of them.
    """

    layer: Any  # a Layer; the steps read what its kind is made from
    names: dict[str, str]
    name: str  # conv1, pool1 and so on in the article's network; else the layer's own name


@dataclass(frozen=True, repr=False)
class Trace:
    """What `trace` returns. Tensors have no batch axis: x (28, 28, 1), z1 (28, 28, 32), W1 (3, 3, 1, 32), p (10,)."""

    model: models.Sequential  # as given: the network in production
    model64: models.Sequential
    stages: tuple[Stage, ...]
    tensors: dict[str, Array]  # float64; winners are int32
    production: dict[str, Array]  # the same tensors from the float32 layers; their backward starts from our dlogits
    photo: Array  # as given: bytes, or the network's input
    label: int | None  # the true class, where known
    predicted: int
    target: int  # the class whose loss the backward tour differentiates
    why: str  # why that class: "label", "other" (the network is too sure), "prediction" (no label) or "chosen"
    loss: float  # -log p[target]
    number: int | None = None  # 9 means test[8]
    source: str = ""  # the file of a photo of one's own
    moment: str = ""  # of article.MOMENTS, where the network is the article's at one of them

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]

    def get(self, stage: Stage, role: str) -> Array:
        """The tensor that plays this role at this stage: get(stages[0], "z") is z1."""
        return self.tensors[stage.names[role]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names; plain numbers where the model has none."""
        return photos.class_names(self.model)

    @property
    def title(self) -> str:
        """photo 9 = test[8], or the name of a file"""
        return photos.title(self.number) if self.number else self.source or "photo"

    @property
    def article(self) -> bool:
        """Whether this is the article's network, of any size."""
        return "W4" in self.tensors

    def __repr__(self) -> str:
        return glance.as_text(self)

    def _repr_html_(self) -> str:
        return glance.as_html(self)


def trace(
    model: models.Sequential,
    photo: Array,
    target: int | None = None,
    label: int | None = None,
    number: int | None = None,
    source: str = "",
    moment: str = "",
) -> Trace:
    """The trace of one photo (H, W) or (H, W, C): bytes 0..255, or floats as the network takes them.

    target: the class to explain; by default the label, or where its loss is under SURE (or
    there is no label and the network is sure) the strongest other class. moment: what to call the network.
    Raises ValueError for a model or photo that cannot be traced.
    """
    x = network_input(model, photo)
    model64 = model.astype(np.float64)
    stages = name_stages(model64.logit_layers())
    tensors, caches = run_forward(stages, model64.logit_layers(), x)
    target, why = choose_target(tensors["p"], target, label)
    loss, dlogits = loss_and_gradient(tensors[stages[-1].names["y"]], target)
    tensors |= run_backward(stages, model64.logit_layers(), caches, dlogits)

    model32 = model.astype(np.float32)
    production, caches = run_forward(stages, model32.logit_layers(), x.astype(np.float32))
    production |= run_backward(stages, model32.logit_layers(), caches, dlogits.astype(np.float32))
    for array in (*tensors.values(), *production.values()):
        array.flags.writeable = False
    photo, predicted = np.asarray(photo), int(np.argmax(tensors["p"]))
    classes = label, predicted, target, why, loss
    return Trace(model, model64, stages, tensors, production, photo, *classes, number, source, moment)


def network_input(model: models.Sequential, photo: Array) -> Array:
    """The photo as the network takes it, float64 with a batch axis: bytes are scaled, a missing channel is added."""
    if closing_name(model.closing) == "sigmoid":
        raise ValueError(
            f"{model}: expected a network that ends in softmax or in logits, got one that ends in sigmoid, "
            "whose outputs are not shares of one: the step-through has no view of them"
        )
    if not model.built or len(known(model.result_shape)) != 1:
        expected = "expected a built network that ends in one number for each class"
        raise ValueError(f"{model}: {expected}, got output {model.result_shape}")
    photo, shape = np.asarray(photo), known(model.photo_shape)
    fits = photo.shape[:2] == shape[:2] or len(shape) == 1
    if photo.size != np.prod(shape) or not fits:
        raise ValueError(f"{model}: expected a photo of shape {shape}, got {photo.shape}")
    scale = photos.input_scale(model) if photo.dtype == np.uint8 else 1.0
    # In float32 first, as in training, so that both passes start from the same numbers.
    return (photo.astype(np.float32) * np.float32(scale)).astype(np.float64).reshape(1, *shape)


def name_stages(layers: list[Layer]) -> tuple[Stage, ...]:
    """The layers with the names of their tensors: the article's short ones where they fit, else `<layer>:forward`."""
    article = tuple(map(type, layers)) == ARTICLE_KINDS
    article = article and all(isinstance(getattr(layers[k], "activation", None), ReLU) for k in (0, 2, 5))
    stages, x, dx = [], "x", "dx"
    for k, layer in enumerate(layers):
        names = {"x": x, "dx": dx} | (ARTICLE_NAMES[k] if article else _general_names(layer))
        last = k == len(layers) - 1
        names["dy"] = "dlogits" if last else f"d{names['y']}" if article else f"{layers[k + 1].name}:backward"
        if "z" in names:
            same = names["z"] == names["y"]
            names["dz"] = names["dy"] if same else f"d{names['z']}" if article else f"{layer.name}:dz"
        for role in layer.learnable:
            names[f"d{role}"] = f"d{names[role]}" if article else f"{names[role]}:gradient"
        stages.append(Stage(layer, names, ARTICLE_LAYERS[k] if article else known(layer.name)))
        x, dx = names["y"], names["dy"]
    return tuple(stages)


def is_relu(stage: Stage) -> bool:
    """Whether this layer's own activation is a ReLU."""
    return "z" in stage.names and isinstance(stage.layer.activation, ReLU)


def _general_names(layer):
    names = {"y": f"{layer.name}:forward"} | {key: f"{layer.name}/{key}" for key in layer.params}
    if isinstance(layer, Conv2D | Dense):  # others are shown from their input to their output
        names["z"] = names["y"] if isinstance(layer.activation, Linear) else f"{layer.name}:z"
    if isinstance(layer, Conv2D):
        names["columns"] = f"{layer.name}:columns"
    if isinstance(layer, MaxPooling2D):
        names["winners"] = f"{layer.name}:winners"
    return names


def run_forward(stages: Sequence[Stage], layers: list[Layer], x: Array) -> tuple[dict[str, Array], list]:
    """The layers' own forward: every tensor by its name, without the batch axis, and the layers' caches."""
    y, tensors, caches = x, {"x": x[0]}, []
    for stage, layer in zip(stages, layers, strict=True):
        y, cache = layer.forward(y)
        kept = {role: getattr(cache, role)[0] for role in ("columns", "z", "winners") if role in stage.names}
        tensors |= {stage.names[role]: array for role, array in ({"y": y[0]} | kept | layer.params).items()}
        caches.append(cache)
    tensors["p"] = Softmax().forward(y)[0][0]
    return tensors, caches


def run_backward(stages: Sequence[Stage], layers: list[Layer], caches: list, dlogits: Array) -> dict[str, Array]:
    """The layers' own backward from dlogits (C,): the loss's derivative by every tensor and parameter."""
    dy, tensors = dlogits[None], {"dlogits": dlogits}
    for stage, layer, cache in reversed(list(zip(stages, layers, caches, strict=True))):
        if "z" in stage.names:
            tensors[stage.names["dz"]] = layer.activation.backward(dy, cache.activation)[0][0]
        dy, grads = layer.backward(dy, cache)
        tensors |= {stage.names[f"d{key}"]: grad for key, grad in grads.items()} | {stage.names["dx"]: dy[0]}
    return tensors


def choose_target(p: Array, target: int | None, label: int | None) -> tuple[int, str]:
    """The class that the backward tour explains, and why: see Trace. Raises ValueError for a class not there."""
    if target is not None:
        if not 0 <= target < len(p):
            raise ValueError(f"target: expected a class from 0 to {len(p) - 1}, got {target}")
        return int(target), "chosen"
    wanted = int(np.argmax(p)) if label is None else int(label)
    if -np.log(max(p[wanted], np.finfo(float).tiny)) >= SURE or len(p) == 1:
        return wanted, "prediction" if label is None else "label"
    others = np.where(np.arange(len(p)) == wanted, -1.0, p)
    return int(np.argmax(others)), "other"


def loss_and_gradient(logits: Array, target: int) -> tuple[float, Array]:
    """(-log p[target], p - onehot(target)) by the loss that training uses."""
    compute = SparseCategoricalCrossentropy().loss_and_gradient
    loss, dlogits = compute(np.array([target]), logits[None], 1, from_logits=True)
    return loss, dlogits[0]


def loss_with(t: Trace, changed: dict[str, Array]) -> float:
    """The loss of a full forward pass in float64 in which these parameters ("conv2d/kernel": array) are replaced."""
    model = t.model64.astype(np.float64)
    for name, layer in model.flat():
        layer.params = {key: changed.get(f"{name}/{key}", value) for key, value in layer.params.items()}
    logits, _ = models.forward(model.logit_layers(), t["x"][None])
    return loss_and_gradient(logits[0], t.target)[0]


class Update(NamedTuple):
    """One step of plain gradient descent, w - learning_rate * dLoss/dw: for one weight alone, and for all at once."""

    learning_rate: float
    w: float
    gradient: float
    new_w: float
    loss: float
    loss_one: float  # when only this weight has moved
    loss_all: float  # when every weight has taken its own step


def update(t: Trace, stage: Stage, index: tuple[int, ...], learning_rate: float = 0.01, role: str = "kernel") -> Update:
    """The step for the weight at `index` of this stage's kernel (or bias). Both new losses are full forward passes."""
    moved = {}
    for other in t.stages:
        for key in other.layer.learnable:
            moved[f"{other.layer.name}/{key}"] = t.get(other, key) - learning_rate * t.get(other, f"d{key}")
    name = f"{stage.layer.name}/{role}"
    one = t.get(stage, role).copy()
    one[index] = moved[name][index]
    w, gradient = t.get(stage, role)[index], t.get(stage, f"d{role}")[index]
    return Update(learning_rate, w, gradient, one[index], t.loss, loss_with(t, {name: one}), loss_with(t, moved))


def to_json(t: Trace, names: list[str] | None = None) -> dict:
    """The trace as JSON can hold it; names: only these tensors.

    {"schema", "version", "network": {...}, "photo": {...}, "loss", ..., "tensors": {name: {"shape", "dtype", "data"}},
    "production": the same in float32}. data is base64 of the values, little-endian, last axis fastest. Parameters
    stand under "production" only: their float64 values are the same numbers.
    """
    parameters = {stage.names[key] for stage in t.stages for key in stage.layer.params}
    chosen = set(t.tensors if names is None else names)
    told = lambda s: (s.layer.name, type(s.layer).__name__, list(s.layer.output_shape), s.names)
    layers = [dict(zip(("name", "kind", "shape", "tensors"), told(s), strict=True)) for s in t.stages]
    network = {
        "name": t.model.name,
        "seed": t.model.seed,
        "moment": t.moment or None,
        "sha256": fingerprint(*t.model.params.values()),
    }
    return {
        "schema": SCHEMA,
        "version": cnn.__version__,
        "network": network | {"layers": layers},
        "photo": {"number": t.number, "index": None if t.number is None else t.number - 1, "source": t.source},
        "classes": list(t.class_names),
        **{key: getattr(t, key) for key in ("label", "predicted", "target", "why", "loss")},
        "tensors": {name: encode(array) for name, array in t.tensors.items() if name in chosen - parameters},
        "production": {name: encode(array) for name, array in t.production.items() if name in chosen},
    }


def encode(array: Array) -> dict:
    """{"shape", "dtype", "data"} with the values in base64; `decode` is its inverse, bit for bit."""
    dtype = array.dtype.newbyteorder("<")
    data = base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode("ascii")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "data": data}


def decode(entry: dict) -> Array:
    """The array that `encode` wrote."""
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(entry["data"]), dtype).reshape(entry["shape"]).astype(entry["dtype"])
