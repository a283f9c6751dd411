// Weights as NumPy draws them from a seed: so the untrained network needs no place in the file. No document, no window.
"use strict";

const Draws = (() => {
  const Net = typeof Engine === "undefined" ? require("./engine.js") : Engine;
  const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n, INSIDE_128 = (1n << 128n) - 1n, INSIDE_64 = (1n << 64n) - 1n;

  // PCG64 (O'Neill 2014), NumPy's generator: the state goes on by s <- s * m + c, modulo 2^128; what comes out are its
  // halves, folded by exclusive or, and rotated by its first six bits. Of these 64 bits 53 make a number from 0 to 1.
  function generator(state, increment) {
    return () => {
      state = (state * MULTIPLIER + increment) & INSIDE_128;
      const folded = (state >> 64n) ^ (state & INSIDE_64), turn = state >> 122n;
      const turned = ((folded >> turn) | (folded << (64n - turn))) & INSIDE_64;
      return Number(turned >> 11n) / 2 ** 53;
    };
  }

  // The bytes of a block of float32 weights. drawn: {kernel: [state, increment, limit]}; others are 0. In pieces.
  function* weights({ layout, drawn }) {
    const view = new DataView(new ArrayBuffer(4 * layout.reduce((sum, [, shape]) => sum + Net.size(shape), 0)));
    let at = 0;
    for (const [name, shape] of layout) {
      const end = at + 4 * Net.size(shape), [state, increment, limit] = drawn[name] || [];
      if (!drawn[name]) at = end;
      const next = limit && generator(BigInt(state), BigInt(increment));
      for (; at < end; at += 4) {
        view.setFloat32(at, -limit + 2 * limit * next(), true);
        if (at % 8192 === 0) yield;
      }
    }
    return new Uint8Array(view.buffer);
  }

  return { weights };
})();

if (typeof module !== "undefined") module.exports = Draws;
