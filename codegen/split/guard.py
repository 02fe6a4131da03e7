"""A list of images, which a method answers by calls of itself: ``if isinstance(x, list): return [...]`` at its head.

A list has no embedding. The question looks at nothing but the argument and its answer ends the method, so that the rest
is what the method does with an image batch. The guard stays in the whole method, as it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.source.index import Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.statements import Statement

_LISTS = frozenset({"list", "tuple"})


def without_guard(
    module: Module, statements: Sequence[Statement], images: str
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """The guards at the head of a method, and what follows them.

    Args:
        module: The file of the method.
        statements: Those of the method.
        images: Its first parameter.
    """
    taken = module.bindings.keys() | {name for statement in statements for name in bound_names(statement.tree)}
    if ({"isinstance"} | _LISTS) & taken:
        return (), tuple(statements)  # they may be other things than the builtins
    count = 0
    while count < len(statements) - 1 and _is_guard(statements[count].tree, images):
        count += 1
    return tuple(statements[:count]), tuple(statements[count:])


def _is_guard(node: ast.stmt, images: str) -> bool:
    match node:
        case ast.If(
            test=ast.Call(func=ast.Name("isinstance"), args=[ast.Name(id=name), kinds], keywords=[]),
            body=[*_, ast.Return() | ast.Raise()],
            orelse=[],
        ) if name == images:
            names = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
            return all(isinstance(kind, ast.Name) and kind.id in _LISTS for kind in names)
    return False
