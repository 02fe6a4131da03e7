"""Whether two statements are the same but for what their variables are called."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def names_in_place(left: ast.AST, right: ast.AST) -> list[tuple[ast.Name, ast.Name]] | None:
    """The names at each place of two trees that are equal but for these; ``None`` if they differ in more.

    Names of attributes, of keywords and of the parameters of a lambda have to be the same.
    """
    pairs: list[tuple[ast.Name, ast.Name]] = []
    return pairs if all(_same(left, right, pairs)) else None


def _same(left: object, right: object, pairs: list[tuple[ast.Name, ast.Name]]) -> Iterator[bool]:
    if isinstance(left, ast.Name) and isinstance(right, ast.Name):
        pairs.append((left, right))
        yield type(left.ctx) is type(right.ctx)
    elif isinstance(left, ast.AST):
        yield type(left) is type(right)
        for name in left._fields:
            yield from _same(getattr(left, name, None), getattr(right, name, None), pairs)
    elif isinstance(left, list) and isinstance(right, list):
        yield len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            yield from _same(one, other, pairs)
    else:
        yield type(left) is type(right) and left == right
