"""What runs when the files of a user are imported, the functions and methods that are called then included."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children, walk

Piece = tuple[Module, ast.AST]
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
_OF_SUBCLASSES = ("__init_subclass__", "__set_name__", "__class_getitem__", "__mro_entries__", "__prepare__")


class _Names(NamedTuple):
    """What code mentions: names that a file binds, dotted or not, and attributes of anything."""

    names: set[str]
    attributes: set[str]


def run_at_import(index: Index) -> Sequence[Piece]:
    """The code of a user that may run when the files are imported, each piece with its file.

    A class that is mentioned may be made, and what it has may run if an attribute of that name is read, or if Python
    calls it by itself, ``__getitem__``. A variable that is mentioned may be what it is bound to.

    Args:
        index: The files.
    """
    search = _Search(index)
    for module in index.user_modules:
        for node in _at_import(module.tree.body):
            search.add(module, node)
        for cls in (node for node in walk(module.tree) if isinstance(node, ast.ClassDef)):
            for method in cls.body:
                if isinstance(method, _FUNCTION) and method.name in _OF_SUBCLASSES:
                    search.add(module, method)
    search.run()
    return list(search.found.values())


class _Search:
    def __init__(self, index: Index) -> None:
        self.index = index
        self.found: dict[int, Piece] = {}
        self._pending: list[Piece] = []
        self._methods: dict[str, list[Piece]] = {}
        self._read: set[str] = set()
        self._made: set[str] = set()

    def add(self, module: Module, node: ast.AST) -> None:
        if id(node) not in self.found:
            self.found[id(node)] = module, node
            self._pending.append((module, node))

    def run(self) -> None:
        while self._pending:
            module, node = self._pending.pop()
            mentioned = _mentioned(node)
            for name in mentioned.names:
                self._name(module, name)
            for name in mentioned.attributes - self._read:
                self._read.add(name)
                for piece in self._methods.get(name, ()):
                    self.add(*piece)

    def _name(self, module: Module, name: str) -> None:
        function = self.index.function(module, name)
        cls = self.index.resolve(module, name) if function is None else None
        if function is not None:
            self.add(*function)
        elif cls is not None:
            for ancestor in self.index.lineage(cls):
                self._make(ancestor)
        else:
            for home, node in self._bindings(module, name):
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                    self.add(home, node.value)
                elif isinstance(node, _FUNCTION | ast.ClassDef):  # one of several of the name
                    self.add(home, node)

    def _bindings(self, module: Module, name: str) -> Iterator[tuple[Module, ast.AST]]:
        """What binds a variable, at the top of the file or of the one that it is imported from."""
        found = module.import_of(name)
        home = self.index.module(found.module) if found is not None else None
        if found is not None and home is not None and not home.is_timms:
            yield from ((home, node) for node in home.bindings.get(found.name, ()))
        yield from ((module, node) for node in module.bindings.get(name, ()))

    def _make(self, cls: Class) -> None:
        if cls.path in self._made or cls.module.is_timms:
            return
        self._made.add(cls.path)
        for method in (node for node in cls.node.body if isinstance(node, _FUNCTION)):
            piece = cls.module, method
            self._methods.setdefault(method.name, []).append(piece)
            if method.name.startswith("__") or method.name in self._read:
                self.add(*piece)


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    """What runs of statements at the top of a file: of functions and classes what defines them."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from (*statement.decorator_list, *statement.args.defaults)
                yield from filter(None, statement.args.kw_defaults)
            case ast.ClassDef():
                yield from statement.decorator_list
                yield from (keyword.value for keyword in statement.keywords)
                yield from (base for base in statement.bases if not isinstance(base, ast.Name | ast.Attribute))
                yield from _at_import(statement.body)
            case ast.If(test=ast.Compare(left=ast.Name("__name__"))):  # where it is a program
                yield from _at_import(statement.orelse)
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try():
                for child in children(statement):
                    if isinstance(child, ast.ExceptHandler):
                        yield from _at_import(child.body)
                    elif isinstance(child, ast.stmt):
                        yield from _at_import([child])
                    else:
                        yield child
            case ast.Assign(value=ast.Dict() | ast.List() | ast.Tuple() | ast.Set()) if all(
                isinstance(target, ast.Name) for target in statement.targets
            ):
                pass  # who mentions the variable may get what it holds
            case ast.AnnAssign(value=value):
                yield from () if value is None else (value,)
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                yield statement


def _mentioned(code: ast.AST) -> _Names:
    found = _Names(set(), set())
    for node in walk(code):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.names.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.attributes.add(node.attr)
            if dotted(node):
                found.names.add(dotted(node))
    return found
