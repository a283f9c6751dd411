"""Work that is over in a second, to be disturbed: `python disturbed.py FUNCTION ARGUMENT ...`, each in its own process.

`train FOLDER EPOCHS [FAULT]` trains by the library, keeps its state in FOLDER as often as SAVE_FREQ in the environment
says, prints "begin" when it begins and as its last line a hash of all that a resumed run must end with. FAULT is one of

    disk                      from the second epoch on, no file may be longer than half of what is needed
    kill CALL MOMENT NUMBER   the process dies "before" or "after" that call of a function that saving uses

`train_interrupted FOLDER EPOCHS` goes on with the same model after each of 20 KeyboardInterrupt, as in a notebook;
`interrupt_threads TIMES` interrupts nothing but the threads that share out a batch.
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from cnn import callbacks, layers, models
from cnn.saving import atomic, npz
from kernels import blas, threads

RNG = np.random.default_rng(0)
X, Y = RNG.random((96, 8, 8, 1), dtype=np.float32), RNG.integers(0, 3, 96)
SAVING = {"open": atomic, "_npy": npz, "fsync": os, "replace": os, "unlink": os}  # functions, where saving finds them


def new_model():
    """A network with dropout, so that the order of the random numbers counts too."""
    network = [
        layers.Conv2D(8, 3, activation="relu", input_shape=(8, 8, 1)),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(3, activation="softmax"),
    ]
    model = models.Sequential(network, seed=5)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.shards = 2
    return model


def watchers(folder):
    """Callbacks that keep a state of their own, arrays too, from epoch to epoch."""
    backup = callbacks.BackupAndRestore(folder, save_freq=int(os.environ.get("SAVE_FREQ", "1")))
    return [backup, callbacks.EarlyStopping("val_loss", patience=100, restore_best_weights=True)]


def fit(model, epochs, callbacks):
    """The training itself."""
    model.fit(X, Y, batch_size=10, epochs=epochs, validation_split=0.2, verbose=0, callbacks=callbacks)


def result(model) -> str:
    """All that must be the same bits: weights, optimizer, history."""
    digest = hashlib.sha256()
    for values in (model.params, *model.optimizer.state.values()):
        for key, array in values.items():
            digest.update(key.encode() + array.tobytes())
    return json.dumps([digest.hexdigest(), model.optimizer.iterations, model.history.history])


class Begin(callbacks.Callback):
    """Says when the training begins: what comes before is no moment to disturb it."""

    def on_train_begin(self, logs=None):
        print("begin", flush=True)


class FullDisk(callbacks.Callback):
    """After the second epoch the disk has room for half a file."""

    def __init__(self, folder):
        self.file = Path(folder, "last.npz")

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            size = self.file.stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def kill_at(call: str, moment: str, number: int) -> None:
    """Let this process die before or after the call of that number."""
    function, calls = getattr(SAVING[call], call, open), 0  # the built-in open is in no module of ours

    def call_or_die(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        value = function(*args, **kwargs)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(SAVING[call], call, call_or_die)


def train(folder, epochs, fault="", *details) -> None:
    """Train, with the fault at work, and print the result."""
    if fault == "kill":
        call, moment, number = details
        kill_at(call, moment, int(number))
    model = new_model()
    fit(model, int(epochs), [*watchers(folder), Begin(), *([FullDisk(folder)] if fault == "disk" else [])])
    print(result(model), flush=True)


def raise_interrupt(signum, frame):
    """What Ctrl-C does; here the alarm clock rings it."""
    raise KeyboardInterrupt


def train_interrupted(folder, epochs) -> None:
    """The same training of the same model, interrupted 20 times at any moment."""
    moments, interrupts = random.Random(1), 0

    def once_more(lost):
        if lost.exc_type is KeyboardInterrupt:  # it met a __del__, where Python drops it
            signal.setitimer(signal.ITIMER_REAL, 0.002)

    sys.unraisablehook = once_more
    signal.signal(signal.SIGALRM, raise_interrupt)
    model, disturbed = new_model(), [*watchers(folder), Begin()]
    while True:
        try:
            if interrupts < 20:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.001, 0.03))
            fit(model, int(epochs), disturbed)
            signal.setitimer(signal.ITIMER_REAL, 0)
            break
        except KeyboardInterrupt:
            interrupts += 1
            assert all(len(values) == len(model.history.epoch) for values in model.history.history.values())
            assert np.isfinite(model.predict(X[:2], verbose=0)).all()
    assert interrupts >= 10, interrupts
    print(result(model))


def interrupt_threads(times) -> None:
    """Share out work among threads until it was interrupted so often; every result must be right."""
    assert blas.controllable()
    threads.set_threads(2)
    moments, interrupts = random.Random(0), 0

    def slow_square(k):
        time.sleep(moments.uniform(0, 0.0002))
        return k * k

    sys.unraisablehook = lambda lost: None  # an interrupt that met a __del__
    signal.signal(signal.SIGALRM, raise_interrupt)
    while interrupts < int(times):
        try:
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00005, 0.0005))
            while True:
                assert threads.run(slow_square, range(4)) == [0, 1, 4, 9]
        except KeyboardInterrupt:
            interrupts += 1
    print("done")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
