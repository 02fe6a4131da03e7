"""Whether a constructor may change what an attribute holds without binding it: by hooks, or by computed names."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from codegen.model.facts import Facts
from codegen.model.neighbours import files_seen_by
from codegen.model.searches import puts_by_search
from codegen.source.index import Class, Module
from codegen.source.reached import made_and_run
from codegen.source.stores import sets_in_disguise, text_of
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk, walk_for

_HOOKS = frozenset(
    {"register_forward_hook", "register_forward_pre_hook", "register_module_forward_hook"}
    | {"register_module_forward_pre_hook", "register_parametrization"}
)
_HOOK_TABLES = frozenset({"_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"})
_HOOKING = (
    *(*_HOOKS, *_HOOK_TABLES, ".forward =", "__class__ =", '"forward"', "'forward'"),
    *("setattr", "exec(", "eval(", "operator."),
)


def is_tampered_with(facts: Facts, attribute: str) -> bool:
    """Whether a constructor may set an attribute in a way that is not in sight, or put a hook on what it holds."""
    return not {attribute, "*"}.isdisjoint(hooked(facts) | remade(facts))


def hooked(facts: Facts) -> frozenset[str]:
    """Attributes of ``self`` on which a method registers a hook that runs with them; ``*`` for what is not known."""
    memory, key = facts.index.memory, ("hooked", id(facts.cls))
    if key not in memory:
        found = set()
        made = [cls.constructor for cls in facts.lineage if cls.constructor is not None]
        called = {name for function in made for name in facts.calls(function)}
        made += [method[1] for name in called if (method := facts.method(name)) is not None]
        made += _given_self(facts)
        for node in (node for function in made for node in walk_for(function, ast.Attribute, ast.Subscript)):
            if isinstance(node, ast.Attribute) and (node.attr in _HOOKS | _HOOK_TABLES or _replaces_code(node)):
                path = dotted(node.value).split(".")
                found.add(path[1] if path[0] == "self" and len(path) > 1 else "*")
            elif isinstance(node, ast.Subscript) and _replaces_code(node):
                found.add("*")
        if _is_hooked_elsewhere(facts, made):
            found.add("*")
        memory[key] = frozenset(found)
    known: frozenset[str] = memory[key]
    return known


def _is_hooked_elsewhere(facts: Facts, own: Collection[ast.FunctionDef]) -> bool:
    """Whether code that may run when the model is made registers hooks, or replaces what runs, other than its own."""
    files = [module for cls in facts.lineage for module in _files_of(facts, cls)]
    if not any(word in module.text for module in files for word in _HOOKING):
        return False
    seen = {id(node) for function in own for node in walk(function)}
    for code in code_that_makes(facts):
        for node in walk(code):
            match node:
                case ast.Attribute(attr=attr) if attr in _HOOKS | _HOOK_TABLES and id(node) not in seen:
                    return True
                case ast.Attribute() | ast.Subscript() if _replaces_code(node) and id(node) not in seen:
                    return True
                case ast.Call(func=ast.Name("setattr"), args=[_, ast.Constant(value="forward"), *_]):
                    return True
                case _ if _sets_by_hand(node):
                    return True
    return False


def code_that_makes(facts: Facts) -> Sequence[ast.AST]:
    """The code of a user's files that may run when a model of a class is made."""
    memory, key = facts.index.memory, ("code that makes", id(facts.cls))
    if key not in memory:
        classes = [cls for cls in facts.lineage if not cls.module.is_timms]
        trees = {module.path: module.tree for cls in classes for module in _files_of(facts, cls)}
        memory[key] = made_and_run(trees.values(), [cls.node for cls in classes], {"__init__"})
    code: Sequence[ast.AST] = memory[key]
    return code


def _files_of(facts: Facts, cls: Class) -> Sequence[Module]:
    return [] if cls.module.is_timms else files_seen_by(facts.index, cls.module)


def _sets_by_hand(node: ast.AST) -> bool:
    """Whether code sets what is not in sight by Python's own means: what is called, given, and named otherwise."""
    match node:
        case ast.Attribute(value=ast.Name("operator"), attr="setitem" | "methodcaller"):
            return True
        case ast.Call(func=ast.Name("setattr"), args=[owner, key, _]) if text_of(key) is None:
            return dotted(owner) != "self"
    return sets_in_disguise(node)


def _replaces_code(node: ast.AST) -> bool:
    """Whether a node gives another object than ``self`` another ``forward``, or another class."""
    match node:
        case ast.Attribute(value=owner, attr="forward" | "__class__", ctx=ast.Store()):
            return dotted(owner) != "self"
        case ast.Subscript(slice=ast.Constant(value="forward"), ctx=ast.Store()):
            return True
    return False


def remade(facts: Facts) -> frozenset[str]:
    """Attributes that a constructor may set to what is not in sight; ``*`` for any.

    By the dictionary of modules, under a name that is computed, in a function that it gives the model to, or by another
    ``forward`` of what an attribute holds.
    """
    memory, key = facts.index.memory, ("remade", id(facts.cls))
    if key not in memory:
        found = {name for cls in facts.lineage for name in cls.stores.rebound}
        made = [cls.constructor for cls in facts.lineage if cls.constructor is not None]
        called = {name for function in made for name in facts.calls(function)}
        made += [method[1] for name in called if (method := facts.method(name)) is not None]
        for function in made:
            found.update(name for node in walk_for(function, *_SETTING) for name in _sets_unseen(node, "self"))
            if not facts.cls.module.is_timms and any(map(_registers_unseen, walk_for(function, ast.Call))):
                found.add("*")
        if not facts.cls.module.is_timms and puts_by_search(facts, code_that_makes(facts)):
            found.add("*")
        for function in _given_self(facts):
            for parameter in function.args.args:
                nodes = walk_for(function, *_SETTING, ast.Attribute)
                found.update(name for node in nodes for name in _sets_on(node, parameter.arg))
        memory[key] = frozenset(found)
    known: frozenset[str] = memory[key]
    return known


_SETTING = (ast.Call, ast.Subscript)


def _sets_unseen(node: ast.AST, model: str) -> Iterator[str]:
    """The attributes of a model that a piece of code may set without naming them as attributes."""
    match node:
        case ast.Call(func=ast.Name("setattr"), args=[ast.Name(id=name), ast.Name(), _]) if name == model:
            yield "*"
        case ast.Call(func=ast.Attribute(attr="set_submodule" | "__setattr__"), args=[*_, _]):
            yield "*"
        case ast.Subscript(value=value, ctx=ast.Store()) | ast.Call(func=ast.Attribute(value=value, attr="update")):
            inside = walk(value)
            if any(isinstance(n, ast.Attribute) and n.attr in ("_modules", "__dict__") for n in inside) or any(
                isinstance(n, ast.Call) and dotted(n.func) == "vars" for n in walk(value)
            ):
                yield "*"


def _registers_unseen(node: ast.AST) -> bool:
    """Whether a module is registered under a name that a variable holds."""
    match node:
        case ast.Call(func=ast.Attribute(attr="add_module" | "register_module"), args=[ast.Name(), _]):
            return True
    return False


def _sets_on(node: ast.AST, model: str) -> Iterator[str]:
    """The attributes of a parameter that a piece of code may set."""
    yield from _sets_unseen(node, model)
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=attr, ctx=ast.Store()) if name == model:
            yield attr
        case ast.Call(func=ast.Name("setattr"), args=[ast.Name(id=name), key, _]) if name == model:
            yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "*"


def _given_self(facts: Facts) -> list[ast.FunctionDef]:
    """The functions that a constructor gives the model, or a part of it, and those that they call: ``attach(self)``."""
    pending = [
        (cls.module, dotted(node.func))
        for cls in facts.lineage
        if cls.constructor is not None
        for node in walk_for(cls.constructor, ast.Call)
        if any(dotted(a).partition(".")[0] == "self" for a in node.args)
    ]
    found: dict[int, ast.FunctionDef] = {}
    while pending:
        module, name = pending.pop()
        function = facts.index.function(module, name) if name else None
        if function is not None and id(function[1]) not in found:
            found[id(function[1])] = function[1]
            pending += [(function[0], dotted(n.func)) for n in walk_for(function[1], ast.Call)]
    return list(found.values())
