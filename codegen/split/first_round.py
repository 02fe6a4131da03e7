"""A loop over stages whose first round begins with the end of the embedding, in a method whose embedding is known.

``for i, (embed, drop, blocks) in enumerate(zip(patch_embeds, pos_drops, stages))``: the loop runs ``x = embed(x)`` from
the second round on, where ``x = self.patch_embeds[0](x)`` is among what ``embed`` does. What the loop is over may be
chosen before, as the first stages of all, or listed: ``stages = [(self.patch_embed1, self.stage1), ...]``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.source.index import Module
from codegen.split.alignment import Alignment
from codegen.split.boundary import is_indexed
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.statements import Statement, arms, guard_loop_head, loop_body, substitute
from codegen.syntax.walking import walk

_TAKE_INDICES = "timm.models._features.feature_take_indices"

Find = Callable[[Sequence[Statement]], Alignment]


def open_first_round(
    facts: Facts, module: Module, statements: Sequence[Statement], find: Find
) -> tuple[tuple[Statement, ...], Alignment] | None:
    """Statements with the head of a loop's first round before the loop, where that completes the embedding.

    Args:
        facts: The class.
        module: The file in which the method stands.
        statements: Those of the method.
        find: Looks for the embedding among statements.

    Returns:
        The statements, and where the embedding is; ``None`` where no loop begins so.
    """
    for number, statement in enumerate(statements):
        values = _First(facts, module, statements, number).values()
        if values is None:
            continue
        index, elements = values
        before, body = statements[:number], loop_body(statement)
        bound = {name for inner in body for name in bound_names(inner.tree)}
        if bound & elements.keys():
            return None
        for length in range(1, len(body)):
            head = _head(body[:length], elements, [*before], find)
            if head is None:
                break
            alignment = find((*before, *head))
            if alignment.missing is None:
                guarded = guard_loop_head(statement, [True] * length, f"{index} > 0")
                opened = (*before, *head, guarded, *statements[number + 1 :])
                return opened, find(opened)
    return None


def _head(
    body: Sequence[Statement], elements: Mapping[str, str], before: Sequence[Statement], find: Find
) -> tuple[Statement, ...] | None:
    """The head of the first round as it stands in ``embed``; ``None`` where that has other statements."""
    head: list[Statement] = []
    for inner in body:
        if any(isinstance(node, ast.Break | ast.Continue | ast.Lambda | ast.Return) for node in walk(inner.tree)):
            return None
        first = substitute(inner, elements)
        equal = len(find((*before, *head)).equal)
        for variant in (first, *_unconditional(first)):
            if len(find((*before, *head, variant)).equal) > equal:
                head.append(variant)
                break
        else:
            return None
    return tuple(head)


def _unconditional(statement: Statement) -> Iterator[Statement]:
    """``x = self.patch_embed(x)`` of ``if self.patch_embed is not None: x = self.patch_embed(x)``.

    Where ``embed`` has the call alone, there is no embedding without the module.
    """
    match statement.written:
        case ast.If(
            test=ast.Compare(left=asked, ops=[ast.IsNot()], comparators=[ast.Constant(None)]),
            body=[ast.Assign(value=ast.Call(func=called))],
            orelse=[],
        ) if dotted(asked) and dotted(asked) == dotted(called):
            yield arms(statement)[1][0]


@dataclass(frozen=True)
class _First:
    """What the variables of a loop stand for in its first round.

    Attributes:
        facts: The class.
        module: The file in which the method stands.
        statements: Those of the method.
        number: Which of them is the loop.
    """

    facts: Facts
    module: Module
    statements: Sequence[Statement]
    number: int

    def values(self) -> tuple[str, Mapping[str, str]] | None:
        """The variable that counts the rounds, and for each variable an expression; ``None`` where it is not known."""
        match self.statements[self.number].tree:
            case ast.For(
                target=ast.Tuple(elts=[ast.Name(id=index), inner]),
                iter=ast.Call(func=ast.Name("enumerate"), args=[sequence], keywords=[]),
                orelse=[],
            ):
                pass
            case _:
                return None
        if any(self.module.origin(name) != name for name in ("enumerate", "zip", "len")):
            return None
        pairs = [*self._elements(inner, sequence)]
        found = {name: value for name, value in pairs if value}
        if not pairs or len(found) < len(pairs) or index in found:
            return None
        return index, {index: "0", **found}

    def _elements(self, target: ast.expr, sequence: ast.expr) -> Iterator[tuple[str, str]]:
        """The variables with the expressions for them; an empty one where that is not known."""
        match target, sequence:
            case ast.Tuple(elts=names), ast.Call(func=ast.Name("zip"), args=sequences, keywords=[]):
                if len(names) != len(sequences):
                    yield "", ""
                for name, each in zip(names, sequences, strict=False):
                    yield from self._elements(name, each)
            case ast.Name(id=name), ast.Attribute():
                yield name, self._of_container(sequence)
            case ast.Name(id=name), ast.Name(id=listed):
                first = self._first_of(listed)
                yield name, "" if first is None or isinstance(first, ast.Tuple) else ast.unparse(first)
            case ast.Tuple(elts=names), ast.Name(id=listed):
                first = self._first_of(listed)
                several = first.elts if isinstance(first, ast.Tuple) else []
                if len(several) != len(names):
                    yield "", ""
                for name, value in zip(names, several, strict=False):
                    own = isinstance(name, ast.Name) and self.facts.is_attribute(value)
                    yield (name.id, dotted(value)) if own and isinstance(name, ast.Name) else ("", "")
            case _:
                yield "", ""

    def _of_container(self, sequence: ast.expr) -> str:
        known = isinstance(sequence, ast.Attribute) and self.facts.is_attribute(sequence)
        return f"{dotted(sequence)}[0]" if known and is_indexed(self.facts, dotted(sequence).split(".")[-1]) else ""

    def _first_of(self, name: str) -> ast.expr | None:
        """The first element of what a variable lists, whatever part of it was chosen; ``None`` if it is not known."""
        before = self.statements[: self.number]
        values = [
            node.value
            for statement in before
            for node in walk(statement.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id == name
        ]
        bound = [found for statement in self.statements for found in bound_names(statement.tree)]
        if not values or bound.count(name) != len(values) or not self._only_counted(name):
            return None
        whole = {ast.unparse(found): found for value in values if (found := self._whole(value, name)) is not None}
        whole.pop(name, None)  # stages = stages[:max_index + 1]
        if len(whole) != 1 or any(self._whole(value, name) is None for value in values):
            return None
        (found,) = whole.values()
        if isinstance(found, ast.List):
            return found.elts[0] if found.elts and not isinstance(found.elts[0], ast.Starred) else None
        first = self._of_container(found)
        return ast.parse(first, mode="eval").body if first else None

    def _whole(self, value: ast.expr, name: str) -> ast.expr | None:
        """That of which a value is the first part, which is not empty; ``None`` where it is something else."""
        match value:
            case ast.Attribute() if self.facts.is_attribute(value):
                return value
            case ast.List():
                return value
            case ast.Subscript(value=inner, slice=ast.Slice(lower=None, upper=ast.BinOp() as upper, step=None)):
                match upper:
                    case ast.BinOp(left=ast.Name(id=most), op=ast.Add(), right=ast.Constant(1)) if self._is_index(most):
                        own = isinstance(inner, ast.Name) and inner.id == name
                        return inner if own else self._whole(inner, name)
        return None

    def _is_index(self, name: str) -> bool:
        """Whether a variable holds the largest index of a feature that is asked for, as timm's function gives it."""
        bound = [found for statement in self.statements for found in bound_names(statement.tree)]
        for statement in self.statements[: self.number]:
            match statement.tree:
                case ast.Assign(
                    targets=[ast.Tuple(elts=[_, ast.Name(id=most)])], value=ast.Call(func=ast.Name(id=function))
                ) if most == name:
                    return bound.count(name) == 1 and self.module.origin(function) == _TAKE_INDICES
        return False

    def _only_counted(self, name: str) -> bool:
        """Whether a variable is only looped over, cut, and asked for its length, so that nothing changes what it is."""
        allowed: set[int] = set()
        read: set[int] = set()
        for statement in self.statements:
            for node in walk(statement.tree):
                match node:
                    case ast.Name(ctx=ast.Load()) if node.id == name:
                        read.add(id(node))
                    case ast.Subscript(value=ast.Name() as inner, slice=ast.Slice(), ctx=ast.Load()):
                        allowed.add(id(inner))
                    case ast.Call(func=ast.Name("len"), args=[ast.Name() as inner]):
                        allowed.add(id(inner))
        loop = self.statements[self.number].tree
        assert isinstance(loop, ast.For)
        return read <= allowed | {id(node) for node in walk(loop.iter)}
