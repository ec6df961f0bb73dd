"""The tables of what runs a trained network: the runtime, and the header in C."""

from __future__ import annotations

from tables import Found, markdown, number

#: H of the single steps that the README shows.
SHOWN_WAYS = (64,)
#: Bytes of the caches of a core, of the machine that the limits were measured on.
L1, L2 = 48 << 10, 1 << 20


def of_what(found: Found, what: str) -> list[Found]:
    """The rows of one part of runtime.json."""
    return [row for row in found["rows"] if row["what"] == what]


def reading(size: int, layers: Found | None) -> str:
    """The microseconds in which one core reads so many bytes from the cache that holds them."""
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


def runtime_many(found: Found) -> str:
    """Many streams, threads, sequences and texts at a time, and loading."""
    lines: list[list[object]] = []
    for row in of_what(found, "streams"):
        what = f"{row['B']} streams of {row['cell']} {row['H']}, a step of each"
        lines.append([what, *(f"{number(row['us'][how])} us" for how in ("alone", "together")), f"{row['ratio']:.1f}"])
    for row in of_what(found, "threads"):
        rows = "1 row" if row["B"] == 1 else f"{row['B']} rows"
        what = f"two threads beside one, {row['cell']} {row['H']}, {rows} each, {row['where']}; a step served"
        lines.append([what, *(f"{number(row['us'][how])} us" for how in ("one", "two")), f"{row['ratio']:.2f}"])
    for row in of_what(found, "feed"):
        what = f"{row['T']:,} symbols through {row['cell']} {row['H']}: the layer, and `feed`"
        lines.append([what, *(f"{number(row['s'][how])} s" for how in ("layer", "feed")), f"{row['ratio']:.2f}"])
    for row in of_what(found, "score"):
        for how, words in (("each", "a call each"), ("steps", "by steps from Python")):
            what = f"scores of {row['lines']:,} lines, H {row['H']}: {words}, and `score_each`"
            seconds = (f"{number(row['s'][of])} s" for of in (how, "batch"))
            lines.append([what, *seconds, f"{row['ratio'][how]:.1f}"])
    lines += [
        [f"loading {row['MB']:.1f} MB, and a first step", *(f"{number(ms)} ms" for ms in row["ms"].values()), ""]
        for row in of_what(found, "load")
    ]
    return markdown("what|>the first|>the second|>times faster", lines)


def c_header(found: Found) -> str:
    """One step of the header in C, by each compiler in each form, beside other programs."""
    ways = list(dict.fromkeys(way for row in found["rows"] for way in row["ns"]))
    lines = [
        [row["cell"], row["H"], row["weights"], *(number(row["ns"][way]) if way in row["ns"] else "" for way in ways),
         row["aim"] if row["aim"] and row["weights"] == "float32" else ""]
        for row in found["rows"]
    ]  # fmt: skip
    return markdown("cell|>H|weights|" + "|".join(f">{way}, ns" for way in ways) + "|>aim of native", lines)
