"""``timm-split diff``: what an upgrade from one timm to another changes.

Compared are the bodies of ``forward_features``, as their splits are made of them, and not the methods that they call.
Comments and layout do not count.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version
from rich.console import Console
from rich.text import Text

from codegen import manifest
from codegen.reports.listing import resolved, returned, title
from codegen.syntax.statements import source_lines
from codegen.types import Inherited, Intermediates, Outcome, Parameter, Place, Refusal, Release, Split

Kind = Literal[
    "added",
    "removed",
    "refused",
    "split",
    "reason",
    "boundary",
    "returns",
    "parameters",
    "embedding",
    "intermediates",
    "body",
]

_LONGEST = 6  # lines shown of a statement

TITLES: Mapping[Kind, str] = {
    "added": "Classes that are new",
    "removed": "Classes that are gone",
    "refused": "Split before, refused now",
    "split": "Refused before, split now",
    "reason": "Refused for another reason",
    "boundary": "The boundary is after another statement",
    "returns": "embed returns something else",
    "parameters": "Parameters went from one method to another, came or went",
    "embedding": "embed runs other statements, up to the same boundary",
    "intermediates": "forward_stages_intermediates came, went, takes something else or is absent for another reason",
    "body": "Only what follows the boundary changed",
}

_COUNTED: Mapping[Kind, str] = {
    "added": "new",
    "removed": "gone",
    "refused": "refused now",
    "split": "split now",
    "reason": "refused for another reason",
    "boundary": "with another boundary",
    "returns": "whose embed returns something else",
    "parameters": "with other parameters",
    "embedding": "with other statements in embed",
    "intermediates": "with other intermediate features",
    "body": "changed after the boundary only",
}


@dataclass(frozen=True)
class Side:
    """What one of two releases has.

    Attributes:
        place: The line that says it.
        lines: The lines of the source that matter, by their numbers, without their indentation.
        what: What follows from them, in words; may be empty.
    """

    place: Place
    lines: Mapping[int, str]
    what: str


@dataclass(frozen=True)
class Change:
    """One difference between two releases.

    Attributes:
        kind: Which.
        path: The class.
        old: What the first release has, ``None`` if nothing.
        new: What the second has.
        models: The names under which timm registers the class, in the second release if that has it.
        heirs: Full names of the classes that inherit the method, and so the change.
    """

    kind: Kind
    path: str
    old: Side | None
    new: Side | None
    models: tuple[str, ...]
    heirs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The class without its module."""
        return _name(self.path)


@dataclass(frozen=True)
class Comparison:
    """All differences between two releases, in the order of :data:`TITLES` and of the classes' names."""

    old: str
    new: str
    changes: tuple[Change, ...]

    def of(self, kind: Kind) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)


@dataclass(frozen=True)
class LineEntry:
    """A line of a source file, without its indentation."""

    number: int
    text: str


@dataclass(frozen=True)
class SideEntry:
    """What one release has: the line that says it, the lines that matter, and what follows from them, in words."""

    file: str
    line: int
    lines: tuple[LineEntry, ...]
    what: str


@dataclass(frozen=True)
class ChangeEntry:
    """One difference, as :class:`Change` has it."""

    kind: str
    path: str
    models: tuple[str, ...]
    heirs: tuple[str, ...]
    old: SideEntry | None
    new: SideEntry | None


@dataclass(frozen=True)
class DiffDocument:
    """What ``timm-split diff --json`` prints: the number of the manifest's format, both releases, what differs."""

    format: int
    old: str
    new: str
    changes: tuple[ChangeEntry, ...]


@dataclass(frozen=True)
class _State:
    """A release and what became of its classes."""

    release: Release
    by_path: Mapping[str, Outcome]

    def split(self, outcome: Outcome) -> Split | None:
        return resolved(outcome, self.by_path)

    def heirs(self, path: str) -> set[str]:
        results = ((outcome, outcome.result) for outcome in self.by_path.values())
        return {o.path for o, result in results if isinstance(result, Inherited) and result.parent == path}

    def at_method(self, outcome: Outcome, what: str) -> Side:
        """The line of the method, or of the class if that inherits it."""
        return Side(outcome.place, self._lines(outcome.place.file, [outcome.place.line]), what)

    def _lines(self, file: str, numbers: Iterable[int]) -> dict[int, str]:
        text = source_lines(self.release.files[file])
        return {number: text[number - 1].strip() for number in numbers}

    def embedding(self, split: Split) -> dict[int, str]:
        """The lines of timm's source that make the embedding."""
        return self._lines(split.boundary.place.file, [n for a, b in split.boundary.lines for n in range(a, b + 1)])

    def at_boundary(self, split: Split, what: str = "") -> Side:
        """The statement after which the embedding is complete."""
        place = split.boundary.place
        first = next(a for a, b in split.boundary.lines if b == place.line)
        return Side(place, self._lines(place.file, range(first, place.line + 1)), what)

    def at_intermediates(self, outcome: Outcome, found: Intermediates | Refusal | None, what: str) -> Side:
        """The statement after which ``forward_intermediates`` goes on from the embedding, or what is in the way."""
        if found is None:
            return self.at_method(outcome, what)
        return Side(found.place, self._lines(found.place.file, [found.place.line]), what)

    def fate(self, outcome: Outcome) -> Side:
        """The boundary and what embed returns, or the line that stands in the way of a split and why."""
        result = outcome.result
        split = self.split(outcome)
        if split is not None:
            return self.at_boundary(split, f"embed returns {returned(split)}")
        assert isinstance(result, Refusal)
        return Side(result.place, self._lines(result.place.file, [result.place.line]), f"refused: {result.reason}")


def source_of(text: str) -> tuple[str | None, Path | None]:
    """The version or the path that a text stands for; the other one is ``None``."""
    try:
        Version(text)
    except InvalidVersion:
        if text != "latest" and (os.sep in text or Path(text).exists()):
            return None, Path(text)
    return text, None


def compare(old: Release, old_outcomes: Sequence[Outcome], new: Release, new_outcomes: Sequence[Outcome]) -> Comparison:
    """Compare two releases.

    Args:
        old: The release to upgrade from.
        old_outcomes: What became of its classes.
        new: The release to upgrade to.
        new_outcomes: What became of its classes.
    """
    before = _State(old, {outcome.path: outcome for outcome in old_outcomes})
    after = _State(new, {outcome.path: outcome for outcome in new_outcomes})
    changes = [c for path in {*before.by_path, *after.by_path} for c in _changes(path, before, after)]
    order = list(TITLES)
    changes.sort(key=lambda change: (order.index(change.kind), change.name, change.path))
    return Comparison(title(old), title(new), tuple(changes))


def _changes(path: str, before: _State, after: _State) -> Iterator[Change]:
    was, now = before.by_path.get(path), after.by_path.get(path)
    if was is None or now is None:
        old = None if was is None else before.fate(was)
        new = None if now is None else after.fate(now)
        there = now or was
        assert there is not None
        yield Change("added" if was is None else "removed", path, old, new, there.models)
        return
    if isinstance(was.result, Inherited) and was.result == now.result:
        return  # the change is reported for the class from which it inherits
    heirs = tuple(sorted(before.heirs(path) & after.heirs(path)))
    old_split, new_split = before.split(was), after.split(now)
    found: Iterable[tuple[Kind, Side, Side]]
    if old_split is not None and new_split is not None:
        found = [
            *_between(old_split, before, new_split, after),
            *_signatures(before, was, old_split, after, now, new_split),
            *_taps(before, was, old_split, after, now, new_split),
        ]
    elif isinstance(was.result, Refusal) and isinstance(now.result, Refusal):
        same = was.result.reason == now.result.reason
        found = [] if same else [("reason", before.fate(was), after.fate(now))]
    else:
        found = [("refused" if new_split is None else "split", before.fate(was), after.fate(now))]
    for kind, old, new in found:
        yield Change(kind, path, old, new, now.models, heirs)


def _between(old: Split, before: _State, new: Split, after: _State) -> Iterator[tuple[Kind, Side, Side]]:
    """The differences between two splits of one class."""
    moved = _normal(old.embed.body[-1:]) != _normal(new.embed.body[-1:])
    if moved:
        yield "boundary", before.at_boundary(old), after.at_boundary(new)
    returns = _returns(old), _returns(new)
    if returns[0] != returns[1]:
        yield "returns", before.at_boundary(old, returns[0]), after.at_boundary(new, returns[1])
    embedding = not moved and _normal(old.embed.body) != _normal(new.embed.body)
    if embedding:
        gone, come = _unlike(before.embedding(old), after.embedding(new))
        yield "embedding", Side(old.boundary.place, gone, ""), Side(new.boundary.place, come, "")
    later = _normal((*old.recomputed, *old.forward_stages.body)), _normal((*new.recomputed, *new.forward_stages.body))
    if later[0] != later[1] and not moved and not embedding and returns[0] == returns[1]:
        yield "body", before.at_boundary(old), after.at_boundary(new)


def _signatures(
    before: _State, was: Outcome, old: Split, after: _State, now: Outcome, new: Split
) -> Iterator[tuple[Kind, Side, Side]]:
    parameters = _parameters(old), _parameters(new)
    if parameters[0] != parameters[1]:
        yield "parameters", before.at_method(was, parameters[0]), after.at_method(now, parameters[1])


def _taps(
    before: _State, was: Outcome, old: Split, after: _State, now: Outcome, new: Split
) -> Iterator[tuple[Kind, Side, Side]]:
    said = _tap(old.intermediates), _tap(new.intermediates)
    if said[0] != said[1]:
        left = before.at_intermediates(was, old.intermediates, said[0])
        yield "intermediates", left, after.at_intermediates(now, new.intermediates, said[1])


def _tap(found: Intermediates | Refusal | None) -> str:
    """``forward_stages_intermediates(embedding, image_size, indices=None)``, or why there is none."""
    if found is None:
        return "no forward_intermediates"
    if isinstance(found, Refusal):
        return f"no forward_stages_intermediates: {re.sub(r' .line [0-9]+.', '', found.reason)}"
    taken = ", ".join(
        ["embedding", *(["image_size"] if found.image_size else []), *_signature(found.stages.parameters)]
    )
    without = ", an error for features inside the stem" if found.inside_stem else ""
    return f"forward_stages_intermediates({taken}){without}"


def _normal(statements: Iterable[str]) -> str:
    """Statements without their comments and in one layout."""
    return "\n".join(ast.unparse(ast.parse(statement)) for statement in statements)


def _returns(split: Split) -> str:
    fields = ", ".join(f"{field.name}: {field.annotation}" for field in split.fields)
    kind = f"{split.embedding}({fields})" if split.embedding else split.fields[0].annotation
    return kind + (f", {split.layout}" if split.layout else "")


def _signature(parameters: Sequence[Parameter]) -> Iterator[str]:
    """The names and defaults of parameters, less the annotations."""
    for number, parameter in enumerate(parameters):
        if parameter.kind == "keyword" and (number == 0 or parameters[number - 1].kind not in ("keyword", "*")):
            yield "*"
        function = ast.parse(f"def _({parameter.declaration}): ...").body[0]
        assert isinstance(function, ast.FunctionDef)
        default = "".join(f"={ast.unparse(value)}" for value in function.args.defaults)
        yield {"*": "*", "**": "**"}.get(parameter.kind, "") + parameter.name + default


def _parameters(split: Split) -> str:
    """``embed(x), forward_stages(embedding, attn_mask=None)``: the names and defaults, less the annotations."""
    embed, stages = (", ".join(_signature(m.parameters)) for m in (split.embed, split.forward_stages))
    return f"embed({embed}), forward_stages({', '.join(filter(None, ['embedding', stages]))})"


def _unlike(old: Mapping[int, str], new: Mapping[int, str]) -> tuple[dict[int, str], dict[int, str]]:
    """The lines that one has and the other has not."""
    was, now = list(old.items()), list(new.items())
    matcher = difflib.SequenceMatcher(None, [text for _, text in was], [text for _, text in now], autojunk=False)
    gone: dict[int, str] = {}
    come: dict[int, str] = {}
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        if tag != "equal":
            gone.update(was[first:last])
            come.update(now[new_first:new_last])
    return gone, come


# Printing it


def to_json(comparison: Comparison) -> str:
    """The comparison for machines, as docs/manifest.md says."""
    changes = (
        ChangeEntry(c.kind, c.path, c.models, c.heirs, _side_entry(c.old), _side_entry(c.new))
        for c in comparison.changes
    )
    return manifest.to_json(DiffDocument(manifest.FORMAT, comparison.old, comparison.new, tuple(changes)))


def _side_entry(side: Side | None) -> SideEntry | None:
    if side is None:
        return None
    lines = tuple(LineEntry(number, text) for number, text in side.lines.items())
    return SideEntry(side.place.file, side.place.line, lines, side.what)


def to_markdown(comparison: Comparison) -> str:
    """The comparison as the body of a pull request."""
    parts = [f"### {comparison.old} → {comparison.new}", _summary(comparison)]
    for kind, changes in _by_kind(comparison):
        parts.append(f"#### {TITLES[kind]} ({len(changes)})")
        if kind == "body":
            parts.append(", ".join(f"`{_title(change)}`" for change in changes))
            continue
        for change in changes:
            lines = "\n".join(f"  {line}" for line in ("```diff", *_diff(change), "```"))
            parts.append(f"- `{_title(change)}`, {_models(change)}\n{lines}")
    return "\n\n".join(parts) + "\n"


def print_comparison(comparison: Comparison, out: Console) -> None:
    """Print the comparison: what is gone after ``-``, what has come after ``+``."""
    out.print(Text(f"{comparison.old} -> {comparison.new}", "bold"))
    out.print(Text(_summary(comparison)))
    for kind, changes in _by_kind(comparison):
        out.print()
        out.print(Text(f"{TITLES[kind]} ({len(changes)})", "bold"))
        if kind == "body":
            out.print(Text("  " + ", ".join(_title(change) for change in changes)))
            continue
        for change in changes:
            out.print(Text.assemble("  ", (_title(change), "bold"), f"  {_models(change)}"))
            for line in _diff(change):
                out.print(Text(f"    {line}", "red" if line.startswith("-") else "green"))


def _by_kind(comparison: Comparison) -> Iterator[tuple[Kind, tuple[Change, ...]]]:
    return ((kind, changes) for kind in TITLES if (changes := comparison.of(kind)))


def _summary(comparison: Comparison) -> str:
    if not comparison.changes:
        return "Every class is split as before, and so are its statements."
    counts = (f"{len(changes)} {_COUNTED[kind]}" for kind, changes in _by_kind(comparison))
    return f"Classes: {', '.join(counts)}."


def _title(change: Change) -> str:
    return change.name + (f" (and {', '.join(sorted(map(_name, change.heirs)))})" if change.heirs else "")


def _models(change: Change) -> str:
    module = change.path.rpartition(".")[0]
    return f"{module}, {len(change.models)} model{'' if len(change.models) == 1 else 's'}"


def _name(path: str) -> str:
    """A class without its module."""
    return path.rpartition(".")[2]


def _diff(change: Change) -> Iterator[str]:
    for sign, side in (("-", change.old), ("+", change.new)):
        if side is not None:
            lines = [f"{sign} {side.place.file}:{number}  {text}" for number, text in side.lines.items()]
            left_out = len(lines) - _LONGEST
            if left_out > 1:  # a loop may be a statement: how it begins and ends is enough
                lines[_LONGEST // 2 : -_LONGEST // 2] = [f"{sign}   ... {left_out} lines ..."]
            yield from lines
            if side.what:
                yield f"{sign}   {side.what}"
