"""Calls inside calls in statements of their own: ``x = self.blocks(self.patch_embed(x))`` as two statements.

Where the stem runs inside the statement that runs the blocks, as what these are given, there is no statement to cut
after. Python makes what is given before it calls: it may be made in a statement before, if nothing else is evaluated
earlier than it but where the functions are found that are called with it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts, Role
from codegen.model.invariant import is_invariant
from codegen.split.stem_parts import head_of, loop_of
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Statement, loop_body
from codegen.syntax.walking import walk

Wanted = Callable[[ast.expr, ast.expr], bool]
"""Says of an expression, and of that which it is evaluated for, whether it is to have a statement of its own."""


def take_out_stems(facts: Facts, statements: Sequence[Statement], parameters: Collection[str]) -> tuple[Statement, ...]:
    """Statements in which what blocks are given first is made in a statement before, if it is more than a variable.

    Args:
        facts: The class.
        statements: Those of a method.
        parameters: Those of the method.
    """

    def is_given_to_blocks(value: ast.expr, outer: ast.expr) -> bool:
        if not (isinstance(outer, ast.Call) and value in outer.args and _computes(value)):
            return False
        return any(facts.role(name) in (Role.BLOCK, Role.BOTH) for name in facts.runs(outer.func))

    found: list[Statement] = []
    every = [statement.tree for statement in statements]
    for number, statement in enumerate(statements):
        after, tree = statements[number + 1 :], statement.tree
        if isinstance(tree, ast.For) and not tree.orelse:
            found.append(_flat_loop(facts, statement, every))
        else:
            found += _taken_out(_Method(facts, every, after, parameters), statement, is_given_to_blocks)
    return tuple(found)


def take_out_helpers(
    facts: Facts, statements: Sequence[Statement], parameters: Collection[str], names: Collection[str]
) -> tuple[Statement, ...]:
    """Statements in which a call of a method is made in a statement before: ``self.head(self.forward_features(x))``.

    Args:
        facts: The class.
        statements: Those of a method.
        parameters: Those of the method.
        names: Names of methods of ``self``.
    """

    def calls_one(value: ast.expr, outer: ast.expr) -> bool:
        match value:
            case ast.Call(func=ast.Attribute(attr=attr) as function):
                return attr in names and facts.is_attribute(function)
        return False

    found: list[Statement] = []
    every = [statement.tree for statement in statements]
    for number, statement in enumerate(statements):
        found += _taken_out(_Method(facts, every, statements[number + 1 :], parameters), statement, calls_one)
    return tuple(found)


@dataclass(frozen=True)
class _Method:
    """What stands around a statement.

    Attributes:
        facts: The class.
        every: The statements of the method.
        after: Those that follow; ``None`` in a loop, where only what the statement itself binds may be bound.
        parameters: Variables that may be bound, too, if nothing reads them later.
    """

    facts: Facts
    every: Sequence[ast.stmt]
    after: Sequence[Statement] | None = None
    parameters: Collection[str] = ()


def _flat_loop(facts: Facts, statement: Statement, every: Sequence[ast.stmt]) -> Statement:
    """A loop with ``x = stage(down(x))`` in its body as two statements."""
    assert isinstance(statement.tree, ast.For)
    rounds = {*bound_names(statement.tree.target)}
    body = loop_body(statement)

    def is_given_to_stage(value: ast.expr, outer: ast.expr) -> bool:
        if not (isinstance(outer, ast.Call) and value in outer.args and _computes(value)):
            return False
        own = any(isinstance(node, ast.Attribute) and facts.is_attribute(node) for node in walk(outer.func))
        return own or dotted(outer.func) in rounds

    flat: list[Statement] = []
    for inner in body:
        tree = inner.tree
        plain = isinstance(tree, ast.Assign) and [*map(dotted, tree.targets)] == [*bound_names(tree)]
        flat += _taken_out(_Method(facts, every), inner, is_given_to_stage) if plain else [inner]
    return statement if flat == [*body] else loop_of(statement, head_of(statement), flat)


def _taken_out(method: _Method, statement: Statement, wanted: Wanted) -> Iterator[Statement]:
    """A statement in several, or as it is."""
    found = _Given.of(method, statement, wanted)
    name = found.variable(method.after, method.parameters) if found is not None else ""
    if found is None or not name:
        yield statement
        return
    first, second = found.apart(name)
    yield first
    if method.after is None:
        yield from _taken_out(method, second, wanted)
    else:
        yield second


@dataclass(frozen=True)
class _Given:
    """What a call in a statement is given first.

    Attributes:
        statement: The statement.
        value: What is given, in the tree of the statement as it is written.
        names: The variables that the rest of the statement reads.
    """

    statement: Statement
    value: ast.expr
    names: frozenset[str]

    @staticmethod
    def of(method: _Method, statement: Statement, wanted: Wanted) -> _Given | None:
        """The innermost such value of a statement, if nothing is evaluated before it; ``None`` if there is none."""
        tree = statement.tree
        if not isinstance(tree, ast.Assign | ast.Return) or any(isinstance(node, _ODD) for node in walk(tree)):
            return None
        found: tuple[ast.expr, Sequence[ast.expr]] | None = None
        functions: list[ast.expr] = []
        node = tree.value
        while node is not None:
            inner = _first(node)
            if isinstance(node, ast.Call) and inner is not None and inner in node.args:
                functions.append(node.func)
            if inner is not None and wanted(inner, node):
                found = inner, [*functions]
            node = inner
        if found is None or not all(_is_found_again(method, function) for function in found[1]):
            return None
        inside = {id(n) for n in walk(found[0])}
        rest = [n for n in walk(tree) if isinstance(n, ast.Name) and id(n) not in inside]
        written = _as_written(statement, found[0])
        read = frozenset(n.id for n in rest if isinstance(n.ctx, ast.Load))
        return None if written is None else _Given(statement, written, read)

    def variable(self, after: Sequence[Statement] | None, parameters: Collection[str]) -> str:
        """A variable that may hold the value: one that the statement binds anew, or that nothing reads any more."""
        tree = self.statement.written
        bound = [*bound_names(tree)] if isinstance(tree, ast.Assign) else []
        own = [name for name in bound if name not in self.names]
        if own and isinstance(tree, ast.Assign) and isinstance(tree.targets[0], ast.Name):
            return own[0]
        if after is None:
            return ""
        needed = flow([statement.tree for statement in after]).needs if isinstance(tree, ast.Assign) else frozenset()
        read = (n.id for n in walk(self.value) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        known = {*parameters, *bound}
        free = (n for n in read if n in known and n not in self.names and (n in own or n not in needed))
        return next(free, "")

    def apart(self, name: str) -> tuple[Statement, Statement]:
        """The statement that makes the value, and the one that uses it."""
        text, value = self.statement.text, self.value
        begin = _offset(text, value.lineno, value.col_offset)
        end = _offset(text, value.end_lineno, value.end_col_offset)
        made = text[begin:end]
        comments = text[: len(text) - len(self.statement.code)]
        made = f"({made})" if "\n" in made else made
        rest = (text[:begin] + name + text[end:])[len(comments) :]
        return replace(self.statement, text=f"{comments}{name} = {made}"), replace(self.statement, text=rest)


_ODD = ast.NamedExpr | ast.Lambda | ast.Await | ast.Yield | ast.YieldFrom | ast.Starred
"""What may bind variables, or see them at another time."""


def _first(node: ast.expr) -> ast.expr | None:
    """What is evaluated first inside an expression, the functions aside that it calls by their names."""
    match node:
        case ast.Call(func=ast.Attribute(value=inner)) if _calls(inner):
            return inner  # of self.encode(x).mean(1)
        case ast.Call(args=[first, *_]):
            return first
        case ast.Subscript(value=inner) | ast.Attribute(value=inner):
            return inner
        case ast.BinOp(left=left):
            return left
        case ast.Tuple(elts=[first, *_]):
            return first
    return None


def _calls(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call) for inner in walk(node))


def _computes(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call | ast.BinOp) for inner in walk(node))


def _as_written(statement: Statement, node: ast.expr) -> ast.expr | None:
    """A node of the tree of a statement as it is written, where attributes have their own names."""
    moved = statement.tree.lineno - statement.written.lineno

    def place(other: ast.expr, by: int) -> tuple[type, int, int, int | None, int | None]:
        end = None if other.end_lineno is None else other.end_lineno - by
        return type(other), other.lineno - by, other.col_offset, end, other.end_col_offset

    wanted = place(node, moved)
    found = (n for n in walk(statement.written) if isinstance(n, ast.expr) and place(n, 0) == wanted)
    return next(found, None)


def _is_found_again(method: _Method, function: ast.expr) -> bool:
    """Whether a function that is called is the same where it is looked for later in the method.

    What another call gives, ``self.draw()(x)``, is looked for where it is: it may draw random numbers.
    """
    calls = [node for node in walk(function) if isinstance(node, ast.Call)]
    if not all(isinstance(call.func, ast.Name) and call.func.id == "getattr" for call in calls):
        return False
    head = dotted(function).partition(".")[0]
    if head and head != method.facts.prefix.partition(".")[0]:
        return "." not in dotted(function) or head in method.facts.cls.module.bindings  # `stage`, `torch.flatten`
    return is_invariant(method.facts, function, method.every)


def _offset(text: str, line: int | None, column: int | None) -> int:
    """Where a place of a tree is in its text: columns count bytes."""
    assert line is not None
    assert column is not None
    lines = text.split("\n")
    return sum(len(each) + 1 for each in lines[: line - 1]) + len(lines[line - 1].encode()[:column].decode())
