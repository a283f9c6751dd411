// Runs the page's own files in Node: node page_runner.js <folder of the page>, in a folder with job.json and its arrays.
"use strict";

const fs = require("fs");
const folder = process.argv[2];
const Engine = require(`${folder}/engine.js`);
const Proof = require(`${folder}/proof.js`);
const Terms = require(`${folder}/terms.js`);
const Path = require(`${folder}/path.js`);
const Prepare = require(`${folder}/prepare.js`);

function read(name) {
  const b = fs.readFileSync(name);
  return new Float64Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.length));
}
const write = (name, t) => fs.writeFileSync(name, Buffer.from(Float64Array.from(t).buffer));
const answer = (value) => fs.writeFileSync("out.json", JSON.stringify(value));

// The pass of a job's network, whose arrays are files named n0, n1, ... in the order of `tensors`, and x.
function pass({ plan, tensors, target, name = "", known }) {
  const net = new Engine.Network(plan), P = Object.fromEntries(tensors.map((one, n) => [one, read(`${name}n${n}`)]));
  const T = net.forward(P, read(`${name}x`));
  Proof.splitTies(new Proof.Report(1e-12), net, T, known, name);
  return { net, P, T, G: net.backward(P, T, target), target };
}

function onePhoto(net, P, given) {
  const x = Engine.arrange(read(given.file), given.shape, given), T = net.forward(P, x);
  const report = new Proof.Report(1e-12);
  Proof.splitTies(report, net, T, given, given.file);
  if (report.failures.length) throw new Error(report.failures[0]);
  const found = { ...T, ...net.backward(P, T, given.target), loss: [net.loss(T, given.target)] };
  write(`${given.file}.out`, Object.values(found).flatMap((t) => Array.from(t)));
  return Object.entries(found).map(([name, t]) => [name, t.length, net.shapes[name]]);
}

function oneConvolution([k, s, padding, H, W, C, F], n) {
  const g = Engine.geometry([H, W, C], F, [k, k], [s, s], padding), x = read(`${n}x`), w = read(`${n}w`);
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
  networks: ({ networks }) => answer(networks.map((given) => {
    const { net, P } = pass(given);
    return given.photos.map((photo) => onePhoto(net, P, photo));
  })),
  lab: ({ cases }) => cases.forEach(oneConvolution),
  check: (job_) => {
    const { net, P, T, G, target } = pass(job_);
    answer(job_.entries.map(([name, index]) => net.check(P, T, G, target, name, index)));
  },
  sha: ({ texts }) => answer(texts.map((text) => Proof.sha256(Proof.bytes(text)))),
  base64: ({ texts }) => answer(texts.map(taken)),
  sentences: (job_) => {
    const tensorOf = Terms.tensors(pass(job_));
    answer(job_.cases.map((one) => oneSentence(tensorOf, one)));
  },
  paths: ({ layers, cases }) => answer(cases.map(([path, k, cell]) => Path.through(layers, path, k, cell))),
  own: ({ shapes }) => answer(shapes.map(onePicture)),
  blocks: ({ blocks }) => blocks.forEach(oneBlock),
};

const job = JSON.parse(fs.readFileSync("job.json"));
JOBS[job.what](job);
