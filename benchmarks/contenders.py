"""Everybody who takes part: one class each, all with the same verbs. worker.py runs one of them in a process.

load(network, weights)   start again from these weights, with a fresh Adam
prepare(x, y)            the data in the contender's own layout: never timed
train(x, y, batch)       one pass over prepared data in the order given
losses(x, y, batch)      the same; returns the loss of each step
predict(x, batch)        probabilities (N, 10), a NumPy array

Each library is imported when it is instantiated, and `cnn` before NumPy, as its users do.
"""

import importlib.util
import os
import sys

from benchmarks import networks

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Contender:
    """threads: how many it may use."""

    def __init__(self, threads: int):
        self.threads = threads
        self.start()

    def start(self) -> None:
        """Import the library and tell it the number of threads."""

    def prepare(self, x, y):
        return x, y

    losses = None  # stays None where inference is all that is asked


class Ours(Contender):
    """cnn, as its users call it: model.fit and model.predict."""

    def start(self):
        import cnn
        from cnn import layers, models

        cnn.set_threads(self.threads)
        self.layers, self.models = layers, models

    def load(self, network, weights):
        layers = [getattr(self.layers, kind)(**options) for kind, options in network.layers]
        self.model = self.models.Sequential([self.layers.Input(network.shape), *layers])
        self.model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        self.model.set_weights(weights)

    def train(self, x, y, batch):
        self.model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)

    def losses(self, x, y, batch):
        return [self.model.train_on_batch(x[k : k + batch], y[k : k + batch])[0] for k in range(0, len(x), batch)]

    def predict(self, x, batch):
        return self.model.predict(x, batch_size=batch, verbose=0)

    def describe(self):
        from kernels import blas

        return {"path": f"fit and predict, BLAS kernels {blas.core_name()}", "threads": self.threads} | versions(
            "cnn", "numpy", "numba"
        )


class PlainNumPy(Contender):
    """The network of plain_numpy.py, with as many threads as BLAS chooses."""

    def start(self):
        from benchmarks import plain_numpy  # loads NumPy
        from kernels import blas

        self.module, self.blas = plain_numpy, blas

    def load(self, network, weights):
        self.network = self.module.Network(weights)

    def losses(self, x, y, batch):
        return [self.network.train(x[k : k + batch], y[k : k + batch]) for k in range(0, len(x), batch)]

    train = losses

    def predict(self, x, batch):
        import numpy as np

        return np.concatenate([self.network.predict(x[k : k + batch]) for k in range(0, len(x), batch)])

    def describe(self):
        return {"path": f"NumPy, BLAS kernels {self.blas.core_name()}", "threads": self.blas.get_threads()} | versions(
            "numpy"
        )


class PyTorch(Contender):
    """Eager PyTorch with fused Adam; no DataLoader, the photos lie in their layout already."""

    path = "eager, contiguous (NCHW), fused Adam"
    channels_last = False

    def start(self):
        import torch

        torch.set_num_threads(self.threads)
        self.torch = torch

    def load(self, network, weights):
        torch = self.torch
        model = torch.nn.Sequential(*(module for step in networks.steps(network) for module in self.modules(step)))
        with torch.no_grad():
            for parameter, value in zip(
                model.parameters(), channels_first(network, weights, averages=False), strict=True
            ):
                parameter.copy_(torch.from_numpy(value))
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7, fused=True)
        self.model, self.steps = self.wrap(model), 0

    def modules(self, step):
        """The modules that compute one layer, but for a closing softmax, which is in the loss."""
        nn, options, (top, bottom, left, right) = self.torch.nn, step.options, step.pads
        if step.kind in ("Conv2D", "DepthwiseConv2D"):
            even = top == bottom and left == right
            if not even:
                yield nn.ZeroPad2d((left, right, top, bottom))
            sizes = step.before[-1], step.after[-1], options["kernel_size"], options["strides"]
            groups = step.before[-1] if step.kind == "DepthwiseConv2D" else 1
            yield nn.Conv2d(*sizes, padding=(top, left) if even else 0, groups=groups, bias=groups == 1)
        elif step.kind == "MaxPooling2D":
            hangs_over = top == left == 0 and (bottom, right) != (0, 0)  # ceil_mode does that without a copy
            if not hangs_over and any(step.pads):
                yield nn.ConstantPad2d((left, right, top, bottom), -float("inf"))
            yield nn.MaxPool2d(options["pool_size"], options["strides"], ceil_mode=hangs_over)
        elif step.kind == "Dense":
            yield nn.Linear(step.before[-1], step.after[-1])
        elif step.kind == "Flatten":
            yield nn.Flatten()
        elif step.kind == "Dropout":
            yield nn.Dropout(options["rate"])
        elif step.kind == "AveragePooling2D":
            yield nn.AvgPool2d(options["pool_size"], options["strides"])
        elif step.kind == "GlobalAveragePooling2D":
            yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        elif step.kind == "BatchNormalization":
            yield nn.BatchNorm2d(step.after[-1], eps=1e-3, momentum=0.01)
        functions = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "leaky_relu": lambda: nn.LeakyReLU(0.2)}
        if (name := options.get("activation", step.kind.lower())) in functions:
            yield functions[name]()

    def wrap(self, model):
        return model

    def prepare(self, x, y):
        x = self.torch.from_numpy(x).permute(0, 3, 1, 2)
        layout = self.torch.channels_last if self.channels_last else self.torch.contiguous_format
        return x.contiguous(memory_format=layout), self.torch.from_numpy(y)

    def step(self, x, y):
        self.steps += 1
        # Keras' Adam adds epsilon before the correction of the bias, PyTorch's after it: this makes them one formula.
        self.optimizer.param_groups[0]["eps"] = 1e-7 / (1 - 0.999**self.steps) ** 0.5
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, x, y, batch):
        self.model.train()
        for k in range(0, len(x), batch):
            self.step(x[k : k + batch], y[k : k + batch])

    def losses(self, x, y, batch):
        self.model.train()
        return [self.step(x[k : k + batch], y[k : k + batch]).item() for k in range(0, len(x), batch)]

    def predict(self, x, batch):
        self.model.eval()
        with self.torch.inference_mode():
            parts = [self.model(x[k : k + batch]).softmax(1) for k in range(0, len(x), batch)]
            return self.torch.cat(parts).numpy()

    def describe(self):
        return {"path": self.path, "threads": self.torch.get_num_threads()} | versions("torch")


class PyTorchChannelsLast(PyTorch):
    path = "eager, channels_last (NHWC), fused Adam"
    channels_last = True


class PyTorchCompiled(PyTorchChannelsLast):
    path = "torch.compile for each size of batch, channels_last; inference only"
    losses = None

    def wrap(self, model):
        self.torch._dynamo.config.recompile_limit = (
            64  # one fixed size each is fastest; by default the second makes all dynamic
        )
        return self.torch.compile(model, dynamic=False)


class Keras(Contender):
    """Keras' own fit and predict, on the backend of the subclass."""

    backend = ""

    def start(self):
        os.environ["KERAS_BACKEND"] = self.backend
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        self.set_threads()
        import keras

        self.keras = keras

    def load(self, network, weights):
        layers = [getattr(self.keras.layers, kind)(**options) for kind, options in network.layers]
        self.model = self.keras.Sequential([self.keras.layers.Input(network.shape), *layers])
        self.model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        self.model.set_weights(weights)

    def train(self, x, y, batch):
        self.model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)

    def losses(self, x, y, batch):
        keras, means = self.keras, []

        class Recorder(keras.callbacks.Callback):
            def on_train_batch_end(self, step, logs=None):
                means.append(float(logs["loss"]))

        self.model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[Recorder()])
        # What fit reports is the mean of the steps so far.
        return [mean * (k + 1) - (means[k - 1] * k if k else 0) for k, mean in enumerate(means)]

    def predict(self, x, batch):
        return self.model.predict(x, batch_size=batch, verbose=0)

    def describe(self):
        return {"path": f"fit and predict on {self.backend}", "threads": self.threads} | versions(
            "keras", self.backend, "numpy"
        )


class KerasTensorFlow(Keras):
    backend = "tensorflow"

    def set_threads(self):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(self.threads)


class KerasJAX(Keras):
    backend = "jax"

    def set_threads(self):
        if self.threads < CORES:  # XLA starts a thread for each core that it may use
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.threads])


class OnnxRuntime(Contender):
    """The same network as an ONNX graph: inference only."""

    def start(self):
        import onnx
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = self.threads

    def load(self, network, weights):
        helper, value = self.onnx.helper, self.onnx.helper.make_tensor_value_info
        arrays = [self.onnx.numpy_helper.from_array(a, f"w{k}") for k, a in enumerate(channels_first(network, weights))]
        nodes = list(self.nodes(network))
        (height, width, channels), last = network.shape, nodes[-1].output[0]
        photo, result = value("x", 1, ["n", channels, height, width]), value(last, 1, ["n", networks.CLASSES])
        graph = helper.make_graph(nodes, "network", [photo], [result], arrays)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        self.session = self.runtime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )

    def nodes(self, network):
        """The nodes of the graph, each of which takes what the one before gives."""
        kinds = {"Conv2D": "Conv", "MaxPooling2D": "MaxPool", "AveragePooling2D": "AveragePool", "Dense": "Gemm"}
        kinds |= {"DepthwiseConv2D": "Conv", "ReLU": "Relu", "GlobalAveragePooling2D": "GlobalAveragePool"}
        counts = {"Conv2D": 2, "DepthwiseConv2D": 1, "Dense": 2, "BatchNormalization": 4}  # of weights
        functions = {"relu": ("Relu", {}), "tanh": ("Tanh", {}), "softmax": ("Softmax", {"axis": 1})}
        functions |= {"gelu": ("Gelu", {}), "leaky_relu": ("LeakyRelu", {"alpha": 0.2})}
        node, weights, name = self.onnx.helper.make_node, 0, "x"
        for number, step in enumerate(networks.steps(networks.without_dropout(network))):
            inputs, more = [name], {"transB": 1} if step.kind == "Dense" else {}
            count = counts.get(step.kind, 0)
            inputs += [f"w{weights + k}" for k in range(count)]
            weights += count
            if step.kind == "BatchNormalization":
                more = {"epsilon": 1e-3}
            if "kernel_size" in step.options or "pool_size" in step.options:
                top, bottom, left, right = step.pads
                window = step.options.get("kernel_size") or step.options["pool_size"]
                more = {"kernel_shape": window, "strides": step.options["strides"], "pads": [top, left, bottom, right]}
            if step.kind == "DepthwiseConv2D":
                more["group"] = step.before[-1]
            yield node(kinds.get(step.kind, step.kind), inputs, [name := f"y{number}"], **more)
            if step.kind == "GlobalAveragePooling2D":
                yield node("Flatten", [name], [name := f"f{number}"])
            if step.options.get("activation"):
                kind, more = functions[step.options["activation"]]
                yield node(kind, [name], [name := f"a{number}"], **more)

    def prepare(self, x, y):
        import numpy as np

        return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y

    def predict(self, x, batch):
        import numpy as np

        return np.concatenate([self.session.run(None, {"x": x[k : k + batch]})[0] for k in range(0, len(x), batch)])

    def describe(self):
        return {"path": "graph in NCHW, CPU provider", "threads": self.options.intra_op_num_threads} | versions(
            "onnxruntime", "onnx"
        )


def channels_first(network, weights, averages=True):
    """Keras' weights as PyTorch and ONNX hold them: kernels (F, C, kh, kw), and (units, inputs) counted by channels.

    averages: with those that BatchNormalization keeps, which PyTorch does not count among the parameters.
    """
    import numpy as np

    arrays, left, flattened = [], list(weights), None
    for step in networks.steps(network):
        if step.kind == "Flatten" and len(step.before) == 3:
            flattened = step.before
        if step.kind == "BatchNormalization":
            four, left = left[:4], left[4:]
            arrays += four if averages else four[:2]
        if step.kind == "DepthwiseConv2D":
            arrays.append(np.ascontiguousarray(left.pop(0).transpose(2, 3, 0, 1)))
        if step.kind not in ("Conv2D", "Dense"):
            continue
        kernel, bias = left.pop(0), left.pop(0)
        if step.kind == "Conv2D":
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            if flattened:  # its inputs are counted channel by channel
                kernel = kernel.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
            kernel, flattened = kernel.T, None
        arrays += [np.ascontiguousarray(kernel), bias]
    return arrays


def versions(*names):
    return {name: getattr(sys.modules[name], "__version__", "?") for name in names if name in sys.modules}


# name: (title, class, what must be installed)
CONTENDERS = {
    "cnn": ("cnn (ours)", Ours, ()),
    "cnn-late": ("cnn, NumPy loaded first", Ours, ()),
    "cnn-avx2": ("cnn, AVX2 alone", Ours, ()),
    "plain": ("plain NumPy", PlainNumPy, ()),
    "torch": ("PyTorch", PyTorch, ("torch",)),
    "torch-last": ("PyTorch, channels_last", PyTorchChannelsLast, ("torch",)),
    "torch-avx2": ("PyTorch, AVX2 alone", PyTorch, ("torch",)),
    "torch-last-avx2": ("PyTorch, channels_last, AVX2 alone", PyTorchChannelsLast, ("torch",)),
    "torch-compiled": ("PyTorch, compiled", PyTorchCompiled, ("torch",)),
    "keras-tf": ("Keras on TensorFlow", KerasTensorFlow, ("keras", "tensorflow")),
    "keras-jax": ("Keras on JAX", KerasJAX, ("keras", "jax")),
    "onnx": ("ONNX Runtime", OnnxRuntime, ("onnx", "onnxruntime")),
}


def missing(name: str) -> list[str]:
    """The packages that this contender needs and that are not installed."""
    return [package for package in CONTENDERS[name][2] if importlib.util.find_spec(package) is None]
