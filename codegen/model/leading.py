"""Whether the first parts of a container of blocks give the tokens their position, before any block of it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.model.facts import Facts, Role
from codegen.model.kinds import kinds_of
from codegen.model.library import SHAPE_KEEPING_MODULES
from codegen.model.module_kind import CONTAINERS
from codegen.source.index import Class
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk


def leading_position(facts: Facts, attribute: str) -> str:
    """The class of a leading part that gives a position, empty if there is none.

    Blocks that each give one, as relative positions are given, are blocks.

    Args:
        facts: The model's class.
        attribute: What holds the blocks, ``blocks``, or a part of it, ``blocks.0``.
    """
    head, _, number = attribute.partition(".")
    containers = _containers(facts, head)
    if containers is None:
        kinds = [kind for kind in kinds_of(facts, head) if isinstance(kind, Class)]
        found = [kind.name for kind in kinds if _is_position(Facts.of(facts.index, kind))]
        return min(found, default="") if len(found) < len(kinds) else ""
    first = int(number) if number.isdigit() else 0
    return next((name for parts in containers if (name := _leading(facts, head, parts, first))), "")


def _leading(facts: Facts, head: str, parts: Sequence[ast.Call], first: int) -> str:
    for part in parts[first:]:
        cls = facts.index.resolve(facts.home(part).module, dotted(part.func))
        if cls is not None:
            gives = _gives_position(Facts.of(facts.index, cls))
            others = [other for other in parts if dotted(other.func) != dotted(part.func)]
            leads = gives and (others or _is_told_its_place(facts, head, part))
            whole = any(part is made for made in facts.constructors(head))  # no container
            return cls.name if leads or (whole and _adds_before_blocks(Facts.of(facts.index, cls))) else ""
        if dotted(part.func).rpartition(".")[2] not in SHAPE_KEEPING_MODULES:
            return ""
    return ""


def _adds_before_blocks(facts: Facts) -> bool:
    """Whether a module that runs blocks of its own, as torchvision's ``encoder``, may give a position before them."""
    forward = facts.method("forward")
    if forward is None or Role.BLOCK not in map(facts.role, facts.runs(forward[1])):
        return False
    for statement in forward[1].body:
        first = Role.BLOCK in map(facts.role, facts.runs(statement))
        if not (first and isinstance(statement, ast.For | ast.While)) and _adds(facts, statement):
            return True
        if first:
            return False
    return False


def _adds(facts: Facts, code: ast.AST, depth: int = 3) -> bool:
    """Whether code adds something that is no number, itself or in a method or a module that it runs."""
    for node in walk(code):
        match node:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                if not any(isinstance(side, ast.Constant) for side in (left, right)):
                    return True
            case ast.AugAssign(op=ast.Add(), value=value):
                if not isinstance(value, ast.Constant):
                    return True
            case ast.Call(func=function) if dotted(function).rpartition(".")[2] in ("add", "add_", "sum"):
                return True
    found = [method for name in facts.calls(code) if (method := facts.method(name)) is not None]
    if depth and any(_adds(facts, method[1], depth - 1) for method in found):
        return True
    runs = [attribute for attribute in facts.runs(code) if facts.role(attribute) is not Role.BLOCK]
    kinds = [kind for attribute in runs for kind in kinds_of(facts, attribute) if isinstance(kind, Class)]
    return Role.POSITION in map(facts.role, runs) or any(_gives_position(Facts.of(facts.index, k)) for k in kinds)


def _is_position(facts: Facts) -> bool:
    """Whether a module does no more than to add a position."""
    forward = facts.method("forward")
    beside = {Role.POSITION, Role.PARAMETER, Role.DROPOUT}
    return forward is not None and _gives_position(facts) and beside.issuperset(map(facts.role, facts.runs(forward[1])))


def _gives_position(facts: Facts) -> bool:
    """Whether a module adds a position, by name, or a parameter or buffer of its own."""
    forward = facts.method("forward")
    if forward is None or facts.runs_position:
        return forward is not None
    sums = (node for node in walk(forward[1]) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add))
    terms = (term.value if isinstance(term, ast.Subscript) else term for s in sums for term in (s.left, s.right))
    return any(isinstance(t, ast.Attribute) and facts.is_attribute(t) and facts.is_parameter(t.attr) for t in terms)


def _containers(facts: Facts, attribute: str) -> Sequence[Sequence[ast.Call]] | None:
    """The calls that make the parts of each container that an attribute may hold; ``None`` if they are not in sight."""
    if attribute in facts.altered | facts.replaced:
        return None
    made = [list(_listed(facts, call)) for call in facts.constructors(attribute)]
    if any(part is None for parts in made for part in parts):
        return None
    put = list(facts.put(attribute))
    return [[*(part for part in parts if part is not None), *put] for parts in made or [[]]]


def _listed(facts: Facts, call: ast.Call) -> Iterator[ast.Call | None]:
    if dotted(call.func).rpartition(".")[2] not in CONTAINERS:
        yield call
        return
    for argument in call.args:
        inner = argument.value if isinstance(argument, ast.Starred) else argument
        match inner:
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                several: list[ast.expr] = elements
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                several = [element]
            case ast.Dict(values=values):
                several = values
            case ast.Call(func=function, args=args, keywords=keywords) if dotted(function).endswith(("dict", "Dict")):
                pairs = [pair for a in args if isinstance(a, ast.List | ast.Tuple) for pair in a.elts]
                several = [pair.elts[-1] if isinstance(pair, ast.Tuple) and pair.elts else pair for pair in pairs]
                several += [value for a in args if isinstance(a, ast.Dict) for value in a.values]
                several += [keyword.value for keyword in keywords]
            case _:
                several = [inner]
        for element in several:
            if isinstance(element, ast.Call):
                yield from _listed(facts, element)
            else:
                yield None


def _is_told_its_place(facts: Facts, attribute: str, part: ast.Call) -> bool:
    """Whether what makes the parts tells each whether it is the first: ``[Block(i == 0) for i in range(depth)]``."""
    for call in facts.constructors(attribute):
        for comprehension in (n for n in walk(call) if isinstance(n, ast.ListComp | ast.GeneratorExp)):
            inside = {id(n) for n in walk(comprehension)}
            if id(part) in inside and any(_asks_for_first(n) for a in _arguments(part) for n in walk(a)):
                return True
    return False


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _asks_for_first(node: ast.AST) -> bool:
    match node:
        case ast.Compare(comparators=[ast.Constant(value=0 | 1)]) | ast.UnaryOp(op=ast.Not(), operand=ast.Name()):
            return True
    return False
