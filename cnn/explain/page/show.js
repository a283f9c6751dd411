// What the page draws with: figures, tables and maps. All values come in from outside; nothing is computed here but colours.
"use strict";

const Show = (() => {
  const $ = (id) => document.getElementById(id);
  const settings = { digits: 5, prefix: "" }; // prefix: the step being drawn, so that no id stands twice in the page
  const maps = new Map(); // id of a canvas -> what is drawn on it
  const mark = (text) => text.replace(/-/g, "\u2212");
  const clean = (text) => (Number(text) === 0 ? text.replace("-", "") : text);

  // Activations and weights with a fixed number of decimals, gradients with significant digits: they can be very small.
  const fixed = (v) => mark(clean(v.toFixed(settings.digits)));
  const signed = (v) => { const t = fixed(v); return t[0] === "\u2212" ? t : "+" + t; };
  function grad(v) {
    const a = Math.abs(v), extra = settings.digits - 5;
    const decimals = [100, 10, 1, 0.1, 0.01, 0.001].findIndex((limit) => a >= limit);
    const text = v === 0 ? "0" : decimals < 0 ? v.toExponential(Math.max(1, 3 + extra))
      : v.toFixed(Math.max(1, decimals + 1 + extra));
    return mark(v > 0 ? "+" + text : text);
  }
  const percent = (v) => (100 * v).toFixed(1) + " %";
  const parse = (text) => Number(text.replace(/\u2212/g, "-"));
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  // What the shown figures add to, where it is not the shown total: rounding must not look like an error.
  function addsTo(figures, total, format) {
    const text = format(figures.reduce((sum, t) => sum + parse(t), 0));
    return parse(text) === parse(total) ? "" : ` <small>(the figures as shown add to ${text})</small>`;
  }

  // rows: arrays of cells; a cell is HTML or [HTML, attributes]; the first of each row is its heading.
  function table(caption, head, rows, attributes = "") {
    const cell = (c, k) => {
      const [html, extra] = Array.isArray(c) ? c : [c, ""];
      return k === 0 ? `<th scope="row" ${extra}>${html}</th>` : `<td ${extra}>${html}</td>`;
    };
    const top = head
      ? `<thead><tr>${head.map((h) => (h === "" ? "<td></td>" : `<th scope="col">${h}</th>`)).join("")}</tr></thead>` : "";
    const body = rows.map((r) => `<tr>${r.map(cell).join("")}</tr>`).join("");
    return `<div class="scroll"><table ${attributes}><caption>${caption}</caption>${top}<tbody>${body}</tbody></table></div>`;
  }

  // What is wider than its place can be scrolled by keys too.
  function reachable(root) {
    for (const box of root.querySelectorAll(".scroll")) {
      const caption = box.querySelector("caption");
      if (!caption || box.scrollWidth <= box.clientWidth) continue;
      Object.assign(box, { tabIndex: 0, role: "region", ariaLabel: caption.textContent });
    }
  }

  // A small matrix whose cells can be pointed at: the same tap lights up in every matrix and map beside it.
  function grid(caption, k, cell, id) {
    const head = ["", ...Array.from({ length: k }, (_, v) => v)];
    const rows = Array.from({ length: k }, (_, u) => [u, ...Array.from({ length: k }, (_, v) => {
      const c = cell(u, v, u * k + v);
      return [c.html, `tabindex="-1" data-tap="${u * k + v}" id="${settings.prefix}${id}-${u * k + v}" class="${c.cls || ""}"`];
    })]);
    return table(caption, head, rows, `class="grid" data-grid="${k}"`);
  }

  const pair = (...parts) => `<div class="pair">${parts.join("")}</div>`;
  // Matrices with a sign between them: equation(a, "×", b, "=", c).
  const equation = (...parts) => `<div class="equation">${parts
    .map((part, n) => (n % 2 ? `<b aria-hidden="true">${part}</b>` : part)).join("")}</div>`;
  const sums = (caption, rows) => table(caption, null, rows, 'class="sum"');

  const tone = (v) => (v > 0 ? "pos" : v < 0 ? "neg" : "nil");
  const bar = (v, max, text = "") => `<span class="bar ${tone(v)}" `
    + `style="--w:${max ? Math.abs(v) / max : 0}"><i></i></span>${text}`;

  // ---- maps

  // m: {data, H, W, C, ch, caption, grad, sel: [i, j], box: [i, j, h, w], pad: rows of padding, pick(i, j), over(i, j)}
  function map(id, m) {
    const full = (name) => name && settings.prefix + name;
    m = { C: 1, ch: 0, pad: [0, 0, 0, 0], ...m, feeds: full(m.feeds), reads: full(m.reads) };
    maps.set((id = full(id)), m);
    return `<figure class="map${m.wide ? " wide" : ""}"><figcaption id="${id}-c">${m.caption}</figcaption>
      <canvas id="${id}" tabindex="0" role="img" aria-label="${escape(describe(m))}"></canvas>
      <details data-table="${id}"><summary>as a table</summary><div class="scroll" tabindex="0" role="region" `
        + `aria-labelledby="${id}-c"></div></details></figure>`;
  }

  const value = (m, i, j) => m.data[(i * m.W + j) * m.C + m.ch];

  function describe(m) {
    let low = Infinity, high = -Infinity, zeros = 0, at = [0, 0];
    for (let i = 0; i < m.H; i++) for (let j = 0; j < m.W; j++) {
      const v = value(m, i, j);
      if (v > high) { high = v; at = [i, j]; }
      low = Math.min(low, v); zeros += v === 0;
    }
    const f = m.grad ? grad : fixed, caption = m.caption.replace(/<[^>]*>/g, "");
    return `${caption}: ${m.H} by ${m.W}, smallest ${f(low)}, largest ${f(high)} at row ${at[0]} column ${at[1]}, `
      + `${percent(zeros / (m.H * m.W))} zeros.${m.pick ? " Arrow keys move the cell." : ""}`;
  }

  let theme = {};
  function readTheme() {
    const css = getComputedStyle(document.documentElement);
    const rgb = (name) => css.getPropertyValue(name).trim().match(/\w\w/g).map((h) => parseInt(h, 16));
    theme = { paper: rgb("--map0"), ink: rgb("--map1"), pos: rgb("--pos"), neg: rgb("--neg"),
      mark: css.getPropertyValue("--mark").trim() };
  }

  const BLACK = [10, 10, 12], WHITE = [255, 255, 255];
  // Photos and what ReLU leaves go from black to white; numbers of both signs to blue (positive) and orange (negative).
  function colour(v, max, twoSided) {
    const share = max ? Math.min(1, Math.abs(v) / max) : 0, [from, to] = twoSided ? [theme.paper,
      v < 0 ? theme.neg : theme.pos] : [BLACK, WHITE];
    return from.map((c, k) => Math.round(c + (to[k] - c) * (twoSided ? Math.sqrt(share) : share)));
  }

  function paint(id, lit = []) {
    const canvas = $(id), m = maps.get(id);
    if (!canvas || !m) return;
    const [top, bottom, left, right] = m.pad, rows = m.H + top + bottom, cols = m.W + left + right;
    const cell = Math.max(3, Math.floor((m.wide ? 1280 : 560) / Math.max(rows, cols))), ctx = canvas.getContext("2d");
    canvas.width = cols * cell; canvas.height = rows * cell;
    let max = 0, twoSided = !!m.grad;
    for (let i = 0; i < m.H; i++) for (let j = 0; j < m.W; j++) { const v = value(m, i, j); max = Math.max(max, Math.abs(v));
      twoSided ||= v < 0; }
    const css = (c) => `rgb(${c})`;
    ctx.fillStyle = css(twoSided ? theme.paper : BLACK); ctx.fillRect(0, 0, canvas.width, canvas.height);
    ctx.strokeStyle = css(twoSided ? theme.ink : WHITE); ctx.lineWidth = 1;
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) {
      const i = r - top, j = c - left, x = c * cell, y = r * cell;
      if (i < 0 || j < 0 || i >= m.H || j >= m.W) { // padding is hatched
        ctx.globalAlpha = 0.45; ctx.beginPath(); ctx.moveTo(x, y + cell); ctx.lineTo(x + cell, y); ctx.stroke();
          ctx.globalAlpha = 1;
        continue;
      }
      const v = value(m, i, j);
      ctx.fillStyle = css(colour(v, max, twoSided)); ctx.fillRect(x, y, cell - (cell > 8 ? 1 : 0), cell - (cell > 8 ? 1 : 0));
      if (v < 0 && cell > 9) { // a negative number also wears a minus sign
        ctx.fillStyle = css(Math.abs(v) / max > 0.3 ? theme.paper : theme.ink);
          ctx.fillRect(x + cell / 4, y + cell / 2 - 1, cell / 2, 2);
      }
    }
    const outline = (i, j, h, w, width, dash) => {
      for (const [style, line] of [[css(WHITE), width + 3], [theme.mark, width]]) {
        ctx.strokeStyle = style; ctx.lineWidth = line; ctx.setLineDash(dash);
          ctx.strokeRect((j + left) * cell, (i + top) * cell, w * cell, h * cell);
      }
      ctx.setLineDash([]);
    };
    if (m.box) outline(...m.box, 3, [9, 5]);
    if (m.sel) outline(...m.sel, 1, 1, 4, []);
    for (const [i, j, h = 1, w = 1] of lit) outline(i, j, h, w, 5, []);
  }

  // All maps of the channels of a tensor beside each other, for the map of the network.
  function mosaic(canvas, data, H, W, C, columns, twoSided) {
    const rows = Math.ceil(C / columns), gap = C > 1 ? 1 : 0, ctx = canvas.getContext("2d");
    canvas.width = columns * (W + gap); canvas.height = rows * (H + gap);
    const image = ctx.createImageData(canvas.width, canvas.height), max = data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const dim = C > 1 && !twoSided && max > 0; // many maps on one scale: most are dark, so they are brightened
    for (let n = 0; n < data.length; n++) {
      const c = n % C, cell = (n - c) / C, i = Math.floor(cell / W) + Math.floor(c / columns) * (H + gap),
        j = (cell % W) + (c % columns) * (W + gap);
      image.data.set([...colour(dim ? Math.sqrt(data[n] / max) : data[n], dim ? 1 : max, twoSided), 255],
        4 * (i * canvas.width + j));
    }
    ctx.putImageData(image, 0, 0);
  }

  // The photo as the network gets it: every cell with its byte in it.
  function numbers(canvas, x) {
    const cell = 20, ctx = canvas.getContext("2d");
    canvas.width = canvas.height = 28 * cell;
    ctx.font = "9px ui-monospace, Menlo, Consolas, monospace"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    x.forEach((v, n) => {
      const left = (n % 28) * cell, top = Math.floor(n / 28) * cell;
      ctx.fillStyle = `rgb(${colour(v, 1, false)})`; ctx.fillRect(left, top, cell, cell);
      ctx.fillStyle = v > 0.5 ? "#000" : v > 0 ? "#fff" : "#55555c";
        ctx.fillText(Math.round(v * 255), left + cell / 2, top + cell / 2);
    });
  }

  // The cell under the pointer, in the map's own rows and columns; padding has negative or too large ones.
  function cellAt(canvas, event) {
    const m = maps.get(canvas.id), box = canvas.getBoundingClientRect(), [top, bottom, left, right] = m.pad;
    return [Math.floor(((event.clientY - box.top) / box.height) * (m.H + top + bottom)) - top,
      Math.floor(((event.clientX - box.left) / box.width) * (m.W + left + right)) - left];
  }

  function fillTable(details) {
    const m = maps.get(details.dataset.table), f = m.grad ? grad : fixed;
    const rows = Array.from({ length: m.H }, (_, i) => [i, ...Array.from({ length: m.W }, (_, j) => f(value(m, i, j)))]);
    details.querySelector("div").innerHTML = table(m.caption, ["row", ...Array.from({ length: m.W }, (_, j) => j)], rows);
  }

  return { $, settings, maps, fixed, signed, grad, percent, parse, escape, addsTo, table, reachable, sums, pair, equation,
    grid, tone,
    bar, map, paint, mosaic, numbers, cellAt, fillTable, readTheme };
})();
