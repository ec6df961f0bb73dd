// Symbols as a reader sees them, the bars of the next symbols, and the coloured text.  Text gets into the page as
// textContent alone, whatever it holds.

import { paint } from "./colours.js";

const VISIBLE = new Map([[" ", "␣"], ["\n", "⏎"], ["\t", "⇥"], ["\r", "␍"], ["", "∅"]]);

const named = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const ORDERS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu; // what would turn the text around it

export function visible(symbol) {
  if (VISIBLE.has(symbol)) return VISIBLE.get(symbol);
  if (/^[\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}]$/u.test(symbol)) return named(symbol);
  return (/^\p{M}/u.test(symbol) ? `◌${symbol}` : symbol).replace(ORDERS, named);
}

export const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const percent = (p) => (p >= 0.0995 ? `${Math.round(100 * p)} %` : `${(100 * p).toFixed(1)} %`);

export function drawBars(list, symbols, probabilities) {
  while (list.children.length > symbols.length) list.lastChild.remove();
  while (list.children.length < symbols.length) {
    const row = make("li");
    const track = make("i");
    track.append(make("b"));
    row.append(make("code"), track, make("span"));
    list.append(row);
  }
  symbols.forEach((symbol, k) => {
    const [name, track, share] = list.children[k].children;
    name.textContent = visible(symbol);
    track.firstChild.style.width = `${100 * probabilities[k]}%`;
    share.textContent = percent(probabilities[k]);
  });
}

// Fill `box` with a span for each symbol, of colour(t), [r, g, b], and with the tooltip title(t).
export function drawText(box, symbols, unknown, colour, title) {
  while (box.children.length > symbols.length) box.lastChild.remove();
  while (box.children.length < symbols.length) box.append(make("span"));
  const unread = new Set(unknown);
  symbols.forEach((symbol, t) => {
    const span = box.children[t];
    const text = symbol === "\n" ? "⏎\n" : symbol.replace(ORDERS, named);
    if (span.textContent !== text) span.textContent = text;
    span.classList.toggle("unknown", unread.has(t));
    span.title = title(t);
    paint(span, colour(t));
  });
}

// Where each symbol ends in its text, in which spaces may stand between two.  One that is not there, such as a part of a
// letter, ends where the one before it does.
export function endsIn(text, symbols) {
  let end = 0;
  return symbols.map((symbol) => {
    const begin = text.indexOf(symbol, end);
    if (symbol && begin >= 0 && !text.slice(end, begin).trim()) end = begin + symbol.length;
    return end;
  });
}

// How many symbols end at or before this place in the text.
export function symbolsBefore(ends, caret) {
  const next = ends.findIndex((end) => end > caret);
  return next < 0 ? ends.length : next;
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

// Move through the text of a pane with the keys.
export function moveWithKeys(element, pane) {
  element.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    pane.move(Math.min(pane.view?.symbols.length ?? 0, Math.max(0, pane.at() + STEPS[event.key])));
  });
}
