"""The scripts that beginners copy next, in the manner of the tutorials named, with only their import changed.

On few of the real photos, so that each takes a second or two; what they are known to reach is asked for in proportion.
"""

import numpy as np
import pytest

import cnn as keras
from cnn import layers, models, regularizers
from cnn.datasets import fashion_mnist
from cnn.optimizers import schedules


@pytest.fixture(scope="module")
def photos():
    (train_x, train_y), (test_x, test_y) = fashion_mnist.load_data()
    return train_x[:3000], train_y[:3000], test_x[:1000], test_y[:1000]


def test_quickstart_for_beginners(photos, capsys):
    """TensorFlow's first page: logits, a loss object, a second model that ends in softmax."""
    x_train, y_train, x_test, y_test = photos
    x_train, x_test = x_train / 255.0, x_test / 255.0
    model = models.Sequential(
        [
            layers.Flatten(input_shape=(28, 28)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    predictions = model(x_train[:1]).numpy()
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert 1 < loss_fn(y_train[:1], predictions).numpy() < 5  # near -log(1/10)
    model.compile(optimizer="adam", loss=loss_fn, metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=5)
    _, accuracy = model.evaluate(x_test, y_test, verbose=2)
    assert accuracy > 0.76 and "loss" in capsys.readouterr().out
    probability_model = models.Sequential([model, layers.Softmax()])
    np.testing.assert_allclose(probability_model(x_test[:5]).numpy().sum(axis=1), 1, rtol=1e-5)


def test_classify_images_of_clothing(photos):
    """TensorFlow's: functions for strings, metrics as objects, one photo as a batch of one."""
    x_train, y_train, x_test, y_test = photos
    model = keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation=keras.activations.relu),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.sparse_categorical_crossentropy,
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    history = model.fit(x_train / 255.0, y_train, epochs=5, validation_data=(x_test / 255.0, y_test), verbose=0)
    name = "sparse_categorical_accuracy"
    assert set(history.history) == {"loss", name, "val_loss", f"val_{name}"}
    assert history.history[f"val_{name}"][-1] > 0.76
    one = np.expand_dims(x_test[1] / 255.0, 0)
    assert np.argmax(model.predict(one, verbose=0)[0]) == y_test[1]


def test_convolutions_on_colour_photos(photos):
    """TensorFlow's page on CIFAR: a summary in the middle, three channels (here of grey photos made larger)."""
    x, y = np.repeat(np.pad(photos[0], ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=3) / 255.0, photos[1]
    model = models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(32, 32, 3)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.summary()
    assert model.output_shape == (None, 4, 4, 64)
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10))
    assert model.count_params() == 122_570
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, validation_split=0.1, verbose=0)
    assert history.history["val_accuracy"][-1] > 0.7


def test_simple_convnet_of_keras_io(photos):
    """One-hot labels, Input, batches of 128, validation_split, score[0] and score[1]."""
    x_train = np.expand_dims(photos[0].astype("float32") / 255, -1)
    y_train = keras.utils.to_categorical(photos[1], 10)
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    assert model.count_params() == 34_826
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=128, epochs=6, validation_split=0.1, verbose=0)
    score = model.evaluate(x_train, y_train, verbose=0)
    assert score[0] < 0.8 and score[1] > 0.7


def test_first_network_of_deep_learning_with_python(photos):
    """Chollet's: no input shape, rmsprop, photos as rows."""
    x = photos[0].reshape((3000, 28 * 28)).astype("float32") / 255
    model = keras.Sequential([layers.Dense(512, activation="relu"), layers.Dense(10, activation="softmax")])
    model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, photos[1], epochs=5, batch_size=128, verbose=0)
    predictions = model.predict(x[0:10], verbose=0)
    assert predictions[0].argmax() == photos[1][0] and predictions.shape == (10, 10)
    assert [w.shape for w in model.get_weights()] == [(784, 512), (512,), (512, 10), (10,)]
    assert model.evaluate(x, photos[1], verbose=0)[1] > 0.7


def test_fashion_classifier_of_hands_on_machine_learning(photos, tmp_path):
    """Geron's: sgd, he_normal, layers by number and name, the best epoch kept and loaded, training that stops early."""
    x_train, y_train, x_test, y_test = photos
    model = models.Sequential()
    model.add(layers.Flatten(input_shape=[28, 28]))
    model.add(layers.Dense(300, activation="relu", kernel_initializer="he_normal"))
    model.add(layers.Dense(100, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    hidden = model.layers[1]
    weights, biases = hidden.get_weights()
    assert model.get_layer(hidden.name) is hidden and weights.shape == (784, 300) and not biases.any()
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.npz", save_best_only=True)
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    data = (x_test / 255.0, y_test)
    history = model.fit(x_train / 255.0, y_train, epochs=8, validation_data=data, callbacks=[best, stop], verbose=0)
    assert history.params["epochs"] == 8 and history.epoch == list(range(len(history.history["loss"])))
    kept = models.load_model(tmp_path / "best.npz")
    assert kept.evaluate(*data, verbose=0)[0] == pytest.approx(min(history.history["val_loss"]), rel=1e-5)
    assert kept.evaluate(*data, verbose=0)[1] > 0.7


def test_overfit_and_underfit(photos):
    """TensorFlow's: penalties, dropout, a rate that falls, one logit, and a metric with a name of one's own."""
    x, y = photos[0].reshape(-1, 784) / 255.0, (photos[1] > 4).astype("float32")
    rate = schedules.InverseTimeDecay(0.001, decay_steps=100, decay_rate=1, staircase=False)
    penalty = regularizers.l2(0.001)
    model = keras.Sequential(
        [
            layers.Dense(32, activation="elu", kernel_regularizer=penalty, input_shape=(784,)),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )
    cross_entropy = keras.metrics.BinaryCrossentropy(from_logits=True, name="binary_crossentropy")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=[cross_entropy, "accuracy"])
    history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=0).history
    assert history["loss"][-1] > history["binary_crossentropy"][-1]  # the penalty is in the loss alone
    assert history["val_binary_crossentropy"][-1] < 0.4


def test_image_classification_with_augmentation(photos):
    """TensorFlow's and keras.io's: a network of random changes inside, rescaling, BatchNormalization, feature maps."""
    x, y = photos[0][..., None], photos[1]
    changes = keras.Sequential(
        [layers.RandomFlip("horizontal", input_shape=(28, 28, 1)), layers.RandomRotation(0.02), layers.RandomZoom(0.1)]
    )
    model = keras.Sequential(
        [
            changes,
            layers.Rescaling(1.0 / 255),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, name="outputs"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    slower = keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=2, min_lr=1e-5)
    history = model.fit(x, y, epochs=4, validation_split=0.2, callbacks=[slower], verbose=0).history
    assert history["accuracy"][-1] > 0.45 and "learning_rate" in history
    maps = keras.Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers[2:4]])
    assert [a.shape for a in maps.predict(x[:2], verbose=0)] == [(2, 28, 28, 16), (2, 14, 14, 16)]


def test_basic_regression():
    """TensorFlow's: normalization adapted to the data, mean absolute error, compiled anew with another optimizer."""
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (400, 9)).astype("float32")
    y = x @ rng.normal(size=9).astype("float32")
    normalizer = layers.Normalization(axis=-1)
    normalizer.adapt(x)
    model = keras.Sequential([normalizer, layers.Dense(64, activation="relu"), layers.Dense(1)])
    model.compile(loss="mean_absolute_error", optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(x, y, validation_split=0.2, verbose=0, epochs=30).history
    assert history["val_loss"][-1] < history["val_loss"][0] / 3
    model.compile(loss="mse", optimizer=keras.optimizers.RMSprop(0.001), metrics=["mae", "mse"])
    assert set(model.fit(x, y, verbose=0).history) == {"loss", "mae", "mse"}
    assert model.predict(x[:3], verbose=0).shape == (3, 1)
