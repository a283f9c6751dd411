// The places to play: convolution lab (L), im2col (M), gradient check (G), shift and mirror (S), training (T).
"use strict";

const Labs = (() => {
  const { html, words, number, fixed, signed, grad, size, percent, cell, total, table, sums, pair, bar, map } = Show;
  const { product, exactly, id, controls, input, rate, select, button, tap, place, windowGrids, running } = Parts;
  const { lab: CHOICES, tolerances } = words;

  // ---- L: any kernel size, stride and padding

  // A learned filter in a window of another size: in the middle of zeros, or its own middle.
  function resized(kernel, k) {
    const side = Math.sqrt(kernel.length), before = Math.floor(Math.abs(k - side) / 2);
    const shift = k < side ? before : -before, inside = (i) => i >= 0 && i < side;
    return Float64Array.from({ length: k * k }, (_, n) => {
      const i = Math.floor(n / k) + shift, j = (n % k) + shift;
      return inside(i) && inside(j) ? kernel[i * side + j] : 0;
    });
  }

  function lab(A) {
    const { k, s, pad, preset, toy } = A.S, n = toy ? CHOICES.toy.length : 28;
    const x = toy ? Float64Array.from(CHOICES.toy.flat()) : A.x;
    const g = Engine.plan(n, n, 1, 1, k, s, pad), learned = A.P.W1.filter((_, m) => m % 32 === A.S.F.f1);
    const W = preset === "learned" ? resized(learned, k) : Float64Array.from(CHOICES.presets[preset][k]);
    const z = g.OH > 0 ? Engine.conv(g, x, W, [0]) : new Float64Array(0);
    const inside = (i, length) => Math.min(i, Math.max(0, length - 1));
    return { g, x, W, n, z, i: inside(A.S.L.i, g.OH), j: inside(A.S.L.j, g.OW) };
  }

  // The lab's own sentence: z[i,j] = SUM(u, v) x[s*i+u-top, s*j+v-left] * W[u,v].
  function labTerms({ g, x, W, n, z, i, j }) {
    const ranges = [["u", g.k], ["v", g.k]], at = (a, b, before) => [[a, g.s], [b, 1], ["", -before]];
    const factors = [{ tensor: "x", index: [at("i", "u", g.top), at("j", "v", g.left)] },
      { tensor: "W", index: [[["u", 1]], [["v", 1]]] }];
    const sentence = { text: "", sign: 1, operator: "SUM", ranges, factors, start: null,
      out: { tensor: "z", index: [[["i", 1]], [["j", 1]]] } };
    const tensors = { x: { data: x, shape: [n, n] }, W: { data: W, shape: [g.k, g.k] },
      z: { data: z, shape: [g.OH, g.OW] } };
    return Terms.evaluate(sentence, (name) => tensors[name], { i, j });
  }

  function labChoices({ k, s, pad, preset, toy, photo, F }) {
    const named = (v) => [v, v === "learned" ? `learned: conv1 filter ${F.f1}` : v];
    return controls(select("toy", "image", [["", `photo ${photo}`], ["1", "a 5×5 toy"]], toy ? "1" : ""),
      select("k", "kernel", CHOICES.sizes.map((v) => [v, `${v}×${v}`]), k),
      select("s", "stride", CHOICES.strides.map((v) => [v, v]), s),
      select("pad", "padding", CHOICES.paddings.map((v) => [v, v]), pad),
      select("preset", "filter", [...Object.keys(CHOICES.presets), "learned"].map(named), preset));
  }

  const L = (A) => {
    const { k, s, pad } = A.S, one = lab(A), { g, x, n, z, i, j } = one, choices = labChoices(A.S);
    if (g.OH < 1) return { html: html`${choices}<p>A ${k}×${k} window does not fit into ${n}×${n}.</p>`,
      say: "the window does not fit" };
    const e = labTerms(one), taps = running(e.terms), unused = pad === "valid" ? n - ((g.OH - 1) * s + k) : 0;
    const length = pad === "same" ? `⌈${n} / ${s}⌉` : `⌊(${n} − ${k}) / ${s}⌋ + 1`;
    const from = map("m-lx", { caption: `image ${n}×${n}, padding hatched`, data: x, H: n, W: n,
      pad: [g.top, g.bottom, g.left, g.right], box: [i * s - g.top, j * s - g.left, k, k],
      taps: taps.map((t) => t.factors[0].at) });
    const to = map("m-lz", { caption: `result ${g.OH}×${g.OW}`, data: z, H: g.OH, W: g.OW, sel: [i, j],
      pick: (p, q) => ({ L: { i: p, j: q } }) });
    const sizes = [["output", `${length} = ${g.OH}`], ["zeros above, below", `${g.top}, ${g.bottom}`],
      ["zeros left, right", `${g.left}, ${g.right}`], ["last rows and columns not used", unused]];
    return { html: html`${choices}${pair(from, to)}${sums("sizes, by Keras’ rule", sizes)}
      ${windowGrids(taps, k, k <= 3 ? ["window", "filter", "product"] : ["window", "filter"], "g-l")}
      ${sums("the sum", [[`${k * k} products`, exactly(taps.at(-1).running)],
        ["= result", total(exactly(e.out.value))]])}`,
    say: `kernel ${k}, stride ${s}, padding ${pad}: ${g.OH} by ${g.OW}, zeros ${g.top} before and ${g.bottom} after; `
      + `cell ${i}, ${j} is ${signed(e.out.value)}`, micro: Parts.sayTaps(taps) };
  };

  // ---- M: the same convolution as one matrix product

  const PRODUCTS = [["z = columns · W", "784×9 · 9×32", "196×288 · 288×64"],
    ["dW = columnsᵀ · dz", "9×784 · 784×32", "288×196 · 196×64"],
    ["dcolumns = dz · Wᵀ, then col2im", "784×32 · 32×9", "196×64 · 64×288"]];

  const M = (A) => {
    const c = A.S.F, at = (i, j) => Terms.evaluate(State.STEP.F3.sentence, A.tensor, { i, j, f: c.f1 });
    const e = at(c.i1, c.j1), taps = running(e.terms), row = c.i1 * 28 + c.j1;
    const pixels = (i, j) => at(i, j).terms.map((t) => t.factors[0].value);
    const windows = Array.from({ length: 28 }, (_, j) => pixels(c.i1, j));
    const near = [-1, 0, 1].map((d) => row + d).filter((n) => n >= 0 && n < 784);
    const line = (n) => pixels(Math.floor(n / 28), n % 28).map((v, t) => (n === row
      ? cell(fixed(v), { tap: t, cls: "winner" }) : fixed(v)));
    const tapped = (format) => taps.map((t, n) => cell(format(t), { tap: n }));
    const lying = map("m-col", { wide: true, H: 9, W: 28, sel: [4, c.j1], box: [0, c.j1, 9, 1],
      caption: `28 of the 784 windows, those of row ${c.i1}: each column is one, its nine pixels below each other`,
      data: Float64Array.from({ length: 9 * 28 }, (_, n) => windows[n % 28][Math.floor(n / 28)]),
      taps: taps.map((_, t) => [t, c.j1]), pick: (t, j) => ({ j1: j }) });
    const weights = [["weight", ...tapped((t) => signed(t.factors[1].value))],
      ["product", ...tapped((t) => product(t.product))]];
    return { html: html`${place(c, 1)}${lying}
      ${table(`rows around window ${row} = 28·${c.i1} + ${c.j1}`, ["window",
        ...taps.map((_, t) => `[${Math.floor(t / 3)},${t % 3}]`)], near.map((n) => [n, ...line(n)]))}
      ${table(`times column ${c.f1} of W1, 9×32`, ["", ...taps.map((_, t) => t)], weights)}
      ${sums("the sum", [["row · column", exactly(taps[8].running)], ["+ bias", exactly(e.start.value)],
        [`= z1[${c.i1},${c.j1},${c.f1}]`, total(exactly(e.out.value))]])}
      ${table("forward and backward are three products", ["", "conv1", "conv2"], PRODUCTS)}`,
    say: `window ${row} is row ${row} of the matrix`, micro: Parts.sayTaps(taps) };
  };

  // ---- G: is the gradient the slope?

  // A measured loss is a number with 16 digits: its rounding, over 2h, is the slope's.
  const rounding = (A, r) => (1e-15 * Math.max(1, Math.abs(A.loss))) / r.h;
  const close = (A, r) =>
    Math.abs(r.numeric - r.analytic) <= tolerances.slope * Math.abs(r.analytic) + 10 * rounding(A, r);

  function verdict(A, r) {
    if (r.kinks) return `kink: ${r.kinks} units flip, not comparable`;
    return close(A, r) ? "agrees" : "DIFFERS";
  }

  const G = (A) => {
    const c = A.S.B, n = A.S.layer, name = "W" + n;
    const index = n === 1 ? c.t1 * 32 + c.f1 : (c.t2 * 32 + c.c2) * 64 + c.f2;
    const r = A.tried(`check ${name} ${index}`, () => Engine.check(A.P, A.T, A.G, A.target, name, index));
    const where = [tap(n, c[`t${n}`]), n === 2 && input("c2", "channel", 31, c.c2), Parts.filterInput(c, n)];
    const exact = (v) => number(v, "exact");
    const rows = [["w", exact(A.P[name][index])], ["L(w + h)", exact(r.plus)], ["L(w − h)", exact(r.minus)],
      ["numeric: difference / 2h", grad(r.numeric)],
      ["analytic: the sum of the backward pass", grad(r.analytic)], ["kinks between the two", r.kinks],
      ["relative difference", cell(html`${r.relative.toExponential(1)} <small>${verdict(A, r)}</small>`,
        { cls: "total" })]];
    return { html: html`${controls(select("layer", "weight of", [["1", "conv1"], ["2", "conv2"]], n), ...where)}
      ${sums(`moving one number of ${name} by h = ${r.h}`, rows)}${controls(button("G", "Check 40 of each tensor"))}
      <div id="sample" aria-live="polite">${A.sample}</div>`,
    say: `numeric slope ${grad(r.numeric)}, analytic ${grad(r.analytic)}: ${verdict(A, r)}` };
  };

  // Which numbers of a tensor are checked: all of a small one, else the 20 with the largest gradients and 20 at random.
  function chosenEntries(g) {
    const all = Array.from(g.keys()), largest = Array.from(g, Math.abs).sort((a, b) => b - a)[19];
    if (g.length <= 40) return all;
    let seed = 1;
    const random = Array.from({ length: 20 }, () => (seed = (seed * 16807) % 2147483647) % g.length);
    return [...all.filter((n) => Math.abs(g[n]) >= largest).slice(0, 20), ...random];
  }

  // Where all gradients are tiny, the measured slopes are mostly rounding: 1e-16 times the loss, divided by h.
  function judge(row, error, size) {
    if (row.good < Math.min(30, size)) return "too few without a kink";
    if (error <= tolerances.sample) return "agrees";
    return Math.sqrt(row.off) <= 5e-9 ? "agrees to rounding" : "DIFFERS";
  }

  function sampleTable(rows, P, done, all) {
    const cells = rows.map((r) => {
      const error = Math.sqrt(r.off / (r.norm || 1));
      return [r.name, r.good, r.kink, error.toExponential(1), done < all ? "…" : judge(r, error, P[r.name].length)];
    });
    const head = ["tensor", "compared", "kinks, left out", "‖numeric − analytic‖ / ‖analytic‖", "verdict"];
    return table(`gradient check, ${done} of ${all} done`, head, cells);
  }

  // The check for a sample of each parameter, a few at a time so that the page stays awake; calls show(html, finished).
  function sample(A, show) {
    const { P, T, G: grads, target } = A;
    const rows = Engine.PARAMS.map((name) => ({ name, good: 0, kink: 0, norm: 0, off: 0 }));
    const jobs = rows.flatMap((row) => chosenEntries(grads["d" + row.name]).map((n) => [row, n]));
    (function some(n) {
      for (const stop = performance.now() + 40; n < jobs.length && performance.now() < stop; n++) {
        const [row, index] = jobs[n], r = Engine.check(P, T, grads, target, row.name, index);
        if (r.kinks) {
          row.kink++;
          continue;
        }
        row.good++;
        row.norm += r.analytic ** 2;
        row.off += (r.numeric - r.analytic) ** 2;
      }
      if (A.P !== P || A.T !== T) return show(html``, true);
      show(sampleTable(rows, P, n, jobs.length), n === jobs.length);
      if (n < jobs.length) setTimeout(some, 0, n);
    })(0);
  }

  // ---- S: moved, mirrored, rearranged

  // How much of the pooled maps is the same after the photo moved by one pixel, and whether conv1 moved along exactly.
  function carried(A) {
    const moved = Engine.forward(A.P, Engine.arrange(A.x, { dx: 1 })), at = (z, i, j, f) => z[(i * 28 + j) * 32 + f];
    let largest = 0;
    for (let i = 1; i < 27; i++) for (let j = 2; j < 27; j++) for (let f = 0; f < 32; f++)
      largest = Math.max(largest, Math.abs(at(moved.z1, i, j, f) - at(A.T.z1, i, j - 1, f)));
    const stays = (name) => A.T[name].filter((v, k) => Math.abs(v - moved[name][k]) < 1e-9).length;
    const same = (name) => stays(name) / A.T[name].length;
    return { largest, p1: same("p1"), p2: same("p2") };
  }

  function moves(s) {
    const slider = (name, label) => html`<label>${label} <input type="range" id="${id(name)}" data-set="${name}"
      min="-6" max="6" value="${s[name]}"> <output>${s[name]}</output></label>`;
    const checked = s.mirror ? html` checked` : "";
    const mirror = html`<label><input type="checkbox" id="${id("mirror")}" data-set="mirror"${checked}> mirrored
      <kbd>m</kbd></label>`;
    const parts = [["", "in order"], ["halves", "halves swapped"], ["quadrants", "quadrants swapped"]];
    return controls(mirror, slider("dx", "shift right"), slider("dy", "shift down"),
      select("parts", "parts", parts, s.parts));
  }

  const S = (A) => {
    const dense = A.dense, c = A.tried("carried", () => carried(A)), best = (p) => p.indexOf(Math.max(...p));
    const said = (p) => `${A.classes[best(p)]} ${percent(p[best(p)])}`;
    const known = (p) => (A.label === null ? "" : best(p) === A.label ? " ✓ right" : " ✗ wrong");
    const cells = (p, k) => [cell(percent(p[k]), { cls: k === best(p) ? "winner" : "" }), bar(p[k], 1)];
    const label = (k) => (k === A.label ? html` <small>label</small>` : "");
    const rows = A.classes.map((name, k) => [html`${name}${label(k)}`, ...cells(A.T.p, k), ...cells(dense.p, k)]);
    const both = table("the same photo through two nets", ["class", "convolutional", "", "dense", ""], rows);
    const stays = [["conv1, inside the photo: largest difference from the moved map", grad(c.largest)],
      ["pool1 cells that keep their value", percent(c.p1)], ["pool2 cells that keep their value", percent(c.p2)]];
    return { html: html`${moves(A.S)}${pair(map("m-s", { caption: "what both nets see now", data: A.x, H: 28, W: 28 }),
      html`<div>${both}<p>The convolutional net says <b>${said(A.T.p)}</b>${known(A.T.p)}, the dense net
      <b>${said(dense.p)}</b>${known(dense.p)}.</p></div>`)}
      ${sums("move it one more pixel to the right, and what stays", stays)}
      <p>A convolution carries a shift over to the last bit. Pooling forgives little of it, and Flatten and Dense read
      positions. Nothing here carries over a mirror image.</p>`,
    say: `convolutional net: ${said(A.T.p)}${known(A.T.p)}; dense net: ${said(dense.p)}${known(dense.p)}` };
  };

  // ---- T: training on this one photo

  function curve(losses) {
    const top = Math.max(...losses, 1e-9), steps = losses.length - 1;
    const at = (n, v) => [40 + (560 * n) / Math.max(1, steps), 150 - (130 * v) / top];
    const points = losses.map((v, n) => at(n, v).map((k) => k.toFixed(1)).join(",")).join(" ");
    const about = `loss from ${size(losses[0])} to ${size(losses.at(-1))} in ${steps} steps`;
    return html`<svg viewBox="0 0 620 180" role="img" aria-label="${about}">
      <path d="M40 10V150H605" /><polyline points="${points}" />
      <text x="40" y="172">0</text><text x="600" y="172" text-anchor="end">${steps} steps</text>
      <text x="34" y="24" text-anchor="end">${top.toPrecision(2)}</text></svg>`;
  }

  const T = (A) => {
    const other = A.label !== null && A.target !== A.label;
    const learns = `it learns to call this ${A.classes[A.label]} ${A.articled[A.target]}`;
    const note = other ? ` (so here ${learns}; choose another class in B1)` : "";
    const buttons = [button("t", "One step"), button("T", "A hundred steps"),
      button("u", "Back to the loaded weights")];
    return { html: html`${controls(rate("lr2", A.S.lr), ...buttons)}
      <p>Loss for ${A.classes[A.target]} on this photo${note}: <b>${size(A.loss)}</b> after ${A.losses.length - 1}
      steps${A.edited ? ", with changed weights" : ""}. The network says ${A.classes[A.predicted]},
      ${percent(A.T.p[A.predicted])}.</p>${A.losses.length > 1 ? curve(A.losses) : ""}`,
    say: `loss ${size(A.loss)}` };
  };

  return { views: { L, M, G, S, T }, lab, sample, verdict };
})();
