"""The embedding of ``forward_features``, found in ``forward_intermediates``, in whatever form it stands there."""

from __future__ import annotations

import ast
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
from codegen.split.tensor_images import as_tensor
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk


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
        of_tensor: Whether the first parameter is surely a tensor.
    """

    statements: Sequence[Statement]
    images: str
    parameters: Sequence[str]
    fields: Sequence[str]
    context: str
    is_image_batch: bool
    early: Sequence[Statement]
    of_tensor: bool = False


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
    asked = as_tensor(module, statements, images) if embedding.of_tensor else statements
    again = find(_without_asides(theirs, embedding.fields[0]), asked)
    if again.missing is None:
        return Joined(asked), again
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


def _without_asides(statements: Sequence[Statement], tokens: str) -> list[Statement]:
    """Statements of an embedding without those that none of the others reads: ``naflex = coord is not None``."""
    found = list(statements)
    for statement in reversed(statements):
        others = [other.tree for other in found if other is not statement]
        match statement.tree:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name != tokens and _only_compares(value):
                if name not in {node.id for tree in others for node in walk(tree) if isinstance(node, ast.Name)}:
                    found.remove(statement)
    return found


def _only_compares(value: ast.expr) -> bool:
    """Whether an expression asks whether variables are what others are, or constants."""
    plain = ast.Name | ast.Constant | ast.BoolOp | ast.boolop | ast.expr_context | ast.Compare | ast.Is | ast.IsNot
    return all(isinstance(node, plain) for node in ast.walk(value))


def _joined(
    facts: Facts, module: Module, statements: Sequence[Statement], stems: frozenset[str], numbers: frozenset[str]
) -> Joined:
    """Statements in which calls of a stem stand for what runs it in another way."""
    found = Joined(())
    for statement in statements:
        found = found.followed_by(call_whole(facts, module, statement) or Joined((statement,)))
    parts = join_parts(facts, module, found.statements, stems, numbers)
    return replace(parts, ran=(*found.ran, *parts.ran), asked=found.asked)
