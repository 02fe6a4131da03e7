"""Whether the stages use others of some numbered attributes than the embedding, ``getattr(self, f"stem{i + 1}")``.

They do where each of their numbers is greater than those of the embedding: a number that is written out, or one that
counts rounds of which the code has asked, ``if i > 0``, or which begin there, ``for i in range(1, 4)``.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.split.crossing import Crossing
from codegen.syntax.bindings import bound_names
from codegen.syntax.computed_names import MARK
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import children, walk

_Least = Mapping[str, int]
"""Variables that count rounds, with the least number that each may be."""
_SCOPES = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.comprehension, ast.NamedExpr)


def use_others(facts: Facts, crossing: Crossing, attribute: str) -> bool:
    """Whether no numbered attribute that the embedding uses is one of those that the stages use.

    Args:
        facts: The class.
        crossing: The halves.
        attribute: The name that stands for the attributes, ``patch_embed·``.
    """
    called = {name for statement in crossing.stages for name in facts.calls(statement.tree)}
    methods = [found[1] for name in called if (found := facts.method(name)) is not None]
    if any(attribute in facts.runs(method) for method in methods):
        return False
    first = list(_Uses(facts.cls.module, attribute, [s.written for s in crossing.embed], counts=False).all())
    later = list(_Uses(facts.cls.module, attribute, [s.written for s in crossing.stages]).all())
    greatest = max((number for number in first if number is not None), default=None)
    if greatest is None or None in first:
        return False
    return all(number is not None and number > greatest for number in later)


@dataclass(frozen=True)
class _Uses:
    """Where statements use numbered attributes.

    Attributes:
        module: The file that they stand in.
        attribute: The name that stands for the attributes.
        trees: The statements.
        counts: Whether a number may be one that counts rounds; else it is one that is written out.
        standing: Variables that stand for one attribute each, for what follows in a block, with its number.
    """

    module: Module
    attribute: str
    trees: Sequence[ast.stmt]
    counts: bool = True
    standing: dict[str, ast.expr] = field(default_factory=dict)

    def all(self) -> Iterator[int | None]:
        """The least that the number of each use may be, or its number; ``None`` where that is not known."""
        yield from self._block(self.trees, {})

    def _block(self, statements: Sequence[ast.stmt], least: _Least) -> Iterator[int | None]:
        outer = set(self.standing)
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[_, key]) as call) if (
                    name in self._aliases and dotted(call.func) == "getattr"
                ):
                    if self._number(key, least) is not None:  # by a variable that no inner loop binds
                        self.standing[name] = key
                case ast.For(iter=iterable, body=body, orelse=orelse):
                    yield from self._inside(iterable, least)
                    yield from self._block(body, _counted(self.module, statement, least) if self.counts else {})
                    yield from self._block(orelse, least)
                case ast.If(test=test, body=body, orelse=orelse):
                    yield from self._inside(test, least)
                    yield from self._block(body, {**least, **_asked(test, least)})
                    yield from self._block(orelse, least)
                case _:
                    yield from self._inside(statement, least)
        for name in self.standing.keys() - outer:
            del self.standing[name]

    @cached_property
    def _aliases(self) -> frozenset[str]:
        """Variables that are bound once, to one of the attributes: ``stem = getattr(self, f"stem{i}")``."""
        bound = [name for tree in self.trees for name in bound_names(tree)]
        return frozenset(
            node.targets[0].id
            for tree in self.trees
            for node in walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and bound.count(node.targets[0].id) == 1
            and isinstance(node.value, ast.Call)
            and self._is_looked_up(node.value)
        )

    def _is_looked_up(self, call: ast.Call) -> bool:
        match call:
            case ast.Call(func=ast.Name("getattr"), args=[ast.Name("self"), ast.JoinedStr() as key], keywords=[]):
                return self._part(key) is not None
        return False

    def _inside(self, node: ast.AST, least: _Least) -> Iterator[int | None]:
        """The uses in an expression, or in a statement whose blocks are not told apart."""
        if isinstance(node, _SCOPES):  # it may run later, and has variables of its own
            yield from (None for inner in walk(node) for _ in self._of(inner, {}))
            return
        yield from self._of(node, least)
        for child in children(node):
            yield from self._inside(child, least)

    def _of(self, node: ast.AST, least: _Least) -> Iterator[int | None]:
        """The use that a node is by itself."""
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in self._aliases:
                yield self._number(self.standing[name], least) if name in self.standing else None
            case ast.Attribute(value=ast.Name("self"), attr=attr):
                yield from self._named(attr)
            case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[ast.Name("self"), key, *_]):
                match key:
                    case ast.Constant(value=str(attr)):
                        yield from self._named(attr)
                    case ast.JoinedStr() if self._part(key) is None and self._begins_otherwise(key):
                        return
                    case _:
                        yield self._number(key, least)

    def _named(self, attr: str) -> Iterator[int]:
        prefix, suffix = map(re.escape, self.attribute.split(MARK))
        if found := re.fullmatch(f"{prefix}(-?[0-9]+){suffix}", attr):
            yield int(found[1])

    def _part(self, key: ast.JoinedStr) -> ast.FormattedValue | None:
        """The number in the computed name of one of the attributes; ``None`` in that of something else."""
        texts = [part.value if isinstance(part, ast.Constant) else MARK for part in key.values]
        parts = [part for part in key.values if isinstance(part, ast.FormattedValue)]
        return parts[0] if "".join(map(str, texts)) == self.attribute and len(parts) == 1 else None

    def _begins_otherwise(self, key: ast.JoinedStr) -> bool:
        prefix = self.attribute.split(MARK)[0]
        match key.values:
            case [ast.Constant(value=str(begin)), *_]:
                return not (begin.startswith(prefix) or prefix.startswith(begin))
        return False

    def _number(self, key: ast.expr, least: _Least) -> int | None:
        part = self._part(key) if isinstance(key, ast.JoinedStr) else None
        plain = part is not None and part.conversion == -1 and part.format_spec is None
        return _least(part.value, least) if part is not None and plain else None


def _least(value: ast.expr, least: _Least) -> int | None:
    """The least that a number may be; ``None`` where that is not known."""
    match value:
        case ast.Constant(value=number) if type(number) is int:
            return number
        case ast.Name(id=name):
            return least.get(name)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = _least(left, least), _least(right, least)
            return None if both[0] is None or both[1] is None else operator.add(*both)
        case ast.BinOp(left=left, op=ast.Sub(), right=ast.Constant(value=number)) if type(number) is int:
            found = _least(left, least)
            return None if found is None else found - number
    return None


def _counted(module: Module, loop: ast.For, least: _Least) -> _Least:
    """What variables are at least in the body of a loop, where that does not bind them itself."""
    inside = {name for inner in loop.body for name in bound_names(inner)}
    bound = inside.union(bound_names(loop.target))
    outer = {name: number for name, number in least.items() if name not in bound}
    match loop.target, loop.iter:
        case ast.Name(id=name), ast.Call(func=ast.Name("range" as function), args=[_], keywords=[]):
            begin: int | None = 0
        case ast.Name(id=name), ast.Call(func=ast.Name("range" as function), args=[first, _], keywords=[]):
            begin = _least(first, {})
        case (
            ast.Tuple(elts=[ast.Name(id=name), _]),
            ast.Call(func=ast.Name("enumerate" as function), args=[_], keywords=[]),
        ):
            begin = 0
        case _:
            return outer
    known = begin is not None and name not in inside and module.origin(function) == function
    return {**outer, name: begin} if known and begin is not None else outer


def _asked(test: ast.expr, least: _Least) -> _Least:
    """What variables are at least where a question is answered yes."""
    match test:
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Gt()], comparators=[ast.Constant(value=int(number))]):
            return {name: max(least[name], number + 1)} if name in least else {}
        case ast.Compare(left=ast.Name(id=name), ops=[ast.GtE()], comparators=[ast.Constant(value=int(number))]):
            return {name: max(least[name], number)} if name in least else {}
    return {}
