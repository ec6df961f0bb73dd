// What a panel is, and the list of those on the page.  A panel is one file in panels/ that registers itself, and one line
// in index.html; docs/serve.md says more.

export const panels = [];

// Add a panel to every pane.  Its class says:
//   id      its name, and the class of its <section>
//   column  "left" or "right", where the window is wide
//   html    what the section holds: constant, because text gets into the page as textContent alone
export function register(panel) {
  panels.push(panel);
}

export class Panel {
  // pane: the model's column, see pane.js; root: the <section> that holds `html`.
  constructor(pane, root) {
    this.pane = pane;
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
  }

  // The text, model or layer is new: request the panel's own data, if any; resolves when it is shown.
  async read() {}

  // pane.view or the theme is new.
  draw() {}

  // Another place in the text is selected, after `at` symbols.
  move(at) {}
}
