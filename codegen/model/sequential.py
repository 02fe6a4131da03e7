"""Whether an attribute always holds a plain ``nn.Sequential``, so that calling it is calling its parts in turn."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from codegen.model.facts import Facts
from codegen.model.kinds import is_tampered_with
from codegen.source.index import Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

_SEQUENTIAL = "torch.nn.Sequential"
_REGISTERING = frozenset({"add_module", "register_module", "__setattr__", "__delattr__"})
_DEEPEST = 4  # functions that call functions

_Bound = tuple[ast.expr, int | None] | None
"""A value, and which element of it; ``None`` for what cannot be read."""


def is_sequential(facts: Facts, attribute: str) -> bool:
    """Whether an attribute of ``self`` holds a plain ``nn.Sequential``, whatever its parts, and no hook is on it.

    A slice of it is one, too, and so is what a function returns that makes one in sight.
    """
    if facts.has_member(attribute) or is_tampered_with(facts, attribute):
        return False
    bound = [
        found is not None and _Made(facts, cls.module, method, attribute).is_one(*found)
        for cls in facts.lineage
        for method in cls.members.values()
        for found in _bound(method, attribute)
    ]
    return bool(bound) and all(bound)


def _bound(method: ast.stmt, attribute: str) -> Iterator[_Bound]:
    """All that a method binds an attribute of ``self`` to."""
    read: set[int] = set()
    for node in walk(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for element, bound in _elements(targets, value):
                    if dotted(element) == f"self.{attribute}":
                        read.add(id(element))
                        yield bound
            case ast.Call(func=ast.Name("setattr" | "delattr"), args=[ast.Name("self"), ast.Constant(name), *_]):
                if name == attribute:
                    yield None
            case ast.Call(func=ast.Attribute(ast.Name("self"), attr), args=[ast.Constant(name), *_]):
                if name == attribute and attr in _REGISTERING:
                    yield None
    stored = (n for n in walk(method) if isinstance(n, ast.Attribute) and not isinstance(n.ctx, ast.Load))
    for node in stored:
        if dotted(node) == f"self.{attribute}" and id(node) not in read:
            yield None


def _elements(targets: list[ast.expr], value: ast.expr) -> Iterator[tuple[ast.expr, _Bound]]:
    for target in targets:
        if isinstance(target, ast.Tuple):
            starred = any(isinstance(element, ast.Starred) for element in target.elts)
            for number, element in enumerate(target.elts):
                yield element, None if starred else (value, number)
        else:
            yield target, (value, None)


class _Made:
    """What the expressions of one function make.

    Attributes:
        facts: The class.
        module: Where the function stands.
        function: It.
        attribute: The attribute of ``self`` that is asked about; empty in a function that is no method.
        depth: How many functions call each other.
    """

    def __init__(self, facts: Facts, module: Module, function: ast.stmt, attribute: str, depth: int = 0) -> None:
        self.facts = facts
        self.module = module
        self.function = function
        self.attribute = attribute
        self.depth = depth

    def is_one(self, value: ast.expr, element: int | None = None) -> bool:
        """Whether an expression, or an element of it, is a plain ``nn.Sequential``."""
        match value:
            case ast.Tuple(elts=elements) if element is not None:
                return element < len(elements) and self.is_one(elements[element])
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_one(body, element) and self.is_one(orelse, element)
            case ast.Call(func=function):
                return self._makes(dotted(function), element)
            case ast.Name(id=name) if element is None:
                values = [*self._assigned(name)]
                return bool(values) and all(value is not None and self.is_one(*value) for value in values)
            case ast.Subscript(value=inner, slice=ast.Slice()) if element is None and self.attribute:
                return dotted(inner) == f"self.{self.attribute}"
        return False

    def _makes(self, name: str, element: int | None) -> bool:
        head, _, rest = name.partition(".")
        if not name or head in self._own:
            return False
        if element is None and self.module.origin(head, rest) == _SEQUENTIAL:
            return True
        found = self.facts.index.function(self.module, name)
        if found is None or self.depth >= _DEEPEST or found[1].decorator_list:
            return False
        inner = _Made(self.facts, *found, "", self.depth + 1)
        returned = [node.value for node in walk(found[1]) if isinstance(node, ast.Return)]
        return bool(returned) and all(value is not None and inner.is_one(value, element) for value in returned)

    def _assigned(self, name: str) -> Iterator[_Bound]:
        """All that a variable is bound to."""
        read: set[int] = set()
        for node in walk(self.function):
            if isinstance(node, ast.Assign):
                for element, bound in _elements(node.targets, node.value):
                    if isinstance(element, ast.Name) and element.id == name:
                        read.add(id(element))
                        yield bound
        for node in walk(self.function):
            match node:
                case ast.Name(id=other, ctx=ast.Store() | ast.Del()) if other == name and id(node) not in read:
                    yield None
                case ast.arg(arg=other) if other == name:
                    yield None

    @property
    def _own(self) -> set[str]:
        """The names that mean something of the function's own."""
        found = {"self"}
        for node in walk(self.function):
            match node:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                    found.add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if node is not self.function:
                    found.add(name)
                case ast.alias(name=name, asname=asname):
                    found.add(asname or name.partition(".")[0])
        return found
