// A photo of one's own made like those of the data set, by the steps of cnn/photos/own.py in the same order.
// No document, no window: Node runs this same file in the tests. Its numbers are float32 where Python's are.
"use strict";

const Prepare = (() => {
  const SIZE = 28, WORKING_SIZE = 112, LARGE = 1000;
  const GREY = [0.299, 0.587, 0.114];
  const NO_BACKGROUND = "expected one thing before an even background, found none";
  const NOTHING = "expected something to see, got a picture of one and the same brightness";
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const FILTERS = {
    box: { support: 0.5, at: (x) => Number(x > -0.5 && x <= 0.5) },
    lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  };

  // Half to even, as Python rounds.
  const rint = (v) => (v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));

  // The value below which the share q lies, between its two neighbours where it falls between.
  function quantile(values, q) {
    const sorted = Float64Array.from(values).sort(), at = q * (sorted.length - 1), low = Math.floor(at);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
  }
  const median = (values) => quantile(values, 0.5);

  // ---- sizes

  // Which old cells make each new one, and how much of each: Pillow's rule.
  function shares(length, wanted, { support, at }) {
    const scale = length / wanted, stretch = Math.max(scale, 1), reach = support * stretch;
    return Array.from({ length: wanted }, (_, n) => {
      const centre = (n + 0.5) * scale, first = Math.max(0, Math.trunc(centre - reach + 0.5));
      const last = Math.min(length, Math.trunc(centre + reach + 0.5));
      const weights = Array.from({ length: last - first }, (_, k) => at((k + first - centre + 0.5) / stretch));
      const sum = weights.reduce((a, b) => a + b, 0);
      return { first, weights: weights.map((w) => w / sum) };
    });
  }

  // values (height, width) -> (newHeight, newWidth): along the rows first, then along the columns.
  function resize(values, height, width, newHeight, newWidth, filter) {
    const across = shares(width, newWidth, filter), down = shares(height, newHeight, filter);
    const weigh = ({ first, weights }, read) => weights.reduce((sum, w, k) => sum + w * read(first + k), 0);
    const narrow = new Float32Array(height * newWidth), out = new Float32Array(newHeight * newWidth);
    for (let i = 0; i < height; i++)
      for (let j = 0; j < newWidth; j++) narrow[i * newWidth + j] = weigh(across[j], (k) => values[i * width + k]);
    for (let i = 0; i < newHeight; i++)
      for (let j = 0; j < newWidth; j++) out[i * newWidth + j] = weigh(down[i], (k) => narrow[k * newWidth + j]);
    return out;
  }

  // A very large picture handed on smaller: whole blocks of it averaged. {height, width, channels: three planes}
  function reduce({ height, width, channels }) {
    const k = Math.floor(Math.max(height, width) / LARGE), H = Math.ceil(height / k), W = Math.ceil(width / k);
    if (k < 2) return { height, width, channels };
    const mean = (plane, i, j) => {
      let sum = 0, count = 0;
      for (let r = i * k; r < Math.min(height, (i + 1) * k); r++)
        for (let c = j * k; c < Math.min(width, (j + 1) * k); c++, count++) sum += plane[r * width + c];
      return Math.floor(sum / count + 0.5);
    };
    const small = (plane) => Float32Array.from({ length: H * W }, (_, n) => mean(plane, Math.floor(n / W), n % W));
    return { height: H, width: W, channels: channels.map(small) };
  }

  // At most WORKING_SIZE pixels along the longer side: there the thing is looked for.
  function shrink({ height, width, channels }) {
    const factor = WORKING_SIZE / Math.max(height, width);
    if (factor >= 1) return { height, width, channels };
    const [H, W] = [height, width].map((side) => Math.max(2, rint(side * factor)));
    return { height: H, width: W, channels: channels.map((c) => resize(c, height, width, H, W, FILTERS.box)) };
  }

  // ---- the background: a plane a + b*row + c*column in each colour, fitted to the edge of the picture

  // The plane nearest to values at these places, by the normal equations, solved by elimination.
  function fitPlane(basis, values) {
    const rows = [0, 1, 2].map((a) => [0, 1, 2].map((b) => basis.reduce((s, x) => s + x[a] * x[b], 0))
      .concat(basis.reduce((s, x, n) => s + x[a] * values[n], 0)));
    for (let p = 0; p < 3; p++)
      for (let r = 0; r < 3; r++) {
        const times = r === p ? 0 : rows[r][p] / rows[p][p];
        for (let k = p; k < 4; k++) rows[r][k] -= times * rows[p][k];
      }
    return rows.map((row, p) => row[3] / row[p]);
  }
  const onPlane = (plane, x) => plane[0] * x[0] + plane[1] * x[1] + plane[2] * x[2];

  function edgeOf(height, width) {
    const margin = Math.max(1, rint(Math.min(height, width) * 0.04)), edge = [];
    for (let n = 0; n < height * width; n++) {
      const r = Math.floor(n / width), c = n % width;
      if (r < margin || c < margin || r >= height - margin || c >= width - margin) edge.push(n);
    }
    return edge;
  }

  // How far each pixel is from the background, in each colour, signed; and how much the background itself varies.
  function differences({ height, width, channels }) {
    const basisOf = (n) => [1, Math.floor(n / width) / height - 0.5, (n % width) / width - 0.5];
    const edge = edgeOf(height, width), basis = edge.map(basisOf);
    const middle = channels.map((c) => median(edge.map((n) => c[n])));
    const farthest = (n, from) => Math.max(...channels.map((c, k) => Math.abs(c[n] - from(k))));
    let kept = edge.map((n) => farthest(n, (k) => middle[k]) <= 80), planes, residual;
    if (!kept.includes(true)) throw new Error(NO_BACKGROUND); // an edge of red, green and blue in equal parts, say
    const spread = () => 1.48 * median(residual.filter((_, e) => kept[e]));
    for (let round = 0; round < 8; round++) {
      const chosen = edge.filter((_, e) => kept[e]), places = chosen.map(basisOf);
      planes = channels.map((c) => fitPlane(places, chosen.map((n) => c[n])));
      residual = edge.map((n, e) => farthest(n, (k) => onPlane(planes[k], basis[e])));
      const limit = Math.max(3 * spread(), 4);
      kept = residual.map((v) => v <= limit);
    }
    const difference = channels.map((c, k) => Float32Array.from(c, (v, n) => v - onPlane(planes[k], basisOf(n))));
    return { difference, noise: spread() };
  }

  // ---- the thing

  // What is not background: clearly above its noise, and in pieces that are more than specks.
  function thing(difference, noise, height, width) {
    const distance = difference[0].map((_, n) => Math.max(...difference.map((d) => Math.abs(d[n]))));
    const strongest = quantile(distance, 0.995);
    if (strongest < Math.max(12, 4 * noise)) throw new Error(NOTHING);
    const mask = Uint8Array.from(distance, (v) => v > Math.max(4 * noise, 0.15 * strongest));
    const found = pieces(mask, height, width), largest = Math.max(0, ...found.map((piece) => piece.length));
    if (!largest) throw new Error(NO_BACKGROUND);
    for (const piece of found) if (piece.length * 20 < largest) for (const n of piece) mask[n] = 0;
    return mask;
  }

  // The connected pieces of a mask, corner to corner counted as connected.
  function pieces(mask, height, width) {
    const left = Uint8Array.from(mask), found = [];
    for (let start = 0; start < left.length; start++) {
      if (!left[start]) continue;
      const piece = [start];
      left[start] = 0;
      for (const n of piece) // grows while it is walked through
        for (let t = 0; t < 9; t++) {
          const r = Math.floor(n / width) + Math.floor(t / 3) - 1, c = (n % width) + (t % 3) - 1;
          if (r < 0 || c < 0 || r >= height || c >= width || !left[r * width + c]) continue;
          left[r * width + c] = 0;
          piece.push(r * width + c);
        }
      found.push(piece);
    }
    return found;
  }

  // The smallest rectangle around the mask, cut out, and 0 where the background is.
  function cutOut(grey, mask, width) {
    const seen = [...mask.keys()].filter((n) => mask[n]), range = (list) => [Math.min(...list), Math.max(...list)];
    const [top, bottom] = range(seen.map((n) => Math.floor(n / width)));
    const [left, right] = range(seen.map((n) => n % width)), H = bottom - top + 1, W = right - left + 1;
    const from = (n) => (top + Math.floor(n / W)) * width + left + (n % W);
    const values = Float32Array.from({ length: H * W }, (_, n) => (mask[from(n)] ? Math.max(grey[from(n)], 0) : 0));
    return { values, height: H, width: W };
  }

  // The longer side 28 pixels, centred on black, and the brightest hundredth of the thing white.
  function fit({ values, height, width }) {
    const factor = SIZE / Math.max(height, width), [H, W] = [height, width].map((n) => Math.max(1, rint(n * factor)));
    const scaled = resize(values, height, width, H, W, FILTERS.lanczos).map((v) => Math.max(v, 0));
    const white = quantile(scaled.filter((v) => v > 0), 0.99), photo = new Uint8Array(SIZE * SIZE);
    const top = Math.floor((SIZE - H) / 2), left = Math.floor((SIZE - W) / 2);
    scaled.forEach((v, n) => {
      photo[(top + Math.floor(n / W)) * SIZE + left + (n % W)] = rint(Math.min(255, (v / white) * 255));
    });
    return photo;
  }

  // A 28x28 picture needs no fitting in; it is inverted if its edge is bright.
  function asItIs([red, green, blue]) {
    const grey = red.map((v, n) => v * GREY[0] + green[n] * GREY[1] + blue[n] * GREY[2]);
    if (Math.max(...grey) - Math.min(...grey) < 8) throw new Error(NOTHING);
    const edge = Array.from({ length: SIZE }, (_, k) => [k, 27 * SIZE + k, k * SIZE, k * SIZE + 27]).flat();
    const bright = median(edge.map((n) => grey[n])) > 127;
    return Uint8Array.from(grey, (v) => rint(bright ? 255 - v : v));
  }

  // 784 bytes from a picture {height, width, channels: three planes of 0 to 255}. Throws where nothing is seen.
  function photo(picture) {
    if (Math.min(picture.height, picture.width) < 8)
      throw new Error(`expected an image of at least 8 x 8 pixels, got ${picture.width} x ${picture.height}`);
    if (picture.height === SIZE && picture.width === SIZE) return asItIs(picture.channels);
    const small = shrink(reduce(picture)), { difference, noise } = differences(small);
    const mask = thing(difference, noise, small.height, small.width);
    const total = (d, size) => d.reduce((sum, v, n) => sum + (mask[n] ? size(v) : 0), 0);
    const strength = difference.map((d) => total(d, Math.abs)); // it stands out most: a red shirt is dark in green
    const grey = difference[strength.indexOf(Math.max(...strength))], sign = total(grey, Number) < 0 ? -1 : 1;
    return fit(cutOut(grey.map((v) => sign * v), mask, small.width));
  }

  return { photo };
})();

if (typeof module !== "undefined") module.exports = Prepare;
