// The start: only when the page has proved itself it comes alive; and what the hand does.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // ---- what the hand does

  const home = (e) => {
    const live = e.target.closest("[id^=live-]");
    return live && live.id.slice(5);
  };

  function wire() {
    document.addEventListener("click", onClick);
    document.addEventListener("change", onChange);
    document.addEventListener("input", onInput);
    document.addEventListener("keydown", App.onKey);
    document.addEventListener("toggle", onToggle, true);
    document.addEventListener("pointermove", onPoint);
    document.addEventListener("focusin", (e) => {
      const cell = e.target.closest("[data-tap]");
      if (cell && home(e)) App.light(home(e), cell.dataset.tap);
    });
    for (const back of ["popstate", "hashchange"]) window.addEventListener(back, onAddress);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      Show.readTheme();
      App.redraw();
    });
    // On paper all steps stand below each other: with the numbers of the present photo, network and path.
    window.addEventListener("beforeprint", () => State.ALL.forEach(App.drawStep));
    window.addEventListener("resize", () => Show.reachable(document));
    for (const step of document.querySelectorAll("[id^=step-]")) App.watcher.observe(step);
  }

  async function onAddress() {
    const moment = Moments.named(location.hash), turned = moment !== State.A.moment;
    if (turned && !await Moments.turn(moment)) return;
    if (turned) State.turn();
    const moved = location.hash !== State.address() && State.read(location.hash);
    if (moved) State.compute();
    if (moved || turned) App.draw();
    if (turned) Moments.shown();
    if (moved) App.reveal();
  }

  // Where the address of a fresh page points: a step, or a section, which the browser looked for before it was filled.
  function land() {
    if (!location.hash) return;
    if (/=|^#(step-)?([FBR]\d+|[CLMGTS])$/.test(location.hash)) return App.reveal("instant");
    App.settle();
    const place = $(location.hash.slice(1));
    if (place) place.scrollIntoView({ block: "start", behavior: "instant" });
  }

  function onClick(e) {
    const link = e.target.closest("[data-step]"), b = e.target.closest("button"), canvas = e.target.closest("canvas");
    const plain = !e.ctrlKey && !e.metaKey && !e.shiftKey;
    if (link && plain) {
      e.preventDefault();
      return App.go(link.dataset.step, mapUnder(e));
    }
    if (e.target.closest("a[href^='#']")) App.settle(); // then the browser jumps
    if (canvas && Show.maps.has(canvas.id)) return pick(canvas, Show.cellAt(canvas, e), home(e));
    const weight = e.target.closest("td[data-tap][id*='-g-w-']");
    if (weight) return App.set({ step: home(e), tap: [State.stageOf(home(e)), Number(weight.dataset.tap)] });
    if (b) press(b, e);
  }

  // In the picture of the network every map is a place of its own: the path then goes through the one that was hit.
  function mapUnder(e) {
    const canvas = e.target.closest("canvas[data-net]"), k = canvas && Number(canvas.dataset.net);
    const shape = canvas && State.shapeAt(k), columns = shape && Math.ceil(Math.sqrt(shape.at(-1)));
    if (!shape || shape.length !== 3 || !e.detail) return {}; // a key has no place
    const box = canvas.getBoundingClientRect(), rows = Math.ceil(shape[2] / columns);
    const row = Math.floor(((e.clientY - box.top) / box.height) * rows);
    const ch = row * columns + Math.floor(((e.clientX - box.left) / box.width) * columns);
    return ch < shape[2] ? { path: [k, [...State.A.S.path[k].slice(0, 2), ch]] } : {};
  }

  function press(b, e) {
    if (b.dataset.photo) App.set({ photo: Number(b.dataset.photo), target: null }, { push: true });
    if (b.dataset.go) {
      const [key, v] = b.dataset.go.split("=");
      App.set({ step: home(e), ...moved(key, Number(v)) });
    }
    if (b.dataset.key) {
      takeOver(b);
      App.KEYS[b.dataset.key](e);
    }
  }

  // A button in another lab than the present one makes that lab the present one.
  function takeOver(element) {
    const lab = element.closest(".lab");
    if (lab && !lab.contains(App.box(State.A.S.step))) App.set({ step: App.homeStep(lab) });
  }

  function pick(canvas, [i, j], step) {
    const m = Show.maps.get(canvas.id);
    canvas.focus({ preventScroll: true });
    if (m.pick && i >= 0 && j >= 0 && i < m.H && j < m.W) App.set({ step, ...m.pick(i, j) });
  }

  function onInput(e) {
    const { scrub, pace } = e.target.dataset, n = Number(e.target.value);
    if (scrub) App.setMicro(n ? n - 1 : null);
    if (pace) App.pace(n);
  }

  function onChange(e) {
    const t = e.target, { set: key, edit, index } = t.dataset;
    if (t.id === "number") return choosePhoto();
    if (t.name === "moment") return App.set({ moment: t.value });
    if (t.id === "keys") return void (App.keysOn = t.checked);
    if (edit && Number.isFinite(t.valueAsNumber)) {
      State.edit(edit, Number(index), t.valueAsNumber);
      return App.set({ step: home(e) });
    }
    if (!key) return;
    const v = chosen(t, key), change = Number.isNaN(v) ? {} : moved(key, v);
    App.set({ step: home(e) || State.A.S.step, ...change },
      { push: ["mirror", "dx", "dy", "parts", "target"].includes(key) });
  }

  // What a control changes: "path:2:0" is the first axis of the path's place 2, "tap:2" the weight in layer 2's window.
  function moved(key, v) {
    const [what, k, axis] = key.split(":");
    if (k === undefined) return { [key]: v };
    if (axis === undefined) return { [what]: [Number(k), v] };
    return { [what]: [Number(k), State.A.S.path[k].map((old, n) => (n === Number(axis) ? v : old))] };
  }

  // What a control says: a word, a yes or no, a whole number within its range, or any number.
  function chosen(t, key) {
    if (key === "toy") return t.value === "1";
    if (["pad", "preset", "parts"].includes(key)) return t.value;
    if (t.type === "checkbox") return Number(t.checked);
    const v = Number(t.value);
    return t.type === "number" && t.step !== "any" ? Math.round(Math.min(t.max, Math.max(t.min, v || 0))) : v;
  }

  function choosePhoto() {
    const n = $("number").valueAsNumber, ok = State.numbers().includes(n), got = $("number").value || "nothing";
    $("number-error").textContent = ok ? "" : `expected a photo, ${$("number").dataset.numbers}, got ${got}`;
    $("number").setAttribute("aria-invalid", String(!ok));
    if (ok) App.set({ photo: n, target: null }, { push: true });
  }

  function onToggle(e) {
    if (!e.target.open) return;
    if (e.target.dataset.table) Show.fillTable(e.target);
    if (!e.target.matches("details.code")) return;
    // The source stands once in the page; a step shows a copy.
    const copies = e.target.dataset.code.split(" ").map((id) => $(id).cloneNode(true));
    copies.forEach((copy) => copy.removeAttribute("id"));
    e.target.querySelector("div").replaceChildren(...copies);
  }

  let pointed = false;
  function onPoint(e) {
    const step = e.target.closest && home(e), cell = step && e.target.closest("[data-tap]");
    const canvas = step && e.target.closest("canvas");
    if (cell) App.light(step, cell.dataset.tap);
    else if (canvas && Show.maps.has(canvas.id)) App.pointAt(step, canvas.id, ...Show.cellAt(canvas, e));
    else if (pointed && App.views[State.A.S.step]) App.light(State.A.S.step, "none");
    pointed = !!(cell || canvas);
  }

  // ---- the photo sheet

  function drawSheet(file) {
    const { html } = Show, names = file.data.classes;
    const says = (r) => (r.label === null ? `says ${names[r.predicted]}` : r.predicted === r.label ? "✓ right"
      : `✗ says ${names[r.predicted]}`);
    const head = (r) => (r.number ? html`<b>${r.number}</b> ${r.label === null ? "" : names[r.label]}`
      : html`<b>${State.titleOf(0)}</b>`);
    Show.put($("sheet"), html`${file.data.photos.map((r) => html`<button type="button" data-photo="${r.number}"
      aria-pressed="false"><canvas id="sheet-${r.number}" aria-hidden="true"></canvas>${head(r)}
      <small>${says(r)}</small></button>`)}`);
    for (const n of State.numbers())
      Show.photo($(`sheet-${n}`), State.photo(n).map((v) => Math.round(v / State.A.scale)), State.A.shape);
  }

  // The bytes and the photo that the page is about are proved first; then it comes alive, and proves all other photos.
  async function start() {
    root.classList.add("js");
    try {
      Show.readTheme();
      if (!await Moments.begin(JSON.parse($("trace").textContent), drawSheet)) return;
      const moment = Moments.named(location.hash);
      if (moment !== State.A.moment && !await Moments.turn(moment)) return;
      await live(Moments.present());
    } catch (error) {
      Moments.stop(error);
    }
  }

  async function live(file) {
    await Proof.slowly(State.starting());
    Ask.wire(); // before the first drawing, to which they add
    Present.wire();
    await Proof.slowly(App.drawing());
    wire();
    Nothing.wire();
    if ($("paper")) Own.wire();
    if ($("school")) Learn.wire(file.data);
    root.classList.add("alive");
    land();
    if (document.readyState !== "complete") window.addEventListener("load", land, { once: true });
    await Proof.breath();
    Moments.shown();
  }
  setTimeout(start); // after the first paint
})();
