// What a network does while it reads a text: the answer of views/page/view.py.

import { RequestError } from "../static/requests.js";
import { counted } from "../static/symbols.js";

// ln of the sum of exp of a step's logits.
export function logSum(step) {
  if (step.logSum === undefined) {
    const top = step.logits.reduce((most, logit) => Math.max(most, logit));
    step.logSum = top + Math.log(step.logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
  }
  return step.logSum;
}

// The ids of the likeliest next symbols after a step, the likeliest first; of equals, the first.
function likeliest(step, most) {
  if (step.likeliest) return step.likeliest;
  const { logits } = step, best = [];
  logits.forEach((logit, id) => {
    if (best.length === most && logit <= logits[best[most - 1]]) return;
    let place = Math.min(best.length, most - 1);
    while (place && logits[best[place - 1]] < logit) best[place] = best[--place];
    best[place] = id;
  });
  return step.likeliest = best;
}

// values (T) of (H) in 256 steps between the bounds of their array; without bounds, where most of them lie.
function heat(values, { low: least, high: most }, H, share) {
  const T = values.length, all = new Float32Array(T * H);
  values.forEach((row, t) => all.set(row, t * H));
  const reach = least === null || most === null ? Math.max(1, quantile(all.map(Math.abs), share)) : 0;
  const low = least ?? -reach, high = most ?? reach;
  return { T, H, low, high, bytes: Uint8ClampedArray.from(all, (value) => (value - low) * (255 / (high - low))) };
}

function quantile(values, share) {
  if (!values.length) return 0;
  values.sort();
  const place = share * (values.length - 1), k = Math.floor(place);
  return values[k] + (place - k) * ((values[k + 1] ?? values[k]) - values[k]);
}

// Refuse rows that a picture cannot show.
export function checkFinite(rows, name) {
  const wrong = rows.findIndex((row) => !row.every(Number.isFinite));
  if (wrong < 0) return;
  throw new RequestError(`after ${counted(wrong, "symbol")} the state of ${name} is no longer finite, so there is nothing to show; shorten the text`);
}

// steps (T) of a text; before: what stands where a step would, before the first.
export function view({ vocabulary, card, shown, most }, { text, symbols, ids, steps, before }, asked) {
  const { layer = 0, array: name = "h", units = [] } = asked;
  const array = card.arrays.find((each) => each.name === name);
  const values = steps.map((step) => step.layers[layer][name]), rows = [before, ...steps];
  checkFinite(values, card.name);
  const best = rows.map((step) => likeliest(step, shown));
  return {
    symbols: vocabulary.aligned(symbols),
    unknown: [...ids.keys()].filter((t) => ids[t] === vocabulary.unk),
    note: vocabulary.unknownNote(text, ids),
    bits: ids.map((id, t) => (logSum(rows[t]) - rows[t].logits[id]) / Math.LN2),
    next: {
      symbols: best.map((row) => row.map((id) => vocabulary.names[id])),
      probabilities: best.map((row, t) => row.map((id) => Math.exp(rows[t].logits[id] - logSum(rows[t])))),
    },
    heat: heat(values, array, card.H, most),
    lines: units.map((unit) => ({ unit, values: values.map((row) => row[unit]) })),
  };
}
