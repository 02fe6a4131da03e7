"""``forward_intermediates`` of a class that delegates to an inner model: it calls that of the inner model.

Where both embed alike, its split calls ``forward_stages_intermediates`` of the inner model's split, with the embedding
for the images and the same keyword arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from codegen.model.facts import Facts
from codegen.model.quiet import is_quiet
from codegen.split.boundary import Refused
from codegen.split.context import without_context
from codegen.split.crossing import Crossing
from codegen.split.inside import RECEIVER, same_method
from codegen.split.intermediates import IMAGE_SIZE, IntermediatesCut, Method, read_intermediates
from codegen.split.missing_embedding import INTERMEDIATES, STAGES_INTERMEDIATES
from codegen.split.soundness import check_scope
from codegen.split.state import check_state, embedding_effects
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk
from codegen.types import Intermediates, Outcome, Refusal, Split

_WHOLE = "embedding"


@dataclass(frozen=True)
class _Call:
    """The call of the inner model's method.

    Attributes:
        number: Of the statement.
        head: What the statement does with it: ``output = ``, or ``return ``.
        keywords: What is passed besides the images.
    """

    number: int
    head: str
    keywords: tuple[ast.keyword, ...]


def cut_through_inner(facts: Facts, split: Split, inner: Outcome) -> IntermediatesCut | None:
    """Cut the ``forward_intermediates`` of a class that calls that of its inner model.

    Args:
        facts: The class.
        split: Its split, which delegates.
        inner: The inner model's class.

    Returns:
        The cut; ``None`` where the class has no such method.

    Raises:
        Refused: If the inner model has no split of it, or if it is called in another way.
        Unsound: If what follows the call needs more than the call gives.
    """
    method = read_intermediates(facts)
    if method is None:
        return None
    assert split.delegate is not None
    place = method.body.statements[0].place
    model = f"{RECEIVER}.{split.delegate.attribute}"
    call = _call(method, model)
    its = inner.result.intermediates if isinstance(inner.result, Split) else inner.result
    if not isinstance(its, Intermediates) or not isinstance(inner.result, Split):
        why = f": {its.reason}" if isinstance(its, Refusal) else ""
        raise Refused(place, f"it calls {INTERMEDIATES} of `{model}`, which has no {STAGES_INTERMEDIATES}{why}")
    if split.fields != inner.result.fields or not same_method(
        split.embed, inner.result.embed, split.delegate.attribute
    ):
        raise Refused(
            place, f"it calls {INTERMEDIATES} of `{model}`, which embeds in another way than forward_features"
        )
    if inner.split_name in method.owner.module.bindings and inner.module != method.owner.module.name:
        raise Refused(place, f"`{inner.split_name}` is another thing in its module")
    _check_order(facts, method, call.number)
    _check_rest(facts, split, method, call.number)
    keywords, dropped = _passed(method, split, its, call)
    whole = _free(_WHOLE if split.embedding else split.tokens, method)
    statement = method.body.statements[call.number]
    arguments = ", ".join([whole, *([IMAGE_SIZE] if its.image_size else []), *map(ast.unparse, keywords)])
    text = (
        f"{statement.text[: len(statement.text) - len(statement.code)]}"
        f"if isinstance({model}, {inner.split_name}):\n"
        f"    {call.head}{model}.{STAGES_INTERMEDIATES}({arguments})\n"
        "else:  # as its constructor makes it\n"
        f"    {call.head}{inner.split_name}.{STAGES_INTERMEDIATES}({model}, {arguments})"
    )
    statements = method.body.statements
    stages = (*statements[: call.number], replace(statement, text=text), *statements[call.number + 1 :])
    found = flow([s.tree for s in stages], [method.body.receiver, whole, *method.others])
    own = (statement.place.line + (statement.last.line > statement.place.line), statement.last.line)
    return IntermediatesCut(
        owner=method.owner,
        function=method.function,
        body=method.body,
        made=(statement,),
        lines=(own,),  # the call is in both
        taken=tuple((field, field) for field, _ in its.taken),
        reads_size=its.image_size,
        sizes=(),
        recomputed=(),
        early=(),
        stages=stages,
        parameters=tuple(name for name in method.others if name not in dropped),
        needs=found.needs - found.may_bind - {whole, IMAGE_SIZE, inner.split_name},
        inside_stem=its.inside_stem,
        whole=whole,
    )


def _call(method: Method, model: str) -> _Call:
    """The one call of the inner model's method.

    Raises:
        Refused: If there is none, or another, or if it is part of something else.
    """
    place = method.body.statements[0].place
    wanted = f"{model}.{INTERMEDIATES}"
    calls = [n for s in method.body.statements for n in walk(s.tree) if isinstance(n, ast.Call)]
    several = sum(dotted(node.func) == wanted for node in calls)
    for number, statement in enumerate(method.body.statements):
        match statement.tree:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                head = f"{name} = "
            case ast.Return(value=ast.Call() as call):
                head = "return "
            case _:
                continue
        if dotted(call.func) == wanted and several == 1:
            match call.args:
                case [ast.Name(id=images)] if images == method.images and all(k.arg for k in call.keywords):
                    return _Call(number, head, tuple(call.keywords))
            raise Refused(statement.place, f"`{wanted}` is not called with the images and keyword arguments")
    raise Refused(place, f"it does not call {INTERMEDIATES} of `{model}` in one statement")


def _check_order(facts: Facts, method: Method, number: int) -> None:
    """Refuse a method that looks at the images elsewhere, or does more than calculate before its call.

    Raises:
        Refused: If it does.
    """
    own: set[str] = set()
    for statement in method.body.statements[:number]:
        bound = set(bound_names(statement.tree))
        if method.images in bound | flow([statement.tree]).needs:
            raise Refused(statement.place, "it looks at the images before it calls the inner model")
        if not is_quiet(facts, method.owner.module, statement.tree, own):
            raise Refused(statement.place, "it may do more than calculate before it calls the inner model")
        own |= bound
    call, *rest = method.body.statements[number:]
    given = [*_keywords_of(call)]
    if any(isinstance(node, ast.Name) and node.id == method.images for value in given for node in walk(value)):
        raise Refused(call.place, "the images are in a keyword argument")
    if method.images in flow([s.tree for s in rest]).needs - set(bound_names(call.tree)):
        raise Refused(call.place, "it reads the images after the embedding, which does not hold it")
    if not all(is_quiet(facts, method.owner.module, ast.Expr(value), own) for value in given):
        raise Refused(call.place, "a keyword argument may do more than calculate")


def _keywords_of(statement: Statement) -> Iterator[ast.expr]:
    tree = statement.tree
    if isinstance(tree, ast.Assign | ast.Return) and isinstance(tree.value, ast.Call):
        yield from (keyword.value for keyword in tree.value.keywords)


def _check_rest(facts: Facts, split: Split, method: Method, number: int) -> None:
    """Refuse a method of which what follows the call reads what the embedding writes.

    Raises:
        Refused: If it enters a context.
        Unsound: If it may.
    """
    assert split.delegate is not None
    statements = method.body.statements
    context, _ = without_context(facts, method.owner.module, statements, [method.images, *method.others])
    if context != split.context:
        raise Refused(statements[0].place, f"it enters `{context}`")
    whole = flow([s.tree for s in statements], [method.body.receiver, method.images, *method.others])
    check_scope(method.owner.module, method.owner.node, method.function, whole)
    rest = statements[number + 1 :]
    cls = facts.index.find(split.delegate.path)
    if not rest or cls is None:
        return
    inside = Facts(facts.index, cls, f"{facts.prefix}.{split.delegate.attribute}")
    embed = tuple(Statement(text, rest[0].place, rest[0].names) for text in split.embed.body)
    fields = tuple(field.name for field in split.fields)
    crossing = Crossing(embed, (*statements[:number], *rest), fields, (), (), method.others, ())
    names = [p.name for p in split.embed.parameters]
    check_state(inside, crossing, embedding_effects(inside, crossing, names), names)


def _passed(
    method: Method, split: Split, its: Intermediates, call: _Call
) -> tuple[tuple[ast.keyword, ...], frozenset[str]]:
    """The keyword arguments of the call from the embedding on, and the parameters that the embedding alone takes.

    Raises:
        Refused: If what the embedding takes is another thing than what it is given by forward_features.
    """
    taken = {parameter.name for parameter in its.stages.parameters}
    embeds = {parameter.name for parameter in split.embed.parameters[1:]}
    bound = {name for s in method.body.statements[: call.number] for name in bound_names(s.tree)}
    dropped = set()
    for keyword in call.keywords:
        if keyword.arg in taken and keyword.arg not in embeds:
            continue
        match keyword.value:
            case ast.Name(id=name) if name == keyword.arg and name in embeds & {*method.others} - bound:
                if keyword.arg not in taken:
                    dropped.add(name)
            case _:
                place = method.body.statements[call.number].place
                raise Refused(place, f"it passes `{keyword.arg}` on as another thing than forward_features does")
    kept = tuple(keyword for keyword in call.keywords if keyword.arg in taken)
    statements = [s.tree for n, s in enumerate(method.body.statements) if n != call.number]
    read = flow(statements).needs | {n.id for k in kept for n in walk(k.value) if isinstance(n, ast.Name)}
    return kept, frozenset(dropped - read)


def _free(name: str, method: Method) -> str:
    """A name for the embedding that the method does not use, but for its images."""
    used = {n.id for s in method.body.statements for n in walk(s.tree) if isinstance(n, ast.Name)} | {*method.others}
    used -= {method.images}
    while name in used:
        name += "_"
    return name
