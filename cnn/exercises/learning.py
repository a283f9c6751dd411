"""The last exercises: SGD and Adam, and the whole network."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from cnn.exercises.convolutions import convolved
from cnn.exercises.record import Arguments, Array, Exercise, Shown, Task
from cnn.gradcheck import Refusal
from kernels import reference

# ---- SGD and Adam


def _sgd_cases(rng):
    draw = rng.standard_normal
    return {
        "a row of numbers": {"w": draw(5), "g": draw(5), "rate": 0.1},
        "the shape of a kernel": {"w": draw((3, 2, 2, 4)), "g": draw((3, 2, 2, 4)), "rate": 0.01},
        "one number": {"w": draw(1), "g": draw(1), "rate": 0.5},
        "a gradient of 0": {"w": draw((2, 3)), "g": np.zeros((2, 3)), "rate": 0.1},
    }


SGD = {
    "of a step along the gradient, not against it: + for -": lambda a: a.w + a.rate * a.g,
    "without the rate": lambda a: a.w - a.g,
    "of the step alone, rate * g: w is left out": lambda a: a.rate * a.g,
    "of the step alone, -rate * g: w is left out": lambda a: -a.rate * a.g,
    "with the rate taken twice": lambda a: a.w - a.rate**2 * a.g,
    "of a w that moreover shrinks by the rate": lambda a: a.w - a.rate * (a.w + a.g),
    "divided by the rate, not multiplied with it": lambda a: a.w - a.g / a.rate,
    "of w as it was: nothing is learned": lambda a: a.w,
    "of w times the step, not w less the step": lambda a: a.w - a.rate * a.g * a.w,
    "of the gradient's sign alone": lambda a: a.w - a.rate * np.sign(a.g),
    "of the mean of the gradient": lambda a: a.w - a.rate * a.g.mean(),
    "of the sum of the gradient": lambda a: a.w - a.rate * a.g.sum(),
    "of g - rate * w: w and g are exchanged": lambda a: a.g - a.rate * a.w,
}


def _adam_cases(rng):
    draw = rng.standard_normal

    def case(shape, t, **others):
        numbers = {"t": t, "rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
        start = np.zeros(shape) if t == 1 else 0.3 * draw(shape)
        squares = np.zeros(shape) if t == 1 else 0.2 + rng.random(shape)
        return {"w": draw(shape), "g": 1 + rng.random(shape), "m": start, "v": squares, **numbers, **others}

    return {
        "the first step": case(5, 1),
        "the third step": {**case(6, 3), "g": draw(6) + 2},
        "the tenth step, of a kernel": case((3, 2, 2, 3), 10, rate=0.003, beta_1=0.8, beta_2=0.99),
        "a negative gradient": {**case((2, 4), 2), "g": -1 - rng.random((2, 4))},
        "a gradient of 0 from the beginning": {**case((2, 3), 1), "g": np.zeros((2, 3))},
    }


def adam_with(a: SimpleNamespace, **other: Any) -> tuple[Array, Array, Array]:
    """Adam's formula, with one part of it replaced."""
    g = other.get("g", a.g)
    m = other.get("m", a.beta_1 * a.m + (1 - a.beta_1) * g)
    v = other.get("v", a.beta_2 * a.v + (1 - a.beta_2) * other.get("square", g**2))
    first, second = other.get("first", 1 - a.beta_1**a.t), other.get("second", 1 - a.beta_2**a.t)
    top = other.get("top", m)
    root = other.get("root", lambda v: np.sqrt(v) + a.epsilon)(v)
    return a.w - other.get("rate", a.rate) * np.sqrt(second) / first * top / root, m, v


ADAM = {
    "without both corrections: m_new and v_new are too small in the first steps": lambda a: adam_with(
        a, first=1.0, second=1.0
    ),
    "without m's correction, 1 - beta_1**t": lambda a: adam_with(a, first=1.0),
    "without v's correction, sqrt(1 - beta_2**t)": lambda a: adam_with(a, second=1.0),
    "of corrections with 1 - beta for 1 - beta**t: t is left out": lambda a: {"t": 1},
    "of corrections for t + 1": lambda a: {"t": a.t + 1},
    "of corrections for t - 1": lambda a: {"t": a.t - 1} if a.t > 1 else None,
    "of 1 - beta * t for 1 - beta**t": lambda a: adam_with(a, first=1 - a.beta_1 * a.t, second=1 - a.beta_2 * a.t),
    "of 1 - beta_2**t without its square root": lambda a: adam_with(a, second=(1 - a.beta_2**a.t) ** 2),
    "with epsilon under the root": lambda a: adam_with(a, root=lambda v: np.sqrt(v + a.epsilon)),
    "without epsilon": lambda a: adam_with(a, root=np.sqrt),
    "divided by v_new, not by its root": lambda a: adam_with(a, root=lambda v: v + a.epsilon),
    "with g in place of m_new": lambda a: adam_with(a, top=a.g),
    "with the old m in the step": lambda a: adam_with(a, top=a.m),
    "with the old v in the step": lambda a: (
        adam_with(a, root=lambda v: np.sqrt(a.v) + a.epsilon)[0],
        *adam_with(a)[1:],
    ),
    "with g for g**2 in v_new": lambda a: adam_with(a, square=a.g),
    "with |g| for g**2 in v_new": lambda a: adam_with(a, square=np.abs(a.g)),
    "with m_new**2 for g**2 in v_new": lambda a: adam_with(a, square=(a.beta_1 * a.m + (1 - a.beta_1) * a.g) ** 2),
    "with - for + in m_new": lambda a: adam_with(a, m=a.beta_1 * a.m - (1 - a.beta_1) * a.g),
    "with - for + in v_new": lambda a: adam_with(a, v=a.beta_2 * a.v - (1 - a.beta_2) * a.g**2),
    "with beta_1 for beta_2 in v_new": lambda a: adam_with(a, v=a.beta_1 * a.v + (1 - a.beta_1) * a.g**2),
    "with beta_2 for beta_1 in m_new": lambda a: adam_with(a, m=a.beta_2 * a.m + (1 - a.beta_2) * a.g),
    "of RMSprop: g for m_new, and no corrections": lambda a: (
        adam_with(a, top=a.g, first=1.0, second=1.0)[0],
        *adam_with(a)[1:],
    ),
    "with m_new + g for the mean: (1 - beta_1) is left out": lambda a: adam_with(a, m=a.beta_1 * a.m + a.g),
    "with v_new + g**2 for the mean: (1 - beta_2) is left out": lambda a: adam_with(a, v=a.beta_2 * a.v + a.g**2),
    "with beta_1 and beta_2 exchanged": lambda a: {"beta_1": a.beta_2, "beta_2": a.beta_1},
    "with beta and 1 - beta exchanged": lambda a: adam_with(
        a, m=(1 - a.beta_1) * a.m + a.beta_1 * a.g, v=(1 - a.beta_2) * a.v + a.beta_2 * a.g**2
    ),
    "of a step along the gradient, not against it: + for -": lambda a: {"rate": -a.rate},
    "without the rate": lambda a: adam_with(a, rate=1.0),
    "with m and v as they were: nothing is remembered": lambda a: (adam_with(a)[0], a.m, a.v),
    "of m and v made anew in each step": lambda a: {"m": 0 * a.m, "v": 0 * a.v},
    "with the corrected m and v handed on": lambda a: (
        adam_with(a)[0],
        adam_with(a)[1] / (1 - a.beta_1**a.t),
        adam_with(a)[2] / (1 - a.beta_2**a.t),
    ),
    "of the gradient's part taken twice: m_new is made again of m_new": lambda a: adam_with(
        a, top=a.beta_1 * (a.beta_1 * a.m + (1 - a.beta_1) * a.g) + (1 - a.beta_1) * a.g
    ),
}


def _sgd_terms(a, result, index) -> Shown:
    w, g = a.w[index], a.g[index]
    return [f"w{list(index)} - rate * g{list(index)} = {w:.6g} - {a.rate:g} * {g:.6g} = {w - a.rate * g:.6g}"]


def _adam_terms(a, result, index) -> Shown:
    k, (w, m, v) = list(index), adam_with(a)
    first, second = 1 - a.beta_1**a.t, 1 - a.beta_2**a.t
    return [
        f"m_new{k} = {a.beta_1:g} * {a.m[index]:.6g} + {1 - a.beta_1:.3g} * {a.g[index]:.6g} = {m[index]:.6g}",
        f"v_new{k} = {a.beta_2:g} * {a.v[index]:.6g} + {1 - a.beta_2:.3g} * {a.g[index]:.6g}**2 = {v[index]:.6g}",
        f"t = {a.t}: sqrt(1 - {a.beta_2:g}**{a.t}) / (1 - {a.beta_1:g}**{a.t}) = {np.sqrt(second) / first:.6g}",
        f"w_new{k} = {a.w[index]:.6g} - {a.rate:g} * {np.sqrt(second) / first:.6g} * {m[index]:.6g} / "
        f"({np.sqrt(v[index]):.6g} + {a.epsilon:g}) = {w[index]:.6g}",
    ]


# ---- the whole

GRADIENTS = ("kernel_3", "bias_3", "kernel_2", "bias_2", "kernel_1", "bias_1")  # in the order of the way back


def _network_cases(rng):
    def case(photos, height, width, filters):
        f, g = filters
        inputs = (height // 4) * (width // 4) * g
        shapes = {"kernel_1": (3, 3, 1, f), "bias_1": (f,), "kernel_2": (3, 3, f, g), "bias_2": (g,)}
        shapes |= {"kernel_3": (inputs, 10), "bias_3": (10,)}
        params = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
        params |= {name: params[name] - 0.5 for name in ("bias_1", "bias_2")}  # so that ReLU closes whole windows
        return {"x": rng.random((photos, height, width, 1)), "params": params, "dz": rng.standard_normal((photos, 10))}

    return {
        "two photos of 8 x 8": case(2, 8, 8, (2, 3)),
        "three photos of 8 x 12": case(3, 8, 12, (3, 2)),
        "one photo of 4 x 4, one filter": case(1, 4, 4, (1, 1)),
    }


def call_network(module: Any, given: Arguments) -> tuple:
    """(z, the six gradients) of a module with forward and backward. Raises Refusal where one returns anything else."""
    returned = module.forward(given["x"], given["params"])
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise Refusal("forward: expected (z, kept), two things: z, and what backward needs")
    z, kept = returned
    if np.shape(z) != given["dz"].shape:
        return z, *(np.zeros(given["params"][name].shape) for name in GRADIENTS)
    grads = module.backward(given["dz"], kept, given["params"])
    if not isinstance(grads, dict):
        raise Refusal(f"backward: expected a dict of six gradients, got {type(grads).__name__}")
    missing = [name for name in GRADIENTS if name not in grads]
    if missing:
        raise Refusal(
            f"backward: its dict lacks {', '.join(missing)}; it has {', '.join(map(str, grads)) or 'nothing'}"
        )
    return z, *(grads[name] for name in GRADIENTS)


def _network(
    a: SimpleNamespace, relu=(True, True), mask=(True, True), crop=slice(1, -1), order=(0, 1, 2, 3), inner=True
):
    """The whole network, with one part of it wrong."""
    p, x, kept = a.params, a.x, []
    one = SimpleNamespace(stride=1)
    for k in (0, 1):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        z = convolved(one, padded, p[f"kernel_{k + 1}"]) + p[f"bias_{k + 1}"]
        y, winners = reference.max_pool(np.maximum(z, 0) if relu[k] else z, (2, 2), (2, 2), (0, 0, 0, 0))
        kept.append((padded, z, winners))
        x = y
    rows = x.transpose(order).reshape(len(x), -1)
    grads = {"kernel_3": rows.T @ a.dz, "bias_3": a.dz.sum(axis=0)}
    dx = (a.dz @ p["kernel_3"].T).reshape(x.shape)
    for k in (1, 0):
        padded, z, winners = kept[k]
        dy = reference.max_pool_backward(dx, winners, z.shape, (2, 2), (2, 2), (0, 0, 0, 0))
        dz = dy * (z > 0) if mask[k] else dy
        seen = padded if inner else np.pad(padded[:, 1:-1, 1:-1], ((0, 0), (0, 2), (0, 2), (0, 0)))
        columns = reference.im2col(seen, (3, 3), (1, 1), (0, 0, 0, 0))
        grads[f"kernel_{k + 1}"] = np.tensordot(columns, dz, ((0, 1, 2), (0, 1, 2)))
        grads[f"bias_{k + 1}"] = dz.sum(axis=(0, 1, 2))
        back = np.tensordot(dz, p[f"kernel_{k + 1}"], (3, 3))
        dx = reference.col2im(back, padded.shape, (1, 1), (0, 0, 0, 0))[:, crop, crop]
    return rows @ p["kernel_3"] + p["bias_3"], *(grads[name] for name in GRADIENTS)


def _without(name: str):
    """The network with one of its parameters at 0."""
    return lambda a: {"params": {**a.params, name: 0 * a.params[name]}}


NETWORK = {
    "without the first ReLU": lambda a: _network(a, relu=(False, True)),
    "without the second ReLU": lambda a: _network(a, relu=(True, False)),
    "without any ReLU": lambda a: _network(a, relu=(False, False)),
    "without the mask of the first ReLU on the way back": lambda a: _network(a, mask=(False, True)),
    "without the mask of the second ReLU on the way back": lambda a: _network(a, mask=(True, False)),
    "without the masks of both ReLUs on the way back": lambda a: _network(a, mask=(False, False)),
    "of a padding cut off below and right alone, on the way back": lambda a: _network(a, crop=slice(0, -2)),
    "of a padding cut off above and left alone, on the way back": lambda a: _network(a, crop=slice(2, None)),
    "of filters whose gradients are taken from photos without their padding": lambda a: _network(a, inner=False),
    "of a row that holds each photo column by column": lambda a: _network(a, order=(0, 2, 1, 3)),
    "of a row that holds each photo channel by channel": lambda a: _network(a, order=(0, 3, 1, 2)),
    **{f"without {name}": _without(name) for name in ("bias_1", "bias_2", "bias_3")},
    "of kernels turned by 180 degrees": lambda a: {
        "params": {k: v[::-1, ::-1] if v.ndim == 4 else v for k, v in a.params.items()}
    },
    "with dz divided by the number of photos, which your dlogits does already": lambda a: {"dz": a.dz / len(a.x)},
    "after a softmax, which comes later": lambda a: (
        np.exp(_network(a)[0]) / np.exp(_network(a)[0]).sum(axis=1, keepdims=True),
        *_network(a)[1:],
    ),
}


def _network_known(a, result):
    return {"x": a.x, "kind": "photos" if result == "z" else "weights"}


EXERCISES = [
    Exercise(
        "optimizers",
        "SGD and Adam",
        "B12",
        (
            Task("sgd", ("w_new",), _sgd_cases, SGD, terms=_sgd_terms),
            Task("adam", ("w_new", "m_new", "v_new"), _adam_cases, ADAM, terms=_adam_terms, tolerance=5e-8),
        ),
    ),
    Exercise(
        "network",
        "the whole: a network whose every layer is yours",
        "B12",
        (Task("the network", ("z", *GRADIENTS), _network_cases, NETWORK, _network_known, call=call_network),),
        (
            "padding",
            "product",
            "pooling",
            "relu_pool",
            "dense",
            "kernel_gradient",
            "input_gradient",
            "p_minus_y",
            "optimizers",
        ),
    ),
]
