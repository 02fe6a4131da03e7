"""Methods that are written out in the place of their calls, so that the result can be cut like any other body.

A helper that gives the tokens their position and runs the blocks as well, ``x = self.forward_tokens(x)``, holds the
boundary inside: its statements stand for the call of it. So does one that runs the stem and the blocks, as ``forward``
calls ``forward_features``, or MAE its encoder: ``latent, mask, restore = self.forward_encoder(imgs, mask_ratio)``.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.model.attached import is_attached
from codegen.model.facts import Facts, Role
from codegen.model.outside import Outside
from codegen.model.steps import walk_steps
from codegen.source.index import Class
from codegen.split.boundary import Refused
from codegen.split.nested import take_out_helpers
from codegen.split.soundness import check_method
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, escaping_scopes, flow, returns
from codegen.syntax.parameters import defaults_of
from codegen.syntax.statements import Statement, arms, assign_return, conditional, read_method, rewrite, substitute
from codegen.syntax.walking import walk


def write_out_helpers(
    facts: Facts, statements: Sequence[Statement], parameters: Sequence[str]
) -> tuple[Statement, ...]:
    """Statements with each helper written out that holds the boundary.

    Args:
        facts: The class.
        statements: Those of its ``forward_features``.
        parameters: Those of the method, the images first.

    Raises:
        Refused: If such a helper cannot be written out.
    """
    for number, statement in enumerate(statements):
        before, after = statements[:number], statements[number + 1 :]
        called = _helper(facts, before, statement, parameters[0])
        if called is None:
            continue
        name = dotted(called.call.func).removeprefix(f"{facts.prefix}.")
        inner = body_of_call(facts, name, called.call, statement, helper=True)
        captured = _free(facts, name, inner) & {*parameters, *(n for s in before for n in bound_names(s.tree))}
        if captured:
            raise Refused(
                statement.place, f"`{min(captured)}` means one thing before the call and another inside `{name}`"
            )
        require_apart(statement, inner, after, called.target, before=before)
        written = without_return(inner, called.target, several=True) if called.target else inner
        return (*before, *write_out_helpers(facts, (*written, *after), parameters))
    apart = take_out_helpers(facts, statements, parameters, _holding(facts, statements))
    if any(_helper(facts, apart[:number], one, parameters[0]) for number, one in enumerate(apart)):
        return write_out_helpers(facts, apart, parameters)  # of self.head(self.forward_features(x))
    return tuple(statements)


def _holding(facts: Facts, statements: Sequence[Statement]) -> frozenset[str]:
    """The methods of a user's class that some statements call and that run the blocks."""
    found = set()
    for name in {name for statement in statements for name in facts.calls(statement.tree)}:
        method = facts.method(name)
        if method is not None and not method[0].module.is_timms:
            roles = {facts.role(attribute) for attribute in facts.runs(method[1])}
            found |= {name} if roles & {Role.BLOCK, Role.BOTH} else set()
    return frozenset(found)


def _free(facts: Facts, name: str, inner: Sequence[Statement]) -> frozenset[str]:
    """The names that the body of a method reads which are neither parameters of it nor bound there: globals."""
    found = facts.method(name)
    assert found is not None
    own = {argument.arg for argument in walk(found[1].args) if isinstance(argument, ast.arg)}
    body = [statement.tree for statement in inner if not isinstance(statement, _Passing)]
    return flow(body, own).needs - {facts.prefix.partition(".")[0]}


@dataclass(frozen=True)
class _Helper:
    """The call of a helper that holds the boundary.

    Attributes:
        call: It.
        target: What it is bound to, a variable or several, ``x, mask``; empty if it is returned.
    """

    call: ast.Call
    target: str


def _helper(facts: Facts, before: Sequence[Statement], statement: Statement, images: str) -> _Helper | None:
    """The call of a helper that holds the boundary, if a statement is one."""
    match statement.tree:
        case ast.Assign(targets=[ast.Name() | ast.Tuple() as target], value=ast.Call() as call):
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(name, ast.Name) for name in names):
                return None
            bound = ast.unparse(target).strip("()")
        case ast.Return(value=ast.Call() as call):
            bound = ""
        case _:
            return None
    head, _, name = dotted(call.func).rpartition(".")
    found = facts.method(name) if head == facts.prefix else None
    if found is None or name in facts.values or _may_be_replaced(facts, name):
        return None
    blocks = (attribute for attribute in facts.runs(found[1]) if facts.role(attribute) in (Role.BLOCK, Role.BOTH))
    holds = any(blocks) and (_gives_position_first(facts, *found) or _begins_with_stem(facts, before, found[0], images))
    return _Helper(call, bound) if holds else None


def _may_be_replaced(facts: Facts, name: str) -> bool:
    """Whether a user's code may give a class or an object another method by a name."""
    return bool(Outside.of(facts.index).stored.get(name)) or is_attached(facts.index, facts.lineage, name)


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


def _begins_with_stem(facts: Facts, before: Sequence[Statement], owner: Class, images: str) -> bool:
    """Whether a helper that runs the blocks has to run the stem as well: ``self.forward_features(x)``.

    It has if nothing has given the images to a module before, nor a position. Of timm's own methods this is not asked.
    """
    if owner.module.is_timms:
        return False
    earlier = walk_steps(facts, before, frozenset({images}))
    return not any(step.on_path and (step.runs or step.is_position) for step in earlier)


def body_of_call(
    facts: Facts, name: str, call: ast.Call, statement: Statement, *, helper: bool = False
) -> tuple[Statement, ...]:
    """The body of a method with the names that a call gives to its parameters.

    Args:
        facts: The class.
        name: Of the method.
        call: The call of it.
        statement: The statement that holds the call.
        helper: Whether its parameters may be given what has other names, or be left to their defaults.

    Raises:
        Refused: If the method cannot be read, or the call passes its arguments in a way that cannot be written out.
    """
    found = facts.method(name)
    if found is None:
        raise Refused(statement.place, f"`{facts.prefix}` has no method `{name}` that can be read")
    owner, node = found
    if owner.module is not facts.cls.module:
        raise Refused(statement.place, f"`{name}` of `{facts.prefix}` stands in another module than its class")
    return written_out(facts, owner, check_method(owner.module, node), call, statement, defaults=helper, names=helper)


@dataclass(frozen=True)
class _Passing(Statement):
    """A statement by which a call gives a parameter its value: ``x = imgs``."""


def written_out(
    facts: Facts,
    owner: Class,
    function: ast.FunctionDef,
    call: ast.Call,
    statement: Statement,
    *,
    defaults: bool = False,
    names: bool = False,
) -> tuple[Statement, ...]:
    """The body of a method with the names that a call gives to its parameters.

    Args:
        facts: The class.
        owner: The class in which the method stands.
        function: The method, which was checked.
        call: The call of it.
        statement: The statement that holds the call.
        defaults: Whether a parameter may be left to its default, if that is a constant.
        names: Whether a parameter may be given something that has another name.

    Raises:
        Refused: If the call passes its arguments in a way that cannot be written out.
    """
    body = read_method(owner.module.text, function, owner.module.path, facts.index.computed_names(owner.module.path))
    unread = {p.name for p in body.parameters if p.kind in ("*", "**") and not _reads(body.statements, p.name)}
    parameters = [parameter.name for parameter in body.parameters if parameter.name not in unread or not names]
    starred = any(parameter.kind in ("*", "**") for parameter in body.parameters if parameter.name in parameters)
    given = [*zip(parameters, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    others = [(name, value) for name, value in given if not (isinstance(value, ast.Name) and value.id == name)]
    passed = others if names and _may_be_bound_first(others, given) else []
    left = _constants(function) if defaults else {}
    left = {name: text for name, text in left.items() if name in set(parameters) - {name for name, _ in given}}
    named = {name for name, _ in given} | left.keys()
    same = passed == others and len(given) + len(left) == len(parameters)
    if not same or starred or len(call.args) > len(parameters) or named != set(parameters):
        raise Refused(
            statement.place, f"the call of `{ast.unparse(call.func)}` does not pass each parameter under its own name"
        )
    values = [(str(name), ast.unparse(value)) for name, value in passed] + [*left.items()]
    first = (_Passing(f"{name} = {text}", statement.place, statement.names) for name, text in values)
    return (*first, *(substitute(inner, {body.receiver: facts.prefix}) for inner in body.statements))


def _reads(statements: Sequence[Statement], name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for s in statements for node in walk(s.tree))


def _may_be_bound_first(
    others: Sequence[tuple[str | None, ast.expr]], given: Sequence[tuple[str | None, ast.expr]]
) -> bool:
    """Whether parameters may be bound one by one, as none of their names is read by what another is given."""
    odd = ast.Starred | ast.NamedExpr | ast.Lambda | ast.Await | ast.Yield | ast.YieldFrom
    nodes = [(name, node) for name, value in given for node in walk(value)]
    if any(isinstance(node, odd) for _, node in nodes):
        return False
    bound = {name for name, _ in others}
    return not any(isinstance(node, ast.Name) and node.id in bound - {name} for name, node in nodes)


def _constants(function: ast.FunctionDef) -> dict[str, str]:
    """The defaults of parameters that are constants."""
    return {name: ast.unparse(d) for name, d in defaults_of(function.args).items() if isinstance(d, ast.Constant)}


def require_apart(
    statement: Statement,
    inner: Sequence[Statement],
    outer: Sequence[Statement],
    target: str,
    *,
    before: Sequence[Statement] | None = None,
) -> None:
    """Two bodies that become one may share no local name, but for what the call takes and gives.

    Args:
        statement: The call.
        inner: The body that is called.
        outer: The statements around the call; without those of ``before``.
        target: What it is bound to, a variable or several, ``x, mask``.
        before: Statements before the call, if their names may be bound again where nothing that follows reads them.

    Raises:
        Refused: If they do.
    """
    if before is not None and any(True for _ in escaping_scopes([s.tree for s in (*before, *inner, *outer)])):
        outer, before = [*before, *outer], None
    inside, outside = flow([s.tree for s in inner]), flow([s.tree for s in outer])
    every = {n.id for s in outer for n in walk(s.tree) if isinstance(n, ast.Name)} | outside.may_bind
    used = every if before is None else outside.needs
    given = {n.id for n in walk(statement.tree) if isinstance(n, ast.Name)}
    mixed = ((inside.may_bind - _variables(target)) & used) | ((inside.needs - given) & outside.may_bind)
    if mixed:
        raise Refused(statement.place, f"`{min(mixed)}` means one thing before the call and another inside it")


def _variables(target: str) -> frozenset[str]:
    return frozenset(name.strip() for name in target.split(","))


def without_return(statements: Sequence[Statement], target: str, *, several: bool = False) -> tuple[Statement, ...]:
    """The body of a method that binds a name, or several, to what it returns instead.

    Args:
        statements: The body.
        target: What is bound.
        several: Whether the method may return at the end of each arm of a condition.

    Raises:
        Refused: If it returns in another place than at its end.
    """
    for number, statement in enumerate(statements):
        before, rest = statements[:number], statements[number + 1 :]
        match statement.tree:
            case ast.Return(value=ast.expr() as value):
                bound = ast.unparse(value).strip("()") == target and isinstance(value, ast.Name | ast.Tuple)
                return tuple(before) if bound else (*before, assign_return(statement, target))
            case ast.If() if several and returns(statement.tree):
                test, body, orelse = arms(statement)
                if _ends(body):
                    orelse = (*orelse, *rest)
                elif _ends(orelse):
                    body = (*body, *rest)
                else:
                    break
                if not (body and orelse):  # it comes to its end, and gives None
                    break
                one, other = (without_return(arm, target, several=True) for arm in (body, orelse))
                if not (one or other):  # both give what they are given: the question is asked all the same
                    return (*before, rewrite(statement, f"if {test}:\n    pass"))
                return (*before, conditional(test, one, other, statement.place))
            case _ if returns(statement.tree):
                break
    raise Refused(statements[-1].place, "a method that is written out in another must return once, at its end")


def _ends(statements: Sequence[Statement]) -> bool:
    """Whether no way through some statements comes to their end."""
    return bool(statements) and not flow([statement.tree for statement in statements]).falls_through
