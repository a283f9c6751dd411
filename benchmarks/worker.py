"""The process in which one contender runs: `python -m benchmarks.worker NAME THREADS HEIGHT,WIDTH,CHANNELS`.

It answers the requests of child.py with the methods of Worker. Times are taken here,
around the work alone: no request, no preparation of data is in them.
"""

import sys
import time
from functools import cache

from benchmarks import networks
from benchmarks.child import peak_memory, serve
from benchmarks.contenders import CONTENDERS

clock = time.perf_counter


class Worker:
    """One contender and the questions it can be asked."""

    def __init__(self, name: str, threads: int, shape: tuple[int, int, int]):
        if name == "cnn-late":
            import numpy  # noqa: F401  as in a notebook: before cnn, which can then choose no BLAS kernels

        self.contender, self.network = CONTENDERS[name][1](threads), networks.article(shape)
        from benchmarks import article  # only now: it loads NumPy

        self.article = article
        self.restart()

    def turn_to(self, network: str) -> None:
        """Another network of networks.py from now on."""
        self.network = networks.NETWORKS[network]
        Worker.data.cache_clear()
        self.restart()

    def restart(self, seed: int = 0) -> None:
        """Back to the start weights."""
        self.contender.load(self.network, self.article.start_weights(seed, self.network))

    @cache  # noqa: B019  a worker lives as long as its process
    def data(self, split: str, count: int):
        """The first `count` photos of the split in a fixed random order, in the contender's layout."""
        if self.network.shape == self.article.PHOTO_SHAPE:
            x, y = self.article.photos(split, count)
        else:
            x, y = self.article.noise(self.network.shape, count)
        order = self.article.order(0, 0, len(x))
        return self.contender.prepare(x[order], y[order])

    def describe(self) -> dict:
        return self.contender.describe()

    def check(self, batch: int, steps: int) -> dict:
        """Probabilities of 100 test photos at the start weights, and the losses of the first steps from there.

        Nothing is dropped out; after it the contender is back at the start weights.
        """
        network = networks.without_dropout(self.network)
        self.contender.load(network, self.article.start_weights(0, network))
        x, _ = self.data("test", 100)
        result = {"probabilities": self.contender.predict(x, 50).tolist()}
        if self.contender.losses:
            result["losses"] = [
                float(loss) for loss in self.contender.losses(*self.data("train", batch * steps), batch)
            ]
        self.restart()
        return result

    def train(self, batch: int, count: int) -> float:
        """Seconds of training on `count` photos."""
        x, y = self.data("train", count)
        start = clock()
        self.contender.train(x, y, batch)
        return clock() - start

    def predict(self, batch: int, count: int) -> float:
        """Seconds of predicting `count` photos."""
        x, _ = self.data("test", count)
        start = clock()
        self.contender.predict(x, batch)
        return clock() - start

    def train_until(self, accuracy: float, batch: int, every: int, seed: int, epochs: int) -> dict:
        """Train until this share of the test photos is right, tested every so many steps; for at most `epochs` epochs.

        The weights and orders are the same for everybody.
        """
        article, contender = self.article, self.contender
        self.restart(seed)
        x, y = article.photos("train")
        x_test, y_test = article.photos("test")
        x_test, _ = contender.prepare(x_test, y_test)
        steps = 0
        for epoch in range(epochs):
            order = article.order(seed, epoch, len(x))
            for start in range(0, len(x), every * batch):
                part = order[start : start + every * batch]
                contender.train(*contender.prepare(x[part], y[part]), batch)
                steps += -(-len(part) // batch)
                reached = float((contender.predict(x_test, 250).argmax(axis=1) == y_test).mean())
                if reached >= accuracy:
                    return {"steps": steps, "accuracy": reached}
        raise RuntimeError(f"{reached:.2%} after {epochs} epochs, expected {accuracy:.2%}")

    def memory_of_training(self, batch: int, count: int) -> float:
        """Peak MB of this process after training on the first `count` of 60,000 photos that lie in memory."""
        x, y = self.contender.prepare(*self.article.photos("train"))
        self.contender.train(x[:count], y[:count], batch)
        return self.peak_memory()

    def product_rate(self, size: int = 2048) -> float:
        """FLOP/s of a large float32 matrix product with the contender's BLAS: the ceiling of all networks on it."""
        import numpy as np

        a = np.random.default_rng(0).standard_normal((size, size), np.float32)
        a @ a
        start = clock()
        for _ in range(4):
            a @ a
        return 4 * 2 * size**3 / (clock() - start)

    def peak_memory(self) -> float:
        """MB, of the process so far."""
        return peak_memory()


if __name__ == "__main__":
    name, threads, shape = sys.argv[1:]
    serve(Worker(name, int(threads), tuple(int(size) for size in shape.split(","))))
