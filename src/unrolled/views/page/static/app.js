// The page: what is looked at, and who has to be told when it changes.

import { events, json, of, Refused } from "./api.js";
import { onThemeChange, theme } from "./colours.js";
import { Pane } from "./pane.js";
import { format, parse } from "./state.js";
import { symbolsBefore } from "./symbols.js";
import { Writer } from "./writer.js";

const byId = (id) => document.getElementById(id);
const textField = byId("text");
const choosers = [byId("model-a"), byId("model-b")];
const LINK_PAUSE = 250; // ms; browsers refuse to have the address changed much more often
const SAMPLE = 80; // symbols

let state, panes, writer, cards, linkTimer;

function remembered(value) {
  try {
    if (value !== undefined) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch {
    return null; // storage is switched off; the theme then lasts as long as the page
  }
}

function setTheme(chosen) {
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  byId("theme").textContent = theme() === "dark" ? "Light" : "Dark";
}

function changed() {
  state.options = writer.options();
  clearTimeout(linkTimer);
  linkTimer = setTimeout(() => history.replaceState(null, "", format(state)), LINK_PAUSE);
}

function move(at) {
  state.at = at >= (panes[0].view?.symbols.length ?? 0) ? null : at;
  for (const pane of panes) if (pane.card) pane.moved();
  changed();
}

async function read() {
  state.text = textField.value;
  changed();
  const begin = performance.now();
  await Promise.all(panes.map((pane) => pane.read(state.text)));
  document.documentElement.dataset.milliseconds = (performance.now() - begin).toFixed(1);
}

function tell(pane, view) {
  if (pane !== panes[0]) return;
  const T = view.symbols.length, cost = view.bits.reduce((sum, bits) => sum + bits, 0);
  const parts = [`${T.toLocaleString("en")} symbols`];
  if (T) parts.push(`${(cost / T).toFixed(2)} bits a symbol`);
  if (view.unknown.length) parts.push(`${view.unknown.length} not in the vocabulary, read as UNK`);
  byId("reading").textContent = parts.join(" · ");
}

function useModels() {
  const wrong = [];
  panes.forEach((pane, which) => {
    const { model } = state.panes[which];
    let card = cards.find(({ name }) => name === model);
    if (model && !card) wrong.push(`there is no model ${model} here`);
    if (!card && which === 0) card = cards[0];
    state.panes[which].model = card?.name ?? "";
    choosers[which].value = card?.name ?? "";
    pane.use(card ?? null);
  });
  byId("panes").classList.toggle("two", Boolean(panes[1].card));
  byId("trouble").textContent = wrong.join("; ");
}

// Words of the model's own, so that a page without a link has something to show.
async function sample() {
  let text = "";
  const asked = { max_length: SAMPLE, temperature: 0.7, seed: 1 };
  for await (const { name, data } of events(of(state.panes[0].model, "generate"), asked)) {
    if (name === "piece") text += data.text;
  }
  return text;
}

async function restore() {
  const found = parse(location.hash, writer.names, panes[0].shared.limits.units);
  state.at = found.at;
  found.panes.forEach((pane, which) => Object.assign(state.panes[which], pane));
  writer.setOptions(found.options);
  useModels();
  textField.value = found.text ?? await sample();
  await read();
}

function listen() {
  textField.addEventListener("input", () => {
    state.at = null;
    read();
  });
  document.addEventListener("selectionchange", () => {
    const { view } = panes[0];
    if (document.activeElement !== textField || view?.symbols.join("") !== textField.value) return;
    move(symbolsBefore(view.symbols, textField.selectionStart));
  });
  choosers.forEach((chooser, which) => chooser.addEventListener("change", () => {
    state.panes[which].model = chooser.value;
    useModels();
    read();
  }));
  byId("link").addEventListener("click", async () => {
    history.replaceState(null, "", format(state));
    await navigator.clipboard?.writeText(location.href).catch(() => {});
    byId("link").textContent = "Copied";
    setTimeout(() => { byId("link").textContent = "Copy link"; }, 1500);
  });
  byId("theme").addEventListener("click", () => {
    const other = theme() === "dark" ? "light" : "dark";
    remembered(other);
    setTheme(other);
  });
  addEventListener("hashchange", restore);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") writer.stop();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) writer.start();
  });
}

async function begin() {
  setTheme(remembered());
  onThemeChange(() => setTheme());
  let limits;
  try {
    ({ models: cards, limits } = await json("api/models"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    byId("trouble").textContent = error.message;
    return;
  }
  state = parse("", [], 0);
  for (const chooser of choosers) chooser.append(...cards.map(({ name }) => new Option(name, name)));
  const shared = { limits, at: () => state.at, move, changed, read: tell };
  panes = state.panes.map((part) => new Pane(byId("panes"), shared, part));
  writer = new Writer(byId("write"), {
    text: () => textField.value,
    models: () => panes.filter((pane) => pane.card).map((pane) => pane.card.name),
    take(text) {
      textField.value = text;
      state.at = null;
      read();
    },
    changed,
  });
  writer.form.elements.max_length.max = limits.written_symbols;
  listen();
  await restore();
  document.documentElement.dataset.ready = "yes";
}

begin();
