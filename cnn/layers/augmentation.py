"""Augmentation: in training each photo comes a little different, turned, moved, zoomed or mirrored; else as it is.

How much, is drawn for each photo by generators that know its place in the whole batch: cutting a batch into shards
changes nothing. A seed is accepted, as in Keras, and has no effect: every draw has a key of its own (utils.py).
"""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cnn import checks, utils
from cnn.layers.base import Array, Grads, Layer, Shape
from cnn.layers.regularization import require_draws
from cnn.layers.windows import require_photo

Range = tuple[float, float]


def _reflect(index: Array, size: int) -> Array:
    there_and_back = index % (2 * size)
    return np.minimum(there_and_back, 2 * size - 1 - there_and_back)


FILL_MODES = {
    "constant": lambda index, size: np.clip(index, 0, size - 1),  # and then not used
    "nearest": lambda index, size: np.clip(index, 0, size - 1),  # a a | a b c | c c
    "reflect": _reflect,  # b a | a b c | c b
    "wrap": lambda index, size: index % size,  # b c | a b c | a b
}


def between(where: str, name: str, value: Any, low: float = -1.0, open_below: bool = False) -> Range:
    """(least, most) from two numbers, or from one for both directions, all from low to 1; else ValueError."""
    ends = value if isinstance(value, tuple | list) else (value, value)
    if len(ends) != 2:
        raise ValueError(f"{where}: {name}: expected one or two numbers, got {value!r}")
    least, most = sorted(checks.number(where, name, end, low, 1) for end in ends)
    if open_below and least <= low:
        raise ValueError(f"{where}: {name}: expected numbers above {low:g}, got {value!r}")
    return (least, most) if ends is value else (-abs(most), abs(most))


class RandomCache(NamedTuple):
    """What backward needs: what was drawn; None outside training."""

    x_shape: tuple[int, int, int, int]
    drawn: Array | None


class RandomLayer(Layer):
    """What the random layers share: they draw in training, they take photos, and one photo alone when called.

    >>> RandomFlip()(np.ones((28, 28, 1))).shape
    (28, 28, 1)
    """

    draws = True
    seed: int | None
    unless = {"seed": None, **Layer.unless}
    at_default = {**Layer.at_default, "data_format": "channels_last", "bounding_box_format": None}

    def __call__(self, x: Any, training: bool = False) -> Array:
        """y for photos x (N, H, W, C), or for one photo (H, W, C). Raises ValueError."""
        if getattr(x, "ndim", 0) == 3:
            return super().__call__(np.asarray(x)[None], training)[0]
        return super().__call__(x, training)

    def forward(self, x: Array, training: bool = False, rng: utils.Rng | None = None) -> tuple[Array, RandomCache]:
        if not training:
            return x, RandomCache(x.shape, None)
        drawn = self.draw(require_draws(self, rng), x.shape)
        drawn = drawn.astype(x.dtype) if drawn.dtype.kind == "f" else drawn
        return self.change(x, drawn), RandomCache(x.shape, drawn)

    def backward(self, dy: Array, cache: RandomCache, need_dx: bool = True) -> tuple[Array, Grads]:
        return (dy if cache.drawn is None else self.change_back(dy, cache.drawn)), {}

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        """What happens to each photo (N, ...)."""
        raise NotImplementedError

    def change(self, x: Array, drawn: Array) -> Array:
        """The photos as they become."""
        raise NotImplementedError

    def change_back(self, dy: Array, drawn: Array) -> Array:
        """dx from dy."""
        raise NotImplementedError

    def moves(self, drawn: Array, x_shape: Shape) -> Array | None:
        """`change` as (N, 4) whole numbers a, b, d, e: y at (i, j) is x at (a*i + b, d*j + e), 0 outside the photo.

        None where it is more than that.
        """
        return None

    def infer_shape(self, input_shape: Shape) -> Shape:
        return require_photo(self, input_shape)


MODES = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(RandomLayer):
    """y[n,r,s,c] = x[n,r,W-1-s,c] for half of the photos (mode "horizontal"), x[n,H-1-r,s,c] ("vertical"), or one, the
    other, both or none ("horizontal_and_vertical"); outside training y = x

    alternating: a photo that was flipped in one epoch is not in the next, so that two epochs show both sides of all;
    which side comes first is drawn (Jordan, 2024). This needs photos that have numbers: arrays, in fit, and the layer
    at the head of the network (training/ahead.py). Elsewhere each time is drawn.

    Backward: each y is one x, so dx is dy mirrored in the same way: once more, and it is back.

    >>> x = np.array([[1.0, 2.0, 3.0]]).reshape(1, 1, 3, 1)
    >>> RandomFlip("horizontal").forward(x, training=True, rng=np.random.default_rng(2))[0].ravel()
    array([3., 2., 1.])
    """

    mode: str
    alternating: bool
    arguments = {
        "mode": partial(checks.choice, allowed=MODES),
        "seed": checks.seed,
        "alternating": checks.boolean,
        **Layer.arguments,
    }
    unless = {"alternating": False, **RandomLayer.unless}

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        *,
        alternating: bool = False,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        random = rng.alternating if self.alternating and isinstance(rng, utils.DrawsOfPhotos) else rng.random
        drawn = random((x_shape[0], 2)) < 0.5  # (N, 2): upside down, left to right
        return drawn & np.array(["vertical" in self.mode, "horizontal" in self.mode])

    def change(self, x: Array, drawn: Array) -> Array:
        y = x.copy()
        for axis, turned in enumerate(drawn.T, start=1):
            y[turned] = np.flip(y[turned], axis)
        return y

    def change_back(self, dy: Array, drawn: Array) -> Array:
        return self.change(dy, drawn)

    def moves(self, drawn: Array, x_shape: Shape) -> Array:
        sides = drawn.T.astype(np.int64)
        each = ((1 - 2 * side, (size - 1) * side) for side, size in zip(sides, x_shape[1:3], strict=True))
        return np.stack([part for pair in each for part in pair], axis=1)


class RandomMap(RandomLayer):
    """What turning, moving and zooming share: each cell of y is read somewhere in x, for each photo elsewhere.

        y[n,i,j,c] = sum over cells (r,s) of share[n,i,j,r,s] * x[n,r,s,c]        around (r', s') = map[n] @ (i, j, 1)

    The four cells around the place (r', s') have shares that grow the nearer they are ("bilinear"), or the nearest one
    is all ("nearest"). What lies outside the photo is fill_value ("constant"), or a cell inside: "nearest", "reflect"
    (c b a | a b c | c b a) or "wrap".
    Backward: the shares do not depend on x, so ∂y/∂x is the share, and a cell gets the sum over all that read it:
        dx[n,r,s,c] = sum over i,j of share[n,i,j,r,s] * dy[n,i,j,c]

    >>> layer, x = RandomTranslation(0, (0.5, 0.5)), np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)
    >>> layer.forward(x, training=True, rng=np.random.default_rng(0))[0].ravel()
    array([2., 1., 1., 2.])
    """

    fill_mode: str
    interpolation: str
    fill_value: float
    arguments = {
        "fill_mode": partial(checks.choice, allowed=tuple(FILL_MODES)),
        "interpolation": partial(checks.choice, allowed=("bilinear", "nearest")),
        "seed": checks.seed,
        "fill_value": partial(checks.number, low=-math.inf),
        **Layer.arguments,
    }

    def change(self, x: Array, drawn: Array) -> Array:
        fill = x.dtype.type(self.fill_value if self.fill_mode == "constant" else 0)
        cells, y = x.reshape(-1, x.shape[-1]), np.full(x.shape, fill)
        for places, shares in self.reads(drawn, x.shape, x.dtype):
            y += shares * (cells.take(places, axis=0) - fill)
        return y

    def change_back(self, dy: Array, drawn: Array) -> Array:
        dx = np.zeros((dy[..., 0].size, dy.shape[-1]), dy.dtype)
        for places, shares in self.reads(drawn, dy.shape, dy.dtype):
            np.add.at(dx, places, shares * dy)
        return dx.reshape(dy.shape)

    def reads(self, maps: Array, x_shape: Shape, dtype: Any) -> Iterator[tuple[Array, Array]]:
        """Four times, or once, for each cell of y: a row of x.reshape(N*H*W, C), (N, H, W), and its share (..., 1)."""
        photos, height, width, _ = x_shape
        i, j = np.arange(height, dtype=dtype)[:, None], np.arange(width, dtype=dtype)  # (H, 1), (W,)
        turned = maps[:, [0, 1], [1, 0]].any()  # else a row depends on i alone, (N, H, 1), and a column on j, (N, 1, W)
        (a, b, c), (d, e, f) = maps.transpose(1, 2, 0)[..., None, None]
        rows = self.neighbours(a * i + b * j + c if turned else a * i + c, height)
        columns = self.neighbours(d * i + e * j + f if turned else e * j + f, width)
        photo = np.arange(photos)[:, None, None] * (height * width)
        for (r, share_r), (s, share_s) in itertools.product(rows, columns):
            yield photo + r * width + s, (share_r * share_s)[..., None]

    def neighbours(self, at: Array, size: int) -> list[tuple[Array, Array]]:
        """Along one axis: (cells inside the photo, their shares) on both sides of each place; or the nearest cell."""
        if self.interpolation == "nearest":
            both = [(np.round(at), np.ones_like(at))]
        else:
            low = np.floor(at)
            both = [(low, 1 - (at - low)), (low + 1, at - low)]
        if self.fill_mode == "constant":
            both = [(index, share * ((index >= 0) & (index < size))) for index, share in both]
        return [(FILL_MODES[self.fill_mode](index.astype(np.intp), size), share) for index, share in both]


class RandomTranslation(RandomMap):
    """The photo moved by a part of its height (down) and of its width (to the right) that is drawn from height_factor
    and width_factor, two limits or one for both directions. How a cell is read, and backward: RandomMap.

    >>> layer, x = RandomTranslation((-0.5, -0.5), 0, "constant"), np.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    >>> layer.forward(x, training=True, rng=np.random.default_rng(0))[0].ravel()
    array([2., 0.])
    """

    height_factor: Range
    width_factor: Range
    arguments = {"height_factor": between, "width_factor": between, **RandomMap.arguments}

    def __init__(
        self,
        height_factor: float | Range,
        width_factor: float | Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        part = draw_between(rng, x_shape[0], self.height_factor, self.width_factor)
        maps = np.tile(np.eye(2, 3), (x_shape[0], 1, 1))
        maps[:, :, 2] = -part * x_shape[1:3]
        return np.round(maps) if self.interpolation == "nearest" else maps

    def moves(self, drawn: Array, x_shape: Shape) -> Array | None:
        if self.interpolation != "nearest" or self.fill_mode != "constant" or self.fill_value != 0:
            return None
        return drawn[:, [0, 0, 1, 1], [0, 2, 1, 2]].astype(np.int64)


class RandomZoom(RandomMap):
    """The photo seen from farther (factors above 0) or nearer (below 0): places are 1 + factor times as far from its
    middle. width_factor None: as height_factor, so that forms stay. How a cell is read, and backward: RandomMap.

    >>> layer, x = RandomZoom((1, 1), fill_mode="constant"), np.ones((1, 1, 4, 1))
    >>> layer.forward(x, training=True, rng=np.random.default_rng(0))[0].ravel()
    array([0., 1., 1., 0.])
    """

    height_factor: Range
    width_factor: Range | None
    arguments = {
        "height_factor": partial(between, open_below=True),
        "width_factor": lambda where, name, value: None if value is None else between(where, name, value, -1, True),
        **RandomMap.arguments,
    }

    def __init__(
        self,
        height_factor: float | Range,
        width_factor: float | Range | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        factors = draw_between(rng, x_shape[0], self.height_factor, self.width_factor or self.height_factor)
        factors = 1 + (factors[:, :1] if self.width_factor is None else factors)  # (N, 1 or 2)
        maps = np.zeros((x_shape[0], 2, 3))
        maps[:, [0, 1], [0, 1]] = factors
        return about_the_middle(maps, x_shape)


class RandomRotation(RandomMap):
    """The photo turned about its middle by a part of a full turn, against the clock where it is above 0, that is drawn
    from factor, two limits or one for both directions. How a cell is read, and backward: RandomMap.

    >>> layer, x = RandomRotation((0.25, 0.25)), np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    >>> layer.forward(x, training=True, rng=np.random.default_rng(0))[0].reshape(2, 2).round(6)
    array([[2., 4.],
           [1., 3.]])
    """

    factor: Range
    arguments = {"factor": between, **RandomMap.arguments}

    def __init__(
        self,
        factor: float | Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        **others: Any,
    ):
        super().__init__(**others)
        self.set_arguments(locals())

    def draw(self, rng: utils.Rng, x_shape: Shape) -> Array:
        angle = 2 * math.pi * draw_between(rng, x_shape[0], self.factor)[:, 0]
        maps = np.zeros((x_shape[0], 2, 3))
        maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
        maps[:, 0, 1], maps[:, 1, 0] = np.sin(angle), -np.sin(angle)
        return about_the_middle(maps, x_shape)


def draw_between(rng: utils.Rng, photos: int, *ranges: Range) -> Array:
    """(N, how many ranges): for each photo a number from each of them."""
    least, most = np.array(ranges).T
    return least + (most - least) * rng.random((photos, len(ranges)))


def about_the_middle(maps: Array, x_shape: Shape) -> Array:
    """Maps (N, 2, 3) whose last column makes the middle of a photo stay where it is."""
    middle = (np.array(x_shape[1:3]) - 1) / 2
    maps[:, :, 2] = middle - maps[:, :, :2] @ middle
    return maps
