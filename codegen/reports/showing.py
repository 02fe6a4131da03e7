"""``timm-split show``: timm's source of a method with the boundary drawn in it, and the reasons for it."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.text import Text

from codegen import manifest
from codegen.errors import UsageError
from codegen.package.naming import module_names
from codegen.package.render import render
from codegen.reports.listing import ListDocument, Row, parent_name, returned, rows_of, title
from codegen.reports.terminal import highlight
from codegen.syntax.bindings import bound_names
from codegen.syntax.statements import source_lines
from codegen.types import Inherited, Intermediates, Outcome, Passage, Patches, Refusal, Release, Split

Part = Literal["", "embed", "stages", "both"]

_AROUND = 3  # lines shown about one that stands outside of any method
_STYLES: Mapping[Part, str] = {"": "dim", "embed": "green", "stages": "blue", "both": "magenta"}


@dataclass(frozen=True)
class Line:
    """A line of a source file, and the method in which its statement ends up."""

    number: int
    text: str
    part: Part


@dataclass(frozen=True)
class Excerpt:
    """Lines of a file in a row.

    Attributes:
        file: The file.
        lines: Its lines.
        embed_ends: Numbers of the lines after which the embedding is complete.
        patches_end: Number of the line after which its patches are complete, if it can be cut there.
        refused: Number of the line that stands in the way of a split, if one does.
    """

    file: str
    lines: tuple[Line, ...]
    embed_ends: tuple[int, ...]
    patches_end: int | None
    refused: int | None


@dataclass(frozen=True)
class Showing:
    """What is needed to judge a split.

    Attributes:
        title: ``timm 1.0.31``, or the path of user models.
        version: The timm release, empty for user models that need none.
        origin: Where its source was read.
        row: The class, and its split.
        shown: The class whose method is shown: itself, or the one from which it inherits its split.
        excerpts: The source.
        reads: For each name that the stages take from before the boundary, the first line that reads it there.
        straight: Whether the boundary lies between two statements of the method, as it stands.
        code: Of a split that is not straight, the generated methods.
        method: The method that is split.
    """

    title: str
    version: str
    origin: str
    row: Row
    shown: Outcome
    excerpts: tuple[Excerpt, ...]
    reads: Mapping[str, int]
    straight: bool
    code: Mapping[str, str]
    method: str


@dataclass(frozen=True)
class PassageEntry:
    """How the stages get a name that the statements before the boundary bind.

    Attributes:
        name: The name.
        way: ``crosses``, ``recomputed`` or ``moved``.
        lines: The lines before the boundary that bind it.
        reason: Why this way.
        read: The first line of the stages that reads it, ``None`` where none does.
    """

    name: str
    way: str
    lines: tuple[int, ...]
    reason: str
    read: int | None


@dataclass(frozen=True)
class ParametersEntry:
    """The names that each method takes: ``embed`` the images first, ``forward_stages`` besides the embedding."""

    embed: tuple[str, ...]
    forward_stages: tuple[str, ...]


@dataclass(frozen=True)
class ShowDocument(ListDocument):
    """What ``timm-split show --json`` prints: what ``list --json`` does, of one class, and why it is split there.

    Attributes:
        source: The source.
        straight: Whether the boundary lies between two statements of the method, as it stands.
        passages: The names that the stages take from before the boundary.
        parameters: What the methods take; ``None`` if the class is refused.
        code: Of a split that is not straight, the text of each generated method.
    """

    source: tuple[Excerpt, ...]
    straight: bool
    passages: tuple[PassageEntry, ...]
    parameters: ParametersEntry | None
    code: Mapping[str, str]


def find_class(release: Release, outcomes: Sequence[Outcome], name: str) -> Outcome:
    """The class of a name: ``Eva``, ``eva.Eva``, ``timm.models.eva.Eva``, or a model that timm registers.

    Raises:
        UsageError: If there is none or more than one, with the names that are meant perhaps.
    """
    found = [outcome for outcome in outcomes if f".{outcome.path}".endswith(f".{name}")]
    found = found or [outcome for outcome in outcomes if name in outcome.models]
    if len(found) == 1:
        return found[0]
    if found:
        paths = " or ".join(sorted(outcome.path.removeprefix("timm.models.") for outcome in found))
        raise UsageError(f"{title(release)} has {len(found)} classes {name}: ask for {paths}")
    spelled = {outcome.name.lower(): outcome.name for outcome in outcomes}
    spelled |= {model.lower(): model for outcome in outcomes for model in outcome.models}
    near = difflib.get_close_matches(name.rpartition(".")[2].lower(), spelled, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(spelled[match] for match in near)}?" if near else "timm-split list has them all"
    raise UsageError(f"{title(release)} has no class {name} with a {release.method}: {hint}")


def show_class(release: Release, outcomes: Sequence[Outcome], name: str) -> Showing:
    """Collect what there is to say of a class.

    Args:
        release: The release.
        outcomes: What became of its classes.
        name: The class, as :func:`find_class` takes it.

    Raises:
        UsageError: If the release has no such class, or several.
    """
    outcome = find_class(release, outcomes, name)
    by_path = {other.path: other for other in outcomes}
    row = rows_of(release, outcomes)[outcome.path]
    about = title(release), release.version, release.origin, row
    shown = by_path[outcome.result.parent] if isinstance(outcome.result, Inherited) else outcome
    if row.split is None:
        return Showing(*about, shown, tuple(_refused(release, outcome)), {}, True, {}, release.method)
    split = row.split
    source = _Source(release, split.boundary.place.file)
    function = source.method(split.boundary.place.line)
    assert function is not None
    straight = (
        split.delegate is None
        and not split.parents
        and any(s.end_lineno == split.boundary.place.line for s in function.body)
    )
    excerpts = [*_delegating(release, shown, source, function), source.cut(function, split)]
    excerpts += _tapped(release, split)
    code = {} if straight else _generated(release, shown)
    reads = dict(_reads(function, split))
    return Showing(*about, shown, tuple(excerpts), reads, straight, code, release.method)


class _Source:
    """A file of a release."""

    def __init__(self, release: Release, file: str) -> None:
        self.file = file
        self.text = source_lines(release.files[file])
        tree = ast.parse(release.files[file])
        self.classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]

    def method(self, line: int) -> ast.FunctionDef | None:
        """The method in which a line stands."""
        return next((m for c in self.classes for m in _methods(c) if m.lineno <= line <= (m.end_lineno or 0)), None)

    def beside(self, function: ast.FunctionDef, name: str) -> ast.FunctionDef | None:
        """The method of a name in the class of another."""
        methods = next(list(_methods(cls)) for cls in self.classes if function in cls.body)
        return next((method for method in methods if method.name == name), None)

    def excerpt(self, first: int, last: int, refused: int | None = None) -> Excerpt:
        """Lines without a part."""
        numbers = range(max(first, 1), min(last, len(self.text)) + 1)
        return Excerpt(self.file, tuple(Line(n, self.text[n - 1], "") for n in numbers), (), None, refused)

    def of(self, function: ast.FunctionDef, refused: int | None = None) -> Excerpt:
        """A method, as it stands."""
        return self.excerpt(function.lineno, function.end_lineno or function.lineno, refused)

    def cut(self, function: ast.FunctionDef, split: Split) -> Excerpt:
        """The method that is split, with the part of each line."""
        moved = {line for passage in split.passages if passage.way == "moved" for line in passage.lines}
        lines = [span for span in split.boundary.lines if span[0] not in moved]
        patches = split.patches.place.line if isinstance(split.patches, Patches) else None
        return self._drawn(function, lines, split.boundary.ends, patches)

    def tapped(self, function: ast.FunctionDef, intermediates: Intermediates) -> Excerpt:
        """``forward_intermediates``, with the part of each line."""
        return self._drawn(function, intermediates.lines, (intermediates.place.line,), None)

    def _drawn(
        self, function: ast.FunctionDef, spans: Sequence[tuple[int, int]], ends: tuple[int, ...], patches: int | None
    ) -> Excerpt:
        embed = {n for first, last in spans for n in range(first, last + 1)}
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        parts = dict(self._parts(body, embed))
        following: Part = "stages"
        first = body[0].lineno
        while self.text[first - 2].strip()[:1] in ("", "#"):
            first -= 1
        for number in range(function.end_lineno or 0, first - 1, -1):
            following = parts.setdefault(number, following)  # a comment belongs to the statement below it
        lines = tuple(Line(line.number, line.text, parts.get(line.number, "")) for line in self.of(function).lines)
        return Excerpt(self.file, lines, ends, patches, None)

    def _parts(self, statements: Iterable[ast.stmt], embed: set[int]) -> Iterator[tuple[int, Part]]:
        for statement in statements:
            numbers = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
            if statement.lineno in embed:
                yield from ((number, "embed") for number in numbers)
            elif embed.isdisjoint(numbers):
                yield from ((number, "stages") for number in numbers)
            else:  # the boundary is inside: `if`, `else` and `for` are needed on both sides
                yield from ((n, "both") for n in numbers if self.text[n - 1].strip()[:1] not in ("", "#"))
                inner = (s for s in ast.iter_child_nodes(statement) if isinstance(s, ast.stmt))
                yield from self._parts(inner, embed)


def _methods(cls: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (node for node in cls.body if isinstance(node, ast.FunctionDef))


def _delegating(release: Release, shown: Outcome, source: _Source, function: ast.FunctionDef) -> Iterator[Excerpt]:
    """The methods through which a class that delegates to an inner model reaches the method that is cut."""
    if not isinstance(shown.result, Split) or shown.result.delegate is None:
        return
    outer = _Source(release, shown.place.file)
    method = outer.method(shown.place.line)
    assert method is not None
    yield outer.of(method)
    inner = source.beside(function, "forward")
    if inner is not None and inner is not function:
        yield source.of(inner)


def _tapped(release: Release, split: Split) -> Iterator[Excerpt]:
    """The ``forward_intermediates`` of a class, where it goes on from an embedding, too."""
    if isinstance(split.intermediates, Intermediates):
        source = _Source(release, split.intermediates.place.file)
        function = source.method(split.intermediates.place.line)
        assert function is not None
        yield source.tapped(function, split.intermediates)


def _refused(release: Release, outcome: Outcome) -> Iterator[Excerpt]:
    """The method that is refused, or the lines around the place that is in the way if that is elsewhere."""
    assert isinstance(outcome.result, Refusal)
    place = outcome.result.place
    source = _Source(release, place.file)
    method = source.method(place.line)
    if method is not None:
        yield source.of(method, place.line)
    else:
        yield source.excerpt(place.line - _AROUND, place.line + _AROUND, place.line)


def _reads(function: ast.FunctionDef, split: Split) -> Iterator[tuple[str, int]]:
    """For each name that gets to the stages, the first line behind the embedding that reads it."""
    embed = {n for first, last in split.boundary.lines for n in range(first, last + 1)}
    loads = [n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    loads += [n.target for n in ast.walk(function) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)]
    for passage in split.passages:
        lines = [n.lineno for n in loads if n.id == passage.name and n.lineno > max(embed, default=0)]
        lines = lines or [n.lineno for n in loads if n.id == passage.name and n.lineno not in embed]
        if lines:
            yield passage.name, min(lines)


def _generated(release: Release, outcome: Outcome) -> dict[str, str]:
    """The text of the new methods as they are generated."""
    text = render(release.version, [outcome], method=release.method)[f"{module_names([outcome])[outcome.module]}.py"]
    lines = source_lines(text)
    cls = next(
        node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == outcome.split_name
    )
    return {
        method.name: "\n".join(line.removeprefix("    ") for line in lines[method.lineno - 1 : method.end_lineno])
        for method in _methods(cls)
        if method.name != release.method
    }


def to_json(showing: Showing) -> str:
    """What is shown, for machines, as docs/manifest.md says."""
    split = showing.row.split
    document = ShowDocument(
        format=manifest.FORMAT,
        timm_version=showing.version or None,
        origin=showing.origin,
        classes={showing.row.outcome.path: showing.row.entry},
        source=showing.excerpts,
        straight=showing.straight,
        passages=_passages(split, showing.reads) if split else (),
        parameters=ParametersEntry(_names(split, "embed"), _names(split, "stages")) if split else None,
        code=showing.code,
    )
    return manifest.to_json(document)


def _passages(split: Split, reads: Mapping[str, int]) -> tuple[PassageEntry, ...]:
    return tuple(PassageEntry(p.name, p.way, p.lines, p.reason, reads.get(p.name)) for p in split.passages)


def _names(split: Split, part: Part) -> tuple[str, ...]:
    method = split.embed if part == "embed" else split.forward_stages
    return tuple(parameter.name for parameter in method.parameters)


def print_showing(showing: Showing, out: Console) -> None:
    """Print the source, ruled where the embedding ends, and the reasons below it."""
    outcome = showing.row.outcome
    models = f"{len(outcome.models)} model{'' if len(outcome.models) == 1 else 's'}"
    out.print(Text.assemble((outcome.path, "bold"), f"  {showing.title}, {models}"))
    if isinstance(outcome.result, Inherited):
        parent = parent_name(outcome.result)
        out.print(Text(f"inherits {showing.method} from {parent} ({showing.shown.place}), and with it this split:"))
    for excerpt in showing.excerpts:
        _print_excerpt(excerpt, outcome, out)
    if showing.row.split is not None:
        _print_reasons(showing, showing.row.split, out)


def _print_excerpt(excerpt: Excerpt, outcome: Outcome, out: Console) -> None:
    out.print()
    out.print(Text(excerpt.file, "bold"))
    bar, rule = ("|", "-" * 4) if out.options.ascii_only else ("│", "─" * 4)
    width = len(str(excerpt.lines[-1].number))
    code = [Text(line.text) for line in excerpt.lines]
    if out.is_terminal:
        code = highlight([line.text for line in excerpt.lines])
    labels = any(line.part for line in excerpt.lines)
    for line, text in zip(excerpt.lines, code, strict=True):
        marked = line.number == excerpt.refused
        label = f" {line.part if line.text.strip() else '':6}" if labels else (" >" if marked else "  ")
        gutter = (f"{line.number:>{width}}{label} {bar} ", "bold red" if marked else _STYLES[line.part])
        row = Text.assemble(gutter, text)
        row.rstrip()
        out.print(row, soft_wrap=True)
        indent = " " * (width + len(label) + 1)
        if line.number == excerpt.patches_end:
            out.print(
                Text(f"{indent}{rule} embed_patches ends, embed_positions begins {rule}", "yellow"), soft_wrap=True
            )
        if line.number in excerpt.embed_ends:
            out.print(Text(f"{indent}{rule} embed ends, stages begin {rule}", "bold yellow"), soft_wrap=True)
        if marked and isinstance(outcome.result, Refusal):
            out.print(Text(f"{indent}{rule} refused: {outcome.result.reason}", "bold red"), soft_wrap=True)


def _print_reasons(showing: Showing, split: Split, out: Console) -> None:
    _heading("Why the boundary is there", out)
    for reason in split.boundary.reasons:
        out.print(Text(f"  {reason}"))
    if isinstance(split.patches, Patches):
        _heading(f"Why embed_patches ends there, which returns {returned(split.patches)}", out)
        for reason in split.patches.reasons:
            out.print(Text(f"  {reason}"))
    else:
        _heading("No embed_patches", out)
        out.print(Text(f"  {split.patches.reason}"))
    _heading(f"embed returns {returned(split)}", out)
    kinds = {field.name: field.annotation for field in split.fields}
    again = {name: text for text in split.recomputed for name in bound_names(ast.parse(text))}
    width = max((len(passage.name) for passage in split.passages), default=0)
    order = {name: number for number, name in enumerate(kinds)}
    for passage in sorted(split.passages, key=lambda passage: order.get(passage.name, len(order))):
        out.print(Text(f"  {passage.name:{width}}  {_sentence(passage, kinds, again, showing.reads)}"))
    first, *others = _names(split, "embed")
    stages = _names(split, "stages")
    only = [name for name in others if name not in stages]
    _heading("Parameters", out)
    for to, names in (
        ("embed alone", [first, *only]),
        ("forward_stages alone", [name for name in stages if name not in others]),
        ("both", [name for name in others if name in stages]),
    ):
        if names:
            out.print(Text(f"  to {to}: {', '.join(names)}"))
    unused = [p.name for p in split.forward_features if p.name not in (first, *others, *stages)]
    if unused:
        out.print(Text(f"  to neither, for nothing reads them: {', '.join(unused)}"))
    _print_intermediates(split, out)
    for name, text in showing.code.items():
        _heading(f"{name}, as generated", out)
        lines = text.split("\n")
        for line in highlight(lines) if out.is_terminal else map(Text, lines):
            out.print(Text.assemble("  " if line else "", line), soft_wrap=True)
    _heading(f"Generated as {showing.row.generated}", out)


def _print_intermediates(split: Split, out: Console) -> None:
    found = split.intermediates
    if isinstance(found, Refusal):
        _heading("No forward_stages_intermediates", out)
        out.print(Text(f"  {found.place}: {found.reason}"))
    elif found is not None:
        _heading("forward_stages_intermediates takes", out)
        out.print(Text(f"  of the embedding: {', '.join(field for field, _ in found.taken)}"))
        names = [
            *(["image_size"] if found.image_size else []),
            *(parameter.name for parameter in found.stages.parameters),
        ]
        if names:
            out.print(Text(f"  and: {', '.join(names)}"))
        if found.inside_stem:
            lines = f"line{'s' if len(found.inside_stem) > 1 else ''} {', '.join(map(str, found.inside_stem))}"
            out.print(Text(f"  an error where {lines} would take what is made before the embedding is complete"))


def _heading(text: str, out: Console) -> None:
    out.print()
    out.print(Text(text, "bold"))


def _sentence(passage: Passage, kinds: Mapping[str, str], again: Mapping[str, str], reads: Mapping[str, int]) -> str:
    """``torch.Tensor, crosses: it is made of `x`; bound on line 12, read on line 20``."""
    what = {
        "crosses": f"{kinds.get(passage.name, '')}, crosses",
        "recomputed": f"recomputed in forward_stages by `{again.get(passage.name, '')}`",
        "moved": "moved to forward_stages",
    }[passage.way]
    lines = ", ".join(map(str, passage.lines))
    places = [f"bound on line{'s' if len(passage.lines) > 1 else ''} {lines}"] if lines else []
    if passage.name in reads:
        places.append(f"read on line {reads[passage.name]}")
    return f"{what}: {passage.reason}" + (f"; {', '.join(places)}" if places else "")
