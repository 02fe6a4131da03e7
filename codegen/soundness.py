"""Constructs that a method may not hold if its statements are to live in another class, in two halves."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.dataflow import BUILTINS, Unsound, dotted, escaping_scopes

# Builtins that see the frame or the class they are called from.
_FRAME = frozenset({"locals", "vars", "dir", "globals", "eval", "exec", "super", "__class__", "breakpoint"})


def check_method(function: ast.stmt) -> ast.FunctionDef:
    """Refuse a method whose statements mean something else in a subclass, or that is not a plain method.

    Raises:
        Unsound: With the construct and why.
    """
    if not isinstance(function, ast.FunctionDef):
        raise Unsound(function, "it is not a plain method")
    if function.decorator_list:
        name = ast.unparse(function.decorator_list[0])
        raise Unsound(function.decorator_list[0], f"it is decorated with `@{name}`, which may change what it does")
    if not (function.args.posonlyargs or function.args.args):
        raise Unsound(function, "it takes no self")
    for node in ast.walk(function):
        match node:
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                raise Unsound(node, "it suspends")
            case ast.Global() | ast.Nonlocal():
                raise Unsound(node, f"it declares {', '.join(node.names)} {type(node).__name__.lower()}")
            case ast.Name(id=name) if name in _FRAME:
                raise Unsound(node, f"`{name}` sees the frame or the class that it stands in")
            case ast.Attribute(attr=name) | ast.Name(id=name) if name.startswith("__") and not name.endswith("__"):
                raise Unsound(node, f"Python rewrites the private name `{name}` with the name of the class")
            case ast.Constant(value=str()) | ast.JoinedStr() if node.end_lineno != node.lineno:
                if not _is_docstring(function, node):
                    raise Unsound(node, "a string over several lines would change with its indentation")
    return function


def _is_docstring(function: ast.FunctionDef, node: ast.AST) -> bool:
    first = function.body[0]
    return isinstance(first, ast.Expr) and first.value is node


def check_embed(receiver: str, statements: Sequence[ast.stmt]) -> None:
    """Refuse statements that cannot be a method of their own, before a boundary.

    Raises:
        Unsound: With the construct and why.
    """
    for scope in escaping_scopes(statements):
        raise Unsound(scope, "a function made before the boundary may see names that change after it")
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Return):
                raise Unsound(node, "the method returns before the embedding is complete")
            if isinstance(node, ast.Name) and node.id == receiver and isinstance(node.ctx, ast.Store | ast.Del):
                raise Unsound(node, f"`{receiver}` is rebound")
            if isinstance(node, ast.Delete) and any(dotted(t) for t in node.targets):
                raise Unsound(node, "`del` before the boundary")


def global_names(needs: frozenset[str], bound: frozenset[str], receiver: str) -> tuple[str, ...]:
    """Names that code takes from its module: all that it needs and nobody binds, builtins aside."""
    return tuple(sorted(needs - bound - BUILTINS - {receiver}))
