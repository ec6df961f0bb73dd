// What the page shows, and the link that restores it: #text=...&a=...&a.array=f&a.units=3,17&temperature=0.8

export function emptyState() {
  return { text: null, at: null, panes: [emptyPane(), emptyPane()], options: {} };
}

export function emptyPane() {
  return { model: "", layer: 0, array: "", units: [] };
}

const whole = (text) => (/^\d{1,9}$/.test(text ?? "") ? Number(text) : null);

export function units(text, most) {
  return [...new Set((text ?? "").split(/[^\d]+/).map(whole).filter((unit) => unit !== null))].slice(0, most);
}

export function parse(hash, optionNames, most) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const state = emptyState();
  state.text = fields.get("text");
  state.at = whole(fields.get("at"));
  ["a", "b"].forEach((side, which) => {
    Object.assign(state.panes[which], {
      model: fields.get(side) ?? "",
      layer: whole(fields.get(`${side}.layer`)) ?? 0,
      array: fields.get(`${side}.array`) ?? "",
      units: units(fields.get(`${side}.units`), most),
    });
  });
  for (const name of optionNames) if (fields.has(name)) state.options[name] = fields.get(name);
  return state;
}

export function format(state) {
  const fields = new URLSearchParams();
  fields.set("text", state.text ?? "");
  if (state.at !== null) fields.set("at", state.at);
  ["a", "b"].forEach((side, which) => {
    const pane = state.panes[which];
    if (!pane.model) return;
    fields.set(side, pane.model);
    if (pane.layer) fields.set(`${side}.layer`, pane.layer);
    if (pane.array) fields.set(`${side}.array`, pane.array);
    if (pane.units.length) fields.set(`${side}.units`, pane.units.join(","));
  });
  for (const [name, value] of Object.entries(state.options)) fields.set(name, value);
  return `#${fields}`;
}
