"""The proof of a release that is not the installed one: its package is generated, and proved in a process of its own.

timm is pure Python, so a wheel or a directory at the head of ``sys.path`` is as good as an installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen.errors import UsageError
from codegen.generate import generate
from codegen.package.writer import write_package
from codegen.source.scratch import scratch_directory
from codegen.types import Release


def verify_release(release: Release, arguments: Sequence[str]) -> int:
    """Generate the package of a release into a temporary directory and run ``timm-split verify`` on it.

    Args:
        release: The release. Unlike everything else that reads one, this imports and runs it.
        arguments: Further arguments of ``verify``.

    Returns:
        The exit code of the process.

    Raises:
        UsageError: The source cannot be imported from where it is, or is no timm.
        TimmSplitError: It does not parse, or the package cannot be written.
    """
    root = import_root(release)
    with scratch_directory() as folder:
        package = folder / "generated"
        write_package(package, generate(release).files)
        ours = Path(__file__).parents[2]
        paths = [str(root), str(ours), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "codegen", "verify", "--package", str(package), *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


def import_root(release: Release) -> Path:
    """What to put on ``sys.path`` to import a release.

    Raises:
        UsageError: It is an sdist, which Python cannot import from.
    """
    origin = Path(release.origin).resolve()
    if origin.is_dir():
        return origin if (origin / "timm").is_dir() else origin.parent
    if origin.suffix not in (".whl", ".zip"):
        raise UsageError(f"{origin} cannot be imported as it is: unpack it, and give the directory to --source")
    return origin
