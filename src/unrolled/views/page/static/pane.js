// One model's column: what it does while it reads the text.

import { json, Latest, of, Refused } from "./api.js";
import { Chart, drawGradients, drawUnits } from "./charts.js";
import { lineColours, onThemeChange, paintLegend, scale, surprise, theme } from "./colours.js";
import { HeatMap } from "./heatmap.js";
import { units } from "./state.js";
import { drawBars, drawText, make, moveWithKeys, visible } from "./symbols.js";

const MOST_BITS = 10;
const inThousands = (n) => n.toLocaleString("en");

export class Pane {
  // shared: { limits, at(), move(at), changed() }; state: this pane's part of what the link holds.
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
    this.textBox = this.find(".reading .text");
    this.map = new HeatMap(this.find("canvas"), (where) => this.pick(where));
    this.lines = new Chart(this.find(".lines .chart"), (at) => shared.move(at));
    this.gradients = new Chart(this.find(".gradients .chart"));
    this.looking = new Latest(() => this.look());
    this.reaching = new Latest(() => this.reach());
    this.listen();
    onThemeChange(() => this.redraw());
  }

  listen() {
    const { array, layer, of: kind, units: unitsField } = this.fields();
    const set = (change) => {
      change();
      this.shared.changed();
      this.looking.ask();
    };
    array.addEventListener("change", () => set(() => { this.state.array = array.value; }));
    layer.addEventListener("change", () => {
      set(() => { this.state.layer = Number(layer.value); });
      this.reaching.ask();
    });
    unitsField.addEventListener("change", () => set(() => {
      this.state.units = units(unitsField.value, this.shared.limits.units).filter((unit) => unit < this.card.H);
      this.showUnits();
    }));
    kind.addEventListener("change", () => this.reaching.ask());
    this.textBox.addEventListener("click", (event) => {
      const t = [...this.textBox.children].indexOf(event.target);
      if (t >= 0) this.shared.move(t + 1);
    });
    const length = () => this.view?.symbols.length ?? 0;
    for (const element of [this.textBox, this.map.canvas]) {
      moveWithKeys(element, () => this.at(), length, (at) => this.shared.move(at));
    }
  }

  fields() {
    return Object.fromEntries([...this.root.querySelectorAll("[name]")].map((field) => [field.name, field]));
  }

  use(card) {
    this.card = card;
    this.root.hidden = !card;
    if (!card) return;
    const state = this.state;
    if (!card.arrays.some(({ name }) => name === state.array)) state.array = card.arrays.at(-1).name;
    state.layer = Math.min(state.layer, card.L - 1);
    state.units = state.units.filter((unit) => unit < card.H);
    this.find("h2").textContent = card.name;
    const layers = card.L > 1 ? ` · ${card.L} layers` : "";
    this.find(".about").textContent = `${card.kind} · H ${card.H}${layers} · V ${inThousands(card.V)} ${card.symbols} · ${inThousands(card.parameters)} parameters`;
    const { array, layer } = this.fields();
    array.replaceChildren(...card.arrays.map(({ name, title }) => new Option(title, name, false, name === state.array)));
    layer.replaceChildren(...Array.from({ length: card.L }, (_, k) => new Option(k, k, false, k === state.layer)));
    this.find(".layer").hidden = card.L === 1;
    this.showUnits();
  }

  showUnits() {
    this.fields().units.value = this.state.units.join(", ");
  }

  // Read a text; resolves when every picture shows it.
  async read(text) {
    this.text = text;
    if (this.card) await Promise.all([this.looking.ask(), this.reaching.ask()]);
  }

  async look() {
    const { card, state, text } = this;
    const asked = { text, layer: state.layer, array: state.array, units: state.units };
    await this.answered("view", asked, (view) => {
      this.view = view;
      this.map.show(view.heat, view.symbols);
      this.redraw();
      this.root.dataset.shown = text;
      this.shared.read(this, view);
    }, card);
  }

  async reach() {
    const { card, state, text } = this;
    const kind = this.fields().of.value;
    await this.answered("gradients", { text, layer: state.layer, of: kind }, (answer) => {
      this.reached = { ...answer, of: kind };
      this.drawReach();
      this.root.dataset.reached = text;
    }, card);
  }

  async answered(question, asked, show, card) {
    try {
      const answer = await json(of(card.name, question), asked);
      if (card !== this.card) return;
      this.trouble.textContent = "";
      show(answer);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.trouble.textContent = error.message;
    }
  }

  pick({ at, unit, add }) {
    const { state } = this;
    const others = add ? state.units.filter((each) => each !== unit) : [];
    state.units = [unit, ...others].slice(0, this.shared.limits.units);
    this.showUnits();
    this.shared.move(at);
    this.looking.ask();
  }

  array() {
    return this.card.arrays.find(({ name }) => name === this.state.array);
  }

  bounded() {
    return this.array().high !== null;
  }

  at() {
    return Math.min(this.shared.at() ?? Infinity, this.view?.symbols.length ?? 0);
  }

  redraw() {
    if (!this.view) return;
    const { title } = this.array();
    this.find(".heat h3").textContent = `${title[0].toUpperCase()}${title.slice(1)}, every unit`;
    const { heat } = this.view;
    this.find(".axis").lastElementChild.textContent = heat.H - 1;
    const ends = [heat.low, heat.high].map((end, k) => `${this.bounded() || !end ? "" : "≤≥"[k]}${end.toPrecision(2)}`);
    paintLegend(this.find(".heat .legend"), scale(heat.low), ...ends);
    this.map.render();
    this.drawLines(title);
    this.drawReading(title);
    this.drawReach();
    this.moved();
  }

  drawLines(title) {
    const { lines, heat, symbols } = this.view;
    const range = this.bounded() ? [heat.low - 0.05, heat.high + 0.05] : [null, null];
    this.find(".lines").hidden = !lines.length || !symbols.length;
    this.find(".lines h3").textContent = `Chosen units of the ${title}`;
    drawUnits(this.lines, lines, symbols.length, range, () => this.at(), theme());
  }

  drawReading(title) {
    const { symbols, unknown, bits, lines, heat } = this.view;
    const legend = this.find(".reading .legend");
    const span = (value, low, high) => Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
    if (lines.length) {
      const [{ unit, values }] = lines, colours = scale(heat.low);
      const reach = Math.max(...values.map(Math.abs));
      const [low, high] = this.bounded() ? [heat.low, heat.high] : [heat.low && -reach, reach];
      this.find(".coloured-by").textContent = `unit ${unit} of the ${title}`;
      drawText(this.textBox, symbols, unknown, (t) => colours[span(values[t], low, high)],
        (t) => `${visible(symbols[t])}: ${values[t].toFixed(3)}`);
      paintLegend(legend, colours, low.toPrecision(2), high.toPrecision(2));
    } else {
      const colours = surprise();
      this.find(".coloured-by").textContent = "what each symbol costs";
      drawText(this.textBox, symbols, unknown, (t) => colours[span(bits[t], 0, MOST_BITS)],
        (t) => `${visible(symbols[t])}: ${bits[t].toFixed(2)} bits`);
      paintLegend(legend, colours, "0", `${MOST_BITS} bits`);
    }
  }

  drawReach() {
    if (!this.reached) return;
    const { gradients, cut, singular, of: kind } = this.reached;
    drawGradients(this.gradients, gradients, kind, theme());
    const values = Object.entries(singular).map(([gate, value]) => `${gate} ${value.toFixed(2)}`).join(", ");
    const parts = [
      gradients.length && gradients[0].norms.length > 1 ? "" : "A text of two symbols or more shows it.",
      cut ? `Only the last ${gradients[0].norms.length} steps: more would take too long.` : "",
      values && `Largest singular value of W_hh: ${values}.`,
    ];
    this.find(".gradients .note").textContent = parts.filter(Boolean).join(" ");
  }

  // Show another place in the text that was read.
  moved() {
    if (!this.view) return;
    const at = this.at(), { symbols, next, bits } = this.view;
    [...this.textBox.children].forEach((span, t) => span.classList.toggle("here", t + 1 === at));
    this.map.look(at, this.state.units);
    this.lines.plot?.redraw(false);
    drawBars(this.find(".bars"), next.symbols[at], next.probabilities[at]);
    this.find(".after").textContent = at ? `after “${visible(symbols[at - 1])}”` : "at the start of a text";
    this.find(".readout").replaceChildren(...this.readout(at, symbols, bits));
    const { title } = this.array();
    this.map.canvas.setAttribute("aria-label", `Heat map of the ${title}: ${symbols.length} symbols by ${this.card.H} units. `
      + "Arrow keys move; up and down pick a unit.");
  }

  readout(at, symbols, bits) {
    if (!at) return [make("span", "", "Pick a place with a click or the arrow keys; with Shift, one more unit.")];
    const parts = [make("span", "", `Symbol ${at} of ${symbols.length}, “${visible(symbols[at - 1])}”, cost ${bits[at - 1].toFixed(2)} bits. `)];
    this.view.lines.forEach(({ unit, values }, k) => {
      const part = make("span", "unit", `Unit ${unit}: ${values[at - 1].toFixed(3)}`);
      part.style.borderColor = lineColours()[k];
      parts.push(part, " ");
    });
    return parts;
  }
}
