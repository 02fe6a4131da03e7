"""Which methods a user's code gives classes after they were made: ``setattr(Part, "make", make)``."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk

_ANY = "*"
_PROPERTIES = frozenset({"property", "cached_property", "functools.cached_property"})
_WRAPPERS = _PROPERTIES | {"staticmethod", "classmethod", "partial", "functools.partial", "MethodType"}


class _Gift(NamedTuple):
    """A name that is set on something, where in the code, and to what."""

    owner: ast.expr
    name: str
    value: ast.expr


class _Attached(NamedTuple):
    """What classes are given, by their paths; what any class may be given, by an empty one.

    Attributes:
        objects: The names of all that is no constant.
        code: Those of what may be code.
    """

    objects: Mapping[str, frozenset[str]]
    code: Mapping[str, frozenset[str]]


def is_attached(index: Index, lineage: Collection[Class], name: str) -> bool:
    """Whether what a class has by a name may be code that it was given after it was made, in whatever way.

    ``Part.make = make`` at the top of its own file is none of these: there it is a member of the class.

    Args:
        index: The files.
        lineage: The class and those that it derives from.
        name: Of a method that is called, or of a property.
    """
    found = _read(index).code
    if not found:
        return False
    names = [found[key] for key in ("", *(cls.path for cls in lineage)) if key in found]
    return any(name in some or _ANY in some for some in names)


def is_given(index: Index, lineage: Collection[Class], name: str) -> bool:
    """Whether a class is given an object after it was made, which is one for all that are made of it."""
    found = _read(index).objects
    return any(name in found.get(cls.path, ()) for cls in lineage)


def _read(index: Index) -> _Attached:
    if "attached" not in index.memory:
        index.memory["attached"] = _find(index)
    found: _Attached = index.memory["attached"]
    return found


def _find(index: Index) -> _Attached:
    objects: dict[str, set[str]] = {}
    code: dict[str, set[str]] = {}
    bound = _classes_by_variable(index)
    for module in index.user_modules:
        for gift in (gift for node in walk(module.tree) for gift in _gifts(node)):
            if isinstance(gift.value, ast.Constant):
                continue
            may_be_code = _may_be_code(index, module, gift.value)
            for path in _owners(index, module, gift, bound):
                for found in (objects, code) if may_be_code else (objects,):
                    found.setdefault(path, set()).add(gift.name)
    return _Attached(*({path: frozenset(names) for path, names in found.items()} for found in (objects, code)))


def _gifts(node: ast.AST) -> Iterator[_Gift]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Attribute):
                    yield _Gift(target.value, target.attr, value)
                else:
                    yield from _bound_inside(target)
        case ast.For(target=target) | ast.comprehension(target=target) | ast.AnnAssign(target=target, value=ast.expr()):
            yield from _bound_inside(target)
        case ast.withitem(optional_vars=ast.expr() as target):
            yield from _bound_inside(target)
        case ast.Call(func=ast.Name("setattr"), args=[owner, key, value]):
            yield _Gift(owner, str(key.value) if isinstance(key, ast.Constant) else _ANY, value)


def _bound_inside(target: ast.expr) -> Iterator[_Gift]:
    """The attributes that a target binds to what is not in sight: ``Part.forward, other = pair``."""
    for node in walk(target):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield _Gift(node.value, node.attr, _SOMETHING)


_SOMETHING = ast.parse("lambda: 0", mode="eval").body


def _may_be_code(index: Index, module: Module, value: ast.expr) -> bool:
    """Whether a value may be a function: one that stands in the files, or a variable that may hold one."""
    match value:
        case ast.Lambda():
            return True
        case ast.Call(func=function):
            return dotted(function) in _WRAPPERS or dotted(function).endswith(".MethodType")
        case ast.Name() | ast.Attribute():
            name = dotted(value)
            known = name.partition(".")[0] in module.bindings
            return not known or index.function(module, name) is not None or index.resolve(module, name) is not None
    return False


def _owners(index: Index, module: Module, gift: _Gift, bound: Mapping[str, set[str]]) -> Collection[str]:
    """The classes that a gift may be for; an empty name for any."""
    name = dotted(gift.owner)
    cls = index.resolve(module, name) if name else None
    if cls is not None:
        return () if _is_member(module, cls, gift) else [cls.path]
    # under a name that is computed, things are set that are no classes; another `forward` is looked for by its name
    other = "." in name or name in ("", "self") or gift.name in (_ANY, "forward")
    return bound.get(name, set()).union(() if other else [""])


def _is_member(module: Module, cls: Class, gift: _Gift) -> bool:
    """Whether the class has what it is given among its members, as a statement of its own file says."""
    member = cls.members.get(gift.name) if cls.module is module else None
    return isinstance(member, ast.Assign) and member.value is gift.value


def _classes_by_variable(index: Index) -> Mapping[str, set[str]]:
    """Variables that stand for classes: in a loop over some, and parameters of functions that are given one."""
    found: dict[str, set[str]] = {}
    for module in index.user_modules:
        for name, value in (pair for node in walk(module.tree) for pair in _passed(index, module, node)):
            for part in value.elts if isinstance(value, ast.Tuple | ast.List | ast.Set) else [value]:
                cls = index.resolve(module, dotted(part)) if dotted(part) else None
                if cls is not None:
                    found.setdefault(name, set()).add(cls.path)
    return found


def _passed(index: Index, module: Module, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a piece of code binds variables to, by a loop or as parameters of a function of the files."""
    match node:
        case (
            ast.For(target=ast.Name(id=name), iter=iterable)
            | ast.comprehension(target=ast.Name(id=name), iter=iterable)
        ):
            yield name, iterable
        case ast.FunctionDef():
            yield from defaults_of(node.args).items()
        case ast.Call(func=ast.Name("map"), args=[ast.Lambda(args=parameters), *iterables]):
            yield from zip((argument.arg for argument in parameters.args), iterables, strict=False)
        case ast.Call(func=ast.Lambda(args=parameters), args=args):
            yield from zip((argument.arg for argument in parameters.args), args, strict=False)
        case ast.Call(func=function, args=args, keywords=keywords) if dotted(function):
            names = _parameters_of(index, module, dotted(function))
            if names is not None:
                yield from zip(names, args, strict=False)
                yield from ((keyword.arg, keyword.value) for keyword in keywords if keyword.arg is not None)


def _parameters_of(index: Index, module: Module, name: str) -> Sequence[str] | None:
    """The parameters of a function of the files, or of the constructor of a class; ``None`` for any other name."""
    called = index.function(module, name)
    made = index.resolve(module, name) if called is None else None
    code = called[1] if called is not None else made.constructor if made is not None else None
    if code is None:
        return None
    names = [argument.arg for argument in (*code.args.posonlyargs, *code.args.args)]
    return names if made is None else names[1:]
