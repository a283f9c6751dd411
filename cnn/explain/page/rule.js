// The steps of the way back that the terminal calls R and C: through a ReLU, and the chain rule on the whole path.
"use strict";

const Rule = (() => {
  const { html, words, number, grad, percent, whole } = Show;
  const { cell, total, table, sums, grid, pair, equation, map, stage } = Show;
  const { nameOf, show, exactly, openWord, kindOf, controls, place, pick, channelMap, isMap, opens } = Parts;
  const { A } = State, { said } = words;
  // "through {}: {} x {}" with these in the places of {}
  const fill = (text, ...items) => text.split("{}").map((part, n) => html`${part}${items[n] ?? ""}`);

  // ---- R: back through a ReLU

  function reluBack({ l, k, e }) {
    const { dz, dy, z, open } = l.names, { at } = e.out, maps = isMap(dz);
    const one = (name) => Terms.entry(name, at, A.tensor);
    const before = one(z), arrives = one(dy), isOpen = before.value > 0, { data } = A.tensor(z);
    const closed = data.reduce((n, v) => n + (v <= 0), 0);
    const look = (name, note) => (maps ? channelMap(name, at[2], { note, sel: at.slice(0, 2), pick: pick(k + 1) })
      : units(name, note, at[0], k));
    const near = around(A.tensor(dz).shape, at), wide = near.filter((n) => n[0] === near[0][0]).length;
    const box = (name, id) => grid(name, maps ? wide : near.length, near.map((to) => ({
      text: show(Terms.entry(name, to, A.tensor)), cls: to.join() === at.join() ? "chosen" : "" })), id);
    const rows = [[nameOf(arrives), show(arrives)], [`× ${nameOf(one(open))}`, isOpen ? 1 : 0],
      [`= ${nameOf(e.out)}`, total(show(e.out))], [nameOf(before), html`${exactly(before.value)}
      <small>${openWord(before.value)}</small>`]];
    return { html: html`${controls(place(k + 1, maps ? "filter" : "unit"))}
      ${stage(pair(look(dy, "arrives"), look(dz, "goes on")), html`${equation(box(dy, "g-dy"), "×",
      box(open, "g-open"), "=", box(dz, "g-dz"))}${sums(`at ${at.join(",")}, and around it`, rows)}`)}
      <p>${fill(said.closed, percent(closed / data.length), whole(data.length))}.</p>`,
    say: `${nameOf(e.out)}: ${show(arrives)} times ${isOpen ? 1 : 0}, ${openWord(before.value)}, is ${show(e.out)}`,
    micro: near.map((to, tap) => ({ tap, say: sayOne(to, dy, open, dz) })) };
  }
  const sayOne = (to, ...names) => {
    const [slope, open, result] = names.map((name) => Terms.entry(name, to, A.tensor));
    return `${nameOf(result)}: ${show(slope)} times ${show(open)} is ${show(result)}`;
  };

  // The places around one: 3 x 3 of its map; of a row five.
  function around(shape, at) {
    const line = (axis, count) => {
      const most = Math.max(0, shape[axis] - count), start = Math.max(0, Math.min(most, at[axis] - (count >> 1)));
      return Array.from({ length: Math.min(count, shape[axis]) }, (_, n) => start + n);
    };
    if (shape.length === 1) return line(0, 5).map((n) => [n]);
    return line(0, 3).flatMap((i) => line(1, 3).map((j) => [i, j, at[2]]));
  }

  // A row of units as a picture: so many in a line.
  function units(name, note, n, k) {
    const { data } = A.tensor(name), count = data.length;
    const W = [16, 15, 14, 13, 12, 11, 10, 9, 8].find((w) => count % w === 0) || count;
    return map(`m-${name}`, { data, H: count / W, W, grad: kindOf(name) === "gradient",
      sel: [Math.floor(n / W), n % W], pick: (i, j) => ({ path: [k + 1, [i * W + j]] }),
      caption: `${name}, ${note}: ${count} units, ${W} in a row` });
  }

  // ---- C: the chain rule

  // Where the path goes, one picture a layer.
  function way() {
    const { path } = A.S, names = ["x", ...A.net.layers.map(({ names: { y } }) => y)];
    const shown = names.flatMap((name, k) => {
      const copied = k && A.net.layers[k - 1].op === "copy";
      if (!isMap(name) || copied) return [];
      return [channelMap(name, path[k][2], { sel: path[k].slice(0, 2), bold: 14, pick: pick(k) })];
    });
    return html`<div class="way">${shown}</div>`;
  }

  function chain({ step, l, k }) {
    const { path } = A.S, own = words.steps.find((one) => one.stage === k && /dkernel$/.test(one.kind));
    const e = Terms.evaluate(own.sentence, A.tensor, State.letters(own.id)), last = A.net.layers.length;
    const list = Chain.links(A, path, k, said), product = Chain.product(list), none = list.find((one) => !one.slope);
    const paths = A.tried(`paths ${own.id} ${State.weightOf(k)}`, () => Chain.count(A.net.layers, path, k));
    let running = 1;
    const look = (n, m) => ({ tap: n, cls: m === 0 && n === list.length - 1 ? "total" : "" });
    const rows = list.map(({ slope, kind, of, name }, n) => [number(slope, kind === "input" ? kindOf(l.names.x) : kind),
      ...[grad(running *= slope), of, name].map((text, m) => cell(text, look(n, m)))]);
    const carried = none ? html`<p>${fill(said.nothing, none.name)}.</p>` : "";
    const many = paths === null ? "many" : paths.toLocaleString("en");
    return { html: html`${controls(place(k + 1, path[k + 1].length === 3 ? "filter" : "unit"), place(last, "class"))}
      ${stage(way(), html`${table("the slopes from the loss down to the weight", said.heads, rows)}
      <div class="beside">${carried}<p>${fill(said.path, html`<b>${grad(product)}</b>`, many)}
      ${fill(said.all, nameOf(e.out))}:</p>${allPaths(l, k, e)}</div>`)}`,
    say: `${nameOf(e.out)}: this path brings ${grad(product)}, all paths together ${show(e.out)}`,
    micro: saySlopes(list) };
  }

  function saySlopes(list) {
    let running = 1;
    return list.map((one, n) => ({ tap: n, say: `${one.of} moves ${number(one.slope, "size")} times as far as ${one.by}`
      + ` (${one.name}); product so far ${grad(running *= one.slope)}` }));
  }

  // The slope of the weight, by the paths through one cell of its layer and those through all others.
  function allPaths(l, k, e) {
    const { x, z, y, dz, dy } = l.names, [first, second] = A.S.path.slice(k, k + 2);
    const own = Terms.entry(x, first, A.tensor), slope = Terms.entry(dz ?? dy, second, A.tensor);
    const through = own.value * slope.value, sum = Terms.add(e.terms.map((t) => t.product));
    const label = fill(said.through.replace(" x ", " × "), nameOf({ tensor: z ?? y, at: second }), nameOf(own),
      nameOf(slope));
    const rows = [[label, grad(through)], ...(e.sentence.operator ? [[said.others, grad(sum - through)]] : []),
      [`= ${nameOf(e.out)}`, total(show(e.out))]];
    return html`${sums("all paths", rows)}${e.sentence.operator ? opens(e) : ""}`;
  }

  const VIEWS = { "relu-back": reluBack, chain };

  return { VIEWS };
})();
