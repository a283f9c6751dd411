// What the views of the steps share: controls, one channel of a tensor as a map, windows, long sums and their totals.
"use strict";

const Parts = (() => {
  const { html, settings, number, fixed, signed, grad, whole, cell, total, table, sums, grid, equation, map,
    addsTo } = Show;
  const { SIDE, FILTERS } = State;

  // ---- numbers and names

  // How the numbers of a tensor are printed: gradients with significant digits, what may be negative with a sign.
  const KINDS = [[/^d/, "gradient"], [/^[Wbz]/, "signed"], [/^(y|open|win)/, "count"]];
  const kindOf = (tensor) => (KINDS.find(([pattern]) => pattern.test(tensor)) || [0, "value"])[1];
  const nameOf = ({ tensor, at }) => `${tensor}[${at.join(",")}]`;
  const cellOf = ({ at }) => at.slice(0, 2); // its row and column
  const show = (entry) => number(entry.value, kindOf(entry.tensor));
  const product = (v) => number(v, "product");
  const exactly = (v) => number(v, "total");
  // How the terms of a sentence are printed, and their sum.
  const forms = ({ out }) => (kindOf(out.tensor) === "gradient" ? [grad, grad] : [product, exactly]);
  const openWord = (z) => (z > 0 ? "open" : "closed");

  // The terms with the sum so far.
  function running(terms) {
    let sum = 0;
    return terms.map((t) => ({ ...t, running: (sum += t.product) }));
  }

  // ---- controls

  const id = (name) => `${settings.prefix}in-${name}`;
  const controls = (...parts) => html`<p class="controls">${parts.filter(Boolean)}</p>`;
  const input = (name, label, most, value) => html`<label>${label} <input type="number" id="${id(name)}"
    data-set="${name}" min="0" max="${most}" value="${value}"></label>`;
  const rate = (name, value) => html`<label>learning rate <input type="number" id="${id(name)}" data-set="lr" min="0"
    max="10" step="any" value="${value}"></label>`;
  const edit = (entry, label) => html`<label>${label} <input type="number" step="any"
    id="${settings.prefix}ed-${entry.tensor}" data-edit="${entry.tensor}" data-index="${entry.flat}"
    value="${Number(entry.value.toPrecision(9))}"></label>`;
  const option = (v, text, chosen) => html`<option value="${v}"${chosen ? html` selected` : ""}>${text}</option>`;
  const select = (name, label, options, value) => html`<label>${label} <select id="${id(name)}" data-set="${name}">
    ${options.map(([v, text]) => option(v, text, String(v) === String(value)))}</select></label>`;
  const button = (key, text) => html`<button type="button" data-key="${key}">${text} <kbd>${key}</kbd></button>`;
  const tap = (n, t) => input(`t${n}`, "tap 3u+v", 8, t);

  // The cell of a layer's maps; pooled maps have no cursor of their own: the place is that of the map before, `of`.
  const cellInputs = (c, n, of = "") => [["i", "row"], ["j", "column"]].map(([letter, name]) =>
    input(letter + n, name + of, SIDE[n] - 1, c[letter + n]));
  const filterInput = (c, n, name = "filter") => input(`f${n}`, name, FILTERS[n] - 1, c[`f${n}`]);
  const place = (c, n, filter = "filter", of = "") => controls(cellInputs(c, n, of), filterInput(c, n, filter));
  const pick = (n) => (i, j) => ({ [`i${n}`]: i, [`j${n}`]: j });
  const pickPooled = (n) => (i, j) => ({ [`i${n}`]: 2 * i, [`j${n}`]: 2 * j });

  // One channel of a tensor as a map.
  function channelMap(A, name, ch, more = {}) {
    const { data, shape: [H, W, C] } = A.tensor(name), word = /p|x/.test(name) ? "channel" : "filter";
    const caption = [name, C > 1 && `${word} ${ch}`, more.note].filter(Boolean).join(", ");
    return map(`m-${name}`, { data, H, W, C, ch, grad: name[0] === "d", ...more, caption });
  }

  // ---- windows

  // The products of one window: its numbers, the weights and, where there is a third caption, what they make.
  function windowGrids(taps, k, captions, name, chosen) {
    const cls = (t, m, first) => `${first && !t.inside ? "padding " : ""}${m === chosen ? "chosen" : ""}`;
    const box = (n, letter, text) => grid(captions[n], k, taps.map((t, m) => ({ text: text(t), cls: cls(t, m, !n) })),
      `${name}-${letter}`);
    const products = captions[2] ? ["=", box(2, "p", (t) => product(t.product))] : [];
    return equation(box(0, "a", (t) => show(t.factors[0])), "×", box(1, "w", (t) => signed(t.factors[1].value)),
      ...products);
  }

  const runningRow = (taps) => table("running sum, product by product", ["after", ...taps.map((_, n) => n + 1)],
    [["sum", ...taps.map((t, n) => cell(product(t.running), { tap: n }))]]);

  function sayTaps(taps) {
    const times = ({ factors: [a, b] }) => `${fixed(a.value)} times ${fixed(b.value)}`;
    return taps.map((t, n) => ({ tap: n, say: `product ${n + 1} of ${taps.length}: ${times(t)} is ${fixed(t.product)}, `
      + `running sum ${fixed(t.running)}${t.inside ? "" : "; this cell is padding"}` }));
  }

  // ---- sums

  // Rows of a sum: what was added, the bias, z, and what ReLU makes of it where one follows.
  function totalRows(e, label, relu) {
    const sum = forms(e.sentence)[1], products = sum(Terms.add(e.terms.map((t) => t.product))), z = e.out.value;
    const bias = e.start ? [[`+ bias ${nameOf(e.start)}`, cell(sum(e.start.value), { tap: "b" })]] : [];
    const shown = [products, ...bias.map(([, { content }]) => content)];
    const after = html`${sum(Math.max(0, z)).replace("+", "")} <small>${openWord(z)}</small>`;
    const result = [`= ${nameOf(e.out)}`, total(html`${sum(z)}${addsTo(shown, z, sum)}`)];
    return sums("the sum", [[label, products], ...bias, result,
      ...(relu ? [["max(0, z)", cell(after, { cls: "total", tap: "a" })]] : [])]);
  }

  function sayTotal(e, relu) {
    const z = e.out.value, parts = [{ tap: "z", say: `is ${nameOf(e.out)}, ${forms(e.sentence)[1](z)}` }];
    if (e.start) parts.unshift({ tap: "b", say: `plus the bias ${fixed(e.start.value)}` });
    if (relu) parts.push({ tap: "a", say: `ReLU: the larger of 0 and z is ${fixed(Math.max(0, z))}` });
    return parts;
  }

  // The largest terms of a long sum one by one, the others in one line; up to ten are shown whole.
  // from: heads of the columns that say where a term comes from; where(term): their cells.
  function largest(e, top, from, where, terms = e.terms) {
    const order = Terms.order({ terms }), count = terms.length <= 10 ? terms.length : top, part = forms(e.sentence)[0];
    const shown = running(order.slice(0, count)), others = order.slice(count), sum = shown.at(-1)?.running ?? 0;
    const rest = Terms.add(others.map((t) => t.product));
    const rows = shown.map((t, k) => [k + 1, ...[...where(t), ...t.factors.map(show), part(t.product), part(t.running)]
      .map((text) => cell(text, { tap: k }))]);
    const line = [`${whole(others.length)} others`, ...from.map(() => ""), "", "", cell(part(rest), { tap: "rest" }),
      part(rest + sum)];
    const [a, b] = e.sentence.text.match(/\w+\[.*?\]/g).slice(-2), all = whole(terms.length);
    const live = terms === e.terms ? "" : "live ", many = others.length ? `the ${count} largest of ${all}` : count;
    const caption = `${nameOf(e.out)}: ${many} ${live}products`;
    const micro = shown.map((t, k) => ({ tap: k,
      say: `term ${k + 1}: ${t.factors.map(show).join(" times ")} is ${part(t.product)}` }));
    if (others.length) {
      rows.push(line);
      micro.push({ tap: "rest", say: `the other ${others.length} terms add ${part(rest)}` });
    }
    return { shown, micro, html: table(caption, ["rank", ...from, a, `× ${b}`, "product", "running sum"], rows) };
  }

  return { nameOf, cellOf, show, product, exactly, openWord, running, id, controls, input, rate, edit, select, button,
    tap, cellInputs, filterInput, place, pick, pickPooled, channelMap, windowGrids, runningRow, sayTaps, totalRows,
    sayTotal, largest };
})();
