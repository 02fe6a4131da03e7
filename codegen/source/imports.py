"""What import statements bind, and where that comes from."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.syntax.walking import walk


@dataclass(frozen=True)
class Import:
    """Where a name is imported from: ``from module import name`` or, without a name, ``import module``."""

    module: str
    name: str = ""

    @property
    def path(self) -> str:
        """The full name of what is imported, ``torch.nn.functional``."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(node: ast.stmt, file: str) -> Mapping[str, Import]:
    """What each name stands for that a statement imports; of ``import *``, the name ``*``. Other statements have none.

    Args:
        node: The statement.
        file: Path of its file from the import root, ``timm/models/eva.py``.
    """
    if isinstance(node, ast.Import):  # `import a.b` binds `a`
        tops = [alias.name if alias.asname else alias.name.partition(".")[0] for alias in node.names]
        return {alias.asname or top: Import(top) for alias, top in zip(node.names, tops, strict=True)}
    if isinstance(node, ast.ImportFrom):
        module = source_module(node, file)
        return {alias.asname or alias.name: Import(module, alias.name) for alias in node.names}
    return {}


def imports_anywhere(tree: ast.Module, file: str) -> Mapping[str, Sequence[Import]]:
    """What each name stands for that a file imports, in functions too, by each statement that does.

    Args:
        tree: The file.
        file: Its path from the import root.
    """
    found: dict[str, list[Import]] = {}
    for node in walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, imported in imports(node, file).items():
                found.setdefault(name, []).append(imported)
    return found


def source_module(node: ast.ImportFrom, file: str) -> str:
    """The module from which a statement imports, relative ones made absolute."""
    package = file.split("/")[: -node.level] if node.level else []
    return ".".join([*package, *([node.module] if node.module else [])])
