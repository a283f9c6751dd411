// Many photos at once, as training takes them: the mean loss of a batch, and its slopes. No document, no window.
//
// Each photo has its own pass (engine.js), and the slopes of all passes are added up. Only batch normalization looks at
// the photos together: in training it takes mean and deviation of the batch itself.
"use strict";

const Batch = (() => {
  const Net = typeof Engine === "undefined" ? require("./engine.js") : Engine;
  const normalizes = (l) => l.epsilon !== undefined;

  // The sum of term(v, n, k) over all numbers v of each channel: the n-th of the k-th tensor.
  function sumsOf(tensors, C, term) {
    const sums = new Float64Array(C);
    tensors.forEach((t, k) => t.forEach((v, n) => { sums[n % C] += term(v, n, k); }));
    return sums;
  }

  // normal = (x - mean) / sqrt(variance + epsilon),  y = gamma * normal + beta        for each channel of the batch
  // The layer keeps moving averages of both, for passes outside training.
  function normalize(l, passes, P) {
    const xs = passes.map((T) => T[l.names.x]), C = l.out.at(-1), M = (xs.length * xs[0].length) / C;
    const mean = sumsOf(xs, C, (v) => v).map((sum) => sum / M);
    const variance = sumsOf(xs, C, (v, n) => (v - mean[n % C]) ** 2).map((sum) => sum / M);
    const deviation = variance.map((v) => Math.sqrt(v + l.epsilon)), gamma = P[l.names.gamma], beta = P[l.names.beta];
    const normals = xs.map((x) => x.map((v, n) => (v - mean[n % C]) / deviation[n % C]));
    passes.forEach((T, k) => {
      T[l.names.y] = normals[k].map((v, n) => v * (gamma ? gamma[n % C] : 1) + (beta ? beta[n % C] : 0));
    });
    const moved = (old, now) => l.momentum * old + (1 - l.momentum) * now;
    l.mean = Array.from(mean, (now, c) => moved(l.mean[c], now));
    l.deviation = Array.from(variance, (now, c) => Math.sqrt(moved(l.deviation[c] ** 2 - l.epsilon, now) + l.epsilon));
    return { deviation, normals, M };
  }

  // dgamma = sum of dy * normal,  dbeta = sum of dy,  dx = gamma / deviation * (dy - dbeta / M - normal * dgamma / M)
  function normalizeBack(l, slopes, P, { deviation, normals, M }, sums) {
    const C = l.out.at(-1), dys = slopes.map((G) => G[l.names.dy]), gamma = P[l.names.gamma];
    const dgamma = sumsOf(dys, C, (d, n, k) => d * normals[k][n]), dbeta = sumsOf(dys, C, (d) => d);
    slopes.forEach((G, k) => {
      G[l.names.dx] = dys[k].map((d, n) => ((gamma ? gamma[n % C] : 1) / deviation[n % C])
        * (d - dbeta[n % C] / M - (normals[k][n] * dgamma[n % C]) / M));
    });
    if (l.names.dgamma) sums[l.names.dgamma].set(dgamma);
    if (l.names.dbeta) sums[l.names.dbeta].set(dbeta);
  }

  // Forward and backward for some photos, layer by layer; share: what each counts for in the mean loss. Adds up the
  // slopes of the parameters in sums and returns the loss. A generator: it rests after each layer of each photo, so
  // that a page may do something else in between.
  function* pass(net, P, photos, targets, share, sums) {
    const passes = photos.map((x) => ({ x })), normalized = new Map();
    for (const l of net.layers) {
      if (normalizes(l)) normalized.set(l, normalize(l, passes, P));
      else for (const T of passes) {
        Net.OPERATIONS[l.op].forward(l, T, P);
        yield;
      }
    }
    const slopes = passes.map((T, k) => ({ ...sums, dlogits: Net.softmax(T[net.logits]).p
      .map((p, c) => share * (p - (c === targets[k] ? 1 : 0))) }));
    for (const l of [...net.layers].reverse()) {
      if (normalizes(l)) normalizeBack(l, slopes, P, normalized.get(l), sums);
      else for (const [k, T] of passes.entries()) {
        Net.OPERATIONS[l.op].backward(l, T, P, slopes[k]);
        yield;
      }
    }
    return passes.reduce((loss, T, k) => loss + share * net.loss(T, targets[k]), 0);
  }

  // The slopes of the batch's mean loss, {dW1, ...} with zeros to begin with.
  function zeros(net, P) {
    return Object.fromEntries(net.params.map((name) => [net.slopes[name], new Float64Array(P[name].length)]));
  }

  // One step of stochastic gradient descent: w <- w - rate * slope of the batch's mean loss. Returns that loss, from
  // before the step. Where nothing looks at the photos together they pass one by one, which takes less memory.
  function* step(net, P, photos, targets, rate, sums) {
    const size = net.layers.some(normalizes) ? photos.length : 1, share = 1 / photos.length;
    let loss = 0;
    for (const one of Object.values(sums)) one.fill(0);
    for (let k = 0; k < photos.length; k += size)
      loss += yield* pass(net, P, photos.slice(k, k + size), targets.slice(k, k + size), share, sums);
    net.sgd(P, sums, rate);
    return loss;
  }

  return { normalizes, zeros, step };
})();

if (typeof module !== "undefined") module.exports = Batch;
