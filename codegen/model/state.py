"""What the embedding leaves on the model for the stages, past its caller.

``self.H, self.W = x.shape[2:]`` in a patch embedding, and ``self.patch_embed.H`` after the blocks: two embeddings of
images of different sizes would then share one size, that of the later.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from codegen.model.facts import Facts
from codegen.syntax.dataflow import Unsound, dotted
from codegen.syntax.walking import walk


def check_state(facts: Facts, embed: Iterable[ast.stmt], stages: Iterable[ast.stmt]) -> None:
    """Refuse an embedding that is not all that its stages need.

    Args:
        facts: The class.
        embed: Statements up to the boundary.
        stages: Statements after it.

    Raises:
        Unsound: If the stages read an attribute that the embedding stores, itself or in a method or module of its own.
    """
    reads = [(statement, set(_read(facts, statement, frozenset()))) for statement in stages]
    wanted = frozenset(path for _, paths in reads for path in paths)
    left = {path for statement in embed for path in _stored(facts, statement, wanted, frozenset())}
    for statement, paths in reads:
        for path in sorted(paths & left):
            raise Unsound(statement, f"it reads `self.{path}`, which the embedding leaves on the model")


def _stored(facts: Facts, node: ast.AST, wanted: frozenset[str], seen: frozenset[str]) -> Iterator[str]:
    """Which paths from ``self`` lead to what code stores, its helper methods and the modules that it runs included."""
    for inner in walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield from wanted.intersection(_path(facts, inner))
    for method in _methods(facts, node, seen):
        yield from _stored(_at_home(facts), method, wanted, seen | {method.name})
    for attribute in {path.partition(".")[0] for path in wanted if "." in path} & facts.runs(node):
        inside = frozenset(path.removeprefix(f"{attribute}.") for path in wanted if path.startswith(f"{attribute}."))
        for cls in facts.classes(attribute):
            held = Facts.of(facts.index, cls)
            found = held.method("forward")
            if found is not None:
                for path in _stored(held, found[1], inside, frozenset()):
                    yield f"{attribute}.{path}"


def _read(facts: Facts, node: ast.AST, seen: frozenset[str]) -> Iterator[str]:
    """Paths from ``self`` to the attributes that code reads, helper methods included."""
    for inner in walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Load):
            yield from _path(facts, inner)
    for method in _methods(facts, node, seen):
        yield from _read(_at_home(facts), method, seen | {method.name})


def _methods(facts: Facts, node: ast.AST, seen: frozenset[str]) -> Iterator[ast.FunctionDef]:
    for name in set(facts.calls(node)) - seen:
        found = facts.method(name)
        if found is not None:
            yield found[1]


def _path(facts: Facts, node: ast.Attribute) -> Iterator[str]:
    path = dotted(node)
    if path.startswith(f"{facts.prefix}."):
        yield path.removeprefix(f"{facts.prefix}.")


def _at_home(facts: Facts) -> Facts:
    """The facts for the methods of a class, in which it is ``self`` whatever holds it."""
    return facts if facts.prefix == "self" else Facts(facts.index, facts.cls)
