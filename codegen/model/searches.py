"""Whether code that makes a model puts something into a part of it that it finds by a search.

``next(m for m in self.modules() if isinstance(m, nn.Sequential)).append(Noting())``: which part that is, nobody can
read, and so each of them may hold more than its class says.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.source.stores import PUTS, makes_container
from codegen.syntax.dataflow import dotted
from codegen.syntax.parameters import positional_names
from codegen.syntax.walking import children, walk

_LOOKS = frozenset(
    {"len", "isinstance", "hasattr", "range", "sum", "any", "all", "int", "str", "id", "print", "super"}
    | {"type", "state_dict", "parameters", "named_parameters", "buffers", "named_buffers"}
)
"""Functions and methods that give no part of what they are given."""
_HOLDING = frozenset({"_modules", "__dict__"})

Function = ast.FunctionDef | ast.Lambda


def puts_by_search(facts: Facts, made: Collection[ast.AST]) -> bool:
    """Whether code puts what may be a module into a part of a model that it does not name.

    Args:
        facts: The model's class.
        made: The code that runs when a model is made. Of methods of the model ``self`` is one, of other functions
            what these pass on to them.
    """
    inside = {id(node) for code in made for node in walk(code)}
    own = [(c.module, m) for c in facts.lineage for m in c.members.values() if isinstance(m, ast.FunctionDef)]
    pending: list[tuple[Module, Function, frozenset[str]]] = [
        (module, method, frozenset({"self"})) for module, method in own if id(method) in inside
    ]
    done = set()
    while pending:
        module, function, given = pending.pop()
        if (id(function), given) in done:
            continue
        done.add((id(function), given))
        parts = _Parts.of(facts, function, given)
        made_here = {"self", *_lists(function)}
        for node in walk(function):
            if any(parts.has(holder) for holder in _holders(node) if dotted(holder) not in made_here):
                return True
            if isinstance(node, ast.Call):
                pending += _passed_on(parts, module, node)
    return False


def _passed_on(parts: _Parts, module: Module, call: ast.Call) -> Iterator[tuple[Module, Function, frozenset[str]]]:
    """The functions that a call passes parts to, or hands on together with parts, and the parameters that take them."""
    values = [*enumerate(call.args), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    given = {place for place, value in values if parts.has(value)}
    for where, function in _functions(parts.facts, module, call.func):
        names = positional_names(function.args)
        taken = {name for number, name in enumerate(names) if number in given or name in given}
        yield where, function, frozenset(taken)
    owner = isinstance(call.func, ast.Attribute) and parts.has(call.func.value)
    for value in [value for _, value in values] if given or owner else []:  # self.apply(add)
        for where, function in _functions(parts.facts, module, value):
            yield where, function, frozenset(positional_names(function.args))


def _functions(facts: Facts, module: Module, node: ast.expr) -> Iterator[tuple[Module, Function]]:
    if isinstance(node, ast.Lambda):
        yield module, node
    found = facts.index.function(module, dotted(node)) if dotted(node) else None
    if found is not None:
        yield found


def _lists(function: Function) -> set[str]:
    """The variables of a function that only ever hold a list or the like which it makes, whatever is in it."""
    stored = Counter(n.id for n in walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    made: Counter[str] = Counter()
    for node in walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if makes_container(value):
                made[name] += 1
            case ast.AugAssign(target=ast.Name(id=name)):  # it stays what it is
                made[name] += 1
    taken = {node.arg for node in walk(function.args) if isinstance(node, ast.arg)}
    return {name for name, times in made.items() if stored[name] == times} - taken


def _holders(node: ast.AST) -> Iterator[ast.expr]:
    """What something that may be a module is put into, where that is not named as an attribute of something."""
    match node:
        case ast.Call(func=ast.Attribute(value=holder, attr=attr), args=[*before, value]) if attr in PUTS:
            holders = [holder, *before[:1]]  # nn.Sequential.append(part, Noting())
        case ast.Assign(targets=targets, value=value):
            holders = [target.value for target in targets if isinstance(target, ast.Subscript)]
        case ast.AugAssign(target=target, op=ast.Add(), value=value):
            holders = [target]
        case _:
            return
    if any(isinstance(inner, ast.Name | ast.Attribute | ast.Call | ast.Lambda) for inner in walk(value)):
        yield from (holder for holder in holders if not isinstance(holder, ast.Attribute) or holder.attr in _HOLDING)


@dataclass(frozen=True)
class _Parts:
    """Which expressions of a function may give a part of a model, or what holds such.

    Attributes:
        facts: The model's class.
        names: The variables that may hold one.
        depth: How many methods call each other to find it.
    """

    facts: Facts
    names: frozenset[str]
    depth: int = 0

    @staticmethod
    def of(facts: Facts, function: Function, given: frozenset[str], depth: int = 0) -> _Parts:
        """Those of a function some parameters of which are ``given`` a part."""
        found = _Parts(facts, given, depth)
        nodes = list(walk(function))
        while more := frozenset(name for node in nodes for name in found._bound(node)) - found.names:
            found = _Parts(facts, found.names | more, depth)
        return found

    def _bound(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                targets = [target]
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                targets = [target]
            case _:
                return
        if self.has(value):
            names = (n for target in targets for n in walk(target) if isinstance(n, ast.Name))
            yield from (name.id for name in names if isinstance(name.ctx, ast.Store))

    def has(self, node: ast.expr) -> bool:
        """Whether an expression may give one."""
        match node:
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(value=owner) | ast.Subscript(value=owner) | ast.Starred(value=owner):
                return self.has(owner)
            case ast.Call(func=ast.Attribute(ast.Name("self"), attr)) if method := self.facts.method(attr):
                return self.depth > _DEPTH or self._gives(method[1])
            case ast.Call(func=function, args=args, keywords=keywords):
                name = dotted(function).rpartition(".")[2]
                if name in _LOOKS or name[:1].isupper():
                    return False
                owner = function.value if isinstance(function, ast.Attribute) else function
                return any(map(self.has, [owner, *args, *(keyword.value for keyword in keywords)]))
            case ast.GeneratorExp(generators=loops) | ast.ListComp(generators=loops) | ast.SetComp(generators=loops):
                return any(self.has(loop.iter) for loop in loops)
            case ast.DictComp(generators=loops):
                return any(self.has(loop.iter) for loop in loops)
            case ast.BoolOp() | ast.IfExp() | ast.List() | ast.Tuple() | ast.Dict() | ast.NamedExpr():
                return any(self.has(part) for part in children(node) if isinstance(part, ast.expr))
        return False

    def _gives(self, method: ast.FunctionDef) -> bool:
        inside = _Parts.of(self.facts, method, frozenset({"self"}), self.depth + 1)
        values = [n.value for n in walk(method) if isinstance(n, ast.Return | ast.Yield | ast.YieldFrom) and n.value]
        return any(map(inside.has, values))


_DEPTH = 3  # of methods that call each other to find a part
