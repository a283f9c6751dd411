"""How far a call of fit has come, as something that can be saved and taken up again.

Random draws are keyed by epoch and step (utils.py), so no generator has a state. What the future depends on is
the network with its optimizer, and what stands in TrainingState.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from cnn import datasets
from cnn.callbacks import Callback
from cnn.checks import known
from cnn.errors import ModelFileError
from cnn.network import Network
from cnn.saving.state import TrainingState
from cnn.training.means import RunningMean
from cnn.training.sources import Source

FREE_TO_CHANGE = ("epochs",)  # a run that goes on may be made longer or shorter
MOST_STEPS = 2**39  # a file holds twice as many, so that a run which goes on can be saved; no machine does as many


class Run:
    """One call of fit: what callbacks get in on_restore and on_safe_point."""

    def __init__(
        self, network: Network, source: Source, validation: Source | None, settings: dict, callbacks: Sequence[Callback]
    ):
        self.model, self.settings, self.callbacks = network, settings, _names(callbacks)
        self.source, self.validation = source, validation
        self.epoch, self.step, self.mean = settings["initial_epoch"], 0, RunningMean(network)
        self._data: str | None = None

    def next_epoch(self) -> None:
        """The epoch is over."""
        self.epoch, self.step, self.mean = self.epoch + 1, 0, RunningMean(self.model)

    @property
    def steps(self) -> int | None:
        """How many batches an epoch has; None for a stream that does not say."""
        return self.source.steps

    @property
    def data(self) -> str:
        """The fingerprint of all that fit reads, computed when somebody first asks."""
        if self._data is None:
            sources = [self.source, self.validation] if self.validation else [self.source]
            self._data = datasets.fingerprint(*(array for source in sources for array in source.contents()))
        return self._data

    def state(self) -> TrainingState:
        """Where the run stands now. The network with its optimizer is the rest."""
        states = {name: callback.get_state() for name, callback in self.callbacks.items()}
        states = {name: state for name, state in states.items() if state}
        mean, stopped = self.mean, self.model.stop_training
        return TrainingState(self.epoch, self.step, mean.sums(), mean.count, stopped, self.settings, self.data, states)

    def restore(self, saved: Network, state: TrainingState, where: str) -> None:
        """Go on from this state, with the weights and the optimizer of the saved network.

        Raises ValueError, with `where` in it, and changes nothing if the saved run was another one than this.
        """
        self._compare(state, where)
        self._check_place(saved, state, where)
        self.model.set_weights(saved.get_weights())
        vars(self.model.optimizer).update(vars(saved.optimizer))
        self.model.epoch, self.model.shards, self.model.stop_training = saved.epoch, saved.shards, state.stopped
        self.epoch, self.step, self.mean = state.epoch, state.step, RunningMean(self.model)
        self.mean.take(state.sums, state.count)
        for name, values in state.callbacks.items():
            try:
                self.callbacks[name].set_state(values)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ModelFileError(f"{where}: the state of {name} is not one: {error}") from error

    def _compare(self, state, where):
        """Raise ValueError unless the saved run and this one are the same, so far as they decide the result."""
        ours = self.state()
        for key in ("settings", "data", "callbacks"):
            saved, given = _comparable(state, key), _comparable(ours, key)
            for place, expected, got in differences(key, saved, given):
                raise ValueError(
                    f"{self.model}: fit: cannot go on from {where}: {place}: expected {expected} as in the saved run, "
                    f"got {got}. Delete that file to start anew."
                )

    def _check_place(self, saved, state, where):
        """Raise ModelFileError where no run of these photos and this batch size can stand."""
        if state.step > known(self.steps):
            raise ModelFileError(f"{where}: expected at most {self.steps} batches in an epoch, got {state.step}")
        count = self.source.photos_in(saved, state.step)
        if count is not None and state.count != count:
            raise ModelFileError(f"{where}: expected {count} photos in {state.step} batches, got {state.count}")
        names = self.mean.names() if state.step else set()
        if state.sums.keys() != names:
            raise ModelFileError(f"{where}: expected sums of {sorted(names)}, got {_short(sorted(state.sums))}")
        if max(state.epoch, saved.epoch, saved.optimizer.iterations) > MOST_STEPS:
            raise ModelFileError(f"{where}: expected at most {MOST_STEPS} epochs and steps done")


def _comparable(state: TrainingState, key: str):
    value = getattr(state, key)
    if key == "callbacks":
        return sorted(value)  # their names
    return {k: v for k, v in value.items() if k not in FREE_TO_CHANGE} if key == "settings" else value


def differences(place: str, saved: object, given: object) -> Iterator[tuple[str, object, object]]:
    """(place, saved, given) for each value that differs between two nested documents."""
    if isinstance(saved, dict) and isinstance(given, dict) and saved.keys() == given.keys():
        for key in saved:
            yield from differences(f"{place}.{key}".removeprefix("settings."), saved[key], given[key])
    elif isinstance(saved, list) and isinstance(given, list) and len(saved) == len(given):
        for index, pair in enumerate(zip(saved, given, strict=True)):
            yield from differences(f"{place}[{index}]", *pair)
    elif saved != given:
        yield place, _short(saved), _short(given)


def _names(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """EarlyStopping, EarlyStopping 2, ...: the same list of callbacks always gets the same names."""
    named: dict[str, Callback] = {}
    seen: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        named[f"{kind} {seen[kind] + 1}" if seen[kind] else kind] = callback
        seen[kind] += 1
    return named


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
