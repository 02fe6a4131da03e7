"""Layers that OpenMMLab's ``mmcv.cnn`` makes by configurations, ``build_norm_layer(dict(type="LN"), dim)``.

Which layer that is, is read where the configuration is in sight; as for other arguments that choose a class, what it is
by default counts. A class that the user has registered under that name may be meant, too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from codegen.model.decorators import called
from codegen.model.facts import Facts
from codegen.model.library import names
from codegen.model.module_kind import IN_PLACE, STATISTICS, Kind
from codegen.model.outside import Elsewhere
from codegen.model.purity import is_false
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

_LIBRARY = "mmcv.cnn."
_CONFIGURATION = "cfg"  # how the names of arguments end that are one
# What makes layers: which of its arguments is a configuration by its place, and what the layer is made of besides.
_MAKERS: Mapping[str, tuple[int | None, str]] = {
    **dict.fromkeys(
        ("build_norm_layer", "build_activation_layer", "build_padding_layer", "build_upsample_layer"), (0, "")
    ),
    "build_conv_layer": (0, "torch"),  # without a configuration
    "build_dropout": (0, "view"),
    **dict.fromkeys(
        ("ConvModule", "DepthwiseSeparableConvModule", "FFN", "MultiheadAttention", "PatchEmbed", "PatchMerging"),
        (None, "torch"),
    ),
    **dict.fromkeys(("DropPath", "AdaptivePadding"), (None, "view")),
}
_NAMED = frozenset({"dropout_layer"})
_STATISTICS = ("BN", "SyncBN", "IN", "MMSyncBN", "NaiveSyncBN")
_ACTIVATIONS = names(
    "ReLU LeakyReLU PReLU RReLU ReLU6 ELU Sigmoid Tanh GELU Clamp Clip HSigmoid HSwish Swish SiLU Mish Hardswish"
)
_TYPES: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("GN", "LN", "Conv", "Conv1d", "Conv2d", "Conv3d", "Conv2dAdaptivePadding", "ConvAWS", "DCN", "DCNv2"), "torch"
    ),
    **dict.fromkeys(("zero", "reflect", "replicate", "nearest", "bilinear", "deconv", "pixel_shuffle"), "torch"),
    **dict.fromkeys((*_STATISTICS, *(f"{norm}{n}" for norm in ("BN", "IN") for n in ("1d", "2d", "3d"))), STATISTICS),
    **dict.fromkeys(("Dropout", "DropPath"), "view"),
    **dict.fromkeys(_ACTIVATIONS, "torch"),
}


class Reading(Protocol):
    """Where an expression stands: see :class:`codegen.model.making.Making`."""

    facts: Facts
    module: Module
    values: Mapping[str, list[ast.expr]]

    def there(self, node: Elsewhere) -> tuple[Reading, frozenset[str]]:
        """Where an expression stands that is passed from elsewhere."""

    def in_constructor(self, value: ast.expr) -> Reading:
        """Where an expression stands that an attribute is bound to."""


class _Layer(NamedTuple):
    """What a configuration names.

    Attributes:
        type: The name of the layer.
        in_place: Whether it may be told to work in place.
    """

    type: str
    in_place: bool


def is_configured(path: str) -> bool:
    """Whether a name is of what makes layers by configurations."""
    return path.startswith(_LIBRARY) and path.rpartition(".")[2] in _MAKERS


def configured(reading: Reading, path: str, call: ast.Call) -> Iterator[Kind]:
    """What a call may make.

    Args:
        reading: Where it stands.
        path: The full name of what is called.
        call: It.
    """
    place, kind = _MAKERS[path.rpartition(".")[2]]
    named = _keywords(reading, call)
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if named is None or starred or (place is None and len(call.args) > _most(path)):
        yield from _unknown(path)
        return
    if kind:
        yield kind
    if any(name == "order" for name, _ in named):  # ConvModule(8, 8, 1, order=("act", "conv", "norm"))
        yield IN_PLACE
    placed = () if place is None else call.args[place : place + 1]
    configs = [value for name, value in named if name.endswith(_CONFIGURATION) or name in _NAMED]
    search = _Search()
    for layer in (layer for config in (*placed, *configs) for layer in search.layers(reading, config)):
        registered = () if layer is None else _registered(reading.facts.index, layer.type)
        yield from registered
        if layer is not None and layer.type in _TYPES:
            # within a module of several, it works on what that has made itself
            yield IN_PLACE if layer.in_place and place is not None else _TYPES[layer.type]
        elif not registered:
            yield from _unknown(path)


def _unknown(path: str) -> Iterator[Kind]:
    """What is made by a configuration that is not in sight; many activations are told to work in place."""
    yield "foreign"
    if path.endswith("build_activation_layer"):
        yield IN_PLACE


def _keywords(reading: Reading, call: ast.Call) -> Sequence[tuple[str, ast.expr]] | None:
    """What a call passes by name, by way of a dictionary, too; ``None`` if that is not in sight."""
    named = [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg is not None]
    for spread in (keyword.value for keyword in call.keywords if keyword.arg is None):
        entries = _entries(reading, spread, frozenset())
        if entries is None:
            return None
        named += entries
    return named


def _entries(reading: Reading, node: ast.expr, seen: frozenset[str]) -> list[tuple[str, ast.expr]] | None:
    """What a dictionary may hold that a constructor fills: ``options = dict(dim=8); options.update(patch_cfg)``."""
    match node:
        case ast.Call(func=ast.Name("dict"), args=[], keywords=keywords) if all(k.arg for k in keywords):
            return [(keyword.arg or "", keyword.value) for keyword in keywords]
        case ast.Dict(keys=keys, values=values) if all(isinstance(k, ast.Constant) for k in keys):
            return [(str(k.value), v) for k, v in zip(keys, values, strict=True) if isinstance(k, ast.Constant)]
        case ast.Name(id=name) if name in reading.values and name not in _written(reading):
            found: list[tuple[str, ast.expr]] = []
            for value in reading.values[name] if name not in seen else ():
                inner = [] if isinstance(value, Elsewhere) else _entries(reading, value, seen | {name})
                if inner is None:
                    return None
                found += inner
            return found
    return None


def _most(path: str) -> int:
    """How many arguments by place come before those that are configurations."""
    return 8 if "Conv" in path.rpartition(".")[2] else 4


@dataclass(eq=False)
class _Search:
    """What a configuration may name, each expression read once.

    Attributes:
        seen: The expressions that were read.
    """

    seen: set[int] = field(default_factory=set)

    def layers(self, reading: Reading, node: ast.expr) -> Iterator[_Layer | None]:
        """What a configuration may name; ``None`` for what is not in sight."""
        if id(node) in self.seen:
            return
        self.seen.add(id(node))
        match node:
            case Elsewhere():
                if id(node.value) not in self.seen and node.may_make(reading.facts.index, reading.facts.lineage):
                    yield from self.layers(reading.there(node)[0], node.value)
            case ast.Constant(value=None):
                return
            case ast.Call(func=ast.Name("dict"), args=[], keywords=keywords):
                yield _literal({keyword.arg: keyword.value for keyword in keywords})
            case ast.Dict(keys=keys, values=values):
                keyed = [key.value if isinstance(key, ast.Constant) else None for key in keys]
                yield _literal(dict(zip(keyed, values, strict=True)))
            case ast.Call(func=ast.Attribute(value=owner, attr="copy"), args=[]):
                yield from self.layers(reading, owner)
            case ast.Call(func=function, args=[copied]) if dotted(function) in _COPYING:
                yield from self.layers(reading, copied)
            case ast.IfExp(body=body, orelse=orelse):
                yield from (*self.layers(reading, body), *self.layers(reading, orelse))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):  # one for each of several layers
                for part in parts:
                    yield from self.layers(reading, part)
            case ast.Name(id=name) if name in reading.values and name not in _filled(reading):
                for value in reading.values[name]:
                    yield from self.layers(reading, value)
            case ast.Attribute(value=ast.Name("self"), attr=name) if name not in _filled(reading):
                if not reading.facts.values.get(name):
                    yield None
                for bound in reading.facts.values.get(name, ()):
                    yield from self.layers(reading.in_constructor(bound), bound)
            case _:
                yield None


_COPYING = frozenset({"copy.deepcopy", "copy.copy", "deepcopy"})


def _literal(entries: Mapping[object, ast.expr]) -> _Layer | None:
    match entries.get("type"):
        case ast.Constant(value=str(name)) if None not in entries:
            return _Layer(name, "inplace" in entries and not is_false(entries["inplace"]))
    return None


def _filled(reading: Reading) -> Set[str]:
    """The names of what code of a file puts something into."""
    return _written(reading) | _targets(reading, "updated", _updates)


def _written(reading: Reading) -> Set[str]:
    """The names of what code of a file puts something into other than by ``update``."""
    return _targets(reading, "written", _writes)


def _targets(reading: Reading, what: str, find: Callable[[ast.AST], Iterator[ast.expr]]) -> Set[str]:
    memory, key = reading.facts.index.memory, (what, reading.module.path)
    if key not in memory:
        nodes = walk(reading.module.tree)
        memory[key] = frozenset(dotted(owner).rpartition(".")[2] for node in nodes for owner in find(node))
    known: Set[str] = memory[key]
    return known


def _updates(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr="update")):
            yield owner


def _writes(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case (
            ast.Subscript(value=owner, ctx=ast.Store() | ast.Del())
            | ast.Call(func=ast.Attribute(value=owner, attr="setdefault" | "__setitem__"))
            | ast.Call(func=ast.Attribute(value=owner, attr="update"), keywords=[_, *_])
            | ast.AugAssign(target=owner)
        ):
            yield owner


def _registered(index: Index, name: str) -> Sequence[Kind]:
    """The classes of a user's files that are registered under a name."""
    memory, key = index.memory, ("registered", name)
    if key not in memory:
        memory[key] = [
            found for module in index.user_modules for found in index.classes(module).values() if _bears(found, name)
        ]
    known: Sequence[Kind] = memory[key]
    return known


def _bears(cls: Class, name: str) -> bool:
    for decorator in cls.node.decorator_list:
        registering = called(decorator)
        if isinstance(registering, ast.Attribute) and registering.attr == "register_module":
            texts = [n.value for n in walk(decorator) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            computed = isinstance(decorator, ast.Call) and any(
                not isinstance(value, ast.Constant | ast.List)
                for value in (*decorator.args, *(k.value for k in decorator.keywords))
            )
            if computed or name in (texts or [cls.name]):
                return True
    return False
