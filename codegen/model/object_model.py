"""What code of a class Python runs by itself: where objects are made, attributes read and bound, operations applied."""

from __future__ import annotations

import ast

from codegen.model.facts import Facts
from codegen.model.purity import is_pure
from codegen.source.index import Class, Index
from codegen.syntax.dataflow import dotted

_TRAPS = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__delattr__"})
"""Methods that give access to attributes a meaning of its own."""
PLAIN = frozenset({"bool", "bytes", "dict", "float", "frozenset", "int", "list", "range", "set", "str", "tuple"})
"""Functions of Python that make numbers, texts and containers."""


def has_trap(facts: Facts) -> bool:
    """Whether a class gives access to attributes a meaning of its own, or its objects keep them in one dictionary."""
    return not facts.members.keys().isdisjoint(_TRAPS) or "__dict__" in facts.values


def is_descriptor(index: Index, facts: Facts, attribute: str) -> bool:
    """Whether code may run where an attribute is read or bound: ``count = property(...)``, ``one = Counting()``."""
    owner = next((cls for cls in facts.lineage if attribute in cls.members), None)
    return owner is not None and _describes(index, owner, owner.members[attribute], frozenset())


def _describes(index: Index, owner: Class, member: ast.stmt, seen: frozenset[str]) -> bool:
    """Whether a member of a class, or the global that it is, is an object that sees how it is read and bound."""
    value = member.value if isinstance(member, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Name) and value.id not in seen:  # total = count
        other = owner.members.get(value.id)
        if isinstance(other, ast.FunctionDef):
            return bool(other.decorator_list)
        nodes = owner.module.bindings.get(value.id, ()) if other is None else [other]
        return any(_describes(index, owner, node, seen | {value.id}) for node in nodes)
    if not isinstance(value, ast.Call):
        return False
    cls = index.resolve(owner.module, dotted(value.func))
    if cls is not None:
        return any(Facts.of(index, cls).has_member(name) for name in ("__get__", "__set__", "__delete__"))
    origin = owner.module.origin_of(value.func)
    return not (is_pure(origin) or origin in PLAIN)


def is_property(facts: Facts, attribute: str) -> bool:
    found = facts.method(attribute)
    if found is None:
        return False
    return any(
        dotted(decorator).rpartition(".")[2] in ("property", "setter", "cached_property")
        for decorator in found[1].decorator_list
    )


def is_made_by_its_constructor(facts: Facts) -> bool:
    """Whether to make an object of a class runs its ``__init__`` alone, and nothing runs when it dies."""
    return _has_plain_metaclass(facts) and not any(
        facts.has_member(name) for name in ("__new__", "__post_init__", "__del__")
    )


def _has_plain_metaclass(facts: Facts) -> bool:
    metaclasses = [k.value for cls in facts.lineage for k in cls.node.keywords if k.arg == "metaclass"]
    return all(dotted(metaclass).rpartition(".")[2] == "ABCMeta" for metaclass in metaclasses)


def is_operated_on(facts: Facts, methods: frozenset[str]) -> bool:
    """Whether an operation on a class itself runs code of it, or of its metaclass: ``Registry["name"]``."""
    return ("__getitem__" in methods and facts.has_member("__class_getitem__")) or not _has_plain_metaclass(facts)


def may_be_called_by_torch(name: str, member: ast.stmt) -> bool:
    """Whether a class that derives from a module of torch may stand in for a part of it: ``_conv_forward``."""
    hidden = name.startswith("_") and not name.startswith("__")
    return isinstance(member, ast.FunctionDef) and (hidden or bool(member.decorator_list))
