// A photo of one's own: drawn with the pointer or the keys, or loaded from a file. Nothing leaves the page.
"use strict";

const Own = (() => {
  const { $ } = Show, pixels = new Uint8Array(784);
  let pen = [14, 14];

  function show() {
    const canvas = $("paper"), ctx = canvas.getContext("2d"), cell = 12;
    canvas.width = canvas.height = 28 * cell;
    for (let n = 0; n < 784; n++) {
      ctx.fillStyle = `rgb(${pixels[n]},${pixels[n]},${pixels[n]})`;
      ctx.fillRect((n % 28) * cell, Math.floor(n / 28) * cell, cell, cell);
    }
    ctx.strokeStyle = "#f90"; ctx.lineWidth = 2;
    ctx.strokeRect(pen[1] * cell, pen[0] * cell, cell, cell);
    const used = pixels.reduce((n, v) => n + (v > 0), 0);
    $("paper-state").textContent = `pen at row ${pen[0]}, column ${pen[1]}; ${used} of 784 pixels are not black`;
  }

  // A round brush: full at the cell, half beside it.
  function dab(i, j, level = 255) {
    for (let di = -1; di <= 1; di++) for (let dj = -1; dj <= 1; dj++) {
      const r = i + di, c = j + dj, v = di || dj ? level >> (di && dj ? 2 : 1) : level;
      if (r >= 0 && c >= 0 && r < 28 && c < 28) pixels[r * 28 + c] = level ? Math.max(pixels[r * 28 + c], v) : 0;
    }
    pen = [Math.max(0, Math.min(27, i)), Math.max(0, Math.min(27, j))];
    show();
  }

  function onPointer(e) {
    if (!(e.buttons & 1)) return;
    const box = $("paper").getBoundingClientRect(), at = (v, low, size) => Math.floor(((v - low) / size) * 28);
    dab(at(e.clientY, box.top, box.height), at(e.clientX, box.left, box.width), e.shiftKey ? 0 : 255);
  }

  // Arrow keys move the pen, Space paints, Delete wipes; Tab leaves as everywhere.
  function onKey(e) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key],
      clamp = (v) => Math.max(0, Math.min(27, v));
    if (step) { pen = [clamp(pen[0] + step[0]), clamp(pen[1] + step[1])]; show(); }
    else if (e.key === " " || e.key === "Delete") dab(...pen, e.key === " " ? 255 : 0);
    else return;
    e.preventDefault();
  }

  // Any picture, scaled to fit into 28x28 and turned into grey; light things on dark ground are what the network knows.
  async function load(file) {
    const ctx = Object.assign(document.createElement("canvas"), { width: 28, height: 28 }).getContext("2d",
      { willReadFrequently: true });
    let picture;
    try { picture = await createImageBitmap(file);
      } catch { return void ($("paper-state").textContent = `${file.name}: expected a picture, this is none that the browser `
      + `can read`); }
    const scale = 28 / Math.max(picture.width, picture.height), w = picture.width * scale, h = picture.height * scale;
    ctx.fillStyle = $("invert").checked ? "#fff" : "#000";
    ctx.fillRect(0, 0, 28, 28);
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(picture, (28 - w) / 2, (28 - h) / 2, w, h);
    const rgba = ctx.getImageData(0, 0, 28, 28).data;
    for (let n = 0; n < 784; n++) {
      const grey = Math.round(0.299 * rgba[4 * n] + 0.587 * rgba[4 * n + 1] + 0.114 * rgba[4 * n + 2]);
      pixels[n] = $("invert").checked ? 255 - grey : grey;
    }
    show();
  }

  function wire() {
    const paper = $("paper");
    paper.addEventListener("pointerdown", onPointer);
    paper.addEventListener("pointermove", onPointer);
    paper.addEventListener("keydown", onKey);
    $("load").addEventListener("change", () => $("load").files[0] && load($("load").files[0]));
    $("wipe").addEventListener("click", () => { pixels.fill(0); show(); });
    $("turn").addEventListener("click", () => { pixels.forEach((v, n) => { pixels[n] = 255 - v; }); show(); });
    $("take").addEventListener("click", () => { for (let n = 0; n < 784; n++) pixels[n] = Math.round(State.A.x[n] * 255);
      show(); });
    $("use").addEventListener("click",
      () => App.set({ photo: "own", px: pixels.slice(), target: null, dx: 0, dy: 0, mirror: 0, parts: "" }, { push: true }));
    show();
  }

  return { wire };
})();
