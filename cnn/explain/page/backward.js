// The steps backward, as in steps.js: the slope of the loss in every number and every weight of the path.
"use strict";

const Backward = (() => {
  const { html, words, number, fixed, signed, grad, size, percent, whole } = Show;
  const { cell, total, table, sums, grid, pair, equation, bar, map, stage } = Show;
  const { nameOf, cellOf, show, exactly, openWord, bends, controls, rate, select, button, tap, place, channel } = Parts;
  const { pick, channelMap, isMap, around, boxOf, totalRows, sayTotal, largest, opens } = Parts;
  const { A } = State;
  const { add } = Terms;
  const zeros = (t) => t.reduce((n, v) => n + (v === 0), 0);

  // What else a step computes, where its letters say at which place: the bias's gradient, the ReLU on the way.
  const beside = ({ step, at }) => step.also.filter(({ places }) => places.every(([letter]) => letter in at))
    .map((sentence) => [sentence.text, show(Terms.evaluate(sentence, A.tensor, at).out)]);

  function dlogits({ step }) {
    const all = A.classes.map((_, k) => Terms.evaluate(step.sentence, A.tensor, { k })), target = A.classes[A.target];
    const sum = add(all.map((e) => e.out.value)), y = (e) => show(e.terms[0].factors[0]);
    const rows = all.map((e, k) => [A.classes[k], size(e.start.value), y(e), cell(show(e.out), { tap: k }),
      bar(e.out.value, 1, "", true)]);
    return { html: html`${controls(select("target", "explain the class", [...A.classes.entries()], A.target))}
      ${table(`the loss's slope in each logit, for y = ${target}`, ["class", "p", "y", "p − y", ""], rows)}
      <p>They add to ${grad(Math.abs(sum) < words.tolerances.terms ? 0 : sum)}: what one class gains the others
      lose.</p>`,
    say: `slope of the loss in the logit of ${target}: ${show(all[A.target].out)}`,
    micro: all.map((e, k) => ({ tap: k,
      say: `${A.classes[k]}: ${size(e.start.value)} minus ${y(e)} is ${show(e.out)}` })) };
  }

  // ---- dense layers

  // One weight of a dense layer: what came in, times the slope behind it.
  function denseWeight(view) {
    const { l, k, e } = view, [came, slope] = e.terms[0].factors, all = A.tensor(e.out.tensor).data, none = zeros(all);
    const rows = [[nameOf(came), show(came)], [`× ${nameOf(slope)}`, show(slope)],
      [`= ${nameOf(e.out)}`, total(show(e.out))], ...beside(view)];
    if (bends(l)) {
      const z = Terms.entry(l.names.z, slope.at, A.tensor);
      rows.push([nameOf(z), html`${show(z)} <small>${l.activation.name === "relu" ? openWord(z.value) : ""}</small>`]);
    }
    return { html: html`${controls(inputOf(k), place(k + 1, "unit"))}${sums(nameOf(e.out), rows)}${allProducts(l, k)}
      <p>${whole(none)} of ${whole(all.length)} weights of this layer (${percent(none / all.length)}) have a slope of
      exactly 0: their input was 0 or their unit was closed. This photo teaches them nothing.</p>`,
    say: `${nameOf(e.out)}: ${show(came)} times ${show(slope)} is ${show(e.out)}`, micro: sayTotal(e) };
  }

  // The input of a dense layer: its cell in the maps before Flatten, else its number.
  function inputOf(k) {
    return Steps.origin(k, 0) ? place(k - 1, "channel") : place(k, "input", true);
  }

  // All products of a small layer as one map: a row for each unit.
  function allProducts(l, k) {
    const [N, U] = l.sides, g = A.G[l.names.dkernel], [n, u] = State.weightOf(k), { x, dz, dkernel } = l.names;
    if (g.length > 4096) return "";
    return map(`m-${dkernel}`, { wide: true, H: U, W: N, grad: true, sel: [u, n],
      caption: `all ${whole(g.length)} products ${x}[n]·${dz}[u]: ${U} rows, one for each unit, ${N} columns`,
      pick: (row, column) => ({ weight: [k, [column, row]] }),
      data: Float64Array.from(g, (_, m) => g[(m % N) * U + Math.floor(m / N)]) });
  }

  function denseInput({ l, k, step, e }) {
    const last = k === A.net.layers.length - 1, [letter] = e.sentence.ranges[0];
    const to = ({ scope }) => [last ? A.classes[scope[letter]] : `unit ${scope[letter]}`];
    const t = largest(e, step.top, [last ? "class" : "from"], to);
    return { html: html`${controls(inputOf(k))}${t.html}${totalRows(e, `sum of ${e.terms.length} products`)}`,
      say: `the loss's slope in ${nameOf(e.out)} is ${show(e.out)}`, micro: [...t.micro, ...sayTotal(e)] };
  }

  function unflatten({ l, k, e }) {
    const to = A.S.path[k], [n] = e.terms[0].factors[0].at, [, W, C] = l.in, { dx, dy } = l.names;
    const rows = l.in.length === 3 ? [["row", `⌊${n} / ${W * C}⌋ = ${to[0]}`],
      ["column", `⌊${n} / ${C}⌋ mod ${W} = ${to[1]}`], ["channel", `${n} mod ${C} = ${to[2]}`]] : [];
    const told = sums(`${dy}[${n}] goes back to its place`, [...rows, ["value", total(show(e.out))]]);
    const shown = isMap(dx) ? pair(channelMap(dx, to[2], { sel: to.slice(0, 2), pick: pick(k) }), told) : told;
    return { html: html`${controls(place(k, "channel"))}${shown}`, say: `number ${n} goes back to ${to.join(", ")}` };
  }

  // ---- pooling and convolutions

  function route({ l, k, step }) {
    const g = l.window, [i, j, f] = A.S.path[k + 1], { x, dx, dy, winners } = l.names;
    const cells = Array.from({ length: g.kh * g.kw }, (_, m) =>
      [i * g.sh - g.top + Math.floor(m / g.kw), j * g.sw - g.left + (m % g.kw)]);
    const read = (tensor, at) => Terms.entry(tensor, [...at, f], A.tensor), arrives = read(dy, [i, j]);
    const values = cells.map((one) => read(x, one)), back = cells.map((one) => read(dx, one));
    const winner = A.T[winners][arrives.flat], tied = Steps.ties(values, winner), { data } = A.tensor(dx);
    const from = channelMap(dy, f, { note: "arrives", sel: [i, j], pick: pick(k + 1) });
    const to = channelMap(dx, f, { note: "handed on", box: boxOf(g, i, j), sel: cells[winner], taps: cells,
      pad: around(g), pick: pick(k) });
    const look = (one, m) => (m === winner ? "winner" : one.inside ? "" : "padding");
    const slopes = back.map((one, m) => ({ text: show(one), cls: look(one, m) }));
    const overlap = g.sh < g.kh || g.sw < g.kw ? " A cell gets the sum over all windows that it won." : "";
    const why = tied > 1 ? `${tied} of the ${cells.length} were equal. The first, row by row, won and takes everything.`
      : "One cell won and takes everything; the others changed nothing, so they get 0.";
    const said = (one, m) => `cell ${m + 1} ${m === winner ? "won" : "did not win"}: ${show(one)}`;
    return { html: html`${controls(place(k, "filter"))}${pair(from, to)}
      ${equation(grid("values on the way forward", g.kw, Steps.windowCells(values, winner, "won"), "g-f"), ":",
        grid(`slopes: ${nameOf(arrives)} = ${show(arrives)}`, g.kw, slopes, "g-b"))}
      <p>${why}${overlap} In all of ${dx}, ${whole(data.length - zeros(data))} of ${whole(data.length)} numbers are not
      0.</p>`,
    say: `the slope ${show(arrives)} goes to the cell that won; the others get 0`,
    micro: back.map((one, m) => ({ tap: m, say: said(one, m) })) };
  }

  // Why products of a weight's gradient are 0, each counted once: the ReLU, then the pooling, then the input.
  function causes(l, k, e) {
    const count = {}, relu = bends(l) && l.activation.name === "relu", z = relu && A.tensor(l.names.z).data;
    const [closed, lost, padded, silent] = words.causes, pooled = A.net.layers[k + 1]?.op === "max";
    const why = ([value, slope]) => (relu && z[slope.flat] <= 0 ? closed
      : slope.value === 0 ? (pooled ? lost : "no gradient") : value.inside ? silent : padded);
    for (const t of e.terms) if (t.product === 0) count[why(t.factors)] = (count[why(t.factors)] || 0) + 1;
    return Object.entries(count).map(([name, times]) => `${times} ${name}`).join(", ");
  }

  function convWeight(view) {
    const { l, k, step, e, at: { u, v, f, c: ch } } = view, g = l.window, live = e.terms.filter((t) => t.product !== 0);
    const [x, d] = e.sentence.factors.map((one) => one.tensor), none = e.terms.length - live.length;
    const t = live.length ? largest(e, step.top, ["row i", "column j"], ({ scope }) => [scope.i, scope.j], live)
      : { html: html`<p>No product is live: this weight has a slope of exactly 0.</p>`, shown: [], micro: [] };
    const where = controls(tap(k), g.C > 1 && channel(k, "channel"), place(k + 1, "filter").slice(-1));
    const looked = (n) => t.shown.map(({ factors }) => cellOf(factors[n]));
    const box = g.sh === 1 && g.sw === 1 ? { box: [u - g.top, v - g.left, g.OH, g.OW] } : {};
    const from = channelMap(x, ch, { pad: around(g), ...box, taps: looked(0) });
    const rows = [[`= ${nameOf(e.out)}`, total(show(e.out))], ...beside(view),
      ["the weight itself", signed(A.P[l.names.kernel][e.out.flat])]];
    if (none) rows.unshift([`${none} products are 0`, causes(l, k, e)]);
    return { html: html`${where}${stage(pair(from, channelMap(d, f, { taps: looked(1) })),
      html`${t.html}${sums("the sum", rows)}`)}
      ${controls(button("g", "Check this slope by moving the weight"))}`,
    say: `${nameOf(e.out)}: ${live.length} of ${e.terms.length} products are not zero, sum ${show(e.out)}`,
    micro: [...t.micro, ...sayTotal(e)] };
  }

  // What each weight [u,v] of the window brings back to the cell (r, s) of channel c, from the output cell it joins it
  // to: {n, at, inside, sum over the filters}. With a stride most weights join it to none.
  function sharesOf(l, [r, s, c]) {
    const g = l.window, dz = A.G[l.names.dz], W = A.P[l.names.kernel];
    return Array.from({ length: g.kh * g.kw }, (_, n) => {
      const at = [(r + g.top - Math.floor(n / g.kw)) / g.sh, (s + g.left - (n % g.kw)) / g.sw];
      const inside = at.every((v, axis) => Number.isInteger(v) && v >= 0 && v < [g.OH, g.OW][axis]);
      let sum = 0;
      if (inside) for (let f = 0; f < g.F; f++)
        sum += dz[(at[0] * g.OW + at[1]) * g.F + f] * W[(n * g.C + c) * g.F + f];
      return { n, at, inside, sum };
    });
  }

  // The slope of one cell of the input twice: what each window sends back, and what a filter turned by 180 degrees
  // collects.
  function convInput({ l, k, e }) {
    const g = l.window, out = Terms.entry(l.names.dx, A.S.path[k], A.tensor), [r, s, ch] = out.at;
    const f = A.S.path[k + 1][2];
    const shares = sharesOf(l, out.at), turned = [...shares].reverse(), plain = g.sh === 1 && g.sw === 1;
    const sum = (list) => add(list.map((one) => one.sum)), { dz } = l.names, live = shares.filter((one) => one.inside);
    const box = (caption, list, id) => grid(caption, g.kw, list.map((one) => ({ tap: one.n,
      cls: one.inside ? "" : "padding", text: one.inside ? grad(one.sum) : html`<small>none</small>` })), id);
    const rows = [["scatter", total(grad(sum(shares)))], ...(plain ? [["gather", total(grad(sum(turned)))],
      ["difference", grad(sum(shares) - sum(turned))]] : []), [`${nameOf(out)} of the pass`, show(out)]];
    const pads = [g.kh - g.top, g.kh - g.bottom, g.kw - g.left, g.kw - g.right].map((v) => Math.max(0, v - 1));
    const cells = channelMap(dz, f, { note: `one of ${g.F}, with the cells that looked here`,
      pad: plain ? pads : [0, 0, 0, 0],
      ...(plain ? { box: [r + g.top - g.kh + 1, s + g.left - g.kw + 1, g.kh, g.kw] } : {}),
      taps: shares.map((one) => (one.inside ? one.at : [-9, -9])) });
    const scatter = box(`scatter: what the window sent back through weight [u,v], summed over ${g.F} filters`, shares,
      "g9s");
    const both = plain ? equation(scatter, "=", box(`gather: the same window of ${dz} under the filter turned by 180°`,
      turned, "g9g")) : scatter;
    const own = channelMap(l.names.dx, ch, { sel: [r, s], pick: pick(k) });
    return { html: html`${controls(place(k, "channel"))}${pair(own, cells)}${both}
      <p>${plain ? turnedWords : stridedWords} ${whole(g.F * live.length)} of ${whole(g.F * shares.length)} products
      land on this cell.</p>${sums("the sum", rows)}${opens(e)}`,
    say: `${nameOf(out)}: ${grad(sum(shares))} by scattering${plain ? `, ${grad(sum(turned))} by gathering` : ""}`,
    micro: [...shares.map((one) => sayShare(one, g)), { tap: "z", say: `is ${nameOf(out)}, ${show(out)}` }] };
  }
  const turnedWords = "The two tables hold the same numbers, turned by 180°: weight [u,v] joined an output cell to "
    + "the pixel u rows below and v columns right of its window's corner, so on the way back it joins the pixel to "
    + "that cell. Nobody rotates anything; one only looks from the other end.";
  const stridedWords = "With a stride the windows step over cells: a pixel lies only under some of the weights. To "
    + "gather with a turned filter one would have to put zeros between the cells first.";
  const sayShare = ({ n, at, inside, sum }, { kw }) => ({ tap: n,
    say: `weight ${Math.floor(n / kw)}, ${n % kw}`
      + (inside ? `: output cell ${at[0]}, ${at[1]} sends back ${grad(sum)}` : " joins this cell to none") });

  // ---- learning

  // The loss after some of the weights have moved.
  function lossAfter(move) {
    const moved = Object.fromEntries(Object.entries(A.P).map(([name, w]) => [name, Float64Array.from(w)]));
    move(moved);
    return A.net.loss(A.net.forward(moved, A.x), A.target);
  }

  // What the step does to one weight of the path, and to the loss.
  function stepRows(k) {
    const l = A.net.layers[k], w = Terms.entry(l.names.kernel, State.weightOf(k), A.tensor), { kernel } = l.names;
    const g = A.G[l.names.dkernel][w.flat], lr = A.S.lr, next = w.value - lr * g;
    const one = A.tried(`one ${nameOf(w)} ${lr}`, () => lossAfter((P) => { P[kernel][w.flat] = next; }));
    const all = A.tried(`all ${lr}`, () => lossAfter((P) => A.net.sgd(P, A.G, lr)));
    const loss = (v) => number(v, "loss"), change = (v) => `change ${grad(v - A.loss)}`;
    const promised = `${change(one)}; the slope promised ${grad(-lr * g * g)}`;
    const count = whole(A.net.params.reduce((n, name) => n + A.P[name].length, 0));
    const rows = [["w", exactly(w.value)], ["− learning rate × slope", `${lr} × ${grad(g)} = ${grad(lr * g)}`],
      ["= new w", cell(exactly(next), { cls: "total" })], ["loss before", loss(A.loss)],
      ["loss, this weight moved", html`${loss(one)} <small>${promised}</small>`],
      [`loss, all ${count} moved`, cell(html`${loss(all)} <small>${change(all)}</small>`, { cls: "total" })]];
    return { rows, name: nameOf(w), say: `weight ${exactly(w.value)} becomes ${exactly(next)}; loss ${loss(A.loss)} `
      + `becomes ${loss(all)} when all weights step` };
  }

  function update({ e }) {
    const k = State.kernels()[0], isRow = A.net.shapes.x.length !== 3, at = A.S.path[0];
    const [r, s, ch] = isRow ? Path.cellAt(at[0], A.shape) : at, slope = Terms.entry("dx", at, A.tensor);
    const look = (name, note) => channelMap(name, ch, { note, sel: [r, s],
      pick: (i, j) => ({ path: [0, isRow ? [Path.flat([i, j, 0], A.shape)] : [i, j, ch]] }) });
    const learning = k === undefined ? { rows: [], name: "", say: "nothing is learned here" } : stepRows(k);
    const l = A.net.layers[k], weight = !l ? [] : l.op === "conv"
      ? [tap(k), place(k + 1, "filter").slice(-1)] : [place(k + 1, "unit").slice(-1)];
    return { html: html`${controls(place(0, A.shape[2] > 1 ? "colour" : ""), weight, rate("lr", A.S.lr))}
      ${pair(look("x"), look("dx", "how the loss would change with each pixel"))}
      ${sums("one pixel", [["x", fixed(A.T.x[slope.flat])], [nameOf(slope), show(slope)]])}
      ${e?.sentence.operator ? opens(e) : ""}
      ${sums(`one step of learning for ${learning.name}`, learning.rows)}
      ${controls(button("t", "Take this step"), button("T", "A hundred of them"),
        button("u", "Back to the loaded weights"))}`, say: learning.say };
  }

  const VIEWS = { dlogits, "dense-dkernel": denseWeight, "dense-dx": denseInput, "flatten-back": unflatten,
    "pool-back": route, "conv-dkernel": convWeight, "conv-dx": convInput, "input-gradient": update };

  return { VIEWS };
})();
