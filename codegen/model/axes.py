"""What the patterns of einops make of dimensions: ``rearrange(x, "b c h w -> b (h w) c")``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Hashable, Mapping, Sequence

from codegen.model.dimensions import ANY, MOVED_ROWS, Dim, Tensor, Value, is_batch, merged, taken_apart

_AXIS = re.compile(r"\([^()]*\)|\S+")
_Axes = Sequence[tuple[str, ...]]


def pattern_of(call: ast.Call, place: int) -> str:
    """The pattern that a call is given as a plain text, empty if it is not in sight."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "pattern"]
    given = named or call.args[place : place + 1]
    match given:
        case [ast.Constant(value=str(pattern))]:
            return pattern
    return ""


def rearranged(
    value: Value, pattern: str, sizes: Mapping[str, Dim], name: Callable[[int], Hashable] = lambda _: None
) -> Value:
    """What ``rearrange``, ``repeat`` and ``reduce`` give.

    Args:
        value: What they are given.
        pattern: ``b c h w -> b (h w) c``.
        sizes: Of axes, as far as the call names them.
        name: Names the size of a dimension that has none.
    """
    before, arrow, after = pattern.partition("->")
    if not arrow:
        return None
    dims = value.dims if isinstance(value, Tensor) else ()
    left, right = _axes(before), _axes(after)
    known = dict(sizes)
    for place, axes in enumerate(left):
        dim = dims[place] if place < len(dims) else ANY
        if axes == ("...",):
            break  # how many dimensions that stands for is not known
        if len(axes) == 1:
            known[axes[0]] = dim if dim.size is not None else Dim(dim.role, name(place))
            continue
        parts = taken_apart(dim, [sizes.get(axis, ANY) for axis in axes])
        if parts is not None:
            known.update(zip(axes, parts, strict=True))
        elif is_batch(dim):
            return Tensor((MOVED_ROWS,), open=True)
    spread = ("...",) in right
    upto = right.index(("...",)) if spread else len(right)
    return Tensor(tuple(_dim(axes, known) for axes in right[:upto]), open=spread)


def packed(tensors: Sequence[Tensor], pattern: str) -> Value:
    """The tensor that ``pack`` gives of several, ``b * d``: all have the axes with names."""
    axes = _axes(pattern)
    first = next((tensor.dims[:1] for tensor in tensors if tensor.dims), ())
    return Tensor(first, open=True) if first and axes[:1] != [("*",)] else None


def _dim(axes: Sequence[str], known: Mapping[str, Dim]) -> Dim:
    dims = [Dim("", 1) if axis == "1" else known.get(axis, ANY) for axis in axes]
    if not dims:
        return Dim("", 1)
    return dims[0] if len(dims) == 1 else merged(dims)


def _axes(side: str) -> list[tuple[str, ...]]:
    return [tuple(axis.strip("()").split()) for axis in _AXIS.findall(side)]
