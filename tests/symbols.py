"""Run the methods of a real model class without torch: every value is a symbol, and every call is written down.

Helper methods of the class run as they are. What they reach for beyond it (modules, torch, functions of timm) is a
:class:`Symbol`, named after the way to it. Looks and arithmetic give another symbol and leave no trace, so that they
may be done again; a call, a store or anything that changes a value in place is noted in the journal of its
:class:`World`, in order. Which way a condition goes is decided by its name and the world's seed.
"""

import ast
import builtins
import dis
import random
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sources import with_statements_alone

from codegen.source.index import Class, Index

_POSTPONED = 0x1000000  # __future__.annotations.compiler_flag: annotations are not evaluated
_MOST = 4000  # notes in a journal: what goes on for longer does not end
_LENGTH = 3
_LOOKS = ("is_scripting", "is_tracing", "is_exporting", "is_compiling")


class TooLong(Exception):
    """A program that goes on and on."""


class World:
    """One run of one program: what happened in it, and what everything that it imports is called."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.journal: list[Any] = []
        self._imported: dict[str, Symbol] = {}

    def note(self, what: str, *values: Any) -> "Symbol":
        """Write down what happened, and give what came of it."""
        self.journal.append((what, *map(frozen, values)))
        if len(self.journal) > _MOST:
            raise TooLong
        return Symbol(self, f"%{len(self.journal)}")

    def decide(self, name: str, among: int) -> int:
        return random.Random(f"{self.seed} {name}").randrange(among)

    def imported(self, name: str) -> "Symbol":
        return self._imported.setdefault(name, Symbol(self, name))


def frozen(value: Any) -> Any:
    """What a value is now; later changes to it do not reach this."""
    if isinstance(value, Symbol):
        return vars(value)["name"]
    if isinstance(value, Model):
        return vars(value)["_prefix"]
    if isinstance(value, list | tuple | set):
        return (type(value).__name__, *map(frozen, value))
    if isinstance(value, dict):
        return ("dict", *((frozen(key), frozen(inner)) for key, inner in value.items()))
    if isinstance(value, slice):
        return ("slice", frozen(value.start), frozen(value.stop), frozen(value.step))
    if isinstance(value, range | int | float | str | bytes | None | types.EllipsisType):
        return value
    return type(value).__name__


class Symbol:
    """A value of which nothing is known but where it comes from."""

    def __init__(self, world: World, name: str) -> None:
        vars(self).update(world=world, name=name, inside={})

    def _look(self, how: str, *values: Any) -> "Symbol":
        return Symbol(vars(self)["world"], f"({vars(self)['name']} {how} {', '.join(str(frozen(v)) for v in values)})")

    def _change(self, how: str, *values: Any) -> "Symbol":
        """Note a change in place: all that has this value has another one from now on."""
        vars(self).update(name=vars(vars(self)["world"].note(how, self, *values))["name"], inside={})
        return self

    def _part(self, key: Any, name: str) -> Any:
        return vars(self)["inside"].setdefault(key, Symbol(vars(self)["world"], name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name == "shape":
            return Shape(vars(self)["world"], f"{vars(self)['name']}.shape")
        return self._part(name, f"{vars(self)['name']}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["world"].note("set", self, name, value)
        vars(self)["inside"][name] = value

    def __getitem__(self, key: Any) -> Any:
        key = key + _LENGTH if isinstance(key, int) and key < 0 else frozen(key)
        return self._part(("item", key), f"{vars(self)['name']}[{key}]")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._change("setitem", key, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = vars(self)["name"]
        if name.endswith(_LOOKS):
            return Symbol(vars(self)["world"], f"{name}()")
        return vars(self)["world"].note("call", self, args, kwargs)

    def __iter__(self) -> Any:
        return iter([self[number] for number in range(_asked_for(sys._getframe(1)))])

    def __len__(self) -> int:
        return _LENGTH

    def __bool__(self) -> bool:
        return bool(vars(self)["world"].decide(vars(self)["name"], 2))

    def __index__(self) -> int:
        return vars(self)["world"].decide(vars(self)["name"], _LENGTH) + 1

    def __contains__(self, value: Any) -> bool:
        return bool(self._look("contains", value))

    def __instancecheck__(self, value: Any) -> bool:
        return bool(self._look("instance", value))

    def __enter__(self) -> Any:
        return vars(self)["world"].note("enter", self)

    def __exit__(self, *error: Any) -> None:
        vars(self)["world"].note("exit", self)

    def __format__(self, how: str) -> str:
        return str(vars(self)["name"])

    __hash__ = object.__hash__
    __int__ = __index__
    __str__ = __repr__ = lambda self: str(vars(self)["name"])


def _operators() -> None:
    for how in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
        setattr(Symbol, f"__{how}__", lambda self, other, how=how: self._look(how, other))
        setattr(Symbol, f"__r{how}__", lambda self, other, how=how: self._look(f"r{how}", other))
        setattr(Symbol, f"__i{how}__", lambda self, other, how=how: self._change(f"i{how}", other))
    for how in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Symbol, f"__{how}__", lambda self, other, how=how: self._look(how, other))
    for how in ("neg", "pos", "invert", "abs"):
        setattr(Symbol, f"__{how}__", lambda self, how=how: self._look(how))


_operators()


class Shape(Symbol):
    """Of which all have the same first dimension: the batch, which is the images' and the tokens'."""

    def __getitem__(self, key: Any) -> Any:
        return Symbol(vars(self)["world"], "batch") if isinstance(key, int) and key == 0 else super().__getitem__(key)


def _asked_for(frame: types.FrameType) -> int:
    """How many parts the code that asks for an iterator unpacks it into."""
    code = frame.f_code.co_code
    if dis.opname[code[frame.f_lasti]] == "UNPACK_SEQUENCE":
        return code[frame.f_lasti + 1]
    return _LENGTH


class Model:
    """Stands for ``nn.Module`` at the root of a class. What no method of the class sets is a symbol."""

    _prefix = "self"

    def __init__(self, world: World, prefix: str = "self") -> None:
        vars(self).update(_world=world, _prefix=prefix)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return vars(self).setdefault(name, Symbol(vars(self)["_world"], f"{vars(self)['_prefix']}.{name}"))

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["_world"].note("set", self, name, value)
        vars(self)[name] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)


class _Imported:
    """A module to import from: what it has is known by its name alone, wherever it is imported from."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._find(name)


@dataclass(frozen=True)
class Program:
    """The methods of a model class, its bases' included, as far as a release holds them."""

    index: Index
    cls: Class

    @cached_property
    def _code(self) -> tuple[types.CodeType, frozenset[str]]:
        lineage = self.index.lineage(self.cls)
        imports = [node for c in reversed(lineage) for node in c.module.tree.body if _is_import(node)]
        known = {c.name for c in lineage}
        classes = []
        for cls in reversed(lineage):
            bases = [base for base in cls.node.bases if isinstance(base, ast.Name) and base.id in known]
            methods = [m for m in cls.node.body if isinstance(m, ast.FunctionDef) and not m.decorator_list]
            methods = [m for m in methods if m.name != "__init__"] or [ast.Pass()]
            root = ast.Name("<Model>", ast.Load())
            classes.append(ast.ClassDef(cls.name, bases or [root], [], methods, [], type_params=[]))
        tree = ast.fix_missing_locations(ast.Module([*imports, *classes], []))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        code = compile(tree, "<timm>", "exec", flags=_POSTPONED, dont_inherit=True)
        return code, frozenset(names - vars(builtins).keys() - known)

    def load(self, world: World) -> type:
        """The class, in a world."""
        code, names = self._code
        scope = {name: world.imported(name) for name in names}
        return _execute(code, {**scope, "<Model>": Model}, world, {})[self.cls.name]


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__"


def _execute(code: types.CodeType, names: dict[str, Any], world: World, classes: Mapping[str, type]) -> dict[str, Any]:
    module = _Imported(lambda name: classes.get(name) or world.imported(name))

    def find(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if (level, name) == (1, "_split"):
            return types.SimpleNamespace(SplitModel=type("SplitModel", (), {}))
        if name in ("typing", "__future__"):
            return builtins.__import__(name, globals, locals, fromlist, level)
        return module if fromlist else world.imported(name.partition(".")[0])

    scope = {**names, "__builtins__": {**vars(builtins), "__import__": find}, "__name__": "timm.models.mutant"}
    exec(code, scope)
    return scope


def load_generated(text: str, name: str, originals: Mapping[str, type], world: World) -> type:
    """A split class of a generated file, on top of the classes that it is derived from."""
    code = compile(with_statements_alone(text), "<generated>", "exec", flags=_POSTPONED, dont_inherit=True)
    return _execute(code, {"NamedTuple": typing.NamedTuple}, world, originals)[name]


@dataclass(frozen=True)
class Run:
    """What can be seen of a call: what it gave or raised, and what happened on the way."""

    result: Any
    journal: tuple[Any, ...]


def observe(model: Any, world: World, arguments: Mapping[str, Any]) -> Run:
    try:
        result = frozen(model.forward_features(**arguments))
    except Exception as error:  # whatever the program under test raises is its behaviour
        result = (type(error).__name__, str(error))
    return Run(result, tuple(world.journal))
