"""The threads inside the kernels: whoever they are and however many, they change no bit; without them all goes on."""

import os
import signal
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest
from conftest import random_batch, small_network

from kernels import threads
from kernels.compiled import Cache, compiled, rehearsal
from kernels.elementwise import relu

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is shared out without the compiler")

TRAIN = """
import hashlib, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import cnn
from conftest import random_batch, small_network
model = small_network(filters=32)
x, y = random_batch(200)
model.fit(x, y, batch_size=64, epochs=2, verbose=0)
outputs = model.predict(x, verbose=0)
print(hashlib.sha256(b"".join(w.tobytes() for w in [*model.get_weights(), outputs])).hexdigest())
"""


def digest(**environment):
    """Of the weights after a training, and of predictions, in a process with this environment."""
    command = [sys.executable, "-c", TRAIN, os.path.dirname(__file__)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual():
    return digest()


@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_NUM_THREADS": "1"},
        {"NUMBA_NUM_THREADS": "5"},
        {"NUMBA_THREADING_LAYER": "workqueue"},  # Numba's own, where there is no OpenMP
        {"OMP_WAIT_POLICY": "passive"},
        {"GOMP_SPINCOUNT": "0"},
    ],
    ids=lambda environment: "=".join(*environment.items()),
)
def test_other_threads_give_the_same_bits(usual, environment):
    assert digest(**environment) == usual


def test_the_environment_is_left_as_it_was():
    before = dict(os.environ)
    small_network().fit(*random_batch(64), verbose=0)
    assert dict(os.environ) == before


def elsewhere(task):
    """What it returns in a thread of its own."""
    results = []
    other = threading.Thread(target=lambda: results.append(task()))
    other.start()
    other.join()
    return results[0]


def test_only_one_team_works_at_a_time():
    """Numba's own threads must not be asked twice at once; who comes second works alone, and is right as well."""
    threads.set_threads(2)
    try:
        assert threads.team_size() == min(2, numba.config.NUMBA_NUM_THREADS)
        first = threads.join()
        x, y = np.linspace(-1, 1, 200_000, dtype=np.float32).reshape(100, -1), np.empty((100, 2000), np.float32)
        second = elsewhere(threads.join)
        assert first == (threads.team_size() > 1) and not second
        elsewhere(lambda: relu(y, x))  # alone, for the team is taken
        np.testing.assert_array_equal(y, np.maximum(x, 0))
        assert threads.join() == first  # nobody left it, as after Ctrl-C: who holds it still has it
        threads.part()
        assert elsewhere(lambda: threads.join() and not threads.part()) == first
    finally:
        threads.part()
        threads.set_threads(None)


def test_a_rehearsal_compiles_for_one_thread_and_for_several():
    y, x = (np.ones((2, 3), np.float64) for _ in range(2))  # a type that nobody else uses here, and a small array
    with rehearsal():
        relu(y, x)
    compiled = [any("float64" in str(signature) for signature in kernel.signatures) for kernel in relu.kernels]
    assert compiled == [True, threads.team_size() > 1]


def test_ctrl_c_does_not_break_into_the_compiler():
    """Numba could then compile nothing more in this process, or crashed it; so Ctrl-C waits until it has ended."""

    @compiled
    def total(values):
        return values.sum()

    ended = []

    class SlowCache(Cache):
        def load_overload(self, signature, target):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # where it would break in
            ended.append(threading.current_thread())

        def save_overload(self, signature, kernel):
            ended.append(threading.current_thread())

    total._cache = SlowCache(total.py_func)
    with pytest.raises(KeyboardInterrupt):
        total(np.arange(10.0))
    assert len(ended) == 2 and threading.main_thread() not in ended
    assert total(np.arange(10.0)) == 45 and len(ended) == 2
