// The units with the largest values at the selected place: of a gate those most open, of a state those most active.

import { Panel, register } from "../panel.js";
import { make } from "../symbols.js";

const SHOWN = 8;

register(class extends Panel {
  static id = "largest";
  static column = "right";
  static html = `<h3>Largest units of the <span class="array"></span> <span class="after"></span></h3><ol class="bars"></ol>
    <p class="note">A click draws a unit; with Shift, one more.</p>`;

  constructor(pane, root) {
    super(pane, root);
    this.rows = Array.from({ length: SHOWN }, () => this.row()); // made once: a button in use keeps the focus
    this.find(".bars").append(...this.rows.map(({ row }) => row));
  }

  row() {
    const row = make("li"), pick = make("button"), track = make("i"), bar = make("b"), number = make("span");
    pick.type = "button";
    pick.addEventListener("click", ({ shiftKey }) => this.pane.pick({ at: this.pane.at(), unit: Number(pick.value), add: shiftKey }));
    track.append(bar);
    row.append(pick, track, number);
    return { row, pick, bar, number };
  }

  move(at) {
    this.root.hidden = !at;
    if (!at) return;
    const { heat: { H, low, high } } = this.pane.view, range = this.pane.range(), reach = Math.max(-range.low, range.high);
    const step = (high - low) / 255, digits = Math.min(2, Math.max(0, Math.floor(-Math.log10(step / 2)))); // the values are those of colours
    const values = Array.from({ length: H }, (_, unit) => [unit, this.pane.value(at, unit)]);
    values.sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
    this.find(".array").textContent = this.pane.array().title;
    this.find(".after").textContent = this.pane.place();
    this.rows.forEach(({ row, pick, bar, number }, k) => {
      row.hidden = k >= H;
      const [unit, value] = values[k] ?? [0, 0];
      pick.value = unit;
      pick.textContent = `unit ${unit}`;
      bar.style.width = `${(100 * Math.abs(value)) / reach}%`;
      const cut = this.pane.bounded() || !value ? "" : { [low]: "≤", [high]: "≥" }[value] ?? ""; // the colours end here
      const shown = cut ? 2 : digits;
      number.textContent = cut + (Number(value.toFixed(shown)) || 0).toFixed(shown); // 0 has no sign
    });
  }
});
