"""`unrolled lab`: nets that learn formal languages, measured by the strings they get right."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from unrolled.commands import WrongUse
from unrolled.config.lab import LabConfig
from unrolled.saved.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.lab.protocols import Experiment
    from unrolled.lab.results import LabResult, TaskResult
    from unrolled.lab.tables import Table

#: Experiments that a picture of lines may hold; of more, the eye follows none.
LINES = 20

QUICK = "Quick setting: {share:g} % of the steps of the full one, sizes up to {limit}{changes}; --full takes all."


def run(language: str, config: LabConfig, limit: int, out: Path | None, from_golden: bool) -> None:
    """Train nets on one language, show what became of each, and write it to a folder."""
    from unrolled.lab import cache, experiment
    from unrolled.lab.results import LabResult
    from unrolled.lab.tables import each_seed, in_words, summary
    from unrolled.languages import registry
    from unrolled.languages.metrics import WARNING

    console = Console()
    learned = _given(registry.get, language)
    _given(experiment.refuse, learned, config)
    if out is not None:
        _refuse_unwritable(out)
    if from_golden:
        return _drift(console, language, config, limit, out)
    settings = {"language": language, "limit": limit} | asdict(config)

    def compute() -> dict[str, Any]:
        with _Progress(console, language, config) as watch:
            result, models = experiment.experiment(learned, config, limit, watch=watch)
        for seed, model in zip(result.seeds, models, strict=True):
            if out is not None:
                model.save_pretrained(out / "nets" / f"seed-{seed.seed}", overwrite=True)
        return result.to_dict()

    values = compute() if out is None else cache.kept(out, "result", settings, compute)
    result = LabResult.from_dict(values)
    seeds, table = each_seed(result), summary([(f"{language}, {config.cell}", result)])
    _show(console, f"{language}: {learned.summary}; % of sizes exactly right", seeds)
    console.print(in_words(result), highlight=False)
    console.print(WARNING, highlight=False, style="dim")
    if out is not None:
        legend = f"fails: first failing n; then % of sizes right; sym.: % of symbols; {WARNING}"
        _write(out, {"seeds": seeds, "summary": table}, [legend])
        _pictures(out, [(f"{language}, {config.cell}", result)], title=f"{language}, {config.cell}")
        net = out / "nets" / f"seed-{result.seeds[0].seed}"
        console.print(f"wrote {out}; try: unrolled generate {net} {learned.alphabet[0]}", soft_wrap=True)


def reproduce(name: str, full: bool, seeds: int, out: Path | None) -> None:
    """Run a published experiment and put its mark beside ours."""
    from unrolled.lab import cache, protocols
    from unrolled.lab.results import LabResult, TaskResult
    from unrolled.lab.tables import headline, summary, task_summary

    console = Console()
    protocol = _given(protocols.protocol, name)
    rows = _given(partial(protocol.experiments, quick=not full, seeds=seeds))
    folder = out or Path("lab") / name
    _refuse_unwritable(folder)
    console.print(f"[b]{protocol.source}[/b]\n{protocol.summary}", highlight=False)
    notes = list(protocol.notes)
    if not full and protocol.quick < 1:
        changes = "".join(f", {key} {value}" for key, value in protocol.quick_changes.items())
        notes.insert(0, QUICK.format(share=100 * protocol.quick, limit=protocol.quick_limit, changes=changes))
    found = []
    for number, row in enumerate(rows, 1):
        compute = partial(_row, console, f"{number}/{len(rows)} {row.name}", row)
        found.append((row.name, cache.kept(folder, _file_name(row.name), row.settings(), compute)))
    published = [row.published for row in rows] if any(row.published for row in rows) else []
    if rows[0].task:
        tasks = [(name, TaskResult(**values)) for name, values in found]
        table = shown = task_summary(tasks, published)
        _task_pictures(folder, tasks, title=protocol.name)
    else:
        results = [(name, LabResult.from_dict(values)) for name, values in found]
        table, shown = summary(results, published), headline(results, published)
        _pictures(folder, results, title=protocol.name)
    _show(console, protocol.name, shown)
    for note in notes:
        console.print(note, highlight=False)
    _write(folder, {"table": table}, notes)
    console.print(f"wrote {folder}", soft_wrap=True)


def _row(console: Console, shown: str, row: Experiment) -> dict[str, Any]:
    from unrolled.lab import experiment, tasks
    from unrolled.languages import registry

    with _Progress(console, shown, row.config) as watch:
        if row.task:
            return tasks.task_experiment(registry.task(row.language), row.config, row.limit, watch=watch)[0].to_dict()
        options: dict[str, Any] = {"ranges": row.ranges, "reading": row.reading or None, "watch": watch}
        return experiment.experiment(registry.get(row.language), row.config, row.limit, **options)[0].to_dict()


def listing() -> None:
    """Show the languages, and the experiments that can be repeated."""
    from unrolled.lab import protocols
    from unrolled.languages import registry

    console = Console()
    table = RichTable("language", "class", "strings", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in registry.names():
        language = registry.get(name)
        table.add_row(name, language.chomsky, language.summary)
    console.print(table)
    table = RichTable("reproduce", "source", "what", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for protocol in protocols.PROTOCOLS.values():
        table.add_row(protocol.name, protocol.source, protocol.summary)
    console.print(table)


def _drift(console: Console, name: str, config: LabConfig, limit: int, out: Path | None) -> None:
    """Train nets that begin exact, and show how far they are right as they leave."""
    from unrolled.lab.drift import drift
    from unrolled.lab.tables import Table

    with _Progress(console, f"{name} from exact weights", config) as watch:
        found = _given(drift, name, config, limit, watch)
    rows = tuple(
        (
            str(step),
            f"> {limit}" if min(right) >= limit else str(min(right)),
            f"{min(margins):.3f}",
            f"{max(margins):.3f}",
        )
        for step, right, margins in zip(found.steps, found.right_to, found.margins, strict=True)
    )
    table = Table(("steps", "right up to n, worst net", f"least margin at n = {found.probe}, worst", "best"), rows)
    _show(console, f"{name}, {config.cell}: training from exact weights", table)
    if out is not None:
        from unrolled.views import plots, plots_lab

        write_file(out / "drift.md", table.markdown().encode() + b"\n")
        write_file(out / "drift.csv", table.csv().encode())
        title, margins = f"{name}, {config.cell}: training from exact weights", {f"at n = {found.probe}": found.margins}
        plots.save(plots_lab.drift(found.steps, margins, found.right_to, limit, title=title), out / "drift.png")
        console.print(f"wrote {out}")


def _write(out: Path, tables: dict[str, Table], notes: Sequence[str]) -> None:
    """Write tables as Markdown, with what is to be known of them, and as CSV."""
    for name, table in tables.items():
        text = "\n\n".join((table.markdown(), *notes)) + "\n"
        write_file(out / f"{name}.md", text.encode())
        write_file(out / f"{name}.csv", table.csv().encode())


def _pictures(out: Path, found: Sequence[tuple[str, LabResult]], *, title: str) -> None:
    """Draw the share of nets that are right over sizes, unless there are too many, and where each net fails first."""
    from unrolled.views import plots, plots_lab

    if len(found) <= LINES:
        lines = {name: (result.sizes, result.seeds_right, result.ranges[0]) for name, result in found}
        plots.save(plots_lab.right_over_sizes(lines, title=title), out / "right.png")
    rows = {name: (result.first_failing, result.limit, result.ranges[0]) for name, result in found}
    plots.save(plots_lab.first_failing(rows, title=title), out / "first-failing.png")


def _task_pictures(out: Path, found: Sequence[tuple[str, TaskResult]], *, title: str) -> None:
    """Draw the mean share of symbols right over sizes."""
    from unrolled.views import plots, plots_lab

    means = {name: [fmean(column) for column in zip(*result.symbols, strict=True)] for name, result in found}
    lines = {name: (result.sizes, means[name], (1, result.longest)) for name, result in found}
    figure = plots_lab.right_over_sizes(lines, title=title, what="mean share of answers right")
    plots.save(figure, out / "right.png")


def _show(console: Console, title: str, table: Table) -> None:
    """Print a table."""
    shown = RichTable(
        *table.headers, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def _refuse_unwritable(out: Path) -> None:
    """Refuse a folder that cannot be written, before anything is spent on what would go there."""
    write_file(out / ".writable", b"")
    (out / ".writable").unlink()


def _given(function: Any, *arguments: Any) -> Any:
    """Call a function on what the user gave; what it cannot use is wrong use."""
    try:
        return function(*arguments)
    except (ValueError, MemoryError) as error:
        raise WrongUse(str(error)) from None


def _file_name(row: str) -> str:
    """Return the name of a row as that of a file.

    >>> _file_name("ours, uniform:1-50")
    'ours-uniform-1-50'
    """
    return "-".join("".join(c if c.isalnum() or c in "." else " " for c in row).split())


class _Progress:
    """A line that tells how far training is; only on a terminal."""

    def __init__(self, console: Console, name: str, config: LabConfig):
        self.status = console.status(name)
        self.name, self.config = name, config

    def __enter__(self) -> Any:
        self.status.start()
        return self.watch

    def watch(self, step: int, losses: Any) -> None:
        middle = sorted(losses)[len(losses) // 2]
        self.status.update(f"{self.name}: step {step:,} of {self.config.steps:,}, median loss {middle:.4f}")
        if step == self.config.steps:
            self.status.update(f"{self.name}: trying every size")

    def __exit__(self, *_: object) -> None:
        self.status.stop()
