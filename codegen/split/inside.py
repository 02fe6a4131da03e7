"""Whether a class that delegates has the statements of its inner model, ``self.encoder.blocks`` for ``self.blocks``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from codegen.syntax.parsing import parse
from codegen.types import Method

RECEIVER = "self"


def same_method(mine: Method, its: Method, attribute: str) -> bool:
    """Whether a method of the outer model has the parameters and the statements of one of the inner model."""
    return names_of(mine) == names_of(its) and same_statements(mine.body, its.body, attribute)


def names_of(method: Method) -> list[tuple[str, str]]:
    """The names and kinds of the parameters of a method."""
    return [(parameter.name, parameter.kind) for parameter in method.parameters]


def same_statements(mine: Sequence[str], its: Sequence[str], attribute: str) -> bool:
    """Whether statements of the outer model are those of the inner one, which an attribute holds."""
    return [*_inside(mine, attribute)] == [*_dumps(its)]


def _dumps(texts: Sequence[str]) -> Iterator[str]:
    return (ast.dump(statement) for statement in parse("\n".join(texts)).body)


def _inside(texts: Sequence[str], attribute: str) -> Iterator[str]:
    """Statements as the inner model has them, ``self.blocks`` for ``self.encoder.blocks``."""
    return (ast.dump(_Inside(attribute).visit(statement)) for statement in parse("\n".join(texts)).body)


class _Inside(ast.NodeTransformer):
    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        match node.value:
            case ast.Name(id=name) if name == RECEIVER and node.attr == self.attribute:
                return ast.Name(RECEIVER, ast.Load())
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        # what is the outer model's own is nothing that the inner model has
        return ast.Name("", node.ctx) if node.id == RECEIVER else node
