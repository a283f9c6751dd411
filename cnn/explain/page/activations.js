// Activations, number by number: y = f(x) and its slope dy/dx, with settings s; and softmax, along the last axis.
// The same table as cnn/layers/formulas.py, written once more. No document, no window: Node runs this too.
"use strict";

const Activations = (() => {
  const { exp, tanh, min, max, abs, log1p, expm1, sqrt, PI } = Math;
  const sigmoid = (x) => exp(min(x, 0)) / (1 + exp(-abs(x)));
  const softplus = (x) => max(x, 0) + log1p(exp(-abs(x)));
  const between = (x, low, high) => min(max(x, low), high);

  // 2/sqrt(pi) * exp(-x^2) * (x + 2 x^3 / 3 + 4 x^5 / 15 + ...): all terms have one sign, so nothing cancels.
  function erf(x) {
    if (abs(x) > 6) return Math.sign(x);
    let term = x, sum = x;
    for (let n = 1; abs(term) > 1e-17 * abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return (2 / sqrt(PI)) * exp(-x * x) * sum;
  }

  const ROOT = sqrt(2 / PI), CUBE = 0.044715;
  const bend = (x) => tanh(ROOT * (x + CUBE * x ** 3));
  const share = (x, s) => (1 + (s.approximate ? bend(between(x, -10, 10)) : erf(between(x, -10, 10) / sqrt(2)))) / 2;
  function shareSlope(x, s) {
    if (!s.approximate) return exp((-x * x) / 2) / sqrt(2 * PI);
    const near = between(x, -10, 10), t = bend(near);
    return ((1 - t * t) * ROOT * (1 + 3 * CUBE * near ** 2)) / 2;
  }

  const ALPHA = 1.6732632423543772, SCALE = 1.0507009873554805;
  const bent = ({ negative_slope = 0, max_value = Infinity, threshold = 0 }) => [negative_slope, max_value, threshold];

  // name: [f(x, settings), slope(x, y, settings), where the slope jumps]
  const FORMULAS = {
    linear: [(x) => x, () => 1, []],
    relu: [(v) => (v > 0 ? v : 0), (x) => Number(x > 0), [0]],
    sigmoid: [sigmoid, (x, y) => y * (1 - y), []],
    tanh: [tanh, (x, y) => 1 - y * y, []],
    softsign: [(x) => x / (1 + abs(x)), (x) => (1 / (1 + abs(x))) ** 2, [0]],
    leaky_relu: [(x, { negative_slope: a = 0.2 }) => (x > 0 ? x : a * x), (x, y, { negative_slope: a = 0.2 }) =>
      (x > 0 ? 1 : a), [0]],
    elu: [(x, { alpha = 1 }) => (x > 0 ? x : alpha * expm1(x)), (x, y, { alpha = 1 }) =>
      (x > 0 ? 1 : alpha * exp(x)), [0]],
    selu: [(x) => SCALE * (x > 0 ? x : ALPHA * expm1(x)), (x) => SCALE * (x > 0 ? 1 : ALPHA * exp(x)), [0]],
    softplus: [softplus, sigmoid, []],
    silu: [(x) => x * sigmoid(x), (x, y) => sigmoid(x) * (1 + (x - y)), []],
    mish: [(x) => x * tanh(softplus(x)), (x) => tanh(softplus(x)) + x * (1 - tanh(softplus(x)) ** 2) * sigmoid(x), []],
    gelu: [(x, s) => x * share(x, s), (x, y, s) => share(x, s) + x * shareSlope(x, s), []],
    relu6: [(x) => between(x, 0, 6), (x) => Number(x > 0 && x < 6), [0, 6]],
    hard_sigmoid: [(x) => between(x / 6 + 0.5, 0, 1), (x) => Number(abs(x) < 3) / 6, [-3, 3]],
    hard_silu: [(x) => x * between(x / 6 + 0.5, 0, 1), (x) => (abs(x) < 3 ? x / 3 + 0.5 : Number(x >= 3)), [-3, 3]],
    exponential: [exp, (x, y) => y, []],
    bent_relu: [(x, s) => { const [a, most, from] = bent(s); return min(x >= from ? x : a * (x - from), most); },
      (x, y, s) => { const [a, most, from] = bent(s); return x > from ? Number(x < most) : a; }, [0]],
  };

  // Softmax with the largest logit taken off first.
  function softmax(z) {
    const top = z.reduce((a, b) => max(a, b), -Infinity), e = Float64Array.from(z, (v) => exp(v - top));
    const sum = e.reduce((a, b) => a + b, 0);
    return { top, e, sum, p: e.map((v) => v / sum) };
  }

  // Calls visit(row, its start) for each row of the last axis, C numbers long.
  function rows(t, C, visit) {
    for (let at = 0; at < t.length; at += C) visit(t.subarray(at, at + C), at);
  }

  // y of an activation {name, settings}; C: the length of the last axis.
  function forward({ name, settings }, x, C) {
    if (name !== "softmax") return x.map((v) => FORMULAS[name][0](v, settings));
    const y = new Float64Array(x.length);
    rows(x, C, (row, at) => y.set(softmax(row).p, at));
    return y;
  }

  // dx from dy. Softmax: dx_k = y_k * (dy_k - sum of dy * y).
  function backward({ name, settings }, x, y, dy, C) {
    if (name !== "softmax") return dy.map((d, n) => d * FORMULAS[name][1](x[n], y[n], settings));
    const dx = new Float64Array(x.length);
    rows(y, C, (p, at) => {
      const mean = p.reduce((sum, v, k) => sum + v * dy[at + k], 0);
      p.forEach((v, k) => { dx[at + k] = v * (dy[at + k] - mean); });
    });
    return dx;
  }

  const corners = ({ name, settings }) => (name === "softmax" ? []
    : [...FORMULAS[name][2], ...["max_value", "threshold"].filter((key) => key in settings).map((k) => settings[k])]);

  return { FORMULAS, softmax, forward, backward, corners };
})();

if (typeof module !== "undefined") module.exports = Activations;
