// The network of this page: its weights, and what they compute in a step.  Letters are those of docs/notation.md:
// V symbols, H units, G gates; numbers are kept as float32 and added up as float64.

import { pause } from "../static/requests.js";

const sigmoid = (a) => 1 / (1 + Math.exp(-a));

// W (R, K) x + b.  Four sums side by side, for one alone waits for each addition.
function product(W, x, b) {
  const K = x.length, R = b.length, whole = K - (K % 4), y = new Float32Array(R);
  for (let r = 0, w = 0; r < R; r++, w += K) {
    let s0 = b[r], s1 = 0, s2 = 0, s3 = 0, k = 0;
    for (; k < whole; k += 4) {
      s0 += W[w + k] * x[k];
      s1 += W[w + k + 1] * x[k + 1];
      s2 += W[w + k + 2] * x[k + 2];
      s3 += W[w + k + 3] * x[k + 3];
    }
    for (; k < K; k++) s0 += W[w + k] * x[k];
    y[r] = s0 + s1 + (s2 + s3);
  }
  return y;
}

// Each cell's gates and states after a step, each (H), from a = W_ih x + b_ih and b = W_hh h' + b_hh, both (G*H), and
// the states before.
const CELLS = {
  RNN_TANH: (a, b) => ({ h: a.map((from_x, k) => Math.tanh(from_x + b[k])) }),
  RNN_RELU: (a, b) => ({ h: a.map((from_x, k) => Math.max(from_x + b[k], 0)) }),

  LSTM(a, b, { c: before }) {
    const H = before.length, [i, f, g, o, c, h] = Array.from({ length: 6 }, () => new Float32Array(H));
    for (let k = 0; k < H; k++) {
      i[k] = sigmoid(a[k] + b[k]);
      f[k] = sigmoid(a[H + k] + b[H + k]);
      g[k] = Math.tanh(a[2 * H + k] + b[2 * H + k]);
      o[k] = sigmoid(a[3 * H + k] + b[3 * H + k]);
      c[k] = f[k] * before[k] + i[k] * g[k];
      h[k] = o[k] * Math.tanh(c[k]);
    }
    return { i, f, g, o, c, h };
  },

  GRU(a, b, { h: before }) {
    const H = before.length, [r, z, n, h] = Array.from({ length: 4 }, () => new Float32Array(H)), hn = b.subarray(2 * H);
    for (let k = 0; k < H; k++) {
      r[k] = sigmoid(a[k] + b[k]);
      z[k] = sigmoid(a[H + k] + b[H + k]);
      n[k] = Math.tanh(a[2 * H + k] + r[k] * hn[k]);
      h[k] = (1 - z[k]) * n[k] + z[k] * before[k];
    }
    return { r, z, n, hn, h };
  },
};

// How numbers are kept in the file, as float32.
const KEPT = {
  float32: (bytes) => new Float32Array(bytes.buffer),
  bfloat16: (bytes) => new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer), (half) => half << 16).buffer),
  int8: (bytes, scale) => { // of each row
    const columns = bytes.length / scale.length;
    return Float32Array.from(new Int8Array(bytes.buffer), (q, k) => q * scale[Math.floor(k / columns)]);
  },
};

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const decoded = ({ kept, data, scale }) => KEPT[kept](bytesOf(data), scale && KEPT.float32(bytesOf(scale)));

export class Network {
  constructor({ kind, L, H, tensors }) {
    const all = new Map(Object.entries(tensors).map(([name, tensor]) => [name, decoded(tensor)]));
    this.cell = CELLS[kind];
    this.kind = kind;
    this.E = all.get("embedding.weight");
    this.layers = Array.from({ length: L }, (_, k) => ({
      W_ih: all.get(`rnn.weight_ih_l${k}`), b_ih: all.get(`rnn.bias_ih_l${k}`),
      W_hh: all.get(`rnn.weight_hh_l${k}`), b_hh: all.get(`rnn.bias_hh_l${k}`),
    }));
    this.W_hy = all.get("head.weight") ?? this.E;
    this.b_y = all.get("head.bias");
    const initial = (name) => all.get(name) ?? new Float32Array(H);
    // What stands where a step would, before the first one.
    this.before = {
      layers: this.layers.map((_, k) => ({ h: initial(`initial.h_l${k}`), c: initial(`initial.c_l${k}`) })),
      logits: all.get("start"),
    };
    this.V = this.before.logits.length;
    this.fromSymbols = new Map();
  }

  // W_ih x + b_ih of the first layer, (G*H); kept, for a symbol comes again and again.
  fromSymbol(id) {
    let a = this.fromSymbols.get(id);
    if (!a) {
      const [{ W_ih, b_ih }] = this.layers, { E, V } = this, size = E && E.length / V;
      a = E ? product(W_ih, E.subarray(id * size, (id + 1) * size), b_ih) : b_ih.map((b, row) => W_ih[row * V + id] + b);
      this.fromSymbols.set(id, a);
    }
    return a;
  }

  // Read a symbol: its id, the gates and states of each layer, and the logits (V) of the next symbol.
  step(id, before = this.before) {
    const layers = [];
    this.layers.forEach(({ W_ih, b_ih, W_hh, b_hh }, k) => {
      const a = k ? product(W_ih, layers[k - 1].h, b_ih) : this.fromSymbol(id);
      layers.push(this.cell(a, product(W_hh, before.layers[k].h, b_hh), before.layers[k]));
    });
    return { id, layers, logits: product(this.W_hy, layers.at(-1).h, this.b_y) };
  }
}

const SLICE = 12; // ms of work before the page may draw

// The time of a piece of work: whether it is over, and a pause where it is.
export class Slice {
  constructor() {
    this.end = performance.now() + SLICE;
  }

  over() {
    return performance.now() > this.end;
  }

  async rest() {
    if (!this.over()) return;
    await pause(0);
    this.end = performance.now() + SLICE;
  }
}

// Reads texts; what a text has in common with the one before, at its beginning, is not read again.
export class Reader {
  constructor(network) {
    this.network = network;
    this.steps = [];
    this.turn = Promise.resolve();
  }

  // The steps (T) of these ids (T).  One text is read at a time, for whoever asks next may ask about the same.
  read(ids) {
    return this.turn = this.turn.then(() => this.readOn(ids));
  }

  async readOn(ids) {
    const known = this.steps, slice = new Slice(), steps = [];
    while (steps.length < ids.length && known[steps.length]?.id === ids[steps.length]) steps.push(known[steps.length]);
    while (steps.length < ids.length) {
      steps.push(this.network.step(ids[steps.length], steps.at(-1)));
      await slice.rest();
    }
    this.steps = steps;
    return steps;
  }
}
