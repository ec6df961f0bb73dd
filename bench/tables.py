"""The tables of the documents, in Markdown, each from the JSON of one bench."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from layers import PHASES

from unrolled.words import counted

Found = dict[str, Any]


def provenance(found: Found) -> str:
    """Where the numbers come from."""
    machine, (before, after) = found["machine"], found["load"]
    threads = counted(machine["threads"], "thread")
    missing = "".join(f" Missing: {peer} ({why})." for peer, why in found["missing"].items())
    return (
        f"`{found['command']}`: {found['seconds']} s on {threads} of one {machine['cpu']} "
        f"({machine['instruction_set']}), torch {machine['torch']}, commit {machine['commit']}, {machine['date']}; "
        f"load {before:.1f} before, {after:.1f} after.{missing}"
    )


def markdown(heads: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a table; headings are split at "|", and ">" marks a column of numbers, aligned on the right."""
    names = [head.strip() for head in heads.split("|")]
    lines = [
        f"| {' | '.join(name.lstrip('>') for name in names)} |",
        f"|{'|'.join('--:' if name.startswith('>') else '---' for name in names)}|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def left_padded(found: Found) -> str:
    """The batch of pytorch#94457."""
    by_what: dict[str, list[Found]] = {}
    for row in found["rows"]:
        by_what.setdefault(row["what"], []).append(row)
    (step,), (epoch,) = by_what["whole step"], by_what["epochs"]
    lines = [[name, f"{ms:.0f}", f"{step['ratio'].get(name, 1):.2f}"] for name, ms in step["ms"].items()]
    low, high = epoch["quartiles"]
    first = f"The first epoch takes {epoch['first_over_second']:.3f} times the second"
    kinds = list(by_what["inputs"][0]["relative"])
    across = [[who["who"], *(f"{who['relative'][kind]:.2f}" for kind in kinds)] for who in by_what["inputs"]]
    return "\n\n".join([
        markdown("a training step|>ms|>x own", lines),
        f"{first} (quartiles of {epoch['rounds']} batches: {low:.3f} and {high:.3f}). Forward and backward for inputs "
        "of other signs and sizes, relative to ordinary ones:",
        markdown("|" + "|".join(f">{kind}" for kind in kinds), across),
    ])  # fmt: skip


def ragged(found: Found) -> str:
    """Ragged time beside padded time, a table a phase."""

    def line(row: Found, phase: str) -> list[object]:
        mine = row[phase]
        beside = f"{mine['packed_ratio']:.1f}" if "packed_ratio" in mine else row["torch_packed"]
        fair = (f"{mine['fair'][how]:.2f}" for how in ("lengths", "packed"))
        padded = (number(mine["ms"]["own padded"]), f"{mine['padded_ratio']:.2f}")
        return [row["cell"], row["T"], f"{row['share']:.2f}", *padded, *fair, f"{mine['reset_cost']:+.0%}", beside]

    head = "cell|>T|>share|>padded ms|>x torch|>lengths=|>packed|>reset=|>packed, x torch"
    return by_phase(lambda phase: markdown(head, (line(row, phase) for row in found["rows"])))


def by_phase(table: Callable[[str], str]) -> str:
    """A table for inference and one for training."""
    return "\n\n".join(f"{phase.capitalize()}:\n\n{table(phase)}" for phase in PHASES)


def steps(found: Found) -> str:
    """Microseconds a step."""
    ways = list(dict.fromkeys(way for row in found["rows"] for way in row["us"]))
    ways.sort(key=lambda way: way != "kernel")
    lines = [
        [row["cell"], row["H"], number(row["aim_us"]) if row["aim_us"] else "",
         *(number(row["us"][way]) if way in row["us"] else "missing" for way in ways)]
        for row in found["rows"]
    ]  # fmt: skip
    return markdown("cell|>H|>aim of the kernel|" + "|".join(f">{way}" for way in ways), lines)


def call_costs(found: Found) -> str:
    """Microseconds of a call, and those that are not its kernels."""
    lines = []
    for row in found["rows"]:
        us = row["us"]
        known = {name: number(us[name]) if name in us else "" for name in ("kernels", "empty Function", "torch")}
        difference = number(us["unrolled"] - us["kernels"]) if "kernels" in us else "missing"
        whole = [row["cell"], row["phase"], number(us["unrolled"]), known["kernels"]]
        lines.append([*whole, difference, row["aim_us"] or "", known["empty Function"], known["torch"]])
    return markdown("cell|phase|>whole call|>kernels|>beside them|>aim|>empty Function|>torch", lines)


def peers(found: Found) -> str:
    """Every library at the common shapes: how many times longer it takes, a table a phase."""

    def made(phase: str) -> str:
        names = list(dict.fromkeys([*(n for row in found["rows"] for n in row[phase]["ratio"]), *found["missing"]]))
        lines = []
        for row in found["rows"]:
            ratios = row[phase]["ratio"]
            beside = (f"{ratios[name]:.2f}" if name in ratios else "missing" for name in names)
            lines.append(
                [row["cell"], *(row[letter] for letter in "BTH"), number(row[phase]["ms"]["unrolled"]), *beside]
            )
        return markdown("cell|>B|>T|>H|>unrolled, ms|" + "|".join(f">{name}" for name in names), lines)

    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{by_phase(made)}\n\n{versions}."


def situations(found: Found) -> str:
    """One call in each situation: ours on all threads, ours on one, torch, in ms; last, two processes beside one."""
    lines = []
    for row in found["rows"]:
        for phase in PHASES:
            cells = [
                " / ".join(map(number, ms.values())) if isinstance(ms, dict) else f"{ms:.2f}"
                for ms in row[phase].values()
            ]
            lines.append([f"{row['cell']} B {row['B']} T {row['T']} H {row['H']} {phase}", *cells])
    names = [name.replace("pause 0 ms", "steady").replace("pause", "after") for name in found["rows"][0][PHASES[0]]]
    return markdown("|" + "|".join(f">{name}" for name in names), lines)


def bfloat16(found: Found) -> str:
    """bfloat16 beside our float32 and torch's bfloat16."""
    lines = []
    for row in found["rows"]:
        times = (
            item
            for phase in PHASES
            for item in (number(row[phase]["own_ms"]), *(f"{row[phase][f'x_{w}']:.2f}" for w in ("float32", "torch")))
        )
        kept, errors = row["kept_mb"], (f"{row['errors'][who]:.1e}" for who in ("own", "torch"))
        lines.append(
            [row["cell"], row["B"], row["T"], row["H"], *times, f"{kept['own'] / kept['float32']:.2f}", *errors]
        )
    head = "|".join(f">{phase} ms|>x float32|>x torch" for phase in PHASES)
    return markdown(f"cell|>B|>T|>H|{head}|>memory kept|>error|>torch's", lines)


def mixed_precision(found: Found) -> str:
    """Bits per character and steps a second of training in float32 and in bfloat16."""
    lines = []
    for row in found["rows"]:
        wide, narrow = (statistics.fmean(row[f"{precision}_bits"]) for precision in ("float32", "bfloat16"))
        each = (f"{1e3 / row[f'{precision}_ms']:.1f}" for precision in ("float32", "bfloat16"))
        first, third = row["quartiles"]
        lines.append(
            [row["data"], row["cell"], row["H"], row["steps"], f"{wide:.3f}", f"{narrow:.3f}",
             f"{row['difference']:+.1%}", *each, f"{row['x']:.2f} ({first:.2f} to {third:.2f})"]
        )  # fmt: skip
    bits = ">bits/character in float32|>in bfloat16|>difference"
    return markdown(f"data|cell|>H|>steps|{bits}|>steps/s in float32|>in bfloat16|>times as fast (quartiles)", lines)


def composing(found: Found) -> str:
    """Compile times, and four models by vmap."""
    compiled, mapped = ([row for row in found["rows"] if row["what"] == what] for what in ("compile", "vmap"))
    first = [
        [row["who"], row["phase"], f"{row['seconds']:.1f}" if row["seconds"] is not None else row["said"],
         f"{row['begun_seconds']:.1f}" if row["seconds"] is not None else ""]
        for row in compiled
    ]  # fmt: skip
    second = [
        [row["cell"], *(row[letter] for letter in "SBTIH"),
         *(item for phase in PHASES for item in (f"{row[phase]['over_one_call']:.2f}", f"{row[phase]['ratio']:.2f}"))]
        for row in mapped
    ]  # fmt: skip
    head = "|".join(f">{phase} / one call|>x torch loop" for phase in PHASES)
    return "\n\n".join([
        markdown("layer|phase|>compilation, s|>`x + 1` before it, s", first),
        markdown(f"cell|>S|>B|>T|>I|>H|{head}", second),
    ])  # fmt: skip


def memory(found: Found) -> str:
    """Floats saved per symbol, and the resident memory over many calls."""
    kept = [row for row in found["rows"] if row["what"] == "kept"]
    (flat,) = (row for row in found["rows"] if row["what"] == "flat")
    lines = [[row["cell"], f"{row['own']:.2f}", row["aim"], f"{row['torch']:.2f}"] for row in kept]
    readings = ", ".join(f"{mb:.1f}" for mb in flat["resident_mb"])
    flatness = (
        f"Resident memory over {flat['calls']:,} calls with T and B up to {flat['most']}, a reading every tenth part"
    )
    return f"{markdown('cell|>kept, floats / H|>aim|>torch', lines)}\n\n{flatness}: {readings} MB."


def training(found: Found) -> str:
    """Whole training steps and generation, beside the plain script."""
    return markdown(
        "what|>unrolled|>torch||>times|>aim",
        (
            [r["name"], f"{r['unrolled']:,.0f}", f"{r['torch']:,.0f}", r["unit"], f"{r['ratio']:.2f}", f"{r['goal']:g}"]
            for r in found["rows"]
        ),
    )


def parallel(found: Found) -> str:
    """Two processes beside one of as many threads."""
    return markdown(
        "what|>one process, two threads|>two processes, one thread||>times|>aim|>MB of gradient a step",
        (
            [
                r["name"],
                *(f"{rate:,.0f}" for rate in r["tokens"].values()),
                "tokens/s",
                f"{r['ratio']:.2f}",
                f"{r['goal']:g}",
                f"{r['gradient_bytes'] / 1e6:.2f}",
            ]
            for r in found["rows"]
        ),
    )


def large_corpus(found: Found) -> str:
    """What a text larger than memory costs, and the aims."""
    goals = found["goals"]

    def shown(row: dict[str, Any], key: str, form: str, scale: float, unit: str) -> str:
        asked = f" (aim {form.format(goals[key] * scale)})" if key in goals else ""
        return f"{form.format(row[key] * scale)} {unit}{asked}" if key in row else ""

    return markdown(
        "what|>seconds|>speed|>largest process|>to the first step",
        (
            [
                row["name"],
                f"{row['seconds']:.1f}" if "seconds" in row else "",
                shown(row, "rate", "{:.0f}", 1, "MB/s") or shown(row, "ratio", "{:.3f}", 1, "of that from memory"),
                shown(row, "peak", "{:.2f}", 1e-9, "GB"),
                shown(row, "start", "{:.2f}", 1, "s"),
            ]
            for row in found["rows"]
        ),
    )


def corpus(found: Found) -> str:
    """Bits per character of each cell and size, and what simple predictors reach."""
    lines = [
        [r["cell"], r["H"], f"{r['minutes']:.2f}", f"{r['steps']:,}", f"{r['tokens_per_s']:,}", f"{r['test_bits']:.3f}"]
        for r in found["rows"]
    ]
    beside = ", ".join(f"{name} {bits:.3f}" for name, bits in found["baselines"].items())
    same = "".join(
        f" {r['cell']} {r['ours']:.4f} and {r['plain']:.4f} after {r['steps']} steps;" for r in found["same_steps"]
    )
    equal = f"\n\nThe same steps here and in plain PyTorch, validation bits:{same[:-1]}." if same else ""
    table = markdown("cell|>H|>minutes|>steps|>tokens/s|>bits/character", lines)
    return f"{table}\n\nBaselines of the same split: {beside}.{equal}"


def campaign(found: Found) -> str:
    """What became of damaged and hostile input, reader by reader."""
    rows = found["rows"]
    keys = ("cases", "works", "refused", "sanitized")
    lines = [[reader, *(f"{row[key]:,}" for key in keys), f"{row['seconds']:.0f}"] for reader, row in rows.items()]
    sums = [f"{sum(row[key] for row in rows.values()):,}" for key in keys]
    lines.append(["all", *sums, f"{sum(row['seconds'] for row in rows.values()):.0f}"])
    table = markdown("reader|>cases|>read, and ran|>refused|>under the sanitizers|>s", lines)
    return f"{table}\n\n`{found['command']}`, in pieces."
