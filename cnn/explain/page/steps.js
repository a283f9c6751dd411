// The steps F1 to B12: each view shows one step at a cursor as markup, and says its small steps one by one.
// Most are sentences (terms.js): their terms, grouped as Python says, and the sum. A few have a look of their own.
"use strict";

const Steps = (() => {
  const { html, words, number, fixed, signed, grad, size, percent, whole } = Show;
  const { cell, total, table, sums, grid, pair, equation, bar, map } = Show;
  const { nameOf, cellOf, show, exactly, openWord, running, controls, input, rate, edit, select, button, tap } = Parts;
  const { cellInputs, filterInput, place, pick, pickPooled, channelMap } = Parts;
  const { windowGrids, runningRow, sayTaps, totalRows, sayTotal, largest } = Parts;
  const { SIDE } = State;
  const { add } = Terms;
  const FOUR = [0, 1, 2, 3], NINE = [...Array(9).keys()];
  const zeros = (t) => t.reduce((n, v) => n + (v === 0), 0);

  // What else a step computes, where its letters say at which place: the bias's gradient, the ReLU on the way.
  const beside = ({ A, step, at }) => step.also.filter(({ places }) => places.every(([letter]) => letter in at))
    .map((sentence) => [sentence.text, show(Terms.evaluate(sentence, A.tensor, at).out)]);

  // ---- forward

  function pixel({ A, c }) {
    const n = c.i1 * 28 + c.j1, byte = Math.round(A.x[n] / A.scale), x = fixed(A.x[n]);
    const picture = channelMap(A, "x", 0, { note: "the photo", sel: [c.i1, c.j1], pick: pick(1) });
    const rows = [["in the file", `${byte} of 255`], ["x", cell(x, { cls: "total" })]];
    return { html: html`${controls(cellInputs(c, 1))}${pair(picture, sums("one pixel", rows))}`,
    say: `pixel in row ${c.i1}, column ${c.j1}: ${byte} of 255, x is ${x}` };
  }

  function padding({ A, c }) {
    const picture = channelMap(A, "x", 0, { note: "with its border of zeros, 30×30 (padding hatched)",
      pad: [1, 1, 1, 1], sel: [c.i1, c.j1], box: [c.i1 - 1, c.j1 - 1, 3, 3], pick: pick(1) });
    const rows = [["top, bottom", "1, 1"], ["left, right", "1, 1"], ["zeros added", "30·30 − 28·28 = 116"],
      ["windows that touch them", "784 − 26·26 = 108"]];
    return { html: pair(picture, sums("padding ‘same’, 3×3, stride 1", rows)),
      say: "one row of zeros above and below, one column left and right" };
  }

  function conv({ A, c, n, e }) {
    const channels = Terms.by(e, "c"), ch = n === 1 ? 0 : c.c2, taps = running(channels[ch].terms), t = c[`t${n}`];
    const [x, w] = e.sentence.factors.map((f) => f.tensor), [i, j, f] = e.out.at, z = e.out.tensor;
    const from = channelMap(A, x, ch, { note: "with the window", pad: [1, 1, 1, 1], box: [i - 1, j - 1, 3, 3],
      taps: taps.map(({ factors }) => cellOf(factors[0])), feeds: `m-${z}`, pick: pick(n) });
    const to = channelMap(A, z, f, { sel: [i, j], reads: `m-${x}`, pick: pick(n) });
    const captions = [`window of ${x}${n === 2 ? `, channel ${ch}` : ""}`, `weights ${w}[·,·,${ch},${f}]`, "product"];
    const added = n === 1 ? `${e.terms.length} products` : `${channels.length} channels`;
    const weight = edit(taps[t].factors[1], `weight [${Math.floor(t / 3)},${t % 3}]`);
    return { html: html`${place(c, n)}${n === 2 ? controls(input("c2", "input channel", 31, ch)) : ""}${pair(from, to)}
      ${windowGrids(taps, 3, captions, `g${3 * n}`, t)}${n === 1 ? runningRow(taps) : channelTable(channels, ch)}
      ${totalRows(e, `sum of ${added}`, true)}${controls(weight, edit(e.start, "bias"))}`,
    say: `${z} at ${i}, ${j}, filter ${f}: ${signed(e.out.value)}`,
    micro: [...sayTaps(taps), ...(n === 2 ? sayChannels(channels) : []), ...sayTotal(e, true)] };
  }

  // The sums of nine products each, one for each channel, to choose from.
  function channelTable(channels, ch) {
    const most = Math.max(...channels.map(({ sum }) => Math.abs(sum))), count = channels.length;
    const one = ({ value, sum }) => cell(html`<button type="button" class="part" data-go="c2=${value}"
      aria-pressed="${value === ch}"><small>ch ${value}</small> ${bar(sum, most, number(sum, "sum"))}</button>`,
    { tap: `c${value}` });
    const rows = Array.from({ length: count / 4 }, (_, r) => [`${4 * r} to ${4 * r + 3}`,
      ...channels.slice(4 * r, 4 * r + 4).map(one)]);
    const caption = `${count} partial sums, ${9 * count} products in all; choose a channel to see its nine`;
    return html`<p>These nine products add to <b>${exactly(channels[ch].sum)}</b>: one of ${count} partial sums, one for
      each channel.</p>${table(caption, null, rows, { cls: "parts" })}`;
  }

  function sayChannels(channels) {
    let sum = 0;
    return channels.map((one) => ({ tap: `c${one.value}`,
      say: `channel ${one.value} brings ${fixed(one.sum)}, running sum ${fixed((sum += one.sum))}` }));
  }

  function relu({ A, c, n, e }) {
    const [i, j, f] = e.out.at, [{ tensor, value: z }] = e.terms[0].factors, a = fixed(e.out.value);
    const { data, shape: [H, W, C] } = A.tensor(tensor);
    const closed = data.filter((v, k) => k % C === f && v <= 0).length;
    const look = (name, note) => channelMap(A, name, f, { note, sel: [i, j], pick: pick(n) });
    const after = html`${a} <small>${z > 0 ? "open: passes on" : "closed: becomes 0"}</small>`;
    const rows = [["z", signed(z)], ["max(0, z)", cell(after, { cls: "total" })],
      ["closed in this map", `${closed} of ${H * W}, ${percent(closed / (H * W))}`]];
    return { html: html`${place(c, n)}${pair(look(tensor, "before"), look(e.out.tensor, "after"))}
      ${sums("one cell", rows)}`,
    say: `z ${signed(z)} becomes ${a}` };
  }

  const windowCell = (m) => `row ${m >> 1}, column ${m & 1} of the window`;
  // Four cells of which one won, with a word for it.
  const fourCells = (entries, winner, word) => entries.map((one, m) => (m === winner
    ? { text: html`${show(one)} <small>${word}</small>`, cls: "winner" } : { text: show(one) }));

  function pool({ A, c, n, e }) {
    const [i, j, f] = e.out.at, four = e.terms.map((t) => t.factors[0]), winner = A.T[`argmax${n}`][e.out.flat];
    const tied = four.filter(({ value }) => value === four[winner].value).length, before = four[0].tensor;
    const from = channelMap(A, before, f, { box: [2 * i, 2 * j, 2, 2], sel: cellOf(four[winner]),
      taps: four.map(cellOf), pick: pick(n) });
    const to = channelMap(A, e.out.tensor, f, { sel: [i, j], pick: pickPooled(n) });
    const rows = [[nameOf(e.out), cell(show(e.out), { cls: "total" })], ["it stood at", windowCell(winner)],
      ["tied", tied > 1 ? `${tied} cells are equal: the first, row by row, wins` : "no"]];
    const values = grid("four values", 2, fourCells(four, winner, "wins"), `g-pool${n}`);
    return { html: html`${place(c, n, "filter", ` in ${before}`)}${pair(from, to)}
      ${equation(values, "→", sums("the largest", rows))}`,
    say: `the largest of four is ${show(e.out)}, at ${windowCell(winner)}${tied > 1 ? `, ${tied} tied` : ""}`,
    micro: four.map((one, m) => ({ tap: m, say: `cell ${m + 1} of 4: ${show(one)}` })) };
  }

  const origin = (n) => [Math.floor(n / 448), Math.floor(n / 64) % 7, n % 64];

  function flatten({ A, c, at, e }) {
    const { r, s, c: ch } = at, [n] = e.out.at, [row, column, channel] = origin(n);
    const near = [-2, -1, 0, 1, 2].map((d) => n + d).filter((m) => m >= 0 && m < 3136);
    const rows = [["n", html`(${r}·7 + ${s})·64 + ${ch} = <b>${n}</b>`],
      ["and back", `row ${row}, column ${column}, channel ${channel}`], ["value", cell(show(e.out), { cls: "total" })]];
    const line = near.map((m) => cell(fixed(A.T.f[m]), { cls: m === n ? "winner" : "" }));
    const from = channelMap(A, "p2", ch, { sel: [r, s], pick: pickPooled(2) });
    return { html: html`${place(c, 2, "channel", " in a2")}
      ${pair(from, sums(`p2[${r},${s},${ch}] becomes f[${n}]`, rows))}
      ${table("its neighbours in the row are the same place in other channels", ["n", ...near], [["f[n]", ...line]])}`,
    say: `p2 at row ${r}, column ${s}, channel ${ch} becomes number ${n} of the row` };
  }

  // The 10×10 pixels of the photo that a cell of p2 can see.
  const field = (n) => [4 * origin(n)[0] - 3, 4 * origin(n)[1] - 3, 10, 10];

  function dense({ A, c, step, e }) {
    const t = largest(e, step.top, ["cell of p2"], ({ scope }) => [`(${origin(scope.n).join(", ")})`]);
    const seen = channelMap(A, "x", 0, { note: "and what each of these cells can see of it: 10×10 pixels",
      taps: t.shown.map(({ scope }) => field(scope.n)) });
    const sum = totalRows(e, `sum of ${whole(e.terms.length)} products`, true);
    return { html: html`${controls(input("u", "unit", 127, c.u))}${pair(seen, html`<div>${t.html}${sum}</div>`)}
      ${controls(edit(e.start, "bias"))}`,
    say: `dense unit ${c.u}: z is ${signed(e.out.value)}`, micro: [...t.micro, ...sayTotal(e, true)] };
  }

  function logits({ A, c, step, e }) {
    const t = largest(e, step.top, ["from"], ({ scope }) => [`unit ${scope.u}`]), z = A.T.z4, b = A.P.b4;
    const most = Math.max(...z.map(Math.abs)), cls = (k) => (k === c.k ? "winner" : "");
    const rows = A.classes.map((name, k) => [name, exactly(z[k] - b[k]), exactly(b[k]),
      cell(exactly(z[k]), { cls: cls(k) }), bar(z[k], most)]);
    return { html: html`${controls(input("k", "class", 9, c.k))}
      ${table("ten logits z4", ["class", "sum of 128 products", "+ bias", "= logit", ""], rows)}${t.html}
      ${totalRows(e, "sum of 128 products", false)}${controls(edit(e.start, "bias"))}`,
    say: `logit of ${A.classes[c.k]}: ${signed(z[c.k])}`, micro: [...t.micro, ...sayTotal(e, false)] };
  }

  function softmax({ A }) {
    const { top, e, p, sum } = Engine.softmax(A.T.z4), { classes, T: { z4: z } } = A;
    const label = (n) => (n === A.label ? html` <small>label</small>` : "");
    const probability = (n) => cell(size(p[n]), { tap: n, cls: n === A.predicted ? "winner" : "" });
    const rows = classes.map((name, n) => [html`${name}${label(n)}`, signed(z[n]), cell(signed(z[n] - top), { tap: n }),
      cell(size(e[n]), { tap: n }), probability(n), bar(p[n], 1)]);
    const loss = [["sum of exp", fixed(sum)], ["sum of p", fixed(add([...p]))],
      [`−log p of ${classes[A.target]}`, cell(size(A.loss), { cls: "total" })]];
    return { html: html`${table("softmax", ["class", "logit", "− largest", "exp", "p = exp / sum", ""], rows)}
      ${sums("the loss", loss)}`,
    say: `the network says ${classes[A.predicted]} with probability ${number(p[A.predicted], "probability")}`,
    micro: classes.map((name, n) => ({ tap: n, say: `${name}: logit ${signed(z[n])}, probability ${size(p[n])}` })) };
  }

  // ---- backward

  function dlogits({ A, step }) {
    const all = A.classes.map((_, k) => Terms.evaluate(step.sentence, A.tensor, { k })), target = A.classes[A.target];
    const sum = add(all.map((e) => e.out.value)), y = (e) => show(e.terms[0].factors[0]);
    const rows = all.map((e, k) => [A.classes[k], size(e.start.value), y(e), cell(show(e.out), { tap: k }),
      bar(e.out.value, 1)]);
    return { html: html`${controls(select("target", "explain the class", [...A.classes.entries()], A.target))}
      ${table(`the loss's slope in each logit, for y = ${target}`, ["class", "p", "y", "p − y", ""], rows)}
      <p>They add to ${grad(Math.abs(sum) < words.tolerances.terms ? 0 : sum)}: what one class gains the others
      lose.</p>`,
    say: `slope of the loss in the logit of ${target}: ${show(all[A.target].out)}`,
    micro: all.map((e, k) => ({ tap: k,
      say: `${A.classes[k]}: ${size(e.start.value)} minus ${y(e)} is ${show(e.out)}` })) };
  }

  // One weight of a dense layer: what came in, times the slope behind it.
  function denseWeight(view) {
    const { A, c, n, at, e } = view, [came, slope] = e.terms[0].factors, last = n === 1, z = A.T.z3[at.u];
    const all = A.tensor(e.out.tensor).data, none = zeros(all), unit = input("u", "unit", 127, c.u);
    const rows = [[nameOf(came), show(came)], [`× ${nameOf(slope)}`, show(slope)],
      [`= ${nameOf(e.out)}`, total(show(e.out))], ...beside(view)];
    if (!last) rows.push([`z3[${at.u}]`, html`${signed(z)} <small>${openWord(z)}</small>`]);
    const where = last ? controls(unit, input("k", "class", 9, c.k))
      : html`${place(c, n, "channel", " in a2")}${controls(unit)}`;
    return { html: html`${where}${sums(nameOf(e.out), rows)}${last ? outputGradients(A, c) : ""}
      <p>${whole(none)} of ${whole(all.length)} weights of this layer (${percent(none / all.length)}) have a gradient of
      exactly 0: their input was 0 or their unit was closed. This photo teaches them nothing.</p>`,
    say: `${nameOf(e.out)}: ${show(came)} times ${show(slope)} is ${show(e.out)}`, micro: sayTotal(e, false) };
  }

  const outputGradients = (A, c) => map("m-dW4", { wide: true, H: 10, W: 128, grad: true, sel: [c.k, c.u],
    caption: "all 1,280 products a3[u]·dlogits[k]: 10 rows (classes), 128 columns (units)", pick: (k, u) => ({ k, u }),
    data: Float64Array.from({ length: 1280 }, (_, n) => A.G.dW4[(n % 128) * 10 + Math.floor(n / 128)]) });

  function denseInput({ A, c, n, step, e }) {
    const last = n === 1, to = ({ scope }) => [last ? A.classes[scope.k] : `unit ${scope.u}`];
    const t = largest(e, step.top, [last ? "class k" : "from"], to);
    const where = last ? controls(input("u", "unit", 127, c.u)) : place(c, n, "channel", " in a2");
    return { html: html`${where}${t.html}${totalRows(e, `sum of ${e.terms.length} products`, false)}`,
      say: `the loss's slope in ${nameOf(e.out)} is ${show(e.out)}`, micro: [...t.micro, ...sayTotal(e, false)] };
  }

  function unflatten({ A, c, at, e }) {
    const { r, s, c: ch } = at, [n] = e.terms[0].factors[0].at;
    const rows = [["row", `⌊${n} / 448⌋ = ${r}`], ["column", `⌊${n} / 64⌋ mod 7 = ${s}`],
      ["channel", `${n} mod 64 = ${ch}`], ["value", total(show(e.out))]];
    const to = channelMap(A, "dp2", ch, { sel: [r, s], pick: pickPooled(2) });
    return { html: html`${place(c, 2, "channel", " in a2")}${pair(to, sums(`df[${n}] goes back to its place`, rows))}`,
      say: `number ${n} goes back to row ${r}, column ${s}, channel ${ch}` };
  }

  function route({ A, c, n, step, at: { r, s, f } }) {
    const i = r >> 1, j = s >> 1, cells = FOUR.map((m) => [2 * i + (m >> 1), 2 * j + (m & 1)]);
    const back = cells.map(([row, column]) => Terms.evaluate(step.sentence, A.tensor, { r: row, s: column, f }).out);
    const read = (tensor, at) => Terms.entry(tensor, [...at, f], A.tensor), arrives = read(`dp${n}`, [i, j]);
    const four = cells.map((one) => read(`a${n}`, one)), winner = A.T[`argmax${n}`][arrives.flat];
    const tied = four.filter(({ value }) => value === four[winner].value).length, { data } = A.tensor(`da${n}`);
    const from = channelMap(A, `dp${n}`, f, { note: "arrives", sel: [i, j], pick: pickPooled(n) });
    const to = channelMap(A, `da${n}`, f, { note: "handed on", box: [2 * i, 2 * j, 2, 2], sel: cells[winner],
      taps: cells, pick: pick(n) });
    const slopes = back.map((one, m) => ({ text: show(one), cls: m === winner ? "winner" : "" }));
    const why = tied > 1 ? `${tied} of the four were equal. The first, row by row, won and takes everything.`
      : "One cell won and takes everything; the other three changed nothing, so they get 0.";
    const said = (one, m) => (m === winner ? `cell ${m + 1} won: ${show(one)}` : `cell ${m + 1} did not win: 0`);
    return { html: html`${place(c, n, "filter", ` in a${n}`)}${pair(from, to)}
      ${equation(grid("values on the way forward", 2, fourCells(four, winner, "won"), "g-f"), ":",
        grid(`slopes: ${nameOf(arrives)} = ${show(arrives)}`, 2, slopes, "g-b"))}
      <p>${why} In all of da${n}, ${whole(data.length - zeros(data))} of ${whole(data.length)} numbers are not 0.</p>`,
    say: `the slope ${show(arrives)} goes to the cell that won; the other three get 0`,
    micro: back.map((one, m) => ({ tap: m, say: said(one, m) })) };
  }

  // Why products of a weight's gradient are 0, each counted once: the ReLU, then the pooling, then the input.
  function causes(A, n, e) {
    const count = {}, z = A.tensor(`z${n}`).data;
    const [closed, lost, padded, silent] = words.causes, live = (slope) => z[slope.flat] > 0;
    const why = ([value, slope]) => (!live(slope) ? closed : slope.value === 0 ? lost : value.inside ? silent : padded);
    for (const t of e.terms) if (t.product === 0) count[why(t.factors)] = (count[why(t.factors)] || 0) + 1;
    return Object.entries(count).map(([name, times]) => `${times} ${name}`).join(", ");
  }

  function convWeight(view) {
    const { A, c, n, step, at: { u, v, f, c: ch }, e } = view, live = e.terms.filter((t) => t.product !== 0);
    const [x, d] = e.sentence.factors.map((one) => one.tensor), side = SIDE[n], none = e.terms.length - live.length;
    const t = live.length ? largest(e, step.top, ["row i", "column j"], ({ scope }) => [scope.i, scope.j], live)
      : { html: html`<p>No product is live: this weight has a gradient of exactly 0.</p>`, shown: [], micro: [] };
    const where = controls(tap(n, c[`t${n}`]), n === 2 && input("c2", "channel", 31, ch), filterInput(c, n));
    const looked = (k) => t.shown.map(({ factors }) => cellOf(factors[k]));
    const from = channelMap(A, x, ch, { pad: [1, 1, 1, 1], box: [u - 1, v - 1, side, side], taps: looked(0) });
    const rows = [[`= ${nameOf(e.out)}`, total(show(e.out))], ...beside(view),
      ["the weight itself", signed(A.P[`W${n}`][e.out.flat])]];
    if (none) rows.unshift([`${none} products are 0`, causes(A, n, e)]);
    return { html: html`${where}${pair(from, channelMap(A, d, f, { taps: looked(1) }))}${t.html}${sums("the sum", rows)}
      ${controls(button("g", "Check this gradient by moving the weight"))}`,
    say: `${nameOf(e.out)}: ${live.length} of ${e.terms.length} products are not zero, sum ${show(e.out)}`,
    micro: [...t.micro, ...sayTotal(e, false)] };
  }

  // The slope of one cell of p1 twice: what each window sends back, and what a filter turned by 180 degrees collects.
  function convInput({ A, c, e, step, at }) {
    const [r, s, ch] = e.out.at, shares = NINE.map((n) => {
      const { terms } = Terms.evaluate(step.sentence, A.tensor, { ...at, u: Math.floor(n / 3), v: n % 3 });
      return { n, at: cellOf(terms[0].factors[0]), inside: terms[0].inside, sum: add(terms.map((t) => t.product)) };
    });
    const turned = [...shares].reverse(), sum = (list) => add(list.map((one) => one.sum));
    const box = (caption, list, id) => grid(caption, 3, list.map((one) => ({ tap: one.n,
      cls: one.inside ? "" : "padding", text: one.inside ? grad(one.sum) : html`<small>outside</small>` })), id);
    const rows = [["scatter", total(grad(sum(shares)))], ["gather", total(grad(sum(turned)))],
      ["difference", grad(sum(shares) - sum(turned))], [`${nameOf(e.out)} of the pass`, show(e.out)]];
    const cells = channelMap(A, "dz2", c.f2, { note: "one of 64, with the nine cells that looked here",
      pad: [1, 1, 1, 1], box: [r - 1, s - 1, 3, 3], taps: shares.map((one) => one.at) });
    const where = controls(cellInputs(c, 2), input("c2", "channel", 31, ch));
    const scatter = "scatter: what the window sent back through weight [u,v], summed over 64 filters";
    const gather = "gather: the same window of dz2 under the filter turned by 180°";
    return { html: html`${where}${pair(channelMap(A, "dp1", ch, { sel: [r, s], pick: pick(2) }), cells)}
      ${equation(box(scatter, shares, "g9s"), "=", box(gather, turned, "g9g"))}
      <p>The two tables hold the same nine numbers, turned by 180°: weight [u,v] joined cell (i,j) to pixel
      (i+u−1, j+v−1), so on the way back it joins the pixel to cell (r−u+1, c−v+1). Nobody rotates anything; one only
      looks from the other end. ${64 * shares.filter((one) => one.inside).length} of 576 products land inside.</p>
      ${sums("the sum", rows)}`,
    say: `${nameOf(e.out)}: ${grad(sum(shares))} by scattering, ${grad(sum(turned))} by gathering`,
    micro: [...shares.map(sayShare), ...sayTotal(e, false)] };
  }
  const sayShare = ({ n, at, inside, sum }) => ({ tap: n, say: `weight ${Math.floor(n / 3)}, ${n % 3}` + (inside
    ? `: output cell ${at[0]}, ${at[1]} sends back ${grad(sum)}` : " would come from outside the map") });

  // The loss after some of the weights have moved.
  function lossAfter(A, move) {
    const moved = Object.fromEntries(Engine.PARAMS.map((name) => [name, Float64Array.from(A.P[name])]));
    move(moved);
    return Engine.lossOf(Engine.forward(moved, A.x).z4, A.target);
  }

  function update({ A, c, e }) {
    const index = c.t1 * 32 + c.f1, w = A.P.W1[index], g = A.G.dW1[index], lr = A.S.lr, next = w - lr * g;
    const one = A.tried(`one ${index} ${lr}`, () => lossAfter(A, (P) => { P.W1[index] = next; }));
    const all = A.tried(`all ${lr}`, () => lossAfter(A, (P) => Engine.sgd(P, A.G, lr))), [r, s] = e.out.at;
    const loss = (v) => number(v, "loss"), change = (v) => `change ${grad(v - A.loss)}`;
    const promised = `${change(one)}; the slope promised ${grad(-lr * g * g)}`;
    const rows = [["w", exactly(w)], ["− learning rate × gradient", `${lr} × ${grad(g)} = ${grad(lr * g)}`],
      ["= new w", cell(exactly(next), { cls: "total" })], ["loss before", loss(A.loss)],
      ["loss, this weight moved", html`${loss(one)} <small>${promised}</small>`],
      ["loss, all 421,642 moved", cell(html`${loss(all)} <small>${change(all)}</small>`, { cls: "total" })]];
    const look = (name, note) => channelMap(A, name, 0, { note, sel: [r, s], pick: pick(1) });
    const where = controls(cellInputs(c, 1), tap(1, c.t1), filterInput(c, 1), rate("lr", lr));
    return { html: html`${where}${pair(look("x"), look("dx", "how the loss would change with each pixel"))}
      ${sums("one pixel", [["x", fixed(A.x[r * 28 + s])], [nameOf(e.out), show(e.out)]])}
      ${sums(`one step of gradient descent on W1[${Math.floor(c.t1 / 3)},${c.t1 % 3},0,${c.f1}]`, rows)}
      ${controls(button("t", "Take this step"), button("T", "A hundred of them"),
        button("u", "Back to the loaded weights"))}`,
    say: `weight ${exactly(w)} becomes ${exactly(next)}; loss ${loss(A.loss)} becomes ${loss(all)} when all weights `
      + "step" };
  }

  const VIEWS = { input: pixel, padding, conv, relu, pool, flatten, dense, logits, softmax, dlogits,
    "dense-dkernel": denseWeight, "dense-dx": denseInput, "flatten-back": unflatten, "pool-back": route,
    "conv-dkernel": convWeight, "conv-dx": convInput, "input-gradient": update };

  // {html, say, micro} of a step at the cursor.
  function view(id, A, c) {
    const step = State.STEP[id], at = State.letters(id, c);
    const e = step.sentence && Terms.evaluate(step.sentence, A.tensor, at);
    return VIEWS[step.kind]({ A, c, step, at, e, n: State.layerOf(id) });
  }

  return { view };
})();
