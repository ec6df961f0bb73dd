"""Check every language on every short string: recogniser, machine, generator and counts; ten minutes on two cores.

python -m tests.languages.full_proof [LANGUAGE ...]

The recogniser reads every string over the alphabet, of up to 12 symbols for at most four letters, else up to the length
that 25 million strings reach.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np

from unrolled.languages import get, names, task, task_names
from unrolled.languages.self_check import leads_to_an_end
from unrolled.languages.tasks import Strings
from unrolled.saved.vocabulary import EOS

#: Symbols of the longest string, and strings read of one language, at most.
LONGEST, MOST = 12, 25_000_000
#: Strings drawn of each size; they must include all strings of a size that has at most `FEW`.
DRAWN, FEW = 1000, 50
PROCESSES = 2


@dataclass
class Proof:
    """How many strings of up to `longest` symbols were read, how many are in the language, and the faults found."""

    language: str
    letters: int
    longest: int
    read: int
    held: int
    seconds: float
    faults: list[str]

    def row(self):
        cells = (self.language, self.letters, self.longest, f"{self.read:,}", f"{self.held:,}", f"{self.seconds:.0f}")
        return "| " + " | ".join(map(str, cells)) + " |"


def everything():
    """Return every language by name: the registered ones, and the inputs of tasks."""
    inputs = [task(name).inputs for name in task_names()]
    both = [*map(get, names()), *(language for language in inputs if not isinstance(language, Strings))]
    return {language.name: language for language in both}


def longest_within(letters, most=MOST):
    """Return the length up to which an alphabet has at most `most` strings, at most `LONGEST`."""
    return max(n for n in range(LONGEST + 1) if sum(letters**k for k in range(n + 1)) <= most)


def accepted(language, longest, faults):
    """Return the strings that the machine accepts, by length; add legal symbols that no string continues to faults."""
    taken = [set() for _ in range(longest + 1)]
    seen = set()
    waiting = [((), language.start())]
    while waiting:
        string, state = waiting.pop()
        legal = language.legal(state)
        if EOS in legal:
            taken[len(string)].add(string)
        for symbol in legal - {EOS} if len(string) < longest else ():
            following = language.step(state, symbol)
            key = language.key(following)
            if key not in seen and not leads_to_an_end(language, following, 4 * LONGEST):
                faults.append(f"no string continues {string} and {symbol}")
            seen.add(key)
            waiting.append(((*string, symbol), following))
    return taken


def prove(language, longest):
    """Read every string of up to `longest` symbols and compare the parts of the language."""
    began, faults = time.perf_counter(), []
    recognises, taken = language.recognises, accepted(language, longest, faults)
    sizes = {language.length(n): n for n in range(longest + 1) if language.has(n)}
    for length in range(longest + 1):
        held = {string for string in product(language.alphabet, repeat=length) if recognises(string)}
        faults += [f"the recogniser, not the machine, accepts {string}" for string in held - taken[length]]
        faults += [f"the machine, not the recogniser, accepts {string}" for string in taken[length] - held]
        counted = language.count(sizes[length]) if length in sizes else 0
        if counted != len(held):
            faults.append(f"{counted} strings of {length} symbols are counted, {len(held)} are recognised")
    if sorted(language.strings(longest)) != sorted(string for held in taken for string in held):
        faults.append("the strings listed are not those that the machine accepts")
    rng = np.random.default_rng(0)
    for length, n in sizes.items():
        if length <= longest:
            drawn = {language.draw(rng, n) for _ in range(DRAWN)}
            faults += [f"{string} was drawn and is not recognised" for string in drawn - taken[length]]
            if len(taken[length]) <= FEW:
                faults += [f"{string} was not among {DRAWN} draws" for string in taken[length] - drawn]
    letters = len(language.alphabet)
    read = sum(letters**k for k in range(longest + 1))
    seconds = time.perf_counter() - began
    return Proof(language.name, letters, longest, read, sum(map(len, taken)), seconds, faults)


def proof_of(name):
    language = everything()[name]
    return prove(language, longest_within(len(language.alphabet)))


def main(chosen):
    """Print a row for each language; return 1 if any has a fault."""
    wanted = chosen or sorted(everything(), key=lambda name: -len(everything()[name].alphabet))
    print("| language | letters | symbols | strings read | of the language | seconds |\n|---|--:|--:|--:|--:|--:|")
    faults = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        for proof in pool.map(proof_of, wanted):
            print(proof.row(), flush=True)
            faults += [f"{proof.language}: {fault}" for fault in proof.faults]
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
