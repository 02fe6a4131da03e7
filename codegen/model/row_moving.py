"""Classes in sight that give images other rows than they are given: windows, frames, images in the second dimension.

A layer that the code does not tell is whatever somebody passes, ``norm_layer=`` or ``embed_layer=``. It may be any
class of the user's files, so that it surely keeps rows only where none of these moves them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from codegen.model.counting import Counting, is_row
from codegen.model.dimensions import BATCH, MOVED_ROWS, Dim, Tensor, Value, argument_of, is_batch, number_of
from codegen.model.facts import Facts
from codegen.model.interpreter import interpret
from codegen.model.neighbours import files_seen_by
from codegen.source.index import Class, Index, Module
from codegen.syntax.dataflow import dotted
from codegen.syntax.walking import walk

_CALL = ast.parse("x = self.forward(x)").body
_IMAGES = Dim("B", BATCH)
_GIVEN = (
    Tensor((_IMAGES,), open=True),
    Tensor((_IMAGES, Dim("N"), Dim("C"))),
    Tensor((_IMAGES, Dim("C"), Dim("H"), Dim("W"))),
)
"""What a layer may be given: a grid, or a sequence of tokens."""


class Mover(NamedTuple):
    """A class that moves rows, or a call that makes such a layer.

    Attributes:
        name: The class, ``Fold``, or the call, ``nn.Flatten(0, 1)``.
        path: The file.
        line: The line.
        is_registered: Whether a decorator may have registered the class.
    """

    name: str
    path: str
    line: int
    is_registered: bool = False


def movers(index: Index, module: Module) -> Sequence[Mover]:
    """What in the files of the user that a file sees is known to give other rows than it is given."""
    return [mover for seen in files_seen_by(index, module) for mover in _movers(index, seen)]


def _movers(index: Index, module: Module) -> Sequence[Mover]:
    key, memory = ("moves rows", module.path), index.memory
    if key not in memory:
        layers = _layers(index, module)
        memory["layers", module.path] = layers  # what is known of a class is kept by its address
        classes = [cls for cls in layers if _moves_rows(Facts.of(index, cls))]
        found = [Mover(c.name, module.path, c.node.lineno, bool(c.node.decorator_list)) for c in classes]
        memory[key] = [*found, *_flattening(module)]
    known: Sequence[Mover] = memory[key]
    return known


def _flattening(module: Module) -> Iterator[Mover]:
    """Layers of torch that fold the dimension after the first into it: ``nn.Flatten(0, 1)``."""
    for node in walk(module.tree):
        match node:
            case ast.Call(func=function) if module.origin_of(function) == "torch.nn.Flatten":
                if number_of(argument_of(node, 0, "start_dim")) == 0:
                    yield Mover(ast.unparse(node), module.path, node.lineno)


def names_given(index: Index, moving: Collection[Mover]) -> frozenset[str]:
    """Names of the arguments, and of the functions, that may be given some classes in the user's files; ``*`` for any.

    Args:
        index: The files.
        moving: The classes: ``norm_layer=Fold``, ``kw["norm_layer"] = partial(Fold)``, ``super().__init__(Fold)``. One
            that is registered, or named in a configuration, is made by that.
    """
    names = {mover.name for mover in moving}
    nodes = [node for module in index.user_modules for node in walk(module.tree)]
    registered = any(mover.is_registered for mover in moving)
    configured = any(isinstance(node, ast.Constant) and node.value in names for node in nodes)
    builders = _BUILDERS if registered or configured else ()
    return frozenset([*builders, *(name for node in nodes for name in _given(node, names))])


_BUILDERS = ("build_norm_layer", "build_activation_layer", "build_conv_layer", "build_upsample_layer")
_ASKING = ("isinstance", "issubclass", "super", "partial")


def _given(node: ast.AST, names: Collection[str]) -> Iterator[str]:
    match node:
        case ast.Call(func=function, args=args, keywords=keywords):
            yield from (keyword.arg or "*" for keyword in keywords if _hands_on(keyword.value, names))
            if dotted(function).rpartition(".")[2] not in _ASKING and any(_hands_on(arg, names) for arg in args):
                yield "*"
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if _hands_on(value, names):
                    yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "*"
        case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(str(name)))], value=value):
            yield from (name,) if _hands_on(value, names) else ()


def _hands_on(node: ast.AST, names: Collection[str]) -> bool:
    """Whether an expression gives a class, and not an object of it."""
    match node:
        case ast.Call(func=function, args=args):
            return dotted(function).rpartition(".")[2] == "partial" and any(_hands_on(arg, names) for arg in args)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in names
        case ast.Dict() | ast.Compare():
            return False
    return any(_hands_on(part, names) for part in ast.iter_child_nodes(node))


def _layers(index: Index, module: Module) -> list[Class]:
    """The classes of a file that have a ``forward``, be they made in a function."""
    known = index.classes(module)
    nodes = (node for node in walk(module.tree) if isinstance(node, ast.ClassDef) and node.name not in known)
    found = [*known.values(), *(Class(module, node) for node in nodes)]
    return [cls for cls in found if isinstance(cls.members.get("forward"), ast.FunctionDef)]


def _moves_rows(facts: Facts) -> bool:
    return any(_is_moved(interpret(Counting(()), facts, _CALL, {"x": given}).get("x")) for given in _GIVEN)


def _is_moved(value: Value) -> bool:
    """Whether a tensor is known to have its images elsewhere than one in each row."""
    if not isinstance(value, Tensor) or not value.dims or is_row(value.dims[0]):
        return False
    return value.dims[0] != MOVED_ROWS and any(map(is_batch, value.dims))
