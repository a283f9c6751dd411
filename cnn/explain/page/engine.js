// The arithmetic of the page, and nothing else: no document, no window. Node runs this same file in the tests.
//
// Every tensor is one flat array, row by row, channels innermost, as in the Python program: z1[(i*28 + j)*32 + f].
// A network is a list of layers, each one of seven operations (plan.py says which); Engine.network(plan) runs it.
"use strict";

const Engine = (() => {
  const Bend = typeof Activations === "undefined" ? require("./activations.js") : Activations;
  const size = (shape) => shape.reduce((a, b) => a * b, 1);

  // ---- windows

  // How many windows of k cells fit when they advance by s, and how many zeros stand before and after: Keras' rule,
  // which puts the smaller half of the padding first.
  function windows(length, k, s, padding) {
    if (padding === "valid") return { out: Math.floor((length - k) / s) + 1, before: 0, after: 0 };
    const out = Math.ceil(length / s), total = Math.max((out - 1) * s + k - length, 0);
    return { out, before: Math.floor(total / 2), after: total - Math.floor(total / 2) };
  }

  // Where the windows of a layer stand: input H x W x C, F maps out, windows of kh x kw that advance by sh, sw.
  function geometry([H, W, C], F, [kh, kw], [sh, sw], padding) {
    const rows = windows(H, kh, sh, padding), cols = windows(W, kw, sw, padding);
    return { H, W, C, F, kh, kw, sh, sw, padding, OH: rows.out, OW: cols.out,
      top: rows.before, bottom: rows.after, left: cols.before, right: cols.after };
  }

  // Calls visit(output cell, input cell, place in the window) for each pair that is real, not padding.
  function eachTap(g, visit) {
    for (let i = 0; i < g.OH; i++) for (let j = 0; j < g.OW; j++)
      for (let u = 0; u < g.kh; u++) {
        const r = i * g.sh + u - g.top;
        if (r < 0 || r >= g.H) continue;
        for (let v = 0; v < g.kw; v++) {
          const c = j * g.sw + v - g.left;
          if (c >= 0 && c < g.W) visit(i * g.OW + j, r * g.W + c, u * g.kw + v);
        }
      }
  }

  // z[i,j,f] = b[f] + sum over u,v,c of x_padded[i*sh + u, j*sw + v, c] * W[u,v,c,f]
  function conv(g, x, W, b) {
    const z = new Float64Array(g.OH * g.OW * g.F), { C, F } = g;
    if (b) for (let o = 0; o < z.length; o++) z[o] = b[o % F];
    eachTap(g, (out, cell, tap) => {
      for (let c = 0; c < C; c++) {
        const a = x[cell * C + c], w = (tap * C + c) * F, o = out * F;
        if (a !== 0) for (let f = 0; f < F; f++) z[o + f] += a * W[w + f];
      }
    });
    return z;
  }

  // dW[u,v,c,f] = sum over i,j of x_padded * dz;  db[f] = sum of dz;  dx: each product goes back to its cell.
  function convBackward(g, x, W, dz) {
    const { C, F } = g, dW = new Float64Array(W.length), db = new Float64Array(F), dx = new Float64Array(x.length);
    for (let o = 0; o < dz.length; o++) db[o % F] += dz[o];
    eachTap(g, (out, cell, tap) => {
      for (let f = 0; f < F; f++) {
        const d = dz[out * F + f];
        if (d !== 0) for (let c = 0, q = cell * C, w = tap * C * F + f; c < C; c++, q++, w += F) {
          dW[w] += x[q] * d;
          dx[q] += d * W[w];
        }
      }
    });
    return { dW, db, dx };
  }

  // The largest of each window, padding left out; of equal cells the first, row by row, wins.
  function pool(g, x) {
    const { C } = g, y = new Float64Array(g.OH * g.OW * C).fill(-Infinity), winner = new Int32Array(y.length);
    eachTap(g, (out, cell, tap) => {
      for (let c = 0, o = out * C, q = cell * C; c < C; c++, o++, q++) if (x[q] > y[o]) {
        y[o] = x[q];
        winner[o] = tap;
      }
    });
    return { y, winner };
  }

  // Where in the input the cell m of the n-th window lies.
  function cellOf(g, n, m) {
    const c = n % g.C, at = (n - c) / g.C, i = Math.floor(at / g.OW), j = at % g.OW;
    return ((i * g.sh + Math.floor(m / g.kw) - g.top) * g.W + j * g.sw + (m % g.kw) - g.left) * g.C + c;
  }

  function poolBackward(g, dy, winner) {
    const dx = new Float64Array(g.H * g.W * g.C);
    for (let n = 0; n < dy.length; n++) dx[cellOf(g, n, winner[n])] += dy[n];
    return dx;
  }

  // ---- rows

  // Along the last axis: z[m,u] = b[u] + sum over n of x[m,n] * W[n,u]
  function dense([N, U], x, W, b) {
    const z = new Float64Array((x.length / N) * U);
    if (b) for (let o = 0; o < z.length; o++) z[o] = b[o % U];
    for (let q = 0; q < x.length; q++) {
      const o = Math.floor(q / N) * U, w = (q % N) * U;
      if (x[q] !== 0) for (let u = 0; u < U; u++) z[o + u] += x[q] * W[w + u];
    }
    return z;
  }

  function denseBackward([N, U], x, W, dz) {
    const dW = new Float64Array(W.length), db = new Float64Array(U), dx = new Float64Array(x.length);
    for (let o = 0; o < dz.length; o++) db[o % U] += dz[o];
    for (let q = 0; q < x.length; q++) {
      const o = Math.floor(q / N) * U, w = (q % N) * U;
      for (let u = 0; u < U; u++) {
        dW[w + u] += x[q] * dz[o + u];
        dx[q] += dz[o + u] * W[w + u];
      }
    }
    return { dW, db, dx };
  }

  // Calls visit(input number, output number, share) for y = down @ x @ across^T in each of C channels.
  function eachShare({ rows, columns, in: [, W, C] }, visit) {
    rows.forEach((down, i) => columns.forEach((across, j) => {
      for (const [r, a] of down) for (const [s, b] of across) for (let c = 0; c < C; c++)
        visit((r * W + s) * C + c, (i * columns.length + j) * C + c, a * b);
    }));
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

  const OPERATIONS = {
    conv: {
      forward(l, R, P) {
        R[l.names.z] = conv(l.window, R[l.names.x], P[l.names.kernel], P[l.names.bias]);
        bendTo(l, R);
      },
      backward(l, R, P, G) {
        keep(l, G, convBackward(l.window, R[l.names.x], P[l.names.kernel], bendBack(l, R, G)));
      },
    },
    dense: {
      forward(l, R, P) {
        R[l.names.z ?? l.names.y] = dense(l.sides, R[l.names.x], P[l.names.kernel], P[l.names.bias]);
        bendTo(l, R);
      },
      backward(l, R, P, G) {
        keep(l, G, denseBackward(l.sides, R[l.names.x], P[l.names.kernel], bendBack(l, R, G)));
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

    // The forward pass; `from` starts at that layer and takes what lies before it out of T.
    forward(P, x, from = 0, T = {}) {
      const R = { ...T, x };
      for (const layer of this.layers.slice(from)) OPERATIONS[layer.op].forward(layer, R, P);
      R.p = Bend.softmax(R[this.logits]).p;
      return R;
    }

    // The gradient of -log p[target] for every tensor of the forward pass T.
    backward(P, T, target) {
      const G = { dlogits: T.p.map((v, k) => v - (k === target ? 1 : 0)) };
      for (const layer of [...this.layers].reverse()) OPERATIONS[layer.op].backward(layer, T, P, G);
      return G;
    }

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

  return { size, geometry, conv, convBackward, cellOf, softmax: Bend.softmax, Network, arrange };
})();

if (typeof module !== "undefined") module.exports = Engine;
