"""What the tests of the page share: the page itself, made once, and its parts as the standard library finds them."""

import base64
import functools
import json
import re
import zlib
from html.parser import HTMLParser

import explain_models
import numpy as np

from cnn import article, photos
from cnn.datasets import fashion_mnist
from cnn.explain import trace
from cnn.explain.page import build

NUMBER = 9
MOMENT = "early"  # with which the page begins


@functools.cache
def networks(moment=MOMENT):
    """The article's CNN at one of its moments, and the trained dense net."""
    return article.at_moment(moment), article.trained("dense")


@functools.cache
def test_set():
    """The test photos and labels."""
    return fashion_mnist.load_split("test")


@functools.cache
def training_set():
    """The training photos and labels."""
    return fashion_mnist.load_split("train")


@functools.cache
def traced(number=NUMBER, moment=MOMENT):
    """The trace of one test photo."""
    pixels, labels = test_set()
    return trace(networks(moment)[0], pixels[number - 1], None, int(labels[number - 1]), number, "", moment)


@functools.cache
def text(number=NUMBER, begin=MOMENT):
    """The page about one test photo, as the command writes it: with a switch between three moments."""
    example = build.Example(number, *test_set(), small_comparison())
    moments = {name: networks(name)[0] for name in article.MOMENTS}
    return build.page(moments[begin], networks()[1], example, moments=moments)


@functools.cache
def alone():
    """The page about photo 9 of the early network alone, without a switch."""
    return build.page(*networks(), build.Example(NUMBER, *test_set(), small_comparison()))


def own_photo():
    """A photo that is none of the set, without a label."""
    return photos.Photo(test_set()[0][30], "my shoe.png")


@functools.cache
def colour_photos():
    """Seven photos (20, 24, 3), and their labels."""
    pixels = np.random.default_rng(1).integers(0, 256, (7, 20, 24, 3), dtype=np.uint8)
    return pixels, np.array([0, 1, 2, 0, 1, 2, 2], np.uint8)


OTHERS = {  # networks that are not the article's, with what their pages are about
    "dense": lambda: (networks()[1], build.Example(9, *test_set())),
    "deep": lambda: (explain_models.deep(), build.Example(9, *test_set())),
    "odd": lambda: (explain_models.odd(), build.Example(9, *test_set())),
    "normalized": lambda: (explain_models.normalized(), build.Example(9, *test_set())),
    "pooled": lambda: (explain_models.pooled(), build.Example(None, *test_set(), own=own_photo())),
    "colour": lambda: (explain_models.colour(), build.Example(2, *colour_photos())),
}


@functools.cache
def other(name):
    """(trace, page) of one of the other networks."""
    model, example = OTHERS[name]()
    chosen = photos.Photo(example.pixels[(example.number or 1) - 1], "", example.number, None)
    photo = example.own or chosen
    label = None if example.own else int(example.labels[example.number - 1])
    t = trace(model, photo.pixels, None, label, example.number, photo.title if example.own else "")
    return t, build.page(model, networks()[1], example)


@functools.cache
def small_comparison():
    """What `cnn compare` finds for a few photos."""
    from cnn.photos import comparison

    found = comparison.compare(
        dict(zip(("CNN", "dense"), networks(), strict=True)), *(array[:40] for array in test_set())
    )
    return comparison.as_json(found, {"CNN": {}, "dense": {}}, comparison.sentences(found))


class Parts(HTMLParser):
    """The page taken apart: every element's attributes, the text of scripts, and of cells with a data-ref."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.scripts, self.cells, self._open = [], {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open = (tag, dict(attributes)) if tag in ("script", "style", "td") else self._open

    def handle_endtag(self, tag):
        if self._open and tag == self._open[0]:
            self._open = None

    def handle_data(self, data):
        tag, attributes = self._open or ("", {})
        if tag == "script":
            key = attributes.get("id", f"script {len(self.scripts)}")
            self.scripts[key] = self.scripts.get(key, "") + data
        if tag == "td" and "data-ref" in attributes:
            self.cells.append((attributes["data-ref"], attributes["data-format"], data))


@functools.cache
def parts(number=NUMBER):
    """The page about one photo, parsed."""
    return Parts(text(number))


def data(number=NUMBER):
    """The page's JSON."""
    return json.loads(parts(number).scripts["trace"])


def moment(name=MOMENT, number=NUMBER):
    """What the page's JSON says of one moment."""
    return next(one for one in data(number)["moments"] if one["name"] == name)


def block(name, dtype):
    """One of the page's blocks of numbers: base64, deflated, the bytes sorted by their place in a number."""
    packed = base64.b64decode(parts().scripts[name], validate=True)
    planes = np.frombuffer(zlib.decompress(packed, -15), np.uint8)
    return np.frombuffer(planes.reshape(np.dtype(dtype).itemsize, -1).T.tobytes(), dtype)


def tensors(name, dtype):
    """A block cut into its tensors, by the layout that the page tells."""
    numbers, at, found = block(name, dtype), 0, {}
    for tensor, shape in data()["blocks"][name]["layout"]:
        size = int(np.prod(shape))
        found[tensor] = numbers[at : at + size].reshape(shape)
        at += size
    assert at == len(numbers), name
    return found


def damaged(page, block_id, position, letter="A"):
    """The page with one letter of a block of numbers changed; position: from its start, or from its end if negative."""
    found = re.search(rf'id="{block_id}">([^<]*)', page)
    at = found.start(1) + position if position >= 0 else found.end(1) + position
    return page[:at] + (letter if page[at] != letter else "B") + page[at + 1 :]
