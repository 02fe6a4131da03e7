"""Which objects that are there before a model is made may get into a part of it, past what its constructor is given.

Two parts hold one object without that the model says so, if the constructors of their classes take it from the same
global, default value or attribute of a class, or from a function that remembers what it made.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import NamedTuple

from codegen.model.decorators import remembers, runs_as_written
from codegen.source.index import Class, Index, Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of
from codegen.syntax.walking import walk


class _Code(NamedTuple):
    """A piece of code: a class whose object it makes, or a statement or an expression.

    Attributes:
        module: Where it stands.
        node: It.
        cls: The class in whose body or method it stands, if any.
        own: Names of its own variables.
    """

    module: Module
    node: ast.AST
    cls: Class | None = None
    own: frozenset[str] = frozenset()


def objects_outside(index: Index, module: Module, node: ast.AST, own: Collection[str]) -> frozenset[str]:
    """Names of the objects that code may hand on which it did not make: it, and all that it runs to make a part.

    Args:
        index: The files.
        module: Where it stands; timm's own classes are known to share nothing so.
        node: An expression.
        own: Names of variables that stand in it, which are followed by others.
    """
    key = ("objects outside", id(node))
    if key not in index.memory:
        index.memory[key] = frozenset(_all(index, _Code(module, node, own=frozenset(own))))
    found: frozenset[str] = index.memory[key]
    return found


def _all(index: Index, code: _Code) -> Iterator[str]:
    pending, seen = [code], {id(code.node)}
    while pending:
        code = pending.pop()
        for found in _one(index, code):
            if isinstance(found, str):
                yield found
            elif id(found.node) not in seen and not found.module.is_timms:
                seen.add(id(found.node))
                pending.append(found)


def _one(index: Index, code: _Code) -> Iterator[str | _Code]:
    """The objects that a piece of code names, and the code that it names."""
    if isinstance(code.node, ast.ClassDef):
        assert code.cls is not None
        yield from _of_class(index, code.cls)
        return
    for node in walk(code.node):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name not in code.own:
                yield from _named(index, code, name)
            case ast.Attribute() if _head_of(node) not in code.own:
                yield from _named(index, code, dotted(node))
            case ast.Attribute(value=ast.Name("self" | "cls"), attr=attr) if code.cls is not None:
                yield from _member(index, code.cls, attr)


def _head_of(node: ast.expr) -> str:
    """The variable with which a dotted name begins; empty for another expression."""
    return dotted(node).partition(".")[0]


def _named(index: Index, code: _Code, name: str) -> Iterator[str | _Code]:
    module = code.module
    cls = index.resolve(module, name) if name else None
    if cls is not None:
        yield _Code(cls.module, cls.node, cls)
        return
    owner, _, attr = name.rpartition(".")
    held = index.resolve(module, owner) if owner else None
    if held is not None:  # Config.norm
        yield from _member(index, held, attr)
        return
    function = index.function(module, name) if name else None
    if function is not None:
        yield from _of_function(*function, None)
        return
    home, bound = _global(index, module, name)
    for node in () if home.is_timms else bound:  # to_2tuple = _ntuple(2)
        match node:
            case ast.Assign(value=ast.Constant()) | ast.AnnAssign(value=ast.Constant()):
                continue
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.With() | ast.Expr():
                yield f"line {node.lineno} of {home.path}"
                yield _Code(home, node)
            case ast.FunctionDef() | ast.ClassDef():  # one of several
                yield f"{name} of {home.path}"


def _global(index: Index, module: Module, name: str) -> tuple[Module, list[ast.stmt]]:
    """The statements that bind a (dotted) name at the top level of a file, followed through imports, and the file."""
    head, _, rest = name.partition(".")
    for _ in range(8):
        origin = module.import_of(head)
        if origin is None:
            break
        path = ".".join(filter(None, [origin.module, origin.name, rest])).split(".")
        places = ((index.module(".".join(path[:n])), path[n:]) for n in range(len(path) - 1, 0, -1))
        target, names = next(((found, names) for found, names in places if found is not None), (None, []))
        if target is None:
            return module, []
        module, head, rest = target, names[0], ".".join(names[1:])
    return module, list(module.bindings.get(head, ()))


def _of_class(index: Index, cls: Class) -> Iterator[str | _Code]:
    """What making an object of a class runs, and the defaults of that."""
    for each in index.lineage(cls):
        for node in (*each.node.bases, *each.node.decorator_list, *(k.value for k in each.node.keywords)):
            yield _Code(each.module, node)
        for name in ("__new__", "__init__", "__post_init__"):
            yield from _member(index, each, name)


def _member(index: Index, cls: Class, name: str) -> Iterator[str | _Code]:
    """An attribute of a class: a method that code may call, or an object of all that the class makes."""
    for each in index.lineage(cls):
        node = each.members.get(name)
        match node:
            case ast.FunctionDef():
                yield from _of_function(each.module, node, each)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if not isinstance(
                value, ast.Constant
            ):
                yield f"line {node.lineno} of {each.module.path}"
                yield _Code(each.module, value, each)


def _of_function(module: Module, function: ast.FunctionDef, cls: Class | None) -> Iterator[str | _Code]:
    arguments = [a.arg for a in walk(function.args) if isinstance(a, ast.arg)]
    own = frozenset(arguments).union(*(bound_names(statement) for statement in function.body))
    for statement in function.body:
        yield _Code(module, statement, cls, own)
    for default in defaults_of(function.args).values():
        if not isinstance(default, ast.Constant):
            made = any(isinstance(n, ast.Call | ast.List | ast.Dict | ast.Set) for n in walk(default))
            yield from (f"a default, line {default.lineno} of {module.path}",) if made else ()
            yield _Code(module, default, cls)
    if remembers(module, function) or not runs_as_written(module, function):
        yield f"what line {function.lineno} of {module.path} gives"
