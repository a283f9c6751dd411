""".onnx, which ONNX Runtime and many others run: the operators of each layer. It is written, not read.

A batch may be of any size; photos come as ours, (N, H, W, C). Most operators want (N, C, H, W): photos are turned
before the first of them, and back where a layer looks at all axes, such as Flatten, so that Dense keeps its weights.
What acts in training alone leaves no operator. What photos are multiplied by before stands in the file's properties,
and in the description of its input.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn import checks, layers
from cnn.layers import Layer, place_windows
from cnn.network import Network
from cnn.saving import atomic, contents
from cnn.saving.forms.extras import need
from cnn.saving.forms.torch_modules import ACT_IN_TRAINING, spread

Array = np.ndarray
WHAT = "an .onnx file"
OPSET, IR_VERSION = 17, 8  # of 2022: every runtime of today reads them
THEIRS, OURS = [0, 3, 1, 2], [0, 2, 3, 1]  # the axes of a photo as the operators want it, and back


def write(network: Network, path: str, arrays: contents.Arrays) -> None:
    """Write the network for prediction. Raises ValueError for what ONNX has no operator for, OSError."""
    onnx = need("onnx", WHAT)
    model = to_onnx(network)
    onnx.checker.check_model(model, full_check=True)
    with atomic.replacing(path) as file:
        file.write(model.SerializeToString())


def operators(network: Network) -> "Graph":
    """The operators of a network. Raises ValueError for what ONNX has none for."""
    network.require_built("export")
    graph = Graph(need("onnx", WHAT))
    for name, layer in network.flat():
        graph.layer(name, layer)
        graph.marks[name] = (graph.at, graph.turned)
    graph.node("Identity", [graph.ours()], output="output")
    return graph


def to_onnx(network: Network) -> Any:
    """The onnx.ModelProto. Raises ValueError for what ONNX has no operator for."""
    graph = operators(network)
    onnx = graph.onnx
    shape = lambda sizes: ["batch", *checks.known(sizes)]
    described = onnx.helper.make_graph(
        graph.nodes,
        network.name,
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape(network.photo_shape))],
        [onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, shape(network.result_shape))],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    scale = network.input_scale
    described.input[0].doc_string = "photos (N, H, W, C)" + (f", bytes multiplied by {scale!r}" if scale else "")
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(described, producer_name="numpy-cnn", ir_version=IR_VERSION, opset_imports=[opset])
    names = None if network.class_names is None else json.dumps(list(network.class_names))
    texts = {"input_scale": scale and repr(scale), "class_names": names, "made_by": network.made_by}
    onnx.helper.set_model_props(model, {key: text for key, text in texts.items() if text})
    return onnx.shape_inference.infer_shapes(model)


class Graph:
    """The operators so far. `at` is the name of what the last one gives; turned: whether it is (N, C, H, W)."""

    def __init__(self, onnx: Any):
        self.onnx, self.at, self.turned = onnx, "input", False
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.marks: dict[str, tuple[str, bool]] = {}  # (at, turned) behind each layer
        self.name = ""

    def layer(self, name: str, layer: Layer) -> None:
        """The operators of a layer. Raises ValueError, naming it, where there are none."""
        self.name = name
        make = next((make for kind, make in TABLE.items() if isinstance(layer, kind)), None)
        if make is None:
            raise ValueError(f"{layer}: ONNX has no operator for it here")
        make(self, layer)
        if isinstance(layer, layers.Weighted):
            _activation(self, layer, layer.activation)

    def node(self, operator: str, inputs: list[str], output: str | None = None, **settings: Any) -> str:
        """Add one operator, and go on with what it gives."""
        self.at = output or f"{self.name}/{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [self.at], self.at, **settings))
        return self.at

    def constant(self, key: str, array: Array) -> str:
        """The name of an array of numbers: whole ones are sizes and axes, all others float32."""
        name = f"{self.name}/{key}"
        array = np.asarray(array)
        self.constants[name] = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32)
        if array.ndim == 0:
            self.constants[name] = self.constants[name].reshape(())
        return name

    def theirs(self) -> str:
        """What there is, as (N, C, H, W)."""
        if not self.turned:
            self.node("Transpose", [self.at], perm=THEIRS)
        self.turned = True
        return self.at

    def ours(self) -> str:
        """What there is, as (N, H, W, C)."""
        if self.turned:
            self.node("Transpose", [self.at], perm=OURS)
        self.turned = False
        return self.at


# ---- layers that learn


def _dense(graph, layer) -> None:
    graph.node("MatMul", [graph.ours(), graph.constant("kernel", layer.params["kernel"])])
    if layer.use_bias:
        graph.node("Add", [graph.at, graph.constant("bias", layer.params["bias"])])


def _windows(layer, size) -> dict[str, Any]:
    _, _, (top, bottom, left, right) = place_windows(layer, layer.input_shape, size)
    return {"kernel_shape": list(size), "strides": list(layer.strides), "pads": [top, left, bottom, right]}


def _inputs(graph, layer, kernel, bias=True) -> list[str]:
    return [graph.theirs(), graph.constant("kernel", kernel), *(_bias(graph, layer) if bias else [])]


def _bias(graph, layer) -> list[str]:
    return [graph.constant("bias", layer.params["bias"])] if layer.use_bias else []


def _convolution(graph, layer) -> None:
    kernel = layer.params["kernel"].transpose(3, 2, 0, 1)
    graph.node("Conv", _inputs(graph, layer, kernel), **_windows(layer, layer.kernel_size))


def _depthwise(graph, layer) -> None:
    height, width, channels, each = layer.params["depthwise"].shape
    kernel = layer.params["depthwise"].transpose(2, 3, 0, 1).reshape(channels * each, 1, height, width)
    is_separable = isinstance(layer, layers.SeparableConv2D)
    inputs = _inputs(graph, layer, kernel, not is_separable)
    graph.node("Conv", inputs, group=channels, **_windows(layer, layer.kernel_size))
    if is_separable:
        pointwise = graph.constant("pointwise", layer.params["pointwise"].transpose(3, 2, 0, 1))
        graph.node("Conv", [graph.at, pointwise, *_bias(graph, layer)])


def _transposed(graph, layer) -> None:
    top, bottom, left, right, *more = spread(layer)
    inputs = _inputs(graph, layer, layer.params["kernel"].transpose(3, 2, 0, 1))
    settings = {"strides": list(layer.strides), "pads": [top, left, bottom, right], "output_padding": more}
    graph.node("ConvTranspose", inputs, kernel_shape=list(layer.kernel_size), **settings)


def _normalization(graph, layer) -> None:
    channels, rank = layer.input_shape[-1], len(layer.input_shape)
    if rank not in (1, 3):
        raise ValueError(f"{layer}: ONNX normalizes rows and photos, got input {layer.input_shape}")
    at = graph.theirs() if rank == 3 else graph.at
    missing = {"gamma": np.ones(channels), "beta": np.zeros(channels)}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    arrays = [graph.constant(name, layer.params.get(name, missing.get(name))) for name in names]
    graph.node("BatchNormalization", [at, *arrays], epsilon=layer.epsilon)


def _prelu(graph, layer) -> None:
    graph.node("PRelu", [graph.ours(), graph.constant("alpha", layer.params["alpha"])])


# ---- pooling, shapes and sizes


def _pooling(operator: str, **settings: Any) -> Callable[..., Any]:
    return lambda graph, layer: graph.node(operator, [graph.theirs()], **_windows(layer, layer.pool_size), **settings)


def _global_pooling(operator: str) -> Callable[..., None]:
    def make(graph, layer):
        graph.node(operator, [graph.theirs()])
        if not layer.keepdims:
            _to_shape(graph, layer)

    return make


def _to_shape(graph, layer) -> None:
    """The numbers in our order, in the layer's shape."""
    at = graph.ours() if isinstance(layer, layers.Flatten | layers.Reshape) else graph.at
    graph.node("Reshape", [at, graph.constant("shape", np.array([-1, *layer.output_shape]))])
    graph.turned = False


def _padding(graph, layer) -> None:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant("pads", np.array([0, top, left, 0, 0, bottom, right, 0]))
    graph.node("Pad", [graph.ours(), pads])


def _cropping(graph, layer) -> None:
    places = [
        part.indices(size)
        for part, size in zip(layer.inner((1, *layer.input_shape))[1:], layer.input_shape, strict=False)
    ]
    start, stop = (np.array([place[k] for place in places]) for k in range(2))
    names = [graph.constant(key, one) for key, one in (("start", start), ("stop", stop), ("axes", np.array([1, 2])))]
    graph.node("Slice", [graph.ours(), *names])


def _resizing(graph, layer) -> None:
    """down @ x @ across^T for each channel, as resizing.py has it."""
    down, across = layer.parts_taken((1, *layer.input_shape), np.float32)
    graph.node("MatMul", [graph.constant("down", down), graph.theirs()])
    graph.node("MatMul", [graph.at, graph.constant("across", across.T)])


# ---- formulas


def _rescaling(graph, layer) -> None:
    graph.node("Mul", [graph.ours(), graph.constant("scale", layer.scale)])
    graph.node("Add", [graph.at, graph.constant("offset", layer.offset)])


def _standardizing(graph, layer) -> None:
    mean, deviation = layer.moments(1 + len(layer.input_shape), np.float32)
    mean, deviation = graph.constant("mean", mean), graph.constant("deviation", deviation)
    graph.node("Mul" if layer.invert else "Sub", [graph.ours(), deviation if layer.invert else mean])
    graph.node("Add" if layer.invert else "Div", [graph.at, mean if layer.invert else deviation])


def _one(operator: str, **settings: Any) -> Callable[..., Any]:
    """A function that is an operator; the layer's own settings go to it under their ONNX names."""
    return lambda graph, **given: graph.node(operator, [graph.at], **settings, **given)


def _number(graph, value: float) -> str:
    return graph.constant(f"number_{value!r}", np.float32(value))


def _relu6(graph) -> None:
    graph.node("Clip", [graph.at, _number(graph, 0), _number(graph, 6)])


def _times(operator: str) -> Callable[..., Any]:
    """x times a function of x."""

    def make(graph):
        x = graph.at
        graph.node("Mul", [x, graph.node(operator, [x])])

    return make


def _mish(graph) -> None:
    x = graph.at
    graph.node("Softplus", [x])
    graph.node("Mul", [x, graph.node("Tanh", [graph.at])])


def _gelu(graph, approximate: bool = False) -> None:
    """x * (1 + inside) / 2; inside as in cnn/layers/formulas.py."""
    x = graph.at
    if approximate:
        cube = graph.node("Mul", [graph.node("Mul", [x, x]), x])
        graph.node("Add", [x, graph.node("Mul", [cube, _number(graph, 0.044715)])])
        graph.node("Tanh", [graph.node("Mul", [graph.at, _number(graph, 0.7978845608028654)])])
    else:
        graph.node("Erf", [graph.node("Div", [x, _number(graph, 2**0.5)])])
    inside = graph.node("Add", [graph.at, _number(graph, 1)])
    graph.node("Mul", [graph.node("Mul", [x, inside]), _number(graph, 0.5)])


def _bent_relu(graph, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> None:
    x, place = graph.at, _number(graph, threshold)
    is_above = graph.node("GreaterOrEqual", [x, place])
    below = graph.node("Mul", [graph.node("Sub", [x, place]), _number(graph, negative_slope)])
    graph.node("Where", [is_above, x, below])
    if max_value is not None:
        graph.node("Min", [graph.at, _number(graph, max_value)])


FUNCTIONS: dict[str, Callable[..., Any]] = {  # of an Elementwise, by its formula's name
    "sigmoid": _one("Sigmoid"),
    "tanh": _one("Tanh"),
    "softsign": _one("Softsign"),
    "leaky_relu": lambda graph, negative_slope=0.2: graph.node("LeakyRelu", [graph.at], alpha=negative_slope),
    "elu": _one("Elu"),
    "selu": _one("Selu"),
    "softplus": _one("Softplus"),
    "silu": _times("Sigmoid"),
    "mish": _mish,
    "gelu": _gelu,
    "relu6": _relu6,
    "hard_sigmoid": _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_silu": _one("HardSwish"),
    "exponential": _one("Exp"),
    "bent_relu": _bent_relu,
}


def _activation(graph, layer, function) -> None:
    if isinstance(function, layers.ReLU):
        graph.node("Relu", [graph.at])
    elif isinstance(function, layers.Elementwise):
        FUNCTIONS[function.formula](graph, **function.settings)
    elif isinstance(function, layers.Softmax):
        axes = [axis % (1 + len(layer.output_shape)) for axis in np.atleast_1d(function.axis).tolist()]
        if len(axes) == 1:
            graph.node("Softmax", [graph.ours()], axis=axes[0])
        else:
            x = graph.ours()
            graph.node("Exp", [graph.node("Sub", [x, graph.node("ReduceLogSumExp", [x], axes=axes)])])
    elif not isinstance(function, layers.Linear):
        raise ValueError(f"{layer}: ONNX has no operator for its activation {function}")


def _alone(graph, layer) -> None:
    _activation(graph, layer, layer.activation if isinstance(layer, layers.Activation) else layer)


TABLE: dict[Any, Callable[..., Any]] = {  # the first class that fits
    layers.Dense: _dense,
    layers.Conv2D: _convolution,
    layers.Conv2DTranspose: _transposed,
    layers.DepthwiseConv2D: _depthwise,
    layers.BatchNormalization: _normalization,
    layers.PReLU: _prelu,
    layers.MaxPooling2D: _pooling("MaxPool"),
    layers.AveragePooling2D: _pooling("AveragePool", count_include_pad=0),
    layers.GlobalAveragePooling2D: _global_pooling("GlobalAveragePool"),
    layers.GlobalMaxPooling2D: _global_pooling("GlobalMaxPool"),
    (layers.Flatten, layers.Reshape): _to_shape,
    layers.ZeroPadding2D: _padding,
    (layers.Cropping2D, layers.CenterCrop): _cropping,
    (layers.Resizing, layers.UpSampling2D): _resizing,
    layers.Rescaling: _rescaling,
    layers.Normalization: _standardizing,
    (layers.Dropout, *ACT_IN_TRAINING): lambda graph, layer: None,
    (layers.Activation, layers.ActivationFunction): _alone,
}
