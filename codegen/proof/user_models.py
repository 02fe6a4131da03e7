"""The proof of user models: each class that can be built without arguments is built, split and checked.

Unlike ``generate`` this imports and runs the models, in a process of its own. What is checked is what ``check`` of the
generated package checks.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from codegen.errors import UsageError
from codegen.generate import generate
from codegen.manifest import GENERATOR, SplitEntry, read_manifest
from codegen.package.writer import write_package
from codegen.proof import generated_package as packages
from codegen.proof import report as reports
from codegen.proof.results import Check, NameResult, RefusedName, Report
from codegen.types import Release

_CHECK = "check"
_SIDES = (32, 64, 96, 112, 128, 160, 192, 224, 256, 384, 448, 512, 28, 16, 8)
"""Image sizes to try, in pixels, where none can be read from the model."""


def verify_user_models(release: Release, patterns: Sequence[str], json: Path | None = None) -> int:
    """Generate the package of user models into a temporary directory and check their classes with it.

    Args:
        release: The user models. Unlike everything else that reads them, this imports and runs them.
        patterns: Names of classes, or patterns as of a shell; none for all.
        json: File to write the results to as JSON.

    Returns:
        The exit code of the process: 0 if all classes hold that are split.

    Raises:
        TimmSplitError: The models do not parse, or the package cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f"{GENERATOR}-") as folder:
        package = Path(folder, "user_splits")
        write_package(package, generate(release).files)
        ours = Path(__file__).parents[2]
        paths = [str(_import_root(Path(release.origin))), str(ours), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        target = str(json.absolute()) if json else ""
        command = [sys.executable, "-m", __name__, str(package), target, *patterns]
        return subprocess.run(command, env=environment, check=False).returncode


def _import_root(source: Path) -> Path:
    """The first directory upwards that is no package."""
    root = source.absolute()
    root = root if root.is_dir() else root.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root


def check_package(directory: Path, patterns: Sequence[str]) -> Report:
    """Check the user models of a package that can be imported here.

    Raises:
        UsageError: No class has such a name.
        TimmSplitError: The package cannot be imported.
    """
    manifest = read_manifest(directory)
    package = packages.load(directory)
    own = {path: entry for path, entry in manifest.classes.items() if not entry.module.startswith("timm.")}
    chosen = {
        path: entry
        for path, entry in own.items()
        if not patterns or any(fnmatchcase(entry.class_, pattern) for pattern in patterns)
    }
    if not chosen:
        raise UsageError(
            f"no class is named {' or '.join(patterns)}: there are {', '.join(e.class_ for e in own.values())}"
        )
    results, refused = [], []
    for path, entry in chosen.items():
        if isinstance(entry.split, SplitEntry):
            made = _check(package, entry.module, entry.class_, manifest.method)
            results.append(NameResult(entry.class_, path, (made,)))
        elif entry.refused:
            refused.append(RefusedName(entry.class_, path, entry.refused.reason))
    return Report(manifest.timm_version or "", tuple(results), tuple(refused))


def _check(package: Any, module: str, name: str, method: str) -> Check:
    import torch

    from codegen.proof.weights import disturb

    torch.manual_seed(0)
    try:
        model = getattr(importlib.import_module(module), name)()
        disturb(model)
        model.eval()
    except Exception as error:
        return Check(
            _CHECK, "not run", f"{_said(error)}; build a {name} yourself, and call check(split(model), images)"
        )
    images = next(_images(model, method), None)
    if images is None:
        return Check(_CHECK, "not run", f"no images were found that a {name} takes; call check(split(model), images)")
    try:
        package.check(package.split(model), images)
    except package.CheckError as error:
        return Check(_CHECK, "fails", "; ".join(error.differences))
    except Exception as error:
        return Check(_CHECK, "not run", _said(error))
    return Check(_CHECK, "holds", f"images of {images.shape[-2]} x {images.shape[-1]}")


def _images(model: Any, method: str) -> Iterator[Any]:
    """Images that a method of a model takes."""
    import torch

    sizes = [getattr(module, "img_size", None) for module in model.modules()]
    sides = [
        size if isinstance(size, int) else size[0] for size in sizes if isinstance(size, (int, list, tuple)) and size
    ]
    channels = next((module.in_channels for module in model.modules() if isinstance(module, torch.nn.Conv2d)), 3)
    for side in (*sides, *_SIDES):
        images = torch.randn(2, channels, side, side)
        try:
            with torch.no_grad():
                getattr(model, method)(images)
        except Exception:
            continue
        yield images


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _main(directory: str, json: str, *patterns: str) -> int:
    report = check_package(Path(directory), patterns)
    reports.show(report, reports.console())
    if json:
        reports.write(report, Path(json))
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
