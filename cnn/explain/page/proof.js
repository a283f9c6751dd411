// The page proves itself: it unpacks what it carries, computes everything again and compares with the Python trace.
// No document, no window: Node runs this same file in the tests.
"use strict";

const Proof = (() => {
  const Net = typeof Engine === "undefined" ? require("./engine.js") : Engine;

  // Work in pieces: a generator that yields often; after each 30 ms the page may draw and listen.
  // Counted from breath to breath, whoever works: many short works would else be one long one.
  let rested = 0;
  const breath = async () => {
    await new Promise((done) => { setTimeout(done); });
    rested = performance.now();
  };
  async function slowly(pieces) {
    for (;;) {
      const { done, value } = pieces.next();
      if (done) return value;
      if (performance.now() > rested + 30) await breath();
    }
  }

  // Base64, strictly: a letter that does not belong there, or bits that no byte would show, are an error.
  const OFTEN = 16384; // numbers of a piece
  const PIECE = 1 << 16; // letters, four of which are three bytes
  function* decoding(base64) {
    const text = base64.trim(), found = new Uint8Array(Math.ceil(text.length / 4) * 3);
    let size = 0;
    for (let from = 0; from < text.length; from += PIECE) {
      const piece = text.slice(from, from + PIECE), plain = decoded(piece);
      if (size !== (from / 4) * 3 || btoa(plain) !== piece) throw new Error("the file is damaged: this is not base64");
      for (let n = 0; n < plain.length; n++) found[size++] = plain.charCodeAt(n);
      yield;
    }
    return found.subarray(0, size);
  }
  function decoded(piece) {
    try {
      return atob(piece);
    } catch {
      return ""; // which is the text of no piece
    }
  }
  const bytes = (base64) => Net.finish(decoding(base64));

  // SHA-256 as FIPS 180-4 writes it; the browser's own is not there on every page opened from a disk.
  // Its constants are the first 32 bits of the fractions of cube and square roots of the first primes.
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (v) => ((v - Math.floor(v)) * 4294967296) | 0;
  const K = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
  const START = Int32Array.from(primes.slice(0, 8), (p) => fraction(Math.sqrt(p)));

  function* hashing(data) {
    const padded = new Uint8Array(((data.length + 72) >> 6) << 6), view = new DataView(padded.buffer);
    padded.set(data);
    padded[data.length] = 0x80;
    view.setUint32(padded.length - 8, Math.floor(data.length / 0x20000000));
    view.setUint32(padded.length - 4, data.length << 3);
    const H = START.slice(), w = new Int32Array(64), turn = (x, n) => (x >>> n) | (x << (32 - n));
    for (let at = 0; at < padded.length; at += 64) {
      for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
      for (let i = 16; i < 64; i++) {
        const p = w[i - 15], q = w[i - 2];
        w[i] = w[i - 16] + (turn(p, 7) ^ turn(p, 18) ^ (p >>> 3)) + w[i - 7] + (turn(q, 17) ^ turn(q, 19) ^ (q >>> 10));
      }
      if (at % 16384 === 0) yield;
      let [a, b, c, d, e, f, g, h] = H;
      for (let i = 0; i < 64; i++) {
        const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((v, n) => { H[n] += v; });
    }
    return [...H].map((v) => (v >>> 0).toString(16).padStart(8, "0")).join("");
  }
  const sha256 = (data) => Net.finish(hashing(data));

  // The bytes of a block of numbers: base64, then raw deflate, then each byte of a number back to its place; the file
  // has first all first bytes of the numbers, then all second ones, and so on, which deflates better.
  async function block(base64, width) {
    if (typeof DecompressionStream === "undefined")
      throw new Error("expected a browser that can unpack: Chrome 103, Firefox 113, Safari 16.4 or newer");
    const packed = new Blob([await slowly(decoding(base64))]).stream();
    const unpacked = packed.pipeThrough(new DecompressionStream("deflate-raw"));
    return slowly(placing(new Uint8Array(await new Response(unpacked).arrayBuffer()), width));
  }
  function* placing(sorted, width) {
    const found = new Uint8Array(sorted.length), count = sorted.length / width;
    for (let n = 0; n < count; n++) {
      for (let place = 0; place < width; place++) found[n * width + place] = sorted[place * count + n];
      if (n % OFTEN === 0) yield;
    }
    return found;
  }

  // A half (float16): sign, five digits of an exponent, ten of a fraction.
  const POWERS = Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));
  function half(bits) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1024 + fraction) * POWERS[exponent] : fraction * POWERS[1];
    return bits >> 15 ? -size : size;
  }

  // Python's numbers are little-endian in the file, whatever this machine prefers.
  function* reading(raw, width) {
    const view = new DataView(raw.buffer), out = new Float64Array(raw.length / width);
    const read = { 2: (n) => half(view.getUint16(2 * n, true)), 4: (n) => view.getFloat32(4 * n, true),
      8: (n) => view.getFloat64(8 * n, true) }[width];
    for (let n = 0; n < out.length; n++) {
      out[n] = read(n);
      if (n % OFTEN === 0) yield;
    }
    return out;
  }

  // {W1, b1, ...} out of one block: layout is a list of [name, shape].
  function* unpacking(raw, { width, layout }) {
    const all = yield* reading(raw, width), P = {};
    let at = 0;
    for (const [name, shape] of layout) P[name] = all.slice(at, (at += Net.size(shape)));
    if (at !== all.length) throw new Error(`expected ${at} numbers, got ${all.length}`);
    return P;
  }
  const unpack = (raw, told) => Net.finish(unpacking(raw, told));

  function summary(t) {
    let sum = 0, max = 0;
    for (let n = 0; n < t.length; n++) {
      sum += t[n];
      max = Math.max(max, Math.abs(t[n]));
    }
    return { sum, max };
  }

  // Everything compared so far: a number counts as its distance in units of max(1, the largest number of its tensor).
  class Report {
    constructor(tolerance, failures = []) {
      Object.assign(this, { tolerance, count: 0, largest: 0, failures });
    }

    close(what, got, expected, scale) {
      const distance = Math.abs(got - expected) / Math.max(1, scale);
      this.count++;
      if (!(distance <= this.tolerance)) this.failures.push(`${what}: the page has ${got}, Python has ${expected}`);
      else this.largest = Math.max(this.largest, distance);
    }

    equal(what, got, expected) {
      this.count++;
      if (got !== expected) this.failures.push(`${what}: the page has ${got}, Python has ${expected}`);
    }

    tensor(what, got, expected) {
      if (got.length !== expected.length) return this.equal(`${what}, length`, got.length, expected.length);
      const scale = summary(expected).max, before = this.failures.length;
      for (let n = 0; n < got.length && this.failures.length === before; n++)
        this.close(`${what}[${n}]`, got[n], expected[n], scale);
    }
  }

  // Where rounding alone decided in Python, T takes over that choice: which of equal cells won its window, and on which
  // side of an activation's corner a number fell that is 0 but for rounding.
  function splitTies(report, net, T, { ties, corners }, label) {
    for (const { window: g, names } of net.layers) for (const [n, winner] of ties[names.winners] || []) {
      const what = `${label} tie ${names.winners}[${n}]`, x = T[names.x];
      report.close(what, x[Net.cellOf(g, n, winner)], T[names.y][n], summary(T[names.y]).max);
      T[names.winners][n] = winner;
    }
    for (const [name, list] of Object.entries(corners)) {
      const most = 1e-12 * summary(T[name]).max, told = new Map(list);
      T[name].forEach((v, n) => { if (v !== 0 && Math.abs(v) <= most) T[name][n] = told.get(n) ?? 0; });
    }
  }

  // The winners as whole numbers of four bytes, little-endian as Python's.
  const winnerBytes = (t) => Uint8Array.from({ length: 4 * t.length }, (_, n) => t[n >> 2] >> (8 * (n & 3)));

  // A photo's short record: for each tensor its sum and its largest size, the hash of the winners, and the loss.
  function* checkPhoto(report, { net, T, G }, dense, record, label) {
    for (const [name, [sum, max, length]] of Object.entries(record.tensors)) {
      yield;
      const s = summary(T[name] || G[name]);
      report.close(`${label} max|${name}|`, s.max, max, max);
      report.close(`${label} sum of ${name}`, s.sum, sum, max * Math.sqrt(length));
    }
    for (const [name, hash] of Object.entries(record.winners))
      report.equal(`${label} winners ${name}`, sha256(winnerBytes(T[name])), hash);
    const z = T[net.logits], scale = summary(record.logits).max;
    record.logits.forEach((v, k) => report.close(`${label} logit ${k}`, z[k], v, scale));
    (record.dense || []).forEach((v, k) => report.close(`${label} dense net's probability ${k}`, dense.p[k], v, 1));
    report.close(`${label} loss`, net.loss(T, record.target), record.loss, record.loss);
  }

  return { breath, slowly, bytes, block, hashing, sha256, unpacking, unpack, summary, Report, splitTies, checkPhoto };
})();

if (typeof module !== "undefined") module.exports = Proof;
