"""Networks on the same photos - as they are, moved, mirrored, their parts rearranged - and what may be said of it.

The sentences are chosen by the numbers: a difference is one only where the 95% intervals
do not meet, and "recognises" means more than half of the photos, interval and all. Of two networks that are near each
other McNemar's test tells more: it looks only at photos that one of them alone is right about.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import metrics, photos
from cnn.photos.changes import mirror, shift, swap_halves, swap_quadrants

Array = np.ndarray
REACH = 6  # pixels that photos are moved at most
PLAIN, MIRRORED, HALVES, QUADRANTS = "as they are", "mirrored", "halves swapped", "quadrants swapped"
CNN, DENSE, BEST = "CNN", "dense", "best"  # the networks; the third learned with augmented photos
CALLED = {CNN: "the CNN", DENSE: "the dense net", BEST: "the CNN of augmented photos"}
WHOLE = (PLAIN, MIRRORED, HALVES, QUADRANTS)  # the changes that are not shifts


class Change(NamedTuple):
    """Something done to every photo; dx, dy: how far it is moved."""

    name: str
    apply: Callable[[Array], Array]
    dx: int = 0
    dy: int = 0


class Score(NamedTuple):
    """How many of how many photos a network is right about."""

    correct: int
    count: int  # type: ignore[assignment]  # a number, where other tuples have a method

    @property
    def share(self) -> float:
        """Right answers among all."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval, after Wilson."""
        return metrics.wilson_interval(self.correct, self.count)


class Comparison(NamedTuple):
    """correct[network][change] counts the right answers of each class, an int array (classes,)."""

    class_names: Sequence[str]
    counts: Array  # photos of each class, (classes,)
    correct: dict[str, dict[str, Array]]
    alone: dict[str, tuple[int, int]] = {}  # change: the photos that BEST alone, and that CNN alone, is right about
    said: dict[str, dict[str, Array]] = {}  # said[network][change]: how often each class was the answer, (classes,)

    def score(self, network: str, change: str, label: int | None = None) -> Score:
        """A network's score under a change, over all photos or those of one class."""
        chosen = slice(None) if label is None else slice(label, label + 1)
        return Score(int(self.correct[network][change][chosen].sum()), int(self.counts[chosen].sum()))


def changes(reach: int = REACH) -> list[Change]:
    """All changes: none, the shifts along each axis, the mirror image, the two rearrangements."""
    steps = [d for d in range(-reach, reach + 1) if d]
    moves = [(d, 0) for d in steps] + [(0, d) for d in steps]
    shifts = [Change(shift_name(dx, dy), partial(shift, dx=dx, dy=dy), dx, dy) for dx, dy in moves]
    return [
        Change(PLAIN, lambda pixels: pixels),
        *shifts,
        Change(MIRRORED, mirror),
        Change(HALVES, swap_halves),
        Change(QUADRANTS, swap_quadrants),
    ]


def shift_name(dx: int, dy: int) -> str:
    """'2 right', '3 up': which way and how far a photo was moved along one axis; without a move PLAIN."""
    if dx == dy == 0:
        return PLAIN
    return f"{abs(dx)} {'right' if dx > 0 else 'left'}" if dx else f"{abs(dy)} {'down' if dy > 0 else 'up'}"


def compare(
    networks: dict, pixels: Array, labels: Array, done: Callable[[str], None] = lambda name: None
) -> Comparison:
    """Every network on photos (N, H, W, ...), uint8, under every change. done(name) is called after each change.

    Raises ValueError for a model that takes no such photos.
    """
    names = photos.class_names(next(iter(networks.values())))
    correct: dict[str, dict[str, Array]] = {network: {} for network in networks}
    said: dict[str, dict[str, Array]] = {network: {} for network in networks}
    alone = {}
    for change in changes():
        changed, right = change.apply(pixels), {}
        for network, model in networks.items():
            answers = photos.probabilities(model, changed).argmax(axis=1)
            right[network] = answers == labels
            correct[network][change.name] = np.bincount(labels[right[network]], minlength=len(names))
            said[network][change.name] = np.bincount(answers, minlength=len(names))
        if {CNN, BEST} <= right.keys():
            alone[change.name] = int((right[BEST] & ~right[CNN]).sum()), int((right[CNN] & ~right[BEST]).sum())
        done(change.name)
    return Comparison(names, np.bincount(labels, minlength=len(names)), correct, alone, said)


# ---- what may be said


def sign(a: Score, b: Score) -> str:
    """'>' or '<' where the intervals of two scores do not meet, else '='."""
    if a.interval[0] > b.interval[1]:
        return ">"
    return "<" if a.interval[1] < b.interval[0] else "="


def verdict(sign: str, a: str = CNN, b: str = DENSE) -> str:
    """What '>', '<' or '=' between two networks means."""
    if sign == "=":
        return "no difference outside the 95% intervals"
    return f"{CALLED[a if sign == '>' else b]} is the better one, beyond the 95% intervals"


PHRASES = {
    PLAIN: "On the photos as they are",
    MIRRORED: "Mirrored,",
    HALVES: "With left and right half swapped",
    QUADRANTS: "With the quadrants swapped",
}


def sentences(result: Comparison) -> list[str]:
    """What the numbers say, no more: plain photos, shifts, the mirror image, rearranged parts, the article's claim."""
    said = [_all_photos(result, change) for change in WHOLE]
    said[1:1] = [_shift_sentence(result, distance) for distance in (1, 2, 4, 6)]
    said += _claims(result, CNN)
    if BEST in result.correct:
        said += [*(_augmented(result, change) for change in (PLAIN, MIRRORED)), *_claims(result, BEST)]
    return said


def _pair(result, change, label=None, a=CNN, b=DENSE):
    return result.score(a, change, label), result.score(b, change, label)


def _all_photos(result, change):
    cnn, dense = _pair(result, change)
    right = f"the CNN is right about {percent(cnn)}, the dense net about {percent(dense)}"
    return f"{PHRASES[change]} {right}: {verdict(sign(cnn, dense))}."


def _augmented(result, change):
    """What the same network knows that learned with augmented photos, and McNemar's test of the two."""
    best, cnn = _pair(result, change, None, BEST, CNN)
    said = f"{PHRASES[change]} {CALLED[BEST]} is right about {percent(best)}, the CNN about {percent(cnn)}"
    if change not in result.alone:
        return f"{said}: {verdict(sign(best, cnn), BEST, CNN)}."
    more, fewer = result.alone[change]
    p = metrics.mcnemar(more, fewer)
    chance = f"p = {p:.2g}" if p >= 1e-6 else "p < 0.000001"
    found = "no sure difference" if p >= 0.05 else f"{CALLED[BEST if more > fewer else CNN]} is the better one"
    return f"{said}; {more:,} photos it alone knows, {fewer:,} the CNN alone: {found} (McNemar's test, {chance})."


def _claims(result, network):
    """The article's claim about changed sandals, for this network and the dense one; none without sandals."""
    names = list(result.class_names)
    if "Sandal" not in names or not result.counts[names.index("Sandal")]:
        return []
    sandal = names.index("Sandal")
    plain = _pair(result, PLAIN, sandal, network)
    return [_claim(result, change, network, sandal, plain) for change in WHOLE[1:]]


def _shift_sentence(result, distance):
    """The four directions of one distance: worst to best, the mean loss, and how often which net is better."""
    names = [shift_name(dx, dy) for dx, dy in ((-distance, 0), (distance, 0), (0, -distance), (0, distance))]
    pairs = [_pair(result, name) for name in names]
    signs = [sign(*pair) for pair in pairs]
    texts = []
    for network, column in (("the CNN", 0), ("the dense net", 1)):
        shares = [pair[column].share for pair in pairs]
        loss = _pair(result, PLAIN)[column].share - float(np.mean(shares))
        texts.append(f"{network} is right about {min(shares):.1%} to {max(shares):.1%} ({_points(-loss)} on average)")
    outcome = "; ".join(
        f"{verdict(s).split(',')[0]} in {signs.count(s)} of the 4 directions" for s in "><=" if s in signs
    )
    pixels = "pixel" if distance == 1 else "pixels"
    return f"Moved by {distance} {pixels}, {texts[0]}, {texts[1]}: {outcome}."


def _points(change):
    return f"{'-' if change < 0 else '+'}{abs(change) * 100:.1f} points"


def _claim(result, change, network, sandal, plain):
    """The article's claim: that a CNN still recognises such a sandal where a dense net does not.

    Who calls everything a sandal recognises none: then most of the photos that it calls so are something else.
    """
    cnn, dense = _pair(result, change, sandal, network)
    called = CALLED[network]
    said = f"Sandals {change}: {called} recognises {percent(cnn)} of them, the dense net {percent(dense)}; "
    said += f"as they are, {plain[0].share:.1%} and {plain[1].share:.1%}. "
    answered = int(result.said[network][change][sandal]) if network in result.said else cnn.correct
    if cnn.interval[0] > 0.5 > dense.interval[1] and cnn.correct < answered / 2:
        holds = f"holds in name alone: {called} calls {answered:,} of all photos so changed sandals"
    elif cnn.interval[0] > 0.5 > dense.interval[1]:
        holds = f"holds here: most are recognised by {called}, and by the dense net they are not"
    elif sign(cnn, dense) == ">":
        holds = f"holds in part: {called} knows more of them than the dense net, but {_but(cnn, dense)}"
    else:
        holds = f"does not hold here: {verdict(sign(cnn, dense), network)}"
    return f"{said}The article's claim {holds}."


def _but(cnn, dense):
    """Why a CNN that is better than the dense net does not make the claim true."""
    if dense.interval[0] > 0.5:
        return "both know most of them"
    return "it does not know most of them" if cnn.interval[1] < 0.5 else "the rest is not clear"


def percent(score: Score) -> str:
    """'91.5% (90.9-92.0)': the share and its 95% interval."""
    low, high = score.interval
    return f"{score.share:.1%} ({low * 100:.1f}-{high * 100:.1f})"


WHY = (
    "Why: a convolution uses the same filter everywhere. So a photo that is moved gives the same feature maps, moved - "
    "to the pixel, inside the image - and max pooling forgives a little of the move. But then Flatten numbers the "
    "cells, and Dense has a weight for each number: from there on the network reads positions. And nothing in it "
    "carries over to a mirror image: a filter for an edge that rises to the right does not answer to one that falls. "
    "What the network was never shown it has to guess."
)


def one_way(pixels: Array) -> float:
    """The share of photos (N, H, W) of a class that are more like its mean photo than like the mirror image of it."""
    mean = pixels.mean(axis=0)
    return float(np.mean(np.tensordot(pixels.astype(np.float64), mean - mirror(mean), axes=2) > 0))


def shoe_sentence(pixels: Array, labels: Array, class_names: Sequence[str]) -> str | None:
    """Which way the shoes point; None for data without shoes."""
    if pixels.ndim > 3:
        return None
    shoes = [
        (name, pixels[labels == k]) for k, name in enumerate(class_names) if name in ("Sandal", "Sneaker", "Ankle boot")
    ]
    shares = [f"{one_way(chosen):.1%} of the {name.lower()}s" for name, chosen in shoes if len(chosen) > 1]
    if not shares:
        return None
    more_like = "more like the mean photo of their class than its mirror image"
    return f"Which way shoes point here: {more_like} are {', '.join(shares)}."


def as_json(result: Comparison, about: dict, said: Sequence[str]) -> dict:
    """The whole comparison for programs: every count, share and interval, overall and by class, and the sentences."""
    rows = []
    for change in changes():
        row: dict[str, Any] = {"change": change.name, "dx": change.dx, "dy": change.dy}
        for network in result.correct:
            scores = {name: result.score(network, change.name, k) for k, name in enumerate(result.class_names)}
            by_class = {name: _numbers(score) for name, score in scores.items() if score.count}
            answers = dict(zip(result.class_names, result.said[network][change.name].tolist(), strict=True))
            row[network] = {**_numbers(result.score(network, change.name)), "by_class": by_class, "said": answers}
        rows.append(row)
    return {
        "format": 1,
        "photos": int(result.counts.sum()),
        "networks": about,
        "results": rows,
        "best_alone_cnn_alone": {change: list(pair) for change, pair in result.alone.items()},
        "sentences": list(said),
        "why": WHY,
    }


def _numbers(score):
    return {"correct": score.correct, "count": score.count, "share": score.share, "interval": list(score.interval)}
