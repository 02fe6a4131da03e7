"""What crosses a boundary: which names the stages need, which of them they can make again for themselves."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.model.batch import batch_size, keeps_batch
from codegen.model.facts import Facts
from codegen.model.invariant import depends_on_self_alone, is_steady
from codegen.model.tokens import assigned, token_targets
from codegen.syntax.dataflow import Unsound, flow
from codegen.syntax.statements import Statement
from codegen.types import Parameter, Passage


@dataclass(frozen=True)
class Crossing:
    """How the stages get every name that they need.

    Attributes:
        embed: Statements of the embedding, less those that only the stages need.
        stages: Statements after the boundary, with the constants that only they need.
        fields: Names that cross, the tokens first.
        recomputed: Statements that make the others again, at the start of the stages.
        embed_parameters: Parameters that the embedding reads.
        stages_parameters: Parameters that the stages read.
        passages: How each name that was bound before the boundary gets to the stages, and why so.
    """

    embed: tuple[Statement, ...]
    stages: tuple[Statement, ...]
    fields: tuple[str, ...]
    recomputed: tuple[str, ...]
    embed_parameters: tuple[str, ...]
    stages_parameters: tuple[str, ...]
    passages: tuple[Passage, ...]


def _is_fresh_container(node: ast.AST) -> bool:
    match node:
        case ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
    return False


def sink(
    embed: Sequence[Statement], stages: Sequence[Statement]
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """Move constants that only the stages read (``intermediates = []``) from the embedding down to them."""
    needed = flow([s.tree for s in stages]).needs
    kept: list[Statement] = list(embed)
    sunk: list[Statement] = []
    for statement in reversed(embed):
        match statement.tree:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                others = [s for s in kept if s is not statement]
                constant = isinstance(value, ast.Constant) or _is_fresh_container(value)
                if constant and name in needed and not any(_mentions(s.tree, name) for s in others):
                    kept.remove(statement)
                    sunk.insert(0, statement)
    return tuple(kept), (*sunk, *stages)


def _mentions(tree: ast.AST, name: str) -> bool:
    for node in ast.walk(tree):
        match node:
            case (
                ast.Name(id=found) | ast.FunctionDef(name=found) | ast.alias(asname=str(found)) | ast.alias(name=found)
            ):
                if found.partition(".")[0] == name:
                    return True
    return False


def cross(
    facts: Facts, embed: Sequence[Statement], stages: Sequence[Statement], declared: Sequence[Parameter], tokens: str
) -> Crossing:
    """Work out what crosses between two runs of statements.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.
        declared: Parameters of the method without ``self``, the images first.
        tokens: The variable that holds the tokens at the boundary.

    Raises:
        Unsound: If a name may be unbound at the boundary, is read before it is bound, or cannot cross.
    """
    parameters = [parameter.name for parameter in declared]
    given_embed = embed
    embed, stages = sink(embed, stages)
    passages = [
        Passage(name, "moved", (statement.place.line,), "a constant that only the stages read")
        for statement in given_embed
        if statement not in embed
        for name in assigned(statement.tree)
    ]
    before = flow([s.tree for s in embed], parameters)
    after = flow([s.tree for s in stages])
    early = before.needs & (before.may_bind | after.may_bind)
    if early:
        raise Unsound(embed[0].tree, f"`{min(early)}` is read before it is assigned")
    needed = after.needs & (before.may_bind | set(parameters))

    fields: list[str] = []
    recomputed: dict[str, str] = {}
    spare: set[Statement] = set()
    # each method would get a **kwargs of its own, so that one could not see what the other does to it
    shared = {p.name for p in declared if p.kind != "**" or not any(_mentions(s.tree, p.name) for s in embed)}
    stages_parameters = [n for n in parameters[1:] if n in needed and n in shared and n not in before.may_bind]
    order = list(dict.fromkeys([*(name for s in embed for name in _assigned_in_order(s.tree)), *parameters]))
    lost = needed - set(order)
    if lost:
        raise Unsound(embed[0].tree, f"`{min(lost)}` is bound by an import before the boundary and read after it")
    for name in (name for name in order if name in needed and name not in stages_parameters):
        again = _again(facts, embed, name, parameters, tokens)
        lines = tuple(s.place.line for s in embed if name in flow([s.tree]).may_bind)
        if isinstance(again, str):
            if name not in before.bound:
                raise Unsound(stages[0].tree, f"`{name}` may be unbound at the boundary")
            if name.startswith("_"):
                raise Unsound(stages[0].tree, f"`{name}` would cross, and no field of a NamedTuple begins with `_`")
            fields.append(name)
            passages.append(Passage(name, "crosses", lines, "the tokens, which one masks" if name == tokens else again))
        else:
            definition, text = again
            size = batch_size(definition.tree)
            why = "it looks at self alone" if size is None else "the batch size, which the tokens have, too"
            passages.append(Passage(name, "recomputed", lines, why))
            recomputed.setdefault(text, text)
            made = set(assigned(definition.tree))
            # B, C, H, W = x.shape asserts that there are four dimensions: that stays where it is
            asserts = text != definition.code and isinstance(definition.tree, ast.Assign) and made != {name}
            if not asserts and not any(_mentions(s.tree, o) for o in made for s in embed if s is not definition):
                spare.add(definition)
    if tokens not in fields:
        raise Unsound(stages[0].tree, f"nothing after the boundary reads the tokens, `{tokens}`")
    fields.remove(tokens)
    kept = tuple(s for s in embed if s not in spare or set(assigned(s.tree)) & set(fields))
    given = flow([s.tree for s in kept])
    reading = given.needs | (set(fields) - given.bound)  # one that is rebound under a condition is handed on
    return Crossing(
        embed=kept,
        stages=tuple(stages),
        fields=(tokens, *fields),
        recomputed=tuple(recomputed),
        embed_parameters=tuple(name for name in parameters if name in reading or name == parameters[0]),
        stages_parameters=tuple(stages_parameters),
        passages=tuple(passages),
    )


def _assigned_in_order(tree: ast.AST) -> list[str]:
    stores = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return [node.id for node in sorted(stores, key=lambda node: (node.lineno, node.col_offset))]


def _again(
    facts: Facts, embed: Sequence[Statement], name: str, parameters: Sequence[str], tokens: str
) -> tuple[Statement, str] | str:
    """The one statement that binds a name, and how the stages can make the name without it; or why they cannot."""
    binding = [s for s in embed if name in flow([s.tree]).may_bind]
    if name in parameters:
        return "a parameter that is bound anew before the boundary" if binding else "a parameter that may have changed"
    if len(binding) != 1 or not isinstance(binding[0].tree, ast.Assign):
        return "what it is depends on the way that the statements took"
    definition = binding[0]
    tree = binding[0].tree
    later = embed[embed.index(definition) + 1 :]
    size = batch_size(tree)
    if size is not None and size[0] == name:
        # the tensor must lie on the way from the images to the tokens, and nothing after it may touch its batch
        path = {parameters[0]}
        for statement in embed[: embed.index(definition)]:
            path |= set(token_targets(statement.tree, frozenset(path)))
        if size[1] in path and tokens in keeps_batch(facts, [s.tree for s in (definition, *later)], size[1]):
            return definition, f"{name} = {tokens}.shape[0]"
        return "a size of the images that the tokens may not have"
    once = all(sum(other in flow([s.tree]).may_bind for s in embed) == 1 for other in assigned(tree))
    looks = _binds_names_alone(tree) and depends_on_self_alone(facts, tree.value)
    others = [s.tree for s in embed if s is not definition]
    if once and looks and is_steady(facts, tree.value, others, [s.tree for s in later]):
        return definition, definition.code
    if looks:
        return "it looks at self, which may have changed when the stages look"
    made_of = flow([tree]).needs & {*parameters, *(other for s in embed for other in assigned(s.tree))}
    if made_of:
        return f"it is made of {', '.join(f'`{other}`' for other in sorted(made_of))}"
    return "making it runs more than a look at self"


def _binds_names_alone(tree: ast.Assign) -> bool:
    """Whether the target is ``H`` or ``H, W``: ``*rest`` would be another list, ``x.y`` another effect."""
    (target, *others) = tree.targets
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return not others and all(isinstance(name, ast.Name) for name in names)
