"""What is known of tensors by their dimensions, and what torch's operations make of them.

A dimension keeps its role (it counts images, channels, rows, columns or patches) as long as an operation keeps it in
one piece, or joins rows and columns to patches.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Dim(NamedTuple):
    """A dimension of a tensor.

    Attributes:
        role: What it counts: ``B``, ``C``, ``H``, ``W``, ``N`` for the patches of a flattened grid and any prefix
            tokens, or empty.
        size: How many: a number, or whatever names one size alone; ``None`` if it may be any.
    """

    role: str = ""
    size: Hashable = None


@dataclass(frozen=True)
class Tensor:
    """A tensor, by its dimensions; an ``open`` one may have more after them."""

    dims: tuple[Dim, ...]
    open: bool = False


@dataclass(frozen=True)
class Size:
    """A number: the size of a dimension."""

    dim: Dim


@dataclass(frozen=True)
class Items:
    """A tuple or a ``mutable`` list, by its elements; an ``open`` one may have more after them."""

    values: tuple[Known | None, ...]
    open: bool = False
    mutable: bool = False


@dataclass(frozen=True)
class Nothing:
    """``None``. What may be nothing or a tensor is a tensor wherever its shape matters: nothing has none."""


@dataclass(frozen=True)
class Constant:
    """What is the same whatever the images are and however many.

    Attributes:
        number: Whether it is a number, or another new object, into which others put nothing.
    """

    number: bool = False


@dataclass(frozen=True)
class Count:
    """The number of images, or what is made of it: half of it, a list with an element for each of them."""


@dataclass(frozen=True)
class Given:
    """What a caller gives beside images, or a layer of a library makes of them: a row for each of them, and sizes."""


Known: TypeAlias = Tensor | Size | Items | Nothing | Constant | Count | Given
Value: TypeAlias = Known | None

ANY = Dim()
BATCH = "batch"
"""The size of the dimension of the images."""
SEVERAL = Dim("", ("product", BATCH, None))
"""A dimension that has several places for each image, or one for several."""

MOVED_ROWS = Dim("", ("product", BATCH, "moved"))
"""The first dimension of what was made of rows in a way that is not followed."""


def is_batch(dim: Dim) -> bool:
    """Whether a dimension is that of the images, or has it as a factor."""
    return dim.role == "B" or "'batch'" in repr(dim.size)


def first_dims(value: Value, count: int) -> Value:
    """What is left of a tensor that is only known up to a dimension."""
    return Tensor(value.dims[:count], open=True) if isinstance(value, Tensor) and value.dims[:count] else None


def join_dims(left: Dim, right: Dim) -> Dim:
    return Dim(left.role if left.role == right.role else "", left.size if left.size == right.size else None)


def broadcast(left: Tensor, right: Tensor) -> Value:
    """The tensor that an elementwise operation makes of two."""
    if left.open or right.open:
        if left.open and right.open:
            return None
        open_, closed = (left, right) if left.open else (right, left)
        # dimensions are paired from the last: the first stay what they are if the other surely has fewer
        return first_dims(open_, len(open_.dims) - len(closed.dims)) if closed.dims else open_
    rank = max(len(left.dims), len(right.dims))
    missing = Dim("", 1)
    pairs = zip(*([missing] * (rank - len(t.dims)) + list(t.dims) for t in (left, right)), strict=True)
    return Tensor(tuple(_broadcast_dim(one, other) for one, other in pairs))


def _broadcast_dim(one: Dim, other: Dim) -> Dim:
    if one.size == 1 or (one.size is not None and one.size == other.size):
        return Dim(other.role or one.role, other.size)
    if other.size == 1:
        return one
    if "B" in (one.role, other.role):
        return ANY  # the other may be larger, or this one be 1
    return Dim(one.role or other.role if not (one.role and other.role and one.role != other.role) else "")


def merged(dims: Sequence[Dim]) -> Dim:
    """The dimension that several in a row become."""
    if len(dims) == 1:
        return dims[0]
    role = "N" if {dim.role for dim in dims} == {"H", "W"} else ""
    sizes = tuple(dim.size for dim in dims)
    known = all(size is not None for size in sizes) or BATCH in sizes  # of which it has several, whatever the number
    return Dim(role, ("product", *sizes) if known else None)


def number_of(node: ast.AST | None) -> int | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError):
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def argument_of(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    """An argument by its place or its name."""
    named = next((keyword.value for keyword in call.keywords if keyword.arg in names), None)
    return call.args[place] if place < len(call.args) else named


def dimension(tensor: Tensor, node: ast.expr | None) -> int | None:
    """A dimension that an argument names, counted from the front; ``None`` if it is not known."""
    number = number_of(node)
    if number is not None and number < 0:
        number = None if tensor.open else number + len(tensor.dims)
    return None if number is None or number < 0 else number


def reduced(tensor: Tensor, axes: ast.expr | None, kept: ast.expr | None) -> Value:
    """What ``mean`` and the like leave."""
    numbers = [
        dimension(tensor, axis) for axis in (axes.elts if isinstance(axes, ast.Tuple | ast.List) else [axes]) if axis
    ]
    keeps = isinstance(kept, ast.Constant) and kept.value is True
    if not numbers or not (kept is None or isinstance(kept, ast.Constant)):
        return None
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or max(known) >= len(tensor.dims):
        return first_dims(tensor, min(known)) if tensor.open and len(known) == len(numbers) else None
    one = [Dim("", 1)] if keeps else []
    dims = [new for n, dim in enumerate(tensor.dims) for new in (one if n in known else [dim])]
    return Tensor(tuple(dims), tensor.open)


def resized(value: Tensor, axes: int, call: ast.Call, *, mixes: bool) -> Value:
    """What a convolution or pooling over some axes gives, 0 for any: another grid.

    Args:
        value: What it is given.
        axes: How many axes the grid has.
        call: What makes the module, or calls the function.
        mixes: Whether it makes other channels of the second dimension, as a convolution does.
    """
    if axes and not (value.open or len(value.dims) == axes + 2):
        return None  # without a batch in front
    if not value.dims:
        return None
    batch, *others = value.dims
    if axes == 2 and value.open and is_batch(batch) and mixes:  # it takes no other
        return Tensor((batch, *(Dim(role, ("of", id(call), role)) for role in "CHW")))
    dims = [changed(dim, dim.role, call) for dim in others]
    if mixes and others and others[0].role not in ("", "C"):
        dims = [Dim("", dim.size) for dim in dims]
    elif mixes and len(others) == 3 and not any(dim.role for dim in others[1:]):
        dims = [Dim(role, dim.size) for role, dim in zip("CHW", dims, strict=True)]
    elif mixes and others:
        dims[0] = Dim("C", dims[0].size)
    return Tensor((batch, *dims), value.open)


def changed(dim: Dim, role: str, call: ast.Call) -> Dim:
    """A dimension of another size, which is that of whatever the same code makes of the same."""
    return Dim(role, None if dim.size is None else (id(call), dim.size))


def one_list(call: ast.Call) -> Sequence[ast.expr]:
    """Arguments that may come as one tuple: ``permute(0, 2, 1)``, ``permute((0, 2, 1))``."""
    match call.args:
        case [ast.Tuple(elts=elements) | ast.List(elts=elements)]:
            return elements
    return call.args


def flattened(value: Tensor, call: ast.Call, start: int = 0) -> Value:
    first = argument_of(call, 0, "start_dim")
    last = argument_of(call, 1, "end_dim")
    begin = start if first is None else dimension(value, first)
    if begin is None:
        return None
    if value.open:
        until = dimension(value, last) if last is not None else None
        if until is not None and begin <= until < len(value.dims):
            return Tensor(
                (*value.dims[:begin], merged(value.dims[begin : until + 1]), *value.dims[until + 1 :]), open=True
            )
        if not begin and until and any(map(is_batch, value.dims[: until + 1])):
            return Tensor((SEVERAL,), open=True)
        if last is None and begin:  # all that follow become one
            known = value.dims[:begin]
            return Tensor((*known, *[ANY] * (begin + 1 - len(known))))
        return first_dims(value, begin)
    end = len(value.dims) - 1 if last is None else dimension(value, last)
    if end is None or begin > end or end >= len(value.dims):
        return None if begin >= len(value.dims) else first_dims(value, begin)
    return Tensor((*value.dims[:begin], merged(value.dims[begin : end + 1]), *value.dims[end + 1 :]))


def transposed(value: Tensor, numbers: Sequence[int | None]) -> Value:
    match numbers:
        case [int(one), int(other)]:
            missing = max(one, other) + 1 - len(value.dims)
            if missing > 0 and not value.open:
                return None
            dims = [*value.dims, *[ANY] * missing]
            dims[one], dims[other] = dims[other], dims[one]
            return Tensor(tuple(dims), value.open)
    return None


def permuted(value: Tensor, arguments: Sequence[ast.expr], _: Sequence[int | None]) -> Value:
    rank = len(arguments)
    if value.open and len(value.dims) <= rank and not any(isinstance(node, ast.Starred) for node in arguments):
        value = Tensor((*value.dims, *[ANY] * (rank - len(value.dims))))  # it names all of them
    numbers = [dimension(value, argument) for argument in arguments]
    order = [number for number in numbers if number is not None]
    if not value.open and sorted(order) == list(range(len(value.dims))) == list(range(rank)):
        return Tensor(tuple(value.dims[number] for number in order))
    return _leading(value, numbers)


def _leading(value: Tensor, numbers: Sequence[int | None]) -> Value:
    """What of a permutation is known from its start."""
    dims = []
    for number in numbers:
        if number is None or number >= len(value.dims):
            break
        dims.append(value.dims[number])
    return Tensor(tuple(dims), open=True) if dims else None


def reshaped(value: Tensor, sizes: Sequence[Value], call: ast.Call) -> Value:
    """``reshape``: dimensions keep what they count as long as each new one is made of old ones in their order."""
    if not are_sizes(call, sizes):
        first = sizes[0] if sizes else None
        same = isinstance(first, Size) and value.dims[:1] == (first.dim,) and first.dim.size is not None
        return first_dims(value, 1) if same else None
    new = [size.dim if isinstance(size, Size) else SEVERAL if isinstance(size, Count) else ANY for size in sizes]
    free = next((n for n, argument in enumerate(one_list(call)) if number_of(argument) == -1), None)
    if free is not None:
        new[free] = ANY
    dims = _made_into(value, new, free)
    if len(dims) == len(new):
        return Tensor(tuple(dims))
    unsure = [ANY if dim is SEVERAL else Dim("", dim.size) for dim in new[len(dims) :]]
    if not dims and any(map(is_batch, value.dims)):
        unsure[0] = SEVERAL if is_batch(new[0]) and new[0].size != BATCH else MOVED_ROWS
    return Tensor((*dims, *unsure))


def taken_apart(dim: Dim, parts: Sequence[Dim]) -> Sequence[Dim] | None:
    """What a dimension is made into, where one part at most has no size; ``None`` if that is not sure."""
    free = [number for number, part in enumerate(parts) if part.size is None]
    dims = _made_into(Tensor((dim,)), parts, free[0] if free else None) if len(free) < 2 else ()
    return dims if len(dims) == len(parts) else None


def _made_into(value: Tensor, new: Sequence[Dim], free: int | None) -> Sequence[Dim]:
    """The first of new dimensions that are surely made of those of a tensor in their order.

    Args:
        value: The tensor.
        new: The new dimensions.
        free: The one that takes what the others leave.
    """
    old = [_Factor(dim, size) for dim in value.dims for size in _factors(dim)]
    first, length = _matched(old, new[:free])
    if free is None or len(first) < free or value.open:
        return first
    old, new = old[length:], new[free + 1 :]
    last, length = _matched(old[::-1], new[::-1], backwards=True)
    return first if len(last) < len(new) else (*first, _joined(old[: len(old) - length]), *last[::-1])


class _Factor(NamedTuple):
    """A part of the size of a dimension."""

    dim: Dim
    size: Hashable


def _factors(dim: Dim) -> Sequence[Hashable]:
    """What the size of a dimension is the product of, in the order of its places; ``None`` for what is not known."""
    return _factors_of(dim.size)


def _factors_of(size: Hashable) -> Sequence[Hashable]:
    match size:
        case SEVERAL.size | MOVED_ROWS.size:
            return (None,)
        case ("product", *sizes):
            return [factor for inner in sizes for factor in _factors_of(inner)]
    return (size,)


def _joined(factors: Sequence[_Factor]) -> Dim:
    """The dimension that neighbouring factors make: old ones that are joined, or a part of one."""
    dims = [dim for dim, _ in itertools.groupby(factors, lambda factor: factor.dim)]
    if [factor.size for factor in factors] == [size for dim in dims for size in _factors(dim)]:
        return merged(dims) if dims else Dim("", 1)
    return merged([Dim("", factor.size) for factor in factors])


def _matched(old: Sequence[_Factor], new: Sequence[Dim], *, backwards: bool = False) -> tuple[list[Dim], int]:
    """The new dimensions in a row that are surely made of old ones in their order, and of how many factors."""
    dims: list[Dim] = []
    at = 0
    for dim in new:
        wanted = list(_factors(dim))[:: -1 if backwards else 1]
        taken = old[at : at + len(wanted)]
        if None in wanted or [factor.size for factor in taken] != wanted:
            break
        dims.append(_joined(taken[:: -1 if backwards else 1]))
        at += len(wanted)
    return dims, at


def are_sizes(call: ast.Call, sizes: Sequence[Value]) -> bool:
    """Whether the arguments of ``reshape`` are one size for each dimension, and not a tuple of them or a type."""
    starred = any(isinstance(argument, ast.Starred) for argument in one_list(call))
    listed = len(call.args) > 1 or one_list(call) is not call.args
    return bool(sizes) and not starred and not call.keywords and (listed or isinstance(sizes[0], Size))


def expanded(value: Tensor, sizes: Sequence[Value], call: ast.Call, name: str) -> Value:
    """``expand`` and ``repeat``, with a size or a number for each dimension, and for new ones before them."""
    arguments = one_list(call)
    if not arguments or any(isinstance(argument, ast.Starred) for argument in arguments) or call.keywords:
        return None
    if value.open:
        return _expanded_open(value, sizes, arguments, name)
    if len(sizes) < len(value.dims):
        return None
    old = [Dim("", 1)] * (len(sizes) - len(value.dims)) + list(value.dims)
    dims = []
    for dim, size, argument in zip(old, sizes, arguments, strict=True):
        keeps = number_of(argument) == (-1 if name == "expand" else 1)
        if keeps:
            dims.append(dim)
        elif isinstance(size, Size) and dim.size == 1:
            dims.append(size.dim)
        elif name == "repeat":
            dims.append(SEVERAL if is_batch(dim) else ANY)
        else:
            dims.append(size.dim if isinstance(size, Size) else ANY)
    return Tensor(tuple(dims))


def _expanded_open(value: Tensor, sizes: Sequence[Value], arguments: Sequence[ast.expr], name: str) -> Value:
    """What is known where there may be more dimensions: -1 stands for one that is there, and so for the first."""
    first = number_of(arguments[0])
    if name == "repeat":
        return Tensor((SEVERAL,), open=True) if any(map(is_batch, value.dims[:1])) and first not in (None, 1) else None
    if first != -1 or len(sizes) < len(value.dims):
        return None
    known = [*value.dims, *[ANY] * (len(sizes) - len(value.dims))]
    new = [size.dim if isinstance(size, Size) else ANY for size in sizes]
    pairs = zip(known, new, arguments, strict=True)
    return Tensor(tuple(old if number_of(argument) == -1 else dim for old, dim, argument in pairs))


def stacked(tensors: Sequence[Value], place: int | None) -> Value:
    """``torch.stack``: one dimension more, which counts the tensors. All of them have the dimensions of any."""
    known = max((t for t in tensors if isinstance(t, Tensor)), key=lambda t: len(t.dims), default=None)
    if known is None or place is None or not 0 <= place <= len(known.dims):
        return None
    return Tensor((*known.dims[:place], Dim("", len(tensors)), *known.dims[place:]), known.open)


def repeated(value: Tensor, along: int | None) -> Value:
    """``repeat_interleave``: another number of places in one dimension."""
    if along is None:
        return None
    if along == 0:
        return Tensor((SEVERAL,), open=True) if any(map(is_batch, value.dims[:1])) else None
    return first_dims(value, along)


def padded(value: Tensor, call: ast.Call) -> Value:
    """``F.pad``: it counts dimensions from the last."""
    match call.args:
        case [_, ast.Tuple(elts=sides) | ast.List(elts=sides), *_] if len(sides) % 2 == 0:
            padded = len(sides) // 2
            if value.open or padded > len(value.dims):
                return first_dims(value, 1) if padded <= 2 and value.dims and value.open else None
            kept = len(value.dims) - padded
            return Tensor((*value.dims[:kept], *(Dim("" if d.role == "B" else d.role) for d in value.dims[kept:])))
    return None


def item(value: Value, index: ast.expr) -> Value:
    """An element of a tuple, or a part of it."""
    if not isinstance(value, Items):
        return None
    if isinstance(index, ast.Slice):
        bounds = [index.lower, index.upper, index.step]
        numbers = [number_of(bound) for bound in bounds]
        known = all(bound is None or number is not None for bound, number in zip(bounds, numbers, strict=True))
        from_front = numbers[2] is None and all(number is None or number >= 0 for number in numbers)
        if not known or (value.open and not from_front):
            return None
        # of an open one, the elements up to a known end may still be fewer than that
        return Items(value.values[slice(*numbers)], value.open, value.mutable)
    number = number_of(index)
    if number is None or not -len(value.values) <= number < len(value.values) or (value.open and number < 0):
        return None
    return value.values[number]


def indexed(value: Tensor, index: ast.expr) -> Value:
    """What ``x[:, 0]``, ``x[:, 1:]``, ``x[:, None]`` and the like give."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    dims: list[Dim] = []
    at = 0
    for number, part in enumerate(parts):
        match part:
            case ast.Constant(value=None):
                dims.append(Dim("", 1))
                continue
            case ast.Slice(lower=None, upper=None, step=None):
                pass
            case ast.Slice():
                if at < len(value.dims):
                    role = value.dims[at].role
                    dims.append(Dim("" if role == "B" else role))
                    at += 1
                    continue
            case _ if number_of(part) is not None:
                if at < len(value.dims):
                    at += 1
                    continue
            case _:  # an ellipsis, or an array: what comes before it stays, if it is the only one
                plain = all(
                    isinstance(p, ast.Slice | ast.Constant) or number_of(p) is not None for p in parts[number + 1 :]
                )
                return Tensor(tuple(dims), open=True) if dims and plain else None
        if at >= len(value.dims):
            return Tensor(tuple(dims), open=True) if dims else None
        dims.append(value.dims[at])
        at += 1
    return Tensor((*dims, *value.dims[at:]), value.open)


def is_mutable(value: Value) -> bool:
    """Whether a value is a list, or holds one."""
    return isinstance(value, Items) and (value.mutable or any(map(is_mutable, value.values)))
