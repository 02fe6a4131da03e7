"""The nodes inside a node, in the order in which :mod:`ast` gives them and in a fraction of its time."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar, overload

_T = TypeVar("_T")
_Node = TypeVar("_Node", bound=ast.AST)
_Other = TypeVar("_Other", bound=ast.AST)
_REMEMBERING = (ast.stmt, ast.Module)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all that are inside it, level by level as by ``ast.walk``, but for ``Load``, ``Store`` and ``Del``."""
    return chain((node,), _inside(node))


@overload
def walk_for(node: ast.AST, kind: type[_Node], /) -> Iterator[_Node]: ...
@overload
def walk_for(node: ast.AST, one: type[_Node], other: type[_Other], /) -> Iterator[_Node | _Other]: ...
@overload
def walk_for(node: ast.AST, /, *kinds: type[ast.AST]) -> Iterator[ast.AST]: ...
def walk_for(node: ast.AST, /, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    """Those of some kinds among a node and all that are inside it, in the order of :func:`walk`.

    Of a statement they are remembered, for few of its nodes are what code looks for, and much code looks for the same.
    """
    itself = (node,) if type(node) in kinds else ()
    if not isinstance(node, _REMEMBERING):
        return chain(itself, (inner for inner in _inside(node) if type(inner) in kinds))
    known: dict[tuple[type[ast.AST], ...], list[ast.AST]] = remembered(node, "inside by kind", dict)
    if kinds not in known:
        known[kinds] = [inner for inner in _inside(node) if type(inner) in kinds]
    return chain(itself, known[kinds])


def _inside(node: ast.AST) -> list[ast.AST]:
    """The nodes inside a node, itself aside: if it was remembered with itself, that would keep its tree alive."""
    return remembered(node, "inside", lambda: _found(node)) if isinstance(node, _REMEMBERING) else _found(node)


def remembered(node: ast.AST, question: str, answer: Callable[[], _T]) -> _T:
    """What was found out of a node is remembered with it: many ask. What changes a tree has to ``forget`` it.

    Args:
        node: The node.
        question: What is asked.
        answer: Finds it out.
    """
    attribute = f"{_REMEMBERED}{question}"
    known: list[_T] | None = getattr(node, attribute, None)
    if known is None:
        known = [answer()]
        setattr(node, attribute, known)
    return known[0]


def forget(tree: ast.AST) -> None:
    """Forget what was found out of a tree and of each node in it, for it has been changed."""
    for node in ast.walk(tree):
        for attribute in [name for name in vars(node) if name.startswith(_REMEMBERED)]:
            delattr(node, attribute)


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right inside a node, as by ``ast.iter_child_nodes``, but for ``Load``, ``Store`` and ``Del``."""
    found: list[ast.AST] = []
    for name, mixed in _FIELDS[type(node)]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [inner for inner in value if isinstance(inner, ast.AST)] if mixed else value
        elif value is not None:
            found.append(value)
    return found


def _found(node: ast.AST) -> list[ast.AST]:
    """The nodes inside a node, level by level. ``children`` is written out here: this is most of a run's steps."""
    found = children(node)
    for outer in found:  # it grows while it is read
        for name, mixed in _FIELDS[type(outer)]:
            value = getattr(outer, name, None)
            if isinstance(value, list):
                found += [inner for inner in value if isinstance(inner, ast.AST)] if mixed else value
            elif value is not None:
                found.append(value)
    return found


_NO_NODES = frozenset(
    {"arg", "asname", "attr", "conversion", "ctx", "id", "is_async", "kind", "kwd_attrs", "level", "lineno", "module"}
    | {"name", "rest", "simple", "str", "tag", "type_comment"}
)
"""Fields that hold names, constants or a context."""
_MIXED = frozenset({"keys", "kw_defaults", "names"})
"""Fields with lists of nodes that may hold something else, too: names, or ``None`` for ``**more`` in a dictionary."""


class _Fields(dict[type, tuple[tuple[str, bool], ...]]):
    """The fields of each kind of node that may hold nodes, and whether their lists may hold something else, too."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[tuple[str, bool], ...]:
        plain = _NO_NODES - {"name"} if kind.__name__ == "TypeAlias" else _NO_NODES
        constants = (ast.Constant, ast.MatchSingleton)
        names = [name for name in kind._fields if name not in plain and not (kind in constants and name == "value")]
        self[kind] = tuple((name, name in _MIXED) for name in names)
        return self[kind]


_FIELDS = _Fields()
_REMEMBERED = "_codegen "
