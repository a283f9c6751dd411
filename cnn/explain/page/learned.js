// What the section "Train from nothing" shows: sentences, curves, the weights as pictures, the numbers on the path.
// c: {report: the newest of the school, losses: [[photos, loss], ...], exams, start: the first kernel's start, looked}
"use strict";

const Learned = (() => {
  const { $, html, put, percent, size, signed, fixed, whole, bar, table, cell, mosaic } = Show;
  const { A } = State;
  const UNITS = 32; // of a dense layer, as pictures
  const POINTS = 150; // of a curve

  // ---- sentences

  const many = (n, word) => `${whole(n)} ${word}${n === 1 ? "" : /ch$/.test(word) ? "es" : "s"}`;
  const big = (v) => (Number.isFinite(v) ? size(v) : "no number any more");

  function state({ report: { steps, seen, rounds, speed }, losses }) {
    if (!steps) return "Every weight is random. Press Start.";
    return `${many(steps, "batch")}, ${many(seen, "photo")} seen, each ${rounds.toFixed(1)} times; `
      + `${many(Math.round(speed), "photo")} a second; loss of the last batch ${big(losses.at(-1)[1])}`;
  }

  function news({ seen, right, of, loss, only }) {
    const same = ` It calls every one of them ${A.articled[only]}. If that stays so, a step was too large: it closed `
      + "ReLU units for every photo, and a closed unit has no slope. Reset, and choose a smaller rate.";
    return `After ${many(seen, "photo")}: ${percent(right / of)} of the ${of} held-back photos are named right, loss `
      + `${size(loss)}.${only !== null && seen ? same : ""}`;
  }

  // Why it stopped, with the numbers that it saw.
  function reason({ why, first, now }) {
    const begun = `Stopped after ${many(now.steps, "batch")} with learning rate ${now.rate}.`;
    if (why === "still") return `${begun} For a while every slope of the first kernel was exactly 0: too large a step `
      + "has closed ReLU units for every photo, and a closed unit has no slope. So nothing moves any more, the loss "
      + `stays at ${big(now.loss)}. Reset, and choose a smaller rate.`;
    return `${begun} The loss went from ${big(first.loss)} to ${big(now.loss)}. A slope is true only close by. These `
      + "steps were so long that they went past the low place and up the other side, where it is steeper: they "
      + `overshot. All slopes together had length ${big(first.slope)} in the first batch and ${big(now.slope)} in the `
      + "last, so the steps became longer and longer; all weights together had length "
      + `${big(first.weights)} after the first step, now ${big(now.weights)}. Reset, and choose a smaller rate.`;
  }

  // ---- the first kernel as pictures

  // Of each filter one for each of its channels; of each unit of a dense layer one, if it has a weight for each pixel.
  function pictures(kernel) {
    const l = A.net.layers.find((one) => one.names.kernel), [H, W, C] = A.shape, U = l.out.at(-1);
    if (l.op === "conv") return { l, data: kernel, H: l.window.kh, W: l.window.kw, C: l.window.C, F: U };
    if (l.in.length !== 1 || l.in[0] !== H * W * C) return null;
    const F = Math.min(UNITS, U);
    return { l, data: kernel.filter((_, n) => n % U < F), H, W, C, F };
  }

  function kernels({ report: { kernel }, start }) {
    const shown = kernel && pictures(kernel), box = $("learn-kernels");
    box.hidden = !shown;
    if (!shown) return;
    const { l, H, W, C, F } = shown, what = l.op === "conv" ? "filters" : "units";
    const each = C > 1 ? `, ${C} channels each, one above the other` : "";
    const label = `${l.name}: ${F} ${what}${each}; blue positive, orange negative`;
    box.querySelector("figcaption").textContent = label;
    for (const [id, one] of [["start", start], ["now", kernel]]) {
      mosaic($(`learn-${id}`), pictures(one).data, H, W, C * F, C > 1 ? F : F > 64 ? 16 : 8, true);
      $(`learn-${id}`).setAttribute("aria-label", `${label}, ${id === "now" ? "now" : "at the start"}`);
    }
  }

  // ---- curves

  // Many points as at most POINTS, each the mean of its neighbours.
  function thinned(points) {
    const few = Math.ceil(points.length / POINTS) || 1, groups = Math.ceil(points.length / few);
    const mean = (list, k) => list.reduce((sum, one) => sum + one[k], 0) / list.length;
    return Array.from({ length: groups }, (_, n) => points.slice(n * few, n * few + few))
      .map((list) => [mean(list, 0), mean(list, 1)]);
  }

  // Lines over the photos seen, [points, class], the last with dots. top: what stands at the upper edge; guess: where a
  // network would be that only guesses, a dashed line.
  function chart(about, seen, lines, top, guess, form) {
    const x = (v) => (46 + (340 * v) / Math.max(seen, 1)).toFixed(1);
    const y = (v) => (160 - 145 * Math.min(1, v / top || 1)).toFixed(1); // what is no number is at the upper edge too
    const line = ([points, cls]) => html`<polyline class="${cls}" points="${points.map(([a, v]) => `${x(a)},${y(v)}`)
      .join(" ")}" />`;
    return html`<svg viewBox="0 0 400 190" role="img" aria-label="${about}">
      <path d="M46 10V160H392" /><path class="guess" d="M46 ${y(guess)}H392" />${lines.map(line)}
      ${lines.at(-1)[0].map(([a, v]) => html`<circle cx="${x(a)}" cy="${y(v)}" r="3.5" />`)}
      <text x="40" y="20" text-anchor="end">${form(top)}</text><text x="40" y="164" text-anchor="end">${form(0)}</text>
      <text x="40" y="${Number(y(guess)) + 4}" text-anchor="end">${form(guess)}</text>
      <text x="46" y="180">0</text><text x="392" y="180" text-anchor="end">${many(seen, "photo")}</text></svg>`;
  }

  function lossCurve({ report: { seen }, losses, exams }) {
    const guess = Math.log(A.classes.length), most = Math.max(guess, ...thinned(losses).map(([, v]) => v || 0));
    const told = losses.length ? `, from ${size(losses[0][1])} to ${big(losses.at(-1)[1])}` : "";
    const held = exams.map((one) => [one.seen, one.loss]), lines = [[thinned(losses), "thin"], [held, ""]];
    return chart(`loss of each batch${told}`, seen, lines, 1.3 * Math.min(3 * guess, most), guess, (v) => v.toFixed(1));
  }

  function rightCurve({ report: { seen }, exams }) {
    const points = exams.map((one) => [one.seen, one.right / one.of]), now = points.at(-1);
    const about = `held-back photos named right${now ? `, now ${percent(now[1])}` : ""}`;
    return chart(about, seen, [[points, ""]], 1, 1 / A.classes.length, (v) => `${Math.round(100 * v)} %`);
  }

  // ---- the page's photo, and its path

  // The likeliest classes, in their own order, and always the right one.
  function photo({ report: { looked: { now: { p } } } }) {
    const best = [...p.keys()].sort((a, b) => p[b] - p[a]), shown = new Set([...best.slice(0, 9), A.label]);
    const label = (k) => (k === A.label ? html` <small>label</small>` : "");
    const row = (k) => [html`${A.classes[k]}${label(k)}`, cell(percent(p[k]), { cls: k === best[0] ? "winner" : "" }),
      bar(p[k], 1)];
    const rows = [...p.keys()].filter((k) => p.length <= 10 || shown.has(k)).map(row);
    return table(`${State.titleOf(A.S.photo)}: what the network says now`, null, rows);
  }

  // The numbers on the page's path through the network that learns, at the start and now.
  function path({ report: { looked: { before, now } }, looked }) {
    let n = 0;
    const both = (form) => [form(before.values[n]), form(now.values[n++])];
    const rows = looked.places.map(({ layer, name, at, kernel, w }) => {
      const out = [`${name}[${at.join(",")}]`, ...both(fixed)];
      return [layer, ...(kernel ? [`${kernel}[${w.join(",")}]`, ...both(signed)] : ["", "", ""]), ...out];
    });
    const head = ["layer", "weight", "at the start", "now", "what comes out", "at the start", "now"];
    return table("the numbers on this page’s path, in the network that learns", head, rows);
  }

  function draw(c) {
    $("learn-state").textContent = state(c);
    kernels(c);
    put($("learn-loss"), lossCurve(c));
    put($("learn-right"), rightCurve(c));
    if (!c.report.looked) return;
    put($("learn-photo"), photo(c));
    put($("learn-path"), path(c));
    Show.reachable($("school"));
  }

  return { news, reason, draw };
})();
