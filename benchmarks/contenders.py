"""Everybody who takes part: one class each, all with the same verbs. worker.py runs one of them in a process.

load(weights)            start again from these weights, with a fresh Adam
prepare(x, y)            the data in the contender's own layout: never timed
train(x, y, batch)       one pass over prepared data in the order given
losses(x, y, batch)      the same; returns the loss of each step
predict(x, batch)        probabilities (N, 10), a NumPy array

Each library is imported when it is instantiated, and `cnn` before NumPy, as its users do.
"""

import importlib.util
import os
import sys

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Contender:
    """threads: how many it may use; shape: one photo's (H, W, C)."""

    def __init__(self, threads: int, shape: tuple[int, int, int]):
        self.threads, self.shape = threads, shape
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

    def load(self, weights):
        layers = self.layers
        filters, units = weights[0].shape[3], weights[4].shape[1]
        self.model = self.models.Sequential(
            [
                layers.Conv2D(filters, (3, 3), padding="same", activation="relu", input_shape=self.shape),
                layers.MaxPooling2D((2, 2)),
                layers.Conv2D(weights[2].shape[3], (3, 3), padding="same", activation="relu"),
                layers.MaxPooling2D((2, 2)),
                layers.Flatten(),
                layers.Dense(units, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
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

    def load(self, weights):
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

    def load(self, weights):
        torch, nn = self.torch, self.torch.nn
        channels, filters, more, units = (
            weights[0].shape[2],
            weights[0].shape[3],
            weights[2].shape[3],
            weights[4].shape[1],
        )
        model = nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(filters, more, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(len(weights[4]), units),
            nn.ReLU(),
            nn.Linear(units, 10),
        )
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), channels_first(weights, self.shape), strict=True):
                parameter.copy_(torch.from_numpy(value))
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7, fused=True)
        self.model, self.steps = self.wrap(model), 0

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
        for k in range(0, len(x), batch):
            self.step(x[k : k + batch], y[k : k + batch])

    def losses(self, x, y, batch):
        return [self.step(x[k : k + batch], y[k : k + batch]).item() for k in range(0, len(x), batch)]

    def predict(self, x, batch):
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

    def load(self, weights):
        keras = self.keras
        layers = keras.layers
        self.model = keras.Sequential(
            [
                layers.Input(self.shape),
                layers.Conv2D(weights[0].shape[3], 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(weights[2].shape[3], 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(weights[4].shape[1], activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
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

    def load(self, weights):
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        arrays = channels_first(weights, self.shape)
        names = ["k1", "b1", "k2", "b2", "k3", "b3", "k4", "b4"]
        node = helper.make_node
        conv, pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [2, 2], "strides": [2, 2]}
        nodes = [
            node("Conv", ["x", "k1", "b1"], ["z1"], **conv),
            node("Relu", ["z1"], ["a1"]),
            node("MaxPool", ["a1"], ["p1"], **pool),
            node("Conv", ["p1", "k2", "b2"], ["z2"], **conv),
            node("Relu", ["z2"], ["a2"]),
            node("MaxPool", ["a2"], ["p2"], **pool),
            node("Flatten", ["p2"], ["f"]),
            node("Gemm", ["f", "k3", "b3"], ["z3"], transB=1),
            node("Relu", ["z3"], ["a3"]),
            node("Gemm", ["a3", "k4", "b4"], ["z4"], transB=1),
            node("Softmax", ["z4"], ["p"], axis=1),
        ]
        height, width, channels = self.shape
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "article",
            [value("x", 1, ["n", channels, height, width])],
            [value("p", 1, ["n", 10])],
            [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        self.session = self.runtime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )

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


def channels_first(weights, shape):
    """Keras' weights as PyTorch and ONNX hold them: kernels (F, C, kh, kw), (units, inputs), flattened by channel."""
    import numpy as np

    k1, b1, k2, b2, k3, b3, k4, b4 = weights
    k3 = k3.reshape(shape[0] // 4, shape[1] // 4, -1, k3.shape[1]).transpose(3, 2, 0, 1).reshape(k3.shape[1], -1)
    kernels = [k1.transpose(3, 2, 0, 1), k2.transpose(3, 2, 0, 1), k3, k4.T]
    return [np.ascontiguousarray(a) for pair in zip(kernels, (b1, b2, b3, b4), strict=True) for a in pair]


def versions(*names):
    return {name: getattr(sys.modules[name], "__version__", "?") for name in names if name in sys.modules}


# name: (title, class, what must be installed)
CONTENDERS = {
    "cnn": ("cnn (ours)", Ours, ()),
    "cnn-late": ("cnn, NumPy loaded first", Ours, ()),
    "plain": ("plain NumPy", PlainNumPy, ()),
    "torch": ("PyTorch", PyTorch, ("torch",)),
    "torch-last": ("PyTorch, channels_last", PyTorchChannelsLast, ("torch",)),
    "torch-compiled": ("PyTorch, compiled", PyTorchCompiled, ("torch",)),
    "keras-tf": ("Keras on TensorFlow", KerasTensorFlow, ("keras", "tensorflow")),
    "keras-jax": ("Keras on JAX", KerasJAX, ("keras", "jax")),
    "onnx": ("ONNX Runtime", OnnxRuntime, ("onnx", "onnxruntime")),
}


def missing(name: str) -> list[str]:
    """The packages that this contender needs and that are not installed."""
    return [package for package in CONTENDERS[name][2] if importlib.util.find_spec(package) is None]
