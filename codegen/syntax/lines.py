"""A method taken apart by its lines, where each statement has lines of its own, as people write them.

The texts are those that libcst gives, which builds an object for every token of them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OwnLines:
    """A method of which each statement has lines of its own.

    Attributes:
        head: The lines of its signature.
        indentation: That of its statements.
        texts: The statements, the docstring among them, dedented, each with the comments above it.
    """

    head: tuple[str, ...]
    indentation: str
    texts: tuple[str, ...]


def own_lines(lines: Sequence[str], node: ast.FunctionDef) -> OwnLines | None:
    """Take a method apart by its lines.

    Args:
        lines: Those from its ``def`` to its end.
        node: The method.

    Returns:
        Its parts; ``None`` where statements share a line, or lines do not tell what belongs together.
    """
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    if not all(_is_alone(lines, node.lineno, s, verbatim=s is docstring) for s in node.body):
        return None
    first = _first(node.body[0]) - node.lineno
    indentation = _indentation(lines[first])
    while not _is_code(lines[first - 1]):
        first -= 1
    texts, end = [], first
    for statement in node.body:
        start, stop = _first(statement) - node.lineno, (statement.end_lineno or 0) - node.lineno + 1
        if any(len(_indentation(line)) > len(indentation) for line in lines[end:start] if line.strip()):
            return None  # a comment that may belong to the block above
        texts.append("\n".join(line.removeprefix(indentation) for line in lines[end:stop]))
        end = stop
    return OwnLines(tuple(lines[:first]), indentation, (texts[0].lstrip("\n"), *texts[1:]))


def _is_alone(lines: Sequence[str], offset: int, statement: ast.stmt, *, verbatim: bool) -> bool:
    """Whether nothing else is on the lines of a statement, and each of them may be dedented, or need not be."""
    last = (statement.end_lineno or 0) - offset
    own = lines[_first(statement) - offset : last + 1]
    before = lines[statement.lineno - offset].encode()[: statement.col_offset]
    after = lines[last].encode()[statement.end_col_offset :].strip()
    continues = any(line.endswith("\\") or '"""' in line or "'''" in line for line in own)
    return not before.strip() and after[:1] in (b"", b"#") and (verbatim or not continues)


def _first(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_code(line: str) -> bool:
    return line.strip() != "" and not line.lstrip().startswith("#")
