"""Names of the package and of its modules, under which Python can import them and everything else besides."""

from __future__ import annotations

import importlib.util
import keyword
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from codegen.errors import UsageError
from codegen.manifest import is_generated
from codegen.package import templates
from codegen.types import Outcome, Release


def check_package_name(output: Path, release: Release) -> None:
    """Refuse a directory under whose name Python cannot import a package, or would no longer import another one.

    Args:
        output: The package directory.
        release: What the package is for.

    Raises:
        UsageError: With what stands in the way.
    """
    name = Path(os.path.abspath(output)).name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"--output {output} is no name that Python can import: choose one such as my_splits")
    if name in sys.stdlib_module_names:
        taken = "a module of Python's standard library"
    elif _is_source(name, output, release):
        taken = "what it is generated from"
    elif _is_installed(name, output):
        taken = "an installed package"
    else:
        return
    raise UsageError(f"--output {output} has the name of {taken}, which it would hide: choose another, as my_splits")


def _is_source(name: str, output: Path, release: Release) -> bool:
    """Whether the release has a top-level module of that name, other than the package of an earlier run."""
    package = any(path.startswith(f"{name}/") for path in release.files) and not is_generated(output)
    return package or f"{name}.py" in release.files


def _is_installed(name: str, output: Path) -> bool:
    """Whether Python finds a module of that name which is neither the directory itself nor a generated package."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was put into sys.modules by hand
        return True
    if spec is None or spec.origin is None:  # a directory without __init__.py hides nothing and is hidden by anything
        return False
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    return not any(place.resolve() == output.resolve() or is_generated(place) for place in places)


def module_name(module: str) -> str:
    """The generated module for one of timm's: ``timm.models.vision_transformer_sam`` is ``vit_sam``."""
    name = module.removeprefix("timm.models.").replace(".", "_")
    short = "vision_transformer"
    return f"vit{name.removeprefix(short)}" if name.startswith(short) else name


def module_names(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """The generated module of each module. A user's ``vit.py`` keeps its name, and timm's gets another."""
    modules = sorted({outcome.module for outcome in outcomes}, key=lambda name: (name.startswith("timm."), name))
    reserved = {"__init__", *(name.removesuffix(".py") for name in templates.runtime_modules())}
    names: dict[str, str] = {}
    for module in modules:
        name = module_name(module)
        while name in reserved or name in names.values():
            name += "_"
        names[module] = name
    return names
