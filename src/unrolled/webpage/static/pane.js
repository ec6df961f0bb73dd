// One model's column: its header, its panels, and what they show, pane.view.

import { onThemeChange } from "./colours.js";
import { panels } from "./panel.js";
import { Latest, RequestError } from "./requests.js";
import { ask } from "./service.js";
import { units } from "./state.js";
import { endsIn, make, visible } from "./symbols.js";

const inThousands = (n) => n.toLocaleString("en");

export class Pane {
  // shared: { limits, panes(), at(pane), move(at, pane), changed(), read(pane, view) }; state: this pane's part of what the link holds.
  constructor(parent, shared, state) {
    this.shared = shared;
    this.state = state;
    this.card = null;
    this.view = null;
    this.text = "";
    this.root = document.getElementById("pane-template").content.firstElementChild.cloneNode(true);
    parent.append(this.root);
    this.find = (selector) => this.root.querySelector(selector);
    this.trouble = this.find(".trouble");
    this.troubles = new Map(); // of each kind of question, what the last one met
    this.fields = Object.fromEntries([...this.root.querySelectorAll("[name]")].map((field) => [field.name, field]));
    this.panels = panels.map((Panel) => {
      const section = make("section", Panel.id);
      section.innerHTML = Panel.html;
      this.find(`.${Panel.column}`).append(section);
      return new Panel(this, section);
    });
    this.looking = new Latest(() => this.look());
    this.listen();
    onThemeChange(() => this.draw());
  }

  listen() {
    const { array, layer, units: field } = this.fields;
    const set = (name, value) => {
      this.state[name] = value;
      this.shared.changed();
      this.looking.ask();
    };
    array.addEventListener("change", () => set("array", array.value));
    layer.addEventListener("change", () => {
      set("layer", Number(layer.value));
      this.readPanels();
    });
    field.addEventListener("change", () => {
      set("units", units(field.value, this.shared.limits.units).filter((unit) => unit < this.card.H));
      this.showUnits();
    });
  }

  use(card) {
    this.card = card;
    this.root.hidden = !card;
    if (!card) return;
    const { state } = this;
    if (!card.arrays.some(({ name }) => name === state.array)) state.array = card.arrays.at(-1).name;
    state.layer = Math.min(state.layer, card.L - 1);
    state.units = state.units.filter((unit) => unit < card.H);
    this.find("h2").textContent = card.name;
    const layers = card.L > 1 ? ` · ${card.L} layers` : "";
    this.find(".about").textContent = `${card.kind} · H ${card.H}${layers} · V ${inThousands(card.V)} ${card.symbols} · ${inThousands(card.parameters)} parameters`;
    const { array, layer } = this.fields;
    array.replaceChildren(...card.arrays.map(({ name, title }) => new Option(title, name, false, name === state.array)));
    layer.replaceChildren(...Array.from({ length: card.L }, (_, k) => new Option(k, k, false, k === state.layer)));
    this.find(".layer").hidden = card.L === 1;
    this.showUnits();
  }

  showUnits() {
    this.fields.units.value = this.state.units.join(", ");
  }

  // Read a text; resolves when every panel shows it.
  async read(text) {
    this.text = text;
    if (this.card) await Promise.all([this.looking.ask(), this.readPanels()]);
  }

  readPanels() {
    return Promise.all(this.panels.map((panel) => panel.read()));
  }

  async look() {
    const { state, text } = this;
    await this.ask("view", { text, layer: state.layer, array: state.array, units: state.units }, (view) => {
      this.view = { ...view, ends: endsIn(text, view.symbols) };
      for (const pane of this.shared.panes()) pane.draw(); // panes share their scales
      this.root.dataset.shown = text;
      this.shared.read(this, view);
    });
  }

  // Ask about this pane's model; show(answer) is called unless another model was chosen meanwhile.
  async ask(name, asked, show) {
    const { card } = this;
    try {
      const answer = await ask(card.name, name, asked);
      if (card !== this.card) return;
      this.troubles.delete(name);
      show(answer);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.troubles.set(name, error.message);
    }
    this.trouble.textContent = [...new Set(this.troubles.values())].join("; ");
  }

  draw() {
    if (!this.view) return;
    for (const panel of this.panels) panel.draw();
    this.moved();
  }

  // Another place in the text was selected.
  moved() {
    if (!this.view) return;
    for (const panel of this.panels) panel.move(this.at());
  }

  // For panels: the selected place, in symbols read and in words; select a place; pick a unit.

  at() {
    return Math.min(this.shared.at(this) ?? Infinity, this.view?.symbols.length ?? 0);
  }

  place() {
    const at = this.at();
    return at ? `after “${visible(this.view.symbols[at - 1])}”` : "at the start of a text";
  }

  move(at) {
    this.shared.move(at, this);
  }

  pick({ at, unit, add }) {
    const { state } = this;
    const others = add ? state.units.filter((each) => each !== unit) : [];
    state.units = [unit, ...others].slice(0, this.shared.limits.units);
    this.showUnits();
    this.move(at);
    this.looking.ask();
  }

  // For panels: the gate or state that is shown, whether it has bounds, and the value of a unit after `at` symbols.

  array() {
    return this.card.arrays.find(({ name }) => name === this.state.array);
  }

  bounded() {
    return this.array().high !== null;
  }

  // The range of the colours and axes: that of the array; without bounds, the widest of those that are shown.
  range() {
    const { low, high } = this.view.heat;
    if (this.bounded()) return { low, high };
    const alike = this.shared.panes().filter((pane) => !pane.bounded() && pane.view.heat.low < 0 === low < 0).map((pane) => pane.view.heat);
    return { low: Math.min(low, ...alike.map((heat) => heat.low)), high: Math.max(high, ...alike.map((heat) => heat.high)) };
  }

  // The panels of a kind in all panes, this one's too.
  peers(id) {
    return this.shared.panes().flatMap((pane) => pane.panels.filter((panel) => panel.constructor.id === id));
  }

  value(at, unit) {
    const { H, low, high, bytes } = this.view.heat;
    return low + (bytes[(at - 1) * H + unit] / 255) * (high - low);
  }
}
