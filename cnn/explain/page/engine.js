// The arithmetic of the page, and nothing else: no document, no window. Node runs this same file in the tests.
//
// Every tensor is one flat array, row by row, channels innermost, as in the Python program: z1[(i*28 + j)*32 + f].
// The network of the article:
//   x 28x28x1 - conv 3x3 same 32 - ReLU - pool 2x2 - conv 3x3 same 64 - ReLU - pool 2x2 - flatten
//   - dense 128 - ReLU - dense 10
"use strict";

const Engine = (() => {
  const SHAPES = {
    x: [28, 28, 1], z1: [28, 28, 32], a1: [28, 28, 32], p1: [14, 14, 32], z2: [14, 14, 64], a2: [14, 14, 64],
    p2: [7, 7, 64], f: [3136], z3: [128], a3: [128], z4: [10], p: [10],
    W1: [3, 3, 1, 32], b1: [32], W2: [3, 3, 32, 64], b2: [64], W3: [3136, 128], b3: [128], W4: [128, 10], b4: [10],
  };
  const PARAMS = ["W1", "b1", "W2", "b2", "W3", "b3", "W4", "b4"];
  const size = (shape) => shape.reduce((a, b) => a * b, 1);

  // ---- one layer at a time

  // How many windows of k cells fit when they advance by s, and how many zeros stand before and after: Keras' rule,
  // which puts the smaller half of the padding first.
  function windows(length, k, s, padding) {
    if (padding === "valid") return { out: Math.floor((length - k) / s) + 1, before: 0, after: 0 };
    const out = Math.ceil(length / s), total = Math.max((out - 1) * s + k - length, 0);
    return { out, before: Math.floor(total / 2), after: total - Math.floor(total / 2) };
  }

  // A convolution's plan: input H x W x C, F filters of k x k, stride s.
  function plan(H, W, C, F, k, s, padding) {
    const rows = windows(H, k, s, padding), cols = windows(W, k, s, padding);
    return { H, W, C, F, k, s, padding, OH: rows.out, OW: cols.out,
      top: rows.before, bottom: rows.after, left: cols.before, right: cols.after };
  }

  // Calls visit(o, q, t) for each real (not padded) pair: where output cell, input cell and the weights between begin.
  function eachTap(g, visit) {
    for (let i = 0; i < g.OH; i++) for (let j = 0; j < g.OW; j++)
      for (let u = 0; u < g.k; u++) {
        const r = i * g.s + u - g.top;
        if (r < 0 || r >= g.H) continue;
        for (let v = 0; v < g.k; v++) {
          const c = j * g.s + v - g.left;
          if (c >= 0 && c < g.W) visit((i * g.OW + j) * g.F, (r * g.W + c) * g.C, (u * g.k + v) * g.C * g.F);
        }
      }
  }

  // z[i,j,f] = b[f] + sum over u,v,c of x_padded[i*s + u, j*s + v, c] * W[u,v,c,f]
  function conv(g, x, W, b) {
    const z = new Float64Array(g.OH * g.OW * g.F);
    for (let o = 0; o < z.length; o++) z[o] = b[o % g.F];
    eachTap(g, (o, q, t) => {
      for (let c = 0; c < g.C; c++) {
        const a = x[q + c], w = t + c * g.F;
        if (a !== 0) for (let f = 0; f < g.F; f++) z[o + f] += a * W[w + f];
      }
    });
    return z;
  }

  // dW[u,v,c,f] = sum over i,j of x_padded * dz;  db[f] = sum of dz;  dx: each product goes back to its cell.
  function convBackward(g, x, W, dz) {
    const dW = new Float64Array(g.k * g.k * g.C * g.F), db = new Float64Array(g.F);
    const dx = new Float64Array(g.H * g.W * g.C);
    for (let o = 0; o < dz.length; o++) db[o % g.F] += dz[o];
    eachTap(g, (o, q, t) => {
      for (let f = 0; f < g.F; f++) {
        const d = dz[o + f];
        if (d !== 0) for (let c = 0; c < g.C; c++) {
          dW[t + c * g.F + f] += x[q + c] * d;
          dx[q + c] += d * W[t + c * g.F + f];
        }
      }
    });
    return { dW, db, dx };
  }

  const relu = (z) => z.map((v) => (v > 0 ? v : 0));
  const reluBackward = (z, da) => da.map((v, n) => (z[n] > 0 ? v : 0));

  // The largest of each 2x2 window; of equal cells the first, row by row, wins: winner = 2*di + dj.
  function pool(a, H, W, C) {
    const y = new Float64Array(a.length / 4), winner = new Uint8Array(a.length / 4);
    for (let i = 0, n = 0; i < H; i += 2) for (let j = 0; j < W; j += 2) for (let c = 0; c < C; c++, n++) {
      y[n] = -Infinity;
      for (let m = 0; m < 4; m++) {
        const v = a[((i + (m >> 1)) * W + j + (m & 1)) * C + c];
        if (v > y[n]) { y[n] = v; winner[n] = m; }
      }
    }
    return { y, winner };
  }

  // Where in a map of width W the cell m of the n-th window lies.
  function cellOf(n, m, W, C) {
    const c = n % C, window = (n - c) / C, i = 2 * Math.floor(window / (W / 2)), j = 2 * (window % (W / 2));
    return ((i + (m >> 1)) * W + j + (m & 1)) * C + c;
  }

  function poolBackward(dy, winner, H, W, C) {
    const da = new Float64Array(H * W * C);
    for (let n = 0; n < dy.length; n++) da[cellOf(n, winner[n], W, C)] = dy[n];
    return da;
  }

  function dense(x, W, b) {
    const z = Float64Array.from(b), O = b.length;
    for (let n = 0; n < x.length; n++) if (x[n] !== 0) for (let u = 0; u < O; u++) z[u] += x[n] * W[n * O + u];
    return z;
  }

  function denseBackward(x, W, dz) {
    const O = dz.length, dW = new Float64Array(W.length), dx = new Float64Array(x.length);
    for (let n = 0; n < x.length; n++) for (let u = 0; u < O; u++) {
      dW[n * O + u] = x[n] * dz[u];
      dx[n] += dz[u] * W[n * O + u];
    }
    return { dW, db: Float64Array.from(dz), dx };
  }

  // Softmax with the largest logit taken off first, and -log p[target] without ever taking a log of a vanishing p.
  function softmax(z) {
    const top = Math.max(...z), e = Float64Array.from(z, (v) => Math.exp(v - top)), sum = e.reduce((a, b) => a + b, 0);
    return { top, e, sum, p: e.map((v) => v / sum) };
  }
  const lossOf = (z, target) => { const s = softmax(z); return Math.log(s.sum) - (z[target] - s.top); };

  // ---- the two networks

  const CONV1 = plan(28, 28, 1, 32, 3, 1, "same"), CONV2 = plan(14, 14, 32, 64, 3, 1, "same");

  // The forward pass; `from` (1 to 4) starts at that layer and takes what lies before it out of T.
  function forward(P, x, from = 1, T = {}) {
    const R = { ...T, x };
    if (from <= 1) {
      R.z1 = conv(CONV1, x, P.W1, P.b1); R.a1 = relu(R.z1);
      ({ y: R.p1, winner: R.argmax1 } = pool(R.a1, 28, 28, 32));
    }
    if (from <= 2) {
      R.z2 = conv(CONV2, R.p1, P.W2, P.b2); R.a2 = relu(R.z2);
      ({ y: R.p2, winner: R.argmax2 } = pool(R.a2, 14, 14, 64));
      R.f = R.p2;
    }
    if (from <= 3) { R.z3 = dense(R.f, P.W3, P.b3); R.a3 = relu(R.z3); }
    R.z4 = dense(R.a3, P.W4, P.b4); R.p = softmax(R.z4).p;
    return R;
  }

  // The gradient of -log p[target] for every tensor of the forward pass T, named d + its name.
  function backward(P, T, target) {
    const G = { dlogits: T.p.map((v, k) => v - (k === target ? 1 : 0)) };
    ({ dW: G.dW4, db: G.db4, dx: G.da3 } = denseBackward(T.a3, P.W4, G.dlogits));
    G.dz3 = reluBackward(T.z3, G.da3);
    ({ dW: G.dW3, db: G.db3, dx: G.df } = denseBackward(T.f, P.W3, G.dz3));
    G.dp2 = G.df; // the same numbers, read as 7 x 7 x 64 again
    G.da2 = poolBackward(G.dp2, T.argmax2, 14, 14, 64);
    G.dz2 = reluBackward(T.z2, G.da2);
    ({ dW: G.dW2, db: G.db2, dx: G.dp1 } = convBackward(CONV2, T.p1, P.W2, G.dz2));
    G.da1 = poolBackward(G.dp1, T.argmax1, 28, 28, 32);
    G.dz1 = reluBackward(T.z1, G.da1);
    ({ dW: G.dW1, db: G.db1, dx: G.dx } = convBackward(CONV1, T.x, P.W1, G.dz1));
    return G;
  }

  // The dense net of the comparison: flatten - dense 128 - ReLU - dense 10.
  function denseNet(D, x) {
    const a = relu(dense(x, D.W1, D.b1)), z = dense(a, D.W2, D.b2);
    return { a, z, p: softmax(z).p };
  }

  // ---- gradient check and training

  // How many ReLUs open or close, and how many pooling winners change, between two passes.
  function kinks(A, B) {
    let n = 0;
    for (const k of ["z1", "z2", "z3"]) for (let i = 0; i < A[k].length; i++) n += (A[k][i] > 0) !== (B[k][i] > 0);
    for (const k of ["argmax1", "argmax2"]) for (let i = 0; i < A[k].length; i++) n += A[k][i] !== B[k][i];
    return n;
  }

  // (L(w + h) - L(w - h)) / 2h for one number of one parameter, beside the gradient of backward.
  // Where a kink lies between the two passes, h is divided by 10, twice at most.
  function check(P, T, G, target, name, index) {
    const w = P[name][index], analytic = G["d" + name][index], from = Number(name[1]);
    for (let h = 1e-5; ; h /= 10) {
      P[name][index] = w + h; const up = forward(P, T.x, from, T);
      P[name][index] = w - h; const down = forward(P, T.x, from, T);
      P[name][index] = w;
      const plus = lossOf(up.z4, target), minus = lossOf(down.z4, target), numeric = (plus - minus) / (2 * h);
      const flips = kinks(up, down);
      if (flips && h > 2e-7) continue;
      const relative = Math.abs(numeric - analytic) / Math.max(1e-8, Math.abs(numeric) + Math.abs(analytic));
      return { name, index, h, plus, minus, numeric, analytic, relative, kinks: flips };
    }
  }

  // One step of stochastic gradient descent: w <- w - rate * dL/dw, for all 421,642 of them.
  function sgd(P, G, rate) {
    for (const name of PARAMS) {
      const w = P[name], g = G["d" + name];
      for (let n = 0; n < w.length; n++) w[n] -= rate * g[n];
    }
  }

  // ---- photos

  // A photo moved by dx to the right and dy down, zeros coming in, after it was mirrored or its parts were swapped.
  function arrange(x, { mirror = 0, dx = 0, dy = 0, parts = "" } = {}) {
    const swap = (i) => (i + 14) % 28, y = new Float64Array(784);
    for (let r = 0; r < 28; r++) for (let c = 0; c < 28; c++) {
      let i = r - dy, j = c - dx;
      if (i < 0 || j < 0 || i > 27 || j > 27) continue;
      if (parts) j = swap(j);
      if (parts === "quadrants") i = swap(i);
      if (mirror) j = 27 - j;
      y[r * 28 + c] = x[i * 28 + j];
    }
    return y;
  }

  return { SHAPES, PARAMS, size, plan, conv, convBackward, cellOf, softmax, lossOf, forward, backward, denseNet, check,
    sgd, arrange };
})();

if (typeof module !== "undefined") module.exports = Engine;
