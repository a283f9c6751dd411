// Steps B1 to B12: the way back. Every gradient is a sum of products too, and here are the products.
"use strict";

const Backward = (() => {
  const { fixed, signed, grad, table, sums, pair, equation, grid, bar, map, addsTo, percent } = Show;
  const { at, inside, sum, number, controls, cellControls, where, pick, terms } = Forward.kit;
  const zeros = (t) => t.reduce((n, v) => n + (v === 0), 0);
  const result = (label, v, shown = []) => [label, [grad(v) + (shown.length ? addsTo(shown, grad(v), grad) : ""),
    'class="total" data-tap="z"']];
  const sayResult = (name, v) => [{ tap: "z", say: `${name} is ${grad(v)}` }];

  const B1 = (A) => ({ html: `<p class="controls"><label>explain the class <select id="${Show.settings.prefix}in-target" `
    + `data-set="target">${A.classes.map((n, k) => `<option value="${k}" `
    + `${k === A.target ? "selected" : ""}>${n}</option>`).join("")}</select></label></p>`
    + table(`the loss's slope in each logit: p − y, for y = ${A.classes[A.target]}`, ["class", "p", "y", "p − y", ""],
      A.classes.map((name, k) => { const d = A.G.dlogits[k], y = Number(k === A.target);
        return [name, grad(A.T.p[k]).replace("+", ""), y, [grad(d), `data-tap="${k}"`], bar(d, 1)]; }))
    + `<p>They add to ${grad(Math.abs(sum([...A.G.dlogits])) < 1e-12 ? 0 : sum([...A.G.dlogits]))}: what one class gains the `
      + `others lose.</p>`,
  say: `slope of the loss in the logit of ${A.classes[A.target]}: ${grad(A.G.dlogits[A.target])}`,
  micro: A.classes.map((name, k) => ({ tap: k,
    say: `${name}: ${grad(A.T.p[k])} minus ${Number(k === A.target)} is ${grad(A.G.dlogits[k])}` })) });

  const B2 = (A, c) => {
    const a = A.T.a3[c.u], d = A.G.dlogits[c.k], v = A.G.dW4[c.u * 10 + c.k];
    return { html: controls(number("u", "unit", 127, c.u), number("k", "class", 9, c.k))
      + sums(`dW4[${c.u},${c.k}]`, [["a3[u], what came in", fixed(a)], ["× dlogits[k]", grad(d)], result("= dW4[u,k]", v),
        ["db4[k] = dlogits[k]", grad(A.G.db4[c.k])]])
      + map("m-dW4", { wide: true, caption: "all 1,280 products a3[u]·dlogits[k]: 10 rows (classes), 128 columns (units)",
        data: Float64Array.from({ length: 1280 }, (_, n) => A.G.dW4[(n % 128) * 10 + Math.floor(n / 128)]), H: 10, W: 128,
        grad: true, sel: [c.k, c.u], pick: (k, u) => ({ k, u }) }),
    say: `gradient of weight ${c.u}, ${c.k}: ${fixed(a)} times ${grad(d)} is ${grad(v)}`, micro: sayResult("the gradient", v) };
  };

  const B3 = (A, c) => {
    const list = Array.from(A.G.dlogits, (d,
      k) => ({ where: [A.classes[k]], a: A.P.W4[c.u * 10 + k], w: d, product: d * A.P.W4[c.u * 10 + k] }));
    const t = terms(`da3[${c.u}]: ten products`, ["class k", "W4[u,k]", "× dlogits[k]"], list, 10, grad);
    return { html: controls(number("u", "unit", 127, c.u)) + t.html + sums("the sum",
      [result(`da3[${c.u}]`, A.G.da3[c.u], list.map((l) => grad(l.product)))]),
      say: `the loss's slope in unit ${c.u} is ${grad(A.G.da3[c.u])}`,
        micro: [...t.micro, ...sayResult("the sum", A.G.da3[c.u])] };
  };

  const B4 = (A, c) => {
    const r = c.i2 >> 1, s = c.j2 >> 1, n = (r * 7 + s) * 64 + c.f2, open = A.T.z3[c.u] > 0, v = A.G.dW3[n * 128 + c.u],
      none = zeros(A.G.dW3);
    return { html: cellControls(c, 2, "channel", " in a2") + controls(number("u", "unit", 127, c.u))
      + sums(`ReLU, then dW3[${n},${c.u}]`,
        [[`z3[${c.u}]`, `${signed(A.T.z3[c.u])} `
        + `<small>${open ? "open: the slope passes" : "closed: the slope ends here"}</small>`],
        ["da3[u]", grad(A.G.da3[c.u])], ["dz3[u]", grad(A.G.dz3[c.u])],
        [`× f[${n}]`, fixed(A.T.f[n])], result(`= dW3[${n},${c.u}]`, v), ["db3[u] = dz3[u]", grad(A.G.db3[c.u])]])
      + `<p>${none.toLocaleString("en")} of 401,408 weights of this layer (${percent(none / 401408)}) have a gradient of `
        + `exactly 0: their input was 0 or their unit was closed. This photo teaches them nothing.</p>`,
    say: `gradient of weight ${n}, ${c.u}: ${fixed(A.T.f[n])} times ${grad(A.G.dz3[c.u])} is ${grad(v)}`,
      micro: sayResult("the gradient", v) };
  };

  const B5 = (A, c) => {
    const n = ((c.i2 >> 1) * 7 + (c.j2 >> 1)) * 64 + c.f2, list = Array.from(A.G.dz3,
      (d, u) => ({ where: [`unit ${u}`], a: A.P.W3[n * 128 + u], w: d, product: d * A.P.W3[n * 128 + u] }));
    const t = terms(`df[${n}]: the 8 largest of 128 products`, ["from", `W3[${n},u]`, "× dz3[u]"], list, 8, grad);
    return { html: cellControls(c, 2, "channel", " in a2") + t.html + sums("the sum", [result(`df[${n}]`, A.G.df[n])]),
      say: `the loss's slope in number ${n} of the row is ${grad(A.G.df[n])}`,
      micro: [...t.micro, ...sayResult("the sum", A.G.df[n])] };
  };

  const B6 = (A, c) => {
    const r = c.i2 >> 1, s = c.j2 >> 1, n = (r * 7 + s) * 64 + c.f2;
    return { html: cellControls(c, 2, "channel", " in a2")
      + pair(map("m-dp2", { caption: `dp2, channel ${c.f2}`, data: A.G.dp2, H: 7, W: 7, C: 64, ch: c.f2, grad: true,
      sel: [r, s], pick: (p, q) => ({ i2: 2 * p, j2: 2 * q }) }), sums(`df[${n}] goes back to its place`,
      [["row", `⌊${n} / 448⌋ = ${r}`], ["column", `⌊${n} / 64⌋ mod 7 = ${s}`], ["channel", `${n} mod 64 = ${c.f2}`],
      result("value", A.G.df[n])])),
    say: `number ${n} goes back to row ${r}, column ${s}, channel ${c.f2}`, micro: [] };
  };

  const routing = (n) => (A, c) => {
    const w = where(n), half = w.side / 2, i = c[w.i] >> 1, j = c[w.j] >> 1, f = c[w.f], a = A.T["a" + n], dp = A.G["dp" + n],
      da = A.G["da" + n];
    const winner = at(A.T["argmax" + n], half, w.C, i, j, f), v = at(dp, half, w.C, i, j, f),
      cell = (m) => [2 * i + (m >> 1), 2 * j + (m & 1)];
    const four = [0, 1, 2, 3].map((m) => at(a, w.side, w.C, ...cell(m), f)), tied = four.filter((x) => x === four[winner]).length;
    return { html: cellControls(c, n, "filter", ` in a${n}`)
      + pair(map(`m-dp${n}`, { caption: `dp${n}, filter ${f}: arrives`, data: dp, H: half, W: half, C: w.C, ch: f, grad: true,
      sel: [i, j], pick: (p, q) => ({ [w.i]: 2 * p, [w.j]: 2 * q }) }),
      map(`m-da${n}`, { caption: `da${n}, filter ${f}: handed on`, data: da, H: w.side, W: w.side, C: w.C, ch: f, grad: true,
      box: [2 * i, 2 * j, 2, 2], sel: cell(winner), taps: [0, 1, 2, 3].map(cell), pick: pick(w.i, w.j) }))
      + equation(grid("values on the way forward", 2, (u, q,
        m) => ({ html: fixed(four[m]) + (m === winner ? " <small>won</small>" : ""), cls: m === winner ? "winner" : "" }),
        "g-f"), ":", grid(`slopes: dp${n}[${i},${j},${f}] = ${grad(v)}`, 2,
        (u, q, m) => ({ html: grad(at(da, w.side, w.C, ...cell(m), f)), cls: m === winner ? "winner" : "" }), "g-b"))
      + `<p>${tied > 1 ? `${tied} of the four were equal. The first, row by row, won and takes everything.`
        : "One cell won and takes everything; the other three changed nothing, so they get 0."} In all of da${n}, `
        + `${(da.length - zeros(da)).toLocaleString("en")} of ${da.length.toLocaleString("en")} numbers are not 0.</p>`,
    say: `the slope ${grad(v)} goes to the cell that won; the other three get 0`,
      micro: [0, 1, 2,
      3].map((m) => ({ tap: m, say: m === winner ? `cell ${m + 1} won: ${grad(v)}` : `cell ${m + 1} did not win: 0` })) };
  };

  // The sum for one weight of a convolution: one product for each place its filter stood at, and why most are zero.
  function weightTerms(A, n, c) {
    const [x, side, C, ch, F, t, f] = n === 1 ? [A.x, 28, 1, 0, 32, c.t1, c.f1] : [A.T.p1, 14, 32, c.c2, 64, c.t2, c.f2],
      live = [];
    const why = { "ReLU closed": 0, "lost the pool": 0, "slope is 0": 0, "padding": 0, "zero input": 0 };
    for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) {
      const r = i + Math.floor(t / 3) - 1, q = j + (t % 3) - 1, real = inside(r, q, side),
        a = real ? at(x, side, C, r, q, ch) : 0, o = (i * side + j) * F + f, d = A.G["dz" + n][o];
      if (a * d !== 0) { live.push({ where: [i, j], a, w: d, product: a * d, from: [r, q], at: [i, j] }); continue; }
      const half = side / 2, m = 2 * (i & 1) + (j & 1), won = at(A.T["argmax" + n], half, F, i >> 1, j >> 1, f) === m;
      why[d !== 0 ? (real ? "zero input" : "padding") : A.T["z" + n][o] <= 0 ? "ReLU closed" : won ? "slope is 0"
        : "lost the pool"]++;
    }
    return { live, why, all: side * side, index: (t * C + ch) * F + f };
  }

  const kernel = (n) => (A, c) => {
    const w = where(n), [t, f, ch] = n === 1 ? [c.t1, c.f1, 0] : [c.t2, c.f2, c.c2],
      { live, why, all, index } = weightTerms(A, n, c), v = A.G["dW" + n][index], u = Math.floor(t / 3), q = t % 3;
    const top = live.length ? terms(`the 5 largest of ${live.length} live products`,
      ["row i", "column j", n === 1 ? "x" : "p1", `× dz${n}`], live, 5, grad)
      : { html: "<p>No product is live: this weight has a gradient of exactly 0.</p>", order: [], micro: [], rest: 0 };
    const causes = Object.entries(why).filter(([, count]) => count), from = n === 1 ? A.x : A.T.p1, C = n === 1 ? 1 : 32;
    return { html: controls(number("t" + n, "tap 3u+v", 8, t), ...(n === 2 ? [number("c2", "channel", 31, ch)] : []),
      number(w.f, "filter", w.C - 1, f))
      + pair(map("m-in", { caption: n === 1 ? "x" : `p1, channel ${ch}`, data: from, H: w.side, W: w.side, C, ch,
        pad: [1, 1, 1, 1], box: [u - 1, q - 1, w.side, w.side], taps: top.order.map((k) => live[k].from) }),
        map(`m-dz${n}`, { caption: `dz${n}, filter ${f}`, data: A.G["dz" + n], H: w.side, W: w.side, C: w.C, ch: f,
        grad: true, taps: top.order.map((k) => live[k].at) }))
      + top.html + sums("the sum",
        [...(causes.length ? [[`${all - live.length} products are 0`, causes.map(([k, count]) => `${count} ${k}`).join(", ")]]
        : []),
        result(`dW${n}[${u},${q},${ch},${f}]`, v), [`db${n}[${f}] = sum of ${all} slopes`, grad(A.G["db" + n][f])],
          ["the weight itself", signed(A.P["W" + n][index])]])
      + `<p class="controls"><button type="button" data-key="g">Check this gradient by moving the weight `
        + `<kbd>g</kbd></button></p>`,
    say: `gradient of weight ${u}, ${q}, ${ch}, ${f}: ${live.length} of ${all} products are not zero, sum ${grad(v)}`,
      micro: [...top.micro, ...sayResult("the gradient", v)] };
  };

  // The slope of one cell of p1, twice: what each window sends back to it, and what a filter turned by 180 degrees collects.
  function twins(A, c) {
    const scatter = [], gather = [], d = A.G.dz2, W = A.P.W2;
    const part = (i, j, t) => { let s = 0; if (inside(i, j, 14)) for (let f = 0; f < 64;
      f++) s += d[(i * 14 + j) * 64 + f] * W[(t * 32 + c.c2) * 64 + f]; return { i, j, t, v: s, real: inside(i, j, 14) }; };
    for (let t = 0; t < 9; t++) scatter.push(part(c.i2 + 1 - Math.floor(t / 3), c.j2 + 1 - (t % 3), t));
    for (let m = 0; m < 9; m++) gather.push(part(c.i2 - 1 + Math.floor(m / 3), c.j2 - 1 + (m % 3), 8 - m));
    return { scatter, gather };
  }

  const B9 = (A, c) => {
    const { scatter, gather } = twins(A, c), s = sum(scatter.map((p) => p.v)), g = sum(gather.map((p) => p.v)),
      real = scatter.filter((p) => p.real).length;
    const box = (caption, list, id) => grid(caption, 3, (u, v,
      m) => ({ html: list[m].real ? grad(list[m].v) : "<small>outside</small>", cls: list[m].real ? "" : "padding" }), id)
      .replace(/data-tap="(\d)"/g, (_, m) => `data-tap="${list[m].t}"`);
    return { html: controls(number("i2", "row", 13, c.i2), number("j2", "column", 13, c.j2), number("c2", "channel", 31, c.c2))
      + pair(map("m-dp1", { caption: `dp1, channel ${c.c2}`, data: A.G.dp1, H: 14, W: 14, C: 32, ch: c.c2, grad: true,
        sel: [c.i2, c.j2], pick: pick("i2", "j2") }), map("m-dz2",
        { caption: `dz2, filter ${c.f2} (one of 64), with the nine cells that looked here`, data: A.G.dz2, H: 14, W: 14,
        C: 64, ch: c.f2, grad: true, pad: [1, 1, 1, 1], box: [c.i2 - 1, c.j2 - 1, 3, 3], taps: scatter.map((p) => [p.i, p.j]) }))
      + equation(box("scatter: what the window sent back through weight [u,v], summed over 64 filters", scatter, "g9s"), "=",
        box("gather: the same window of dz2 under the filter turned by 180°", gather, "g9g"))
      + `<p>The two tables hold the same nine numbers, turned by 180°: weight [u,v] joined cell (i,j) to `
        + `pixel (i+u−1, j+v−1), `
        + `so on the way back it joins the pixel to cell (r−u+1, c−v+1). Nobody rotates anything; one only looks from the `
        + `other end. ${real * 64} of 576 products land inside.</p>`
      + sums("the sum", [["scatter", [grad(s), 'data-tap="z" class="total"']],
        ["gather", [grad(g), 'data-tap="z" class="total"']], ["difference", grad(s - g)],
        [`dp1[${c.i2},${c.j2},${c.c2}] of the pass`, grad(at(A.G.dp1, 14, 32, c.i2, c.j2, c.c2))]]),
    say: `slope of p1 at ${c.i2}, ${c.j2}, channel ${c.c2}: ${grad(s)} by scattering, ${grad(g)} by gathering`,
    micro: [...scatter.map((p) => ({ tap: p.t, say: p.real ? `weight ${Math.floor(p.t / 3)}, ${p.t % 3}: output cell ${p.i}, `
      + `${p.j} sends back ${grad(p.v)}` : `weight ${Math.floor(p.t / 3)}, ${p.t % 3} would come from outside the map` })),
      ...sayResult("the sum", s)] };
  };

  const B12 = (A, c) => {
    const index = c.t1 * 32 + c.f1, w = A.P.W1[index], g = A.G.dW1[index], rate = A.S.lr, next = w - rate * g;
    const after = A.tried("one", () => { const Q = { ...A.P, W1: Float64Array.from(A.P.W1) }; Q.W1[index] = next;
      return Engine.lossOf(Engine.forward(Q, A.x).z4, A.target); });
    const all = A.tried("all", () => { const Q = Object.fromEntries(Engine.PARAMS.map((n) => [n, Float64Array.from(A.P[n])]));
      Engine.sgd(Q, A.G, rate); return Engine.lossOf(Engine.forward(Q, A.x).z4, A.target); });
    const n = c.i1 * 28 + c.j1;
    return { html: controls(number("i1", "row", 27, c.i1), number("j1", "column", 27, c.j1),
      number("t1", "tap 3u+v", 8, c.t1), number("f1", "filter", 31, c.f1),
      `<label>learning rate <input type="number" id="${Show.settings.prefix}in-lr" data-set="lr" min="0" max="10" step="any" `
      + `value="${rate}"></label>`)
      + pair(map("m-x", { caption: "x", data: A.x, H: 28, W: 28, sel: [c.i1, c.j1], pick: pick("i1", "j1") }),
        map("m-dx", { caption: "dx: how the loss would change with each pixel", data: A.G.dx, H: 28, W: 28, grad: true,
        sel: [c.i1, c.j1], pick: pick("i1", "j1") }))
      + sums("one pixel", [["x", fixed(A.x[n])], ["dx", grad(A.G.dx[n])]])
      + sums(`one step of gradient descent on W1[${Math.floor(c.t1 / 3)},${c.t1 % 3},0,${c.f1}]`,
        [["w", signed(w)], ["− rate × gradient", `${rate} × ${grad(g)} = ${grad(rate * g)}`],
        ["= new w", [signed(next), 'class="total"']],
        ["loss before", fixed(A.loss)], ["loss, this weight moved",
          `${fixed(after)} <small>change ${grad(after - A.loss)}; the slope promised ${grad(-rate * g * g)}</small>`],
          ["loss, all 421,642 moved", [`${fixed(all)} <small>change ${grad(all - A.loss)}</small>`, 'class="total"']]])
      + `<p class="controls"><button type="button" data-key="t">Take this step <kbd>t</kbd></button> <button type="button" `
        + `data-key="T">A hundred of them <kbd>T</kbd></button> <button type="button" data-key="u">Back to the loaded weights `
        + `<kbd>u</kbd></button></p>`,
    say: `weight ${fixed(w)} becomes ${fixed(next)}; loss ${fixed(A.loss)} becomes ${fixed(all)} when all weights step`,
      micro: [] };
  };

  return { B1, B2, B3, B4, B5, B6, B7: routing(2), B8: kernel(2), B9, B10: routing(1), B11: kernel(1), B12,
    kit: { weightTerms, twins, zeros } };
})();
