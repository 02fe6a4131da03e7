"""Who reads the running statistics of a norm: the embedding changes them in training, and few ask for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from codegen.source.index import Index, Module
from codegen.source.reached import Function, reached
from codegen.syntax.walking import walk

_STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_BUFFERS = frozenset({"buffers", "named_buffers", "state_dict", "get_buffer", "_buffers"})
_PARTS = ("running_", "num_batches", "_buffers")  # of names that are computed


def reader_of_statistics(index: Index) -> tuple[Module, ast.AST] | None:
    """Where a user's code asks for running statistics, or for any buffers, when a model is made or runs.

    Methods that nothing there calls, as those which fold a norm into a convolution, do not count.

    Args:
        index: The release.
    """
    modules = index.user_modules
    asking = [(module, function, node) for module in modules for function, node in _asking(module)]
    if not asking:
        return None
    run = set(map(id, reached([module.tree for module in modules], {"forward", "__init__", index.method})))
    return next(((m, node) for m, function, node in asking if function is None or id(function) in run), None)


def _asking(module: Module) -> Iterator[tuple[Function | None, ast.AST]]:
    """What asks for statistics, each with the function that it stands in."""
    if not any(word in module.text for word in (*_STATISTICS, *_BUFFERS, *_PARTS)):
        return
    inside = set()
    for function in (node for node in walk(module.tree) if isinstance(node, Function)):
        for node in walk(function):
            inside.add(id(node))
            if _asks(node):
                yield function, node
    yield from ((None, node) for node in walk(module.tree) if id(node) not in inside and _asks(node))


def _asks(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=attr, ctx=ast.Load()):
            return attr in _STATISTICS | _BUFFERS
        case ast.Constant(value=str(text)):
            return text.isidentifier() and any(part in text for part in _PARTS)
    return False
