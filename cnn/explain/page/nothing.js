// The chapter "Backward from nothing" alive: its sliders, its drawings, and the weight of the network that is nudged.
"use strict";

const Nothing = (() => {
  const { $, number } = Show, { A } = State;
  const chapter = $("nothing"), toy = JSON.parse(chapter.dataset.toy), first = State.STEP.C?.stage;
  let drawn = null, seen = false; // what the network's numbers were made from; whether the chapter was in sight
  const plain = (v) => (typeof v === "string" ? v : number(v, "rate"));

  const put = (found) => {
    for (const [name, text] of Object.entries(found))
      for (const e of chapter.querySelectorAll(`[data-n="${name}"]`)) e.textContent = text;
  };

  // ---- one weight

  const toyTexts = () => Object.fromEntries(Object.entries({ ...Toy.numbers(toy), rate: toy.rate })
    .map(([name, v]) => [name, plain(v)]));

  function drawToy() {
    const n = Toy.numbers(toy), at = (w) => `${w} ${-Toy.loss(toy.x * w, toy.wanted)}`;
    const line = (w) => `${w} ${-(n.loss + n.secant * (w - n.w))}`; // through both dots
    const stops = Array.from({ length: toy.steps + 1 }, (_, k) => at(n[`w${k}`])); // of learning
    const shapes = { dots: `M${at(n.w)}h0M${at(n.moved)}h0`, rise: `M${at(n.w)}H${n.moved}V${-n.after}`,
      secant: `M${line(toy.low - 1)}L${line(toy.high + 1)}`,
      steps: `M${stops.join("L")}`, stops: `M${stops.join("h0M")}h0` };
    for (const [name, d] of Object.entries(shapes))
      for (const e of chapter.querySelectorAll(`[data-shape="${name}"]`)) e.setAttribute("d", d);
    put(toyTexts());
    const said = { w: `weight ${plain(n.w)}, output ${plain(n.u)}, loss ${plain(n.loss)}, slope ${plain(n.slope)}`,
      h: `nudge ${plain(n.h)}, change over nudge ${plain(n.secant)}`,
      rate: `learning rate ${plain(toy.rate)}, loss after ${toy.steps} steps ${plain(n[`loss${toy.steps}`])}`,
      own: `nudge ${plain(toy.own)}` };
    for (const slider of chapter.querySelectorAll("[data-toy]:not(#nothing)")) {
      slider.value = toy[slider.dataset.toy];
      slider.setAttribute("aria-valuetext", said[slider.dataset.toy]);
    }
  }

  function onInput(e) {
    const key = e.target.dataset.toy;
    if (!key) return;
    toy[key] = Number(e.target.value);
    drawToy();
    if (key === "own") drawNetwork();
  }

  // ---- a weight of the network

  // pass: {net, P, T, G, target}. All printed numbers about the weight at which the path ends.
  function* networkTexts(pass, path, { title, names }) {
    const { net, P, T, G, target } = pass, l = net.layers[first], at = Path.weight(l, path[first], path[first + 1]);
    const flat = Path.flat(at, net.shapes[l.names.kernel]), slope = G[l.names.dkernel][flat];
    const loss = net.loss(T, target), paths = Chain.count(net.layers, path, first);
    const found = { "net-title": title, "net-weight": `${l.names.kernel}[${at.join(",")}]`, "net-class": names[target],
      "net-w": number(P[l.names.kernel][flat], "signed"), "net-slope": number(slope, "gradient"),
      "net-loss": number(loss, "loss"), "net-paths": paths === null ? "many" : paths.toLocaleString("en") };
    for (const [n, h] of [...toy.nudges, toy.own].entries()) {
      const { loss: after, flips } = Toy.nudged(pass, l.names.kernel, flat, first, h), change = after - loss;
      const row = { h: plain(h), loss: number(after, "loss"), change: number(change, "gradient"),
        told: number(slope * h, "gradient"), slope: number(change / h, "gradient"), flips };
      for (const [name, text] of Object.entries(row)) found[`net-${name}${n}`] = text;
      yield;
    }
    return found;
  }

  function drawNetwork() {
    if (first === undefined) return;
    drawn = { G: A.G, path: A.S.path };
    put(Engine.finish(networkTexts(A, A.S.path, { title: State.titleOf(A.S.photo), names: A.classes })));
  }

  // When the photo, the weights or the path have changed: at once where it is seen, else when it comes into sight.
  function draw() {
    if (seen && (drawn?.G !== A.G || drawn.path !== A.S.path)) drawNetwork();
  }

  // ---- the numbers that Python wrote into the chapter, for the self-check

  function* proving(report, pass, record) {
    const title = State.titleOf(record.number), found = { ...toyTexts(),
      ...(first === undefined ? {} : yield* networkTexts(pass, record.start, { title, names: A.classes })) };
    for (const e of chapter.querySelectorAll("[data-n]"))
      if (e.dataset.n in found && e.textContent) report.equal(`the chapter's ${e.dataset.n}`,
        found[e.dataset.n], e.textContent);
  }

  function wire() {
    chapter.addEventListener("input", onInput);
    App.afterDraw.push(draw);
    new IntersectionObserver(([{ isIntersecting }]) => {
      seen = isIntersecting;
      draw();
    }, { rootMargin: "200px" }).observe(chapter);
    drawToy();
    Show.reachable(chapter);
  }

  return { proving, wire };
})();
