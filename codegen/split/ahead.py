"""Split a part of the classes of a release in a second process, where there is a second processor for it.

The second process is a fork, which has the parsed release without copying it. Whatever becomes of it, the outcomes are
the same: what it does not deliver is done by the first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

from codegen.source.index import Class, Index
from codegen.split.splitter import split_model
from codegen.types import Outcome

_FIRST = 0.42  # of the classes are left to the first process, which finds the registered names, too
_FEWEST = 16  # classes that are worth a process

Ahead = Callable[[Class], Outcome | None]
"""What became of a class in the second process; ``None`` if that was not asked to split it, or failed."""


@contextlib.contextmanager
def split_ahead(index: Index) -> Iterator[Ahead]:
    """Begin to split the later classes of a release, while the caller splits the earlier ones.

    Args:
        index: The release.
    """
    models = _later(list(index.models()))
    if not models or not _has_second_processor():
        yield lambda cls: None
        return
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_split, args=(index, models, sending), daemon=True)
    process.start()
    sending.close()
    paths, found = {cls.path for cls, _ in models}, dict[str, Outcome]()

    def ahead(cls: Class) -> Outcome | None:
        if cls.path in paths and not receiving.closed:
            with contextlib.suppress(EOFError), receiving:
                found.update(receiving.recv())
        return found.get(cls.path)

    try:
        yield ahead
    finally:
        receiving.close()
        process.terminate()
        process.join()


def _later(models: Sequence[tuple[Class, Class]]) -> Sequence[tuple[Class, Class]]:
    """The classes of the files after about the middle: those of one file, which rest on each other, stay together."""
    if len(models) < _FEWEST:
        return ()
    files = [cls.module.path for cls, _ in models]
    middle = files.index(files[int(len(files) * _FIRST)])
    return models[middle:]


def _has_second_processor() -> bool:
    """Whether there is one, and a fork is safe: there are no threads, which it would leave behind."""
    alone = threading.active_count() == 1 and not multiprocessing.current_process().daemon
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and alone


def _split(index: Index, models: Sequence[tuple[Class, Class]], sending: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops this one
    done: dict[str, Outcome] = {}
    with contextlib.suppress(Exception):  # the first process meets it again, and reports it
        for cls, owner in models:
            done[cls.path] = split_model(index, cls, owner, done)
        sending.send(done)
