// Text to symbols, to ids and back, as saved/vocabulary.py and saved/tokenizers do it.

import { counted } from "../static/symbols.js";

const EOS = "EOS", UNK = "UNK", REPLACEMENT = "\ufffd";
const SUGGESTED = 20; // symbols of the text that a suggestion repeats

// White space is what Python takes for it: JavaScript's \s holds U+FEFF, and not U+001C to U+001F and U+0085.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANK = new RegExp(`[${SPACE}]`, "gu"), UNSPACED = new RegExp(`[^${SPACE}]+`, "gu"), WORD = new RegExp(`\\n|[^${SPACE}]+`, "gu");
const UNENDED = new RegExp(`[^${SPACE}]+$`, "u"), STARTS_BLANK = new RegExp(`^[${SPACE}]`, "u");

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

// What is written for each symbol as it comes, after a text that it continues, and what was held back at the end.
const asItIs = () => ({ piece: (symbol) => symbol, end: () => "" });

// Sides: whether no space stands before a symbol, what it writes, and whether none stands behind it.
function spaced(after, split, sides) {
  const last = after.match(UNENDED);
  let space = !last || sides(split(last[0]).at(-1))[2] ? "" : " ";
  return {
    piece(symbol) {
      const [joined, text, joins] = sides(symbol), written = joined ? text : space + text;
      if (text) space = joins ? "" : " ";
      return written;
    },
    end: () => "",
  };
}

const words = (text) => text.match(WORD) ?? [], unspaced = (text) => text.match(UNSPACED) ?? [];
const apart = (symbol) => [symbol === "" || symbol === "\n", symbol, symbol === "\n"];

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

// Words, and punctuation marks with a joiner where no space stands, as in saved/tokenizers/words_and_marks.py.
const JOINER = "\uffed", OF_WORDS = "_\\uffed\\xad\\u200c\\u200d\\p{L}\\p{M}\\p{N}";
const INSIDE = "(?<!\\uffed)['’\\-‐‑](?!\\uffed)|(?<=\\p{Nd})[.,](?=\\p{Nd})";
const SIGN = `[^${SPACE}${OF_WORDS}][\\u{1f3fb}-\\u{1f3ff}\\u{e0020}-\\u{e007f}\\p{M}]*`, FLAG = "[\\u{1f1e6}-\\u{1f1ff}]{2}";
const MARK = `(?<mark>(?<one>${FLAG}|${SIGN}(?:\\u200d${SIGN}){0,9})\\k<one>{0,2})`;
const WORD_OR_MARK = new RegExp(`\\n|[${OF_WORDS}]+(?:(?:${INSIDE})[${OF_WORDS}]+)*|${MARK}`, "gu");
const STARTS_WORD = new RegExp(`^[${OF_WORDS}]`, "u");

function wordsAndMarks(text) {
  return [...text.matchAll(WORD_OR_MARK)].map(({ 0: found, index, groups }) => {
    if (groups.mark === undefined) return found;
    const before = text.slice(Math.max(0, index - 1), index), after = text.slice(index + found.length, index + found.length + 2);
    const joined = before !== "" && !STARTS_BLANK.test(before);
    const joins = joined ? STARTS_WORD.test(after) : after === "" || after[0] === "\n" || !STARTS_BLANK.test(after);
    return (joined ? JOINER : "") + found + (joins ? JOINER : "");
  });
}

function marked(symbol) {
  const joined = symbol.length > 1 && symbol[0] === JOINER, mark = symbol.slice(joined ? 1 : 0);
  if (symbol === "" || symbol === "\n" || STARTS_WORD.test(mark)) return apart(symbol);
  const joins = mark.length > 1 && mark.at(-1) === JOINER;
  return [joined, joins ? mark.slice(0, -1) : mark, joins];
}

const KINDS = {
  characters: { split: (text) => [...text], pieces: asItIs },
  bytes: { split: (text) => [...text].flatMap(utf8).map(hex), pieces: () => decoded((symbol) => [parseInt(symbol, 16)]) },
  words: { split: words, pieces: (after) => spaced(after, words, apart) },
  "words-and-marks": { split: wordsAndMarks, pieces: (after) => spaced(after, wordsAndMarks, marked) },
  symbols: { split: unspaced, pieces: (after) => spaced(after, unspaced, apart), named: true },
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
    const writer = this.kind.pieces(""), pieces = symbols.map((symbol) => writer.piece(symbol));
    if (pieces.length) pieces[pieces.length - 1] += writer.end();
    return pieces;
  }

  // A writer of ids that continue a text: piece(id) after piece(id), then end().
  pieces(after = "") {
    const writer = this.kind.pieces(after);
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
