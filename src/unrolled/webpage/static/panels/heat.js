// The heat map: an array (T, H), one column per symbol and one row per unit, with a cross at the selected place.

import { ink, lineColours, paintLegend, scale } from "../colours.js";
import { Panel, register } from "../panel.js";
import { counted, make, moveWithKeys, visible } from "../symbols.js";

const LEAST_CELL = 3, LARGEST_CELL = 26, LABELLED_CELL = 6.5, LABELS = 18;
const WIDEST = 30000; // pixels of a canvas

register(class extends Panel {
  static id = "heat";
  static column = "left";
  static html = `
    <h3></h3>
    <div class="map">
      <div class="axis" aria-hidden="true"><span>0</span><span>unit</span><span></span></div>
      <div class="scroll"><canvas tabindex="0" role="img"></canvas></div>
    </div>
    <div class="legend"><span></span><i></i><span></span></div>
    <p class="note meaning"></p>
    <p class="note readout" aria-live="polite"></p>`;

  constructor(pane, root) {
    super(pane, root);
    this.canvas = this.find("canvas");
    this.image = document.createElement("canvas");
    this.canvas.addEventListener("click", (event) => {
      const { T, H } = pane.view.heat;
      const unit = Math.min(H - 1, Math.floor(event.offsetY / this.row));
      const at = Math.min(T, Math.floor(event.offsetX / this.cell) + 1);
      if (T) pane.pick({ at, unit, add: event.shiftKey });
    });
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || !pane.view.heat.T) return;
      event.preventDefault();
      const [first] = pane.state.units, unit = first === undefined ? 0 : first + step;
      pane.pick({ at: pane.at(), unit: Math.min(pane.view.heat.H - 1, Math.max(0, unit)), add: false });
    });
    moveWithKeys(this.canvas, pane);
    new ResizeObserver(() => this.drawMap()).observe(this.canvas.parentElement);
  }

  draw() {
    const { heat, symbols } = this.pane.view, { title } = this.pane.array();
    this.find("h3").textContent = `${title[0].toUpperCase()}${title.slice(1)}, every unit`;
    this.find(".axis").lastElementChild.textContent = heat.H - 1;
    const { low, high } = this.pane.range();
    const ends = [low, high].map((end, k) => `${this.pane.bounded() || !end ? "" : "≤≥"[k]}${end.toPrecision(2)}`);
    paintLegend(this.find(".legend"), scale(low), ...ends);
    this.find(".meaning").textContent = low < 0 ? "Orange is below 0, purple above." : "0 is shut, 1 is open.";
    if (!low && !this.pane.bounded()) this.find(".meaning").textContent = "Brighter is larger.";
    this.canvas.setAttribute("aria-label", `Heat map of the ${title}: ${counted(symbols.length, "symbol")} by ${counted(heat.H, "unit")}. `
      + "Arrow keys move; up and down pick a unit.");
    this.render();
  }

  move(at) {
    this.drawMap();
    this.find(".readout").replaceChildren(...this.readout(at));
  }

  readout(at) {
    if (!at) return [make("span", "", "Click or use the arrow keys to pick a place; hold Shift to add a unit.")];
    const { symbols, bits, lines } = this.pane.view;
    const parts = [make("span", "", `Symbol ${at} of ${symbols.length}, “${visible(symbols[at - 1])}”, cost ${bits[at - 1].toFixed(2)} bits. `)];
    lines.forEach(({ unit, values }, k) => {
      const part = make("span", "unit", `Unit ${unit}: ${values[at - 1].toFixed(3)}`);
      part.style.borderColor = lineColours()[k];
      parts.push(part, " ");
    });
    return parts;
  }

  // Colour the bytes, one pixel each; needed again only when the bytes or the theme change.
  render() {
    const { T, H, low, high, bytes } = this.pane.view.heat, range = this.pane.range();
    if (!T) return;
    this.image.width = T;
    this.image.height = H;
    const context = this.image.getContext("2d");
    const pixels = context.createImageData(T, H);
    const all = scale(range.low), step = (high - low) / (range.high - range.low), first = (255 * (low - range.low)) / (range.high - range.low);
    const colours = Array.from({ length: 256 }, (_, byte) => all[Math.round(first + byte * step)]);
    for (let t = 0; t < T; t++) {
      for (let unit = 0; unit < H; unit++) {
        const [r, g, b] = colours[bytes[t * H + unit]];
        const p = 4 * (unit * T + t);
        pixels.data[p] = r;
        pixels.data[p + 1] = g;
        pixels.data[p + 2] = b;
        pixels.data[p + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  drawMap() {
    if (!this.pane.view) return;
    const { canvas } = this;
    const { T, H } = this.pane.view.heat, at = this.pane.at();
    const room = canvas.parentElement.clientWidth;
    const height = Math.min(288, Math.max(96, 8 * H));
    const ratio = Math.min(devicePixelRatio, Math.max(1, WIDEST / (LEAST_CELL * T)));
    this.cell = Math.min(LARGEST_CELL, Math.max(LEAST_CELL, room / Math.max(1, T)));
    this.row = height / H;
    const width = Math.max(1, this.cell * T);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round((height + LABELS) * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height + LABELS}px`;
    if (!T) return;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.image, 0, 0, width, height);
    this.drawCross(context, at, width, height);
    this.drawLabels(context, at, height);
    const before = (at - 1) * this.cell, { parentElement: box } = canvas;
    if (before < box.scrollLeft || before > box.scrollLeft + room - this.cell) box.scrollLeft = before - room / 2;
  }

  drawCross(context, at, width, height) {
    context.lineWidth = 1.5;
    if (at) {
      context.strokeStyle = ink("mark");
      context.strokeRect((at - 1) * this.cell, 0.75, Math.max(this.cell, 2), height - 1.5);
    }
    const colours = lineColours();
    this.pane.state.units.forEach((unit, k) => {
      if (unit >= this.pane.view.heat.H) return;
      context.strokeStyle = colours[k];
      context.strokeRect(0.75, unit * this.row - 0.75, width - 1.5, Math.max(this.row, 2) + 1.5);
    });
  }

  drawLabels(context, at, height) {
    if (this.cell < LABELLED_CELL) return;
    context.font = `${Math.min(13, 1.5 * this.cell)}px monospace`;
    context.textAlign = "center";
    this.pane.view.symbols.forEach((symbol, t) => {
      context.fillStyle = t + 1 === at ? ink("mark") : ink("soft");
      const shown = visible(symbol.trim() || symbol);
      const room = Math.max(1, Math.floor(this.cell / 8));
      context.fillText([...shown].slice(0, room).join(""), (t + 0.5) * this.cell, height + 14);
    });
  }
});
