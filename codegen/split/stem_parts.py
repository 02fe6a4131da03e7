"""A stem that one method calls, and the other runs part by part: ``for module in self.stem: x = module(x)``.

A plain ``nn.Sequential`` does nothing but to run its parts in turn. Where a method runs all of them so, the call stands
for what it does with the tensor, and what else it does on the way follows by itself.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts
from codegen.model.makers import is_sequential
from codegen.model.quiet import is_quiet
from codegen.source.index import Module
from codegen.split.collecting import Collecting
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Statement, arms, conditional, loop_body
from codegen.syntax.walking import walk


@dataclass(frozen=True)
class Joined:
    """Statements in which calls stand for what ran a stem part by part.

    Attributes:
        statements: All of them.
        ran: Those that run parts, as they stand in the method.
        lost: Variables that held what was made between two parts, and do not any more.
        calls: The calls of stems in loops, and loops that may stand after them in the place of those before them: they
            give a feature that is what the last part of the stem makes.
        refuses: The lines of loops that raise errors already where they take features from before the embedding.
        asked: Variables that hold ``None`` now, with a question each: where it holds, the stem made them on its way.
    """

    statements: tuple[Statement, ...]
    ran: tuple[Statement, ...] = ()
    lost: frozenset[str] = frozenset()
    calls: tuple[tuple[Statement, Statement, Statement], ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    refuses: tuple[int, ...] = ()

    def followed_by(self, other: Joined) -> Joined:
        """Both, one after the other."""
        return Joined(
            (*self.statements, *other.statements),
            (*self.ran, *other.ran),
            self.lost | other.lost,
            (*self.calls, *other.calls),
            (*self.asked, *other.asked),
            (*self.refuses, *other.refuses),
        )

    def giving(self, loop: Statement, last: Statement) -> Statement:
        """What stands for a loop after the statement that completes the embedding."""
        return next((other for one, call, other in self.calls if (one, call) == (loop, last)), loop)


def called_whole(statements: Sequence[Statement]) -> frozenset[str]:
    """The attributes of ``self`` that statements call: ``x = self.stem(x)``."""
    found = set()
    for statement in statements:
        match statement.tree:
            case ast.Assign(value=ast.Call(func=ast.Attribute(value=ast.Name("self"), attr=attr), args=[ast.Name()])):
                found.add(attr)
    return frozenset(found)


def join_parts(
    facts: Facts, module: Module, statements: Sequence[Statement], stems: Collection[str], numbers: frozenset[str]
) -> Joined:
    """Let calls stand for what runs the parts of a stem.

    Args:
        facts: The class.
        module: The file in which the method stands.
        statements: Those of the method.
        stems: Attributes of ``self`` whose parts it may run.
        numbers: Variables that list features by their index.
    """
    found = Joined(())
    for number, statement in enumerate(statements):
        joined = _loop(facts, module, statement, stems, numbers) or _last_slice(facts, statements, number, stems)
        ran = dict.fromkeys(joined.ran if joined is not None else ())
        found = replace(found, statements=tuple(before for before in found.statements if before not in ran))
        found = found.followed_by(joined or Joined((statement,)))
    return found


# for i, module in enumerate(self.stem): x = module(x)


def _loop(
    facts: Facts, module: Module, statement: Statement, stems: Collection[str], numbers: frozenset[str]
) -> Joined | None:
    """A loop that runs each part of a stem first of all, as the loop without that and a call of the stem."""
    tree = statement.tree
    match tree:
        case ast.For(target=target, iter=iterable, body=[first, *others], orelse=[]):
            pass
        case _:
            return None
    over = _over(target, iterable)
    if over is None or over[0] not in stems or not (over[0] == "" or is_sequential(facts, over[0])):
        return None
    if not is_quiet(facts, module, ast.Expr(iterable), ()):
        return None  # what is called `enumerate` may be something else
    attribute, counters, part = over
    match first:
        case ast.Assign(
            targets=[ast.Name(id=x)],
            value=ast.Call(func=ast.Name(id=called), args=[ast.Name(id=taken)], keywords=[]),
        ) if x == taken and called == part and x not in (*counters, part):
            pass
        case _:
            return None
    bound = {name for other in others for name in bound_names(other)}
    leaves = any(isinstance(n, ast.Break | ast.Continue | ast.Return) for other in others for n in walk(other))
    if leaves or bound & {x, part, *counters}:
        return None
    ran, *rest = loop_body(statement)
    lost: set[str] = set()
    asks = functools.partial(_only_asks, facts, module)
    collecting = Collecting(frozenset({x, part}), numbers)
    kept = [inner for each in rest for inner in _without_copies(collecting.refusing(each), x, lost, asks)]
    read = flow([inner.tree for inner in kept]).needs
    if read & {x, part, *lost}:
        return None
    call = replace(ran, text=f"{x} = self.{attribute}({x})")
    if not kept:
        return Joined((call,), (ran,), frozenset({*lost, part, *counters}))
    head = head_of(statement)
    loop = loop_of(statement, head, kept)
    calls: tuple[tuple[Statement, Statement, Statement], ...] = ()
    for counter in counters:
        giving = replace(collecting, early=f"{counter} < len(self.{attribute}) - 1", last=x)
        given = [inner for each in rest for inner in _without_copies(giving.refusing(each), x, set(), asks)]
        calls = ((loop, call, loop_of(statement, head, given)),)
    return Joined((loop, call), (ran,), frozenset(lost), calls)


def loop_of(statement: Statement, head: str, body: Sequence[Statement]) -> Statement:
    """A loop with another body."""
    text = "\n".join(inner.text for inner in body)
    indented = "\n".join(f"    {line}".rstrip() for line in text.split("\n"))
    return replace(statement, text=f"{head}\n{indented}")


def head_of(statement: Statement) -> str:
    """The first line of a loop, as it is written where it is one line."""
    first = statement.code.split("\n")[0].partition("#")[0].rstrip()
    try:
        ast.parse(f"{first} pass")
    except SyntaxError:
        assert isinstance(statement.written, ast.For)
        return f"for {ast.unparse(statement.written.target)} in {ast.unparse(statement.written.iter)}:"
    return first


def run_parts(facts: Facts, module: Module, statement: Statement) -> Joined | None:
    """A loop in a method of a ``Sequential`` that runs each of its parts, ``for module in self: x = module(x)``.

    Returns:
        What else it does on the way, and a statement that stands for the call of all; ``None`` where it is none such.
    """
    return _loop(facts, module, statement, ("",), frozenset())


def _over(target: ast.expr, iterable: ast.expr) -> tuple[str, tuple[str, ...], str] | None:
    """The attribute that a loop is over, its counter if it has one, and the variable that holds a part.

    The attribute is empty where the loop is over ``self``.
    """
    match target, iterable:
        case (
            ast.Tuple(elts=[ast.Name(id=counter), ast.Name(id=part)]),
            ast.Call(func=ast.Name("enumerate"), args=[parts], keywords=[]),
        ) if counter != part:
            counters: tuple[str, ...] = (counter,)
        case ast.Name(id=part), parts:
            counters = ()
        case _:
            return None
    head, _, attribute = dotted(parts).partition(".")
    return (attribute, counters, part) if head == "self" and "." not in attribute else None


def _without_copies(
    statement: Statement, x: str, lost: set[str], asks: Callable[[ast.expr], bool]
) -> Iterator[Statement]:
    """A statement without ``x_down = x``; the names of such copies are lost."""
    match statement.tree:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=copied)) if copied == x:
            lost.add(name)
        case ast.If(test=test) if asks(test):
            text, body, orelse = arms(statement)
            kept, others = ([p for s in arm for p in _without_copies(s, x, lost, asks)] for arm in (body, orelse))
            if (*kept, *others) == (*body, *orelse):
                yield statement
            elif kept or others:
                yield conditional(text, kept, others, statement.place)
        case _:
            yield statement


def _only_asks(facts: Facts, module: Module, test: ast.expr) -> bool:
    """Whether a question may be left out where nothing depends on its answer."""
    return is_quiet(facts, module, ast.Expr(test), ())


# x = self.stem[:-1](x), then x = self.stem[-1](x)


def _last_slice(facts: Facts, statements: Sequence[Statement], number: int, stems: Collection[str]) -> Joined | None:
    """A statement that runs the parts of a stem that are left, as a call of the stem in the place of both."""
    last = _sliced(statements[number])
    if last is None or last[1] not in stems or last[2] is None:
        return None
    x, attribute, begin, end = last
    for first in reversed(statements[:number]):
        sliced = _sliced(first)
        if sliced is not None and sliced[:2] == (x, attribute):
            whole = sliced[2] is None and sliced[3] == begin and end is None
            if not whole or not is_sequential(facts, attribute):
                return None
            call = replace(statements[number], text=f"{x} = self.{attribute}({x})")
            return Joined((call,), (first, statements[number]))
        if x in bound_names(first.tree):
            return None
    return None


def _sliced(statement: Statement) -> tuple[str, str, int | None, int | None] | None:
    """The variable, the attribute, and the first and last part of ``x = self.stem[:-1](x)``."""
    match statement.tree:
        case ast.Assign(
            targets=[ast.Name(id=x)],
            value=ast.Call(
                func=ast.Subscript(value=ast.Attribute(value=ast.Name("self"), attr=attribute), slice=index),
                args=[ast.Name(id=given)],
                keywords=[],
            ),
        ) if x == given:
            pass
        case _:
            return None
    match index:
        case ast.Slice(lower=None, upper=upper, step=None) if _number(upper) is not None:
            return x, attribute, None, _number(upper)
        case ast.Slice(lower=lower, upper=None, step=None) if _number(lower) is not None:
            return x, attribute, _number(lower), None
        case _ if _number(index) == -1:
            return x, attribute, -1, None
    return None


def _number(node: ast.expr | None) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
    return None
