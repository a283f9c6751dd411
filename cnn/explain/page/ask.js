// The switch "ask first": what a step computes is asked for before it is shown. One retry, then the answer and the term
// that was missed. As long as a question is open, the step's view, which holds the number, is not made at all.
"use strict";

const Ask = (() => {
  const { $, html, cell, table, pair, stage } = Show;
  const { A, STEP, STEPS } = State;
  const records = new Map(); // of each question: {seed, tries, said, error, done, right}
  let printing = false; // on paper there is nobody to answer
  let switched = null; // the seed that the bar shows

  const asking = () => !printing && (A.S.present || A.S.quiz !== null);
  const seed = () => A.S.quiz ?? 0;

  // A question is the same as long as it asks for the same, of the same numbers.
  function record(q) {
    const key = JSON.stringify([seed(), q.id, q.ask, q.terms.map((one) => one.value)]);
    if (!records.has(key)) records.set(key, { seed: seed(), tries: 0, said: "", error: "", done: false, right: false });
    return records.get(key);
  }

  // The question of a step that is not answered yet; to an audience it is open until the next key.
  function open(id) {
    const q = asking() ? Quiz.question(id, seed()) : null;
    return q && !(A.S.present ? A.S.revealed : record(q).done) ? q : null;
  }

  // ---- what is seen

  // A step's view: its question, or what it computes with the outcome before it.
  function view(id) {
    const q = open(id);
    if (q) return asked(q);
    const shown = Steps.view(id), done = asking() && !A.S.present ? Quiz.question(id, seed()) : null;
    if (!done) return shown;
    const said = outcome(done, record(done)), { right, said: wrong } = record(done);
    const terms = !right && wrong && html`<details><summary>what was given</summary>${given(done)}</details>`;
    return { ...shown, say: `${said} ${shown.say}`,
      html: html`<p class="note outcome" id="${id}-outcome" tabindex="-1">${said}</p>${terms || ""}${shown.html}` };
  }

  function outcome(q, { right, said }) {
    const answer = `${q.ask.replace(/= \?$/, "=")} ${Quiz.text(q.answer)}`;
    if (right) return `Right. ${answer}`;
    if (said === "") return `The answer: ${answer}`;
    return `Not this time: ${said}. ${answer}. ${Quiz.missed(q, Quiz.read(said)) || "Compare what was given."}`;
  }

  function asked(q) {
    const state = record(q), pictures = maps(q), told = state.error || (state.tries ? "Not yet: once more." : "");
    const form = html`<div class="question"><p class="ask" id="${q.id}-ask">${q.ask}</p>
      ${given(q)}
      ${A.S.present ? "" : answerForm(q, state, told)}</div>`;
    return { micro: [], say: told ? `${told} ${q.ask}` : q.ask,
      html: pictures.length ? stage(pair(pictures), form) : form };
  }

  const given = (q) => table(q.choices ? "the cells" : "what is given", null,
    q.terms.map((one, n) => [one.name, cell(Quiz.text(one), { tap: n })]));

  function answerForm(q, { error, said }, told) {
    return html`<form data-ask="${q.id}" autocomplete="off" novalidate><p class="controls"><label>your answer,
      ${Quiz.precision(q)} <input type="text" inputmode="decimal" id="${q.id}-answer" aria-describedby="${q.id}-ask
      ${q.id}-told" aria-invalid="${String(!!error)}" value="${said}"></label> <button>Answer</button>
      <button type="button" data-show="${q.id}">Show it</button></p>
      <p id="${q.id}-told" class="${error ? "error" : "told"}">${told}</p></form>`;
  }

  // The maps that the terms are read from, their places framed; never the one that the answer stands in.
  function maps(q) {
    const entries = q.terms.flatMap((one) => one.entries), names = [...new Set(entries.map((one) => one.tensor))];
    const { window: g, names: own } = State.layerOf(q.id);
    return names.filter((name) => (name in A.T || name in A.G) && Parts.isMap(name)).map((name) => {
      const here = entries.filter((one) => one.tensor === name), ch = here[0].at[2];
      const taps = q.terms.map((one) => one.entries.find((entry) => entry.tensor === name && entry.at[2] === ch))
        .map((one) => (one ? Parts.cellOf(one) : [-9, -9]));
      return Parts.channelMap(name, ch, { taps, ...frame(here.filter((one) => one.at[2] === ch).map(Parts.cellOf)),
        pad: g && name === own.x ? Parts.around(g) : [0, 0, 0, 0] });
    });
  }

  // One cell is marked, a full rectangle is framed; of scattered cells each lights up with its term.
  function frame(cells) {
    const [rows, columns] = [0, 1].map((axis) => cells.map((one) => one[axis]));
    const [i, j] = [Math.min(...rows), Math.min(...columns)];
    const [h, w] = [Math.max(...rows) - i + 1, Math.max(...columns) - j + 1];
    return cells.length === 1 ? { sel: cells[0] } : h * w === cells.length ? { box: [i, j, h, w] } : {};
  }

  // A lab that would tell the answer waits until its step has been answered.
  function lab(id) {
    const pattern = { G: /dkernel$/, M: /^conv$/ }[id], k = pattern && State.stageOf(id);
    const tells = (step) => pattern.test(STEP[step].kind) && State.stageOf(step) === k;
    const first = pattern && STEPS.find((step) => tells(step) && open(step));
    if (!first) return Labs.views[id](A);
    const told = `This lab shows what is asked in ${first}: answer there first.`;
    return { micro: [], say: told, html: html`<p class="note">${told}</p>` };
  }

  // ---- what is done

  function answer(id, text) {
    const q = open(id), state = q && record(q);
    if (!q) return;
    state.error = Quiz.unfit(q, text);
    state.said = text.trim();
    if (!state.error) {
      state.tries++;
      state.right = Quiz.judge(q, Quiz.read(text));
      state.done = state.right || state.tries === 2;
    }
    told(id);
  }

  // Shown without an answer of its own: it counts as asked.
  function show(id) {
    const q = open(id);
    if (!q) return;
    Object.assign(record(q), { done: true, said: "", error: "" });
    told(id);
  }

  // The step anew; the focus goes to the outcome, or back to the answer.
  function told(id) {
    App.set({ step: id });
    const place = $(`${id}-outcome`) || $(`${id}-answer`);
    place.focus({ preventScroll: true });
    if (place.select) place.select();
  }

  function toggle() {
    App.set({ quiz: A.S.quiz === null ? 0 : null });
    App.say(A.S.quiz === null ? "numbers are shown at once" : "each step asks before it shows its number");
  }

  // The switch and the score in the bar. When it has been switched, what is out of sight must not lag behind.
  function drawBar() {
    if (switched !== A.S.quiz) {
      switched = A.S.quiz;
      App.settle();
    }
    const on = A.S.quiz !== null, of = [...records.values()].filter((one) => one.done && one.seed === A.S.quiz);
    for (const b of document.querySelectorAll('[data-key="q"]')) b.setAttribute("aria-pressed", String(on));
    $("seed").parentElement.hidden = $("score").hidden = !on;
    $("seed").value = seed();
    $("score").textContent = `${of.filter((one) => one.right).length} of ${of.length} right`;
  }

  function print(now) {
    printing = now;
    if (A.S.quiz === null && !A.S.present) return;
    App.redraw();
    App.settle();
  }

  function wire() {
    App.KEYS.q = toggle;
    App.afterDraw.push(drawBar);
    document.addEventListener("submit", (e) => {
      if (!e.target.dataset.ask) return;
      e.preventDefault();
      answer(e.target.dataset.ask, e.target.querySelector("input").value);
    });
    document.addEventListener("click", (e) => e.target.dataset?.show && show(e.target.dataset.show));
    $("seed").addEventListener("change", () =>
      App.set({ quiz: Math.min(1e9, Math.max(0, Math.floor($("seed").valueAsNumber) || 0)) }));
    window.addEventListener("beforeprint", () => print(true));
    window.addEventListener("afterprint", () => print(false));
  }

  return { view, lab, open, wire };
})();
