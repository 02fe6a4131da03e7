"""Where code finds what outlives it, what an expression may give, and whether two places may be the same.

Objects have several names: ``self.rope`` and the ``rope`` of each block. Two accesses may mean the same if they are of
attributes of one name and of classes of which one derives from the other, and if what the model holds may be shared.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from codegen.model.facts import Facts
from codegen.model.module_kind import STATISTICS, Kind
from codegen.model.sharing import is_made_with, may_share
from codegen.source.index import Class, Index, Module

ANY = "*"
BOXES: frozenset[Kind] = frozenset({"box", "boxes"})
"""Kinds of a container that is made here, and of one that holds such."""


# Places and values are named tuples, for they are most of what the effects of code are worked out of: to make, hash and
# compare them takes a fraction of what it takes with a frozen dataclass.


class Place(NamedTuple):
    """Where code finds what outlives it.

    Attributes:
        kind: ``attribute``, ``argument`` or ``global``; ``statistics`` for what a module of torch keeps of the batches
            that it has seen, ``running_mean``.
        name: Of the attribute, parameter or global; ``*`` for any.
        owner: The class whose attribute it is, empty for any.
        root: The attribute of the model by way of which code gets there, empty for the model itself; ``*`` for any.
        whole: Whether everything that can be reached from there is meant.
        beneath: Whether that is meant without what is kept there itself: a module does not change who holds it.
    """

    kind: str
    name: str
    owner: Class | None = None
    root: str = ""
    whole: bool = False
    beneath: bool = False

    def by_way_of(self, root: str) -> Place:
        """The same place as it is seen from an attribute of the model."""
        return self if root == self.root else Place(self.kind, self.name, self.owner, root, self.whole, self.beneath)

    def opened(self, *, beneath: bool) -> Place:
        """All that can be reached from the place."""
        return Place(self.kind, self.name, self.owner, self.root, True, beneath)


SELF = Place("attribute", "self", whole=True)
EVERYTHING = Place("attribute", ANY, root=ANY, whole=True)
MODE = Place("attribute", "training", root=ANY)


class Value(NamedTuple):
    """What an expression may give.

    Attributes:
        places: Where else it may be found; none if nobody else has it.
        held: Where else what it holds may be found.
        kinds: What module it, or what it holds, may be.
        methods: Methods of objects that it may be.
    """

    places: frozenset[Place] = frozenset()
    held: frozenset[Place] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    methods: frozenset[tuple[Facts, ast.FunctionDef, Module, str]] = frozenset()

    def __or__(self, other: Value) -> Value:
        if self is FRESH or other is FRESH:  # as most of what code computes
            return other if self is FRESH else self
        return Value(
            self.places | other.places,
            self.held | other.held,
            self.kinds | other.kinds,
            self.methods | other.methods,
        )

    @property
    def all(self) -> frozenset[Place]:
        """Where it, or what it holds, may be found."""
        return self.places | self.held

    @property
    def inside(self) -> Value:
        """What may be taken out of it: a tensor's row, an element of a list."""
        return self._replace(places=self.all) if self.held else self

    @property
    def boxed(self) -> Value:
        """A container that is made here and holds it."""
        inner = {"boxes"} if "box" in self.kinds else set()
        return self._replace(places=frozenset(), held=self.all, kinds=self.kinds | {"box"} | inner)

    @property
    def taken(self) -> Value:
        """An element of it: no container itself, unless it holds such."""
        inside = self.inside
        return inside if "boxes" in self.kinds else inside._replace(kinds=inside.kinds - BOXES)


FRESH = Value()


def root_of(place: Place) -> str:
    """The attribute by way of which code gets to what an object holds that is kept in a place."""
    return place.root or ("" if place == SELF else place.name)


def may_meet(facts: Facts, read: Place, written: Place) -> bool:
    """Whether two places that code of a model gets to may be the same."""
    if STATISTICS in (read.kind, written.kind):  # others than who names them have no use for them
        return read.kind == written.kind and read.name == written.name
    if EVERYTHING in (read, written):
        return True
    if any(_is_in_module(facts.index, *pair) for pair in ((read, written), (written, read))):
        return True
    if read.kind != written.kind:
        return False
    if read.beneath or written.beneath:
        deep, place = (read, written) if read.beneath else (written, read)
        if place.kind == "attribute" and not place.whole and place.owner is not None and deep.root == place.root:
            return not _related(facts.index, deep.owner, place.owner)  # an attribute of who holds it is not beneath it
    same = ANY in (read.name, written.name) or read.name == written.name
    if read.kind != "attribute":
        return same
    if read.root == written.root or ANY in (read.root, written.root):
        if (read.beneath and written.owner is None) or (written.beneath and read.owner is None):
            return True
        if any(place.whole and place.name == ANY for place in (read, written)):
            return True
        return same and _related(facts.index, read.owner, written.owner)
    if not may_share(facts, written.root, read.root):
        return False
    if read.whole or written.whole:
        return True
    if any(place.name == place.root for place in (read, written)) and is_made_with(facts, read.root, written.root):
        return True
    return same and _related(facts.index, read.owner, written.owner)


def _is_in_module(index: Index, place: Place, module: Place) -> bool:
    """Whether a place is in one that is a module of the user: ``from . import state`` binds what other files name."""
    if module.kind != "global" or not index.has_file(module.name):
        return False
    if place.kind == "global":
        return place.name.startswith(f"{module.name}.")
    return place.owner is not None and place.owner.path.startswith(f"{module.name}.")


def _related(index: Index, one: Class | None, other: Class | None) -> bool:
    """Whether an object may be of both classes."""
    return one is None or other is None or one in index.lineage(other) or other in index.lineage(one)
