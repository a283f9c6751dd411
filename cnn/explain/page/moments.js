// The moments of the network: untrained, early, finished; the page is about one of them at a time. The weights of a
// moment are unpacked, and prove themselves against Python's trace, when it is first shown. Most pages have but one.
"use strict";

const Moments = (() => {
  const $ = (id) => document.getElementById(id), root = document.documentElement;
  let data, shared, tell; // what the page carries; what all moments share; what else is to be drawn for a new moment
  let wanted; // the moment that was asked for last
  const opened = new Map(); // its name -> {file, report, done}, once its bytes and main photo are proved

  const names = () => data.moments.map(({ name }) => name);
  // The moment that an address names, else the present one.
  function named(hash) {
    const name = new URLSearchParams(hash.slice(1)).get("moment");
    return names().includes(name) ? name : State.A.moment;
  }

  // What Check compares must agree, else nothing is shown.
  class Damaged extends Error {}
  const stop = (error, report) => Check.fail([...(report?.failures || []),
    ...(error instanceof Damaged ? [] : [`${error.name}: ${error.message}`])]);
  function demand({ failures }) { if (failures.length) throw new Damaged(); }

  // Unpacks a moment and proves its bytes, and the photo that the page is about.
  async function open(name) {
    const told = data.moments.find((one) => one.name === name), report = new Proof.Report(1e-9);
    try {
      shared = shared || { photos: await Check.raw(data, "photo-bytes", report),
        baseline: data.baseline && await Check.tensors(data, "baseline", report) };
      const file = { ...shared, data: { ...data, ...told }, weights: await Check.tensors(data, told.weights, report),
        full: await Check.tensors(data, told.numbers, report) };
      demand(report); // wrong weights: nothing else is worth a comparison
      if (!State.A.net) State.carry(file);
      await Proof.slowly(Check.prove(file, report, Check.mainOf(file), name === data.begin));
      demand(report);
      opened.set(name, { file, report, done: false });
      return true;
    } catch (error) {
      stop(error, report);
      return false;
    }
  }

  // The page shows this moment from now on, with the weights as they were loaded. False: it does not, as another was
  // asked for meanwhile, or this one is damaged.
  async function turn(name) {
    wanted = name;
    mark(name);
    root.classList.remove("ready");
    if (!opened.has(name) && !await open(name)) return false;
    await Proof.breath();
    if (wanted !== name || root.matches(".failed")) return false;
    State.carry(opened.get(name).file);
    tell(opened.get(name).file);
    root.dataset.moment = name;
    return true;
  }

  // All is drawn: now the other photos are proved.
  function shown() {
    mark(State.A.moment);
    proveRest(State.A.moment);
  }

  // Chosen by hand: the network at another moment, on the same photo and path.
  async function choose(name) {
    App.say(`checking the ${name} network`);
    if (!await turn(name)) return;
    State.turn();
    await Proof.slowly(App.drawing());
    App.set({}, { push: true });
    shown();
    App.say(`the ${name} network: ${State.A.about}`);
  }

  function mark(name) {
    for (const one of document.querySelectorAll("input[name=moment]")) one.checked = one.value === name;
    const told = data.moments.find((one) => one.name === name);
    if ($("moment-note") && told) $("moment-note").textContent = told.about;
  }

  async function proveRest(name) {
    const one = opened.get(name), { file, report } = one, { photos } = file.data;
    if (one.done) return ready();
    one.done = "soon";
    try {
      for (const record of photos) if (record !== Check.mainOf(file)) {
        await Proof.slowly(Check.prove(file, report, record));
        demand(report);
        if (!root.matches(".failed"))
          $("report").textContent = `self-check: ${photos.indexOf(record) + 1} of ${photos.length} photos so far`;
      }
      one.done = true;
      ready();
    } catch (error) {
      stop(error, report);
    }
  }

  // The present moment is proved; of the others it is said whether they are.
  function ready() {
    const proved = [...opened].filter(([, { done }]) => done === true);
    if (root.matches(".failed") || !proved.some(([name]) => name === State.A.moment)) return;
    const said = ([name, { file: { data: { photos, blocks, weights } }, report }]) => `${name && `${name}: `}`
      + `${photos.length} photos, ${Show.whole(report.count)} comparisons, largest difference `
      + `${report.largest.toExponential(1)}, weights sha256 ${blocks[weights].sha256.slice(0, 16)}…`;
    const waiting = names().filter((name) => !proved.some(([one]) => one === name));
    $("report").textContent = `self-check ok: ${proved.map(said).join("; ")}`
      + (waiting.length ? `; not shown yet, so not checked: ${waiting.join(", ")}` : "");
    root.classList.add("ready");
  }

  // The first moment, that with which the page begins; its numbers stand in the tables.
  function begin(carried, drawMore) {
    [data, tell] = [carried, drawMore];
    return turn(data.begin);
  }

  // From one to the next, round and round.
  const next = () => names()[(names().indexOf(State.A.moment) + 1) % names().length];

  const present = () => opened.get(State.A.moment).file;

  return { begin, present, turn, choose, shown, named, next, stop };
})();
