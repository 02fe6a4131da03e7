"""``x = super().forward_features(x)``: the parent's statements are written out in the place of the call."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.source.index import Class, Module
from codegen.split.boundary import Refused
from codegen.split.inlining import require_apart, without_return, written_out
from codegen.split.soundness import check_class, check_method, check_scope, parents_call
from codegen.syntax.dataflow import flow
from codegen.syntax.statements import Statement


@dataclass(frozen=True)
class WrittenOut:
    """Statements in which the calls of parents are written out.

    Attributes:
        statements: All of them.
        borrowed: The names that the parents' statements read from the modules of the parents.
        parents: Full names of the parents, the nearest first.
    """

    statements: tuple[Statement, ...]
    borrowed: tuple[tuple[Module, frozenset[str]], ...] = ()
    parents: tuple[str, ...] = ()


def write_out_parents(facts: Facts, owner: Class, statements: Sequence[Statement]) -> WrittenOut:
    """Write the parent's method out where a statement calls it.

    Args:
        facts: The model class, whose lineage says which class is the parent.
        owner: The class in which the statements stand.
        statements: Those of its method.

    Raises:
        Refused: If the parent or its method cannot be read, or the call passes its arguments in another way than by
            their names.
        Unsound: If the method holds what cannot be moved to another class.
    """
    method = facts.index.method
    for number, statement in enumerate(statements):
        call = parents_call(statement.tree, method)
        if call is None:
            continue
        if "super" in owner.module.bindings:
            raise Refused(statement.place, "`super` is not the builtin of that name")
        inherited = facts.inherited(owner, method)
        if inherited is None:
            raise Refused(statement.place, _why_no_parent(owner, method))
        parent, node = inherited
        check_class(facts.index, facts.cls, parent)
        function = check_method(parent.module, node, method)
        inner = written_out(facts, parent, function, call, statement, defaults=True)
        whole = flow([s.tree for s in inner], _given(call))
        check_scope(parent.module, parent.node, function, whole)
        target = statement.tree.targets[0] if isinstance(statement.tree, ast.Assign) else None
        name = target.id if isinstance(target, ast.Name) else ""
        require_apart(statement, inner, [*statements[:number], *statements[number + 1 :]], name)
        deeper = write_out_parents(facts, parent, inner)
        body = without_return(deeper.statements, name) if name else deeper.statements
        borrowed = (parent.module, frozenset(whole.needs - whole.may_bind - _given(call) - {"super"}))
        rest = (*statements[:number], *body, *statements[number + 1 :])
        return WrittenOut(rest, (borrowed, *deeper.borrowed), (parent.path, *deeper.parents))
    return WrittenOut(tuple(statements))


def _why_no_parent(owner: Class, method: str) -> str:
    for base in map(ast.unparse, owner.node.bases):
        head = base.partition(".")[0]
        lines = [node.lineno for node in owner.module.bindings.get(head, ())]
        if len(lines) > 1 or head in owner.module.conditional:
            where = ", ".join(map(str, lines))
            return f"its base `{base}` is bound more than once, or under a condition (line {where}): which one runs?"
    return f"no parent of `{owner.name}` that can be read has a `{method}`"


def _given(call: ast.Call) -> set[str]:
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return {"self", *(value.id for value in values if isinstance(value, ast.Name))}
