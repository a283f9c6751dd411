// The places to play: convolution lab (L), im2col (M), gradient check (G), shift and mirror (S), training (T).
"use strict";

const Labs = (() => {
  const { html, words, number, fixed, signed, grad, size, percent, cell, total, table, sums, pair, bar, map } = Show;
  const { product, exactly, id, controls, rate, select, button, tap, place, channel, windowGrids, running } = Parts;
  const { lab: CHOICES, tolerances } = words;

  // ---- L: any kernel size, stride and padding

  const conv1 = (A) => A.net.layers.findIndex((l) => l.op === "conv");
  // The path's filter of the first convolution for its first channel, row by row; undefined where there is none.
  function learned(A) {
    const n = conv1(A), l = A.net.layers[n];
    if (!l || l.window.kh !== l.window.kw) return undefined;
    const { C, F } = l.window, f = A.S.path[n + 1][2];
    return A.P[l.names.kernel].filter((_, m) => m % F === f && Math.floor(m / F) % C === 0);
  }

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
    const { k, s, pad, preset, toy } = A.S, n = CHOICES.toy.length, [H, W, C] = toy ? [n, n, 1] : A.shape;
    const x = toy ? Float64Array.from(CHOICES.toy.flat()) : A.x.filter((_, m) => m % C === 0);
    const g = Engine.geometry([H, W, 1], 1, [k, k], [s, s], pad), filter = preset === "learned" && learned(A);
    const w = filter ? resized(filter, k) : Float64Array.from((CHOICES.presets[preset] ?? CHOICES.presets.outline)[k]);
    const z = g.OH > 0 && g.OW > 0 ? Engine.conv(g, x, w) : new Float64Array(0);
    const inside = (i, length) => Math.min(i, Math.max(0, length - 1));
    return { g, x, W: w, z, i: inside(A.S.L.i, g.OH), j: inside(A.S.L.j, g.OW) };
  }

  // The lab's own sentence: z[i,j] = SUM(u, v) x[s*i+u-top, s*j+v-left] * W[u,v].
  function labTerms({ g, x, W, z, i, j }) {
    const ranges = [["u", g.kh], ["v", g.kw]], at = (a, b, before) => [[a, g.sh], [b, 1], ["", -before]];
    const factors = [{ tensor: "x", index: [at("i", "u", g.top), at("j", "v", g.left)] },
      { tensor: "W", index: [[["u", 1]], [["v", 1]]] }];
    const sentence = { text: "", sign: 1, operator: "SUM", ranges, factors, start: null,
      out: { tensor: "z", index: [[["i", 1]], [["j", 1]]] } };
    const tensors = { x: { data: x, shape: [g.H, g.W] }, W: { data: W, shape: [g.kh, g.kw] },
      z: { data: z, shape: [g.OH, g.OW] } };
    return Terms.evaluate(sentence, (name) => tensors[name], { i, j });
  }

  function labChoices(A) {
    const { k, s, pad, preset, toy, photo, path } = A.S, n = conv1(A), mine = learned(A) ? ["learned"] : [];
    const named = (v) => [v, v === "learned" ? `learned: ${A.net.layers[n].name} filter ${path[n + 1][2]}` : v];
    return controls(select("toy", "image", [["", State.titleOf(photo)], ["1", "a 5×5 toy"]], toy ? "1" : ""),
      select("k", "filter size", CHOICES.sizes.map((v) => [v, `${v}×${v}`]), k),
      select("s", "stride", CHOICES.strides.map((v) => [v, v]), s),
      select("pad", "padding", CHOICES.paddings.map((v) => [v, v]), pad),
      select("preset", "filter", [...Object.keys(CHOICES.presets), ...mine].map(named), preset));
  }

  const L = (A) => {
    const { k, s, pad } = A.S, one = lab(A), { g, x, z, i, j } = one, choices = labChoices(A);
    if (!z.length) return { html: html`${choices}<p>A ${k}×${k} window does not fit into ${g.H}×${g.W}.</p>`,
      say: "the window does not fit" };
    const e = labTerms(one), taps = running(e.terms);
    const left = (n, out) => (pad === "valid" ? n - ((out - 1) * s + k) : 0);
    const length = (n) => (pad === "same" ? `⌈${n} / ${s}⌉` : `⌊(${n} − ${k}) / ${s}⌋ + 1`);
    const from = map("m-lx", { caption: `image ${g.H}×${g.W}, padding hatched`, data: x, H: g.H, W: g.W,
      pad: [g.top, g.bottom, g.left, g.right], box: [i * s - g.top, j * s - g.left, k, k],
      taps: taps.map((t) => t.factors[0].at) });
    const to = map("m-lz", { caption: `result ${g.OH}×${g.OW}`, data: z, H: g.OH, W: g.OW, sel: [i, j],
      pick: (p, q) => ({ L: { i: p, j: q } }) });
    const sizes = [["output rows", `${length(g.H)} = ${g.OH}`], ["output columns", `${length(g.W)} = ${g.OW}`],
      ["zeros above, below", `${g.top}, ${g.bottom}`], ["zeros left, right", `${g.left}, ${g.right}`],
      ["last rows, columns not used", `${left(g.H, g.OH)}, ${left(g.W, g.OW)}`]];
    return { html: html`${choices}${pair(from, to)}${sums("sizes, by Keras’ rule", sizes)}
      ${windowGrids(taps, k, k <= 3 ? ["window", "filter", "product"] : ["window", "filter"], "g-l")}
      ${sums("the sum", [[`${k * k} products`, exactly(taps.at(-1).running)],
        ["= result", total(exactly(e.out.value))]])}`,
    say: `filter ${k}×${k}, stride ${s}, padding ${pad}: ${g.OH} by ${g.OW}, zeros ${g.top} before and ${g.bottom} `
      + `after; cell ${i}, ${j} is ${signed(e.out.value)}`, micro: Parts.sayTaps(taps) };
  };

  // ---- M: the same convolution as one matrix product

  // The three products of a convolution as sizes of matrices.
  const products = ({ window: g }) => {
    const m = g.OH * g.OW, k = g.kh * g.kw * g.C, o = g.F;
    return [`${m}×${k} · ${k}×${o}`, `${k}×${m} · ${m}×${o}`, `${m}×${o} · ${o}×${k}`];
  };
  const PRODUCTS = ["z = columns · W", "dW = columnsᵀ · dz", "dcolumns = dz · Wᵀ, then col2im"];
  const WIDE = 27; // columns of the matrix that are shown

  const M = (A) => {
    const n = conv1(A), l = A.net.layers[n], g = l.window, [i, j, f] = A.S.path[n + 1], row = g.OW * i + j;
    const { sentence } = words.steps.find((step) => step.kind === "conv" && step.stage === n);
    const at = (r, s) => Terms.evaluate(sentence, A.tensor, { i: r, j: s, f }), e = at(i, j), taps = running(e.terms);
    const few = taps.slice(0, WIDE), cells = (r, s) => at(r, s).terms.map((t) => t.factors[0].value);
    const windows = Array.from({ length: g.OW }, (_, s) => cells(i, s)), K = taps.length;
    const near = [-1, 0, 1].map((d) => row + d).filter((m) => m >= 0 && m < g.OH * g.OW);
    const line = (m) => cells(Math.floor(m / g.OW), m % g.OW).slice(0, WIDE).map((v, t) => (m === row
      ? cell(fixed(v), { tap: t, cls: "winner" }) : fixed(v)));
    const tapped = (format) => few.map((t, m) => cell(format(t), { tap: m }));
    const lying = map("m-col", { wide: K > g.OW, H: g.OW, W: K, sel: [j, Math.min(4, K - 1)], box: [j, 0, 1, K],
      caption: `${g.OW} of the ${g.OH * g.OW} windows, those of row ${i}: each row is one, with its ${K} numbers`,
      data: Float64Array.from(windows.flat()), taps: taps.map((_, t) => [j, t]),
      pick: (s) => ({ path: [n + 1, [i, s, f]] }) });
    const head = (t) => (g.C > 1 ? `[${t.scope.u},${t.scope.v},${t.scope.c}]` : `[${t.scope.u},${t.scope.v}]`);
    const weights = [["weight", ...tapped((t) => signed(t.factors[1].value))],
      ["product", ...tapped((t) => product(t.product))]];
    const some = few.length < K ? `, the first ${WIDE} of ${K}` : "", kernel = l.names.kernel;
    const convs = A.net.layers.filter((one) => one.op === "conv");
    return { html: html`${controls(place(n + 1, "filter"))}${lying}
      ${table(`rows around window ${row} = ${g.OW}·${i} + ${j}${some}`, ["window", ...few.map(head)],
        near.map((m) => [m, ...line(m)]))}
      ${table(`times column ${f} of ${kernel}, ${K}×${g.F}${some}`, ["", ...few.map((_, t) => t)], weights)}
      ${sums("the sum", [["row · column", exactly(taps.at(-1).running)],
        ...(e.start ? [["+ bias", exactly(e.start.value)]] : []),
        [`= ${Parts.nameOf(e.out)}`, total(exactly(e.out.value))]])}
      ${table("forward and backward are three products", ["", ...convs.map((one) => one.name)],
        PRODUCTS.map((name, k) => [name, ...convs.map((one) => products(one)[k])]))}`,
    say: `window ${row} is row ${row} of the matrix`, micro: Parts.sayTaps(few) };
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
    const k = A.S.layer, l = A.net.layers[k], name = l.names.kernel, dense = l.op === "dense";
    const w = Terms.entry(name, State.weightOf(k), A.tensor), index = w.flat;
    const r = A.tried(`check ${name} ${index}`, () => A.net.check(A.P, A.T, A.G, A.target, name, index));
    const where = dense ? [channel(k, "input"), place(k + 1, "unit").slice(-1)]
      : [tap(k), l.in[2] > 1 && channel(k, "channel"), place(k + 1, "filter").slice(-1)];
    const exact = (v) => number(v, "exact");
    const rows = [["w", exact(w.value)], ["L(w + h)", exact(r.plus)], ["L(w − h)", exact(r.minus)],
      ["measured: difference / 2h", grad(r.numeric)],
      ["from backward", grad(r.analytic)], ["kinks between the two", r.kinks],
      ["relative difference", cell(html`${r.relative.toExponential(1)} <small>${verdict(A, r)}</small>`,
        { cls: "total" })]];
    const layers = State.kernels().map((n) => [n, A.net.layers[n].name]);
    return { html: html`${controls(select("layer", "weight of", layers, k), where)}
      ${sums(`moving ${Parts.nameOf(w)} by h = ${r.h}`, rows)}${controls(button("G", "Check 40 of each tensor"))}
      <div id="sample" aria-live="polite">${A.sample}</div>`,
    say: `measured slope ${grad(r.numeric)}, from backward ${grad(r.analytic)}: ${verdict(A, r)}` };
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
    const head = ["tensor", "compared", "kinks, left out", "‖measured − backward‖ / ‖backward‖", "verdict"];
    return table(`gradient check, ${done} of ${all} done`, head, cells);
  }

  // The check for a sample of each parameter, a few at a time so that the page stays awake; calls show(html, finished).
  function sample(A, show) {
    const { P, T, G: grads, target, net } = A;
    const rows = net.params.map((name) => ({ name, good: 0, kink: 0, norm: 0, off: 0 }));
    const jobs = rows.flatMap((row) => chosenEntries(grads[net.slopes[row.name]]).map((n) => [row, n]));
    (function some(n) {
      for (const stop = performance.now() + 40; n < jobs.length && performance.now() < stop; n++) {
        const [row, index] = jobs[n], r = net.check(P, T, grads, target, row.name, index);
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

  // What happens to the maps when the photo moves one pixel to the right: of the first convolution, if its windows move
  // by one too, how far the inner cells are from the moved map; of each pooling, how many cells keep their value.
  function carried(A) {
    const moved = A.net.forward(A.P, Engine.arrange(A.x, A.shape, { dx: 1 })), l = A.net.layers[0], rows = [];
    if (l.op === "conv" && l.window.sw === 1) rows.push([`${l.name}, inside the photo: largest difference from the `
      + "moved map", grad(farthest(l, A.T[l.names.z], moved[l.names.z]))]);
    for (const one of A.net.layers) if (one.op === "max" && one.out.length === 3) {
      const before = A.T[one.names.y], after = moved[one.names.y];
      const same = before.filter((v, k) => Math.abs(v - after[k]) < 1e-9).length / before.length;
      rows.push([`${one.name} cells that keep their value`, percent(same)]);
    }
    return rows;
  }

  function farthest({ window: { OH, OW, F, kh, kw } }, before, after) {
    let largest = 0;
    for (let i = kh; i < OH - kh; i++) for (let j = kw + 1; j < OW - kw; j++) for (let f = 0; f < F; f++)
      largest = Math.max(largest, Math.abs(after[(i * OW + j) * F + f] - before[(i * OW + j - 1) * F + f]));
    return largest;
  }

  function moves(s) {
    const most = State.MAX_SHIFT;
    const slider = (name, label) => html`<label>${label} <input type="range" id="${id(name)}" data-set="${name}"
      min="${-most}" max="${most}" value="${s[name]}"> <output>${s[name]}</output></label>`;
    const checked = s.mirror ? html` checked` : "";
    const mirror = html`<label><input type="checkbox" id="${id("mirror")}" data-set="mirror"${checked}> mirrored
      <kbd>m</kbd></label>`;
    const parts = [["", "in order"], ["halves", "halves swapped"], ["quadrants", "quadrants swapped"]];
    return controls(mirror, slider("dx", "shift right"), slider("dy", "shift down"),
      select("parts", "parts", parts, s.parts));
  }

  const S = (A) => {
    const dense = A.dense || null, best = (p) => p.indexOf(Math.max(...p)), nets = [A.T.p, ...(dense ? [dense.p] : [])];
    const names = dense ? ["this network", "dense net"] : ["this network"];
    const said = (p) => `${A.classes[best(p)]} ${percent(p[best(p)])}`;
    const known = (p) => (A.label === null ? "" : best(p) === A.label ? " ✓ right" : " ✗ wrong");
    const cells = (p, k) => [cell(percent(p[k]), { cls: k === best(p) ? "winner" : "" }), bar(p[k], 1)];
    const label = (k) => (k === A.label ? html` <small>label</small>` : "");
    const rows = A.classes.map((name, k) => [html`${name}${label(k)}`, ...nets.flatMap((p) => cells(p, k))]);
    const both = table("the same photo through two nets", ["class", ...names.flatMap((name) => [name, ""])], rows);
    const told = nets.map((p, n) => html`${n ? ", the dense net" : "This network"} says <b>${said(p)}</b>${known(p)}`);
    const unequal = dense && A.moment && A.moment !== "finished"
      ? " The dense net has finished its training, this network has not: choose finished above to compare them." : "";
    const picture = map("m-s", { caption: "what the network sees now", data: A.x, H: A.shape[0], W: A.shape[1],
      C: A.shape[2] });
    return { html: html`${moves(A.S)}${pair(picture, html`<div>${both}<p>${told}.${unequal}</p></div>`)}
      ${sums("move it one more pixel to the right, and what stays", A.tried("carried", () => carried(A)))}
      <p>A convolution carries a shift over to the last bit. Pooling forgives little of it, and Flatten and Dense read
      positions. Nothing here carries over a mirror image.</p>`,
    say: nets.map((p, n) => `${names[n]}: ${said(p)}${known(p)}`).join("; ") };
  };

  // ---- T: training on this one photo

  function curve(losses) {
    const top = Math.max(...losses, 1e-9), steps = losses.length - 1;
    const at = (n, v) => [40 + (560 * n) / Math.max(1, steps), 150 - (130 * v) / top];
    const points = losses.map((v, n) => at(n, v).map((k) => k.toFixed(1)).join(",")).join(" ");
    const about = `loss from ${size(losses[0])} to ${size(losses.at(-1))} in ${Show.counted(steps, "step")}`;
    return html`<svg viewBox="0 0 620 180" role="img" aria-label="${about}">
      <path d="M40 10V150H605" /><polyline points="${points}" />
      <text x="40" y="172">0</text><text x="600" y="172" text-anchor="end">${Show.counted(steps, "step")}</text>
      <text x="34" y="24" text-anchor="end">${top.toPrecision(2)}</text></svg>`;
  }

  const T = (A) => {
    const other = A.label !== null && A.target !== A.label;
    const learns = `it learns to call this ${A.classes[A.label]} ${A.articled[A.target]}`;
    const note = other ? ` (so here ${learns}; choose another class in B1)` : "";
    const buttons = [button("t", "One step"), button("T", "A hundred steps"),
      button("u", "Back to the loaded weights")];
    return { html: html`${controls(rate("lr2", A.S.lr), ...buttons)}
      <p>Loss for ${A.classes[A.target]} on this photo${note}: <b>${size(A.loss)}</b> after
      ${Show.counted(A.losses.length - 1, "step")}${A.edited ? ", with changed weights" : ""}. The network says
      ${A.classes[A.predicted]}, ${percent(A.T.p[A.predicted])}.</p>${A.losses.length > 1 ? curve(A.losses) : ""}`,
    say: `loss ${size(A.loss)}` };
  };

  return { views: { L, M, G, S, T }, lab, sample, verdict };
})();
