// Line charts, by uPlot: units over time, and the gradient against the lag.

import { DASHES, ink, lineColours } from "./colours.js";

const { uPlot } = window;
const HEIGHT = 170;
const X = { space: 60, size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] };

const axis = (label, more) => ({
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

// lines: [{ unit, values (T) }]; marked() tells how many symbols are read where one looks.
export function drawUnits(chart, lines, T, range, marked, theme) {
  if (!lines.length || !T) return chart.clear();
  const data = [Array.from({ length: T }, (_, t) => t + 1), ...lines.map((line) => line.values)];
  const key = JSON.stringify([lines.map((line) => line.unit), range, theme]);
  chart.set(key, data, () => ({
    scales: { x: { time: false }, y: range[0] === null ? {} : { range: () => range } },
    legend: { live: true },
    axes: [axis("symbols read", X), axis("value", { size: 46 })],
    series: [{ label: "after" }, ...lines.map((line, k) => ({
      label: `unit ${line.unit}`, stroke: lineColours()[k], width: 1.8, dash: DASHES[k], points: { show: T < 3 },
    }))],
    hooks: { draw: [(plot) => mark(plot, marked())] },
  }));
}

const NAMES = {
  symbols: { x: "|d logit / d x_t|" },
  loss: { h: "|dL / dh_t|", c: "|dL / dc_t|" },
  state: { h: "|dh_T / dh_t|", c: "|dh_T / dc_t|" },
};
const MOST_POWERS = 6;

// Ticks at powers of ten, not too many of them.
function powers(_, __, least, most) {
  const first = Math.ceil(Math.log10(least) - 1e-9), last = Math.floor(Math.log10(most) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / MOST_POWERS));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, k) => 10 ** (last - k * step)).reverse();
}
const inPowers = (_, ticks) => ticks.map((v) => (v === 1 ? "1" : v.toExponential(0)));

// gradients: [{ by, norms }], a norm a lag; of: what they are gradients of.
export function drawGradients(chart, gradients, of, theme) {
  if (!gradients.length || gradients[0].norms.length < 2) return chart.clear();
  const shown = gradients.map(({ norms }) => norms.map((norm) => (norm > 1e-30 ? norm : null)));
  const key = JSON.stringify([of, gradients.map(({ by }) => by), theme]);
  chart.set(key, [gradients[0].norms.map((_, lag) => lag), ...shown], () => ({
    scales: { x: { time: false }, y: { distr: 3 } },
    legend: { live: true },
    axes: [axis("lag T − t, symbols", X), axis("norm", { size: 58, splits: powers, values: inPowers, filter: (_, ticks) => ticks })],
    series: [{ label: "lag" }, ...gradients.map(({ by }, k) => ({
      label: NAMES[of][by], stroke: lineColours()[k], width: 2, dash: DASHES[k], value: (_, v) => v?.toPrecision(3) ?? "–",
    }))],
  }));
}

function mark(plot, at) {
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
