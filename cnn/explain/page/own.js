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
    ctx.strokeStyle = "#f90";
    ctx.lineWidth = 2;
    ctx.strokeRect(pen[1] * cell, pen[0] * cell, cell, cell);
    const used = pixels.reduce((n, v) => n + (v > 0), 0);
    $("paper-state").textContent = `pen at row ${pen[0]}, column ${pen[1]}; ${used} of 784 pixels are not black`;
  }

  function move(i, j) {
    pen = [i, j].map((v) => Math.max(0, Math.min(27, v)));
    show();
  }

  // A round brush: full at the cell, half beside it.
  function dab(i, j, level = 255) {
    for (let di = -1; di <= 1; di++) for (let dj = -1; dj <= 1; dj++) {
      const r = i + di, c = j + dj, v = di || dj ? level >> (di && dj ? 2 : 1) : level;
      if (r >= 0 && c >= 0 && r < 28 && c < 28) pixels[r * 28 + c] = level ? Math.max(pixels[r * 28 + c], v) : 0;
    }
    move(i, j);
  }

  function onPointer(e) {
    if (!(e.buttons & 1)) return;
    const box = $("paper").getBoundingClientRect(), at = (v, low, size) => Math.floor(((v - low) / size) * 28);
    dab(at(e.clientY, box.top, box.height), at(e.clientX, box.left, box.width), e.shiftKey ? 0 : 255);
  }

  // Arrow keys move the pen, Space paints, Delete wipes; Tab leaves as everywhere.
  function onKey(e) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (step) move(pen[0] + step[0], pen[1] + step[1]);
    else if (e.key === " " || e.key === "Delete") dab(...pen, e.key === " " ? 255 : 0);
    else return;
    e.preventDefault();
  }

  // A picture's three planes of bytes, upright, on white where it is transparent, without the screen's own colours.
  async function read(file) {
    const picture = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
    const { width, height } = picture, ctx = Object.assign(document.createElement("canvas"), { width, height })
      .getContext("2d", { willReadFrequently: true });
    ctx.fillStyle = "#fff";
    ctx.fillRect(0, 0, width, height);
    ctx.drawImage(picture, 0, 0);
    const rgba = ctx.getImageData(0, 0, width, height).data;
    const plane = (c) => Float32Array.from({ length: width * height }, (_, n) => rgba[4 * n + c]);
    return { width, height, channels: [0, 1, 2].map(plane) };
  }

  // A picture from a file, prepared as `cnn predict` does it; what stands in the way is said.
  async function load(file) {
    const say = (text) => { $("paper-state").textContent = `${file.name}: ${text}`; };
    const picture = await read(file).catch(() => null);
    if (!picture) return say("expected a picture, this is none that the browser can read");
    try {
      pixels.set(Prepare.photo(picture));
      show();
    } catch (error) {
      say(error.message);
    }
  }

  function use() {
    const change = { photo: "own", px: pixels.slice(), target: null, dx: 0, dy: 0, mirror: 0, parts: "" };
    App.set(change, { push: true });
  }

  // Every pixel anew: from(its place, its value).
  function fill(from) {
    pixels.forEach((v, n) => { pixels[n] = from(n, v); });
    show();
  }

  function wire() {
    const paper = $("paper");
    paper.addEventListener("pointerdown", onPointer);
    paper.addEventListener("pointermove", onPointer);
    paper.addEventListener("keydown", onKey);
    $("load").addEventListener("change", () => $("load").files[0] && load($("load").files[0]));
    $("wipe").addEventListener("click", () => fill(() => 0));
    $("turn").addEventListener("click", () => fill((_, v) => 255 - v));
    $("take").addEventListener("click", () => fill((n) => Math.round(State.A.x[n] / State.A.scale)));
    $("use").addEventListener("click", use);
    show();
  }

  return { wire };
})();
