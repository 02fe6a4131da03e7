"""``from x import *`` spelled out, where the names of ``x`` are known: ``from x import a, b``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codegen.source.imports import Import, source_module
from codegen.syntax.walking import forget, walk


@dataclass(frozen=True)
class Exports:
    """What ``import *`` takes from a module.

    Attributes:
        names: What it surely takes, and where that comes from.
        doubtful: What the module binds on some paths only, so that nobody knows whether it is taken.
    """

    names: tuple[tuple[str, Import], ...]
    doubtful: tuple[tuple[str, Import], ...]


def spell_out(tree: ast.Module, path: str, exports: Callable[[str], Exports | None]) -> None:
    """Replace each ``import *`` of a file, in its place, by what it imports.

    Args:
        tree: The file. It is changed.
        path: Its path from the import root.
        exports: What ``import *`` takes from a module; ``None`` where that cannot be known, and the statement stays.
    """
    for node in list(walk(tree)):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and any(map(_is_star, block)):
                block[:] = [new for old in block for new in _spelled(old, path, exports)]
    forget(tree)


def _is_star(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def _spelled(node: ast.stmt, path: str, exports: Callable[[str], Exports | None]) -> Sequence[ast.stmt]:
    if not (isinstance(node, ast.ImportFrom) and _is_star(node)):
        return [node]
    found = exports(source_module(node, path))
    if found is None:
        return [node]
    written: list[ast.stmt] = [_importing(node, *bound) for bound in found.names]
    if found.doubtful:
        test = ast.copy_location(ast.Name("__spec__", ast.Load()), node)  # a question that nothing answers
        body: list[ast.stmt] = [_importing(node, *bound) for bound in found.doubtful]
        written.append(ast.copy_location(ast.If(test, body, []), node))
    return written or [ast.copy_location(ast.Pass(), node)]


def _importing(node: ast.ImportFrom, name: str, origin: Import) -> ast.stmt:
    alias = ast.copy_location(ast.alias(origin.name or origin.module, name), node.names[0])
    made = ast.ImportFrom(origin.module, [alias], 0) if origin.name else ast.Import([alias])
    return ast.copy_location(made, node)
