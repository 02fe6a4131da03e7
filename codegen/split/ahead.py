"""Read files of a release in a second process, from the last one backwards, until the two processes meet.

The second process is a fork, and reads what it needs for itself. Whatever becomes of it, the outcomes are the same:
what it has neither delivered nor begun by the time that it is asked for is done by the first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

from codegen.source.index import Index, model_files
from codegen.split.files import File, read_file
from codegen.types import Outcome, Release

if sys.platform == "linux":
    import fcntl

_FEWEST = 16  # methods to split that are worth a process
_PIPE_SIZE = 1 << 20  # bytes: the most that Linux allows by default

Ahead = Callable[[str], Mapping[str, File]]
"""What the second process has found in files by now, by their paths; and in one file, if it is at work on it."""


@contextlib.contextmanager
def split_ahead(release: Release) -> Iterator[Ahead]:
    """Begin to read the last files of a release, while the caller reads the first.

    Args:
        release: The release.
    """
    paths = _with_models(release)
    if not paths or not _has_second_processor():
        yield lambda path: {}
        return
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    _widen(sending)
    process = context.Process(target=_split, args=(release, paths, sending), daemon=True)
    process.start()
    sending.close()
    found: dict[str, File] = {}
    begun = ""

    def ahead(path: str) -> Mapping[str, File]:
        nonlocal begun
        try:
            while receiving.poll() or begun == path:
                begun, file = receiving.recv()
                if file is not None:
                    found[begun], begun = file, ""
        except (EOFError, OSError):  # it has ended
            begun = ""
        return found

    try:
        yield ahead
    finally:
        receiving.close()
        process.terminate()
        process.join()


def _with_models(release: Release) -> Sequence[str]:
    """The files that are worth a second process, by what they seem to hold before they are parsed."""
    paths = [path for path in model_files(release) if release.method in release.files[path]]
    methods = sum(release.files[path].count(f"def {release.method}") for path in paths)
    return paths if methods >= _FEWEST and len(paths) > 1 else ()


def _has_second_processor() -> bool:
    """Whether there is one, and a fork is safe: there are no threads, which it would leave behind."""
    alone = threading.active_count() == 1 and not multiprocessing.current_process().daemon
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and alone


def _widen(sending: Connection) -> None:
    """Let a pipe hold all that is found, so that the second process need not wait for the first one."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the system allows no more: then it waits
            fcntl.fcntl(sending.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def _split(release: Release, paths: Sequence[str], sending: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops this one
    index, done = Index(release), dict[str, Outcome]()
    with contextlib.suppress(Exception):  # the first process meets it again, and reports it
        for path in reversed(paths):
            sending.send((path, None))  # it has begun
            sending.send((path, read_file(index, path, done)))
