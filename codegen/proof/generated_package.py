"""The generated package under proof: a directory with a manifest, imported by its path."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import read_manifest

_DEFAULT = "generated"


@dataclass(frozen=True)
class GeneratedPackage:
    """A generated package, and the little of its manifest that the proof may lean on.

    Attributes:
        directory: Where it is.
        timm_version: The release that it was made from.
        classes: Full name of the timm class of each registered name.
        refused: Why a class is not split, by its full name.
    """

    directory: Path
    timm_version: str
    classes: Mapping[str, str]
    refused: Mapping[str, str]


def find(directory: Path | None) -> GeneratedPackage:
    """Find the package to prove and read its manifest. Nothing of it is imported.

    Args:
        directory: Where it is; None for ``generated`` here, or else wherever Python finds a ``generated``.

    Raises:
        UsageError: There is none, its manifest cannot be read, or it was made for another timm or for user models.
    """
    directory = (directory or _default()).resolve()
    manifest = read_manifest(directory)
    if manifest.user_source is not None:
        raise UsageError(
            f"{directory} is for the models of {manifest.user_source}, and verify proves models that timm registers: "
            "docs/user-models.md says how to check yours"
        )
    installed = _importable_timm()
    if manifest.timm_version != installed:
        made_for = f"timm {manifest.timm_version}" if manifest.timm_version else "models that need no timm"
        raise UsageError(
            f"{directory} was made for {made_for}, and timm {installed} is installed: "
            f"run `timm-split generate --timm-version {installed} --output {directory}`"
        )
    return GeneratedPackage(
        directory,
        installed,
        {model: path for path, entry in manifest.classes.items() for model in entry.models},
        {path: entry.refused.reason for path, entry in manifest.classes.items() if entry.refused},
    )


_SMALL = re.compile(r"test|pico|nano|femto|atto|micro|mini|tiny|small|(^|_)(x*s|t|n)\d*(_|$)")


_STRIDE = re.compile(r"_r\d*_s\d+")  # of the stem of a hybrid, vit_large_r50_s32_224


def _sounds_small(name: str) -> bool:
    return _SMALL.search(_STRIDE.sub("", name)) is not None


def one_of_each(package: GeneratedPackage, names: Sequence[str]) -> list[str]:
    """One name of each class, one that sounds small where there is a choice."""
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (not _sounds_small(name), len(name), name)):
        chosen.setdefault(package.classes.get(name, name), name)
    return [name for name in names if name in chosen.values()]


def _importable_timm() -> str:
    """The version of the timm that Python would import, which takes seconds and is not done for this."""
    spec = importlib.util.find_spec("timm")
    read = getattr(spec and spec.loader, "get_data", None)  # of a directory, or of a wheel on sys.path
    if spec is None or spec.origin is None or read is None:
        raise UsageError("timm is not installed: pip install timm")
    text = read(str(Path(spec.origin).with_name("version.py"))).decode()
    found = re.search(r"^__version__\s*=\s*['\"](.+)['\"]", text, re.MULTILINE)
    if found is None:
        raise TimmSplitError(f"the timm at {spec.origin} does not say its version: install it again")
    return found[1]


def load(directory: Path) -> ModuleType:
    """Import the package in ``directory`` under the directory's name.

    It is imported by its path and not through ``sys.path``, where what lies beside it could hide other packages.

    Raises:
        TimmSplitError: It cannot be imported.
    """
    spec = importlib.util.spec_from_file_location(
        directory.name, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    if spec is None or spec.loader is None:
        raise TimmSplitError(f"{directory} cannot be imported")
    module = sys.modules[directory.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[directory.name]
        raise TimmSplitError(f"{directory} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _default() -> Path:
    here = Path(_DEFAULT)
    if (here / "__init__.py").is_file():
        return here
    spec = importlib.util.find_spec(_DEFAULT)
    if spec is None or not spec.origin:
        raise UsageError(
            f"there is no package `{_DEFAULT}` to verify: run `timm-split generate`, or name its --package"
        )
    return Path(spec.origin).parent
