"""Whether an embedding may be used more than once: several masks of it, several heads on it.

The stages may not change in place what they are given, nor use up what can be gone through once alone. That is asked of
their own statements; the modules that they run are believed to leave their input alone, as those of a residual stream
have to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.model.effects import Effects, effects
from codegen.model.facts import Facts
from codegen.model.places import Place, Value
from codegen.source.index import Class, Module
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
    if found is None or found[0].module.is_timms:
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
    state = {**values, **{n: replace(v, places=v.places | {Place("argument", n)}) for n, v in given.items()}}
    walked = _Stages(facts, crossing.stages_parameters, frozenset(given), frozenset(made))
    for name, node in walked.changes([statement.tree for statement in crossing.stages], state):
        what = "is the embedding" if len(crossing.fields) == 1 else "crosses"
        raise Unsound(
            node, f"`{name}` {what}, and the stages change it in place: an embedding may be used more than once"
        )


_State = dict[str, Value]


@dataclass(frozen=True)
class _Stages:
    """A walk over the stages, in their order, with what each variable may hold.

    Attributes:
        facts: The class.
        parameters: Those of the method that the stages take.
        given: What crosses.
        made: That of it which is an object of a user's class, made by the embedding.
    """

    facts: Facts
    parameters: Sequence[str]
    given: frozenset[str]
    made: frozenset[str]

    def changes(self, statements: Sequence[ast.stmt], state: _State) -> Iterator[tuple[str, ast.stmt]]:
        """What statements change, and which does; ``state`` becomes what the variables hold after them."""
        for node in statements:
            match node:
                case ast.For(target=target, iter=iterable, body=body, orelse=orelse):  # it has a round
                    yield from self._one(ast.For(target, iterable, [ast.Pass()], []), node, state)
                    yield from self.changes([*body, *orelse], state)
                case ast.If(test=test, body=body, orelse=orelse):
                    yield from self._one(ast.Expr(test), node, state)
                    other = dict(state)
                    yield from self.changes(body, state)
                    yield from self.changes(orelse, other)
                    state |= {name: state.get(name, value) | value for name, value in other.items()}
                case ast.With(items=items, body=body):
                    yield from self._one(ast.With(items, [ast.Pass()]), node, state)
                    yield from self.changes(body, state)
                case _:
                    yield from self._one(node, node, state)

    def _one(self, node: ast.stmt, where: ast.stmt, state: _State) -> Iterator[tuple[str, ast.stmt]]:
        found = effects(self.facts, [node], self.parameters, Effects(values=state), shallow=True)
        changed = {place.name for place in found.changes if place.kind == "argument"} & self.given
        changed |= {place.name for place in found.writes if place.kind == "argument"} & self.made
        yield from ((name, where) for name in sorted(changed))
        state |= {name: value for name, value in found.values.items() if isinstance(value, Value)}


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
