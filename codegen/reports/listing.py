"""``timm-split list``: the model classes of a release, and where each is split or why it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codegen import manifest
from codegen.errors import UsageError
from codegen.manifest import ClassEntry
from codegen.package.entries import class_entries
from codegen.package.naming import module_name
from codegen.types import Inherited, Intermediates, Outcome, Patches, Place, Refusal, Release, Split

_COLUMNS = ("module", "class", "models", "boundary", "embed returns")


@dataclass(frozen=True)
class Row:
    """One model class.

    Attributes:
        outcome: What became of it.
        split: Its split, or that of the class from which it inherits one; ``None`` if it is refused.
        entry: What the manifest says of it.
        generated: Where its split class is: ``generated.eva.EvaSplit``, or ``.my_model.TinySplit`` of user models,
            in the package that ``--output`` names; empty if it is refused.
    """

    outcome: Outcome
    split: Split | None
    entry: ClassEntry
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
        title: Of what: ``timm 1.0.31``, or the path of user models.
        version: The timm release, empty for user models that need none.
        origin: Where its source was read.
        rows: The classes.
    """

    title: str
    version: str
    origin: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ListDocument:
    """What ``timm-split list --json`` prints.

    Attributes:
        format: Number of the manifest's format.
        timm_version: The timm release, ``None`` for user models that need none.
        origin: Where its source was read.
        classes: The entry of each class in the manifest, by the full name of the class.
    """

    format: int
    timm_version: str | None
    origin: str
    classes: Mapping[str, ClassEntry]


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
    rows = tuple(row for path, row in rows_of(release, outcomes).items() if path in chosen)
    return Listing(title(release), release.version, release.origin, rows)


def title(release: Release) -> str:
    """What a release is called: ``timm 1.0.31``, or the path of user models."""
    return release.origin if release.user_files else f"timm {release.version}"


def rows_of(release: Release, outcomes: Sequence[Outcome]) -> Mapping[str, Row]:
    """The row of each class of a release by its full name, in the order of these names."""
    by_path = {outcome.path: outcome for outcome in outcomes}
    package = "" if release.user_files else "generated"
    rows = {}
    for path, entry in class_entries(outcomes).items():
        generated = f"{package}.{entry.split.module}.{entry.split.class_}" if entry.split else ""
        rows[path] = Row(by_path[path], resolved(by_path[path], by_path), entry, generated)
    return rows


def _matches(pattern: str, outcome: Outcome) -> bool:
    module = outcome.module.rpartition(".")[2]
    names = (outcome.name, module, module_name(outcome.module), outcome.module, outcome.path, *outcome.models)
    return any(fnmatchcase(name, pattern) for name in names)


def to_json(listing: Listing) -> str:
    """The listing for machines, as docs/manifest.md says."""
    classes = {row.outcome.path: row.entry for row in listing.rows}
    return manifest.to_json(ListDocument(manifest.FORMAT, listing.version or None, listing.origin, classes))


def print_listing(listing: Listing, out: Console) -> None:
    """Print a table on a terminal, elsewhere aligned columns under a header: a class a line."""
    if out.is_terminal:
        out.print(_table(listing))
        out.print(summary(listing))
    else:
        for line in _aligned([_COLUMNS, *(row.cells for row in listing.rows)]):
            out.print(Text(line))


def summary(listing: Listing) -> str:
    """The counts: ``timm 1.0.31: 98 classes, 91 split, 81 of them with intermediate features, 7 refused``."""
    refused = sum(row.split is None for row in listing.rows)
    classes = len(listing.rows)
    tapped = sum(row.split is not None and isinstance(row.split.intermediates, Intermediates) for row in listing.rows)
    with_features = f", {tapped} of them with intermediate features" if tapped else ""
    return f"{listing.title}: {classes} classes, {classes - refused} split{with_features}, {refused} refused"


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
