// The likeliest next symbols at the selected place.

import { Panel, register } from "../panel.js";
import { drawBars } from "../symbols.js";

register(class extends Panel {
  static id = "next";
  static column = "right";
  static html = `<h3>What comes next <span class="after"></span></h3><ol class="bars"></ol>`;

  move(at) {
    const { next } = this.pane.view;
    drawBars(this.find(".bars"), next.symbols[at], next.probabilities[at]);
    this.find(".after").textContent = this.pane.place();
  }
});
