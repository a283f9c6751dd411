// Runs the page's own files in Node: node page_runner.js <folder of the page>, in a folder with job.json and its arrays.
"use strict";

const fs = require("fs");
const folder = process.argv[2];
const Engine = require(`${folder}/engine.js`);
const Proof = require(`${folder}/proof.js`);
const Terms = require(`${folder}/terms.js`);
const Path = require(`${folder}/path.js`);
const Batch = require(`${folder}/batch.js`);
const Chain = require(`${folder}/chain.js`);
const Draws = require(`${folder}/draws.js`);
const Learner = require(`${folder}/learner.js`);
const Toy = require(`${folder}/toy.js`);
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

function finished(work) {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

// Steps of gradient descent, a batch each: the losses, and afterwards every parameter and every moving average.
function oneTraining({ plan, tensors, name, rate, batches, labels }) {
  const net = new Engine.Network(plan), P = Object.fromEntries(tensors.map((one, n) => [one, read(`${name}n${n}`)]));
  const photos = read(`${name}x`), size = Engine.size(plan.shape), sums = Batch.zeros(net, P);
  const photo = (n) => photos.subarray(size * n, size * (n + 1));
  const losses = batches.map((batch) =>
    finished(Batch.step(net, P, batch.map(photo), batch.map((n) => labels[n]), rate, sums)));
  write(`${name}out`, tensors.flatMap((one) => Array.from(P[one])));
  return { losses, averages: net.layers.filter(Batch.normalizes).map((l) => [l.mean, l.deviation]) };
}

// A course as the page gives it: what it starts with, whom it holds back, how far it comes.
function oneCourse({ data, seed, rate, size, batches }) {
  const photos = Uint8Array.from(read("photos")), labels = Uint8Array.from(read("labels"));
  const course = new Learner.Course({ ...data, photos, labels }, seed), { learned, held, net } = course;
  const start = Object.fromEntries(Object.entries(course.P).map(([one, w]) => [one, Array.from(w)]));
  const exams = [finished(course.exam())];
  for (let n = 0; n < batches && !course.failed; n++) finished(course.step(rate, size));
  return { learned, held, start, shapes: net.shapes, seen: course.seen, exams: [...exams, finished(course.exam())],
    failed: course.failed, now: Learner.looking(course, { x: course.photo(0), places: [["x", 300], [net.params[0], 3]] }) };
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

// A moment's weights out of its block, or drawn; and what the page's self-check finds for its photos.
async function oneMoment(plan, { told, text, records }) {
  const bytes = text ? await Proof.block(text, told.width) : Engine.finish(Draws.weights(told));
  const net = new Engine.Network(plan), P = Proof.unpack(bytes, told), report = new Proof.Report(1e-9);
  report.equal("SHA-256", Proof.sha256(bytes), told.sha256);
  records.forEach((record, n) => {
    const T = net.forward(P, read(`photo${n}`));
    Proof.splitTies(report, net, T, record, n);
    const pass = { net, T, G: net.backward(P, T, record.target) };
    Engine.finish(Proof.checkPhoto(report, pass, null, { ...record, dense: null }, `photo ${n}`));
  });
  return { count: report.count, largest: report.largest, failures: report.failures };
}

// The page's own questions: its scripts as they run, on all that the page carries. cases: {photo, path, seed, digits,
// answers: for each step that has a question some}.
async function quizzes({ parts, cases }) {
  const names = ["activations", "products", "engine", "proof", "terms", "path", "show", "state", "parts", "quiz"];
  const source = names.map((name) => fs.readFileSync(`${folder}/${name}.js`, "utf8")).join("\n");
  const document = { getElementById: (id) => ({ textContent: parts[id] }) };
  const page = new Function("document", "location", `${source}\nreturn { State, Show, Path, Proof, Quiz };`)(
    document, { hash: "" });
  const data = JSON.parse(parts.trace), moment = data.moments.find(({ name }) => name === data.begin);
  const raw = (id) => page.Proof.block(parts[id], data.blocks[id].width);
  const tensors = async (id) => page.Proof.unpack(await raw(id), data.blocks[id]);
  page.State.carry({ data: { ...data, ...moment }, photos: await raw("photo-bytes"),
    weights: await tensors(moment.weights), baseline: data.baseline && await tensors("baseline") });
  Engine.finish(page.State.starting());
  answer(cases.map((one) => oneQuiz(page, one)));
}

function oneQuiz({ State, Show, Path, Quiz }, { photo, path, seed, digits, answers }) {
  const { A, STEPS } = State;
  Object.assign(A.S, { photo, path });
  A.net.layers.forEach((l, n) => { if (l.op === "conv") A.S.taps[n] = Path.weight(l, path[n], path[n + 1]).slice(0, 2); });
  State.compute();
  Show.settings.digits = digits;
  const plain = (text) => text.replace(/\u2212/g, "-");
  return STEPS.map((id) => Quiz.question(id, seed)).filter(Boolean).map((q) => ({ ...q, precision: Quiz.precision(q),
    text: plain(Quiz.text(q.answer)), right: Quiz.right(q).map(plain), terms: q.terms.map((one) => [one.name, one.value,
      plain(Quiz.text(one))]),
    judged: (answers[q.id] || []).map((said) => [Quiz.unfit(q, said), Quiz.read(said) === null ? null
      : Quiz.judge(q, Quiz.read(said)), Quiz.read(said) === null ? "" : plain(Quiz.missed(q, Quiz.read(said)))]) }));
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
  paths: ({ layers, cases }) => answer(cases.map(([path, k, cell]) => Path.moved(layers, path, k, cell))),
  walk: ({ layers, start, moves }) => answer(moves.reduce((found, [name, ...rest]) =>
    [...found, Path[name](layers, found.at(-1), ...rest)], [start])),
  chains: (job_) => {
    const pass_ = pass(job_), { layers } = pass_.net, { first, said } = job_;
    pass_.tensor = Terms.tensors(pass_);
    answer(job_.cases.map((path) => {
      const found = Chain.links(pass_, path, first, said), count = Chain.count(layers, path, first);
      return { links: found.map(({ of, by, name, slope }) => [of, by, name, slope]), product: Chain.product(found),
        count: count === null ? null : String(count), weight: Path.weight(layers[first], path[first], path[first + 1]),
        joined: Path.joined(layers, path) };
    }));
  },
  toy: ({ cases }) => answer(cases.map(Toy.numbers)),
  nudged: (job_) => {
    const pass_ = pass(job_);
    answer(job_.nudges.map((h) => Toy.nudged(pass_, ...job_.entry, h)));
  },
  moments: async ({ plan, moments }) => answer(await Promise.all(moments.map((one) => oneMoment(plan, one)))),
  train: ({ cases }) => answer(cases.map(oneTraining)),
  courses: ({ cases }) => answer(cases.map(oneCourse)),
  own: ({ shapes }) => answer(shapes.map(onePicture)),
  quiz: quizzes,
  blocks: ({ blocks }) => blocks.forEach(oneBlock),
};

const job = JSON.parse(fs.readFileSync("job.json"));
JOBS[job.what](job);
