"""The layout of generated code: sorted imports, and the formatting that readers of Python expect (ruff)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ruff.__main__ import find_ruff_bin

from codegen.errors import TimmSplitError
from codegen.source.scratch import scratch_directory

_MEMORY = Path("/dev/shm")  # where Linux has files that are on no disk


def format_files(files: Mapping[str, str]) -> dict[str, str]:
    """Sort imports and format the code as ruff does."""
    try:
        with scratch_directory(_in_memory()) as folder:
            return _format_in(folder, files)
    except OSError as error:
        raise TimmSplitError(f"cannot format what was generated: {error}: TMPDIR may name another place") from error


def _in_memory() -> Path | None:
    """Where files go at once when they are removed; a disk may take its time over those that ruff has rewritten."""
    return _MEMORY if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _format_in(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ruff = find_ruff_bin()
    common = ["--isolated", "--no-cache", "--quiet", "--line-length=120", "--target-version=py310", str(folder)]
    for command in (
        ["check", "--select=I,F401", "--fix", *common],
        ["format", "--config=format.quote-style='preserve'", *common],
    ):
        done = subprocess.run([ruff, *command], capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            raise TimmSplitError(f"ruff cannot format what was generated: {(done.stderr or done.stdout).strip()}")
    return {name: (folder / name).read_text(encoding="utf-8") for name in files}
