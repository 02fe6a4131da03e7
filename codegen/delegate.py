"""Models that hand everything to another model: ``return self.encoder(x)``.

The inner model's ``forward`` is written out in place of the call, and the ``forward_features`` that it calls in its
turn, with ``self.encoder`` for their ``self``. The result is cut like any other body, and works whoever
built the model.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from codegen.body import Body, Statement, assign_return, read_method, substitute
from codegen.boundary import Refused
from codegen.dataflow import dotted, flow, returns
from codegen.facts import Facts
from codegen.index import METHOD
from codegen.soundness import check_method


@dataclass(frozen=True, eq=False)
class Delegate:
    """The inner model.

    Attributes:
        attribute: Where the outer model keeps it, ``encoder``.
        facts: Its class, seen from the outer model.
        call: The statement that calls it.
    """

    attribute: str
    facts: Facts
    call: Statement


def find_delegate(facts: Facts, body: Body) -> Delegate | None:
    """The inner model, if all that a method does is to call it."""
    if len(body.statements) != 1:
        return None
    statement = body.statements[0]
    match statement.tree:
        case ast.Return(value=ast.Call(func=ast.Attribute() as function)) if facts.is_attribute(function):
            classes = {cls.path: cls for cls in facts.classes(function.attr)}
            models = [c for c in classes.values() if any(METHOD in a.members for a in facts.index.lineage(c))]
            made = facts.values.get(function.attr, ())
            if len(models) == len(classes) == len(made) == 1 and isinstance(made[0], ast.Call):
                prefix = f"{facts.prefix}.{function.attr}"
                return Delegate(function.attr, Facts(facts.index, models[0], prefix), statement)
    return None


def inline(delegate: Delegate, parameters: Collection[str]) -> tuple[Statement, ...]:
    """The statements of the inner model's ``forward`` in the outer model's terms.

    Args:
        delegate: The inner model.
        parameters: Parameters of the outer model's method.

    Raises:
        Refused: If the call passes its arguments in a way that cannot be written out.
    """
    statement = delegate.call
    assert isinstance(statement.tree, ast.Return)
    assert isinstance(statement.tree.value, ast.Call)
    call = statement.tree.value
    statements = _with_features(delegate.facts, _called(delegate.facts, "forward", call, statement))
    given = {name.id for name in ast.walk(call) if isinstance(name, ast.Name)}
    captured = flow([s.tree for s in statements], given).needs & set(parameters)
    if captured:
        raise Refused(statement.place, f"`{min(captured)}` is a parameter here and a global in the inner model")
    return statements


def _with_features(facts: Facts, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Write the inner model's ``forward_features`` out in its ``forward``."""
    for number, inner in enumerate(statements):
        match inner.tree:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Call(func=function) as call) if (
                dotted(function) == f"{facts.prefix}.{METHOD}"
            ):
                features = _called(facts, METHOD, call, inner)
                rest = statements[number + 1 :]
                _require_apart(inner, features, [*statements[:number], *rest], target)
                return (*statements[:number], *_without_return(features, target), *rest)
    return statements


def _called(facts: Facts, name: str, call: ast.Call, statement: Statement) -> tuple[Statement, ...]:
    """The body of a method with the names that a call gives to its parameters."""
    found = facts.method(name)
    if found is None:
        raise Refused(statement.place, f"`{facts.prefix}` has no method `{name}` that can be read")
    owner, node = found
    if owner.module is not facts.cls.module:
        raise Refused(statement.place, f"`{name}` of `{facts.prefix}` stands in another module than its class")
    function = check_method(node)
    body = read_method(owner.module.text, function, owner.module.path)
    parameters = [parameter.name for parameter in body.parameters]
    starred = any(parameter.kind in ("*", "**") for parameter in body.parameters)
    given = [*zip(parameters, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    same = all(isinstance(value, ast.Name) and value.id == name for name, value in given)
    if not same or starred or len(call.args) > len(parameters) or {name for name, _ in given} != set(parameters):
        raise Refused(statement.place, f"the call of `{facts.prefix}` does not pass each parameter under its own name")
    return tuple(substitute(inner, {body.receiver: facts.prefix}) for inner in body.statements)


def _require_apart(statement: Statement, inner: Sequence[Statement], outer: Sequence[Statement], target: str) -> None:
    """Two bodies that become one may share no local name, but for what the call takes and gives."""
    inside, outside = flow([s.tree for s in inner]), flow([s.tree for s in outer])
    used = {n.id for s in outer for n in ast.walk(s.tree) if isinstance(n, ast.Name)} | outside.may_bind
    given = {n.id for n in ast.walk(statement.tree) if isinstance(n, ast.Name)}
    mixed = ((inside.may_bind - {target}) & used) | ((inside.needs - given) & outside.may_bind)
    if mixed:
        raise Refused(statement.place, f"`{min(mixed)}` means one thing before the call and another inside it")


def _without_return(statements: Sequence[Statement], target: str) -> tuple[Statement, ...]:
    *body, last = statements
    if any(returns(s.tree) for s in body) or not isinstance(last.tree, ast.Return) or last.tree.value is None:
        raise Refused(last.place, "a method that is written out in another must return once, at its end")
    return (*body, assign_return(last, target))
