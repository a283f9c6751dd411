// What the views of the steps share: controls, one channel of a tensor as a map, windows, long sums and their totals.
"use strict";

const Parts = (() => {
  const { html, settings, number, fixed, signed, grad, whole, cell, total, table, sums, grid, equation, map,
    maps, addsTo } = Show;
  const { A } = State;

  // ---- numbers and names

  // How the numbers of a tensor are printed: gradients with significant digits, what may be negative with a sign.
  const ends = (name, list) => list.some((end) => name.endsWith(end));
  function kindOf(name) {
    if (/^\w+$/.test(name) ? name[0] === "d" : ends(name, [":backward", ":dz", ":gradient"])) return "gradient";
    if (/^(y|open\d?|win\d?)$/.test(name) || ends(name, [":open", ":win"])) return "count";
    if (/^[Wbz]\w*$/.test(name) || ends(name, [":z"]) || name.includes("/")) return "signed";
    return "value";
  }
  const nameOf = ({ tensor, at }) => `${tensor}[${at.join(",")}]`;
  const cellOf = ({ at }) => at.slice(0, 2); // its row and column
  const show = (entry) => number(entry.value, kindOf(entry.tensor));
  const product = (v) => number(v, "product");
  const exactly = (v) => number(v, "total");
  // How the terms of a sentence are printed, and their sum.
  const forms = ({ out }) => (kindOf(out.tensor) === "gradient" ? [grad, grad] : [product, exactly]);
  const openWord = (z) => (z > 0 ? "open" : "closed");
  const bends = ({ names, activation }) => names.z !== undefined && names.z !== names.y && activation;

  // The terms with the sum so far.
  function running(terms) {
    let sum = 0;
    return terms.map((t) => ({ ...t, running: (sum += t.product) }));
  }

  // ---- controls

  const id = (name) => `${settings.prefix}in-${name.replace(/:/g, "-")}`;
  const controls = (...parts) => html`<p class="controls">${parts.filter(Boolean)}</p>`;
  const input = (name, label, most, value) => html`<label>${label} <input type="number" id="${id(name)}"
    data-set="${name}" min="0" max="${most}" value="${value}"></label>`;
  const rate = (name, value) => html`<label>learning rate <input type="number" id="${id(name)}" data-set="lr" min="0"
    max="10" step="any" value="${value}"></label>`;
  const edit = (entry, label) => entry && html`<label>${label} <input type="number" step="any"
    id="${settings.prefix}ed-${entry.tensor}" data-edit="${entry.tensor}" data-index="${entry.flat}"
    value="${Number(entry.value.toPrecision(9))}"></label>`;
  const option = (v, text, chosen) => html`<option value="${v}"${chosen ? html` selected` : ""}>${text}</option>`;
  const select = (name, label, options, value) => html`<label>${label} <select id="${id(name)}" data-set="${name}">
    ${options.map(([v, text]) => option(v, text, String(v) === String(value)))}</select></label>`;
  const button = (key, text) => html`<button type="button" data-key="${key}">${text} <kbd>${key}</kbd></button>`;
  const tap = (k) => {
    const { kh, kw } = A.net.layers[k].window, [u, v] = A.S.taps[k];
    return kh * kw > 1 && input(`tap:${k}`, kw > 1 ? `weight ${kw}u+v` : "weight u", kh * kw - 1, u * kw + v);
  };

  // The place k of the path, axis by axis; last: what its last axis counts. behind: moved without what lies behind.
  function place(k, last, behind = false) {
    const at = A.S.path[k], shape = State.shapeAt(k), to = behind ? "back" : "path";
    const words = shape.length === 3 ? ["row", "column", last] : shape.length === 1 ? [last] : shape.map((_, n) => n);
    return at.map((v, axis) => shape[axis] > 1 && words[axis] !== ""
      && input(`${to}:${k}:${axis}`, words[axis], shape[axis] - 1, v));
  }
  const channel = (k, last) => place(k, last, true).slice(-1);
  // A click on a map moves the place k of the path, in the channel where it is.
  const pick = (k) => (i, j) => ({ path: [k, [i, j, A.S.path[k][2]]] });

  // One channel of a tensor as a map; the photo may be a row of numbers to the network.
  function channelMap(name, ch, more = {}) {
    const { data, shape } = A.tensor(name), [H, W, C] = shape.length === 3 ? shape : A.shape;
    const caption = [name, C > 1 && `channel ${ch}`, more.note].filter(Boolean).join(", ");
    return map(`m-${name}`, { data, H, W, C, ch, grad: kindOf(name) === "gradient", ...more, caption });
  }
  const isMap = (name) => A.tensor(name).shape.length === 3;

  // ---- windows

  const around = ({ top, bottom, left, right }) => [top, bottom, left, right];
  const boxOf = (g, i, j) => [i * g.sh - g.top, j * g.sw - g.left, g.kh, g.kw];
  // The output cells whose windows hold an input cell.
  function feeds(g, r, s) {
    const range = (x, before, k, stride, out) => [Math.max(0, Math.ceil((x + before - k + 1) / stride)),
      Math.min(out - 1, Math.floor((x + before) / stride))];
    const [i, last] = range(r, g.top, g.kh, g.sh, g.OH), [j, end] = range(s, g.left, g.kw, g.sw, g.OW);
    return [i, j, Math.max(0, last - i + 1), Math.max(0, end - j + 1)];
  }

  // The products of one window: its numbers, the weights and, where there is a third caption, what they make.
  function windowGrids(taps, columns, captions, name, chosen) {
    const cls = (t, m, first) => `${first && !t.inside ? "padding " : ""}${m === chosen ? "chosen" : ""}`;
    const box = (n, letter, text) => grid(captions[n], columns, taps.map((t, m) =>
      ({ text: text(t), cls: cls(t, m, !n) })), `${name}-${letter}`);
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

  // What the layer's activation makes of the total; nothing where there is none, or where it takes a step of its own.
  function after(e, l) {
    if (!l || !bends(l)) return [];
    const { tensor, flat } = e.out, y = A.tensor(l.names.y).data[flat], z = A.tensor(tensor).data[flat];
    const look = { cls: "total", tap: "a" };
    if (l.activation.name !== "relu") return [[`${l.activation.name}(z)`, cell(exactly(y), look)]];
    const text = html`${exactly(Math.max(0, z)).replace("+", "")} <small>${openWord(z)}</small>`;
    return [["max(0, z)", cell(text, look)]];
  }

  // Rows of a sum: what was added, the bias, z, and what the activation of l makes of it.
  function totalRows(e, label, l) {
    const sum = forms(e.sentence)[1], products = sum(Terms.add(e.terms.map((t) => t.product))), z = e.out.value;
    const bias = e.start ? [[`+ bias ${nameOf(e.start)}`, cell(sum(e.start.value), { tap: "b" })]] : [];
    const shown = [products, ...bias.map(([, { content }]) => content)];
    const result = [`= ${nameOf(e.out)}`, total(html`${sum(z)}${addsTo(shown, z, sum)}`)];
    return sums("the sum", [[label, products], ...bias, result, ...after(e, l)]);
  }

  function sayTotal(e, l) {
    const z = e.out.value, parts = [{ tap: "z", say: `is ${nameOf(e.out)}, ${forms(e.sentence)[1](z)}` }];
    if (e.start) parts.unshift({ tap: "b", say: `plus the bias ${fixed(e.start.value)}` });
    if (l && bends(l)) {
      const y = A.tensor(l.names.y).data[e.out.flat], relu = l.activation.name === "relu";
      parts.push({ tap: "a", say: `${relu ? "ReLU: the larger of 0 and z" : l.activation.name} is ${fixed(y)}` });
    }
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
    const whole_ = others.length ? opens(e, from, where, terms) : "";
    const list = table(caption, ["rank", ...from, a, `× ${b}`, "product", "running sum"], rows);
    return { shown, micro, html: html`<div>${list}${whole_}</div>` };
  }

  // Every sum opens: all its terms, the largest first and the zeros in one line, in a table made when it is asked for.
  function opens(e, from = e.sentence.ranges.map(([letter]) => letter),
    where = ({ scope }) => from.map((letter) => scope[letter]), terms = e.terms) {
    const name = `${settings.prefix}all`, part = forms(e.sentence)[0], caption = `${nameOf(e.out)}: all its products`;
    const [a, b] = e.sentence.text.match(/\w+\[.*?\]/g).slice(-2);
    maps.set(name, { list: () => {
      const live = running(Terms.order({ terms }).filter((t) => t.product !== 0)), none = e.terms.length - live.length;
      const rows = live.map((t, k) => [k + 1, ...where(t), ...t.factors.map(show), part(t.product), part(t.running)]);
      const sum = live.at(-1)?.running ?? 0;
      if (none) rows.push([`${whole(none)} are 0`, ...from.map(() => ""), "", "", part(0), part(sum)]);
      return table(caption, ["rank", ...from, a, `× ${b}`, "product", "running sum"], rows);
    } });
    return html`<details data-table="${name}"><summary>Open the sum: all ${whole(e.terms.length)} products</summary>
      <div></div></details>`;
  }

  return { kindOf, nameOf, cellOf, show, product, exactly, openWord, bends, running, id, controls, input, rate, edit,
    select, button, tap, place, channel, pick, channelMap, isMap, around, boxOf, feeds, windowGrids, runningRow,
    sayTaps, totalRows, sayTotal, largest, opens };
})();
