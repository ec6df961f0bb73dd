// How far back the end of the text depends on its past: gradients against the lag.

import { axis, Chart, TICKS } from "../charts.js";
import { DASHES, lineColours, theme } from "../colours.js";
import { Panel, register } from "../panel.js";
import { Latest } from "../requests.js";

const NAMES = {
  symbols: { x: "|d logit / d x_t|" },
  loss: { h: "|dL / dh_t|", c: "|dL / dc_t|" },
  state: { h: "|dh_T / dh_t|", c: "|dh_T / dc_t|" },
};
const MOST_POWERS = 6;
const FLOOR = 1e-12; // where the axis ends; that of views/gradients.py

// Ticks at powers of ten, not too many of them.
function powers(_, __, least, most) {
  const first = Math.ceil(Math.log10(least) - 1e-9), last = Math.floor(Math.log10(most) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / MOST_POWERS));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, k) => 10 ** (last - k * step)).reverse();
}
const inPowers = (_, ticks) => ticks.map((v) => (v === 1 ? "1" : v.toExponential(0)));

register(class extends Panel {
  static id = "gradients";
  static column = "right";
  static html = `
    <h3>How far back the end depends on its past</h3>
    <label>Gradient of the most likely next symbol, or of the last state
      <select name="of">
        <option value="symbols">its logit, by each symbol</option>
        <option value="loss">its loss, by each state</option>
        <option value="state">the last state, by each state (slow)</option>
      </select></label>
    <div class="chart"></div>
    <p class="note"></p>`;

  constructor(pane, root) {
    super(pane, root);
    this.chart = new Chart(this.find(".chart"));
    this.latest = new Latest(() => this.ask());
    this.find("select").addEventListener("change", () => this.latest.ask());
  }

  read() {
    return this.latest.ask();
  }

  ask() {
    const { pane } = this, { text } = pane, of = this.find("select").value;
    return pane.ask("gradients", { text, layer: pane.state.layer, of }, (answer) => {
      this.answer = { ...answer, of };
      for (const peer of pane.peers("gradients")) peer.draw();
      if (!pane.view) this.draw();
      pane.root.dataset.gradients = text;
    });
  }

  draw() {
    if (!this.answer) return;
    const { gradients, cut, singular, of } = this.answer, lags = gradients[0]?.norms.length ?? 0;
    this.cutBelow = false;
    if (lags > 1) this.drawChart(gradients, of);
    else this.chart.clear();
    const values = Object.entries(singular).map(([gate, value]) => `${gate} ${value.toFixed(2)}`).join(", ");
    const parts = [
      lags > 1 ? "" : "This needs a text of two symbols or more.",
      this.cutBelow ? `Values below ${FLOOR.toExponential(0)} are not shown.` : "",
      cut ? `Only the last ${lags} steps: more would take too long.` : "",
      values && `Largest singular value of W_hh: ${values}.`,
    ];
    this.find(".note").textContent = parts.filter(Boolean).join(" ");
  }

  drawChart(gradients, of) {
    const shown = gradients.map(({ norms }) => norms.map((norm) => (norm > 0 ? norm : null)));
    const alike = this.pane.peers("gradients").filter(({ answer }) => answer?.of === of).flatMap(({ answer }) => answer.gradients);
    const norms = [...gradients, ...alike].flatMap((each) => each.norms).filter((norm) => norm > 0);
    const least = Math.min(...norms), most = Math.max(...norms, 10 * FLOOR);
    this.range = [10 ** Math.floor(Math.log10(Math.max(least, FLOOR)) + 1e-9), 10 ** Math.ceil(Math.log10(most) + 0.02)];
    this.cutBelow = least < FLOOR;
    const key = JSON.stringify([of, gradients.map(({ by }) => by), theme()]);
    this.chart.set(key, [gradients[0].norms.map((_, lag) => lag), ...shown], () => ({
      scales: { x: { time: false }, y: { distr: 3, range: () => this.range } },
      legend: { live: true },
      axes: [axis("lag T − t, symbols", TICKS), axis("norm", { size: 58, splits: powers, values: inPowers, filter: (_, ticks) => ticks })],
      series: [{ label: "lag" }, ...gradients.map(({ by }, k) => ({
        label: NAMES[of][by], stroke: lineColours()[k], width: 2, dash: DASHES[k], value: (_, v) => v?.toPrecision(3) ?? "–",
      }))],
    }));
  }
});
