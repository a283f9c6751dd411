// What is on the screen: the photo, the weights, the pass through the network, the path of cells, and their address.
"use strict";

const State = (() => {
  const { words } = Show;
  const STEP = Object.fromEntries(words.steps.map((step) => [step.id, step]));
  const ALL = Object.keys(STEP), STEPS = ALL.filter((id) => /\d|^C$/.test(id));
  const wayOf = (id) => (/^[RC]/.test(id) ? "B" : id[0]); // F or B for a step of the tour, R and C lie on the way back
  const MAX_SHIFT = 6;

  let file; // what the page carries of the present moment: {data, weights, full, baseline, photos}
  let memo = {};
  // What the views read: S the state; net; P parameters, x photo, T forward pass, G gradients, tensor(name) any of
  // these; tried() remembers costly extras.
  const A = { S: null, losses: [], sample: "", edited: false };
  A.tried = (key, compute) => (key in memo ? memo[key] : (memo[key] = compute()));
  const layers = () => A.net.layers;

  // ---- the network on the present photo

  const scaled = (bytes) => Float64Array.from(bytes, (v) => Math.fround(v * Math.fround(file.data.scale)));
  const numbers = () => file.data.photos.map((record) => record.number);
  const record = (number) => file.data.photos[numbers().indexOf(number)];
  function bytes(number) {
    const n = numbers().indexOf(number), size = Engine.size(A.shape);
    return file.photos.subarray(size * n, size * (n + 1));
  }
  const photo = (number) => scaled(bytes(number));
  const indexOfMax = (t) => t.reduce((best, v, n) => (v > t[best] ? n : best), 0);

  // The class whose loss the way back explains: the label, unless the network is so sure that nothing is left to learn.
  function chooseTarget(p, label) {
    const wanted = label === null ? indexOfMax(p) : label;
    if (-Math.log(Math.max(p[wanted], 2.3e-308)) >= file.data.sure || p.length === 1) return wanted;
    return indexOfMax(p.map((v, k) => (k === wanted ? -1 : v)));
  }

  function* computing() {
    const S = A.S;
    A.label = S.photo === "own" ? null : record(S.photo).label;
    A.x = Engine.arrange(S.photo === "own" ? scaled(S.px) : photo(S.photo), A.shape, S);
    A.dense = file.baseline && (yield* A.baseline.forwarding(file.baseline, A.x));
    yield* passing();
    A.losses = [A.loss];
  }
  const compute = () => Engine.finish(computing());

  // Forward and backward with the present weights; in pieces.
  function* passing(target = A.S.target) {
    memo = {};
    A.sample = "";
    A.T = yield* A.net.forwarding(A.P, A.x);
    A.predicted = indexOfMax(A.T.p);
    A.target = target === null ? chooseTarget(A.T.p, A.label) : target;
    A.G = yield* A.net.backing(A.P, A.T, A.target);
    A.loss = A.net.loss(A.T, A.target);
    A.tensor = Terms.tensors(A);
  }
  const pass = (target) => Engine.finish(passing(target));

  function step(rate) {
    A.net.sgd(A.P, A.G, rate);
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
    A.P = Object.fromEntries(Object.entries(file.weights).map(([name, w]) => [name, Float64Array.from(w)]));
    A.edited = false;
  }

  // ---- the path, and which of its cells a step is about

  const shapeAt = (k) => (k ? layers()[k - 1].out : layers()[0].in);
  const clamped = (k) => Math.max(0, Math.min(layers().length - 1, k));
  // The layer of a step; of those before the first and behind the last, the nearest. G has one of its own choice.
  const stageOf = (id) => (id === "G" ? A.S.layer : clamped(STEP[id].stage));
  const layerOf = (id) => layers()[stageOf(id)];
  const kernels = () => [...layers().keys()].filter((k) => layers()[k].names.kernel);

  // The place in the path that a step moves: what the layer puts out, or on the way back what it took.
  function focusOf(id) {
    const { kind, stage } = STEP[id];
    if (["input", "padding", "input-gradient"].includes(kind)) return 0;
    return /(dx|-back)$/.test(kind) && kind !== "relu-back" ? stage : clamped(stage) + 1;
  }

  // The weight on the path: [u, v, c, f] of a convolution, [n, u] of a dense layer.
  function weightOf(k) {
    return Path.weight(layers()[k], A.S.path[k], A.S.path[k + 1]);
  }
  const kernelShape = (k) => A.net.shapes[layers()[k].names.kernel];

  // The letters of a step's sentence where the path goes.
  function letters(id) {
    const { kind, sentence } = STEP[id], k = stageOf(id), { path } = A.S;
    const at = /dkernel$/.test(kind) ? weightOf(k) : kind === "flatten" ? path[k] : path[focusOf(id)];
    return Object.fromEntries(sentence.places.map(([letter], n) => [letter, at[n]]));
  }

  // Moves one cell; all others follow, and so do the weights that join them.
  function move(k, cell) {
    const S = A.S;
    S.path = Path.moved(layers(), S.path, k, cell);
    joinTaps();
  }

  function joinTaps() {
    const { path, taps } = A.S;
    layers().forEach((l, n) => { if (l.op === "conv") taps[n] = Path.weight(l, path[n], path[n + 1]).slice(0, 2); });
  }

  // Where the tour starts: at the cells that the library chose for this photo, as it does in the terminal; with a photo
  // of one's own at those of the first.
  function spotlight() {
    const S = A.S, { start } = S.photo === "own" ? file.data.photos[0] : record(S.photo);
    S.path = start.map((cell) => [...cell]);
    S.taps = [];
    joinTaps();
    const convs = kernels().slice(0, -1).filter((k) => layers()[k].op === "conv");
    S.layer = convs.at(-1) ?? kernels()[0] ?? 0;
  }

  // To the largest number of those that the step is about, as they are on the way forward.
  function largest() {
    const k = focusOf(A.S.step);
    move(k, Path.cellAt(indexOfMax(k ? A.T[layers()[k - 1].names.y] : A.x), shapeAt(k)));
  }

  // ---- the address: #photo=9&step=B8&w=0,2,5,27

  // What of the path a step shows.
  function shown(id) {
    const S = A.S, { kind } = STEP[id], k = stageOf(id), l = layers()[k], at = S.path[focusOf(id)];
    if (id === "L") return { k: S.k, s: S.s, pad: S.pad, filter: S.preset, toy: Number(S.toy), cell: [S.L.i, S.L.j] };
    if (/dkernel$/.test(kind)) return { w: weightOf(k) };
    if (id === "G") return { w: weightOf(k), layer: k };
    if (["softmax", "dlogits", "shift", "train"].includes(kind)) return {};
    const tap = (n) => S.taps[n][0] * layers()[n].window.kw + S.taps[n][1];
    if (["input-gradient", "chain"].includes(kind)) return { cells: S.path.map((cell) => cell.join(".")) };
    return { at, ...(kind === "conv" ? { c: S.path[k].at(-1), tap: tap(k) } : {}),
      ...(["dense", "logits", "through"].includes(kind) && l.in.length === 1 ? { from: S.path[k] } : {}) };
  }

  function address() {
    const S = A.S, letter = (px) => btoa(String.fromCharCode(...px)).replace(/\+/g, "-").replace(/\//g, "_");
    const q = { photo: S.photo, ...(S.photo === "own" ? { px: letter(S.px) } : {}),
      ...(A.moment ? { moment: A.moment } : {}), step: S.step, ...shown(S.step),
      ...(S.target === null ? {} : { target: S.target }) };
    for (const key of ["dx", "dy", "mirror", "parts", "present"]) if (S[key]) q[key] = S[key];
    if (S.quiz !== null) q.quiz = S.quiz;
    return "#" + Object.entries(q).map(([key, v]) => `${key}=${encodeURIComponent(v).replace(/%2C/g, ",")}`).join("&");
  }

  const whole = (text, low, high, otherwise) =>
    (/^-?\d+$/.test(text ?? "") ? Math.min(high, Math.max(low, Number(text))) : otherwise);
  const among = (list, value, otherwise) => (list.includes(value) ? value : otherwise);
  // As many whole numbers as a shape has axes, each within it; else undefined.
  function place(text, shape) {
    const list = (text || "").split(",");
    return list.length === shape.length && list.every((one) => /^\d+$/.test(one))
      ? list.map((one, axis) => Math.min(Number(one), shape[axis] - 1)) : undefined;
  }

  function readPhoto(q) {
    const px = q.get("px") || "";
    if (q.get("photo") !== "own") return { photo: among(numbers(), whole(q.get("photo"), 0, 1e9), A.S.photo) };
    const letters = px.replace(/-/g, "+").replace(/_/g, "/");
    const found = /^[\w+/]{1046}==$/.test(letters) ? Proof.bytes(letters) : new Uint8Array();
    return found.length === Engine.size(A.shape) ? { photo: "own", px: found } : {};
  }

  // Takes an address over into the state; what it does not name, or names wrongly, stays as it was. False: not ours.
  function read(hash) {
    const plain = hash.slice(1).replace(/^step-/, "");
    const q = new URLSearchParams(ALL.includes(plain) ? `step=${plain}` : plain);
    if (!q.has("step") && !q.has("photo")) return false;
    const S = A.S, id = among(ALL, q.get("step"), S.step), most = MAX_SHIFT;
    Object.assign(S, readPhoto(q), { step: id, dx: whole(q.get("dx"), -most, most, 0),
      dy: whole(q.get("dy"), -most, most, 0), mirror: whole(q.get("mirror"), 0, 1, 0),
      parts: among(["halves", "quadrants"], q.get("parts"), ""),
      target: whole(q.get("target"), 0, A.classes.length - 1, null),
      layer: among(kernels(), whole(q.get("layer"), 0, 1e6), S.layer) });
    if (q.has("photo")) Object.assign(S, { quiz: whole(q.get("quiz"), 0, 1e9, null),
      present: whole(q.get("present"), 0, 1, 0), revealed: 0 }); // a plain link to a step leaves them as they are
    if (id === "L") readLab(q, (q.get("cell") || "").split(",")); else readPath(q, id);
    return true;
  }

  function readLab(q, [i, j]) {
    const S = A.S, { sizes, strides, paddings, presets } = words.lab;
    Object.assign(S, { k: among(sizes, Number(q.get("k")), S.k), s: among(strides, Number(q.get("s")), S.s),
      pad: among(paddings, q.get("pad"), S.pad), toy: q.get("toy") === "1",
      preset: among([...Object.keys(presets), "learned"], q.get("filter"), S.preset),
      L: { i: whole(i, 0, A.shape[0] - 1, S.L.i), j: whole(j, 0, A.shape[1] - 1, S.L.j) } });
  }

  // The whole path: cells=13.8.0,13.8.21,6.4.21 and so on, one for each place; undefined where they do not join.
  function readCells(text) {
    const found = (text || "").split(",").map((one, k) => (k > layers().length ? undefined
      : place(one.replace(/\./g, ","), shapeAt(k))));
    return found.length === layers().length + 1 && found.every(Boolean) && Path.joined(layers(), found)
      ? found : undefined;
  }

  function readPath(q, id) {
    A.S.path = readCells(q.get("cells")) || A.S.path;
    joinTaps();
    const { kind } = STEP[id], focus = focusOf(id), at = place(q.get("at"), shapeAt(focus));
    const k = kind === "input-gradient" ? kernels()[0] : stageOf(id), l = layers()[k];
    const from = l && place(q.get("from"), l.in), tap = l?.op === "conv" ? whole(q.get("tap"), 0, 1e6) : undefined;
    const w = l?.names.kernel && place(q.get("w"), kernelShape(k)), c = whole(q.get("c"), 0, (l?.in.at(-1) ?? 1) - 1);
    if (at) move(focus, at);
    if (from || c !== undefined) moveBack(k, from || [...A.S.path[k].slice(0, -1), c]);
    if (w) setWeight(k, w);
    if (tap !== undefined) setTap(k, tap);
  }

  // Another input of the path's cell in layer k: what lies behind that layer stays.
  function moveBack(k, cell) {
    A.S.path = Path.led(layers(), A.S.path, k, cell, true, false);
    joinTaps();
  }

  function setWeight(k, w) {
    A.S.path = Path.throughWeight(layers(), A.S.path, k, w);
    joinTaps();
  }

  function setTap(k, n) {
    const { kh, kw } = layers()[k].window, tap = Math.min(n, kh * kw - 1);
    setWeight(k, [Math.floor(tap / kw), tap % kw, ...weightOf(k).slice(2)]);
  }

  function carry(carried) {
    file = carried;
    const { classes, articled, scale, shape, net, baseline } = file.data; // articled: "a Sandal", "an Ankle boot"
    A.net = A.net || new Engine.Network(net);
    A.baseline = A.baseline || (baseline && new Engine.Network(baseline));
    Object.assign(A, { classes, articled, scale, shape, moment: file.data.name, about: file.data.about });
  }

  // The network at another moment: its weights as they were loaded, on the same photo.
  function turn() {
    reset();
    compute();
  }

  function* starting() {
    const { full } = file.data, first = words.steps.find(({ kind }) => ["conv", "dense", "logits"].includes(kind));
    A.S = { photo: full.photo.number ?? 0, px: new Uint8Array(Engine.size(A.shape)), step: first?.id ?? "F1",
      target: full.why === "chosen" ? full.target : null, dx: 0, dy: 0, mirror: 0, parts: "", k: 3, s: 2, pad: "same",
      preset: "outline", toy: false, layer: 0, lr: 0.01, pace: 0.6, L: { i: 7, j: 7 }, path: [], taps: [],
      quiz: null, present: 0, revealed: 0 }; // quiz: its seed; revealed: the present step, to an audience
    reset();
    yield* computing();
    spotlight();
    if (read(location.hash)) yield* computing();
  }

  // "photo 9 = test[8]", the name of a file, or the drawing.
  const titleOf = (number) => (number === "own" ? "your own drawing" : number ? `photo ${number} = test[${number - 1}]`
    : file.data.full.photo.source || "the photo");

  return { A, STEP, STEPS, ALL, MAX_SHIFT, wayOf, shapeAt, stageOf, layerOf, kernels, kernelShape, focusOf, weightOf,
    letters, photo, bytes, record, numbers, titleOf, compute, step, edit, reset, move, moveBack, setWeight, setTap,
    spotlight, largest, address, read, carry, turn, starting };
})();
