// The chain rule on a path, as in cnn/explain/chain.py: its slopes, their product, and how many paths there are.
// Along a path slopes multiply; over all paths the products add up. No document, no window: Node runs this too.
"use strict";

const Chain = (() => {
  const Way = typeof Path === "undefined" ? require("./path.js") : Path;
  const Bend = typeof Activations === "undefined" ? require("./activations.js") : Activations;

  // What Python calls kind_of: layers with arithmetic of their own; all others are "through".
  function kindOf({ type, out }) {
    if (type === "Dense") return out.length === 1 ? "dense" : "through";
    return { Conv2D: "conv", MaxPooling2D: "pool", Flatten: "flatten" }[type] || "through";
  }

  // pass: {net, P, T, G, tensor}, see terms.js. said: words that Python has too (voice.py).
  const ref = (name, cell) => `${name}[${cell.join(",")}]`;
  function entry({ tensor }, name, cell) {
    const { data, shape } = tensor(name);
    return data[Way.flat(cell, shape)];
  }

  // The factors from the loss back to the weight of layer `first`: {of, by, name, slope, kind: how it is printed}.
  function links(pass, path, first, said) {
    const { layers } = pass.net, last = path.at(-1), slope = entry(pass, "dlogits", last);
    const loss = { of: "loss", by: ref(layers.at(-1).names.y, last), name: ref("dlogits", last), slope,
      kind: "gradient" };
    const back = layers.map((_, k) => k).slice(first).reverse();
    return [loss, ...back.flatMap((k) => layerLinks(pass, path, k, first, said))];
  }

  // A layer's factors: its activation's, then its weight; of the first layer its weight's slope, which is the input.
  function layerLinks(pass, path, k, first, said) {
    const { net, P, T } = pass, l = net.layers[k], { names: n } = l, [before, after] = [path[k], path[k + 1]];
    const x = ref(n.x, before), y = ref(n.y, after), kind = kindOf(l);
    const one = (of, by, name, slope, printed = "count") => ({ of, by, name, slope, kind: printed });
    if (kind === "flatten") return [one(y, x, said.same, 1)];
    if (kind === "pool") {
      const place = [...Way.corner(l, after).map((at, axis) => before[axis] - at), ...after];
      return [one(y, x, ref(n.win, place), entry(pass, n.win, place))];
    }
    const flat = (cell, shape) => Way.flat(cell, shape);
    if (kind === "through")
      return [one(y, x, said.own, net.slope(P, T, k, flat(before, l.in), flat(after, l.out)), "value")];
    const z = ref(n.z ?? n.y, after), found = [];
    if (n.open) found.push(one(y, z, ref(n.open, after), entry(pass, n.open, after)));
    else if (y !== z) found.push(one(y, z, said.bend, bendSlope(l, T, flat(after, l.out)), "value"));
    const weight = ref(n.kernel, Way.weight(l, before, after)), value = entry(pass, n.kernel,
      Way.weight(l, before, after));
    return [...found, k === first ? one(z, weight, x, entry(pass, n.x, before), "input") : one(z, x, weight, value,
      "signed")];
  }

  // An activation's own slope at one place.
  function bendSlope({ names: { z, y }, activation, out }, T, at) {
    const chosen = new Float64Array(T[z].length);
    chosen[at] = 1;
    return Bend.backward(activation, T[z], T[y], chosen, out.at(-1))[at];
  }

  const product = (list) => list.reduce((all, { slope }) => all * slope, 1);

  // ---- how many paths: whole numbers of any size

  // From that weight to the loss; null where a layer is none that this program knows how to count through.
  function count(layers, path, first) {
    const l = layers[first], f = path[first + 1].at(-1), cells = l.out.reduce((a, b) => a * b, 1), F = l.out.at(-1);
    let reached = Array(cells).fill(0n);
    const reads = l.op === "conv" ? reading(l, Way.weight(l, path[first], path[first + 1])) : () => true;
    for (let n = f; n < cells; n += F) if (reads(Math.floor(n / F))) reached[n] = 1n;
    for (const next of layers.slice(first + 1)) {
      reached = onwards(next, reached);
      if (!reached) return null;
    }
    return sum(reached);
  }
  const sum = (list) => list.reduce((all, n) => all + n, 0n);

  // Whether the window at the n-th place has this weight inside the map.
  const reading = (l, [u, v]) => (n) => {
    const { H, W, OW } = l.window, [r, s] = Way.corner(l, [Math.floor(n / OW), n % OW]);
    return r + u >= 0 && r + u < H && s + v >= 0 && s + v < W;
  };

  // How many paths reach each cell of a layer's output, from how many reach those before it.
  function onwards(l, reached) {
    const kind = kindOf(l), [C, F] = [l.in.at(-1), l.out.at(-1)];
    if (Way.windowed(l)) return kind === "pool" ? windows(l, reached, C) : mixed(windows(l, mixedIn(reached, C), 1), F);
    if (l.type === "Dense") return mixed(mixedIn(reached, C), F);
    return kind === "flatten" || l.in.join() === l.out.join() ? reached : null;
  }
  // All channels of a place added up; and the same number for each of F channels.
  const mixedIn = (list, C) => Array.from({ length: list.length / C }, (_, n) => sum(list.slice(n * C, n * C + C)));
  const mixed = (list, F) => list.flatMap((n) => Array(F).fill(n));

  function windows(l, list, C) {
    const { H, W, OH, OW, kh, kw } = l.window, found = Array(OH * OW * C).fill(0n);
    for (let o = 0; o < OH * OW; o++) {
      const [r, s] = Way.corner(l, [Math.floor(o / OW), o % OW]);
      for (let i = Math.max(0, r); i < Math.min(H, r + kh); i++)
        for (let j = Math.max(0, s); j < Math.min(W, s + kw); j++)
          for (let c = 0; c < C; c++) found[o * C + c] += list[(i * W + j) * C + c];
    }
    return found;
  }

  return { links, product, count, kindOf };
})();

if (typeof module !== "undefined") module.exports = Chain;
