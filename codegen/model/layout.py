"""The layout of the tokens where the embedding ends, for the docstrings: ``NLC``, ``NHWC`` or ``NCHW``.

Followed through the code from the images on, as far as it can be read; what is not known is not claimed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.model.facts import Facts
from codegen.source.index import METHOD, Class, Module
from codegen.syntax.dataflow import dotted

SHAPES = {"NLC": "(B, N, C)", "NHWC": "(B, H, W, C)", "NCHW": "(B, C, H, W)"}
_PERMUTED = {
    ("NCHW", (0, 2, 3, 1)): "NHWC",
    ("NHWC", (0, 3, 1, 2)): "NCHW",
    ("NCL", (0, 2, 1)): "NLC",
    ("NLC", (0, 2, 1)): "NCL",
}
_FILLED = frozenset({"torch.zeros", "torch.empty", "torch.ones", "torch.randn"})
_FORMAT = "Format."
_CONFLICT = "?"
_KEEPING = frozenset({"contiguous", "to", "type_as", "float"})
_RANK_KEEPING = ("norm", "act", "drop", "identity", "conv", "pool", "relu", "gelu", "hardswish")


def token_layout(facts: Facts, statements: Sequence[ast.stmt], images: str, tokens: str) -> str:
    """The layout of the tokens after some statements, empty where the code does not tell.

    Args:
        facts: The class.
        statements: Up to the boundary.
        images: The parameter that takes the images, NCHW.
        tokens: The variable that holds the tokens.
    """
    names = {images: "NCHW"}
    _Reader(facts.cls.module, facts, {}, 0).run(statements, names)
    return names.get(tokens, "") if names.get(tokens, "") in SHAPES else ""


@dataclass(frozen=True)
class _Reader:
    """Reads one function.

    Attributes:
        module: Where it stands.
        facts: The class whose method it is, if it is one.
        settings: Constants that are known here: of the arguments that the instance was made with, of a call's.
        depth: How many calls deep.
    """

    module: Module
    facts: Facts | None
    settings: Mapping[str, object]
    depth: int

    def run(self, statements: Sequence[ast.stmt], names: dict[str, str]) -> str | None:
        """Follow statements; the layout that they return, ``None`` if they do not."""
        for statement in statements:
            match statement:
                case ast.Assign(targets=[target], value=value):
                    self._assign(target, value, names)
                case ast.If(test=test, body=body, orelse=orelse):
                    decided = self._decide(test)
                    branches = [body, orelse] if decided is None else [body if decided else orelse]
                    ends = []
                    returned = []
                    for branch in branches:
                        inner = dict(names)
                        result = self.run(branch, inner)
                        if result is None:
                            ends.append(inner)
                        else:
                            returned.append(result)
                    if returned and not ends:
                        return _agree(returned)
                    for name in {name for end in ends for name in end}:
                        names[name] = _agree([end.get(name, "") for end in ends])
                case ast.For(target=ast.Name(id=name), body=body):
                    names[name] = ""
                    self.run(body, names)
                case ast.For(body=body) | ast.With(body=body):
                    self.run(body, names)
                case ast.Return(value=value):
                    first = value.elts[0] if isinstance(value, ast.Tuple) else value
                    return self.of(first, names) if first is not None else ""
        return None

    def _assign(self, target: ast.expr, value: ast.expr, names: dict[str, str]) -> None:
        if isinstance(target, ast.Tuple):
            target = target.elts[0]
            if isinstance(value, ast.Tuple):
                value = value.elts[0]
        if isinstance(target, ast.Name):
            names[target.id] = self.of(value, names)

    def _decide(self, test: ast.expr) -> bool | None:
        """A test of settings: ``self.flatten``, ``self.output_fmt != Format.NCHW``, ``fmt == Format.NHWC``."""
        match test:
            case ast.Attribute() if dotted(test) in self.settings:
                return bool(self.settings[dotted(test)])
            case ast.Compare(left=left, ops=[op], comparators=[ast.Attribute(attr=other)]) if (
                dotted(left) in self.settings
            ):
                equal = str(self.settings[dotted(left)]) == other
                return equal if isinstance(op, ast.Eq) else not equal if isinstance(op, ast.NotEq) else None
        return None

    def of(self, node: ast.expr, names: Mapping[str, str]) -> str:
        """The layout of an expression, empty where it is no token tensor or not known."""
        match node:
            case ast.Name(id=name):
                return names.get(name, "")
            case ast.BinOp(left=left, right=right):
                return self.of(left, names) or self.of(right, names) or self._parameter(left) or self._parameter(right)
            case ast.IfExp(body=body, orelse=orelse):
                return _agree([self.of(body, names), self.of(orelse, names)])
            case ast.Call(func=ast.Attribute(value=receiver, attr=method), args=args) if not dotted(
                node.func
            ).startswith(("self.", "torch.", "F.")) and self.of(receiver, names):
                return _reshaped(self.of(receiver, names), method, args)
            case ast.Call():
                return self._called(node, names)
        return ""

    @property
    def is_model(self) -> bool:
        return self.facts is not None and METHOD in self.facts.methods

    def _parameter(self, node: ast.expr) -> str:
        """The layout of a positional encoding that is added: three dimensions are a sequence."""
        if self.facts is None or not self.facts.is_attribute(node) or not self.is_model:
            return ""
        for call in self.facts.constructors(dotted(node).rpartition(".")[2]):
            for inner in ast.walk(call):
                if isinstance(inner, ast.Call) and dotted(inner.func) in _FILLED and len(inner.args) == 3:
                    return "NLC"
        return ""

    def _called(self, node: ast.Call, names: Mapping[str, str]) -> str:
        name = dotted(node.func)
        if name in ("torch.cat", "torch.concat"):
            dims = [k.value for k in node.keywords if k.arg == "dim"] + node.args[1:]
            # a model joins prefix tokens to its sequence; inside other modules it may be channels that are joined
            sequence = any(isinstance(dim, ast.Constant) and dim.value == 1 for dim in dims)
            return "NLC" if sequence and self.is_model else ""
        given = [self.of(argument, names) for argument in node.args]
        helper = self.facts is not None and name.removeprefix(f"{self.facts.prefix}.") in self.facts.methods
        if self.depth > 5 or not (any(given) or helper):
            return ""
        if isinstance(node.func, ast.Subscript):
            name = f"{dotted(node.func.value)}.0"
        if self.facts is not None and name.startswith(f"{self.facts.prefix}."):
            return self._member(name.removeprefix(f"{self.facts.prefix}."), given)
        if name.startswith(("F.", "torch.", "nn.functional.")):
            return given[0]
        return self._global(name, node.args, given)

    def _member(self, name: str, given: Sequence[str]) -> str:
        assert self.facts is not None
        found = self.facts.method(name)
        if found is not None:
            facts = Facts(self.facts.index, self.facts.cls)
            return _Reader(found[0].module, facts, self.settings, self.depth + 1).enter(found[1], given, skip=1)
        head, _, element = name.partition(".")
        calls = list(self.facts.elements(head) if element else self.facts.constructors(head))
        return _agree([self._built(call, given) for call in calls]) if calls else ""

    def _built(self, call: ast.Call, given: Sequence[str]) -> str:
        """What a module that is made by a call does to what it is given."""
        assert self.facts is not None
        call = _with_default(call, self.facts)
        name = dotted(call.func) or dotted(getattr(call.func, "func", call))  # conv_nd(2)(...)
        last = name.rpartition(".")[2]
        if last == "Sequential":
            return self._sequence(list(_spread(call.args)), given[0]) if given else ""
        for owner in self.facts.lineage:
            cls = self.facts.index.resolve(owner.module, name) if name else None
            if cls is not None:
                return self._forward(cls, call, given)
        return given[0] if any(word in last.lower() for word in _RANK_KEEPING) else ""

    def _sequence(self, parts: Sequence[ast.expr], state: str) -> str:
        """What modules do one after the other."""
        for part in parts:
            state = self._built(part, [state]) if isinstance(part, ast.Call) and state else ""
        return state

    def _forward(self, cls: Class, call: ast.Call, given: Sequence[str]) -> str:
        assert self.facts is not None
        facts = Facts(self.facts.index, cls)
        found = facts.method("forward")
        if found is None:
            parents = {dotted(base).rpartition(".")[2] for c in facts.lineage for base in c.node.bases}
            if "Sequential" in parents and given and self.depth < 6:
                if facts.method("__init__") is None:
                    return self._sequence(list(_spread(call.args)), given[0])
                inner = _Reader(cls.module, facts, {}, self.depth + 1)
                # conditions and loops do not matter if each of the parts keeps the layout
                kept = all(inner._sequence([part], given[0]) == given[0] for part in _children(facts))
                return given[0] if kept else ""
            return given[0] if any(word in p.lower() for p in parents for word in _RANK_KEEPING) else ""
        reader = _Reader(found[0].module, facts, _settings(facts, call, self.facts), self.depth + 1)
        layout = reader.enter(found[1], given, skip=1)
        # two ways through a module are no conflict if **kwargs may say which it takes
        return "" if layout == _CONFLICT and not _told_all(call, self.facts) else layout

    def _global(self, name: str, arguments: Sequence[ast.expr], given: Sequence[str]) -> str:
        found = self.facts.index.function(self.module, name) if self.facts is not None else None
        if found is None:
            return ""
        module, function = found
        pairs = zip(function.args.args, arguments, strict=False)
        known = {p.arg: self.settings[dotted(a)] for p, a in pairs if dotted(a) in self.settings}
        return _Reader(module, self.facts, known, self.depth + 1).enter(function, given, skip=0)

    def enter(self, function: ast.FunctionDef, given: Sequence[str], skip: int) -> str:
        """The layout that a function returns for arguments of some layouts."""
        parameters = [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]][skip:]
        return self.run(function.body, dict(zip(parameters, given, strict=False))) or ""


def _agree(layouts: Sequence[str]) -> str:
    """What all that know agree on, and from then on nothing where two of them do not."""
    known = {layout for layout in layouts if layout}
    return known.pop() if len(known) == 1 else _CONFLICT if known else ""


def _reshaped(layout: str, method: str, args: Sequence[ast.expr]) -> str:
    numbers = tuple(a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, int))
    match method, numbers:
        case _ if layout == _CONFLICT:
            return _CONFLICT
        case "flatten", (2,) if layout == "NCHW":
            return "NCL"
        case "flatten", (1, 2) if layout == "NHWC":
            return "NLC"
        case "transpose", ((1, 2) | (2, 1)) if layout in ("NCL", "NLC"):
            return "NLC" if layout == "NCL" else "NCL"
        case "permute", _:
            return _PERMUTED.get((layout, numbers), "")
        case (("reshape" | "view"), _):
            if layout == "NCHW" and len(args) == 3 and ast.unparse(args[1]).endswith(".shape[1]"):
                return "NCL"
            return "NLC" if layout == "NHWC" and len(args) == 3 else ""
    return layout if method in _KEEPING else ""


def _only_device(node: ast.expr, maker: Facts) -> bool:
    """Whether ``**dd`` is timm's ``dd = {'device': device, 'dtype': dtype}``."""
    found = maker.method("__init__")
    for inner in ast.walk(found[1]) if found else ():
        match inner:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if name == dotted(node):
                # one that begins empty is filled later
                return bool(keys) and all(isinstance(k, ast.Constant) and k.value in ("device", "dtype") for k in keys)
    return False


def _with_default(call: ast.Call, maker: Facts) -> ast.Call:
    """A call of an argument of the constructor that makes a module, with what the argument is by default."""
    found = maker.method("__init__")
    if found is None or not isinstance(call.func, ast.Name):
        return call
    names = [argument.arg for argument in found[1].args.args]
    defaults = dict(zip(reversed(names), reversed(found[1].args.defaults), strict=False))
    match defaults.get(call.func.id):
        case ast.Call(func=ast.Name("partial"), args=[made], keywords=keywords):
            return ast.Call(made, call.args, [*keywords, *call.keywords])
        case ast.Name() as made if not call.func.id.endswith(("act_layer", "norm_layer")):
            return ast.Call(made, call.args, call.keywords)
    return call


def _spread(arguments: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Arguments, those of a list that is written out in its place, and of a comprehension one for all."""
    for argument in arguments:
        match argument:
            case ast.Starred(value=ast.List(elts=elements)):
                yield from _spread(elements)
            case ast.Starred(value=ast.ListComp(elt=element)):
                yield element  # as often as may be: right if it keeps the layout, which has to be seen
                yield element
            case _:
                yield argument


def _children(facts: Facts) -> Iterator[ast.expr]:
    """What the constructor of a ``Sequential`` puts into it; of what cannot be read, something that is no module."""
    found = facts.method("__init__")
    for node in ast.walk(found[1]) if found is not None else ():
        match node:
            case ast.Call(func=ast.Attribute(attr="add_module"), args=[_, part]):
                yield part
            case ast.Call(func=ast.Attribute(value=ast.Name("self"), attr="append" | "insert" | "extend"), args=parts):
                yield parts[-1]
            case ast.Call(func=ast.Attribute(attr="__init__"), args=parts):
                yield from _spread(parts)
            case ast.Assign(targets=[ast.Attribute(value=ast.Name("self"))], value=ast.Call() as part):
                yield part


def _told_all(call: ast.Call, maker: Facts) -> bool:
    """Whether all that a constructor is given is in sight."""
    return all(keyword.arg is not None or _only_device(keyword.value, maker) for keyword in call.keywords)


def _settings(facts: Facts, call: ast.Call, maker: Facts) -> Mapping[str, object]:
    """Attributes that a constructor sets from its arguments, as far as the arguments are constants."""
    found = facts.method("__init__")
    if found is None:
        return {}
    arguments = found[1].args
    names = [argument.arg for argument in arguments.args][1:]
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    given = {**dict(zip(names, call.args, strict=False)), **{k.arg: k.value for k in call.keywords if k.arg}}
    if _told_all(call, maker):
        given = {**defaults, **given}  # else **kwargs may set what the call does not
    values: dict[str, object] = {name: node.value for name, node in given.items() if isinstance(node, ast.Constant)}
    values |= {
        name: dotted(node).removeprefix(_FORMAT) for name, node in given.items() if dotted(node).startswith(_FORMAT)
    }
    settings: dict[str, object] = {}
    _apply(found[1].body, values, settings)
    return settings


def _apply(statements: Sequence[ast.stmt], values: Mapping[str, object], settings: dict[str, object]) -> None:
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)], value=value):
                settings.pop(f"self.{attr}", None)
                match value:
                    case ast.Constant(value=constant):
                        settings[f"self.{attr}"] = constant
                    case ast.Name(id=name) | ast.Call(args=[ast.Name(id=name)]) if name in values:
                        settings[f"self.{attr}"] = values[name]
                    case ast.Attribute() if dotted(value).startswith(_FORMAT):
                        settings[f"self.{attr}"] = value.attr
            case ast.If(test=ast.Compare(left=ast.Name(id=name), ops=[ast.IsNot()]), body=body, orelse=orelse):
                if name in values:
                    _apply(orelse if values[name] is None else body, values, settings)
