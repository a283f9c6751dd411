// Predict, then reveal: the question of a step where the path goes, as cnn/explain/quiz.py asks it, and its answers.
// Kinds and words come from there; what is drawn is drawn by the same rule. No document: Node runs this in the tests.
"use strict";

const Quiz = (() => {
  const { words, number, settings } = Show;
  const { nameOf, kindOf } = Parts;
  const { A, STEP } = State;
  const { few: FEW, words: WORDS, asked } = words.quiz;

  const fill = (what, values) => WORDS[what].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const text = ({ value, kind }) => number(value, kind);
  const sum = (list) => list.reduce((total, v) => total + v, 0);
  const gradientOr = (kind, tensor) => (kindOf(tensor) === "gradient" ? "gradient" : kind);

  // A whole number below count: by SHA-256, so that every step draws for itself, and Python what the page draws.
  const draw = (seed, id, what, count) =>
    parseInt(Proof.sha256(new TextEncoder().encode(`${seed} ${id} ${what}`)).slice(0, 8), 16) % count;

  // ---- questions: {id, ask, terms: [{name, value, kind, entries}], ways, answer: {value, kind}, choices}
  // entries: where a term is read from, for the maps.

  // An entry as a term; padding is a plain 0.
  const given = (entry, name = nameOf(entry)) =>
    ({ name, value: entry.value, kind: entry.inside ? kindOf(entry.tensor) : "value", entries: [entry] });
  const times = (factors) => factors.map(nameOf).join(" x ");
  // The entry that the sentence is about, printed as such entries are.
  const result = ({ out }) => ({ value: out.value, kind: gradientOr("total", out.tensor) });

  function question(id, seed) {
    const kind = asked[id];
    if (!kind) return null;
    const step = STEP[id], e = Terms.evaluate(step.sentence, A.tensor, State.letters(id));
    return { id, choices: 0, ways: "", ...ASKED[kind](e, step, seed) };
  }

  const ASKED = {
    place: newPlace,
    cell: whichCell,
    SUM: (e, step, seed) => (draw(seed, step.id, "product?", 2) ? oneProduct : total)(e, step, seed),
    RELU: (e) => {
      const { factors } = e.terms[0];
      return { ask: fill("RELU", { out: nameOf(e.out), factors: times(factors) }), terms: factors.map((f) => given(f)),
        answer: { value: e.out.value, kind: kindOf(e.out.tensor) } };
    },
    less: (e) => {
      const { factors } = e.terms[0], minus = factors.map((f) => ({ ...given(f, `- ${nameOf(f)}`), value: -f.value }));
      const asks = { out: nameOf(e.out), start: nameOf(e.start), factors: times(factors) };
      return { ask: fill("less", asks), terms: [{ ...given(e.start), kind: "gradient" }, ...minus], ways: "add",
        answer: result(e) };
    },
    times: (e) => {
      const { factors } = e.terms[0];
      return { ask: fill("times", { out: nameOf(e.out), factors: times(factors) }), ways: "multiply",
        terms: factors.map((f) => given(f)), answer: result(e) };
    },
  };

  // Which number of the row a cell becomes.
  function newPlace({ sentence, terms: [{ factors: [from] }], out }) {
    const sizes = sentence.places.map(([letter]) => sentence.out.index[0].find(([one]) => one === letter)?.[1] ?? 0);
    const terms = from.at.map((at, n) =>
      ({ name: `${at} * ${sizes[n]}`, value: at * sizes[n], kind: "count", entries: n ? [] : [from] }));
    return { ask: fill("place", { entry: nameOf(from), out: out.tensor, formula: sentence.text }), terms, ways: "add",
      answer: { value: out.at[0], kind: "count" } };
  }

  // Which cell of a pooling window wins, or gets the gradient.
  function whichCell(e, step) {
    const { window: g, names } = State.layerOf(step.id), [i, j, f] = A.S.path[State.stageOf(step.id) + 1];
    const cells = Array.from({ length: g.kh * g.kw }, (_, m) => Terms.entry(names.x,
      [i * g.sh - g.top + Math.floor(m / g.kw), j * g.sw - g.left + (m % g.kw), f], A.tensor));
    const [what, name] = step.kind === "pool" ? ["goes on", names.y] : ["gets", names.dy];
    const entry = Terms.entry(name, [i, j, f], A.tensor), winner = A.T[names.winners][entry.flat];
    return { ask: fill(what, { count: cells.length, entry: nameOf(entry) }), choices: cells.length,
      terms: cells.map((one, m) => given(one, `${m + 1}: ${nameOf(one)}`)),
      answer: { value: winner + 1, kind: "count" } };
  }

  // One product of a sum: one that is not 0, where there is one.
  function oneProduct({ terms, out }, { id }, seed) {
    const live = terms.filter((t) => t.product !== 0);
    const { factors, product } = live.length ? live[draw(seed, id, "product", live.length)] : terms[0];
    return { ask: fill("one product", { out: nameOf(out), factors: times(factors) }), ways: "multiply",
      terms: factors.map((f) => given(f)), answer: { value: product, kind: gradientOr("product", out.tensor) } };
  }

  // A sum of at most ten numbers: all products, those of one channel, or the largest ones and the others together.
  function total(e, { id, by }, seed) {
    const { out, start } = e, kind = gradientOr("product", out.tensor);
    const term = (t) => ({ name: times(t.factors), value: t.product, kind, entries: t.factors });
    if (by === "c" && e.terms.length > FEW) {
      const channel = draw(seed, id, "channel", e.sentence.ranges.at(-1)[1]);
      const chosen = e.terms.filter((t) => t.scope.c === channel);
      return { ask: fill("one channel", { count: chosen.length, channel, out: nameOf(out) }), ways: "add",
        terms: chosen.map(term), answer: { ...result(e), value: sum(chosen.map((t) => t.product)) } };
    }
    const live = Terms.order(e).filter((t) => t.product !== 0), some = live.length ? live : e.terms;
    const few = e.terms.length > FEW ? some.slice(0, FEW) : e.terms, rest = live.length - few.length;
    const terms = few.map(term);
    if (rest > 0) terms.push({ name: fill("others", { count: rest }), kind, entries: [],
      value: sum(e.terms.filter((t) => !few.includes(t)).map((t) => t.product)) });
    if (start) terms.push(given(start, fill("bias", { entry: nameOf(start) })));
    return { ask: fill("all", { out: nameOf(out) }), terms, ways: "add", answer: result(e) };
  }

  // ---- answers

  // The number in an answer; null where it is none.
  function read(answer) {
    const said = answer.trim().replace(/\u2212/g, "-").replace(/,/g, ".");
    const v = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(said) ? Number(said) : NaN;
    return Number.isFinite(v) ? v : null;
  }

  // What is wrong with an answer before it is judged; "" where nothing is.
  function unfit({ choices }, answer) {
    const v = read(answer);
    if (v === null) return `expected a number, got ${answer.trim() || "nothing"}`;
    return choices && !(Number.isInteger(v) && v >= 1 && v <= choices) ? fill("range", { count: choices, answer }) : "";
  }

  // Whether it is right as far as it is printed: as the number itself, or as the printed figures make it.
  const judge = (q, v) => right(q).includes(text({ ...q.answer, value: v }));
  function right({ answer, terms, ways }) {
    const printed = terms.map((one) => Show.parse(text(one)));
    const made = { add: sum, multiply: (list) => list.reduce((product, v) => product * v, 1) }[ways];
    return [text(answer), ...(made ? [text({ ...answer, value: made(printed) })] : [])];
  }

  // How the answer is printed: to 5 decimals, to 4 digits, a whole number; or between which numbers to choose.
  function precision({ answer, choices }) {
    if (choices) return fill("choice", { count: choices });
    const { style, digits, relative } = words.numbers.formats[answer.kind];
    return fill(style in WORDS ? style : "whole", { count: digits + (relative ? settings.digits : 0) });
  }

  // What a wrong answer did: the term that it left out or took with the wrong sign; "" where neither explains it.
  function missed(q, v) {
    if (q.ways === "multiply" && judge(q, -v)) return WORDS.sign;
    if (q.ways !== "add") return "";
    const exact = q.answer.value, rounded = [q.answer, ...q.terms].filter((one) => one.kind !== "count");
    const slack = sum([...rounded, { ...q.answer, value: v }].map((one) => lastPlace(text(one))));
    const found = q.terms.filter((one) => Math.abs(one.value) > slack).flatMap((one) =>
      ["missing", "turned"].map((what, n) => ({ away: Math.abs(exact - (n + 1) * one.value - v),
        said: fill(what, { name: one.name, number: text(one) }) })));
    const nearest = found.sort((a, b) => a.away - b.away || (a.said < b.said ? -1 : 1))[0];
    return nearest && nearest.away <= slack ? nearest.said : "";
  }

  // 0.001 of +0.125: one in the last place of a printed number.
  function lastPlace(printed) {
    const [mantissa, exponent] = printed.replace(/\u2212/g, "-").split("e");
    return 10 ** (Number(exponent || 0) - (mantissa.split(".")[1] || "").length);
  }

  return { question, read, unfit, judge, right, precision, missed, text };
})();

if (typeof module !== "undefined") module.exports = Quiz;
