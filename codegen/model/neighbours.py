"""Which files of a user's a file may get modules from, and whether the modules of one may tell each other anything.

Where the class of a module is not in sight, it may be any class of these files: one that the file imports or is given,
or one that is registered under a name that it looks things up in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from codegen.model.library import MUTATING_METHODS
from codegen.model.shared_state import Keeping, global_objects
from codegen.model.special import EVERY
from codegen.source.imports import Import, imports_anywhere
from codegen.source.index import Index, Module
from codegen.source.reached import reached
from codegen.syntax.walking import walk


def shares_state(index: Index, module: Module) -> bool:
    """Whether modules of unknown classes, when they run, may change a global, a class, a default or an outer variable.

    If they do not, two of them cannot tell each other anything, unless one holds the other. A release of timm has no
    such modules.

    Args:
        index: The files.
        module: The file where such modules are in use.
    """
    return bool(index.release.user_files) and _neighbours(index).share_state(module.path)


def keeping_operations(index: Index, module: Module) -> frozenset[str]:
    """The methods behind operations of Python, ``__mul__``, that keep something in some class of a user's files.

    An object of a class that is not in sight may be of any of these.

    Args:
        index: The files.
        module: The file where such objects are in use.
    """
    key, memory = ("operations that keep something", module.path), index.memory
    if key not in memory:
        classes = (n for each in files_seen_by(index, module) for n in walk(each.tree) if isinstance(n, ast.ClassDef))
        methods = (m for cls in classes for m in cls.body if isinstance(m, ast.FunctionDef) and m.name in EVERY)
        memory[key] = frozenset(method.name for method in methods if any(map(_may_keep, walk(method))))
    found: frozenset[str] = memory[key]
    return found


def _may_keep(node: ast.AST) -> bool:
    """Whether a piece of code may change an object, or a name that is not its own."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return True
        case ast.Global() | ast.Nonlocal() | ast.Call(func=ast.Name("next" | "setattr")):
            return True
        case ast.Call(func=ast.Attribute(attr=attr)):
            return attr in MUTATING_METHODS
    return False


def files_seen_by(index: Index, module: Module) -> Sequence[Module]:
    """A file of the user, and those whose functions and classes it can name, itself or through others."""
    return [index.parse(path) for path in sorted(_neighbours(index).seen_by(module.path))]


def _neighbours(index: Index) -> _Neighbours:
    key = "neighbours of files"
    if key not in index.memory:
        index.memory[key] = _Neighbours(index)
    found: _Neighbours = index.memory[key]
    return found


class _Neighbours:
    """The files of a user, by what they see of each other."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._seen: dict[str, frozenset[str]] = {}
        self._shares: dict[str, bool] = {}
        self._keeping: dict[str, bool] = {}
        self._imports: dict[str, Mapping[str, Sequence[Import]]] = {}
        self._named: dict[str, frozenset[str]] = {}

    def share_state(self, path: str) -> bool:
        if path not in self._shares:
            self._shares[path] = any(map(self._keeps, sorted(self._around(path))))
        return self._shares[path]

    def _keeps(self, path: str) -> bool:
        """Whether the modules of one file keep anything, by themselves or by what they call."""
        if path not in self._keeping:
            self._keeping[path] = self._has_modules(path) and self._runs_keepers(path)
        return self._keeping[path]

    def _runs_keepers(self, path: str) -> bool:
        seen = sorted(self.seen_by(path))
        keepers = [function for each in seen for function in self._keepers(each)]
        if not keepers:
            return False
        run = {id(node) for node in reached([self.index.parse(each).tree for each in seen], self._roots)}
        return any(isinstance(function, ast.Lambda) or id(function) in run for function in keepers)

    @cached_property
    def _roots(self) -> frozenset[str]:
        return frozenset({"forward", self.index.method})

    def _has_modules(self, path: str) -> bool:
        nodes = walk(self.index.parse(path).tree)
        return any(isinstance(node, ast.FunctionDef) and node.name in self._roots for node in nodes)

    def _keepers(self, path: str) -> list[ast.AST]:
        """The functions of a file that keep something, whether or not they run."""
        key, memory = ("functions that keep something", path), self.index.memory
        if key not in memory:
            tree, imported = self.index.parse(path).tree, self._imported(path)
            taken = {name for name, found in imported.items() if any(map(self._is_object, found))}
            modules = {name for name, found in imported.items() if any(map(self._is_users, found))}
            others = [self.index.parse(each).tree for each in sorted(self.seen_by(path))]
            memory[key] = list(Keeping.of(tree, taken, modules, others).functions(tree))
        found: list[ast.AST] = memory[key]
        return found

    def _is_users(self, imported: Import) -> bool:
        """Whether something is imported from a file of the user's, be it in sight or not."""
        found = map(self.index.module, (imported.path, imported.module))
        return any(module is not None and not module.is_timms for module in found)

    def _is_object(self, imported: Import) -> bool:
        home = self.index.module(imported.module)
        return home is not None and not home.is_timms and imported.name in global_objects(home.tree)

    # Which file sees which

    def seen_by(self, path: str) -> frozenset[str]:
        """A file, and those whose functions and classes it can name, itself or through others."""
        if path not in self._seen:
            seen = {path: None}
            for each in _growing(seen):
                seen |= dict.fromkeys(self._direct(each))
            self._seen[path] = frozenset(seen)
        return self._seen[path]

    def _direct(self, path: str) -> Iterator[str]:
        for found in self._imported(path).values():
            for imported in found:
                yield from self._homes(imported, 0)

    def _homes(self, imported: Import, depth: int) -> Iterator[str]:
        """The files that define what is imported, be it by way of a package."""
        inner = self.index.module(imported.path)
        home = self.index.module(imported.module) if inner is None else None
        passed_on = [] if home is None or depth > 9 else self._imported(home.path).get(imported.name, [])
        if inner is not None or (home is not None and not passed_on):
            found = inner or home
            assert found is not None
            if not found.is_timms:
                yield found.path
        for further in passed_on:
            yield from self._homes(further, depth + 1)

    def _imported(self, path: str) -> Mapping[str, Sequence[Import]]:
        if path not in self._imports:
            self._imports[path] = imports_anywhere(self.index.parse(path).tree, path)
        return self._imports[path]

    # Which may give it modules

    @cached_property
    def _files(self) -> tuple[Module, ...]:
        """All files of the user that are in sight."""
        return tuple(self.index.parse(path) for path in self.index.release.files if not path.startswith("timm/"))

    def _around(self, path: str) -> frozenset[str]:
        """The files that a module of unknown class may come from."""
        around = dict.fromkeys(self.seen_by(path))
        own = {node.name for node in walk(self.index.parse(path).tree) if isinstance(node, ast.ClassDef)}
        for other in self._files:
            if other.path not in around and not own.isdisjoint(self._mentions(other.path)):
                around |= dict.fromkeys(self.seen_by(other.path))  # it may give its own classes to these
        for each in _growing(around):
            for name in self._mentions(each) & self._registered.keys():
                for registered in self._registered[name]:
                    around |= dict.fromkeys(self.seen_by(registered))
        return frozenset(around)

    def _mentions(self, path: str) -> frozenset[str]:
        """Names that a file mentions, other than to import or to decorate."""
        if path not in self._named:
            tree = self.index.parse(path).tree
            decorators = [d for node in walk(tree) if isinstance(node, ast.ClassDef) for d in node.decorator_list]
            aside = {id(inner) for decorator in decorators for inner in walk(decorator)}
            nodes = [node for node in walk(tree) if id(node) not in aside]
            names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
            self._named[path] = frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})
        return self._named[path]

    @cached_property
    def _registered(self) -> dict[str, set[str]]:
        """The files of classes that are decorated, by each name in their decorators."""
        found: dict[str, set[str]] = {}
        for module in self._files:
            for cls in (node for node in walk(module.tree) if isinstance(node, ast.ClassDef)):
                for inner in (inner for decorator in cls.decorator_list for inner in walk(decorator)):
                    if isinstance(inner, ast.Name):
                        found.setdefault(inner.id, set()).add(module.path)
        return found


def _growing(paths: dict[str, None]) -> Iterator[str]:
    """The keys of a dictionary, and those that are added meanwhile."""
    done: set[str] = set()
    while todo := [path for path in paths if path not in done]:
        for path in todo:
            done.add(path)
            yield path
