"""Find the model classes of a release: which classes have a ``forward_features``, and where every name comes from.

Only text is read. Trees are ``ast``'s, which is fast enough for a whole release; the methods that get cut are taken
apart as text (:mod:`codegen.syntax.statements`), which keeps comments and formatting.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from codegen.errors import TimmSplitError
from codegen.source.imports import Import, imports, imports_anywhere
from codegen.source.other_names import TORCHS_BY_OTHER_NAMES
from codegen.source.stars import Exports, spell_out
from codegen.source.stores import Stores
from codegen.syntax.bindings import bound_names
from codegen.syntax.computed_names import NONE, ComputedNames, find_computed_names, find_held_names, may_compute_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.parsing import parse
from codegen.syntax.walking import walk
from codegen.types import Place, Release

# It starts with what it looks for, and so is found in a fraction of the time; prose may match it, too.
_GLOBAL = re.compile(r"global[\s\\]+\w+\s*(?:[,;#\\]|$)", re.MULTILINE)

_STAR = re.compile(r"import[ \t]*\\?\s*\*")


@dataclass(frozen=True, eq=False)
class Class:
    """A class statement, its methods, and the classes it inherits from as far as the release holds them."""

    module: Module
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def path(self) -> str:
        return f"{self.module.name}.{self.name}"

    @cached_property
    def members(self) -> Mapping[str, ast.stmt]:
        """What the class body binds: methods by name, and assignments."""
        found: dict[str, ast.stmt] = {}
        for statement in self.node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                found.update({name: statement for target in targets for name in self.module.bound_names(target)})
            else:
                found.update(dict.fromkeys(self.module.bound_names(statement), statement))
        return {**found, **self.module.patches.get(self.name, {})}

    @property
    def constructor(self) -> ast.FunctionDef | None:
        """Its own ``__init__``."""
        found = self.members.get("__init__")
        return found if isinstance(found, ast.FunctionDef) else None

    @cached_property
    def constructor_parameters(self) -> frozenset[str]:
        """The names of its parameters."""
        if self.constructor is None:
            return frozenset()
        arguments = self.constructor.args
        extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
        return frozenset(a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra])

    @property
    def constructor_names(self) -> frozenset[str]:
        """Names that are the constructor's own, so that those of the module are hidden in it."""
        return self.constructor_bound | self.constructor_parameters

    @cached_property
    def constructor_bound(self) -> frozenset[str]:
        """Names that the statements of the constructor may bind."""
        statements = self.constructor.body if self.constructor is not None else []
        return frozenset(name for statement in statements for name in self.module.bound_names(statement))

    @cached_property
    def constructor_mentions(self) -> Counter[str]:
        """How often the constructor mentions each name, but for ``**name`` in a call."""
        nodes = list(walk(self.constructor)) if self.constructor is not None else []
        mentions = Counter(node.id for node in nodes if isinstance(node, ast.Name))
        calls = (node for node in nodes if isinstance(node, ast.Call))
        spread = [k.value for call in calls for k in call.keywords if k.arg is None]
        mentions.subtract(value.id for value in spread if isinstance(value, ast.Name))
        return mentions

    @cached_property
    def stores(self) -> Stores:
        """What the methods store on ``self``, and in what its attributes hold."""
        return Stores.of(self.members.values())


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed file of the release, and what its top level binds."""

    path: str
    text: str
    tree: ast.Module
    _imported: dict[str, Import | None] = field(default_factory=dict)
    _origins: dict[tuple[str, str], str] = field(default_factory=dict)
    _statements: dict[ast.stmt, Mapping[str, Import]] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        return module_name(self.path)

    @cached_property
    def _holds_walrus(self) -> bool:
        return ":=" in self.text

    def bound_names(self, code: ast.AST, *, blocks: bool = True) -> Iterator[str]:
        """What code of the module binds; expressions, its largest part, are searched only if it has a ``:=``."""
        return bound_names(code, blocks=blocks, expressions=self._holds_walrus)

    @cached_property
    def _top_level(self) -> tuple[Mapping[str, list[ast.stmt]], Mapping[str, ast.stmt]]:
        """Every binding of each top-level name, and the last of those that stand under a condition."""
        bindings: dict[str, list[ast.stmt]] = {}
        conditional: dict[str, ast.stmt] = {}
        for statement, certain in _statements(self.tree.body):
            for name in self.bound_names(statement, blocks=False):
                if name == "*":  # it may rebind whatever was bound before
                    conditional.update(dict.fromkeys(bindings, statement))
                bindings.setdefault(name, []).append(statement)
                if not certain:
                    conditional[name] = statement
        return bindings, conditional

    @cached_property
    def bindings(self) -> Mapping[str, list[ast.stmt]]:
        return self._top_level[0]

    @cached_property
    def running(self) -> tuple[ast.AST, ...]:
        """What runs when the module is imported, but for the bodies and decorators of its functions and classes."""
        plain = (s for s in self.tree.body if not isinstance(s, ast.FunctionDef | ast.ClassDef))
        return tuple(node for statement in plain for node in walk(statement))

    @cached_property
    def conditional(self) -> Mapping[str, ast.stmt]:
        """The last binding under a condition of each name that has one."""
        return self._top_level[1]

    @cached_property
    def patches(self) -> Mapping[str, Mapping[str, ast.stmt]]:
        """What the top level gives classes after they are made, ``PatchEmbed.forward = ...``, by class and name."""
        found: dict[str, dict[str, ast.stmt]] = {}
        for statement, _ in _statements(self.tree.body):
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                match target:
                    case ast.Attribute(value=ast.Name(id=name), attr=attr):
                        found.setdefault(name, {})[attr] = statement
        return found

    @cached_property
    def rebound(self) -> frozenset[str]:
        """Names that some function of the module assigns through ``global``: a copy of their value goes stale."""
        if not _GLOBAL.search(self.text):
            return frozenset()
        return frozenset(name for node in walk(self.tree) if isinstance(node, ast.Global) for name in node.names)

    @cached_property
    def postponed_annotations(self) -> bool:
        return any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
            for node in self.tree.body
        )

    def is_settled(self, name: str) -> bool:
        """Whether a top-level name is bound once, whatever the conditions, and never again."""
        return len(self.bindings[name]) == 1 and name not in self.conditional and name not in self.rebound

    def doubt(self, name: str) -> Place | None:
        """The second or conditional definition of a class, which makes it impossible to say which one runs."""
        nodes = self.bindings[name]
        if len(nodes) > 1 or name in self.conditional:
            return Place(self.path, nodes[-1].lineno)
        return None

    @property
    def is_timms(self) -> bool:
        """Whether it is timm's own, which is proved by running it, too."""
        return self.name.startswith("timm.")

    def import_of(self, name: str) -> Import | None:
        """The unconditional import that binds a name, ``None`` where it is bound in another way or in several."""
        if name not in self._imported:
            found = [self._imports(node).get(name) for node in self.bindings.get(name, [])]
            # import torch, import torch.utils.checkpoint; import torch.nn as nn, from torch import nn
            meant = {None if origin is None else origin.path for origin in found}
            certain = len(meant) == 1 and name not in self.conditional
            self._imported[name] = found[0] if certain else None
        return self._imported[name]

    def _imports(self, node: ast.stmt) -> Mapping[str, Import]:
        if node not in self._statements:
            self._statements[node] = imports(node, self.path)
        return self._statements[node]

    def origin_of(self, node: ast.expr) -> str:
        """The full name of what a (dotted) name in the code of the module means; empty for any other expression."""
        head, _, rest = dotted(node).partition(".")
        return self.origin(head, rest) if head else ""

    def imported(self, node: ast.AST) -> str:
        """The full name of what an expression stands for, if its first part is imported; empty for any other."""
        head, _, rest = dotted(node).partition(".")
        return self.origin(head, rest) if head and self.import_of(head) is not None else ""

    def origin(self, name: str, rest: str = "") -> str:
        """The full name of what a name of the module means, ``torch.nn.functional.relu`` for ``F`` and ``relu``.

        Args:
            name: The first part of a dotted name.
            rest: The other parts.

        Returns:
            The full name; empty where the name is bound in several ways or may come from a ``from ... import *``. Of
            what a library hands on of torch's, that of torch.
        """
        key = name, rest
        if key not in self._origins:
            path = self._origin(name, rest)
            self._origins[key] = TORCHS_BY_OTHER_NAMES.get(path, path)
        return self._origins[key]

    def _origin(self, name: str, rest: str) -> str:
        if name in self.rebound:
            return ""
        found = self.import_of(name)
        if found is not None:
            return ".".join(filter(None, [found.module, found.name, rest]))
        if name in self.bindings:
            return ".".join(filter(None, [self.name, name, rest])) if len(self.bindings[name]) == 1 else ""
        plain = "*" not in self.bindings and hasattr(builtins, name)
        return ".".join(filter(None, [name, rest])) if plain else ""

    @property
    def exported(self) -> frozenset[str] | None:
        """The names in ``__all__``; ``None`` where there is none that can be read, or more than one mention of it."""
        match self.bindings.get("__all__"):
            case [ast.Assign(value=ast.List(elts=names) | ast.Tuple(elts=names))] if (
                self._mentions("__all__") == 1 and "__all__" not in self.conditional
            ):
                found = [name.value for name in names if isinstance(name, ast.Constant)]
                strings = frozenset(name for name in found if isinstance(name, str))
                return strings if len(strings) == len(names) else None
        return None

    def may_name(self, name: str) -> bool:
        """Whether the text holds a name, in another spelling perhaps: then it is worth to look for it in the tree."""
        return name in self.text or not self.text.isascii()

    def _mentions(self, name: str) -> int:
        """How often code of the module mentions a name that it binds."""
        if self.text.isascii() and self.text.count(name) == 1:  # other letters may be another spelling of a name
            return 1
        return sum(isinstance(node, ast.Name) and node.id == name for node in walk(self.tree))

    @cached_property
    def surely_bound(self) -> frozenset[str]:
        """Names that the top level binds whichever way it goes."""
        return frozenset(self._surely_bound(self.tree.body))

    def _surely_bound(self, statements: Sequence[ast.stmt]) -> set[str]:
        bound: set[str] = set()
        for node in statements:
            match node:
                case ast.If(body=body, orelse=orelse):
                    bound |= self._surely_bound(body) & self._surely_bound(orelse)
                case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                    after = self._surely_bound([*body, *orelse])
                    for handler in handlers:
                        if not isinstance(handler.body[-1], ast.Raise):
                            after &= self._surely_bound(handler.body)
                    bound |= after | self._surely_bound(finalbody)
                case ast.With(body=body):
                    bound |= self._surely_bound(body)
                case ast.For() | ast.While():
                    pass
                case ast.Delete():
                    bound.difference_update(bound_names(node))
                case _:
                    bound.update(self.bound_names(node))
        return bound


@dataclass(frozen=True, eq=False)
class Index:
    """The parsed files of a release. Files are parsed when something asks for them."""

    release: Release
    as_written: bool = False  # whether attributes keep the names that they have in the text
    _parsed: dict[str, Module] = field(default_factory=dict)
    _files: dict[str, str | None] = field(default_factory=dict)
    _opened: set[str] = field(default_factory=set)
    _trees: dict[str, ast.Module] = field(default_factory=dict)  # as they are written
    _importing: dict[str, frozenset[str]] = field(default_factory=dict)
    _computed_names: dict[str, ComputedNames] = field(default_factory=dict)
    _held_names: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    # kept here and not by the modules that they refer to: without cycles, trees go as soon as nobody needs them
    _classes: dict[str, Mapping[str, Class]] = field(default_factory=dict)
    _lineages: dict[str, tuple[Class, ...]] = field(default_factory=dict)
    _resolved: dict[tuple[Module, str], Class | None] = field(default_factory=dict)
    _functions: dict[tuple[Module, str], tuple[Module, ast.FunctionDef] | None] = field(default_factory=dict)
    memory: dict[Hashable, Any] = field(default_factory=dict)
    """What others worked out about its trees, by a key of their own. It goes with the index."""

    @property
    def method(self) -> str:
        """The name of the method that is split."""
        return self.release.method

    @property
    def model_modules(self) -> Mapping[str, Module]:
        """The files whose classes are models to split, by the names of their modules."""
        return _Modules(self, self._model_paths)

    @cached_property
    def _model_paths(self) -> Mapping[str, str]:
        return {module_name(path): path for path in model_files(self.release)}

    def module(self, name: str) -> Module | None:
        """The module of an import path, ``None`` where the release has no such file."""
        path = self._file(name)
        return self.parse(path) if path is not None else None

    def has_file(self, name: str) -> bool:
        """Whether an import path is that of a user's file, or of a folder with such."""
        return name in self._paths_of_users

    @cached_property
    def _paths_of_users(self) -> frozenset[str]:
        files = (path.removesuffix(".py").split("/") for path in self.release.files if self._is_users(path))
        return frozenset(".".join(parts[:number]) for parts in files for number in range(1, len(parts) + 1))

    def _file(self, name: str) -> str | None:
        if name not in self._files:
            stem = name.replace(".", "/")
            found = (path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in self.release.files)
            self._files[name] = next(found, None)
        return self._files[name]

    def parse(self, path: str) -> Module:
        """Parse a file of the release.

        Raises:
            TimmSplitError: If it is not Python, or newer Python than the interpreter that runs this.
        """
        if path not in self._parsed:
            text = self.release.files[path]
            tree = self._trees.pop(path, None) or parse_source(text, path)
            if path not in self._opened and _STAR.search(text):
                self._opened.add(path)
                spell_out(tree, path, lambda name: self._exports(name, path))
                self._opened.remove(path)
            elif path in self._opened:  # its names are asked for while they are looked for: a cycle
                return Module(path, text, tree)
            self._parsed[path] = Module(path, text, tree)
            self.computed_names(path).rewrite(tree)
        return self._parsed[path]

    def computed_names(self, path: str) -> ComputedNames:
        """The computed names of attributes in a file, where it is the user's."""
        if self.as_written or not self._is_users(path) or not may_compute_names(self.release.files[path]):
            return NONE
        if path not in self._computed_names:
            plain = self._plain
            kin = {other for family in plain.families for other in family if path in family} - {path}
            others = [plain.parse(other).tree for other in sorted(kin)]
            self._computed_names[path] = find_computed_names(plain.parse(path).tree, others, plain.held_names(path))
        return self._computed_names[path]

    @cached_property
    def _plain(self) -> Index:
        return Index(self.release, as_written=True)

    def _is_users(self, path: str) -> bool:
        """Whether a file is the user's, rather than timm's."""
        return bool(self.release.user_files) and not path.startswith("timm/")

    @cached_property
    def user_modules(self) -> tuple[Module, ...]:
        """The files that the user names, and those that they import, which may do something to what these define."""
        return tuple(self.parse(path) for path in self.release.files if self._is_users(path))

    @cached_property
    def imported_with_users(self) -> tuple[Module, ...]:
        """The files that the user names, and the ``__init__`` of each package that they are in, which runs first."""
        paths = dict.fromkeys(self.release.user_files)
        packages = [path for path in self.release.files if path.endswith("/__init__.py") and self._is_users(path)]
        above = [p for p in packages if any(path.startswith(p.removesuffix("__init__.py")) for path in paths)]
        return tuple(map(self.parse, {**paths, **dict.fromkeys(above)}))

    @cached_property
    def relatives(self) -> Mapping[str, frozenset[str]]:
        """For each file of the user's, those whose classes are related to its classes, over others too."""
        found: dict[str, frozenset[str]] = {}
        for family in self.families:
            joined = family.union(*(found.get(path, frozenset()) for path in family))
            found |= dict.fromkeys(joined, joined)
        return found

    def held_names(self, path: str) -> frozenset[str]:
        """Attributes of the classes of a user's file, and of related ones, that hold the name of one module each."""
        files = self.relatives.get(path, frozenset({path}))
        if files not in self._held_names:
            named = any(may_compute_names(self.release.files[file]) for file in files)
            self._held_names[files] = find_held_names([self.parse(f).tree for f in sorted(files)] if named else ())
        return self._held_names[files]

    @cached_property
    def families(self) -> frozenset[frozenset[str]]:
        """For each class of the user's files, the files of the classes that it inherits from."""
        modules = [self.parse(path) for path in self.release.files if self._is_users(path)]
        classes = [cls for module in modules for cls in self.classes(module).values()]
        return frozenset(frozenset(ancestor.module.path for ancestor in self.lineage(cls)) for cls in classes)

    def _exports(self, name: str, path: str) -> Exports | None:
        """What ``from name import *`` takes in a file; ``None`` where that cannot be known."""
        module = self.module(name)
        if module is None or "*" in module.bindings or "__getattr__" in module.bindings:
            return None
        # a module that imports this file in its turn may have bound nothing yet
        surely = frozenset[str]() if self._leads_to(module, path) else module.surely_bound
        bound = module.bindings.keys()
        if "__all__" not in bound:
            public = {name for name in bound if not name.startswith("_")}
            # importing a submodule binds its name in the package
            inner = self._submodules(module) - public
            return Exports(_origins(module, public & surely), _origins(module, (public - surely) | inner))
        exported = module.exported
        return None if exported is None or not exported <= surely else Exports(_origins(module, exported), ())

    def _leads_to(self, module: Module, path: str) -> bool:
        """Whether a module imports a file, itself or through others; timm imports no user models."""
        pending, seen = [module.path], {module.path}
        for current in pending:
            for target in self._imported_anywhere(current) - seen:
                seen.add(target)
                pending.append(target)
        return path in seen

    def _imported_anywhere(self, path: str) -> frozenset[str]:
        """The files that a user's file imports, in functions too. Its ``import *`` need not be spelled out for that."""
        if path not in self._importing:
            if path not in self._parsed and path not in self._trees:
                self._trees[path] = parse_source(self.release.files[path], path)
            tree = self._parsed[path].tree if path in self._parsed else self._trees[path]
            every = imports_anywhere(tree, path).values() if not path.startswith("timm/") else ()
            found = {name for several in every for i in several for name in (i.module, i.path)}
            self._importing[path] = frozenset(file for name in found if (file := self._file(name)) is not None)
        return self._importing[path]

    def _submodules(self, module: Module) -> frozenset[str]:
        folder, _, file = module.path.rpartition("/")
        if file != "__init__.py":
            return frozenset()
        inside = (path[len(folder) + 1 :] for path in self.release.files if path.startswith(f"{folder}/"))
        names = frozenset(path.partition("/")[0].removesuffix(".py") for path in inside)
        return frozenset(name for name in names if not name.startswith("_"))

    def classes(self, module: Module) -> Mapping[str, Class]:
        """The classes that a module defines at its top level; of several definitions of a name, the last."""
        if module.path not in self._classes:
            nodes = {name: nodes[-1] for name, nodes in module.bindings.items()}
            found = {name: Class(module, node) for name, node in nodes.items() if isinstance(node, ast.ClassDef)}
            self._classes[module.path] = found
        return self._classes[module.path]

    def resolve(self, module: Module, name: str) -> Class | None:
        """The class that a (dotted) name stands for in a module, followed through imports and re-exports."""
        key = module, name
        if key not in self._resolved:
            self._resolved[key] = self._resolve(module, name)
        return self._resolved[key]

    def _resolve(self, module: Module, name: str) -> Class | None:
        head, _, rest = name.partition(".")
        for _ in range(16):  # longer chains of re-exports are cycles
            if not rest and head in self.classes(module):
                sure = module.doubt(head) is None and (module.name, head) not in self.rebound_elsewhere
                return self.classes(module)[head] if sure else None
            match module.bindings.get(head):
                case [ast.Assign(value=ast.Name(id=alias))] if alias != head and module.is_settled(
                    head
                ):  # SqueezeExcite = SEModule
                    head = alias
                    continue
            origin = module.import_of(head)
            if origin is None:
                return None
            path = ".".join(filter(None, [origin.module, origin.name, rest])).split(".")
            for length in range(len(path) - 1, origin.module.count("."), -1):  # the innermost module of the path
                target = self.module(".".join(path[:length]))
                if target is not None:
                    module, head, rest = target, path[length], ".".join(path[length + 1 :])
                    break
            else:
                return None
        return None

    @cached_property
    def rebound_elsewhere(self) -> frozenset[tuple[str, str]]:
        """Names of modules that some file of user models assigns to from outside, ``layers.SCALE = 2``."""
        found = set()
        for module in self.imported_with_users:
            for node in walk(module.tree):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                for target in targets if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) else ():
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        origin = module.import_of(target.value.id)
                        if origin is not None:
                            found.add((".".join(filter(None, [origin.module, origin.name])), target.attr))
        return frozenset(found)

    def function(self, module: Module, name: str) -> tuple[Module, ast.FunctionDef] | None:
        """The function that a name stands for in a module, followed through imports, and the module it stands in."""
        key = module, name
        if key not in self._functions:
            self._functions[key] = self._function(module, name)
        return self._functions[key]

    def _function(self, module: Module, name: str) -> tuple[Module, ast.FunctionDef] | None:
        for _ in range(8):
            nodes = module.bindings.get(name, [])
            if name in module.rebound:
                return None
            if len(nodes) == 1 and isinstance(nodes[0], ast.FunctionDef):
                return module, nodes[0]
            head, _, rest = name.partition(".")
            origin = module.import_of(head)
            if origin is None:
                return None
            if rest:  # from . import ops; ops.shift(x)
                target = self.module(".".join(filter(None, [origin.module, origin.name])))
                if target is None or (target.name, rest) in self.rebound_elsewhere:
                    return None
                module, name = target, rest
                continue
            target = self.module(origin.module) if origin.name else None
            if target is None:
                return None
            module, name = target, origin.name
        return None

    def lineage(self, cls: Class) -> tuple[Class, ...]:
        """The class and its bases in the order in which Python looks attributes up, as far as the release has them."""
        pending, opened = [cls], set[str]()
        while cls.path not in self._lineages:  # without recursion, for a chain of classes may be long
            current = pending[-1]
            bases = [base for base in self._bases(current) if base.path not in opened or base.path in self._lineages]
            missing = [base for base in bases if base.path not in self._lineages]
            if missing:
                opened.add(current.path)
                pending += missing
            else:
                self._lineages[current.path] = _merged(current, [self._lineages[base.path] for base in bases])
                pending.pop()
        return self._lineages[cls.path]

    def _bases(self, cls: Class) -> list[Class]:
        found = (self.resolve(cls.module, ast.unparse(node)) for node in cls.node.bases)
        return [base for base in found if base is not None and base.path != cls.path]

    def models(self) -> Iterator[tuple[Class, Class]]:
        """Each class that has the method to split, with the class that defines it, in order of file and line."""
        for path in model_files(self.release):
            yield from self.models_of(path)

    def models_of(self, path: str) -> Iterator[tuple[Class, Class]]:
        """Those of one file."""
        for cls in self.classes(self.parse(path)).values():
            owner = self.owner(cls)
            if owner is not None:
                yield cls, owner

    def owner(self, cls: Class) -> Class | None:
        """The class in the lineage of a class that defines the method to split."""
        return next((ancestor for ancestor in self.lineage(cls) if self.method in ancestor.members), None)

    def find(self, path: str) -> Class | None:
        """The class of a full name, ``timm.models.eva.Eva``."""
        module, _, name = path.rpartition(".")
        found = self.module(module)
        return self.classes(found).get(name) if found is not None else None


@dataclass(frozen=True, eq=False)
class _Modules(Mapping[str, Module]):
    """Files by the names of their modules, which are parsed when something asks for them."""

    index: Index
    paths: Mapping[str, str]

    def __getitem__(self, name: str) -> Module:
        return self.index.parse(self.paths[name])

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def module_name(path: str) -> str:
    """The name of the module of a file, ``timm.models.eva``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _origins(module: Module, names: Iterable[str]) -> tuple[tuple[str, Import], ...]:
    """Where an import of names from a module gets them: what that module imports itself comes from there."""
    known = ((name, None if name in module.rebound else module.import_of(name)) for name in sorted(names))
    return tuple((name, origin or Import(module.name, name)) for name, origin in known)


def _merged(cls: Class, lineages: Sequence[tuple[Class, ...]]) -> tuple[Class, ...]:
    """The linearization of a class, given those of its bases, as Python's C3 has it where there is one."""
    if len(lineages) < 2:
        return (cls, *(ancestor for lineage in lineages for ancestor in lineage))
    queues = [list(lineage) for lineage in lineages] + [[lineage[0] for lineage in lineages]]
    order = [cls]
    while any(queues):
        queues = [queue for queue in queues if queue]
        heads = (queue[0] for queue in queues)
        head = next((h for h in heads if not any(h in queue[1:] for queue in queues)), queues[0][0])
        order.append(head)
        queues = [[c for c in queue if c is not head] for queue in queues]
    return tuple(order)


def model_files(release: Release) -> Iterable[str]:
    """The files whose classes are models to split."""
    return release.user_files or (path for path in release.files if "/layers/" not in path)


def parse_source(text: str, path: str) -> ast.Module:
    """Parse a file.

    Raises:
        TimmSplitError: If it is not Python, or newer Python than the interpreter that runs this.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in strings, which are no concern of ours
            return parse(text, path)
    except (RecursionError, MemoryError):
        raise TimmSplitError(
            f"{path} does not parse, for it is nested too deeply: break its longest expression up"
        ) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise TimmSplitError(
            f"{path}:{line} does not parse: {getattr(error, 'msg', None) or error}. "
            f"If it is written for a newer Python than this one "
            f"({sys.version_info.major}.{sys.version_info.minor}), run timm-split with that Python."
        ) from error


def _statements(body: Sequence[ast.stmt], certain: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Statements of a module, with those inside compound ones, and whether they surely run."""
    for node in body:
        yield node, certain
        for block in _blocks(node):
            yield from _statements(block, certain and isinstance(node, ast.With))


def _blocks(node: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """The blocks of a compound statement that run in the scope in which it stands."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    yield from (getattr(node, name) for name in ("body", "orelse", "finalbody") if hasattr(node, name))
    for name in ("handlers", "cases"):
        yield from (inner.body for inner in getattr(node, name, ()))
