"""Which methods a user's code gives classes after they were made: ``setattr(Part, "make", make)``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from codegen.model.importing import run_at_import
from codegen.source.index import Class, Index, Module
from codegen.source.stores import sets_in_disguise
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names
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
    importing = {id(node) for _, piece in run_at_import(index) for node in walk(piece)}
    for module in index.user_modules:
        for node in walk(module.tree):
            at_import = id(node) in importing
            for gift in _gifts(node):
                if isinstance(gift.value, ast.Constant):
                    continue
                may_be_code = _may_be_code(index, module, gift.value)
                for path in _owners(index, module, gift, bound, at_import):
                    for found in (objects, code) if may_be_code else (objects,):
                        found.setdefault(path, set()).add(gift.name)
            for path in _changed_unseen(index, module, node) if at_import else ():
                code.setdefault(path, set()).add(_ANY)
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
        case ast.Call(func=ast.Name("setattr"), args=[owner, key, value]) if not isinstance(owner, ast.Starred):
            yield _Gift(owner, str(key.value) if isinstance(key, ast.Constant) else _ANY, value)


def _bound_inside(target: ast.expr) -> Iterator[_Gift]:
    """The attributes that a target binds to what is not in sight: ``Part.forward, other = pair``."""
    for node in walk(target):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield _Gift(node.value, node.attr, _SOMETHING)


_SOMETHING = ast.parse("lambda: 0", mode="eval").body


def _changed_unseen(index: Index, module: Module, node: ast.AST) -> Iterator[str]:
    """The classes to which code may do anything without an assignment that tells what; an empty name for any."""
    match node:
        case _ if sets_in_disguise(node):
            yield ""
        case ast.Attribute(attr="__setattr__" | "setattr"):
            yield ""
        case ast.Call(func=function, args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords)]
            if any(isinstance(inner, ast.Name) and inner.id == "setattr" for value in given for inner in walk(value)):
                yield ""  # map(lambda cls: setattr(cls, ...), ...)
            path = module.imported(function)
            if path.partition(".")[0] in sys.stdlib_module_names and not _leaves(path):
                for inner in (inner for value in given for inner in walk(value)):
                    cls = index.resolve(module, dotted(inner)) if isinstance(inner, ast.Name | ast.Attribute) else None
                    if cls is not None:
                        yield cls.path


def _leaves(path: str) -> bool:
    """Whether a function of Python's library leaves the classes that it is given as they are."""
    return path.startswith(_ONLY_HOLD) or path in ("functools.partial", "dataclasses.field", "inspect.signature")


_ONLY_HOLD = ("typing.", "collections.", "itertools.", "logging.", "warnings.", "enum.", "copyreg.", "re.", "os.")


def _is_code(index: Index, module: Module, value: ast.expr) -> bool:
    """Whether a value is a function that stands in the files."""
    name = dotted(value.func if isinstance(value, ast.Call) else value)
    return isinstance(value, ast.Lambda) or name in _WRAPPERS or index.function(module, name) is not None


def _may_be_code(index: Index, module: Module, value: ast.expr, depth: int = 4) -> bool:
    """Whether a value may be a function: one that stands in the files, or a variable that may hold one."""

    def may_be(inner: ast.expr) -> bool:
        return depth == 0 or _may_be_code(index, module, inner, depth - 1)

    match value:
        case ast.Lambda() | ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.Await():
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return may_be(body) or may_be(orelse)
        case ast.BoolOp(values=values):
            return any(map(may_be, values))
        case ast.Call(func=function, args=args):
            name = dotted(function)
            if module.imported(function).startswith(("torch.nn.", "numpy.")):
                return False
            made = name in _WRAPPERS or name.endswith(".MethodType") or not name
            return made or index.function(module, name) is not None or any(map(may_be, args))
        case ast.Name() | ast.Attribute():
            name = dotted(value)
            head, _, rest = name.partition(".")
            known = head in module.bindings
            if not known or index.function(module, name) is not None or index.resolve(module, name) is not None:
                return True
            bound = [node.value for node in module.bindings[head] if isinstance(node, ast.Assign)]
            return not rest and any(map(may_be, bound))
    return False


def _owners(
    index: Index, module: Module, gift: _Gift, bound: Mapping[str, set[str]], at_import: bool
) -> Collection[str]:
    """The classes that a gift may be for; an empty name for any."""
    name = dotted(gift.owner)
    cls = index.resolve(module, name) if name else None
    if cls is not None:
        return () if _is_member(module, cls, gift) else [cls.path]
    if name == "self":
        return ()
    if name.startswith("self.") and not _is_class_of_something(gift.owner):  # an object, if it is no class after all
        return [""] if at_import and _is_code(index, module, gift.value) else ()
    if at_import or _is_class_of_something(gift.owner):
        return bound.get(name, set()).union([""])
    # under a name that is computed, things are set that are no classes; another `forward` is looked for by its name
    other = "." in name or not name or gift.name in (_ANY, "forward")
    return bound.get(name, set()).union(() if other else [""])


def _is_class_of_something(owner: ast.expr) -> bool:
    """Whether an expression is the class of an object: ``type(part)``, ``part.__class__``."""
    match owner:
        case ast.Attribute(attr="__class__") | ast.Call(func=ast.Name("type")):
            return True
    return False


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
    names = positional_names(code.args)
    return names if made is None else names[1:]
