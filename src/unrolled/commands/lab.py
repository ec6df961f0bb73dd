"""`unrolled lab`: models that learn formal languages, measured by the strings they get right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich import box
from rich.table import Table as RichTable

from unrolled.commands import Flag, WrongUse, command, examples
from unrolled.commands.console import PlainConsole, as_json
from unrolled.config.checks import Count, PositiveInt
from unrolled.config.lab import LabConfig
from unrolled.config.options import note_idle
from unrolled.lab.results import LabResult, TaskResult
from unrolled.lab.tables import ResultTable, each_seed, headline, in_words, summary, task_summary
from unrolled.words import duration, rounded

if TYPE_CHECKING:
    from unrolled.lab.protocols import Experiment
    from unrolled.languages.language import Language

#: Seconds from which an experiment says how long it will take.
PATIENCE = 60
#: Experiments that one plot of lines may show.
LINES = 20
#: Folder of the models beside their result.
MODELS = "models"

QUICK = "Quick setting: {share:g} % of the steps, sizes up to {limit}{changes}; --full takes all."

app = App(
    name="lab",
    help="Train many small models on a formal language, and count the strings they get right.",
    help_epilogue=examples(
        "unrolled lab anbn",
        "unrolled lab dyck-1 --cell gru --units 4 --lengths short:1-25 --out runs/dyck",
        "unrolled lab reproduce suzgun2019 --out runs/suzgun",
        "unrolled lab list",
    ),
)


@app.default
def lab(
    language: str,
    /,
    *,
    limit: PositiveInt = 1000,
    out: Path | None = None,
    from_golden: Flag = False,
    json: Flag = False,
    config: Annotated[LabConfig, Parameter(name="*", group="Training")] = LabConfig(),
) -> None:
    """Train models on one language, all seeds together, and measure each.

    Args:
        language: A language listed by `unrolled lab list`.
        limit: Largest size to try; every size up to the first failing one is tried.
        out: Folder for tables, plots and models; repeating the command shows the results stored there.
        from_golden: Start from exact weights set by hand, and show how training changes them.
        json: Print the result as one line of JSON, and everything else on standard error.
    """
    from unrolled.lab import experiment
    from unrolled.languages import registry

    console = PlainConsole(stderr=json)
    learned = _given(registry.get, language)
    sizes, config = config.lengths, _given(experiment.fitted, learned, config)
    _given(experiment.check, learned, config, limit)
    note_idle(config, config.without_effect(from_golden))
    with _writing(out):
        if from_golden:
            found = _drift(console, language, config, limit, out)
        else:
            found = _learn(console, learned, config, sizes, limit, out)
    if json:
        print(as_json(found))


def _learn(
    console: PlainConsole, learned: Language, config: LabConfig, sizes: str, limit: int, out: Path | None
) -> dict[str, Any]:
    """Train models on a language, unless the folder has their results; show and return how they did."""
    from unrolled.lab import cache, experiment
    from unrolled.lab.forecast import forecast
    from unrolled.languages.metrics import WARNING, blind_note

    language = learned.name
    settings = {"language": language, "limit": limit} | asdict(config)

    def compute() -> dict[str, Any]:
        if sizes != config.lengths:
            console.print(f"{language} lacks some sizes of {sizes}: trained on {config.lengths}", soft_wrap=True)
        expected = forecast(learned, config, limit)
        if sum(expected) > PATIENCE:
            training, measuring = map(duration, expected)
            less = "--steps, --seeds and --limit shorten it"
            console.print(f"training takes about {training}, measuring up to {measuring}; {less}", soft_wrap=True)
        with _progress(console, language, config) as callback:
            result, models = experiment.experiment(learned, config, limit, callback=callback)
        for seed, model in zip(result.seeds, models, strict=True):
            if out is not None:
                model.save_pretrained(out / MODELS / f"seed-{seed.seed}", overwrite=True)
        return result.to_dict()

    cached = partial(cache.cached_result, kind=LabResult, beside=MODELS)
    values = compute() if out is None else cached(out, "result", settings, compute)
    result = LabResult.from_dict(values)
    title, seeds = f"{language}, {config.cell}", each_seed(result)
    _show(console, f"{language}: {learned.summary}; % of the sizes tried that are exactly right", seeds)
    console.print(in_words(result))
    blind = blind_note(learned, experiment.criterion_of(config))
    notes = [WARNING, *([blind] if blind else [])]
    for note in notes:
        console.print(note)
    if out is not None:
        legend = "fails: first failing n; then % of the sizes tried that are right; sym.: % of symbols"
        _write(out, {"seeds": seeds, "summary": summary([(title, result)])}, ["; ".join([legend, *notes])])
        _pictures(out, [(title, result)], title=title)
        model = out / MODELS / f"seed-{result.seeds[0].seed}"
        console.print(f"wrote {out}; try: {command('generate', model, learned.alphabet[0])}", soft_wrap=True)
    return values


@app.command
def reproduce(
    name: str, /, *, full: Flag = False, seeds: Count = 0, out: Path | None = None, json: Flag = False
) -> None:
    """Run a published experiment and show its results next to ours; an interrupted run is resumed.

    Args:
        name: suzgun2019, weiss2018, gers2001, lan2022, deletang2022, elis, or defaults.
        full: Take the published number of steps, instead of as many as a few minutes allow.
        seeds: Models in each row; 0 takes the experiment's own number.
        out: Folder for results, tables and plots; lab/NAME by default.
        json: Print a line of JSON for each row, and everything else on standard error.
    """
    from unrolled.lab import cache, protocols

    console = PlainConsole(stderr=json)
    protocol = _given(protocols.protocol, name)
    rows = _given(partial(protocol.experiments, quick=not full, seeds=seeds))
    folder = out or Path("lab") / name
    with _writing(folder):
        console.print(protocol.source, style="bold")
        console.print(protocol.summary)
        notes = list(protocol.notes)
        if not full and protocol.quick < 1:
            changes = "".join(f", {key} {value}" for key, value in protocol.quick_changes.items())
            notes.insert(0, QUICK.format(share=100 * protocol.quick, limit=protocol.quick_limit, changes=changes))
        found = []
        for number, row in enumerate(rows, 1):
            compute = partial(_row, console, f"{number}/{len(rows)} {row.name}", row)
            kind = TaskResult if row.task else LabResult
            found.append(
                (row.name, cache.cached_result(folder, _file_name(row.name), row.settings(), compute, kind=kind))
            )
        blind = {} if rows[0].task else {_blind(row): None for row in rows}
        notes += filter(None, blind)
        published = [row.published for row in rows] if any(row.published for row in rows) else []
        if rows[0].task:
            tasks = [(name, TaskResult.from_dict(values)) for name, values in found]
            table = shown = task_summary(tasks, published)
            _task_pictures(folder, tasks, [row.config.model().kind for row in rows], title=protocol.name)
        else:
            results = [(name, LabResult.from_dict(values)) for name, values in found]
            table, shown = summary(results, published), headline(results, published)
            _pictures(folder, results, title=protocol.name)
        _show(console, protocol.name, shown)
        for note in notes:
            console.print(note)
        _write(folder, {"table": table}, notes)
        console.print(f"wrote {folder}", soft_wrap=True)
    for name, values in found if json else []:
        print(as_json({"name": name} | values))


def _blind(row: Experiment) -> str:
    """Return a note of what the criterion of an experiment does not show, if there is such a thing."""
    from unrolled.lab.experiment import criterion_of
    from unrolled.languages import registry
    from unrolled.languages.metrics import blind_note

    return blind_note(registry.get(row.language), row.criterion or criterion_of(row.config))


def _row(console: PlainConsole, shown: str, row: Experiment) -> dict[str, Any]:
    from unrolled.lab import experiment, tasks
    from unrolled.languages import registry

    with _progress(console, shown, row.config) as callback:
        if row.task:
            task = registry.task(row.language)
            return tasks.task_experiment(task, row.config, row.limit, callback=callback)[0].to_dict()
        options: dict[str, Any] = {"ranges": row.ranges, "criterion": row.criterion or None, "callback": callback}
        return experiment.experiment(registry.get(row.language), row.config, row.limit, **options)[0].to_dict()


@app.command(name="list")
def listing() -> None:
    """List the languages and the published experiments."""
    from unrolled.lab import protocols
    from unrolled.languages import registry

    languages = {name: registry.get(name) for name in registry.names()}
    rows = tuple((name, language.chomsky, language.summary) for name, language in languages.items())
    published = tuple((each.name, each.source, each.summary) for each in protocols.PROTOCOLS.values())
    console = PlainConsole()
    _show(console, "", ResultTable(("language", "class", "strings"), rows))
    _show(console, "", ResultTable(("reproduce", "source", "what"), published))


def _drift(console: PlainConsole, name: str, config: LabConfig, limit: int, out: Path | None) -> dict[str, Any]:
    """Train golden models further; show and return up to which size they stay right."""
    from unrolled.lab.drift import drift

    with _progress(console, f"{name} from exact weights", config) as callback:
        found = _given(drift, name, config, limit, callback)
    rows = []
    for step, right, margins in zip(found.steps, found.right_to, found.margins, strict=True):
        up_to = f"> {limit}" if min(right) >= limit else str(min(right))
        rows.append((str(step), up_to, f"{min(margins):.3f}", f"{max(margins):.3f}"))
    headers = ("steps", "right up to n, worst model", f"least margin at n = {found.probe}, worst", "best")
    table, title = ResultTable(headers, tuple(rows)), f"{name}, {config.cell}: training from exact weights"
    _show(console, title, table)
    if out is not None:
        from unrolled.views import plots, plots_lab

        _write(out, {"drift": table}, [])
        lines = {f"at n = {found.probe}": found.margins}
        plots.save(plots_lab.drift(found.steps, lines, found.right_to, limit, title=title), out / "drift.png")
        console.print(f"wrote {out}", soft_wrap=True)
    return asdict(found)


def _write(out: Path, tables: dict[str, ResultTable], notes: Sequence[str]) -> None:
    """Write tables as Markdown, with notes, and as CSV."""
    from unrolled.saved.atomic_files import write_file

    for name, table in tables.items():
        text = "\n\n".join((table.markdown(), *notes)) + "\n"
        write_file(out / f"{name}.md", text.encode())
        write_file(out / f"{name}.csv", table.csv().encode())


def _pictures(out: Path, found: Sequence[tuple[str, LabResult]], *, title: str) -> None:
    """Plot the share of models that are right over sizes, unless there are too many, and the first failing sizes."""
    from unrolled.views import plots, plots_lab

    if len(found) <= LINES:
        lines = {
            name: plots_lab.Series(result.sizes, result.seeds_right, result.ranges[0], result.kind)
            for name, result in found
        }
        plots.save(plots_lab.right_over_sizes(lines, title=title), out / "right.png")
    rows = {
        name: plots_lab.Row(each.first_failing, each.median_ends, each.limit, each.ranges[0], each.kind)
        for name, each in found
    }
    plots.save(plots_lab.first_failing(rows, title=title), out / "first-failing.png")


def _task_pictures(out: Path, found: Sequence[tuple[str, TaskResult]], kinds: Sequence[str], *, title: str) -> None:
    """Plot the mean share of symbols right over sizes."""
    from unrolled.views import plots, plots_lab

    means = {name: [fmean(column) for column in zip(*result.symbols, strict=True)] for name, result in found}
    lines = {
        name: plots_lab.Series(result.sizes, means[name], (1, result.longest), kind)
        for (name, result), kind in zip(found, kinds, strict=True)
    }
    figure = plots_lab.right_over_sizes(lines, title=title, what="mean share of answers right")
    plots.save(figure, out / "right.png")


def _show(console: PlainConsole, title: str, table: ResultTable) -> None:
    """Print a table."""
    shown = RichTable(
        *table.headers, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    shown.columns[0].no_wrap = True
    for column in shown.columns[1:]:
        column.overflow = "fold"
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


@contextmanager
def _writing(out: Path | None) -> Iterator[None]:
    """Be the only writer of a folder, if there is one; a folder that cannot be written is refused before training."""
    from unrolled.saved.lock import only_writer

    with only_writer(out) if out is not None else nullcontext():
        yield


def _given(function: Any, *arguments: Any) -> Any:
    """Call a function on what the user gave; its errors are reported as wrong use."""
    try:
        return function(*arguments)
    except (ValueError, MemoryError) as error:
        raise WrongUse(str(error)) from None


def _file_name(row: str) -> str:
    """Return the file name for the name of a row.

    >>> _file_name("ours, uniform:1-50")
    'ours-uniform-1-50'
    """
    return "-".join("".join(c if c.isalnum() or c in "." else " " for c in row).split())


@contextmanager
def _progress(console: PlainConsole, name: str, config: LabConfig) -> Iterator[Callable[[int, Any], None]]:
    """Show a progress line on a terminal; yields the callback of training that updates it."""
    with console.status(name) as status:

        def callback(step: int, losses: Any) -> None:
            status.update(f"{name}: step {step:,} of {config.steps:,}, median loss {rounded(median(losses), 4)}")
            if step == config.steps:
                status.update(f"{name}: trying every size")

        yield callback
