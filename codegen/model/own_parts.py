"""Whether the parts of an attribute surely have no other name: what makes them is used for it alone.

A norm of the embedding keeps statistics of the images in training. One that the stages have too would see those of
another embedding, made in between.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.model.bound import bindings_of, remembered, stored_by
from codegen.model.facts import Facts
from codegen.model.kinds import kinds_of
from codegen.model.making import Making
from codegen.model.module_kind import Kind
from codegen.model.sharing import may_be_norm
from codegen.source.index import Class
from codegen.source.stores import PUTS
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk


def may_have_another_name(facts: Facts, attribute: str) -> bool:
    """Whether a norm that an attribute of a user's class holds, or a part of it, may be held elsewhere too."""
    memory, key = facts.index.memory, ("another name", id(facts.cls), attribute)
    if key not in memory:
        memory[key] = _is_handed_on(facts, attribute) or any(_is_shared(facts, attribute))
    found: bool = memory[key]
    return found


def _is_handed_on(facts: Facts, attribute: str) -> bool:
    """Whether a method uses it for something else, or a part of it: ``layers.append(self.stem[-1])``."""
    for node in _used_as_they_are(facts):
        match node:
            case ast.Subscript(value=owner, ctx=ast.Load()) | ast.Starred(value=owner) | owner:
                if dotted(owner) == f"self.{attribute}" and isinstance(getattr(node, "ctx", None), ast.Load):
                    return True
    return False


def _used_as_they_are(facts: Facts) -> Iterator[ast.AST]:
    """What the methods of a user's class use that do not run it, but to call it, to ask it something, or set another.

    What an attribute is set to, ``self.other = self.bn``, is asked where the stages use that one.
    """
    for cls in facts.lineage:
        for name, method in cls.members.items() if not cls.module.is_timms else ():
            if not name.startswith("forward"):
                asked = {id(part) for node in walk(method) for part in _asked(node)}
                kept = {id(part) for node in walk(method) for part in _kept_plainly(facts, node)}
                yield from (node for node in walk(method) if id(node) not in asked | kept)


def _kept_plainly(facts: Facts, node: ast.AST) -> Iterator[ast.expr]:
    """What a statement sets another attribute to as it is, in a sequence or copied: ``self.other = self.bn``."""
    match node:
        case ast.Assign(targets=[ast.Attribute(value=ast.Name("self"), attr=attr)], value=value):
            yield from _plain_parts(value) if not facts.is_container(attr) else ()


def _plain_parts(value: ast.expr) -> Iterator[ast.expr]:
    yield value
    if isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] in ("Sequential", "copy", "deepcopy"):
        for argument in value.args:
            yield from _plain_parts(argument)


def _asked(node: ast.AST) -> Sequence[ast.expr]:
    """What a node calls, or takes an attribute of."""
    match node:
        case ast.Call(func=function):
            return (function,)
        case ast.Attribute(value=owner) | ast.Subscript(value=owner):
            return (owner,)
    return ()


def _holds_another(facts: Facts, value: ast.expr) -> bool:
    """Whether a value holds a norm of another attribute that is used for something else: ``Sequential(self.bn)``."""
    names = {dotted(node) for node in walk(value) if isinstance(node, ast.Attribute)}
    own = [name.removeprefix("self.") for name in names if name.startswith("self.")]
    norms = [name for name in own if any(map(_is_known_norm, kinds_of(facts, name)))]
    return any(_is_handed_on(facts, name) for name in norms)


def _is_shared(facts: Facts, attribute: str) -> Iterator[bool]:
    """Of each value that a method gives an attribute: whether a variable in it may be used for something else."""
    for cls in facts.lineage:
        for method in cls.members.values() if not cls.module.is_timms else ():
            if isinstance(method, ast.FunctionDef):
                values = remembered(facts, "stored", method, stored_by).get(attribute, ())
                uses = _Uses(facts, cls, method)
                yield from (uses.may_share(value) or _holds_another(facts, value) for value in values)


class _Uses:
    """The uses of the variables of a method."""

    def __init__(self, facts: Facts, cls: Class, method: ast.FunctionDef) -> None:
        self.bound = remembered(facts, "bound", method, bindings_of)
        self.making = Making(facts, cls.module, self.bound, kinds_of)
        nodes = list(walk(method))
        looked = {id(part) for node in nodes for part in (*_looked_at(node), *_bound_again(node))}
        loads = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
        self.loads = [node.id for node in loads if id(node) not in looked]
        kept = {id(part) for node in nodes for part in _kept_plainly(facts, node)}
        self.others = {node.id for node in loads if id(node) not in looked | kept}

    def may_share(self, value: ast.expr) -> bool:
        if any(isinstance(node, ast.NamedExpr) for node in walk(value)):
            return True
        called = {id(node.func) for node in walk(value) if isinstance(node, ast.Call)}
        names = {node.id for node in walk(value) if isinstance(node, ast.Name) and id(node) not in called}
        return any(self.loads.count(name) > 1 and self._may_hold_norm(name) for name in names & self.others)

    def _may_hold_norm(self, name: str) -> bool:
        if name not in self.bound:
            return False
        return any(map(_is_known_norm, self.making.of(ast.Name(name, ast.Load()))))


def _is_known_norm(kind: Kind) -> bool:
    """Whether a module may keep statistics, of those of which something is known."""
    return kind != "?" and may_be_norm(kind)


def _looked_at(node: ast.AST) -> Sequence[ast.expr]:
    """The variables of which a node asks something, or into which it puts more."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in PUTS:
            return (owner,)
        case ast.Call(func=ast.Name("len" | "isinstance" | "range" | "print"), args=args):
            return args
        case ast.Attribute(value=ast.Name() as owner):
            return (owner,)
    return ()


def _bound_again(node: ast.AST) -> Iterator[ast.expr]:
    """Where a variable is bound to what is made of it: ``stem = checkpoint_wrapper(stem)``."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield from (inner for inner in walk(value) if isinstance(inner, ast.Name) and inner.id == name)
