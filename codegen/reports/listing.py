"""``timm-split list``: the model classes of a release, and where each is split or why it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codegen.errors import UsageError
from codegen.package.manifest import patches_entry
from codegen.package.naming import module_name, module_names
from codegen.types import Inherited, Outcome, Patches, Place, Refusal, Release, Split

_COLUMNS = ("module", "class", "models", "boundary", "embed returns")


@dataclass(frozen=True)
class Row:
    """One model class.

    Attributes:
        outcome: What became of it.
        split: Its split, or that of the class from which it inherits one; ``None`` if it is refused.
        generated: Where its split class is: ``generated.eva.EvaSplit``, or ``.my_model.TinySplit`` of one's own models,
            in the package that ``--output`` names; empty if it is refused.
    """

    outcome: Outcome
    split: Split | None
    generated: str

    @property
    def place(self) -> Place:
        """The line of the boundary, or the line that stands in the way."""
        if isinstance(self.outcome.result, Refusal):
            return self.outcome.result.place
        assert self.split is not None
        return self.split.boundary.place

    @property
    def cells(self) -> tuple[str, ...]:
        """What is printed, in the order of the columns."""
        result = self.outcome.result
        if isinstance(result, Refusal):
            last = f"refused: {result.reason}"
        else:
            assert self.split is not None
            last = returned(self.split) + (f"  (of {parent_name(result)})" if isinstance(result, Inherited) else "")
        module = self.outcome.module.removeprefix("timm.models.")
        return (module, self.outcome.name, str(len(self.outcome.models)), str(self.place), last)


@dataclass(frozen=True)
class Listing:
    """The classes that were asked for.

    Attributes:
        title: Of what: ``timm 1.0.31``, or the path of one's own models.
        version: The timm release, empty for one's own models that need none.
        origin: Where its source was read.
        rows: The classes.
    """

    title: str
    version: str
    origin: str
    rows: tuple[Row, ...]


def returned(made: Split | Patches) -> str:
    """What ``embed`` or ``embed_patches`` returns: ``torch.Tensor, NLC`` or ``EvaEmbedding(x, rot_pos_embed), NLC``."""
    record = made.embedding if isinstance(made, Split) else made.record
    kind = f"{record}({', '.join(f.name for f in made.fields)})" if record else made.fields[0].annotation
    return kind + (f", {made.layout}" if made.layout else "")


def parent_name(result: Inherited) -> str:
    """The name of the class that is inherited from, without its module."""
    return result.parent.rpartition(".")[2]


def resolved(outcome: Outcome, by_path: Mapping[str, Outcome]) -> Split | None:
    """The split of a class, its own or inherited; ``None`` if it is refused."""
    result = outcome.result
    if isinstance(result, Inherited):
        result = by_path[result.parent].result
    return result if isinstance(result, Split) else None


def list_classes(release: Release, outcomes: Sequence[Outcome], patterns: Sequence[str] = ()) -> Listing:
    """List the classes that a pattern matches, all if there is none, in order of module and class.

    Args:
        release: The release.
        outcomes: What became of its classes.
        patterns: Shell patterns for the class, its module, its full name, or a name under which timm registers it.

    Raises:
        UsageError: If a pattern matches nothing.
    """
    by_path = {outcome.path: outcome for outcome in outcomes}
    chosen = set(by_path) if not patterns else set()
    for pattern in patterns:
        found = {path for path, outcome in by_path.items() if _matches(pattern, outcome)}
        if not found:
            hint = "timm-split list shows them all" if "*" in pattern else f"try '*{pattern}*'"
            raise UsageError(f"{title(release)} has no class or model that matches {pattern!r}: {hint}")
        chosen |= found
    rows = tuple(row_of(release, outcome, outcomes) for outcome in outcomes if outcome.path in chosen)
    return Listing(title(release), release.version, release.origin, tuple(sorted(rows, key=lambda r: r.outcome.path)))


def title(release: Release) -> str:
    """What a release is called: ``timm 1.0.31``, or the path of somebody's own models."""
    return release.origin if release.own else f"timm {release.version}"


def row_of(release: Release, outcome: Outcome, outcomes: Sequence[Outcome]) -> Row:
    """The row of one class among all of its release."""
    split = resolved(outcome, {other.path: other for other in outcomes})
    if split is None:
        return Row(outcome, None, "")
    package = "" if release.own else "generated"
    return Row(outcome, split, f"{package}.{module_names(outcomes)[outcome.module]}.{outcome.name}Split")


def _matches(pattern: str, outcome: Outcome) -> bool:
    module = outcome.module.rpartition(".")[2]
    names = (outcome.name, module, module_name(outcome.module), outcome.module, outcome.path, *outcome.models)
    return any(fnmatchcase(name, pattern) for name in names)


def to_json(listing: Listing) -> str:
    """The listing for machines.

    An object with ``timm_version`` (or ``null``), ``origin`` and ``classes``, a list of objects, each with

    - ``class``, ``module``: strings; ``models``: the names under which timm registers it, a list of strings;
    - ``generated``: the import path of the split class, ``null`` if it is refused;
    - ``inherits``: the full name of the class whose split it inherits, or ``null``;
    - ``embed``: ``null`` if it is refused, else ``returns`` (the ``NamedTuple``, or ``null`` for the tokens alone),
      ``fields`` (a list of ``name`` and ``annotation``; the first holds the tokens) and ``layout`` (of the tokens,
      ``NLC``, ``NHWC`` or ``NCHW``, or ``null``);
    - ``boundary``: ``null`` if it is refused, else ``file``, ``line`` and ``statement``;
    - ``position``: whether ``embed`` gives the tokens a position, ``null`` if it is refused;
    - ``patches``: ``null`` if it is refused, else what :func:`codegen.package.manifest.patches_entry` says;
    - ``refused``: ``null`` if it is split, else ``file``, ``line`` and ``reason``.
    """
    classes = [row_as_json(row) for row in listing.rows]
    return json.dumps({"timm_version": listing.version or None, "origin": listing.origin, "classes": classes}, indent=1)


def row_as_json(row: Row) -> dict[str, object]:
    """One class, as :func:`to_json` has it."""
    outcome, split = row.outcome, row.split
    result = outcome.result
    refused = {**asdict(result.place), "reason": result.reason} if isinstance(result, Refusal) else None
    embed: dict[str, object] | None = None
    boundary: dict[str, object] | None = None
    if split is not None:
        fields = [asdict(field) for field in split.fields]
        embed = {"returns": split.embedding or None, "fields": fields, "layout": split.layout or None}
        boundary = {**asdict(split.boundary.place), "statement": split.boundary.statement}
    return {
        "class": outcome.name,
        "module": outcome.module,
        "models": list(outcome.models),
        "generated": row.generated or None,
        "inherits": result.parent if isinstance(result, Inherited) else None,
        "embed": embed,
        "boundary": boundary,
        "position": None if split is None else split.position,
        "patches": None if split is None else patches_entry(split.patches),
        "refused": refused,
    }


def print_listing(listing: Listing, out: Console) -> None:
    """Print a table on a terminal, elsewhere aligned columns under a header: a class a line."""
    if out.is_terminal:
        out.print(_table(listing))
        out.print(summary(listing))
    else:
        for line in _aligned([_COLUMNS, *(row.cells for row in listing.rows)]):
            out.print(Text(line))


def summary(listing: Listing) -> str:
    """The counts: ``timm 1.0.31: 98 classes, 91 split, 7 refused``."""
    refused = sum(row.split is None for row in listing.rows)
    classes = len(listing.rows)
    return f"{listing.title}: {classes} classes, {classes - refused} split, {refused} refused"


def _table(listing: Listing) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column == "models" else "left", overflow="fold")
    for row in listing.rows:
        style = "yellow" if row.split is None else ""
        cells = [Text(cell) for cell in row.cells]
        cells[1].stylize("bold")
        table.add_row(*cells, style=style)
    return table


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS))]
    for row in rows:
        cells = (
            cell.rjust(width) if name == "models" else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()
