"""folded(model): the same answers from fewer layers, for a model whose training is done."""

import copy
from typing import TypeVar

import numpy as np

from cnn.checks import known
from cnn.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    Linear,
    MaxPooling2D,
    Noise,
    RandomLayer,
    ReLU,
    Weighted,
)
from cnn.network import Network

Array = np.ndarray
N = TypeVar("N", bound=Network)


def folded(model: N) -> N:
    """A copy that predicts the same, to rounding: without layers that act in training alone, with others made one.

    Left out are Dropout, noise and the random layers. A BatchNormalization is y = s * x + t for each channel, with
    s = gamma / sqrt(moving_variance + epsilon) and t = beta - s * moving_mean. Behind a convolution or Dense layer
    without activation that is the same layer with another kernel and bias:
        s * (x @ kernel + bias) + t = x @ (s * kernel) + (s * bias + t)
    Max pooling may stand between them where no s is below 0: what grows with x has the same winners. A ReLU, which
    grows too, becomes the activation of the layer. What cannot be folded stays.

    The copy is compiled as the model was, with an optimizer that remembers nothing. Raises ValueError before the model
    is built.

    >>> from cnn.models import Sequential
    >>> layers = [Conv2D(2, 3, input_shape=(6, 6, 1)), MaxPooling2D(), BatchNormalization(), ReLU(), Dropout(0.5)]
    >>> for layer in folded(Sequential(layers)).layers:
    ...     print(layer, layer.arguments_text())
    Conv2D "conv2d" filters=2, kernel_size=(3, 3), activation='relu'
    MaxPooling2D "max_pooling2d" strides=(2, 2)
    """
    model.require_built("folded")
    kept: list[Layer] = []
    for name, layer in model.flat():
        if isinstance(layer, Dropout | Noise | RandomLayer) or _becomes_part(layer, kept):
            continue
        own = copy.copy(layer)
        own.name, own.params = name.replace("/", "_"), {key: value.copy() for key, value in layer.params.items()}
        kept.append(own)
    result = type(model)(name=model.name, seed=model.seed)
    result.lay_out(kept or [Linear()], known(model.photo_shape))
    known_of_it = "shards", "dtype", "epoch", "loss", "metrics", "class_names", "input_scale", "preparation", "made_by"
    for name in known_of_it:
        setattr(result, name, copy.deepcopy(getattr(model, name)))
    if model.optimizer is not None:
        result.optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    return result


def _becomes_part(layer: Layer, kept: list[Layer]) -> bool:
    """Make the layer a part of the one that it follows, if that can be."""
    if type(layer) is BatchNormalization:
        scale, shift = _as_line(layer)
        weighted = _without_activation(kept, grows=bool((scale >= 0).all()))
        if weighted is not None:
            bias = weighted.params.get("bias", np.zeros_like(shift))
            weighted.params = {"kernel": weighted.params["kernel"] * scale, "bias": bias * scale + shift}
            weighted.use_bias = True
            return True
    activation = layer.activation if type(layer) is Activation else layer
    if type(activation) is ReLU:
        weighted = _without_activation(kept, grows=True)
        if weighted is not None:
            weighted.activation = ReLU()
            return True
    return False


def _as_line(layer: BatchNormalization) -> tuple[Array, Array]:
    """(s, t) of y = s * x + t, as it is outside training, in float64's precision until the end."""
    params = {key: value.astype(np.float64) for key, value in layer.params.items()}
    mean, variance = params["moving_mean"], params["moving_variance"]
    scale = params.get("gamma", np.ones_like(mean)) / np.sqrt(variance + layer.epsilon)
    shift = params.get("beta", np.zeros_like(mean)) - scale * mean
    dtype = layer.params["moving_mean"].dtype
    return scale.astype(dtype), shift.astype(dtype)


def _without_activation(kept: list[Layer], grows: bool) -> Weighted | None:
    """The convolution or Dense layer without activation at the end; before max pooling too, for what grows with x."""
    before = kept[:-1] if grows and kept and type(kept[-1]) is MaxPooling2D else kept
    last = before[-1] if before else None
    linear = isinstance(last, Weighted) and type(last) in (Conv2D, Dense) and type(last.activation) is Linear
    return last if linear and isinstance(last, Weighted) else None
