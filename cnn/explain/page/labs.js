// The places to play: convolution lab (L), im2col (M), gradient check (G), shift and mirror (S), training (T), own photo.
"use strict";

const Labs = (() => {
  const { fixed, signed, grad, table, sums, pair, equation, grid, bar, map, percent, escape } = Show;
  const { number, controls, window9, at } = Forward.kit;
  const select = (name, label, options, value) => `<label>${label} <select id="${Show.settings.prefix}in-${name}" `
    + `data-set="${name}">${options
    .map(([v, text]) => `<option value="${v}" ${String(v) === String(value) ? "selected"
      : ""}>${text}</option>`).join("")}</select></label>`;
  const button = (key, text) => `<button type="button" data-key="${key}">${text} <kbd>${escape(key)}</kbd></button>`;

  // ---- L: any kernel size, stride and padding

  const TOY = Float64Array.from([0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0]);
  const binomial = (n, k) => { let v = 1; for (let i = 0; i < k; i++) v = (v * (n - i)) / (i + 1); return v; };
  const PRESETS = {
    identity: (k, u, v) => Number(u === (k - 1) >> 1 && v === (k - 1) >> 1),
    blur: (k) => 1 / (k * k),
    "sobel x": (k, u, v) => binomial(k - 1, u) * (v - (k - 1) / 2),
    "sobel y": (k, u, v) => binomial(k - 1, v) * (u - (k - 1) / 2),
    outline: (k, u, v) => (u === (k - 1) >> 1 && v === (k - 1) >> 1 ? k * k - 1 : -1),
  };

  function lab(A) {
    const { k, s, pad, preset, toy } = A.S, c = A.S.L, x = toy ? TOY : A.x, n = toy ? 5 : 28,
      learned = k === 3 && preset === "learned";
    const g = Engine.plan(n, n, 1, 1, k, s, pad);
    const W = Float64Array.from({ length: k * k }, (_,
      t) => (learned ? A.P.W1[t * 32 + A.S.F.f1] : (PRESETS[preset] || PRESETS.identity)(k, Math.floor(t / k), t % k)));
    return { g, x, W, n, learned, z: g.OH > 0 ? Engine.conv(g, x, W, [learned ? A.P.b1[A.S.F.f1] : 0]) : new Float64Array(0),
      i: Math.min(c.i, Math.max(0, g.OH - 1)), j: Math.min(c.j, Math.max(0, g.OW - 1)) };
  }

  const L = (A) => {
    const { k, s, pad, preset, toy } = A.S, { g, x, W, n, z, i, j, learned } = lab(A);
    const choices = controls(select("toy", "image", [["", `photo ${A.S.photo}`], ["1", "a 5×5 toy"]], toy ? "1" : ""),
      select("k", "kernel", [1, 2, 3, 5, 7].map((v) => [v, `${v}×${v}`]), k),
      select("s", "stride", [1, 2, 3].map((v) => [v, v]), s),
      select("pad", "padding", [["same", "same"], ["valid", "valid"]], pad),
        select("preset", "filter", [...Object.keys(PRESETS),
        ...(k === 3 ? ["learned"] : [])].map((v) => [v, v === "learned" ? `learned: conv1 filter ${A.S.F.f1}` : v]), preset));
    if (g.OH < 1) return { html: choices + `<p>A ${k}×${k} window does not fit into ${n}×${n}.</p>`,
      say: "the window does not fit", micro: [] };
    const unused = pad === "valid" ? n - ((g.OH - 1) * s + k) : 0, taps = [];
    let running = 0;
    for (let t = 0; t < k * k; t++) {
      const r = i * s + Math.floor(t / k) - g.top, q = j * s + (t % k) - g.left, real = Forward.kit.inside(r, q, n),
        a = real ? x[r * n + q] : 0;
      taps.push({ r, q, real, a, w: W[t], product: a * W[t], running: (running += a * W[t]) });
    }
    const box = (caption, id, text) => grid(caption, k, (u, v,
      t) => ({ html: text(taps[t]), cls: taps[t].real ? "" : "padding" }), id);
    const size = pad === "same" ? `⌈${n} / ${s}⌉` : `⌊(${n} − ${k}) / ${s}⌋ + 1`;
    return { html: choices
      + pair(map("m-lx", { caption: `image ${n}×${n}, padding hatched`, data: x, H: n, W: n,
        pad: [g.top, g.bottom, g.left, g.right], box: [i * s - g.top, j * s - g.left, k, k],
        taps: taps.map((t) => [t.r, t.q]) }), map("m-lz",
        { caption: `result ${g.OH}×${g.OW}`, data: z, H: g.OH, W: g.OW, sel: [i, j], pick: (p, q) => ({ L: { i: p, j: q } }) }))
      + sums("sizes, by Keras’ rule", [["output", `${size} = ${g.OH}`], ["zeros above, below", `${g.top}, ${g.bottom}`],
        ["zeros left, right", `${g.left}, ${g.right}`], ["last rows and columns not used", String(unused)]])
      + equation(box("window", "g-la", (t) => fixed(t.a)), "×", box("filter", "g-lw", (t) => signed(t.w)))
      + sums("the sum", [[`${k * k} products`, signed(running)], ["+ bias", signed(learned ? A.P.b1[A.S.F.f1] : 0)],
        ["= result", [signed(z[i * g.OW + j]), 'class="total" data-tap="z"']]]),
    say: `kernel ${k}, stride ${s}, padding ${pad}: ${g.OH} by ${g.OW}, zeros ${g.top} before and ${g.bottom} after; cell `
      + `${i}, ${j} is ${fixed(z[i * g.OW + j])}`,
    micro: taps.map((t, m) => ({ tap: m,
      say: `product ${m + 1} of ${k * k}: ${fixed(t.a)} times ${fixed(t.w)}, running sum ${fixed(t.running)}` })) };
  };

  // ---- M: the same convolution as one matrix product

  const M = (A) => {
    const c = A.S.F, taps = window9(A, 1, c), row = c.i1 * 28 + c.j1,
      near = [-1, 0, 1].map((d) => row + d).filter((n) => n >= 0 && n < 784);
    const line = (n) => window9(A, 1, { ...c, i1: Math.floor(n / 28), j1: n % 28 }).map((t) => fixed(t.a));
    const lying = Float64Array.from({ length: 9 * 28 }, (_, n) => window9(A, 1, { ...c, j1: n % 28 })[Math.floor(n / 28)].a);
    return { html: Forward.kit.cellControls(c, 1)
      + map("m-col", { wide: true,
        caption: `28 of the 784 windows, those of row ${c.i1}: each column is one window, its nine pixels below each other`,
        data: lying, H: 9, W: 28, sel: [4, c.j1], box: [0, c.j1, 9, 1], taps: taps.map((_, t) => [t, c.j1]),
        pick: (t, j) => ({ j1: j }) })
      + table(`rows around window ${row} = 28·${c.i1} + ${c.j1}`, ["window",
        ...taps.map((_, t) => `[${Math.floor(t / 3)},${t % 3}]`)],
        near.map((n) => [n, ...line(n).map((v, t) => [v, n === row ? `data-tap="${t}" class="winner"` : ""])]))
      + table(`times column ${c.f1} of W1, 9×32`, ["", ...taps.map((_, t) => t)],
        [["weight", ...taps.map((t, n) => [signed(t.w), `data-tap="${n}"`])],
        ["product", ...taps.map((t, n) => [signed(t.product), `data-tap="${n}"`])]])
      + sums("the sum", [["row · column", signed(taps[8].running)], ["+ bias", signed(A.P.b1[c.f1])],
        [`= z1[${c.i1},${c.j1},${c.f1}]`, [signed(at(A.T.z1, 28, 32, c.i1, c.j1, c.f1)), 'class="total" data-tap="z"']]])
      + table("forward and backward are three products", ["", "conv1", "conv2"],
        [["z = columns · W", "784×9 · 9×32", "196×288 · 288×64"], ["dW = columnsᵀ · dz", "9×784 · 784×32",
        "288×196 · 196×64"], ["dcolumns = dz · Wᵀ, then col2im", "784×32 · 32×9", "196×64 · 64×288"]]),
    say: `window ${row} is row ${row} of the matrix`,
      micro: taps.map((t, n) => ({ tap: n, say: `${fixed(t.a)} times ${fixed(t.w)}, running sum ${fixed(t.running)}` })) };
  };

  // ---- G: is the gradient the slope?

  const chosen = (A) => (A.S.layer === 1 ? ["W1", A.S.B.t1 * 32 + A.S.B.f1] : ["W2", (A.S.B.t2 * 32 + A.S.B.c2) * 64 + A.S.B.f2]);
  const verdict = (r) => (r.kinks ? `kink: ${r.kinks} units flip, not comparable` : r.relative <= 1e-5
    || Math.abs(r.numeric - r.analytic) <= 1e-9 ? "agrees" : "DIFFERS");

  const G = (A) => {
    const c = A.S.B, [name, index] = chosen(A), r = A.tried(`check ${name} ${index}`,
      () => Engine.check(A.P, A.T, A.G, A.target, name, index));
    return { html: controls(select("layer", "weight of", [["1", "conv1"], ["2", "conv2"]], A.S.layer),
      ...(A.S.layer === 1 ? [number("t1", "tap 3u+v", 8, c.t1), number("f1", "filter", 31, c.f1)]
      : [number("t2", "tap 3u+v", 8, c.t2), number("c2", "channel", 31, c.c2), number("f2", "filter", 63, c.f2)]))
      + sums(`moving one number of ${name} by h = ${r.h}`, [["L(w + h)", r.plus.toFixed(12)],
        ["L(w − h)", r.minus.toFixed(12)], ["numeric: difference / 2h", grad(r.numeric)],
        ["analytic: the sum of the backward pass", grad(r.analytic)], ["kinks between the two", `${r.kinks}`],
        ["relative difference", [`${r.relative.toExponential(1)} <small>${verdict(r)}</small>`, 'class="total"']]])
      + controls(button("G", "Check 40 of each tensor")) + `<div id="sample" aria-live="polite">${A.sample || ""}</div>`,
    say: `numeric slope ${grad(r.numeric)}, analytic ${grad(r.analytic)}: ${verdict(r)}`, micro: [] };
  };

  // Which numbers of a tensor are checked: all of a small one, else the 20 with the largest gradients and 20 at random.
  function chosenEntries(g) {
    const all = Array.from(g.keys()), largest = Array.from(g, Math.abs).sort((a, b) => b - a)[19];
    if (g.length <= 40) return all;
    let seed = 1;
    const random = Array.from({ length: 20 }, () => (seed = (seed * 16807) % 2147483647) % g.length);
    return [...all.filter((n) => Math.abs(g[n]) >= largest).slice(0, 20), ...random];
  }

  // The check for a sample of each parameter, a few at a time so that the page stays awake; calls show(html, finished).
  function sample(A, show) {
    const { P, T, G: grads, target } = A, rows = Engine.PARAMS.map((name) => ({ name, good: 0, kink: 0, norm: 0, off: 0 }));
    const jobs = Engine.PARAMS.flatMap((name) => chosenEntries(grads["d" + name]).map((n) => [name, n]));
    // Where all gradients are tiny, the measured slopes are mostly rounding: 1e-16 times the loss, divided by h.
    const judge = (r, error) => (r.good < Math.min(30, P[r.name].length) ? "too few without a kink" : error <= 1e-7 ? "agrees"
      : Math.sqrt(r.off) <= 5e-9 ? "agrees to rounding" : "DIFFERS");
    const draw = (left) => table(`gradient check, ${jobs.length - left} of ${jobs.length} done`,
      ["tensor", "compared", "kinks, left out", "‖numeric − analytic‖ / ‖analytic‖", "verdict"], rows.map((r) => {
        const error = Math.sqrt(r.off / (r.norm || 1));
        return [r.name, String(r.good), String(r.kink), error.toExponential(1), left ? "…" : judge(r, error)];
      }));
    (function some(n) {
      for (const stop = performance.now() + 40; n < jobs.length && performance.now() < stop; n++) {
        const r = Engine.check(P, T, grads, target, ...jobs[n]), row = rows.find((t) => t.name === r.name);
        if (r.kinks) { row.kink++; continue; }
        row.good++; row.norm += r.analytic ** 2; row.off += (r.numeric - r.analytic) ** 2;
      }
      if (A.P !== P || A.T !== T) return show("", true);
      show(draw(jobs.length - n), n === jobs.length);
      if (n < jobs.length) setTimeout(some, 0, n);
    })(0);
  }

  // ---- S: moved, mirrored, rearranged

  // How much of the pooled maps is the same after the photo moved by one pixel, and whether conv1 moved along exactly.
  function carried(A) {
    const moved = Engine.forward(A.P, Engine.arrange(A.x, { dx: 1 }));
    let largest = 0;
    for (let i = 1; i < 27; i++) for (let j = 2; j < 27; j++) for (let f = 0; f < 32;
      f++) largest = Math.max(largest, Math.abs(at(moved.z1, 28, 32, i, j, f) - at(A.T.z1, 28, 32, i, j - 1, f)));
    const same = (name) => A.T[name].reduce((n, v, k) => n + (Math.abs(v - moved[name][k]) < 1e-9), 0) / A.T[name].length;
    return { largest, p1: same("p1"), p2: same("p2") };
  }

  const S = (A) => {
    const s = A.S, dense = A.dense, c = A.tried("carried", () => carried(A)), best = (p) => p.indexOf(Math.max(...p));
    const said = (p) => `${A.classes[best(p)]} ${percent(p[best(p)])}`,
      known = (p) => (A.label === null ? "" : best(p) === A.label ? " ✓ right" : " ✗ wrong");
    const cells = (p, k) => [[percent(p[k]), k === best(p) ? 'class="winner"' : ""], bar(p[k], 1)];
    const both = table("the same photo through two nets", ["class", "convolutional", "", "dense", ""],
      A.classes.map((name, k) => [name + (k === A.label ? " <small>label</small>" : ""), ...cells(A.T.p, k),
        ...cells(dense.p, k)]));
    return { html: controls(`<label><input type="checkbox" id="${Show.settings.prefix}in-mirror" data-set="mirror" `
      + `${s.mirror ? "checked" : ""}> mirrored <kbd>m</kbd></label>`,
      `<label>shift right <input type="range" id="${Show.settings.prefix}in-dx" data-set="dx" min="-6" max="6" `
      + `value="${s.dx}"> <output>${s.dx}</output></label>`,
      `<label>shift down <input type="range" id="${Show.settings.prefix}in-dy" data-set="dy" min="-6" max="6" value="${s.dy}"> `
        + `<output>${s.dy}</output></label>`, select("parts", "parts",
        [["", "in order"], ["halves", "halves swapped"], ["quadrants", "quadrants swapped"]], s.parts))
      + pair(map("m-s", { caption: "what both nets see now", data: A.x, H: 28, W: 28 }), `<div>${both}`
        + `<p>The convolutional net says <b>${said(A.T.p)}</b>${known(A.T.p)}, the dense net `
          + `<b>${said(dense.p)}</b>${known(dense.p)}.</p></div>`)
      + sums("move it one more pixel to the right, and what stays",
        [["conv1, inside the photo: largest difference from the moved map", grad(c.largest)],
        ["pool1 cells that keep their value", percent(c.p1)], ["pool2 cells that keep their value", percent(c.p2)]])
      + "<p>A convolution carries a shift over to the last bit. Pooling forgives little of it, and Flatten and Dense read "
        + "positions. Nothing here carries over a mirror image.</p>",
    say: `convolutional net: ${said(A.T.p)}${known(A.T.p)}; dense net: ${said(dense.p)}${known(dense.p)}`, micro: [] };
  };

  // ---- T: training on this one photo

  const curve = (losses) => {
    const top = Math.max(...losses, 1e-9),
      points = losses.map((v,
      n) => `${(40 + (560 * n) / Math.max(1, losses.length - 1)).toFixed(1)},${(150 - (130 * v) / top).toFixed(1)}`).join(" ");
    return `<svg viewBox="0 0 620 180" role="img" aria-label="loss from ${fixed(losses[0])} to ${fixed(losses.at(-1))} in `
      + `${losses.length - 1} steps"><path d="M40 10V150H605" /><polyline points="${points}" /><text x="40" `
      + `y="172">0</text><text x="600" y="172" text-anchor="end">${losses.length - 1} steps</text><text x="34" y="24" `
      + `text-anchor="end">${top.toPrecision(2)}</text></svg>`;
  };
  const T = (A) => ({ html: controls(`<label>learning rate <input type="number" id="${Show.settings.prefix}in-lr2" `
    + `data-set="lr" min="0" max="10" step="any" value="${A.S.lr}"></label>`, button("t", "One step"),
    button("T", "A hundred steps"), button("u", "Back to the loaded weights"))
    + `<p>Loss for ${escape(A.classes[A.target])} on this photo${A.label !== null && A.target !== A.label
      ? ` (so here it learns to call this ${escape(A.classes[A.label])} a ${escape(A.classes[A.target])}; choose another class `
      + `in B1)` : ""}: <b>${grad(A.loss).replace("+", "")}</b> after ${A.losses.length - 1} `
      + `steps${A.edited ? ", with changed weights" : ""}. The network says ${escape(A.classes[A.predicted])}, `
      + `${percent(A.T.p[A.predicted])}.</p>` + (A.losses.length > 1 ? curve(A.losses) : ""), say: `loss ${fixed(A.loss)}`,
      micro: [] });

  return { L, M, G, S, T, lab, sample, verdict, PRESETS, TOY };
})();
