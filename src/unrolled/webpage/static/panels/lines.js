// The chosen units as lines over the text.

import { axis, Chart, mark, TICKS } from "../charts.js";
import { DASHES, lineColours, theme } from "../colours.js";
import { Panel, register } from "../panel.js";

register(class extends Panel {
  static id = "lines";
  static column = "left";
  static html = `<h3></h3><div class="chart"></div>`;

  constructor(pane, root) {
    super(pane, root);
    this.chart = new Chart(this.find(".chart"), (at) => pane.move(at));
  }

  draw() {
    const { lines, heat, symbols: { length: T } } = this.pane.view;
    this.root.hidden = !lines.length || !T;
    this.find("h3").textContent = `Chosen units of the ${this.pane.array().title}`;
    if (this.root.hidden) {
      this.chart.clear();
      return;
    }
    const bounded = this.pane.bounded();
    const values = bounded ? [heat.low, heat.high] : this.pane.peers("lines").filter(({ pane }) => !pane.bounded()).flatMap(({ pane }) => pane.view.lines.flatMap((line) => line.values));
    const least = Math.min(...values), most = Math.max(...values), more = bounded ? 0.05 : 0.05 * (most - least || 1);
    this.range = [least - more, most + more];
    const data = [Array.from({ length: T }, (_, t) => t + 1), ...lines.map((line) => line.values)];
    const key = JSON.stringify([lines.map((line) => line.unit), theme()]);
    this.chart.set(key, data, () => ({
      scales: { x: { time: false }, y: { range: () => this.range } },
      legend: { live: true },
      axes: [axis("symbols read", TICKS), axis("value", { size: 46 })],
      series: [{ label: "after" }, ...lines.map((line, k) => ({
        label: `unit ${line.unit}`, stroke: lineColours()[k], width: 1.8, dash: DASHES[k], points: { show: T < 3 },
      }))],
      hooks: { draw: [(plot) => mark(plot, this.pane.at())] },
    }));
  }

  move() {
    this.chart.plot?.redraw(false);
  }
});
