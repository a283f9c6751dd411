// The self-check: the file carries what Python wrote, and the page computes what Python computed.
// All of it is done in pieces (Proof.slowly), so that the page stays awake.
"use strict";

const Check = (() => {
  const $ = (id) => document.getElementById(id);

  // The bytes of a block, and that they are those that Python wrote. Weights may be drawn instead of sent.
  async function raw(data, id, report) {
    const told = data.blocks[id], bytes = told.drawn ? await Proof.slowly(Draws.weights(told))
      : await Proof.block($(id).textContent, told.width);
    report.equal(`SHA-256 of ${id}`, await Proof.slowly(Proof.hashing(bytes)), told.sha256);
    return bytes;
  }
  const tensors = async (data, id, report) =>
    Proof.slowly(Proof.unpacking(await raw(data, id, report), data.blocks[id]));

  // Everything that Python found for one photo, computed again. first: of the moment with which the page begins, whose
  // numbers stand in its tables.
  function* prove(file, report, record, first) {
    const { net, baseline, classes } = State.A, P = file.weights, { target, number } = record, { photos } = file.data;
    const label = `photo ${number}`, x = State.photo(number);
    const carried = file.photos.at(photos.indexOf(record) - photos.length); // the labels are the last bytes of all
    report.equal(`label of ${label}`, record.label, carried < classes.length ? carried : null);
    const T = yield* net.forwarding(P, x);
    Proof.splitTies(report, net, T, record, label);
    const G = yield* net.backing(P, T, target), pass = { net, P, T, G, target };
    yield* Proof.checkPhoto(report, pass, record.dense && baseline.forward(file.baseline, x), record, label);
    if (record === mainOf(file)) yield* proveInFull(file, report, record, pass);
    if (first && record === mainOf(file)) yield* proveTables(report, pass, record);
  }
  const mainOf = ({ data: { photos, full } }) => photos.find(({ number }) => number === (full.photo.number ?? 0));

  // Of one photo every number is compared.
  function* proveInFull(file, report, record, pass) {
    const label = `photo ${record.number}`;
    for (const key of ["label", "predicted", "target", "loss"])
      report.equal(`${label} ${key}`, file.data.full[key], record[key]);
    for (const [name, tensor] of Object.entries(file.full)) {
      report.tensor(`${label} ${name}`, pass.T[name] || pass.G[name], tensor);
      yield;
    }
  }

  // Every printed number of the tables against the value here. data-ref: an entry "z1[19,11,7]", or a sentence with
  // some of its letters fixed, "F6 i=3 j=4 f=9 c=5".
  function* proveTables(report, pass, record) {
    const tensor = Terms.tensors(pass);
    for (const { dataset: { ref, format }, textContent } of document.querySelectorAll("td[data-ref]")) {
      report.equal(`the table's ${ref}`, Show.number(valueOf(ref, tensor), format), textContent);
      yield;
    }
    yield* Nothing.proving(report, pass, record);
  }

  function valueOf(ref, tensor) {
    if (ref.endsWith("]")) {
      const at = ref.lastIndexOf("[");
      return Terms.entry(ref.slice(0, at), ref.slice(at + 1, -1).split(",").map(Number), tensor).value;
    }
    const [id, ...letters] = ref.split(" "), at = letters.map((one) => one.split("="));
    const places = Object.fromEntries(at.map(([letter, n]) => [letter, Number(n)]));
    return Terms.add(Terms.evaluate(State.STEP[id].sentence, tensor, places).terms.map((t) => t.product));
  }

  // What a report says of failures is said on the screen, and no computed number any more.
  function fail(reasons) {
    for (const e of document.querySelectorAll(".derived")) e.replaceChildren(Object.assign(document.createElement("p"),
      { textContent: "Hidden, because the self-check failed." }));
    document.documentElement.classList.add("failed");
    const message = `SELF-CHECK FAILED: this file is not what was written. ${reasons.length} `
      + `comparison${reasons.length === 1 ? "" : "s"} failed. First: ${reasons[0]}. No computed number is shown.`;
    $("alarm").textContent = $("report").textContent = message;
    $("alarm").hidden = false;
  }

  return { raw, tensors, prove, mainOf, fail };
})();
