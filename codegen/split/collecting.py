"""Features that ``forward_intermediates`` takes on the way to the embedding.

They cannot be had from an embedding. Where the method asks whether such a feature is wanted, its split asks the same
and raises an error; without that question it does what the method does where the answer is no.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted, flow
from codegen.syntax.statements import Statement, arms, conditional
from codegen.syntax.walking import walk

_TAKERS = ("append", "extend")
_TOO_SOON = ("it would return what the stem makes on its way to the embedding: ", "call forward_intermediates(images)")
ADVICE = "take it from forward_intermediates(images), or pass indices without it"


@dataclass(frozen=True)
class Collecting:
    """What raises errors for the features that are made before the embedding is complete.

    Attributes:
        values: The variables that hold the images and what the embedding makes of them.
        numbers: Variables that list features by their index, as the caller gives it.
        early: A question whether a feature is made before the embedding is complete; empty if it surely is.
        last: The variable that holds the embedding where the answer is no, and that alone is collected; empty where
            whatever is collected is as in the method then.
    """

    values: frozenset[str]
    numbers: frozenset[str]
    early: str = ""
    last: str = ""

    def refusing(self, statement: Statement) -> Statement:
        """The statement with an error in the place of each feature that it collects, on whatever condition.

        Statements inside it that do anything else are left as they are, for others to judge.
        """
        tree = statement.tree
        if not isinstance(tree, ast.If):
            return statement
        if self._returns(tree):
            test = arms(statement)[0]
            return replace(statement, text=f"{_comments(statement)}if {test}:\n{raised(*_TOO_SOON)}")
        if not self._collects_inside([tree]):
            return statement
        test, body, orelse = arms(statement)
        if self.collects(tree):
            inner = self._error(tree.test)
            if self.early and (not self.last or _takes_plainly(tree.body, self.last)):
                taken = "\n".join(textwrap.indent(part.text, "    ") for part in body)
                inner = f"    if {self.early}:\n{textwrap.indent(inner, '    ')}\n{taken}"
            return replace(statement, text=f"{_comments(statement)}if {test}:\n{inner}")
        both = conditional(test, [*map(self.refusing, body)], [*map(self.refusing, orelse)], statement.place)
        return replace(statement, text=_comments(statement) + both.text)

    def collects(self, tree: ast.stmt) -> bool:
        """Whether a statement collects a feature if that is wanted, and does nothing else."""
        match tree:
            case ast.If(test=test, body=body, orelse=[]):
                return _index(test) is not None and self._only_collects(body) and any(map(_takes, _inside(body)))
        return False

    def _returns(self, tree: ast.If) -> bool:
        """Whether a statement returns what the stem makes on its way, on some condition."""
        match tree:
            case ast.If(body=[ast.Return(value=ast.expr() as value)], orelse=[]):
                return not self.values.isdisjoint(flow([ast.Expr(value)]).needs)
        return False

    def _only_collects(self, statements: Iterable[ast.stmt]) -> bool:
        """Whether statements change the list alone that features are put in, and variables of their own."""
        for statement in statements:
            match statement:
                case ast.If(body=body, orelse=orelse):
                    if not self._only_collects([*body, *orelse]):
                        return False
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    if name in self.values or _changes(value):
                        return False
                case ast.Expr(value=ast.Call(args=[value], keywords=[])):
                    if not _takes(statement) or _changes(value):
                        return False
                case _:
                    return False
        return True

    def _collects_inside(self, statements: Iterable[ast.stmt]) -> bool:
        return any(self.collects(statement) for statement in _inside(statements))

    def _error(self, test: ast.expr) -> str:
        index = _index(test)
        assert index is not None
        number, listed = index
        if listed not in self.numbers:
            what, prefix = "a feature that is asked for", ""
        elif isinstance(number, ast.Constant):
            what, prefix = f"feature {ast.unparse(number)}", ""
        else:
            what, prefix = f"feature {{{ast.unparse(number)}}}", "f"
        return raised(f"{what} is made inside the stem, before the embedding is complete: ", ADVICE, prefix)


def raised(what: str, advice: str, prefix: str = "") -> str:
    """A statement that raises an error, to stand under a condition."""
    return f'    raise ValueError(\n        {prefix}"{what}"\n        "{advice}"\n    )'


def indices_by_number(statements: Sequence[Statement], parameters: Collection[str]) -> frozenset[str]:
    """The variables that list features by the index that the caller gives: what timm's function gives, or a parameter.

    One that is bound again, ``take_indices = [self.stage_ends[i] for i in take_indices]``, counts something else.
    """
    bound = [name for statement in statements for name in bound_names(statement.tree)]
    given = {name for name in parameters if name not in bound}
    for statement in statements:
        match statement.tree:
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=ast.Call(func=function)):
                if dotted(function).rpartition(".")[2] == "feature_take_indices" and bound.count(name) == 1:
                    given.add(name)
    return frozenset(given)


def _index(test: ast.expr) -> tuple[ast.expr, str] | None:
    """The number and the variable of a question like ``feat_idx in take_indices``, alone or with others beside it."""
    match test:
        case ast.Compare(left=ast.Name() | ast.Constant(int()) as number, ops=[ast.In()], comparators=[ast.Name(name)]):
            return number, name
        case ast.BoolOp(op=ast.And(), values=parts):
            found = [index for part in parts if (index := _index(part)) is not None]
            return found[0] if len(found) == 1 else None
    return None


def _takes(statement: ast.stmt) -> bool:
    """Whether a statement puts something into a list: ``intermediates.append(x)``."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(), attr=attr), args=[_], keywords=[])):
            return attr in _TAKERS
    return False


def _takes_plainly(body: Sequence[ast.stmt], name: str) -> bool:
    """Whether statements put a variable into a list, as it is, and do no more."""
    match body:
        case [ast.Expr(value=ast.Call(args=[ast.Name(id=taken)]))]:
            return taken == name and _takes(body[0]) and ast.unparse(body[0]).endswith(f".append({name})")
    return False


def _changes(value: ast.expr) -> bool:
    """Whether an expression changes a tensor in place, by the convention of torch, or binds a name."""
    for node in walk(value):
        match node:
            case ast.NamedExpr() | ast.Await() | ast.Yield() | ast.YieldFrom():
                return True
            case ast.Call(func=ast.Attribute(attr=attr), keywords=keywords):
                if (attr.endswith("_") and not attr.endswith("__")) or any(
                    k.arg in ("inplace", "out") for k in keywords
                ):
                    return True
    return False


def _inside(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements and those in the arms of those that are conditions."""
    for statement in statements:
        yield statement
        if isinstance(statement, ast.If):
            yield from _inside([*statement.body, *statement.orelse])


def _comments(statement: Statement) -> str:
    """What stands above a statement."""
    return statement.text[: len(statement.text) - len(statement.code)]
