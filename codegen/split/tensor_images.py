"""Questions whether the images are a dictionary, in a method whose embedding is made of a tensor.

``forward_intermediates`` of a NaFlexVit takes a dictionary of patches and their coordinates as well, and embeds what is
in it; ``forward_features`` takes those by themselves. What is left is what it does with a tensor.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from codegen.source.index import Module
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.statements import Statement, arms


def is_tensor(module: Module, annotation: ast.expr | None) -> bool:
    """Whether a parameter is annotated as a tensor, and as nothing else."""
    head, _, rest = dotted(annotation).partition(".") if annotation is not None else ("", "", "")
    return bool(head) and module.origin(head, rest) == "torch.Tensor"


def as_tensor(module: Module, statements: Sequence[Statement], images: str) -> tuple[Statement, ...]:
    """Statements of a method without those that run for a dictionary.

    Args:
        module: The file of the method.
        statements: Those of the method.
        images: Its first parameter, a tensor.
    """
    taken = module.bindings.keys() | {name for statement in statements for name in bound_names(statement.tree)}
    if {"isinstance", "dict"} & taken:
        return tuple(statements)  # they may be other things than the builtins
    found: list[Statement] = []
    for number, statement in enumerate(statements):
        asks = _asks(module, statement.tree, images)
        if images in bound_names(statement.tree) and not asks:
            return (*found, *statements[number:])
        found += arms(statement)[2] if asks else (statement,)
    return tuple(found)


def _asks(module: Module, node: ast.stmt, images: str) -> bool:
    match node:
        case ast.If(
            test=ast.Call(func=ast.Name("isinstance"), args=[ast.Name(id=name), ast.Name(id=kind)], keywords=[])
        ):
            return name == images and (kind == "dict" or module.origin(kind) == "typing.Dict")
    return False
