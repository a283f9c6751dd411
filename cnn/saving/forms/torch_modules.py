"""A network in PyTorch's words: for each layer the modules of an nn.Sequential, and how their weights lie.

PyTorch takes photos as (N, C, H, W) and numbers the cells of a flattened photo in that order. So kernels are turned
around, and the rows of the first Dense behind a Flatten take another order. It pads evenly, so what Keras' 'same'
adds on one side alone becomes a module of its own. What PyTorch has no module for is an Apply of a formula; what acts
in training alone, and is not there, is an nn.Identity, and the code says so.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, layers
from cnn.layers import Layer, place_windows
from cnn.network import Network

Array = np.ndarray
Shape = tuple[int, ...]
MOST_NUMBERS = 4096  # that a formula may hold: the mean of each cell of a photo would be no code to read


class Layout(NamedTuple):
    """One array of ours in PyTorch: there = ours.reshape(split).transpose(order).reshape(shape)."""

    ours: str  # "conv2d/kernel"
    split: Shape
    order: tuple[int, ...]
    shape: Shape
    flat: bool = False  # whether ours is (H*W*C, units), not the split

    def there(self, array: Array) -> Array:
        """Our array as PyTorch keeps it."""
        return np.ascontiguousarray(array.reshape(self.split).transpose(self.order).reshape(self.shape))

    def here(self, array: Array) -> Array:
        """PyTorch's array as we keep it."""
        turned = array.reshape([self.split[axis] for axis in self.order]).transpose(np.argsort(self.order))
        return np.ascontiguousarray(turned.reshape(-1, self.split[-1]) if self.flat else turned)


class Module(NamedTuple):
    """One module of the nn.Sequential."""

    code: str  # "nn.Conv2d(1, 32, 3, padding=1)"
    layer: Layer
    weights: dict[str, Layout] = {}  # {"weight": ...}
    constants: dict[str, Array] = {}  # what PyTorch keeps and we do not


class Refused(ValueError):
    """A layer that PyTorch cannot compute so; the error names it."""


def modules(network: Network) -> list[Module]:
    """All modules, in order: what stands at k is called "k.weight" in a state_dict. Raises ValueError."""
    found: list[Module] = []
    flat = list(network.flat())
    flattened: Shape | None = None  # the photo whose numbers stand in PyTorch's order
    for k, (name, layer) in enumerate(flat):
        if isinstance(layer, layers.Flatten) and len(_shape(layer)) == 3:
            flattened = _shape(layer) if _reaches_dense([one for _, one in flat[k + 1 :]]) else None
            found += (
                [Module("nn.Flatten()", layer)] if flattened else _reshaped(layer, checks.known(layer.output_shape))
            )
        elif isinstance(layer, layers.Dense) and flattened:
            found += _dense(layer, name, flattened)
            flattened = None
        else:
            found += _modules_of(layer, name)
    return found


def _reaches_dense(following: list[Layer]) -> bool:
    """Whether a Dense comes before the first layer for which the order of a row's numbers matters."""
    for layer in following:
        if isinstance(layer, layers.Dense):
            return True
        if layer.param_shapes(_shape(layer)) or not isinstance(layer, FREE_OF_ORDER):
            return False
    return False


ACT_IN_TRAINING = (layers.Noise, layers.RandomLayer)  # and PyTorch has none of them
FREE_OF_ORDER = (layers.Dropout, layers.Activation, layers.ActivationFunction, *ACT_IN_TRAINING)


def _modules_of(layer: Layer, name: str) -> list[Module]:
    """The modules of one layer, whatever stands before it."""
    for kind, make in TABLE.items():
        if isinstance(layer, kind):
            return make(layer, name)
    raise Refused(f"{layer}: PyTorch has no module for it here")


def _shape(layer) -> Shape:
    return checks.known(layer.input_shape)


def _plain(key: str, size: int) -> Layout:
    return Layout(key, (size,), (0,), (size,))


def _weighted(code, layer, name, weight, bias_size) -> list[Module]:
    """A module with a weight, and the activation behind it."""
    weights = {"weight": weight} | ({"bias": _plain(f"{name}/bias", bias_size)} if layer.use_bias else {})
    return [Module(code, layer, weights), *_activation(layer, layer.activation)]


def _bias(layer) -> str:
    return "" if layer.use_bias else ", bias=False"


# ---- layers that learn


def _dense(layer, name, flattened=None) -> list[Module]:
    inputs, units = _shape(layer)[-1], layer.units
    if flattened:
        kernel = Layout(f"{name}/kernel", (*flattened, units), (3, 2, 0, 1), (units, inputs), True)
    elif len(_shape(layer)) == 3:  # along the channels of a photo: a convolution of single cells
        kernel = Layout(f"{name}/kernel", (1, 1, inputs, units), (3, 2, 0, 1), (units, inputs, 1, 1), True)
        return _weighted(f"nn.Conv2d({inputs}, {units}, 1{_bias(layer)})", layer, name, kernel, units)
    else:
        kernel = Layout(f"{name}/kernel", (inputs, units), (1, 0), (units, inputs))
    return _weighted(f"nn.Linear({inputs}, {units}{_bias(layer)})", layer, name, kernel, units)


def _convolution(layer, name) -> list[Module]:
    channels, (height, width) = _shape(layer)[2], layer.kernel_size
    kernel = (height, width, channels, layer.filters)
    weight = Layout(f"{name}/kernel", kernel, (3, 2, 0, 1), (layer.filters, channels, height, width))
    before, padding = _padded(layer)
    code = f"nn.Conv2d({channels}, {layer.filters}, {_window(layer)}{padding}{_bias(layer)})"
    return before + _weighted(code, layer, name, weight, layer.filters)


def _window(layer) -> str:
    """The size of its windows, and their distance where it is not 1."""
    return f"{_one(layer.kernel_size)}" + (f", stride={_one(layer.strides)}" if layer.strides != (1, 1) else "")


def _one(pair) -> Any:
    return pair[0] if pair[0] == pair[1] else pair


def _padded(layer) -> tuple[list[Module], str]:
    """(a module that pads unevenly, or none; the argument that pads evenly)."""
    _, _, (top, bottom, left, right) = place_windows(layer, _shape(layer), layer.kernel_size)
    if (top, left) == (bottom, right):
        return [], f", padding={_one((top, left))}" if top or left else ""
    return [Module(f"nn.ZeroPad2d(({left}, {right}, {top}, {bottom}))", layer)], ""


def _depthwise(layer, name) -> list[Module]:
    (height, width), channels, each = layer.kernel_size, _shape(layer)[2], layer.depth_multiplier
    split = (height, width, channels, each)
    weight = Layout(f"{name}/depthwise", split, (2, 3, 0, 1), (channels * each, 1, height, width))
    before, padding = _padded(layer)
    code = f"nn.Conv2d({channels}, {channels * each}, {_window(layer)}{padding}, groups={channels}"
    if not isinstance(layer, layers.SeparableConv2D):
        return before + _weighted(f"{code}{_bias(layer)})", layer, name, weight, channels * each)
    point = (1, 1, channels * each, layer.filters)
    pointwise = Layout(f"{name}/pointwise", point, (3, 2, 0, 1), (layer.filters, channels * each, 1, 1))
    mixing = f"nn.Conv2d({channels * each}, {layer.filters}, 1{_bias(layer)})"
    first = Module(f"{code}, bias=False)", layer, {"weight": weight})
    return [*before, first, *_weighted(mixing, layer, name, pointwise, layer.filters)]


def _transposed(layer, name) -> list[Module]:
    channels, (height, width) = _shape(layer)[2], layer.kernel_size
    split = (height, width, layer.filters, channels)
    weight = Layout(f"{name}/kernel", split, (3, 2, 0, 1), (channels, layer.filters, height, width))
    top, bottom, left, right, *more = spread(layer)
    padding = f", output_padding={_one(tuple(more))}" if any(more) else ""
    code = f"nn.ConvTranspose2d({channels}, {layer.filters}, {_window(layer)}{padding}{_bias(layer)})"
    module, *activation = _weighted(code, layer, name, weight, layer.filters)
    cut = (-left, -right, -top, -bottom)
    return [module, *([Module(f"nn.ZeroPad2d({cut})", layer)] if any(cut) else []), *activation]


def spread(layer: layers.Conv2DTranspose) -> tuple[int, ...]:
    """What a transposed convolution cuts off: top, bottom, left, right; and how many rows and columns it adds."""
    height, width, pads = layer.place(_shape(layer))
    more = [
        out - ((size - 1) * stride + kernel - before - after)
        for out, size, kernel, stride, before, after in zip(
            (height, width), _shape(layer), layer.kernel_size, layer.strides, pads[::2], pads[1::2], strict=False
        )
    ]
    return *pads, *more


def _normalization(layer, name) -> list[Module]:
    size, rank = _shape(layer)[-1], len(_shape(layer))
    if rank not in (1, 3):
        raise Refused(f"{layer}: PyTorch normalizes rows and photos, got input {_shape(layer)}")
    affine = "" if layer.scale or layer.center else ", affine=False"
    code = f"nn.BatchNorm{2 if rank == 3 else 1}d({size}, eps={layer.epsilon}, momentum={1 - layer.momentum:g}{affine})"
    there = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    weights = {there[key]: _plain(f"{name}/{key}", size) for key in layer.param_shapes(_shape(layer))}
    constants: dict[str, Array] = {"num_batches_tracked": np.array(0, np.int64)}
    if not affine:
        missing = {"weight": np.ones(size, np.float32), "bias": np.zeros(size, np.float32)}
        constants |= {key: value for key, value in missing.items() if key not in weights}
    return [Module(code, layer, weights, constants)]


def _prelu(layer, name) -> list[Module]:
    shape = layer.param_shapes(_shape(layer))["alpha"]
    size = shape[-1]
    if int(np.prod(shape)) != size:
        raise Refused(f"{layer}: PyTorch has one alpha a channel (shared_axes=[1, 2]), here there are {shape}")
    if len(shape) == 2:
        raise Refused(f"{layer}: PyTorch takes the second axis for the channels, got input {_shape(layer)}")
    weight = Layout(f"{name}/alpha", shape, tuple(range(len(shape))), (size,))
    return [Module(f"nn.PReLU({size})", layer, {"weight": weight})]


# ---- pooling


def _pooling(layer, kind: str, counted: str) -> list[Module]:
    """Windows of a pooling. What 'same' adds below and on the right is the rest of a last window, as in ceil_mode."""
    _, _, (top, bottom, left, right) = place_windows(layer, _shape(layer), layer.pool_size)
    code = f"nn.{kind}({_one(layer.pool_size)}, stride={_one(layer.strides)}"
    if top or left:
        code += f", padding={_one((top, left))}"
    if (bottom, right) != (top, left):
        if any(
            more > less and s == 1
            for more, less, s in ((bottom, top, layer.strides[0]), (right, left, layer.strides[1]))
        ):
            raise Refused(f"{layer}: PyTorch cannot pad one side of windows at stride 1 alone (padding='same')")
        code += ", ceil_mode=True"
    return [Module(f"{code}{counted if top or left else ''})", layer)]


def _max_pooling(layer, name) -> list[Module]:
    return _pooling(layer, "MaxPool2d", "")


def _average_pooling(layer, name) -> list[Module]:
    return _pooling(layer, "AvgPool2d", ", count_include_pad=False")


def _global_pooling(kind: str) -> Callable[..., list[Module]]:
    def make(layer, name):
        pool = Module(f"nn.{kind}(1)", layer)
        return [pool] if layer.keepdims else [pool, Module("nn.Flatten()", layer)]

    return make


# ---- shapes and sizes


def _reshaped(layer, target: Shape) -> list[Module]:
    """The numbers in our order, whatever PyTorch's is."""
    there = ".permute(0, 2, 3, 1)" if len(_shape(layer)) == 3 else ""
    back = ".permute(0, 3, 1, 2)" if len(target) == 3 else ""
    sizes = ", ".join(map(str, target))
    return [_apply(f"x{there}.reshape(len(x), {sizes}){back}", layer)]


def _reshape(layer, name) -> list[Module]:
    return _reshaped(layer, checks.known(layer.output_shape))


def _border(sign: int) -> Callable[..., list[Module]]:
    def make(layer, name):
        (top, bottom), (left, right) = layer.padding if sign > 0 else layer.cropping
        return [Module(f"nn.ZeroPad2d({tuple(sign * n for n in (left, right, top, bottom))})", layer)]

    return make


def _center_crop(layer, name) -> list[Module]:
    _, rows, columns = layer.inner((0, *_shape(layer)))
    return [_apply(f"x[:, :, {rows.start}:{rows.stop}, {columns.start}:{columns.stop}]", layer)]


def _resizing(layer, name) -> list[Module]:
    size = layer.size_of(_shape(layer))
    how = '"nearest-exact"' if layer.interpolation == "nearest" else '"bilinear", align_corners=False'
    return [Module(f"nn.Upsample(size={size}, mode={how})", layer)]


# ---- formulas


def _apply(formula: str, layer) -> Module:
    return Module(f"Apply(lambda x: {formula})", layer)


def _numbers(layer, array, axes) -> str:
    """Numbers along some axes of x as code that fits to it."""
    if array.size > MOST_NUMBERS:
        raise Refused(f"{layer}: {array.size:,} numbers are too many for a formula; use a .keras file")
    if array.size == 1:
        return repr(float(array.reshape(())))
    rank = len(_shape(layer))
    shape = [1] * (rank + 1)
    for axis, size in zip(axes[::-1], array.shape[::-1], strict=False):
        shape[axis] = size
    values = np.asarray(array, np.float32).reshape(shape)
    values = values.transpose(0, 3, 1, 2) if rank == 3 else values
    return f"torch.tensor({values.tolist()})"


def _rescaling(layer, name) -> list[Module]:
    scale, offset = (_numbers(layer, one, [len(_shape(layer))]) for one in (layer.scale, layer.offset))
    return [_apply(f"x * {scale} + {offset}", layer)]


def _standardizing(layer, name) -> list[Module]:
    axes = layer.kept_axes(1 + len(_shape(layer)))
    deviation = np.maximum(np.sqrt(layer.variance), 1e-7)
    mean, deviation = (_numbers(layer, one, axes) for one in (layer.mean, deviation))
    return [_apply(f"x * {deviation} + {mean}" if layer.invert else f"(x - {mean}) / {deviation}", layer)]


FUNCTIONS: dict[str, Callable[..., str]] = {  # of an Elementwise, by its formula's name
    "sigmoid": lambda: "nn.Sigmoid()",
    "tanh": lambda: "nn.Tanh()",
    "softsign": lambda: "nn.Softsign()",
    "leaky_relu": lambda negative_slope=0.2: f"nn.LeakyReLU({negative_slope})",
    "elu": lambda alpha=1.0: f"nn.ELU({alpha})",
    "selu": lambda: "nn.SELU()",
    "softplus": lambda: "nn.Softplus()",
    "silu": lambda: "nn.SiLU()",
    "mish": lambda: "nn.Mish()",
    "gelu": lambda approximate=False: 'nn.GELU(approximate="tanh")' if approximate else "nn.GELU()",
    "relu6": lambda: "nn.ReLU6()",
    "hard_sigmoid": lambda: "nn.Hardsigmoid()",
    "hard_silu": lambda: "nn.Hardswish()",
    "exponential": lambda: "Apply(lambda x: torch.exp(x))",
    "bent_relu": lambda negative_slope=0.0, max_value=None, threshold=0.0: (
        f"Apply(lambda x: torch.where(x >= {threshold}, x, {negative_slope} * (x - {threshold}))"
        + (")" if max_value is None else f".clamp(max={max_value}))")
    ),
}


def _activation(layer, function) -> list[Module]:
    """What stands behind a layer, or alone: nothing for the identity."""
    if isinstance(function, layers.Linear):
        return []
    if isinstance(function, layers.ReLU):
        return [Module("nn.ReLU()", layer)]
    if isinstance(function, layers.Elementwise):
        return [Module(FUNCTIONS[function.formula](**function.settings), layer)]
    if isinstance(function, layers.Softmax):
        rank = len(checks.known(layer.output_shape))
        axes = [axis % (rank + 1) for axis in np.atleast_1d(function.axis).tolist()]
        axes = [(0, 2, 3, 1)[axis] for axis in axes] if rank == 3 else axes
        if len(axes) == 1:
            return [Module(f"nn.Softmax({axes[0]})", layer)]
        return [_apply(f"torch.exp(x - torch.logsumexp(x, {tuple(axes)}, keepdim=True))", layer)]
    raise Refused(f"{layer}: PyTorch has no module for its activation {function}")


def _alone(layer, name) -> list[Module]:
    function = layer.activation if isinstance(layer, layers.Activation) else layer
    return _activation(layer, function) or [Module("nn.Identity()", layer)]


def _called(code: str) -> Callable[..., list[Module]]:
    return lambda layer, name: [Module(code.format(layer=layer), layer)]


TABLE: dict[Any, Callable[..., list[Module]]] = {  # the first class that fits
    layers.Dense: _dense,
    layers.Conv2D: _convolution,
    layers.Conv2DTranspose: _transposed,
    layers.DepthwiseConv2D: _depthwise,
    layers.BatchNormalization: _normalization,
    layers.PReLU: _prelu,
    layers.MaxPooling2D: _max_pooling,
    layers.AveragePooling2D: _average_pooling,
    layers.GlobalAveragePooling2D: _global_pooling("AdaptiveAvgPool2d"),
    layers.GlobalMaxPooling2D: _global_pooling("AdaptiveMaxPool2d"),
    (layers.Flatten, layers.Reshape): _reshape,
    layers.ZeroPadding2D: _border(1),
    layers.Cropping2D: _border(-1),
    layers.CenterCrop: _center_crop,
    (layers.Resizing, layers.UpSampling2D): _resizing,
    layers.Rescaling: _rescaling,
    layers.Normalization: _standardizing,
    layers.SpatialDropout2D: _called("nn.Dropout2d({layer.rate})"),
    layers.Dropout: _called("nn.Dropout({layer.rate})"),
    layers.AlphaDropout: _called("nn.AlphaDropout({layer.rate})"),
    ACT_IN_TRAINING: _called("nn.Identity()"),
    (layers.Activation, layers.ActivationFunction): _alone,
}
