"""Functions that give back what they are given, in a tuple: ``to_2tuple = _ntuple(2)``."""

from __future__ import annotations

import ast

from codegen.source.index import Index, Module
from codegen.syntax.walking import walk

_CHAIN = 8  # imports of what is imported


def hands_on(index: Index, module: Module, name: str) -> bool:
    """Whether a name stands for a function, made by one of the release, that puts what it is given into a tuple.

    Args:
        index: The release.
        module: Where the name is used.
        name: Without dots.
    """
    for _ in range(_CHAIN):
        origin = module.import_of(name)
        home = index.module(origin.module) if origin is not None and origin.name else None
        if origin is None or home is None:
            break
        module, name = home, origin.name
    if name in module.rebound:
        return False
    match module.bindings.get(name, ()):
        case [ast.Assign(value=ast.Call(func=ast.Name(id=maker)))]:
            found = index.function(module, maker)
            return found is not None and not found[1].decorator_list and _makes_one(*found)
    return False


def _makes_one(module: Module, function: ast.FunctionDef) -> bool:
    """Whether a function returns a function that it holds, which only puts its argument into a tuple."""
    body = [node for node in function.body if not isinstance(node, ast.Expr)]
    match body:
        case [
            ast.FunctionDef(name=made, args=ast.arguments(args=[ast.arg(arg=given)]), decorator_list=[]) as inner,
            ast.Return(value=ast.Name(id=returned)),
        ] if made == returned:
            returns = [node for node in walk(inner) if isinstance(node, ast.Return)]
            return bool(returns) and all(_puts(module, node.value, given) for node in returns)
    return False


def _puts(module: Module, value: ast.expr | None, given: str) -> bool:
    """Whether it is ``x``, ``tuple(x)`` or ``tuple(repeat(x, n))``."""
    match value:
        case ast.Name(id=name):
            return name == given
        case ast.Call(func=ast.Name("tuple"), args=[inner], keywords=[]) if module.origin("tuple") == "tuple":
            return _puts(module, inner, given)
        case ast.Call(func=ast.Name(id=name), args=[inner, _], keywords=[]):
            return module.origin(name) == "itertools.repeat" and _puts(module, inner, given)
    return False
