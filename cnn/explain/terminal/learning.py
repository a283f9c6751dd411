"""The walk's weights: one step of training, undone again, and the gradient check of all tensors."""

from typing import Any

import numpy as np

from cnn import article, optimizers
from cnn.datasets import fashion_mnist
from cnn.explain.parts import Cursor
from cnn.explain.trace import Trace, network_input
from cnn.explain.views.beside import check_sample
from cnn.losses import SparseCategoricalCrossentropy
from cnn.models import Sequential


class Learning:
    """What of the walk changes the weights: `model` is in use, `loaded` what it began with."""

    model: Sequential
    loaded: Sequential
    trace: Trace
    beside: Cursor
    target: int | None
    asked: int | None
    message: str
    batch: int
    moment: str
    training: tuple[np.ndarray, np.ndarray]

    def retrace(self) -> None:
        """Compute everything anew."""
        raise NotImplementedError

    def aim(self) -> None:
        """The path ends at the class that is explained."""
        raise NotImplementedError

    def learn(self) -> None:
        """All weights take one step of plain gradient descent for this photo and target."""
        before = self.trace
        model = self.model.astype(self.model.dtype)
        grads = {f"{s.layer.name}/{key}": before.get(s, f"d{key}") for s in before.stages for key in s.layer.learnable}
        optimizers.SGD(self.beside.learning_rate).update({key: model.params[key] for key in grads}, grads)
        self.model, self.target = model, before.target
        self.retrace()
        loss = f"loss {before.loss:.6g} -> {self.trace.loss:.6g}"
        self.message = f"one step, learning rate {self.beside.learning_rate:g}: {loss}   (u undoes)"

    def train(self) -> None:
        """One step on the next 32 training photos."""
        model, before = self.model.astype(self.model.dtype), self.trace.loss
        if not self.batch:
            self.training = fashion_mnist.load_split("train")
        x, y = (array[32 * self.batch : 32 * self.batch + 32] for array in self.training)
        loss_function = SparseCategoricalCrossentropy(from_logits=not model.ends_in_softmax)
        model.compile(optimizers.SGD(self.beside.learning_rate), loss_function)
        inputs = np.concatenate([network_input(model, photo).astype(np.float32) for photo in x])
        loss: Any = model.train_on_batch(inputs, y)
        self.model, self.batch = model, self.batch + 1
        self.retrace()
        photo = f"this photo {before:.4g} -> {self.trace.loss:.4g}"
        self.message = f"batch {self.batch}: loss of its 32 photos {float(np.ravel(loss)[0]):.4g}; {photo}   (u undoes)"

    def next_moment(self) -> None:
        """The article's network at its next moment: untrained, early, finished."""
        if not self.moment:
            self.message = "this network is known at one moment only: leave out --model"
            return
        names = list(article.MOMENTS)
        self.moment = names[(names.index(self.moment) + 1) % len(names)]
        self.model = self.loaded = article.at_moment(self.moment)
        self.batch, self.target = 0, self.asked
        self.retrace()
        self.aim()
        self.message = f"{self.moment}: {article.MOMENTS[self.moment]}"

    def undo(self) -> None:
        """The weights and the class as at first."""
        self.model, self.batch, self.target = self.loaded, 0, self.asked
        self.retrace()
        self.aim()
        self.message = "the weights are as loaded"

    def sample(self) -> None:
        """The gradient check of all tensors, in one line."""
        found = check_sample(self.trace)
        checked, kinks = (sum(getattr(result, name) for result in found.results) for name in ("checked", "kinks"))
        few = f"; {found.few} of {len(found.results)} tensors: too few" if found.few else ""
        counts = f"{checked} numbers checked, {kinks} at kinks left out: worst error {found.worst:.0e}{few}"
        self.message = f"WRONG: {', '.join(found.wrong)}" if found.wrong else counts
