"""The dimensions of tensors, followed through code: what each counts, and how many it is.

Two questions are answered by them. In which order do the tokens lie at the boundary, ``NLC``, ``NHWC`` or ``NCHW``, for
docstrings and the manifest? And is their first dimension still the batch of the images, so that the stages may read the
batch size from them, and a caller repeat or select rows (several masks an image)?

Code is believed only as far as it can be read: what a call into the unknown gives is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from codegen.model.domain import Domain
from codegen.model.facts import Facts
from codegen.model.interpreter import Scope, interpret
from codegen.model.library import (
    FILLED,
    IN_PLACE_METHODS,
    SHAPE_KEEPING_FUNCTIONS,
    SHAPE_KEEPING_METHODS,
    SHAPE_KEEPING_MODULES,
    SPATIAL_MODULES,
)
from codegen.syntax.dataflow import dotted

SHAPES = {"NLC": "(B, N, C)", "NHWC": "(B, H, W, C)", "NCHW": "(B, C, H, W)"}
_LAYOUTS = {"BNC": "NLC", "BHWC": "NHWC", "BCHW": "NCHW"}


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


Known: TypeAlias = Tensor | Size | Items | Nothing
Value: TypeAlias = Known | None

_ANY = Dim()


def batch_size(tree: ast.stmt) -> tuple[str, str] | None:
    """The name that a statement gives to the size of a tensor's first dimension, and the tensor.

    ``B = x.shape[0]``, ``B = x.size(0)``, ``B, N, C = x.shape`` and ``B, N = x.shape[:2]``.
    """
    match tree:
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Subscript(value=ast.Attribute(value=ast.Name(id=x), attr="shape"), slice=ast.Constant(value=0)),
        ):
            return name, x
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=x), attr="size"), args=[ast.Constant(value=0)]),
        ):
            return name, x
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=value):
            match value:
                case (
                    ast.Attribute(value=ast.Name(id=x), attr="shape")
                    | ast.Subscript(
                        value=ast.Attribute(value=ast.Name(id=x), attr="shape"), slice=ast.Slice(lower=None, step=None)
                    )
                    | ast.Call(func=ast.Attribute(value=ast.Name(id=x), attr="size"), args=[])
                ):
                    return name, x
    return None


def keeps_batch(facts: Facts, statements: Sequence[ast.stmt], tensor: str) -> frozenset[str]:
    """Tensors whose first dimension is the batch after some statements, as far as code can be followed.

    Args:
        facts: The class whose method they are in.
        statements: From where the batch size is read to the boundary.
        tensor: The variable that it is read from.
    """
    given = Tensor((Dim("B", "batch"),), open=True)
    names = interpret(Shape(believes_defaults=False), facts, statements, {tensor: given})
    return frozenset(name for name, value in names.items() if isinstance(value, Tensor) and _has_batch(value))


def _has_batch(value: Tensor) -> bool:
    return value.dims[:1] == (Dim("B", "batch"),)


def token_order(facts: Facts, statements: Sequence[ast.stmt], images: str, tokens: str) -> str:
    """The layout of the tokens after some statements, empty where the code does not tell.

    Args:
        facts: The class.
        statements: Up to the boundary.
        images: The parameter that takes the images, NCHW.
        tokens: The variable that holds the tokens.
    """
    given = Tensor((Dim("B", "batch"), Dim("C", "channels"), Dim("H", "height"), Dim("W", "width")))
    value = interpret(Shape(believes_defaults=True), facts, statements, {images: given}).get(tokens)
    if not isinstance(value, Tensor) or value.open:
        return ""
    return (
        _LAYOUTS.get("B" + "".join(dim.role or "?" for dim in value.dims[1:]), "") if value.dims[0].role in "B" else ""
    )


# Operations on dimensions


def _as_token(name: str, value: Value) -> Value:
    """A parameter of a model; one of (1, 1, C) whose name says so is a prefix token."""
    sizes = [dim.size for dim in value.dims] if isinstance(value, Tensor) else []
    if "token" in name and len(sizes) == 3 and sizes[:2] == [1, 1]:
        return Tensor((Dim("", 1), Dim("N", 1), Dim("C", sizes[2])))
    return value


def _first(value: Value, count: int) -> Value:
    """What is left of a tensor that is only known up to a dimension."""
    return Tensor(value.dims[:count], open=True) if isinstance(value, Tensor) and value.dims[:count] else None


def _join_dims(left: Dim, right: Dim) -> Dim:
    return Dim(left.role if left.role == right.role else "", left.size if left.size == right.size else None)


def _broadcast(left: Tensor, right: Tensor) -> Value:
    """The tensor that an elementwise operation makes of two."""
    if left.open or right.open:
        if left.open and right.open:
            return None
        open_, closed = (left, right) if left.open else (right, left)
        # dimensions are paired from the last: the first stay what they are if the other surely has fewer
        return _first(open_, len(open_.dims) - len(closed.dims)) if closed.dims else open_
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
        return _ANY  # the other may be larger, or this one be 1
    return Dim(one.role or other.role if not (one.role and other.role and one.role != other.role) else "")


def _merged(dims: Sequence[Dim]) -> Dim:
    """The dimension that several in a row become."""
    if len(dims) == 1:
        return dims[0]
    role = "N" if {dim.role for dim in dims} == {"H", "W"} else ""
    sizes = tuple(dim.size for dim in dims)
    return Dim(role, ("product", *sizes) if all(size is not None for size in sizes) else None)


def _number(node: ast.AST | None) -> int | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError):
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _argument(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    """An argument by its place or its name."""
    named = next((keyword.value for keyword in call.keywords if keyword.arg in names), None)
    return call.args[place] if place < len(call.args) else named


def _dim(tensor: Tensor, node: ast.expr | None) -> int | None:
    """A dimension that an argument names, counted from the front; ``None`` if it is not known."""
    number = _number(node)
    if number is not None and number < 0:
        number = None if tensor.open else number + len(tensor.dims)
    return None if number is None or number < 0 else number


def _reduced(tensor: Tensor, axes: ast.expr | None, kept: ast.expr | None) -> Value:
    """What ``mean`` and the like leave."""
    numbers = [_dim(tensor, axis) for axis in (axes.elts if isinstance(axes, ast.Tuple | ast.List) else [axes]) if axis]
    keeps = isinstance(kept, ast.Constant) and kept.value is True
    if not numbers or not (kept is None or isinstance(kept, ast.Constant)):
        return None
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or max(known) >= len(tensor.dims):
        return _first(tensor, min(known)) if tensor.open and len(known) == len(numbers) else None
    one = [Dim("", 1)] if keeps else []
    dims = [new for n, dim in enumerate(tensor.dims) for new in (one if n in known else [dim])]
    return Tensor(tuple(dims), tensor.open)


@dataclass(frozen=True)
class _Named:
    """The size of a dimension that the code asks for, ``H`` of ``H, W = x.shape[-2:]``."""

    depth: int
    node: int
    place: int


def _named(node: ast.expr, scope: Scope[Value]) -> Value:
    """A tensor whose sizes are asked for. From then on those have names, so that they are known again."""
    value = scope.of(node)
    if not isinstance(value, Tensor) or not isinstance(node, ast.Name):
        return value

    def fresh(dim: Dim) -> bool:
        return not (isinstance(dim.size, _Named) and dim.size.node == id(node))

    for name, other in scope.names.items():  # what had these names in the last round of a loop is something else
        if isinstance(other, Tensor) and not all(map(fresh, other.dims)):
            scope.names[name] = Tensor(tuple(d if fresh(d) else Dim(d.role) for d in other.dims), other.open)
        elif isinstance(other, Size) and not fresh(other.dim):
            scope.names[name] = Size(Dim(other.dim.role))
        elif isinstance(other, Items):
            scope.names[name] = None if "_Named" in repr(other) else other
    value = scope.of(node)
    assert isinstance(value, Tensor)
    named = [
        dim if dim.size is not None else Dim(dim.role, _Named(scope.depth, id(node), place))
        for place, dim in enumerate(value.dims)
    ]
    scope.names[node.id] = Tensor(tuple(named), value.open)
    return scope.names[node.id]


def _unnamed(dim: Dim, depth: int) -> Dim:
    """A dimension outside of the function that asked for its size."""
    if isinstance(dim.size, _Named):
        return dim if dim.size.depth <= depth else Dim(dim.role)
    return dim if not isinstance(dim.size, tuple) or "_Named" not in repr(dim.size) else Dim(dim.role)


_CHANNELS = frozenset(
    {"dim", "dims", "embed_dim", "embed_dims", "hidden_dim", "hidden_size", "d_model", "channels", "width"}
)


def _filled(arguments: Sequence[ast.expr], scope: Scope[Value]) -> Value:
    """``torch.zeros(1, num_patches, embed_dim)``: what is as long as an embedding is counts its channels."""
    sizes = [scope.of(argument) for argument in arguments]
    if not sizes or any(isinstance(argument, ast.Starred) for argument in arguments):
        return None
    dims = [Dim("", size.dim.size) if isinstance(size, Size) else _ANY for size in sizes]
    channels = [n for n, argument in enumerate(arguments) if dotted(argument).rpartition(".")[2] in _CHANNELS]
    grid = {3: ["N"], 4: ["H", "W"]}.get(len(dims), [])
    if len(channels) == 1 and channels[0] > 0 and grid and dims[0].size == 1:
        roles = iter(grid)
        return Tensor(
            (dims[0], *(Dim("C" if n in channels else next(roles), d.size) for n, d in enumerate(dims[1:], 1)))
        )
    return Tensor(tuple(dims))


def _is_mutable(value: Value) -> bool:
    """Whether a value is a list, or holds one."""
    return isinstance(value, Items) and (value.mutable or any(map(_is_mutable, value.values)))


class Shape(Domain[Value]):
    """The dimensions of values.

    Args:
        believes_defaults: As for any domain.
    """

    def __init__(self, *, believes_defaults: bool) -> None:
        self.believes_defaults = believes_defaults

    unknown = None
    nothing = Nothing()

    def join(self, left: Value, right: Value) -> Value:
        match left, right:
            case (Nothing(), other) | (other, Nothing()):
                return other
            case Tensor(), Tensor():
                common = min(len(left.dims), len(right.dims))
                dims = tuple(map(_join_dims, left.dims[:common], right.dims[:common]))
                uneven = len(left.dims) != len(right.dims)
                return Tensor(dims, left.open or right.open or uneven)
            case Size(), Size():
                return Size(_join_dims(left.dim, right.dim))
            case Items(), Items():
                uneven = len(left.values) != len(right.values)
                values = tuple(map(self.join, left.values, right.values))
                return Items(values, left.open or right.open or uneven, left.mutable or right.mutable)
        return left if left == right else None

    def expression(self, node: ast.expr, scope: Scope[Value]) -> Value:
        match node:
            case ast.Constant(value=None):
                return Nothing()
            case ast.Constant(value=int() | float() as size):
                return Size(Dim("", size))
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                plain = not any(isinstance(element, ast.Starred) for element in elements)
                mutable = isinstance(node, ast.List)
                return Items(tuple(scope.of(element) for element in elements), mutable=mutable) if plain else None
            case ast.Attribute(value=owner, attr="shape"):
                return self._sizes(_named(owner, scope))
            case ast.Attribute() if name := scope.attribute(node):
                return _as_token(name, scope.held(name))
            case ast.Attribute(value=owner, attr="T" | "mT"):
                return None
            case ast.Subscript(value=owner, slice=index):
                value = scope.of(owner)
                return _indexed(value, index) if isinstance(value, Tensor) else _item(value, index)
            case ast.BinOp(op=op, left=left, right=right):
                return self._operation(op, scope.of(left), scope.of(right))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                value = scope.of(operand)
                return value if isinstance(value, Tensor) else Size(_ANY) if isinstance(value, Size) else None
            case ast.Compare(left=left, comparators=[right]):
                return self._operation(ast.Add(), scope.of(left), scope.of(right))
        return None

    def _operation(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.MatMult):
            return None
        match left, right:
            case Tensor(), Tensor():
                return _broadcast(left, right)
            case (Tensor() as tensor, Size()) | (Size(), Tensor() as tensor):
                return tensor
            case Size(dim=one), Size(dim=other):
                if isinstance(op, ast.Mult) and one.size is not None and other.size is not None:
                    return Size(_merged([one, other]))
                return Size(_ANY)
        return None

    def _sizes(self, value: Value) -> Value:
        """The shape of a tensor."""
        return Items(tuple(Size(dim) for dim in value.dims), value.open) if isinstance(value, Tensor) else None

    def unpack(self, value: Value, count: int) -> Sequence[Value]:
        known = value.values[:count] if isinstance(value, Items) else ()
        return [*known, *[None] * (count - len(known))]

    def leave(self, value: Value, depth: int) -> Value:
        match value:
            case Tensor(dims=dims, open=open_):
                return Tensor(tuple(_unnamed(dim, depth) for dim in dims), open_)
            case Size(dim=dim):
                return Size(_unnamed(dim, depth))
            case Items(values=values, open=open_, mutable=mutable):
                return Items(tuple(self.leave(inner, depth) for inner in values), open_, mutable)
        return value

    def effects(self, nodes: Sequence[ast.AST], scope: Scope[Value]) -> None:
        for node in nodes:
            match node:
                case ast.Call(func=ast.Attribute(attr=name)) if name.endswith("_") and not name.endswith("__"):
                    if name not in IN_PLACE_METHODS:  # other names may mean the same tensor: x.squeeze_(0)
                        scope.touch(scope.names.keys())
                        scope.forget(list(scope.names))
                case ast.Attribute(ctx=ast.Store(), attr="data" | "shape"):
                    scope.touch(scope.names.keys())
                    scope.forget(list(scope.names))
                case ast.Call(func=ast.Attribute(value=ast.Name(name))) if _is_mutable(scope.names.get(name)):
                    self._forget_lists(scope)  # sizes.append(x)
                case ast.AugAssign(target=ast.Name(name)) if _is_mutable(scope.names.get(name)):
                    self._forget_lists(scope)
                case ast.Subscript(value=ast.Name(name), ctx=ast.Store() | ast.Del()):
                    if _is_mutable(scope.names.get(name)):
                        self._forget_lists(scope)

    def touched(self, names: Set[str], scope: Scope[Value]) -> Set[str]:
        # two names may mean the same tensor, and a list may hold it
        values = [scope.names[name] for name in names if not isinstance(scope.names[name], Size | Nothing | None)]
        lists = {name for name, value in scope.names.items() if _is_mutable(value)} if values else set()
        return lists | {name for name, value in scope.names.items() if value in values}

    def _forget_lists(self, scope: Scope[Value]) -> None:
        """Forget every list: another name may mean the one that changes."""
        scope.forget([name for name, value in scope.names.items() if _is_mutable(value)])

    # Calls

    def method(self, owner: Value, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        if not isinstance(owner, Tensor):
            return self._shaped(name, call, scope)
        numbers = [_dim(owner, argument) for argument in call.args]
        match name:
            case "size":
                index = _argument(call, 0, "dim")
                sizes = self._sizes(_named(call.func.value, scope)) if isinstance(call.func, ast.Attribute) else None
                return sizes if index is None else _item(sizes, index)
            case "flatten":
                return _flattened(owner, call)
            case "transpose" | "swapaxes" | "swapdims":
                return _transposed(owner, numbers)
            case "permute":
                return _permuted(owner, _one_list(call), numbers)
            case "reshape" | "view":
                return _reshaped(owner, [scope.of(argument) for argument in _one_list(call)], call)
            case "expand" | "repeat":
                return _expanded(owner, [scope.of(argument) for argument in _one_list(call)], call, name)
            case "unsqueeze":
                dim = numbers[0] if len(numbers) == 1 else None
                if dim is None or dim > len(owner.dims):
                    return None
                if _number(call.args[0]) == -1 and not owner.open:
                    dim = len(owner.dims)
                return Tensor((*owner.dims[:dim], Dim("", 1), *owner.dims[dim:]), owner.open)
            case "squeeze":
                dim = numbers[0] if len(numbers) == 1 else None
                return None if dim is None else _first(owner, dim)
            case "gather":  # no larger than it was
                return Tensor(tuple(Dim("" if dim.role == "B" else dim.role) for dim in owner.dims), owner.open)
            case "mean" | "sum" | "amax" | "amin":
                return _reduced(owner, _argument(call, 0, "dim"), _argument(call, 1, "keepdim"))
        return owner if name in SHAPE_KEEPING_METHODS else None

    def _shaped(self, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        """What ``reshape`` makes of whatever it is: so many dimensions."""
        sizes = [scope.of(argument) for argument in _one_list(call)]
        if name not in ("reshape", "view") or not _are_sizes(call, sizes):
            return None
        return Tensor(tuple(Dim("", size.dim.size) if isinstance(size, Size) else _ANY for size in sizes))

    def function(self, path: str, call: ast.Call, scope: Scope[Value]) -> Value:
        given = scope.of(call.args[0]) if call.args else None
        head, _, name = path.rpartition(".")
        if path in FILLED:
            return _filled(_one_list(call), scope)
        if path == "torch.tensor" and isinstance(given, Items) and not given.open:
            return Tensor((Dim("", len(given.values)),)) if all(isinstance(v, Size) for v in given.values) else None
        if path in ("torch.cat", "torch.concat"):
            known = list(self._tensors(call.args[0], scope)) if call.args else []
            return self._joined_along(known, _argument(call, 1, "dim"))
        if path == "torch.nn.Parameter":
            return given
        if head in ("torch", "torch.nn.functional") and isinstance(given, Tensor):
            if name in SHAPE_KEEPING_FUNCTIONS:
                return given
            if name == "pad":
                return _padded(given, call)
            if name in ("interpolate", "upsample", "conv2d", "conv1d", "max_pool2d", "avg_pool2d"):
                return _resized(given, int(name[-2]) if name.endswith("d") else 0, call)
            if name in ("flatten", "transpose", "permute", "reshape", "unsqueeze", "squeeze", "mean", "sum"):
                rest = ast.copy_location(ast.Call(call.func, call.args[1:], call.keywords), call)
                return self.method(given, name, rest, scope)
        return None

    def _tensors(self, node: ast.expr, scope: Scope[Value]) -> Iterator[Tensor]:
        """Some of the tensors in a list, ``to_cat + [x]``."""
        if isinstance(node, ast.BinOp):
            yield from self._tensors(node.left, scope)
            yield from self._tensors(node.right, scope)
        value = scope.of(node)
        yield from (v for v in (value.values if isinstance(value, Items) else ()) if isinstance(v, Tensor))

    def _joined_along(self, known: Sequence[Tensor], along: ast.expr | None) -> Value:
        """``torch.cat``, given some of the tensors: all but one dimension are alike in all of them."""
        number = _number(along)
        if not known or number is None:
            return None
        ranked = max((t for t in known if not t.open), key=lambda t: len(t.dims), default=None)
        if ranked is None:  # only the first dimensions are known
            best = max(known, key=lambda t: len(t.dims))
            return _first(best, number) if number >= 1 else None
        rank = len(ranked.dims)
        number = number + rank if number < 0 else number
        dims = []
        for place in range(rank):
            there = [t.dims[place] for t in known if place < len(t.dims)]
            roles = {dim.role for dim in there} - {""}
            role = roles.pop() if len(roles) == 1 else ""
            if place == number:
                dims.append(Dim("" if role == "B" else role))
            else:
                size = next((dim.size for dim in there if dim.size is not None), None)
                dims.append(next((dim for dim in there if dim.role == "B"), Dim(role, size)))
        return Tensor(tuple(dims))

    def module(self, kind: str, call: ast.Call, argument: Value) -> Value:
        if not isinstance(argument, Tensor):  # of images one by one, whose dimensions are known, it gives others
            return Tensor((_ANY, Dim("C"), Dim("H"), Dim("W"))) if kind == "Conv2d" else None
        if kind in SHAPE_KEEPING_MODULES:
            return argument
        if kind in SPATIAL_MODULES or kind in ("Conv", "Pool"):
            if any(keyword.arg == "return_indices" for keyword in call.keywords):
                return None
            return _resized(argument, SPATIAL_MODULES.get(kind, 0), call)
        if kind == "Linear":
            if argument.open or not argument.dims:
                return _first(argument, max(len(argument.dims) - 1, 0))
            return Tensor((*argument.dims[:-1], _changed(argument.dims[-1], argument.dims[-1].role, call)))
        if kind == "Flatten":
            return _flattened(argument, call, start=1)
        return None


def _resized(value: Tensor, axes: int, call: ast.Call) -> Value:
    """What a convolution or pooling over some axes gives, 0 for any: other channels and another grid."""
    if axes and not (value.open or len(value.dims) == axes + 2):
        return None  # without a batch in front
    if not value.dims:
        return None
    batch, *others = value.dims
    if axes == 2 and value.open and batch.role == "B":  # it takes no other
        others = [Dim(role, ("of", id(call), role)) for role in "CHW"]
        return Tensor((batch, *others))
    roles = "CHW" if axes == 2 else [dim.role for dim in others]
    return Tensor((batch, *(_changed(dim, role, call) for dim, role in zip(others, roles, strict=True))), value.open)


def _changed(dim: Dim, role: str, call: ast.Call) -> Dim:
    """A dimension of another size, which is that of whatever the same code makes of the same."""
    return Dim(role, None if dim.size is None else (id(call), dim.size))


def _one_list(call: ast.Call) -> Sequence[ast.expr]:
    """Arguments that may come as one tuple: ``permute(0, 2, 1)``, ``permute((0, 2, 1))``."""
    match call.args:
        case [ast.Tuple(elts=elements) | ast.List(elts=elements)]:
            return elements
    return call.args


def _flattened(value: Tensor, call: ast.Call, start: int = 0) -> Value:
    first = _argument(call, 0, "start_dim")
    last = _argument(call, 1, "end_dim")
    begin = start if first is None else _dim(value, first)
    if begin is None:
        return None
    if value.open:
        return _first(value, begin)
    end = len(value.dims) - 1 if last is None else _dim(value, last)
    if end is None or begin > end or end >= len(value.dims):
        return None if begin >= len(value.dims) else _first(value, begin)
    return Tensor((*value.dims[:begin], _merged(value.dims[begin : end + 1]), *value.dims[end + 1 :]))


def _transposed(value: Tensor, numbers: Sequence[int | None]) -> Value:
    match numbers:
        case [int(one), int(other)]:
            if value.open:
                return _first(value, min(one, other))
            if max(one, other) >= len(value.dims):
                return None
            dims = list(value.dims)
            dims[one], dims[other] = dims[other], dims[one]
            return Tensor(tuple(dims))
    return None


def _permuted(value: Tensor, arguments: Sequence[ast.expr], _: Sequence[int | None]) -> Value:
    numbers = [_dim(value, argument) for argument in arguments]
    if not value.open:
        order = [n for n in numbers if n is not None]
        complete = sorted(order) == list(range(len(value.dims))) == list(range(len(numbers)))
        return Tensor(tuple(value.dims[n] for n in order)) if complete else _leading(value, numbers)
    return _leading(value, numbers)


def _leading(value: Tensor, numbers: Sequence[int | None]) -> Value:
    """What of a permutation is known from its start."""
    dims = []
    for number in numbers:
        if number is None or number >= len(value.dims):
            break
        dims.append(value.dims[number])
    return Tensor(tuple(dims), open=True) if dims else None


def _reshaped(value: Tensor, sizes: Sequence[Value], call: ast.Call) -> Value:
    """``reshape``: dimensions keep what they count as long as each new one is made of old ones in their order."""
    if not _are_sizes(call, sizes):
        first = sizes[0] if sizes else None
        same = isinstance(first, Size) and value.dims[:1] == (first.dim,) and first.dim.size is not None
        return _first(value, 1) if same else None
    old, at = value.dims, 0
    dims: list[Dim] = []
    for number, size in enumerate(sizes):
        dim = size.dim if isinstance(size, Size) else _ANY
        length = _consumed(old, at, dim)
        if _number(_one_list(call)[number]) == -1 and not value.open:
            length = _free(old[at:], sizes[number + 1 :])
        if not length:  # from here on, old and new dimensions are not the same
            dims += [Dim("", s.dim.size) if isinstance(s, Size) else _ANY for s in sizes[number:]]
            break
        dims.append(_merged(old[at : at + length]))
        at += length
    return Tensor(tuple(dims))


def _are_sizes(call: ast.Call, sizes: Sequence[Value]) -> bool:
    """Whether the arguments of ``reshape`` are one size for each dimension, and not a tuple of them or a type."""
    starred = any(isinstance(argument, ast.Starred) for argument in _one_list(call))
    listed = len(call.args) > 1 or _one_list(call) is not call.args
    return bool(sizes) and not starred and not call.keywords and (listed or isinstance(sizes[0], Size))


def _free(old: Sequence[Dim], later: Sequence[Value]) -> int:
    """How many dimensions ``-1`` takes, given the sizes after it: all but those that these are."""
    length = len(old) - len(later)
    if length < 1:
        return 0
    same = [
        isinstance(size, Size) and size.dim.size is not None and size.dim.size == dim.size
        for size, dim in zip(later, old[length:], strict=True)
    ]
    return length if all(same) else 0


def _consumed(old: Sequence[Dim], at: int, wanted: Dim) -> int:
    """How many dimensions in a row have the size of a new one, 0 if that is not known."""
    if wanted.size is None:
        return 0
    for length in range(1, len(old) - at + 1):
        if _merged(old[at : at + length]).size == wanted.size:
            return length
    return 0


def _expanded(value: Tensor, sizes: Sequence[Value], call: ast.Call, name: str) -> Value:
    arguments = _one_list(call)
    if any(isinstance(argument, ast.Starred) for argument in arguments) or call.keywords or value.open:
        return None
    if len(sizes) < len(value.dims):
        return None
    old = [Dim("", 1)] * (len(sizes) - len(value.dims)) + list(value.dims)
    dims = []
    for number, (dim, size) in enumerate(zip(old, sizes, strict=True)):
        keeps = _number(arguments[number]) == (-1 if name == "expand" else 1)
        if keeps:
            dims.append(dim)
        elif isinstance(size, Size) and dim.size == 1:
            dims.append(size.dim)
        else:
            dims.append(_ANY if name == "repeat" or not isinstance(size, Size) else size.dim)
    return Tensor(tuple(dims))


def _padded(value: Tensor, call: ast.Call) -> Value:
    """``F.pad``: it counts dimensions from the last."""
    match call.args:
        case [_, ast.Tuple(elts=sides) | ast.List(elts=sides), *_] if len(sides) % 2 == 0:
            padded = len(sides) // 2
            if value.open or padded > len(value.dims):
                return _first(value, 1) if padded <= 2 and value.dims and value.open else None
            kept = len(value.dims) - padded
            return Tensor((*value.dims[:kept], *(Dim("" if d.role == "B" else d.role) for d in value.dims[kept:])))
    return None


def _item(value: Value, index: ast.expr) -> Value:
    """An element of a tuple, or a part of it."""
    if not isinstance(value, Items):
        return None
    if isinstance(index, ast.Slice):
        bounds = [index.lower, index.upper, index.step]
        numbers = [_number(bound) for bound in bounds]
        known = all(bound is None or number is not None for bound, number in zip(bounds, numbers, strict=True))
        from_front = numbers[2] is None and all(number is None or number >= 0 for number in numbers)
        if not known or (value.open and not from_front):
            return None
        # of an open one, the elements up to a known end may still be fewer than that
        return Items(value.values[slice(*numbers)], value.open, value.mutable)
    number = _number(index)
    if number is None or not -len(value.values) <= number < len(value.values) or (value.open and number < 0):
        return None
    return value.values[number]


def _indexed(value: Tensor, index: ast.expr) -> Value:
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
            case _ if _number(part) is not None:
                if at < len(value.dims):
                    at += 1
                    continue
            case _:  # an ellipsis, or an array: what comes before it stays, if it is the only one
                plain = all(
                    isinstance(p, ast.Slice | ast.Constant) or _number(p) is not None for p in parts[number + 1 :]
                )
                return Tensor(tuple(dims), open=True) if dims and plain else None
        if at >= len(value.dims):
            return Tensor(tuple(dims), open=True) if dims else None
        dims.append(value.dims[at])
        at += 1
    return Tensor((*dims, *value.dims[at:]), value.open)
