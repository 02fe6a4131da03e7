"""Classes in sight that give images other rows than they are given: windows, frames, images in the second dimension.

A layer that the code does not tell is whatever somebody passes, ``norm_layer=`` or ``embed_layer=``. It may be any
class of the user's files, so that it surely keeps rows only where none of these moves them.
"""

from __future__ import annotations

import ast

from codegen.model.counting import Counting, is_row
from codegen.model.dimensions import BATCH, MOVED_ROWS, Dim, Tensor, Value, is_batch
from codegen.model.facts import Facts
from codegen.model.interpreter import interpret
from codegen.source.index import Class, Index
from codegen.syntax.walking import walk

_CALL = ast.parse("x = self.forward(x)").body
_IMAGES = Dim("B", BATCH)
_GIVEN = (
    Tensor((_IMAGES,), open=True),
    Tensor((_IMAGES, Dim("N"), Dim("C"))),
    Tensor((_IMAGES, Dim("C"), Dim("H"), Dim("W"))),
)
"""What a layer may be given: a grid, or a sequence of tokens."""


def class_that_moves_rows(index: Index) -> Class | None:
    """A class of the user's files whose ``forward`` is known to give other rows than it is given."""
    key, memory = "moves rows", index.memory
    if key not in memory:
        layers = _layers(index)
        memory["layers"] = layers  # what is known of a class is kept by its address
        memory[key] = next((cls for cls in layers if _moves_rows(Facts.of(index, cls))), None)
    found: Class | None = memory[key]
    return found


def _layers(index: Index) -> list[Class]:
    """The classes of the user's files that have a ``forward``, be they made in a function."""
    found = []
    for module in index.user_modules:
        known = index.classes(module)
        found += known.values()
        nodes = (node for node in walk(module.tree) if isinstance(node, ast.ClassDef) and node.name not in known)
        found += (Class(module, node) for node in nodes)
    return [cls for cls in found if isinstance(cls.members.get("forward"), ast.FunctionDef)]


def _moves_rows(facts: Facts) -> bool:
    return any(_is_moved(interpret(Counting(()), facts, _CALL, {"x": given}).get("x")) for given in _GIVEN)


def _is_moved(value: Value) -> bool:
    """Whether a tensor is known to have its images elsewhere than one in each row."""
    if not isinstance(value, Tensor) or not value.dims or is_row(value.dims[0]):
        return False
    return value.dims[0] != MOVED_ROWS and any(map(is_batch, value.dims))
