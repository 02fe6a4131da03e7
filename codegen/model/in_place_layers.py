"""Classes of layers that change what they are given, as they plainly say: ``x *= 2``, ``x.relu_()``, ``self.act(x)``.

A layer of which nothing is known is believed to leave its input alone where no such class is in sight.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.model.module_kind import IN_PLACE
from codegen.model.purity import is_told_in_place
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import walk


def changes_its_input(facts: Facts) -> bool:
    """Whether the ``forward`` of a class does, other than where a flag of ``self`` tells it to: ``if self.inplace``."""
    function = facts.cls.members.get("forward")
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        return False
    given = positional_names(function.args)[1:2]
    return bool(given) and any(_changes_in_place(facts, node, given[0]) for node in _running(function.body, given[0]))


def _running(statements: Sequence[ast.stmt], name: str) -> Iterator[ast.AST]:
    """What runs while a variable is what it was, where no flag of ``self`` is set."""
    for node in statements:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                yield from walk(test)
                yield from () if _is_flag(test) else _running(body, name)
                yield from _running(orelse, name)
            case ast.For(body=body) | ast.While(body=body) | ast.With(body=body) | ast.Try(body=body):
                yield from _running(body, name)
            case ast.FunctionDef():
                pass
            case _:
                yield from _evaluated(node)
        if name in bound_names(node):
            return


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement without what a flag of ``self`` leaves out."""
    yield node
    flagged = isinstance(node, ast.IfExp) and _is_flag(node.test)
    for part in [node.orelse] if flagged and isinstance(node, ast.IfExp) else ast.iter_child_nodes(node):
        yield from _evaluated(part)


def _is_flag(test: ast.expr) -> bool:
    return isinstance(test, ast.Attribute) and dotted(test.value) == "self" and test.attr != "training"


def _changes_in_place(facts: Facts, node: ast.AST, name: str) -> bool:
    match node:
        case ast.AugAssign(target=ast.Name(id=target)):
            return target == name
        case ast.Subscript(value=ast.Name(id=owner), ctx=ast.Store()):
            return owner == name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attr)) if owner == name:
            return attr.endswith("_") and not attr.startswith("_")
        case ast.Call(func=ast.Attribute(value=ast.Name("self"), attr=attr), args=[ast.Name(id=given), *_]):
            kinds = kinds_of(facts, attr) if given == name and attr not in facts.methods else frozenset()
            return kinds == {IN_PLACE}
        case ast.Call(func=function, args=[ast.Name(id=given), *_]) if given == name and dotted(function):
            return dotted(function).endswith("_") or is_told_in_place(node)
    return False
