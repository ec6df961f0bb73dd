// The heat map: an array (T, H), a column a symbol and a row a unit, with a cross where one looks.

import { ink, lineColours, scale } from "./colours.js";
import { visible } from "./symbols.js";

const LEAST_CELL = 3, LARGEST_CELL = 26, LABELLED_CELL = 6.5, LABELS = 18;
const WIDEST = 30000; // pixels of a canvas

export class HeatMap {
  // pick({ at, unit, add }) is called where the map is clicked or moved through with the keys.
  constructor(canvas, pick) {
    this.canvas = canvas;
    this.image = document.createElement("canvas");
    this.pick = pick;
    this.heat = { T: 0, H: 1, low: 0, high: 1 };
    this.bytes = new Uint8Array();
    this.symbols = [];
    this.at = 0;
    this.units = [];
    canvas.addEventListener("click", (event) => {
      const { T, H } = this.heat;
      const unit = Math.min(H - 1, Math.floor(event.offsetY / this.row));
      const at = Math.min(T, Math.floor(event.offsetX / this.cell) + 1);
      if (T) pick({ at, unit, add: event.shiftKey });
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || !this.heat.T) return;
      event.preventDefault();
      const unit = this.units.length ? this.units[0] + step : 0;
      pick({ at: this.at, unit: Math.min(this.heat.H - 1, Math.max(0, unit)), add: false });
    });
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  show(heat, symbols) {
    this.heat = heat;
    this.symbols = symbols;
    this.bytes = Uint8Array.from(atob(heat.data), (c) => c.charCodeAt(0));
    this.render();
  }

  look(at, units) {
    this.at = at;
    this.units = units;
    this.draw();
  }

  value(at, unit) {
    const { H, low, high } = this.heat;
    return low + (this.bytes[(at - 1) * H + unit] / 255) * (high - low);
  }

  // Colour the bytes, one pixel each; needed again only when the bytes or the theme change.
  render() {
    const { T, H, low } = this.heat;
    if (T) {
      this.image.width = T;
      this.image.height = H;
      const context = this.image.getContext("2d");
      const pixels = context.createImageData(T, H);
      const colours = scale(low);
      for (let t = 0; t < T; t++) {
        for (let unit = 0; unit < H; unit++) {
          const [r, g, b] = colours[this.bytes[t * H + unit]];
          const p = 4 * (unit * T + t);
          pixels.data[p] = r;
          pixels.data[p + 1] = g;
          pixels.data[p + 2] = b;
          pixels.data[p + 3] = 255;
        }
      }
      context.putImageData(pixels, 0, 0);
    }
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const { T, H } = this.heat;
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
    this.drawCross(context, width, height);
    this.drawLabels(context, height);
    const before = (this.at - 1) * this.cell, { parentElement: box } = canvas;
    if (before < box.scrollLeft || before > box.scrollLeft + room - this.cell) box.scrollLeft = before - room / 2;
  }

  drawCross(context, width, height) {
    context.lineWidth = 1.5;
    if (this.at) {
      context.strokeStyle = ink("mark");
      context.strokeRect((this.at - 1) * this.cell, 0.75, Math.max(this.cell, 2), height - 1.5);
    }
    const colours = lineColours();
    this.units.forEach((unit, k) => {
      if (unit >= this.heat.H) return;
      context.strokeStyle = colours[k];
      context.strokeRect(0.75, unit * this.row - 0.75, width - 1.5, Math.max(this.row, 2) + 1.5);
    });
  }

  drawLabels(context, height) {
    if (this.cell < LABELLED_CELL) return;
    context.font = `${Math.min(13, 1.5 * this.cell)}px monospace`;
    context.textAlign = "center";
    this.symbols.forEach((symbol, t) => {
      context.fillStyle = t + 1 === this.at ? ink("mark") : ink("soft");
      const shown = visible(symbol.trim() || symbol);
      const room = Math.max(1, Math.floor(this.cell / 8));
      context.fillText([...shown].slice(0, room).join(""), (t + 0.5) * this.cell, height + 14);
    });
  }
}
