// The arithmetic of the chapter "Backward from nothing": one weight, as in nothing.py, and a nudged weight of the
// network. No document, no window: Node runs this too.
"use strict";

const Toy = (() => {
  const loss = (u, wanted) => (u - wanted) ** 2;

  // All numbers of the chapter's unit. c: what comes in, the weight, the nudge and so on; see TOY in nothing.py.
  function numbers(c) {
    const { x, wanted, w, h, tiny } = c, at = (weight) => loss(x * weight, wanted);
    const u = x * w, change = at(w + h) - at(w);
    return { x, wanted, w, u, off: u - wanted, loss: at(w), h, tiny,
      moved: w + h, u2: x * (w + h), after: at(w + h), change, secant: change / h,
      link1: x, link2: 2 * (u - wanted), slope: x * 2 * (u - wanted),
      tried1: (x * (w + tiny) - u) / tiny, tried2: (loss(u + tiny, wanted) - at(w)) / tiny,
      tried: (at(w + tiny) - at(w)) / tiny, ...fork(c), ...steps(c, at) };
  }

  // Two ways from the weight to the loss.
  function fork({ x, w, tiny, a, b, wantedA, wantedB }) {
    const both = (weight) => loss(a * x * weight, wantedA) + loss(b * x * weight, wantedB);
    const slopeA = 2 * (a * x * w - wantedA), slopeB = 2 * (b * x * w - wantedB);
    return { a, b, wantedA, wantedB, A: a * x * w, B: b * x * w, both: both(w), slopeA, slopeB, wayA: x * a * slopeA,
      wayB: x * b * slopeB, ways: x * a * slopeA + x * b * slopeB, triedWays: (both(w + tiny) - both(w)) / tiny };
  }

  // Steps against the slope, and what came of them.
  function steps(c, at) {
    const found = {}, losses = [];
    for (let n = 0, { w } = c; n <= c.steps; n++) {
      const slope = c.x * 2 * (c.x * w - c.wanted);
      losses.push(at(w));
      Object.assign(found, { [`w${n}`]: w, [`slope${n}`]: slope, [`loss${n}`]: at(w) });
      w -= c.rate * slope;
    }
    const falls = losses.at(-1) < losses[0];
    return { ...found, verdict: falls ? "The loss falls." : "The loss does not fall: the steps are too large." };
  }

  // One weight of layer k moved by h: the loss of a whole pass, and how many numbers changed their side of a corner.
  function nudged({ net, P, T, target }, name, flat, k, h) {
    const moved = { ...P, [name]: Float64Array.from(P[name]) };
    moved[name][flat] += h;
    const after = net.forward(moved, T.x, k, T);
    return { loss: net.loss(after, target), flips: net.kinks(T, after) };
  }

  return { loss, numbers, nudged };
})();

if (typeof module !== "undefined") module.exports = Toy;
