// Text to symbols, to ids and back, as saved/vocabulary.py and saved/tokenizers do it.

import { counted } from "../static/symbols.js";

const EOS = "EOS", UNK = "UNK", REPLACEMENT = "\ufffd";
const SUGGESTED = 20; // symbols of the text that a suggestion repeats

// White space is what Python takes for it: JavaScript's \s holds U+FEFF, and not U+001C to U+001F and U+0085.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANK = new RegExp(`[${SPACE}]`, "gu"), UNSPACED = new RegExp(`[^${SPACE}]+`, "gu"), WORD = new RegExp(`\\n|[^${SPACE}]+`, "gu");

// The bytes of a code point in UTF-8; a lone surrogate has three, as in Python, where TextEncoder would replace it.
function utf8(symbol) {
  const code = symbol.codePointAt(0);
  if (code < 0x80) return [code];
  const tail = (shift) => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x800) return [0xc0 | (code >> 6), tail(0)];
  if (code < 0x10000) return [0xe0 | (code >> 12), tail(6), tail(0)];
  return [0xf0 | (code >> 18), tail(12), tail(6), tail(0)];
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

// What is written for each symbol as it comes, and what was held back at the end.
const asItIs = () => ({ piece: (symbol) => symbol, end: () => "" });

function spaced() {
  let space = "";
  return {
    piece(symbol) {
      const text = symbol === "" || symbol === "\n" ? symbol : space + symbol;
      if (symbol) space = symbol === "\n" ? "" : " ";
      return text;
    },
    end: () => "",
  };
}

function decoded() {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const bytes = (symbol) => (symbol === REPLACEMENT ? utf8(symbol) : symbol && [parseInt(symbol, 16)]);
  return {
    piece: (symbol) => decoder.decode(Uint8Array.from(bytes(symbol)), { stream: true }),
    end: () => decoder.decode(),
  };
}

const KINDS = {
  characters: { split: (text) => [...text], pieces: asItIs },
  bytes: { split: (text) => [...text].flatMap(utf8).map(hex), pieces: decoded },
  words: { split: (text) => text.match(WORD) ?? [], pieces: spaced },
  symbols: { split: (text) => text.match(UNSPACED) ?? [], pieces: spaced, named: true },
};

export class Vocabulary {
  constructor({ symbols, kind, nfc }) {
    this.kind = KINDS[kind];
    this.nfc = nfc;
    this.symbols = symbols;
    this.eos = symbols.length;
    this.unk = symbols.length + 1;
    this.names = [...symbols, EOS, UNK];
    this.ids = new Map((this.kind.named ? this.names : symbols).map((name, id) => [name, id]));
    this.written = [...symbols, ...(this.kind.named ? [EOS, UNK] : ["", REPLACEMENT])];
  }

  // The symbols of a text as they stand in it, unseen ones included.
  split(text) {
    return this.kind.split(this.nfc ? text.normalize("NFC") : text);
  }

  encode(symbols) {
    return symbols.map((symbol) => this.ids.get(symbol) ?? this.unk);
  }

  // The text of each symbol; joined, the text.
  aligned(symbols) {
    const writer = this.kind.pieces(), pieces = symbols.map((symbol) => writer.piece(symbol));
    if (pieces.length) pieces[pieces.length - 1] += writer.end();
    return pieces;
  }

  // A writer of ids: piece(id) after piece(id), then end().
  pieces() {
    const writer = this.kind.pieces();
    return { piece: (id) => writer.piece(this.written[id]), end: () => writer.end() };
  }

  // A sentence on the symbols of a text that the vocabulary lacks; "" if it has them all.
  unknownNote(text, ids) {
    const unknown = ids.filter((id) => id === this.unk).length;
    if (!unknown) return "";
    const said = `the model does not know ${unknown.toLocaleString("en")} of ${counted(ids.length, "symbol")} and reads ${unknown === 1 ? "it" : "them"} as UNK`;
    const apart = [...text.replace(BLANK, "")];
    if (!this.kind.named || !apart.every((symbol) => this.ids.get(symbol) < this.eos)) return said;
    const meant = apart.slice(0, SUGGESTED).join(" ") + (apart.length > SUGGESTED ? " ..." : "");
    return `${said}; its symbols stand apart: did you mean ${meant.includes("'") ? `"${meant}"` : `'${meant}'`}?`;
  }
}
