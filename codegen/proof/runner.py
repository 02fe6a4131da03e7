"""The proof of many names, in worker processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

import timm
import torch

from codegen.errors import UsageError
from codegen.proof import generated_package as packages
from codegen.proof import numeric as by_numbers
from codegen.proof import operations as by_ops
from codegen.proof.generated_package import GeneratedPackage
from codegen.proof.operations import Splitter, describe
from codegen.proof.results import Check, NameResult, Progress, RefusedName, Report

_Job = tuple[str, str]
"""A registered name and its class."""
_DEATH = "a worker process died, which ended them all; with fewer --jobs there is more memory for each"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select(patterns: Sequence[str]) -> list[str]:
    """Names that timm registers and that match one of ``patterns``, all where there are none, in timm's order.

    Raises:
        UsageError: A pattern matches no name.
    """
    names: list[str] = timm.list_models()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, n=3)
            hint = f": did you mean {' or '.join(near)}?" if near else ": timm.list_models() has them all"
            raise UsageError(f"no model of timm {timm.__version__} is named {pattern}{hint}")
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def verify(package: GeneratedPackage, names: Sequence[str], jobs: int, numeric: bool, progress: Progress) -> Report:
    """Prove what a package says of ``names``.

    Args:
        package: The package.
        names: Registered names.
        jobs: Worker processes.
        numeric: Whether to compare numbers too, for the smallest model of each class among ``names``.
        progress: Called after each name.

    Raises:
        TimmSplitError: The package cannot be imported.
        KeyboardInterrupt: The worker processes have ended by then.
    """
    packages.load(package.directory)  # a package that cannot be imported is one error, not one for each name
    refused, unknown, work = [], [], []
    for name in names:
        path = package.classes.get(name)
        if path is None:
            unknown.append(_not_run(name, "", by_ops.CHECKS, "the manifest does not have this name"))
        elif path in package.refused:
            refused.append(RefusedName(name, path, package.refused[path]))
        else:
            work.append((name, path))
    directory = package.directory
    known = _run(directory, jobs, _ops, by_ops.CHECKS, work, lambda done: progress("ops", done, len(work)))
    small = _smallest(known) if numeric else []
    numbers = _run(
        directory, jobs, _numbers, by_numbers.CHECKS, small, lambda done: progress("numbers", done, len(small))
    )
    order = {name: number for number, name in enumerate(names)}
    results = sorted([*known, *unknown], key=lambda result: order[result.name])
    unbuilt = tuple(RefusedName(r.name, r.model_class, r.unbuilt) for r in results if r.unbuilt)
    proved = tuple(result for result in results if not result.unbuilt)
    return Report(package.timm_version, proved, tuple(refused), tuple(numbers), unbuilt)


def _smallest(results: Sequence[NameResult]) -> list[_Job]:
    """The name with the fewest parameters of each class."""
    smallest: dict[str, NameResult] = {}
    for result in results:
        if result.parameters:
            best = smallest.setdefault(result.model_class, result)
            smallest[result.model_class] = min(best, result, key=lambda candidate: candidate.parameters)
    return [(result.name, path) for path, result in smallest.items()]


def _run(
    directory: Path,
    jobs: int,
    check: Callable[[_Job], NameResult],
    checks: Sequence[str],
    work: Sequence[_Job],
    progress: Callable[[int], None],
) -> list[NameResult]:
    if not work:
        return []
    with _workers(directory, min(jobs, len(work))) as pool:
        with (
            _ignoring_interrupts()
        ):  # a worker starts when there is work for it, and inherits the signals that its parent ignores
            futures = [_submit(pool, check, job) for job in work]
        for done, _ in enumerate(as_completed(futures), 1):
            progress(done)
    return [_result(future, *job, checks) for future, job in zip(futures, work, strict=True)]


def _submit(pool: ProcessPoolExecutor, check: Callable[[_Job], NameResult], job: _Job) -> Future[NameResult]:
    try:
        return pool.submit(check, job)
    except BrokenProcessPool as error:  # a worker died so soon that not everything was handed out
        future: Future[NameResult] = Future()
        future.set_exception(error)
        return future


def _result(future: Future[NameResult], name: str, model_class: str, checks: Sequence[str]) -> NameResult:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        return _not_run(name, model_class, checks, _DEATH)
    return _not_run(name, model_class, checks, describe(error))


def _not_run(name: str, model_class: str, checks: Sequence[str], why: str) -> NameResult:
    return NameResult(name, model_class, tuple(Check(check, "not run", why) for check in checks))


@contextmanager
def _workers(directory: Path, jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that end with the block, at once if it is interrupted."""
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of torch's pools, dead
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(directory,))
    before = set(multiprocessing.active_children())
    try:
        yield pool
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C: the parent handles it, and ends its workers in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_split: Splitter


def _start(directory: Path) -> None:
    global _split
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)  # the names are what runs side by side; and one thread adds in one order
    _split = packages.load(directory).split


def _ops(job: _Job) -> NameResult:
    return by_ops.check_ops(*job, _split)


def _numbers(job: _Job) -> NameResult:
    return by_numbers.check_numbers(*job, _split)
