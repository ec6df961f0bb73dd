// Who answers the requests of this page: the network that is in it, in static/service.js's place.

import { pause, RequestError } from "../static/requests.js";
import { counted } from "../static/symbols.js";
import { choose, shares } from "./choosing.js";
import { gradients } from "./gradients.js";
import { Network, Reader, Slice } from "./network.js";
import { uniforms } from "./random.js";
import { checkFinite, view } from "./view.js";
import { Vocabulary } from "./vocabulary.js";

const given = JSON.parse(document.getElementById("network").textContent);
const { card, limits } = given;
const vocabulary = new Vocabulary(given.vocabulary);
const network = new Network(given.network);
const reader = new Reader(network);
const TICK = 30; // ms between two pieces of a text whose rate is limited

export async function models() {
  return { models: [card], limits };
}

async function read(text) {
  const symbols = vocabulary.split(text), ids = vocabulary.encode(symbols);
  if (ids.length > limits.text_symbols) {
    throw new RequestError(`the text has ${counted(ids.length, "symbol")}, and this page reads at most ${limits.text_symbols.toLocaleString("en")}; shorten it`);
  }
  const steps = await reader.read(ids);
  checkFinite(steps.map(({ logits }) => logits), card.name);
  return { text, symbols, ids, steps, before: network.before };
}

const ANSWERS = {
  view: (text, asked) => view({ ...given, vocabulary }, text, asked),
  gradients: (text, asked) => gradients(network, text.steps, asked, given),
};

export async function ask(model, name, asked) {
  const begin = performance.now();
  const answer = await ANSWERS[name](await read(asked.text), asked);
  return { ...answer, seconds: (performance.now() - begin) / 1000 };
}

// Refuse what the API of a server would.
function check(asked) {
  for (const [name, value] of Object.entries(asked)) {
    const range = given.ranges[name], legal = range?.legal ?? { strategy: "sample or greedy", symbols_per_second: "a number from 0" }[name];
    if (!(name in given.options) && name !== "prompt" && !legal) throw new RequestError(`there is no option ${name}`);
    const inRange = range && typeof value === "number" && value <= range.high && (range.open ? value > range.low : value >= range.low)
      && (!range.whole || Number.isInteger(value));
    const fits = range ? inRange : name === "strategy" ? ["sample", "greedy"].includes(value) : name !== "symbols_per_second" || value >= 0;
    if (!fits) throw new RequestError(`${name} is ${value}; it must be ${legal}`);
  }
}

export async function* generate(model, asked, signal) {
  check(asked);
  const options = { ...given.options, prompt: "", symbols_per_second: 0, ...asked };
  const { max_length, symbols_per_second: pace } = options, begin = performance.now();
  if (max_length > limits.written_symbols) {
    throw new RequestError(`max_length is ${max_length.toLocaleString("en")}; this page writes at most ${counted(limits.written_symbols, "symbol")}`);
  }
  const forbidden = new Set(options.allow_unk ? given.unwritten : [...given.unwritten, vocabulary.unk]);
  const draw = uniforms(options.seed), writer = vocabulary.pieces(options.prompt);
  let step = (await read(options.prompt)).steps.at(-1) ?? network.before, symbols = 0, reason = "";
  const elapsed = () => (performance.now() - begin) / 1000;
  while (!reason) {
    const due = pace ? Math.ceil(pace * elapsed()) + 1 : Infinity, slice = new Slice();
    let text = "";
    while (!reason && symbols < due && !slice.over()) {
      if (!step.logits.every((logit) => logit < Infinity)) {
        yield { name: "error", data: { error: `the state of ${card.name} is no longer finite, so there is no next symbol` } };
        return;
      }
      const id = choose(shares(step.logits, options, forbidden), options.strategy, draw());
      if (id === vocabulary.eos) {
        reason = "EOS";
      } else {
        text += writer.piece(id);
        symbols += 1;
        if (symbols === max_length) reason = "length";
        else step = network.step(id, step);
      }
    }
    if (!reason && elapsed() > limits.writing_seconds) reason = "time";
    if (reason) text += writer.end();
    if (text) yield { name: "piece", data: { text, symbols } };
    await pause(pace ? TICK : 0);
    signal?.throwIfAborted();
  }
  yield { name: "end", data: { reason, symbols, seconds: elapsed() } };
}

// For the browser's console, as the API of a server is for its clients.
window.unrolled = { models, ask, generate };
