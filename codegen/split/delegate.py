"""Models that delegate to an inner model: ``return self.encoder(x)``.

The inner model's ``forward`` is written out in place of the call, and the ``forward_features`` that it calls in its
turn, with ``self.encoder`` for their ``self``. The result is cut like any other body, and does not
depend on how the model was built. If there are two calls of the inner model, both are cut, if they begin alike.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts
from codegen.split.boundary import Cut, Refused, find_cut
from codegen.split.inlining import body_of_call, require_apart, without_return
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Body, Statement, arms, conditional
from codegen.syntax.walking import walk
from codegen.types import METHOD


@dataclass(frozen=True, eq=False)
class Delegation:
    """How a method delegates to an inner model.

    Attributes:
        attribute: Where the outer model keeps it, ``encoder``.
        facts: Its class, seen from the outer model.
        calls: The statements that call it: one, or one for each answer to the question.
        question: What decides between two of them; it compares attributes of the outer model with constants.
    """

    attribute: str
    facts: Facts
    calls: tuple[Statement, ...]
    question: str = ""


def find_delegation(facts: Facts, body: Body) -> Delegation | None:
    """The inner model and its calls, if these are all that a method does."""
    if facts.index.method != METHOD:
        return None  # an inner module is a model if it has a `forward_features`, not because it has a `forward`
    question, calls = _calls(body)
    attributes = {called[0] if (called := _called_method(facts, call)) else "" for call in calls}
    if len(attributes) != 1 or "" in attributes:
        return None
    (attribute,) = attributes
    if question and not _is_settled(facts, ast.parse(question, mode="eval").body):
        return None
    classes = {cls.path: cls for cls in facts.classes(attribute)}
    models = [c for c in classes.values() if any(METHOD in a.members for a in facts.index.lineage(c))]
    made = facts.values.get(attribute, ())
    if len(models) == len(classes) == len(made) == 1 and isinstance(made[0], ast.Call):
        return Delegation(attribute, Facts(facts.index, models[0], f"{facts.prefix}.{attribute}"), calls, question)
    return None


def _calls(body: Body) -> tuple[str, tuple[Statement, ...]]:
    """The statements that a method may consist of, ``if question: return ...`` and ``return ...``."""
    statements = body.statements
    match [statement.tree for statement in statements]:
        case [ast.Return()]:
            return "", statements
        case [ast.If(body=[ast.Return()], orelse=[]), ast.Return()]:
            question, first, _ = arms(statements[0])
            return question, (*first, statements[1])
        case [ast.If(body=[ast.Return()], orelse=[ast.Return()])]:
            question, first, second = arms(statements[0])
            return question, (*first, *second)
    return "", ()


def _is_settled(facts: Facts, question: ast.expr) -> bool:
    """Whether the answer is the same before and after an inner model runs, whatever objects the two share."""
    match question:
        case ast.BoolOp(values=parts):
            return all(_is_settled(facts, part) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_settled(facts, operand)
        case ast.Compare(left=ast.Attribute(attr=attr) as left, comparators=[value]):
            constants = value.elts if isinstance(value, ast.Tuple) else [value]
            own = facts.is_attribute(left) and attr in facts.values and attr not in facts.methods
            return own and not any(facts.constructors(attr)) and all(isinstance(c, ast.Constant) for c in constants)
    return False


def _called_method(facts: Facts, statement: Statement) -> tuple[str, str] | None:
    """The attribute and its method that a statement calls: ``return self.encoder(x)`` calls its ``forward``."""
    match statement.tree:
        case ast.Return(value=ast.Call(func=ast.Attribute() as function)) if facts.is_attribute(function):
            return function.attr, "forward"
        case ast.Return(value=ast.Call(func=ast.Attribute(value=ast.Attribute() as model, attr=attr))) if (
            attr == METHOD and facts.is_attribute(model)
        ):
            return model.attr, METHOD
    return None


def inline(facts: Facts, delegation: Delegation, parameters: Collection[str]) -> list[tuple[Statement, ...]]:
    """For each call the statements of the inner model's method, in the outer model's terms.

    Args:
        facts: The outer model's class.
        delegation: The inner model, and how it is called.
        parameters: Parameters of the outer model's method.

    Raises:
        Refused: If the call passes its arguments in a way that cannot be written out.
    """
    written = []
    for statement in delegation.calls:
        assert isinstance(statement.tree, ast.Return)
        assert isinstance(statement.tree.value, ast.Call)
        call = statement.tree.value
        called = _called_method(facts, statement)
        assert called is not None
        statements = body_of_call(delegation.facts, called[1], call, statement)
        if called[1] != METHOD:
            statements = _with_features(delegation.facts, statements)
        given = {name.id for name in walk(call) if isinstance(name, ast.Name)}
        captured = flow([s.tree for s in statements], given).needs & set(parameters)
        if captured:
            raise Refused(statement.place, f"`{min(captured)}` is a parameter here and a global in the inner model")
        written.append(statements)
    return written


def joined(delegation: Delegation, written: Sequence[tuple[Statement, ...]]) -> tuple[Statement, ...]:
    """The statements of all calls as one body."""
    first, *others = written
    for other in others:
        return (conditional(delegation.question, first, other, delegation.calls[0].place),)
    return first


def find_delegate_cut(delegation: Delegation, written: Sequence[tuple[Statement, ...]], images: str) -> Cut:
    """Cut the body of each call; what they have in common is the embedding.

    Raises:
        Refused: If one of them cannot be cut, or if what they run before the boundary is not the same.
    """
    first, *others = (find_cut(delegation.facts, statements, images) for statements in written)
    for other in others:
        if [s.code for s in first.embed] != [s.code for s in other.embed] or first.tokens != other.tokens:
            raise Refused(
                delegation.calls[0].place, f"`{delegation.attribute}` is called in two ways that begin differently"
            )
        line = delegation.calls[0].place.line
        boundary = replace(
            first.boundary,
            reasons=(
                f"line {line} is one of two calls of `{delegation.attribute}`, which begin alike",
                *first.boundary.reasons,
            ),
            lines=(*first.boundary.lines, *other.boundary.lines),
            ends=(*first.boundary.ends, *other.boundary.ends),
        )
        stages = conditional(delegation.question, first.stages, other.stages, delegation.calls[0].place)
        return replace(first, stages=(stages,), boundary=boundary)
    return first


def _with_features(facts: Facts, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Write the inner model's ``forward_features`` out in its ``forward``."""
    for number, inner in enumerate(statements):
        match inner.tree:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Call(func=function) as call) if (
                dotted(function) == f"{facts.prefix}.{METHOD}"
            ):
                features = body_of_call(facts, METHOD, call, inner)
                rest = statements[number + 1 :]
                require_apart(inner, features, [*statements[:number], *rest], target)
                return (*statements[:number], *without_return(features, target), *rest)
    return statements
