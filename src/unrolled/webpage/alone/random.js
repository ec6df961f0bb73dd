// Random numbers: those of numpy.random.default_rng([seed, 0]).random(), one after the other.
// Source: M. O'Neill, "PCG", 2014, and "Developing a seed_seq alternative", 2015; the constants are numpy's.

const WORD = 2 ** 32;

function words(seed) {
  return seed < WORD ? [seed] : [seed % WORD, Math.floor(seed / WORD)];
}

// Multiply what was hashed so far into each new value.
function hasher(constant, factor) {
  return (value) => {
    const mixed = value ^ constant;
    constant = Math.imul(constant, factor);
    const product = Math.imul(mixed, constant);
    return (product ^ (product >>> 16)) >>> 0;
  };
}

function mix(x, y) {
  const mixed = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

// Four 64-bit numbers from a few 32-bit words.
function seeded(entropy) {
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: 4 }, (_, k) => hash(entropy[k] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  }
  const draw = hasher(0x8b51f9dd, 0x58f38ded);
  const drawn = Array.from({ length: 8 }, (_, k) => BigInt(draw(pool[k % 4])));
  return [0, 2, 4, 6].map((k) => drawn[k] | (drawn[k + 1] << 32n));
}

const FACTOR = 0x2360ed051fc65da44385df649fccf645n;
const in64 = (n) => BigInt.asUintN(64, n), in128 = (n) => BigInt.asUintN(128, n);

// A function that returns the next number in [0, 1).
export function uniforms(seed) {
  const [high, low, highStep, lowStep] = seeded([...words(seed), 0]);
  const step = in128((((highStep << 64n) | lowStep) << 1n) | 1n);
  const next = (state) => in128(state * FACTOR + step);
  let state = next(step + ((high << 64n) | low));
  return () => {
    state = next(state);
    const folded = in64((state >> 64n) ^ state), turn = state >> 122n;
    const bits = in64((folded >> turn) | (folded << (64n - turn)));
    return Number(bits >> 11n) / 2 ** 53;
  };
}
