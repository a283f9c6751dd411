// The arithmetic of the page, and nothing else: no document, no window. Node runs this same file in the tests.
//
// Every tensor is one flat array, row by row, channels innermost, as in the Python program: z1[(i*28 + j)*32 + f].
// A network is a list of layers, each one of seven operations (plan.py says which); Engine.network(plan) runs it.
"use strict";

const Engine = (() => {
  const Bend = typeof Activations === "undefined" ? require("./activations.js") : Activations;
  const { geometry, conv, convBackward, pool, cellOf, poolBackward, dense, denseBackward, eachShare } =
    typeof Products === "undefined" ? require("./products.js") : Products;
  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  // A generator run to its end at once.
  function finish(pieces) {
    let one = pieces.next();
    while (!one.done) one = pieces.next();
    return one.value;
  }

  // Losses as training takes them: -log p[target], without ever taking a log of a vanishing p.
  const lossOf = (z, target) => {
    const s = Bend.softmax(z);
    return Math.log(s.sum) - (z[target] - s.top);
  };

  // ---- the operations: forward(layer, R, P) writes its tensors into R, backward(layer, R, P, G) into G

  // z has become y by the layer's activation; and back: the slope of z from that of y.
  function bendTo({ names: { z, y }, activation, out }, R) {
    if (z !== y) R[y] = Bend.forward(activation, R[z], out.at(-1));
  }
  function bendBack({ names: { z, y, dz, dy }, activation, out }, R, G) {
    if (z !== y) G[dz] = Bend.backward(activation, R[z], R[y], G[dy], out.at(-1));
    return G[dz];
  }
  function keep({ names }, G, { dW, db, dx }) {
    Object.assign(G, { [names.dkernel]: dW, [names.dx]: dx }, names.dbias ? { [names.dbias]: db } : {});
  }
  // Slopes of parameters are added to those that are there, as of another photo of a batch.
  const before = ({ names }, G) => [G[names.dkernel], names.dbias && G[names.dbias]];

  const OPERATIONS = {
    conv: {
      forward(l, R, P) {
        R[l.names.z] = conv(l.window, R[l.names.x], P[l.names.kernel], P[l.names.bias]);
        bendTo(l, R);
      },
      backward(l, R, P, G) {
        keep(l, G, convBackward(l.window, R[l.names.x], P[l.names.kernel], bendBack(l, R, G), ...before(l, G)));
      },
    },
    dense: {
      forward(l, R, P) {
        R[l.names.z ?? l.names.y] = dense(l.sides, R[l.names.x], P[l.names.kernel], P[l.names.bias]);
        bendTo(l, R);
      },
      backward(l, R, P, G) {
        keep(l, G, denseBackward(l.sides, R[l.names.x], P[l.names.kernel], bendBack(l, R, G), ...before(l, G)));
      },
    },
    max: {
      forward({ names, window }, R) { ({ y: R[names.y], winner: R[names.winners] } = pool(window, R[names.x])); },
      backward({ names, window }, R, P, G) { G[names.dx] = poolBackward(window, G[names.dy], R[names.winners]); },
    },
    weigh: {
      forward(l, R) {
        const y = (R[l.names.y] = new Float64Array(size(l.out))), x = R[l.names.x];
        eachShare(l, (q, o, share) => { y[o] += x[q] * share; });
      },
      backward(l, R, P, G) {
        const dx = (G[l.names.dx] = new Float64Array(size(l.in))), dy = G[l.names.dy];
        eachShare(l, (q, o, share) => { dx[q] += dy[o] * share; });
      },
    },
    scale: {
      forward(l, R, P) {
        const [factor, shift] = factors(l, P), normal = plain(l, R[l.names.x]);
        R[l.names.y] = normal.map((v, n) => v * factor[n % factor.length] + shift[n % shift.length]);
      },
      backward(l, R, P, G) {
        const [factor] = factors(l, P), { dy, dx, dgamma, dbeta } = l.names, C = l.out.at(-1);
        const deviation = l.deviation || [1], normal = plain(l, R[l.names.x]);
        G[dx] = G[dy].map((d, n) => (d * factor[n % factor.length]) / deviation[n % deviation.length]);
        for (const [name, term] of [[dgamma, (n) => G[dy][n] * normal[n]], [dbeta, (n) => G[dy][n]]]) {
          if (name) G[name] = new Float64Array(C);
          if (name) for (let n = 0; n < normal.length; n++) G[name][n % C] += term(n);
        }
      },
    },
    activate: {
      forward(l, R) { R[l.names.y] = Bend.forward(l.activation, R[l.names.x], l.out.at(-1)); },
      backward(l, R, P, G) {
        const { x, y, dy, dx } = l.names;
        G[dx] = Bend.backward(l.activation, R[x], R[y], G[dy], l.out.at(-1));
      },
    },
    copy: {
      forward({ names }, R) { R[names.y] = R[names.x]; },
      backward({ names }, R, P, G) { G[names.dx] = G[names.dy]; },
    },
  };

  // What a scaling layer multiplies with and adds; and what stands before that: x less its mean, over its deviation.
  const factors = ({ names, factor, shift }, P) =>
    [factor || P[names.gamma] || [1], shift || P[names.beta] || [0]];
  const plain = ({ mean, deviation }, x) => (mean
    ? x.map((v, n) => (v - mean[n % mean.length]) / deviation[n % deviation.length]) : x);

  // ---- a network

  // Numbers before an activation decide by their side of a corner: {tensor, corners} of each.
  const bentTensors = (layers) => layers.filter((l) => l.activation && l.names.z !== l.names.y)
    .map((l) => ({ tensor: l.names.z ?? l.names.x, corners: Bend.corners(l.activation) }));

  function shapesOf(layers, shape) {
    const shapes = { x: shape, dx: shape, p: layers.at(-1).out, dlogits: layers.at(-1).out, y: layers.at(-1).out };
    for (const { names: n, out, window: g, ...l } of layers) {
      for (const role of ["z", "y", "dz", "dy", "open", "winners"]) if (n[role]) shapes[n[role]] = out;
      Object.assign(shapes, { [n.x]: l.in, [n.dx]: l.in });
      if (n.win) shapes[n.win] = [g.kh, g.kw, ...out];
      const kernel = g ? [g.kh, g.kw, g.C, g.F] : [l.in.at(-1), out.at(-1)];
      for (const role of Object.keys(n).filter((key) => `d${key}` in n && !/^[xyz]$/.test(key)))
        shapes[n[role]] = shapes[n["d" + role]] = role === "kernel" ? kernel : [out.at(-1)];
    }
    return shapes;
  }

  // plan: {shape, layers} as plan.py writes it. The tensors of a pass are {name: numbers}.
  class Network {
    constructor(plan) {
      this.layers = plan.layers.map((l) => ({ ...l, sides: [l.in.at(-1), l.out.at(-1)],
        window: l.kernel && geometry(l.in, l.out.at(-1), l.kernel, l.strides, l.padding) }));
      const learned = this.layers.flatMap(({ names, learned: roles }) => roles.map((role) => [names, role]));
      this.params = learned.map(([names, role]) => names[role]);
      this.slopes = Object.fromEntries(learned.map(([names, role]) => [names[role], names["d" + role]]));
      this.logits = this.layers.at(-1).names.y;
      this.bent = bentTensors(this.layers);
      this.shapes = shapesOf(this.layers, plan.shape);
    }

    // The forward pass, layer by layer; `from` starts at that layer and takes what lies before it out of T.
    *forwarding(P, x, from = 0, T = {}) {
      const R = { ...T, x };
      for (const layer of this.layers.slice(from)) {
        OPERATIONS[layer.op].forward(layer, R, P);
        yield;
      }
      R.p = Bend.softmax(R[this.logits]).p;
      return R;
    }

    // The gradient of -log p[target] for every tensor of the forward pass T, layer by layer.
    *backing(P, T, target) {
      const G = { dlogits: T.p.map((v, k) => v - (k === target ? 1 : 0)) };
      for (const layer of [...this.layers].reverse()) {
        OPERATIONS[layer.op].backward(layer, T, P, G);
        yield;
      }
      return G;
    }

    forward(...given) { return finish(this.forwarding(...given)); }
    backward(...given) { return finish(this.backing(...given)); }

    loss(T, target) { return lossOf(T[this.logits], target); }

    // How many numbers change their side of a corner, and how many pooling winners change, between two passes.
    kinks(A, B) {
      let n = 0;
      const count = (a, b, differ) => { for (let i = 0; i < a.length; i++) n += differ(a[i], b[i]); };
      for (const { tensor, corners } of this.bent) for (const corner of corners)
        count(A[tensor], B[tensor], (a, b) => (a > corner) !== (b > corner));
      for (const l of this.layers) if (l.op === "max") count(A[l.names.winners], B[l.names.winners], (a, b) => a !== b);
      return n;
    }

    // (L(w + h) - L(w - h)) / 2h for one number of one parameter, beside the gradient of backward.
    // Where a kink lies between the two passes, h is divided by 10, twice at most.
    check(P, T, G, target, name, index) {
      const w = P[name][index], analytic = G[this.slopes[name]][index];
      const from = this.layers.findIndex((l) => l.learned.some((role) => l.names[role] === name));
      for (let h = 1e-5; ; h /= 10) {
        P[name][index] = w + h; const up = this.forward(P, T.x, from, T);
        P[name][index] = w - h; const down = this.forward(P, T.x, from, T);
        P[name][index] = w;
        const plus = this.loss(up, target), minus = this.loss(down, target), numeric = (plus - minus) / (2 * h);
        const flips = this.kinks(up, down);
        if (flips && h > 2e-7) continue;
        const relative = Math.abs(numeric - analytic) / Math.max(1e-8, Math.abs(numeric) + Math.abs(analytic));
        return { name, index, h, plus, minus, numeric, analytic, relative, kinks: flips };
      }
    }

    // How much one number of what layer k puts out changes with one number that goes in, by the layer's own backward.
    slope(P, T, k, first, second) {
      const layer = this.layers[k], { dx, dy } = layer.names, G = { [dy]: new Float64Array(size(layer.out)) };
      G[dy][second] = 1;
      OPERATIONS[layer.op].backward(layer, T, P, G);
      return G[dx][first];
    }

    // One step of stochastic gradient descent for every number that is learned: w <- w - rate * dL/dw.
    sgd(P, G, rate) {
      for (const name of this.params) {
        const w = P[name], g = G[this.slopes[name]];
        for (let n = 0; n < w.length; n++) w[n] -= rate * g[n];
      }
    }
  }

  // ---- photos

  // A photo moved by dx to the right and dy down, zeros coming in, after it was mirrored or its parts were swapped.
  function arrange(x, [H, W, C], { mirror = 0, dx = 0, dy = 0, parts = "" } = {}) {
    const swap = (i, n) => (i + Math.ceil(n / 2)) % n, y = new Float64Array(x.length);
    for (let r = 0; r < H; r++) for (let c = 0; c < W; c++) {
      let i = r - dy, j = c - dx;
      if (i < 0 || j < 0 || i >= H || j >= W) continue;
      if (parts) j = swap(j, W);
      if (parts === "quadrants") i = swap(i, H);
      if (mirror) j = W - 1 - j;
      for (let k = 0; k < C; k++) y[(r * W + c) * C + k] = x[(i * W + j) * C + k];
    }
    return y;
  }

  return { size, finish, geometry, conv, convBackward, cellOf, softmax: Bend.softmax, OPERATIONS, Network, arrange };
})();

if (typeof module !== "undefined") module.exports = Engine;
