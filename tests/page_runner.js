// Runs the page's own files in Node: node page_runner.js <folder of the page>, in a folder with job.json and its arrays.
"use strict";

const fs = require("fs");
const folder = process.argv[2];
const Engine = require(`${folder}/engine.js`);
const Proof = require(`${folder}/proof.js`);
const Terms = require(`${folder}/terms.js`);
const Prepare = require(`${folder}/prepare.js`);

function read(name) {
  const b = fs.readFileSync(name);
  return new Float64Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.length));
}
const write = (name, t) => fs.writeFileSync(name, Buffer.from(Float64Array.from(t).buffer));
const answer = (value) => fs.writeFileSync("out.json", JSON.stringify(value));
const all = (names, prefix = "") => Object.fromEntries(names.map((n) => [n, read(prefix + n)]));

function passes(target) {
  const P = all(Engine.PARAMS), T = Engine.forward(P, read("x"));
  return { P, T, G: Engine.backward(P, T, target), target };
}

function onePhoto(P, D, given) {
  const x = Engine.arrange(read(given.file), given), T = Engine.forward(P, x), report = new Proof.Report(1e-12);
  Proof.splitTies(report, T, given.ties, given.file);
  if (report.failures.length) throw new Error(report.failures[0]);
  const found = { ...T, ...Engine.backward(P, T, given.target), dense: Engine.denseNet(D, x).p,
    loss: [Engine.lossOf(T.z4, given.target)] };
  write(`${given.file}.out`, Object.values(found).flatMap((t) => Array.from(t)));
  return Object.entries(found).map(([name, t]) => [name, t.length]);
}

function oneConvolution([k, s, padding, H, W, C, F], n) {
  const g = Engine.plan(H, W, C, F, k, s, padding), x = read(`${n}x`), w = read(`${n}w`);
  const z = Engine.conv(g, x, w, read(`${n}b`)), { dW, db, dx } = Engine.convBackward(g, x, w, read(`${n}dz`));
  write(`${n}out`, [g.OH, g.OW, g.top, g.bottom, g.left, g.right, ...z, ...dW, ...db, ...dx]);
}

function oneSentence(tensorOf, [sentence, at]) {
  const e = Terms.evaluate(sentence, tensorOf, at);
  const sums = (letter) => Terms.by(e, letter).map((group) => group.sum);
  return { value: e.out.value, result: e.result, terms: e.terms.map((t) => t.product),
    inside: e.terms.map((t) => t.inside), groups: Object.fromEntries(e.sentence.ranges.map(([l]) => [l, sums(l)])) };
}

function onePicture([height, width], n) {
  const b = fs.readFileSync(`picture${n}`);
  const plane = (c) => Float32Array.from({ length: height * width }, (_, k) => b[3 * k + c]);
  try {
    return [...Prepare.photo({ height, width, channels: [0, 1, 2].map(plane) })];
  } catch (error) {
    return error.message;
  }
}

async function oneBlock([text, told], n) {
  const found = Proof.unpack(await Proof.block(text, told.width), told);
  write(`${n}out`, Object.values(found).flatMap((t) => Array.from(t)));
}

function taken(text) {
  try {
    Proof.bytes(text);
    return "taken";
  } catch {
    return "refused";
  }
}

const JOBS = {
  network: ({ photos }) => {
    const P = all(Engine.PARAMS), D = {};
    for (const name of ["W1", "b1", "W2", "b2"]) D[name] = read(`dense${name}`);
    answer(photos.map((given) => onePhoto(P, D, given)));
  },
  lab: ({ cases }) => cases.forEach(oneConvolution),
  check: ({ target, entries }) => {
    const { P, T, G } = passes(target);
    answer(entries.map(([name, index]) => Engine.check(P, T, G, target, name, index)));
  },
  sha: ({ texts }) => answer(texts.map((text) => Proof.sha256(Proof.bytes(text)))),
  base64: ({ texts }) => answer(texts.map(taken)),
  sentences: ({ target, cases }) => {
    const tensorOf = Terms.tensors(passes(target));
    answer(cases.map((one) => oneSentence(tensorOf, one)));
  },
  own: ({ shapes }) => answer(shapes.map(onePicture)),
  blocks: ({ blocks }) => blocks.forEach(oneBlock),
};

const job = JSON.parse(fs.readFileSync("job.json"));
JOBS[job.what](job);
