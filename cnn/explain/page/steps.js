// The steps forward: each view shows one step where the path goes, as markup, and says its small steps one by one.
// Most are sentences (terms.js): their terms, grouped as Python says, and the sum. A few have a look of their own.
"use strict";

const Steps = (() => {
  const { html, number, fixed, signed, size, percent, whole } = Show;
  const { cell, table, sums, grid, pair, equation, bar, stage } = Show;
  const { nameOf, cellOf, show, exactly, openWord, running, controls, edit, tap, place, channel } = Parts;
  const { pick, channelMap, isMap, around, boxOf, feeds, windowGrids, runningRow, sayTaps, totalRows } = Parts;
  const { sayTotal, largest } = Parts;
  const { A } = State;
  const { add } = Terms;
  const MANY = 64; // partial sums that are all shown

  // ---- the photo

  function pixel() {
    const at = A.S.path[0], [row, column, ch] = A.net.shapes.x.length === 3 ? at : Path.cellAt(at[0], A.shape);
    const v = A.T.x[Path.flat([row, column, ch], A.shape)], byte = Math.round(v / A.scale), x = fixed(v);
    const picture = channelMap("x", ch, { note: "the photo", sel: [row, column], pick: pickPixel });
    const rows = [["in the file", `${byte} of 255`], ["x", cell(x, { cls: "total" })]];
    return { html: html`${controls(place(0, A.shape[2] > 1 ? "colour" : ""))}${pair(picture, sums("one pixel", rows))}`,
      say: `pixel in row ${row}, column ${column}: ${byte} of 255, x is ${x}` };
  }
  // A click on the photo, where the network may take it in one row.
  const pickPixel = (i, j) => {
    const ch = A.net.shapes.x.length === 3 ? A.S.path[0][2] : 0, at = [i, j, ch];
    return { path: [0, A.net.shapes.x.length === 3 ? at : [Path.flat(at, A.shape)]] };
  };

  function padding({ l, k }) {
    const g = l.window, [r, s, ch] = A.S.path[k], [i, j] = A.S.path[k + 1];
    const picture = channelMap(l.names.x, ch, { note: "with its border of zeros (padding hatched)", pad: around(g),
      sel: [r, s], box: boxOf(g, i, j), pick: pick(k) });
    const full = (g.H + g.top + g.bottom) * (g.W + g.left + g.right), free = (n, w, s2, before, out) =>
      [...Array(out).keys()].filter((o) => o * s2 - before >= 0 && o * s2 - before + w <= n).length;
    const touch = g.OH * g.OW - free(g.H, g.kh, g.sh, g.top, g.OH) * free(g.W, g.kw, g.sw, g.left, g.OW);
    const rows = [["top, bottom", `${g.top}, ${g.bottom}`], ["left, right", `${g.left}, ${g.right}`],
      ["zeros added", `${full} − ${g.H * g.W} = ${full - g.H * g.W}`],
      ["windows that touch them", `${touch} of ${g.OH * g.OW}`]];
    return { html: pair(picture, sums(`padding ‘${g.padding}’, ${g.kh}×${g.kw}, stride ${strides(g)}`, rows)),
      say: `${g.top} rows of zeros above and ${g.bottom} below, ${g.left} columns left and ${g.right} right` };
  }
  const strides = ({ sh, sw }) => (sh === sw ? sh : `${sh}, ${sw}`);

  // ---- convolutions

  function conv({ l, k, e }) {
    const g = l.window, channels = Terms.by(e, "c"), ch = A.S.path[k][2], taps = running(channels[ch].terms);
    const t = A.S.taps[k][0] * g.kw + A.S.taps[k][1], { x, z, kernel } = l.names, [i, j, f] = e.out.at;
    const from = channelMap(x, ch, { note: "with the window", pad: around(g), box: boxOf(g, i, j),
      taps: taps.map(({ factors }) => cellOf(factors[0])), other: [`m-${z}`, (r, s) => feeds(g, r, s)],
      pick: pick(k) });
    const to = channelMap(z, f, { sel: [i, j], other: [`m-${x}`, (r, s) => boxOf(g, r, s)], pick: pick(k + 1),
      fills: true });
    const captions = [`window of ${x}${g.C > 1 ? `, channel ${ch}` : ""}`, `filter ${kernel}[·,·,${ch},${f}]`,
      "products"];
    const added = g.C === 1 ? `${e.terms.length} products` : `${channels.length} channels`;
    const weight = edit(taps[t].factors[1], `weight [${A.S.taps[k]}]`);
    const where = controls(place(k + 1, "filter"), g.C > 1 && channel(k, "input channel"), tap(k), weight,
      edit(e.start, "bias"));
    return { html: html`${where}${stage(pair(from, to), html`${windowGrids(taps, g.kw, captions, "g", t)}
      ${totalRows(e, `sum of ${added}`, l)}`)}
      ${g.C === 1 ? runningRow(taps) : channelTable(channels, k, ch, taps.length)}`,
    say: `${z} at ${i}, ${j}, filter ${f}: ${signed(e.out.value)}`,
    micro: [...sayTaps(taps), ...(g.C > 1 ? sayChannels(channels) : []), ...sayTotal(e, l)] };
  }

  // The sums of the products of each channel, to choose from; of very many the largest.
  function channelTable(channels, k, ch, each) {
    const most = Math.max(...channels.map(({ sum }) => Math.abs(sum))), count = channels.length;
    const bySize = [...channels].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    const list = count <= MANY ? channels : bySize.slice(0, MANY / 2);
    const one = ({ value, sum }) => cell(html`<button type="button" class="part" data-go="back:${k}:2=${value}"
      aria-pressed="${value === ch}"><small>ch ${value}</small> ${bar(sum, most, number(sum, "sum"), true)}</button>`,
    { tap: `c${value}` });
    const rows = Array.from({ length: Math.ceil(list.length / 4) }, (_, r) => [`${4 * r} to `
      + `${Math.min(4 * r + 3, list.length - 1)}`, ...list.slice(4 * r, 4 * r + 4).map(one)]);
    const which = list.length < count ? `the ${list.length} largest of ${count}` : count;
    const caption = `${which} partial sums, ${whole(each * count)} products in all; choose a channel to see its own`;
    return html`<p>These ${each} products add to <b>${exactly(channels[ch].sum)}</b>: one of ${count} partial sums, one
      for each channel.</p>${table(caption, null, rows, { cls: "parts" })}`;
  }

  function sayChannels(channels) {
    let sum = 0;
    return channels.map((one) => ({ tap: `c${one.value}`,
      say: `channel ${one.value} brings ${fixed(one.sum)}, running sum ${fixed((sum += one.sum))}` }));
  }

  function relu({ k, e }) {
    const [i, j, f] = e.out.at, [{ tensor, value: z }] = e.terms[0].factors, a = fixed(e.out.value);
    const { data, shape: [H, W, C] } = A.tensor(tensor);
    const closed = data.filter((v, n) => n % C === f && v <= 0).length;
    const look = (name, note) => channelMap(name, f, { note, sel: [i, j], pick: pick(k + 1) });
    const after = html`${a} <small>${z > 0 ? "open: passes on" : "closed: becomes 0"}</small>`;
    const rows = [["z", signed(z)], ["max(0, z)", cell(after, { cls: "total" })],
      ["closed in this map", `${closed} of ${H * W}, ${percent(closed / (H * W))}`]];
    return { html: html`${controls(place(k + 1, "filter"))}${pair(look(tensor, "before"), look(e.out.tensor, "after"))}
      ${sums("one cell", rows)}`,
    say: `z ${signed(z)} becomes ${a}` };
  }

  // ---- pooling

  const windowCell = (m, { kw }) => `row ${Math.floor(m / kw)}, column ${m % kw} of the window`;
  // The cells of a window of which one won, with a word for it.
  const windowCells = (entries, winner, word) => entries.map((one, m) => (m === winner
    ? { text: html`${show(one)} <small>${word}</small>`, cls: "winner" }
    : { text: show(one), cls: one.inside === false ? "padding" : "" }));

  function pool({ l, k, e }) {
    const g = l.window, [i, j, f] = e.out.at, cells = e.terms.map((t) => t.factors[0]);
    const winner = A.T[l.names.winners][e.out.flat], tied = ties(cells, winner), count = cells.length;
    const from = channelMap(l.names.x, f, { box: boxOf(g, i, j), sel: cellOf(cells[winner]), taps: cells.map(cellOf),
      pad: around(g), pick: pick(k) });
    const to = channelMap(e.out.tensor, f, { sel: [i, j], pick: pick(k + 1), fills: true });
    const rows = [[nameOf(e.out), cell(show(e.out), { cls: "total" })], ["it stood at", windowCell(winner, g)],
      ["tied", tied > 1 ? `${tied} cells are equal: the first, row by row, wins` : "no"]];
    const values = grid(`${count} values`, g.kw, windowCells(cells, winner, "wins"), "g-pool");
    return { html: html`${controls(place(k + 1, "filter"))}${pair(from, to)}
      ${equation(values, "→", sums("the largest", rows))}`,
    say: `the largest of ${count} is ${show(e.out)}, at ${windowCell(winner, g)}${tied > 1 ? `, ${tied} tied` : ""}`,
    micro: cells.map((one, m) => ({ tap: m, say: `cell ${m + 1} of ${count}: ${show(one)}` })) };
  }
  const ties = (cells, winner) =>
    cells.filter((one) => one.inside !== false && one.value === cells[winner].value).length;

  // ---- rows

  function flatten({ l, k, e }) {
    const from = A.S.path[k], [n] = e.out.at, { x, y } = l.names, side = A.tensor(y).data.length;
    const near = [-2, -1, 0, 1, 2].map((d) => n + d).filter((m) => m >= 0 && m < side);
    const rows = [["n", html`${flatText(from, l.in)} = <b>${n}</b>`],
      ["and back", l.in.length === 3 ? `row ${from[0]}, column ${from[1]}, channel ${from[2]}` : from.join(", ")],
      ["value", cell(show(e.out), { cls: "total" })]];
    const line = near.map((m) => cell(fixed(A.tensor(y).data[m]), { cls: m === n ? "winner" : "" }));
    const told = sums(`${x}[${from}] becomes ${y}[${n}]`, rows);
    const shown = isMap(x) ? pair(channelMap(x, from[2], { sel: from.slice(0, 2), pick: pick(k) }), told) : told;
    const same = l.in.length === 3 && l.in[2] > 1 ? "its neighbours in the row are the same place in other channels"
      : "its neighbours in the row";
    return { html: html`${controls(place(k, "channel"))}${shown}
      ${table(same, ["n", ...near], [[`${y}[n]`, ...line]])}`,
    say: `${x} at ${from.join(", ")} becomes number ${n} of the row` };
  }
  // (3·7 + 4)·64 + 2
  const flatText = (at, shape) => at.slice(1)
    .reduce((text, v, n) => `${n ? `(${text})` : text}·${shape[n + 1]} + ${v}`, String(at[0]));

  // The cell that input n of layer k had in the last maps before it; null where there are none.
  function origin(k, n) {
    const before = A.net.layers.slice(0, k);
    while (before.length && before.at(-1).op === "copy" && before.at(-1).in.length === 1) before.pop();
    const l = before.at(-1);
    return l && l.op === "copy" && l.in.length === 3 ? { cell: Path.cellAt(n, l.in), count: before.length - 1 } : null;
  }
  const originText = (k, n) => `(${origin(k, n).cell.join(", ")})`;

  function dense({ l, k, step, e }) {
    const maps = origin(k, 0), count = whole(e.terms.length), [u] = e.out.at, more = maps && maps.count > 0;
    const where = ({ scope }) => [maps ? originText(k, Object.values(scope).at(-1)) : inputOf(e, scope)];
    const t = largest(e, step.top, [maps ? "row, column, channel" : "from"], where);
    const fields = maps && t.shown.map(({ scope }) => {
      const { cell: at, count: n } = origin(k, Object.values(scope).at(-1));
      return n ? Path.field(A.net.layers, at, n) : [at[0], at[1], 1, 1];
    });
    const look = more ? "what each of these cells can see of it" : "where these are";
    const seen = fields?.every(Boolean) && channelMap("x", 0, { note: look, taps: fields });
    const table_ = html`<div>${t.html}${totalRows(e, `sum of ${count} products`, l)}</div>`;
    return { html: html`${controls(place(k + 1, "unit"), edit(e.start, "bias"))}
      ${seen ? pair(seen, table_) : table_}`,
    say: `${l.name}, unit ${u}: z is ${signed(e.out.value)}`, micro: [...t.micro, ...sayTotal(e, l)] };
  }
  const inputOf = (e, scope) => `unit ${scope[e.sentence.ranges[0][0]]}`;

  function logits({ l, k, step, e }) {
    const maps = origin(k, 0), count = whole(e.terms.length), [cls] = e.out.at, { z: name, bias } = l.names;
    const t = largest(e, step.top, ["from"], ({ scope }) => [maps ? originText(k, Object.values(scope).at(-1))
      : inputOf(e, scope)]);
    const z = A.tensor(name).data, b = bias ? A.P[bias] : z.map(() => 0), most = Math.max(...z.map(Math.abs));
    const look = (n) => (n === cls ? "winner" : "");
    const rows = A.classes.map((text, n) => [text, exactly(z[n] - b[n]), exactly(b[n]),
      cell(exactly(z[n]), { cls: look(n) }), bar(z[n], most, "", true)]);
    return { html: html`${controls(place(k + 1, "class"), edit(e.start, "bias"))}
      ${table(`${z.length} logits ${name}`, ["class", `sum of ${count} products`, "+ bias", "= logit", ""], rows)}
      ${t.html}${totalRows(e, `sum of ${count} products`)}`,
    say: `logit of ${A.classes[cls]}: ${signed(z[cls])}`, micro: [...t.micro, ...sayTotal(e)] };
  }

  function softmax() {
    const z = A.T[A.net.logits], { top, e, p, sum } = Engine.softmax(z), { classes } = A;
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

  // ---- layers without a formula of their own here: one number, before and after

  function through({ l, k, step }) {
    const conv_ = l.op === "conv", { x, y } = l.names;
    return passage(conv_ ? l.names.z : x, y, conv_ ? k + 1 : k, k + 1, l.op === "copy" && l.inactive, step);
  }
  function throughBack({ l, k, step }) {
    return passage(l.names.dy, l.names.dx, k + 1, k, l.op === "copy" && l.inactive, step);
  }

  function passage(before, after, from, to, inactive, step) {
    const at = (name, place_) => Terms.entry(name, A.S.path[place_], A.tensor), a = at(before, from), b = at(after, to);
    const look = (entry, k) => isMap(entry.tensor)
      && channelMap(entry.tensor, entry.at[2], { sel: cellOf(entry), pick: pick(k) });
    const rows = [[nameOf(a), show(a)], [`→ ${nameOf(b)}`, cell(show(b), { cls: "total" })]];
    const focus = State.focusOf(step.id);
    return { html: html`${controls(place(focus, A.net.shapes[after].length === 3 ? "channel" : "unit"))}
      ${pair([look(a, from), look(b, to)].filter(Boolean))}${sums("one number", rows)}`,
    say: `${nameOf(a)} is ${show(a)}, ${nameOf(b)} is ${show(b)}${inactive ? ": unchanged" : ""}` };
  }

  const VIEWS = { input: pixel, padding, conv, relu, pool, flatten, dense, logits, softmax, through,
    "through-back": throughBack };

  // {html, say, micro} of a step where the path goes. e: its sentence there, where it has one, when it is asked for.
  function view(id) {
    const step = State.STEP[id], at = step.sentence && State.letters(id);
    const of = { step, at, k: State.stageOf(id), l: State.layerOf(id),
      get e() { return step.sentence && Terms.evaluate(step.sentence, A.tensor, at); } };
    return { ...VIEWS, ...Backward.VIEWS, ...Rule.VIEWS }[step.kind](of);
  }

  return { view, origin, originText, inputOf, windowCell, windowCells, ties };
})();
