// A sentence such as z2[i,j,f] = b2[f] + SUM(u:3, v:3, c:32) p1[i+u-1, j+v-1, c] * W2[u,v,c,f] at one place: its terms.
// Python has taken the sentences apart (cnn/explain/sentences.py says how); no document, no window: Node runs this too.
"use strict";

const Terms = (() => {
  const add = (list) => list.reduce((sum, v) => sum + v, 0);

  // The tensors of a pass by name, {data, shape}, and the switches that follow from them: y is 1 at the target,
  // open3 is 1 where z3 > 0, win1[u,v,i,j,c] is 1 where the cell (u, v) of the window (i, j) won.
  function tensors({ net, P, T, G, target }) {
    const made = {}, switches = { y: () => T.p.map((_, k) => Number(k === target)) };
    for (const { names: n, window: g } of net.layers) {
      if (n.open) switches[n.open] = () => T[n.z].map((v) => Number(v > 0));
      if (n.win) switches[n.win] = () => {
        const winner = T[n.winners], size = winner.length;
        return Uint8Array.from({ length: g.kh * g.kw * size }, (_, k) => winner[k % size] === Math.floor(k / size));
      };
    }
    const data = (name) => (name in switches ? switches[name]() : P[name] || T[name] || G[name]);
    return (name) => made[name] || (made[name] = { data: data(name), shape: net.shapes[name] });
  }

  // Where an index such as [["i",2],["u",1],["",-1]] points when its letters have these values.
  const place = (index, scope) => index.reduce((sum, [letter, k]) => sum + k * (letter ? scope[letter] : 1), 0);

  // An entry as it is multiplied: 0 where it lies outside its tensor.
  function read({ tensor, index }, tensorOf, scope) {
    const { data, shape } = tensorOf(tensor), at = index.map((axis) => place(axis, scope));
    const inside = at.every((i, axis) => i >= 0 && i < shape[axis]);
    const flat = at.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
    return { tensor, at, flat, inside, value: inside ? data[flat] : 0 };
  }

  const entry = (tensor, at, tensorOf) => read({ tensor, index: at.map((n) => [["", n]]) }, tensorOf, {});

  // Calls visit with the letters at every place of the ranges, the last running fastest.
  function walk(ranges, scope, visit) {
    if (!ranges.length) return visit(scope);
    const [[letter, size], ...others] = ranges;
    for (let n = 0; n < size; n++) walk(others, { ...scope, [letter]: n }, visit);
  }

  // {out, start, terms, result} where the letters have the values of `at`; a range that `at` names stays at its value.
  function evaluate(sentence, tensorOf, at) {
    const terms = [], look = (one, scope = at) => one && read(one, tensorOf, scope);
    walk(sentence.ranges.filter(([letter]) => !(letter in at)), at, (scope) => {
      const factors = sentence.factors.map((one) => look(one, scope));
      const inside = factors.every((f) => f.inside), product = factors.reduce((p, f) => p * f.value, sentence.sign);
      terms.push({ scope, factors, inside, product });
    });
    const out = look(sentence.out), start = look(sentence.start), products = terms.map((t) => t.product);
    const total = (start ? start.value : 0) + add(products);
    const largest = () => Math.max(...terms.filter((t) => t.inside).map((t) => t.product));
    const result = sentence.operator === "MAX" ? largest() : sentence.operator === "RELU" ? Math.max(0, total) : total;
    return { sentence, out, start, terms, result };
  }

  // The terms of each value of one letter of a range: by(e, "c") has one {value, terms, sum} for each channel.
  function by({ sentence, terms }, letter) {
    const size = sentence.ranges.find(([name]) => name === letter)[1];
    const groups = Array.from({ length: size }, (_, value) => ({ value, terms: [], sum: 0 }));
    for (const t of terms) {
      const group = groups[t.scope[letter]];
      group.terms.push(t);
      group.sum += t.product;
    }
    return groups;
  }

  // The terms, the largest first.
  const order = ({ terms }) => [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));

  return { tensors, entry, evaluate, by, order, add };
})();

if (typeof module !== "undefined") module.exports = Terms;
