// The section "Train from nothing": its controls. Learner learns, in a worker where that is allowed, else here, in
// slices after which the page can answer; Learned shows it.
"use strict";

const Learn = (() => {
  const { $ } = Show;
  const { A } = State;
  const PARTS = ["activations", "products", "engine", "batch", "proof", "learner"]; // what the worker is made of
  const SLICE = 15; // milliseconds
  const PAUSE = 200, CALM = 2000; // milliseconds between two pictures, and where motion is to be reduced
  const QUIET = 4000; // milliseconds between two sentences that a screen reader reads out, while it learns

  let file, ask; // what the page carries; sends a message to the school
  let ready = false, running = false, id = 0, drawn = 0, pending = null, said = 0;
  let course = {}; // see Learned

  // ---- the school, far or near

  function inPage() {
    const school = new Learner.School(hear, SLICE);
    ask = (message) => { setTimeout(() => school.hear(message)); };
    ask(opening());
  }

  // A worker made of the page's own scripts. Where it may not be, the same happens here.
  function employ() {
    const text = PARTS.map((name) => document.querySelector(`script[data-name="${name}"]`).textContent).join("\n");
    try {
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      worker.onmessage = ({ data }) => hear(data);
      worker.onerror = () => (ready ? hear({ error: "the worker has stopped" }) : inPage());
      ask = (message) => worker.postMessage(message);
      ask(opening());
    } catch {
      inPage();
    }
  }

  const opening = () => ({ ask: "open", plan: file.net, scale: file.scale,
    packed: { ...file.learn, text: $("learn-photos").textContent } });

  function hear(told) {
    if (document.documentElement.matches(".failed")) return;
    if (told.error) return say(`It cannot go on: ${told.error}.`, "stopped");
    if (told.weights) return take(told.weights);
    if (told.ready) {
      ready = true;
      return reset();
    }
    if (told.id !== id) return; // it is of before the reset
    course.losses.push(...told.losses);
    course.exams.push(...told.exams);
    course.start ??= told.kernel;
    Object.assign(course, { report: told });
    running = told.running;
    if (told.failed) say(Learned.reason(told.failed), "stopped");
    else if (course.exams.length && (!running || performance.now() > said + QUIET)) tellExam();
    buttons();
    later();
  }

  // The newest examination, once.
  function tellExam() {
    const exam = course.exams.at(-1);
    if (exam === course.told) return;
    course.told = exam;
    said = performance.now();
    say(Learned.news(exam));
  }

  // ---- what the hand does

  const learn = (batches) => ask({ ask: "learn", batches, rate: Number($("learn-rate").value),
    size: Number($("learn-size").value) });

  function run() {
    running = !running;
    if (running) learn(Infinity);
    else ask({ ask: "pause" });
    buttons();
  }

  function reset() {
    running = false;
    course = { losses: [], exams: [] };
    say("");
    ask({ ask: "begin", seed: Math.max(1, Math.floor($("learn-seed").valueAsNumber) || 1), id: ++id });
    look();
    learn(0);
    buttons();
  }

  function buttons() {
    const { report } = course, over = !ready || !!report?.failed;
    $("learn-run").textContent = running ? "Pause" : "Start";
    $("learn-run").disabled = over;
    $("learn-once").disabled = over || running;
    $("learn-reset").disabled = !ready;
    $("learn-take").disabled = over || !report?.steps;
  }

  // What is said, also to a screen reader: after examinations, and when it stops.
  function say(text, cls = "") {
    if (cls) running = false;
    Object.assign($("learn-news"), { textContent: text, className: cls });
    buttons();
  }

  // Which photo the page is about, and which cells of its path: of each layer a number that comes out, and the weight.
  const about = () => [A.S.path, A.S.taps].join(" ");
  function look() {
    const { net, S, x } = A, places = [];
    net.layers.forEach((l, k) => {
      const name = l.names.kernel, at = S.path[k + 1], w = name && State.weightOf(k);
      if (l.op === "copy") return;
      places.push({ layer: l.name, name: l.names.y, at, kernel: name, w });
    });
    const flat = (name, at) => [name, Path.flat(at, net.shapes[name])];
    course.looked = { x, about: about(), places };
    ask({ ask: "look", x, places: places.flatMap(({ name, at, kernel, w }) =>
      [flat(name, at), ...(kernel ? [flat(kernel, w)] : [])]) });
  }

  function follow() {
    if (ready && (course.looked.x !== A.x || course.looked.about !== about())) look();
    else if (course.report) later(); // perhaps in other colours
  }

  // The page's own network takes over what was learned here.
  function take(weights) {
    Object.assign(A, { P: weights, edited: true });
    State.compute();
    App.set({});
    say("Now every step of this page shows the network that learned here.");
  }

  // ---- drawing: not after each batch

  function later() {
    const pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM : PAUSE;
    pending ??= setTimeout(() => {
      [pending, drawn] = [null, performance.now()];
      if (course.report && !document.documentElement.matches(".failed")) Learned.draw(course);
    }, Math.max(0, running ? drawn + pause - performance.now() : 0));
  }

  // ---- the start

  // The photos are unpacked, and the weights drawn, when the section comes into sight.
  function wire(data) {
    file = data;
    const press = { run, once: () => learn(1), reset, take: () => ask({ ask: "weights" }) };
    for (const [name, act] of Object.entries(press)) $(`learn-${name}`).addEventListener("click", act);
    for (const name of ["rate", "size"])
      $(`learn-${name}`).addEventListener("change", () => { if (running) learn(Infinity); });
    $("learn-seed").addEventListener("change", () => { if (ready) reset(); });
    $("learn-take").closest("p").hidden = file.net.layers.some((l) => "epsilon" in l); // its averages would be others
    App.afterDraw.push(follow);
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((one) => one.isIntersecting)) return;
      observer.disconnect();
      employ();
    }).observe($("school"));
    buttons();
  }

  return { wire };
})();
