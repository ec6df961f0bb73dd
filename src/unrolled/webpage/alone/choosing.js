// From logits to the next symbol: the rules of csrc/sampler.cpp, in the same order.

// Unnormalised probabilities (V) to draw from.  forbidden: the symbols that are never drawn.
export function shares(logits, { temperature, top_k, top_p, min_p }, forbidden) {
  const allowed = (v) => !forbidden.has(v);
  const top = logits.reduce((most, logit, v) => (allowed(v) ? Math.max(most, logit) : most), -Infinity);
  const p = Float64Array.from(logits, (logit, v) => (allowed(v) ? Math.exp((logit - top) / temperature) : 0));
  if (top_k > 0 && top_k < p.length) {
    const least = p.toSorted().at(-top_k);
    p.forEach((share, v) => { if (share < least) p[v] = 0; });
  }
  if (top_p < 1) keepTopP(p, top_p);
  if (min_p > 0) {
    const least = min_p * largest(p);
    p.forEach((share, v) => { if (share < least) p[v] = 0; });
  }
  return p;
}

function keepTopP(p, top_p) {
  const order = Uint32Array.from(p.keys()).sort((a, b) => p[b] - p[a] || a - b);
  const enough = top_p * sum(p);
  let before = 0; // mass of the symbols ahead
  for (const v of order) {
    const share = p[v];
    if (before >= enough) p[v] = 0;
    before += share;
  }
}

const sum = (p) => p.reduce((total, share) => total + share, 0);
const largest = (p) => p.reduce((most, share) => Math.max(most, share), 0);

// The symbol on which u in [0, 1) falls; with the strategy "greedy" the likeliest, the first of equals.
export function choose(p, strategy, u) {
  if (strategy === "greedy") return p.indexOf(largest(p));
  const aim = u * sum(p);
  let total = 0, chosen = 0;
  for (let v = 0; v < p.length; v++) {
    if (!p[v]) continue;
    chosen = v; // the last that has a share, should rounding leave the aim beyond every sum
    total += p[v];
    if (total > aim) break;
  }
  return chosen;
}
