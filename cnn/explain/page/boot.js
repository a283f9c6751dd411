// The start: unpack what the file carries, prove it, and only then let the page come alive.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id), text = (id) => $(id).textContent;
  const root = document.documentElement;

  // ---- the self-check

  async function unpack() {
    const data = JSON.parse(text("trace")), raw = {};
    for (const [id, { width }] of Object.entries(data.blocks)) raw[id] = await Proof.block(text(id), width);
    const tensors = (id) => Proof.unpack(raw[id], data.blocks[id]);
    return { data, raw, photos: raw["photo-bytes"], weights: tensors("weights"), full: tensors("full"),
      baseline: data.baseline && tensors("baseline") };
  }

  // The bytes that the file carries are those that Python wrote.
  function proveBytes(file, report) {
    for (const [name, raw] of Object.entries(file.raw))
      report.equal(`SHA-256 of ${name}`, Proof.sha256(raw), file.data.blocks[name].sha256);
  }

  // Everything that Python found for one photo, computed again.
  function prove(file, report, record) {
    const { net, baseline, classes } = State.A, P = file.weights, { target, number } = record, { photos } = file.data;
    const label = `photo ${number}`, x = State.photo(number);
    const carried = file.photos.at(photos.indexOf(record) - photos.length); // the labels are the last bytes of all
    report.equal(`label of ${label}`, record.label, carried < classes.length ? carried : null);
    const T = net.forward(P, x);
    Proof.splitTies(report, net, T, record, label);
    const G = net.backward(P, T, target);
    Proof.checkPhoto(report, net, T, G, baseline && baseline.forward(file.baseline, x), record, label);
    if (number === (file.data.full.photo.number ?? 0)) proveInFull(file, report, record, { net, P, T, G, target });
  }

  // Of one photo every number is compared, and every printed one.
  function proveInFull(file, report, record, pass) {
    const label = `photo ${record.number}`;
    for (const key of ["label", "predicted", "target", "loss"])
      report.equal(`${label} ${key}`, file.data.full[key], record[key]);
    for (const [name, tensor] of Object.entries(file.full))
      report.tensor(`${label} ${name}`, pass.T[name] || pass.G[name], tensor);
    pass.tensor = Terms.tensors(pass);
    for (const cell of document.querySelectorAll("td[data-ref]")) checkCell(report, cell, pass);
  }

  // A printed number of the tables against the value here. data-ref: an entry "z1[19,11,7]", or a sentence with some of
  // its letters fixed, "F6 i=3 j=4 f=9 c=5".
  function checkCell(report, cell, pass) {
    const { ref, format } = cell.dataset;
    report.equal(`the table's ${ref}`, Show.number(valueOf(ref, pass), format), cell.textContent);
  }

  function valueOf(ref, { tensor }) {
    if (ref.endsWith("]")) {
      const at = ref.lastIndexOf("[");
      return Terms.entry(ref.slice(0, at), ref.slice(at + 1, -1).split(",").map(Number), tensor).value;
    }
    const [id, ...letters] = ref.split(" "), at = letters.map((one) => one.split("="));
    const places = Object.fromEntries(at.map(([letter, n]) => [letter, Number(n)]));
    return Terms.add(Terms.evaluate(State.STEP[id].sentence, tensor, places).terms.map((t) => t.product));
  }

  function fail(reasons) {
    for (const e of document.querySelectorAll(".derived")) e.replaceChildren(Object.assign(document.createElement("p"),
      { textContent: "Hidden, because the self-check failed." }));
    root.classList.add("failed");
    const message = `SELF-CHECK FAILED: this file is not what was written. ${reasons.length} `
      + `comparison${reasons.length === 1 ? "" : "s"} failed. First: ${reasons[0]}. No computed number is shown.`;
    $("alarm").textContent = $("report").textContent = message;
    $("alarm").hidden = false;
  }

  function passed(file, report) {
    $("report").textContent = `self-check ok: ${file.data.photos.length} photos, ${report.count.toLocaleString("en")} `
      + `comparisons, largest difference ${report.largest.toExponential(1)}, weights sha256 `
      + `${file.data.blocks.weights.sha256.slice(0, 16)}…`;
  }

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
    window.addEventListener("resize", () => Show.reachable(document));
    for (const step of document.querySelectorAll("[id^=step-]")) App.watcher.observe(step);
  }

  function onAddress() {
    if (location.hash === State.address() || !State.read(location.hash)) return;
    State.compute();
    App.draw();
    App.reveal();
  }

  // Where the address of a fresh page points: a step, or a section, which the browser looked for before it was filled.
  function land() {
    if (!location.hash) return;
    if (/=|^#(step-)?([FB]\d+|[LMGTS])$/.test(location.hash)) return App.reveal("instant");
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

  const breath = () => new Promise((done) => { setTimeout(done); });

  // First the bytes and the photo that the page is about; then it comes alive, and proves the other photos one by one.
  async function start() {
    root.classList.add("js");
    const failures = [];
    try {
      const report = new Proof.Report(1e-9, failures), file = await unpack(), { photos, full } = file.data;
      proveBytes(file, report);
      if (failures.length) return fail(failures); // wrong weights: nothing else is worth a comparison
      State.carry(file);
      Show.readTheme();
      const main = photos.find(({ number }) => number === (full.photo.number ?? 0));
      prove(file, report, main);
      if (failures.length) return fail(failures);
      live(file);
      await breath();
      for (const record of photos) if (record !== main) {
        prove(file, report, record);
        if (failures.length) return fail(failures);
        $("report").textContent = `self-check: ${photos.indexOf(record) + 1} of ${photos.length} photos so far`;
        await breath();
      }
      passed(file, report);
      root.classList.add("ready");
    } catch (error) {
      fail([...failures, `${error.name}: ${error.message}`]);
    }
  }

  function live(file) {
    State.start();
    wire();
    drawSheet(file);
    App.draw();
    if ($("paper")) Own.wire();
    root.classList.add("alive");
    land();
    if (document.readyState !== "complete") window.addEventListener("load", land, { once: true });
  }
  setTimeout(start); // after the first paint
})();
