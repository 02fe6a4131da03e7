"""Which names code binds in the scope in which it stands, over the whole of Python's grammar."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from codegen.syntax.walking import children, remembered, walk_for

# What may bind a name without being an expression.
_HOLDERS = (str, ast.stmt, ast.excepthandler, ast.match_case, ast.pattern, ast.withitem)


def bound_names(code: ast.AST, *, blocks: bool = True, expressions: bool = True) -> Iterator[str]:
    """Names that a statement, an expression or a target may bind, in the order in which they are written.

    What Python counts as local is bound: targets, also those of ``del`` and of an annotation without a value, imports,
    functions, classes, patterns and the names of handlers. Those that ``global`` and ``nonlocal`` declare are bound as
    well, since other code may bind them from then on. The variables of a comprehension and what a nested function or
    class binds belong to scopes of their own. ``import *`` binds ``*``, which stands for any name.

    Args:
        code: The code.
        blocks: Whether the statements inside a compound statement count, or its head alone.
        expressions: Whether to look for ``:=`` in expressions, which takes most of the time.
    """
    if not isinstance(code, ast.stmt):
        return _bound(code, blocks, expressions)
    expressions = expressions and any(True for _ in walk_for(code, ast.NamedExpr))
    if not expressions:  # of most statements it is seen at once
        match code:
            case ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())]):
                return iter((name,))
            case ast.Expr() | ast.Return() | ast.Raise() | ast.Assert() | ast.Pass():
                return iter(())
    return iter(remembered(code, f"bound {blocks} {expressions}", lambda: [*_bound(code, blocks, expressions)]))


def _bound(code: ast.AST, blocks: bool, expressions: bool) -> Iterator[str]:
    pending: list[ast.AST | str] = [code]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        else:
            inner = [
                child
                for child in _parts(part)
                if child is not None
                and (blocks or not isinstance(child, ast.stmt))
                and (expressions or isinstance(child, _HOLDERS) or _is_target(child))
            ]
            pending += reversed(inner)


def _parts(node: ast.AST) -> Iterable[ast.AST | str | None]:
    """The names that a node itself binds, among the parts of it that belong to the same scope."""
    match node:
        case ast.Name(id=name):
            return () if isinstance(node.ctx, ast.Load) else (name,)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [alias.asname or alias.name.partition(".")[0] for alias in names]
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return names
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return (*node.decorator_list, name, node.args, node.returns)
        case ast.ClassDef(name=name):
            return (*node.decorator_list, name, *node.bases, *node.keywords)
        case ast.Lambda(args=arguments):
            return (arguments,)
        case ast.comprehension(iter=iterable, ifs=tests):
            return (iterable, *tests)
        case ast.ExceptHandler(type=kind, name=name, body=body):
            return (kind, name, *body)
        case ast.MatchAs(pattern=pattern, name=name):
            return (pattern, name)
        case ast.MatchStar(name=name):
            return (name,)
        case ast.MatchMapping(patterns=patterns, rest=name):
            return (*patterns, name)
    return children(node)


def _is_target(node: ast.AST | str) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
