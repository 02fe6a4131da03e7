"""What crosses a boundary: which names the stages need, which of them they can make again for themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.batch import batch_size, keeps_batch
from codegen.body import Statement
from codegen.dataflow import Unsound, dotted, flow
from codegen.facts import UNKNOWN, Facts
from codegen.tokens import assigned, token_targets

# Calls that only look.
_STEADY_CALLS = frozenset({"len", "isinstance", "getattr", "hasattr", "torch.jit.is_scripting", "torch.jit.is_tracing"})


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
    """

    embed: tuple[Statement, ...]
    stages: tuple[Statement, ...]
    fields: tuple[str, ...]
    recomputed: tuple[str, ...]
    embed_parameters: tuple[str, ...]
    stages_parameters: tuple[str, ...]


def depends_on_self_alone(node: ast.AST) -> bool:
    """Whether an expression only looks at attributes of ``self`` and constants, and calls nothing with an effect."""
    match node:
        case ast.Constant():
            return True
        case ast.Attribute():
            return dotted(node).startswith("self.") or dotted(node).startswith(("nn.", "torch.nn."))
        case ast.Name(id=name):
            return name == "self"
        case ast.Call(func=function, args=args, keywords=[]):
            known = dotted(function) in _STEADY_CALLS
            return known and all(depends_on_self_alone(arg) for arg in args)
        case ast.UnaryOp() | ast.BinOp() | ast.BoolOp() | ast.Compare() | ast.Tuple() | ast.IfExp():
            return all(
                depends_on_self_alone(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)
            )
    return False


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
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def cross(
    facts: Facts, embed: Sequence[Statement], stages: Sequence[Statement], parameters: Sequence[str], tokens: str
) -> Crossing:
    """Work out what crosses between two runs of statements.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.
        parameters: Parameters of the method without ``self``, the images first.
        tokens: The variable that holds the tokens at the boundary.

    Raises:
        Unsound: If a name may be unbound at the boundary, or is read before it is bound.
    """
    embed, stages = sink(embed, stages)
    before = flow([s.tree for s in embed], parameters)
    after = flow([s.tree for s in stages])
    early = before.needs & (before.may_bind | after.may_bind)
    if early:
        raise Unsound(embed[0].tree, f"`{min(early)}` is read before it is assigned")
    needed = after.needs & (before.may_bind | set(parameters))

    fields: list[str] = []
    recomputed: dict[str, str] = {}
    spare: set[Statement] = set()
    stages_parameters = [name for name in parameters[1:] if name in needed and name not in before.may_bind]
    order = list(dict.fromkeys([*(name for s in embed for name in _assigned_in_order(s.tree)), *parameters]))
    for name in (name for name in order if name in needed and name not in stages_parameters):
        again = _again(facts, embed, name, parameters, tokens)
        if again is None:
            if name not in before.bound:
                raise Unsound(stages[0].tree, f"`{name}` may be unbound where the embedding ends")
            fields.append(name)
        else:
            definition, text = again
            recomputed.setdefault(text, text)
            made = set(assigned(definition.tree))
            if not any(_mentions(s.tree, other) for other in made for s in embed if s is not definition):
                spare.add(definition)
    if tokens not in fields:
        raise Unsound(stages[0].tree, f"nothing after the boundary reads the tokens, `{tokens}`")
    fields.remove(tokens)
    kept = tuple(s for s in embed if s not in spare or set(assigned(s.tree)) & set(fields))
    reading = flow([s.tree for s in kept]).needs
    return Crossing(
        embed=kept,
        stages=tuple(stages),
        fields=(tokens, *fields),
        recomputed=tuple(recomputed),
        embed_parameters=tuple(name for name in parameters if name in reading or name == parameters[0]),
        stages_parameters=tuple(stages_parameters),
    )


def _assigned_in_order(tree: ast.AST) -> list[str]:
    stores = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return [node.id for node in sorted(stores, key=lambda node: (node.lineno, node.col_offset))]


def _again(
    facts: Facts, embed: Sequence[Statement], name: str, parameters: Sequence[str], tokens: str
) -> tuple[Statement, str] | None:
    """The one statement that binds a name, and how the stages can make the name without it, if they can."""
    binding = [s for s in embed if name in flow([s.tree]).may_bind]
    if len(binding) != 1 or name in parameters or not isinstance(binding[0].tree, ast.Assign):
        return None
    definition = binding[0]
    tree = binding[0].tree
    later = embed[embed.index(definition) + 1 :]
    size = batch_size(tree)
    if size is not None and size[0] == name:
        # the tensor must lie on the way from the images to the tokens, and nothing after it may touch its batch
        path = {parameters[0]}
        for statement in embed[: embed.index(definition)]:
            path |= set(token_targets(statement.tree, frozenset(path)))
        if size[1] in path and tokens in keeps_batch(facts, [s.tree for s in later], {size[1]}):
            return definition, f"{name} = {tokens}.shape[0]"
        return None
    once = all(sum(other in flow([s.tree]).may_bind for s in embed) == 1 for other in assigned(tree))
    if once and len(tree.targets) == 1 and depends_on_self_alone(tree.value) and _steady(facts, tree.value, later):
        return definition, definition.code
    return None


def _steady(facts: Facts, value: ast.expr, later: Iterable[Statement]) -> bool:
    """Whether nothing between here and the boundary can change what an expression of ``self`` sees."""
    seen = {dotted(node).split(".")[1] for node in ast.walk(value) if dotted(node).count(".")}
    for statement in later:
        runs = {attribute.partition(".")[0] for attribute in facts.runs(statement.tree)}
        stores = (n for n in ast.walk(statement.tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
        if UNKNOWN in runs or runs & seen or any(stores) or any(facts.calls(statement.tree)):
            return False
    return True
