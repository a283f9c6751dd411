// What is on the screen: the photo, the weights, the pass through the network, the cursor, and their address.
"use strict";

const State = (() => {
  const { words } = Show;
  const STEP = Object.fromEntries(words.steps.map((step) => [step.id, step]));
  const ALL = Object.keys(STEP), STEPS = ALL.filter((id) => /\d/.test(id));
  const layerOf = (id) => (/^(F[6-9]|B[4-9])$/.test(id) || (id === "G" && A.S.layer === 2) ? 2 : 1);
  const ofUnits = (id) => /^(F10|F11|B2|B3)$/.test(id);
  const SIDE = { 1: 28, 2: 14 }, FILTERS = { 1: 32, 2: 64 };

  let file; // what the page carries: {data, weights, baseline, photos}
  let memo = {};
  // What the views read: S the state; P parameters, x photo, T forward pass, G gradients, tensor(name) any of these;
  // tried() remembers costly extras.
  const A = { S: null, losses: [], sample: "", edited: false };
  A.tried = (key, compute) => (key in memo ? memo[key] : (memo[key] = compute()));

  // ---- the network on the present photo

  const scaled = (bytes) => Float64Array.from(bytes, (v) => Math.fround(v * Math.fround(file.data.scale)));
  const numbers = () => file.data.photos.map((record) => record.number);
  function photo(number) {
    const n = numbers().indexOf(number);
    return scaled(file.photos.subarray(784 * n, 784 * (n + 1)));
  }
  const indexOfMax = (t) => t.reduce((best, v, n) => (v > t[best] ? n : best), 0);
  const indexOfSize = (t) => t.reduce((best, v, n) => (Math.abs(v) > Math.abs(t[best]) ? n : best), 0);

  // The class whose loss the way back explains: the label, unless the network is so sure that nothing is left to learn.
  function chooseTarget(p, label) {
    const wanted = label === null ? indexOfMax(p) : label;
    if (-Math.log(Math.max(p[wanted], 2.3e-308)) >= file.data.sure) return wanted;
    return indexOfMax(p.map((v, k) => (k === wanted ? -1 : v)));
  }

  function compute() {
    const S = A.S;
    A.label = S.photo === "own" ? null : file.data.photos[numbers().indexOf(S.photo)].label;
    A.x = Engine.arrange(S.photo === "own" ? scaled(S.px) : photo(S.photo), S);
    A.dense = file.baseline && Engine.denseNet(file.baseline, A.x);
    pass();
    A.losses = [A.loss];
  }

  // Forward and backward with the present weights.
  function pass(target = A.S.target) {
    memo = {};
    A.sample = "";
    A.T = Engine.forward(A.P, A.x);
    A.predicted = indexOfMax(A.T.p);
    A.target = target === null ? chooseTarget(A.T.p, A.label) : target;
    A.G = Engine.backward(A.P, A.T, A.target);
    A.loss = Engine.lossOf(A.T.z4, A.target);
    A.tensor = Terms.tensors(A);
  }

  function step(rate) {
    Engine.sgd(A.P, A.G, rate);
    A.edited = true;
    pass(A.target);
    A.losses.push(A.loss);
  }

  function edit(name, index, value) {
    A.P[name][index] = value;
    A.edited = true;
    pass();
    A.losses = [A.loss];
  }

  function reset() {
    A.P = Object.fromEntries(Engine.PARAMS.map((name) => [name, Float64Array.from(file.weights[name])]));
    A.edited = false;
  }

  // ---- the cursor

  // Forward and backward have a cursor each: i, j, f (and t, c2) in layers 1 and 2, unit u, class k.
  const cursor = (id = A.S.step) => (id[0] === "B" || id === "G" ? A.S.B : A.S.F);

  const cell = (c, n) => ({ i: c["i" + n], j: c["j" + n], f: c["f" + n] });
  const pooled = (c) => ({ r: c.i2 >> 1, s: c.j2 >> 1, c: c.f2 });
  const inRow = (c) => ((c.i2 >> 1) * 7 + (c.j2 >> 1)) * 64 + c.f2; // of the 3,136
  // The letters of a step's sentence where the cursor stands, by the kind of step.
  const LETTERS = {
    conv: cell, relu: cell, flatten: pooled, "flatten-back": pooled,
    pool: (c, n) => ({ i: c["i" + n] >> 1, j: c["j" + n] >> 1, f: c["f" + n] }),
    "pool-back": (c, n) => ({ r: c["i" + n], s: c["j" + n], f: c["f" + n] }),
    dense: (c) => ({ u: c.u }), logits: (c) => ({ k: c.k }), dlogits: (c) => ({ k: c.k }),
    "dense-dkernel": (c, n) => (n === 2 ? { n: inRow(c), u: c.u } : { u: c.u, k: c.k }),
    "dense-dx": (c, n) => (n === 2 ? { n: inRow(c) } : { u: c.u }),
    "conv-dkernel": (c, n) => ({ u: Math.floor(c["t" + n] / 3), v: c["t" + n] % 3, c: n === 2 ? c.c2 : 0,
      f: c["f" + n] }),
    "conv-dx": (c) => ({ r: c.i2, s: c.j2, c: c.c2 }),
    "input-gradient": (c) => ({ r: c.i1, s: c.j1, c: 0 }),
  };
  const letters = (id, c) => LETTERS[STEP[id].kind]?.(c, layerOf(id));
  const at = (id, c) => Terms.evaluate(STEP[id].sentence, A.tensor, letters(id, c));

  // Where each tour starts: forward at the strongest activations, backward at the largest gradients.
  function spotlight() {
    const place = (n, W, C) => [Math.floor(n / (W * C)), Math.floor(n / C) % W, n % C];
    const F = { t1: 4, t2: 4, c2: 0 }, B = {};
    [F.i1, F.j1, F.f1] = place(indexOfMax(A.T.a1), 28, 32);
    [F.i2, F.j2, F.f2] = place(indexOfMax(A.T.a2), 14, 64);
    F.c2 = indexOfSize(Terms.by(at("F6", F), "c").map(({ sum }) => sum));
    F.u = indexOfMax(A.T.a3);
    F.k = A.predicted;
    for (const [n, id] of [[1, "B11"], [2, "B8"]]) {
      const [t, c, f] = place(indexOfSize(A.G["dW" + n]), n === 1 ? 1 : 32, FILTERS[n]);
      Object.assign(B, { ["t" + n]: t, ["f" + n]: f }, n === 2 ? { c2: c } : {});
      const { terms } = at(id, B), { scope } = terms[indexOfSize(terms.map(({ product }) => product))];
      Object.assign(B, { ["i" + n]: scope.i, ["j" + n]: scope.j });
    }
    B.u = indexOfSize(A.G.dz3);
    B.k = A.target;
    return { F, B };
  }

  // ---- the address: #photo=9&step=B8&w=0,2,5,27

  // What of the cursor a step shows.
  function shown(id) {
    const S = A.S, c = cursor(id), n = layerOf(id), tap = c["t" + n];
    if (id === "L") return { k: S.k, s: S.s, pad: S.pad, filter: S.preset, toy: Number(S.toy), cell: [S.L.i, S.L.j] };
    if (ofUnits(id)) return { u: c.u, class: c.k };
    if (/^(B8|B11|G)$/.test(id)) {
      const w = [Math.floor(tap / 3), tap % 3, n === 1 ? 0 : c.c2, c["f" + n]];
      return id === "G" ? { w, layer: n } : { w };
    }
    if (/^(F12|B1|S|T)$/.test(id)) return {};
    const place = { cell: [c["i" + n], c["j" + n]], f: c["f" + n], ...(n === 2 ? { c: c.c2 } : {}) };
    return { ...place, ...(/^(F3|F6|B12)$/.test(id) ? { tap } : {}), ...(id === "B4" ? { u: c.u } : {}) };
  }

  function address() {
    const S = A.S, letter = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_");
    const q = { photo: S.photo, ...(S.photo === "own" ? { px: letter(S.px) } : {}), step: S.step, ...shown(S.step),
      ...(S.target === null ? {} : { target: S.target }) };
    for (const key of ["dx", "dy", "mirror", "parts"]) if (S[key]) q[key] = S[key];
    return "#" + Object.entries(q).map(([key, v]) => `${key}=${encodeURIComponent(v).replace(/%2C/g, ",")}`).join("&");
  }

  const whole = (text, low, high, otherwise) =>
    (/^-?\d+$/.test(text ?? "") ? Math.min(high, Math.max(low, Number(text))) : otherwise);
  const among = (list, value, otherwise) => (list.includes(value) ? value : otherwise);

  function readPhoto(q) {
    const px = q.get("px") || "";
    if (q.get("photo") !== "own") return { photo: among(numbers(), Number(q.get("photo")), A.S.photo) };
    const letters = px.replace(/-/g, "+").replace(/_/g, "/");
    const bytes = /^[\w+/]{1046}==$/.test(letters) ? Proof.bytes(letters) : new Uint8Array();
    return bytes.length === 784 ? { photo: "own", px: bytes } : {};
  }

  // Takes an address over into the state; what it does not name, or names wrongly, stays as it was. False: not ours.
  function read(hash) {
    const plain = hash.slice(1).replace(/^step-/, "");
    const q = new URLSearchParams(ALL.includes(plain) ? `step=${plain}` : plain);
    if (!q.has("step") && !q.has("photo")) return false;
    const S = A.S, id = among(ALL, q.get("step"), S.step), list = (key) => (q.get(key) || "").split(",");
    Object.assign(S, readPhoto(q), { step: id, dx: whole(q.get("dx"), -6, 6, 0), dy: whole(q.get("dy"), -6, 6, 0),
      mirror: whole(q.get("mirror"), 0, 1, 0), parts: among(["halves", "quadrants"], q.get("parts"), ""),
      target: whole(q.get("target"), 0, 9, null), layer: whole(q.get("layer"), 1, 2, S.layer) });
    if (id === "L") readLab(q, list("cell")); else readCursor(q, id, list("w"), list("cell"));
    return true;
  }

  function readLab(q, [i, j]) {
    const S = A.S, { sizes, strides, paddings, presets } = words.lab;
    Object.assign(S, { k: among(sizes, Number(q.get("k")), S.k), s: among(strides, Number(q.get("s")), S.s),
      pad: among(paddings, q.get("pad"), S.pad), toy: q.get("toy") === "1",
      preset: among([...Object.keys(presets), "learned"], q.get("filter"), S.preset),
      L: { i: whole(i, 0, 27, S.L.i), j: whole(j, 0, 27, S.L.j) } });
  }

  function readCursor(q, id, w, [i, j]) {
    const c = cursor(id), n = layerOf(id), tap = whole(q.get("tap"), 0, 8, c["t" + n]);
    Object.assign(c, { u: whole(q.get("u"), 0, 127, c.u), k: whole(q.get("class"), 0, 9, c.k),
      c2: whole(q.get("c") ?? (n === 2 ? w[2] : null), 0, 31, c.c2),
      ["i" + n]: whole(i, 0, SIDE[n] - 1, c["i" + n]), ["j" + n]: whole(j, 0, SIDE[n] - 1, c["j" + n]),
      ["f" + n]: whole(q.get("f") ?? w[3], 0, FILTERS[n] - 1, c["f" + n]),
      ["t" + n]: w.length === 4 ? whole(w[0], 0, 2, 1) * 3 + whole(w[1], 0, 2, 1) : tap });
  }

  function carry(carried) {
    file = carried;
    const { classes, articled, scale } = file.data; // articled: "a Sandal", "an Ankle boot"
    Object.assign(A, { classes, articled, scale });
  }

  function start() {
    const { full } = file.data;
    A.S = { photo: full.photo.number, px: new Uint8Array(784), step: "F3",
      target: full.why === "chosen" ? full.target : null,
      dx: 0, dy: 0, mirror: 0, parts: "", k: 3, s: 2, pad: "same", preset: "outline", toy: false, layer: 2, lr: 0.01,
      pace: 0.6, L: { i: 7, j: 7 }, F: {}, B: {} };
    reset();
    compute();
    Object.assign(A.S, spotlight());
    if (read(location.hash)) compute();
  }

  return { A, STEP, STEPS, ALL, SIDE, FILTERS, layerOf, ofUnits, letters, photo, numbers, compute, step, edit, reset,
    spotlight, cursor, address, read, carry, start };
})();
