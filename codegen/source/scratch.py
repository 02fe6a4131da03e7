"""Directories for the length of a run. What a run that was killed left behind goes with the next one."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from codegen.manifest import GENERATOR

if sys.platform != "win32":
    import fcntl

_PREFIX = f"{GENERATOR}-scratch-"
_UNLOCKED = 1.0  # seconds; between making a directory and locking it there are microseconds


@contextlib.contextmanager
def scratch_directory(parent: Path | None = None) -> Iterator[Path]:
    """A new directory that goes with the block.

    Args:
        parent: Where; ``None`` for where the system has such files.

    Raises:
        OSError: It cannot be made.
    """
    parent = parent or Path(tempfile.gettempdir())
    _sweep(parent)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with _lock(directory):
            inside = (
                directory / "inside"
            )  # what is locked may be locked by nobody else, as the writer of a package does
            inside.mkdir()
            yield inside
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the directories that no process holds any more."""
    if sys.platform == "win32":  # it has no locks that a directory can bear
        return
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another run was faster, another user's, or in use
            if time.time() - directory.stat().st_mtime > _UNLOCKED:
                with _lock(directory, fcntl.LOCK_NB):
                    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _lock(directory: Path, how: int = 0) -> Iterator[None]:
    """Hold a directory; the system lets it go with the process.

    Raises:
        OSError: Another process holds it, and ``how`` says not to wait.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | how)
        except OSError:
            if how:
                raise
        yield
    finally:
        os.close(descriptor)
