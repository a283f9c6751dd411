// What the page draws with: text, tables and maps. Values come in from outside; nothing is computed here but colours.
"use strict";

const Show = (() => {
  const $ = (id) => document.getElementById(id);
  const words = JSON.parse($("words").textContent); // what terminal, figures and page say alike
  const settings = { digits: words.numbers.digits, prefix: "" }; // prefix: the step being drawn, for ids
  const maps = new Map(); // id of a canvas -> what is drawn on it

  // ---- text: html`<b>${name}</b>` is the only way to markup; what is put in is escaped, unless it is Html itself

  class Html {
    constructor(text) { this.text = text; }
  }
  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const inner = (v) => (v instanceof Html ? v.text : Array.isArray(v) ? v.map(inner).join("") : escape(v ?? ""));
  const html = (parts, ...values) => new Html(parts.reduce((all, part, n) => all + inner(values[n - 1]) + part));

  function put(element, content) {
    if (!(content instanceof Html)) throw new TypeError("expected markup made by html`...`");
    element.innerHTML = content.text;
  }

  // ---- numbers

  const parse = (text) => Number(text.replace(/\u2212/g, "-").replace(" %", ""));

  // v with an exponent of two digits or more, as Python writes it: 1.000e-09.
  function scientific(v, decimals) {
    const [mantissa, exponent] = v.toExponential(decimals).split("e");
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }

  // So many digits: 0.01235, 1.500, 1.000e-09; with `short` without zeros at the end.
  function significant(v, digits, short) {
    const exponent = Number(v.toExponential(digits - 1).split("e")[1]), plain = exponent >= -4 && exponent < digits;
    const text = plain ? v.toFixed(digits - 1 - exponent) : scientific(v, digits - 1);
    return short ? text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "") : text;
  }

  function unsigned(v, { style, small }, digits) {
    if (style === "general") return significant(v, digits, true);
    if (style === "significant") return v === 0 ? "0" : significant(v, digits, false);
    return v > 0 && v < small ? scientific(v, digits - 1) : v.toFixed(digits);
  }

  // A number as cnn/explain/voice.py prints its kind, but for the longer minus sign.
  function number(v, kind = "value") {
    const form = words.numbers.formats[kind], digits = form.digits + (form.relative ? settings.digits : 0);
    const text = unsigned(Math.abs(v), form, digits), none = Number(text) === 0;
    const sign = v < 0 && !none ? "\u2212" : form.sign && !(none && form.style === "significant") ? "+" : "";
    return sign + text.replace("-", "\u2212") + form.unit;
  }

  const fixed = (v) => number(v);
  const signed = (v) => number(v, "signed");
  const grad = (v) => number(v, "gradient");
  const size = (v) => number(v, "size");
  const percent = (v) => number(100 * v, "percent");
  const whole = (v) => String(v).replace(/\B(?=(\d{3})+$)/g, ","); // 421,642

  const counted = (n, noun) => `${whole(n)} ${noun}${n === 1 ? "" : "s"}`; // 1 step, 2 steps

  // What the shown figures add to, where it is not the shown value: rounding must not look like an error.
  function addsTo(figures, value, format) {
    const text = format(figures.reduce((sum, t) => sum + parse(t), 0));
    return text === format(value) ? "" : html` <small>(the figures as shown add to ${text})</small>`;
  }

  // ---- tables

  // A cell with more to it: what it shows, its class, the tap that lights it up, its id.
  const cell = (content, { cls, tap, id, focus } = {}) => ({ content, cls, tap, id, focus });
  const total = (content) => cell(content, { cls: "total", tap: "z" });

  function td(c, first) {
    const { content, cls, tap, id, focus } = c !== null && typeof c === "object" && "content" in c ? c : cell(c);
    const extra = [cls && html` class="${cls}"`, tap !== undefined && html` data-tap="${tap}"`, id && html` id="${id}"`,
      focus && html` tabindex="-1"`].filter(Boolean);
    return first ? html`<th scope="row"${extra}>${content}</th>` : html`<td${extra}>${content}</td>`;
  }

  // rows: arrays of cells, each text, Html or cell(); the first of a row is its heading. look: class, data-grid.
  function table(caption, head, rows, { cls = "", grid } = {}) {
    const top = head && html`<thead><tr>${head.map((h) => (h === "" ? html`<td></td>`
      : html`<th scope="col">${h}</th>`))}</tr></thead>`;
    const body = rows.map((row) => html`<tr>${row.map((c, k) => td(c, k === 0))}</tr>`);
    const extra = [cls && html` class="${cls}"`, grid && html` data-grid="${grid}"`].filter(Boolean);
    return html`<div class="scroll"><table${extra}><caption>${caption}</caption>${top}<tbody>${body}</tbody></table>
      </div>`;
  }
  const sums = (caption, rows) => table(caption, null, rows, { cls: "sum" });

  // What is wider than its place can be scrolled by keys too.
  function reachable(root) {
    for (const box of root.querySelectorAll(".scroll")) {
      const caption = box.querySelector("caption");
      if (!caption || box.scrollWidth <= box.clientWidth) continue;
      Object.assign(box, { tabIndex: 0, role: "region", ariaLabel: caption.textContent });
    }
  }

  // A small matrix whose cells can be pointed at: the same tap lights up in every matrix and map beside it.
  // cells: rows of k of {text, cls, tap}
  function grid(caption, k, cells, id) {
    const named = (n) => `${settings.prefix}${id}-${n}`;
    const one = (c, n) => cell(c.text, { cls: c.cls, tap: c.tap ?? n, id: named(n), focus: true });
    const rows = Array.from({ length: cells.length / k }, (_, u) =>
      [u, ...cells.slice(u * k, u * k + k).map((c, v) => one(c, u * k + v))]);
    return table(caption, ["", ...Array.from({ length: k }, (_, v) => v)], rows, { cls: "grid", grid: k });
  }

  // A step on one screen: its pictures at the left, what is computed at the right.
  const stage = (pictures, sums_) => html`<div class="stage"><div>${pictures}</div><div>${sums_}</div></div>`;
  const pair = (...parts) => html`<div class="pair">${parts}</div>`;
  // Matrices with a sign between them: equation(a, "×", b, "=", c).
  const equation = (...parts) => html`<div class="equation">${parts
    .map((part, n) => (n % 2 ? html`<b aria-hidden="true">${part}</b>` : part))}</div>`;

  const tone = (v) => (v > 0 ? "pos" : v < 0 ? "neg" : "nil");
  // A bar of this length; twoSided: from a line in the middle to either side.
  const bar = (v, max, text = "", twoSided = false) => html`<span class="bar ${tone(v)}${twoSided ? " two" : ""}"
    style="--w:${max ? Math.abs(v) / max : 0}"><i></i></span>${text}`;

  // ---- maps

  // m: {data, H, W, C, ch, caption, grad, sel: [i, j], box: [i, j, h, w], pad: rows of padding, taps, pick(i, j),
  //     bold: how thick the frame around sel is; fills: a sliding window fills it; upTo: so far up to this cell;
  //     other: [id of a map, (i, j) => the rectangle there that this cell has to do with]}
  function map(id, m) {
    const full = (one) => settings.prefix + one, name = full(id);
    m = { C: 1, ch: 0, pad: [0, 0, 0, 0], ...m, other: m.other && [full(m.other[0]), m.other[1]] };
    maps.set(name, m);
    return html`<figure class="map${m.wide ? " wide" : ""}"><figcaption id="${name}-c">${m.caption}</figcaption>
      <canvas id="${name}" tabindex="0" role="img" aria-label="${describe(m)}"></canvas>
      <details data-table="${name}"><summary>as a table</summary>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="${name}-c"></div></details></figure>`;
  }

  const value = (m, i, j) => m.data[(i * m.W + j) * m.C + m.ch];
  const form = (m) => (m.grad ? grad : fixed);

  function describe(m) {
    let low = Infinity, high = -Infinity, zeros = 0, at = [0, 0];
    eachCell(m, (i, j, v) => {
      if (v > high) [high, at] = [v, [i, j]];
      low = Math.min(low, v);
      zeros += v === 0;
    });
    return `${m.caption}: ${m.H} by ${m.W}, smallest ${form(m)(low)}, largest ${form(m)(high)} at row ${at[0]} `
      + `column ${at[1]}, ${percent(zeros / (m.H * m.W))} zeros.${m.pick ? " Arrow keys move the cell." : ""}`;
  }

  function eachCell(m, visit) {
    for (let i = 0; i < m.H; i++) for (let j = 0; j < m.W; j++) visit(i, j, value(m, i, j));
  }

  // ---- colours: photos and what ReLU leaves go from black to white; numbers of both signs to blue and orange

  const BLACK = [10, 10, 12], WHITE = [255, 255, 255];
  const css = (c) => `rgb(${c})`;
  let theme = {};

  function readTheme() {
    const style = getComputedStyle(document.documentElement), text = (name) => style.getPropertyValue(name).trim();
    const rgb = (name) => text(name).match(/\w\w/g).map((h) => parseInt(h, 16));
    theme = { paper: rgb("--map0"), ink: rgb("--map1"), pos: rgb("--pos"), neg: rgb("--neg"), mark: text("--mark") };
  }

  function colour(v, max, twoSided) {
    const share = max ? Math.min(1, Math.abs(v) / max) : 0, end = v < 0 ? theme.neg : theme.pos;
    const [from, to] = twoSided ? [theme.paper, end] : [BLACK, WHITE];
    return from.map((c, k) => Math.round(c + (to[k] - c) * (twoSided ? Math.sqrt(share) : share)));
  }

  // ---- drawing

  function paint(id, lit = []) {
    const canvas = $(id), m = maps.get(id);
    if (!canvas || !m) return;
    const [top, bottom, left, right] = m.pad, rows = m.H + top + bottom, cols = m.W + left + right;
    const cell = Math.max(3, Math.floor((m.wide ? 1280 : 560) / Math.max(rows, cols))), ctx = canvas.getContext("2d");
    canvas.width = cols * cell;
    canvas.height = rows * cell;
    let max = 0, twoSided = !!m.grad;
    eachCell(m, (i, j, v) => {
      max = Math.max(max, Math.abs(v));
      twoSided ||= v < 0;
    });
    const p = { ctx, m, cell, top, left, max, twoSided };
    ctx.fillStyle = css(twoSided ? theme.paper : BLACK);
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    if (top || bottom || left || right) hatch(p, rows, cols);
    eachCell(m, (i, j, v) => { if (!(i * m.W + j > m.upTo)) paintCell(p, i, j, v); });
    if (m.box) outline(p, m.box, 3, [9, 5]);
    if (m.sel) outline(p, [...m.sel, 1, 1], m.bold || 4, []);
    for (const [i, j, h = 1, w = 1] of lit) outline(p, [i, j, h, w], 5, []);
  }

  // Padding is hatched.
  function hatch({ ctx, m, cell, top, left, twoSided }, rows, cols) {
    ctx.strokeStyle = css(twoSided ? theme.ink : WHITE);
    ctx.lineWidth = 1;
    ctx.globalAlpha = 0.45;
    ctx.beginPath();
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) {
      if (r >= top && c >= left && r < m.H + top && c < m.W + left) continue;
      ctx.moveTo(c * cell, (r + 1) * cell);
      ctx.lineTo((c + 1) * cell, r * cell);
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  function paintCell({ ctx, cell, top, left, max, twoSided }, i, j, v) {
    const x = (j + left) * cell, y = (i + top) * cell, side = cell - (cell > 8 ? 1 : 0);
    ctx.fillStyle = css(colour(v, max, twoSided));
    ctx.fillRect(x, y, side, side);
    if (v >= 0 || cell <= 9) return;
    ctx.fillStyle = css(Math.abs(v) / max > 0.3 ? theme.paper : theme.ink); // a negative number also wears a minus sign
    ctx.fillRect(x + cell / 4, y + cell / 2 - 1, cell / 2, 2);
  }

  function outline({ ctx, cell, top, left }, [i, j, h, w], width, dash) {
    for (const [style, line] of [[css(WHITE), width + 3], [theme.mark, width]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = line;
      ctx.setLineDash(dash);
      ctx.strokeRect((j + left) * cell, (i + top) * cell, w * cell, h * cell);
    }
    ctx.setLineDash([]);
  }

  function fillPixel(data, n, [red, green, blue]) {
    data[4 * n] = red;
    data[4 * n + 1] = green;
    data[4 * n + 2] = blue;
    data[4 * n + 3] = 255;
  }

  // All maps of the channels of a tensor beside each other, for the map of the network.
  function mosaic(canvas, data, H, W, C, columns, twoSided) {
    const rows = Math.ceil(C / columns), gap = C > 1 ? 1 : 0, ctx = canvas.getContext("2d");
    canvas.width = columns * (W + gap);
    canvas.height = rows * (H + gap);
    const image = ctx.createImageData(canvas.width, canvas.height);
    const max = data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const dim = C > 1 && !twoSided && max > 0; // many maps on one scale: most are dark, so they are brightened
    for (let n = 0; n < data.length; n++) {
      const c = n % C, at = (n - c) / C;
      const i = Math.floor(at / W) + Math.floor(c / columns) * (H + gap), j = (at % W) + (c % columns) * (W + gap);
      const rgb = colour(dim ? Math.sqrt(Math.max(0, data[n]) / max) : data[n], dim ? 1 : max, twoSided);
      fillPixel(image.data, i * canvas.width + j, rgb);
    }
    ctx.putImageData(image, 0, 0);
  }

  // A photo as people see it: three channels are colours, of any other number the first is shown in grey.
  function photo(canvas, bytes, [H, W, C]) {
    const ctx = canvas.getContext("2d"), image = ctx.createImageData(W, H);
    canvas.width = W;
    canvas.height = H;
    for (let n = 0; n < H * W; n++)
      fillPixel(image.data, n, C === 3 ? bytes.subarray(3 * n, 3 * n + 3) : [bytes[n * C], bytes[n * C], bytes[n * C]]);
    ctx.putImageData(image, 0, 0);
  }

  // The same, large, with its numbers in it where they can be read.
  function numbers(canvas, bytes, [H, W, C]) {
    if (C !== 1 || Math.max(H, W) > 40) return photo(canvas, bytes, [H, W, C]);
    const cell = 20, ctx = canvas.getContext("2d");
    canvas.width = W * cell;
    canvas.height = H * cell;
    ctx.font = "9px ui-monospace, Menlo, Consolas, monospace";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    bytes.forEach((v, n) => {
      const left = (n % W) * cell, top = Math.floor(n / W) * cell;
      ctx.fillStyle = css(colour(v, 255, false));
      ctx.fillRect(left, top, cell, cell);
      ctx.fillStyle = v > 127 ? "#000" : v > 0 ? "#fff" : "#55555c";
      ctx.fillText(Math.round(v), left + cell / 2, top + cell / 2);
    });
  }

  // The cell under the pointer, in the map's own rows and columns; padding has negative or too large ones.
  function cellAt(canvas, event) {
    const m = maps.get(canvas.id), box = canvas.getBoundingClientRect(), [top, bottom, left, right] = m.pad;
    return [Math.floor(((event.clientY - box.top) / box.height) * (m.H + top + bottom)) - top,
      Math.floor(((event.clientX - box.left) / box.width) * (m.W + left + right)) - left];
  }

  function fillTable(details) {
    const m = maps.get(details.dataset.table);
    if (m.list) return put(details.querySelector("div"), m.list());
    const columns = Array.from({ length: m.W }, (_, j) => j);
    const rows = Array.from({ length: m.H }, (_, i) => [i, ...columns.map((j) => form(m)(value(m, i, j)))]);
    put(details.querySelector("div"), table(m.caption, ["row", ...columns], rows));
  }

  return { $, words, settings, maps, html, put, number, fixed, signed, grad, size, percent, whole, counted, parse,
    addsTo, cell, total, table, sums, reachable, grid, stage, pair, equation, bar, map, value, form, paint, mosaic,
    photo, numbers, cellAt, fillTable, readTheme };
})();
