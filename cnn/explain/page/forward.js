// Steps F1 to F12: each function shows one step at the cursor c as HTML, and says its small steps one by one.
// A view reads the tensors of the pass (A.T), the parameters (A.P) and the cursor; it computes only the products it shows.
"use strict";

const Forward = (() => {
  const { fixed, signed, grad, table, sums, pair, equation, grid, bar, map, addsTo, percent } = Show;
  const at = (data, W, C, i, j, c) => data[(i * W + j) * C + c];
  const inside = (i, j, n) => i >= 0 && j >= 0 && i < n && j < n;
  const sum = (list) => list.reduce((a, b) => a + b, 0);

  const number = (name, label, max, value) =>
    `<label>${label} <input type="number" id="${Show.settings.prefix}in-${name}" data-set="${name}" min="0" max="${max}" `
      + `value="${value}"></label>`;
  const controls = (...parts) => `<p class="controls">${parts.join(" ")}</p>`;
  const where = (n) => (n === 1 ? { side: 28, C: 32, i: "i1", j: "j1", f: "f1" }
    : { side: 14, C: 64, i: "i2", j: "j2", f: "f2" });
  // Pooled maps have no cursor of their own: the place is that of the map before, `of`.
  const cellControls = (c, n, filter = "filter", of = "") => {
    const w = where(n), parts = [number(w.i, `row${of}`, w.side - 1, c[w.i]), number(w.j, `column${of}`, w.side - 1, c[w.j])];
    return controls(...parts, number(w.f, filter, w.C - 1, c[w.f]));
  };
  const edit = (name, index, label, value) => `<label>${label} <input type="number" step="any" `
    + `id="${Show.settings.prefix}ed-${name}" data-edit="${name}" data-index="${index}" `
    + `value="${Number(value.toPrecision(9))}"></label>`;
  const pick = (i, j) => (a, b) => ({ [i]: a, [j]: b });

  // The nine products of one 3x3 window, as window x weights = products with their running sum.
  function window9(A, n, c) {
    const [data, side, C, ch, i, j, f] = n === 1 ? [A.x, 28, 1, 0, c.i1, c.j1, c.f1] : [A.T.p1, 14, 32, c.c2, c.i2, c.j2, c.f2];
    const F = n === 1 ? 32 : 64, W = A.P["W" + n], taps = [];
    for (let t = 0, running = 0; t < 9; t++) {
      const r = i + Math.floor(t / 3) - 1, q = j + (t % 3) - 1, real = inside(r, q, side), index = (t * C + ch) * F + f;
      const a = real ? at(data, side, C, r, q, ch) : 0, w = W[index], product = a * w;
      taps.push({ r, q, real, a, w, index, product, running: (running += product) });
    }
    return taps;
  }

  function grids(taps, names, id, chosen) {
    const box = (caption, k, text, cls = () => "") => grid(caption, 3,
      (u, v, t) => ({ html: text(taps[t]), cls: `${cls(taps[t])} ${t === chosen ? "chosen" : ""}` }), `${id}-${k}`);
    return equation(box(names[0], "a", (t) => fixed(t.a), (t) => (t.real ? "" : "padding")), "×",
      box(names[1], "w", (t) => signed(t.w)), "=", box("product", "p", (t) => signed(t.product)));
  }
  const sayTaps = (taps) => taps.map((t, n) => ({ tap: n,
    say: `product ${n + 1} of ${taps.length}: ${fixed(t.a)} times ${fixed(t.w)} is ${fixed(t.product)}, running sum `
    + `${fixed(t.running)}${t.real === false ? "; this cell is padding" : ""}` }));
  const runningRow = (taps) => table("running sum, product by product", ["after", ...taps.map((_, n) => n + 1)],
    [["sum", ...taps.map((t, n) => [signed(t.running), `data-tap="${n}"`])]]);

  // Rows of a sum: what was added, bias, z, and what ReLU makes of it.
  function total(parts, b, z, a) {
    const shown = parts.map(([, v]) => signed(v)), rows = parts.map(([label, v]) => [label, signed(v)]);
    rows.push(["+ bias", [signed(b), `data-tap="b"`]], ["= z",
      [signed(z) + addsTo([...shown, signed(b)], signed(z), signed), `data-tap="z" class="total"`]]);
    if (a !== undefined) rows.push(["max(0, z)", [`${fixed(a)} <small>${z > 0 ? "open" : "closed"}</small>`,
      `data-tap="a" class="total"`]]);
    return sums("the sum", rows);
  }
  const sayTotal = (b, z, a) => [{ tap: "b", say: `plus the bias ${fixed(b)}` }, { tap: "z", say: `is z, ${fixed(z)}` },
    ...(a === undefined ? [] : [{ tap: "a", say: `ReLU: the larger of 0 and z is ${fixed(a)}` }])];

  const F1 = (A, c) => {
    const n = c.i1 * 28 + c.j1, byte = Math.round(A.x[n] * 255);
    return { html: controls(number("i1", "row", 27, c.i1), number("j1", "column", 27, c.j1))
      + pair(map("m-x", { caption: "x, the photo", data: A.x, H: 28, W: 28, sel: [c.i1, c.j1], pick: pick("i1", "j1") }),
        sums("one pixel", [["in the file", `${byte} of 255`], ["x = byte / 255", [fixed(A.x[n]), 'class="total"']]])),
    say: `pixel in row ${c.i1}, column ${c.j1}: ${byte} of 255, x is ${fixed(A.x[n])}`, micro: [] };
  };

  const F2 = (A, c) => {
    const box = [c.i1 - 1, c.j1 - 1, 3, 3], counts = [["top, bottom", "1, 1"], ["left, right", "1, 1"],
      ["zeros added", "30·30 − 28·28 = 116"], ["windows that touch them", "784 − 26·26 = 108"]];
    const picture = map("m-pad", { caption: "x with its border of zeros, 30×30 (padding hatched)", data: A.x, H: 28, W: 28,
      pad: [1, 1, 1, 1], sel: [c.i1, c.j1], box, pick: pick("i1", "j1") });
    return { html: pair(picture, sums("padding ‘same’, 3×3, stride 1", counts)),
      say: "one row of zeros above and below, one column left and right", micro: [] };
  };

  const F3 = (A, c) => {
    const taps = window9(A, 1, c), z = at(A.T.z1, 28, 32, c.i1, c.j1, c.f1), b = A.P.b1[c.f1], a = Math.max(0, z);
    return { html: cellControls(c, 1)
      + pair(map("m-x", { caption: "x, with the window", data: A.x, H: 28, W: 28, pad: [1, 1, 1, 1],
        box: [c.i1 - 1, c.j1 - 1, 3, 3], taps: taps.map((t) => [t.r, t.q]), feeds: "m-z1", pick: pick("i1", "j1") }),
        map("m-z1", { caption: `z1, filter ${c.f1}`, data: A.T.z1, H: 28, W: 28, C: 32, ch: c.f1, sel: [c.i1, c.j1],
        reads: "m-x", pick: pick("i1", "j1") }))
      + grids(taps, ["window of x", `weights W1[·,·,0,${c.f1}]`], "g3", c.t1) + runningRow(taps)
      + total([["sum of 9 products", taps[8].running]], b, z, a)
      + controls(edit("W1", taps[c.t1].index, `weight [${Math.floor(c.t1 / 3)},${c.t1 % 3}]`, taps[c.t1].w),
        edit("b1", c.f1, "bias", b)),
    say: `conv1 cell ${c.i1}, ${c.j1}, filter ${c.f1}: z is ${fixed(z)}`, micro: [...sayTaps(taps), ...sayTotal(b, z, a)] };
  };

  const relu = (n) => (A, c) => {
    const w = where(n), z = A.T["z" + n], a = A.T["a" + n], i = c[w.i], j = c[w.j], f = c[w.f], v = at(z, w.side, w.C, i, j, f);
    let closed = 0;
    for (let k = f; k < z.length; k += w.C) closed += z[k] <= 0;
    return { html: cellControls(c, n)
      + pair(map(`m-z${n}`, { caption: `z${n}, filter ${f}: before`, data: z, H: w.side, W: w.side, C: w.C, ch: f,
        sel: [i, j], pick: pick(w.i, w.j) }), map(`m-a${n}`,
        { caption: `a${n}, filter ${f}: after`, data: a, H: w.side, W: w.side, C: w.C, ch: f, sel: [i, j],
        pick: pick(w.i, w.j) }))
      + sums("one cell", [["z", signed(v)],
        ["max(0, z)", [`${fixed(Math.max(0, v))} <small>${v > 0 ? "open: passes on" : "closed: becomes 0"}</small>`,
        'class="total"']],
        ["closed in this map", `${closed} of ${w.side ** 2}, ${percent(closed / w.side ** 2)}`]]),
    say: `z ${fixed(v)} becomes ${fixed(Math.max(0, v))}`, micro: [] };
  };

  const pool = (n) => (A, c) => {
    const w = where(n), half = w.side / 2, i = c[w.i] >> 1, j = c[w.j] >> 1, f = c[w.f], a = A.T["a" + n];
    const four = [0, 1, 2, 3].map((m) => at(a, w.side, w.C, 2 * i + (m >> 1), 2 * j + (m & 1), f));
    const winner = at(A.T["argmax" + n], half, w.C, i, j, f), best = four[winner], tied = four.filter((v) => v === best).length;
    return { html: cellControls(c, n, "filter", ` in a${n}`)
      + pair(map(`m-a${n}`, { caption: `a${n}, filter ${f}`, data: a, H: w.side, W: w.side, C: w.C, ch: f,
        box: [2 * i, 2 * j, 2, 2], sel: [2 * i + (winner >> 1), 2 * j + (winner & 1)],
        taps: [0, 1, 2, 3].map((m) => [2 * i + (m >> 1), 2 * j + (m & 1)]), pick: pick(w.i, w.j) }),
        map(`m-p${n}`, { caption: `p${n}, filter ${f}`, data: A.T["p" + n], H: half, W: half, C: w.C, ch: f, sel: [i, j],
        pick: (p, q) => ({ [w.i]: 2 * p, [w.j]: 2 * q }) }))
      + equation(grid("four values", 2, (u, v,
        m) => ({ html: fixed(four[m]) + (m === winner ? " <small>wins</small>" : ""), cls: m === winner ? "winner" : "" }),
        `g-pool${n}`), "→", sums("the largest",
        [[`p${n}[${i},${j},${f}]`, [fixed(best), 'class="total"']], ["it stood at",
        `row ${winner >> 1}, column ${winner & 1} of the window`],
        ["tied", tied > 1 ? `${tied} cells are equal: the first, row by row, wins` : "no"]])),
    say: `the largest of four is ${fixed(best)}, at row ${winner >> 1}, column ${winner & 1} of the `
      + `window${tied > 1 ? `, ${tied} tied` : ""}`,
    micro: four.map((v, m) => ({ tap: m, say: `cell ${m + 1} of 4: ${fixed(v)}` })) };
  };

  // The sum over the channels: 32 partial sums of nine products each.
  function channelSums(A, c) {
    return Array.from({ length: 32 }, (_, ch) => window9(A, 2, { ...c, c2: ch })[8].running);
  }

  const F6 = (A, c) => {
    const taps = window9(A, 2, c), parts = channelSums(A, c), z = at(A.T.z2, 14, 64, c.i2, c.j2, c.f2), b = A.P.b2[c.f2],
      a = Math.max(0, z), max = Math.max(...parts.map(Math.abs));
    const cells = (r) => Array.from({ length: 4 }, (_, k) => { const ch = 4 * r + k;
      return [`<button type="button" class="part" data-go="c2=${ch}" aria-pressed="${ch === c.c2}"><small>ch ${ch}</small> `
      + `${bar(parts[ch], max, signed(parts[ch]))}</button>`, `data-tap="c${ch}"`]; });
    let running = 0;
    return { html: cellControls(c, 2) + controls(number("c2", "input channel", 31, c.c2))
      + pair(map("m-p1", { caption: `p1, channel ${c.c2}, with the window`, data: A.T.p1, H: 14, W: 14, C: 32, ch: c.c2,
        pad: [1, 1, 1, 1], box: [c.i2 - 1, c.j2 - 1, 3, 3], taps: taps.map((t) => [t.r, t.q]), feeds: "m-z2",
        pick: pick("i2", "j2") }), map("m-z2",
        { caption: `z2, filter ${c.f2}`, data: A.T.z2, H: 14, W: 14, C: 64, ch: c.f2, sel: [c.i2, c.j2], reads: "m-p1",
        pick: pick("i2", "j2") }))
      + grids(taps, [`window of p1, channel ${c.c2}`, `weights W2[·,·,${c.c2},${c.f2}]`], "g6", c.t2)
      + `<p>These nine products add to <b>${signed(taps[8].running)}</b>: one of 32 partial sums, one for each channel.</p>`
      + table("32 partial sums, 288 products in all; choose a channel to see its nine", null,
        Array.from({ length: 8 }, (_, r) => [`${4 * r} to ${4 * r + 3}`, ...cells(r)]), 'class="parts"')
      + total([["sum of 32 channels", sum(parts)]], b, z, a)
      + controls(edit("W2", taps[c.t2].index, `weight [${Math.floor(c.t2 / 3)},${c.t2 % 3}]`, taps[c.t2].w),
        edit("b2", c.f2, "bias", b)),
    say: `conv2 cell ${c.i2}, ${c.j2}, filter ${c.f2}: z is ${fixed(z)}`,
    micro: [...sayTaps(taps),
      ...parts.map((v, ch) => ({ tap: `c${ch}`,
      say: `channel ${ch} brings ${fixed(v)}, running sum ${fixed((running += v))}` })), ...sayTotal(b, z, a)] };
  };

  const F9 = (A, c) => {
    const r = c.i2 >> 1, s = c.j2 >> 1, ch = c.f2, n = (r * 7 + s) * 64 + ch,
      near = [-2, -1, 0, 1, 2].map((d) => n + d).filter((m) => m >= 0 && m < 3136);
    return { html: cellControls(c, 2, "channel", " in a2")
      + pair(map("m-p2", { caption: `p2, channel ${ch}`, data: A.T.p2, H: 7, W: 7, C: 64, ch, sel: [r, s],
        pick: (p, q) => ({ i2: 2 * p, j2: 2 * q }) }), sums(`p2[${r},${s},${ch}] becomes f[${n}]`,
        [["n", `(${r}·7 + ${s})·64 + ${ch} = <b>${n}</b>`], ["and back",
        `row ${Math.floor(n / 448)}, column ${Math.floor(n / 64) % 7}, channel ${n % 64}`],
        ["value", [fixed(A.T.f[n]), 'class="total"']]]))
      + table("its neighbours in the row are the same place in other channels", ["n", ...near],
        [["f[n]", ...near.map((m) => [fixed(A.T.f[m]), m === n ? 'class="winner"' : ""])]]),
    say: `p2 at row ${r}, column ${s}, channel ${ch} becomes number ${n} of the row`, micro: [] };
  };

  // A dense dot product: its largest terms, and the others in one line.
  function terms(caption, head, list, top, format = signed) {
    const order = list.map((t, n) => n).sort((p, q) => Math.abs(list[q].product) - Math.abs(list[p].product)).slice(0, top);
    const rest = sum(list.filter((_, n) => !order.includes(n)).map((t) => t.product));
    let running = 0;
    const rows = order.map((n, k) => { const t = list[n];
      return [...[String(k + 1), ...t.where], [fixed(t.a)], [format(t.w)], [format(t.product)],
      [format((running += t.product))]].map((cell) => Array.isArray(cell) ? [cell[0], `data-tap="${k}"`] : cell); });
    if (list.length > top) rows.push([`${list.length - top} others`, ...list[0].where.map(() => ""), "", "",
      [format(rest), 'data-tap="rest"'], format(running + rest)]);
    return { order, rest, html: table(caption, ["rank", ...head, "product", "running sum"], rows),
      micro: [...order.map((n, k) => ({ tap: k,
        say: `term ${k + 1}: ${fixed(list[n].a)} times ${format(list[n].w)} is ${format(list[n].product)}` })),
        ...(list.length > top ? [{ tap: "rest", say: `the other ${list.length - top} terms add ${format(rest)}` }] : [])] };
  }

  const field = (n) => { const r = Math.floor(n / 448), s = Math.floor(n / 64) % 7; return [4 * r - 3, 4 * s - 3, 10, 10]; };

  const F10 = (A, c) => {
    const list = Array.from({ length: 3136 }, (_,
      n) => ({ where: [`(${Math.floor(n / 448)}, ${Math.floor(n / 64) % 7}, ${n % 64})`], a: A.T.f[n],
      w: A.P.W3[n * 128 + c.u], product: A.T.f[n] * A.P.W3[n * 128 + c.u] }));
    const t = terms(`unit ${c.u}: the 8 largest of 3,136 products`, ["cell of p2", "f[n]", "× W3[n,u]"], list, 8),
      z = A.T.z3[c.u], b = A.P.b3[c.u], a = Math.max(0, z);
    return { html: controls(number("u", "unit", 127, c.u))
      + pair(map("m-x", { caption: "what each of these cells can see of the photo: 10×10 pixels", data: A.x, H: 28, W: 28,
      taps: t.order.map(field) }),
        `<div>${t.html}${total([["sum of 3,136 products", sum(list.map((l) => l.product))]], b, z, a)}</div>`)
          + controls(edit("b3", c.u, "bias", b)),
    say: `dense unit ${c.u}: z is ${fixed(z)}`, micro: [...t.micro, ...sayTotal(b, z, a)] };
  };

  const F11 = (A, c) => {
    const list = Array.from(A.T.a3, (a,
      u) => ({ where: [`unit ${u}`], a, w: A.P.W4[u * 10 + c.k], product: a * A.P.W4[u * 10 + c.k] }));
    const t = terms(`${A.classes[c.k]}: the 8 largest of 128 products`, ["from", "a3[u]", "× W4[u,k]"], list, 8),
      max = Math.max(...A.T.z4.map(Math.abs));
    return { html: controls(number("k", "class", 9, c.k)) + table("ten logits z4",
      ["class", "sum of 128 products", "+ bias", "= logit", ""],
      A.classes.map((name, k) => [name, signed(A.T.z4[k] - A.P.b4[k]), signed(A.P.b4[k]),
        [signed(A.T.z4[k]), k === c.k ? 'class="winner"' : ""], bar(A.T.z4[k], max)]))
      + t.html + total([["sum of 128 products", sum(list.map((l) => l.product))]], A.P.b4[c.k], A.T.z4[c.k])
        + controls(edit("b4", c.k, "bias", A.P.b4[c.k])),
    say: `logit of ${A.classes[c.k]}: ${fixed(A.T.z4[c.k])}`, micro: [...t.micro, ...sayTotal(A.P.b4[c.k], A.T.z4[c.k])] };
  };

  const F12 = (A) => {
    const s = Engine.softmax(A.T.z4), k = A.target;
    return { html: table("softmax", ["class", "logit", "− largest", "exp", "p = exp / sum", ""],
      A.classes.map((name, n) => [name + (n === A.label ? " <small>label</small>" : ""), signed(A.T.z4[n]),
        [fixed(A.T.z4[n] - s.top), `data-tap="${n}"`], [grad(s.e[n]).replace("+", ""), `data-tap="${n}"`],
        [grad(s.p[n]).replace("+", ""), `data-tap="${n}" class="${n === A.predicted ? "winner" : ""}"`], bar(s.p[n], 1)]))
      + sums("the loss", [["sum of exp", fixed(s.sum)], ["sum of p", fixed(sum([...s.p]))],
        [`−log p of ${A.classes[k]}`, [grad(A.loss).replace("+", ""), 'class="total"']]]),
    say: `the network says ${A.classes[A.predicted]} with probability ${fixed(s.p[A.predicted])}`,
    micro: A.classes.map((name, n) => ({ tap: n,
      say: `${name}: logit ${fixed(A.T.z4[n])}, probability ${grad(s.p[n]).replace("+", "")}` })) };
  };

  return { F1, F2, F3, F4: relu(1), F5: pool(1), F6, F7: relu(2), F8: pool(2), F9, F10, F11, F12,
    kit: { at, inside, sum, number, controls, cellControls, where, edit, pick, terms, field, sayTotal, window9 } };
})();
