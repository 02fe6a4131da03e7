"""Which functions of some files may run when others do, by the names that these mention."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable

from codegen.syntax.walking import walk

Function = ast.FunctionDef | ast.AsyncFunctionDef


def reached(files: Iterable[ast.Module], roots: Collection[str]) -> list[Function]:
    """The functions of some files that may run when functions with some names do.

    A function may run if its name is mentioned by one that may, be it of another class; so may what Python calls by
    itself, ``__getitem__``. Constructors are not looked at, unless ``__init__`` is one of the names.

    Args:
        files: The files.
        roots: The names.
    """
    functions: dict[str, list[Function]] = {}
    for node in (node for file in files for node in walk(file)):
        if isinstance(node, Function):
            functions.setdefault(node.name, []).append(node)
    special = {name for name in functions if name.startswith("__") and name != "__init__"}
    found: dict[int, Function] = {}
    pending = [function for name in {*roots, *special} for function in functions.get(name, ())]
    while pending:
        function = pending.pop()
        if id(function) not in found:
            found[id(function)] = function
            pending += [each for name in _mentioned(function) - {"__init__"} for each in functions.get(name, ())]
    return list(found.values())


def _mentioned(function: Function) -> set[str]:
    return {
        n.attr if isinstance(n, ast.Attribute) else n.id
        for n in walk(function)
        if isinstance(n, ast.Attribute | ast.Name)
    }
