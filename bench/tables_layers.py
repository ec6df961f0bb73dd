"""The tables of layers.json: layers beside torch, and beside the floor of the machine."""

from __future__ import annotations

from collections.abc import Callable

from harness import WANTED, geometric_mean
from layers import CELLS, PHASES, SETS, summaries
from roofline import floor
from tables import Found, markdown, number

#: Aims for the geometric mean of training, by set and cell.
AIMS = {("cover", "LSTM"): 2, ("cover", "GRU"): 4, ("cover", "RNN"): 4}
AIMS |= {("float64", cell): 4 for cell in CELLS} | {("stacked", cell): 2.5 for cell in CELLS}
#: B and H of the common shapes that the README shows: a single small sequence, and two batches of training.
KNOWN = {(1, 64), (32, 256)}


def of_set(found: Found, name: str) -> list[Found]:
    """The rows of one set of layers.json."""
    return [row for row in found["rows"] if row["set"] == name]


def common(found: Found) -> str:
    """Milliseconds and ratio of the common shapes, means of each cell."""
    return common_shapes(found, lambda row: True)


def readme(found: Found) -> str:
    """The shapes of it that a reader of the README knows, and the means of all."""
    return common_shapes(found, lambda row: (row["B"], row["H"]) in KNOWN)


def common_shapes(found: Found, shown: Callable[[Found], bool]) -> str:
    """The rows of the common shapes that are to be shown, and the means over all of them."""
    rows = of_set(found, "common")
    lines: list[list[object]] = []
    for row in filter(shown, rows):
        measured = (item for phase in PHASES for item in (number(row[phase]["own_ms"]), f"{row[phase]['ratio']:.2f}"))
        lines.append([row["cell"], row["B"], row["T"], row["H"], *measured])
    for cell in dict.fromkeys(row["cell"] for row in rows):
        mine = [row for row in rows if row["cell"] == cell]
        means = (item for phase in PHASES for item in ("", f"{geometric_mean(r[phase]['ratio'] for r in mine):.2f}"))
        lines.append([f"**{cell}, geometric mean of {len(mine)}**", "", "", "", *means])
    return markdown("cell|>B|>T|>H|>inference ms|>x torch|>training ms|>x torch", lines)


def limits(found: Found) -> str:
    """What the machine itself could do before the bench ran."""
    if found["limits"] is None:
        return "Not measured: `bench_kernels` was not built."
    limit = found["limits"]
    counts = list(limit["multiply_add_gflops"])
    lines = [["multiply-adds in registers, GFLOP/s", *(number(limit["multiply_add_gflops"][n]) for n in counts)]]
    for size, rates in limit["tile_gflops"].items():
        lines.append([f"the tile over W_hh of an LSTM, H {size[1:]}, GFLOP/s", *(number(rates[n]) for n in counts)])
    for level, rates in limit["read_gb_s"].items():
        lines.append([f"reading from {level}, GB/s", *(number(rates[n]) for n in counts)])
    return markdown("limit|" + "|".join(f">{n} thread{'s' if n != '1' else ''}" for n in counts), lines)


def summary(found: Found) -> str:
    """Geometric means and slowest points of every set and cell."""
    names = {
        "common": "common shapes",
        "cover": "every pair of values",
        "float64": "float64",
        "stacked": "2 layers, D 2",
    }
    lines = []
    for mine in summaries(found["rows"]):
        measured = (item for phase in PHASES for item in (
            f"{mine[phase]['mean']:.2f}", f"{mine[phase]['slowest']:.2f}", mine[phase]["slower"]
        ))  # fmt: skip
        aim = AIMS.get((mine["set"], mine["cell"]), "")
        lines.append([names[mine["set"]], mine["cell"], mine["points"], *measured, aim])
    head = "|".join(f">{phase}: mean|>slowest|>slower" for phase in PHASES)
    return markdown(f"set|cell|>points|{head}|>aim", lines)


def picture(found: Found) -> str:
    """The picture that bench/picture.py draws of the covering."""
    if not of_set(found, "cover"):
        return "Not drawn: the set `cover` was not measured."
    caption = "How many times faster than torch, by hidden size; in the grey band torch is faster"
    return f"![{caption}](speed.svg)\n\n*{caption}.*"


def slower(found: Found) -> str:
    """Every point where torch is faster, by name."""
    lines = []
    for row in found["rows"]:
        for phase in PHASES:
            if row[phase]["ratio"] < 1:
                low, high = row[phase]["quartiles"]
                point = [row["set"], row["cell"], *(row[letter] for letter in "BTIH"), phase]
                share = f"{row[phase]['share_of_mm']:.0%}"
                lines.append([*point, f"{row[phase]['ratio']:.2f}", f"{low:.2f} to {high:.2f}", share])
    if not lines:
        return f"No point of {len(found['rows'])} is slower than torch."
    return markdown("set|cell|>B|>T|>I|>H|phase|>x torch|>quartiles|>of torch.mm", lines)


def floors(found: Found) -> str:
    """The common shapes beside the floor of the machine."""
    if found["limits"] is None:
        return "Not measured: `bench_kernels` was not built."
    lines = []
    for row in of_set(found, "common"):
        line: list[object] = [row["cell"], row["B"], row["T"], row["H"]]
        for phase in PHASES:
            least = floor(row, phase, found["limits"], found["machine"]["threads"])
            line += [
                number(least.ms),
                least.reason,
                number(row[phase]["own_ms"]),
                f"{least.ms / row[phase]['own_ms']:.0%}",
            ]
        lines.append(line)
    head = "|".join(f">{phase} floor, ms|limit|>measured|>share" for phase in PHASES)
    return markdown(f"cell|>B|>T|>H|{head}", lines)


def ceilings(found: Found) -> str:
    """Times as multiples of the floor; torch's is also the largest possible speed-up over torch."""
    if found["limits"] is None:
        return "Not measured: `bench_kernels` was not built."
    lines = []
    for cell in CELLS:
        every = [row for row in of_set(found, "cover") if row["cell"] == cell]
        large = [row for row in every if row["B"] >= 32 and row["H"] >= 128]
        for shapes, rows in (("all", every), ("B >= 32, H >= 128", large)):
            if not rows:
                continue
            line: list[object] = [cell, shapes, len(rows)]
            for phase in PHASES:
                least = [floor(row, phase, found["limits"], found["machine"]["threads"]).ms for row in rows]
                for who in ("torch_ms", "own_ms"):
                    above = (row[phase][who] / ms for row, ms in zip(rows, least, strict=True))
                    line.append(f"{geometric_mean(above):.2f}")
            lines.append(line)
    head = "|".join(f">{phase}: torch|>unrolled" for phase in PHASES)
    return markdown(f"cell|shapes|>points|{head}", lines)


def grid(found: Found) -> str:
    """Every point of the covering, with its share of the machine."""
    bandwidth = (found["limits"] or {}).get("read_gb_s")
    lines = []
    for name in SETS:
        for row in of_set(found, name) if name != "common" else []:
            line: list[object] = [name, row["cell"], *(row[letter] for letter in "BTIH")]
            for phase in PHASES:
                mine = row[phase]
                few = "" if row["rounds"] >= WANTED else f" ({row['rounds']})"
                line += [
                    number(mine["own_ms"]),
                    f"{mine['ratio']:.2f}{few}",
                    f"{mine['share_of_mm']:.0%}",
                    f"{mine['threads_gain']:.2f}",
                ]
            reading = ""
            if bandwidth and "weights_gb_s" in row:
                reading = f"{row['weights_gb_s'] / bandwidth['L2'][str(found['machine']['threads'])]:.0%}"
            lines.append([*line, number(row["mm_step_gflops"]), number(row["mm_best_gflops"]), reading, row["load"]])
    head = "|".join(f">{phase} ms|>x torch|>of mm|>x 1 thread" for phase in PHASES)
    table = markdown(f"set|cell|>B|>T|>I|>H|{head}|>mm, one step|>mm, best|>of L2|>load", lines)
    few = f"Ratios are medians of {WANTED} rounds or more; where a round takes seconds there are fewer, in brackets."
    return f"{few}\n\n{table}"
