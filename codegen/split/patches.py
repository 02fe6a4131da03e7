"""Where the patches of an embedding are complete, before they get their position and the prefix tokens.

SimMIM, BEiT, iBOT, data2vec and DINOv2 replace patches there: a token that is replaced later no longer knows where it
is. The finer boundary is after the last statement that the patches run through, and before the first that brings in
position or prefix tokens. Statements are not reordered for it, and where one does both there is no such boundary.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.model.annotations import annotate
from codegen.model.facts import Facts, Role
from codegen.model.shape import token_order
from codegen.model.steps import Step, holds_position, joins_after, quoted, through_views, walk_steps
from codegen.split.boundary import Refused
from codegen.split.crossing import Crossing, cross
from codegen.split.reuse import check_reuse
from codegen.split.state import check_state, embedding_effects
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk as walk_tree
from codegen.types import Absence, Field, Method, Parameter, Patches

NO_NEED = "neither position nor prefix tokens follow the patch embedding: replacing in what embed returns is the same"


@dataclass(frozen=True)
class _PatchCut:
    """An embedding in two: its first statements, up to number ``length``, make the patches, in ``tokens``."""

    length: int
    tokens: str
    reasons: tuple[str, ...]


def gives_position(facts: Facts, embed: Sequence[Statement], images: str) -> bool:
    """Whether an embedding gives its tokens their position, or leaves that to the stages, or to nothing.

    Args:
        facts: The class.
        embed: The statements of ``embed``.
        images: The parameter that takes the images.
    """
    steps = walk_steps(facts, embed, frozenset({images}))
    return any(step.is_position or holds_position(facts, step) for step in steps)


def split_patches(
    facts: Facts,
    name: str,
    coarse: Crossing,
    parameters: Sequence[Parameter],
    annotations: Mapping[str, ast.expr | None],
) -> Patches | Absence:
    """Cut an embedding where its patches are complete.

    Args:
        facts: The class, or the inner model that it delegates to.
        name: What the ``NamedTuple`` is called, if more than the patches crosses.
        coarse: The embedding, and what it has to return.
        parameters: Those of ``embed``, the images first.
        annotations: Annotations of the parameters.

    Returns:
        The two halves, or why there are none.
    """
    images = parameters[0].name
    statements = coarse.embed
    try:
        cut = _find_cut(facts, statements, images)
        end = Statement(f"return {', '.join(coarse.fields)}", statements[-1].last)  # so that these names are read
        made, later = statements[: cut.length], (*statements[cut.length :], end)
        crossing = cross(facts, made, later, parameters, cut.tokens)
        names = [parameter.name for parameter in parameters]
        trees = [s.tree for s in made]
        kinds = annotate(facts, trees, annotations, images)
        fields = tuple(Field(field, kinds.get(field) or "Any") for field in crossing.fields)
        before = embedding_effects(facts, crossing, names)
        check_state(facts, crossing, before, names)
        check_reuse(facts, crossing, before, fields)
    except Refused as refused:
        return Absence(refused.reason)
    except Unsound as unsound:
        line = getattr(unsound.node, "lineno", statements[0].place.line)
        return Absence(f"it cannot be cut after its patches: {unsound.reason} (line {line})")
    declared = {parameter.name: parameter for parameter in parameters}
    last = made[-1]
    return Patches(
        place=last.last,
        statement=last.code.splitlines()[0].strip(),
        reasons=cut.reasons,
        embed_patches=Method(tuple(declared[n] for n in crossing.embed_parameters), _texts(crossing.embed)),
        embed_positions=Method(tuple(declared[n] for n in crossing.stages_parameters), _texts(crossing.stages[:-1])),
        tokens=cut.tokens,
        layout=token_order(facts, trees, images, cut.tokens),
        fields=fields,
        record=name if len(fields) > 1 else "",
        recomputed=crossing.recomputed,
    )


def _texts(statements: Sequence[Statement]) -> tuple[str, ...]:
    return tuple(statement.text for statement in statements)


def _find_cut(facts: Facts, statements: Sequence[Statement], images: str) -> _PatchCut:
    """Find the last statement that makes the patches.

    Raises:
        Refused: If none is the last, with the reason.
    """
    steps = list(walk_steps(facts, statements, frozenset({images})))
    stems = [number for number, step in enumerate(steps) if step.is_stem]
    first = next((number for number, step in enumerate(steps) if _adds(step)), len(steps))
    for number in stems:
        step = steps[number]
        if number == first or holds_position(facts, step):
            what = "their position" if step.is_position or holds_position(facts, step) else "the prefix tokens"
            raise Refused(step.statement.place, f"{_whole(facts, step)} gives the patches and {what}")
    if first == len(steps):
        raise Refused(statements[-1].place, NO_NEED)
    made = [number for number, step in enumerate(steps[:first]) if step.on_path and step.runs]
    if not made or any(number > first for number in stems):
        brought, place = quoted(steps[first].runs) or "position", steps[first].statement.place
        raise Refused(place, f"line {place.line} brings in {brought} before the patches are complete")
    last = made[-1]
    reasons = [f"line {steps[last].statement.place.line} completes the patches, {quoted(steps[last].runs)}"]
    tokens = steps[last].target
    for number in range(last + 1, first):
        if _joins(steps[number]):
            last, tokens = number, steps[number].target
            reasons.append(f"line {steps[number].statement.place.line} joins them")
    last, tokens = through_views(steps[:first], last, tokens, [s.tree for s in statements[first:]], reasons)
    for number in joins_after(steps, min(stems, default=0), last):
        place = steps[number].statement.place
        raise Refused(place, f"streams of patches get their positions before line {place.line} joins them")
    if not steps[first].is_position:
        reasons.append(f"line {steps[first].statement.place.line} adds the prefix tokens")
    position = next((step for step in steps if step.is_position), None)
    if position is not None:
        reasons.append(f"line {position.statement.place.line} gives them their position")
    return _PatchCut(last + 1, tokens, tuple(reasons))


def _joins(step: Step) -> bool:
    """Whether a statement makes one stream of tokens from several."""
    tree = step.statement.tree
    value = tree.value if isinstance(tree, ast.Assign | ast.AugAssign | ast.AnnAssign) else None
    read = {n.id for n in walk_tree(value) if isinstance(n, ast.Name)} if value is not None else set()
    if isinstance(tree, ast.AugAssign) and isinstance(tree.target, ast.Name):
        read.add(tree.target.id)
    return step.on_path and not step.runs and len(read & step.tokens) > 1


def _adds(step: Step) -> bool:
    """Whether a statement brings in what does not belong to the patches, or takes some of them away."""
    return step.is_position or bool(step.roles & {Role.PARAMETER, Role.PATCH_DROP})


def _whole(facts: Facts, step: Step) -> str:
    """What makes the patches and more: the helper method that is called, the modules, or a loop or condition."""
    tree = step.statement.tree
    if isinstance(tree, ast.If | ast.For | ast.With):
        return f"the `{type(tree).__name__.lower()}` on line {step.statement.place.line}"
    found = list(facts.calls(tree)) or [a for a in step.runs if facts.role(a) is Role.STEM]
    return f"one call, {quoted(f'{facts.prefix}.{name}' for name in found)},"
