"""Text -> the syntax tree that every Python gives."""

from __future__ import annotations

import ast


def parse(text: str, path: str = "<unknown>") -> ast.Module:
    """Parse with docstrings, which ``ast.parse`` of Python 3.14 leaves out under ``python -OO``.

    Raises:
        SyntaxError: It is not Python, or newer Python than the interpreter that runs this.
        ValueError, RecursionError, MemoryError: It cannot be parsed for another reason.
    """
    tree = compile(text, path, "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True, optimize=0)
    assert isinstance(tree, ast.Module)
    return tree
