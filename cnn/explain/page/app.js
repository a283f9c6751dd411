// Drawing, pointing, playing and the keys.
"use strict";

const App = (() => {
  const { $, settings, words, maps, paint, mosaic, size, put } = Show;
  const { A, STEP, STEPS, ALL, SIDE, FILTERS, layerOf, ofUnits, cursor } = State;
  const LABS = ALL.filter((id) => !STEPS.includes(id));
  // Where PageUp and PageDown stop: the first step of each layer, each way, beside padding.
  const LAYERS = STEPS.filter((id, n) => STEP[id].kind !== "padding" && !STEPS.slice(0, n)
    .some((other) => other[0] === id[0] && STEP[other].stage === STEP[id].stage && STEP[other].kind !== "padding"));
  const box = (step) => $("live-" + step);
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- drawing

  const views = {}, visible = new Set(), stale = new Set(), last = { F: "F3", B: "B8" };
  const watcher = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    const step = target.id.slice(5);
    if (!isIntersecting) return void visible.delete(step);
    visible.add(step);
    if (stale.has(step)) drawStep(step);
  }), { rootMargin: "200px" });

  function drawStep(step) {
    const target = box(step), focused = document.activeElement && document.activeElement.id;
    const open = [...target.querySelectorAll("details[open]")].map((d) => d.dataset.table);
    for (const id of maps.keys()) if (id.startsWith(step + "-")) maps.delete(id);
    settings.prefix = step + "-";
    views[step] = { micro: [], ...(step in Labs.views ? Labs.views[step](A) : Steps.view(step, A, cursor(step))) };
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
  // sight.
  function draw() {
    const { step } = A.S;
    if (step[0] in last) last[step[0]] = step;
    for (const id of STEPS) $("step-" + id).hidden = id !== last[id[0]];
    for (const id of [last.F, last.B, ...LABS]) {
      stale.add(id);
      if (id === step || visible.has(id) || (id[0] in last && !views[id])) drawStep(id);
    }
    for (const link of document.querySelectorAll("[data-step]"))
      if (link.dataset.step === step) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    for (const way of "FB") if (views[last[way]]) $("now-" + way).textContent = `${last[way]}: ${views[last[way]].say}`;
    if (drawn !== A.G) { // a moved cursor changes none of these
      drawVerdict();
      drawNetwork();
      drawn = A.G;
    }
    setMicro(null);
  }

  function redraw() { drawn = null; draw(); }

  function drawVerdict() {
    const S = A.S, { label, target, predicted } = A, name = A.classes;
    const changes = [S.mirror && "mirrored", S.parts && `${S.parts} swapped`,
      (S.dx || S.dy) && `moved ${S.dx} right, ${S.dy} down`, A.edited && "weights changed"].filter(Boolean).join(", ");
    const which = S.photo === "own" ? "your own photo" : `photo ${S.photo} = test[${S.photo - 1}]`;
    const known = label === null ? "" : `, label ${name[label]}: ${predicted === label ? "correct" : "WRONG"}`;
    $("verdict").textContent = `${which}${changes && ` (${changes})`}: model says ${name[predicted]} `
      + `${Show.number(A.T.p[predicted], "probability")}${known}`;
    const sure = label !== null && target !== label && S.target === null
      ? ` The network is so sure of ${name[label]} that its own `
      + `slopes are almost 0. So the tour asks: what would change if this were ${A.articled[target]}?` : "";
    $("target-note").textContent = `The loss here is that of ${name[target]}, p = ${size(A.T.p[target])}.${sure}`;
    mosaic($("thumb"), A.x, 28, 28, 1, 1, false);
    Show.numbers($("poster"), A.x);
    for (const b of document.querySelectorAll("[data-photo]"))
      b.setAttribute("aria-pressed", String(Number(b.dataset.photo) === S.photo));
  }

  function drawNetwork() {
    const rows = { x: [28, 1, 1], a1: [28, 32, 6], p1: [14, 32, 6], a2: [14, 64, 8], p2: [7, 64, 8], a3: [1, 128, 12],
      p: [1, 10, 4] }; // side, channels, maps in a row
    for (const [name, [side, C, columns]] of Object.entries(rows)) {
      mosaic($("net-" + name), A.T[name], side, side, C, columns, false);
      mosaic($("net-d" + name), name === "p" ? A.G.dlogits : A.G["d" + name], side, side, C, columns, true);
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
  // an input cell shows the output cells it feeds.
  function pointAt(step, id, i, j) {
    const m = maps.get(id), tap = m.taps
      ? m.taps.findIndex(([a, b, h = 1, w = 1]) => i >= a && j >= b && i < a + h && j < b + w) : -1;
    const near = [i - 1, j - 1, 3, 3], other = m.feeds || m.reads;
    if (tap >= 0) return light(step, tap);
    light(step, "none", { [id]: [[i, j]], ...(other ? { [other]: [near] } : {}) });
  }

  let micro = null, timer = null, pending = null, spoken = 0;
  function setMicro(n) {
    const { step } = A.S, { micro: list, say: sentence } = views[step], end = list.length - 1;
    const slider = $("scrub-" + step[0]);
    micro = n === null || end < 0 ? null : Math.max(0, Math.min(end, n));
    if (slider) Object.assign(slider, { max: end + 1, value: micro === null ? 0 : micro + 1, disabled: end < 0 });
    light(step, micro === null ? "none" : list[micro].tap);
    say(micro === null ? `${step}: ${sentence}` : list[micro].say);
  }

  // The newest sentence on the screen; to a screen reader at most one a second.
  function say(text) {
    const line = $("now-" + A.S.step[0]);
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

  // change: new values of the state or of the step's cursor. push: Back returns to before. show: bring it into sight.
  function set(change, { push = false, show = false } = {}) {
    const S = A.S, before = S.step, stepChanged = "step" in change && change.step !== before;
    if (timer) play();
    if ("step" in change) S.step = change.step;
    const c = cursor();
    for (const [key, v] of Object.entries(change)) {
      if (key === "class") c.k = v;
      else (/^([ijftc][12]|u)$/.test(key) ? c : S)[key] = v;
    }
    if (COMPUTED.some((key) => key in change)) State.compute();
    draw();
    const url = State.address();
    if (url !== location.hash) history[push || stepChanged ? "pushState" : "replaceState"](null, "", url);
    if (show) reveal();
  }

  function reveal() {
    const article = $("step-" + A.S.step);
    (article.closest("div.lab") || article).scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    article.querySelector("h3, h2").focus({ preventScroll: true });
  }
  const go = (step, more = {}) => set({ step, ...more }, { push: true, show: true });

  // Some steps of gradient descent, a few at a time so that the page stays awake.
  function descend(steps) {
    const P = A.P;
    (function some(left) {
      if (A.P !== P) return;
      for (const end = performance.now() + 60; left > 0 && performance.now() < end; left--) State.step(A.S.lr);
      say(`${steps - left} of ${steps} steps of gradient descent: loss ${size(A.loss)}`);
      if (left) return void setTimeout(some, 0, left);
      A.S.target = A.target;
      draw();
      say(`loss ${size(A.loss)} after ${A.losses.length - 1} steps`);
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

  function move(di, dj) {
    const S = A.S, c = cursor(), n = layerOf(S.step), [i, j] = ["i" + n, "j" + n];
    if (S.step === "L") {
      const l = Labs.lab(A);
      return set({ L: { i: clamp(l.i + di, l.g.OH), j: clamp(l.j + dj, l.g.OW) } });
    }
    if (ofUnits(S.step)) return set({ u: clamp(c.u + dj, 128), class: clamp(c.k + di, 10) });
    set({ [i]: clamp(c[i] + di, SIDE[n]), [j]: clamp(c[j] + dj, SIDE[n]) });
  }

  // [ ] turn through the filters (units), { } through the channels (in layer 1, with one channel, the taps; classes).
  function turn(channel, by) {
    const n = layerOf(A.S.step), c = cursor(), units = ofUnits(A.S.step);
    const [name, count, now] = channel ? (units ? ["class", 10, c.k] : n === 2 ? ["c2", 32, c.c2] : ["t1", 9, c.t1])
      : units ? ["u", 128, c.u] : ["f" + n, FILTERS[n], c["f" + n]];
    set({ [name]: (now + by + count) % count });
  }

  function moreDigits() {
    const { least, most } = words.numbers;
    settings.digits = settings.digits === most ? least : settings.digits + 1;
    draw();
    say(`${settings.digits} digits`);
  }

  const arrow = (di, dj) => (e) => move(di * (e.shiftKey ? 5 : 1), dj * (e.shiftKey ? 5 : 1));
  const slide = (by) => set({ dx: clamp(A.S.dx + 6 + by, 13) - 6 }, { push: true });
  const twin = (way) => A.S.step[0] === way && go(STEP[A.S.step].twin);

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
    g: () => go("G", A.S.step[0] === "B" ? { layer: layerOf(A.S.step) } : {}), G: sample,
    t: () => descend(1), T: () => descend(100), u: undo,
    x: () => go("M"), l: () => go("L"), s: () => go("S"),
    c: () => { for (const code of $("step-" + A.S.step).querySelectorAll("details.code")) code.open = !code.open; },
    d: moreDigits,
    a: play, "+": () => pace(A.S.pace / 1.5), "-": () => pace(A.S.pace * 1.5),
    j: () => { Object.assign(A.S, State.spotlight()); set({}); },
    y: copyLink,
    "?": () => $("help").showModal(),
  };

  // Letters act only while the focus is in a lab, and not where one types; Space on a button presses the button.
  function onKey(e) {
    const home = e.target.closest(".lab"), press = e.key === " " && e.target.closest("button, summary, a");
    const cell = e.target.closest("table.grid td"), typing = e.target.closest("input, select, textarea, #paper");
    if (!App.keysOn || !home || press || typing || e.ctrlKey || e.altKey || e.metaKey || !KEYS[e.key]) return;
    e.preventDefault();
    if (cell && e.key.startsWith("Arrow")) return within(cell, e.key);
    if (!home.contains(box(A.S.step))) set({ step: homeStep(home) });
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

  return { A, KEYS, keysOn: true, box, watcher, views, draw, redraw, set, go, reveal, light, pointAt, setMicro, say,
    pace, onKey, homeStep };
})();
