// A line chart, by uPlot.

import { ink } from "./colours.js";

const { uPlot } = window;
const HEIGHT = 170;
export const TICKS = { space: 60, size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] };

export const axis = (label, more) => ({
  label, stroke: ink("soft"), grid: { stroke: ink("rule"), width: 1 }, ticks: { stroke: ink("rule"), width: 1 },
  font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18, labelGap: 0, ...more,
});

export class Chart {
  // click(x) is called with the value of x that was clicked.
  constructor(box, click) {
    this.box = box;
    this.click = click;
    this.plot = null;
    this.key = "";
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
  }

  size() {
    return { width: Math.max(200, this.box.clientWidth), height: HEIGHT };
  }

  // The chart is made anew only when what it consists of changes; new numbers alone are set.
  set(key, data, options) {
    if (this.plot && this.key === key) {
      this.plot.setData(data);
      return;
    }
    this.clear();
    this.key = key;
    this.plot = new uPlot({ ...this.size(), ...options() }, data, this.box);
    this.plot.over.addEventListener("click", () => {
      const k = this.plot.cursor.idx;
      if (k !== null && this.click) this.click(this.plot.data[0][k]);
    });
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.key = "";
  }
}

// Draw a vertical line where `at` symbols are read.
export function mark(plot, at) {
  if (!at) return;
  const x = Math.round(plot.valToPos(at, "x", true));
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ink("mark");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}
