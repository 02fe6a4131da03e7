"""Which calls make what an attribute holds, followed through functions that return several things.

:mod:`codegen.model.kinds` says what modules may run. Here it is the module itself that counts, be it a container.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.model.module_kind import is_believed
from codegen.model.tampering import is_tampered_with
from codegen.source.index import Class, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

_SEQUENTIAL = "torch.nn.Sequential"
_REGISTERING = frozenset({"add_module", "register_module", "__setattr__", "__delattr__"})
_DEEPEST = 4  # functions that call functions

_Bound = tuple[ast.expr, int | None] | None
"""A value, and which element of it; ``None`` for what cannot be read."""


@dataclass(frozen=True)
class Maker:
    """What is called to make a module.

    Attributes:
        name: As it is written.
        origin: Its full name; empty where it has none.
        own: Whether the name is the function's own, as that of an argument is.
        cls: Its class, if the release has it.
        is_chosen: Whether it is what a constructor of timm is given to choose from, and is believed to be what its name
            says.
    """

    name: str
    origin: str
    own: bool
    cls: Class | None
    is_chosen: bool


def makers_of(facts: Facts, attribute: str) -> frozenset[Maker] | None:
    """What makes all that an attribute of ``self`` ever holds; ``None`` where that is not known, or has hooks on it.

    A slice of it is made as it is.
    """
    if facts.has_member(attribute) or is_tampered_with(facts, attribute):
        return None
    found: set[Maker] = set()
    for cls in facts.lineage:
        for method in cls.members.values():
            for bound in _bound(method, attribute):
                made = _Made(facts, cls.module, method, attribute)
                several = [None] if bound is None else [*made.by(*bound)]
                if None in several:
                    return None
                found |= {maker for maker in several if maker is not None}
    return frozenset(found) or None


def is_sequential(facts: Facts, attribute: str) -> bool:
    """Whether an attribute of ``self`` holds a plain ``nn.Sequential``, whatever its parts, and no hook is on it."""
    makers = makers_of(facts, attribute)
    return makers is not None and all(maker.origin == _SEQUENTIAL for maker in makers)


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

    def by(self, value: ast.expr, element: int | None = None) -> Iterator[Maker | None]:
        """What makes an expression, or an element of it; ``None`` for what cannot be read."""
        match value:
            case ast.Tuple(elts=elements) if element is not None and element < len(elements):
                yield from self.by(elements[element])
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self.by(body, element), *self.by(orelse, element))
            case ast.Call(func=function) if dotted(function):
                yield from self._called(dotted(function), element)
            case ast.Name(id=name) if element is None:
                values = [*self._assigned(name)] or [None]
                for bound in values:
                    yield from (None,) if bound is None else self.by(*bound)
            case ast.Subscript(value=inner, slice=ast.Slice()) if element is None and self.attribute:
                if dotted(inner) != f"self.{self.attribute}":
                    yield None
            case _:
                yield None

    def _called(self, name: str, element: int | None) -> Iterator[Maker | None]:
        head, _, rest = name.partition(".")
        own = head in self._own
        found = None if own else self.facts.index.function(self.module, name)
        if found is not None and self.depth < _DEEPEST and not found[1].decorator_list:
            inner = _Made(self.facts, *found, "", self.depth + 1)
            for node in walk(found[1]):
                if isinstance(node, ast.Return):
                    yield from (None,) if node.value is None else inner.by(node.value, element)
        elif element is not None or found is not None:
            yield None
        else:
            cls = None if own else self.facts.index.resolve(self.module, name)
            origin = "" if own else self.module.origin(head, rest)
            yield Maker(name, origin, own, cls, own and is_believed(self.module, name.rpartition(".")[2]))

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
