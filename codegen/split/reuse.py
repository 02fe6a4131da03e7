"""Whether an embedding may be used more than once: several masks of it, several heads on it.

The stages may not change in place what they are given, nor use up what can be gone through once alone. That is asked of
their own statements and of all code that they run; a layer that cannot be read is believed to leave its input alone,
as the blocks of a residual stream have to, and to give something new.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.effects import Effects, effects_in
from codegen.model.effects_of_calls import Handed
from codegen.model.facts import Facts
from codegen.model.module_kind import Kind
from codegen.model.places import ANY, Place, Value
from codegen.source.index import Class, Index, Module
from codegen.split.crossing import Crossing
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.walking import walk
from codegen.types import Field

_NUMBERS = ("int", "float", "bool", "str", "tuple[int", "Tuple[int")
"""How the types begin of what nobody can change in place."""


def check_reuse(facts: Facts, crossing: Crossing, before: Effects, fields: Sequence[Field]) -> None:
    """Refuse stages after which the embedding is not what it was. What timm's own stages do is left to its callers.

    Args:
        facts: The class.
        crossing: The halves.
        before: What the first does.
        fields: What crosses, with its types.

    Raises:
        Unsound: At the statement that changes it.
    """
    found = facts.method(facts.index.method)
    if found is None or all(cls.module.is_timms for cls in facts.lineage):
        return
    trees = [statement.tree for statement in crossing.embed]
    for name in crossing.fields:
        node = next((tree for tree in reversed(trees) if name in bound_names(tree)), trees[-1])
        if isinstance(node, ast.Assign) and _is_used_up(facts, found[0].module, node.value, 0):
            raise Unsound(node, f"`{name}` crosses and is an iterator: an embedding may be used more than once")
    for part in (part for tree in trees for part in walk(tree)):
        match part:
            case ast.Attribute(value=ast.Name(id=name), attr=attr, ctx=ast.Store()) if name == crossing.fields[0]:
                raise Unsound(
                    part, f"`{name}.{attr}` is set on the tokens, and lost where rows of them are selected or masked"
                )
    values = {name: value for name, value in before.values.items() if isinstance(value, Value)}
    given = {f.name: values.get(f.name, Value()) for f in fields if not f.annotation.startswith(_NUMBERS)}
    made = {
        name for name, value in given.items() if not value.places and any(isinstance(k, Class) for k in value.kinds)
    }
    state = {**values, **{n: v._replace(places=v.places | {Place("argument", n)}) for n, v in given.items()}}
    walked = _Walk(
        facts.index, facts.cls.module, facts, None, crossing.stages_parameters, frozenset(given), frozenset(made)
    )
    for name, node in walked.changes([statement.tree for statement in crossing.stages], state):
        what = "is the embedding" if len(crossing.fields) == 1 else "crosses"
        raise Unsound(
            node,
            f"`{name}` {what}, and as far as can be told the stages change it in place: an embedding may be used more "
            "than once",
        )


_State = dict[str, Value]
_RETURNED = "return"
"""Stands for a variable that holds what a function gives back."""


@dataclass(frozen=True)
class _Walk:
    """A walk over statements, in their order, with what each variable may hold.

    Attributes:
        index: The files.
        module: Where they stand.
        facts: The class whose method they are of, if any.
        home: The one that defines it.
        parameters: Those of the method that they take.
        given: What they may not change.
        made: That of it which is an object of a user's class, made by the embedding.
    """

    index: Index
    module: Module
    facts: Facts | None
    home: Class | None
    parameters: Sequence[str]
    given: frozenset[str]
    made: frozenset[str]

    def changes(self, statements: Sequence[ast.stmt], state: _State) -> Iterator[tuple[str, ast.stmt]]:
        """What statements change, and which does; ``state`` becomes what the variables hold after them."""
        for node in statements:
            match node:
                case ast.For(target=target, iter=iterable, body=body, orelse=orelse):  # it has a round
                    yield from self._one(ast.For(target, iterable, [ast.Pass()], []), node, state)
                    yield from self.changes([*body, *body, *orelse], state)  # what one leaves, the next finds
                case ast.If(test=test, body=body, orelse=orelse):
                    yield from self._one(ast.Assert(test), node, state)
                    other = dict(state)
                    yield from self.changes(body, state)
                    yield from self.changes(orelse, other)
                    state |= {name: state.get(name, value) | value for name, value in other.items()}
                case ast.With(items=items, body=body):
                    yield from self._one(ast.With(items, [ast.Pass()]), node, state)
                    yield from self.changes(body, state)
                case ast.Return():
                    yield from self._back(node, state)
                case _:
                    yield from self._one(node, node, state)
                    for inner in walk(node) if isinstance(node, ast.While | ast.Try | ast.Match) else ():
                        yield from self._back(inner, state) if isinstance(inner, ast.Return) else ()

    def _back(self, node: ast.Return, state: _State) -> Iterator[tuple[str, ast.stmt]]:
        """What the evaluation of what is returned changes; it is one of what is given back."""
        before = state.get(_RETURNED, Value())
        if node.value is not None:
            yield from self._one(ast.Assign([ast.Name(_RETURNED, ast.Store())], node.value), node, state)
        state[_RETURNED] = state.get(_RETURNED, Value()) | before

    def _one(self, node: ast.stmt, where: ast.stmt, state: _State) -> Iterator[tuple[str, ast.stmt]]:
        found = effects_in(
            self.index, self.module, self.facts, [node], self.parameters, Effects(values=state), self.read, self.home
        )
        named = {place.name for place in found.changes if place.kind == "argument"}
        changed = self.given if ANY in named else named & self.given  # by a function that is handed on, or a lambda
        changed |= {place.name for place in found.writes if place.kind == "argument"} & self.made
        yield from ((name, where) for name in sorted(changed))
        state |= {name: value for name, value in found.values.items() if isinstance(value, Value)}

    def read(
        self, module: Module, function: ast.FunctionDef, cls: Class | None, kinds: Mapping[str, frozenset[Kind]]
    ) -> Handed:
        """What a function does to what it is given; nothing while it is being read, as part of itself."""
        key, memory = ("handed", id(function), id(cls), frozenset(kinds.items())), self.index.memory
        if key not in memory:
            memory[key] = Handed()
            memory[key] = self._read(module, function, cls, kinds)
        found: Handed = memory[key]
        return found

    def _read(
        self, module: Module, function: ast.FunctionDef, cls: Class | None, kinds: Mapping[str, frozenset[Kind]]
    ) -> Handed:
        args = function.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
        names = frozenset(argument.arg for argument in every)
        facts = None if cls is None else Facts.of(self.index, cls)
        home = None if facts is None else next((c for c in facts.lineage if function in c.members.values()), None)
        own = names if facts is None else names - {"self"}
        state = {name: Value(frozenset({Place("argument", name)}), kinds=kinds.get(name, frozenset())) for name in own}
        inside = _Walk(self.index, module, facts, home, (), own, frozenset())
        changed = frozenset(name for name, _ in inside.changes(function.body, state))
        back = {place.name for place in state.get(_RETURNED, Value()).all if place.kind == "argument"}
        return Handed(changed, frozenset(back) & own)


_ITERATORS = frozenset(
    {"zip", "iter", "enumerate", "map", "filter", "reversed", "children", "modules", "parameters", "buffers"}
    | {"named_children", "named_modules", "named_parameters", "named_buffers"}
)


def _is_used_up(facts: Facts, module: Module, node: ast.expr, depth: int) -> bool:
    """Whether an expression gives what can be gone through once alone, or holds it."""
    match node:
        case ast.GeneratorExp():
            return True
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return any(_is_used_up(facts, module, part, depth) for part in parts)
        case ast.IfExp(body=body, orelse=orelse):
            return any(_is_used_up(facts, module, part, depth) for part in (body, orelse))
        case ast.Call(func=function):
            return _gives_iterator(facts, module, function, depth)
    return False


def _gives_iterator(facts: Facts, module: Module, function: ast.expr, depth: int) -> bool:
    name = dotted(function)
    method = facts.method(name.removeprefix("self.")) if name.startswith("self.") else None
    own = (method[0].module, method[1]) if method is not None else facts.index.function(module, name) if name else None
    if own is not None:
        nodes = list(walk(own[1]))
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in nodes):
            return True
        values = [inner.value for inner in nodes if isinstance(inner, ast.Return) and inner.value is not None]
        return depth < _DEPTH and any(_is_used_up(facts, own[0], value, depth + 1) for value in values)
    cls = facts.index.resolve(module, name) if name else None
    if cls is not None:
        return Facts.of(facts.index, cls).has_member("__next__")
    return name.rpartition(".")[2] in _ITERATORS or name.startswith("itertools.")


_DEPTH = 4  # of functions that call each other
