"""What modules an attribute may hold, by everything that the class ever binds it to, lists and factories included."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from codegen.model.bound import ANYTHING, OPEN, Imported, bindings_of, registered_by, remembered, stored_by
from codegen.model.facts import Facts
from codegen.model.making import PARTIAL, Making, with_passed
from codegen.model.module_kind import Kind
from codegen.model.outside import Outside
from codegen.model.purity import is_library
from codegen.model.tampering import hooked, remade
from codegen.source.index import Class
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import defaults_of, positional_names
from codegen.syntax.walking import walk


def kinds_of(facts: Facts, attribute: str) -> frozenset[Kind]:
    """What modules an attribute of a class may hold; of a container what it holds. Numbers and tensors are none.

    A constructor's argument that chooses a class, ``embed_layer=PatchEmbed``, is taken to be what it is by default.
    """
    memory, key = facts.index.memory, ("kinds", id(facts.cls), attribute)
    if key in memory:
        known: frozenset[Kind] = memory[key]
        return known
    search: _Search | None = memory.get("search for kinds")
    if search is not None:
        return search.kinds_of(facts, attribute, key)
    memory["search for kinds"] = search = _Search()
    try:
        found = search.first(facts, attribute, key)
    finally:
        del memory["search for kinds"]
    memory.update(search.found)
    return found


@dataclass(eq=False)
class _Search:
    """The kinds of one attribute, and of all that they depend on, be it on each other: ``self.layers[:2]``.

    Where they do, all are found again with what is known by then, until nothing new is found.

    Attributes:
        found: What each attribute is known to hold.
        seen: The attributes that have been looked at in this round.
        open: Those of them that are not done.
        is_round: Whether one depends on itself.
        grows: Whether something new was found in this round.
    """

    found: dict[object, frozenset[Kind]] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)
    open: set[object] = field(default_factory=set)
    is_round: bool = False
    grows: bool = True

    def first(self, facts: Facts, attribute: str, key: object) -> frozenset[Kind]:
        while self.grows:
            self.grows = False
            self.seen.clear()
            found = self.kinds_of(facts, attribute, key)
            if not self.is_round:
                break
        return found

    def kinds_of(self, facts: Facts, attribute: str, key: object) -> frozenset[Kind]:
        if key in self.seen:
            self.is_round |= key in self.open
            return self.found.get(key, frozenset())
        self.seen.add(key)
        self.open.add(key)
        found = frozenset(_find(facts, attribute))
        self.open.discard(key)
        self.grows |= found != self.found.get(key)
        self.found[key] = found
        return found


def _find(facts: Facts, attribute: str) -> Iterator[Kind]:
    if attribute not in facts.values and not facts.has_member(attribute):
        yield "?"
    if {attribute, "*"} & hooked(facts):
        yield "hooked"
    outside = Outside.of(facts.index)
    if {attribute, "*"} & remade(facts):
        yield "?"
    match facts.members.get(attribute):
        case (owner, ast.Assign(value=ast.Call() as value)) if not owner.module.is_timms:  # ACTS = nn.ModuleDict(...)
            yield from Making(facts, owner.module, {}, kinds_of).of(value)
    elsewhere = Making(facts, facts.cls.module, {}, kinds_of)
    for stored_there in outside.stored.get(attribute, ()):
        yield from elsewhere.of(stored_there)
    for cls in facts.lineage:
        for method in cls.members.values():
            if isinstance(method, ast.FunctionDef):
                stored = remembered(facts, "stored", method, stored_by)
                values = [*stored.get(attribute, ())]
                if not cls.module.is_timms:  # which puts empty ones where stages are pruned
                    values += stored.get(ANYTHING, ())
                if values:
                    bound = remembered(facts, "bound", method, bindings_of)
                    if method is cls.constructor:
                        bound = {**bound, **_passed_by_children(facts, cls)}
                        bound = with_passed(facts, cls, bound)
                    made = Making(facts, cls.module, bound, kinds_of)
                    for value in values:
                        yield from made.of(value)


def _passed_by_children(facts: Facts, cls: Class) -> dict[str, list[ast.expr]]:
    """What the classes that derive from one pass to its constructor, as far as that says what modules are made.

    ``super().__init__(embed_layer=ConvStem)``. What they hand on of their own arguments is what those are by default.
    """
    memory, key = facts.index.memory, ("passed", id(facts.cls), id(cls))
    if key in memory:
        known: dict[str, list[ast.expr]] = memory[key]
        return known
    found: dict[str, list[ast.expr]] = {}
    place = facts.lineage.index(cls)
    child = next((c for c in reversed(facts.lineage[:place]) if c.constructor is not None), None)
    if child is not None and child.constructor is not None and cls.constructor is not None:
        arguments = cls.constructor.args
        names = positional_names(arguments)[1:]
        every = {*names, *(a.arg for a in arguments.kwonlyargs)}
        for name, value in _passed(child.constructor, names):
            if name in every:
                found.setdefault(name, []).extend(_of_child(facts, child, value))
    memory[key] = found = {name: values for name, values in found.items() if values}
    return found


def _passed(constructor: ast.FunctionDef, names: Sequence[str]) -> Iterator[tuple[str, ast.expr]]:
    """What a constructor passes to that of its parent: by place, by name, or by way of a dictionary."""
    for node in walk(constructor):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr="__init__"), args=args, keywords=keywords):
                given = args if isinstance(owner, ast.Call) else args[1:]
                yield from zip(names, given, strict=False)
                yield from ((k.arg, k.value) for k in keywords if k.arg is not None)
            case ast.Call(func=ast.Name("dict") | ast.Attribute(attr="update"), keywords=keywords):
                yield from ((k.arg, k.value) for k in keywords if k.arg is not None)
            case ast.Call(func=ast.Attribute(attr="setdefault"), args=[ast.Constant(str(name)), value]):
                yield name, value
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(str(name)))], value=value):
                yield name, value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, value


def _of_child(facts: Facts, child: Class, value: ast.expr) -> list[ast.expr]:
    """What a class passes to a constructor, if it may make modules; nothing for numbers."""
    assert child.constructor is not None
    match value:
        case ast.Name(id=name) if name in child.constructor_parameters:
            default = defaults_of(child.constructor.args).get(name)
            passed = _passed_by_children(facts, child).get(name, [])
            return passed or ([] if default is None else _of_child(facts, child, default))
        case ast.Call(func=function, args=[made, *_]) if dotted(function) in PARTIAL:
            return _of_child(facts, child, made)
        case ast.Lambda() | ast.IfExp():
            return [OPEN]
    path = dotted(value)
    head, _, rest = path.partition(".")
    if not path or head in child.constructor_names or head not in child.module.bindings:
        return []
    if facts.index.resolve(child.module, path) is not None:
        return [Imported(child.module.name, path)]
    return [] if is_library(child.module.origin(head, rest)) else [OPEN]


def children_of(facts: Facts) -> frozenset[Kind]:
    """What a class that derives from ``nn.Sequential`` may hold."""
    memory, key = facts.index.memory, ("children", id(facts.cls))
    if key not in memory:
        memory[key] = frozenset({"?"})
        found: set[Kind] = set()
        for cls in facts.lineage:
            for method in cls.members.values():
                if isinstance(method, ast.FunctionDef):
                    made = Making(facts, cls.module, remembered(facts, "bound", method, bindings_of), kinds_of)
                    found.update(kind for value in registered_by(method) for kind in made.of(value))
        if facts.method("__init__") is None and not facts.cls.module.is_timms:
            found.add("?")  # its parts are arguments of the call that makes it
        memory[key] = frozenset(found)
    kinds: frozenset[Kind] = memory[key]
    return kinds
