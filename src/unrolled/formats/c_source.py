"""C source: templates filled in, and arrays and strings as C writes them."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Any

from numpy.typing import NDArray

from unrolled.saved.tokenizers.base import ByteTokenizer
from unrolled.saved.vocabulary import Vocabulary

#: Columns of a line of numbers.
WIDTH = 116

#: What the functions of csrc/math-inl.h take, by type: the constants, and q of expm1(r) = r + r^2 q(r), highest first.
CONSTANTS: dict[str, dict[str, str]] = {
    "float32": {
        "real": "float",
        "bits": "uint32_t",
        "log2_e": "1.44269504f",
        "ln2_high": "0.693145751953125f",
        "ln2_low": "1.428606820309417e-6f",
        "shifter": "12582912.0f",
        "mantissa_bits": "23",
        "one": "0x3f800000u",
        "smallest": "87.33654f",
        "tiny": "1e-30f",
        "tanh_saturates": "9.1f",
        "unit": "1.0f",
        "two": "2.0f",
    },
    "float64": {
        "real": "double",
        "bits": "uint64_t",
        "log2_e": "1.4426950408889634",
        "ln2_high": "6.93147180369123816490e-01",
        "ln2_low": "1.90821492927058770002e-10",
        "shifter": "6755399441055744.0",
        "mantissa_bits": "52",
        "one": "((uint64_t)0x3ff << 52)",
        "smallest": "708.3964",
        "tiny": "1e-290",
        "tanh_saturates": "19.1",
        "unit": "1.0",
        "two": "2.0",
    },
}
_Q = {
    "float32": (
        "0.0013926250831497612f",
        "0.008363232883682618f",
        "0.04166655421298415f",
        "0.16666576666119928f",
        "0.5f",
    ),
    "float64": (
        "2.5100472505694996003e-8",
        "2.7620201591031548792e-7",
        "2.7557268276905696187e-6",
        "0.000024801521057868205199",
        "0.00019841269863171556026",
        "0.0013888888917367080562",
        "0.0083333333333300381973",
        "0.041666666666623820532",
        "0.1666666666666666746",
        "0.5",
    ),
}


def constants(dtype: str) -> dict[str, str]:
    """Return what the templates of the functions name, for one type of numbers."""
    constants, alone = list(_Q[dtype]), len(_Q[dtype]) % 2
    pairs = [f"({a} * r + {b})" for a, b in zip(constants[alone::2], constants[alone + 1 :: 2], strict=True)]
    first, *others = constants[:alone] + pairs
    lines = [f"  net_vec q = {first} * rr + {others[0]};", *(f"  q = q * rr + {each};" for each in others[1:])]
    return CONSTANTS[dtype] | {"q": "\n".join(lines)}


def filled(template: str, **parts: str | int) -> str:
    """Return a template of the folder `c` with its parts in place.

    >>> filled("relu.h").splitlines()[0]
    'NET_INLINE net_vec net_relu(net_vec x) { /* max(0, x) */'
    """
    return Template(files("unrolled.formats").joinpath("c", template).read_text("utf-8")).substitute(parts)


def named(source: str, name: str) -> str:
    """Return source in which the names that begin with net_ begin with another name, also those of macros.

    >>> named("#define NET_BYTES 0 // net_step", "amp"), named("NET_H", "Amp")  # amp.h and Amp.h are two files
    ('#define AMP_BYTES 0 // amp_step', 'Amp_M_H')
    """
    macros = name.upper() if name == name.lower() else f"{name}_M"
    return source.replace("NET_", f"{macros}_").replace("net_", f"{name}_")


def array(name: str, size: str, values: NDArray[Any]) -> str:
    """Return the definition of an array.

    >>> import numpy as np
    >>> print(array("net_b", "net_V", np.array([0.5, -1], np.float32)))
    static const float net_b[net_V] NET_ALIGNED = {
      0.5f, -1.0f
    };
    <BLANKLINE>
    """
    kind = {"float32": "float", "float64": "double", "uint32": "uint32_t"}[values.dtype.name]
    if kind == "uint32_t":
        numbers = [f"0x{word:08x}u" for word in values.ravel().tolist()]
    else:
        numbers = [f"{number}{'f' * (kind == 'float')}" for number in values.ravel().astype(str).tolist()]
    lines, line = [], " "
    for number in numbers:
        if len(line) + len(number) + 2 > WIDTH:
            lines.append(line)
            line = " "
        line += f" {number},"
    lines.append(line.removesuffix(","))
    return f"static const {kind} {name}[{size}] NET_ALIGNED = {{\n" + "\n".join(lines) + "\n};\n"


def strings(name: str, size: str, vocabulary: Vocabulary) -> str:
    """Return the definition of a table of what each symbol writes, and of how many bytes that is: a symbol may be NUL.

    It writes text in UTF-8 or, where a symbol is a byte, that byte.

    >>> print(strings("net", "net_inputs", Vocabulary(["é"], "characters")))
    static const char *const net_symbols[net_inputs] = {
      "\\303\\251",
      "",
      "\\357\\277\\275"
    };
    static const int net_symbol_bytes[net_inputs] = {
      2,
      0,
      3
    };
    <BLANKLINE>
    """
    as_bytes = isinstance(vocabulary.tokenizer, ByteTokenizer)
    written = [vocabulary.decode_bytes([k]) if as_bytes else text.encode() for k, text in enumerate(vocabulary.texts)]
    tables = (("char *const", "symbols", map(quoted, written)), ("int", "symbol_bytes", map(str, map(len, written))))
    return "".join(
        f"static const {kind} {name}_{table}[{size}] = {{\n" + ",\n".join(f"  {each}" for each in values) + "\n};\n"
        for kind, table, values in tables
    )


def quoted(data: bytes) -> str:
    r"""Return bytes as a string of C, in which no octal escape runs into a digit and no trigraph stands.

    >>> print(quoted('a"?\\\n1é'.encode()))
    "a\"\?\\\0121\303\251"
    """
    special = {ord(c): f"\\{c}" for c in '"\\?'}
    return '"' + "".join(special.get(c, chr(c) if 32 <= c < 127 else f"\\{c:03o}") for c in data) + '"'
