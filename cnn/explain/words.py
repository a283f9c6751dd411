"""What each kind of step says: one title, one explanation, one sentence, and the code that computes it.

A kind is a paragraph: its name, the short title, the title, and how its terms are grouped (by
or top, see formulas.py); then sentences (=), or a formula that is none (:); then the
explanation. {Names} are filled in for the network at hand.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from cnn import gradcheck, layers, losses, network, optimizers
from cnn.layers import Conv2D, Dense, Flatten, MaxPooling2D, Softmax, Weighted, place_windows
from cnn.photos import changes
from kernels import im2col, pooling

TEXT = """
input | input | the photo
  : x[i,j] = byte[i,j] / {scale}
  A photo is a table of numbers, from black (0) to white. The network gets them scaled to 0..1, so that all its
  numbers have a similar size.
padding | padding | padding for {layer}
  : zeros = max((out - 1)*stride + k - in, 0), the smaller half before
  Zeros around the photo let the filter stand on its edge too, so the result stays as large. Of an odd number the
  smaller half comes first.
conv | {layer} | {layer}: one cell of the convolution | by=c
  = {z}[i,j,f] = {+b[f]}SUM(u:{kh}, v:{kw}, c:{C}) {x}[{i}, {j}, c] * {W}[u,v,c,f]
  A filter is a small table of weights, {kernel}{depth}. Lay it on {before}, multiply each pair, add the
  {products} products and a bias: one number. Large means: here it looks like the filter.
relu | ReLU | {layer}: ReLU
  = {a}[i,j,f] = max(0, {z}[i,j,f])
  What is positive passes unchanged (open), what is negative becomes 0 (closed). Without this bend two layers in a
  row could do no more than one.
pool | {layer} | {layer}: max pooling
  = {a}[i,j,f] = MAX(u:{kh}, v:{kw}) {x}[{i}, {j}, f]
  Of each small window only the largest number goes on: what was found counts, not exactly where. It matters which
  cell won: backward goes to that one alone.
flatten | {layer} | {layer}: all numbers in one row
  = {a}[{flat}] = {x}[{rsc}]
  The {shape} = {size} numbers, written one after the other. Nothing is computed, but from here on every place has
  weights of its own.
dense | {layer} | {layer}: one unit | top=6
  = {z}[{u}] = {+b[u]}SUM({n}:{size}) {x}[{n}] * {W}[{n},{u}]
  = {a}[{u}] = max(0, {z}[{u}])
  Each unit weighs all {size} numbers at once, for or against what it has learned to look for. The largest
  products say what it looked at.
logits | {layer} | {layer}: one number for each class | top=6
  = {z}[{u}] = {+b[u]}SUM({n}:{size}) {x}[{n}] * {W}[{n},{u}]
  Each class adds up the {size} units with weights of its own. The largest number (logit) wins.
softmax | softmax | softmax and loss
  : p[k] = exp({z}[k] - max) / SUM exp        loss = -log p[label]
  exp makes all numbers positive, dividing by their sum turns them into probabilities; the largest is taken off
  first, so that exp stays small. The loss is 0 if the right class has p = 1, and grows the less the network
  believed in it.
through | {layer} | {layer}: {type}
  : {doc}
  One number of this layer, where it is largest.{inactive}
dlogits | p - y | the error at the output
  = dlogits[k] = p[k] - y[k]
  d before a name is its slope (in books: gradient): how many times as far as that number the loss would move, if
  it moved a little. Minus: more of it lowers the loss. At the logits: what the network said minus what it should.
dense-dkernel | {layer} weights | {layer}: the slopes of its weights
  = {dW}[{n},{u}] = {x}[{n}] * {dz}[{u}]
  = {db}[{u}] = {dz}[{u}]
  = {dz}[{u}] = {dy}[{u}] * {open}[{u}]
  A weight carries one input to one unit. Its slope: what came in, times how much the unit matters ({dz}).
relu-back | {layer} ReLU | {layer}: back through the ReLU
  = {dz}[{at}] = {dy}[{at}] * {open}[{at}]
  What was open passed unchanged, so its slope comes back unchanged. What was closed passed nothing: its
  slope is 0. In the formula open is 1 where z is above 0, else 0.
dense-dx | {layer} input | {layer}: the slopes of its input | top=6
  = {dx}[{n}] = SUM({u}:{units}) {W}[{n},{u}] * {dz}[{u}]
  This input went to {units} units. It shares in what each of them does to the loss, by the same weights.
flatten-back | unflatten | {layer}: back into maps
  = {dx}[{rsc}] = {dy}[{flat}]
  Nothing is computed: each slope goes back to the cell its number came from.
pool-back | {layer} | {layer}: back to the winners
  = {dx}[r,s,f] = SUM(i:{OH}, j:{OW}) {dy}[i,j,f] * {win}[{u_of}, {v_of}, i, j, f]
  Only the largest number of each window went on, so only that cell gets the slope; the others, which changed
  nothing, get 0. {win}[u,v,i,j,f] is 1 where the cell (u,v) of the window (i,j) won, else 0.
conv-dkernel | {layer} weight | {layer}: the slope of one weight | top=5
  = {dW}[u,v,c,f] = SUM(i:{OH}, j:{OW}) {x}[{i}, {j}, c] * {dz}[i,j,f]
  = {db}[f] = SUM(i:{OH}, j:{OW}) {dz}[i,j,f]
  = {dz}[i,j,f] = {dy}[i,j,f] * {open}[i,j,f]
  The same weight was used at {places} places. Its slope adds up over all of them: what it was multiplied with,
  times how much the result there matters.
conv-dx | {layer} input | {layer}: the slopes of its input | by=uv
  = {dx}[r,s,c] = SUM(u:{kh}, v:{kw}, f:{F}) {dz}[{i_of}, {j_of}, f] * {W}[u,v,c,f]
  The cell lay under up to {windows} windows, each time under another weight; each sends its share back. Seen from
  the cell they come in reverse order: so books rotate the filter by 180 degrees.
through-back | {layer} | {layer}: {type}, backward
  : the layer's own backward
  One of the slopes that go on, where it is largest.
input-gradient | learning | the input's slopes, and one step of learning | by=uv
  : w_new = w - learning rate * dW        (plain gradient descent, SGD)
  Every weight takes a small step against its slope: the loss goes down. Training repeats this.
chain | chain rule | the chain rule: one path, all its numbers
  : {dW}[along the path] = product of all slopes on it
  Move one number a little: the next moves so many times as far, which is its slope, and so on up to the loss. So
  along a path slopes multiply, and over all paths the products add up. That is the chain rule; backward does
  nothing else, layer by layer.
im2col | im2col | {layer}: im2col, the convolution as one product
  = {columns}[i,j,u,v,c] = {x}[{i}, {j}, c]
  Each window is laid flat as one row. Then the whole convolution is one matrix product, which computers do very
  fast. Backward, col2im adds each row back to where it came from.
check | check | {layer}: is the slope right?
  : dLoss/dw = (L(w+h) - L(w-h)) / 2h, nearly
  Move the weight a little up and a little down, run the whole network forward, and compare with the slope that
  backward found. Nothing of backward is used for that. Books call it a gradient check.
lab | lab | convolution lab
  : out = ceil(in / stride) with 'same', ceil((in - k + 1) / stride) with 'valid'
  Change the filter, its size, the stride and the padding, and see what comes out. Of an odd number of zeros the
  smaller half comes first.
shift | mirror, shift | moved, mirrored, rearranged: two networks
  A convolution finds the same things wherever they are; but Flatten numbers the places, and Dense has other
  weights for each. So how much does moving a photo matter?
train | training | learning, one step at a time
  Each weight moves against its own slope. With one photo the network learns only this one, and soon too well;
  real training takes a fresh batch at each step.
"""


class Code(NamedTuple):
    """A function that computes a step, and a piece of the line in it that does."""

    function: Callable
    needle: str

    @property
    def name(self) -> str:
        """Conv2D.forward"""
        return getattr(self.function, "py_func", self.function).__qualname__.partition("-")[
            0
        ]  # kernels end in a digest

    def source(self) -> tuple[str, int, list[str]]:
        """Its file, such as cnn/layers/dense.py, the number of its first line there, and its lines."""
        plain = inspect.unwrap(getattr(self.function, "py_func", self.function))
        lines, first = inspect.getsourcelines(plain)
        return f"{plain.__module__.replace('.', '/')}.py", first, lines


CONV = Code(Conv2D.forward, "@ kernel")
DENSE = Code(Dense.forward, 'x @ self.params["kernel"]')
WEIGHTS = Code(Weighted.weight_grads, "x.T @ dz")
RELU_BACK = Code(layers.ReLU.backward, "dy")
IM2COL = Code(im2col.im2col_into, "target = row[j * sw + v], columns[n, i, j, u, v]")
COL2IM = Code(im2col.col2im_into, "dx[n, r, s, c] += columns")
GEOMETRY = Code(place_windows, "window_geometry(input_shape[0]")
POOL_BACK = Code(pooling.max_pool_backward_into, "+= dy[n, i, j, c]")
LEARNING = Code(optimizers.SGD.step, "w -= self.learning_rate * g")
CODE = {
    **{"padding": (GEOMETRY,), "conv": (CONV, IM2COL), "relu": (Code(layers.ReLU.forward, "np.maximum(x, 0)"),)},
    "pool": (Code(MaxPooling2D.forward, "max_pool("), Code(pooling.max_pool_into, "value > best")),
    **{"flatten": (Code(Flatten.forward, "x.reshape(len(x), -1)"),), "dense": (DENSE,), "logits": (DENSE,)},
    "softmax": (Code(Softmax.forward, "np.exp("), Code(losses.cross_entropy_of_logits, "np.exp(")),
    "dlogits": (Code(losses.cross_entropy_of_logits, "gradient[photo, y_true] -= 1"),),
    "dense-dkernel": (WEIGHTS, Code(Dense.backward, "weight_grads"), RELU_BACK),
    "relu-back": (RELU_BACK,),
    "chain": (Code(network.backward, "layers[k].backward("),),
    "dense-dx": (Code(Dense.backward, 'dz @ self.params["kernel"].T'),),
    "flatten-back": (Code(Flatten.backward, "dy.reshape(cache.x_shape)"),),
    "pool-back": (POOL_BACK, Code(MaxPooling2D.backward, "max_pool_backward")),
    "conv-dkernel": (WEIGHTS, Code(Conv2D.backward, "weight_grads"), RELU_BACK),
    "conv-dx": (COL2IM, Code(Conv2D.backward, "col2im")),
    **{"input-gradient": (LEARNING,), "train": (LEARNING,), "im2col": (IM2COL, COL2IM), "lab": (CONV, GEOMETRY)},
    "check": (Code(gradcheck.check_entry, "plus, above = measure()"),),
    "shift": (Code(changes.shift, "moved["),),
}


class Words(NamedTuple):
    """A kind of step, with {names} to be filled in. by, top: how its terms are grouped, see formulas.py."""

    short: str
    title: str
    say: str
    formula: str  # of a step that is no sentence
    sentences: tuple[str, ...]  # the step's own, then what else it computes
    by: str
    top: int
    code: tuple[Code, ...]


def read(text: str) -> dict[str, Words]:
    """The paragraphs of TEXT by their kind."""
    kinds: list[tuple[list[str], list[str]]] = []
    found = {}
    for line in text.strip().splitlines():
        if line.startswith("  "):
            kinds[-1][1].append(line.strip())
        else:
            kinds.append((line.split(" | "), []))
    for (kind, short, title, *grouping), lines in kinds:
        sentences = tuple(line[2:] for line in lines if line.startswith("= "))
        formula = "".join(line[2:] for line in lines if line.startswith(": "))
        say = " ".join(line for line in lines if line[:2] not in ("= ", ": "))
        grouped = dict(part.split("=") for part in grouping)
        numbers = grouped.get("by", ""), int(grouped.get("top", 0))
        found[kind] = Words(short, title, say, formula, sentences, *numbers, CODE.get(kind, ()))
    return found


WORDS = read(TEXT)
