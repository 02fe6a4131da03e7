"""Mutants of a method: its statements with some swapped, left out, repeated, renamed or made conditional."""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

_QUESTIONS = (
    "self.training",
    "self.grad_checkpointing",
    "self.flag",
    "len(self.blocks) > 2",
    "torch.jit.is_scripting()",
    "{name} is None",
    "{name}.any()",
)
_EFFECTS = (
    "self.seen = {name}",
    "self.training = False",
    "self.flag = {name} is None",
    "{name}.add_(1)",
    "{name} += 1",
    "{name}[:, 0] = 0",
    "self.patch_embed.grid_size = {name}",
    "self.blocks.append({name})",
    "late = lambda: {name}",
    "kept = [{name}]",
    "del {name}",
    "{name} = torch.rand(1)",
    "assert {name} is not None",
)


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements in a method."""
    for inner in ast.walk(node):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(inner, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def locals_of(method: ast.FunctionDef) -> list[str]:
    """The parameters of a method and the names that it binds, less ``self``."""
    names = [arg.arg for arg in (*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs)][1:]
    stores = [n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return list(dict.fromkeys([*names, *stores]))


Draw = Callable[[Any], Any]


def _name(draw: Draw, method: ast.FunctionDef) -> str:
    return draw(st.sampled_from(locals_of(method)))


def _question(draw: Draw, method: ast.FunctionDef) -> str:
    return draw(st.sampled_from(_QUESTIONS)).format(name=_name(draw, method))


def _place(draw: Draw, method: ast.FunctionDef) -> tuple[list[ast.stmt], int]:
    block = draw(st.sampled_from(list(blocks(method))))
    return block, draw(st.integers(0, len(block) - 1))


def _statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


def swap(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    block[n : n + 2] = reversed(block[n : n + 2])


def move(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    statement = block.pop(n)
    block.insert(draw(st.integers(0, len(block))), statement)


def delete(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    block[n : n + 1] = [] if len(block) > 1 else [ast.Pass()]


def duplicate(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    block.insert(draw(st.integers(n, len(block))), copy.deepcopy(block[n]))


def early_return(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    leave = f"return {_name(draw, method)}"
    block.insert(n, _statement(f"if {_question(draw, method)}: {leave}" if draw(st.booleans()) else leave))


def under_condition(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    test = ast.parse(_question(draw, method), mode="eval").body
    block[n] = ast.If(test, [block[n]], [copy.deepcopy(block[n])] if draw(st.booleans()) else [])


def repeat(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    loop = _statement(f"for {draw(st.sampled_from(['_', 'i', _name(draw, method)]))} in range(2): pass")
    loop.body = [block[n]]
    block[n] = loop


def in_place(draw: Draw, method: ast.FunctionDef) -> None:
    """``x = f(x)`` to ``x += f(x)``, and ``x = x + y`` to ``x += y``."""
    assignments = [
        (block, n)
        for block in blocks(method)
        for n, statement in enumerate(block)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    ]
    if assignments:
        block, n = draw(st.sampled_from(assignments))
        target, value = block[n].targets[0], block[n].value
        if isinstance(value, ast.BinOp) and isinstance(value.left, ast.Name) and value.left.id == target.id:
            value = value.right
        block[n] = ast.AugAssign(target, ast.Add(), value)


def rename(draw: Draw, method: ast.FunctionDef) -> None:
    """One name for another, everywhere or from a place on."""
    old, new = _name(draw, method), draw(st.sampled_from(["renamed", "_hidden", *locals_of(method)]))
    first = draw(st.sampled_from([s.lineno for block in blocks(method) for s in block]))
    for node in ast.walk(ast.Module(method.body, [])):
        if isinstance(node, ast.Name) and node.id == old and node.lineno >= first:
            node.id = new


def alias(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    block.insert(n, _statement(f"{draw(st.sampled_from(['alias', _name(draw, method)]))} = {_name(draw, method)}"))


def effect(draw: Draw, method: ast.FunctionDef) -> None:
    block, n = _place(draw, method)
    block.insert(n, _statement(draw(st.sampled_from(_EFFECTS)).format(name=_name(draw, method))))


MUTATIONS = (
    swap,
    move,
    delete,
    duplicate,
    early_return,
    under_condition,
    repeat,
    in_place,
    rename,
    alias,
    effect,
)


def mutate(draw: Draw, method: ast.FunctionDef, most: int = 3) -> ast.FunctionDef:
    """A mutant of a method, which stays as it is."""
    mutant = copy.deepcopy(method)
    for _ in range(draw(st.integers(1, most))):
        draw(st.sampled_from(MUTATIONS))(draw, mutant)
        mutant = ast.parse(ast.unparse(ast.fix_missing_locations(mutant))).body[0]
    return mutant
