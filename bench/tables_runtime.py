"""The tables of what runs a trained network: the runtime, and the header in C."""

from __future__ import annotations

from tables import Found, markdown, number

#: H of the single steps that the README shows.
SHOWN_WAYS = (64,)
#: Times that 64 streams of H 128 and the scores of many lines were to be faster, and how long a load may take.
ASKED_STREAMS, ASKED_SCORES, LOAD = 8, 20, "20 ms"
#: How many more bits per symbol int8 may take.
ASKED_OF_BITS = 0.005
#: Symbols a second that a page was to read and write.
ASKED_OF_PAGE = 1_000
#: Bytes of the caches of a core, of the machine that the limits were measured on.
L1, L2 = 48 << 10, 1 << 20


def of_what(found: Found, what: str) -> list[Found]:
    """The rows of one part of runtime.json."""
    return [row for row in found["rows"] if row["what"] == what]


def reading(size: int, layers: Found | None) -> str:
    """The microseconds in which one core reads this many bytes from the cache that holds them."""
    if not (layers and layers.get("limits")):
        return "missing"
    rate = layers["limits"]["read_gb_s"]["L1" if size <= L1 else "L2" if size <= L2 else "L3"]["1"]
    return number(size / rate / 1e3)


def runtime_steps(found: Found, layers: Found | None) -> str:
    """One step from Python with its state, one after the other and after pauses, beside the floor of its reading."""
    peers = ("ONNX Runtime", "torch cell")
    lines = []
    for row in of_what(found, "step"):
        line: list[object] = [row["cell"], row["H"], row["weights"], reading(row["bytes"], layers)]
        for us in (row["us"], row["us_after_pause"]):
            line.append(number(us["unrolled"]))
            line += [f"{us[peer] / us['unrolled']:.1f}" if peer in us else "missing" for peer in peers]
        lines.append(line)
    head = "|".join(f">{when}, us|>x ONNX Runtime|>x torch cell" for when in ("steady", "after a pause"))
    return markdown(f"cell|>H|weights|>to read them, us|{head}", lines)


def ways(found: Found, in_c: Found | None) -> str:
    """The README's: one step from Python of this runtime and of others, and one in C by the header's best compiler."""
    header: dict[tuple[str, int], list[str]] = {}
    for row in in_c["rows"] if in_c else []:
        own = [ns for way, ns in row["ns"].items() if way.endswith(" native")]
        if row["weights"] == "float32" and own:
            header[row["cell"], row["H"]] = [number(ns) for ns in (min(own), row["ns"].get("RTNeural")) if ns]
    lines = []
    for row in of_what(found, "step"):
        if row["H"] in SHOWN_WAYS:
            us = [row["us"].get(way) for way in ("unrolled", "ONNX Runtime", "torch cell")]
            c = [*header.get((row["cell"], row["H"]), []), "missing", "missing"][:2]
            lines.append([row["cell"], row["H"], *("missing" if each is None else number(each) for each in us), *c])
    return markdown("cell|>H|>the runtime, us|>ONNX Runtime|>torch|>the C header, ns|>RTNeural", lines)


def small_weights(found: Found) -> str:
    """Bits per character with weights of each type."""
    lines = [
        [row["cell"].upper(), row["H"], row["steps"], *(f"{bits:.4f}" for bits in row["bits"].values()),
         *(f"{more:+.2%}" for more in row["more"].values()), f"{ASKED_OF_BITS:+.1%}"]
        for row in found["rows"]
    ]  # fmt: skip
    kinds = "|".join(f">{stored}" for stored in found["rows"][0]["bits"])
    more = "|".join(f">{stored}, more" for stored in found["rows"][0]["more"])
    return markdown(f"cell|>H|>steps|{kinds}|{more}|>aim of int8", lines)


def runtime_weights(found: Found) -> str:
    """One step on weights of each type."""
    lines = [
        [row["cell"], row["H"], *(number(us) for us in row["us"].values()),
         *(f"{ratio:.2f}" for ratio in row["ratio"].values()), 2]
        for row in of_what(found, "weights")
    ]  # fmt: skip
    return markdown(
        "cell|>H|>float32, us|>bfloat16|>int8|>bfloat16, times faster|>int8, times faster|>aim of int8", lines
    )


def at_most(seconds: float, row: Found, layers: Found | None) -> str:
    """How many times faster a row could be than this time, on one core that only does its multiply-adds."""
    if not (layers and layers.get("limits")):
        return "missing"
    least = 2 * row["multiply_adds"] / layers["limits"]["multiply_add_gflops"]["1"] / 1e9
    return f"{seconds / least:.1f}"


def runtime_many(found: Found, layers: Found | None) -> str:
    """Many streams, threads, sequences and texts at a time, and loading; the aims, and what a core could do."""
    lines: list[list[object]] = []
    for row in of_what(found, "streams"):
        what = f"{row['B']} streams of {row['cell']} {row['H']}, a step of each"
        both = (f"{number(row['us'][how])} us" for how in ("alone", "together"))
        aim = ASKED_STREAMS if (row["B"], row["H"]) == (64, 128) else ""
        lines.append([what, *both, f"{row['ratio']:.1f}", aim, at_most(row["us"]["alone"] / 1e6, row, layers)])
    for row in of_what(found, "threads"):
        rows = "1 row" if row["B"] == 1 else f"{row['B']} rows"
        what = f"two threads beside one, {row['cell']} {row['H']}, {rows} each, {row['where']}; a step served"
        lines.append([what, *(f"{number(row['us'][how])} us" for how in ("one", "two")), f"{row['ratio']:.2f}", 2, ""])
    for row in of_what(found, "feed"):
        what = f"{row['T']:,} symbols through {row['cell']} {row['H']}: the layer, and `feed`"
        lines.append([what, *(f"{number(row['s'][how])} s" for how in ("layer", "feed")), f"{row['ratio']:.2f}", 1, ""])
    for row in of_what(found, "score"):
        for how, words in (("each", "a call each"), ("steps", "by steps from Python")):
            what = f"scores of {row['lines']:,} lines, H {row['H']}: {words}, and `score_each`"
            seconds = (f"{number(row['s'][of])} s" for of in (how, "batch"))
            could = at_most(row["s"][how], row, layers)
            lines.append([what, *seconds, f"{row['ratio'][how]:.1f}", ASKED_SCORES if how == "steps" else "", could])
    for row in of_what(found, "load"):
        times = (f"{number(ms)} ms" for ms in row["ms"].values())
        lines.append([f"loading {row['MB']:.1f} MB, and a first step", *times, "", LOAD, ""])
    return markdown("what|>the first|>the second|>times faster|>aim|>at most", lines)


def one_file(found: Found) -> str:
    """The page as one file: its size, and how fast it reads and writes in the browser."""
    lines = []
    for row in found["rows"]:
        sizes = (f"{row[of]:,.0f}" for of in ("weights_kB", "file_kB"))
        speeds = (f"{row['symbols_per_s'][how]:,.0f}" for how in ("reads", "writes"))
        lines.append(
            [
                row["cell"].upper(),
                row["H"],
                *sizes,
                *speeds,
                f"{ASKED_OF_PAGE:,}",
                f"{row['keystroke_ms']['median']:.0f}",
            ]
        )
    heads = ">weights, kB|>file, kB|>reads, symbols/s|>writes, symbols/s|>aim|>a keystroke, ms"
    return markdown(f"cell|>H|{heads}", lines)


def c_header(found: Found) -> str:
    """One step of the header in C, by each compiler in each form, beside other programs."""
    ways = list(dict.fromkeys(way for row in found["rows"] for way in row["ns"]))
    lines = [
        [row["cell"], row["H"], row["weights"], *(number(row["ns"][way]) if way in row["ns"] else "" for way in ways),
         row["aim"] if row["aim"] and row["weights"] == "float32" else ""]
        for row in found["rows"]
    ]  # fmt: skip
    return markdown("cell|>H|weights|" + "|".join(f">{way}, ns" for way in ways) + "|>aim of native", lines)
