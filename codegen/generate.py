"""The whole pipeline: a release's source to the text of its package."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.errors import UsageError
from codegen.source.index import Index
from codegen.split.ahead import Ahead, split_ahead
from codegen.split.files import split_release
from codegen.types import Outcome, Release


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class RenderedPackage:
    """The text of a package, which is not written yet.

    Attributes:
        version: The timm release that it is for, empty if it needs none.
        outcomes: What became of each of its model classes.
        files: Text by path inside the package.
    """

    version: str
    outcomes: Sequence[Outcome]
    files: Mapping[str, str]


def analyse(release: Release, *, keep_trees: bool = False) -> tuple[Outcome, ...]:
    """What becomes of each model class of a release; no text is rendered.

    Args:
        release: The release.
        keep_trees: Whether to leave the trees to the end of the process, for they are many and take their time to go.

    Raises:
        UsageError: If the files of user models hold no model.
        TimmSplitError: If its source does not parse.
    """
    # the trees of a release are millions of objects, and none of them is garbage before the end
    with _no_garbage(), split_ahead(release) as ahead:
        return _analyse(release, ahead, keep_trees)


def _analyse(release: Release, ahead: Ahead, keep_trees: bool) -> tuple[Outcome, ...]:
    index = Index(release)
    outcomes = tuple(split_release(index, ahead))
    if not keep_trees:
        index.memory.clear()  # what it holds refers to the index: a cycle, which would keep all trees alive
    if release.user_files and not outcomes:
        raise UsageError(_why_no_models(index, release))
    return outcomes


def _why_no_models(index: Index, release: Release) -> str:
    parts = [cls.name for cls, _ in index.models()]
    if not parts:
        return (
            f"--source {release.origin} holds no class that has the method {release.method}, of its own or from a "
            "class that can be read: name the file that defines it"
        )
    some = ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")
    return (
        f"--source {release.origin} holds no model, as far as can be read: no attribute of {some} is known for its "
        f"blocks in {release.method}, by a name such as blocks, layers or stages, or as a list of modules"
    )


def generate(release: Release, *, keep_trees: bool = False) -> RenderedPackage:
    """Generate the package for a release.

    Args:
        release: The release.
        keep_trees: As for :func:`analyse`.

    Raises:
        UsageError: If the files of user models hold no model.
        TimmSplitError: If its source does not parse.
    """
    with _no_garbage():
        with split_ahead(release) as ahead:
            from codegen.package.render import render  # what is not needed yet, while another process is at work

            outcomes = _analyse(release, ahead, keep_trees)
        user_source = os.path.basename(os.path.abspath(release.origin)) if release.user_files else ""
        text = render(release.version, outcomes, user_source=user_source, method=release.method)
        return RenderedPackage(release.version, outcomes, text)
