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

function decoded(bytes) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    piece: (symbol) => decoder.decode(Uint8Array.from(symbol === REPLACEMENT ? utf8(symbol) : symbol && bytes(symbol)), { stream: true }),
    end: () => decoder.decode(),
  };
}

// Byte pairs: a byte is a visible character, as in saved/tokenizers/pairs.py, and symbols are runs of them.
const SPACES = "\\t\\x0b-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"; // without the line end
const LETTER = "\\p{L}\\p{M}", PUNCTUATION = `[^${SPACES}\\n${LETTER}\\p{N}]`;
const PRETOKEN = new RegExp(
  `\\n|'(?:[stmd]|re|ve|ll)| ?[${LETTER}]{1,64}| ?\\p{N}{1,3}| ?${PUNCTUATION}{1,64}|[${SPACES}]{1,64}(?![^${SPACES}\\n])|[${SPACES}]{1,64}`,
  "gu",
);
const isVisible = (byte) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
const LETTERS = [], BYTES = new Map();
for (let byte = 0, hidden = 0; byte < 256; byte++) {
  LETTERS.push(String.fromCharCode(isVisible(byte) ? byte : 256 + hidden++));
  BYTES.set(LETTERS[byte], byte);
}

// The symbols of a pre-token: the pair of the lowest id is joined, until no pair has one.
function joined(pretoken, ids) {
  const parts = [...pretoken].flatMap(utf8).map((byte) => LETTERS[byte]);
  for (;;) {
    let lowest = Infinity, place = -1;
    for (let k = 0; k + 1 < parts.length; k++) {
      const id = ids.get(parts[k] + parts[k + 1]) ?? Infinity;
      if (id < lowest) [lowest, place] = [id, k];
    }
    if (place < 0) return parts;
    parts.splice(place, 2, parts[place] + parts[place + 1]);
  }
}

const KINDS = {
  characters: { split: (text) => [...text], pieces: asItIs },
  bytes: { split: (text) => [...text].flatMap(utf8).map(hex), pieces: () => decoded((symbol) => [parseInt(symbol, 16)]) },
  words: { split: (text) => text.match(WORD) ?? [], pieces: spaced },
  symbols: { split: (text) => text.match(UNSPACED) ?? [], pieces: spaced, named: true },
  bpe: {
    split: (text, ids) => (text.match(PRETOKEN) ?? []).flatMap((pretoken) => joined(pretoken, ids)),
    pieces: () => decoded((symbol) => [...symbol].map((letter) => BYTES.get(letter))),
  },
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
    return this.kind.split(this.nfc ? text.normalize("NFC") : text, this.ids);
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
