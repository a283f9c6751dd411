// Drawing, pointing, playing and the keys.
"use strict";

const App = (() => {
  const { $, settings, words, maps, paint, mosaic, size, put } = Show;
  const { A, STEP, STEPS, ALL, MAX_SHIFT, wayOf, stageOf, layerOf, focusOf, shapeAt } = State;
  const LABS = ALL.filter((id) => !STEPS.includes(id));
  // Where PageUp and PageDown stop: the first step of each layer, each way, beside padding.
  const LAYERS = STEPS.filter((id, n) => STEP[id].kind !== "padding" && !STEPS.slice(0, n)
    .some((other) => wayOf(other) === wayOf(id) && STEP[other].stage === STEP[id].stage
      && STEP[other].kind !== "padding"));
  const box = (step) => $("live-" + step);
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- drawing

  const views = {}, visible = new Set(), stale = new Set(), last = {
    F: STEPS.find((id) => ["conv", "dense", "logits"].includes(STEP[id].kind)) || "F1",
    B: STEPS.find((id) => STEP[id].kind === "conv-dkernel") || STEPS.find((id) => /dkernel$/.test(STEP[id].kind))
      || "B1" };
  const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    const step = target.id.slice(5);
    if (!isIntersecting) return void visible.delete(step);
    visible.add(step);
    if (stale.has(step)) drawStep(step);
  }), { rootMargin: "200px" });

  function drawStep(step) {
    if (document.documentElement.matches(".failed")) return;
    const target = box(step), focused = document.activeElement && document.activeElement.id;
    const open = [...target.querySelectorAll("details[open]")].map((d) => d.dataset.table);
    for (const id of maps.keys()) if (id.startsWith(step + "-")) maps.delete(id);
    settings.prefix = step + "-";
    views[step] = { micro: [], ...(step in Labs.views ? Ask.lab(step) : Ask.view(step)) };
    put(target, views[step].html);
    target.querySelectorAll("canvas").forEach((canvas) => paint(canvas.id));
    target.querySelectorAll("details").forEach((d) => { d.open = open.includes(d.dataset.table); });
    target.querySelectorAll("table.grid").forEach((t) => {
      (t.querySelector("td.chosen") || t.querySelector("tbody td")).tabIndex = 0;
    });
    Show.reachable(target);
    if (focused && $(focused) && document.activeElement !== $(focused)) $(focused).focus({ preventScroll: true });
    stale.delete(step);
  }

  let drawn = null; // the gradients that the pictures of the whole network show

  // Two stages show one step each, the five labs are always there; what is out of sight is drawn when it comes into
  // sight. In pieces.
  function* drawing() {
    if (document.documentElement.matches(".failed")) return; // no computed number is shown then
    const { step } = A.S;
    if (wayOf(step) in last) last[wayOf(step)] = step;
    for (const id of STEPS) $("step-" + id).hidden = id !== last[wayOf(id)];
    for (const id of [last.F, last.B, ...LABS]) {
      stale.add(id);
      if (id === step || visible.has(id) || (wayOf(id) in last && !views[id])) {
        drawStep(id);
        yield;
      }
    }
    for (const link of document.querySelectorAll("[data-step]"))
      if (link.dataset.step === step) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    for (const way of "FB") if (views[last[way]]) $("now-" + way).textContent = `${last[way]}: ${views[last[way]].say}`;
    if (drawn !== A.G) { // a moved cursor changes none of these
      drawn = A.G;
      drawVerdict();
      yield* drawingNetwork();
    }
    setMicro(null);
    for (const after of App.afterDraw) after();
  }
  const draw = () => Engine.finish(drawing());

  function redraw() { drawn = null; draw(); }

  function drawVerdict() {
    const S = A.S, { label, target, predicted } = A, name = A.classes;
    const changes = [S.mirror && "mirrored", S.parts && `${S.parts} swapped`,
      (S.dx || S.dy) && `moved ${S.dx} right, ${S.dy} down`, A.edited && "weights changed"].filter(Boolean).join(", ");
    const known = label === null ? "" : `, label ${name[label]}: ${predicted === label ? "correct" : "WRONG"}`;
    const who = A.moment ? `${A.moment} network` : "model";
    $("verdict").textContent = `${State.titleOf(S.photo)}${changes && ` (${changes})`}: ${who} says `
      + `${name[predicted]} ${Show.number(A.T.p[predicted], "probability")}${known}`;
    const sure = label !== null && target !== label && S.target === null
      ? ` The network is so sure of ${name[label]} that its own `
      + `slopes are almost 0. So the tour asks: what would change if this were ${A.articled[target]}?` : "";
    $("target-note").textContent = `The loss here is that of ${name[target]}, p = ${size(A.T.p[target])}.${sure}`;
    const bytes = A.x.map((v) => Math.round(v / A.scale));
    Show.photo($("thumb"), bytes, A.shape);
    Show.numbers($("poster"), bytes, A.shape);
    for (const b of document.querySelectorAll("[data-photo]"))
      b.setAttribute("aria-pressed", String(Number(b.dataset.photo) === S.photo));
  }

  // What flows through the network: canvas net-3 shows what layer 2 puts out, net-d3 its slopes.
  function* drawingNetwork() {
    for (const canvas of document.querySelectorAll("canvas[data-net]")) {
      const k = Number(canvas.dataset.net), n = A.net.layers.length, { names } = A.net.layers[Math.max(0, k - 1)];
      const [ahead, back] = k === 0 ? ["x", "dx"] : k === n ? ["p", "dlogits"] : [names.y, names.dy];
      const shape = shapeAt(k), [H, W, C] = shape.length === 3 ? shape : [1, 1, Engine.size(shape)];
      const slopes = canvas.id.startsWith("net-d");
      mosaic(canvas, A.tensor(slopes ? back : ahead).data, H, W, C, Math.ceil(Math.sqrt(C)), slopes);
      yield;
    }
  }

  // ---- pointing, and the small steps

  // Lights up tap t wherever the step shows it, in tables and in maps.
  function light(step, t, more = {}) {
    for (const e of document.querySelectorAll(".lit")) e.classList.remove("lit");
    for (const e of box(step).querySelectorAll(`[data-tap="${t}"]`)) e.classList.add("lit");
    for (const [id, m] of maps)
      if (id.startsWith(step + "-")) paint(id, more[id] || (m.taps && m.taps[t] ? [m.taps[t]] : []));
  }

  // The pointer on a cell of a map: a tap of the window lights up its weight; an output cell shows the window it reads;
  // an input cell shows the output cells it feeds. And the number under the pointer is said.
  function pointAt(step, id, i, j) {
    const m = maps.get(id), tap = m.taps
      ? m.taps.findIndex(([a, b, h = 1, w = 1]) => i >= a && j >= b && i < a + h && j < b + w) : -1;
    sayCell(step, m, i, j, tap);
    if (tap >= 0) return light(step, tap);
    light(step, "none", { [id]: [[i, j]], ...(m.other ? { [m.other[0]]: [m.other[1](i, j)] } : {}) });
  }

  // The number at the place of the pointer; of a cell under the window its product too.
  function sayCell(step, m, i, j, tap) {
    const line = $("now-" + wayOf(step)), micro_ = views[step]?.micro.find((one) => one.tap === tap);
    if (!line || i < 0 || j < 0 || i >= m.H || j >= m.W) return;
    const name = m.caption.split(",")[0], v = Show.form(m)(Show.value(m, i, j));
    line.textContent = `${name} at row ${i}, column ${j}: ${v}${micro_ ? ` (${micro_.say})` : ""}`;
  }

  let micro = null, timer = null, pending = null, spoken = 0;
  function setMicro(n) {
    const { step } = A.S, { micro: list, say: sentence } = views[step], end = list.length - 1;
    const slider = $("scrub-" + wayOf(step));
    micro = n === null || end < 0 ? null : Math.max(0, Math.min(end, n));
    if (slider) Object.assign(slider, { max: end + 1, value: micro === null ? 0 : micro + 1, disabled: end < 0 });
    light(step, micro === null ? "none" : list[micro].tap);
    say(micro === null ? `${step}: ${sentence}` : list[micro].say);
  }

  // The newest sentence on the screen; to a screen reader at most one a second.
  function say(text) {
    const line = $("now-" + wayOf(A.S.step));
    if (line) line.textContent = text;
    clearTimeout(pending);
    pending = setTimeout(() => { $("speech").textContent = text; spoken = Date.now(); },
      Math.max(0, 1000 - (Date.now() - spoken)));
  }

  // With reduced motion nothing moves by itself: play then takes one small step.
  function play() {
    const end = views[A.S.step].micro.length - 1;
    const next = () => setMicro(micro === null || micro === end ? 0 : micro + 1);
    if (calm()) return next();
    if (timer || end < 0) stop();
    else {
      next();
      timer = setInterval(() => (micro === end ? stop() : next()), 1000 * A.S.pace);
    }
    for (const b of document.querySelectorAll('[data-key="a"]')) b.setAttribute("aria-pressed", String(!!timer));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
  }

  // The window slides over its map, and what it makes fills the other; once more, or at the end, all is as it was.
  let sliding = null;
  function slideWindow() {
    const { step } = A.S, l = layerOf(step), g = l.window, mine = (id) => id.startsWith(step + "-");
    const [to] = [...maps].find(([id, m]) => mine(id) && m.fills) || [], from = `${step}-m-${l.names.x}`;
    const stopped = endSlide();
    if (!to) return say("no window slides in this step");
    if (stopped || calm()) return;
    const cells = g.OH * g.OW, by = Math.ceil(cells / 200); // in about six seconds
    let n = -1;
    sliding = setInterval(() => {
      n += by;
      if (n >= cells || A.S.step !== step || !maps.get(to)) return void endSlide();
      const i = Math.floor(n / g.OW), j = n % g.OW;
      Object.assign(maps.get(from), { box: Parts.boxOf(g, i, j), sel: undefined });
      Object.assign(maps.get(to), { upTo: n, sel: [i, j] });
      [from, to].forEach((id) => paint(id));
    }, 30);
  }

  function endSlide() {
    if (!sliding) return false;
    clearInterval(sliding);
    sliding = null;
    drawStep(A.S.step);
    return true;
  }

  function pace(seconds) {
    A.S.pace = Math.min(4, Math.max(0.1, seconds));
    for (const range of document.querySelectorAll("[data-pace]")) range.value = A.S.pace;
    if (timer) {
      play();
      play();
    }
    say(`one small step in ${A.S.pace.toFixed(1)} seconds`);
  }

  // ---- changing the state

  const COMPUTED = ["photo", "px", "dx", "dy", "mirror", "parts", "target"];

  // change: new values of the state, or of the path: path: [place, cell]; back: the same, but what lies behind stays;
  // weight: [layer, place in its kernel]; tap: [layer, n]. push: Back returns to before. show: bring it into sight.
  function set(change, { push = false, show = false } = {}) {
    if ("moment" in change) return void Moments.choose(change.moment);
    const S = A.S, before = S.step, stepChanged = "step" in change && change.step !== before;
    if (timer) play();
    const moves = { path: State.move, back: State.moveBack, weight: State.setWeight, tap: State.setTap };
    for (const [key, v] of Object.entries(change))
      if (moves[key]) moves[key](...v);
      else S[key] = v;
    if (COMPUTED.some((key) => key in change)) State.compute();
    draw();
    const url = State.address();
    if (url !== location.hash) history[push || stepChanged ? "pushState" : "replaceState"](null, "", url);
    if (show) reveal();
  }

  // All that waits to come into sight is drawn now: what is filled later would move what one jumps to.
  function settle() {
    for (const id of [...stale]) if (!$("step-" + id).hidden) drawStep(id);
  }

  function reveal(behavior = calm() ? "instant" : "smooth") {
    settle();
    const article = $("step-" + A.S.step);
    (article.closest("div.lab") || article).scrollIntoView({ block: "start", behavior });
    article.querySelector("h3, h2").focus({ preventScroll: true });
  }
  const go = (step, more = {}) => set({ step, ...more }, { push: true, show: true });

  // Some steps of gradient descent, a few at a time so that the page stays awake.
  function descend(steps) {
    const P = A.P;
    (function some(left) {
      if (A.P !== P) return;
      for (const end = performance.now() + 60; left > 0 && performance.now() < end; left--) State.step(A.S.lr);
      say(`${steps - left} of ${Show.counted(steps, "step")} of gradient descent: loss ${size(A.loss)}`);
      if (left) return void setTimeout(some, 0, left);
      A.S.target = A.target;
      draw();
      say(`loss ${size(A.loss)} after ${Show.counted(A.losses.length - 1, "step")}`);
    })(steps);
  }

  function undo() {
    State.reset();
    A.S.target = null;
    State.compute();
    set({});
    say("back to the loaded weights");
  }

  function sample() {
    if (A.S.step !== "G") go("G");
    Labs.sample(A, (shown, done) => {
      A.sample = shown;
      if ($("sample")) put($("sample"), shown);
      if (done && shown.text) say("the gradient check of the sample is finished");
    });
  }

  function copyLink() {
    const url = location.href.replace(/#.*/, "") + State.address();
    const done = () => say("the address of this step is copied");
    const byHand = () => {
      const area = Object.assign(document.createElement("textarea"), { value: url });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    };
    Promise.resolve(navigator.clipboard?.writeText(url) ?? byHand()).catch(byHand).then(done);
  }

  // ---- the keys: the same letters as in the terminal

  const nextStep = (by) => STEPS[Math.max(0, Math.min(STEPS.length - 1, STEPS.indexOf(A.S.step) + by))];
  const place = (step) => (STEPS.includes(step) ? STEPS.indexOf(step) : 0);
  const clamp = (v, n) => Math.max(0, Math.min(n - 1, v));

  // Arrows: the cell of a map; of a row left and right; where a step is about a weight, the weight in its window.
  function move(di, dj) {
    const S = A.S, { kind } = STEP[S.step], k = stageOf(S.step), l = layerOf(S.step);
    if (S.step === "L") {
      const { g, i, j } = Labs.lab(A);
      return set({ L: { i: clamp(i + di, g.OH), j: clamp(j + dj, g.OW) } });
    }
    if (l.op === "conv" && (kind === "conv-dkernel" || kind === "check")) {
      const { kh, kw } = l.window, [u, v] = S.taps[k];
      return set({ tap: [k, clamp(u + di, kh) * kw + clamp(v + dj, kw)] });
    }
    const at = kind === "im2col" ? k + 1 : focusOf(S.step), cell = [...S.path[at]], shape = shapeAt(at);
    const by = shape.length === 3 ? [di, dj] : shape.map((_, axis) => (axis === shape.length - 1 ? dj + di : 0));
    set({ path: [at, cell.map((v, axis) => clamp(v + (by[axis] || 0), shape[axis]))] });
  }

  // [ ] turn through what comes out of a layer: filters, units, classes; { } through what goes in: channels, inputs;
  // where only one goes in, through the weights of the window.
  function turn(channel, by) {
    const S = A.S, k = stageOf(S.step), l = layerOf(S.step), at = channel ? k : k + 1, shape = shapeAt(at);
    if (channel && l.op === "conv" && shape[2] === 1) {
      const { kh, kw } = l.window, [u, v] = S.taps[k];
      return set({ tap: [k, (u * kw + v + by + kh * kw) % (kh * kw)] });
    }
    const cell = [...S.path[at]], most = shape.at(-1);
    cell.push((cell.pop() + by + most) % most);
    set({ [channel ? "back" : "path"]: [at, cell] });
  }

  function moreDigits() {
    const { least, most } = words.numbers;
    settings.digits = settings.digits === most ? least : settings.digits + 1;
    draw();
    say(`${settings.digits} digits`);
  }

  const arrow = (di, dj) => (e) => move(di * (e.shiftKey ? 5 : 1), dj * (e.shiftKey ? 5 : 1));
  const slide = (by) => set({ dx: clamp(A.S.dx + MAX_SHIFT + by, 2 * MAX_SHIFT + 1) - MAX_SHIFT }, { push: true });
  const goIfThere = (step) => (ALL.includes(step) ? go(step) : say("this network has no such step"));
  const twin = (way) => wayOf(A.S.step) === way && go(STEP[A.S.step].twin);

  const KEYS = {
    n: () => go(nextStep(1)), p: () => go(nextStep(-1)),
    " ": () => setMicro(micro === null ? 0 : micro + 1), Backspace: () => setMicro(micro ? micro - 1 : null),
    ArrowUp: arrow(-1, 0), ArrowDown: arrow(1, 0), ArrowLeft: arrow(0, -1), ArrowRight: arrow(0, 1),
    "[": () => turn(false, -1), "]": () => turn(false, 1),
    "{": () => turn(true, -1), "}": () => turn(true, 1),
    PageUp: () => go(LAYERS.filter((s) => place(s) < place(A.S.step)).at(-1) || STEPS[0]),
    PageDown: () => go(LAYERS.find((s) => place(s) > place(A.S.step)) || STEPS.at(-1)),
    f: () => twin("B"), b: () => twin("F"),
    i: () => { $("number").focus(); $("number").select(); },
    m: () => set({ mirror: 1 - A.S.mirror }, { push: true }),
    "<": () => slide(-1), ">": () => slide(1),
    g: () => go("G", State.kernels().includes(stageOf(A.S.step)) ? { layer: stageOf(A.S.step) } : {}), G: sample,
    t: () => descend(1), T: () => descend(100), u: undo,
    x: () => goIfThere("M"), l: () => go("L"), s: () => goIfThere("S"),
    c: () => { for (const code of $("step-" + A.S.step).querySelectorAll("details.code")) code.open = !code.open; },
    d: moreDigits,
    a: play, w: slideWindow, "+": () => pace(A.S.pace / 1.5), "-": () => pace(A.S.pace * 1.5),
    j: () => { State.largest(); set({}); },
    M: () => (A.moment ? set({ moment: Moments.next() }) : say("this network is known at one moment only")),
    y: copyLink,
    "?": () => $("help").showModal(),
  };

  // Keys act everywhere but where one types; Space on a button presses the button. Those that scroll a page (arrows,
  // Space, PageDown) do so until the focus is in a step or a lab.
  const SCROLLING = /^(Arrow.*|Page.*| |Backspace)$/;
  function onKey(e) {
    const home = e.target.closest(".lab"), press = e.key === " " && e.target.closest("button, summary, a");
    const cell = e.target.closest("table.grid td");
    const typing = e.target.closest("input:not([type=radio]), select, textarea, dialog, #paper");
    if (!App.keysOn || press || typing || e.ctrlKey || e.altKey || e.metaKey || !KEYS[e.key]) return;
    if (!home && SCROLLING.test(e.key)) return;
    e.preventDefault();
    if (cell && e.key.startsWith("Arrow")) return within(cell, e.key);
    if (home && !home.contains(box(A.S.step))) set({ step: homeStep(home) });
    KEYS[e.key](e);
  }
  const homeStep = (lab) => (lab.dataset.home in last ? last[lab.dataset.home] : lab.dataset.home);

  // Arrow keys inside a small matrix go from cell to cell.
  function within(cell, key) {
    const t = cell.closest("table"), k = Number(t.dataset.grid), cells = [...t.querySelectorAll("tbody td")];
    const n = cells.indexOf(cell);
    const to = { ArrowLeft: n % k ? n - 1 : n, ArrowRight: (n + 1) % k ? n + 1 : n, ArrowUp: n - k,
      ArrowDown: n + k }[key];
    if (!cells[to]) return;
    cell.tabIndex = -1;
    cells[to].tabIndex = 0;
    cells[to].focus();
  }

  // afterDraw: what else is to be brought up to date when the step has been drawn.
  return { A, KEYS, keysOn: true, afterDraw: [], box, watcher, views, drawing, draw, redraw, set, go, reveal, light,
    pointAt, setMicro, say, pace, onKey, homeStep, settle, drawStep };
})();
