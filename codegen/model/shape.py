"""The dimensions of tensors, followed through code: what each counts, and how many it is.

Two questions are answered by them. In which order do the tokens lie at the boundary, ``NLC``, ``NHWC`` or ``NCHW``, for
docstrings and the manifest? And is their first dimension still the batch of the images, so that the stages may read the
batch size from them, and a caller repeat or select rows (several masks an image)?

Code is believed only as far as it can be read: what a call into the unknown gives is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from codegen.model import dimensions
from codegen.model.axes import packed, pattern_of, rearranged
from codegen.model.dimensions import ANY, SEVERAL, Dim, Items, Nothing, Size, Tensor, Value, is_batch
from codegen.model.domain import Domain, Scope
from codegen.model.facts import Facts
from codegen.model.interpreter import interpret
from codegen.model.library import (
    BROADCASTING,
    FILLED,
    IN_PLACE_METHODS,
    SHAPE_KEEPING_FUNCTIONS,
    SHAPE_KEEPING_METHODS,
    SHAPE_KEEPING_MODULES,
    SPATIAL_MODULES,
)
from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

# What may change something in place, among the nodes of a statement.
_CHANGING = (ast.Assign, ast.AugAssign, ast.Attribute, ast.Call, ast.Subscript)
_LAYOUTS = {"BNC": "NLC", "BHWC": "NHWC", "BCHW": "NCHW"}


def batch_size(tree: ast.stmt) -> tuple[str, str] | None:
    """The name that a statement gives to the size of a tensor's first dimension, and the tensor.

    ``B = x.shape[0]``, ``B = x.size(0)``, ``B = len(x)``, ``B, N, C = x.shape``, ``B, N = x.shape[:2]`` and these
    beside other things: ``B, device = x.shape[0], x.device``, ``B, N, C, p = *x.shape, self.p``.
    """
    match tree:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            tensor = counted(value)
            return None if tensor is None else (name, tensor)
        case ast.Assign(
            targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=ast.Tuple(elts=[ast.Starred(whole), *_])
        ):
            tensor = shape_of(whole)
            return None if tensor is None else (name, tensor)
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            if any(isinstance(node, ast.Starred) for node in (*targets, *values)):
                return None
            pairs = [(target, counted(value)) for target, value in zip(targets, values, strict=False)]
            found = [(target.id, t) for target, t in pairs if isinstance(target, ast.Name) and t is not None]
            return found[0] if len(found) == 1 else None
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name), *_])], value=value):
            match value:
                case ast.Subscript(value=whole, slice=ast.Slice(lower=None, step=None)) | whole:
                    tensor = shape_of(whole)
                    return None if tensor is None else (name, tensor)
    return None


def shape_of(value: ast.expr) -> str | None:
    """The variable of which an expression is the whole shape: ``x.shape``, ``x.size()``."""
    match value:
        case (
            ast.Attribute(value=ast.Name(id=tensor), attr="shape")
            | ast.Call(func=ast.Attribute(value=ast.Name(id=tensor), attr="size"), args=[], keywords=[])
        ):
            return tensor
    return None


def counted(value: ast.expr) -> str | None:
    """The variable of which an expression is the size of the first dimension."""
    match value:
        case ast.Subscript(value=whole, slice=ast.Constant(value=0)):
            return shape_of(whole)
        case (
            ast.Call(func=ast.Attribute(value=ast.Name(id=tensor), attr="size"), args=[ast.Constant(value=0)])
            | ast.Call(func=ast.Name("len"), args=[ast.Name(id=tensor)])
        ):
            return tensor
        case ast.Call(func=ast.Name("int"), args=[inner]):
            return counted(inner)
    return None


def keeps_batch(
    facts: Facts, statements: Sequence[ast.stmt], tensor: str, *, believes_defaults: bool = False
) -> frozenset[str]:
    """Tensors whose first dimension is the batch after some statements, as far as code can be followed.

    Args:
        facts: The class whose method they are in.
        statements: From where the batch size is read to the boundary.
        tensor: The variable that it is read from.
        believes_defaults: Whether layers that the constructor takes are those that it takes by default.
    """
    given = {**unknown_names(statements), tensor: Tensor((Dim("B", "batch"),), open=True)}
    names = interpret(Shape(believes_defaults=believes_defaults), facts, statements, given)
    return frozenset(name for name, value in names.items() if isinstance(value, Tensor) and _has_batch(value))


def unknown_names(statements: Sequence[ast.stmt]) -> dict[str, Value]:
    """The names that statements bind, each of which may be bound to anything before."""
    return dict.fromkeys((name for statement in statements for name in bound_names(statement)), None)


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
    names = interpret(Shape(believes_defaults=True), facts, statements, {**unknown_names(statements), images: given})
    value = names.get(tokens)
    if not isinstance(value, Tensor) or value.open:
        return ""
    if value.dims[0].role not in ("", "B"):
        return ""
    return _LAYOUTS.get("B" + "".join(dim.role or "?" for dim in value.dims[1:]), "")


# Operations on dimensions


def _as_token(name: str, value: Value) -> Value:
    """A parameter of a model; one of (1, 1, C) whose name says so is a prefix token."""
    sizes = [dim.size for dim in value.dims] if isinstance(value, Tensor) else []
    if "token" in name and len(sizes) == 3 and sizes[:2] == [1, 1]:
        return Tensor((Dim("", 1), Dim("N", 1), Dim("C", sizes[2])))
    return value


@dataclass(frozen=True)
class Named:
    """The size of a dimension that the code asks for, ``H`` of ``H, W = x.shape[-2:]``.

    Attributes:
        depth: How many calls deep that is.
        node: The expression that asks, or the step of the interpretation in which a call gave it.
        place: Which one of its sizes it is.
    """

    depth: int
    node: int
    place: int


def names_in(value: Value) -> Iterator[Named]:
    """The names of the sizes that something has."""
    match value:
        case Tensor(dims=dims):
            for dim in dims:
                yield from named_in(dim.size)
        case Size(dim=dim):
            yield from named_in(dim.size)
        case Items(values=values):
            for inner in values:
                yield from names_in(inner)


def named_in(size: Hashable) -> Iterator[Named]:
    """The names in a size."""
    if isinstance(size, Named):
        yield size
    elif isinstance(size, tuple):
        for part in size:
            yield from named_in(part)


def _renamed(value: Value, names: Mapping[Named, Named]) -> Value:
    def size(old: Hashable) -> Hashable:
        if isinstance(old, Named):
            return names.get(old, old)
        return tuple(map(size, old)) if isinstance(old, tuple) else old

    match value:
        case Tensor(dims=dims, open=open_):
            return Tensor(tuple(Dim(dim.role, size(dim.size)) for dim in dims), open_)
        case Size(dim=dim):
            return Size(Dim(dim.role, size(dim.size)))
        case Items(values=values, open=open_, mutable=mutable):
            return Items(tuple(_renamed(inner, names) for inner in values), open_, mutable)
    return value


def _folds(value: Value, depth: int) -> bool:
    """Whether it has as many places for each image as some name says that is given deeper down: frames, windows."""
    match value:
        case Tensor(dims=dims):
            folded = [dim.size for dim in dims if isinstance(dim.size, tuple) and is_batch(dim)]
            return any(name.depth > depth for size in folded for name in named_in(size))
        case Items(values=values):
            return any(_folds(inner, depth) for inner in values)
    return False


def _named(node: ast.expr, scope: Scope[Value]) -> Value:
    """A tensor whose sizes are asked for. From then on those have names, so that they are known again."""
    value = scope.of(node)
    if not isinstance(value, Tensor) or not isinstance(node, ast.Name):
        return value

    def fresh(dim: Dim) -> bool:
        return all(name.node != id(node) for name in named_in(dim.size))

    for name, other in scope.names.items():  # what had these names in the last round of a loop is something else
        if isinstance(other, Tensor) and not all(map(fresh, other.dims)):
            scope.names[name] = Tensor(tuple(d if fresh(d) else Dim(d.role) for d in other.dims), other.open)
        elif isinstance(other, Size) and not fresh(other.dim):
            scope.names[name] = Size(Dim(other.dim.role))
        elif isinstance(other, Items):
            scope.names[name] = None if "Named" in repr(other) else other
    value = scope.of(node)
    assert isinstance(value, Tensor)
    named = [
        dim if dim.size is not None else Dim(dim.role, Named(scope.depth, id(node), place))
        for place, dim in enumerate(value.dims)
    ]
    scope.names[node.id] = Tensor(tuple(named), value.open)
    return scope.names[node.id]


def _unnamed(dim: Dim, depth: int) -> Dim:
    """A dimension outside of the function that asked for its size."""
    return dim if all(name.depth <= depth for name in named_in(dim.size)) else Dim(dim.role)


_CHANNELS = frozenset(
    {"dim", "dims", "embed_dim", "embed_dims", "hidden_dim", "hidden_size", "d_model", "channels", "width"}
)


def _filled(arguments: Sequence[ast.expr], scope: Scope[Value]) -> Value:
    """``torch.zeros(1, num_patches, embed_dim)``: what is as long as an embedding is counts its channels."""
    sizes = [scope.of(argument) for argument in arguments]
    if not sizes or any(isinstance(argument, ast.Starred) for argument in arguments):
        return None
    dims = [Dim("", size.dim.size) if isinstance(size, Size) else ANY for size in sizes]
    channels = [n for n, argument in enumerate(arguments) if dotted(argument).rpartition(".")[2] in _CHANNELS]
    grid = {3: ["N"], 4: ["H", "W"]}.get(len(dims), [])
    if len(channels) == 1 and channels[0] > 0 and grid and dims[0].size == 1:
        roles = iter(grid)
        return Tensor(
            (dims[0], *(Dim("C" if n in channels else next(roles), d.size) for n, d in enumerate(dims[1:], 1)))
        )
    return Tensor(tuple(dims))


def _spread(call: ast.Call, scope: Scope[Value]) -> ast.Call:
    """A call of ``reshape`` with each size in its place, ``x.reshape(-1, 1, *x.shape[2:])``, where these are known."""
    sizes: list[ast.expr] = []
    given = dimensions.one_list(call)
    for size in given:
        several = size.value if isinstance(size, ast.Starred) else size if len(given) == 1 else None
        value = scope.of(several) if several is not None else None
        if several is not None and isinstance(value, Items) and not value.open:
            places = range(len(value.values))
            sizes += [ast.Subscript(several, ast.Constant(place), ast.Load()) for place in places]
        else:
            sizes.append(size)
    return ast.copy_location(ast.Call(call.func, sizes, call.keywords), call)


def _keeps_first(call: ast.Call) -> bool:
    """Whether it is ``x.expand((-1, -1) + y)``: -1 stands for a dimension that is there, and so for the first."""
    match dimensions.one_list(call):
        case [first, *others] if any(isinstance(size, ast.Starred) for size in others):
            return dimensions.number_of(first) == -1
    match call.args:
        case [ast.BinOp(op=ast.Add(), left=ast.Tuple(elts=[first, *_]))]:
            return dimensions.number_of(first) == -1
    return False


def _within_rows(owner: Tensor, call: ast.Call, place: int = 0, default: int = -1) -> bool:
    """Whether what works along a dimension surely does so along another than the first: each row stays by itself.

    Args:
        owner: What it works on; if that is open, it has the dimensions that are known, or more.
        call: The call.
        place: At which of its arguments the dimension is named.
        default: The dimension if none is named.
    """
    along = dimensions.argument_of(call, place, "dim")
    number = default if along is None else dimensions.number_of(along)
    if number is None or not owner.dims:
        return False
    return number > 0 or (number < 0 and len(owner.dims) + number > 0)


def _keeps_rows(owner: Tensor, name: str, call: ast.Call) -> bool:
    """Whether what keeps a shape keeps rows apart: not ``x.softmax(0)``, ``F.normalize(x, dim=0)``."""
    return name not in _ALONG or _within_rows(owner, call, *_ALONG[name])


_ALONG = {"softmax": (0, 0), "log_softmax": (0, 0), "cumsum": (0, 0), "normalize": (1, 1)}
"""What keeps a shape and works along one dimension: where a method, or what follows the tensor, names it; the default.

Without one torch takes the first of three dimensions in ``softmax``.
"""

_AS_METHODS = ("flatten", "transpose", "permute", "reshape", "unsqueeze", "squeeze", "mean", "sum")


class Shape(Domain[Value]):
    """The dimensions of values.

    Args:
        believes_defaults: As for any domain.
    """

    def __init__(self, *, believes_defaults: bool) -> None:
        self.believes_defaults = believes_defaults

    unknown = None
    nothing = Nothing()

    @property
    def question(self) -> Hashable | None:
        return (Shape, self.believes_defaults) if type(self) is Shape else None

    def join(self, left: Value, right: Value) -> Value:
        match left, right:
            case (Nothing(), other) | (other, Nothing()):
                return other
            case Tensor(), Tensor():
                common = min(len(left.dims), len(right.dims))
                dims = tuple(map(dimensions.join_dims, left.dims[:common], right.dims[:common]))
                uneven = len(left.dims) != len(right.dims)
                return Tensor(dims, left.open or right.open or uneven)
            case Size(), Size():
                return Size(dimensions.join_dims(left.dim, right.dim))
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
            case ast.Attribute(value=owner, attr="mT"):
                value = scope.of(owner)
                if not isinstance(value, Tensor) or value.open or len(value.dims) < 2:
                    return None
                return dimensions.transposed(value, [len(value.dims) - 2, len(value.dims) - 1])
            case ast.Attribute(attr="T"):
                return None
            case ast.Subscript(value=owner, slice=index):
                value = scope.of(owner)
                return dimensions.indexed(value, index) if isinstance(value, Tensor) else dimensions.item(value, index)
            case ast.BinOp(op=op, left=left, right=right):
                return self._operation(op, scope.of(left), scope.of(right))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                value = scope.of(operand)
                return value if isinstance(value, Tensor) else Size(ANY) if isinstance(value, Size) else None
            case ast.Compare(left=left, comparators=[right]):
                return self._operation(ast.Add(), scope.of(left), scope.of(right))
        return None

    def _operation(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.MatMult):
            return None
        match left, right:
            case Tensor(), Tensor():
                return dimensions.broadcast(left, right)
            case (Tensor() as tensor, Size()) | (Size(), Tensor() as tensor):
                return tensor
            case Items(), _ if isinstance(op, ast.Add):
                whole = not left.open and isinstance(right, Items)
                more = right.values if isinstance(right, Items) and not left.open else ()
                open_ = not whole or (isinstance(right, Items) and right.open)
                return Items((*left.values, *more), open_, left.mutable)
            case (Items(mutable=mutable), _) | (_, Items(mutable=mutable)) if isinstance(op, ast.Add | ast.Mult):
                return Items((), True, mutable)
            case Size(dim=one), Size(dim=other):
                if isinstance(op, ast.Mult) and one.size is not None and other.size is not None:
                    return Size(dimensions.merged([one, other]))
                return Size(ANY)
        return None

    def _sizes(self, value: Value) -> Value:
        """The shape of a tensor."""
        return Items(tuple(Size(dim) for dim in value.dims), value.open) if isinstance(value, Tensor) else None

    def unpack(self, value: Value, count: int) -> Sequence[Value]:
        known = value.values[:count] if isinstance(value, Items) else ()
        return [*known, *[None] * (count - len(known))]

    def element(self, iterable: ast.expr, scope: Scope[Value]) -> Value:
        value = scope.of(iterable)
        return scope.session.agreed(value.values) if isinstance(value, Items) and not value.open else None

    def leave(self, value: Value, depth: int) -> Value:
        if _folds(value, depth):
            return value  # what unfolds it again needs the name
        match value:
            case Tensor(dims=dims, open=open_):
                return Tensor(tuple(_unnamed(dim, depth) for dim in dims), open_)
            case Size(dim=dim):
                return Size(_unnamed(dim, depth))
            case Items(values=values, open=open_, mutable=mutable):
                return Items(tuple(self.leave(inner, depth) for inner in values), open_, mutable)
        return value

    def effects(self, nodes: Sequence[ast.AST], scope: Scope[Value]) -> None:
        filled = set()
        for node in nodes:
            if not isinstance(node, _CHANGING):
                continue  # most nodes are names and constants
            match node:
                case ast.Assign(targets=targets, value=value) if any(isinstance(t, ast.Attribute) for t in targets):
                    # from now on others may change it: self.x = x
                    scope.forget([n.id for n in walk(value) if isinstance(n, ast.Name)])
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Attribute(ast.Name() as tensor, "shape")):
                    self._count(tensor, names, scope)
                case ast.Assign(
                    targets=[ast.Tuple(elts=names)],
                    value=ast.Subscript(
                        ast.Attribute(ast.Name() as tensor, "shape"), ast.Slice(None, ast.Constant(int(number)), None)
                    ),
                ) if len(names) == number:
                    self._count(tensor, names, scope, more=True)
                case ast.Assign(targets=[ast.Subscript() as target], value=given) if self._fills_rows(given, scope):
                    filled.add(target)
                case ast.Call(func=ast.Attribute(attr=name), args=args, keywords=[]) if name in IN_PLACE_METHODS:
                    if not all(self._fills_rows(argument, scope) for argument in args):
                        self._forget_all(scope)
                case ast.Attribute(attr=name):
                    sets = isinstance(node.ctx, ast.Store) and name in ("data", "shape")
                    if sets or name.startswith("__") or (name.endswith("_") and name not in IN_PLACE_METHODS):
                        self._forget_all(scope)  # other names may mean the same tensor: x.squeeze_(0)
                case ast.Subscript(ctx=ast.Store(), value=owner) if not isinstance(scope.of(owner), Items):
                    if node not in filled:
                        self._forget_all(scope)  # x[0] = y
                case ast.Call(func=ast.Attribute(value=ast.Name(name))) if dimensions.is_mutable(scope.names.get(name)):
                    self._forget_lists(scope)  # sizes.append(x)
                case ast.AugAssign(target=ast.Name(name)) if dimensions.is_mutable(scope.names.get(name)):
                    self._forget_lists(scope)
                case ast.Subscript(value=ast.Name(name), ctx=ast.Store() | ast.Del()):
                    if dimensions.is_mutable(scope.names.get(name)):
                        self._forget_lists(scope)

    def _fills_rows(self, given: ast.expr, scope: Scope[Value]) -> bool:
        """Whether a tensor that is filled with a value has each image in the row in which it had it before."""
        value = scope.of(given)
        return isinstance(value, Size) or (isinstance(value, Tensor) and _has_batch(value))

    def _forget_all(self, scope: Scope[Value]) -> None:
        """Forget all but numbers: any name may mean what changes."""
        scope.touch(scope.names.keys())
        scope.forget([name for name, value in scope.names.items() if not isinstance(value, Size)])

    def _count(self, tensor: ast.Name, targets: Sequence[ast.expr], scope: Scope[Value], *, more: bool = False) -> None:
        """``B, N, C = x.shape`` only goes well with as many dimensions, ``B, T = x.shape[:2]`` with these or more."""
        value = scope.names.get(tensor.id)
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if len(names) < len(targets) or tensor.id in names or not (value is None or isinstance(value, Tensor)):
            return
        known = value.dims if value is not None else ()
        if len(known) <= len(names) and (value is None or value.open):
            scope.names[tensor.id] = Tensor((*known, *[ANY] * (len(names) - len(known))), open=more)
            counted = _named(tensor, scope)
            assert isinstance(counted, Tensor)
            scope.names |= {name: Size(dim) for name, dim in zip(names, counted.dims, strict=True)}

    def touched(self, names: Set[str], scope: Scope[Value]) -> Set[str]:
        given = [scope.names[name] for name in names if not isinstance(scope.names[name], Size | Nothing)]
        if None in given:  # it may be anything, and so what any other name means
            return {name for name, value in scope.names.items() if not isinstance(value, Size | Nothing)}
        # two names may mean the same tensor, and a list may hold it
        lists = {name for name, value in scope.names.items() if dimensions.is_mutable(value)} if given else set()
        return lists | {name for name, value in scope.names.items() if value in given}

    def _forget_lists(self, scope: Scope[Value]) -> None:
        """Forget every list: another name may mean the one that changes."""
        scope.forget([name for name, value in scope.names.items() if dimensions.is_mutable(value)])

    # Calls

    def given(self, call: ast.Call, value: Value, scope: Scope[Value]) -> Value:
        return _renamed(value, self._names_here(value, scope))

    def _names_here(self, value: Value, scope: Scope[Value]) -> Mapping[Named, Named]:
        """New names of sizes that have some deeper down, where another call may give them to others."""
        deep = dict.fromkeys(name for name in names_in(value) if name.depth > scope.depth)
        return {old: Named(scope.depth, scope.session.step, place) for place, old in enumerate(deep)}

    def method(self, owner: Value, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        if not isinstance(owner, Tensor):
            return self._shaped(name, call, scope)
        numbers = [dimensions.dimension(owner, argument) for argument in call.args]
        if name in BROADCASTING:
            return self._broadcast(owner, call.args, call.keywords, scope)
        match name:
            case "type":
                return owner if call.args or call.keywords else None  # a cast, or a text
            case "type_as":
                return owner
            case "size":
                index = dimensions.argument_of(call, 0, "dim")
                sizes = self._sizes(_named(call.func.value, scope)) if isinstance(call.func, ast.Attribute) else None
                return sizes if index is None else dimensions.item(sizes, index)
            case "flatten":
                return dimensions.flattened(owner, call)
            case "transpose" | "swapaxes" | "swapdims":
                return dimensions.transposed(owner, numbers)
            case "permute":
                return dimensions.permuted(owner, dimensions.one_list(call), numbers)
            case "reshape" | "view":
                call = _spread(call, scope)
                given = self._one_by_one(call, scope)
                assert isinstance(call.func, ast.Attribute)
                again = scope.of(call.func.value)  # x.view(x.shape[0], -1) has asked for its sizes
                return dimensions.reshaped(again if isinstance(again, Tensor) else owner, given, call)
            case "expand" if _keeps_first(call):
                return Tensor(owner.dims[:1], open=True)
            case "expand" | "repeat":
                return dimensions.expanded(owner, self._one_by_one(call, scope), call, name)
            case "unsqueeze":
                dim = numbers[0] if len(numbers) == 1 else None
                if dim is None or dim > len(owner.dims):
                    return None
                if dimensions.number_of(call.args[0]) == -1 and not owner.open:
                    dim = len(owner.dims)
                return Tensor((*owner.dims[:dim], Dim("", 1), *owner.dims[dim:]), owner.open)
            case "squeeze":
                dim = numbers[0] if len(numbers) == 1 else None
                return None if dim is None else dimensions.first_dims(owner, dim)
            case "gather":  # as large as the index, which is no larger than it was
                index = dimensions.argument_of(call, 1, "index")
                within = index is not None and _within_rows(owner, call)
                return self._gathered(owner, scope.of(index) if index is not None and within else None)
            case "repeat_interleave":
                along = dimensions.argument_of(call, 1, "dim")
                return dimensions.repeated(owner, dimensions.dimension(owner, along) if along is not None else None)
            case "sort" | "argsort":
                others = tuple(Dim("", dim.size) for dim in owner.dims[1:])
                rows = Tensor((owner.dims[0], *others), owner.open) if _within_rows(owner, call) else None
                return Items((rows, rows)) if name == "sort" and rows is not None else rows
            case "mean" | "sum" | "amax" | "amin":
                return dimensions.reduced(
                    owner, dimensions.argument_of(call, 0, "dim"), dimensions.argument_of(call, 1, "keepdim")
                )
        return owner if name in SHAPE_KEEPING_METHODS and _keeps_rows(owner, name, call) else None

    def _gathered(self, owner: Tensor, index: Value) -> Tensor:
        rows = index.dims[0].size if isinstance(index, Tensor) and index.dims else None
        dims = [Dim("" if dim.role == "B" else dim.role) for dim in owner.dims]
        if owner.dims and rows is not None and rows == owner.dims[0].size:
            dims[0] = owner.dims[0]
        return Tensor(tuple(dims), owner.open)

    def _broadcast(
        self, owner: Tensor, arguments: Sequence[ast.expr], keywords: Sequence[ast.keyword], scope: Scope[Value]
    ) -> Value:
        """What ``masked_fill`` and the like make of a tensor and what else they are given."""
        value: Value = owner
        for given in (*arguments, *(keyword.value for keyword in keywords)):
            other = scope.of(given)
            if not isinstance(other, Nothing):
                value = self._operation(ast.Add(), value, other)
        return value

    def _one_by_one(self, call: ast.Call, scope: Scope[Value]) -> Sequence[Value]:
        """What is known of the arguments of a call, or of the elements of the one tuple that it is given."""
        return [scope.of(argument) for argument in dimensions.one_list(call)]

    def _shaped(self, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        """What ``reshape`` makes of whatever it is: so many dimensions."""
        sizes = self._one_by_one(call, scope)
        if name not in ("reshape", "view") or not dimensions.are_sizes(call, sizes):
            return None
        return Tensor(tuple(Dim("", size.dim.size) if isinstance(size, Size) else ANY for size in sizes))

    def function(self, path: str, call: ast.Call, scope: Scope[Value]) -> Value:
        given = scope.of(call.args[0]) if call.args else None
        head, _, name = path.rpartition(".")
        if path in FILLED:
            return _filled(dimensions.one_list(call), scope)
        if path == "torch.tensor" and isinstance(given, Items) and not given.open:
            return Tensor((Dim("", len(given.values)),)) if all(isinstance(v, Size) for v in given.values) else None
        if path in ("torch.cat", "torch.concat", "torch.concatenate", "torch.vstack", "torch.row_stack"):
            known = list(self._tensors(call.args[0], scope)) if call.args else []
            along = ast.Constant(0) if "stack" in name else dimensions.argument_of(call, 1, "dim", "axis")
            return self._joined_along(known, along or ast.Constant(0))
        if path == "torch.stack" and isinstance(given, Items) and not given.open and given.values:
            along = dimensions.argument_of(call, 1, "dim")
            return dimensions.stacked(given.values, 0 if along is None else dimensions.number_of(along))
        if path == "torch.nn.Parameter":
            return given
        if path == "len" and isinstance(given, Tensor) and given.dims:
            return Size(given.dims[0])
        if path in ("einops.rearrange", "einops.repeat", "einops.reduce"):
            sizes = {k.arg: size.dim for k in call.keywords if k.arg and isinstance(size := scope.of(k.value), Size)}
            return rearranged(
                given, pattern_of(call, 1), sizes, lambda place: Named(scope.depth, scope.session.step, place)
            )
        if path == "einops.pack" and call.args:
            tensor = packed(list(self._tensors(call.args[0], scope)), pattern_of(call, 1))
            return None if tensor is None else Items((tensor, None))
        if head in ("torch", "torch.nn.functional") and isinstance(given, Tensor):
            if any(keyword.arg == "return_indices" for keyword in call.keywords):
                return None
            if name in BROADCASTING:
                return self._broadcast(given, call.args[1:], call.keywords, scope)
            if name in SHAPE_KEEPING_FUNCTIONS:
                rest = ast.copy_location(ast.Call(call.func, call.args[1:], call.keywords), call)
                return given if _keeps_rows(given, name, rest) else None
            if name == "pad":
                return dimensions.padded(given, call)
            if name in ("interpolate", "upsample", "conv2d", "conv1d", "max_pool2d", "avg_pool2d"):
                return dimensions.resized(given, int(name[-2]) if name.endswith("d") else 0, call, mixes="conv" in name)
            if name in (*_AS_METHODS, "argsort", "sort", "gather", "repeat_interleave", "cumsum"):
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
        number = dimensions.number_of(along)
        if not known or number is None:
            return None
        if not number and any(map(dimensions.is_batch, (dim for tensor in known for dim in tensor.dims[:1]))):
            return Tensor((SEVERAL,), open=True)
        ranked = max((t for t in known if not t.open), key=lambda t: len(t.dims), default=None)
        if ranked is None:  # only the first dimensions are known
            best = max(known, key=lambda t: len(t.dims))
            return dimensions.first_dims(best, number) if number >= 1 else None
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
            return Tensor((ANY, Dim("C"), Dim("H"), Dim("W"))) if kind == "Conv2d" else None
        if kind in SHAPE_KEEPING_MODULES:
            return argument
        if kind in SPATIAL_MODULES or kind in ("Conv", "Pool"):
            if any(keyword.arg == "return_indices" for keyword in call.keywords):
                return None
            return dimensions.resized(argument, SPATIAL_MODULES.get(kind, 0), call, mixes="Conv" in kind)
        if kind == "Linear":
            if argument.open or not argument.dims:
                return dimensions.first_dims(argument, max(len(argument.dims) - 1, 0))
            return Tensor((*argument.dims[:-1], dimensions.changed(argument.dims[-1], argument.dims[-1].role, call)))
        if kind == "Flatten":
            return dimensions.flattened(argument, call, start=1)
        if kind == "Unflatten":
            dim = dimensions.dimension(argument, dimensions.argument_of(call, 0, "dim"))
            return dimensions.first_dims(argument, dim or 0)
        if kind in ("Rearrange", "Reduce"):
            return rearranged(argument, pattern_of(call, 0), {})
        return None
