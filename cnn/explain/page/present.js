// For an audience: one step fills the window, as large as it fits. One key asks the step's question, then shows the
// step, then goes on. It is the page's own step that is seen: present.css hides what is around it.
"use strict";

const Present = (() => {
  const { $ } = Show;
  const { A, STEPS } = State;
  const root = document.documentElement;
  const NEXT = [" ", "Enter", "PageDown", "ArrowRight", "ArrowDown", "n"];
  const BACK = ["Backspace", "PageUp", "ArrowLeft", "ArrowUp", "p"];
  const LEAVE = ["Escape", "P"];
  const LEAST = 0.008, READABLE = 0.022, MOST = 0.04; // letters, of the window's height

  const article = () => $("step-" + A.S.step);

  function next() {
    if (Ask.open(A.S.step)) return to(A.S.step, true);
    const n = STEPS.indexOf(A.S.step) + 1;
    if (n < STEPS.length) return to(STEPS[n], false);
    App.say("this is the last step; Escape leaves");
  }

  // What lies behind has been seen: it is shown without its question.
  const back = () => to(STEPS[Math.max(0, STEPS.indexOf(A.S.step) - 1)], true);
  const to = (step, revealed) => App.go(step, { revealed: Number(revealed) });

  function toggle() {
    const step = STEPS.includes(A.S.step) ? A.S.step : STEPS[0];
    App.set({ present: 1 - A.S.present, revealed: 0, step }, { push: true });
    App.reveal("instant");
  }

  // While it lasts, these keys are the only ones, but for more digits, the help and what the browser does itself.
  function onKey(e) {
    if (!A.S.present || $("help").open || e.ctrlKey || e.altKey || e.metaKey) return;
    if (/^( |Enter)$/.test(e.key) && e.target.closest("button, a, input")) return;
    const act = NEXT.includes(e.key) ? next : BACK.includes(e.key) ? back : LEAVE.includes(e.key) ? toggle : null;
    if (act) e.preventDefault();
    if (act || (e.key in App.KEYS && !["d", "?"].includes(e.key))) e.stopPropagation();
    if (act) act();
  }

  function draw() {
    const on = Boolean(A.S.present);
    if (on && !STEPS.includes(A.S.step)) return App.set({ step: STEPS[0] });
    root.classList.toggle("presenting", on);
    for (const one of document.querySelectorAll(".on-stage")) one.classList.remove("on-stage");
    $("progress").textContent = on ? `step ${STEPS.indexOf(A.S.step) + 1} of ${STEPS.length}` : "";
    root.style.fontSize = "";
    if (!on) return;
    article().classList.add("on-stage");
    places();
    fit();
  }

  // Under each picture of the strip where the path goes.
  function places() {
    for (const canvas of document.querySelectorAll(".strip canvas"))
      canvas.parentElement.dataset.at = A.S.path[Number(canvas.dataset.net)].join(",");
  }

  // The largest letters with which all of the step is in sight; where they would not be readable, cut short.
  function fit() {
    for (const lean of [false, true]) {
      article().classList.toggle("lean", lean);
      const [one, two] = [false, true].map(largest);
      root.style.fontSize = `${largest(two > one)}px`;
      if (Math.max(one, two) >= READABLE * innerHeight) return;
    }
  }

  // The largest letters in one column or in two.
  function largest(two) {
    let [low, high] = [LEAST * innerHeight, MOST * innerHeight];
    article().classList.toggle("two", two);
    while (high - low > 0.2) {
      const size = (low + high) / 2;
      root.style.fontSize = `${size}px`;
      if (fits()) low = size; else high = size;
    }
    return low;
  }

  function fits() {
    const box = article().getBoundingClientRect(), wide = (e) => e.scrollWidth > e.clientWidth + 1;
    return box.bottom <= innerHeight && root.scrollWidth <= innerWidth && !wide(article())
      && ![...article().querySelectorAll(".scroll, .stage > div, .equation")].some(wide);
  }

  function wire() {
    App.KEYS.P = toggle;
    App.afterDraw.push(draw);
    document.addEventListener("keydown", onKey, true);
    document.addEventListener("click", (e) => {
      const b = e.target.closest("[data-present]");
      if (b) ({ next, back, leave: toggle })[b.dataset.present]();
    });
    window.addEventListener("resize", () => A.S.present && fit());
    for (const way of ["beforeprint", "afterprint"]) window.addEventListener(way, () => {
      root.classList.toggle("presenting", way === "afterprint" && Boolean(A.S.present));
      root.style.fontSize = "";
      if (way === "afterprint") draw();
    });
  }

  return { wire };
})();
