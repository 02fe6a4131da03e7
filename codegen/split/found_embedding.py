"""The embedding of ``forward_features``, found in ``forward_intermediates``, in whatever form it stands there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.split.alignment import Alignment, align
from codegen.split.boundary import Refused, find_cut
from codegen.split.collecting import indices_by_number
from codegen.split.first_round import open_first_round
from codegen.split.missing_embedding import MissingEmbedding
from codegen.split.named_rounds import open_named_rounds
from codegen.split.stem_parts import Joined, called_whole, join_parts
from codegen.split.tapped_stem import call_whole
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement


@dataclass(frozen=True)
class Embedding:
    """The embedding of ``forward_features``, which is to be found in ``forward_intermediates``.

    Attributes:
        statements: Those of ``embed``.
        images: Its first parameter.
        parameters: The others.
        fields: What it returns, the tokens first.
        context: What it enters.
        is_image_batch: Whether the first parameter is known to be an image batch, (B, C, H, W).
        early: Those of the statements by which it may return before it is complete.
    """

    statements: Sequence[Statement]
    images: str
    parameters: Sequence[str]
    fields: Sequence[str]
    context: str
    is_image_batch: bool
    early: Sequence[Statement]


def find_embedding(
    facts: Facts,
    module: Module,
    embedding: Embedding,
    statements: tuple[Statement, ...],
    images: str,
    others: Sequence[str],
) -> tuple[Joined, Alignment]:
    """Statements of a method, and where an embedding is among them.

    Where they run a stem part by part, calls stand for that; where the embedding is inside one of them, that is cut as
    a boundary is.

    Args:
        facts: The class.
        module: The file in which the method stands.
        embedding: What is looked for.
        statements: Those of the method.
        images: Its first parameter.
        others: Its other parameters.

    Raises:
        Refused: If the embedding is not there.
    """
    theirs = [statement for statement in embedding.statements if statement not in embedding.early]

    def find(theirs: Sequence[Statement], statements: Sequence[Statement]) -> Alignment:
        shared = [name for name in others if name in embedding.parameters]
        names = (embedding.images, images)
        return align(theirs, statements, names, shared, is_image_batch=embedding.is_image_batch)

    def found(statements: Sequence[Statement]) -> Alignment:
        return find(theirs, statements)

    alignment = found(statements)
    if alignment.missing is None:
        return Joined(statements), alignment
    joined = _joined(facts, module, statements, called_whole(theirs), indices_by_number(statements, others))
    if joined.ran:
        again = found(joined.statements)
        if again.missing is None:
            return joined, again
    begun = open_first_round(facts, module, statements, found)
    if begun is not None and begun[1].missing is None:
        return Joined(begun[0]), begun[1]
    named = open_named_rounds(facts, module, statements, indices_by_number(statements, others), found)
    if named is not None:
        return named, found(named.statements)
    try:
        cut = find_cut(facts, statements, images)
    except (Refused, Unsound):
        pass
    else:
        opened = (*cut.embed, *cut.stages)
        again = found(opened)
        if again.missing is None:
            return Joined(opened), again
    raise MissingEmbedding(facts, module, statements, images, indices_by_number(statements, others)).why(theirs, find)


def _joined(
    facts: Facts, module: Module, statements: Sequence[Statement], stems: frozenset[str], numbers: frozenset[str]
) -> Joined:
    """Statements in which calls of a stem stand for what runs it in another way."""
    found = Joined(())
    for statement in statements:
        found = found.followed_by(call_whole(facts, module, statement) or Joined((statement,)))
    parts = join_parts(facts, module, found.statements, stems, numbers)
    return replace(parts, ran=(*found.ran, *parts.ran), asked=found.asked)
