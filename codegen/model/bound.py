"""What the code of a function binds: its variables, attributes of ``self``, and the parts of a container."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from codegen.model.facts import Facts
from codegen.source.stores import stores_in, text_of
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk, walk_for

_PUTS = frozenset({"append", "insert", "extend", "add_module", "register_module", "update"})
_NO_ARGUMENTS = ast.arguments([], [], None, [], [], None, [])
# These stand for what is not known, and for a function and a class that are made here.
OPEN, FUNCTION, CLASS = (ast.Lambda(_NO_ARGUMENTS, ast.Constant(None)) for _ in range(3))


class Imported(ast.expr):
    """A class that a function imports for itself."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name


def remembered(
    facts: Facts, what: str, function: ast.FunctionDef, read: Callable[[ast.FunctionDef], Mapping[str, list[ast.expr]]]
) -> Mapping[str, list[ast.expr]]:
    """What is read from a function, read once for all that ask."""
    memory, key = facts.index.memory, (what, id(function))
    if key not in memory:
        memory[key] = read(function)
    found: Mapping[str, list[ast.expr]] = memory[key]
    return found


ANYTHING = "*"
"""Stands for an attribute of a name that is not known."""


def stored_by(method: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What a method binds to each attribute of ``self``, or puts into what it holds."""
    found: dict[str, list[ast.expr]] = {}

    def store(target: ast.expr, value: ast.expr) -> None:
        inner = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
            found.setdefault(inner.attr, []).append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            plain = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            for number, element in enumerate(target.elts):
                store(element, value.elts[number] if plain and isinstance(value, ast.Tuple | ast.List) else OPEN)

    for node in stores_in(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    store(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
                store(target, value)
            case ast.For(target=target) | ast.withitem(optional_vars=ast.expr() as target):
                store(target, OPEN)
            case ast.Call(func=ast.Name("setattr"), args=[ast.Name("self"), key, value]):
                text = text_of(key)
                found.setdefault(ANYTHING if text is None else text, []).append(value)
            case ast.Call(func=ast.Attribute(ast.Name("self"), "add_module" | "register_module"), args=[name, *values]):
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.setdefault(name.value, []).extend(values)
            case ast.Call(func=ast.Attribute(ast.Attribute(ast.Name("self"), attribute), attr), args=values):
                if attr in _PUTS:
                    found.setdefault(attribute, []).extend(values)
    return found


_BINDING = (
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.comprehension, ast.Call),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ImportFrom, ast.Import),
)


def bindings_of(function: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What the variables of a function may be bound to, or what is put into what they hold."""
    found: dict[str, list[ast.expr]] = {}
    args = function.args
    defaults = defaults_of(args)
    for parameter in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if parameter is not None:
            found[parameter.arg] = [defaults.get(parameter.arg, OPEN)]
    for node in walk_for(function, *_BINDING):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(value)
                    for number, inner in enumerate(target.elts if isinstance(target, ast.Tuple | ast.List) else ()):
                        if isinstance(inner, ast.Name):
                            element = ast.Subscript(value, ast.Constant(number), ast.Load())
                            found.setdefault(inner.id, []).append(element)
            case (
                ast.AugAssign(target=ast.Name(id=name), value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found.setdefault(name, []).append(value)
            case ast.For(target=target, iter=iterable) | ast.comprehension(target=target, iter=iterable):
                for part in walk(target):
                    if isinstance(part, ast.Name):
                        found.setdefault(part.id, []).append(iterable)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr), args=values) if attr in _PUTS:
                found.setdefault(name, []).extend(values)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                found.setdefault(name, []).append(value)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if node is not function:
                found.setdefault(name, []).append(FUNCTION)
            case ast.ClassDef(name=name):
                found.setdefault(name, []).append(CLASS)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                for alias in names:
                    found.setdefault(alias.asname or alias.name, []).append(Imported(module, alias.name))
            case ast.Import(names=names):
                for alias in names:
                    found.setdefault((alias.asname or alias.name).partition(".")[0], []).append(OPEN)
    return found


def registered_by(method: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in walk_for(method, ast.Assign, ast.Call):
        match node:
            case ast.Assign(targets=targets, value=value) if any(map(_is_part, targets)):
                yield value
            case ast.Call(func=ast.Attribute(value=ast.Name("self"), attr=attr), args=args) if attr in _PUTS:
                yield from args
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name("super")), attr="__init__"), args=args):
                yield from args
            case ast.Call(func=ast.Attribute(attr="__init__"), args=[ast.Name("self"), *args]):
                yield from args


def _is_part(target: ast.expr) -> bool:
    """Whether what is bound is an attribute of ``self``, or what a container that ``self`` is holds under a name."""
    inner = target.value if isinstance(target, ast.Subscript) else target
    own = isinstance(inner, ast.Attribute) and dotted(inner.value) == "self"
    return own or (isinstance(target, ast.Subscript) and dotted(inner) == "self")
