// The text, coloured by one unit or by the cost of each symbol.

import { paintLegend, scale, surprise } from "../colours.js";
import { Panel, register } from "../panel.js";
import { drawText, moveWithKeys, visible } from "../symbols.js";

const MOST_BITS = 10;
const COST = "What a symbol cost: −log₂ of the probability that the model gave it. 0 bits: it was certain; 1 bit: one chance in two; "
  + "10 bits: one in a thousand.";
const AFTER = "The value of the unit after each symbol was read.";
const step = (value, low, high) => Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));

register(class extends Panel {
  static id = "reading";
  static column = "left";
  static html = `
    <h3>The text, coloured by <span class="coloured-by"></span></h3>
    <div class="text" tabindex="0" role="group" aria-label="The text; arrow keys move through it"></div>
    <div class="legend"><span></span><i></i><span></span></div>
    <p class="note meaning"></p>`;

  constructor(pane, root) {
    super(pane, root);
    this.box = this.find(".text");
    this.box.addEventListener("click", (event) => {
      const t = [...this.box.children].indexOf(event.target);
      if (t >= 0) pane.move(t + 1);
    });
    moveWithKeys(this.box, pane);
  }

  draw() {
    const { lines, bits } = this.pane.view;
    this.find(".meaning").textContent = lines.length ? AFTER : COST;
    if (lines.length) this.colourBy(...this.byUnit(lines[0]));
    else this.colourBy("the cost of each symbol", surprise(), bits, 0, MOST_BITS, "0", `${MOST_BITS} bits`, (v) => `${v.toFixed(2)} bits`);
  }

  byUnit({ unit, values }) {
    const { heat } = this.pane.view;
    const alike = this.pane.peers("reading").filter(({ pane }) => !pane.bounded()).flatMap(({ pane }) => pane.view.lines.slice(0, 1));
    const reach = Math.max(...[{ values }, ...alike].flatMap((line) => line.values.map(Math.abs))) || 1; // a unit of zeros
    const [low, high] = this.pane.bounded() ? [heat.low, heat.high] : [heat.low && -reach, reach];
    const name = `unit ${unit} of the ${this.pane.array().title}`;
    return [name, scale(heat.low), values, low, high, low.toPrecision(2), high.toPrecision(2), (v) => v.toFixed(3)];
  }

  colourBy(name, colours, values, low, high, least, most, said) {
    const { symbols, unknown } = this.pane.view;
    this.find(".coloured-by").textContent = name;
    drawText(this.box, symbols, unknown, (t) => colours[step(values[t], low, high)], (t) => `${visible(symbols[t])}: ${said(values[t])}`);
    paintLegend(this.find(".legend"), colours, least, most);
  }

  move(at) {
    [...this.box.children].forEach((span, t) => span.classList.toggle("here", t + 1 === at));
  }
});
