"""Which part of the generator imports which: each folder those above it alone, in the order of docs/how-it-works.md."""

import ast
from pathlib import Path

import codegen

ROOT = Path(codegen.__file__).parent
# From the ground up. A release is generated before it is listed or proved, and the commands tie all together.
FLOORS = (
    *("errors", "types", "manifest", "version"),
    *("syntax", "source", "model", "split", "package", "generate", "reports", "proof"),
    *("cli", "__main__"),
)


def floor_of(module: str) -> int:
    return FLOORS.index(module.split(".")[1])


def imports() -> list[tuple[str, str]]:
    """Each module of the generator with each one that it imports, at its top or inside a function."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        importing = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("codegen."):
                found.append((importing, node.module))
    return found


def test_no_module_imports_one_of_a_folder_below_it():
    assert [pair for pair in imports() if floor_of(pair[0]) < floor_of(pair[1])] == []


def test_no_modules_of_a_folder_import_each_other_in_a_circle():
    known = {importing for importing, _ in imports()}
    needs: dict[str, set[str]] = {}
    for importing, imported in imports():
        needs.setdefault(importing, set()).update({imported} & known)
    while ready := [module for module, others in needs.items() if not others & needs.keys()]:
        for module in ready:
            del needs[module]
    assert needs == {}


def test_few_modules_stand_beside_the_folders():
    beside = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert beside == {"cli", "errors", "generate", "manifest", "types", "version"}
