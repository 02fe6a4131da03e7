"""Whether what crosses follows the rows of the tokens, so that a caller may select and repeat them.

The batch size is read from the tokens where it can be (:mod:`codegen.split.crossing`), and crosses as itself where the
tokens do not tell it: a caller sees it there, and `repeat` multiplies it. What else is made of it, a list with an
element for each image, an index, half their number, would stay what it was.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.model.counting import CONSTANT, GIVEN, Counting, counts, has_rows, is_row
from codegen.model.dimensions import MOVED_ROWS, Dim, Items, Tensor, Value, is_batch, number_of
from codegen.model.effects import Effects
from codegen.model.facts import Facts
from codegen.model.interpreter import interpret
from codegen.model.module_kind import STATISTICS
from codegen.model.row_moving import movers, names_given
from codegen.model.shape import batch_size, unknown_names
from codegen.split.crossing import Crossing
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk
from codegen.types import Parameter


def check_rows(facts: Facts, crossing: Crossing, before: Effects, declared: Sequence[Parameter]) -> None:
    """Refuse an embedding whose rows could not be selected.

    Args:
        facts: The class.
        crossing: Its halves.
        before: What the first does.
        declared: The parameters of the method, the images first.

    Raises:
        Unsound: If something crosses that is made of the number of images, or has them in another dimension than the
            first; in a user's class, also if that cannot be told.
    """
    tokens, *others = crossing.fields
    found = facts.method(facts.index.method)
    timms = found is None or found[0].module.is_timms
    if not others and timms:
        return  # its tokens are tensors
    trees = [statement.tree for statement in crossing.embed]
    lasting = [place for place in before.writes if place.kind not in (STATISTICS, "argument")]
    counting = Counting({name for place in lasting for name in (place.name, place.root) if name})
    given = {**unknown_names(trees), **_given(declared)}
    names = interpret(counting, facts, trees, given)
    if counts(names.get(tokens)):
        raise Unsound(trees[-1], f"`{tokens}` is no tensor with a row for each image, but a list that is as long")
    if not timms and (objection := _not_rows(names.get(tokens))):
        raise Unsound(trees[-1], f"{objection}: the rows of `{tokens}` are no images, and could not be selected")
    if not timms and (moving := movers(facts.index, facts.cls.module)):
        doubting = Counting(counting.written, names_given(facts.index, moving))
        if not has_rows(interpret(doubting, facts, trees, given).get(tokens)):
            name, path, line, _ = moving[0]
            raise Unsound(
                trees[-1],
                f"a layer that makes `{tokens}` is not told by the code and may be `{name}` ({path}:{line}), "
                "which gives images other rows than it is given",
            )
    for name in others:
        value = _used(names.get(name), name, crossing.stages)
        node = next((s.tree for s in reversed(crossing.embed) if name in bound_names(s.tree)), trees[-1])
        if _is_batch_size(node, name):
            continue
        if counts(value):
            raise Unsound(node, f"`{name}` crosses and depends on the number of images, but {_REASON.format(tokens)}")
        if isinstance(value, Tensor) and any(map(is_batch, value.dims[1:])) and not is_batch(value.dims[0]):
            raise Unsound(node, f"`{name}` crosses and has the images in another dimension than the first")
        if not timms and not counting.follows(value):
            raise Unsound(
                node, f"`{name}` crosses and may depend on the number of images, but {_REASON.format(tokens)}"
            )


def _not_rows(tokens: Value) -> str:
    """How a tensor has its images, if it is known to have no row for each."""
    if not isinstance(tokens, Tensor) or not tokens.dims or is_row(tokens.dims[0]):
        return ""
    if tokens.dims[0] == MOVED_ROWS:
        return "it cannot be read where the images are after what moves them"
    if is_batch(tokens.dims[0]):
        return "the tokens have each image in several rows, as windows or frames"
    return "the tokens have the images in another dimension than the first" if any(map(is_batch, tokens.dims)) else ""


_REASON = (
    "would not follow the tokens when rows of them are selected or repeated: "
    "read it from `{0}` where it is used, `{0}.shape[0]`"
)


def _is_batch_size(node: ast.AST, name: str) -> bool:
    """Whether a statement gives a name to the number of images, in plain words."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:  # B: int = x.shape[0]
        node = ast.Assign([node.target], node.value)
    plain = batch_size(node) if isinstance(node, ast.stmt) else None
    return plain is not None and plain[0] == name


def _given(declared: Sequence[Parameter]) -> dict[str, Value]:
    """What is known of the parameters: images, and masks and the like for each of them, or a setting."""
    images, *others = declared
    rows = Tensor((Dim("B", "batch"),), open=True)
    return {images.name: rows, **{p.name: CONSTANT if _is_setting(p) else GIVEN for p in others}}


def _is_setting(parameter: Parameter) -> bool:
    """Whether a parameter is a number, a flag or a name by default."""
    function = ast.parse(f"def _({parameter.declaration}): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    defaults = [d for d in (*function.args.defaults, *function.args.kw_defaults) if d is not None]
    return any(isinstance(default, ast.Constant) and default.value is not None for default in defaults)


def _used(value: Value, name: str, stages: Sequence[Statement]) -> Value:
    """The part of a shape that the stages look at: ``size[2]``, ``size[-2:]``."""
    if not isinstance(value, Items) or value.open:
        return value
    nodes = [node for statement in stages for node in walk(statement.tree)]
    looks = [n for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id == name]
    if len(looks) < sum(isinstance(node, ast.Name) and node.id == name for node in nodes):
        return value
    places = range(len(value.values))
    seen = [place for look in looks for place in _places(look.slice, places)]
    return Items(tuple(value.values[place] for place in seen))


def _places(index: ast.expr, places: range) -> Sequence[int]:
    if isinstance(index, ast.Slice):
        bounds = [index.lower, index.upper, index.step]
        numbers = [number_of(bound) for bound in bounds]
        known = all(bound is None or number is not None for bound, number in zip(bounds, numbers, strict=True))
        return places[slice(*numbers)] if known else places
    number = number_of(index)
    return places if number is None or number not in range(-len(places), len(places)) else [places[number]]
