"""The nodes inside a node, in the order in which :mod:`ast` gives them and in a fraction of its time."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all that are inside it, level by level as by ``ast.walk``, but for ``Load``, ``Store`` and ``Del``."""
    pending = [node]
    for inner in pending:  # it grows while it is read
        _add_children(inner, pending)
        yield inner


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right inside a node, as by ``ast.iter_child_nodes``, but for ``Load``, ``Store`` and ``Del``."""
    found: list[ast.AST] = []
    _add_children(node, found)
    return found


def _add_children(node: ast.AST, found: list[ast.AST]) -> None:
    for name in _FIELDS[type(node)]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [inner for inner in value if isinstance(inner, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)


class _Fields(dict[type, tuple[str, ...]]):
    """The fields of each kind of node, those aside that hold names or a context: a name or a constant has no others."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        self[kind] = tuple(name for name in kind._fields if name not in ("arg", "attr", "ctx", "id", "kind"))
        return self[kind]


_FIELDS = _Fields()
