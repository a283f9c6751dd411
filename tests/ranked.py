"""What each rank of tests/test_ranks.py runs: trains small networks of every kind, and prints hashes of the weights.

python ranked.py [reversed | slow | raises | generator]: one thing is not as it should be on the last rank.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from cnn import callbacks, distribute, layers, models

PHOTOS, BATCH, SHARDS = 35, 16, 8  # the last batch has three photos: with four ranks, one rank has no shard
L = layers
BODIES = {
    "plain": lambda: [L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(), L.Dense(12, "relu")],
    "dropout": lambda: [L.Conv2D(5, (3, 2)), L.ReLU(), L.Flatten(), L.Dropout(0.3), L.Dense(20, "tanh")],
    "winograd": lambda: [*(L.Conv2D(32, 3, padding="same", activation="relu") for _ in range(2)), L.Flatten()],
    "normalized": lambda: [
        *(L.Conv2D(8, 3), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2), L.DepthwiseConv2D(2)),
        *(L.GaussianNoise(0.1), L.SpatialDropout2D(0.2), L.Flatten()),
    ],
}
CASES = {
    **{f"{body}, adam": (body, "adam", np.float32) for body in BODIES},
    "plain, sgd": ("plain", "sgd", np.float32),
    "normalized in float64": ("normalized", "adam", np.float64),
}


def network(body, optimizer, dtype):
    """A compiled network whose shards are few photos each."""
    layers = [L.Input((8, 8, 1)), *BODIES[body](), L.Dense(3, activation="softmax")]
    model = models.Sequential(layers, seed=1)
    model.shards = SHARDS
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model if dtype == np.float32 else model.astype(dtype)


def digest(*arrays):
    """The bits, in few letters."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def trained(case, *more):
    """[hash of the weights, of the predictions; losses and accuracies] of one case."""
    model, rng = network(*CASES[case]), np.random.default_rng(0)
    x, y = rng.random((PHOTOS, 8, 8, 1)), rng.integers(3, size=PHOTOS)
    data = ((x[k : k + 5], y[k : k + 5]) for k in range(0, 30, 5)) if "generator" in more else (x, y, BATCH)
    watching = [Slow()] if "slow" in more else [Raises()] if "raises" in more else []
    if "generator" in more:
        model.fit(data, steps_per_epoch=3, verbose=0)
    history = model.fit(x, y, BATCH, epochs=2, verbose=0, validation_split=0.1, callbacks=watching).history
    found = model.evaluate(x, y, batch_size=4, verbose=0), history
    return [digest(*model.get_weights()), digest(model.predict(x, batch_size=4, verbose=0)), *found]


class Slow(callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.3 if distribute.world().rank == 1 else 0)


class Raises(callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if distribute.world().rank == 1 and batch == 1:
            raise RuntimeError("the roof is leaking")


def backwards(self, flat, owners, sums=distribute.World.sums):
    """The fault: the shards are added from the last to the first."""
    each = [found[k] for k in range(max(owners)) for found in self.of_each(flat) if k < len(found)]
    return sum(each[::-1][1:], start=each[-1].copy())


if __name__ == "__main__":
    world = distribute.use()
    if "reversed" in sys.argv:
        distribute.World.sums = backwards
    cases = CASES if len(sys.argv) == 1 else ["plain, adam", "normalized, adam"][: 1 + ("reversed" in sys.argv)]
    found = {case: trained(case, *sys.argv[1:]) for case in cases}
    if world.leads:
        print(json.dumps(found))
