// Training from nothing: a network with random weights, photos to learn from, photos held back to examine it with.
// No document, no window: it runs in a worker, in the page where workers are not allowed, and in Node.
"use strict";

const Learner = (() => {
  const Net = typeof Engine === "undefined" ? require("./engine.js") : Engine;
  const Sums = typeof Batch === "undefined" ? require("./batch.js") : Batch;
  const Packed = typeof Proof === "undefined" ? require("./proof.js") : Proof;
  const FIFTH = 5; // of each class every fifth photo is held back
  const TOO_LARGE = 20; // times the loss of a network that takes all classes for alike
  const STILL = 10; // batches

  // ---- chance

  // The generator of Park and Miller: the same seed gives the same numbers in every browser, each between 0 and 1.
  function chance(seed) {
    let state = 1 + (Math.abs(Math.floor(seed)) % 2147483646);
    const next = () => (state = (state * 16807) % 2147483647) / 2147483647;
    for (let n = 0; n < 10; n++) next(); // small seeds begin with small numbers
    return next;
  }

  // The start of Glorot and Bengio, 2010, the library's by default: kernels uniform within sqrt(6 / (in + out)), where
  // a number is the sum of `in` products and goes into `out` of them; biases and shifts 0, factors 1.
  function weights(net, random) {
    const P = {};
    for (const { names, learned } of net.layers) for (const role of learned) {
      const shape = net.shapes[names[role]], window = Net.size(shape.slice(0, -2)), [N, U] = shape.slice(-2);
      const w = (P[names[role]] = new Float64Array(Net.size(shape))), most = Math.sqrt(6 / (window * (N + U)));
      if (role === "gamma") w.fill(1);
      if (role === "kernel") for (let n = 0; n < w.length; n++) w[n] = most * (2 * random() - 1);
    }
    return P;
  }

  function shuffled(list, random) {
    const all = [...list];
    for (let n = all.length - 1; n > 0; n--) {
      const k = Math.floor(random() * (n + 1));
      [all[n], all[k]] = [all[k], all[n]];
    }
    return all;
  }

  // Which photos are learned from, and which are held back.
  function parted(labels) {
    const met = [], learned = [], held = [];
    labels.forEach((label, n) => {
      met[label] = (met[label] ?? 0) + 1;
      (met[label] % FIFTH ? learned : held).push(n);
    });
    return { learned, held };
  }

  const copied = (P) => Object.fromEntries(Object.entries(P).map(([name, w]) => [name, w.slice()]));
  function length(tensors) {
    let sum = 0;
    for (const t of Object.values(tensors)) for (let n = 0; n < t.length; n++) sum += t[n] * t[n];
    return Math.sqrt(sum);
  }

  // ---- one training, from its random start

  class Course {
    constructor({ plan, photos, labels, scale }, seed) {
      const plain = plan.layers.map((l) => (Sums.normalizes(l) ? { ...l, mean: l.mean.map(() => 0),
        deviation: l.mean.map(() => Math.sqrt(1 + l.epsilon)) } : l));
      this.random = chance(seed);
      this.net = new Net.Network({ ...plan, layers: plain });
      this.P = weights(this.net, this.random);
      this.start = this.frozen();
      this.sums = Sums.zeros(this.net, this.P);
      Object.assign(this, { photos, labels, scale, ...parted(labels), queue: [], steps: 0, seen: 0, due: 0, time: 0,
        failed: null, first: null, still: 0, kernel: this.net.layers.find((l) => l.names.kernel)?.names.kernel });
    }

    photo(n) {
      const size = this.photos.length / this.labels.length, scale = Math.fround(this.scale);
      return Float64Array.from(this.photos.subarray(size * n, size * (n + 1)), (v) => Math.fround(v * scale));
    }

    // The next photos, as many as there are left of this round; each round goes through all, in another order.
    batch(size) {
      if (!this.queue.length) this.queue = shuffled(this.learned, this.random);
      return this.queue.splice(0, size);
    }

    // One batch is learned. Returns its loss; a generator, see Batch.
    *step(rate, size) {
      const numbers = this.batch(size), targets = numbers.map((n) => this.labels[n]);
      const loss = yield* Sums.step(this.net, this.P, numbers.map((n) => this.photo(n)), targets, rate, this.sums);
      this.steps++;
      this.seen += numbers.length;
      this.judge(loss, rate);
      return loss;
    }

    // Whether it still can learn: a loss that is no number, or many times that of guessing, does not come down again;
    // and where for a while no weight of the first kernel has a slope, nothing moves any more.
    judge(loss, rate) {
      const { net, P, sums, steps, kernel } = this, bound = TOO_LARGE * Math.log(Math.max(2, net.layers.at(-1).out[0]));
      const told = () => ({ loss, rate, steps, slope: length(sums), weights: length(P) });
      this.first ??= told();
      this.still = kernel && sums[net.slopes[kernel]].every((v) => v === 0) ? this.still + 1 : 0;
      const why = !(loss <= bound + this.first.loss) ? "grew" : this.still >= STILL ? "still" : null;
      if (why) this.failed = { why, first: this.first, now: told() };
    }

    // The network as it is now; learning goes on beside it.
    frozen() { return { net: new Net.Network(this.net), P: copied(this.P) }; }

    exam() {
      const quarter = Math.ceil(this.learned.length / 4);
      this.due = this.seen + Math.min(quarter, Math.max(50, this.seen)); // at first more often
      return this.examination(this.seen ? this.frozen() : this.start, this.seen);
    }

    // Accuracy and mean loss on the photos held back; only: the one class that it says of all. A generator.
    *examination({ net, P }, seen) {
      const { held, labels } = this, said = new Set();
      let right = 0, loss = 0;
      for (const n of held) {
        const T = net.forward(P, this.photo(n)), z = T[net.logits], best = z.indexOf(Math.max(...z));
        said.add(best);
        right += Number(best === labels[n]);
        loss += net.loss(T, labels[n]) / held.length;
        yield;
      }
      return { seen, right, of: held.length, loss, only: said.size === 1 ? [...said][0] : null };
    }
  }

  // What a network says of a photo, and the numbers at some places of its way: [[tensor, place], ...].
  function looking({ net, P }, { x, places }) {
    const T = net.forward(P, x);
    return { p: T.p, values: places.map(([name, n]) => (T[name] ?? P[name])[n]) };
  }

  // ---- what is asked for and what is told, in messages: the same in a worker and in the page

  const rest = () => new Promise((done) => { setTimeout(done); });

  // Runs a generator, some milliseconds at a time: to its end, whose value it returns, or as long as `going` says.
  async function inSlices(work, slice, going = () => true) {
    for (;;) {
      const end = performance.now() + slice;
      do {
        if (!going()) return undefined;
        const { done, value } = work.next();
        if (done) return value;
      } while (performance.now() < end);
      await rest();
    }
  }

  // Base64 and deflate, piece by piece; the hash of each piece of the bytes is compared.
  async function unpack({ text, piece, sha256 }) {
    const stream = new DecompressionStream("deflate-raw"), writer = stream.writable.getWriter();
    const found = new Response(stream.readable).arrayBuffer();
    for (let at = 0; at < text.length; at += 1 << 16) {
      writer.write(Packed.bytes(text.slice(at, at + (1 << 16)))).catch(() => {});
      await rest();
    }
    writer.close().catch(() => {});
    const raw = new Uint8Array(await found);
    for (let n = 0; n < Math.max(sha256.length, raw.length / piece); n++) {
      if (Packed.sha256(raw.subarray(n * piece, (n + 1) * piece)) !== sha256[n])
        throw new Error("the training photos in this file are not those that were written");
      await rest();
    }
    return raw;
  }

  // tell(what): the answer to each message, and while it learns a report now and then.
  class School {
    constructor(tell, slice) {
      Object.assign(this, { tell, slice, wanted: 0, looked: null, busy: false, told: 0 });
    }

    async hear({ ask, ...more }) {
      try {
        await this[ask](more);
      } catch (error) {
        this.wanted = 0;
        this.tell({ error: error.message });
      }
    }

    async open({ plan, scale, packed }) {
      const raw = await unpack(packed), { count } = packed;
      const end = raw.length - count; // the labels are the last bytes
      this.data = { plan, scale, photos: raw.subarray(0, end), labels: raw.subarray(end) };
      this.tell({ ready: true });
    }

    // id: by which the asker knows whose reports they are. The first examination is of the random start.
    begin({ seed, id }) {
      const course = new Course(this.data, seed);
      Object.assign(this, { id, course, exam: course.exam(), wanted: 0, losses: [], exams: [], looked: null });
    }

    look(looked) {
      this.looked = { ...looked, before: looking(this.course.start, looked) };
      if (!this.wanted) this.report();
    }

    pause() { this.wanted = 0; }
    weights() { this.tell({ weights: copied(this.course.P) }); }

    // Learns so many batches, counted from now, and ends the examination that has begun.
    async learn({ batches, rate, size }) {
      Object.assign(this, { wanted: batches, rate, size });
      if (this.busy) return;
      this.busy = true;
      while (this.wanted > 0 || this.exam) {
        const { course } = this, spent = this.wanted > 0 ? await this.step(course) : Infinity;
        if (course !== this.course) continue; // there was a reset
        await this.examine(course, spent / 2);
        if (performance.now() - this.told > 150) this.report();
      }
      this.busy = false;
      this.report();
    }

    // One batch. Returns the milliseconds that it took.
    async step(course) {
      const start = performance.now(), { rate, size } = this;
      if (!this.exam && course.seen >= course.due) this.exam = course.exam();
      const loss = await inSlices(course.step(rate, size), this.slice), spent = performance.now() - start;
      if (course !== this.course) return 0;
      course.time += spent;
      this.losses.push([course.seen, loss]);
      this.wanted = course.failed ? 0 : this.wanted - 1;
      if (course.failed) this.exam = null;
      return spent;
    }

    // The examination goes on for so many milliseconds, that learning is seen to go on too; without end once it pauses.
    async examine(course, most) {
      if (!this.exam) return;
      const end = performance.now() + most, going = () => performance.now() < end && (most < Infinity || !this.wanted);
      const found = await inSlices(this.exam, this.slice, () => course === this.course && going());
      if (!found || course !== this.course) return;
      this.exams.push(found);
      this.exam = null;
    }

    report() {
      const { course, wanted, looked } = this, { P, kernel, steps, seen, time, failed, learned } = course;
      const seenOf = looked && { before: looked.before, now: looking(course, looked) };
      this.told = performance.now();
      this.tell({ id: this.id, steps, seen, failed, running: wanted > 0, rounds: seen / learned.length,
        speed: (1000 * seen) / time, losses: this.losses.splice(0), exams: this.exams.splice(0),
        looked: seenOf, kernel: kernel && P[kernel].slice() });
    }
  }

  // In a worker the messages come from the page.
  if (typeof document === "undefined" && typeof postMessage === "function") {
    const school = new School((what) => postMessage(what), 60);
    onmessage = ({ data }) => school.hear(data);
  }

  return { Course, School, looking };
})();

if (typeof module !== "undefined") module.exports = Learner;
