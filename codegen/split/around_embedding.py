"""What a method does around its embedding, which may run after it: where it calculates with its arguments alone.

Features that are made on the way to the embedding become errors there.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.model.facts import Facts
from codegen.model.places import ANY, Place
from codegen.model.quiet import is_quiet
from codegen.source.index import Module
from codegen.split.alignment import Alignment
from codegen.split.boundary import Refused
from codegen.split.collecting import Collecting
from codegen.split.crossing import Crossing
from codegen.split.state import check_state, embedding_effects
from codegen.split.stem_parts import Joined
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound, flow, returns
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk


@dataclass(frozen=True)
class Around:
    """The statements in two.

    Attributes:
        made: Those that make the embedding, and those that read sizes on the way.
        moved: Those that stood between them.
        asking: Those of the others that ask what the model holds, by methods of that.
        refusing: The lines that take features from before the embedding.
        given: What stands for these after the embedding: they take it for a feature that is the same.
        rest: All that follow the embedding: these, and what stood there.
        plain: Those of them that ask of which class a stem is, each without that question.
    """

    made: tuple[Statement, ...]
    moved: tuple[Statement, ...]
    given: tuple[Statement, ...]
    asking: tuple[Statement, ...]
    refusing: tuple[int, ...]
    rest: tuple[Statement, ...]
    plain: Mapping[Statement, Statement]

    @classmethod
    def of(
        cls,
        facts: Facts,
        module: Module,
        joined: Joined,
        alignment: Alignment,
        images: str,
        numbers: frozenset[str],
    ) -> Around:
        """Take the statements of an embedding out of a method.

        Args:
            facts: The class.
            module: The file in which the method stands.
            joined: The statements of the method.
            alignment: Where the embedding is among them.
            images: The first parameter.
            numbers: Variables that list features by their index.

        Raises:
            Refused: If one that stands between them may not run after them, or what follows reads what they made.
        """
        statements = joined.statements
        values = alignment.made(statements, images)
        collecting = Collecting(frozenset(values | joined.lost), numbers)
        last = alignment.equal[-1] if alignment.equal else -1
        inside = sorted((*alignment.equal, *(n for n in alignment.sizes if n < last)))
        others = [n for n in alignment.others if n < last]
        made = [statements[n] for n in inside]
        mentioned = {node.id for s in made for node in walk(s.tree) if isinstance(node, ast.Name)}
        own: set[str] = set()
        moved = [collecting.refusing(statements[number]) for number in others]
        for number, statement in zip(others, moved, strict=True):
            text = f"`{statement.first_line}`"
            bound = set(bound_names(statement.tree))
            if returns(statement.tree):
                raise Refused(statement.place, f"{text} may return before the embedding is complete")
            if flow([statement.tree]).needs & values:
                before = {name for n in alignment.equal if n < number for name in bound_names(statements[n].tree)}
                on_its_way = flow([statement.tree]).needs & values & before
                what = "what the embedding makes on its way" if on_its_way else "the images"
                raise Refused(statement.place, f"{text} looks at {what}, which an embedding does not hold")
            if bound & mentioned:
                raise Refused(
                    statement.place, f"{text} binds `{min(bound & mentioned)}`, of which the embedding is made"
                )
            if not is_quiet(facts, module, statement.tree, own, asks_parts=True):
                raise Refused(statement.place, f"{text} may do more than calculate with the arguments of the method")
            own |= bound
        lost = joined.lost | {name for name, _ in joined.asked}
        without = [_without_lost(statement, lost, collecting) for statement in statements[last + 1 :]]
        for statement in (*made, *moved, *without) if lost else ():
            read = flow([statement.tree]).needs & lost
            if read:
                reason = f"it reads `{min(read)}`, which the stem makes on its way, after the embedding"
                raise Refused(statement.place, reason)
        pairs = [_asking(*pair, joined, collecting) for pair in zip(statements[last + 1 :], without, strict=True)]
        after, plain = [statement for statement, _ in pairs], dict(pairs)
        given = [joined.giving(statement, statements[last]) for statement in moved]
        asking = [statement for statement in moved if not is_quiet(facts, module, statement.tree, own)]
        stood = [*(statements[n] for n in others), *statements[last + 1 :]]
        refusing = [old.place.line for old, new in zip(stood, [*moved, *after], strict=True) if old != new]
        refusing += [*(loop.place.line for loop, _, _ in joined.calls), *joined.refuses]
        return cls(
            tuple(made), tuple(moved), tuple(given), tuple(asking), tuple(sorted(refusing)), (*given, *after), plain
        )


def _without_lost(statement: Statement, lost: frozenset[str], collecting: Collecting) -> Statement:
    """A statement after the embedding with an error where it takes a feature that was made on the way."""
    return collecting.refusing(statement) if lost and flow([statement.tree]).needs & lost else statement


def _asking(
    statement: Statement, refusing: Statement, joined: Joined, collecting: Collecting
) -> tuple[Statement, Statement]:
    """A statement with an error only where the feature is made on the way by this model, if that can be asked.

    Returns:
        It, and the same without the question, to which classes give the answer, and nothing that runs.
    """
    questions = [question for name, question in joined.asked if name in flow([statement.tree]).needs]
    if refusing == statement or len(questions) != 1 or flow([statement.tree]).needs & joined.lost:
        return refusing, refusing
    asking = (replace(collecting, early=question).refusing(statement) for question in (questions[0], "False"))
    return next(asking), next(asking)


def check_around(
    facts: Facts,
    crossing: Crossing,
    around: Around,
    parameters: Sequence[str],
    early: Sequence[Statement],
) -> None:
    """Refuse a method of which the rest reads what the embedding writes.

    Raises:
        Unsound: If it may.
    """
    looking = [statement for statement in around.given if statement not in around.asking]
    stages = tuple(around.plain.get(s, s) for s in crossing.stages if s not in looking)
    before = embedding_effects(facts, crossing, parameters)
    check_state(facts, replace(crossing, stages=stages), before, parameters, early)
    written = before.writes
    for statement in around.moved:  # they only look, so that the names of what they look at tell
        counted = _counted(statement)
        for node in walk(statement.tree):
            if isinstance(node, ast.Attribute):
                places = {place.name for place in written if node is not counted or not _is_inside(place, node.attr)}
                if {node.attr, ANY} & places:
                    raise Unsound(node, f"it looks at `{ast.unparse(node)}`, which the embedding may change")


def _counted(statement: Statement) -> ast.expr | None:
    """What a loop only counts the parts of, ``self.stem`` of ``for i, module in enumerate(self.stem)``."""
    match statement.tree:
        case ast.For(target=ast.Tuple(elts=[_, ast.Name(id=part)]), iter=ast.Call(args=[counted])) as loop:
            return None if part in flow(loop.body).needs else counted
    return None


def _is_inside(place: Place, attribute: str) -> bool:
    """Whether what is written is inside the parts of a module, which are not told of what holds them."""
    return place.kind == "attribute" and place.whole and place.root == place.name == attribute
