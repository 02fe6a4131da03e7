"""What depends on the number of images: :mod:`codegen.model.shape`, where besides that is told from what does not.

The rows of an embedding may be selected and repeated. A tensor with a row for each image goes along; the number of
images, a list of them, or an index that counts them does not.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TypeGuard

from codegen.model.axes import pattern_of
from codegen.model.dimensions import (
    MOVED_ROWS,
    Constant,
    Count,
    Dim,
    Given,
    Items,
    Nothing,
    Size,
    Tensor,
    Value,
    argument_of,
    is_batch,
    number_of,
    one_list,
)
from codegen.model.domain import Scope
from codegen.model.kinds import kinds_of
from codegen.model.library import FUNCTIONAL, QUALITIES, TENSOR_FUNCTIONS, TENSOR_METHODS, TENSOR_MODULES, names
from codegen.model.module_kind import TORCHS
from codegen.model.purity import is_library
from codegen.model.shape import Named, Shape, named_in
from codegen.source.index import Class
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

CONSTANT, NUMBER, COUNT, GIVEN = Constant(), Constant(number=True), Count(), Given()
_CALCULATING = (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow)
"""What makes a new number, if one of two is known to be one: of lists there is no difference."""
SOME_TENSOR = Tensor((), open=True)
"""A tensor of which nothing else is known."""
_ROWS = Items((Size(Dim("B", "batch")),), open=True)
"""The shape of a tensor with a row for each image."""
_SHAPE = Items((COUNT,), open=True)
"""The shape of what may be a tensor: its first dimension may be that of the images."""
_ASKING = names("dim ndimension is_floating_point is_complex is_contiguous element_size get_device type")
"""Methods of a tensor that are, too."""
MOVED = Tensor((MOVED_ROWS,), open=True)
"""A tensor that was made of one with a row for each image, and may have them anywhere."""
_SHAPING = names("reshape view expand repeat flatten repeat_interleave permute transpose swapaxes swapdims")
_JOINING = names("cat concat concatenate stack")
_PATTERNS = names("Rearrange Reduce")
_REARRANGING = names("einops.rearrange einops.repeat einops.reduce")
_TAKING_APART = names("chunk split tensor_split unbind")
_MOVING: dict[str, int | None] = {
    **dict.fromkeys(names("unflatten unfold narrow select index_select unbind"), 0),
    **dict.fromkeys(names("chunk split tensor_split"), 1),
    **dict.fromkeys(names("tile movedim moveaxis einsum as_strided rot90 masked_select take vsplit repeat_interleave")),
    **dict.fromkeys(names("swapaxes swapdims t")),
}
"""What may give rows another place or another number, and which argument names the dimension that it works along."""
_TURNING = names("flip roll")
"""What gives the places of a dimension another order."""
_LIBRARIES = TORCHS | {"foreign"}
_KINDS = names("isinstance issubclass type callable hasattr id")
"""Functions that ask what a thing is."""
_ITERATING = names("list tuple set enumerate zip iter reversed map filter sorted")
"""Functions that take what they are given apart, a tensor into its rows."""
_SIZED = names("full new_zeros new_ones new_empty new_full expand repeat")
"""Functions and methods that make a tensor of the sizes that they are given first."""
_NUMBERED = names("arange linspace logspace tensor as_tensor new_tensor randperm eye one_hot repeat_interleave")
"""Functions and methods that make a tensor with the numbers that they are given in it, or that many rows of each."""


def is_row(dim: Dim) -> bool:
    """Whether a dimension has one place for each image."""
    return dim.role == "B" or dim.size == "batch"


def counts(value: Value) -> bool:
    """Whether something is made of the number of images."""
    match value:
        case Count():
            return True
        case Size(dim=dim):
            return is_batch(dim)
        case Items(values=values):
            return any(map(counts, values))
    return False


class Counting(Shape):
    """The dimensions of values; and of what has none, whether it depends on the number of images.

    Args:
        written: Attributes of ``self`` and globals that may be others, or hold others, after other images; ``*``: all.
        doubted: As for any domain.
    """

    asks = True

    def __init__(self, written: Collection[str], doubted: Collection[str] = ()) -> None:
        super().__init__(believes_defaults=False)
        self.doubted = doubted
        self.written = written
        self._others: set[Hashable] = set()  # names of sizes that are not the batch

    def _kept(self, name: str) -> Value:
        """What is known of an attribute or a global of which nothing else is."""
        return None if name in self.written or "*" in self.written else CONSTANT

    def is_constant(self, value: Value) -> bool:
        """Whether something is the same however many images there are."""
        match value:
            case Constant() | Nothing():
                return True
            case Size(dim=dim):
                return not is_batch(dim) and self._is_told(dim)
            case Items(values=values, open=open_):
                return not open_ and all(map(self.is_constant, values))
        return False

    def follows(self, value: Value) -> bool:
        """Whether something is the same for any number of images, or has a row for each, or a fixed number of rows."""
        match value:
            case Tensor(dims=[first, *others]):
                told = all(self._is_told(dim) and not is_batch(dim) for dim in (first, *others))
                return is_row(first) or (told and not value.open)
            case Items(values=values, open=open_, mutable=mutable):
                return not open_ and not mutable and all(map(self.follows, values))
        return isinstance(value, Given) or self.is_constant(value)

    def _is_told(self, dim: Dim) -> bool:
        named = set(named_in(dim.size))
        return bool(dim.role) or (dim.size is not None and named <= self._others)

    def _made_of(self, values: Iterable[Value]) -> Value:
        values = list(values)
        if any(map(counts, values)):
            return COUNT
        if GIVEN in values and all(isinstance(v, Given | Tensor) or self.is_constant(v) for v in values):
            return GIVEN
        return CONSTANT if all(map(self.is_constant, values)) else None

    def _told(self, value: Value, parts: Iterable[Value]) -> Value:
        """What an operation gives, by what it gives as a shape, else by what it is made of."""
        return self._made_of(parts) if self._is_vague(value) else value

    def _is_vague(self, value: Value) -> bool:
        return value is None or (isinstance(value, Size) and not is_batch(value.dim) and not self._is_told(value.dim))

    def join(self, left: Value, right: Value) -> Value:
        if COUNT in (left, right):
            return COUNT
        if GIVEN in (left, right):
            return self._made_of([left, right])
        if left != right and all(_is_number(v) and self.is_constant(v) for v in (left, right)):
            return NUMBER
        if isinstance(left, Tensor) and isinstance(right, Tensor) and left.dims[:1] != right.dims[:1]:
            elsewhere = MOVED if any(map(_has_rows_elsewhere, (left, right))) else None
            if moved := _moved([left, right]) or elsewhere:
                return moved
        if isinstance(left, Constant) and isinstance(right, Tensor):
            left, right = right, left
        if isinstance(left, Tensor) and isinstance(right, Constant):
            return SOME_TENSOR if not left.dims else Tensor(left.dims[:1], open=True)
        if {type(left), type(right)} == {Tensor, Items} and self.follows(left) and self.follows(right):
            return GIVEN
        return self._told(super().join(left, right), [left, right])

    def leave(self, value: Value, depth: int) -> Value:
        left = super().leave(value, depth)
        return self._told(left, [value]) if isinstance(value, Size) else left

    def depending(self, value: Value, answer: Value) -> Value:
        if isinstance(value, Tensor) or self.is_constant(answer):
            return value
        return COUNT if counts(answer) else None

    def expression(self, node: ast.expr, scope: Scope[Value]) -> Value:
        match node:
            case ast.Name(id=name):
                return None if name in scope.local else self._kept(name)
            case ast.Constant():
                return super().expression(node, scope) or NUMBER
            case ast.Attribute(value=owner, attr=attr) if attr in QUALITIES and _is_tensor(scope.of(owner)):
                return CONSTANT
            case ast.Attribute(value=owner, attr="T" | "H") if has_rows(scope.of(owner)):
                return MOVED
            case ast.Attribute(value=owner, attr="shape") if scope.attribute(owner):
                return self._kept(scope.attribute(owner))
            case ast.Attribute(value=owner, attr="shape"):
                return _ROWS if scope.of(owner) == GIVEN else super().expression(node, scope) or _SHAPE
            case ast.Attribute() if scope.attribute(node):
                held = super().expression(node, scope)
                return self._kept(scope.attribute(node)) if held is None else held
            case ast.Attribute(value=owner, attr="data") if isinstance(scope.of(owner), Tensor):
                return scope.of(owner)
            case ast.Compare(ops=ops) if all(isinstance(op, ast.Is | ast.IsNot) for op in ops):
                return CONSTANT
            case ast.Subscript(value=owner, slice=index):
                return self._item(node, scope.of(owner), index, scope)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehended(node, scope)
            case ast.Lambda(args=arguments, body=body):
                own = {inner.arg for inner in walk(arguments) if isinstance(inner, ast.arg)}
                free = [n for n in walk(body) if isinstance(n, ast.Name) and n.id not in own]
                return self._made_of(map(scope.of, free))
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        value = super().expression(node, scope)
        values = [scope.of(part) for part in parts]
        if isinstance(node, ast.BinOp | ast.UnaryOp) and self._is_vague(value) and all(map(self.is_constant, values)):
            some = isinstance(node, ast.BinOp) and isinstance(node.op, _CALCULATING) and any(map(_is_number, values))
            value = NUMBER if some or all(map(_is_number, values)) else value
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Attribute) and (moved := _moved(values)):
            return moved
        lost = not (isinstance(value, Tensor) and any(map(is_batch, value.dims)))
        if isinstance(node, ast.BinOp) and lost and any(map(_has_rows_elsewhere, values)):
            return MOVED  # x.permute(1, 0, 2) + self.pos_embed
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare) and value is None:
            tensors = [v for v in values if isinstance(v, Tensor)]
            if tensors and len(tensors) + sum(map(self.is_constant, values)) == len(values):
                return SOME_TENSOR
        return self._told(value, values)

    def _item(self, node: ast.Subscript, owner: Value, index: ast.expr, scope: Scope[Value]) -> Value:
        parts = [scope.of(part) for part in _index_parts(index) if not isinstance(part, ast.Constant)]
        if has_rows(owner) and not _takes_rows(index):
            return MOVED
        if isinstance(owner, Tensor):
            if any(map(counts, parts)) and not (owner.dims and is_batch(owner.dims[0])):
                return COUNT  # table[:B]
            value = super().expression(node, scope)
            unknown = value is None and all(map(self.is_constant, parts))
            return SOME_TENSOR if unknown or _is_of_all_rows(owner, value) else value
        if isinstance(owner, Items) and owner.open and owner.values and self._is_shape(node.value, scope):
            return _size_of_open(owner, index)
        value = super().expression(node, scope)
        return self._told(value, [owner, *parts]) if not isinstance(owner, Items) or value is not None else None

    def _is_shape(self, node: ast.expr, scope: Scope[Value]) -> bool:
        """Whether an expression is the shape of what may be a tensor."""
        match node:
            case ast.Attribute(value=owner, attr="shape") | ast.Call(func=ast.Attribute(value=owner, attr="size")):
                value = scope.of(owner)
                return value is None or _is_tensor(value)
        return False

    def _comprehended(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope[Value]
    ) -> Value:
        """A list with an element for each image depends on their number, whatever is in it."""
        inner = scope.nested([n.id for g in node.generators for n in walk(g.target) if isinstance(n, ast.Name)])
        for generator in node.generators:
            over = inner.of(generator.iter)
            if counts(over) or isinstance(over, Tensor):
                return COUNT
            inner.bind(generator.target, self._element(over))
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        if isinstance(node, ast.ListComp) and has_rows(each := inner.of(node.elt)):
            return Items((each,), open=True)  # as many tensors as there are channels
        return self._made_of([inner.of(part) for part in (*made, *(test for g in node.generators for test in g.ifs))])

    def _element(self, value: Value) -> Value:
        if isinstance(value, Items) and value.open and len(value.values) == 1 and isinstance(value.values[0], Tensor):
            return value.values[0]  # one of the chunks of a tensor
        return SOME_TENSOR if isinstance(value, Tensor) else self._made_of([value])

    def touched(self, names: Set[str], scope: Scope[Value]) -> Set[str]:
        """Code that cannot be read may put more into lists; that it gives tensors another shape is not assumed."""
        return {name for name in super().touched(names, scope) if not _is_tensor(scope.names[name])}

    def effects(self, nodes: Sequence[ast.AST], scope: Scope[Value]) -> None:
        super().effects(nodes, scope)
        for node in nodes:
            match node:
                case (
                    ast.Subscript(value=owner, ctx=ast.Store() | ast.Del())
                    | ast.Attribute(value=owner, ctx=ast.Store() | ast.Del())
                ):
                    self._refill(owner, scope)
                case ast.Call(func=function, args=args, keywords=keywords):
                    given = [*args, *(keyword.value for keyword in keywords)]
                    if not all(self.is_constant(scope.of(argument)) for argument in given):
                        if isinstance(function, ast.Attribute):
                            self._refill(function.value, scope)
                        if not _is_known(scope.path(function)):  # self.patch_embed(x, sizes) may fill it
                            handed = [n.id for argument in given for n in walk(argument) if isinstance(n, ast.Name)]
                            scope.forget([n for n in handed if n != "self" and not _stays(scope.names.get(n))])

    def _refill(self, owner: ast.expr, scope: Scope[Value]) -> None:
        """Forget what a list, a dictionary or another object holds, and all that may be the same."""
        while isinstance(owner, ast.Attribute | ast.Subscript):
            owner = owner.value
        if isinstance(owner, ast.Name) and not _is_tensor(scope.names.get(owner.id, SOME_TENSOR)):
            believed = not _is_number(scope.names.get(owner.id))
            scope.forget([name for name, value in scope.names.items() if not (believed and _stays(value))])

    def element(self, iterable: ast.expr, scope: Scope[Value]) -> Value:
        value = super().element(iterable, scope)
        return self._element(scope.of(iterable)) if value is None else value

    def unpack(self, value: Value, count: int) -> Sequence[Value]:
        if isinstance(value, Constant | Count | Given):
            return [value] * count
        if isinstance(value, Items) and value.open and len(value.values) == 1 and isinstance(value.values[0], Tensor):
            return [value.values[0]] * count  # the chunks of a tensor
        if value == _ROWS:
            return [_ROWS.values[0], *[NUMBER] * (count - 1)]
        return super().unpack(value, count)

    def _sizes(self, value: Value) -> Value:
        """The shape of a tensor: its first dimension counts images, unless something else is known of it."""
        sizes = super()._sizes(value)
        if not isinstance(value, Tensor) or not isinstance(sizes, Items):
            return sizes
        if not value.dims:
            return _SHAPE
        first, *rest = sizes.values
        if not is_batch(value.dims[0]):
            return Items((first if self._is_told(value.dims[0]) else COUNT, *rest), sizes.open)
        self._others.update(name for dim in value.dims[1:] for name in named_in(dim.size))
        rest = [size if self._is_told(dim) else NUMBER for size, dim in zip(rest, value.dims[1:], strict=True)]
        return Items((first, *rest), sizes.open)

    def _count(self, tensor: ast.Name, targets: Sequence[ast.expr], scope: Scope[Value], *, more: bool = False) -> None:
        super()._count(tensor, targets, scope, more=more)
        value = scope.names.get(tensor.id)
        sizes = self._sizes(value)
        if isinstance(value, Tensor) and isinstance(sizes, Items) and len(value.dims) == len(targets):
            named = zip(targets, sizes.values, strict=True)
            scope.names |= {target.id: size for target, size in named if isinstance(target, ast.Name)}

    def module(self, kind: str, call: ast.Call, argument: Value) -> Value:
        if isinstance(argument, Given):
            return GIVEN if kind in TENSOR_MODULES else None
        value = super().module(kind, call, argument)
        if value is None and isinstance(argument, Tensor) and kind in TENSOR_MODULES:
            beginning = kind == "Unflatten" and number_of(argument_of(call, 0, "dim")) == 0
            return MOVED if beginning and has_rows(argument) else _moved([argument]) or SOME_TENSOR
        if value is None and kind in _PATTERNS and has_rows(argument):
            return Tensor(argument.dims[:1], open=True) if _keeps_first_axis(argument_of(call, 0, "pattern")) else MOVED
        return value

    def function(self, path: str, call: ast.Call, scope: Scope[Value]) -> Value:
        value = super().function(path, call, scope)
        head, _, name = path.rpartition(".")
        if (
            head == "torch"
            and name in _TURNING
            and call.args
            and has_rows(scope.of(call.args[0]))
            and _turns_rows(name, call, 1)
        ):
            return MOVED
        if head == "torch" and name in _NUMBERED | _JOINING and any(counts(scope.of(arg)) for arg in call.args[:1]):
            return COUNT
        if head == "torch" and name in _JOINING and not isinstance(value, Tensor):
            along = argument_of(call, 1, "dim", "axis")
            inside = [scope.of(n) for arg in call.args[:1] for n in walk(arg) if isinstance(n, ast.Name | ast.Call)]
            each = _each_of(inside)
            if number_of(along) in (0, None):
                return MOVED if each or any(isinstance(v, Given) or has_rows(v) for v in inside) else value
            return value if each is None else Tensor(each.dims[:1], open=True)
        if path in _REARRANGING and value is None and call.args and has_rows(rows := scope.of(call.args[0])):
            kept = _keeps_first_axis(argument_of(call, 1, "pattern"))
            return Tensor(rows.dims[:1], open=True) if kept else MOVED
        if path == "einops.pack" and isinstance(value, Items):
            return Items((value.values[0], CONSTANT))  # of the shapes it keeps those of what `*` stands for
        if path == "einops.pack" and pattern_of(call, 1)[:1].isidentifier():
            return Items((SOME_TENSOR, CONSTANT))
        return value

    def method(self, owner: Value, name: str, call: ast.Call, scope: Scope[Value]) -> Value:
        if isinstance(owner, Count):
            return COUNT
        if name in _TURNING and has_rows(owner) and _turns_rows(name, call, 0):
            return MOVED
        value = super().method(owner, name, call, scope)
        if name in _SHAPING and has_rows(owner):
            followed = any(map(is_batch, value.dims)) if isinstance(value, Tensor) else value is not None
            return value if followed else MOVED  # x.view((-1,) + shape[2:])
        if not has_rows(value) and (value is None or isinstance(value, Tensor)) and (moved := _moved([owner])):
            return Items((moved,), open=True) if name in _TAKING_APART else moved
        return SOME_TENSOR if _is_of_all_rows(owner, value) else value

    def _names_here(self, value: Value, scope: Scope[Value]) -> Mapping[Named, Named]:
        names = super()._names_here(value, scope)
        self._others.update(new for old, new in names.items() if old in self._others)
        return names

    def given(self, call: ast.Call, value: Value, scope: Scope[Value]) -> Value:
        value = super().given(call, value, scope)
        if isinstance(value, Items) and None in value.values and self._is_foreign(call.func, scope):
            return replace(value, values=tuple(GIVEN if each is None else each for each in value.values))
        if value is not None:
            return value
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        values = [scope.of(argument) for argument in arguments]
        if moved := _moved(values):
            return moved
        path = scope.path(call.func)
        if path:
            return self._by_function(path, call, values, scope)
        if self._is_expanded(call, values, scope):
            return self._sized(call.args, scope)
        if isinstance(call.func, ast.Attribute) and not _is_own(call.func, scope):
            return self._by_method(scope.of(call.func.value), call.func.attr, call, values, scope)
        if self._is_foreign(call.func, scope):
            return GIVEN if any(map(_is_tensor, values)) else self._made_of(values)
        return self._made_of([scope.of(call.func), *values])

    def _is_expanded(self, call: ast.Call, values: Sequence[Value], scope: Scope[Value]) -> bool:
        """Whether a tensor that is not in sight is expanded to sizes: it has that many rows then, whatever it is."""
        facts = scope.facts
        if facts is None or not values or not isinstance(values[0], Size):
            return False
        match call.func:
            case ast.Attribute(value=owner, attr="expand") if dotted(owner) != facts.prefix:
                name = scope.attribute(owner)
                return not name or not any(isinstance(kind, Class) for kind in kinds_of(facts, name))
        return False

    def _is_foreign(self, function: ast.expr, scope: Scope[Value]) -> bool:
        """Whether what is called is surely a layer of a library, or a part or a method of timm's models."""
        name, facts = scope.attribute(function), scope.facts
        if not name or facts is None:
            return False
        method = facts.method(name)
        if method is not None:
            return method[0].module.is_timms
        kinds = kinds_of(facts, name)
        return bool(kinds) and all(
            kind in _LIBRARIES or (isinstance(kind, Class) and kind.module.is_timms) for kind in kinds
        )

    def _by_function(self, path: str, call: ast.Call, values: Sequence[Value], scope: Scope[Value]) -> Value:
        """What a function of a library gives, or of another file."""
        head, _, name = path.rpartition(".")
        tensors = any(map(_is_tensor, values))
        if head in ("torch", "torch.nn.functional"):
            if name in _SIZED:
                return COUNT if any(map(counts, values[1:])) else self._sized(call.args[:1], scope)
            if any(map(counts, values)) and (name in _NUMBERED or not tensors):
                return COUNT
            rows = next((value for value in values if has_rows(value)), None)
            if rows is not None and name in _MOVING:
                return _along(name, rows, call, 1)
            if tensors and name in TENSOR_FUNCTIONS | FUNCTIONAL:
                return GIVEN if GIVEN in values else SOME_TENSOR
        elif not head and tensors:
            if name == "len":
                sizes = self._sizes(values[0])
                return sizes.values[0] if isinstance(sizes, Items) else COUNT
            if name in _ITERATING:
                return COUNT
            if name in _KINDS:
                return CONSTANT
        if tensors and path.startswith("timm."):
            return GIVEN
        return self._made_of([self._kept(dotted(call.func).partition(".")[0]), *values])

    def _by_method(
        self, owner: Value, name: str, call: ast.Call, values: Sequence[Value], scope: Scope[Value]
    ) -> Value:
        """What a method of a tensor gives, or of something else."""
        if _is_tensor(owner):
            if name in _ASKING and not (name == "type" and values):  # x.type(torch.float32) is a tensor
                return CONSTANT
            if name in ("numel", "nelement"):
                return COUNT
            if any(map(counts, values)) and name in _NUMBERED:
                return COUNT
            if name == "new_full" and any(map(counts, values[1:])):
                return COUNT
            if name in _SIZED and name.startswith("new_"):
                return self._sized(one_list(call)[:1] if name != "new_full" else call.args[:1], scope)
            if name == "size" and isinstance(owner, Given):
                index = argument_of(call, 0, "dim")
                return _ROWS if index is None else COUNT if number_of(index) == 0 else NUMBER
            if name in _MOVING and has_rows(owner):
                return _along(name, owner, call, 0)
            return None if name not in TENSOR_METHODS else GIVEN if isinstance(owner, Given) else SOME_TENSOR
        if owner is None and name == "size":
            index = argument_of(call, 0, "dim")
            return _SHAPE if index is None else COUNT if number_of(index) == 0 else None
        if name in ("expand", "repeat") and self.is_constant(owner):
            return self._sized(call.args, scope)
        return self._made_of([owner, *values])

    def _sized(self, sizes: Sequence[ast.expr], scope: Scope[Value]) -> Value:
        """A tensor that is made of some sizes, or of a tuple of them."""
        match sizes:
            case [ast.Tuple(elts=elements) | ast.List(elts=elements), *_]:
                sizes = elements
        values = [scope.of(size) for size in sizes]
        if values and isinstance(values[0], Items):
            values = list(values[0].values)
        return Tensor(tuple(Dim("", value.dim.size) if isinstance(value, Size) else Dim() for value in values))


def _is_tensor(value: Value) -> bool:
    return isinstance(value, Tensor | Given)


def _is_known(path: str) -> bool:
    """Whether a function is one of Python or of a library, and puts nothing into lists that it is given."""
    return bool(path) and (path in vars(builtins) or is_library(path) or path.startswith(("timm.", "einops.")))


def _turns_rows(name: str, call: ast.Call, skip: int) -> bool:
    """Whether ``flip`` or ``roll`` may give rows another order: along the first dimension, or who knows which."""
    first = skip if name == "flip" else skip + 1
    named = [keyword.value for keyword in call.keywords if keyword.arg == "dims"]
    along = named or (call.args[first:] if name == "flip" else call.args[first : first + 1])
    parts = [part for node in along for part in (node.elts if isinstance(node, ast.List | ast.Tuple) else [node])]
    numbers = [number_of(part) for part in parts]
    return not numbers or any(number is None or number == 0 or number < -3 for number in numbers)


def _is_number(value: Value) -> bool:
    return isinstance(value, Size) or value == NUMBER


def _stays(value: Value) -> bool:
    """Whether something stays what it is when others put something into a list or another object."""
    if isinstance(value, Items) and not value.open and not value.mutable:
        return all(map(_stays, value.values))
    return _is_tensor(value) or _is_number(value) or isinstance(value, Nothing)


def _is_of_all_rows(owner: Value, value: Value) -> bool:
    """Whether a tensor is made of one that has a row for each image, and has none: ``x.mean(0)``, ``x[0]``."""
    if not isinstance(owner, Tensor) or not isinstance(value, Tensor) or not any(map(is_batch, owner.dims)):
        return False
    return bool(value.dims) and not value.open and not any(map(is_batch, value.dims))


def has_rows(value: Value) -> TypeGuard[Tensor]:
    """Whether a tensor surely has a row for each image."""
    return isinstance(value, Tensor) and bool(value.dims) and is_row(value.dims[0])


def _has_rows_elsewhere(value: Value) -> bool:
    """Whether it is a tensor that surely has the images in another dimension than the first."""
    return isinstance(value, Tensor) and not has_rows(value) and any(map(is_batch, value.dims))


def _each_of(values: Sequence[Value]) -> Tensor | None:
    """A tensor of a list of such with a row for each image."""
    match values:
        case [Items(values=[Tensor() as first, *_])] if has_rows(first):
            return first
    return None


def _moved(values: Iterable[Value]) -> Tensor | None:
    """What is made of values of which one has other rows than one for each image, or may have."""
    for value in values:
        if isinstance(value, Tensor) and any(is_batch(dim) and not is_row(dim) for dim in value.dims[:1]):
            return Tensor(value.dims[:1], open=True)
    return None


def _index_parts(index: ast.expr) -> Sequence[ast.expr]:
    """What says which part an index takes: ``i`` and ``n`` of ``x[i, :n]``."""
    match index:
        case ast.Tuple(elts=elements):
            return [part for element in elements for part in _index_parts(element)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return [bound for bound in (lower, upper, step) if bound is not None]
    return [index]


def _keeps_first_axis(pattern: ast.expr | None) -> bool:
    """Whether a pattern of einops of which parts are computed leaves the first axis alone: ``f"b {dims} -> b n c"``."""
    parts = pattern.values if isinstance(pattern, ast.JoinedStr) else []
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    before, arrow, after = text.partition("->")
    first = before.split()[:1]
    return bool(arrow) and first == after.split()[:1] and all(name.isidentifier() for name in first)


def _takes_rows(index: ast.expr) -> bool:
    """Whether an index keeps the rows as they are, or takes some in a row: ``x[:, 1:]``, ``x[..., 0]``."""
    first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else index
    match first:
        case ast.Slice() | ast.Constant(value=int()) | ast.Constant(value=builtins.Ellipsis) | ast.UnaryOp():
            return True
    return False


def _along(name: str, rows: Tensor, call: ast.Call, skip: int) -> Value:
    """What is made of rows by what works along a dimension: rows, if that is another one; else who knows what."""
    place = _MOVING[name]
    along = argument_of(call, place + skip, "dim", "axis") if place is not None else None
    number = number_of(along)
    last = number is not None and number < 0 and (len(rows.dims) + number > 0 or (rows.open and number > -3))
    if number is None or not (number > 0 or last):
        return MOVED
    kept = Tensor(rows.dims[:1], open=True)
    return Items((kept,), open=True) if name in _TAKING_APART else kept


def _is_own(function: ast.Attribute, scope: Scope[Value]) -> bool:
    """Whether a call is of a method of ``self``, or of something that it holds."""
    return scope.facts is not None and dotted(function).startswith(f"{scope.facts.prefix}.")


def _size_of_open(shape: Items, index: ast.expr) -> Value:
    """A part of the shape of a tensor that has more dimensions than are known."""
    rest = NUMBER if isinstance(shape.values[0], Size) else None  # if the first is the batch, no other is
    match index:
        case ast.Slice(lower=lower, upper=upper, step=None):
            first, last = (None if bound is None else number_of(bound) for bound in (lower, upper))
            if lower is not None and first:
                return rest
            if first is None and lower is None and last is not None and last > 0:
                known = shape.values[:last]
                return Items((*known, *[rest] * (last - len(known))))
            return None
    number = number_of(index)
    if number is None:
        return None
    if 0 <= number < len(shape.values):
        return shape.values[number]
    return rest
