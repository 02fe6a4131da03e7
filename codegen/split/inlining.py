"""Methods that are written out in the place of their calls, so that the result can be cut like any other body.

A helper that gives the tokens their position and runs the blocks as well, ``x = self.forward_tokens(x)``, holds the
boundary inside: its statements stand for the call of it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.model.facts import Facts, Role
from codegen.model.steps import walk_steps
from codegen.source.index import Class
from codegen.split.boundary import Refused
from codegen.split.soundness import check_method
from codegen.syntax.dataflow import dotted, flow, returns
from codegen.syntax.parameters import defaults_of
from codegen.syntax.statements import Statement, assign_return, read_method, substitute
from codegen.syntax.walking import walk


def write_out_helpers(facts: Facts, statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Statements with each helper written out that holds the boundary.

    Args:
        facts: The class.
        statements: Those of its ``forward_features``.

    Raises:
        Refused: If such a helper cannot be written out.
    """
    for number, statement in enumerate(statements):
        called = _helper(facts, statement)
        if called is None:
            continue
        call, target = called
        name = dotted(call.func).removeprefix(f"{facts.prefix}.")
        inner = body_of_call(facts, name, call, statement)
        before, after = statements[:number], statements[number + 1 :]
        require_apart(statement, inner, [*before, *after], target)
        written = without_return(inner, target) if target else inner
        return (*before, *write_out_helpers(facts, (*written, *after)))
    return tuple(statements)


def _helper(facts: Facts, statement: Statement) -> tuple[ast.Call, str] | None:
    """The call of a helper that holds the boundary, and the variable that it is bound to; empty if it is returned."""
    match statement.tree:
        case ast.Assign(targets=[ast.Name(id=target)], value=ast.Call() as call):
            pass
        case ast.Return(value=ast.Call() as call):
            target = ""
        case _:
            return None
    head, _, name = dotted(call.func).rpartition(".")
    found = facts.method(name) if head == facts.prefix else None
    if found is None or name in facts.values:
        return None
    blocks = (attribute for attribute in facts.runs(found[1]) if facts.role(attribute) in (Role.BLOCK, Role.BOTH))
    return (call, target) if any(blocks) and _gives_position_first(facts, *found) else None


def _gives_position_first(facts: Facts, owner: Class, method: ast.FunctionDef) -> bool:
    """Whether a method gives tokens their position in one statement and runs the blocks in a later one."""
    names = frozenset(argument.arg for argument in method.args.args[1:])
    positioned = False
    body = read_method(owner.module.text, method, owner.module.path, facts.index.computed_names(owner.module.path))
    for step in walk_steps(facts, body.statements, names):
        if step.roles & {Role.BLOCK, Role.BOTH}:
            return positioned
        positioned = positioned or (step.is_position and step.target in step.tokens)  # not rope beside them
    return False


def body_of_call(facts: Facts, name: str, call: ast.Call, statement: Statement) -> tuple[Statement, ...]:
    """The body of a method with the names that a call gives to its parameters.

    Args:
        facts: The class.
        name: Of the method.
        call: The call of it.
        statement: The statement that holds the call.

    Raises:
        Refused: If the method cannot be read, or the call passes its arguments in a way that cannot be written out.
    """
    found = facts.method(name)
    if found is None:
        raise Refused(statement.place, f"`{facts.prefix}` has no method `{name}` that can be read")
    owner, node = found
    if owner.module is not facts.cls.module:
        raise Refused(statement.place, f"`{name}` of `{facts.prefix}` stands in another module than its class")
    return written_out(facts, owner, check_method(owner.module, node), call, statement)


def written_out(
    facts: Facts,
    owner: Class,
    function: ast.FunctionDef,
    call: ast.Call,
    statement: Statement,
    *,
    defaults: bool = False,
) -> tuple[Statement, ...]:
    """The body of a method with the names that a call gives to its parameters.

    Args:
        facts: The class.
        owner: The class in which the method stands.
        function: The method, which was checked.
        call: The call of it.
        statement: The statement that holds the call.
        defaults: Whether a parameter may be left to its default, if that is a constant.

    Raises:
        Refused: If the call passes its arguments in a way that cannot be written out.
    """
    body = read_method(owner.module.text, function, owner.module.path, facts.index.computed_names(owner.module.path))
    parameters = [parameter.name for parameter in body.parameters]
    starred = any(parameter.kind in ("*", "**") for parameter in body.parameters)
    given = [*zip(parameters, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    same = all(isinstance(value, ast.Name) and value.id == name for name, value in given)
    left = _constants(function) if defaults else {}
    left = {name: text for name, text in left.items() if name in set(parameters) - {name for name, _ in given}}
    named = {name for name, _ in given} | left.keys()
    if not same or starred or len(call.args) > len(parameters) or named != set(parameters):
        raise Refused(statement.place, f"the call of `{facts.prefix}` does not pass each parameter under its own name")
    first = (Statement(f"{name} = {text}", statement.place) for name, text in left.items())
    return (*first, *(substitute(inner, {body.receiver: facts.prefix}) for inner in body.statements))


def _constants(function: ast.FunctionDef) -> dict[str, str]:
    """The defaults of parameters that are constants."""
    return {name: ast.unparse(d) for name, d in defaults_of(function.args).items() if isinstance(d, ast.Constant)}


def require_apart(statement: Statement, inner: Sequence[Statement], outer: Sequence[Statement], target: str) -> None:
    """Two bodies that become one may share no local name, but for what the call takes and gives.

    Raises:
        Refused: If they do.
    """
    inside, outside = flow([s.tree for s in inner]), flow([s.tree for s in outer])
    used = {n.id for s in outer for n in walk(s.tree) if isinstance(n, ast.Name)} | outside.may_bind
    given = {n.id for n in walk(statement.tree) if isinstance(n, ast.Name)}
    mixed = ((inside.may_bind - {target}) & used) | ((inside.needs - given) & outside.may_bind)
    if mixed:
        raise Refused(statement.place, f"`{min(mixed)}` means one thing before the call and another inside it")


def without_return(statements: Sequence[Statement], target: str) -> tuple[Statement, ...]:
    """The body of a method that binds a name to what it returns instead.

    Raises:
        Refused: If it returns in another place than at its end.
    """
    *body, last = statements
    if any(returns(s.tree) for s in body) or not isinstance(last.tree, ast.Return) or last.tree.value is None:
        raise Refused(last.place, "a method that is written out in another must return once, at its end")
    if isinstance(last.tree.value, ast.Name) and last.tree.value.id == target:
        return tuple(body)
    return (*body, assign_return(last, target))
