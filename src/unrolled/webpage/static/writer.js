// Text generation: one stream a model; changes to the controls take effect at once.

import { RequestError } from "./requests.js";
import { generate } from "./service.js";
import { counted, make } from "./symbols.js";

const ENDED = { EOS: "the model wrote EOS", length: "length reached", time: "time limit reached" };

// One model's new text.
class Sheet {
  constructor(parent, take) {
    this.root = document.getElementById("written-template").content.firstElementChild.cloneNode(true);
    parent.append(this.root);
    this.box = this.root.querySelector(".text");
    this.note = this.root.querySelector(".note");
    this.button = this.root.querySelector("button");
    this.button.addEventListener("click", () => take(this.prompt + this.text));
  }

  begin(name, prompt) {
    this.root.querySelector("h3").textContent = name;
    this.prompt = prompt;
    this.text = "";
    this.symbols = 0;
    this.node = document.createTextNode("");
    const given = make("span", "given", prompt);
    const fresh = make("span", "fresh");
    fresh.append(this.node);
    this.box.replaceChildren(given, fresh);
  }

  // symbols: how many the text so far has.
  add(text, symbols) {
    const follows = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    this.text += text;
    this.symbols = symbols;
    this.node.appendData(text);
    if (follows) this.box.scrollTop = this.box.scrollHeight;
  }
}

export class Writer {
  // shared: { text(), models(), take(text), changed() }.
  constructor(form, shared) {
    this.form = form;
    this.shared = shared;
    this.sheets = [];
    this.running = new Set();
    this.startButton = form.querySelector("#generate");
    this.stopButton = form.querySelector("#stop");
    this.defaults = this.values();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    form.addEventListener("input", () => this.showValues());
    form.addEventListener("change", () => {
      shared.changed();
      for (const run of this.running) run.again = true, run.control.abort();
    });
    this.stopButton.addEventListener("click", () => this.stop());
    this.showValues();
  }

  fields() {
    return [...this.form.elements].filter((field) => field.name);
  }

  get names() {
    return this.fields().map((field) => field.name);
  }

  values() {
    return Object.fromEntries(this.fields().map((field) => [field.name, field.value]));
  }

  // The options that differ from their defaults, for the link.
  options() {
    return Object.fromEntries(Object.entries(this.values()).filter(([name, value]) => value !== this.defaults[name]));
  }

  setOptions(options) {
    for (const field of this.fields()) {
      field.value = options[field.name] ?? this.defaults[field.name];
      if (!field.value || !field.checkValidity()) field.value = this.defaults[field.name];
    }
    this.showValues();
  }

  showValues() {
    for (const field of this.fields()) {
      const shown = field.parentElement.querySelector(".value");
      if (shown) shown.textContent = field.name === "symbols_per_second" && field.value === "0" ? "no limit" : field.value;
    }
  }

  asked() {
    const values = this.values();
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, name === "strategy" ? value : Number(value)]));
  }

  async start() {
    this.stop();
    if (!this.form.reportValidity()) return;
    const names = this.shared.models(), prompt = this.shared.text();
    const holder = this.form.querySelector("#written");
    while (this.sheets.length > names.length) this.sheets.pop().root.remove();
    while (this.sheets.length < names.length) this.sheets.push(new Sheet(holder, (text) => this.shared.take(text)));
    await Promise.all(names.map((name, k) => this.run(this.sheets[k], name, prompt)));
  }

  stop() {
    for (const run of this.running) run.control.abort();
  }

  async run(sheet, name, prompt) {
    sheet.begin(name, prompt);
    sheet.note.textContent = "generating …";
    const run = { control: new AbortController(), again: false };
    this.running.add(run);
    this.show();
    const begin = performance.now();
    const asked = this.asked();
    let ending;
    do {
      run.again = false;
      run.control = new AbortController();
      Object.assign(asked, this.asked(), { prompt: prompt + sheet.text, seed: this.asked().seed + (sheet.text ? 1 + sheet.symbols : 0) });
      asked.max_length -= sheet.symbols;
      ending = asked.max_length > 0 ? await this.once(sheet, name, asked, run.control.signal) : ENDED.length;
    } while (run.again);
    const seconds = (performance.now() - begin) / 1000;
    sheet.note.textContent = `${counted(sheet.symbols, "symbol")} in ${seconds.toFixed(1)} s: ${ending}`;
    this.running.delete(run);
    this.show();
  }

  // Stream to the end; return why it ended, in words.
  async once(sheet, name, asked, signal) {
    const before = sheet.symbols;
    try {
      for await (const { name: kind, data } of generate(name, asked, signal)) {
        if (kind === "piece") sheet.add(data.text, before + data.symbols);
        else if (kind === "error") return data.error;
        else return ENDED[data.reason];
      }
      return "the server ended the stream";
    } catch (error) {
      if (error.name === "AbortError") return "stopped";
      if (error instanceof RequestError) return error.message;
      return "the connection was lost";
    }
  }

  show() {
    this.stopButton.disabled = !this.running.size;
    this.form.classList.toggle("running", this.running.size > 0);
  }
}
