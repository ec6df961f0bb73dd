// How far back the end of a text depends on its past: the answer of views/page/gradients.py.

import { Slice } from "./network.js";
import { checkFinite, logSum } from "./view.js";

const norm = (row) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
const added = (a, b) => (b ? a.map((value, k) => value + b[k]) : a);

// W^T d for W (R, K) and d (R).
function transposed(W, d) {
  const K = W.length / d.length, y = new Float64Array(K);
  d.forEach((value, r) => {
    if (value) for (let k = 0, w = r * K; k < K; k++, w++) y[k] += W[w] * value;
  });
  return y;
}

const joined = (...blocks) => Float64Array.from(blocks.flatMap((block) => [...block]));
const rows = (H, f) => Float64Array.from({ length: H }, (_, k) => f(k));

// Back through a step of each cell, from the gradients of its states dh and dc (H), along all paths.  da: of the
// pre-activations; dr: of what W_hh h' adds to them, where that is another; h, c: of the states before, by other paths
// than W_hh.
const BACK = {
  RNN_TANH: ({ h }, _, dh) => ({ da: dh.map((d, k) => d * (1 - h[k] ** 2)) }),
  RNN_RELU: ({ h }, _, dh) => ({ da: dh.map((d, k) => (h[k] > 0 ? d : 0)) }),

  LSTM({ i, f, g, o, c }, before, dh, dc) {
    const H = dh.length;
    return {
      da: joined(
        rows(H, (k) => dc[k] * g[k] * i[k] * (1 - i[k])),
        rows(H, (k) => dc[k] * before.c[k] * f[k] * (1 - f[k])),
        rows(H, (k) => dc[k] * i[k] * (1 - g[k] ** 2)),
        rows(H, (k) => dh[k] * Math.tanh(c[k]) * o[k] * (1 - o[k])),
      ),
      c: dc.map((d, k) => d * f[k]),
    };
  },

  GRU({ r, z, n, hn }, before, dh) {
    const H = dh.length;
    const dn = rows(H, (k) => dh[k] * (1 - z[k]) * (1 - n[k] ** 2));
    const dz = rows(H, (k) => dh[k] * (before.h[k] - n[k]) * z[k] * (1 - z[k]));
    const dr = rows(H, (k) => dn[k] * hn[k] * r[k] * (1 - r[k]));
    return { da: joined(dr, dz, dn), dr: joined(dr, dz, rows(H, (k) => dn[k] * r[k])), h: dh.map((d, k) => d * z[k]) };
  },
};

// Of c along all paths: what reaches it from later steps, and from h = o tanh(c).
const throughH = ({ c, o }, dh, dc) => dh.map((d, k) => (dc?.[k] ?? 0) + d * o[k] * (1 - Math.tanh(c[k]) ** 2));

// One step of a layer back: its gradients along all paths, and those of the states before and of the pre-activations.
function stepBack(kind, W_hh, now, before, dh, dc) {
  const whole = { h: dh, c: now.c && throughH(now, dh, dc) };
  const { da, dr, h, c } = BACK[kind](now, before, whole.h, whole.c);
  return { whole, da, before: { h: added(transposed(W_hh, dr ?? da), h), c } };
}

// The norms of the gradients by what each step read, and by each state of a layer, along all paths; the last step first.
async function backwards({ kind, layers, E, before }, steps, dh_last, layer) {
  const slice = new Slice(), norms = { x: [], h: [], c: [] };
  let later = layers.map(() => ({}));
  for (let t = steps.length - 1; t >= 0; t--) {
    let above = t === steps.length - 1 ? dh_last : undefined;
    const earlier = [];
    for (let k = layers.length - 1; k >= 0; k--) {
      const now = steps[t].layers[k], was = (steps[t - 1] ?? before).layers[k];
      const dh = added(above ?? new Float64Array(now.h.length), later[k].h);
      const back = stepBack(kind, layers[k].W_hh, now, was, dh, later[k].c);
      earlier[k] = back.before;
      above = transposed(layers[k].W_ih, back.da);
      if (k === layer) {
        norms.h.push(norm(back.whole.h));
        if (now.c) norms.c.push(norm(back.whole.c));
      }
    }
    norms.x.push(norm(above));
    later = earlier;
    await slice.rest();
  }
  return norms;
}

// The largest singular value of a matrix given by its rows, by power iteration on its product with its transpose.
function largestSingular(matrix) {
  const W = joined(...matrix), K = matrix[0].length;
  let v = rows(K, (k) => 1 + (k % 7) / 7), size = 0; // no direction in particular
  for (let round = 0; round < 300; round++) {
    const length = norm(v);
    if (!length) return 0;
    const y = matrix.map((row) => row.reduce((sum, value, k) => sum + value * v[k], 0) / length), grown = norm(y);
    if (Math.abs(grown - size) <= 1e-9 * grown) return grown;
    size = grown;
    v = transposed(W, y);
  }
  return size;
}

// The exact Jacobians of a layer's last state by its earlier ones, as views/jacobians.py has them.
async function jacobians({ kind, layers, before }, steps, layer, most) {
  const slice = new Slice(), { W_hh } = layers[layer], H = steps[0].layers[layer].h.length;
  let each = Array.from({ length: H }, (_, unit) => ({ h: rows(H, (k) => Number(k === unit)) })), scale = 0;
  const norms = { h: [], c: [] };
  for (let t = steps.length - 1; t >= Math.max(0, steps.length - 1 - most); t--) {
    const now = steps[t].layers[layer], was = (steps[t - 1] ?? before).layers[layer], back = [];
    for (const { h, c } of each) {
      back.push(stepBack(kind, W_hh, now, was, h, c));
      await slice.rest();
    }
    const sizes = ["h", "c"].filter((name) => now[name]).map((name) => [name, largestSingular(back.map(({ whole }) => whole[name]))]);
    for (const [name, size] of sizes) norms[name].push(size * Math.exp(Math.min(scale, 700)));
    const largest = Math.max(...sizes.map(([, size]) => size), Number.MIN_VALUE);
    each = back.map((row) => ({ h: row.before.h.map((d) => d / largest), c: row.before.c?.map((d) => d / largest) }));
    scale += Math.log(largest);
  }
  return norms;
}

// The largest singular value of each gate's block of W_hh.
function singular({ layers }, layer, gates) {
  const { W_hh } = layers[layer], size = W_hh.length / gates.length, H = Math.sqrt(size);
  const row = (gate, k) => W_hh.subarray(gate * size + k * H, gate * size + (k + 1) * H);
  return Object.fromEntries([...gates].map((name, gate) => [name, largestSingular(Array.from({ length: H }, (_, k) => row(gate, k)))]));
}

// Of the likeliest next symbol's logit, or of its loss in nats, by h of the last layer.
function byOutput({ W_hy, b_y }, last, of) {
  const best = last.logits.indexOf(last.logits.reduce((most, logit) => Math.max(most, logit)));
  const p = (v) => Math.exp(last.logits[v] - logSum(last));
  return transposed(W_hy, rows(b_y.length, (v) => (of === "symbols" ? Number(v === best) : p(v) - Number(v === best))));
}

export async function gradients(network, steps, { of = "symbols", layer = 0 }, { card, gates, jacobian_work, lags }) {
  const answer = (norms, most, more) => {
    const gradients = Object.entries(norms).filter(([, each]) => each.length).map(([by, each]) => ({ by, norms: each }));
    for (const { norms: each } of gradients) checkFinite(each.map((size) => [size]), card.name);
    return { gradients, cut: most < steps.length, singular: {}, ...more };
  };
  if (!steps.length) return { gradients: [], cut: false, singular: {} };
  if (of === "state") {
    const most = Math.min(lags, Math.max(5, Math.floor(jacobian_work / steps[0].layers[layer].h.length ** 3)));
    return answer(await jacobians(network, steps, layer, most), most + 1, { singular: singular(network, layer, gates) });
  }
  const { x, h, c } = await backwards(network, steps, byOutput(network, steps.at(-1), of), layer);
  return answer(of === "symbols" ? { x } : { h, c }, steps.length);
}
