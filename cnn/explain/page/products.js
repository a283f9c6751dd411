// The sums of products that a layer makes, forward and backward: convolution, pooling, dense. No document, no window.
//
// Every tensor is one flat array, row by row, channels innermost, as in the Python program: z1[(i*28 + j)*32 + f].
"use strict";

const Products = (() => {
  // ---- windows

  // How many windows of k cells fit when they advance by s, and how many zeros stand before and after: Keras' rule,
  // which puts the smaller half of the padding first.
  function windows(length, k, s, padding) {
    if (padding === "valid") return { out: Math.floor((length - k) / s) + 1, before: 0, after: 0 };
    const out = Math.ceil(length / s), total = Math.max((out - 1) * s + k - length, 0);
    return { out, before: Math.floor(total / 2), after: total - Math.floor(total / 2) };
  }

  // Where the windows of a layer stand: input H x W x C, F maps out, windows of kh x kw that advance by sh, sw.
  function geometry([H, W, C], F, [kh, kw], [sh, sw], padding) {
    const rows = windows(H, kh, sh, padding), cols = windows(W, kw, sw, padding);
    return { H, W, C, F, kh, kw, sh, sw, padding, OH: rows.out, OW: cols.out,
      top: rows.before, bottom: rows.after, left: cols.before, right: cols.after };
  }

  // Calls visit(window, n, cells, taps) for each window: n of its cells lie in the input, not in the padding; which
  // cells of the input they are, and which places in the window.
  function eachWindow(g, visit) {
    const cells = new Int32Array(g.kh * g.kw), taps = new Int32Array(g.kh * g.kw);
    for (let i = 0; i < g.OH; i++) for (let j = 0; j < g.OW; j++) {
      let n = 0;
      for (let u = 0; u < g.kh; u++) for (let v = 0; v < g.kw; v++) {
        const r = i * g.sh + u - g.top, c = j * g.sw + v - g.left;
        if (r < 0 || c < 0 || r >= g.H || c >= g.W) continue;
        cells[n] = r * g.W + c;
        taps[n++] = u * g.kw + v;
      }
      visit(i * g.OW + j, n, cells, taps);
    }
  }

  // ---- products: each layer's are numbers times rows of numbers, and those that are 0 are left out

  // y[o + f] += a[0] * W[at[0] + f] + a[1] * W[at[1] + f] + ... for the F numbers of a row; of a there are n.
  // Four rows at a time: so y is read and written once for four products.
  function addRows(y, o, F, n, a, at, W) {
    let k = 0;
    for (; k + 3 < n; k += 4) {
      const a0 = a[k], a1 = a[k + 1], a2 = a[k + 2], a3 = a[k + 3];
      const w0 = at[k], w1 = at[k + 1], w2 = at[k + 2], w3 = at[k + 3];
      for (let f = 0; f < F; f++) y[o + f] += a0 * W[w0 + f] + a1 * W[w1 + f] + a2 * W[w2 + f] + a3 * W[w3 + f];
    }
    for (; k < n; k++) for (let f = 0, w = at[k], v = a[k]; f < F; f++) y[o + f] += v * W[w + f];
  }

  // n rows of F numbers, each starting with the bias; without one with zeros.
  function rowsOf(n, F, b) {
    const z = new Float64Array(n * F);
    if (b) for (let o = 0; o < z.length; o += F) z.set(b, o);
    return z;
  }

  // z[i,j,f] = b[f] + sum over u,v,c of x_padded[i*sh + u, j*sw + v, c] * W[u,v,c,f]
  function conv(g, x, W, b) {
    const { C, F } = g, z = rowsOf(g.OH * g.OW, F, b), most = g.kh * g.kw * C;
    const a = new Float64Array(most), at = new Int32Array(most);
    eachWindow(g, (out, n, cells, taps) => {
      let count = 0;
      for (let k = 0; k < n; k++) for (let c = 0, q = cells[k] * C, w = taps[k] * C * F; c < C; c++, w += F) {
        if (x[q + c] === 0) continue;
        a[count] = x[q + c];
        at[count++] = w;
      }
      addRows(z, out * F, F, count, a, at, W);
    });
    return z;
  }

  // W[u,v,c,f] as [u,v,f,c], and back.
  function swapped(W, C, F) {
    const S = new Float64Array(W.length);
    for (let start = 0; start < W.length; start += C * F)
      for (let c = 0; c < C; c++) for (let f = 0; f < F; f++) S[start + f * C + c] = W[start + c * F + f];
    return S;
  }

  // dW[u,v,c,f] += sum over i,j of x_padded * dz;  db[f] += sum of dz;  dx: each product goes back to its cell.
  // Few of dz are not 0, behind pooling and ReLU: so both sums go through those.
  function convBackward(g, x, W, dz, dW = new Float64Array(W.length), db = new Float64Array(g.F)) {
    for (let o = 0; o < dz.length; o++) db[o % g.F] += dz[o];
    const part = swapped(convKernel(g, x, dz), g.F, g.C);
    for (let w = 0; w < dW.length; w++) dW[w] += part[w];
    return { dW, db, dx: convInput(g, swapped(W, g.C, g.F), dz) };
  }

  // dx[r,s,:] += dz[i,j,f] * W[u,v,:,f], window by window; W as [u,v,f,c].
  function convInput({ C, F, ...g }, W, dz) {
    const dx = new Float64Array(g.H * g.W * C), a = new Float64Array(F);
    const rows = new Int32Array(F), at = new Int32Array(F);
    eachWindow(g, (out, n, cells, taps) => {
      let count = 0;
      for (let f = 0; f < F; f++) if (dz[out * F + f] !== 0) {
        a[count] = dz[out * F + f];
        rows[count++] = f * C;
      }
      for (let k = 0; k < n && count; k++) {
        for (let m = 0; m < count; m++) at[m] = taps[k] * F * C + rows[m];
        addRows(dx, cells[k] * C, C, count, a, at, W);
      }
    });
    return dx;
  }

  // dW[u,v,:,f] += x_padded[i*sh + u, j*sw + v, :] * dz[i,j,f], filter by filter; dW as [u,v,f,c].
  function convKernel({ C, F, ...g }, x, dz) {
    const dW = new Float64Array(g.kh * g.kw * C * F), outs = g.OH * g.OW;
    const found = new Int32Array(outs), a = new Float64Array(outs), at = new Int32Array(outs);
    for (let f = 0; f < F; f++) {
      let some = 0;
      for (let out = 0; out < outs; out++) if (dz[out * F + f] !== 0) found[some++] = out;
      for (let u = 0; u < g.kh; u++) for (let v = 0; v < g.kw; v++) {
        let n = 0;
        for (let m = 0; m < some; m++) {
          const j = found[m] % g.OW, i = (found[m] - j) / g.OW, r = i * g.sh + u - g.top, s = j * g.sw + v - g.left;
          if (r < 0 || s < 0 || r >= g.H || s >= g.W) continue;
          a[n] = dz[found[m] * F + f];
          at[n++] = (r * g.W + s) * C;
        }
        addRows(dW, ((u * g.kw + v) * F + f) * C, C, n, a, at, x);
      }
    }
    return dW;
  }

  // The largest of each window, padding left out; of equal cells the first, row by row, wins.
  function pool(g, x) {
    const { C } = g, y = new Float64Array(g.OH * g.OW * C).fill(-Infinity), winner = new Int32Array(y.length);
    eachWindow(g, (out, n, cells, taps) => {
      for (let k = 0; k < n; k++) for (let c = 0, o = out * C, q = cells[k] * C; c < C; c++, o++, q++) {
        if (!(x[q] > y[o])) continue;
        y[o] = x[q];
        winner[o] = taps[k];
      }
    });
    return { y, winner };
  }

  // Where in the input the cell m of the n-th window lies.
  function cellOf(g, n, m) {
    const c = n % g.C, at = (n - c) / g.C, i = Math.floor(at / g.OW), j = at % g.OW;
    return ((i * g.sh + Math.floor(m / g.kw) - g.top) * g.W + j * g.sw + (m % g.kw) - g.left) * g.C + c;
  }

  function poolBackward(g, dy, winner) {
    const dx = new Float64Array(g.H * g.W * g.C);
    for (let n = 0; n < dy.length; n++) dx[cellOf(g, n, winner[n])] += dy[n];
    return dx;
  }

  // ---- rows

  // Along the last axis: z[m,u] = b[u] + sum over n of x[m,n] * W[n,u]
  function dense([N, U], x, W, b) {
    const z = rowsOf(x.length / N, U, b), a = new Float64Array(N), at = new Int32Array(N);
    for (let m = 0; m < x.length / N; m++) {
      let count = 0;
      for (let n = 0; n < N; n++) if (x[m * N + n] !== 0) {
        a[count] = x[m * N + n];
        at[count++] = n * U;
      }
      addRows(z, m * U, U, count, a, at, W);
    }
    return z;
  }

  // dW[n,u] += x[m,n] * dz[m,u];  db[u] += dz[m,u];  dx[m,n] = sum over u of dz[m,u] * W[n,u]
  function denseBackward([N, U], x, W, dz, dW = new Float64Array(W.length), db = new Float64Array(U)) {
    const dx = new Float64Array(x.length), d = new Float64Array(U), at = new Int32Array(U);
    for (let m = 0; m < x.length / N; m++) {
      let count = 0;
      for (let u = 0; u < U; u++) if (dz[m * U + u] !== 0) {
        db[u] += d[count] = dz[m * U + u];
        at[count++] = u;
      }
      for (let n = 0, w = 0; n < N; n++, w += U) {
        const a = x[m * N + n];
        let sum = 0;
        for (let k = 0; k < count; k++) sum += d[k] * W[w + at[k]];
        dx[m * N + n] = sum;
        if (a !== 0) for (let k = 0; k < count; k++) dW[w + at[k]] += a * d[k];
      }
    }
    return { dW, db, dx };
  }

  // Calls visit(input number, output number, share) for y = down @ x @ across^T in each of C channels.
  function eachShare({ rows, columns, in: [, W, C] }, visit) {
    rows.forEach((down, i) => columns.forEach((across, j) => {
      for (const [r, a] of down) for (const [s, b] of across) for (let c = 0; c < C; c++)
        visit((r * W + s) * C + c, (i * columns.length + j) * C + c, a * b);
    }));
  }

  return { geometry, conv, convBackward, pool, cellOf, poolBackward, dense, denseBackward, eachShare };
})();

if (typeof module !== "undefined") module.exports = Products;
