"""Which functions of some files may run when others do, by the names that these mention."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence

from codegen.syntax.walking import walk

Function = ast.FunctionDef | ast.AsyncFunctionDef


def reached(files: Iterable[ast.Module], roots: Collection[str]) -> list[Function]:
    """The functions of some files that may run when functions with some names do.

    A function may run if its name is mentioned by one that may, be it of another class; so may what Python calls by
    itself, ``__getitem__``. Constructors are not looked at.

    Args:
        files: The files.
        roots: The names.
    """
    functions: dict[str, list[ast.AST]] = {}
    for node in (node for file in files for node in walk(file)):
        if isinstance(node, Function) and node.name not in ("__init__", "__new__"):
            functions.setdefault(node.name, []).append(node)
    special = {name for name in functions if name.startswith("__")}
    first = [function for name in {*roots, *special} for function in functions.get(name, ())]
    return [node for node in _closed(first, functions) if isinstance(node, Function)]


def made_and_run(files: Iterable[ast.Module], classes: Sequence[ast.ClassDef], roots: Collection[str]) -> list[ast.AST]:
    """The code of some files that may run when objects of some classes are made, or functions of theirs run.

    Args:
        files: The files.
        classes: The classes.
        roots: The names of functions that run in objects of any class.
    """
    parts: dict[str, list[ast.AST]] = {}
    for file in files:
        for node in walk(file):
            if isinstance(node, Function) and node.name != "__init__":  # which runs with its class
                parts.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                parts.setdefault(node.name, []).extend(_running(node, roots))
        for statement in file.body:
            if isinstance(statement, ast.Assign):  # NORMS = {"batch": BatchNorm}
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        parts.setdefault(target.id, []).append(statement.value)
    return _closed([node for cls in classes for node in _running(cls, roots)], parts)


def _running(cls: ast.ClassDef, roots: Collection[str]) -> list[ast.AST]:
    """What runs of a class without being mentioned: its bases and its body are evaluated, too."""
    plain = [node for node in cls.body if not isinstance(node, Function)]
    methods = [n for n in cls.body if isinstance(n, Function) and (n.name in roots or n.name.startswith("__"))]
    return [*cls.bases, *plain, *methods]


def _closed(first: Sequence[ast.AST], parts: dict[str, list[ast.AST]]) -> list[ast.AST]:
    found: dict[int, ast.AST] = {}
    pending = list(first)
    while pending:
        node = pending.pop()
        if id(node) not in found:
            found[id(node)] = node
            pending += [each for name in _mentioned(node) for each in parts.get(name, ())]
    return list(found.values())


def _mentioned(code: ast.AST) -> set[str]:
    nodes = (node for node in walk(code) if isinstance(node, ast.Attribute | ast.Name))
    return {node.attr if isinstance(node, ast.Attribute) else node.id for node in nodes}
