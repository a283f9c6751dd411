"""The gates that every gradient must pass. Each raises AssertionError; test_injected_faults.py proves that they can."""

from functools import partial

import numpy as np
from conftest import random_batch, random_biases, small_network

from cnn import activations, gradcheck, layers, losses, models, regularizers
from cnn.layers.formulas import FORMULAS
from cnn.training.step import run_batch
from kernels import reference
from kernels.simd.vectors import LANES


def spread(shape, count=2):
    """Numbers that are far apart and not 0, so that no kink is near."""
    size = count * int(np.prod(shape))
    return np.random.default_rng(1).permutation(np.linspace(-1, 1, 2 * size))[:size].reshape(count, *shape)


LAYERS = [
    (lambda: layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"), (6, 6, 2)),
    (lambda: layers.Conv2D(2, (2, 3), padding="same"), (5, 4, 2)),
    (lambda: layers.MaxPooling2D(3, strides=2, padding="same"), (6, 5, 2)),
    (lambda: layers.Dense(4, activation="relu"), (4,)),
    (lambda: layers.Dense(3, activation="softmax"), (4,)),
    *[(partial(layers.Activation, name), (7,)) for name in FORMULAS],
    (lambda: layers.LeakyReLU(0.1), (7,)),
    (lambda: layers.ELU(0.5), (7,)),
    (lambda: layers.PReLU("random_normal", shared_axes=1), (3, 4)),
    (lambda: layers.Softmax(axis=1), (3, 4)),
    (lambda: layers.Conv2DTranspose(3, (3, 2), 2, "same", activation="relu"), (3, 4, 2)),
    (lambda: layers.Conv2DTranspose(2, 3, (1, 2), output_padding=(0, 1)), (2, 3, 2)),
    (lambda: layers.DepthwiseConv2D((2, 3), 2, "same", 2, activation="relu"), (5, 4, 2)),
    (lambda: layers.SeparableConv2D(3, 3, depth_multiplier=2), (4, 5, 2)),
    (lambda: layers.Cropping2D(((1, 0), (0, 2))), (3, 4, 2)),
    (lambda: layers.UpSampling2D((2, 3)), (3, 2, 2)),
    (lambda: layers.Resizing(5, 3), (3, 4, 2)),
    (lambda: layers.CenterCrop(2, 3), (5, 4, 2)),
    (lambda: layers.RandomContrast((0.5, 0.5), value_range=(-0.6, 0.5)), (4, 3, 2)),
    (lambda: layers.RandomBrightness((0.1, 0.2), value_range=(-0.9, 0.7)), (4, 3, 2)),
    (lambda: layers.GaussianDropout(0.3), (10,)),
    (lambda: layers.AlphaDropout(0.3), (10,)),
    (lambda: layers.Dense(3, activation=partial(activations.gelu, approximate=True)), (4,)),
    (lambda: layers.AveragePooling2D((2, 3), 2, "same"), (5, 5, 2)),
    (lambda: layers.GlobalAveragePooling2D(), (3, 4, 2)),
    (lambda: layers.GlobalMaxPooling2D(keepdims=True), (3, 4, 2)),
    (lambda: layers.ZeroPadding2D(((1, 0), (2, 3))), (3, 4, 2)),
    (lambda: layers.Reshape((2, -1)), (2, 3, 2)),
    (lambda: layers.Rescaling((0.5, -2), offset=3), (3, 2)),
    (lambda: layers.Normalization(mean=(1, 2), variance=(4, 0.25)), (3, 2)),
    (lambda: layers.Normalization(mean=(1, 2), variance=(4, 0.25), invert=True), (3, 2)),
    (lambda: layers.SpatialDropout2D(0.4), (3, 4, 5)),
    (lambda: layers.RandomFlip("horizontal"), (3, 4, 2)),
    (lambda: layers.RandomTranslation(0.3, 0.3), (4, 3, 2)),
    (lambda: layers.RandomZoom((0.1, 0.6), fill_mode="constant", fill_value=2), (4, 3, 2)),
    (lambda: layers.RandomRotation((0.05, 0.2)), (4, 3, 2)),
    (lambda: layers.RandomErasing((1, 1), (0.2, 0.5)), (5, 4, 2)),
    (lambda: layers.Flatten(), (2, 3, 2)),
    (lambda: layers.Dropout(0.3), (10,)),
    (lambda: layers.BatchNormalization(epsilon=0.1), (3, 4, 2)),
]


def all_passed(results):
    for result in results:
        assert result.passed, f"{result.name}: {result.verdict}, error {result.error:.1e}, {result.kinks} kinks"


def layer_gate():
    """Every number of every tensor of small layers, against slopes."""
    for make, shape in LAYERS:
        all_passed(gradcheck.check_layer(make(), spread(shape), training=True))


def network_gate():
    """Every number of a whole network with its loss, in two shards, against slopes."""
    x, y = random_batch(4)
    all_passed(gradcheck.check_model(random_biases(small_network(shards=2)), x, y, samples=None))


def normalized_network(shards=2, seed=0, activation=layers.ReLU):
    """A network that normalizes twice, behind a convolution and before the first Dense layer."""
    rng = np.random.default_rng(seed)
    model = models.Sequential(
        [
            layers.Conv2D(4, 3, use_bias=False, input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            activation(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(10, activation="softmax"),
        ],
        seed=seed,
    )
    model.shards = shards
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    for key in model.learnable:
        model.params[key] += rng.uniform(-0.2, 0.2, model.params[key].shape).astype(np.float32)
    return model


def whole_batch_gate():
    """However a batch is cut, each photo is normalized by all: loss, gradients and averages are those of one shard."""
    x, y = random_batch(7)
    one, three = (
        run_batch(normalized_network(shards).astype(np.float64), x, y, input_gradient=True) for shards in (1, 3)
    )
    assert abs(one.loss - three.loss) <= 1e-13
    pairs = [(a[key], b[key]) for a, b in ((one.grads, three.grads), (one.averages, three.averages)) for key in a]
    for ours, theirs in [*pairs, (one.dx, three.dx)]:
        assert np.abs(ours - theirs).max() <= 1e-13


def regularized_network(shards=2):
    """A network whose weights cost something: kernels and biases, by all regularizers that there are."""
    model = models.Sequential(
        [
            layers.Conv2D(3, 3, kernel_regularizer=regularizers.L1L2(0.02, 0.05), input_shape=(8, 8, 1)),
            layers.Flatten(),
            layers.BatchNormalization(gamma_regularizer="l1", beta_regularizer="l2"),
            layers.Dense(10, activation="softmax", kernel_regularizer="l2", bias_regularizer=regularizers.L1(0.1)),
        ]
    )
    model.shards = shards
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    rng = np.random.default_rng(0)
    for key in model.learnable:
        model.params[key] += rng.uniform(0.05, 0.1, model.params[key].shape).astype(np.float32)
    return model


def penalty_gate():
    """Loss and gradients with their penalties, in two shards, against slopes."""
    all_passed(gradcheck.check_model(regularized_network(), *random_batch(4)))


def corner_gate():
    """Where there is no slope the gradient is what Keras says: ReLU'(0) = 0, the first of equal cells wins alone."""
    _, cache = layers.ReLU().forward(np.array([[-1.0, 0.0, 1.0]]))
    assert layers.ReLU().backward(np.ones((1, 3)), cache)[0].tolist() == [[0, 0, 1]]
    pool = layers.MaxPooling2D()
    y, cache = pool.forward(np.zeros((1, 4, 4, 1)))
    dx, _ = pool.backward(np.ones_like(y), cache)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


Z = np.random.default_rng(2).normal(size=(5, 3))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
SOFT = np.random.default_rng(3).dirichlet(np.ones(3), size=5)
YES = (np.random.default_rng(4).random((5, 3)) < 0.5).astype(float)
LOSSES = [  # loss, labels, predictions, whether those are logits
    (losses.SparseCategoricalCrossentropy(), np.array([2, 1, 0, 1, 1]), P, False),
    (losses.SparseCategoricalCrossentropy(), np.array([2, 1, 0, 1, 1]), Z, True),
    (losses.CategoricalCrossentropy(label_smoothing=0.1), SOFT, 2 * P + 0.1, False),
    (losses.CategoricalCrossentropy(), YES, Z, True),
    (losses.BinaryCrossentropy(label_smoothing=0.1), YES, 0.2 + 0.6 * P, False),
    (losses.BinaryCrossentropy(), YES, Z, True),
    (losses.MeanSquaredError(), SOFT, Z, False),
    (losses.MeanAbsoluteError(), SOFT, Z, False),
    (losses.MeanAbsolutePercentageError(), SOFT, Z, False),
    (losses.MeanSquaredLogarithmicError(), SOFT, P, False),
    (losses.Huber(0.5), SOFT, Z, False),
    (losses.LogCosh(), SOFT, Z, False),
]


def loss_gate():
    """Every number that a loss is given, against slopes, alone and with weights."""
    for loss, labels, values, from_logits in LOSSES:
        for weights in (None, np.array([0, 0.5, 1, 2, 7])):
            gradient = loss.loss_and_gradient(labels, values, len(values), from_logits, weights)[1]
            slopes, h = np.empty_like(values), 1e-5
            for place in np.ndindex(values.shape):
                moved = [values.copy(), values.copy()]
                moved[0][place] += h
                moved[1][place] -= h
                up, down = (loss.loss_and_gradient(labels, v, len(v), from_logits, weights)[0] for v in moved)
                slopes[place] = (up - down) / (2 * h)
            assert gradcheck.relative_error(gradient, slopes) <= 1e-8, loss.name


def closing_gate():
    """A network whose loss does not take the logits of its softmax: the softmax is a step of the chain rule."""
    for loss in ("mse", "mae", "binary_crossentropy"):
        model = small_network(shards=2, compiled=False)
        model.compile("sgd", loss)
        x, y = random_batch(4)
        all_passed(gradcheck.check_model(random_biases(model), x, np.eye(10)[y], samples=30))


def weights_gate():
    """Weights of photos are those of the photos' gradients, in each shard: weight 2 is twice, weight 0 is never."""
    model, (x, y) = random_biases(small_network(shards=2)), random_batch(4)
    weighted = run_batch(model, x, y, training=False, weights=np.array([0.0, 1, 2, 1]))
    repeated = run_batch(model, x[[1, 2, 2, 3]], y[[1, 2, 2, 3]], training=False)
    assert abs(weighted.loss - repeated.loss) <= 1e-6 * repeated.loss
    for key, grad in repeated.grads.items():
        assert gradcheck.relative_error(grad, weighted.grads[key]) <= 1e-6, key


def independence_gate():
    """A second pass does not spoil the first, as it would where a layer remembered things."""
    for make, shape in LAYERS:
        layer = make()
        layer.build(shape, np.random.default_rng(0), np.float64)
        y, cache = layer.forward(spread(shape))
        alone = layer.backward(np.ones_like(y), cache)
        y, cache = layer.forward(spread(shape))
        layer.forward(-2 * spread(shape))
        after = layer.backward(np.ones_like(y), cache)
        np.testing.assert_array_equal(alone[0], after[0])
        for key in alone[1]:
            np.testing.assert_array_equal(alone[1][key], after[1][key])


def fast_gate(model=None, count=12):
    """The fast twin that fit runs has the gradients of the plain layers, to the rounding of float32.

    Where sums cancel that is more than 1e-6: how much more, the plain layers in float64 tell.
    """
    model = model or random_biases(small_network(shards=2, filters=3))  # fill no vector register
    x, y = random_batch(count, model.photo_shape)
    plain, fast = (run_batch(model, x, y, step=3, fast=fast) for fast in (False, True))
    exact = run_batch(model.astype(np.float64), x, y, step=3, fast=False)
    assert abs(plain.loss - fast.loss) <= 1e-6 * abs(plain.loss)
    assert (plain.outputs.argmax(axis=1) == fast.outputs.argmax(axis=1)).all()
    assert plain.grads.keys() == fast.grads.keys()
    for key, grad in plain.grads.items():
        rounding = gradcheck.relative_error(grad, exact.grads[key])
        assert gradcheck.relative_error(grad, fast.grads[key]) <= 1e-6 + 2 * rounding, key


def exact_gate(model, count=6, training=True):
    """The twin's pass is as near to the one in float64 as the plain layers' is: rounding is all that differs.

    Where sums cancel, as they do in a normalization's gradients, two float32 results may be far from each other.
    """
    x, y = random_batch(count, model.photo_shape)
    exact, plain, fast = (
        run_batch(one, x, y, step=3, training=training, fast=fast)
        for one, fast in ((model.astype(np.float64), False), (model, False), (model, True))
    )
    assert abs(exact.loss - fast.loss) <= 1e-5 * abs(exact.loss)
    assert exact.grads.keys() == fast.grads.keys() and exact.averages.keys() == fast.averages.keys()
    right, ours, theirs = (result.grads | result.averages for result in (exact, fast, plain))
    for key, value in right.items():
        of_layer = max(np.abs(other).max() for name, other in right.items() if name.split("/")[0] == key.split("/")[0])
        error, of_plain = (np.abs(one[key] - value).max() for one in (ours, theirs))
        assert error <= 4 * of_plain + 2e-6 * of_layer + 1e-9, f"{key}: {error:.1e}, plain {of_plain:.1e}"


def normalization_gate():
    """The same for a network that normalizes, pools and does both."""
    exact_gate(normalized_network())


def wide_network(seed=0):
    """A network that fills the vector registers of any processor: its steps run every kernel that there is."""
    model = models.Sequential(
        [
            layers.Conv2D(
                32, 3, padding="same", activation="relu", input_shape=(28, 28, 1)
            ),  # sums in registers; few taps
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),  # Winograd; without zeros
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),  # not pooled: the turned kernel, both by Winograd
            layers.Conv2D(5, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(40, activation="relu"),  # a product in registers
            layers.Dense(10, activation="softmax"),
        ],
        seed=seed,
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return random_biases(model)


def unpooled_gate():
    """The same where Winograd's convolution is not pooled: more patches than are taken at a time, and some closed."""
    head = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    first, second = (
        layers.Conv2D(32, 1, input_shape=(8, 16, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
    )
    model = models.Sequential([first, second, *head])
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    fast_gate(random_biases(model), count=3)


def vector_gate():
    """The same for a network whose gradients the vector kernels compute."""
    fast_gate(wide_network())


def pooling_network(seed=0):
    """A pooling layer behind no convolution, and shards of one photo: the kernels of these."""
    model = models.Sequential(
        [
            layers.Dense(35, input_shape=(7, 6, 2)),  # more channels than whole registers
            layers.MaxPooling2D(3, strides=2, padding="same"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        seed=seed,
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return random_biases(model)


def pooling_gate():
    """The same for pooling alone and a photo alone."""
    fast_gate(pooling_network(), count=2)


def depthwise_gate():
    """The same for channels convolved by themselves, more of them than fill whole registers, and then mixed."""
    model = models.Sequential(
        [
            layers.Conv2D(LANES + 3, 1, input_shape=(8, 9, 1)),
            layers.DepthwiseConv2D(3, 2, padding="same", activation="relu"),
            layers.SeparableConv2D(5, (2, 3), padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.shards = 2
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    fast_gate(random_biases(model))


def step_gate():
    """Three steps of fit move the weights as Adam's formula moves them along the plain layers' gradients."""
    fitted, by_hand = wide_network(), wide_network()
    x, y = random_batch(12, fitted.photo_shape)
    fitted.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    moments = {key: (np.zeros_like(w), np.zeros_like(w)) for key, w in by_hand.params.items()}
    before = {key: w.copy() for key, w in by_hand.params.items()}
    for step in range(3):
        part = slice(4 * step, 4 * step + 4)
        grads = run_batch(by_hand, x[part], y[part], step=step).grads
        alpha = 0.001 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        for key, w in by_hand.params.items():
            reference.adam_update(w, grads[key], *moments[key], alpha, 0.9, 0.999, 1e-7)
    for key, w in by_hand.params.items():
        moved, right = fitted.params[key] - before[key], w - before[key]
        assert gradcheck.relative_error(right, moved) <= 1e-4, key


def backward_of(kind, change):
    """A fault: (dx, grads) of this kind of layer, changed."""
    original = kind.backward

    def faulty(self, dy, cache, need_dx=True):
        return change(*original(self, dy, cache, need_dx))

    return lambda patch: patch.setattr(kind, "backward", faulty)
