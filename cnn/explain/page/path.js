// One path of cells through the network: path[0] is a place in the photo, path[k + 1] one in what layer k puts out.
// A cell chosen in one layer fixes those of the others; channels and units stay those chosen. No document, no window.
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

  // Rows and columns of a layer's windows alike: {k, s, before, out, length}.
  const sides = ({ kh, kw, sh, sw, top, left, OH, OW, H, W }) =>
    [{ k: kh, s: sh, before: top, out: OH, length: H }, { k: kw, s: sw, before: left, out: OW, length: W }];
  // The middle of the i-th window; of an even one the first of the two in the middle.
  const centre = (i, { k, s, before }) => i * s - before + Math.floor((k - 1) / 2);
  const holds = (i, r, { k, s, before }) => r >= i * s - before && r < i * s - before + k;
  // The window that holds row r with its middle nearest; where strides leave gaps, the nearest.
  function windowOf(r, side) {
    const cost = (i) => (holds(i, r, side) ? 0 : side.length) + Math.abs(centre(i, side) - r);
    return Array.from({ length: side.out }, (_, i) => i).reduce((best, i) => (cost(i) < cost(best) ? i : best), 0);
  }

  // One number of a list of shares [[place, share], ...] for each output: the one in the middle, or where it was.
  const taken = (list, was) => (list.length ? list[(list.length - 1) >> 1][0] : was);
  function taking(lists, r, was) {
    const found = [...lists.keys()].filter((i) => lists[i].some(([place]) => place === r));
    return found.length ? found[(found.length - 1) >> 1] : was;
  }

  const last = (cell) => cell.at(-1);
  const spread = (cell) => (cell.length === 1 ? [0, 0, cell[0]] : cell); // what pooling over whole maps puts out

  // The cell of the input on whose account the output cell is there. was: the input's cell until now.
  function back(l, out, was) {
    if (l.op === "dense") return [...out.slice(0, -1), last(was)];
    if (l.op === "copy") return cellAt(flat(out, l.out), l.in);
    if (l.window) {
      const [i, j, f] = spread(out), cell = sides(l.window).map((side, axis) => centre([i, j][axis], side));
      if (l.out.length === 1) return [was[0], was[1], f]; // the whole map
      return inside([...cell, l.op === "max" ? f : last(was)], l.in);
    }
    if (l.op !== "weigh") return out;
    if (l.out.length === 1) return [was[0], was[1], out[0]];
    return [taken(l.rows[out[0]], was[0]), taken(l.columns[out[1]], was[1]), out[2]];
  }

  // The output cell that an input cell goes into.
  function ahead(l, cell, was) {
    if (l.op === "dense") return [...cell.slice(0, -1), last(was)];
    if (l.op === "copy") return cellAt(flat(cell, l.in), l.out);
    if (l.out.length === 1 && l.in.length === 3) return [last(cell)];
    if (l.window) {
      const at = sides(l.window).map((side, axis) => windowOf(cell[axis], side));
      return [...at, l.op === "max" ? last(cell) : last(was)];
    }
    if (l.op !== "weigh") return cell;
    return [taking(l.rows, cell[0], was[0]), taking(l.columns, cell[1], was[1]), cell[2]];
  }

  // The path with this cell at place k, and all others as it asks for.
  function through(layers, path, k, cell) {
    const moved = [...path], shape = k ? layers[k - 1].out : layers[0].in;
    moved[k] = inside(cell, shape);
    for (let m = k - 1; m >= 0; m--) moved[m] = back(layers[m], moved[m + 1], moved[m]);
    for (let m = k; m < layers.length; m++) moved[m + 1] = ahead(layers[m], moved[m], moved[m + 1]);
    return moved;
  }

  // Which weight [u, v] of a window joins the path's input cell to its output cell; undefined where none does.
  function tapOf(l, path, k) {
    const [r, s] = path[k], [i, j] = spread(path[k + 1]);
    const [u, v] = sides(l.window).map((side, axis) => [r, s][axis] - [i, j][axis] * side.s + side.before);
    return u >= 0 && v >= 0 && u < l.window.kh && v < l.window.kw ? [u, v] : undefined;
  }

  // What of the photo a cell behind so many layers can see: [row, column, height, width]; null where all of it.
  function field(layers, cell, count) {
    let low = cell, high = cell;
    for (const l of layers.slice(0, count).reverse()) {
      if (l.op === "dense" || l.in.length !== 3) return null;
      if (l.op === "copy") [low, high] = [low, high].map((one) => cellAt(flat(one, l.out), l.in));
      else if (l.window && l.out.length === 3) {
        const edge = (one, add) => [...sides(l.window).map((side, axis) => one[axis] * side.s - side.before
          + add * (side.k - 1)), one[2]];
        [low, high] = [edge(low, 0), edge(high, 1)];
      } else if (l.window || l.op === "weigh") return null;
    }
    const [H, W] = layers[0].in, [top, left] = inside(low, [H, W, 1]), [bottom, right] = inside(high, [H, W, 1]);
    return [top, left, bottom - top + 1, right - left + 1];
  }

  return { through, tapOf, field, flat, cellAt };
})();

if (typeof module !== "undefined") module.exports = Path;
