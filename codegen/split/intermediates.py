"""``forward_intermediates``, cut where the embedding of ``forward_features`` is complete.

timm's method takes images. The statements by which it makes the embedding have to be those of ``forward_features``;
what it does besides, before the embedding is complete, calculates with its arguments alone and may run after it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.model.effects import effects
from codegen.model.facts import Facts
from codegen.model.places import ANY
from codegen.model.places import Place as WrittenPlace
from codegen.model.quiet import is_quiet
from codegen.model.shape import keeps_batch
from codegen.source.index import Class, Module
from codegen.split.alignment import IMAGES, Alignment, Size, align
from codegen.split.boundary import Refused, find_cut
from codegen.split.collecting import Collecting, indices_by_number, raised
from codegen.split.context import without_context
from codegen.split.crossing import Crossing, cross
from codegen.split.first_round import open_first_round
from codegen.split.inlining import write_out_helpers
from codegen.split.named_rounds import open_named_rounds
from codegen.split.soundness import check_method, check_scope
from codegen.split.state import check_state
from codegen.split.stem_parts import Joined, called_whole, join_parts
from codegen.split.tapped_stem import call_whole
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, dotted, flow, returns
from codegen.syntax.statements import Body, Statement, read_method
from codegen.syntax.walking import walk
from codegen.types import Place

INTERMEDIATES = "forward_intermediates"
STAGES_INTERMEDIATES = "forward_stages_intermediates"
IMAGE_SIZE = "image_size"


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
    statements = write_out_helpers(facts, statements)
    whole = flow([s.tree for s in statements], [body.receiver, images, *others])
    check_scope(owner.module, owner.node, function, whole)
    joined, alignment = _aligned(facts, owner.module, embedding, statements, images, others)
    statements = joined.statements
    split = _Parts.of(facts, owner.module, joined, alignment, images, indices_by_number(statements, others))
    tokens = _tokens(embedding, alignment, statements)
    crossing = cross(facts, split.made, split.rest, body.parameters, tokens)
    _check_state(facts, crossing, split, [images, *others], embedding.early)
    taken, sizes = _handed_over(embedding, alignment, crossing, split.rest[0])
    batch = [name for name, size in sizes.items() if size.dimension == 0]
    if batch and tokens not in keeps_batch(facts, [s.tree for s in split.made], images, believes_defaults=True):
        reason = f"it reads `{batch[0]}`, the batch size of the images, which the tokens may not have"
        raise Refused(split.rest[0].place, reason)
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
        sizes=(*(f"{name} = {tokens}.shape[0]" for name in batch), *_unpacked(sizes, split.rest)),
        recomputed=crossing.recomputed,
        early=early,
        stages=crossing.stages,
        parameters=tuple(name for name in others if name in given),
        needs=stages.needs - stages.may_bind - {*sizes, *(name for _, name in taken)},
        inside_stem=split.refusing,
    )


def _aligned(
    facts: Facts,
    module: Module,
    embedding: Embedding,
    statements: tuple[Statement, ...],
    images: str,
    others: Sequence[str],
) -> tuple[Joined, Alignment]:
    """The statements, and where the embedding is among them.

    Where they run a stem part by part, calls stand for that; where the embedding is inside one of them, that is cut as
    a boundary is.
    """
    theirs = [statement for statement in embedding.statements if statement not in embedding.early]

    def found(statements: Sequence[Statement]) -> Alignment:
        shared = [name for name in others if name in embedding.parameters]
        names = (embedding.images, images)
        return align(theirs, statements, names, shared, is_image_batch=embedding.is_image_batch)

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
    raise _differs(facts, module, statements, alignment, images)


def _joined(
    facts: Facts, module: Module, statements: Sequence[Statement], stems: frozenset[str], numbers: frozenset[str]
) -> Joined:
    """Statements in which calls of a stem stand for what runs it in another way."""
    found = Joined(())
    for statement in statements:
        found = found.followed_by(call_whole(facts, module, statement) or Joined((statement,)))
    parts = join_parts(facts, module, found.statements, stems, numbers)
    return replace(parts, ran=(*found.ran, *parts.ran), asked=found.asked)


def _differs(
    facts: Facts, module: Module, statements: Sequence[Statement], alignment: Alignment, images: str
) -> Refused:
    """Why the embedding is not among the statements of a method."""
    missing = alignment.missing
    assert missing is not None
    inner = _delegates(statements)
    if inner:
        reason = f"it calls {INTERMEDIATES} of `{inner}`: call {STAGES_INTERMEDIATES} of that model"
        return Refused(statements[0].place, reason)
    wanted = f"`{_first_line(missing)}` (line {missing.place.line})"
    own: set[str] = set()
    values = _values(statements, alignment, images)
    collecting = Collecting(frozenset(values), frozenset())
    for number in alignment.others:
        statement = collecting.refusing(statements[number])
        if flow([statement.tree]).needs & values or not is_quiet(facts, module, statement.tree, own):
            reason = f"`{_first_line(statement)}` stands where forward_features embeds by {wanted}"
            return Refused(statement.place, reason)
        own |= set(bound_names(statement.tree))
    return Refused(statements[0].place, f"it does not have {wanted}, by which forward_features embeds")


def _values(statements: Sequence[Statement], alignment: Alignment, images: str) -> set[str]:
    """The variables that hold the images and what the embedding makes of them."""
    passed = (*alignment.equal, *alignment.copies)
    return {images} | {name for number in passed for name in bound_names(statements[number].tree)}


def _delegates(statements: Sequence[Statement]) -> str:
    """The inner model whose ``forward_intermediates`` a method calls, ``self.encoder``; empty if it calls none."""
    for statement in statements:
        for node in walk(statement.tree):
            if isinstance(node, ast.Call) and dotted(node.func).startswith("self."):
                model, _, method = dotted(node.func).rpartition(".")
                if method == INTERMEDIATES:
                    return model
    return ""


def _quoted(context: str) -> str:
    return f"`{context}`" if context else "nothing"


def _first_line(statement: Statement) -> str:
    return statement.code.splitlines()[0].strip()


@dataclass(frozen=True)
class _Parts:
    """The statements in two.

    Attributes:
        made: Those that make the embedding, and those that read sizes on the way.
        moved: Those that stood between them.
        refusing: The lines that take features from before the embedding.
        given: What stands for these after the embedding: they take it for a feature that is the same.
        rest: All that follow the embedding: these, and what stood there.
        plain: Those of them that ask of which class a stem is, each without that question.
    """

    made: tuple[Statement, ...]
    moved: tuple[Statement, ...]
    given: tuple[Statement, ...]
    refusing: tuple[int, ...]
    rest: tuple[Statement, ...]
    plain: Mapping[Statement, Statement]

    @classmethod
    def of(
        cls,
        facts: Facts,
        module: Module,
        joined: Joined,
        alignment: Alignment,
        images: str,
        numbers: frozenset[str],
    ) -> _Parts:
        """Take the statements of an embedding out of a method.

        Args:
            facts: The class.
            module: The file in which the method stands.
            joined: The statements of the method.
            alignment: Where the embedding is among them.
            images: The first parameter.
            numbers: Variables that list features by their index.

        Raises:
            Refused: If one that stands between them may not run after them, or what follows reads what they made.
        """
        statements = joined.statements
        values = _values(statements, alignment, images)
        collecting = Collecting(frozenset(values | joined.lost), numbers)
        last = alignment.equal[-1] if alignment.equal else -1
        inside = sorted((*alignment.equal, *(n for n in alignment.sizes if n < last)))
        others = [n for n in alignment.others if n < last]
        made = [statements[n] for n in inside]
        mentioned = {node.id for s in made for node in walk(s.tree) if isinstance(node, ast.Name)}
        own: set[str] = set()
        moved = [collecting.refusing(statements[number]) for number in others]
        for statement in moved:
            text = f"`{_first_line(statement)}`"
            bound = set(bound_names(statement.tree))
            if returns(statement.tree):
                raise Refused(statement.place, f"{text} may return before the embedding is complete")
            if flow([statement.tree]).needs & values:
                raise Refused(statement.place, f"{text} looks at what the embedding makes on its way")
            if bound & mentioned:
                raise Refused(
                    statement.place, f"{text} binds `{min(bound & mentioned)}`, of which the embedding is made"
                )
            if not is_quiet(facts, module, statement.tree, own):
                raise Refused(statement.place, f"{text} may do more than calculate with the arguments of the method")
            own |= bound
        lost = joined.lost | {name for name, _ in joined.asked}
        without = [_without_lost(statement, lost, collecting) for statement in statements[last + 1 :]]
        for statement in (*made, *moved, *without):
            read = flow([statement.tree]).needs & lost
            if read:
                reason = f"it reads `{min(read)}`, which the stem makes on its way, after the embedding"
                raise Refused(statement.place, reason)
        asking = [_asking(*pair, joined, collecting) for pair in zip(statements[last + 1 :], without, strict=True)]
        after = [statement for statement, _ in asking]
        given = [joined.giving(statement, statements[last]) for statement in moved]
        stood = [*(statements[n] for n in others), *statements[last + 1 :]]
        refusing = [old.place.line for old, new in zip(stood, [*moved, *after], strict=True) if old != new]
        refusing += [*(loop.place.line for loop, _, _ in joined.calls), *joined.refuses]
        return cls(tuple(made), tuple(moved), tuple(given), tuple(sorted(refusing)), (*given, *after), dict(asking))


def _without_lost(statement: Statement, lost: frozenset[str], collecting: Collecting) -> Statement:
    """A statement after the embedding with an error where it takes a feature that was made on the way."""
    return collecting.refusing(statement) if flow([statement.tree]).needs & lost else statement


def _asking(
    statement: Statement, refusing: Statement, joined: Joined, collecting: Collecting
) -> tuple[Statement, Statement]:
    """A statement with an error only where the feature is made on the way by this model, if that can be asked.

    Returns:
        It, and the same without the question, to which classes give the answer, and nothing that runs.
    """
    questions = [question for name, question in joined.asked if name in flow([statement.tree]).needs]
    if refusing == statement or len(questions) != 1 or flow([statement.tree]).needs & joined.lost:
        return refusing, refusing
    asking = (replace(collecting, early=question).refusing(statement) for question in (questions[0], "False"))
    return next(asking), next(asking)


def _without_stages(statement: Statement) -> str:
    """An error, where ``embed`` returns what is no whole embedding, by the same question about the model."""
    assert isinstance(statement.tree, ast.If)
    what = "the model ends in its stem, so that embed() returns no whole embedding: "
    return f"if {ast.unparse(statement.tree.test)}:\n{raised(what, 'call forward_intermediates(images)')}"


def _check_state(
    facts: Facts,
    crossing: Crossing,
    split: _Parts,
    parameters: Sequence[str],
    early: Sequence[Statement],
) -> None:
    """Refuse a method of which the rest reads what the embedding writes.

    Raises:
        Unsound: If it may.
    """
    stages = tuple(split.plain.get(s, s) for s in crossing.stages if s not in split.given)
    check_state(facts, replace(crossing, stages=stages), parameters, early)
    written = effects(facts, [s.tree for s in crossing.embed], parameters).writes
    for statement in split.moved:  # they only look, so that the names of what they look at tell
        counted = _counted(statement)
        for node in walk(statement.tree):
            if isinstance(node, ast.Attribute):
                places = {place.name for place in written if node is not counted or not _is_inside(place, node.attr)}
                if {node.attr, ANY} & places:
                    raise Unsound(node, f"it looks at `{ast.unparse(node)}`, which the embedding may change")


def _counted(statement: Statement) -> ast.expr | None:
    """What a loop only counts the parts of, ``self.stem`` of ``for i, module in enumerate(self.stem)``."""
    match statement.tree:
        case ast.For(target=ast.Tuple(elts=[_, ast.Name(id=part)]), iter=ast.Call(args=[counted])) as loop:
            return None if part in flow(loop.body).needs else counted
    return None


def _is_inside(place: WrittenPlace, attribute: str) -> bool:
    """Whether what is written is inside the parts of a module, which are not told of what holds them."""
    return place.kind == "attribute" and place.whole and place.root == place.name == attribute


def _tokens(embedding: Embedding, alignment: Alignment, statements: Sequence[Statement]) -> str:
    """What the method calls the tokens when the embedding is complete."""
    value = alignment.theirs[embedding.fields[0]]
    names = [name for name, held in alignment.ours.items() if held == value]
    if not names:
        place = statements[alignment.equal[-1]].place
        raise Refused(place, "no variable holds the tokens when the embedding is complete")
    return names[0]


def _handed_over(
    embedding: Embedding, alignment: Alignment, crossing: Crossing, first: Statement
) -> tuple[tuple[tuple[str, str], ...], Mapping[str, Size]]:
    """What is taken from an embedding, each with the name that it has here; and which variables hold the image size.

    Raises:
        Refused: If the method needs more of what was before the boundary.
    """
    fields = {alignment.theirs[name]: name for name in reversed(embedding.fields)}
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
            raise Refused(first.place, reason)
        else:
            what = "the images" if value == IMAGES else f"`{name}`"
            raise Refused(first.place, f"it reads {what} after the embedding, which does not hold it")
    return tuple(taken), sizes


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
