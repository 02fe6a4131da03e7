"""``forward_intermediates``, cut where the embedding of ``forward_features`` is complete.

timm's method takes images. The statements by which it makes the embedding have to be those of ``forward_features``;
what it does besides, before the embedding is complete, calculates with its arguments alone and may run after it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.model.shape import keeps_batch
from codegen.source.index import Class
from codegen.split.alignment import IMAGES, Alignment, Size
from codegen.split.around_embedding import Around, check_around
from codegen.split.boundary import Refused
from codegen.split.collecting import indices_by_number, raised
from codegen.split.context import without_context
from codegen.split.crossing import Crossing, cross
from codegen.split.found_embedding import Embedding, find_embedding
from codegen.split.inlining import write_out_helpers
from codegen.split.missing_embedding import INTERMEDIATES
from codegen.split.soundness import check_method, check_scope
from codegen.syntax.dataflow import flow
from codegen.syntax.statements import Body, Statement, read_method
from codegen.syntax.walking import walk
from codegen.types import Place

IMAGE_SIZE = "image_size"


@dataclass(frozen=True)
class IntermediatesCut:
    """``forward_intermediates`` without the statements that make the embedding.

    Attributes:
        owner: The class in which it stands.
        function: It.
        body: All of it.
        made: The statements that make the embedding: its own, or calls that stand for what runs a stem by parts.
        lines: First and last line of each of its statements that makes the embedding.
        taken: What it takes from the embedding: the field, and what it calls it; the tokens first.
        reads_size: Whether it reads the height and width of the images.
        sizes: Statements that read sizes: ``B = x.shape[0]``, ``height, width = image_size``.
        recomputed: Statements that recompute what need not be taken.
        early: Statements that raise an error where there is no whole embedding.
        stages: The statements after the embedding.
        parameters: Its parameters, the images aside and those that the embedding alone reads.
        needs: The names that its statements and signature take from the module.
        inside_stem: The lines that take features from before the embedding, where there is an error now.
        whole: What the embedding as a whole is called, where it is passed on; empty where its fields are taken.
    """

    owner: Class
    function: ast.FunctionDef
    body: Body
    made: tuple[Statement, ...]
    lines: tuple[tuple[int, int], ...]
    taken: tuple[tuple[str, str], ...]
    reads_size: bool
    sizes: tuple[str, ...]
    recomputed: tuple[str, ...]
    early: tuple[str, ...]
    stages: tuple[Statement, ...]
    parameters: tuple[str, ...]
    needs: frozenset[str]
    inside_stem: tuple[int, ...] = ()
    whole: str = ""


@dataclass(frozen=True)
class Method:
    """The ``forward_intermediates`` of a class, as it stands.

    Attributes:
        owner: The class in which it stands.
        function: It.
        body: All of it.
    """

    owner: Class
    function: ast.FunctionDef
    body: Body

    @property
    def images(self) -> str:
        """Its first parameter."""
        return self.body.parameters[0].name

    @property
    def others(self) -> tuple[str, ...]:
        """Its other parameters."""
        return tuple(parameter.name for parameter in self.body.parameters[1:])


def read_intermediates(facts: Facts) -> Method | None:
    """The ``forward_intermediates`` of a class; ``None`` where it has none.

    Raises:
        Refused: If it takes its arguments in a way that cannot be followed.
    """
    owner = next((ancestor for ancestor in facts.lineage if INTERMEDIATES in ancestor.members), None)
    if owner is None:
        return None
    function = check_method(owner.module, owner.members[INTERMEDIATES])
    body = read_method(owner.module.text, function, owner.module.path, facts.index.computed_names(owner.module.path))
    place = Place(owner.module.path, function.lineno)
    if not body.statements or not body.parameters or body.parameters[0].kind not in ("positional", "positional-only"):
        raise Refused(place, "it takes no images")
    starred = next((p for p in body.parameters if p.kind.startswith("*")), None)
    if starred is not None:
        raise Refused(place, f"it takes `{starred.kind}{starred.name}`")
    return Method(owner, function, body)


def cut_intermediates(facts: Facts, embedding: Embedding) -> IntermediatesCut | None:
    """Cut the ``forward_intermediates`` of a class.

    Args:
        facts: The class, or the inner model that it delegates to.
        embedding: What ``embed`` of the class does.

    Returns:
        The cut; ``None`` where the class has no such method.

    Raises:
        Refused: If it does not make the embedding as ``forward_features`` does.
        Unsound: If it cannot be cut there.
    """
    method = read_intermediates(facts)
    if method is None:
        return None
    owner, function, body = method.owner, method.function, method.body
    images, others = method.images, method.others
    place = Place(owner.module.path, function.lineno)
    context, statements = without_context(facts, owner.module, body.statements, [images, *others])
    if context != embedding.context:
        raise Refused(place, f"it enters {_quoted(context)}, and forward_features {_quoted(embedding.context)}")
    statements = write_out_helpers(facts, statements, [images, *others])
    whole = flow([s.tree for s in statements], [body.receiver, images, *others])
    check_scope(owner.module, owner.node, function, whole)
    joined, alignment = find_embedding(facts, owner.module, embedding, statements, images, others)
    statements = joined.statements
    around = Around.of(facts, owner.module, joined, alignment, images, indices_by_number(statements, others))
    tokens = _tokens(embedding, alignment, statements)
    crossing = cross(facts, around.made, around.rest, body.parameters, tokens)
    check_around(facts, crossing, around, [images, *others], embedding.early)
    taken, sizes = _handed_over(embedding, alignment, crossing, around.rest)
    batch = [name for name, size in sizes.items() if size.dimension == 0]
    if batch and tokens not in keeps_batch(facts, [s.tree for s in around.made], images, believes_defaults=True):
        reason = f"it reads `{batch[0]}`, the batch size of the images, which `{tokens}` is not known to have first"
        raise Refused(_reader(batch[0], around.rest), reason)
    given = {p.name for p in body.parameters[1:]} - (set(others) & _read_by_embedding_alone(crossing, others))
    early = tuple(_without_stages(statement) for statement in embedding.early)
    stages = flow(
        [*_parsed((*early, *crossing.recomputed)), *(s.tree for s in crossing.stages)], [body.receiver, *others]
    )
    made = tuple(statements[number] for number in alignment.equal)
    return IntermediatesCut(
        owner=owner,
        function=function,
        body=body,
        made=made,
        lines=tuple(sorted({(s.place.line, s.last.line) for s in (*made, *joined.ran)})),
        taken=taken,
        reads_size=len(sizes) > len(batch),
        sizes=(*(f"{name} = {tokens}.shape[0]" for name in batch), *_unpacked(sizes, around.rest)),
        recomputed=crossing.recomputed,
        early=early,
        stages=crossing.stages,
        parameters=tuple(name for name in others if name in given),
        needs=stages.needs - stages.may_bind - {*sizes, *(name for _, name in taken)},
        inside_stem=around.refusing,
    )


def _quoted(context: str) -> str:
    return f"`{context}`" if context else "nothing"


def _without_stages(statement: Statement) -> str:
    """An error, where ``embed`` returns what is no whole embedding, by the same question about the model."""
    assert isinstance(statement.tree, ast.If)
    what = "the model ends in its stem, so that embed() returns no whole embedding: "
    return f"if {ast.unparse(statement.tree.test)}:\n{raised(what, 'call forward_intermediates(images)')}"


def _tokens(embedding: Embedding, alignment: Alignment, statements: Sequence[Statement]) -> str:
    """What the method calls the tokens when the embedding is complete."""
    value = alignment.theirs[embedding.fields[0]]
    names = [name for name, held in alignment.ours.items() if held == value]
    if not names:
        place = statements[alignment.equal[-1]].place
        raise Refused(place, "no variable holds the tokens when the embedding is complete")
    return names[0]


def _handed_over(
    embedding: Embedding, alignment: Alignment, crossing: Crossing, rest: Sequence[Statement]
) -> tuple[tuple[tuple[str, str], ...], Mapping[str, Size]]:
    """What is taken from an embedding, each with the name that it has here; and which variables hold the image size.

    Raises:
        Refused: If the method needs more of what was before the boundary.
    """
    fields = {alignment.theirs[name]: name for name in reversed(embedding.fields) if name in alignment.theirs}
    taken: list[tuple[str, str]] = []
    sizes: dict[str, Size] = {}
    for name in crossing.fields:
        value = alignment.ours.get(name)
        if value in fields:
            taken.append((fields[value], name))
        elif isinstance(value, Size) and value.of == IMAGES and value.dimension in (0, -2, -1):
            sizes[name] = value
        elif isinstance(value, Size):
            what = "the images" if value.of == IMAGES else "what the embedding makes on its way"
            reason = f"it reads `{name}`, a size of {what}, which the embedding does not hold"
            raise Refused(_reader(name, rest), reason)
        else:
            what = "the images" if value == IMAGES else f"`{name}`"
            raise Refused(_reader(name, rest), f"it reads {what} after the embedding, which does not hold it")
    return tuple(taken), sizes


def _reader(name: str, rest: Sequence[Statement]) -> Place:
    """Where a variable is read first, by one of some statements."""
    for statement in rest:
        for node in walk(statement.tree):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                return Place(statement.place.file, node.lineno)
    return rest[0].place


def _unpacked(sizes: Mapping[str, Size], rest: Sequence[Statement]) -> tuple[str, ...]:
    """The statements that give variables the height and width of the images.

    Raises:
        Refused: If it cannot be handed over.
    """
    mentioned = {node.id for s in rest for node in walk(s.tree) if isinstance(node, ast.Name)}
    sizes = {name: size for name, size in sizes.items() if size.dimension}
    whole = [name for name, size in sizes.items() if size.to_last]
    one = {size.dimension: name for name, size in sizes.items() if not size.to_last}
    if any(sizes[name].dimension != -2 for name in whole) or len(one) + len(whole) < len(sizes):
        raise Refused(rest[0].place, "it reads the image size in a way that cannot be passed on")
    if sizes and IMAGE_SIZE in mentioned - set(whole):
        raise Refused(rest[0].place, f"it has a variable `{IMAGE_SIZE}` of its own")
    found = [f"{name} = {IMAGE_SIZE}" for name in whole if name != IMAGE_SIZE]
    if len(one) == 2:
        return (*found, f"{one[-2]}, {one[-1]} = {IMAGE_SIZE}")
    return (*found, *(f"{name} = {IMAGE_SIZE}[{dimension}]" for dimension, name in one.items()))


def _read_by_embedding_alone(crossing: Crossing, others: Sequence[str]) -> set[str]:
    read = set(crossing.embed_parameters) - set(crossing.stages_parameters)
    return {name for name in others if name in read}


def _parsed(texts: Sequence[str]) -> list[ast.stmt]:
    return [statement for text in texts for statement in ast.parse(text).body]
