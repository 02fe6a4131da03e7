"""Whether the first dimension of the tokens is still the batch of the images.

The stages may then read the batch size from the tokens, so that a caller can repeat or select rows (several masks an
image). Code is believed only as far as it can be read: what a call into the unknown gives is not known to keep the
batch, and the number crosses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from codegen.model.facts import Facts
from codegen.model.tokens import assigned
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted, returns


class Kind(Enum):
    """What is known of a value."""

    BATCH = "a tensor whose first dimension is the batch"
    PAIR = "a tuple that begins with such a tensor"
    SIZE = "the size of the batch"


_Names = dict[str, Kind]

_ELEMENTWISE = frozenset({"contiguous", "to", "float", "half", "bfloat16", "type_as", "clone", "detach"})
_FUNCTIONS = frozenset({"interpolate", "relu", "gelu", "silu", "layer_norm", "normalize", "dropout"})
# Methods that change a tensor in place, but for its shape.
_IN_PLACE = frozenset(
    {"add_", "sub_", "mul_", "div_", "clamp_", "copy_", "zero_", "fill_", "masked_fill_", "requires_grad_"}
)
_MODULES = re.compile(r"Conv|Norm|Drop|Linear|Identity|Pool|LU|Sigmoid|Tanh|Hardswish|Pixel|Upsample")


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
    names = {tensor: Kind.BATCH}
    local = frozenset(name for statement in statements for name in assigned(statement))
    _Reader(facts.index, facts.cls.module, facts, 0, local).run(statements, names)
    return frozenset(name for name, kind in names.items() if kind is Kind.BATCH)


@dataclass
class _Reader:
    """Follows the batch through one function.

    Attributes:
        index: The release.
        module: Where the function stands.
        facts: The class whose method it is, if it is one.
        depth: How many calls deep.
        local: Names that are not the module's here.
        returned: What is known of each value that the function returns.
        left: What is known where a loop is left, or goes on, in the middle: one list for each loop around.
    """

    index: Index
    module: Module
    facts: Facts | None
    depth: int
    local: frozenset[str]
    returned: list[Kind | None] = field(default_factory=list)
    left: list[list[_Names]] = field(default_factory=list)

    def run(self, statements: Sequence[ast.stmt], names: _Names) -> bool:
        """Follow statements, and say whether some path reaches their end."""
        return all(self._run(statement, names) for statement in statements)

    def _run(self, node: ast.stmt, names: _Names) -> bool:
        match node:
            case ast.Assign(targets=targets, value=value):
                kind, size = self.of(value, names), batch_size(node)
                for target in targets:
                    _bind(target, kind, names)
                if size is not None and size[0] != size[1] and names.get(size[1]) is Kind.BATCH:
                    names[size[0]] = Kind.SIZE
            case ast.AnnAssign(target=target, value=value):
                _bind(target, self.of(value, names) if value is not None else None, names)
            case ast.AugAssign(target=ast.Name(id=name), op=op):
                if names.get(name) is not Kind.BATCH or isinstance(op, ast.MatMult):
                    names.pop(name, None)
            case ast.If(body=body, orelse=orelse):
                return self._branch([body, orelse], names)
            case ast.For(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                self._loop(node, body, names)
                return self.run(orelse, names)
            case ast.With(body=body):
                before = dict(names)
                for item in node.items:
                    if item.optional_vars is not None:
                        _bind(item.optional_vars, None, names)
                reached = self.run(body, names)
                _meet(names, [before, dict(names)])
                return reached
            case ast.Return(value=value):
                self.returned.append(self.of(value, names) if value is not None else None)
                return False
            case ast.Raise():
                return False
            case ast.Break() | ast.Continue():
                self.left[-1].append(dict(names))
                return False
            case ast.Expr() | ast.Assert() | ast.Pass():
                pass
            case _:
                if any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
                    self.returned.append(None)
                names.clear()
        for inner in ast.walk(node):
            if _reshapes_in_place(inner):
                names.clear()
            elif isinstance(inner, ast.NamedExpr):
                names.pop(inner.target.id, None)
        return True

    def _branch(self, branches: Sequence[Sequence[ast.stmt]], names: _Names) -> bool:
        ends = []
        for branch in branches:
            inner = dict(names)
            if self.run(branch, inner):
                ends.append(inner)
        _meet(names, ends)
        return bool(ends)

    def _loop(self, node: ast.For | ast.While, body: Sequence[ast.stmt], names: _Names) -> None:
        """Run a loop until another round teaches nothing new."""
        before: _Names | None = None
        while names != before:
            before = dict(names)
            inner = dict(names)
            if isinstance(node, ast.For):
                for name in assigned(node.target):
                    inner.pop(name, None)
            self.left.append([])
            if self.run(body, inner):
                self.left[-1].append(inner)
            _meet(names, [before, *self.left.pop()])

    def of(self, node: ast.expr, names: _Names) -> Kind | None:
        """What is known of an expression."""
        match node:
            case ast.Name(id=name):
                return names.get(name)
            case ast.Tuple(elts=[first, *_]):
                return Kind.PAIR if self.of(first, names) is Kind.BATCH else None
            case ast.IfExp(body=body, orelse=orelse):
                return _agreed([self.of(body, names), self.of(orelse, names)])
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
                return Kind.BATCH if Kind.BATCH in (self.of(left, names), self.of(right, names)) else None
            case ast.Subscript(value=ast.Attribute(value=tensor, attr="shape"), slice=ast.Constant(0)):
                return Kind.SIZE if self.of(tensor, names) is Kind.BATCH else None
            case ast.Subscript(value=value, slice=index):
                kind = self.of(value, names)
                if kind is Kind.PAIR and isinstance(index, ast.Constant) and index.value == 0:
                    return Kind.BATCH
                return kind if kind is Kind.BATCH and _takes_all_rows(index) else None
            case ast.Call(func=ast.Attribute(value=tensor, attr=method)) if self.of(tensor, names) is Kind.BATCH:
                return self._method(method, node, names)
            case ast.Call():
                return self._call(node, names)
        return None

    def _method(self, method: str, call: ast.Call, names: _Names) -> Kind | None:
        """What a method of a tensor gives."""
        dims = [_number(argument) for argument in call.args]
        match method:
            case "size":
                return Kind.SIZE if dims == [0] else None
            case "reshape" | "view":
                kept = bool(call.args) and self.of(call.args[0], names) is Kind.SIZE
            case "flatten" | "unsqueeze" | "squeeze" | "unflatten":
                kept = bool(dims) and dims[0] is not None and dims[0] >= 1
            case "transpose":
                kept = len(dims) == 2 and all(dim is not None and (dim >= 1 or dim in (-1, -2)) for dim in dims)
            case "permute":
                kept = bool(dims) and dims[0] == 0
            case "mean" | "sum":
                kept = bool(dims) and dims[0] is not None and dims[0] >= 1
            case _:
                kept = method in _ELEMENTWISE
        return Kind.BATCH if kept else None

    def _call(self, call: ast.Call, names: _Names) -> Kind | None:
        name = dotted(call.func)
        head, _, last = name.rpartition(".")
        given = [self.of(argument, names) for argument in call.args]
        first = given[0] if given else None
        if name in ("torch.cat", "torch.concat") and call.args and isinstance(call.args[0], ast.Tuple | ast.List):
            dim = next((k.value for k in call.keywords if k.arg == "dim"), call.args[1] if len(call.args) > 1 else None)
            along = _number(dim) if dim is not None else None
            joined = [self.of(element, names) for element in call.args[0].elts]
            return Kind.BATCH if along is not None and along >= 1 and Kind.BATCH in joined else None
        if head in ("F", "torch.nn.functional", "nn.functional"):
            return first if last in _FUNCTIONS or (last == "pad" and _pads_last(call)) else None
        if self.depth > 4 or any(isinstance(argument, ast.Starred) for argument in call.args):
            return None
        arguments: dict[str | int, Kind | None] = dict(enumerate(given))
        for keyword in call.keywords:
            if keyword.arg is None:
                return None
            arguments[keyword.arg] = self.of(keyword.value, names)
        if isinstance(call.func, ast.Subscript):  # self.patch_embeds[0](x)
            return self._element(dotted(call.func.value), arguments)
        if self.facts is not None and head == self.facts.prefix:
            return self._member(self.facts, last, arguments)
        return self._global(name, arguments) if name not in self.local else None

    def _member(self, facts: Facts, name: str, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        method = facts.method(name)
        if method is not None:
            owner, function = method
            return self._function(owner.module, function, Facts(facts.index, facts.cls), arguments, skip=1)
        made = [leaf for value in facts.values.get(name, ()) for leaf in _leaves(value)]
        return self._modules(facts, made, arguments)

    def _element(self, container: str, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        facts = self.facts
        head, _, last = container.rpartition(".")
        if facts is None or head != facts.prefix or not _knows_elements(facts, last):
            return None
        return self._modules(facts, list(facts.elements(last)), arguments)

    def _modules(
        self, facts: Facts, made: Sequence[ast.expr], arguments: Mapping[str | int, Kind | None]
    ) -> Kind | None:
        """What any of the modules may give that stand in one place, given what makes them."""
        return _agreed([self._built(facts, call, arguments) for call in made])

    def _built(self, facts: Facts, call: ast.expr, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        name = dotted(call.func) if isinstance(call, ast.Call) else ""
        if name in ("nn.Sequential", "torch.nn.Sequential"):
            assert isinstance(call, ast.Call)
            kind = arguments.get(0)
            for part in call.args:  # one that is no call, such as *parts, is not known
                kind = self._built(facts, part, {0: kind})
            return kind
        if name.startswith(("nn.", "torch.nn.")):
            return arguments.get(0) if _MODULES.search(name.rpartition(".")[2]) else None
        if name.endswith(("norm_layer", "act_layer")):
            return arguments.get(0)  # keeps every shape by what it is for
        if not name:
            return None
        cls = next((c for owner in facts.lineage if (c := self.index.resolve(owner.module, name))), None)
        return self._forward(cls, arguments) if cls is not None else self._returned(facts, name, arguments)

    def _returned(self, facts: Facts, maker: str, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        """What a module does that a plain function makes: ``def conv3x3(...): return nn.Sequential(...)``."""
        found = self.index.function(facts.cls.module, maker)
        if found is None or found[0] is not facts.cls.module or found[1].decorator_list:
            return None
        function, last = found[1], found[1].body[-1]
        if not isinstance(last, ast.Return) or last.value is None or sum(map(returns, function.body)) > 1:
            return None
        local = {*(argument.arg for argument in function.args.args), *assigned(function)}
        called = {dotted(call.func) for call in ast.walk(last.value) if isinstance(call, ast.Call)}
        if any(name.partition(".")[0] in local and not name.endswith(("norm_layer", "act_layer")) for name in called):
            return None
        return self._built(facts, last.value, arguments)

    def _forward(self, cls: Class, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        facts = Facts(self.index, cls)
        found = facts.method("forward")
        if found is None or facts.method("__call__") is not None:
            return None
        return self._function(found[0].module, found[1], facts, arguments, skip=1)

    def _global(self, name: str, arguments: Mapping[str | int, Kind | None]) -> Kind | None:
        found = self.index.function(self.module, name)
        return self._function(*found, None, arguments, skip=0) if found is not None else None

    def _function(
        self,
        module: Module,
        function: ast.FunctionDef,
        facts: Facts | None,
        arguments: Mapping[str | int, Kind | None],
        skip: int,
    ) -> Kind | None:
        """What a function returns for some arguments, by position and by name."""
        if function.decorator_list or any(isinstance(n, ast.Nonlocal | ast.Global) for n in ast.walk(function)):
            return None
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)][skip:]
        names: _Names = {}
        for key, kind in arguments.items():
            if kind is not None and (isinstance(key, str) or key < len(parameters)):
                names[parameters[key] if isinstance(key, int) else key] = kind
        local = frozenset([*parameters, *assigned(function)])
        reader = _Reader(self.index, module, facts, self.depth + 1, local)
        if reader.run(function.body, names):
            reader.returned.append(None)
        return _agreed(reader.returned)


def _bind(target: ast.expr, kind: Kind | None, names: _Names) -> None:
    if isinstance(target, ast.Attribute):
        names.clear()  # x.data = y
    for name in assigned(target):
        names.pop(name, None)
    first = target.elts[0] if isinstance(target, ast.Tuple) and kind is Kind.PAIR else target
    if kind is not None and isinstance(first, ast.Name):
        names[first.id] = Kind.BATCH if first is not target else kind


def _meet(names: _Names, ends: Sequence[_Names]) -> None:
    """Keep what is known at every one of several ends."""
    kept = dict(set.intersection(*(set(end.items()) for end in ends))) if ends else {}
    names.clear()
    names.update(kept)


def _agreed(kinds: Sequence[Kind | None]) -> Kind | None:
    return kinds[0] if kinds and all(kind is kinds[0] for kind in kinds) else None


def _reshapes_in_place(node: ast.AST) -> bool:
    """Whether code changes the shape of a tensor that may have another name, too: ``x.squeeze_(0)``."""
    match node:
        case ast.Call(func=ast.Attribute(attr=method)):
            return method.endswith("_") and not method.endswith("__") and method not in _IN_PLACE
    return False


def _takes_all_rows(index: ast.expr) -> bool:
    """Whether an index begins with ``:`` and does not bring another dimension to the front."""
    first, *others = index.elts if isinstance(index, ast.Tuple) else [index]
    arrays = [other for other in others if not isinstance(other, ast.Slice | ast.Constant) and _number(other) is None]
    everything = isinstance(first, ast.Slice) and first.lower is first.upper is first.step is None
    return everything and len(arrays) <= 1


def _pads_last(call: ast.Call) -> bool:
    """Whether ``F.pad`` leaves the first dimension of a tensor of three or more alone."""
    return len(call.args) > 1 and isinstance(call.args[1], ast.Tuple) and len(call.args[1].elts) <= 4


def _leaves(value: ast.expr) -> Iterator[ast.expr]:
    """What an attribute may be set to, ``None`` aside."""
    if isinstance(value, ast.IfExp):
        yield from _leaves(value.body)
        yield from _leaves(value.orelse)
    elif not (isinstance(value, ast.Constant) and value.value is None):
        yield value


def _knows_elements(facts: Facts, container: str) -> bool:
    """Whether all that a container is ever given is in sight."""
    for value in facts.values.get(container, ()):
        for argument in value.args if isinstance(value, ast.Call) else ():
            known = isinstance(argument, ast.ListComp) and isinstance(argument.elt, ast.Call)
            listed = isinstance(argument, ast.List) and all(isinstance(e, ast.Call) for e in argument.elts)
            if not (known or listed):
                return False
    for member in (node for cls in facts.lineage for node in cls.members.values()):
        for call in (node for node in ast.walk(member) if isinstance(node, ast.Call)):
            match call.func:
                case ast.Attribute(value=ast.Attribute(attr=attr), attr="append") if attr == container:
                    if not isinstance(call.args[0], ast.Call):
                        return False
                case ast.Attribute(value=ast.Attribute(attr=attr), attr="insert" | "extend") if attr == container:
                    return False
    return True


def _number(node: ast.AST) -> int | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, int) else None
