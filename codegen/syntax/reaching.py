"""Which statements may have bound a variable where it is used, by the order of the lines and the blocks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.syntax.bindings import bound_names
from codegen.syntax.walking import remembered, walk

Binding = ast.Assign | ast.AnnAssign | ast.For
_Path = tuple[tuple[ast.stmt, str], ...]


def reaching(function: ast.FunctionDef, use: ast.Name) -> Iterator[Binding | ast.arg]:
    """What may have bound a variable of a function where it is used, the nearest first.

    Args:
        function: The function.
        use: The variable, in a statement of it.
    """
    yield from (a for a in walk(function.args) if isinstance(a, ast.arg) and a.arg == use.id)
    every = remembered(function, "bindings", lambda: [*_bindings(function.body, ())])
    bound = [(node, line, path) for node, line, path, names in every if use.id in names]
    here = next((path for line, path in _lines(function.body, ()) if line >= use.lineno), ())
    loops = [node for node, _ in here if isinstance(node, ast.For | ast.While)]
    for node, line, path in reversed(bound):
        if line <= use.lineno:
            yield node
            if here[: len(path)] == path:
                break  # it is bound anew on every way from before to here
    for node, line, _ in bound:
        if line > use.lineno and any(line <= (loop.end_lineno or 0) for loop in loops):
            yield node


def _blocks(node: ast.stmt) -> Iterator[tuple[str, Sequence[ast.stmt]]]:
    for name in ("body", "orelse", "finalbody"):
        yield name, getattr(node, name, [])
    for name in ("handlers", "cases"):
        for number, part in enumerate(getattr(node, name, [])):
            yield f"{name} {number}", part.body


def _lines(statements: Sequence[ast.stmt], path: _Path) -> Iterator[tuple[int, _Path]]:
    """The last line of each statement without blocks, and the blocks that it stands in, in order."""
    for node in statements:
        inner = [(name, block) for name, block in _blocks(node) if block]
        if not inner:
            yield node.end_lineno or node.lineno, path
        for name, block in inner:
            yield from _lines(block, (*path, (node, name)))


def _bindings(statements: Sequence[ast.stmt], path: _Path) -> Iterator[tuple[Binding, int, _Path, set[str]]]:
    """The statements that bind names, the lines of what they bind them to, and the blocks that they stand in."""
    for node in statements:
        match node:
            case ast.Assign(value=value):
                yield node, value.lineno, path, set(bound_names(node))  # and not b.frozen = True
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield node, value.lineno, path, {name}
            case ast.For(target=target, iter=iterable):
                yield node, iterable.lineno, (*path, (node, "body")), set(bound_names(target))
        for name, block in _blocks(node):
            yield from _bindings(block, (*path, (node, name)))
