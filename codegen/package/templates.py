"""The templates of a package, and the run-time modules that are copied into it as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from codegen.errors import TimmSplitError

_FACTORY = "_factory.py"


def folder() -> Path:
    """The directory of templates: in the generator's own in a wheel, at the top of a checkout."""
    generator = Path(__file__).parents[1]
    for directory in (generator / "templates", generator.parent / "templates"):
        if directory.is_dir():
            return directory
    raise TimmSplitError("the templates are missing from this installation: install timm-split again")


def runtime_modules(*, factory: bool = True) -> Mapping[str, str]:
    """The text of each run-time module by its file name, with or without the factory of timm's models."""
    paths = sorted((folder() / "runtime").glob("*.py"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths if factory or path.name != _FACTORY}
