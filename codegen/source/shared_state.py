"""Whether functions of some files keep anything outside of the objects that they work on: in globals, or in classes."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen.source.reached import reached
from codegen.syntax.bindings import bound_names
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk

_CONTAINERS = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.Call
_READING = frozenset({"get", "items", "keys", "values", "index", "count", "copy", "split", "join", "format"})
_Code = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class _Shared:
    """What outlives the object at hand.

    Attributes:
        objects: Globals that are no classes, functions or libraries.
        classes: Names of classes.
        attributes: Containers that all objects of a class have in common.
    """

    objects: frozenset[str]
    classes: frozenset[str]
    attributes: frozenset[str]


def shares_state(files: Iterable[ast.Module], method: str) -> bool:
    """Whether modules may change a global, a class, a default value or a variable of an outer function, when they run.

    If they do not, two modules of unknown classes cannot tell each other anything, unless one holds the other.

    Args:
        files: Where their classes, and what they call, may stand.
        method: The method of models that is split.
    """
    trees = list(files)
    objects = frozenset(name for tree in trees for name in _objects(tree.body))
    run = set(map(id, reached(trees, {"forward", method})))
    attributes = frozenset(name for tree in trees for name in _class_attributes(tree))
    for tree in trees:
        nodes = list(walk(tree))
        classes = frozenset(node.name for node in nodes if isinstance(node, ast.ClassDef))
        imported = {
            alias.asname or alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name in objects
        }
        shared = _Shared(frozenset({*_objects(tree.body), *imported}), classes, attributes)
        for node in nodes:
            if isinstance(node, _Code) and (isinstance(node, ast.Lambda) or id(node) in run) and _keeps(node, shared):
                return True
    return False


def _objects(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that the top level of a file binds to what is no class, no function and nothing imported."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
                continue
            case (
                ast.If(body=body, orelse=orelse)
                | ast.For(body=body, orelse=orelse)
                | ast.While(body=body, orelse=orelse)
            ):
                yield from _objects([*body, *orelse])
            case ast.With(body=body):
                yield from _objects(body)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=last):
                yield from _objects([*body, *(s for handler in handlers for s in handler.body), *orelse, *last])
            case ast.Assign(value=ast.Constant()):
                continue  # which nobody changes in place
            case _:
                yield from bound_names(statement)


def _class_attributes(tree: ast.Module) -> Iterator[str]:
    for cls in (node for node in walk(tree) if isinstance(node, ast.ClassDef)):
        for statement in cls.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, _CONTAINERS):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _keeps(function: _Code, shared: _Shared) -> bool:
    arguments = function.args
    remembered = {name for name, default in defaults_of(arguments).items() if isinstance(default, _CONTAINERS)}
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    own = {argument.arg for argument in every if argument is not None}
    own |= {node.id for node in walk(function) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    objects = (shared.objects - own) | remembered
    classes = (shared.classes - own) | {"cls"}
    for node in walk(function):
        match node:
            case ast.Global() | ast.Nonlocal():
                return True
            case ast.Attribute(value=owner, ctx=ast.Store() | ast.Del()):
                kept = _root(owner, shared.attributes) in {*objects, *classes, "type", "__class__", "getattr", "[]"}
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                kept = _root(owner, shared.attributes) in {*objects, *classes, "globals", "vars", "getattr", "[]"}
            case ast.Call(func=ast.Name("setattr" | "delattr"), args=[owner, *_]):
                kept = _root(owner, shared.attributes) in {*objects, *classes, "type", "__class__", "getattr"}
            case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr not in _READING:
                deep = isinstance(owner, ast.Attribute | ast.Subscript)  # Norm.seen.append, but not Norm.make
                kept = _root(owner, shared.attributes) in {*objects, "globals", "[]", *(classes if deep else ())}
            case ast.Call(args=given) if not _looks(node):  # remember(SEEN, x)
                kept = any(isinstance(argument, ast.Name) and argument.id in objects - remembered for argument in given)
            case _:
                continue
        if kept:
            return True
    return False


def _looks(call: ast.Call) -> bool:
    """Whether a call is one of Python's functions that leave what they are given as it is."""
    return isinstance(call.func, ast.Name) and call.func.id in {
        *("len", "isinstance", "print", "range", "enumerate", "zip", "list", "tuple", "dict", "set", "sorted", "int"),
        *("float", "str", "getattr", "hasattr", "min", "max", "sum", "type", "issubclass", "super"),
    }


def _root(node: ast.expr, attributes: Collection[str]) -> str:
    """What an expression begins with; ``[]`` for what all objects of a class have in common."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(attr=attr) if attr in attributes:
                return "[]"
            case ast.Attribute(attr="__class__"):
                return "__class__"
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return ""
