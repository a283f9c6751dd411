// The start: unpack what the file carries, prove it, and only then let the page come alive.
"use strict";

(() => {
  const { $, escape } = Show, { A } = State;
  const text = (id) => $(id).textContent;
  const root = document.documentElement;

  // ---- the self-check

  function unpack() {
    const data = JSON.parse(text("trace")), raw = {};
    for (const id of ["weights", "baseline", "photo-bytes"]) raw[id] = Proof.bytes(text(id));
    return { data, raw, photos: raw["photo-bytes"], weights: Proof.unpack(raw.weights, data.layout.cnn),
      baseline: Proof.unpack(raw.baseline, data.layout.dense) };
  }

  // Everything that Python wrote into this file, computed again.
  function prove(file, report) {
    for (const [name, raw] of Object.entries(file.raw)) report.equal(`SHA-256 of ${name}`, Proof.sha256(raw),
      file.data.sha256[name]);
    if (report.failures.length) return; // wrong weights: nothing else is worth a comparison
    file.data.photos.forEach((record, n) => {
      report.equal(`label of photo ${record.number}`, record.label, file.photos[784 * file.data.photos.length + n]);
        // last in the block
      const T = Engine.forward(file.weights, State.photo(record.number)), label = `photo ${record.number}`;
      Proof.splitTies(report, T, record.ties, label);
      const G = Engine.backward(file.weights, T, record.target);
      Proof.checkPhoto(report, T, G, Engine.denseNet(file.baseline, T.x), record, label);
      if (record.number !== file.data.full.photo.number) return;
      const find = (name) => T[name] || G[name];
      for (const [name, entry] of Object.entries(file.data.full.tensors)) report.tensor(`${label} ${name}`, find(name),
        Proof.numbers(Proof.bytes(entry.data), entry.dtype));
      for (const cell of document.querySelectorAll("td[data-ref]")) checkCell(report, cell,
        { P: file.weights, T, G, target: record.target });
    });
  }

  // A printed number of the static tables against the value here: data-ref="z1[19,11,7]", or a product of two such.
  function checkCell(report, cell, pass) {
    const v = cell.dataset.ref.split("*").map((one) => valueOf(one, pass)).reduce((a, b) => a * b);
    const text = cell.textContent, measured = cell.dataset.ref.startsWith("numeric"); // a measured slope has an error of its own
    const same = measured ? Math.abs(Show.parse(text) - v) <= 1e-3 * Math.abs(v) + 1e-9 : text === Show[cell.dataset.format](v);
    report.equal(`the table's ${cell.dataset.ref}`, same ? text : Show[cell.dataset.format](v), text);
  }

  // part2: what one channel adds to a cell of z2; scatter: what one weight sends back to a cell of p1; numeric: a measured slope.
  function valueOf(ref, { P, T, G, target }) {
    const [, name, inner] = ref.match(/^(\w+)\[([\d,]+)\]$/), index = inner.split(",").map(Number), [a, b, c, d, e] = index;
    if (name === "part2") return Forward.kit.window9({ P, T }, 2, { i2: a, j2: b, f2: c, c2: d })[8].running;
    if (name === "scatter") return Backward.kit.twins({ P, G }, { i2: c, j2: d, c2: e }).scatter[3 * a + b].v;
    if (name === "numeric") return Engine.check(P, T, G, target, "W2", ((a * 3 + b) * 32 + c) * 64 + d).numeric;
    const shape = Engine.SHAPES[name === "dlogits" ? "z4" : name.replace(/^d/, "")];
    return (P[name] || T[name] || G[name])[index.reduce((at, i, axis) => at * shape[axis] + i, 0)];
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
      + `${file.data.sha256.weights.slice(0, 16)}…`;
  }

  // ---- what the hand does

  const home = (e) => { const live = e.target.closest("[id^=live-]"); return live && live.id.slice(5); };

  function wire() {
    document.addEventListener("click", onClick);
    document.addEventListener("change", onChange);
    document.addEventListener("input", (e) => {
      if (e.target.dataset.scrub) App.setMicro(Number(e.target.value) ? Number(e.target.value) - 1 : null);
      if (e.target.dataset.pace) App.pace(Number(e.target.value));
    });
    document.addEventListener("keydown", App.onKey);
    document.addEventListener("toggle", onToggle, true);
    document.addEventListener("pointermove", onPoint);
    document.addEventListener("focusin", (e) => { const cell = e.target.closest("[data-tap]");
      if (cell && home(e)) App.light(home(e), cell.dataset.tap); });
    for (const back of ["popstate", "hashchange"]) window.addEventListener(back, onAddress);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { Show.readTheme(); App.redraw(); });
    window.addEventListener("resize", () => Show.reachable(document));
    for (const live of document.querySelectorAll("[id^=live-]")) App.watcher.observe(live);
  }

  function onAddress() {
    if (location.hash === State.address() || !State.read(location.hash)) return;
    State.compute();
    App.draw();
    App.reveal();
  }

  function onClick(e) {
    const link = e.target.closest("[data-step]"), b = e.target.closest("button"), canvas = e.target.closest("canvas");
    if (link && !e.ctrlKey && !e.metaKey && !e.shiftKey) { e.preventDefault(); return App.go(link.dataset.step); }
    if (canvas && Show.maps.has(canvas.id)) return pick(canvas, Show.cellAt(canvas, e), home(e));
    const cell = e.target.closest("td[data-tap]");
    if (cell && /^g[36]-w|^[FB]\d+-g[36]-w/.test(cell.id)) return App.set({ step: home(e),
      ["t" + State.layerOf(home(e))]: Number(cell.dataset.tap) });
    if (!b) return;
    if (b.dataset.photo) App.set({ photo: Number(b.dataset.photo), target: null }, { push: true });
    if (b.dataset.go) { const [key, v] = b.dataset.go.split("="); App.set({ step: home(e), [key]: Number(v) }); }
    if (b.dataset.key) { takeOver(b); App.KEYS[b.dataset.key](e); }
  }

  // A button in another lab than the present one makes that lab the present one.
  function takeOver(element) {
    const lab = element.closest(".lab");
    if (lab && !lab.contains(App.box(A.S.step))) App.set({ step: App.homeStep(lab) });
  }

  function pick(canvas, [i, j], step) {
    const m = Show.maps.get(canvas.id);
    canvas.focus({ preventScroll: true });
    if (m.pick && i >= 0 && j >= 0 && i < m.H && j < m.W) App.set({ step, ...m.pick(i, j) });
  }

  function onChange(e) {
    const t = e.target, { set: key, edit, index } = t.dataset;
    if (t.id === "number") return choosePhoto();
    if (t.id === "keys") return void (App.keysOn = t.checked);
    if (edit && Number.isFinite(t.valueAsNumber)) { State.edit(edit, Number(index), t.valueAsNumber);
      return App.set({ step: home(e) }); }
    if (!key) return;
    const words = ["pad", "preset", "parts", "toy"], value = t.type === "checkbox" ? Number(t.checked) : words.includes(key)
      ? t.value : Number(t.value);
    const range = t.type === "number" && t.step !== "any" ? Math.round(Math.min(t.max, Math.max(t.min, value || 0))) : value;
    const name = key === "k" && t.type === "number" ? "class" : key;
    App.set({ step: home(e) || A.S.step, [name]: key === "toy" ? t.value === "1" : Number.isNaN(range) ? A.S[key] : range },
      { push: ["mirror", "dx", "dy", "parts", "target"].includes(key) });
  }

  function choosePhoto() {
    const n = $("number").valueAsNumber, ok = State.numbers().includes(n);
    $("number-error").textContent = ok ? "" : `expected a photo, ${$("number").dataset.numbers}, got `
      + `${$("number").value || "nothing"}`;
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
    const step = e.target.closest && home(e), canvas = step && e.target.closest("canvas"),
      cell = step && e.target.closest("[data-tap]");
    if (cell) App.light(step, cell.dataset.tap);
    else if (canvas && Show.maps.has(canvas.id)) App.pointAt(step, canvas.id, ...Show.cellAt(canvas, e));
    else if (pointed && App.views[A.S.step]) App.light(A.S.step, "none");
    pointed = !!(cell || canvas);
  }

  // ---- the photo sheet

  function drawSheet(file) {
    const names = file.data.classes.map(escape);
    $("sheet").innerHTML = file.data.photos.map((r) => `<button type="button" data-photo="${r.number}" aria-pressed="false">`
      + `<canvas id="sheet-${r.number}" aria-hidden="true"></canvas><b>${r.number}</b> ${names[r.label]}`
      + `<small>${r.predicted === r.label ? "✓ right" : `✗ says ${names[r.predicted]}`}</small></button>`).join("");
    for (const n of State.numbers()) Show.mosaic($(`sheet-${n}`), State.photo(n), 28, 28, 1, 1, false);
  }

  function start() {
    root.classList.add("js");
    const report = new Proof.Report(1e-9);
    try {
      const file = unpack();
      State.carry(file);
      Show.readTheme();
      prove(file, report);
      if (report.failures.length) return fail(report.failures);
      State.start();
      wire();
      drawSheet(file);
      App.draw();
      Own.wire();
      passed(file, report);
      root.classList.add("ready");
      if (location.hash.includes("=")) App.reveal();
    } catch (error) {
      fail([...report.failures, `${error.name}: ${error.message}`]);
    }
  }
  setTimeout(start); // after the first paint
})();
