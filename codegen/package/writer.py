"""The text of a package -> its directory, all or nothing.

The new package is written next to the old one and replaces it in one step, so that an interruption leaves the one or
the other, complete. Where two directories cannot be exchanged in one step it takes two: if the second fails, the first
is taken back, and the next run completes what a crash between them left undone.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import errno
import io
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codegen.errors import TimmSplitError, UsageError
from codegen.manifest import GENERATOR, MANIFEST, digest_of, is_generated, read_digests, read_header

if sys.platform != "win32":
    import fcntl

_WRITERS = 16  # files that are on their way to the disk at once: they wait for it, and not for a processor


def write_package(output: Path, files: Mapping[str, str], *, force: bool = False) -> None:
    """Make ``output`` a directory of exactly these files; if it is one already, touch nothing.

    Args:
        output: The package directory: missing, empty, or written by this function before. A symlink is followed.
        files: Text of each file by its posix path in the package. One is the manifest, which names all of them: it
            tells a later run that these may be replaced.
        force: Replace the directory even if it holds files of others, files that were edited by hand, or a manifest
            that is damaged.

    Raises:
        UsageError: ``output`` is a file, a mount point or the current directory, or holds what only ``force`` replaces.
        TimmSplitError: The files cannot be written; ``output`` is as it was.
    """
    content = {name: text.encode() for name, text in files.items()}
    target = output
    try:
        target = output.resolve()
        if Path.cwd().is_relative_to(target) or os.path.ismount(target):
            raise UsageError(
                f"{output} cannot be replaced, for it is a mount point or holds the current directory: "
                "name a directory in it, such as generated"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(target.parent):
            if target.exists() and not target.is_dir():
                raise UsageError(f"{output} is a file: name a directory")
            if not force:
                _check_ours(output, target, content)
            _tidy(target)
            if not _holds(target, content):
                _replace(target, content)
    except (OSError, RuntimeError) as error:  # a RuntimeError is how resolve() reports a loop of links
        reason = (isinstance(error, OSError) and error.strerror) or error
        aside = _beside(target, "old")
        left = f"what it held is in {aside}" if aside.exists() else "it is left as it was"
        raise TimmSplitError(
            f"cannot write {output}: {reason}; {left}: make room or leave to write there, or name another"
        ) from None


def edited(output: Path) -> tuple[str, ...]:
    """The files of a package that someone edited since it was generated; none where its manifest does not tell."""
    try:
        digests = read_digests(output)
        there = {name: (output / name).read_bytes() for name in digests if (output / name).is_file()}
    except (UsageError, OSError):
        return ()
    return tuple(name for name, data in sorted(there.items()) if digest_of(data) != digests[name])


def listed(names: Sequence[str]) -> str:
    """The first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def differences(output: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """What writing these files would change in ``output``, as the lines of a unified diff; empty if nothing.

    Raises:
        TimmSplitError: ``output`` cannot be read.
    """
    try:
        old = {name: (output / name).read_bytes() for name in _names(output)}
    except OSError as error:
        raise TimmSplitError(f"cannot read {output}: {error.strerror}") from None
    new = {name: text.encode() for name, text in files.items()}
    names = sorted({*old, *new}, key=lambda name: (name == MANIFEST, name))  # what follows from the others last
    changed = [name for name in names if old.get(name) != new.get(name)]
    return tuple(line for name in changed for line in _diff(name, old.get(name), new.get(name)))


def _diff(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    yield "--- /dev/null" if old is None else f"--- a/{name}"
    yield "+++ /dev/null" if new is None else f"+++ b/{name}"
    # Only \n ends a line: a \r or a form feed is a difference like any other.
    before, after = (list(io.StringIO((data or b"").decode(errors="backslashreplace"))) for data in (old, new))
    for line in list(difflib.unified_diff(before, after))[2:]:
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


# What is there


def _names(directory: Path) -> list[str]:
    """Posix paths of all files and links in a directory, but for the bytecode that python leaves there."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    names = []
    for parent, directories, files in os.walk(directory, onerror=fail):
        directories[:] = [name for name in directories if name != "__pycache__"]
        links = [name for name in directories if Path(parent, name).is_symlink()]
        names += [Path(parent, name).relative_to(directory).as_posix() for name in (*files, *links)]
    return sorted(name for name in names if not name.endswith(".pyc"))


def _foreign(directory: Path) -> list[str]:
    """Files that the manifest in their directory does not name."""
    ours: set[str] = set()
    with contextlib.suppress(UsageError):  # no manifest, or none of ours: then all files are foreign
        ours = {MANIFEST, *read_header(directory).files}
    return [name for name in _names(directory) if name not in ours]


def _check_ours(output: Path, target: Path, content: Mapping[str, bytes]) -> None:
    """Refuse to replace what someone else wrote.

    Raises:
        UsageError: The directory holds files of others, files that were edited by hand, or a manifest that is damaged.
    """
    if is_generated(target):
        read_digests(target)  # of a damaged one it cannot be said what is ours
    if foreign := _foreign(target):
        raise UsageError(
            f"{output} holds files that timm-split did not write ({listed(foreign)}): "
            "name another directory, or replace all of it with --force"
        )
    lost = [name for name in edited(target) if (target / name).read_bytes() != content.get(name)]
    if lost:
        raise UsageError(
            f"{output} was edited by hand since it was generated ({listed(lost)}): "
            "move the changes to a file of your own, or replace all of it with --force"
        )


def _holds(directory: Path, content: Mapping[str, bytes]) -> bool:
    return (
        directory.is_dir()
        and _names(directory) == sorted(content)
        and all((directory / name).read_bytes() == data for name, data in content.items())
    )


# Replacing it


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Wait for other runs that write in the same directory; the system ends the lock with its process."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _beside(target: Path, purpose: str) -> Path:
    return target.with_name(f".{target.name}.{GENERATOR}-{purpose}")


def _tidy(target: Path) -> None:
    """Complete or remove what a run that was killed left behind."""
    if _beside(target, "next").exists():
        _complete(target)
    prefix = _beside(target, "").name
    for path in target.parent.iterdir():
        if path.name.startswith(prefix):
            # a package that was set aside once is taken for that of this run if it stays
            shutil.rmtree(path, ignore_errors=path != _beside(target, "old"))


def _replace(target: Path, content: Mapping[str, bytes]) -> None:
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    scratch = _beside(target, secrets.token_hex(4))
    try:
        scratch.mkdir()
        with ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(_write, [scratch / name for name in content], content.values()))
        if not target.exists():
            scratch.rename(target)
            return
        shutil.copymode(target, scratch)
        if not _exchange(scratch, target):
            scratch.rename(_beside(target, "next"))
            _complete(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave the names of files without their contents


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step; false where the system or the file system knows no such step."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _complete(target: Path) -> None:
    """Put the package that is ready under the name ``next`` in the place of ``target``, which moves to ``old``.

    It can be repeated from wherever it was killed: ``next`` is complete until it is ``target``, and ``old`` is complete
    from the moment that it has this name. If it fails, ``target`` is put back.
    """
    ready, old = _beside(target, "next"), _beside(target, "old")
    try:
        if target.exists() and not old.exists():
            _set_aside(target, old)
        if target.exists():
            _remove(target)
        ready.rename(target)
    except BaseException:
        if ready.exists():
            if old.exists():
                if target.exists():
                    _remove(target)
                old.rename(target)
            shutil.rmtree(ready, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _set_aside(target: Path, old: Path) -> None:
    """Rename a directory; or copy it where it cannot be renamed, as that of a container's image."""
    try:
        target.rename(old)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = _beside(target, secrets.token_hex(4))
        try:
            shutil.copytree(target, copy, symlinks=True)
            copy.rename(old)
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def _remove(target: Path) -> None:
    """Remove a directory that was copied; its manifest last.

    So what an interruption leaves is known as ours, and the next run may go on.
    """
    for path in sorted(target.iterdir(), key=lambda path: path.name == MANIFEST):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    target.rmdir()
