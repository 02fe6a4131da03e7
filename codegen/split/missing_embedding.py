"""Why the embedding of ``forward_features`` is not found in ``forward_intermediates``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.model.quiet import is_quiet
from codegen.source.index import Module
from codegen.split.alignment import Alignment
from codegen.split.around_embedding import Around
from codegen.split.boundary import Refused
from codegen.split.collecting import Collecting
from codegen.split.stem_parts import Joined
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, dotted, flow
from codegen.syntax.equality import names_in_place
from codegen.syntax.statements import Statement, loop_body, substitute
from codegen.syntax.walking import walk

INTERMEDIATES = "forward_intermediates"
STAGES_INTERMEDIATES = "forward_stages_intermediates"

Find = Callable[[Sequence[Statement], Sequence[Statement]], Alignment]
"""Looks for the statements of an embedding among others."""


@dataclass(frozen=True)
class MissingEmbedding:
    """A method that does not embed as ``forward_features`` does, or not in a form that is understood.

    Attributes:
        facts: The class.
        module: The file in which the method stands.
        statements: Those of the method.
        images: Its first parameter.
        numbers: Variables that list features by their index.
    """

    facts: Facts
    module: Module
    statements: Sequence[Statement]
    images: str
    numbers: frozenset[str]

    def why(self, theirs: Sequence[Statement], find: Find) -> Refused:
        """What stands in the way.

        Args:
            theirs: The statements of the embedding.
            find: Looks for such statements among others.
        """
        alignment = find(theirs, self.statements)
        missing = alignment.missing
        assert missing is not None
        inner = _delegates(self.statements)
        if inner:
            reason = f"it calls {INTERMEDIATES} of `{inner}`: call {STAGES_INTERMEDIATES} of that model"
            return Refused(self.statements[0].place, reason)
        wanted = f"`{missing.first_line}` (line {missing.place.line})"
        return (
            self._written_otherwise(theirs, find)
            or self._left_out(theirs, alignment, find, wanted)
            or self._stands_there(alignment, wanted)
            or Refused(self.statements[0].place, f"it does not have {wanted}, by which forward_features embeds")
        )

    def _left_out(self, theirs: Sequence[Statement], alignment: Alignment, find: Find, wanted: str) -> Refused | None:
        """The reason where one statement is missing and all others are there: a dropout that timm forgot."""
        missing = alignment.missing
        assert missing is not None
        again = find([statement for statement in theirs if statement is not missing], self.statements)
        elsewhere = any(names_in_place(missing.written, statement.written) is not None for statement in self.statements)
        if again.missing is not None or not again.equal or elsewhere:
            return None
        after = [self.statements[number] for number in again.equal[len(alignment.equal) :]]
        place = after[0].place if after else self.statements[again.equal[-1]].place
        return Refused(place, f"it leaves out {wanted}, by which forward_features embeds")

    def _written_otherwise(self, theirs: Sequence[Statement], find: Find) -> Refused | None:
        """The reason where the embedding is there, if variables are written out, and something else is in the way."""
        written = _written_out(self.statements)
        alignment = find(theirs, written)
        if alignment.missing is not None:
            return None
        try:
            Around.of(self.facts, self.module, Joined(written), alignment, self.images, self.numbers)
        except Refused as refused:
            reason = refused.reason
            for old in self.statements:
                for new in written:
                    if old.place == new.place:
                        reason = reason.replace(new.first_line, old.first_line)
            return Refused(refused.place, reason)
        return None

    def _stands_there(self, alignment: Alignment, wanted: str) -> Refused | None:
        """The reason where a statement does something else than to calculate with the arguments of the method."""
        own: set[str] = set()
        values = alignment.made(self.statements, self.images)
        collecting = Collecting(frozenset(values), frozenset())
        for number in alignment.others:
            statement = collecting.refusing(self.statements[number])
            if flow([statement.tree]).needs & values or not is_quiet(self.facts, self.module, statement.tree, own):
                reason = f"`{statement.first_line}` stands where forward_features embeds by {wanted}"
                return Refused(statement.place, reason + _hindrance(statement, values))
            own |= set(bound_names(statement.tree))
        return None


def _hindrance(statement: Statement, values: set[str]) -> str:
    """Why a statement is not opened that may embed in one way or another."""
    match statement.tree:
        case ast.If(test=test) if flow([ast.Expr(test)]).needs & values and bound_names(statement.tree):
            return ", and asks what the images are: an embedding does not tell"
        case ast.For(target=target):
            for inner in loop_body(statement):
                said = f"`{inner.first_line}` (line {inner.place.line})"
                if any(isinstance(node, ast.Break | ast.Continue | ast.Return) for node in walk(inner.tree)):
                    return f", and its first round is not taken out: {said} may end it"
                rounds = {node.id for node in walk(target) if isinstance(node, ast.Name)}
                if isinstance(inner.tree, ast.If) and flow([ast.Expr(inner.tree.test)]).needs & rounds:
                    return f", and its first round is not taken out: {said} asks which one it is"
    return ""


def _written_out(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Statements in which ``y = x if flag else x[0]`` stands wherever ``y`` is read, if it is bound once."""
    counted = Counter(name for statement in statements for name in bound_names(statement.tree))
    done: list[Statement] = list(statements)
    for statement in statements:
        match statement.tree:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if counted[name] == 1 and _only_looks(value):
                number = done.index(statement) if statement in done else -1
            case _:
                continue
        text = f"({statement.code.partition('=')[2].strip()})"
        read = flow([ast.Expr(value)]).needs
        later: list[Statement] = []
        fresh = True
        for other in done[number + 1 :]:
            needs = name in flow([other.tree]).needs
            if needs and not fresh:
                break
            try:
                later.append(substitute(other, {name: text}) if needs else other)
            except Unsound:
                break
            fresh = fresh and not read & set(bound_names(other.tree))
        else:
            done = [*done[:number], *later] if number >= 0 else done
    return tuple(done)


def _only_looks(value: ast.expr) -> bool:
    """Whether an expression chooses among variables and what they hold."""
    for node in ast.walk(value):
        match node:
            case ast.Call(func=ast.Name("isinstance")) | ast.Name() | ast.Constant() | ast.IfExp() | ast.Subscript():
                pass
            case ast.expr_context() | ast.unaryop() | ast.UnaryOp() | ast.BoolOp() | ast.boolop():
                pass
            case _:
                return False
    return True


def _delegates(statements: Sequence[Statement]) -> str:
    """The inner model whose ``forward_intermediates`` a method calls, ``self.encoder``; empty if it calls none."""
    for statement in statements:
        for node in walk(statement.tree):
            if isinstance(node, ast.Call) and dotted(node.func).startswith("self."):
                model, _, method = dotted(node.func).rpartition(".")
                if method == INTERMEDIATES:
                    return model
    return ""
