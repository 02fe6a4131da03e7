"""Statements that only read the sizes of a tensor: ``B, _, H, W = x.shape``, ``H, W = x.shape[-2:]``."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What a statement reads of a shape.

    Attributes:
        tensor: The variable whose shape it reads.
        names: For each name that it binds the dimension: 0, or counted from the last, -1, wherever that is known.
        several: For each name that it binds to several sizes at once the first of these dimensions: -2 for
            ``size = x.shape[-2:]``.
    """

    tensor: str
    names: Mapping[str, int]
    several: Mapping[str, int]


def sizes_read(tree: ast.stmt, *, is_image_batch: bool = False) -> Sizes | None:
    """What a statement reads of the shape of one variable, if that is all it does.

    Args:
        tree: The statement.
        is_image_batch: Whether the tensor is known to have four dimensions.
    """
    match tree:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=whole, slice=ast.Slice() as part)):
            first, tensor = _first_of_last(part, is_image_batch), _tensor(whole)
            return Sizes(tensor, {}, {name: first}) if tensor and first is not None else None
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            one = _one(value, is_image_batch)
            return None if one is None else Sizes(one[0], {name: one[1]}, {})
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if len(names) < len(targets):
                return None
            first = -len(names)
            if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice):
                if _first_of_last(value.slice, is_image_batch) != first:
                    return None
                tensor = _tensor(value.value)
                return Sizes(tensor, {n: first + i for i, n in enumerate(names)}, {}) if tensor else None
            tensor = _tensor(value)
            return Sizes(tensor, {n: first + i if i else 0 for i, n in enumerate(names)}, {}) if tensor else None
    return None


def _tensor(value: ast.expr) -> str:
    """The variable of which an expression is the whole shape; empty if it is none."""
    match value:
        case ast.Attribute(value=ast.Name(id=tensor), attr="shape"):
            return tensor
        case ast.Call(func=ast.Attribute(value=ast.Name(id=tensor), attr="size"), args=[], keywords=[]):
            return tensor
    return ""


def _one(value: ast.expr, is_image_batch: bool) -> tuple[str, int] | None:
    match value:
        case ast.Subscript(value=whole, slice=index) if _tensor(whole):
            tensor = _tensor(whole)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=tensor), attr="size"), args=[index], keywords=[]):
            pass
        case _:
            return None
    dimension = _number(index)
    return None if dimension is None else (tensor, _from_last(dimension, is_image_batch))


def _first_of_last(part: ast.Slice, is_image_batch: bool) -> int | None:
    """The first dimension of a slice that reaches to the last one, counted from that."""
    first = _number(part.lower)
    if first is None or part.upper is not None or part.step is not None:
        return None
    first = _from_last(first, is_image_batch)
    return first if first < 0 else None


def _from_last(dimension: int, is_image_batch: bool) -> int:
    return dimension - 4 if is_image_batch and dimension > 0 else dimension


def _number(node: ast.expr | None) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
    return None
