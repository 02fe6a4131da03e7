"""What came of a proof, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from codegen.proof.results import NameResult, Report, Verdict
from codegen.proof.results import Progress as Listener

_WIDTH = 120  # where there is no terminal to ask
_LONGEST = 400  # of an explanation; an op may have a hundred arguments
_STYLES: dict[Verdict, str] = {"holds": "green", "fails": "bold red", "not run": "yellow", "not offered": "dim"}


def console(stderr: bool = False) -> Console:
    """A console that is as wide as the terminal, or 120 columns where there is none."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = _WIDTH
    return made


@contextmanager
def progress() -> Iterator[Listener]:
    """A bar on a terminal, elsewhere a line for the first name and for each tenth of them; on stderr."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda what, done, total: _line(out, what, done, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        tasks = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield advance


def _line(out: Console, what: str, done: int, total: int) -> None:
    if done in (1, total) or done * 10 // total > (done - 1) * 10 // total:
        out.print(f"{what}: {done} of {total}")


def show(report: Report, out: Console) -> None:
    """Print a table of the classes, then every name that does not hold, then the counts."""
    if report.names:
        out.print(_table(report))
    for result in (*report.names, *report.numbers):
        for check in result.checks:
            if check.verdict in ("fails", "not run"):
                what = f"[{_STYLES[check.verdict]}]{check.verdict}[/]  {result.name}  {check.name}"
                out.print(f"{what}: {escape(_short(check.detail))}", soft_wrap=True)
    for name in report.unbuilt:
        out.print(f"[dim]timm cannot build[/]  {name.name}: {escape(_short(name.reason))}", soft_wrap=True)
    out.print(escape(summary(report)), soft_wrap=True)


def summary(report: Report) -> str:
    """The counts in a line: ``1344 of 1344 names hold; 27 refused: DenseNet (12), VGG (8)``."""
    held = sum(result.verdict == "holds" for result in report.names)
    parts = [f"{held} of {len(report.names)} names hold"]
    skipped = sum(result.verdict == "not run" for result in report.names)
    if skipped:
        parts.append(f"{skipped} not run")
    if report.unbuilt:
        parts.append(f"{len(report.unbuilt)} that timm {report.timm_version} cannot build itself")
    if report.numbers:
        equal = sum(result.verdict == "holds" for result in report.numbers)
        parts.append(f"{equal} of {len(report.numbers)} classes are equal in numbers")
    if report.refused:
        classes = Counter(name.model_class.rpartition(".")[2] for name in report.refused)
        listed = ", ".join(f"{name} ({count})" for name, count in classes.most_common())
        parts.append(f"{len(report.refused)} refused: {listed}")
    return "; ".join(parts)


def write(report: Report, path: Path) -> None:
    """Write everything as JSON.

    Raises:
        OSError: It cannot be written.
    """
    value = {"holds": report.holds, **asdict(report)}
    for group, results in (("names", report.names), ("numbers", report.numbers)):
        value[group] = [{**asdict(result), "verdict": result.verdict} for result in results]
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _table(report: Report) -> Table:
    table = Table("class", box=None, header_style="bold", pad_edge=False)
    for title in ("names", "hold"):
        table.add_column(title, justify="right")
    checks = list(dict.fromkeys(check.name for result in report.names for check in result.checks))
    numbers = {result.model_class: result for result in report.numbers}
    numeric = list(dict.fromkeys(check.name for result in report.numbers for check in result.checks))
    for title in (*checks, *numeric):
        table.add_column(title)
    classes: dict[str, list[NameResult]] = {}
    for result in report.names:
        classes.setdefault(result.model_class, []).append(result)
    for path, results in sorted(classes.items()):
        held = sum(result.verdict == "holds" for result in results)
        cells = [_cell(results, check) for check in checks]
        cells += [_cell([numbers[path]] if path in numbers else [], check) for check in numeric]
        table.add_row(path.rpartition(".")[2] or "?", str(len(results)), str(held), *cells)
    return table


def _cell(results: Sequence[NameResult], name: str) -> str:
    """The worst verdict of a check among the names of a class."""
    verdicts = {check.verdict for result in results for check in result.checks if check.name == name}
    order: tuple[Verdict, ...] = ("fails", "not run", "holds", "not offered")
    worst = next((verdict for verdict in order if verdict in verdicts), None)
    return f"[{_STYLES[worst]}]{worst}[/]" if worst else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
