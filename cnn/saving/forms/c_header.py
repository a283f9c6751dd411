"""A network as a C header for prediction: the weights as constants, and one loop nest for each kind of layer.

For machines without an operating system: C99 and math.h, nothing is allocated, two buffers hold what goes from layer to
layer. Photos lie as ours, row by row, channels last. c_functions.h holds the loops; those that are used are copied.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn import checks, layers
from cnn.layers import Layer, place_windows
from cnn.network import Network
from cnn.saving import atomic, contents
from cnn.saving.forms.extras import comment
from cnn.saving.forms.torch_modules import ACT_IN_TRAINING, spread

Array = np.ndarray
FUNCTIONS_FILE = Path(__file__).with_name("c_functions.h")
PER_LINE = 8


def write(network: Network, path: str, arrays: contents.Arrays) -> None:
    """Write the header. Raises ValueError for what it has no loop for, OSError."""
    with atomic.replacing(path) as file:
        file.write(code(network).encode())


def code(network: Network) -> str:
    """The header. Raises ValueError, naming the layer, for what it has no loop for."""
    network.require_built("export")
    program = Program(network)
    for name, layer in network.flat():
        program.layer(name, layer)
    return program.text()


class Program:
    """The lines so far. What the layers give each other lies in the buffers a and b; `at` is the one, "photo" first."""

    def __init__(self, network: Network):
        self.network, self.at, self.name = network, "photo", ""
        self.lines: list[str] = []
        self.constants: dict[str, Array] = {}
        self.used: set[str] = set()
        self.most = 1

    def layer(self, name: str, layer: Layer) -> None:
        """Add the calls of a layer. Raises ValueError where there are none."""
        self.name = re.sub(r"\W", "_", name)
        make = next((make for kind, make in TABLE.items() if isinstance(layer, kind)), None)
        if make is None:
            raise ValueError(f"{layer}: the C header has no loop for it")
        self.lines.append(f"/* {self.name}: {layer.input_shape} -> {layer.output_shape} */")
        make(self, layer)
        if isinstance(layer, layers.Weighted):
            _activation(self, layer, layer.activation)

    def call(self, function: str, size: int, *arguments: Any) -> None:
        """Call a function from where we are into the other buffer, which then holds `size` numbers."""
        other = "b" if self.at == "a" else "a"
        self.used.add(function)
        self.lines.append(f"{function}({', '.join(map(str, (self.at, other, *arguments)))});")
        self.at, self.most = other, max(self.most, size)

    def constant(self, key: str, array: Array | None) -> str:
        """The name of constants."""
        if array is None:
            return "0"
        name = f"model_{self.name}_{key}"
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def text(self) -> str:
        """The whole header."""
        network, weights = self.network, sum(array.nbytes for array in self.constants.values())
        inputs, outputs = (int(np.prod(checks.known(shape))) for shape in (network.photo_shape, network.result_shape))
        scale = "" if network.input_scale is None else f", bytes multiplied by {_float(network.input_scale)}"
        names = ", ".join(network.class_names or ())
        names = f"   Outputs: {comment(names)}\n" if names else ""
        head = (
            f"/* {comment(str(network.name))}: model_predict(photo, output), photo {network.photo_shape}{scale}.\n"
            f"{names}"
            f"   {weights:,} bytes of constants, {8 * self.most:,} bytes of buffers. C99; link with -lm. */\n"
        )
        parts = FUNCTIONS_FILE.read_text("utf-8").split("\n\n")
        loops = [part for part in parts if any(f" {name}(" in part.split("{")[0] for name in self.used)]
        body = "\n".join(f"    {line}" for line in self.lines)
        return "\n".join(
            [
                head,
                "#ifndef MODEL_H\n#define MODEL_H\n\n#include <math.h>\n#include <string.h>\n",
                f"#define MODEL_INPUTS {inputs}\n#define MODEL_OUTPUTS {outputs}\n",
                *(_constant(name, array) for name, array in self.constants.items()),
                *(f"{part.strip()}\n" for part in loops),
                f"static void model_predict(const float *photo, float *output)\n{{\n"
                f"    static float a[{self.most}], b[{self.most}];\n{body}\n"
                f"    memcpy(output, {self.at}, MODEL_OUTPUTS * sizeof(float));\n    (void)a, (void)b;\n}}\n\n#endif\n",
            ]
        )


def _constant(name, array) -> str:
    numbers = list(map(_float, array.ravel().tolist()))
    rows = [", ".join(numbers[k : k + PER_LINE]) for k in range(0, len(numbers), PER_LINE)]
    return f"static const float {name}[{array.size}] = {{\n    " + ",\n    ".join(rows) + "\n};\n"


def _float(value) -> str:
    text = f"{value:.9g}"
    return f"{text}f" if re.search(r"[.en]", text) else f"{text}.0f"


# ---- layers


def _size(shape) -> int:
    return int(np.prod(checks.known(shape)))


def _bias(program, layer) -> str:
    return program.constant("bias", layer.params.get("bias"))


def _dense(program, layer) -> None:
    inputs, rows = layer.input_shape[-1], _size(layer.input_shape[:-1])
    kernel = program.constant("kernel", layer.params["kernel"])
    program.call("dense", rows * layer.units, rows, inputs, layer.units, kernel, _bias(program, layer))


def _windows(layer, size) -> tuple[int, ...]:
    _, _, (top, _, left, _) = place_windows(layer, layer.input_shape, size)
    return *layer.input_shape, *layer.output_shape[:2], *size, *layer.strides, top, left


def _convolution(program, layer) -> None:
    kernel, bias = program.constant("kernel", layer.params["kernel"]), _bias(program, layer)
    window = _windows(layer, layer.kernel_size)
    program.call("convolve", _size(layer.output_shape), *window, layer.filters, kernel, bias)


def _depthwise(program, layer) -> None:
    kernel, each = program.constant("depthwise", layer.params["depthwise"]), layer.depth_multiplier
    bias = "0" if isinstance(layer, layers.SeparableConv2D) else _bias(program, layer)
    cells, channels = _size(layer.output_shape[:2]), layer.input_shape[2] * each
    program.call("depthwise", cells * channels, *_windows(layer, layer.kernel_size), each, kernel, bias)
    if isinstance(layer, layers.SeparableConv2D):
        pointwise = program.constant("pointwise", layer.params["pointwise"])
        program.call("dense", cells * layer.filters, cells, channels, layer.filters, pointwise, _bias(program, layer))


def _transposed(program, layer) -> None:
    top, _, left, _, *_ = spread(layer)
    kernel, bias = program.constant("kernel", layer.params["kernel"]), _bias(program, layer)
    window = (*layer.input_shape, *layer.output_shape, *layer.kernel_size, *layer.strides, top, left)
    program.call("transposed", _size(layer.output_shape), *window, kernel, bias)


def _pooling(kind: int) -> Callable[..., None]:
    def make(program, layer):
        if isinstance(layer, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D):
            height, width, channels = layer.input_shape
            window = (height, width, channels, 1, 1, height, width, 1, 1, 0, 0)
        else:
            window = _windows(layer, layer.pool_size)
        program.call("pool", _size(layer.output_shape), *window, kind)

    return make


def _by_channel(program, layer, scale, offset) -> None:
    """x * scale + offset, each along the last axes."""
    scale, offset = _along_the_end(layer, scale, offset)
    size, names = _size(layer.input_shape), (program.constant("scale", scale), program.constant("offset", offset))
    program.call("scale_and_shift", size, size, *names, scale.size)


def _along_the_end(layer, *arrays) -> list[Array]:
    """Numbers that fit to its input: one for each channel where those of all places are the same, else all."""
    rows = [np.broadcast_to(one, layer.input_shape).reshape(-1, layer.input_shape[-1]) for one in arrays]
    return [one[0] for one in rows] if all((one == one[0]).all() for one in rows) else rows


def _normalization(program, layer) -> None:
    params = {key: value.astype(np.float64) for key, value in layer.params.items()}
    scale = params.get("gamma", 1) / np.sqrt(params["moving_variance"] + layer.epsilon)
    _by_channel(program, layer, scale, params.get("beta", 0) - params["moving_mean"] * scale)


def _rescaling(program, layer) -> None:
    _by_channel(program, layer, layer.scale, layer.offset)


def _standardizing(program, layer) -> None:
    mean, deviation = (one[0] for one in layer.moments(1 + len(layer.input_shape), np.float64))
    _by_channel(program, layer, *((deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)))


def _prelu(program, layer) -> None:
    (alpha,) = _along_the_end(layer, layer.params["alpha"])
    size = _size(layer.input_shape)
    program.call("prelu", size, size, program.constant("alpha", alpha), alpha.size)


def _placed(program, layer) -> None:
    """A photo in a larger or smaller one."""
    if isinstance(layer, layers.ZeroPadding2D):
        (top, _), (left, _) = layer.padding
    else:
        _, rows, columns = layer.inner((0, *layer.input_shape))
        top, left = -rows.start, -columns.start
    program.call("place", _size(layer.output_shape), *layer.input_shape, *layer.output_shape[:2], top, left)


def _resizing(program, layer) -> None:
    down, across = layer.parts_taken((1, *layer.input_shape), np.float32)
    names = program.constant("down", down), program.constant("across", across)
    program.call("resize", _size(layer.output_shape), *layer.input_shape, *layer.output_shape[:2], *names)


def _nothing(program, layer) -> None:
    """The same numbers."""


# ---- activations


def _bent_relu(negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> str:
    place, slope = _float(threshold), _float(negative_slope)
    bent = f"x >= {place} ? x : {slope} * (x - {place})"
    return bent if max_value is None else f"fminf({bent}, {_float(max_value)})"


EXPRESSIONS: dict[str, Callable[..., str]] = {  # of an Elementwise, by its formula's name
    "sigmoid": lambda: "1.0f / (1.0f + expf(-x))",
    "tanh": lambda: "tanhf(x)",
    "softsign": lambda: "x / (1.0f + fabsf(x))",
    "leaky_relu": lambda negative_slope=0.2: f"x > 0 ? x : {_float(negative_slope)} * x",
    "elu": lambda alpha=1.0: f"x > 0 ? x : {_float(alpha)} * expm1f(x)",
    "selu": lambda: "1.05070099f * (x > 0 ? x : 1.67326324f * expm1f(x))",
    "softplus": lambda: "fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)))",
    "silu": lambda: "x / (1.0f + expf(-x))",
    "mish": lambda: "x * tanhf(fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))))",
    "gelu": lambda approximate=False: (
        "0.5f * x * (1.0f + tanhf(0.797884561f * (x + 0.044715f * x * x * x)))"
        if approximate
        else "0.5f * x * (1.0f + erff(x * 0.707106781f))"
    ),
    "relu6": lambda: "fminf(fmaxf(x, 0.0f), 6.0f)",
    "hard_sigmoid": lambda: "fminf(fmaxf(x / 6.0f + 0.5f, 0.0f), 1.0f)",
    "hard_silu": lambda: "x * fminf(fmaxf(x / 6.0f + 0.5f, 0.0f), 1.0f)",
    "exponential": lambda: "expf(x)",
    "bent_relu": _bent_relu,
}


def _activation(program, layer, function) -> None:
    size = _size(layer.output_shape)
    if isinstance(function, layers.Linear):
        return
    if isinstance(function, layers.Softmax):
        if set(np.atleast_1d(function.axis).tolist()) - {-1, len(layer.output_shape)}:
            raise ValueError(f"{layer}: the C header has softmax along the last axis alone, got axis {function.axis}")
        program.call("softmax", size, size // layer.output_shape[-1], layer.output_shape[-1])
        return
    if isinstance(function, layers.ReLU):
        expression = "x > 0 ? x : 0.0f"
    elif isinstance(function, layers.Elementwise):
        expression = EXPRESSIONS[function.formula](**function.settings)
    else:
        raise ValueError(f"{layer}: the C header has no formula for its activation {function}")
    other = "b" if program.at == "a" else "a"
    program.lines.append(
        f"for (int i = 0; i < {size}; i++) {{ float x = {program.at}[i]; {other}[i] = {expression}; }}"
    )
    program.at, program.most = other, max(program.most, size)


def _alone(program, layer) -> None:
    _activation(program, layer, layer.activation if isinstance(layer, layers.Activation) else layer)


TABLE: dict[Any, Callable[..., Any]] = {  # the first class that fits
    layers.Dense: _dense,
    layers.Conv2D: _convolution,
    layers.Conv2DTranspose: _transposed,
    layers.DepthwiseConv2D: _depthwise,
    layers.BatchNormalization: _normalization,
    layers.PReLU: _prelu,
    (layers.MaxPooling2D, layers.GlobalMaxPooling2D): _pooling(0),
    (layers.AveragePooling2D, layers.GlobalAveragePooling2D): _pooling(1),
    (layers.ZeroPadding2D, layers.Cropping2D, layers.CenterCrop): _placed,
    (layers.Resizing, layers.UpSampling2D): _resizing,
    layers.Rescaling: _rescaling,
    layers.Normalization: _standardizing,
    (layers.Flatten, layers.Reshape, layers.Dropout, *ACT_IN_TRAINING): _nothing,
    (layers.Activation, layers.ActivationFunction): _alone,
}
