// One path of cells through the network: path[0] is a place in the photo, path[k + 1] one in what layer k puts out.
// The rule is that of cnn/explain/path.py, written once more: a cell chosen in one layer fixes those of the others;
// channels and units stay those chosen; the weight on the path is where two cells meet. No document, no window.
"use strict";

const Path = (() => {
  const clamp = (v, n) => Math.max(0, Math.min(n - 1, v));
  const inside = (cell, shape) => cell.map((v, axis) => clamp(v, shape[axis]));
  const flat = (cell, shape) => cell.reduce((sum, v, axis) => sum * shape[axis] + v, 0);
  function cellAt(n, shape) {
    const cell = [];
    for (const side of [...shape].reverse()) {
      cell.unshift(n % side);
      n = Math.floor(n / side);
    }
    return cell;
  }
  const last = (cell) => cell.at(-1), front = (cell) => cell.slice(0, -1);
  const equal = (a, b) => a.join() === b.join();

  // ---- neighbours

  const windowed = ({ type }) => type === "Conv2D" || type === "MaxPooling2D";
  // Rows and columns of a layer's windows alike: windows of k cells, s apart, so many of them, over so many cells.
  const sides = ({ kh, kw, sh, sw, top, left, OH, OW, H, W }) =>
    [{ k: kh, s: sh, before: top, out: OH, length: H }, { k: kw, s: sw, before: left, out: OW, length: W }];
  const begin = (i, { s, before }) => i * s - before;
  const corner = (l, cell) => sides(l.window).map((side, axis) => begin(cell[axis], side));
  const holds = (i, r, side) => r >= begin(i, side) && r < begin(i, side) + side.k;
  const under = (l, first, second) => sides(l.window).every((side, axis) => holds(second[axis], first[axis], side));

  // Of the windows that hold row r, or of all where strides leave gaps, the one with its middle nearest; the first of
  // equals.
  function windowOf(r, side) {
    const off = (i) => Math.abs(begin(i, side) + ((side.k - 1) >> 1) - r);
    const all = Array.from({ length: side.out }, (_, i) => i), holding = all.filter((i) => holds(i, r, side));
    return (holding.length ? holding : all).reduce((best, i) => (off(i) < off(best) ? i : best));
  }

  // The cell before a layer that belongs to this cell of its output; kept: the one until now, for its channel.
  function before(l, cell, kept) {
    if (windowed(l)) {
      const middle = sides(l.window).map((side, axis) => begin(cell[axis], side) + ((side.k - 1) >> 1));
      return inside([...middle, last(l.op === "max" ? cell : kept)], l.in);
    }
    return l.type === "Flatten" ? cellAt(cell[0], l.in) : across(l, l.in, l.out, cell, kept);
  }

  // The cell of a layer's output that belongs to this cell before it.
  function after(l, cell, kept) {
    if (windowed(l)) return [...sides(l.window).map((side, axis) => windowOf(cell[axis], side)),
      last(l.op === "max" ? cell : kept)];
    return l.type === "Flatten" ? [flat(cell, l.in)] : across(l, l.out, l.in, cell, kept);
  }

  // The neighbour, in a tensor of this shape, through a layer without windows: the same place where nothing moves;
  // where only channels are mixed, the one chosen; else as far along.
  function across(l, shape, other, cell, kept) {
    if (equal(shape, other) && l.type !== "Dense") return cell;
    if (equal(front(shape), front(other))) return [...front(cell), last(kept)];
    const along = (at, axis) => Math.floor((at * shape[axis]) / other[axis]);
    if (shape.length === other.length) return inside(cell.map(along), shape);
    if (last(shape) === last(other)) return [...front(shape).map((side) => (side - 1) >> 1), last(cell)]; // whole maps
    const size = (one) => one.reduce((a, b) => a * b, 1);
    return cellAt(Math.floor((flat(cell, other) * size(shape)) / size(other)), shape);
  }

  // ---- choosing

  // The path with another cell at place k; back: the cells before follow; on: those behind. Where only a channel is
  // new, no cell moves. A cell that no window reads is replaced by the nearest that one does.
  function led(layers, path, k, cell, back = true, on = true) {
    const cells = path.map((one, n) => (n === k ? cell : one));
    const same = (n) => equal(cells[n].slice(0, 2), path[n].slice(0, 2));
    for (let n = k - 1; back && n >= 0; n--) {
      const l = layers[n], found = before(l, cells[n + 1], cells[n]);
      const keep = windowed(l) && same(n + 1) && under(l, path[n], cells[n + 1]);
      cells[n] = keep ? [...path[n].slice(0, 2), found[2]] : found;
    }
    for (let n = k; on && n < layers.length; n++) {
      const l = layers[n], found = after(l, cells[n], cells[n + 1]);
      cells[n + 1] = windowed(l) && same(n) ? [...path[n + 1].slice(0, 2), found[2]] : found;
      if (windowed(l) && !under(l, cells[n], cells[n + 1])) return led(layers, cells, n + 1, cells[n + 1]);
    }
    return cells;
  }

  // The path through another cell; all others follow. A place outside is moved inside.
  const moved = (layers, path, k, cell) => led(layers, path, k, inside(cell, k ? layers[k - 1].out : layers[0].in));

  // The weight of a layer where it joins two cells: [u, v, c, f] of a convolution, [n, u] of a dense layer.
  const weight = (l, first, second) => (l.op !== "conv" ? [last(first), last(second)]
    : [...corner(l, second).map((at, axis) => first[axis] - at), first[2], second[2]]);

  // The path that uses this weight of layer k: its filter or unit, and before it the cell on which the weight lies;
  // where that would be padding, the layer's own cell moves too.
  function throughWeight(layers, path, k, chosen) {
    const l = layers[k], cell = path[k + 1], conv = l.op === "conv", to = [...front(cell), last(chosen)];
    const at = conv ? [...sides(l.window).map((side, axis) => reaching(cell[axis], chosen[axis], side)), last(to)] : to;
    const joined = equal(at, cell) ? path : moved(layers, path, k + 1, at);
    const taps = conv ? corner(l, at).map((one, axis) => one + chosen[axis]) : front(path[k]);
    return led(layers, joined, k, inside([...taps, chosen.at(-2)], l.in), true, false);
  }

  // The window nearest to the i-th whose tap lies inside the map; the first of equals.
  function reaching(i, tap, side) {
    const there = Array.from({ length: side.out }, (_, n) => n)
      .filter((n) => begin(n, side) + tap >= 0 && begin(n, side) + tap < side.length);
    return there.reduce((best, n) => (Math.abs(n - i) < Math.abs(best - i) ? n : best), there[0] ?? i);
  }

  // Whether each cell lies under the window of the next, with the channel that belongs to it.
  const joined = (layers, path) => layers.every((l, k) => (windowed(l)
    ? under(l, path[k], path[k + 1]) && (l.op !== "max" || path[k][2] === path[k + 1][2])
    : equal(after(l, path[k], path[k + 1]), path[k + 1]) || equal(before(l, path[k + 1], path[k]), path[k])));

  // What of the photo a cell behind so many layers can see: [row, column, height, width]; null where all of it.
  function field(layers, cell, count) {
    let low = cell, high = cell;
    for (const l of layers.slice(0, count).reverse()) {
      if (l.op === "dense" || l.in.length !== 3) return null;
      if (l.op === "copy") [low, high] = [low, high].map((one) => cellAt(flat(one, l.out), l.in));
      else if (l.window && l.out.length === 3) {
        const edge = (one, add) => [...corner(l, one).map((at, axis) => at + add * (sides(l.window)[axis].k - 1)),
          one[2]];
        [low, high] = [edge(low, 0), edge(high, 1)];
      } else if (l.window || l.op === "weigh") return null;
    }
    const [H, W] = layers[0].in, [top, left] = inside(low, [H, W, 1]), [bottom, right] = inside(high, [H, W, 1]);
    return [top, left, bottom - top + 1, right - left + 1];
  }

  return { moved, led, weight, throughWeight, joined, windowed, corner, field, flat, cellAt };
})();

if (typeof module !== "undefined") module.exports = Path;
