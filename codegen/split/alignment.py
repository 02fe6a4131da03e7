"""Whether the statements of one method compute what those of another do, on their way to something else.

Both are read side by side, as compilers number values: the images are one value, and each pair of statements that are
equal but for the names of variables gives both methods the same new values. Two names are the same where they hold the
same value.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from codegen.syntax.bindings import bound_names
from codegen.syntax.dataflow import flow
from codegen.syntax.equality import names_in_place
from codegen.syntax.sizes import Sizes, sizes_read
from codegen.syntax.statements import Statement
from codegen.syntax.walking import walk

IMAGES = "images"
_MADE = "made"


@dataclass(frozen=True)
class Size:
    """The size of a value in one dimension, or in all from that one on."""

    of: Hashable
    dimension: int
    to_last: bool = False


@dataclass(frozen=True)
class Alignment:
    """Where a method has the statements of another.

    Attributes:
        equal: Numbers of the statements that are equal to those of the other, in order.
        sizes: Numbers of those before the last of these that only read the sizes of a tensor, or give one another name.
        copies: Numbers of those of them that give a tensor another name.
        others: Numbers of the other statements before the last equal one.
        missing: The first statement of the other method that this one does not have, if there is one.
        theirs: The values of the variables of the other method after its last statement.
        ours: Those of this method after the last equal one.
    """

    equal: tuple[int, ...]
    sizes: tuple[int, ...]
    copies: tuple[int, ...]
    others: tuple[int, ...]
    missing: Statement | None
    theirs: Mapping[str, Hashable]
    ours: Mapping[str, Hashable]

    def made(self, statements: Sequence[Statement], images: str) -> set[str]:
        """The variables that hold the images, or what the statements that are equal make of them.

        Args:
            statements: Those of this method.
            images: Its first parameter.
        """
        passed = (*self.equal, *self.copies)
        return {images} | {name for number in passed for name in bound_names(statements[number].tree)}


def align(
    theirs: Sequence[Statement],
    ours: Sequence[Statement],
    images: tuple[str, str],
    parameters: Sequence[str],
    *,
    is_image_batch: bool,
) -> Alignment:
    """Find the statements of one method in another, in their order.

    Args:
        theirs: All statements to be found. Those that only read sizes, or give a tensor another name, need not be.
        ours: Those to look among.
        images: What each method calls its first parameter.
        parameters: Other parameters that both have.
        is_image_batch: Whether the images are known to have four dimensions.
    """
    left, right = (_Values({name: IMAGES}, is_image_batch) for name in images)
    for values in (left, right):
        values.known |= {name: ("parameter", name) for name in parameters}
    equal: list[int] = []
    sizes: list[int] = []
    copies: list[int] = []
    others: list[int] = []
    wanted = left.past_sizes(theirs, 0)
    for number, statement in enumerate(ours):
        if wanted == len(theirs):
            break
        if right.read_sizes(statement):
            sizes.append(number)
        elif right.copies(statement):
            sizes.append(number)
            copies.append(number)
        elif _match(theirs[wanted], statement, left, right, len(equal)):
            equal.append(number)
            wanted = left.past_sizes(theirs, wanted + 1)
        else:
            others.append(number)
            right.known |= {name: ("other", number, name) for name in bound_names(statement.tree)}
    missing = theirs[wanted] if wanted < len(theirs) else None
    return Alignment(tuple(equal), tuple(sizes), tuple(copies), tuple(others), missing, left.known, right.known)


@dataclass(eq=False)
class _Values:
    """The values that the variables of a method hold as its statements are read."""

    known: dict[str, Hashable]
    is_image_batch: bool

    def past_sizes(self, statements: Sequence[Statement], number: int) -> int:
        """The number of the next statement that does more than to look at tensors."""
        while number < len(statements) and self.looks(statements[number]):
            number += 1
        return number

    def looks(self, statement: Statement) -> bool:
        """Whether a statement only reads sizes of a tensor or gives one another name; its names then hold that."""
        return self.read_sizes(statement) is not None or self.copies(statement)

    def copies(self, statement: Statement) -> bool:
        """Whether a statement gives the images, or what is made of them, another name: ``x_down = x``."""
        match statement.tree:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=copied)):
                value = self.known.get(copied)
                if value == IMAGES or (isinstance(value, tuple) and value[0] == _MADE):
                    self.known[name] = value
                    return True
        return False

    def read_sizes(self, statement: Statement) -> Sizes | None:
        """What a statement reads of a shape, if that is all it does; its names then hold these sizes."""
        sizes = sizes_read(statement.tree)
        if sizes is None or sizes.tensor not in self.known:
            return None
        value = self.known[sizes.tensor]
        if value == IMAGES and self.is_image_batch:
            sizes = sizes_read(statement.tree, is_image_batch=True) or sizes
        self.known |= {name: Size(value, dimension) for name, dimension in sizes.names.items()}
        self.known |= {name: Size(value, dimension, to_last=True) for name, dimension in sizes.several.items()}
        return sizes


def _match(theirs: Statement, ours: Statement, left: _Values, right: _Values, number: int) -> bool:
    """Whether two statements do the same with the same values; what they bind then holds the same."""
    places = names_in_place(theirs.written, ours.written)
    if places is None:
        return False
    pairs = [(one.id, other.id) for one, other in places]
    bound = [(one.id, other.id) for one, other in places if not isinstance(one.ctx, ast.Load)]
    # where a name is bound before it is read, the names of one statement stand for those of the other throughout
    if not _is_one_to_one(bound if _reads_first(theirs.tree) else pairs):
        return False
    if isinstance(theirs.tree, ast.AugAssign) or not _reads_first(theirs.tree):
        seen = pairs
    else:
        seen = [(one.id, other.id) for one, other in places if isinstance(one.ctx, ast.Load)]
    read = (_read(theirs.tree), _read(ours.tree))
    for one, other in set(seen):
        if one in read[0] or other in read[1]:
            values = left.known.get(one), right.known.get(other)
            if values[0] != values[1] or (values[0] is None and one != other):
                return False
    names = dict(bound)
    for one in set(bound_names(theirs.tree)):  # but for the variables of comprehensions
        if one not in names:
            return False
        left.known[one] = right.known[names[one]] = (_MADE, number, one)
    return True


def _is_one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    every = set(pairs)
    return len(every) == len({one for one, _ in every}) == len({other for _, other in every})


def _reads_first(tree: ast.stmt) -> bool:
    """Whether a statement reads all that it reads before it binds a name."""
    scopes = ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    plain = isinstance(tree, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Assert)
    return plain and not any(isinstance(node, scopes) for node in walk(tree))


def _read(tree: ast.stmt) -> frozenset[str]:
    """The names whose value before a statement matters: it reads them, or may leave them as they are."""
    found = flow([tree])
    return found.needs | (found.may_bind - found.bound)
