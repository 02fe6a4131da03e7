"""Whether the stages embed the images a second time, where no mask of the tokens reaches.

A model of two streams may run the blocks of the first before the patch embedding of the second. The images would cross
beside the tokens then, and what a mask hides of these would come back by the other way.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence

from codegen.model.facts import Facts, Role
from codegen.model.tokens import reads
from codegen.split.crossing import Crossing
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import Unsound
from codegen.syntax.walking import walk_for


def check_images(facts: Facts, crossing: Crossing, images: str) -> None:
    """Refuse stages that run a stem on the images.

    Args:
        facts: The class.
        crossing: Its halves.
        images: The parameter that takes them.

    Raises:
        Unsound: At the call.
    """
    tokens, *others = crossing.fields
    held = _held(facts, [s.tree for s in crossing.embed], frozenset({images})) - {tokens}
    ran = {attribute.partition(".")[0] for s in crossing.embed for attribute in facts.runs(s.tree)}
    _require_no_other_images(facts, crossing, {name for name in ran if facts.role(name) is Role.STEM})
    if held.isdisjoint(others):
        return
    for statement in crossing.stages:
        for call in walk_for(statement.tree, ast.Call):
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            embeds = [name for name in _run_by(facts, call) if name in ran or facts.role(name) is Role.STEM]
            if embeds and any(reads(value, held) for value in given):  # self.patch_embed[i](images) of another round
                raise Unsound(
                    call,
                    f"`{ast.unparse(call)}` embeds the images after the first blocks, where no mask of the tokens "
                    "reaches: do that before them",
                )
        held = _held(facts, [statement.tree], held)


def _require_no_other_images(facts: Facts, crossing: Crossing, stems: Collection[str]) -> None:
    """Refuse stages that run the stem of the embedding on other images, ``self.encode(before, after)``."""
    others = frozenset(crossing.stages_parameters)
    for statement in crossing.stages if others else ():
        for call in walk_for(statement.tree, ast.Call):
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            embeds = any(name.partition(".")[0] in stems for name in _run_by(facts, call))
            if embeds and any(reads(value, others) for value in given):
                raise Unsound(
                    call,
                    f"`{ast.unparse(call)}` embeds other images after the first blocks, where no mask of the tokens "
                    "reaches: embed them before the first blocks, or split a method that takes one image",
                )
        others = _held(facts, [statement.tree], others)


def _held(facts: Facts, trees: Sequence[ast.stmt], names: frozenset[str]) -> frozenset[str]:
    """The variables that hold images after statements: given to no module yet, but perhaps flipped or normalised."""
    for tree in trees:
        if not isinstance(tree, ast.Assign | ast.AnnAssign | ast.AugAssign) or tree.value is None:
            continue  # what is made under a condition may be either
        bound = frozenset(bound_names(tree))
        made = reads(tree.value, names) or (isinstance(tree, ast.AugAssign) and not bound.isdisjoint(names))
        runs = any(_run_by(facts, call) for call in walk_for(tree.value, ast.Call))
        names = names | bound if made and not runs else names - bound
    return names


def _run_by(facts: Facts, call: ast.Call) -> list[str]:
    """The modules that a call runs: by their names, by a method that does, or as it is given them."""
    handed = [value for value in call.args if facts.is_attribute(value)]  # checkpoint(self.patch_embed2, images)
    run = ast.Call(call.func, handed, [])
    return [attribute for attribute in facts.runs(run) if facts.is_module(attribute, run)]
